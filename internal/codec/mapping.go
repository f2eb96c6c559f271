// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"
)

// mapPrealloc bounds the size a map is given before its entries have been seen.
const mapPrealloc = 1024

type entry struct {
	key   []byte // encoded
	value reflect.Value
}

// mapping writes the entries in the bytewise order of their encoded keys, so that equal maps give equal bytes and both
// sides meet the buffers of the values in the same order.
func (e *encoder) mapping(n *node, m reflect.Value) *EncodeError {
	if m.IsNil() {
		e.null()
		return nil
	}
	if err := e.enter(n.typ, step{n, m.UnsafePointer(), m.Len()}); err != nil {
		return err
	}
	defer e.leave()
	entries, err := e.sortedEntries(n, m)
	if err != nil {
		return err
	}
	e.meta = appendHead(e.meta, majorMap, uint64(len(entries)))
	box := reflect.New(n.elem.typ)
	for _, kv := range entries {
		e.meta = append(e.meta, kv.key...)
		box.Elem().Set(kv.value)
		if err := e.value(n.elem, box.UnsafePointer()); err != nil {
			return err.within(keyStep(n, kv.key))
		}
	}
	return nil
}

func (e *encoder) sortedEntries(n *node, m reflect.Value) ([]entry, *EncodeError) {
	entries := make([]entry, 0, m.Len())
	keys := encoder{codec: e.codec, path: path{depth: e.depth, track: e.track, steps: e.steps}}
	box := reflect.New(n.key.typ)
	for it := m.MapRange(); it.Next(); {
		box.Elem().SetIterKey(it)
		if n.key.op == opAny {
			if err := dynamicKey(box.Elem()); err != nil {
				return nil, err.within("[key]")
			}
		}
		start := len(keys.meta)
		if err := keys.value(n.key, box.UnsafePointer()); err != nil {
			return nil, err.within("[key]")
		}
		// An earlier key keeps its bytes when append moves the rest.
		entries = append(entries, entry{keys.meta[start:len(keys.meta):len(keys.meta)], it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return entries, nil
}

// keyStep names an entry in an error by its key, or by its place if the key is not a string.
func keyStep(n *node, key []byte) string {
	if n.key.op == opString {
		if s, err := (&reader{key}).span(majorText); err == nil {
			return fmt.Sprintf("[%q]", s)
		}
	}
	return "[]"
}

func (d *decoder) mapping(n *node, p unsafe.Pointer) *DecodeError {
	if d.null() {
		return nil
	}
	count, err := d.count(majorMap)
	if err != nil {
		return d.failed(n, err)
	}
	if err := d.enter(n); err != nil {
		return err
	}
	defer d.leave()
	m := reflect.MakeMapWithSize(n.typ, min(count, mapPrealloc))
	reflect.NewAt(n.typ, p).Elem().Set(m)
	key, elem := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	for i := range count {
		start := d.meta
		key.Elem().SetZero()
		if err := d.value(n.key, key.UnsafePointer()); err != nil {
			return err.within("[key]")
		}
		if !key.Elem().Comparable() {
			return d.failed(n, errors.New("a map key that cannot be compared"))
		}
		at := start[:len(start)-len(d.meta)]
		elem.Elem().SetZero()
		if err := d.value(n.elem, elem.UnsafePointer()); err != nil {
			return err.within(keyStep(n, at))
		}
		m.SetMapIndex(key.Elem(), elem.Elem())
		if m.Len() != i+1 {
			return d.failed(n, errors.New("a map key occurs twice")).within(keyStep(n, at))
		}
	}
	return nil
}
