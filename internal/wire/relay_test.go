// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

func randomShare(rng *rand.Rand) wire.Share {
	return wire.Share{Node: rng.Uint32(), Order: 1 + rng.Uint64N(1000), Runs: []wire.Run{{Slot: rng.Uint32N(1000), Actor: rng.Uint32N(1000), Count: 1}}}
}

func randomBranch(rng *rand.Rand, depth int) wire.Branch {
	b := wire.Branch{Own: randomShare(rng)}
	if rng.IntN(3) == 0 {
		b.Own.Order, b.Own.Runs = 0, []wire.Run{}
	}
	for range rng.IntN(4) {
		b.Local = append(b.Local, randomShare(rng))
	}
	if depth > 0 {
		for range rng.IntN(4) {
			child := randomBranch(rng, depth-1)
			b.Children = append(b.Children, wire.Child{Node: child.Own.Node, Branch: child.Append(nil)})
		}
	}
	return b
}

func sharesOf(t *testing.T, b wire.Branch) (all []wire.Share) {
	if len(b.Own.Runs) > 0 {
		all = append(all, b.Own)
	}
	all = append(all, b.Local...)
	for _, c := range b.Children {
		child, err := wire.ParseBranch(c.Branch)
		require.NoError(t, err)
		all = append(all, sharesOf(t, child)...)
	}
	return all
}

func TestRelayComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	for range 1000 {
		branch := randomBranch(rng, 3)
		r := wire.Relay{Method: rng.Uint32(), Flags: wire.CallFlags(rng.IntN(8)), Payload: wire.Payload{Kind: wire.PayloadKind(rng.IntN(4)), Data: randomBytes(rng, 30)}, Branch: branch.Append(nil)}
		got, err := wire.ParseRelay(r.Append(nil))
		require.NoError(t, err)
		require.Equal(t, r, got)
		back, err := wire.ParseBranch(got.Branch)
		require.NoError(t, err)
		require.Equal(t, branch, back)
		var all []wire.Share
		require.NoError(t, wire.EachShare(got.Branch, func(s wire.Share) { all = append(all, s) }))
		require.Equal(t, sharesOf(t, branch), all)
	}
}

func TestRelayRefusals(t *testing.T) {
	for name, body := range map[string][]byte{
		"nothing":                 nil,
		"unknown payload":         {1, 0, 9, 0},
		"payload cut off":         {1, 0, 0, 5, 1},
		"unknown flags":           {1, 8, 0, 0},
		"method beyond 32 bits":   uvarints(1<<32, 0, 0),
		"method in too many ways": {0x80, 0, 0, 0},
	} {
		_, err := wire.ParseRelay(body)
		require.ErrorIs(t, err, wire.ErrFrame, name)
	}
	for name, body := range map[string][]byte{
		"nothing":                nil,
		"runs without an order":  uvarints(1, 0, 1, 0, 0, 1, 0, 0),
		"order without runs":     uvarints(1, 5, 0, 0, 0),
		"local without runs":     uvarints(1, 0, 0, 1, 2, 5, 0, 0, 0, 0),
		"more shares than bytes": uvarints(1, 0, 0, math.MaxUint64),
		"more children":          uvarints(1, 0, 0, 0, math.MaxUint64),
		"child cut off":          uvarints(1, 0, 0, 0, 1, 2, 9, 9),
		"left over":              uvarints(1, 0, 0, 0, 0, 0),
		"too many targets":       uvarints(1, 1, 1, 0, 0, wire.MaxTargets, 1, 2, 1, 1, 0, 0, 1, 0),
	} {
		_, err := wire.ParseBranch(body)
		require.ErrorIs(t, err, wire.ErrFrame, name)
	}
	deep := wire.Branch{}
	for range wire.MaxDepth {
		deep = wire.Branch{Children: []wire.Child{{Branch: deep.Append(nil)}}}
	}
	require.ErrorContains(t, wire.EachShare(deep.Append(nil), func(wire.Share) {}), "too many relays")
}

func TestSmallBodiesComeBackAsTheyWere(t *testing.T) {
	nodes, err := wire.ParseUnreached(wire.AppendUnreached(wire.AppendUnreached(nil, 7), math.MaxUint32))
	require.NoError(t, err)
	require.Equal(t, []uint32{7, math.MaxUint32}, nodes)
	orders := wire.Orders{First: 4, Last: math.MaxUint64, Asked: 3}
	gotOrders, err := wire.ParseOrders(orders.Append(nil))
	require.NoError(t, err)
	require.Equal(t, orders, gotOrders)
	remote := wire.Remote{ID: []byte("id"), Origin: 4, Source: math.MaxUint32}
	gotRemote, err := wire.ParseRemote(remote.Append(nil))
	require.NoError(t, err)
	require.Equal(t, remote, gotRemote)
	fetch := wire.Fetch{ID: []byte("id"), Offset: math.MaxInt64, Host: "h"}
	gotFetch, err := wire.ParseFetch(fetch.Append(nil))
	require.NoError(t, err)
	require.Equal(t, fetch, gotFetch)
	credit := wire.Credit{Stream: 9, Taken: math.MaxUint64}
	gotCredit, err := wire.ParseCredit(credit.Append(nil))
	require.NoError(t, err)
	require.Equal(t, credit, gotCredit)
	for _, chunk := range []wire.Chunk{
		{Kind: wire.ChunkLayout, Sizes: []int64{0, 5, math.MaxInt64 - 5}},
		{Kind: wire.ChunkLayout},
		{Kind: wire.ChunkData, Offset: 77, Data: []byte("x")},
		{Kind: wire.ChunkLocal, Data: []byte("id")},
		{Kind: wire.ChunkFault, Data: []byte("f")},
	} {
		got, err := wire.ParseChunk(chunk.Append(nil))
		require.NoError(t, err)
		require.Equal(t, chunk, got)
	}
}

func TestSmallBodyRefusals(t *testing.T) {
	for _, b := range [][]byte{nil, uvarints(0, 1, 0), uvarints(2, 1, 0), uvarints(1, 1), uvarints(1, 1, 0, 0)} {
		_, err := wire.ParseOrders(b)
		require.ErrorIs(t, err, wire.ErrFrame, "%v", b)
	}
	for _, b := range [][]byte{
		nil, {4}, {byte(wire.ChunkLayout)}, uvarints(0, 2, 1), uvarints(0, 2, math.MaxInt64, 1), uvarints(0, 1, math.MaxUint64), uvarints(0, 0, 0), {byte(wire.ChunkData)},
	} {
		_, err := wire.ParseChunk(b)
		require.ErrorIs(t, err, wire.ErrFrame, "%v", b)
	}
	for _, b := range [][]byte{nil, uvarints(1), uvarints(1, 7), uvarints(0, 1, 2, 3)} {
		_, err := wire.ParseRemote(b)
		require.ErrorIs(t, err, wire.ErrFrame, "%v", b)
		_, err = wire.ParseFetch(b)
		require.ErrorIs(t, err, wire.ErrFrame, "%v", b)
	}
	_, err := wire.ParseCredit(uvarints(1))
	require.ErrorIs(t, err, wire.ErrFrame)
	_, err = wire.ParseUnreached([]byte{0x80})
	require.ErrorIs(t, err, wire.ErrFrame)
	for _, b := range [][]byte{nil, uvarints(1), uvarints(1, 1), uvarints(1, 0, 1), uvarints(1, 1, 2), uvarints(1<<32, 1, 1), uvarints(1, 1, 1, 1)} {
		_, err := wire.ParseDeath(b)
		require.ErrorIs(t, err, wire.ErrFrame, "%v", b)
	}
}

func FuzzParseRelay(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 4))
	for range 10 {
		branch := randomBranch(rng, 2)
		f.Add((&wire.Relay{Payload: wire.Payload{Data: []byte("x")}, Branch: branch.Append(nil)}).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.ParseRelay(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.Equal(t, b, r.Append([]byte{}))
		total := 0
		if err := wire.EachShare(r.Branch, func(s wire.Share) { total += len(s.Runs) }); err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
		}
		require.LessOrEqual(t, total*3, len(b))
		branch, err := wire.ParseBranch(r.Branch)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.Equal(t, r.Branch, branch.Append([]byte{}))
	})
}

// FuzzParseSmall tries all decoders of bodies with a handful of fields on the same bytes.
func FuzzParseSmall(f *testing.F) {
	f.Add((&wire.Orders{First: 1, Last: 2}).Append(nil))
	f.Add((&wire.Remote{ID: []byte("0123456789abcdef"), Origin: 3, Source: 4}).Append(nil))
	f.Add((&wire.Fetch{ID: []byte("0123456789abcdef"), Offset: 1 << 30, Host: "host"}).Append(nil))
	f.Add((&wire.Credit{Stream: 1, Taken: 1 << 40}).Append(nil))
	f.Add((&wire.Chunk{Kind: wire.ChunkLayout, Sizes: []int64{1, 2, 3}}).Append(nil))
	f.Add((&wire.Chunk{Kind: wire.ChunkData, Offset: 5, Data: []byte("data")}).Append(nil))
	f.Add(wire.AppendUnreached(nil, 300))
	f.Add((&wire.Death{Actor: 70000, Deaths: 3, Final: true}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(err error, encode func() []byte) {
			if err != nil {
				require.ErrorIs(t, err, wire.ErrFrame)
				return
			}
			require.Equal(t, string(b), string(encode()))
		}
		orders, err := wire.ParseOrders(b)
		again(err, func() []byte { return orders.Append(nil) })
		remote, err := wire.ParseRemote(b)
		again(err, func() []byte { return remote.Append(nil) })
		fetch, err := wire.ParseFetch(b)
		again(err, func() []byte { return fetch.Append(nil) })
		credit, err := wire.ParseCredit(b)
		again(err, func() []byte { return credit.Append(nil) })
		chunk, err := wire.ParseChunk(b)
		require.LessOrEqual(t, len(chunk.Sizes), len(b))
		again(err, func() []byte { return chunk.Append(nil) })
		death, err := wire.ParseDeath(b)
		again(err, func() []byte { return death.Append(nil) })
		nodes, err := wire.ParseUnreached(b)
		again(err, func() (out []byte) {
			for _, n := range nodes {
				out = wire.AppendUnreached(out, n)
			}
			return out
		})
	})
}
