// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"slices"
	"time"
	"unsafe"
)

// bucket is some gradients that are reduced together.
type bucket[T Element] struct {
	grads   []int // rising, so that those that lie one behind the other stay so
	ends    []int // of their places in data, behind a 0
	data    []T
	inPlace bool // data is the gradients' own memory
	missing int  // gradients that were not gathered in this step
	span    Span
	run     func(ctx context.Context) error // reduces it, and puts the results where they belong

	lossy
}

// buildLocked puts gradients into buckets, in an order.
func (b *Bucketer[T]) buildLocked(order []uint32) {
	b.mu.buckets = nil
	var members []int
	bytes := 0
	for _, i := range order {
		size := len(bytesOf(b.grads[i]))
		if len(members) > 0 && bytes+size > b.config.bytes {
			b.closeLocked(members)
			members, bytes = nil, 0
		}
		members, bytes = append(members, int(i)), bytes+size
	}
	b.closeLocked(members)
	b.mu.works = make([]*Work, 0, len(b.mu.buckets))
}

// closeLocked makes a bucket of some gradients.
func (b *Bucketer[T]) closeLocked(members []int) {
	slices.Sort(members)
	k := &bucket[T]{grads: members, ends: make([]int, 1, len(members)+1), missing: len(members)}
	for at, i := range members {
		k.ends = append(k.ends, k.ends[at]+len(b.grads[i]))
		b.mu.of[i] = k
	}
	k.span = Span{Gradients: members, Bytes: k.ends[len(members)] * sizeOf[T]()}
	k.place(b.grads)
	k.run = func(ctx context.Context) error {
		k.span.Began = time.Since(b.mu.began) // written before the bucket was started
		if err := b.reduce(ctx, k); err != nil {
			return err
		}
		k.scatter(b.grads)
		k.span.Done = time.Since(b.mu.began)
		return nil
	}
	b.mu.buckets = append(b.mu.buckets, k)
}

// place finds the memory of a bucket: that of the gradients if they are neighbours in one slice.
func (k *bucket[T]) place(grads [][]T) {
	first, total := grads[k.grads[0]], k.ends[len(k.grads)]
	if total > 0 && cap(first) >= total {
		k.data, k.inPlace = first[:total], true
		for at, i := range k.grads {
			if g := grads[i]; len(g) > 0 && unsafe.SliceData(g) != unsafe.SliceData(k.data[k.ends[at]:]) {
				k.inPlace = false
			}
		}
	}
	if !k.inPlace {
		k.data = make([]T, total)
	}
}

// part returns the place of a gradient in data.
func (k *bucket[T]) part(i int) []T {
	at, _ := slices.BinarySearch(k.grads, i)
	return k.data[k.ends[at]:k.ends[at+1]]
}

// gather takes a gradient in.
func (k *bucket[T]) gather(grads [][]T, i int) {
	if !k.inPlace {
		copy(k.part(i), grads[i])
	}
}

// scatter puts the results back.
func (k *bucket[T]) scatter(grads [][]T) {
	if k.inPlace {
		return
	}
	for at, i := range k.grads {
		copy(grads[i], k.data[k.ends[at]:k.ends[at+1]])
	}
}
