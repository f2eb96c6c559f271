// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// domain says how elements of one type are made and what a reduction should do to them, one at a time. Values are such that no
// result depends on the order of the members.
type domain[T Element] struct {
	draw    func(rng *rand.Rand) T
	ops     []Op
	combine func(op Op, a, b T) T
	divide  func(sum T, by int) T
}

// trial is one operation of one member. The error says what is wrong with the result.
type trial func(ctx context.Context, g *Group) error

// dealt makes one buffer for each member.
func (d domain[T]) dealt(rng *rand.Rand, members, length int) [][]T {
	bufs := make([][]T, members)
	for rank := range bufs {
		bufs[rank] = make([]T, length)
		for i := range bufs[rank] {
			bufs[rank][i] = d.draw(rng)
		}
	}
	return bufs
}

func (d domain[T]) reduced(bufs [][]T, op Op) []T {
	want := slices.Clone(bufs[0])
	for _, b := range bufs[1:] {
		for i := range want {
			want[i] = d.combine(op, want[i], b[i])
		}
	}
	if op == Avg {
		for i := range want {
			want[i] = d.divide(want[i], len(bufs))
		}
	}
	return want
}

// trials are all operations over blocks of a length.
func (d domain[T]) trials(rng *rand.Rand, n, length int) []trial {
	all := d.moves(rng, n, length)
	for _, op := range d.ops {
		all = append(all, d.reductions(rng, n, length, op)...)
	}
	return all
}

func (d domain[T]) reductions(rng *rand.Rand, n, length int, op Op) []trial {
	root := rng.IntN(n)
	short, long := d.dealt(rng, n, length), d.dealt(rng, n, n*min(length, 100))
	wantShort, wantLong := d.reduced(short, op), d.reduced(long, op)
	return []trial{
		func(ctx context.Context, g *Group) error {
			buf := slices.Clone(short[g.Rank()])
			return compare(AllReduce(ctx, g, buf, op), wantShort, buf, "AllReduce %v", op)
		},
		func(ctx context.Context, g *Group) error {
			buf := slices.Clone(short[g.Rank()])
			err := Reduce(ctx, g, buf, op, root)
			if g.Rank() != root {
				return err
			}
			return compare(err, wantShort, buf, "Reduce %v to %d", op, root)
		},
		func(ctx context.Context, g *Group) error {
			in, out := slices.Clone(long[g.Rank()]), make([]T, min(length, 100))
			err := ReduceScatter(ctx, g, in, out, op)
			err = compare(err, part(wantLong, g.Rank(), n), out, "ReduceScatter %v", op)
			return compare(err, long[g.Rank()], in, "ReduceScatter %v: in afterwards", op)
		},
	}
}

func (d domain[T]) moves(rng *rand.Rand, n, length int) []trial {
	root := rng.IntN(n)
	blocks, rows := d.dealt(rng, n, length), d.dealt(rng, n, n*min(length, 100))
	joined := slices.Concat(blocks...)
	return []trial{
		func(ctx context.Context, g *Group) error {
			buf := slices.Clone(blocks[g.Rank()])
			return compare(Broadcast(ctx, g, buf, root), blocks[root], buf, "Broadcast from %d", root)
		},
		func(ctx context.Context, g *Group) error {
			out := make([]T, n*length)
			return compare(AllGather(ctx, g, blocks[g.Rank()], out), joined, out, "AllGather")
		},
		func(ctx context.Context, g *Group) error { // in place
			out := make([]T, n*length)
			in := part(out, g.Rank(), n)
			copy(in, blocks[g.Rank()])
			return compare(AllGather(ctx, g, in, out), joined, out, "AllGather in place")
		},
		func(ctx context.Context, g *Group) error {
			if g.Rank() != root {
				return Gather(ctx, g, blocks[g.Rank()], nil, root)
			}
			out := make([]T, n*length)
			return compare(Gather(ctx, g, blocks[root], out, root), joined, out, "Gather to %d", root)
		},
		func(ctx context.Context, g *Group) error {
			var in []T
			if g.Rank() == root {
				in = slices.Clone(joined)
			}
			out := make([]T, length)
			err := compare(Scatter(ctx, g, in, out, root), blocks[g.Rank()], out, "Scatter from %d", root)
			if g.Rank() == root {
				err = compare(err, joined, in, "Scatter: in afterwards")
			}
			return err
		},
		func(ctx context.Context, g *Group) error {
			out, want := make([]T, len(rows[0])), []T{}
			for s := range n {
				want = append(want, part(rows[s], g.Rank(), n)...)
			}
			return compare(AllToAll(ctx, g, rows[g.Rank()], out), want, out, "AllToAll")
		},
		Barrier,
	}
}

// part returns one of n equal parts of a buffer.
func part[T any](buf []T, i, n int) []T { return buf[len(buf)/n*i : len(buf)/n*(i+1)] }

// compare finds the first element that differs, unless there is an error already.
func compare[T comparable](err error, want, got []T, format string, args ...any) error {
	if err != nil {
		return err
	}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			return fmt.Errorf("%s: element %d of %d is wrong: got %v, want %v", fmt.Sprintf(format, args...), i, len(want), got[i], want[i])
		}
	}
	return nil
}

// subject is a domain whose type is forgotten.
type subject struct {
	name   string
	trials func(rng *rand.Rand, n, length int) []trial
}

func about[T Element](d domain[T]) subject { return subject{kindOf[T]().String(), d.trials} }

// halves are powers of two and of a half: their sums, and the products of a few, are exact.
func halves[T ~float32 | ~float64]() domain[T] {
	return domain[T]{
		draw:    func(rng *rand.Rand) T { return []T{-2, -1, -0.5, 0.5, 1, 2}[rng.IntN(6)] },
		ops:     []Op{Sum, Avg},
		combine: func(_ Op, a, b T) T { return a + b },
		divide:  func(sum T, by int) T { return sum / T(by) },
	}
}

func subjects() []subject { return []subject{about(halves[float32]()), about(halves[float64]())} }

func runTrials(t *testing.T, groups []*Group, s subject, length int) {
	t.Helper()
	n := len(groups)
	trials := s.trials(rand.New(rand.NewPCG(uint64(n), uint64(length))), n, length)
	for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		for _, do := range trials {
			if err := do(ctx, g); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Fatalf("rank %d of %d, %s x %d: %v", rank, n, s.name, length, err)
		}
	}
}

// Every operation at every size of group and every length over every number of nodes. The types take turns.
func TestOperationsAgreeWithASequentialReference(t *testing.T) {
	sizes := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31}
	subjects := subjects()
	turn := 0
	for _, nodes := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint("nodes=", nodes), func(t *testing.T) {
			tr := overSockets
			if nodes == 2 {
				tr = inMemory
			}
			c := newCluster(t, nodes+1, tr)
			for _, n := range sizes {
				_, groups := c.group(fmt.Sprint("g", n), n)
				for _, length := range lengths(n) {
					runTrials(t, groups, subjects[turn%len(subjects)], length)
					turn++
				}
			}
		})
	}
}

// Every operation, every reduction and every type at a few sizes.
func TestEveryTypeAgreesWithASequentialReference(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	for _, n := range []int{1, 5, 8} {
		_, groups := c.group(fmt.Sprint("g", n), n)
		for _, s := range subjects() {
			for _, length := range lengths(n) {
				runTrials(t, groups, s, length)
			}
		}
	}
}
