// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"hash/fnv"
	"reflect"
	"strconv"
	"strings"
)

// Signature describes the structure of t as it travels: two builds whose texts agree can exchange values of t. The
// text changes when the name, tag, order or type of a field that travels changes, and does not depend on the process,
// the build or the names of structs. A type met again is written as #n, n being its place among the named types and
// structs, so recursive types terminate. Types with their own encoding, and structs without a field that travels, are
// known by name only. The hash is the 64-bit FNV-1a of the text.
func Signature(t reflect.Type) (text string, hash uint64) {
	s := signer{seen: map[reflect.Type]int{}}
	s.write(t)
	text = s.text.String()
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // a hash never fails
	return text, h.Sum64()
}

type signer struct {
	text strings.Builder
	seen map[reflect.Type]int
}

func (s *signer) put(parts ...string) {
	for _, p := range parts {
		s.text.WriteString(p)
	}
}

func (s *signer) write(t reflect.Type) {
	if t == nil {
		s.put("nil")
		return
	}
	if isMessage(t) {
		s.put("proto(", typeName(t.Elem()), ")")
		return
	}
	if own, ok := selfMarshalling(t); ok {
		s.put([...]string{opCBOR: "cbor", opBinary: "binary", opText: "text"}[own], "(", typeName(t), ")")
		return
	}
	if canRecur(t) {
		if n, ok := s.seen[t]; ok {
			s.put("#", strconv.Itoa(n))
			return
		}
		s.seen[t] = len(s.seen)
	}
	s.byKind(t)
}

// canRecur reports whether t can lie on a cycle of types: every cycle has a named type on it.
func canRecur(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return t.Name() != ""
	default:
		return false
	}
}

func (s *signer) byKind(t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		s.structure(t)
	case reflect.Pointer:
		s.put("*")
		s.write(t.Elem())
	case reflect.Slice:
		s.put("[]")
		s.write(t.Elem())
	case reflect.Array:
		s.put("[", strconv.Itoa(t.Len()), "]")
		s.write(t.Elem())
	case reflect.Map:
		s.put("map[")
		s.write(t.Key())
		s.put("]")
		s.write(t.Elem())
	case reflect.Interface:
		if t.NumMethod() == 0 {
			s.put("any")
			return
		}
		s.put("interface(", typeName(t), ")")
	case reflect.Int, reflect.Uint:
		// Slices of these travel as they lie in memory, and that differs between 32-bit and 64-bit builds.
		s.put(t.Kind().String(), ":", strconv.Itoa(strconv.IntSize))
	default:
		s.put(t.Kind().String())
	}
}

func (s *signer) structure(t reflect.Type) {
	s.put("struct{")
	first := true
	for f := range sentFields(t) {
		if !first {
			s.put("; ")
		}
		first = false
		s.put(f.Name, " ")
		s.write(f.Type)
		if tag := fieldTag(f); tag != "" {
			s.put(" ", strconv.Quote(tag))
		}
	}
	if first && t.NumField() > 0 {
		s.put(typeName(t))
	}
	s.put("}")
}

func typeName(t reflect.Type) string {
	if t.Name() == "" || t.PkgPath() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}
