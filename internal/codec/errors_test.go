// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/internal/codec"
)

func TestTypesThatCanNeverBeEncoded(t *testing.T) {
	type layer struct{ Hook func() }
	type network struct{ Layers []layer }
	type pointed struct{ Next **network }
	type mapped struct {
		By map[string][2]chan int
	}
	type stamped struct {
		time.Time
		Data []float32
	}
	for _, c := range []struct {
		typ    reflect.Type
		path   string
		reason string
	}{
		{reflect.TypeFor[network](), ".Layers[].Hook", "func"},
		{reflect.TypeFor[pointed](), ".Next.Layers[].Hook", "func"},
		{reflect.TypeFor[mapped](), ".By[][]", "chan"},
		{reflect.TypeFor[chan int](), "", "chan"},
		{reflect.TypeFor[func()](), "", "func"},
		{reflect.TypeFor[unsafe.Pointer](), "", "unsafe.Pointer"},
		{reflect.TypeFor[struct{ A uintptr }](), ".A", "uintptr"},
		{reflect.TypeFor[[]io.Reader](), "[]", "methods"},
		{reflect.TypeFor[struct{ E error }](), ".E", "methods"},
		{reflect.TypeFor[proto.Message](), "", "methods"},
		{reflect.TypeFor[map[*int]bool](), "[key]", "identity"},
		{reflect.TypeFor[map[struct{ P [1]*int }]bool](), "[key]", "identity"},
		{reflect.TypeFor[wrapperspb.StringValue](), "", "pointer type"},
		{reflect.TypeFor[struct{ M []stamped }](), ".M[]", "embedded time.Time"},
		{reflect.TypeFor[map[chan int]bool](), "[key]", "chan"},
	} {
		t.Run(c.typ.String(), func(t *testing.T) {
			_, err := codec.New().For(c.typ)
			requireEncodeError(t, err, c.path, c.reason)
			plan, again := codec.New().For(c.typ)
			require.Nil(t, plan)
			require.Equal(t, err, again)
		})
	}
	_, err := codec.New().For(nil)
	requireEncodeError(t, err, "", "no type")
	_, err = codec.Encode(codec.New(), network{})
	requireEncodeError(t, err, ".Layers[].Hook", "func")
	_, err = codec.Decode[network](codec.New(), codec.Value{}, codec.View)
	requireEncodeError(t, err, ".Layers[].Hook", "func")
}

func requireEncodeError(t *testing.T, err error, path, reason string) {
	t.Helper()
	require.ErrorIs(t, err, codec.ErrEncode)
	require.NotErrorIs(t, err, codec.ErrDecode)
	e, ok := errors.AsType[*codec.EncodeError](err)
	require.True(t, ok)
	require.Equal(t, path, e.Path)
	require.Contains(t, e.Error(), reason)
}

func requireDecodeError(t *testing.T, err error, path, reason string) {
	t.Helper()
	require.ErrorIs(t, err, codec.ErrDecode)
	require.NotErrorIs(t, err, codec.ErrEncode)
	e, ok := errors.AsType[*codec.DecodeError](err)
	require.True(t, ok)
	require.Equal(t, path, e.Path)
	require.Contains(t, e.Error(), reason)
}

type ring struct {
	Name string
	Next *ring
	Any  any
}

func TestCyclesAreErrorsWithAPath(t *testing.T) {
	c := codec.New()
	self := &ring{}
	self.Next = self
	_, err := codec.Encode(c, self)
	requireEncodeError(t, err, ".Next", "contains itself")

	two := &tree{Kids: []*tree{{}, {}}}
	two.Kids[1].Map = map[string]*tree{"up": two}
	_, err = codec.Encode(c, two)
	requireEncodeError(t, err, `.Kids[1].Map["up"]`, "contains itself")

	loop := nest{nil, nil}
	loop[1] = loop
	_, err = codec.Encode(c, loop)
	requireEncodeError(t, err, "[1]", "contains itself")

	open := map[string]any{}
	open["me"] = []any{1, open}
	_, err = codec.Encode[any](c, open)
	requireEncodeError(t, err, `["me"][1]`, "contains itself")

	hidden := &ring{}
	hidden.Any = hidden
	_, err = codec.Encode(c, hidden)
	requireEncodeError(t, err, ".Any.Any", "contains itself")
}

func TestSharedPartsAreNoCycle(t *testing.T) {
	c := codec.New()
	leaf := &tree{Data: []float32{1}}
	in := tree{Kids: []*tree{leaf, leaf}, Left: leaf}
	require.Equal(t, in, roundTrip(t, c, in, codec.Copy))
}

func chain(n int) *ring {
	var head *ring
	for range n {
		head = &ring{Next: head}
	}
	return head
}

func TestDepthIsBoundedAlikeOnBothSides(t *testing.T) {
	c := codec.New()
	require.Equal(t, chain(256), roundTrip(t, c, chain(256), codec.Copy))
	_, err := codec.Encode(c, chain(257))
	requireEncodeError(t, err, strings.Repeat(".Next", 256), "deeper than 256")
	require.Less(t, len(err.Error()), 400)

	deep := func(n int) (v any) {
		for range n {
			v = []any{v}
		}
		return v
	}
	require.Equal(t, deep(256), roundTrip(t, c, deep(256), codec.Copy))
	_, err = codec.Encode(c, deep(257))
	require.ErrorIs(t, err, codec.ErrEncode)

	meta := []byte(strings.Repeat("\x83\x60", 300)) // each ring: an array of name and next
	_, err = codec.Decode[*ring](c, codec.Value{Meta: meta}, codec.View)
	requireDecodeError(t, err, strings.Repeat(".Next", 256), "deeper than 256")
	_, err = codec.Decode[any](c, codec.Value{Meta: []byte(strings.Repeat("\x81", 100000) + "\x00")}, codec.View)
	require.ErrorIs(t, err, codec.ErrDecode)
}

func TestContentsOfInterfacesAreChecked(t *testing.T) {
	c := codec.New(columns{})
	type box struct {
		A any
		B []map[string]any
	}
	type inner struct {
		C  any
		no chan int
	}
	ch := make(chan int)
	for _, x := range []struct {
		in     box
		path   string
		reason string
	}{
		{box{A: ch}, ".A", "chan"},
		{box{A: &inner{C: ch, no: ch}}, ".A.C", "chan"},
		{box{A: []any{1, [1]any{func() {}}}}, ".A[1][0]", "func"},
		{box{B: []map[string]any{nil, {"k": ch}}}, `.B[1]["k"]`, "chan"},
		{box{A: map[any]any{1: ch}}, ".A[1]", "chan"},
		{box{A: map[any]any{[2]int{}: 1}}, ".A[key]", "map key"},
		{box{A: complex(1, 2)}, ".A", "complex"},
		{box{A: []complex64{1}}, ".A[0]", "complex"},
		{box{A: wrapperspb.String("x")}, ".A", "lose its type"},
		{box{A: []any{&memColumn{}}}, ".A[0]", "lose its type"},
		{box{A: []chan int{}}, ".A", "CBOR"},
		{box{A: shout{"fail"}}, ".A", "bad column"},
	} {
		_, err := codec.Encode(c, x.in)
		requireEncodeError(t, err, x.path, x.reason)
	}
	_, err := codec.Encode(c, box{A: map[any]any{"n": nil, nil: 1, time.Time{}: shout{"ok"}}})
	require.NoError(t, err)
	_, err = codec.Encode(c, map[any]any{[1]int{}: 1})
	requireEncodeError(t, err, "[key]", "map key")
}

func TestMarshallingFailuresAreWrapped(t *testing.T) {
	c := codec.New(columns{})
	_, err := codec.Encode(c, []shout{{"ok"}, {"fail"}})
	requireEncodeError(t, err, "[1]", "bad column")
	require.ErrorIs(t, err, errBad)
	_, err = codec.Encode(c, map[string]shout{"k": {"fail"}})
	requireEncodeError(t, err, `["k"]`, "bad column")
	_, err = codec.Encode(c, map[shout]int{{"fail"}: 1})
	requireEncodeError(t, err, "[key]", "bad column")
	_, err = codec.Encode(c, sheet{First: &memColumn{label: "bad"}})
	requireEncodeError(t, err, ".First", "bad column")
	require.ErrorIs(t, err, errBad)

	v, err := codec.Encode(c, []shout{{"ok"}, {"refuse"}})
	require.NoError(t, err)
	_, err = codec.Decode[[]shout](c, v, codec.View)
	requireDecodeError(t, err, "[1]", "bad column")
	require.ErrorIs(t, err, errBad)
	for _, label := range []string{"refused", "stranger", "nothing"} {
		v, err = codec.Encode(c, sheet{First: &memColumn{label: label}})
		require.NoError(t, err)
		_, err = codec.Decode[sheet](c, v, codec.View)
		requireDecodeError(t, err, ".First", "extension")
	}
}

func TestPlansRefuseOtherTypes(t *testing.T) {
	plan, err := codec.New().For(reflect.TypeFor[job]())
	require.NoError(t, err)
	for _, v := range []any{nil, 1, &job{}, struct{}{}} {
		_, err = plan.Encode(v)
		requireEncodeError(t, err, "", "the plan is for codec_test.job")
	}
}

func TestBuffersThatDoNotFitAreErrors(t *testing.T) {
	c := codec.New(columns{})
	good, err := codec.Encode(c, newJob(100))
	require.NoError(t, err)
	swap := func(change func(v *codec.Value)) codec.Value {
		v := codec.Value{Meta: append([]byte(nil), good.Meta...), Bufs: append([][]byte(nil), good.Bufs...)}
		change(&v)
		return v
	}
	for _, x := range []struct {
		name, path, reason string
		change             func(v *codec.Value)
	}{
		{"missing", ".Mask", "missing", func(v *codec.Value) { v.Bufs = v.Bufs[:2] }},
		{"surplus", "", "too many", func(v *codec.Value) { v.Bufs = append(v.Bufs, nil) }},
		{"short", ".Labels", "does not hold", func(v *codec.Value) { v.Bufs[1] = v.Bufs[1][8:] }},
		{"ragged", ".Labels", "does not hold", func(v *codec.Value) { v.Bufs[1] = v.Bufs[1][1:] }},
		{"exchanged", ".Input", "does not hold", func(v *codec.Value) { v.Bufs[0], v.Bufs[1] = v.Bufs[1], v.Bufs[0] }},
		{"no boolean", ".Mask", "other than 0 and 1", func(v *codec.Value) { v.Bufs[2] = []byte(strings.Repeat("\x02", 100)) }},
		{"trailing", "", "too many", func(v *codec.Value) { v.Meta = append(v.Meta, 0) }},
		{"cut", ".Mask", "too early", func(v *codec.Value) { v.Meta = v.Meta[:len(v.Meta)-2] }},
		{"empty", "", "too early", func(v *codec.Value) { v.Meta = nil }},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, mode := range []codec.Mode{codec.View, codec.Copy} {
				out, err := codec.Decode[job](c, swap(x.change), mode)
				requireDecodeError(t, err, x.path, x.reason)
				require.Zero(t, out)
			}
		})
	}
}

func TestBytesThatDoNotFitAreErrors(t *testing.T) {
	huge := "\x1b\xff\xff\xff\xff\xff\xff\xff\xff"
	for _, x := range []struct {
		decode       func(c *codec.Codec, v codec.Value) (any, error)
		meta         string
		path, reason string
	}{
		{into[int8], "\x18\x80", "", "8 bits"},
		{into[int8], "\x38\x80", "", "8 bits"},
		{into[uint8], "\x19\x01\x00", "", "8 bits"},
		{into[int64], huge, "", "64 bits"},
		{into[int64], "\x60", "", "not an integer"},
		{into[uint64], "\x20", "", "major type"},
		{into[int], "\x1f", "", "not the start"},
		{into[int], "\x19\x01", "", "too early"},
		{into[bool], "\x01", "", "not a boolean"},
		{into[float32], "\xfb\x00\x00\x00\x00\x00\x00\x00\x00", "", "want 0xfa"},
		{into[float64], "\xfb\x00", "", "too early"},
		{into[complex64], "\x83", "", "want 2"},
		{into[string], "\x62a", "", "too early"},
		{into[string], "\x7b\xff\xff\xff\xff\xff\xff\xff\xff", "", "too early"},
		{into[string], "\x61aa", "", "too many"},
		{into[struct{}], "\x80", "", "too many"},
		{into[struct{ A, B int }], "\x83\x00\x00\x00", "", "3 elements, want 2"},
		{into[struct{ A, B int }], "\x82\x00\x60", ".B", "not an integer"},
		{into[[]string], "\x9b\x00\x00\x00\x00\x10\x00\x00\x00", "", "limit"},
		{into[[]string], "\x9a\x00\x10\x00\x00\x60", "", "too early"},
		{into[[2]string], "\x81\x60", "", "want 2"},
		{into[[2]int16], "\x43\x00\x00\x00", "", "3 bytes, want 4"},
		{into[[2]bool], "\x42\x00\x02", "", "other than 0 and 1"},
		{into[*[]byte], "\x82\x40\x40", "", "want 1"},
		{into[map[string]int], "\xa2\x61a\x00\x61a\x00", `["a"]`, "twice"},
		{into[map[string]int], "\xa1\x61a\x60", `["a"]`, "not an integer"},
		{into[map[string]int], "\xa1\x00\x60", "[key]", "major type"},
		{into[map[any]int], "\xa1\x80\x00", "", "compared"},
		{into[map[int]int], "\xbb\x00\x00\x00\x00\x03\x00\x00\x00", "", "too early"},
		{into[any], "\xa2\x00\x00\x00\x00", "", "CBOR"},
		{into[any], "\x9f\xff", "", "CBOR"},
		{into[*[]float64], "\x81" + huge, "", "missing"},
		{into[time.Time], "\x41\x00", "", "unmarshalling"},
		{into[time.Time], "\x00", "", "major type"},
		{into[*wrapperspb.StringValue], "\x0a\x05a", "", "unmarshalling"},
		{into[struct{ A []int32 }], "\x81\x43\x00\x00\x00", ".A", "multiple"},
		{into[struct{ A []int32 }], "\x81\x62ab", ".A", "major type"},
		{into[struct{ A []int32 }], "\x81\x45ab", ".A", "too early"},
		{into[[2]string], "\x82\x60\x00", "[1]", "major type"},
		{into[[]string], "\x82\x60\x00", "[1]", "major type"},
		{into[[]string], "\x60", "", "major type"},
		{into[map[int]string], "\xa1\x05\x05", "[]", "major type"},
		{into[int32], "\x1a\x80\x00\x00\x00", "", "32 bits"},
		{into[bool], "", "", "too early"},
		{into[uint64], "", "", "too early"},
		{into[column], "\x82\x40\x01", "", "0 buffers are left, want 1"},
		{into[column], "\x81\x40", "", "want 2"},
		{into[column], "\x82\x00\x00", "", "major type"},
		{into[column], "\x82\x40\x40", "", "major type"},
	} {
		_, err := x.decode(codec.New(columns{}), codec.Value{Meta: []byte(x.meta)})
		requireDecodeError(t, err, x.path, x.reason)
	}
}

func into[T any](c *codec.Codec, v codec.Value) (any, error) {
	return codec.Decode[T](c, v, codec.View)
}

func TestRootBuffersThatDoNotFitAreErrors(t *testing.T) {
	c := codec.New()
	three := []byte{1, 2, 3}
	for _, v := range []codec.Value{
		{Bufs: [][]byte{three}}, {Bufs: [][]byte{{}, {}}}, {Meta: three}, {Meta: three, Bufs: [][]byte{{}}},
	} {
		for _, decode := range []func(*codec.Codec, codec.Value) (any, error){into[[]float32], into[[]uint16], into[vec]} {
			_, err := decode(c, v)
			requireDecodeError(t, err, "", "")
		}
	}
	_, err := into[[]bool](c, codec.Value{Bufs: [][]byte{{0, 1, 2}}})
	requireDecodeError(t, err, "", "other than 0 and 1")
	_, err = into[*wrapperspb.StringValue](c, codec.Value{Bufs: [][]byte{three}})
	requireDecodeError(t, err, "", "too many")
	_, err = into[float64](c, codec.Value{Meta: append([]byte{0xfb}, make([]byte, 8)...), Bufs: [][]byte{three}})
	requireDecodeError(t, err, "", "too many")
}

func TestFlatFormTrustsNoLength(t *testing.T) {
	v := codec.Value{Meta: []byte("meta"), Bufs: [][]byte{make([]byte, 100), nil, {}, {7}}}
	good := codec.AppendValue(nil, v)
	parsed, err := codec.ParseValue(good, len(good))
	require.NoError(t, err)
	require.Equal(t, v, parsed)
	require.Zero(t, len(good)%64-1, "the last buffer begins on a boundary")

	for n := range good {
		_, err = codec.ParseValue(good[:n], len(good))
		requireDecodeError(t, err, "", "flat form")
	}
	_, err = codec.ParseValue(good, len(good)-1)
	requireDecodeError(t, err, "", "limit")
	for _, x := range []struct {
		reason string
		change func(b []byte) []byte
	}{
		{"version", func(b []byte) []byte { b[0] = 9; return b }},
		{"version", func(b []byte) []byte { b[3] = 1; return b }},
		{"table", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[4:], math.MaxUint32); return b }},
		{"Meta", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[8:], math.MaxUint64); return b }},
		{"Meta", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[8:], uint64(len(b)-32)); return b }},
		{"buffer 0", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[16:], math.MaxUint64-1); return b }},
		{"buffer 3", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[40:], 2); return b }},
		{"padding", func(b []byte) []byte { b[60] = 1; return b }},
		{"surplus", func(b []byte) []byte { return append(b, 0) }},
	} {
		_, err = codec.ParseValue(x.change(append([]byte(nil), good...)), math.MaxInt)
		requireDecodeError(t, err, "", x.reason)
	}
}

func TestErrorsNameTypeAndPath(t *testing.T) {
	err := &codec.EncodeError{Type: reflect.TypeFor[job](), Path: ".A", Reason: "why", Err: errors.New("cause")}
	require.EqualError(t, err, "codec: cannot encode codec_test.job at .A: why: cause")
	require.EqualError(t, &codec.DecodeError{Reason: "why"}, "codec: cannot decode value: why")
}
