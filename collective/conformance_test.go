// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
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

// dealt makes one buffer for each member. Of many elements only some are drawn, for that takes longer than to operate on them: each buffer
// begins at another of these, and has them again and again.
func (d domain[T]) dealt(rng *rand.Rand, members, length int) [][]T {
	const most = 4099 // a prime, so that no block of a round number of elements is like the next
	drawn := make([]T, min(members*length, most))
	for i := range drawn {
		drawn[i] = d.draw(rng)
	}
	bufs := make([][]T, members)
	for rank := range bufs {
		bufs[rank] = make([]T, length)
		at := rank * length
		if members*length > most {
			at = rng.IntN(most)
		}
		for done := 0; done < length; at = 0 {
			done += copy(bufs[rank][done:], drawn[at:])
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
	all := append(d.moves(rng, n, length), d.uneven(rng, n, length)...)
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

// uneven are the operations whose blocks have different lengths, some of them none.
func (d domain[T]) uneven(rng *rand.Rand, n, length int) []trial {
	root := rng.IntN(n)
	counts, blocks := make([]int, n), make([][]T, n)
	pairs := make([][]int, n) // by sender and receiver
	rows := make([][][]T, n)
	for r := range n {
		counts[r] = rng.IntN(length+1) * rng.IntN(2)
		blocks[r] = d.dealt(rng, 1, counts[r])[0]
		pairs[r], rows[r] = make([]int, n), make([][]T, n)
		for to := range n {
			pairs[r][to] = rng.IntN(min(length, 100) + 1)
			rows[r][to] = d.dealt(rng, 1, pairs[r][to])[0]
		}
	}
	joined := slices.Concat(blocks...)
	return []trial{
		func(ctx context.Context, g *Group) error {
			out := make([]T, len(joined))
			return compare(AllGatherV(ctx, g, blocks[g.Rank()], out, counts), joined, out, "AllGatherV")
		},
		func(ctx context.Context, g *Group) error {
			in := slices.Clone(blocks[g.Rank()])
			if g.Rank() != root {
				return compare(GatherV(ctx, g, in, nil, counts, root), blocks[g.Rank()], in, "GatherV: in afterwards")
			}
			out := make([]T, len(joined))
			return compare(GatherV(ctx, g, in, out, counts, root), joined, out, "GatherV to %d", root)
		},
		func(ctx context.Context, g *Group) error {
			var in []T
			if g.Rank() == root {
				in = joined
			}
			out := make([]T, counts[g.Rank()])
			return compare(ScatterV(ctx, g, in, out, counts, root), blocks[g.Rank()], out, "ScatterV from %d", root)
		},
		func(ctx context.Context, g *Group) error {
			outCounts, want := make([]int, n), []T{}
			for s := range n {
				outCounts[s] = pairs[s][g.Rank()]
				want = append(want, rows[s][g.Rank()]...)
			}
			out := make([]T, len(want))
			err := AllToAllV(ctx, g, slices.Concat(rows[g.Rank()]...), pairs[g.Rank()], out, outCounts)
			return compare(err, want, out, "AllToAllV")
		},
	}
}

// part returns one of n equal parts of a buffer.
func part[T any](buf []T, i, n int) []T { return buf[len(buf)/n*i : len(buf)/n*(i+1)] }

// compare finds the first element that differs, unless there is an error already.
func compare[T comparable](err error, want, got []T, format string, args ...any) error {
	if err != nil || sameBits(want, got) {
		return err
	}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			return fmt.Errorf("%s: element %d of %d is wrong: got %v, want %v", fmt.Sprintf(format, args...), i, len(want), got[i], want[i])
		}
	}
	return nil
}

// sameBits compares at once what takes ten times as long by elements with the race detector, which looks at each of them; it sees the copy as one read of all.
func sameBits[T comparable](want, got []T) bool {
	raw := func(s []T) []byte {
		var one T
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(one)))
	}
	return bytes.Equal(raw(want), raw(slices.Clone(got)))
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
		draw: func(rng *rand.Rand) T { return []T{-2, -1, -0.5, 0.5, 1, 2}[rng.IntN(6)] },
		ops:  []Op{Sum, Avg, Prod, Min, Max},
		combine: func(op Op, a, b T) T {
			switch {
			case op == Prod:
				return a * b
			case op == Min && a < b, op == Max && a > b:
				return a
			case op == Min, op == Max:
				return b
			default:
				return a + b
			}
		},
		divide: func(sum T, by int) T { return sum / T(by) },
	}
}

// short are numbers of 16 bits whose sums and products are exact.
func short[T Float16 | BFloat16](of func(float32) T, value func(T) float32) domain[T] {
	wide := halves[float32]()
	return domain[T]{
		draw:    func(rng *rand.Rand) T { return of([]float32{-1, -1, -1, 1, 1, 1, 0.5, 2}[rng.IntN(8)]) },
		ops:     wide.ops,
		combine: func(op Op, a, b T) T { return of(wide.combine(op, value(a), value(b))) },
		divide:  func(sum T, by int) T { return of(value(sum) / float32(by)) },
	}
}

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// integers may be any, for they wrap around in any order alike.
func integers[T integer]() domain[T] {
	return domain[T]{
		draw: func(rng *rand.Rand) T { return T(rng.Uint64()) },
		ops:  []Op{Sum, Avg, Prod, Min, Max, BitAnd, BitOr, BitXor},
		combine: func(op Op, a, b T) T {
			switch op {
			case Prod:
				return a * b
			case Min:
				return min(a, b)
			case Max:
				return max(a, b)
			case BitAnd:
				return a & b
			case BitOr:
				return a | b
			case BitXor:
				return a ^ b
			default:
				return a + b
			}
		},
		divide: func(sum T, by int) T {
			quotient := new(big.Int).Quo(asBig(sum), big.NewInt(int64(by))) // Quo truncates
			if quotient.Sign() < 0 {
				return T(quotient.Int64())
			}
			return T(quotient.Uint64())
		},
	}
}

func asBig[T integer](v T) *big.Int {
	if v < 0 {
		return big.NewInt(int64(v))
	}
	return new(big.Int).SetUint64(uint64(v))
}

// units have sums and products that are exact.
func units[T complex64 | complex128]() domain[T] {
	return domain[T]{
		draw: func(rng *rand.Rand) T { return []T{1, -1, 1i, -1i, 1 + 1i}[rng.IntN(5)] },
		ops:  []Op{Sum, Prod},
		combine: func(op Op, a, b T) T {
			if op == Prod {
				return a * b
			}
			return a + b
		},
	}
}

func truths[T ~bool]() domain[T] {
	return domain[T]{
		draw: func(rng *rand.Rand) T { return rng.IntN(2) == 0 },
		ops:  []Op{LogicalAnd, LogicalOr},
		combine: func(op Op, a, b T) T {
			if op == LogicalAnd {
				return a && b
			}
			return a || b
		},
	}
}

type (
	level uint8
	flag  bool
)

func subjects() []subject {
	return []subject{
		about(halves[float32]()), about(integers[int]()), about(integers[int8]()), about(integers[int16]()), about(integers[int32]()),
		about(integers[int64]()), about(halves[float64]()), about(integers[uint]()), about(integers[uint8]()), about(integers[uint16]()),
		about(integers[uint32]()), about(integers[uint64]()), about(integers[uintptr]()), about(units[complex64]()), about(units[complex128]()),
		about(truths[bool]()), about(halves[celsius]()), about(integers[level]()), about(truths[flag]()),
		about(short(NewFloat16, Float16.Float32)), about(short(NewBFloat16, BFloat16.Float32)),
	}
}

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
	subjects := subjects()
	turn := 0
	try := func(t *testing.T, nodes int, opts ...Option) {
		t.Helper()
		c := links()[map[int]string{1: "sockets", 2: "memory", 3: "host", 5: "tcp", 7: "shared memory"}[nodes]](t, nodes+1)
		for _, n := range few([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31}, 1, 2, 3, 5, 8, 13) {
			_, groups := c.group(fmt.Sprint("g", n), n, opts...)
			for _, length := range lengths(n) {
				runTrials(t, groups, subjects[turn%len(subjects)], length)
				turn++
			}
		}
	}
	inOneProcess(t, "nodes=1", func(t *testing.T, opts ...Option) { t.Helper(); try(t, 1, opts...) })
	for _, nodes := range []int{2, 3, 5, 7} {
		t.Run(fmt.Sprint("nodes=", nodes), func(t *testing.T) { try(t, nodes) })
	}
}

// Every operation, every reduction and every type at a few sizes, over every kind of link.
func TestEveryTypeAgreesWithASequentialReference(t *testing.T) {
	all := links()
	all["process"] = makerOf("process")
	for name, begin := range all {
		t.Run(name, func(t *testing.T) {
			c := begin(t, 4)
			for _, n := range few([]int{1, 5, 8}, 5) {
				_, groups := c.group(fmt.Sprint("g", n), n)
				for _, s := range subjects() {
					for _, length := range few(lengths(n), 1, 1000) {
						runTrials(t, groups, s, length)
					}
				}
			}
		})
	}
}

// A NaN of one member is everybody's result, wherever it was and whatever the others have.
func TestNaNWinsInMinAndMax(t *testing.T) {
	const n = 7
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", n)
	for _, length := range []int{3, 5000} { // short and long
		for odd := range n {
			for _, op := range []Op{Min, Max} {
				results := make([][]float64, n)
				requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					buf := make([]float64, length)
					for i := range buf {
						buf[i] = []float64{math.Inf(1), math.Inf(-1), 0, 3}[(i+g.Rank())%4]
					}
					if g.Rank() == odd {
						buf[1], buf[length-1] = math.NaN(), math.NaN()
					}
					results[g.Rank()] = buf
					return AllReduce(ctx, g, buf, op)
				}))
				for _, got := range results {
					for i, v := range got {
						if math.IsNaN(v) != (i == 1 || i == length-1) || math.Float64bits(v) != math.Float64bits(results[0][i]) {
							t.Fatalf("%v, NaN at rank %d: element %d of %d is %v", op, odd, i, length, v)
						}
					}
				}
			}
		}
	}
}

func TestReductionsThatAreNotForAnElementTypeAreRefused(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 1)
	also := func(ops []Op) []Op { return append(slices.Clone(ops), LogicalAnd, LogicalOr) }
	for op := Sum; op < reductionEnd; op++ {
		tryReduction[float32](t, groups[0], op, also(halves[float32]().ops))
		tryReduction[uint16](t, groups[0], op, also(integers[uint16]().ops))
		tryReduction[complex64](t, groups[0], op, units[complex64]().ops)
		tryReduction[bool](t, groups[0], op, truths[bool]().ops)
		tryReduction[Float16](t, groups[0], op, also(halves[float32]().ops))
	}
}

func tryReduction[T Element](t *testing.T, g *Group, op Op, allowed []Op) {
	t.Helper()
	ctx, one := t.Context(), make([]T, 1)
	for name, err := range map[string]error{
		"AllReduce":     AllReduce(ctx, g, one, op),
		"Reduce":        Reduce(ctx, g, one, op, 0),
		"ReduceScatter": ReduceScatter(ctx, g, one, make([]T, 1), op),
	} {
		if slices.Contains(allowed, op) {
			require.NoError(t, err, "%s %v of %v", name, op, kindOf[T]())
			continue
		}
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, fmt.Sprintf("%s: op is %v, which is not for elements of kind %v", name, op, kindOf[T]()))
	}
}
