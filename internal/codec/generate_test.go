// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// generator fills values at random, nil and empty as often as not. Skipped and unexported fields stay zero so that what
// goes in must equal what comes out.
type generator struct {
	*rand.Rand

	depth int
}

func (g *generator) value(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	g.fill(v)
	return v
}

func (g *generator) length() int {
	if g.depth > 5 {
		return 0
	}
	return [...]int{0, 1, 2, 3, 17, 70}[g.IntN(6)]
}

func (g *generator) fill(v reflect.Value) {
	g.depth++
	defer func() { g.depth-- }()
	if g.special(v) {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(g.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(g.Uint64() >> g.IntN(64)))
		if g.IntN(2) == 0 {
			v.SetInt(-v.Int())
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(g.Uint64() >> g.IntN(64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(g.float())
	case reflect.Complex64, reflect.Complex128:
		v.SetComplex(complex(g.float(), g.float()))
	case reflect.String:
		b := make([]byte, g.IntN(40))
		for i := range b {
			b[i] = byte(g.Uint32())
		}
		v.SetString(string(b))
	default:
		g.container(v)
	}
}

func (g *generator) float() float64 {
	return [...]float64{0, math.Copysign(0, -1), 1, -1.5, math.Inf(1), math.Inf(-1), g.NormFloat64(), 3e7}[g.IntN(8)]
}

func (g *generator) container(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // the other kinds are no containers
	case reflect.Pointer:
		if g.IntN(3) > 0 && g.depth < 8 {
			v.Set(reflect.New(v.Type().Elem()))
			g.fill(v.Elem())
		}
	case reflect.Slice:
		if g.IntN(4) == 0 {
			return
		}
		n := g.length()
		if g.depth > 2 || v.Type().Elem().Size() > 16 {
			n = min(n, 20)
		}
		if v.Type().Elem().Size() > 16 {
			n = min(n, 2)
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			g.fill(v.Index(i))
		}
	case reflect.Map:
		if g.IntN(4) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range min(g.length(), 5) {
			if k := g.value(v.Type().Key()); k.Comparable() && !isPointerInside(k) {
				v.SetMapIndex(k, g.value(v.Type().Elem()))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Tag.Get("cbor") == "-" || f.Tag.Get("json") == "-" {
				continue
			}
			if f.IsExported() {
				g.fill(v.Field(i))
			} else if f.Anonymous {
				g.fill(v.Field(i).Field(0))
			}
		}
	case reflect.Interface:
		g.content(v)
	}
}

func isPointerInside(k reflect.Value) bool {
	return k.Kind() == reflect.Interface && k.Elem().Kind() == reflect.Pointer
}

func (g *generator) content(v reflect.Value) {
	choices := []any{
		nil, true, "text", uint64(1) << 63, int64(-4), 1.5,
		[]byte{1, 2},
		[]any{uint64(1), "x"},
		map[any]any{"k": uint64(1), uint64(2): nil},
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), new(big.Int).Lsh(big.NewInt(1), 99),
	}
	if c := choices[g.IntN(len(choices))]; c != nil {
		v.Set(reflect.ValueOf(c))
	}
}

func (g *generator) special(v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		zones := []*time.Location{time.UTC, time.FixedZone("", 3600), time.FixedZone("", -5*3600-1800)}
		*p = time.Unix(g.Int64N(1<<33), g.Int64N(1e9)).In(zones[g.IntN(len(zones))])
	case **big.Int:
		if g.IntN(3) > 0 {
			*p = new(big.Int).Lsh(big.NewInt(g.Int64()-(1<<62)), uint(g.IntN(90)))
		}
	case *netip.Addr:
		if g.IntN(3) > 0 {
			*p = netip.AddrFrom4([4]byte{1, 2, 3, byte(g.IntN(256))})
		}
	case *column:
		if g.IntN(3) > 0 {
			*p = &memColumn{label: "c", cells: make([]int64, g.length())}
		}
	case **wrapperspb.StringValue:
		if g.IntN(3) > 0 {
			*p = wrapperspb.String("m")
		}
	default:
		return false
	}
	return true
}

// normal replaces what reflect.DeepEqual cannot compare by something that it can: messages by their bytes, times and
// integers by their text.
func normal(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Interface:
		return normal(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if m, ok := reflect.TypeAssert[proto.Message](v); ok {
			b, err := proto.Marshal(m)
			return []any{"message", string(b), err}
		}
		if b, ok := reflect.TypeAssert[*big.Int](v); ok {
			return b.String()
		}
		return []any{normal(v.Elem())}
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[time.Time](v); ok {
			return t.Format(time.RFC3339Nano)
		}
		if a, ok := reflect.TypeAssert[netip.Addr](v); ok {
			return a
		}
		return normalFields(v)
	case reflect.Slice, reflect.Array, reflect.Map:
		return normalElements(v)
	case reflect.Float32:
		return math.Float32bits(float32(v.Float()))
	case reflect.Float64:
		return math.Float64bits(v.Float())
	case reflect.Complex64, reflect.Complex128:
		return [2]uint64{math.Float64bits(real(v.Complex())), math.Float64bits(imag(v.Complex()))}
	default:
		return v.Interface()
	}
}

func normalFields(v reflect.Value) any {
	out := map[string]any{}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			out[f.Name] = normal(v.Field(i))
		} else if f.Anonymous {
			out[f.Name] = normalFields(v.Field(i))
		}
	}
	return out
}

func normalElements(v reflect.Value) any {
	if v.Kind() != reflect.Array && v.IsNil() {
		return "nil"
	}
	if v.Kind() == reflect.Map {
		out := map[any]any{}
		for it := v.MapRange(); it.Next(); {
			k := it.Key()
			for k.Kind() == reflect.Interface {
				k = k.Elem()
			}
			if !k.IsValid() {
				out[nil] = normal(it.Value())
			} else if t, ok := reflect.TypeAssert[time.Time](k); ok {
				out[t.Format(time.RFC3339Nano)] = normal(it.Value())
			} else {
				out[k.Interface()] = normal(it.Value())
			}
		}
		return out
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = normal(v.Index(i))
	}
	return out
}
