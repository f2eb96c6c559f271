// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Bucketer reduces the gradients of a training step while the backward pass still makes others. Those that are ready are gathered into
// buckets, each of which is all-reduced in the background as soon as it is full:
//
//	b, err := collective.NewBucketer(g, grads) // once
//
//	for each step {
//		for i := len(grads) - 1; i >= 0; i-- {
//			backward(layer i) // fills grads[i]
//			err = b.Add(ctx, i)
//		}
//		err = b.Wait(ctx) // grads hold the averages over all members
//	}
//
// The buckets of the first step take the gradients from the last to the first, as a backward pass mostly makes them. Wait of the first
// step makes the buckets anew in the order in which the gradients were ready at rank 0, which it tells the others. The
// buckets start in their order, also where a later one is full first, so that all members start the same. One is
// reduced while those behind it wait for their turn.
//
// It is the idea of DistributedDataParallel (Li et al., VLDB 2020). A Bucketer is for one epoch of a group; after a Shrink there must be a new one.
// Sums may be rounded otherwise once the buckets were made anew, but alike at all members.
type Bucketer[T Element] struct {
	g      *Group
	grads  [][]T
	config bucketing
	reduce func(ctx context.Context, k *bucket[T]) error

	mu struct {
		sync.Mutex

		buckets []*bucket[T]
		of      []*bucket[T] // by gradient
		added   []bool       // by gradient, in this step
		arrived []uint32     // gradients of this step, as they became ready
		works   []*Work      // of the buckets that were started, in their order
		agreed  bool         // on the order, after the first step
		began   time.Time    // of the step: the first Add
		spans   []Span       // of the last step
	}
}

// bucketing is what the options of a Bucketer say.
type bucketing struct {
	bytes      int
	op         Reduction
	wire       halfCodec // nil: the elements as they are
	compressor Compressor
	compressed bool
}

// BucketOption changes a Bucketer.
type BucketOption interface{ bucket(c *bucketing) }

type bucketOption func(c *bucketing)

func (f bucketOption) bucket(c *bucketing) { f(c) }

// DefaultBucketBytes is how many bytes of gradients a bucket holds at most, unless BucketBytes says otherwise.
const DefaultBucketBytes = 4 << 20

// BucketBytes bounds how many bytes of gradients a bucket holds; one that is longer has a bucket to itself. Small buckets begin early and
// cost an operation each, large ones leave more to do when the backward pass has ended. At least 1. Default: DefaultBucketBytes, 4 MiB.
func BucketBytes(n int) BucketOption { return bucketOption(func(c *bucketing) { c.bytes = n }) }

// BucketOp is how gradients are reduced. Default: Avg.
func BucketOp(op Reduction) BucketOption { return bucketOption(func(c *bucketing) { c.op = op }) }

// NewBucketer makes a Bucketer of the gradients of one member. All members must make one of as many gradients of the same lengths, with the same
// options; those that differ end the epoch with ErrMismatch, in the first step. It sends nothing. [Wire] and [Compress] send less.
//
// A gradient is the Bucketer's from its Add until Wait returns, and the caller's in between; grads itself is copied. Gradients of a
// bucket that lie one behind the other in one slice, of which each was cut as flat[from:to], are reduced in place; others are
// copied into memory of the bucket and back. Errors: ErrNotMember, ErrArgument.
func NewBucketer[T Element](g *Group, grads [][]T, opts ...BucketOption) (*Bucketer[T], error) {
	c := bucketing{bytes: DefaultBucketBytes, op: Avg}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("%w: NewBucketer: nil option", ErrArgument)
		}
		o.bucket(&c)
	}
	switch {
	case g.m == nil:
		return nil, fmt.Errorf("%w: NewBucketer by the creator of group %q", ErrNotMember, g.Name())
	case len(grads) == 0:
		return nil, fmt.Errorf("%w: NewBucketer: there are no gradients, want at least 1", ErrArgument)
	case c.bytes < 1:
		return nil, fmt.Errorf("%w: NewBucketer: BucketBytes is %d, want at least 1", ErrArgument, c.bytes)
	}
	b := &Bucketer[T]{g: g, grads: slices.Clone(grads), config: c}
	var err error
	if b.reduce, err = b.reducer(); err != nil {
		return nil, err
	}
	b.mu.added = make([]bool, len(grads))
	b.mu.of = make([]*bucket[T], len(grads))
	b.mu.arrived = make([]uint32, 0, len(grads))
	order := make([]uint32, len(grads))
	for i := range order {
		order[i] = uint32(len(grads) - 1 - i)
	}
	b.buildLocked(order)
	return b, nil
}

// reducer returns how buckets are reduced.
func (b *Bucketer[T]) reducer() (func(context.Context, *bucket[T]) error, error) {
	if _, err := arithmeticOf[T](opAllReduce, b.config.op); err != nil {
		return nil, err
	}
	if b.config.wire != nil || b.config.compressed {
		return b.lossyReducer()
	}
	return func(ctx context.Context, k *bucket[T]) error { return AllReduce(ctx, b.g, k.data, b.config.op) }, nil
}

// Add says that gradient i of this step is ready, and starts the buckets that are full. Each gradient must be added once in each step, in whatever
// order, by any goroutine; the buckets that it starts end with ctx, and with them the epoch. It does not wait for other members. No other
// operation on the group may be called from the first Add to the end of Wait, for the members start the buckets at different
// times. Errors: ErrArgument for a gradient that there is not or that was added before, ErrNotMember, *Error.
func (b *Bucketer[T]) Add(ctx context.Context, i int) error {
	if err := b.g.admit(ctx, named("Bucketer.Add")); err != nil {
		return err
	}
	k, err := b.take(i)
	if err != nil {
		return err
	}
	k.gather(b.grads, i)
	b.mu.Lock()
	defer b.mu.Unlock()
	if k.missing--; k.missing == 0 {
		k.span.Ready = time.Since(b.mu.began)
	}
	for next := len(b.mu.works); next < len(b.mu.buckets) && b.mu.buckets[next].missing == 0; next++ {
		b.mu.works = append(b.mu.works, b.g.Async(ctx, b.mu.buckets[next].run))
	}
	return nil
}

// take returns the bucket of a gradient, which is added now.
func (b *Bucketer[T]) take(i int) (*bucket[T], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case i < 0 || i >= len(b.grads):
		return nil, fmt.Errorf("%w: Bucketer.Add: gradient is %d, want 0 to %d", ErrArgument, i, len(b.grads)-1)
	case b.mu.added[i]:
		return nil, fmt.Errorf("%w: Bucketer.Add: gradient %d was added before in this step", ErrArgument, i)
	}
	if len(b.mu.arrived) == 0 {
		b.mu.began = time.Now()
	}
	b.mu.added[i] = true
	b.mu.arrived = append(b.mu.arrived, uint32(i))
	return b.mu.of[i], nil
}

// Wait ends the step: it returns when all gradients hold the results, and another step may begin. All members must call it; in the
// first step it takes two operations more. Every Add must have returned.
//
// If some gradients were not added it names them in an ErrArgument; they can be added then, before another Wait. If ctx ends first, the
// gradients stay the Bucketer's until another Wait returns. After an *Error they are of no use, and the Bucketer is not either.
func (b *Bucketer[T]) Wait(ctx context.Context) error {
	b.mu.Lock()
	works, missing := b.mu.works, b.missingLocked()
	b.mu.Unlock()
	if err := b.g.checkMember(ctx, named("Bucketer.Wait")); err != nil {
		return err
	}
	if len(missing) > 0 && b.g.s.ended() == nil {
		return fmt.Errorf("%w: Bucketer.Wait: %d of %d gradients were not added: %s", ErrArgument, len(missing), len(b.grads), ranksText(missing))
	}
	var failed error
	for _, w := range works { // all, for they use the gradients
		if err := w.Wait(ctx); failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	if err := b.g.admit(ctx, named("Bucketer.Wait")); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.spans = b.mu.spans[:0]
	for _, k := range b.mu.buckets {
		b.mu.spans = append(b.mu.spans, k.span)
	}
	if !b.mu.agreed {
		if err := b.agreeLocked(ctx); err != nil {
			return err
		}
		b.mu.agreed = true
	}
	clear(b.mu.works)
	clear(b.mu.added)
	b.mu.works, b.mu.arrived = b.mu.works[:0], b.mu.arrived[:0]
	for _, k := range b.mu.buckets {
		k.missing = len(k.grads)
	}
	return nil
}

// missingLocked returns the gradients that were not added in this step.
func (b *Bucketer[T]) missingLocked() (missing []int) {
	for i, added := range b.mu.added {
		if !added {
			missing = append(missing, i)
		}
	}
	return missing
}

// agreeLocked makes the buckets anew, in the order of rank 0, after it has compared what all members were made of: buckets of the same length
// may hold different gradients.
func (b *Bucketer[T]) agreeLocked(ctx context.Context) error {
	hash := fnv.New64a()
	for _, grad := range b.grads {
		fmt.Fprintf(hash, "%d,", len(grad))
	}
	fmt.Fprintf(hash, "%d,%v", b.config.bytes, kindOf[T]())
	layout := hash.Sum64()
	most := []uint64{layout, ^layout}
	if err := AllReduce(ctx, b.g, most, Max); err != nil {
		return err
	}
	order := slices.Clone(b.mu.arrived)
	if most[0] != layout || most[1] != ^layout {
		return b.disagree("the members made their Bucketers of gradients of different lengths, or with different BucketBytes")
	}
	if err := Broadcast(ctx, b.g, order, 0); err != nil {
		return err
	}
	seen := make([]bool, len(order))
	for _, i := range order {
		if int(i) >= len(seen) || seen[i] {
			return b.disagree(fmt.Sprintf("rank 0 had gradient %d of %d where it cannot be", i, len(seen)))
		}
		seen[i] = true
	}
	b.buildLocked(order)
	return nil
}

// disagree ends the epoch.
func (b *Bucketer[T]) disagree(why string) error {
	b.g.s.abort(mismatch("rank %d: Bucketer: %s", b.g.Rank(), why))
	return b.g.s.failure(b.g.Rank(), 0, "Bucketer.Wait")
}

// Span is when a bucket was what, since the first Add of its step.
type Span struct {
	Gradients []int         // in the bucket, rising
	Bytes     int           // of them
	Ready     time.Duration // the last of them was added
	Began     time.Duration // its turn came to be reduced
	Done      time.Duration // they held the result
}

// Timeline returns the spans of the last step that Wait has ended, in the order of its buckets, to see how much of the reductions the
// backward pass has covered.
func (b *Bucketer[T]) Timeline() []Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	spans := slices.Clone(b.mu.spans)
	for i, s := range spans {
		spans[i].Gradients = slices.Clone(s.Gradients)
	}
	return spans
}
