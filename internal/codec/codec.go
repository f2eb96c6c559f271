// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"reflect"
	"strconv"
	"sync"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
)

const (
	// maxDepth bounds how many pointers, slices and maps may lie inside one another. Inside an interface, where the CBOR
	// library decodes, structs and arrays count as well.
	maxDepth = 256
	// maxElements bounds the elements of one array or map in the structured part.
	maxElements = 1 << 26
	// inlineLimit is the size in bytes up to which a nested bulk slice is copied into the structured part: a buffer
	// of its own would cost more than the copy.
	inlineLimit = 64
)

// Mode says who owns the memory of a decoded value.
type Mode uint8

const (
	// View lets the value alias Meta and Bufs where their alignment allows. The receiver must treat what it got as
	// read-only, and must not use it after the memory under the Value is gone.
	View Mode = iota
	// Copy gives the receiver a value that shares nothing with the Value.
	Copy
)

// Extension encodes types as a whole that plans cannot look into, such as Arrow records and arrays. It must be safe for
// concurrent use.
type Extension interface {
	// Match reports whether the extension takes values of static type t, at the root or nested. It is asked once per
	// type and before any other rule. Interface types may match.
	Match(t reflect.Type) bool
	// Encode returns the small structured part of v and its buffers, which may alias the memory of v. A nil pointer or
	// interface is never passed.
	Encode(v any) (meta []byte, bufs [][]byte, err error)
	// Decode returns a value assignable to t. In mode View it may alias meta and bufs, in mode Copy it must not.
	Decode(t reflect.Type, meta []byte, bufs [][]byte, mode Mode) (any, error)
}

// Codec compiles one Plan for each type and keeps it. It is immutable after New and safe for concurrent use.
type Codec struct {
	ext   []Extension
	enc   cbor.EncMode
	dec   cbor.DecMode
	plans sync.Map // reflect.Type -> *Plan or *EncodeError
}

// New returns a Codec; the first extension that matches a type takes it.
func New(ext ...Extension) *Codec {
	return &Codec{ext: append([]Extension(nil), ext...), enc: encMode(), dec: decMode()}
}

// Plan encodes and decodes values of one type. It is immutable and safe for concurrent use.
type Plan struct {
	codec *Codec
	typ   reflect.Type
	root  *node
	track bool // the type can reach itself, so values may be cyclic

	metaHint int // initial capacity of Meta, bytes
	bufsHint int // initial capacity of Bufs
}

// For returns the plan for t, compiling it on first use. The error is an *EncodeError if no value of t, or of a type
// that t can reach through exported fields, could ever be encoded and decoded.
func (c *Codec) For(t reflect.Type) (*Plan, error) {
	got, ok := c.plans.Load(t)
	if !ok {
		got, _ = c.plans.LoadOrStore(t, c.compile(t))
	}
	if plan, ok := got.(*Plan); ok {
		return plan, nil
	}
	failed, _ := got.(*EncodeError) // there is nothing else in the map
	return nil, failed
}

// Encode encodes v, whose type must be that of the plan. The result's Bufs alias the memory of v.
func (p *Plan) Encode(v any) (Value, error) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() && p.typ.Kind() == reflect.Interface {
		rv = reflect.Zero(p.typ)
	}
	if !rv.IsValid() || rv.Type() != p.typ && !(p.typ.Kind() == reflect.Interface && rv.Type().Implements(p.typ)) {
		return Value{}, &EncodeError{Type: reflect.TypeOf(v), Reason: "the plan is for " + p.typ.String()}
	}
	if p.root.op == opBulk {
		h := sliceHeader{data: rv.UnsafePointer(), len: rv.Len()}
		return p.root.rootBulk(&h), nil
	}
	box := reflect.New(p.typ)
	box.Elem().Set(rv)
	return p.encode(box.UnsafePointer())
}

// Decode returns a new value of the plan's type. Buffers that do not fit the type are a *DecodeError.
func (p *Plan) Decode(v Value, mode Mode) (any, error) {
	box := reflect.New(p.typ)
	if err := p.decode(v, mode, box.UnsafePointer()); err != nil {
		return nil, err
	}
	return box.Elem().Interface(), nil
}

// Encode encodes v as a T. Common numeric slices, scalars, strings and struct{} take a path without reflection.
// The result's Bufs alias the memory of v.
func Encode[T any](c *Codec, v T) (Value, error) {
	switch p := any(&v).(type) {
	case *struct{}:
		return Value{}, nil
	case *[]float32:
		return encodeBulk(*p), nil
	case *[]float64:
		return encodeBulk(*p), nil
	case *[]byte:
		return encodeBulk(*p), nil
	case *[]int64:
		return encodeBulk(*p), nil
	case *[]int32:
		return encodeBulk(*p), nil
	case *float64:
		return Value{Meta: appendFloat64(scalarBuf(), *p)}, nil
	case *float32:
		return Value{Meta: appendFloat32(scalarBuf(), *p)}, nil
	case *bool:
		return Value{Meta: appendBool(make([]byte, 0, 1), *p)}, nil
	case *int:
		return Value{Meta: appendInt(scalarBuf(), int64(*p))}, nil
	case *int64:
		return Value{Meta: appendInt(scalarBuf(), *p)}, nil
	case *int32:
		return Value{Meta: appendInt(scalarBuf(), int64(*p))}, nil
	case *uint64:
		return Value{Meta: appendHead(scalarBuf(), majorUint, *p)}, nil
	case *string:
		return Value{Meta: appendString(make([]byte, 0, len(*p)+maxScalar), *p)}, nil
	}
	return encodePlanned(c, v)
}

func scalarBuf() []byte { return make([]byte, 0, maxScalar) }

// encodePlanned is apart from Encode because its argument escapes to the heap.
func encodePlanned[T any](c *Codec, v T) (Value, error) {
	p, err := c.For(reflect.TypeFor[T]())
	if err != nil {
		return Value{}, err
	}
	return p.encode(unsafe.Pointer(&v))
}

// Decode decodes v as a T, by the same rules as Plan.Decode.
func Decode[T any](c *Codec, v Value, mode Mode) (T, error) {
	var out T
	var err error
	switch p := any(&out).(type) {
	case *struct{}:
		err = exhausted(v)
	case *[]float32:
		*p, err = decodeBulk[float32](v, mode)
	case *[]float64:
		*p, err = decodeBulk[float64](v, mode)
	case *[]byte:
		*p, err = decodeBulk[byte](v, mode)
	case *[]int64:
		*p, err = decodeBulk[int64](v, mode)
	case *[]int32:
		*p, err = decodeBulk[int32](v, mode)
	case *float64:
		r := reader{v.Meta}
		*p, err = r.float64()
		err = finish(v, r, err)
	case *float32:
		r := reader{v.Meta}
		*p, err = r.float32()
		err = finish(v, r, err)
	case *bool:
		r := reader{v.Meta}
		*p, err = r.bool()
		err = finish(v, r, err)
	case *int64:
		r := reader{v.Meta}
		*p, err = r.int(64)
		err = finish(v, r, err)
	case *int:
		r := reader{v.Meta}
		var i int64
		i, err = r.int(strconv.IntSize)
		*p, err = int(i), finish(v, r, err)
	case *int32:
		r := reader{v.Meta}
		var i int64
		i, err = r.int(32)
		*p, err = int32(i), finish(v, r, err)
	case *uint64:
		r := reader{v.Meta}
		*p, err = r.uint(64)
		err = finish(v, r, err)
	case *string:
		r := reader{v.Meta}
		var b []byte
		b, err = r.span(majorText)
		err = finish(v, r, err)
		*p = string(b)
	default:
		return decodePlanned[T](c, v, mode)
	}
	if err != nil {
		var zero T
		return zero, decodeFailed(reflect.TypeFor[T](), err)
	}
	return out, nil
}

// decodePlanned is apart from Decode because its result escapes to the heap.
func decodePlanned[T any](c *Codec, v Value, mode Mode) (T, error) {
	var zero T
	p, err := c.For(reflect.TypeFor[T]())
	if err != nil {
		return zero, err
	}
	out := new(T)
	if err := p.decode(v, mode, unsafe.Pointer(out)); err != nil {
		return zero, err
	}
	return *out, nil
}
