// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/codec"
)

func asInt64(b []byte) *int64 { return (*int64)(unsafe.Pointer(unsafe.SliceData(b))) }

type job struct {
	Name   string
	Input  []float32
	Labels []int64
	Mask   []bool
}

func newJob(n int) job {
	return job{"job", make([]float32, n), make([]int64, n), make([]bool, n)}
}

func TestEncodeAliasesTheValue(t *testing.T) {
	c := codec.New()
	in := newJob(100)
	v, err := codec.Encode(c, in)
	require.NoError(t, err)
	require.Len(t, v.Bufs, 3)
	require.Same(t, (*byte)(unsafe.Pointer(&in.Input[0])), &v.Bufs[0][0])
	require.Same(t, (*byte)(unsafe.Pointer(&in.Labels[0])), &v.Bufs[1][0])
	require.Same(t, (*byte)(unsafe.Pointer(&in.Mask[0])), &v.Bufs[2][0])
	require.Equal(t, 400+800+100+len(v.Meta), v.Size())
	require.Less(t, len(v.Meta), 32)
}

func TestViewAliasesAndCopyDoesNot(t *testing.T) {
	c := codec.New()
	v, err := codec.Encode(c, newJob(100))
	require.NoError(t, err)
	flat := codec.AppendValue(nil, v)
	parsed, err := codec.ParseValue(flat, len(flat))
	require.NoError(t, err)

	view, err := codec.Decode[job](c, parsed, codec.View)
	require.NoError(t, err)
	require.Same(t, (*float32)(unsafe.Pointer(&parsed.Bufs[0][0])), &view.Input[0])
	require.Equal(t, len(view.Input), cap(view.Input), "an append must not reach the neighbour")

	owned, err := codec.Decode[job](c, parsed, codec.Copy)
	require.NoError(t, err)
	for i := range flat {
		flat[i] = 0xff
	}
	require.Equal(t, newJob(100), owned)
}

func TestMisalignedBuffersAreCopied(t *testing.T) {
	const align = int(unsafe.Alignof(int64(0))) // 4 where words are
	c := codec.New()
	for shift := range 8 {
		raw := make([]byte, 8*10+16)
		skew := (8 - int(uintptr(unsafe.Pointer(&raw[0]))%8)) % 8
		b := raw[skew+shift : skew+shift+80]
		b[0] = 1
		for _, decode := range []func() (any, error){
			func() (any, error) { return codec.Decode[[]int64](c, codec.Value{Bufs: [][]byte{b}}, codec.View) },
			func() (any, error) { return codec.Decode[[]uint64](c, codec.Value{Bufs: [][]byte{b}}, codec.View) },
		} {
			got, err := decode()
			require.NoError(t, err)
			p := reflect.ValueOf(got).UnsafePointer()
			require.Equal(t, shift%align == 0, p == unsafe.Pointer(&b[0]))
			require.Zero(t, int(uintptr(p))%align)
		}
	}
}

func TestSmallNestedSlicesAreInline(t *testing.T) {
	c := codec.New()
	v, err := codec.Encode(c, bulks{Bytes: make([]byte, 64), F64: make([]float64, 9)})
	require.NoError(t, err)
	require.Len(t, v.Bufs, 1)
	require.Len(t, v.Bufs[0], 72)
}

func TestAllocationBudgets(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := codec.New()
	large, small := make([]float32, 1<<18), scalars{S: "name"}
	with := newJob(1 << 10)
	var sinkV codec.Value
	var sinkF float64
	var sinkS []float32
	check := func(what string, budget float64, f func() error) {
		t.Helper()
		got := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		})
		require.LessOrEqual(t, got, budget, what)
	}
	encoded := func(v codec.Value, err error) error { sinkV = v; return err }
	check("encode []float32", 1, func() error { return encoded(codec.Encode(c, large)) })
	check("encode float64", 1, func() error { return encoded(codec.Encode(c, 1.5)) })
	check("encode struct{}", 0, func() error { return encoded(codec.Encode(c, struct{}{})) })
	check("encode string", 1, func() error { return encoded(codec.Encode(c, "text")) })
	check("encode a struct of scalars", 3, func() error { return encoded(codec.Encode(c, small)) })
	check("encode a struct of slices", 6, func() error { return encoded(codec.Encode(c, with)) })

	number, err := codec.Encode(c, 1.5)
	require.NoError(t, err)
	check("decode float64", 0, func() (err error) { sinkF, err = codec.Decode[float64](c, number, codec.Copy); return err })
	slice, err := codec.Encode(c, large)
	require.NoError(t, err)
	check("view []float32", 0, func() (err error) { sinkS, err = codec.Decode[[]float32](c, slice, codec.View); return err })
	check("copy []float32", 1, func() (err error) { sinkS, err = codec.Decode[[]float32](c, slice, codec.Copy); return err })
	many, err := codec.Encode(c, with)
	require.NoError(t, err)
	check("view a struct of slices", 3, func() error { _, err := codec.Decode[job](c, many, codec.View); return err })
	_, _, _ = sinkV, sinkF, sinkS
}
