// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/schedule"
)

// onHosts gives each node an object store, on the host that hosts names for it; nodes of one process may have one in common. When the
// test ends, nothing may be in the stores.
func (c *cluster) onHosts(hosts []int, stretch int) []*arrowstore.Store {
	c.t.Helper()
	dir := c.t.TempDir()
	var stores []*arrowstore.Store
	for node := range c.nodes {
		host := fmt.Sprint("host", hosts[node%len(hosts)])
		st, err := arrowstore.Open(filepath.Join(dir, host), arrowstore.SegmentSize(8<<20))
		require.NoError(c.t, err)
		stores = append(stores, st)
		c.t.Cleanup(func() {
			c.over()
			require.NoError(c.t, st.Reap())
			require.Eventually(c.t, func() bool { return st.Stats().Objects == 0 }, 10*time.Second, time.Millisecond, "node %d", node) // groups end beside it
			require.NoError(c.t, st.Close())
		})
		c.hub(node).storage = &storage{store: st, host: host, stretch: stretch}
	}
	return stores
}

// over ends all groups, which may hold an object for an operation that is expected.
func (c *cluster) over() {
	for node := range c.nodes {
		h := c.hub(node)
		h.mu.RLock()
		sessions := slices.Collect(maps.Values(h.mu.sessions))
		h.mu.RUnlock()
		for _, s := range sessions {
			s.finish(&ending{code: codeClosed, text: "the test is over"})
		}
	}
}

// clusterOnHosts makes nodes with stores. If all are on one host, they share its memory, too, where that is asked for.
func clusterOnHosts(t *testing.T, nodes int, hosts []int, stretch int, memory bool) (*cluster, []*arrowstore.Store) {
	t.Helper()
	c := newCluster(t, nodes, inMemory)
	if memory {
		c.host = true
		dir := t.TempDir()
		for id := range nodes {
			c.hub(id).run = dir
		}
	}
	return c, c.onHosts(hosts, stretch)
}

func TestSharedResultsAgreeWithASequentialReference(t *testing.T) {
	for name, hosts := range map[string][]int{
		"one host": {0}, "two hosts": {0, 0, 0, 1, 1}, "ranks of hosts in turns": {1, 0, 1, 0, 2}, "each node a host": {0, 1, 2, 3, 4},
		"one host with its memory": {0}, "memory": {0, 0, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := clusterOnHosts(t, 5, hosts, 1<<10, strings.HasSuffix(name, "memory"))
			for _, n := range few([]int{1, 2, 3, 7, 8}, 3, 8) {
				_, groups := c.group(fmt.Sprint("g", n), n)
				for _, s := range []subject{sharedAbout(integers[int32]()), sharedAbout(halves[float64]())} {
					for _, length := range append(lengths(n), 9000) {
						runTrials(t, groups, s, length)
					}
				}
			}
		})
	}
}

func TestSharedResultsOfEveryType(t *testing.T) {
	c := newCluster(t, 4, inMemory)
	c.onHosts([]int{0, 0, 0, 1}, stretchBytes)
	_, groups := c.group("g", 5)
	for _, s := range []subject{
		sharedAbout(integers[int8]()), sharedAbout(integers[uint16]()), sharedAbout(integers[uint64]()), sharedAbout(integers[int]()),
		sharedAbout(halves[float32]()), sharedAbout(units[complex64]()), sharedAbout(units[complex128]()),
		sharedAbout(short(NewFloat16, Float16.Float32)), sharedAbout(short(NewBFloat16, BFloat16.Float32)),
	} {
		runTrials(t, groups, s, 33)
	}
}

func TestReductionsInTheOrderOfRanksWithSharedResults(t *testing.T) {
	for name, hosts := range map[string][]int{"one host": {0}, "two hosts": {0, 0, 0, 1, 1}, "in turns": {0, 0, 1, 0, 1}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 5, inMemory)
			c.onHosts(hosts, 1<<10)
			_, groups := c.group("g", 6)
			const length = 3000
			last := Custom(func(dst, src []int64) { // not commutative: digits, the highest rank last
				for i := range dst {
					dst[i] = dst[i]*10 + src[i]
				}
			}, false)
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				in, want := make([]int64, length), make([]int64, length)
				for i := range in {
					in[i], want[i] = int64(g.Rank()), 12345
				}
				v, err := AllReduceShared(ctx, g, in, last)
				return sameView(err, want, v, "AllReduceShared")
			}))
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				v, err := AllReduceShared(ctx, g, []float32{1, 2}, PremulSum(float64(g.Rank())))
				return sameView(err, []float32{15, 30}, v, "AllReduceShared")
			}))
		})
	}
}

// Within a host nothing is copied but what each member brings, and what goes between members are some dozen bytes.
func TestSharedResultsAreNotCopied(t *testing.T) {
	for name, most := range map[string]int64{"messages": 1000, "memory": 0} {
		t.Run(name, func(t *testing.T) { sharedResultsAreNotCopied(t, name == "memory", most) })
	}
}

func sharedResultsAreNotCopied(t *testing.T, memory bool, most int64) {
	t.Helper()
	c, _ := clusterOnHosts(t, 4, []int{0}, stretchBytes, memory)
	const n, length = 6, 1 << 17
	_, groups := c.group("g", n)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error { // they learn of each other's hosts
		v, err := AllGatherShared(ctx, g, []int32{1})
		return sameView(err, []int32{1, 1, 1, 1, 1, 1}, v, "AllGatherShared")
	}))
	in := make([]float32, length)
	inPlace := int64(n * length) // what messages cannot read there
	if memory {
		inPlace = 0
	}
	for name, op := range map[string]struct {
		copied int64
		do     func(context.Context, *Group) (*arrowstore.View[float32], error)
	}{
		"BroadcastShared": {length, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			return BroadcastShared(ctx, g, in, 2)
		}},
		"BroadcastView": {length, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			v, err := BroadcastShared(ctx, g, in, 3)
			if err != nil {
				return nil, err
			}
			defer v.Release()
			return BroadcastView(ctx, g, v, 4)
		}},
		"AllGatherShared": {n * length, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			return AllGatherShared(ctx, g, in)
		}},
		"GatherShared": {n * length, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			return GatherShared(ctx, g, in, 1)
		}},
		"ScatterShared": {length / n * n, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			return ScatterShared(ctx, g, in[:length/n*n], length/n, 5)
		}},
		"ScatterView": {0, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			own, err := stored(g, in[:length/n*n])
			if err != nil {
				return nil, err
			}
			defer own.Release()
			return ScatterView(ctx, g, own, length/n, 5)
		}},
		"AllReduceView": {inPlace, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			own, err := stored(g, in)
			if err != nil {
				return nil, err
			}
			defer own.Release()
			return AllReduceView(ctx, g, own, Sum)
		}},
		"AllReduceShared": {n * length, func(ctx context.Context, g *Group) (*arrowstore.View[float32], error) {
			return AllReduceShared(ctx, g, in, Sum)
		}},
	} {
		var copied, sent int64
		for node := range c.nodes {
			copied, sent = copied-c.hub(node).storage.copied.Load(), sent-c.hub(node).storage.sent.Load()
		}
		requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			v, err := op.do(ctx, g)
			if v != nil {
				v.Release()
			}
			return err
		}))
		for node := range c.nodes {
			copied, sent = copied+c.hub(node).storage.copied.Load(), sent+c.hub(node).storage.sent.Load()
		}
		require.Equal(t, 4*op.copied, copied, name)
		require.LessOrEqual(t, sent, most, name)
	}
}

func TestSharedResultsOutliveTheirGroup(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	stores := c.onHosts([]int{0}, stretchBytes)
	creator, groups := c.group("g", 4)
	views := make([]*arrowstore.View[uint16], len(groups))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) (err error) {
		views[g.Rank()], err = AllReduceShared(ctx, g, []uint16{1, 2, 3}, Sum)
		return err
	}))
	require.NoError(t, creator.Close(t.Context()))
	objects := 0
	for _, st := range stores {
		objects += st.Stats().Objects
	}
	require.Equal(t, 1, objects, "one for the host")
	for rank, v := range views {
		require.Equal(t, []uint16{4, 8, 12}, v.Slice())
		require.Equal(t, views[0].Object().ID(), v.Object().ID())
		require.True(t, stores[nodeOfActor(groups[rank].m.sc.Actor)].ReadOnlyFault(addressOf(v.Slice())), "it is read-only")
		v.Release()
	}
}

func TestFailedOperationsWithSharedResultsLeaveNothing(t *testing.T) {
	in := make([]float64, 5000)
	operations := map[string]func(ctx context.Context, g *Group) (*arrowstore.View[float64], error){
		"broadcast": func(ctx context.Context, g *Group) (*arrowstore.View[float64], error) {
			return BroadcastShared(ctx, g, in, 1)
		},
		"all-gather": func(ctx context.Context, g *Group) (*arrowstore.View[float64], error) {
			return AllGatherShared(ctx, g, in)
		},
		"gather": func(ctx context.Context, g *Group) (*arrowstore.View[float64], error) {
			return GatherShared(ctx, g, in, 2)
		},
		"scatter": func(ctx context.Context, g *Group) (*arrowstore.View[float64], error) {
			return ScatterShared(ctx, g, in, 1000, 3)
		},
		"all-reduce": func(ctx context.Context, g *Group) (*arrowstore.View[float64], error) {
			return AllReduceShared(ctx, g, in, Avg)
		},
	}
	for _, where := range []string{"messages", "memory"} {
		for name, op := range operations {
			t.Run(where+" "+name, func(t *testing.T) { failedOperationsLeaveNothing(t, where == "memory", op) })
		}
	}
}

func failedOperationsLeaveNothing(t *testing.T, memory bool, op func(ctx context.Context, g *Group) (*arrowstore.View[float64], error)) {
	t.Helper()
	hosts := []int{0, 0, 0, 1}
	if memory {
		hosts = []int{0}
	}
	c, _ := clusterOnHosts(t, 4, hosts, 4<<10, memory)
	_, groups := c.group("late", 5)
	for late := range groups { // one never calls
		_, groups = c.group(fmt.Sprint("late", late), 5)
		for rank, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			if g.Rank() == late {
				return nil
			}
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			v, err := op(ctx, g)
			if v != nil {
				v.Release()
			}
			return err
		}) {
			if err != nil {
				require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
				require.ErrorIs(t, err, context.DeadlineExceeded, "rank %d", rank)
			}
		}
	}
	_, groups = c.group("odd", 5)
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		if g.Rank() == 4 {
			return Broadcast(ctx, g, []int{1}, 0)
		}
		v, err := op(ctx, g)
		if v != nil {
			v.Release()
		}
		return err
	})
	require.ErrorIs(t, errs[1], ErrMismatch)
}

func TestSharedResultsNeedAStoreWithRoom(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 2)
	for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		_, err := AllGatherShared(ctx, g, []int{1})
		return err
	}) {
		require.ErrorContains(t, err, "no object store")
	}
	st, err := arrowstore.Open(filepath.Join(t.TempDir(), "store"), arrowstore.Limit(2<<20), arrowstore.SegmentSize(1<<20))
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	c.hub(1).storage = &storage{store: st, host: "h", stretch: stretchBytes}
	_, groups = c.group("full", 2)
	for _, err := range each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		_, err := AllGatherShared(ctx, g, make([]byte, 4<<20))
		return err
	}) {
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorContains(t, err, arrowstore.ErrNoSpace.Error())
	}
	require.Zero(t, st.Stats().Objects)
}

// The data of the root is in an object when it goes to other hosts, so that no algorithm may write there.
func TestSharedBroadcastsBetweenHostsGoByEveryAlgorithm(t *testing.T) {
	c := newCluster(t, 6, inMemory)
	c.onHosts([]int{0, 1, 2, 3, 4, 4}, stretchBytes)
	in := make([]int32, 100_003)
	for i := range in {
		in[i] = int32(i)
	}
	for _, a := range schedule.Algorithms(schedule.Broadcast) {
		_, groups := c.group(a.Name, 7, Algorithm(schedule.Broadcast, a.Name))
		for _, root := range []int{0, 3, 6} {
			requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				v, err := BroadcastShared(ctx, g, in, root)
				return sameView(err, in, v, "BroadcastShared by %s", a.Name)
			}))
		}
	}
}

func TestBadArgumentsOfOperationsWithSharedResults(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	c.onHosts([]int{0}, stretchBytes)
	_, groups := c.group("g", 3)
	ctx, g, five := t.Context(), groups[1], make([]float32, 5)
	only := func(_ *arrowstore.View[float32], err error) error { return err }
	for want, err := range map[string]error{
		"BroadcastShared: root is 3, want 0 to 2":                        only(BroadcastShared(ctx, g, five, 3)),
		"BroadcastShared: the root has no view":                          only(BroadcastView[float32](ctx, g, nil, 1)),
		"GatherShared: root is -1, want 0 to 2":                          only(GatherShared(ctx, g, five, -1)),
		"ScatterShared: root is 9, want 0 to 2":                          only(ScatterShared(ctx, g, five, 1, 9)),
		"ScatterShared: in has 5 elements, want 6: 2 for each of 3":      only(ScatterShared(ctx, g, five, 2, 1)),
		"ScatterShared: count is -1":                                     only(ScatterShared[float32](ctx, g, nil, -1, 0)),
		"ScatterShared: the root has no view":                            only(ScatterView[float32](ctx, g, nil, 1, 1)),
		"AllReduceView: v is nil":                                        only(AllReduceView[float32](ctx, g, nil, Sum)),
		"ReduceScatterView: v is nil":                                    only(ReduceScatterView[float32](ctx, g, nil, Sum)),
		"ReduceScatterShared: in has 5 elements, want a multiple of 3":   only(ReduceScatterShared(ctx, g, five, Sum)),
		"AllReduceShared: op is bit-or, which is not for elements of ki": only(AllReduceShared(ctx, g, five, BitOr)),
		"ReduceShared: root is 3, want 0 to 2":                           only(ReduceShared(ctx, g, five, Sum, 3)),
		"ReduceView: root is 4, want 0 to 2":                             only(ReduceView[float32](ctx, g, nil, Sum, 4)),
		"ReduceView: v is nil":                                           only(ReduceView[float32](ctx, g, nil, Sum, 0)),
		"AllGatherVShared: counts has 2 entries, want 3":                 only(AllGatherVShared(ctx, g, five, []int{1, 2})),
		"GatherVShared: in has 5 elements, want 4: counts[1]":            only(GatherVShared(ctx, g, five, []int{1, 4, 2}, 0)),
		"GatherVShared: root is 3, want 0 to 2":                          only(GatherVShared(ctx, g, five, []int{1, 5, 2}, 3)),
		"ScatterVShared: in has 5 elements, want 6: the sum of counts":   only(ScatterVShared(ctx, g, five, []int{1, 2, 3}, 1)),
		"ScatterVShared: counts[0] is -1":                                only(ScatterVShared(ctx, g, five, []int{-1, 2, 3}, 0)),
		"ScatterVShared: root is -1, want 0 to 2":                        only(ScatterVShared(ctx, g, five, []int{1, 2, 2}, -1)),
	} {
		require.ErrorIs(t, err, ErrArgument, want)
		require.ErrorContains(t, err, want)
	}
	requireAll(t, each(ctx, groups, Barrier))
}
