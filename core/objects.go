// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
)

// A value in the object store is an object with its structured part as buffer 0 and its out-of-band buffers behind it.

func putObject(st *arrowstore.Store, v codec.Value) (*arrowstore.Object, error) {
	bufs := make([][]byte, 0, 1+len(v.Bufs))
	obj, err := st.Put(append(append(bufs, v.Meta), v.Bufs...)...)
	return obj, storeError(err)
}

// openObject pins an object and returns the value in it. The value is valid until the object is released.
func openObject(st *arrowstore.Store, id arrowstore.ID) (codec.Value, *arrowstore.Object, error) {
	obj, err := st.Get(id)
	if err != nil {
		return codec.Value{}, nil, storeError(err)
	}
	v, err := objectValue(obj)
	if err != nil {
		obj.Release()
		return codec.Value{}, nil, err
	}
	return v, obj, nil
}

// idBytes is an identity as it travels.
func idBytes(id arrowstore.ID) []byte {
	b, err := id.AppendBinary(nil)
	if err != nil {
		panic(err) // appending to a slice cannot fail
	}
	return b
}

func objectValue(obj *arrowstore.Object) (codec.Value, error) {
	if obj.Len() == 0 {
		return codec.Value{}, fmt.Errorf("%w: object %v holds no value", ErrDecode, obj.ID())
	}
	v := codec.Value{Meta: obj.Buffer(0), Bufs: make([][]byte, obj.Len()-1)}
	for i := range v.Bufs {
		v.Bufs[i] = obj.Buffer(i + 1)
	}
	return v, nil
}

func (s *System) put(v codec.Value) (*arrowstore.Object, error) { return s.transfers.put(v) }

// openAt opens an object that a node has put into the store of its host, and brings it here if that is another.
func (s *System) openAt(ctx context.Context, id arrowstore.ID, node uint32) (codec.Value, *arrowstore.Object, error) {
	if s.hostOf(node) == s.host {
		return openObject(s.store, id)
	}
	obj, err := s.transfers.open(ctx, whereabouts{id, node, node})
	if err != nil {
		return codec.Value{}, nil, err
	}
	v, err := objectValue(obj)
	if err != nil {
		obj.Release()
		return codec.Value{}, nil, err
	}
	return v, obj, nil
}

// drop takes the store's own hold off an object of this process. It is freed with its last pin.
func (s *System) drop(obj *arrowstore.Object) {
	if err := s.store.Delete(obj.ID()); err != nil && s.ctx.Err() == nil {
		s.log.Error("cannot delete an object", "id", obj.ID().String(), "err", err)
	}
	s.transfers.released(obj.ID())
}
