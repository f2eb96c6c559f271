// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// encMode is how values inside interfaces, and types with their own CBOR, are written: sorted keys, times with
// nanoseconds and zone, the bits of NaN kept, big integers always as such.
func encMode() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NaNConvert = cbor.NaNConvertNone
	o.BigIntConvert = cbor.BigIntConvertNone
	o.Time = cbor.TimeRFC3339Nano
	o.TimeTag = cbor.EncTagRequired
	o.TextMarshaler = cbor.TextMarshalerTextString
	m, err := o.EncMode()
	if err != nil {
		panic("codec: CBOR options: " + err.Error()) // the options above are constants
	}
	return m
}

// decMode is the inverse of encMode, bounded. Unknown fields are an error: both sides compared type signatures before
// they sent anything, so one can only come from damage or a bug.
func decMode() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		TimeTag:           cbor.DecTagOptional,
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		IntDec:            cbor.IntDecConvertNone,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8DecodeInvalid,
		BigIntDec:         cbor.BigIntDecodePointer,
		TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	}.DecMode()
	if err != nil {
		panic("codec: CBOR options: " + err.Error()) // the options above are constants
	}
	return m
}

// walker looks over a value inside an interface before the CBOR library gets it: the library recurses without bound on
// cycles, and its errors do not say where.
type walker struct {
	path

	ext []Extension
}

func (w *walker) value(v reflect.Value) *EncodeError {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	t := v.Type()
	if reason := w.needsStaticType(t); reason != "" {
		return &EncodeError{Type: t, Reason: reason}
	}
	if libraryLeaf(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	case reflect.Struct:
		return w.structure(v)
	case reflect.Array:
		if err := w.descend(t); err != nil {
			return err
		}
		defer func() { w.depth-- }()
		return w.elements(v)
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if v.IsNil() {
			return nil
		}
		return w.reference(v)
	default:
		return &EncodeError{Type: t, Reason: "a " + t.Kind().String() + " cannot be sent inside an interface"}
	}
}

func (w *walker) reference(v reflect.Value) *EncodeError {
	s := step{of: v.Type(), at: v.UnsafePointer()}
	if v.Kind() != reflect.Pointer {
		s.len = v.Len()
	}
	if err := w.enter(v.Type(), s); err != nil {
		return err
	}
	defer w.leave()
	switch v.Kind() {
	case reflect.Pointer:
		return w.value(v.Elem())
	case reflect.Map:
		return w.mapping(v)
	default:
		return w.elements(v)
	}
}

func (w *walker) structure(v reflect.Value) *EncodeError {
	// A struct counts as a level of its own, since it is one for the library.
	if err := w.descend(v.Type()); err != nil {
		return err
	}
	defer func() { w.depth-- }()
	for f := range sentFields(v.Type()) {
		if err := w.value(v.FieldByIndex(f.Index)); err != nil {
			return err.within("." + f.Name)
		}
	}
	return nil
}

func (w *walker) elements(v reflect.Value) *EncodeError {
	elem := v.Type().Elem()
	if k := elem.Kind(); k == reflect.String || isNumber(k) && k != reflect.Complex64 && k != reflect.Complex128 {
		return nil
	}
	for i := range v.Len() {
		if err := w.value(v.Index(i)); err != nil {
			return err.within("[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

func (w *walker) mapping(v reflect.Value) *EncodeError {
	for it := v.MapRange(); it.Next(); {
		if err := dynamicKey(it.Key()); err != nil {
			return err.within("[key]")
		}
		if err := w.value(it.Value()); err != nil {
			return err.within(fmt.Sprintf("[%#v]", it.Key()))
		}
	}
	return nil
}

// dynamicKey admits the keys that the receiver, which sees no Go type, can use as keys again.
func dynamicKey(k reflect.Value) *EncodeError {
	for k.Kind() == reflect.Interface {
		k = k.Elem()
	}
	if !k.IsValid() {
		return nil
	}
	switch k.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	default:
		if k.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
	}
	return &EncodeError{Type: k.Type(), Reason: "cannot be a map key inside an interface"}
}

// needsStaticType explains why a value that loses its type inside an interface would not come back.
func (w *walker) needsStaticType(t reflect.Type) string {
	if isMessage(t) || isMessage(reflect.PointerTo(t)) {
		return "a protobuf message inside an interface would lose its type"
	}
	for _, x := range w.ext {
		if x.Match(t) {
			return "a value of an extension inside an interface would lose its type"
		}
	}
	return ""
}

// libraryLeaf reports whether the CBOR library calls a method of t instead of looking into it.
func libraryLeaf(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		return false
	}
	p := reflect.PointerTo(t)
	return t == reflect.TypeFor[big.Int]() || implements[cbor.Marshaler](p) || implements[encoding.BinaryMarshaler](p) ||
		implements[encoding.TextMarshaler](p)
}
