// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"math"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestViewOf(t *testing.T) {
	s := openStore(t, storeDir(t))
	w, err := s.Create(4 * 4)
	require.NoError(t, err)
	copy(unsafe.Slice((*float32)(unsafe.Pointer(&w.Bytes()[0])), 4), []float32{1, 2, 3, 4.5})
	o, err := w.Seal()
	require.NoError(t, err)
	v, err := ViewOf[float32](o)
	require.NoError(t, err)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	v.Retain()
	v.Release()
	assert.Equal(t, []float32{1, 2, 3, 4.5}, v.Slice())
	v.Release()
	assert.Zero(t, s.Stats().Objects)
}

func TestViewOfWrongShape(t *testing.T) {
	s := openStore(t, storeDir(t))
	o, err := s.Put(make([]byte, 12))
	require.NoError(t, err)
	defer o.Release()
	_, err = ViewOf[float64](o)
	require.ErrorIs(t, err, ErrType)
	two, err := s.Put([]byte{1}, []byte{2})
	require.NoError(t, err)
	defer two.Release()
	_, err = ViewOf[uint8](two)
	require.ErrorIs(t, err, ErrType)
	empty, err := s.Put(nil)
	require.NoError(t, err)
	defer empty.Release()
	v, err := ViewOf[int64](empty)
	require.NoError(t, err)
	defer v.Release()
	require.Empty(t, v.Slice())
}

func TestWritesThroughViewsFault(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	defer far.Release()
	for st, b := range map[*Store][]byte{s: o.Buffer(0), other: far.Buffer(0)} {
		addr := faultOf(func() { b[2] = 'X' })
		require.NotZero(t, addr)
		assert.True(t, st.ReadOnlyFault(addr))
		assert.False(t, st.ReadOnlyFault(1))
	}
	assert.Equal(t, "content", string(o.Buffer(0)))
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// faultOf runs f and returns the address of the memory fault it caused, or 0.
func faultOf(f func()) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			addr = e.Addr()
		}
	}()
	f()
	return 0
}

func TestViewOfAPart(t *testing.T) {
	s := openStore(t, storeDir(t))
	o, err := s.Put([]byte("meta"), []byte{1, 0, 2, 0, 3, 0, 4})
	require.NoError(t, err)
	v, err := ViewAt[uint16](o, 1, 2, 2)
	require.NoError(t, err)
	o.Release()
	require.Equal(t, []uint16{2, 3}, v.Slice())
	buffer, offset := v.Place()
	require.Equal(t, []int{1, 2}, []int{buffer, offset})
	for _, bad := range [][3]int{{2, 0, 1}, {-1, 0, 1}, {1, 1, 1}, {1, 8, 0}, {1, -2, 1}, {1, 0, 4}, {1, 4, -1}, {1, 4, math.MaxInt/2 + 1}} {
		_, err := ViewAt[uint16](v.Object(), bad[0], bad[1], bad[2])
		require.ErrorIs(t, err, ErrType, "%v", bad)
	}
	empty, err := ViewAt[uint16](v.Object(), 1, 6, 0)
	require.NoError(t, err)
	require.Empty(t, empty.Slice())
	empty.Release()
	v.Release()
}
