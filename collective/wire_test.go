// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stepOnce takes a step of a new Bucketer at every member, of gradients that fill makes, and returns those of all members.
func stepOnce(
	t *testing.T, n int, lengths []int, fill func(rank, i int) float32, opts func(rank int) []BucketOption,
) (results [][][]float32, errs []error) {
	t.Helper()
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", n)
	results = make([][][]float32, n)
	errs = each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		grads := gradientsOf[float32](true, lengths)
		results[g.Rank()] = grads
		b, err := NewBucketer(g, grads, opts(g.Rank())...)
		if err != nil {
			return err
		}
		for i, grad := range grads {
			for j := range grad {
				grad[j] = fill(g.Rank(), 1000*i+j)
			}
			if err := b.Add(ctx, i); err != nil {
				return err
			}
		}
		return b.Wait(ctx)
	})
	return results, errs
}

// Two roundings to 16 bits, however many members there are: an element is off by at most one half step of its own and one of the result's.
func TestHalvesOnTheWireAreRoundedTwice(t *testing.T) {
	for name, tc := range map[string]struct {
		wire BucketOption
		bits int // of the fraction
	}{"float16": {Wire[Float16](), 10}, "bfloat16": {Wire[BFloat16](), 7}} {
		for _, n := range []int{1, 3, 8} {
			t.Run(fmt.Sprintf("%s/members=%d", name, n), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(n), 7))
				values := make([][3000]float32, n)
				for r := range values {
					for i := range values[r] {
						values[r][i] = float32(1 + random.Float64()) // all positive: errors are relative to the sum
					}
				}
				results, errs := stepOnce(t, n, []int{5, 900, 1}, func(rank, i int) float32 { return values[rank][i] },
					func(int) []BucketOption { return []BucketOption{tc.wire, BucketOp(Sum), BucketBytes(2000)} })
				requireAll(t, errs)
				for i, grad := range results[0] {
					for j, got := range grad {
						var want float64
						for r := range n {
							want += float64(values[r][1000*i+j])
						}
						bound := want * 2.001 * math.Pow(2, -float64(tc.bits+1)) // and what float32 rounds
						require.InDelta(t, want, float64(got), bound, "element %d of gradient %d", j, i)
					}
				}
				for rank := range results {
					assert.Equal(t, results[0], results[rank], "rank %d", rank)
				}
			})
		}
	}
}

// A sum of float16 that all members reduce step by step would be an infinity on its way.
func TestTheSumOfAnAverageIsNotHeldIn16Bits(t *testing.T) {
	results, errs := stepOnce(t, 8, []int{100}, func(int, int) float32 { return 60000 },
		func(int) []BucketOption { return []BucketOption{Wire[Float16]()} })
	requireAll(t, errs)
	for _, v := range results[3][0] {
		require.InDelta(t, 60000, v, 0)
	}
}

func TestWhatWireAndCompressAreNotFor(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 1)
	for text, opts := range map[string][]BucketOption{
		"Compress of nil": {Compress(nil)}, "both Wire and Compress": {Compress(&topOf{k: 1}), Wire[Float16]()},
		"BucketOp is max": {BucketOp(Max), Wire[BFloat16]()}, "is -8, want 0 or more": {Compress(&topOf{k: -1})},
	} {
		_, err := NewBucketer(groups[0], [][]float32{{1, 2}}, opts...)
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, text)
	}
	_, err := NewBucketer(groups[0], [][]float64{{1}}, Wire[Float16]())
	require.ErrorContains(t, err, "not for float64")
}

func TestMembersMustHaveTheSameWire(t *testing.T) {
	for name, other := range map[string][]BucketOption{
		"none": nil, "bfloat16": {Wire[BFloat16]()}, "compressed": {Compress(&topOf{k: 1})},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := stepOnce(t, 3, []int{50}, func(int, int) float32 { return 1 }, func(rank int) []BucketOption {
				if rank == 2 {
					return other
				}
				return []BucketOption{Wire[Float16]()}
			})
			for _, err := range errs {
				require.ErrorIs(t, err, ErrMismatch)
			}
		})
	}
}

// topOf sends the k largest elements of each gradient, as pairs of index and value, and adds what it left out to the gradient of the next step: error
// feedback, without which small elements would never be sent.
type topOf struct {
	k    int
	left map[int][]float32 // by gradient
	bad  bool
}

func (c *topOf) Size(int) int { return 8 * c.k }

func (c *topOf) Encode(gradient int, dst []byte, grad []float32) {
	if c.left == nil {
		c.left = map[int][]float32{}
	}
	if c.left[gradient] == nil {
		c.left[gradient] = make([]float32, len(grad))
	}
	left := c.left[gradient]
	order := make([]int, len(grad))
	for i := range grad {
		left[i] += grad[i]
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(math.Abs(float64(left[j])), math.Abs(float64(left[i]))) })
	for at := range c.k {
		index, v := uint32(math.MaxUint32), float32(0) // there are fewer
		if at < len(order) {
			index, v = uint32(order[at]), left[order[at]]
			left[index] = 0
		}
		binary.LittleEndian.PutUint32(dst[8*at:], index)
		binary.LittleEndian.PutUint32(dst[8*at+4:], math.Float32bits(v))
	}
	if c.bad {
		binary.LittleEndian.PutUint32(dst, math.MaxUint32-1)
	}
}

var errBadIndex = errors.New("index out of range")

func (c *topOf) Decode(_ int, grad []float32, src []byte) error {
	clear(grad)
	for ; len(src) > 0; src = src[8:] {
		switch index := binary.LittleEndian.Uint32(src); {
		case index == math.MaxUint32:
		case index >= uint32(len(grad)):
			return errBadIndex
		default:
			grad[index] = math.Float32frombits(binary.LittleEndian.Uint32(src[4:]))
		}
	}
	return nil
}

// What was reduced in all steps and what the members still hold back are together all gradients that there were, exactly, for they are whole numbers.
func TestACompressorWithErrorFeedbackLosesNothing(t *testing.T) {
	const n, steps, k = 4, 9, 3
	lengths := []int{20, 2, 0, 31}
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", n)
	compressors, totals := make([]*topOf, n), make([][][]float32, n)
	given := gradientsOf[float32](false, lengths) // of all members and steps
	inputs := make([][][][]float32, n)
	for rank := range n {
		random := rand.New(rand.NewPCG(uint64(rank), 3))
		for range steps {
			grads := gradientsOf[float32](false, lengths)
			for i, grad := range grads {
				for j := range grad {
					grad[j] = float32(random.IntN(100) - 50)
					given[i][j] += grad[j]
				}
			}
			inputs[rank] = append(inputs[rank], grads)
		}
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		r := g.Rank()
		compressors[r], totals[r] = &topOf{k: k}, gradientsOf[float32](false, lengths)
		grads := gradientsOf[float32](r%2 == 0, lengths)
		b, err := NewBucketer(g, grads, Compress(compressors[r]), BucketOp(Sum), BucketBytes(90))
		if err != nil {
			return err
		}
		for step := range steps {
			for _, i := range rand.Perm(len(grads)) {
				copy(grads[i], inputs[r][step][i])
				if err := b.Add(ctx, i); err != nil {
					return err
				}
			}
			if err := b.Wait(ctx); err != nil {
				return err
			}
			for i, grad := range grads {
				for j, v := range grad {
					totals[r][i][j] += v
				}
			}
		}
		return nil
	}))
	for i, grad := range given {
		for j, want := range grad {
			got := totals[0][i][j]
			for _, c := range compressors {
				got += c.left[i][j]
			}
			require.InDelta(t, want, got, 0, "element %d of gradient %d", j, i)
		}
	}
	for _, total := range totals {
		require.Equal(t, totals[0], total)
	}
}

func TestWhatCannotBeDecodedEndsTheEpoch(t *testing.T) {
	_, errs := stepOnce(t, 3, []int{50, 50}, func(int, int) float32 { return 1 }, func(rank int) []BucketOption {
		return []BucketOption{Compress(&topOf{k: 2, bad: rank == 1}), BucketBytes(200)}
	})
	for _, err := range errs {
		if !errors.Is(err, errBadIndex) { // by who saw it
			require.ErrorIs(t, err, ErrRevoked) // by who heard of it
		}
		require.ErrorContains(t, err, "of rank 1: index out of range")
	}
}
