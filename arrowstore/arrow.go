// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/tensor"
)

// PutRecord stores a record. Column buffers that were built with the store's Allocator become part of the object where they
// are; others are copied once. Buffer 0 of the object describes the record, the rest are its column buffers, so any
// process can read it in place with Record. The caller releases the Object and keeps its record.
func (s *Store) PutRecord(rec arrow.Record) (*Object, error) { return s.putArrow(rec) }

// PutArray stores an array as PutRecord stores a record.
func (s *Store) PutArray(arr arrow.Array) (*Object, error) { return s.putArrow(arr) }

// PutTensor stores a tensor as PutRecord stores a record.
func (s *Store) PutTensor(t tensor.Interface) (*Object, error) { return s.putArrow(t) }

func (s *Store) putArrow(v any) (*Object, error) {
	f, ok := s.flatteners.Get().(*flattener)
	if !ok {
		f = new(flattener)
	}
	defer func() {
		clear(f.buffers) // so that they are not kept from the collector
		s.flatteners.Put(f)
	}()
	buffers, err := f.flatten(v, &s.schemas)
	if err != nil {
		return nil, err
	}
	return s.Seal(buffers...)
}

// Record returns the record that an object holds. Its columns lie in the object's memory: nothing is copied, and the
// record pins the object until it is released itself. It returns ErrType when the object holds no record.
func (s *Store) Record(o *Object) (arrow.Record, error) { return pinned[arrow.Record](o) }

// Array returns the array that an object holds, as Record does.
func (s *Store) Array(o *Object) (arrow.Array, error) { return pinned[arrow.Array](o) }

// Tensor returns the tensor that an object holds, as Record does.
func (s *Store) Tensor(o *Object) (tensor.Interface, error) { return pinned[tensor.Interface](o) }

// pinned returns the value in an object, which pins the object until it is released.
func pinned[T interface{ Release() }](o *Object) (T, error) {
	var none T
	if o.Len() == 0 {
		return none, fmt.Errorf("object %v has no buffers: %w", o.ID(), ErrType)
	}
	o.Retain()
	v, err := unflatten(o.Buffer(0), o.bufs[1:], o.Release, &o.st.schemas)
	if err != nil {
		o.Release()
		return none, fmt.Errorf("object %v: %w", o.ID(), err)
	}
	t, ok := v.(T)
	if !ok {
		if r, ok := v.(interface{ Release() }); ok {
			r.Release()
		}
		return none, fmt.Errorf("object %v holds a %T: %w", o.ID(), v, ErrType)
	}
	return t, nil
}
