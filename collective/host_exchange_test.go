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

	"github.com/stretchr/testify/require"
)

// pairBlock is what one of 64 ranks has for another, up to 1<<20 elements: it begins elsewhere in the same numbers, none of which is there twice.
func pairBlock(from, to, n int) []int32 {
	const ranks, apart = 64, 67
	at := (from*ranks + to) * apart
	return pairNumbers()[at : at+n]
}

var pairNumbers = sync.OnceValue(func() []int32 {
	all := make([]int32, 1<<20+64*64*67)
	for i := range all {
		all[i] = int32(i)
	}
	return all
})

// exchangeAll exchanges blocks of given lengths, by sender and receiver, and compares what came, and what was given.
func exchangeAll(pairs [][]int) func(context.Context, *Group) error {
	return func(ctx context.Context, g *Group) error {
		var in, want []int32
		outCounts := make([]int, g.Size())
		for other := range g.Size() {
			outCounts[other] = pairs[other][g.Rank()]
			in = append(in, pairBlock(g.Rank(), other, pairs[g.Rank()][other])...)
			want = append(want, pairBlock(other, g.Rank(), outCounts[other])...)
		}
		given := slices.Clone(in)
		out := make([]int32, len(want))
		err := compare(AllToAllV(ctx, g, in, pairs[g.Rank()], out, outCounts), want, out, "AllToAllV")
		return compare(err, given, in, "AllToAllV: in afterwards")
	}
}

// ragged draws lengths of blocks: none, short ones and, of one in many, some that are longer than a slot.
func ragged(rng *rand.Rand, n int, longest int) [][]int {
	pairs := make([][]int, n)
	for from := range pairs {
		pairs[from] = make([]int, n)
		for to := range pairs[from] {
			switch rng.IntN(8) {
			case 0, 1, 2:
			case 3:
				pairs[from][to] = rng.IntN(longest + 1)
			case 4:
				pairs[from][to] = rng.IntN(3000)
			default:
				pairs[from][to] = rng.IntN(40)
			}
		}
		if rng.IntN(6) == 0 {
			clear(pairs[from]) // it has nothing for anybody
		}
	}
	return pairs
}

// inEveryState runs a test where members read each other's memory, where the system forbids it, and where there is no memory for large slots either.
func inEveryState(t *testing.T, nodes, n int, do func(t *testing.T, groups []*Group)) {
	t.Helper()
	for _, state := range []string{"direct", "refused", "no room"} {
		t.Run(state, func(t *testing.T) {
			c, _ := oneMachine(t, nodes)
			_, groups := c.group("g", n)
			requireAll(t, each(t.Context(), groups, Barrier)) // they have met
			for _, g := range groups {
				require.NotNil(t, g.m.host.port.Load())
				if state != "direct" {
					g.m.host.direct = directRefused
				}
				g.m.host.narrow = state == "no room"
			}
			do(t, groups)
			if state == "direct" && groups[0].m.host.direct == directRefused {
				t.Skip("the system lets no process read another's memory")
			}
		})
	}
}

func TestAnyLengthsAreExchangedInTheMemoryOfAMachine(t *testing.T) {
	inEveryState(t, 5, 7, func(t *testing.T, groups []*Group) {
		rng := rand.New(rand.NewPCG(7, 1))
		for _, longest := range []int{5, 400, 9000, directBytes, 400_000} {
			for range 6 {
				requireAll(t, each(t.Context(), groups, exchangeAll(ragged(rng, len(groups), longest))))
			}
		}
	})
}

// One pair has a block that is longer than all slots together, and nobody else anything.
func TestOneLongBlockIsExchanged(t *testing.T) {
	inEveryState(t, 3, 4, func(t *testing.T, groups []*Group) {
		for _, count := range []int{directBytes / 4, 1_000_000} {
			pairs := [][]int{make([]int, 4), make([]int, 4), make([]int, 4), make([]int, 4)}
			pairs[2][1] = count
			requireAll(t, each(t.Context(), groups, exchangeAll(pairs)))
		}
	})
}

func TestEqualBlocksAreExchangedInTheMemoryOfAMachine(t *testing.T) {
	inEveryState(t, 4, 6, func(t *testing.T, groups []*Group) {
		for _, count := range []int{0, 1, 700, directBytes/4 - 1, directBytes / 4, 60_000} {
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				var in, want []int32
				for other := range g.Size() {
					in, want = append(in, pairBlock(g.Rank(), other, count)...), append(want, pairBlock(other, g.Rank(), count)...)
				}
				out := make([]int32, len(want))
				return compare(AllToAll(ctx, g, in, out), want, out, "AllToAll")
			}))
		}
	})
}

// More members than rows have room exchange messages.
func TestMembersWithoutRoomForRowsExchangeMessages(t *testing.T) {
	const n = mostRows + 1
	c, _ := oneMachine(t, 3)
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, Barrier))
	h := &groups[0].m.host
	require.True(t, h.takes(opAllToAll, &arithmetic{}))
	require.False(t, h.takes(opAllToAllV, &arithmetic{}))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		in, out := make([]int, n), make([]int, n) // each has an element for the next, and for nobody else
		before := (g.Rank() + n - 1) % n
		in[(g.Rank()+1)%n], out[before] = 1, 1
		got := make([]int32, 1)
		if err := AllToAllV(ctx, g, []int32{int32(g.Rank())}, in, got, out); err != nil {
			return err
		}
		if got[0] != int32(before) {
			return fmt.Errorf("rank %d got %d", g.Rank(), got[0])
		}
		return nil
	}))
}

// The pair whose counts differ is named by the receiver, whatever way its block would take, and nobody waits for it.
func TestCountsThatDifferAreNamedInTheMemoryOfAMachine(t *testing.T) {
	for _, count := range []int{3, 3000, directBytes} {
		inEveryState(t, 3, 5, func(t *testing.T, groups []*Group) {
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				in, out := make([]int, g.Size()), make([]int, g.Size())
				for other := range in {
					in[other], out[other] = count, count
				}
				if g.Rank() == 3 {
					in[1]++
				}
				err := AllToAllV(ctx, g, make([]int32, sumAll(in)), in, make([]int32, sumAll(out)), out)
				if err != nil {
					return err
				}
				return Barrier(ctx, g)
			})
			for _, err := range errs {
				require.ErrorIs(t, err, ErrMismatch)
				require.ErrorContains(t, err, fmt.Sprintf("rank 3 called AllToAllV with %d elements for rank 1, rank 1 called it for %d from rank 3", count+1, count))
			}
		})
	}
}

// A member that gives up has its memory back: nobody takes what is there later for data.
func TestAMemberThatGivesUpAnExchangeEndsAllReads(t *testing.T) {
	const n = 4
	for name, exchange := range map[string]func(context.Context, *Group) error{
		"equal": func(ctx context.Context, g *Group) error {
			return AllToAll(ctx, g, make([]int32, n*directBytes), make([]int32, n*directBytes))
		},
		"uneven": func(ctx context.Context, g *Group) error {
			counts := []int{directBytes, directBytes, directBytes, directBytes}
			return AllToAllV(ctx, g, make([]int32, n*directBytes), counts, make([]int32, n*directBytes), counts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := oneMachine(t, n)
			_, groups := c.group("g", n)
			requireAll(t, each(t.Context(), groups, exchange))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, n-1)
			for _, g := range groups[:n-1] {
				go func() { done <- exchange(ctx, g) }()
			}
			cancel()
			for range n - 1 {
				require.ErrorIs(t, <-done, context.Canceled)
			}
			require.ErrorIs(t, exchange(t.Context(), groups[n-1]), ErrAborted)
		})
	}
}
