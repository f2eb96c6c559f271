// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// scatterAll scatters blocks of some elements, or of as many more as the rank, from a root, and compares what came.
func scatterAll(count, root int, uneven bool) func(context.Context, *Group) error {
	return func(ctx context.Context, g *Group) error {
		counts := make([]int, g.Size())
		var in, want []int32
		for rank := range counts {
			counts[rank] = count
			if uneven {
				counts[rank] += rank
			}
			block := pairBlock(root, rank, counts[rank])
			if rank == g.Rank() {
				want = block
			}
			if g.Rank() == root {
				in = append(in, block...)
			}
		}
		out := make([]int32, len(want))
		var err error
		if uneven {
			err = ScatterV(ctx, g, in, out, counts, root)
		} else {
			err = Scatter(ctx, g, in, out, root)
		}
		return compare(err, want, out, "at rank %d", g.Rank())
	}
}

// Long blocks come the same whether the system lets members read each other's memory or not.
func TestLongBlocksAreScatteredWithAndWithoutTheRootsMemory(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused=%v", refused), func(t *testing.T) {
			c, _ := oneMachine(t, 5)
			_, groups := c.group("g", 7)
			for _, g := range groups {
				if refused {
					g.m.host.direct = directRefused
				}
			}
			for _, count := range []int{directBytes/4 - 7, directBytes / 4, 300_000} {
				for _, root := range []int{0, 3, 6} {
					for _, uneven := range []bool{false, true} {
						requireAll(t, each(t.Context(), groups, scatterAll(count, root, uneven)))
					}
				}
			}
			for _, g := range groups {
				switch g.m.host.direct {
				case directAllowed:
					require.False(t, refused)
				case directRefused:
					if !refused {
						t.Skip("the system lets no process read another's memory")
					}
				default:
					require.Fail(t, "it was not tried")
				}
			}
		})
	}
}

// A root that gives up has its memory back: nobody takes what is there later for data.
func TestARootThatGivesUpEndsAllReads(t *testing.T) {
	const n, count = 4, directBytes
	c, _ := oneMachine(t, n)
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, scatterAll(count, 0, false)))
	ctx, cancel := context.WithCancel(t.Context())
	in, done := make([]int32, n*count), make(chan error, 1)
	go func() { done <- Scatter(ctx, groups[0], in, make([]int32, count), 0) }()
	for _, g := range groups[1 : n-1] {
		require.NoError(t, Scatter(t.Context(), g, nil, make([]int32, count), 0))
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.ErrorIs(t, Scatter(t.Context(), groups[n-1], nil, make([]int32, count), 0), ErrAborted)
}

// Results come into memory that was never used, however the operation gets them there.
func TestResultsComeIntoFreshMemory(t *testing.T) {
	const n, count = 4, 3 * populateBytes / 4
	c, _ := oneMachine(t, n)
	_, groups := c.group("g", n)
	for name, operate := range map[string]func(context.Context, *Group, []int32, []int32) error{
		"broadcast": func(ctx context.Context, g *Group, in, out []int32) error {
			if g.Rank() == 0 {
				return Broadcast(ctx, g, in, 0)
			}
			err := Broadcast(ctx, g, out[:len(in)], 0)
			for i, v := range out[:len(in)] {
				if err == nil && v != int32(i) {
					return fmt.Errorf("element %d of rank %d is %d", i, g.Rank(), v)
				}
			}
			return err
		},
		"all-gather": func(ctx context.Context, g *Group, in, out []int32) error {
			err := AllGather(ctx, g, in, out)
			for i, v := range out {
				if err == nil && v != int32(i%len(in)) {
					return fmt.Errorf("element %d of rank %d is %d", i, g.Rank(), v)
				}
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					in := make([]int32, count)
					for i := range in {
						in[i] = int32(i)
					}
					return operate(ctx, g, in, make([]int32, n*count))
				}))
			}
		})
	}
}
