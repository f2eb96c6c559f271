// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding"
	"math/big"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/proto"
)

// op says how values of one type are written.
type op uint8

const (
	opBool op = iota
	opInt
	opUint
	opFloat32
	opFloat64
	opComplex64
	opComplex128
	opString
	opBulk      // slice of numbers or booleans: null, inline bytes, or the count of a buffer
	opBulkArray // array of numbers or booleans: inline bytes
	opStruct
	opSlice
	opArray
	opPointer
	opMap
	opAny    // empty interface: what the CBOR library makes of it
	opCBOR   // marshals itself as CBOR
	opBinary // marshals itself as bytes
	opText   // marshals itself as text
	opProto  // pointer to a protobuf message
	opExt    // taken by an extension
)

// node is the plan of one type. Nodes of recursive types form cycles.
type node struct {
	op     op
	typ    reflect.Type
	elem   *node   // of a pointer, slice, array or map
	key    *node   // of a map
	fields []field // of a struct
	count  int     // elements of an array
	size   uintptr // bytes of the scalar, or of one element of a slice or array
	align  uintptr // alignment of one element of a bulk slice
	bools  bool    // elements must be checked to be 0 or 1 before they may be used as bool
	ext    Extension
}

type field struct {
	name   string
	offset uintptr
	node   *node
}

// nullable reports whether values of n may be written as null, so that a pointer to one must be told from nil.
func (n *node) nullable() bool {
	switch n.op {
	case opBulk, opSlice, opPointer, opMap, opAny, opProto, opExt, opCBOR:
		return true
	default:
		return false
	}
}

type compiler struct {
	codec *Codec
	nodes map[reflect.Type]*node
	open  map[reflect.Type]bool // types on the path from the root
	loops bool
}

// compile returns a *Plan, or an *EncodeError that For remembers in its place.
func (c *Codec) compile(t reflect.Type) any {
	if t == nil {
		return &EncodeError{Reason: "no type"}
	}
	b := compiler{codec: c, nodes: map[reflect.Type]*node{}, open: map[reflect.Type]bool{}}
	root, err := b.node(t)
	if err != nil {
		return err
	}
	return &Plan{
		codec: c, typ: t, root: root, track: b.loops,
		metaHint: max(16, min(int(t.Size()), 512)),
		bufsHint: root.bulks(8),
	}
}

// bulks counts the buffers of a value whose pointers are set and whose slices are long, down to a depth that ends the
// recursion of recursive types.
func (n *node) bulks(depth int) int {
	switch {
	case n.op == opBulk:
		return 1
	case depth == 0:
		return 0
	case n.op == opPointer:
		return n.elem.bulks(depth - 1)
	case n.op == opArray:
		return min(maxBufsHint, n.count*n.elem.bulks(depth-1))
	}
	sum := 0
	for _, f := range n.fields {
		sum += f.node.bulks(depth - 1)
	}
	return min(maxBufsHint, sum)
}

// maxBufsHint bounds the table of buffers made before any is seen.
const maxBufsHint = 64

// empty reports whether a root of this type carries nothing at all.
func (n *node) empty() bool { return n.op == opStruct && len(n.fields) == 0 }

func (b *compiler) node(t reflect.Type) (*node, *EncodeError) {
	if n, ok := b.nodes[t]; ok {
		b.loops = b.loops || b.open[t]
		return n, nil
	}
	n := &node{typ: t}
	b.nodes[t] = n
	b.open[t] = true
	defer delete(b.open, t)

	for _, x := range b.codec.ext {
		if x.Match(t) {
			n.op, n.ext = opExt, x
			return n, nil
		}
	}
	if isMessage(t) {
		n.op = opProto
		return n, nil
	}
	if isMessage(reflect.PointerTo(t)) {
		return nil, &EncodeError{Type: t, Reason: "a protobuf message must be used through its pointer type"}
	}
	if own, ok := selfMarshalling(t); ok {
		if from := inherited(t, own); from != nil {
			return nil, &EncodeError{Type: t, Reason: "its marshalling methods come from the embedded " + from.String() +
				" and would drop the other fields; give that field a name"}
		}
		n.op = own
		return n, nil
	}
	return n, b.byKind(n)
}

func (b *compiler) byKind(n *node) *EncodeError {
	t := n.typ
	n.size = t.Size()
	switch t.Kind() {
	case reflect.Bool:
		n.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.op = opUint
	case reflect.Float32:
		n.op = opFloat32
	case reflect.Float64:
		n.op = opFloat64
	case reflect.Complex64:
		n.op = opComplex64
	case reflect.Complex128:
		n.op = opComplex128
	case reflect.String:
		n.op = opString
	case reflect.Struct:
		return b.structure(n)
	case reflect.Slice, reflect.Array:
		return b.sequence(n)
	case reflect.Pointer:
		n.op = opPointer
		return b.element(n, "")
	case reflect.Map:
		return b.mapping(n)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return &EncodeError{Type: t, Reason: "an interface with methods needs an extension, or use a concrete type"}
		}
		n.op = opAny
	default:
		return &EncodeError{Type: t, Reason: "a " + t.Kind().String() + " cannot be sent"}
	}
	return nil
}

func (b *compiler) element(n *node, step string) *EncodeError {
	elem, err := b.node(n.typ.Elem())
	if err != nil {
		return err.within(step)
	}
	n.elem = elem
	return nil
}

func (b *compiler) sequence(n *node) *EncodeError {
	elem := n.typ.Elem()
	n.size, n.align = elem.Size(), uintptr(elem.Align())
	bulk := isNumber(elem.Kind()) && !b.taken(elem)
	n.bools = elem.Kind() == reflect.Bool
	if n.typ.Kind() == reflect.Array {
		n.count = n.typ.Len()
		n.op = opArray
		if bulk {
			n.op = opBulkArray
			return nil
		}
		return b.element(n, "[]")
	}
	n.op = opSlice
	if bulk {
		n.op = opBulk
		return nil
	}
	return b.element(n, "[]")
}

// taken reports whether elements of type t have an encoding other than their memory.
func (b *compiler) taken(t reflect.Type) bool {
	if _, own := selfMarshalling(t); own {
		return true
	}
	for _, x := range b.codec.ext {
		if x.Match(t) {
			return true
		}
	}
	return false
}

func (b *compiler) mapping(n *node) *EncodeError {
	n.op = opMap
	key, err := b.node(n.typ.Key())
	if err != nil {
		return err.within("[key]")
	}
	if bad := unfitKey(key); bad != nil {
		return &EncodeError{Type: bad.typ, Path: "[key]", Reason: "identity is lost in transit, so it cannot be part of a map key"}
	}
	n.key = key
	return b.element(n, "[]")
}

// unfitKey returns the part of a key whose equality would not survive encoding. Keys cannot be recursive without one.
func unfitKey(n *node) *node {
	switch n.op {
	case opPointer, opProto, opExt:
		return n
	case opArray:
		return unfitKey(n.elem)
	case opStruct:
		for _, f := range n.fields {
			if bad := unfitKey(f.node); bad != nil {
				return bad
			}
		}
	default:
		// A slice or map as a key does not compile, and the rest keeps its equality.
	}
	return nil
}

func (b *compiler) structure(n *node) *EncodeError {
	n.op = opStruct
	for f := range sentFields(n.typ) {
		child, err := b.node(f.Type)
		if err != nil {
			return err.within("." + f.Name)
		}
		n.fields = append(n.fields, field{name: f.Name, offset: f.Offset, node: child})
	}
	if len(n.fields) == 0 && keepsToItself(n.typ) {
		return &EncodeError{Type: n.typ, Reason: "has no exported fields, so that nothing of it would arrive; " +
			"export them, or give the type MarshalBinary and UnmarshalBinary"}
	}
	return nil
}

// keepsToItself reports whether a struct has contents that are neither sent nor left out on purpose.
func keepsToItself(t reflect.Type) bool {
	for f := range t.Fields() {
		if f.Name != "_" && f.Type.Size() > 0 && fieldTag(f) != "-" {
			return true
		}
	}
	return false
}

// sentFields yields the fields that travel: exported or embedded structs, and not tagged `cbor:"-"` or `json:"-"`.
func sentFields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if sent(f) && !yield(f) {
				return
			}
		}
	}
}

func sent(f reflect.StructField) bool {
	if fieldTag(f) == "-" {
		return false
	}
	if f.IsExported() || !f.Anonymous {
		return f.IsExported()
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// fieldTag returns the cbor tag or, without one, the json tag.
func fieldTag(f reflect.StructField) string {
	if tag := f.Tag.Get("cbor"); tag != "" {
		return tag
	}
	return f.Tag.Get("json")
}

func isNumber(k reflect.Kind) bool {
	switch k {
	case reflect.Bool, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

func implements[I any](t reflect.Type) bool { return t.Implements(reflect.TypeFor[I]()) }

// isMessage reports whether t is a generated message's pointer type, not a struct that merely embeds one.
func isMessage(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || !implements[proto.Message](t) {
		return false
	}
	if t.Elem().Kind() != reflect.Struct {
		return true
	}
	for f := range t.Elem().Fields() {
		if f.Anonymous && (implements[proto.Message](f.Type) || implements[proto.Message](reflect.PointerTo(f.Type))) {
			return false
		}
	}
	return true
}

// inherited returns the embedded field from which a struct of several fields seems to have its marshalling methods, or
// nil. It cannot tell a struct that overrides both methods again, and refuses that one too: losing fields without a
// word would be worse.
func inherited(t reflect.Type, own op) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var from reflect.Type
	count := 0
	for f := range sentFields(t) {
		count++
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if got, ok := selfMarshalling(embedded); f.Anonymous && ok && got == own {
			from = f.Type
		}
	}
	if count < 2 {
		return nil
	}
	return from
}

// selfMarshalling finds a pair of methods that goes both ways. Half a pair, such as MarshalText for logs, is no way to
// send a value and is passed over.
func selfMarshalling(t reflect.Type) (op, bool) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return 0, false
	}
	p := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[big.Int](), implements[cbor.Marshaler](p) && implements[cbor.Unmarshaler](p):
		return opCBOR, true
	case implements[encoding.BinaryMarshaler](p) && implements[encoding.BinaryUnmarshaler](p):
		return opBinary, true
	case implements[encoding.TextMarshaler](p) && implements[encoding.TextUnmarshaler](p):
		return opText, true
	}
	return 0, false
}
