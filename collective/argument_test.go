// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/scope"
)

func TestWhoIsNotInAGroupIsToldSo(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	creator, groups := c.group("g", 2)
	ctx := t.Context()
	_, err := FromContext(ctx, "g")
	require.ErrorIs(t, err, ErrOutside)
	_, err = FromContext(c.as(ctx, 1<<32|77), "g")
	require.ErrorIs(t, err, ErrNoGroup)
	_, err = FromContext(c.as(ctx, groups[0].m.sc.Actor), "other")
	require.ErrorIs(t, err, ErrNoGroup)
	require.ErrorContains(t, err, "other")

	require.Equal(t, -1, creator.Rank())
	require.Equal(t, 2, creator.Size())
	require.Equal(t, "g", creator.Name())
	require.ErrorIs(t, Barrier(ctx, creator), ErrNotMember)
	require.ErrorIs(t, Barrier(c.as(ctx, groups[1].m.sc.Actor), groups[0]), ErrNotMember)

	for _, root := range []int{-1, 2} {
		require.ErrorIs(t, Broadcast(ctx, groups[0], []int{1}, root), ErrArgument)
	}
	for _, op := range []Op{0, 77} {
		require.ErrorIs(t, AllReduce(ctx, groups[0], []float32{1}, op), ErrArgument)
	}
	requireAll(t, each(ctx, groups, Barrier))
}

func TestBadArgumentsAreNamedWithTheirBoundsAndLeaveTheGroupAlone(t *testing.T) {
	c := newCluster(t, 3, inMemory)
	_, groups := c.group("g", 4)
	ctx, g := t.Context(), groups[1]
	four, five, eight := make([]float32, 4), make([]float32, 5), make([]float32, 8)
	for want, err := range map[string]error{
		"AllReduce: op is op(0)":                                                AllReduce(ctx, g, four, Op(0)),
		"Reduce: op is op(99)":                                                  Reduce(ctx, g, four, Op(99), 0),
		"Reduce: root is 4, want 0 to 3":                                        Reduce(ctx, g, four, Sum, 4),
		"ReduceScatter: op is op(0)":                                            ReduceScatter(ctx, g, four, four[:1], Op(0)),
		"ReduceScatter: in has 5 elements, want 4":                              ReduceScatter(ctx, g, five, four[:1], Sum),
		"Broadcast: root is -1, want 0 to 3":                                    Broadcast(ctx, g, four, -1),
		"AllGather: out has 5 elements, want 4: 1 from each of 4":               AllGather(ctx, g, four[:1], five),
		"Gather: root is 9, want 0 to 3":                                        Gather(ctx, g, four, nil, 9),
		"Gather: out has 0 elements, want 16":                                   Gather(ctx, g, four, nil, 1),
		"Scatter: root is -3, want 0 to 3":                                      Scatter(ctx, g, nil, four, -3),
		"Scatter: in has 5 elements, want 16: 4 for each of 4":                  Scatter(ctx, g, five, four, 1),
		"AllToAll: in has 5 elements, want a multiple of 4":                     AllToAll(ctx, g, five, five),
		"AllToAll: out has 8 elements, want 4: as many as in":                   AllToAll(ctx, g, four, eight),
		"AllGatherV: counts has 2 entries, want 4":                              AllGatherV(ctx, g, four, five, []int{1, 2}),
		"AllGatherV: in has 4 elements, want 2: counts[1]":                      AllGatherV(ctx, g, four, five, []int{1, 2, 1, 0}),
		"AllGatherV: out has 5 elements, want 4: the sum of counts":             AllGatherV(ctx, g, four[:1], five, []int{1, 1, 1, 1}),
		"GatherV: root is 7, want 0 to 3":                                       GatherV(ctx, g, four, five, nil, 7),
		"GatherV: counts[2] is -1, want 0 or more":                              GatherV(ctx, g, four, five, []int{1, 1, -1, 1}, 0),
		"GatherV: in has 5 elements, want 1":                                    GatherV(ctx, g, five, four, []int{1, 1, 1, 1}, 1),
		"GatherV: out has 5 elements, want 4":                                   GatherV(ctx, g, four[:1], five, []int{1, 1, 1, 1}, 1),
		"ScatterV: root is -1, want 0 to 3":                                     ScatterV(ctx, g, four, five, nil, -1),
		"ScatterV: counts has 0 entries, want 4":                                ScatterV(ctx, g, four, five, nil, 1),
		"ScatterV: out has 5 elements, want 1":                                  ScatterV(ctx, g, four, five, []int{1, 1, 1, 1}, 0),
		"ScatterV: in has 5 elements, want 4":                                   ScatterV(ctx, g, five, four[:1], []int{1, 1, 1, 1}, 1),
		"AllToAllV: inCounts has 1 entries":                                     AllToAllV(ctx, g, four, []int{4}, four, []int{1, 1, 1, 1}),
		"AllToAllV: outCounts[1] is 9223372036854775807":                        AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, four, []int{1, math.MaxInt, 1, 1}),
		"AllToAllV: in has 5 elements, want 4":                                  AllToAllV(ctx, g, five, []int{1, 1, 1, 1}, four, []int{1, 1, 1, 1}),
		"AllToAllV: out has 5 elements, want 4":                                 AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, five, []int{1, 1, 1, 1}),
		"AllToAllV: inCounts has 1 elements for the caller itself, outCounts 2": AllToAllV(ctx, g, four, []int{1, 1, 1, 1}, five, []int{1, 2, 1, 1}),
		"Send: peer is -5, want 0 to 3":                                         Send(ctx, g, four, -5, 0),
		"Send: peer is 1, the caller's own":                                     Send(ctx, g, four, 1, 0),
		"Recv: peer is 4, want 0 to 3":                                          Recv(ctx, g, four, 4, 0),
		"Recv: tag is -1, want 0 to 4294967295":                                 Recv(ctx, g, four, 2, -1),
		"SendRecv: to is 4, want 0 to 3":                                        SendRecv(ctx, g, four, 4, five, 0, 0),
		"SendRecv: from is 1, the caller's own":                                 SendRecv(ctx, g, four, 2, five, 1, 0),
	} {
		require.ErrorIs(t, err, ErrArgument, want)
		require.ErrorContains(t, err, want)
	}
	requireAll(t, each(ctx, groups, Barrier))
}

func TestBadChartersAreRefused(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	a := c.actors(3)
	cases := map[string]struct {
		name    string
		members []uint64
		opts    []Option
	}{
		"no name":      {"", a, nil},
		"no members":   {"g", nil, nil},
		"one twice":    {"g", []uint64{a[0], a[1], a[0]}, nil},
		"zero timeout": {"g", a, []Option{Timeout(0)}},
		"no stall":     {"g", a, []Option{Stall(0)}},
		"no silence":   {"g", a, []Option{Silence(-1)}},
		"nil option":   {"g", a, []Option{nil}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := c.establish(tc.name, tc.members, tc.opts...)
			require.ErrorIs(t, err, ErrArgument)
		})
	}
	b, err := boundsOf("g", nil)
	require.NoError(t, err)
	valid := charter{Name: "g", Group: 1, Epoch: 1, Bounds: b, Members: a}
	outsider := &scope.Scope{Actor: 5, Node: c.nodes[1]}
	_, err = c.hub(1).join(outsider, valid)
	require.ErrorIs(t, err, ErrNotMember)
	valid.Name = ""
	_, err = c.hub(1).join(outsider, valid)
	require.ErrorIs(t, err, ErrArgument)
}

func TestErrorTextsNameWhatFailed(t *testing.T) {
	e := &Error{
		Group: "dp", Epoch: 2, Seq: 7, Op: "Barrier", Rank: 1, Failed: []int{3, 4},
		Reason: &ending{code: codeLost, text: "node 9 is lost"},
	}
	assert.Equal(t, `collective: group "dp" epoch 2: rank 1: Barrier (operation 7): failed ranks [3 4]: node 9 is lost`, e.Error())
	e.Failed = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	assert.Contains(t, e.Error(), "[1 2 3 4 5 6 7 8] and 2 more")
	assert.Equal(t, "op(99)", Op(99).String())
	assert.Equal(t, "operation(0)", operation(0).String())
}

func TestOperationsOverReferencesAreForTheCreator(t *testing.T) {
	c := newCluster(t, 2, inMemory)
	_, groups := c.group("g", 2)
	_, err := AllReduceRefs[int](t.Context(), groups[0], nil, Sum)
	require.ErrorIs(t, err, ErrNotMember)
	require.ErrorContains(t, err, "by one that is not its creator")
}
