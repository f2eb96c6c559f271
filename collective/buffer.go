// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"github.com/tutti-go/tutti/arrowstore"
)

// Buffer is memory of a member in the object store of its node, for data that operations are to read in place: the gradients of a training
// loop, which [AllReduceBuffer] reduces without a copy and which are written anew for the next step, or what [Buffer.Seal] makes a view
// of, for [BroadcastView] and [ScatterView]. What is to be gathered is written into a [Place]. One goroutine at a time may use it. It outlives its group, and ends with its node at the latest.
type Buffer[T arrowstore.Numeric] struct {
	store *arrowstore.Store
	w     *arrowstore.Writer
	view  *arrowstore.View[T] // of what is still written
	slice []T
	free  sync.Once
}

// NewBuffer makes a Buffer of count elements at a member, whose contents are not specified. It has nothing to do with what other members do.
// The caller releases or seals it. Errors: ErrNotMember, ErrArgument for a count below 0 or a node without a store, arrowstore.ErrNoSpace.
func NewBuffer[T arrowstore.Numeric](g *Group, count int) (*Buffer[T], error) {
	if g.m == nil {
		return nil, fmt.Errorf("%w: a buffer of the creator of group %q", ErrNotMember, g.Name())
	}
	if count < 0 || count > maxBuffer/sizeOf[T]() {
		return nil, fmt.Errorf("%w: buffer of %d elements, want 0 to %d", ErrArgument, count, maxBuffer/sizeOf[T]())
	}
	at := g.m.s.hub.storage
	if err := at.ready(); err != nil {
		return nil, err
	}
	w, err := at.store.Create(count * sizeOf[T]())
	if err != nil {
		return nil, fmt.Errorf("collective: buffer: %w", err)
	}
	b := &Buffer[T]{store: at.store, w: w, slice: []T{}}
	if b.view, err = watched[T](at.store, w, count); err != nil {
		w.Abort()
		return nil, fmt.Errorf("collective: buffer: %w", err)
	}
	if count > 0 {
		b.slice = unsafe.Slice((*T)(unsafe.Pointer(&w.Bytes()[0])), count)
	}
	return b, nil
}

// maxBuffer is more bytes than a machine has, and few enough to compute with.
const maxBuffer = 1 << (20 + 20*(^uint(0)>>63))

// watched returns a view of an object that is still being written.
func watched[T arrowstore.Numeric](st *arrowstore.Store, w *arrowstore.Writer, count int) (*arrowstore.View[T], error) {
	id, err := w.Open()
	if err != nil {
		return nil, err
	}
	j, err := st.Join(id)
	if err != nil {
		return nil, err
	}
	obj, err := j.Agreed()
	if err != nil {
		j.Release()
		return nil, err
	}
	defer obj.Release()
	return arrowstore.ViewAt[T](obj, 0, 0, count)
}

// Slice returns the memory, which may be written until Seal or Release, but not while an operation has the Buffer.
func (b *Buffer[T]) Slice() []T { return b.slice }

// Seal makes the contents immutable and returns a view of them, in place of the Buffer, which is released. It returns an error that matches
// arrowstore.ErrSealed after Seal or Release.
func (b *Buffer[T]) Seal() (*arrowstore.View[T], error) {
	obj, err := b.w.Seal()
	if err != nil {
		return nil, fmt.Errorf("collective: buffer: %w", err)
	}
	defer b.Release()
	defer obj.Release()
	if err := b.store.Delete(obj.ID()); err != nil {
		return nil, fmt.Errorf("collective: buffer: %w", err)
	}
	b.view.Retain()
	return b.view, nil
}

// Release gives the memory back, which must not be touched any more. After Seal or Release it does nothing, so it can be deferred.
func (b *Buffer[T]) Release() {
	b.free.Do(func() {
		b.w.Abort()
		b.view.Release()
	})
}

// AllReduceBuffer is [AllReduceView] of a Buffer, which is the operation's until the call returns and is left as it is. Members call
// either of the two.
func AllReduceBuffer[T arrowstore.Numeric](ctx context.Context, g *Group, b *Buffer[T], op Reduction) (*arrowstore.View[T], error) {
	if b == nil {
		return nil, fmt.Errorf("%w: %v: b is nil", ErrArgument, opAllReduceView)
	}
	return AllReduceView(ctx, g, b.view, op)
}

// ReduceScatterBuffer is [ReduceScatterView] as AllReduceBuffer is AllReduceView.
func ReduceScatterBuffer[T arrowstore.Numeric](ctx context.Context, g *Group, b *Buffer[T], op Reduction) (*arrowstore.View[T], error) {
	if b == nil {
		return nil, fmt.Errorf("%w: %v: b is nil", ErrArgument, opReduceScatterView)
	}
	return ReduceScatterView(ctx, g, b.view, op)
}

// ReduceBuffer is [ReduceView] as AllReduceBuffer is AllReduceView.
func ReduceBuffer[T arrowstore.Numeric](ctx context.Context, g *Group, b *Buffer[T], op Reduction, root int) (*arrowstore.View[T], error) {
	if b == nil {
		return nil, fmt.Errorf("%w: %v: b is nil", ErrArgument, opReduceView)
	}
	return ReduceView(ctx, g, b.view, op, root)
}
