// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPutThenGet(t *testing.T) {
	cases := map[string][][]byte{
		"no buffers":        {},
		"one":               {[]byte("hello")},
		"one empty":         {{}},
		"one nil":           {nil},
		"several":           {[]byte("a"), []byte("bb"), bytes.Repeat([]byte{7}, 1000)},
		"empties among":     {{}, []byte("x"), {}, []byte("y"), {}},
		"exactly one unit":  {make([]byte, 64)},
		"one chunk":         {bytes.Repeat([]byte{1}, chunkSize)},
		"several chunks":    {bytes.Repeat([]byte{2}, 3*chunkSize+17), []byte("tail")},
		"own segment":       {bytes.Repeat([]byte{3}, 5<<20)},
		"many buffers":      make([][]byte, 1000),
		"many own segments": {bytes.Repeat([]byte{4}, 9<<20), bytes.Repeat([]byte{5}, 9<<20)},
	}
	dir := storeDir(t)
	owner := openStore(t, dir, SegmentSize(4<<20))
	reader := openStore(t, dir)
	for name, buffers := range cases {
		t.Run(name, func(t *testing.T) {
			put, err := owner.Put(buffers...)
			require.NoError(t, err)
			defer put.Release()
			for _, s := range []*Store{owner, reader} {
				got, err := s.Get(put.ID())
				require.NoError(t, err)
				requireBuffers(t, buffers, got)
				got.Release()
			}
			requireBuffers(t, buffers, put)
			require.NoError(t, owner.Delete(put.ID()))
		})
	}
	assert.Zero(t, owner.Stats().Objects)
	assert.Zero(t, owner.Stats().Used)
}

func requireBuffers(t *testing.T, want [][]byte, o *Object) {
	t.Helper()
	require.Equal(t, len(want), o.Len())
	var size int64
	for i, b := range want {
		require.Len(t, o.Buffer(i), len(b))
		require.Len(t, o.Buffer(i), cap(o.Buffer(i)), "room behind a buffer")
		require.True(t, bytes.Equal(b, o.Buffer(i)))
		if len(b) > 0 {
			require.Zero(t, uintptr(unsafe.Pointer(&o.Buffer(i)[0]))%unit, "alignment")
		}
		size += int64(len(b))
	}
	require.Equal(t, size, o.Size())
}

func TestWriteInPlace(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	other := openStore(t, dir)
	w, err := s.CreateBuffers(3, 0, 1<<20)
	require.NoError(t, err)
	require.Equal(t, 3, w.Len())
	copy(w.Bytes(), "abc")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	copy(w.Buffer(2), big)
	o, err := w.Seal()
	require.NoError(t, err)
	defer o.Release()
	got, err := other.Get(o.ID())
	require.NoError(t, err)
	defer got.Release()
	requireBuffers(t, [][]byte{[]byte("abc"), {}, big}, got)

	_, err = w.Seal()
	require.ErrorIs(t, err, ErrSealed)
	w.Abort()
	requireBuffers(t, [][]byte{[]byte("abc"), {}, big}, o)
}

func TestAbortGivesMemoryBack(t *testing.T) {
	s := openStore(t, storeDir(t))
	for _, size := range []int{0, 1, 5000, 1 << 20, 40 << 20} {
		w, err := s.Create(size)
		require.NoError(t, err)
		require.Len(t, w.Bytes(), size)
		w.Abort()
		w.Abort()
		_, err = w.Seal()
		require.ErrorIs(t, err, ErrSealed)
	}
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Used)
}

func TestDeleteWaitsForPins(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	far.Retain()

	require.NoError(t, s.Delete(o.ID()))
	require.ErrorIs(t, s.Delete(o.ID()), ErrNotFound)
	for _, st := range []*Store{s, other} {
		_, err = st.Get(o.ID())
		require.ErrorIs(t, err, ErrNotFound)
	}
	o.Release()
	far.Release()
	assert.Equal(t, 1, s.Stats().Objects, "the other store still pins it")
	assert.Equal(t, "content", string(far.Buffer(0)))
	far.Release()
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Used)
}

func TestDeleteIsForTheOwner(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	require.ErrorIs(t, other.Delete(o.ID()), ErrNotOwner)
}

func TestContainsAndList(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	want := map[ID]bool{}
	var last *Object
	for i := range 10 {
		o, err := s.Put([]byte{byte(i)})
		require.NoError(t, err)
		o.Release()
		want[o.ID()] = true
		last = o
	}
	w, err := s.Create(10) // not an object yet
	require.NoError(t, err)
	defer w.Abort()
	delete(want, last.ID())
	require.NoError(t, s.Delete(last.ID()))
	got := map[ID]bool{}
	for id := range s.List() {
		got[id] = true
		assert.True(t, s.Contains(id))
		assert.True(t, other.Contains(id))
	}
	assert.Equal(t, want, got)
	assert.Empty(t, slices.Collect(other.List()), "only what it created itself")
	for range s.List() {
		break
	}
	for _, st := range []*Store{s, other} {
		assert.False(t, st.Contains(last.ID()))
		assert.False(t, st.Contains(ID{}))
		assert.False(t, st.Contains(ID{store: 1, gen: 1}))
	}
}

func TestStaleIDsFindNothing(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("first"))
	require.NoError(t, err)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	again, err := s.Put([]byte("second"))
	require.NoError(t, err)
	defer again.Release()
	require.Equal(t, o.ID().slot, again.ID().slot, "the slot is used again")
	id := again.ID()
	for _, bad := range []ID{
		o.ID(),
		{},
		{store: id.store, slot: id.slot, gen: id.gen + 1},
		{store: id.store, slot: id.slot + 1, gen: 1},
		{store: id.store, slot: maxSlots - 1, gen: 1},
		{store: id.store ^ 1, slot: id.slot, gen: id.gen},
	} {
		for _, st := range []*Store{s, other} {
			_, err := st.Get(bad)
			require.ErrorIs(t, err, ErrNotFound, "%v", bad)
		}
	}
}

func TestLimit(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(4<<20), SegmentSize(1<<20))
	_, err := s.Put(make([]byte, 5<<20))
	require.ErrorIs(t, err, ErrNoSpace)
	_, err = s.Create(5 << 20)
	require.ErrorIs(t, err, ErrNoSpace)
	var objs []*Object
	for {
		o, err := s.Put(make([]byte, 300<<10))
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			break
		}
		objs = append(objs, o)
	}
	assert.Greater(t, len(objs), 8)
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	for range 3 { // all of it can be used again, in another shape
		o, err := s.Put(make([]byte, 4<<20))
		require.NoError(t, err)
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
}

func TestTooLarge(t *testing.T) {
	s := openStore(t, storeDir(t))
	_, err := s.CreateBuffers(make([]int, maxBuffers+1)...)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = s.Create(-1)
	require.ErrorIs(t, err, ErrTooLarge)
	if most := int64(maxObject); most < math.MaxInt { // else no size is beyond it
		_, err = s.Create(int(most + 1))
		require.ErrorIs(t, err, ErrTooLarge)
		_, err = s.Create(int(most - 1))
		require.ErrorIs(t, err, ErrNoSpace)
	}
}

func TestMemoryIsReturned(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(64<<20), SegmentSize(4<<20))
	var objs []*Object
	for range 60 {
		o, err := s.Put(make([]byte, 1<<20-100))
		require.NoError(t, err)
		objs = append(objs, o)
	}
	require.GreaterOrEqual(t, s.Stats().Held, int64(59<<20))
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	st := s.Stats()
	assert.LessOrEqual(t, st.Held, int64(16<<20), "at most a quarter of the limit stays for reuse")
	assert.Less(t, st.Segments, 10)
}

func TestClose(t *testing.T) {
	dir := storeDir(t)
	s, err := Open(dir)
	require.NoError(t, err)
	other := openStore(t, dir)
	o, err := s.Put([]byte("mine"))
	require.NoError(t, err)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	theirs, err := other.Put([]byte("theirs"))
	require.NoError(t, err)
	near, err := s.Get(theirs.ID())
	require.NoError(t, err)
	require.NoError(t, other.Delete(theirs.ID()))
	theirs.Release()

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Put([]byte("x"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Create(1)
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Get(o.ID())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Delete(o.ID()), ErrClosed)
	require.ErrorIs(t, s.Reap(), ErrClosed)
	require.Zero(t, s.Stats())
	_, err = other.Get(o.ID())
	require.ErrorIs(t, err, ErrNotFound)

	require.NoError(t, other.Reap())
	assert.Equal(t, "mine", string(o.Buffer(0)), "what was not released stays")
	assert.Equal(t, "mine", string(far.Buffer(0)))
	assert.Equal(t, "theirs", string(near.Buffer(0)))
	assert.Equal(t, 1, other.Stats().Objects, "the closed store's pin still counts")
	o.Release()
	near.Release()
	require.NoError(t, other.Reap())
	assert.Zero(t, other.Stats().Objects)
	assert.Equal(t, "mine", string(far.Buffer(0)))
	far.Release()
	for _, name := range files(t, dir) {
		assert.NotContains(t, name, strings.TrimSuffix(metaName(s.number), ".meta"))
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	dir := storeDir(t)
	a, err := Open(dir)
	require.NoError(t, err)
	b, err := Open(dir)
	require.NoError(t, err)
	o, err := a.Put(make([]byte, 1<<20))
	require.NoError(t, err)
	p, err := b.Get(o.ID())
	require.NoError(t, err)
	p.Release()
	o.Release()
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	assert.Empty(t, files(t, dir))
}
