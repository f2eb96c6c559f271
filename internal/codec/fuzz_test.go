// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/codec"
)

func fuzzTypes() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[rich](), reflect.TypeFor[[]float32](), reflect.TypeFor[[]bool](), reflect.TypeFor[job](),
		reflect.TypeFor[*tree](), reflect.TypeFor[any](), reflect.TypeFor[map[any]any](), reflect.TypeFor[sheet](),
		reflect.TypeFor[scalars](), reflect.TypeFor[nest](), reflect.TypeFor[struct{}](), reflect.TypeFor[[]string](),
	}
}

// FuzzParseValue checks that the flat form has exactly one encoding of each value.
func FuzzParseValue(f *testing.F) {
	f.Add([]byte{})
	f.Add(codec.AppendValue(nil, codec.Value{}))
	f.Add(codec.AppendValue(nil, codec.Value{Meta: []byte("meta"), Bufs: [][]byte{nil, {}, {1, 2, 3}, make([]byte, 70)}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := codec.ParseValue(src, math.MaxInt)
		if err != nil {
			require.ErrorIs(t, err, codec.ErrDecode)
			return
		}
		if got := codec.AppendValue(nil, v); !bytes.Equal(got, src) {
			t.Fatalf("parsed % x, wrote % x", src, got)
		}
	})
}

// FuzzDecode checks that whatever decodes, encodes again to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	c := codec.New(columns{})
	types := fuzzTypes()
	for i, typ := range types {
		plan, err := c.For(typ)
		require.NoError(f, err)
		for seed := range uint64(3) {
			g := generator{Rand: rand.New(rand.NewPCG(seed, 2))}
			v, err := plan.Encode(g.value(typ).Interface())
			require.NoError(f, err)
			f.Add(uint8(i), codec.AppendValue(nil, v))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, flat []byte) {
		plan, err := c.For(types[int(which)%len(types)])
		require.NoError(t, err)
		v, err := codec.ParseValue(flat, math.MaxInt)
		if err != nil {
			// Most mutations break the flat form; they are still worth a try as a structured part.
			v = codec.Value{Meta: flat, Bufs: [][]byte{flat[:len(flat)/8*8]}}
		}
		for _, mode := range []codec.Mode{codec.View, codec.Copy} {
			out, err := plan.Decode(v, mode)
			if err != nil {
				require.ErrorIs(t, err, codec.ErrDecode)
				continue
			}
			first, err := plan.Encode(out)
			if errors.Is(err, codec.ErrEncode) {
				continue // an interface may hold what CBOR can say and Go cannot send, such as tags nested too deep
			}
			require.NoError(t, err)
			again, err := plan.Decode(first, mode)
			require.NoError(t, err)
			second, err := plan.Encode(again)
			require.NoError(t, err)
			require.Equal(t, first, second)
		}
	})
}
