// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/internal/codec"
)

func roundTrip[T any](t *testing.T, c *codec.Codec, in T, mode codec.Mode) T {
	t.Helper()
	v, err := codec.Encode(c, in)
	require.NoError(t, err)
	flat := codec.AppendValue([]byte("prefix of odd length"), v)[len("prefix of odd length"):]
	require.Len(t, flat, codec.FlatSize(v))
	parsed, err := codec.ParseValue(flat, len(flat))
	require.NoError(t, err)
	out, err := codec.Decode[T](c, parsed, mode)
	require.NoError(t, err)
	return out
}

func TestRandomValuesRoundTrip(t *testing.T) {
	c := codec.New()
	types := []reflect.Type{
		reflect.TypeFor[rich](), reflect.TypeFor[*rich](), reflect.TypeFor[scalars](), reflect.TypeFor[bulks](),
		reflect.TypeFor[tree](), reflect.TypeFor[nest](), reflect.TypeFor[any](), reflect.TypeFor[map[string]any](),
		reflect.TypeFor[[]any](), reflect.TypeFor[map[any]any](), reflect.TypeFor[[]rich](), reflect.TypeFor[[3]vec](),
	}
	bulk := reflect.TypeFor[bulks]()
	for field := range bulk.Fields() {
		types = append(types, field.Type, reflect.PointerTo(field.Type))
	}
	scalar := reflect.TypeFor[scalars]()
	for field := range scalar.Fields() {
		types = append(types, field.Type, reflect.PointerTo(field.Type))
	}
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) {
			plan, err := c.For(typ)
			require.NoError(t, err)
			for seed := range uint64(40) {
				g := generator{Rand: rand.New(rand.NewPCG(seed, 1))}
				in := g.value(typ)
				before := normal(in)
				v, err := plan.Encode(in.Interface())
				require.NoError(t, err)
				require.Equal(t, before, normal(in), "encoding changed its input")
				again, err := plan.Encode(in.Interface())
				require.NoError(t, err)
				require.Equal(t, v, again, "encoding is not deterministic")

				flat := codec.AppendValue(nil, v)
				parsed, err := codec.ParseValue(flat, len(flat))
				require.NoError(t, err)
				for _, mode := range []codec.Mode{codec.View, codec.Copy} {
					out, err := plan.Decode(parsed, mode)
					require.NoError(t, err)
					require.Equal(t, before, normal(reflect.ValueOf(out)), "seed %d", seed)
				}
			}
		})
	}
}

// The generic functions and the plans must agree on every byte.
func TestFastPathsMatchPlans(t *testing.T) {
	fastPath(t, struct{}{})
	fastPath(t, []float32{1, 2})
	fastPath(t, []float32(nil))
	fastPath(t, []float32{})
	fastPath(t, []float64{1})
	fastPath(t, []byte("abc"))
	fastPath(t, []int64{-1})
	fastPath(t, []int32{-1})
	fastPath(t, math.Pi)
	fastPath(t, float32(math.Pi))
	fastPath(t, true)
	fastPath(t, false)
	for _, i := range []int64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxInt64, -1, -24, -25, math.MinInt64} {
		fastPath(t, i)
		fastPath(t, int(i))
		fastPath(t, int32(i))
		fastPath(t, uint64(i))
		fastPath(t, uint32(i))
	}
	fastPath(t, "some text, not all of it UTF-8: \xff")
	fastPath(t, "")
}

func fastPath[T any](t *testing.T, in T) {
	t.Helper()
	c := codec.New()
	plan, err := c.For(reflect.TypeFor[T]())
	require.NoError(t, err)
	slow, err := plan.Encode(in)
	require.NoError(t, err)
	fast, err := codec.Encode(c, in)
	require.NoError(t, err)
	require.Equal(t, slow, fast)
	for _, mode := range []codec.Mode{codec.View, codec.Copy} {
		got, err := plan.Decode(fast, mode)
		require.NoError(t, err)
		require.Equal(t, in, got)
		out, err := codec.Decode[T](c, slow, mode)
		require.NoError(t, err)
		require.Equal(t, in, out)
	}
}

// These bytes are the format: a change here needs a new version of the flat form.
func TestFormatIsPinned(t *testing.T) {
	type inner struct{ Mask []bool }
	v, err := codec.Encode(codec.New(), struct {
		ID    int16
		Name  string
		Small []uint16
		Big   []float32
		None  []float64
		Next  *inner
		By    map[string]int
		Fixed [2]uint8
		When  time.Time
	}{-2, "n", []uint16{1, 2}, make([]float32, 17), nil, &inner{[]bool{true}}, map[string]int{"b": 1, "aa": 2}, [2]uint8{8, 9}, time.Unix(0, 0).UTC()})
	require.NoError(t, err)
	require.Equal(t, "89"+"21"+"616e"+"4401000200"+"11"+"f6"+"814101"+"a2"+"616201"+"62616102"+"420809"+
		"4f01"+"0000000e7791f700"+"00000000"+"ffff", hex.EncodeToString(v.Meta))
	require.Equal(t, [][]byte{make([]byte, 68)}, v.Bufs)

	flat := codec.AppendValue(nil, codec.Value{Meta: []byte{0x81, 0x05}, Bufs: [][]byte{{7}, nil}})
	require.Equal(t, "01000000"+"02000000"+"0200000000000000"+"0100000000000000"+"ffffffffffffffff"+"8105"+
		strings.Repeat("00", 30)+"07", hex.EncodeToString(flat))
}

func TestNilEmptyAndFullStayDistinct(t *testing.T) {
	c := codec.New()
	for _, s := range [][]float32{nil, {}, {1}, make([]float32, 100)} {
		require.Equal(t, s, roundTrip(t, c, s, codec.View))
		require.Equal(t, vec(s), roundTrip(t, c, vec(s), codec.Copy))
		require.Equal(t, &s, roundTrip(t, c, &s, codec.View))
		require.Equal(t, bulks{F32: s}, roundTrip(t, c, bulks{F32: s}, codec.View))
		require.Equal(t, [][]float32{s, nil, s}, roundTrip(t, c, [][]float32{s, nil, s}, codec.View))
	}
	require.Equal(t, map[string]vec(nil), roundTrip(t, c, map[string]vec(nil), codec.View))
	require.Equal(t, map[string]vec{}, roundTrip(t, c, map[string]vec{}, codec.View))
	require.Equal(t, []string(nil), roundTrip(t, c, []string(nil), codec.View))
	require.Equal(t, []string{}, roundTrip(t, c, []string{}, codec.View))
	var inner *int
	require.Equal(t, &inner, roundTrip(t, c, &inner, codec.View))
	require.Nil(t, roundTrip[**int](t, c, nil, codec.View))
	got, err := codec.Decode[[]float32](c, codec.Value{Bufs: [][]byte{nil}}, codec.View)
	require.NoError(t, err)
	require.Equal(t, []float32{}, got)
}

func TestNaNBitsSurvive(t *testing.T) {
	c := codec.New()
	const bits64, bits32 = 0x7ff4000000000123, 0x7fa00123
	f64, f32 := math.Float64frombits(bits64), math.Float32frombits(bits32)
	require.Equal(t, uint64(bits64), math.Float64bits(roundTrip(t, c, f64, codec.View)))
	require.Equal(t, uint32(bits32), math.Float32bits(roundTrip(t, c, f32, codec.View)))
	got := roundTrip(t, c, scalars{F32: f32, F64: f64}, codec.Copy)
	require.Equal(t, uint64(bits64), math.Float64bits(got.F64))
	require.Equal(t, uint32(bits32), math.Float32bits(got.F32))
}

func TestSkippedFieldsStayBehind(t *testing.T) {
	c := codec.New()
	in := rich{Skipped: []float32{1}, SkippedJ: []float32{2}, private: []float32{3}, Tagged: []float32{4}}
	out := roundTrip(t, c, in, codec.Copy)
	require.Nil(t, out.Skipped)
	require.Nil(t, out.SkippedJ)
	require.Nil(t, out.private)
	require.Equal(t, in.Tagged, out.Tagged)
}

func TestStructWithoutFieldsIsEmpty(t *testing.T) {
	type marker struct {
		_       [8]byte
		Skipped chan int `cbor:"-"`
	}
	c := codec.New()
	v, err := codec.Encode(c, marker{})
	require.NoError(t, err)
	require.Zero(t, v)
	_, err = codec.Decode[marker](c, v, codec.View)
	require.NoError(t, err)
}

func TestStructThatWouldArriveEmptyIsRefused(t *testing.T) {
	type hidden struct{ a, b int } //nolint:unused // only that they are there matters
	type outer struct{ Inner []hidden }
	c := codec.New()
	_, err := codec.Encode(c, outer{})
	require.ErrorIs(t, err, codec.ErrEncode)
	require.ErrorContains(t, err, "hidden")
	require.ErrorContains(t, err, ".Inner[]")
	require.ErrorContains(t, err, "no exported fields")
}

func TestProtobufAtTheRoot(t *testing.T) {
	c := codec.New()
	for _, in := range []*wrapperspb.StringValue{nil, {}, wrapperspb.String("hello")} {
		out := roundTrip(t, c, in, codec.View)
		require.Equal(t, in == nil, out == nil)
		require.Equal(t, in.GetValue(), out.GetValue())
	}
}

func TestExtensionsTakeTheirTypesWhole(t *testing.T) {
	c := codec.New(columns{})
	big := make([]int64, 100)
	in := sheet{
		Title: "s", First: &memColumn{"a", big}, Second: &memColumn{"b", []int64{1}},
		All: []column{nil, &memColumn{"c", nil}, &memColumn{"d", []int64{}}}, After: make([]float64, 9),
	}
	for _, mode := range []codec.Mode{codec.View, codec.Copy} {
		require.Equal(t, in, roundTrip(t, c, in, mode))
		require.Equal(t, in.First, roundTrip(t, c, in.First, mode))
		require.Nil(t, roundTrip[*memColumn](t, c, nil, mode))
	}
	v, err := codec.Encode(c, in)
	require.NoError(t, err)
	require.Same(t, &big[0], asInt64(v.Bufs[0]), "the extension's buffer was copied")
}

type numbered int32

// counter is an extension for a number, whose slices must then not be taken for memory.
type counter struct{}

func (counter) Match(t reflect.Type) bool { return t == reflect.TypeFor[numbered]() }

func (counter) Encode(v any) ([]byte, [][]byte, error) {
	n, _ := v.(numbered)
	return []byte{byte(n)}, nil, nil
}

func (counter) Decode(_ reflect.Type, meta []byte, _ [][]byte, _ codec.Mode) (any, error) {
	return numbered(meta[0]) + 100, nil
}

func TestExtensionsTakeElementsToo(t *testing.T) {
	c := codec.New(columns{}, counter{})
	require.Equal(t, []numbered{101, 102}, roundTrip(t, c, []numbered{1, 2}, codec.View))
	require.Equal(t, [1]numbered{103}, roundTrip(t, c, [1]numbered{3}, codec.View))
}

type base struct{ Data []float32 }

func TestEmbeddedStructsTravel(t *testing.T) {
	type closed struct {
		*base
		*wrapperspb.StringValue

		N int
	}
	type dated struct{ time.Time }
	c := codec.New()
	in := closed{base: &base{make([]float32, 20)}, StringValue: wrapperspb.String("in"), N: 7}
	out := roundTrip(t, c, in, codec.Copy)
	require.Equal(t, in.base, out.base)
	require.Equal(t, "in", out.Value)
	require.Equal(t, 7, out.N)
	require.Equal(t, closed{N: 1}, roundTrip(t, c, closed{N: 1}, codec.Copy))
	now := time.Now().UTC().Round(0)
	require.Equal(t, dated{now}, roundTrip(t, c, dated{now}, codec.Copy))
}

func TestLongSlicesGrowAsTheyAreRead(t *testing.T) {
	c := codec.New()
	in := make([]struct{ A, B string }, 10_000)
	in[9_999].B = "last"
	require.Equal(t, in, roundTrip(t, c, in, codec.Copy))
	require.Equal(t, make([]struct{}, 70_000), roundTrip(t, c, make([]struct{}, 70_000), codec.Copy))
}

func TestOneCodecServesManyGoroutines(t *testing.T) {
	c := codec.New(columns{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for _, n := range []int{i, 100 + i} {
				v, err := codec.Encode(c, newJob(n))
				assert.NoError(t, err)
				got, err := codec.Decode[job](c, v, codec.View)
				assert.NoError(t, err)
				assert.Equal(t, newJob(n), got)
			}
			_, err := codec.Encode(c, chain(i))
			assert.NoError(t, err)
			_, err = codec.Encode(c, func() {})
			assert.ErrorIs(t, err, codec.ErrEncode)
		})
	}
	all.Wait()
}

func TestHalfAPairOfMethodsIsPassedOver(t *testing.T) {
	c := codec.New()
	require.Equal(t, half(3), roundTrip(t, c, half(3), codec.View))
	require.Equal(t, []half{3}, roundTrip(t, c, []half{3}, codec.View))
	require.Equal(t, shout{"x"}, roundTrip(t, c, shout{"x"}, codec.View))
	require.Equal(t, []shout{{"x"}}, roundTrip(t, c, []shout{{"x"}}, codec.View))
}
