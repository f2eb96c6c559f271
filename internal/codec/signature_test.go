// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/internal/codec"
)

func signature[T any]() string {
	text, _ := codec.Signature(reflect.TypeFor[T]())
	return text
}

// These texts are part of the protocol: nodes of different builds compare them.
func TestSignaturesAreStable(t *testing.T) {
	const pkg = "github.com/tutti-go/tutti/internal/codec_test."
	type closed struct{ a int } //nolint:unused // a struct without a field that travels
	type point struct{ X, Y float64 }
	type line struct{ From, To point }
	intN := fmt.Sprintf("int:%d", reflect.TypeFor[int]().Bits())
	for text, got := range map[string]string{
		"[]float32":  signature[[]float32](),
		"[]" + intN:  signature[[]int](),
		"float64":    signature[float64](),
		"int16":      signature[level](),
		"struct{}":   signature[struct{}](),
		"any":        signature[any](),
		"[3]*string": signature[[3]*string](),
		"struct{A []float32 \"a,omitempty\"; B map[string]bool}": signature[struct {
			A []float32 `cbor:"a,omitempty"`
			B map[string]bool
			c int
			D func() `json:"-"`
		}](),
		"binary(time.Time)":            signature[time.Time](),
		"text(" + pkg + "shout)":       signature[shout](),
		"interface(" + pkg + "column)": signature[column](),
		"struct{" + pkg + "closed}":    signature[closed](),
		"chan":                         signature[chan int](),
		"[]#0":                         signature[nest](),
		"struct{From struct{X float64; Y float64}; To #1}":                          signature[line](),
		"struct{Name string; Next *#0; Any any}":                                    signature[ring](),
		"proto(google.golang.org/protobuf/types/known/wrapperspb.StringValue)":      signature[*wrapperspb.StringValue](),
		"struct{Data []float32; Kids []*#0; Left *#0; Any any; Map map[string]*#0}": signature[tree](),
	} {
		require.Equal(t, text, got)
	}
	text, hash := codec.Signature(nil)
	require.Equal(t, "nil", text)
	require.NotZero(t, hash)
	_, hash = codec.Signature(reflect.TypeFor[[]float32]())
	require.Equal(t, uint64(0xad88ace88c55adb0), hash)
}

func TestSignaturesTellTypesApart(t *testing.T) {
	seen := map[uint64]string{}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[struct{ A, B int32 }](),
		reflect.TypeFor[struct{ B, A int32 }](),
		reflect.TypeFor[struct{ A, C int32 }](),
		reflect.TypeFor[struct{ A, B uint32 }](),
		reflect.TypeFor[struct {
			A int32 `cbor:"x"`
			B int32
		}](),
		reflect.TypeFor[struct {
			A int32 `cbor:"x,omitempty"`
			B int32
		}](),
		reflect.TypeFor[[]*ring](),
		reflect.TypeFor[ring](),
		reflect.TypeFor[rich](),
	} {
		text, hash := codec.Signature(typ)
		require.Empty(t, seen[hash], text)
		seen[hash] = text
	}
}
