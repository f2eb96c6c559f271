// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/proto"
)

// slicePrealloc bounds the bytes a slice is given before its elements have been seen.
const slicePrealloc = 64 << 10

// decoder reads one value into memory that was zero.
type decoder struct {
	reader

	codec *Codec
	bufs  [][]byte // not yet taken
	mode  Mode
	depth int
}

// decode decodes v into the zero value of the plan's type at p.
func (p *Plan) decode(v Value, mode Mode, at unsafe.Pointer) error {
	n := p.root
	switch {
	case n.empty():
		return decodeFailed(n.typ, exhausted(v))
	case n.op == opBulk:
		b, err := rootBuffer(v)
		if b != nil && err == nil {
			err = n.setBulk(at, b, mode)
		}
		return decodeFailed(n.typ, err)
	case n.op == opProto:
		return n.rootProtoInto(at, v)
	}
	d := decoder{reader: reader{v.Meta}, codec: p.codec, bufs: v.Bufs, mode: mode}
	if err := d.value(n, at); err != nil {
		return err
	}
	return decodeFailed(n.typ, exhausted(Value{d.meta, d.bufs}))
}

// decodeFailed makes a *DecodeError for the root out of err, which may be nil.
func decodeFailed(t reflect.Type, err error) error {
	if err == nil {
		return nil
	}
	return &DecodeError{Type: t, Reason: err.Error()}
}

// exhausted checks that nothing is left over.
func exhausted(v Value) error {
	if len(v.Meta) > 0 || len(v.Bufs) > 0 {
		return fmt.Errorf("%d bytes and %d buffers too many", len(v.Meta), len(v.Bufs))
	}
	return nil
}

// finish is exhausted for a scalar at the root that was read without a plan.
func finish(v Value, r reader, err error) error {
	if err != nil {
		return err
	}
	return exhausted(Value{r.meta, v.Bufs})
}

func (d *decoder) failed(n *node, err error) *DecodeError {
	return &DecodeError{Type: n.typ, Reason: err.Error()}
}

func (d *decoder) enter(n *node) *DecodeError {
	if d.depth >= maxDepth {
		return &DecodeError{Type: n.typ, Reason: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	d.depth++
	return nil
}

func (d *decoder) leave() { d.depth-- }

func (d *decoder) value(n *node, p unsafe.Pointer) *DecodeError {
	var err error
	switch n.op {
	case opBulk:
		err = d.bulk(n, p)
	case opBulkArray:
		var b []byte
		if b, err = d.span(majorBytes); err == nil {
			err = n.setArray(p, b)
		}
	case opStruct:
		return d.structure(n, p)
	case opSlice:
		return d.slice(n, p)
	case opArray:
		return d.array(n, p)
	case opPointer:
		return d.pointer(n, p)
	case opMap:
		return d.mapping(n, p)
	case opAny, opCBOR:
		return d.library(n, p)
	case opBinary, opText, opProto:
		return d.marshalled(n, p)
	case opExt:
		return d.extension(n, p)
	default:
		err = d.scalar(n, p)
	}
	if err != nil {
		return d.failed(n, err)
	}
	return nil
}

func (d *decoder) scalar(n *node, p unsafe.Pointer) (err error) {
	switch n.op {
	case opBool:
		*(*bool)(p), err = d.bool()
	case opInt:
		var i int64
		i, err = d.int(8 * int(n.size))
		storeBits(p, n.size, uint64(i))
	case opUint:
		var u uint64
		u, err = d.uint(8 * int(n.size))
		storeBits(p, n.size, u)
	case opFloat32:
		*(*float32)(p), err = d.float32()
	case opFloat64:
		*(*float64)(p), err = d.float64()
	case opComplex64:
		part := (*[2]float32)(p)
		if err = d.exactly(2); err == nil {
			part[0], err = d.float32()
		}
		if err == nil {
			part[1], err = d.float32()
		}
	case opComplex128:
		part := (*[2]float64)(p)
		if err = d.exactly(2); err == nil {
			part[0], err = d.float64()
		}
		if err == nil {
			part[1], err = d.float64()
		}
	default:
		var b []byte
		b, err = d.span(majorText)
		*(*string)(p) = string(b)
	}
	return err
}

func storeBits(p unsafe.Pointer, size uintptr, bits uint64) {
	switch size {
	case 1:
		*(*uint8)(p) = uint8(bits)
	case 2:
		*(*uint16)(p) = uint16(bits)
	case 4:
		*(*uint32)(p) = uint32(bits)
	default:
		*(*uint64)(p) = bits
	}
}

// exactly takes the head of an array whose length the type fixes.
func (d *decoder) exactly(n int) error {
	got, err := d.arg(majorArray)
	if err != nil {
		return err
	}
	if got != uint64(n) {
		return fmt.Errorf("%d elements, want %d", got, n)
	}
	return nil
}

func (d *decoder) bulk(n *node, p unsafe.Pointer) error {
	if d.null() {
		return nil
	}
	if len(d.meta) > 0 && d.meta[0]>>5 == majorBytes {
		b, err := d.span(majorBytes)
		if err != nil {
			return err
		}
		return n.setBulk(p, b, d.mode)
	}
	count, err := d.arg(majorUint)
	if err != nil {
		return err
	}
	if len(d.bufs) == 0 {
		return errors.New("a buffer is missing")
	}
	b := d.bufs[0]
	d.bufs = d.bufs[1:]
	if want := n.bytesOf(count); len(b) != want {
		return fmt.Errorf("a buffer of %d bytes does not hold %d elements of %d", len(b), count, n.size)
	}
	return n.setBulk(p, b, d.mode)
}

func (d *decoder) structure(n *node, p unsafe.Pointer) *DecodeError {
	if err := d.exactly(len(n.fields)); err != nil {
		return d.failed(n, err)
	}
	for i := range n.fields {
		f := &n.fields[i]
		if err := d.value(f.node, unsafe.Add(p, f.offset)); err != nil {
			return err.within("." + f.name)
		}
	}
	return nil
}

func (d *decoder) array(n *node, p unsafe.Pointer) *DecodeError {
	if err := d.exactly(n.count); err != nil {
		return d.failed(n, err)
	}
	for i := range n.count {
		if err := d.value(n.elem, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
			return err.within("[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

// slice grows with the elements that are really there, since a few bytes can promise many large ones.
func (d *decoder) slice(n *node, p unsafe.Pointer) *DecodeError {
	if d.null() {
		return nil
	}
	count, err := d.count(majorArray)
	if err != nil {
		return d.failed(n, err)
	}
	if err := d.enter(n); err != nil {
		return err
	}
	defer d.leave()
	first := min(count, max(1, slicePrealloc/max(1, int(n.size))))
	s := reflect.NewAt(n.typ, p).Elem()
	s.Set(reflect.MakeSlice(n.typ, first, first))
	for i := range count {
		if i == s.Len() {
			s.Grow(1)
			s.SetLen(min(count, s.Cap()))
		}
		if err := d.value(n.elem, unsafe.Add(s.UnsafePointer(), uintptr(i)*n.size)); err != nil {
			return err.within("[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

func (d *decoder) pointer(n *node, p unsafe.Pointer) *DecodeError {
	if d.null() {
		return nil
	}
	if err := d.enter(n); err != nil {
		return err
	}
	defer d.leave()
	if n.elem.nullable() {
		if err := d.exactly(1); err != nil {
			return d.failed(n, err)
		}
	}
	to := reflect.New(n.elem.typ).UnsafePointer()
	*(*unsafe.Pointer)(p) = to
	return d.value(n.elem, to)
}

func (d *decoder) library(n *node, p unsafe.Pointer) *DecodeError {
	v := reflect.NewAt(n.typ, p)
	into := v.Interface()
	var content any
	if n.op == opAny {
		into = &content
	}
	rest, err := d.codec.dec.UnmarshalFirst(d.meta, into)
	if err != nil {
		return &DecodeError{Type: n.typ, Reason: "CBOR", Err: err}
	}
	d.meta = rest
	if content != nil {
		v.Elem().Set(reflect.ValueOf(content))
	}
	return nil
}

func (d *decoder) marshalled(n *node, p unsafe.Pointer) *DecodeError {
	if n.op == opProto && d.null() {
		return nil
	}
	major := byte(majorBytes)
	if n.op == opText {
		major = majorText
	}
	data, err := d.span(major)
	if err != nil {
		return d.failed(n, err)
	}
	v := reflect.NewAt(n.typ, p)
	switch n.op {
	case opText:
		err = v.Interface().(encoding.TextUnmarshaler).UnmarshalText(data) //nolint:errcheck // the plan was compiled for it
	case opBinary:
		err = v.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(data) //nolint:errcheck // the plan was compiled for it
	default:
		err = setProto(v.Elem(), data)
	}
	if err != nil {
		return &DecodeError{Type: n.typ, Reason: "its own unmarshalling failed", Err: err}
	}
	return nil
}

func setProto(v reflect.Value, data []byte) error {
	v.Set(reflect.New(v.Type().Elem()))
	return proto.Unmarshal(data, v.Interface().(proto.Message)) //nolint:errcheck // the plan was compiled for it
}

func (n *node) rootProtoInto(p unsafe.Pointer, v Value) error {
	if len(v.Bufs) > 0 {
		return &DecodeError{Type: n.typ, Reason: fmt.Sprintf("%d buffers too many", len(v.Bufs))}
	}
	if len(v.Meta) == 1 && v.Meta[0] == nilProto {
		return nil
	}
	if err := setProto(reflect.NewAt(n.typ, p).Elem(), v.Meta); err != nil {
		return &DecodeError{Type: n.typ, Reason: "its own unmarshalling failed", Err: err}
	}
	return nil
}

func (d *decoder) extension(n *node, p unsafe.Pointer) *DecodeError {
	if d.null() {
		return nil
	}
	if err := d.exactly(2); err != nil {
		return d.failed(n, err)
	}
	meta, err := d.span(majorBytes)
	if err != nil {
		return d.failed(n, err)
	}
	count, err := d.arg(majorUint)
	if err != nil {
		return d.failed(n, err)
	}
	if count > uint64(len(d.bufs)) {
		return d.failed(n, fmt.Errorf("%d buffers are left, want %d", len(d.bufs), count))
	}
	bufs := d.bufs[:count:count]
	d.bufs = d.bufs[count:]
	out, err := n.ext.Decode(n.typ, meta, bufs, d.mode)
	if err != nil {
		return &DecodeError{Type: n.typ, Reason: "its extension failed", Err: err}
	}
	v := reflect.ValueOf(out)
	if !v.IsValid() || !v.Type().AssignableTo(n.typ) {
		return d.failed(n, fmt.Errorf("its extension returned a %T", out))
	}
	reflect.NewAt(n.typ, p).Elem().Set(v)
	return nil
}
