// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/tutti-go/tutti/arrowstore"
)

// sameView compares a view, which it releases, with what it should be.
func sameView[T comparable](err error, want []T, v view[T], format string, args ...any) error {
	if err != nil || v == nil {
		return compare(err, want, nil, format, args...)
	}
	defer v.Release()
	return compare(nil, want, v.Slice(), format, args...)
}

type view[T any] interface {
	Slice() []T
	Release()
}

// stored puts data into the store of a member's node, in the middle of a buffer, where they last as long as the view.
func stored[T arrowstore.Numeric](g *Group, data []T) (*arrowstore.View[T], error) {
	st := g.m.s.hub.storage.store
	obj, err := st.Put([]byte("before"), slices.Concat(make([]byte, 64), bytesOf(data), make([]byte, 3)))
	if err != nil {
		return nil, err
	}
	defer obj.Release()
	v, err := arrowstore.ViewAt[T](obj, 1, 64, len(data))
	return v, errors.Join(err, st.Delete(obj.ID()))
}

// sharedTrials are all operations with shared results over blocks of a length.
func sharedTrials[T arrowstore.Numeric](d domain[T], rng *rand.Rand, n, length int) []trial {
	root := rng.IntN(n)
	blocks, long := d.dealt(rng, n, length), d.dealt(rng, n, n*min(length, 100))
	joined := slices.Concat(blocks...)
	all := []trial{
		func(ctx context.Context, g *Group) error {
			var buf []T
			if g.Rank() == root {
				buf = blocks[root]
			}
			v, err := BroadcastShared(ctx, g, buf, root)
			return sameView(err, blocks[root], v, "BroadcastShared")
		},
		func(ctx context.Context, g *Group) error {
			v, err := AllGatherShared(ctx, g, blocks[g.Rank()])
			return sameView(err, joined, v, "AllGatherShared")
		},
		func(ctx context.Context, g *Group) error {
			v, err := GatherShared(ctx, g, blocks[g.Rank()], root)
			return sameAtRoot(err, g, root, joined, v, "GatherShared")
		},
		func(ctx context.Context, g *Group) error {
			var in []T
			if g.Rank() == root {
				in = joined
			}
			v, err := ScatterShared(ctx, g, in, length, root)
			return sameView(err, blocks[g.Rank()], v, "ScatterShared")
		},
		func(ctx context.Context, g *Group) error { // of what is in the store already, which nobody but the caller holds any more
			first, err := BroadcastShared(ctx, g, blocks[root], root)
			if err != nil {
				return err
			}
			defer first.Release()
			v, err := BroadcastView(ctx, g, first, (root+1)%n)
			return sameView(err, blocks[root], v, "BroadcastView")
		},
		func(ctx context.Context, g *Group) error {
			if g.Rank() != root {
				v, err := ScatterView[T](ctx, g, nil, length, root)
				return sameView(err, blocks[g.Rank()], v, "ScatterView")
			}
			own, err := stored(g, joined)
			if err != nil {
				return err
			}
			defer own.Release()
			v, err := ScatterView(ctx, g, own, length, root)
			return sameView(err, blocks[root], v, "ScatterView")
		},
	}
	return slices.Concat(all, unevenSharedTrials(d, rng, n, length), sharedReductions(d, blocks, long, root))
}

// sharedReductions are all reductions with shared results, of one block for each member and of a longer one.
func sharedReductions[T arrowstore.Numeric](d domain[T], blocks, long [][]T, root int) []trial {
	var all []trial
	n := len(blocks)
	for _, op := range d.ops {
		short, parts := d.reduced(blocks, op), d.reduced(long, op)
		all = append(all, func(ctx context.Context, g *Group) error {
			own := slices.Clone(blocks[g.Rank()])
			v, err := AllReduceShared(ctx, g, own, op)
			if err := sameView(err, short, v, "AllReduceShared %v", op); err != nil {
				return err
			}
			return compare(nil, blocks[g.Rank()], own, "AllReduceShared: its own")
		}, func(ctx context.Context, g *Group) error {
			v, err := ReduceScatterShared(ctx, g, long[g.Rank()], op)
			return sameView(err, part(parts, g.Rank(), n), v, "ReduceScatterShared %v", op)
		}, func(ctx context.Context, g *Group) error {
			own, err := stored(g, blocks[g.Rank()])
			if err != nil {
				return err
			}
			defer own.Release()
			v, err := AllReduceView(ctx, g, own, op)
			return sameView(err, short, v, "AllReduceView %v", op)
		}, func(ctx context.Context, g *Group) error {
			v, err := ReduceShared(ctx, g, blocks[g.Rank()], op, root)
			return sameAtRoot(err, g, root, short, v, "ReduceShared %v", op)
		}, func(ctx context.Context, g *Group) error {
			own, err := stored(g, blocks[g.Rank()])
			if err != nil {
				return err
			}
			defer own.Release()
			v, err := ReduceView(ctx, g, own, op, root)
			return sameAtRoot(err, g, root, short, v, "ReduceView %v", op)
		}, func(ctx context.Context, g *Group) error {
			own, err := stored(g, long[g.Rank()])
			if err != nil {
				return err
			}
			defer own.Release()
			v, err := ReduceScatterView(ctx, g, own, op)
			return sameView(err, part(parts, g.Rank(), n), v, "ReduceScatterView %v", op)
		})
	}
	return all
}

func sharedAbout[T arrowstore.Numeric](d domain[T]) subject {
	return subject{kindOf[T]().String(), func(rng *rand.Rand, n, length int) []trial { return sharedTrials(d, rng, n, length) }}
}

func addressOf[T any](s []T) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }
