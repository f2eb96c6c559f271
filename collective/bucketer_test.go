// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gradientLengths are of layers as they are: large and small ones, and one without parameters.
func gradientLengths() []int { return []int{700, 10, 0, 300, 1, 1200, 33, 256, 8} }

// gradientsOf makes the gradients of a member, in one piece or each with memory of its own.
func gradientsOf[T ~float32 | ~float64](onePiece bool, lengths []int) [][]T {
	var total int
	for _, n := range lengths {
		total += n
	}
	flat, grads := make([]T, total), make([][]T, len(lengths))
	for i, n := range lengths {
		grads[i] = make([]T, n)
		if onePiece {
			grads[i], flat = flat[:n], flat[n:]
		}
	}
	return grads
}

// train takes steps, in each of which a member adds its gradients in an order, and checks the results.
func train[T ~float32 | ~float64](ctx context.Context, g *Group, b *Bucketer[T], grads [][]T, steps int, order func(step int) []int) error {
	for step := range steps {
		for i, grad := range grads {
			for j := range grad {
				grad[j] = T(value(i*7+j+step, g.Rank()))
			}
		}
		for _, i := range order(step) {
			if err := b.Add(ctx, i); err != nil {
				return err
			}
		}
		if err := b.Wait(ctx); err != nil {
			return err
		}
		for i, grad := range grads {
			for j, got := range grad {
				if want := T(sumOf(i*7+j+step, g.Size())); got != want {
					return fmt.Errorf("step %d: element %d of gradient %d is %v, want %v", step, j, i, got, want)
				}
			}
		}
	}
	return nil
}

func TestABucketerReducesWhateverTheOrder(t *testing.T) {
	for _, n := range []int{1, 2, 5, 8} {
		for _, bytes := range []int{1, 1300, 1 << 20} {
			for _, onePiece := range []bool{false, true} {
				t.Run(fmt.Sprintf("members=%d/bytes=%d/piece=%v", n, bytes, onePiece), func(t *testing.T) {
					c := newCluster(t, 3, inMemory)
					_, groups := c.group("g", n)
					spans := make([][]Span, n)
					requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						grads := gradientsOf[float32](onePiece, gradientLengths())
						b, err := NewBucketer(g, grads, BucketBytes(bytes), BucketOp(Sum))
						if err != nil {
							return err
						}
						random := rand.New(rand.NewPCG(uint64(g.Rank()), 1)) // each member has another order
						err = train(ctx, g, b, grads, 6, func(int) []int { return random.Perm(len(grads)) })
						spans[g.Rank()] = b.Timeline()
						return err
					}))
					for _, list := range spans {
						require.Len(t, list, len(spans[0]))
						for i, s := range list {
							assert.Equal(t, spans[0][i].Gradients, s.Gradients)
							assert.True(t, s.Bytes <= bytes || len(slices.DeleteFunc(slices.Clone(s.Gradients), func(i int) bool {
								return gradientLengths()[i] == 0
							})) == 1, "%+v", s)
							assert.LessOrEqual(t, s.Ready, s.Began)
							assert.LessOrEqual(t, s.Began, s.Done)
						}
					}
				})
			}
		}
	}
}

func TestBucketsFollowTheOrderOfRank0FromTheSecondStepOn(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 3)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		grads := gradientsOf[float64](false, []int{1, 1, 1, 1, 1, 1})
		b, err := NewBucketer(g, grads, BucketBytes(16), BucketOp(Sum))
		if err != nil {
			return err
		}
		order := []int{5, 4, 3, 2, 1, 0}
		if g.Rank() == 0 {
			order = []int{1, 3, 5, 0, 2, 4}
		}
		buckets := func() (all [][]int) {
			for _, k := range b.mu.buckets {
				all = append(all, k.grads)
			}
			return all
		}
		assert.Equal(t, [][]int{{4, 5}, {2, 3}, {0, 1}}, buckets(), "at first from the last to the first")
		for range 2 {
			if err := train(ctx, g, b, grads, 2, func(int) []int { return order }); err != nil {
				return err
			}
			assert.Equal(t, [][]int{{1, 3}, {0, 5}, {2, 4}}, buckets())
		}
		return nil
	}))
}

func TestNeighboursAreReducedWhereTheyLie(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 1)
	inPlace := func(grads [][]float32) (list []bool) {
		b, err := NewBucketer(groups[0], grads)
		require.NoError(t, err)
		for _, k := range b.mu.buckets {
			list = append(list, k.inPlace)
		}
		return list
	}
	flat := make([]float32, 30)
	assert.Equal(t, []bool{true}, inPlace([][]float32{flat[:10], flat[10:12], flat[12:12], flat[12:30]}))
	assert.Equal(t, []bool{false}, inPlace([][]float32{flat[:10], flat[11:30]}), "with a gap")
	assert.Equal(t, []bool{false}, inPlace([][]float32{flat[10:20], flat[:10]}), "the wrong way round")
	assert.Equal(t, []bool{false}, inPlace([][]float32{flat[:10:10], flat[10:]}), "of which one must not be extended")
}

// The backward pass takes 10 ms for each gradient, in virtual time. All reductions but the last are over before it has ended.
func TestReductionsRunWhileTheBackwardPassGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const layers, layer = 8, 10 * time.Millisecond
		c := newCluster(t, 3, inMemory)
		_, groups := c.group("g", 4)
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			grads := make([][]float32, layers)
			for i := range grads {
				grads[i] = make([]float32, 100)
			}
			b, err := NewBucketer(g, grads, BucketBytes(2*400))
			if err != nil {
				return err
			}
			for range 3 {
				for i := layers - 1; i >= 0; i-- {
					time.Sleep(layer)
					if err := b.Add(ctx, i); err != nil {
						return err
					}
				}
				if err := b.Wait(ctx); err != nil {
					return err
				}
				spans := b.Timeline()
				if !assert.Len(t, spans, layers/2) {
					return nil
				}
				ended := spans[len(spans)-1].Ready
				for k, s := range spans {
					assert.Equal(t, time.Duration(2*k+1)*layer, s.Ready, "bucket %d", k)
					if k < len(spans)-1 {
						assert.Less(t, s.Done, ended, "bucket %d of %d was not reduced while the backward pass went on", k, len(spans))
					}
				}
			}
			return nil
		}))
	})
}

func TestGradientsMayBeAddedByManyGoroutines(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 3)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		grads := gradientsOf[float32](false, slices.Repeat([]int{50}, 40))
		b, err := NewBucketer(g, grads, BucketBytes(500), BucketOp(Sum))
		if err != nil {
			return err
		}
		for range 5 {
			for i, grad := range grads {
				for j := range grad {
					grad[j] = float32(i + j)
				}
			}
			var wg sync.WaitGroup
			for i := range grads {
				wg.Go(func() { assert.NoError(t, b.Add(ctx, i)) })
			}
			wg.Wait()
			if err := b.Wait(ctx); err != nil {
				return err
			}
			for i, grad := range grads {
				assert.InDelta(t, 3*(i+49), grad[49], 0)
			}
		}
		return nil
	}))
}

func TestWrongUseOfABucketerLeavesItAsItWas(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	grads := func() [][]float32 { return gradientsOf[float32](false, []int{3, 4, 5}) }
	for text, opts := range map[string][]BucketOption{
		"nil option": {nil}, "BucketBytes is 0": {BucketBytes(0)}, "bit-and": {BucketOp(BitAnd)},
	} {
		_, err := NewBucketer(groups[0], grads(), opts...)
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, text)
	}
	_, err := NewBucketer[float32](groups[0], nil)
	require.ErrorIs(t, err, ErrArgument)
	_, err = NewBucketer(creator, grads())
	require.ErrorIs(t, err, ErrNotMember)

	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		b, err := NewBucketer(g, grads())
		if err != nil {
			return err
		}
		for range 2 {
			for _, i := range []int{-1, 3} {
				assert.ErrorIs(t, b.Add(ctx, i), ErrArgument)
			}
			assert.NoError(t, b.Add(ctx, 1))
			assert.ErrorContains(t, b.Add(ctx, 1), "gradient 1 was added before")
			assert.EqualError(t, b.Wait(ctx), "collective: bad argument: Bucketer.Wait: 2 of 3 gradients were not added: [0 2]")
			assert.NoError(t, b.Add(ctx, 2))
			assert.NoError(t, b.Add(ctx, 0))
			assert.NoError(t, b.Wait(ctx))
		}
		return nil
	}))
}

func TestBucketersOfDifferentGradientsAreAMismatch(t *testing.T) {
	cases := map[string]struct {
		lengths []int // of rank 1; those of rank 0 are 3, 4, 5
		opts    []BucketOption
		text    string
	}{
		"another sum":   {[]int{3, 4, 6}, nil, "rank 1 called AllReduce(avg, float32 x 13)"},
		"another order": {[]int{4, 3, 5}, nil, "gradients of different lengths"},
		"another bound": {[]int{3, 4, 5}, []BucketOption{BucketBytes(1 << 20)}, "BucketBytes"},
		"another op":    {[]int{3, 4, 5}, []BucketOption{BucketOp(Max)}, "AllReduce(max"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, inMemory)
			_, groups := c.group("g", 2)
			for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				lengths, opts := []int{3, 4, 5}, []BucketOption(nil)
				if g.Rank() == 1 {
					lengths, opts = tc.lengths, tc.opts
				}
				b, err := NewBucketer(g, gradientsOf[float32](false, lengths), opts...)
				if err != nil {
					return err
				}
				for i := range lengths {
					if err := b.Add(ctx, i); err != nil {
						return err
					}
				}
				return b.Wait(ctx)
			}) {
				require.ErrorIs(t, err, ErrMismatch)
				require.ErrorContains(t, err, tc.text)
			}
		})
	}
}

func TestAStepEndsWithTheEpoch(t *testing.T) {
	cases := map[string]struct {
		end  func(c *cluster, g *Group)
		want error
	}{
		"revoked":  {func(_ *cluster, g *Group) { g.Revoke("no luck") }, ErrRevoked},
		"node":     {func(c *cluster, _ *Group) { c.lose(2) }, ErrMemberLost},
		"canceled": {nil, context.Canceled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, inMemory)
			_, groups := c.group("g", 2)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b, err := NewBucketer(groups[0], gradientsOf[float32](true, []int{5, 6}), BucketBytes(1))
			require.NoError(t, err)
			require.NoError(t, b.Add(ctx, 1)) // the other member never comes
			if tc.end == nil {
				cancel()
			} else {
				tc.end(c, groups[1])
			}
			<-groups[0].Done()
			for range 2 {
				err = b.Wait(t.Context())
				require.ErrorIs(t, err, ErrAborted)
				require.ErrorIs(t, err, tc.want)
			}
			require.ErrorIs(t, b.Add(t.Context(), 0), ErrAborted)
		})
	}
}

func TestToGiveUpWaitingForAStepIsNotToEndIt(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 2)
	var bs []*Bucketer[float32]
	for _, g := range groups {
		b, err := NewBucketer(g, gradientsOf[float32](true, []int{5, 6}), BucketBytes(1))
		require.NoError(t, err)
		bs = append(bs, b)
	}
	for i := range 2 {
		require.NoError(t, bs[0].Add(t.Context(), i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, bs[0].Wait(ctx), context.Canceled)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		if g.Rank() == 1 {
			for i := range 2 {
				if err := bs[1].Add(ctx, i); err != nil {
					return err
				}
			}
		}
		return bs[g.Rank()].Wait(ctx)
	}))
}

// What the operations take is theirs: the Bucketer itself allocates nothing once its buckets are made.
func TestABucketerAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 1)
	g := groups[0]
	grads := gradientsOf[float32](false, slices.Repeat([]int{1000}, 12))
	b, err := NewBucketer(g, grads, BucketBytes(3*4000))
	require.NoError(t, err)
	step := func() {
		for i := range grads {
			if err := b.Add(t.Context(), i); err != nil {
				t.Error(err)
			}
		}
		if err := b.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	step()
	buf := make([]float32, 3000)
	works := make([]*Work, 0, len(b.mu.buckets))
	reduce := func(ctx context.Context) error { return AllReduce(ctx, g, buf, Avg) }
	bare := func() {
		works = works[:0]
		for range cap(works) {
			works = append(works, g.Async(t.Context(), reduce))
		}
		for _, w := range works {
			if err := w.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	require.Equal(t, 4, cap(works))
	// Goroutines and timers that are made anew now and then count, too.
	assert.InDelta(t, testing.AllocsPerRun(100, bare), testing.AllocsPerRun(100, step), 2)
}

// A step whose backward pass is computed elsewhere and takes 1 ms for each of 16 layers of 256 KiB: reduced in the end, and as it goes on.
func BenchmarkTrainingStep(b *testing.B) {
	const layers, length = 16, 64 << 10
	backward := func() { time.Sleep(time.Millisecond) }
	b.Run("whole", func(b *testing.B) {
		grads := deal(4, layers*length*4)
		benchmark(b, 4, inMemory, func(ctx context.Context, g *Group) error {
			for range layers {
				backward()
			}
			return AllReduce(ctx, g, grads[g.Rank()], Avg)
		})
	})
	b.Run("buckets", func(b *testing.B) {
		var mu sync.Mutex
		bs := map[int]*Bucketer[float32]{}
		benchmark(b, 4, inMemory, func(ctx context.Context, g *Group) error {
			mu.Lock()
			bucketer := bs[g.Rank()]
			if bucketer == nil {
				var err error
				if bucketer, err = NewBucketer(g, gradientsOf[float32](true, slices.Repeat([]int{length}, layers)), BucketBytes(1<<20)); err != nil {
					mu.Unlock()
					return err
				}
				bs[g.Rank()] = bucketer
			}
			mu.Unlock()
			for i := layers - 1; i >= 0; i-- {
				backward()
				if err := bucketer.Add(ctx, i); err != nil {
					return err
				}
			}
			return bucketer.Wait(ctx)
		})
	})
}
