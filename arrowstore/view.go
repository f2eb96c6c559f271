// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"unsafe"
)

// Numeric is the set of element types that a View can have.
type Numeric interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~int | ~uint | ~float32 | ~float64 | ~complex64 | ~complex128
}

// View is a read-only slice of numbers over an object's memory. It pins the object.
type View[T Numeric] struct {
	obj            *Object
	buffer, offset int // where the slice begins; in bytes
	slice          []T
}

// ViewOf returns the object's one buffer as a slice of T, in the byte order of the host, without copying. It retains the
// object. It returns ErrType when the object has not exactly one buffer or its length is no multiple of the size of T.
func ViewOf[T Numeric](o *Object) (*View[T], error) {
	if o.Len() != 1 {
		return nil, fmt.Errorf("view of an object of %d buffers: %w", o.Len(), ErrType)
	}
	var zero T
	size, n := int(unsafe.Sizeof(zero)), len(o.Buffer(0))
	if n%size != 0 {
		return nil, fmt.Errorf("view of %d bytes as elements of %d: %w", n, size, ErrType)
	}
	return ViewAt[T](o, 0, 0, n/size)
}

// ViewAt returns count numbers of one buffer of the object as a slice of T, from an offset in bytes on. It retains the object. It
// returns ErrType when they do not all lie in the buffer, or the offset is no multiple of the size of T.
func ViewAt[T Numeric](o *Object, buffer, offset, count int) (*View[T], error) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if buffer < 0 || buffer >= o.Len() {
		return nil, fmt.Errorf("view of buffer %d of an object of %d buffers: %w", buffer, o.Len(), ErrType)
	}
	b := o.Buffer(buffer)
	if offset < 0 || offset > len(b) || offset%size != 0 || count < 0 || count > (len(b)-offset)/size {
		return nil, fmt.Errorf("view of %d elements of %d bytes from byte %d of %d: %w", count, size, offset, len(b), ErrType)
	}
	v := &View[T]{obj: o, buffer: buffer, offset: offset, slice: []T{}}
	if count > 0 {
		v.slice = unsafe.Slice((*T)(unsafe.Pointer(&b[offset])), count)
	}
	o.Retain()
	return v, nil
}

// Slice returns the numbers. They are valid until the last Release; writing to them faults.
func (v *View[T]) Slice() []T { return v.slice }

// Object returns the object that the view pins.
func (v *View[T]) Object() *Object { return v.obj }

// Place returns in which buffer of the object the numbers are, and from which byte on.
func (v *View[T]) Place() (buffer, offset int) { return v.buffer, v.offset }

// Retain makes one more Release necessary.
func (v *View[T]) Retain() { v.obj.Retain() }

// Release undoes ViewOf or Retain. After the last one the slice must not be touched.
func (v *View[T]) Release() { v.obj.Release() }
