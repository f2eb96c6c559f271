// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/proto"
)

// step is a reference followed on the way from the root: the same one twice is a cycle.
type step struct {
	of  any // *node, or the reflect.Type inside an interface
	at  unsafe.Pointer
	len int
}

// path keeps the references between the root and the part at hand.
type path struct {
	depth int
	track bool
	steps []step
}

// enter follows a reference; each successful enter is undone by leave.
func (p *path) enter(t reflect.Type, s step) *EncodeError {
	if p.track {
		if slices.Contains(p.steps, s) {
			return &EncodeError{Type: t, Reason: "the value contains itself"}
		}
	}
	if s.len > maxElements {
		return &EncodeError{Type: t, Reason: fmt.Sprintf("%d elements are more than the limit of %d", s.len, maxElements)}
	}
	if err := p.descend(t); err != nil {
		return err
	}
	if p.track {
		p.steps = append(p.steps, s)
	}
	return nil
}

// descend counts one level; it is undone by p.depth--.
func (p *path) descend(t reflect.Type) *EncodeError {
	if p.depth >= maxDepth {
		return &EncodeError{Type: t, Reason: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	p.depth++
	return nil
}

func (p *path) leave() {
	p.depth--
	if p.track {
		p.steps = p.steps[:len(p.steps)-1]
	}
}

// encoder writes one value. It reads the value through pointers into the caller's memory and never writes there.
type encoder struct {
	path

	codec *Codec
	meta  []byte
	bufs  [][]byte
	hint  int // capacity of bufs when the first comes
}

// encode encodes the value of the plan's type at p.
func (p *Plan) encode(at unsafe.Pointer) (Value, error) {
	n := p.root
	switch {
	case n.empty():
		return Value{}, nil
	case n.op == opBulk:
		return n.rootBulk((*sliceHeader)(at)), nil
	case n.op == opProto:
		return n.rootProto(at)
	}
	e := encoder{codec: p.codec, meta: make([]byte, 0, p.metaHint), hint: p.bufsHint, path: path{track: p.track}}
	if err := e.value(n, at); err != nil {
		return Value{}, err
	}
	return Value{Meta: e.meta, Bufs: e.bufs}, nil
}

func (e *encoder) null() { e.meta = append(e.meta, byteNull) }

func (e *encoder) value(n *node, p unsafe.Pointer) *EncodeError {
	switch n.op {
	case opBulk:
		e.bulk(n, (*sliceHeader)(p))
	case opBulkArray:
		e.meta = appendBytes(e.meta, rawBytes(p, n.count*int(n.size)))
	case opStruct:
		return e.structure(n, p)
	case opSlice:
		return e.slice(n, (*sliceHeader)(p))
	case opArray:
		e.meta = appendHead(e.meta, majorArray, uint64(n.count))
		return e.elements(n, p, n.count)
	case opPointer:
		return e.pointer(n, *(*unsafe.Pointer)(p))
	case opMap:
		return e.mapping(n, reflect.NewAt(n.typ, p).Elem())
	case opAny, opCBOR:
		return e.library(n, p)
	case opBinary, opText, opProto:
		return e.marshalled(n, p)
	case opExt:
		return e.extension(n, reflect.NewAt(n.typ, p).Elem())
	default:
		e.scalar(n, p)
	}
	return nil
}

func (e *encoder) scalar(n *node, p unsafe.Pointer) {
	switch n.op {
	case opBool:
		e.meta = appendBool(e.meta, *(*bool)(p))
	case opInt:
		e.meta = appendInt(e.meta, loadInt(p, n.size))
	case opUint:
		e.meta = appendHead(e.meta, majorUint, loadUint(p, n.size))
	case opFloat32:
		e.meta = appendFloat32(e.meta, *(*float32)(p))
	case opFloat64:
		e.meta = appendFloat64(e.meta, *(*float64)(p))
	case opComplex64:
		c := *(*complex64)(p)
		e.meta = appendHead(e.meta, majorArray, 2)
		e.meta = appendFloat32(appendFloat32(e.meta, real(c)), imag(c))
	case opComplex128:
		c := *(*complex128)(p)
		e.meta = appendHead(e.meta, majorArray, 2)
		e.meta = appendFloat64(appendFloat64(e.meta, real(c)), imag(c))
	default:
		e.meta = appendString(e.meta, *(*string)(p))
	}
}

func loadInt(p unsafe.Pointer, size uintptr) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(p))
	case 2:
		return int64(*(*int16)(p))
	case 4:
		return int64(*(*int32)(p))
	default:
		return *(*int64)(p)
	}
}

func loadUint(p unsafe.Pointer, size uintptr) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(p))
	case 2:
		return uint64(*(*uint16)(p))
	case 4:
		return uint64(*(*uint32)(p))
	default:
		return *(*uint64)(p)
	}
}

func (e *encoder) bulk(n *node, h *sliceHeader) {
	size := h.len * int(n.size)
	switch {
	case h.data == nil:
		e.null()
	case size <= inlineLimit:
		e.meta = appendBytes(e.meta, rawBytes(h.data, size))
	default:
		e.meta = appendHead(e.meta, majorUint, uint64(h.len))
		if e.bufs == nil {
			e.bufs = make([][]byte, 0, max(1, e.hint))
		}
		e.bufs = append(e.bufs, rawBytes(h.data, size))
	}
}

func (e *encoder) structure(n *node, p unsafe.Pointer) *EncodeError {
	e.meta = appendHead(e.meta, majorArray, uint64(len(n.fields)))
	for i := range n.fields {
		f := &n.fields[i]
		if err := e.value(f.node, unsafe.Add(p, f.offset)); err != nil {
			return err.within("." + f.name)
		}
	}
	return nil
}

func (e *encoder) slice(n *node, h *sliceHeader) *EncodeError {
	if h.data == nil {
		e.null()
		return nil
	}
	e.meta = appendHead(e.meta, majorArray, uint64(h.len))
	if h.len == 0 {
		return nil
	}
	if err := e.enter(n.typ, step{n, h.data, h.len}); err != nil {
		return err
	}
	defer e.leave()
	return e.elements(n, h.data, h.len)
}

func (e *encoder) elements(n *node, p unsafe.Pointer, count int) *EncodeError {
	for i := range count {
		if err := e.value(n.elem, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
			return err.within("[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

func (e *encoder) pointer(n *node, to unsafe.Pointer) *EncodeError {
	if to == nil {
		e.null()
		return nil
	}
	if err := e.enter(n.typ, step{n, to, 0}); err != nil {
		return err
	}
	defer e.leave()
	if n.elem.nullable() {
		e.meta = appendHead(e.meta, majorArray, 1)
	}
	return e.value(n.elem, to)
}

// library leaves the value to the CBOR library, after a check that the library will come back from it.
func (e *encoder) library(n *node, p unsafe.Pointer) *EncodeError {
	v := reflect.NewAt(n.typ, p)
	if n.op == opAny {
		if v.Elem().IsNil() {
			e.null()
			return nil
		}
		w := walker{path: path{depth: e.depth, track: true}, ext: e.codec.ext}
		if err := w.value(v.Elem()); err != nil {
			return err
		}
	}
	data, err := e.codec.enc.Marshal(v.Interface())
	if err != nil {
		return &EncodeError{Type: n.typ, Reason: "CBOR", Err: err}
	}
	e.meta = append(e.meta, data...)
	return nil
}

func (e *encoder) marshalled(n *node, p unsafe.Pointer) *EncodeError {
	v := reflect.NewAt(n.typ, p)
	var data []byte
	var err error
	switch n.op {
	case opText:
		data, err = v.Interface().(encoding.TextMarshaler).MarshalText() //nolint:errcheck // the plan was compiled for it
		if err == nil {
			e.meta = appendHead(e.meta, majorText, uint64(len(data)))
			e.meta = append(e.meta, data...)
			return nil
		}
	case opBinary:
		data, err = v.Interface().(encoding.BinaryMarshaler).MarshalBinary() //nolint:errcheck // the plan was compiled for it
	default:
		if v.Elem().IsNil() {
			e.null()
			return nil
		}
		data, err = marshalProto(v.Elem())
	}
	if err != nil {
		return &EncodeError{Type: n.typ, Reason: "its own marshalling failed", Err: err}
	}
	e.meta = appendBytes(e.meta, data)
	return nil
}

func marshalProto(v reflect.Value) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(v.Interface().(proto.Message)) //nolint:errcheck // the plan was compiled for it
}

// nilProto is Meta for a nil message at the root. Field number zero does not exist, so no message begins with this byte.
const nilProto = 0

func (n *node) rootProto(p unsafe.Pointer) (Value, error) {
	v := reflect.NewAt(n.typ, p).Elem()
	if v.IsNil() {
		return Value{Meta: []byte{nilProto}}, nil
	}
	data, err := marshalProto(v)
	if err != nil {
		return Value{}, &EncodeError{Type: n.typ, Reason: "its own marshalling failed", Err: err}
	}
	return Value{Meta: data}, nil
}

func (e *encoder) extension(n *node, v reflect.Value) *EncodeError {
	switch n.typ.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		if v.IsNil() {
			e.null()
			return nil
		}
	default:
		// Values of other kinds are never nil.
	}
	meta, bufs, err := n.ext.Encode(v.Interface())
	if err != nil {
		return &EncodeError{Type: n.typ, Reason: "its extension failed", Err: err}
	}
	e.meta = appendHead(e.meta, majorArray, 2)
	e.meta = appendBytes(e.meta, meta)
	e.meta = appendHead(e.meta, majorUint, uint64(len(bufs)))
	e.bufs = append(e.bufs, bufs...)
	return nil
}
