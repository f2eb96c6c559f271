// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
)

// Compressor makes gradients shorter on their way between members: it is the hook of a [Bucketer] with [Compress]. It works on one gradient at
// a time, whose number is its place in what NewBucketer was given, so that it can keep something for each, such as what it left out
// (error feedback). The methods are called by one goroutine at a time. Memory that they get is theirs until they return.
type Compressor interface {
	// Size returns how many bytes a gradient of some elements takes: the same at all members and in all steps, 0 or more.
	Size(elements int) int
	// Encode writes the member's gradient to dst, which has Size(len(grad)) bytes, of any content. It may change grad, which is not used again.
	Encode(gradient int, dst []byte, grad []float32)
	// Decode writes to grad, of any content, what some member has encoded. An error ends the epoch.
	Decode(gradient int, grad []float32, src []byte) error
}

// Compress makes a Bucketer of float32 send what c makes of the gradients. Each member gets those of all others, decodes them and adds them up
// in the order of ranks, in float32: Size times the bytes of a compressed bucket come in at each member, and Size gradients are decoded. So it
// pays where c leaves less than about 2/Size of the bytes. A bucket takes Size times its compressed bytes, and once its bytes, of memory.
// BucketOp must be Sum or Avg. All members must have equal ones, each its own. Default: none.
func Compress(c Compressor) BucketOption {
	return bucketOption(func(b *bucketing) { b.compressor, b.compressed = c, true })
}

// Wire makes a Bucketer of float32 send 16-bit floats, half as many bytes. They are added up in float32, in the order of ranks, by the member that each
// part of a bucket is dealt to, which divides for Avg. So an element is rounded to 16 bits twice, once at its member and once as a result, however many
// members there are; all get the same bits. A bucket takes three times its 16-bit bytes of memory. As a Float16, what is 65520 or more becomes an
// infinity, and so does a sum; as a BFloat16 nothing does that a float32 holds, but for the last half step below its end. BucketOp must be Sum or Avg.
// Default: the elements as they are.
func Wire[F Float16 | BFloat16]() BucketOption {
	return bucketOption(func(b *bucketing) { b.wire = halfFloats[F]{} })
}

// halfCodec moves between float32 and the bytes of 16-bit floats, which are aligned.
type halfCodec interface {
	fmt.Stringer
	encode(dst []byte, src []float32)
	decode(dst []float32, src []byte)
	add(dst []float32, src []byte)
	// These name the type to the other members, which must have the same.
	allToAll(ctx context.Context, g *Group, in, out []uint16) error
	allGather(ctx context.Context, g *Group, in, out []uint16) error
}

type halfFloats[F Float16 | BFloat16] struct{}

// String returns the name of the type.
func (halfFloats[F]) String() string { return kindOf[F]().String() }

func (halfFloats[F]) encode(dst []byte, src []float32) {
	switch to := any(elements[F](dst)).(type) {
	case []Float16:
		for i, v := range src {
			to[i] = NewFloat16(v)
		}
	case []BFloat16:
		for i, v := range src {
			to[i] = NewBFloat16(v)
		}
	}
}

func (halfFloats[F]) decode(dst []float32, src []byte) {
	switch from := any(elements[F](src)).(type) {
	case []Float16:
		for i := range dst {
			dst[i] = from[i].Float32()
		}
	case []BFloat16:
		for i := range dst {
			dst[i] = from[i].Float32()
		}
	}
}

func (halfFloats[F]) add(dst []float32, src []byte) {
	switch from := any(elements[F](src)).(type) {
	case []Float16:
		for i := range dst {
			dst[i] += from[i].Float32()
		}
	case []BFloat16:
		for i := range dst {
			dst[i] += from[i].Float32()
		}
	}
}

func (halfFloats[F]) allToAll(ctx context.Context, g *Group, in, out []uint16) error {
	return AllToAll(ctx, g, elements[F](bytesOf(in)), elements[F](bytesOf(out)))
}

func (halfFloats[F]) allGather(ctx context.Context, g *Group, in, out []uint16) error {
	return AllGather(ctx, g, elements[F](bytesOf(in)), elements[F](bytesOf(out)))
}

// lossy is the memory of a bucket whose gradients are not sent as they are.
type lossy struct {
	own   []uint16  // what the member sends: its bucket as 16-bit floats, in one part for each member
	came  []uint16  // the parts of the others
	all   []byte    // what all members have encoded
	sum   []float32 // of the member's part, or of a gradient that is being decoded
	sizes []int     // ends of the encoded gradients, behind a 0
}

// lossyReducer returns how buckets are reduced with Wire or Compress.
func (b *Bucketer[T]) lossyReducer() (func(context.Context, *bucket[T]) error, error) {
	c := b.config
	switch {
	case c.compressed && c.compressor == nil:
		return nil, fmt.Errorf("%w: NewBucketer: Compress of nil", ErrArgument)
	case c.compressed && c.wire != nil:
		return nil, fmt.Errorf("%w: NewBucketer: both Wire and Compress", ErrArgument)
	case kindOf[T]() != kindOf[float32]():
		return nil, fmt.Errorf("%w: NewBucketer: Wire and Compress are for float32, not for %v", ErrArgument, kindOf[T]())
	case c.op != Sum && c.op != Avg:
		return nil, fmt.Errorf("%w: NewBucketer: BucketOp is %v, want sum or avg with Wire and Compress", ErrArgument, c.op)
	}
	if c.compressed {
		for i, grad := range b.grads {
			if n := c.compressor.Size(len(grad)); n < 0 {
				return nil, fmt.Errorf("%w: NewBucketer: Size of a gradient of %d elements, number %d, is %d, want 0 or more", ErrArgument, len(grad), i, n)
			}
		}
		return b.reduceCompressed, nil
	}
	return b.reduceHalves, nil
}

// divisor is what a sum is divided by in the end.
func (b *Bucketer[T]) divisor() float32 {
	if b.config.op == Avg {
		return float32(b.g.Size())
	}
	return 1
}

// reduceHalves reduces a bucket by 16-bit floats: each member gets a part of all, adds it up, and gives the result to all.
func (b *Bucketer[T]) reduceHalves(ctx context.Context, k *bucket[T]) error {
	data, n, codec := elements[float32](bytesOf(k.data)), b.g.Size(), b.config.wire
	part := (len(data) + n - 1) / n
	if k.own == nil {
		k.own, k.came, k.sum = make([]uint16, part*n), make([]uint16, part*n), make([]float32, part)
	}
	codec.encode(bytesOf(k.own), data) // what is behind the last stays 0
	if err := codec.allToAll(ctx, b.g, k.own, k.came); err != nil {
		return err
	}
	codec.decode(k.sum, bytesOf(k.came[:part]))
	for rank := 1; rank < n; rank++ {
		codec.add(k.sum, bytesOf(k.came[rank*part:(rank+1)*part]))
	}
	if by := b.divisor(); by != 1 {
		for i := range k.sum {
			k.sum[i] /= by
		}
	}
	mine := k.came[b.g.Rank()*part : (b.g.Rank()+1)*part]
	codec.encode(bytesOf(mine), k.sum)
	if err := codec.allGather(ctx, b.g, mine, k.came); err != nil {
		return err
	}
	codec.decode(data, bytesOf(k.came))
	return nil
}

// reduceCompressed reduces a bucket by what the compressor makes of it: each member gets all, decodes it and adds it up.
func (b *Bucketer[T]) reduceCompressed(ctx context.Context, k *bucket[T]) error {
	data, n, c := elements[float32](bytesOf(k.data)), b.g.Size(), b.config.compressor
	if k.sizes == nil {
		k.sizes = make([]int, 1, len(k.grads)+1)
		longest := 0
		for at := range k.grads {
			length := k.ends[at+1] - k.ends[at]
			k.sizes, longest = append(k.sizes, k.sizes[at]+c.Size(length)), max(longest, length)
		}
		k.all, k.sum = make([]byte, n*k.sizes[len(k.grads)]), make([]float32, longest)
	}
	size := k.sizes[len(k.grads)]
	mine := k.all[b.g.Rank()*size : (b.g.Rank()+1)*size]
	for at, i := range k.grads {
		c.Encode(i, mine[k.sizes[at]:k.sizes[at+1]:k.sizes[at+1]], data[k.ends[at]:k.ends[at+1]])
	}
	if err := AllGather(ctx, b.g, mine, k.all); err != nil {
		return err
	}
	clear(data)
	for rank := range n {
		for at, i := range k.grads {
			sum := data[k.ends[at]:k.ends[at+1]]
			from := k.all[rank*size+k.sizes[at] : rank*size+k.sizes[at+1]]
			if err := c.Decode(i, k.sum[:len(sum)], from); err != nil {
				b.g.Revoke(fmt.Sprintf("cannot decode gradient %d of rank %d: %v", i, rank, err))
				return fmt.Errorf("collective: group %q: rank %d: decode gradient %d of rank %d: %w", b.g.Name(), b.g.Rank(), i, rank, err)
			}
			for j, v := range k.sum[:len(sum)] {
				sum[j] += v
			}
		}
	}
	if by := b.divisor(); by != 1 {
		for i := range data {
			data[i] /= by
		}
	}
	return nil
}
