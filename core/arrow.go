// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
)

// arrowData lets Arrow records, arrays and tensors be arguments and results, with their buffers out of band: a record that goes
// through the store is read in place. The store knows Arrow; this package does not.
type arrowData struct{}

var _ codec.Extension = arrowData{}

// Match implements codec.Extension.
func (arrowData) Match(t reflect.Type) bool { return arrowstore.Flattens(t) }

// Encode implements codec.Extension.
func (arrowData) Encode(v any) (meta []byte, bufs [][]byte, err error) { return arrowstore.Flatten(v) }

// Decode implements codec.Extension. A view is valid as long as the argument it came with: nobody waits for its release.
func (arrowData) Decode(t reflect.Type, meta []byte, bufs [][]byte, mode codec.Mode) (any, error) {
	if mode == codec.Copy {
		own := make([][]byte, len(bufs))
		for i, b := range bufs {
			own[i] = bytes.Clone(b)
		}
		meta, bufs = bytes.Clone(meta), own
	}
	v, err := arrowstore.Unflatten(meta, bufs, func() {})
	if err != nil {
		return nil, err
	}
	if !reflect.TypeOf(v).AssignableTo(t) {
		return nil, fmt.Errorf("it is a %T, not a %v", v, t)
	}
	return v, nil
}
