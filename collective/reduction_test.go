// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scheme is a reduction that takes more than a name, and what it should do to the contributions of all members.
type scheme[T Element] struct {
	of   func(rank int) Reduction
	want func(contributions []T) T // in the order of ranks
	draw func(rng *rand.Rand) T
}

// reductions are all operations that reduce, over blocks of a length.
func (s scheme[T]) reductions(rng *rand.Rand, n, length int) []trial {
	d := domain[T]{draw: s.draw}
	short, long, root := d.dealt(rng, n, length), d.dealt(rng, n, n*length), rng.IntN(n)
	reduced := func(bufs [][]T) []T {
		want := make([]T, len(bufs[0]))
		for i := range want {
			column := make([]T, n)
			for rank := range column {
				column[rank] = bufs[rank][i]
			}
			want[i] = s.want(column)
		}
		return want
	}
	wantShort, wantLong := reduced(short), reduced(long)
	return []trial{
		func(ctx context.Context, g *Group) error {
			buf := slices.Clone(short[g.Rank()])
			return compare(AllReduce(ctx, g, buf, s.of(g.Rank())), wantShort, buf, "AllReduce")
		},
		func(ctx context.Context, g *Group) error {
			buf := slices.Clone(short[g.Rank()])
			if err := Reduce(ctx, g, buf, s.of(g.Rank()), root); err != nil || g.Rank() != root {
				return err
			}
			return compare(nil, wantShort, buf, "Reduce to %d", root)
		},
		func(ctx context.Context, g *Group) error {
			in, out := slices.Clone(long[g.Rank()]), make([]T, length)
			err := ReduceScatter(ctx, g, in, out, s.of(g.Rank()))
			err = compare(err, part(wantLong, g.Rank(), n), out, "ReduceScatter")
			return compare(err, long[g.Rank()], in, "ReduceScatter: in afterwards")
		},
	}
}

func checkScheme[T Element](t *testing.T, s scheme[T]) {
	t.Helper()
	c := newCluster(t, 4, inMemory)
	for _, n := range []int{1, 2, 5, 8} {
		_, groups := c.group(fmt.Sprint("g", n), n)
		for _, length := range []int{0, 1, n + 1, 5000} { // the last is beyond the limit of short ones
			runTrials(t, groups, subject{kindOf[T]().String(), s.reductions}, length)
		}
	}
}

// Of numbers, all but the zeros are true.
func TestLogicalReductionsOfNumbers(t *testing.T) {
	checkTruths(t, []int{0, 0, 3, -1})
	checkTruths(t, []int8{0, 0, 16, -128})
	checkTruths(t, []uint16{0, 256, 1})
	checkTruths(t, []int32{0, 2, math.MinInt32})
	checkTruths(t, []uint64{0, 1 << 63, 1})
	checkTruths(t, []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -7})
	checkTruths(t, []float64{0, math.Copysign(0, -1), math.Inf(-1), 1})
	checkTruths(t, []celsius{0, 0.5})
	const minusZero, least = 1 << 15, 1
	checkTruthsAre(t, []Float16{0, minusZero, least, NewFloat16(-3)}, NewFloat16(1), func(v Float16) bool { return v.Float32() != 0 })
	checkTruthsAre(t, []BFloat16{0, minusZero, least, NewBFloat16(-3)}, NewBFloat16(1), func(v BFloat16) bool { return v.Float32() != 0 })
}

func checkTruths[T integer | ~float32 | ~float64](t *testing.T, of []T) {
	t.Helper()
	checkTruthsAre(t, of, 1, func(v T) bool { return v != 0 })
}

// checkTruthsAre checks reductions of some values, which are as one if all, or any, are true.
func checkTruthsAre[T Element](t *testing.T, of []T, one T, isTrue func(T) bool) {
	t.Helper()
	var zero T
	draw := func(rng *rand.Rand) T { return of[rng.IntN(len(of))] }
	result := func(yes bool) T {
		if yes {
			return one
		}
		return zero
	}
	checkScheme(t, scheme[T]{
		of: func(int) Reduction { return LogicalAnd }, draw: draw,
		want: func(all []T) T { return result(!slices.ContainsFunc(all, func(v T) bool { return !isTrue(v) })) },
	})
	checkScheme(t, scheme[T]{
		of: func(int) Reduction { return LogicalOr }, draw: draw,
		want: func(all []T) T { return result(slices.ContainsFunc(all, isTrue)) },
	})
}

// Each member has a factor of its own, such that no rounding can be seen.
func TestPremulSumMultipliesEachContribution(t *testing.T) {
	factors := []float64{0.5, 2, -1, 0, 1, -0.25, 4, 8}
	factor := func(rank int) Reduction { return PremulSum(factors[rank]) }
	checkScheme(t, scheme[float32]{
		of: factor, draw: halves[float32]().draw,
		want: func(all []float32) (sum float32) {
			for rank, v := range all {
				sum += v * float32(factors[rank])
			}
			return sum
		},
	})
	checkScheme(t, scheme[complex128]{
		of: factor, draw: units[complex128]().draw,
		want: func(all []complex128) (sum complex128) {
			for rank, v := range all {
				sum += v * complex(factors[rank], 0)
			}
			return sum
		},
	})
	checkScheme(t, scheme[BFloat16]{
		of: factor, draw: func(rng *rand.Rand) BFloat16 { return NewBFloat16(float32(rng.IntN(2))) },
		want: func(all []BFloat16) BFloat16 {
			var sum float32
			for rank, v := range all {
				sum += v.Float32() * float32(factors[rank])
			}
			return NewBFloat16(sum)
		},
	})
	checkScheme(t, scheme[int16]{
		of: func(rank int) Reduction { return PremulSum(float64(3 - rank)) }, draw: integers[int16]().draw,
		want: func(all []int16) (sum int16) {
			for rank, v := range all {
				sum += v * int16(3-rank)
			}
			return sum
		},
	})
}

// The function is neither commutative nor associative: only one order gives this result.
func TestCustomReductionsThatDoNotCommuteRunInTheOrderOfRanks(t *testing.T) {
	appended := func(dst, src []uint64) {
		for i := range dst {
			dst[i] = 31*dst[i] + src[i]
		}
	}
	checkScheme(t, scheme[uint64]{
		of: func(int) Reduction { return Custom(appended, false) }, draw: integers[uint64]().draw,
		want: func(all []uint64) uint64 {
			for _, v := range all[1:] {
				appended(all[:1], []uint64{v})
			}
			return all[0]
		},
	})
}

func TestCustomReductionsThatCommute(t *testing.T) {
	longer := func(dst, src []celsius) { // the one farther from zero
		for i, v := range src {
			if v*v > dst[i]*dst[i] {
				dst[i] = v
			}
		}
	}
	checkScheme(t, scheme[celsius]{
		of: func(int) Reduction { return Custom(longer, true) }, draw: func(rng *rand.Rand) celsius { return celsius(rng.NormFloat64()) },
		want: func(all []celsius) celsius {
			for _, v := range all[1:] {
				longer(all[:1], []celsius{v})
			}
			return all[0]
		},
	})
}

func TestReductionsSayWhatTheyAreNotFor(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 1)
	ctx, g := t.Context(), groups[0]
	plain := func(_, _ []int32) {}
	for want, err := range map[string]error{
		"AllReduce: op is nil, want one of the reductions":                                                       AllReduce(ctx, g, []int{1}, nil),
		"op is premul-sum(0.5), which is no whole number from -2^53 to 2^53, for elements of kind int":           AllReduce(ctx, g, []int{1}, PremulSum(0.5)),
		"op is premul-sum(NaN), which is no whole number from -2^53 to 2^53, for elements of kind uint":          AllReduce(ctx, g, []uint{1}, PremulSum(nan())),
		"op is premul-sum(2), which is not for elements of kind bool":                                            AllReduce(ctx, g, []bool{true}, PremulSum(2)),
		"Reduce: op is custom for elements of kind int32, which is not for elements of kind float32":             Reduce(ctx, g, []float32{1}, Custom(plain, true), 0),
		"ReduceScatter: op is custom in the order of ranks without a function":                                   ReduceScatter(ctx, g, []int8{1}, []int8{1}, Custom[int8](nil, false)),
		"op is op(64), want one of the reductions":                                                               AllReduce(ctx, g, []int{1}, Op(64)),
		"op is custom in the order of ranks for elements of kind int32, which is not for elements of kind uint8": AllReduce(ctx, g, []uint8{1}, Custom(plain, false)),
	} {
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, AllReduce(ctx, g, []int32{1}, Custom(plain, true)))
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestMembersMustAgreeOnTheWayOfReducing(t *testing.T) {
	ways := []Reduction{Sum, PremulSum(1), Custom(func(_, _ []float32) {}, true), Custom(func(_, _ []float32) {}, false)}
	c := newCluster(t, 3, inMemory)
	for i, one := range ways {
		_, groups := c.group("g", 2)
		other := ways[(i+1)%len(ways)]
		for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			return AllReduce(ctx, g, make([]float32, 10), []Reduction{one, other}[g.Rank()])
		}) {
			require.ErrorIs(t, err, ErrMismatch)
			for _, way := range []Reduction{one, other} {
				a, _ := way.on(kindOf[float32]())
				assert.ErrorContains(t, err, fmt.Sprintf("AllReduce(%v, float32 x 10)", a.how))
			}
		}
	}
}

// A panic goes on, to become the error of the actor's call, and nobody waits in vain.
func TestAPanicInACustomReductionEndsTheEpoch(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	for _, commutative := range []bool{false, true} {
		_, groups := c.group("g", 5)
		errs := each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v: %w", p, AllReduce(ctx, g, []int{1}, Sum))
				}
			}()
			fn := func(_, _ []int) {
				if g.Rank() == 3 {
					panic("out of luck")
				}
			}
			return AllReduce(ctx, g, make([]int, 10), Custom(fn, commutative))
		})
		require.ErrorContains(t, errs[3], "panic: out of luck")
		require.ErrorIs(t, errs[3], ErrAborted)
		for rank, err := range errs {
			if err == nil { // it had what it needs before
				err = Barrier(t.Context(), groups[rank])
			}
			require.ErrorIs(t, err, ErrAborted)
			require.ErrorIs(t, err, ErrPanicked)
			require.ErrorContains(t, err, "rank 3: AllReduce(custom")
			require.ErrorContains(t, err, "panicked: out of luck")
		}
	}
}

// What is summed in one place is rounded once: 2048 and many ones are more than 2048 in float16.
func TestShortSumsOfHalvesAreRoundedOnce(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 9)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := []Float16{NewFloat16([]float32{2048, 1}[min(g.Rank(), 1)])}
		return compare(AllReduce(ctx, g, buf, Sum), []Float16{NewFloat16(2056)}, buf, "AllReduce")
	}))
}
