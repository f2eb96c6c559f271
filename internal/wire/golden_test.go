// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// A change of a golden file is a change of the format: docs/wire.md and wire.Version change with it.
var update = flag.Bool("update", false, "write the golden files under testdata anew")

// golden holds one frame of every kind, or more where a kind has several forms.
var golden = []struct {
	name string
	head wire.Header
	body []byte
}{
	{"hello", wire.Header{Kind: wire.KindHello}, (&wire.Hello{
		Node: 7, Incarnation: 0x1122334455667788, Table: 0x99aabbccddeeff00, Purpose: wire.PurposeLink,
		Nonce: [wire.NonceSize]byte{0xa0, 0xa1, 31: 0xbf},
	}).Append(nil)},
	{"accept", wire.Header{Kind: wire.KindAccept}, (&wire.Accept{Proof: [wire.ProofSize]byte{0xc0, 0xc1, 31: 0xdf}}).Append(nil)},
	{"accept_refused", wire.Header{Kind: wire.KindAccept}, (&wire.Accept{
		Fault: &wire.Fault{Code: wire.FaultUnauthorized, Message: "wrong cluster secret"},
	}).Append(nil)},
	{
		"call_inline",
		wire.Header{Kind: wire.KindCall, Caller: 0x1122334455667788, Seq: 1000, Deadline: 1500 * time.Millisecond},
		(&wire.Call{
			Order: 12, Method: 3, Runs: []wire.Run{{Slot: 0, Actor: 1, Count: 400}, {Slot: 500, Actor: 70000, Count: 1}},
			Payload: wire.Payload{Kind: wire.PayloadInline, Data: []byte("argument")},
		}).Append(nil),
	},
	{
		"call_object",
		wire.Header{Kind: wire.KindCall, Caller: 0x1122334455667788, Seq: 1001},
		(&wire.Call{
			Order: 1000, Method: 300, Runs: []wire.Run{{Slot: 2, Actor: 5, Count: 1}},
			Payload: wire.Payload{Kind: wire.PayloadObject, Data: []byte("identity")},
		}).Append(nil),
	},
	{
		"call_cast",
		wire.Header{Kind: wire.KindCall, Caller: 0x1122334455667788, Seq: 1002},
		(&wire.Call{
			Method: 3, Flags: wire.CallCast, Runs: []wire.Run{{Slot: 0, Actor: 1, Count: 400}},
			Payload: wire.Payload{Kind: wire.PayloadInline, Data: []byte("argument")},
		}).Append(nil),
	},
	{"reply", wire.Header{Kind: wire.KindReply, Caller: 0x1122334455667788, Seq: 1000}, replyOf([]entry{
		{wire.StatusEmpty, nil, []uint32{0}},
		{wire.StatusEmpty, nil, []uint32{1, 2, 3, 4, 5, 390, 391, 397}},
		{wire.StatusInline, []byte("result"), []uint32{398}},
		{wire.StatusInline, []byte("same"), []uint32{392, 399}},
		{wire.StatusObject, []byte("identity"), []uint32{400}},
		{wire.StatusFault, (&wire.Fault{Code: wire.FaultPanic, Message: "index out of range", Stack: "goroutine 1"}).Append(nil), []uint32{401}},
		{wire.StatusFault, (&wire.Fault{Code: wire.FaultCanceled, Own: true, Message: "gave up"}).Append(nil), []uint32{402, 403}},
	})},
	{"cancel_slots", wire.Header{Kind: wire.KindCancel, Caller: 0x1122334455667788, Seq: 1000}, wire.AppendSlots(nil, []uint32{7, 8, 399})},
	{"cancel", wire.Header{Kind: wire.KindCancel, Caller: 0x1122334455667788, Seq: 1000}, nil},
	{
		"block",
		wire.Header{Kind: wire.KindBlock, Step: 4, Seq: 12, Group: 0xfedcba9876543210, Epoch: 2, From: 399, To: 0, Hash: 0xcafebabe},
		[]byte("\x00\x00\x80\x3f\x00\x00\x00\x40"),
	},
	{"abort", wire.Header{Kind: wire.KindAbort, Group: 0xfedcba9876543210, Epoch: 2}, []byte("why")},
	{
		"relay",
		wire.Header{Kind: wire.KindRelay, Caller: 0x1122334455667788, Seq: 1002, Deadline: time.Second},
		(&wire.Relay{
			Method:  3,
			Payload: wire.Payload{Kind: wire.PayloadRemote, Data: (&wire.Remote{ID: []byte("identity"), Origin: 0, Source: 5}).Append(nil)},
			Branch: (&wire.Branch{
				Own:   wire.Share{Node: 6, Order: 12, Runs: []wire.Run{{Slot: 0, Actor: 1, Count: 50}}},
				Local: []wire.Share{{Node: 7, Order: 11, Runs: []wire.Run{{Slot: 50, Actor: 1, Count: 50}}}},
				Children: []wire.Child{{Node: 8, Branch: (&wire.Branch{
					Own:   wire.Share{Node: 8},
					Local: []wire.Share{{Node: 9, Order: 3, Runs: []wire.Run{{Slot: 100, Actor: 1, Count: 50}}}},
				}).Append(nil)}},
			}).Append(nil),
		}).Append(nil),
	},
	{
		"relay_each",
		wire.Header{Kind: wire.KindRelay, Caller: 0x1122334455667788, Seq: 1003},
		(&wire.Relay{
			Method: 3, Flags: wire.CallCast | wire.CallAcked,
			Payload: wire.Payload{Kind: wire.PayloadEach, Data: wire.AppendEach(wire.AppendEach(nil,
				wire.Payload{Kind: wire.PayloadInline, Data: []byte("first")}),
				wire.Payload{Kind: wire.PayloadRemote, Data: (&wire.Remote{ID: []byte("identity"), Source: 5}).Append(nil)})},
			Branch: (&wire.Branch{
				Own:   wire.Share{Node: 6, Order: 12, Runs: []wire.Run{{Slot: 0, Actor: 1, Count: 1}}},
				Local: []wire.Share{{Node: 7, Order: 11, Runs: []wire.Run{{Slot: 1, Actor: 1, Count: 1}}}},
			}).Append(nil),
		}).Append(nil),
	},
	{"unreached", wire.Header{Kind: wire.KindUnreached, Caller: 0x1122334455667788, Seq: 1002}, wire.AppendUnreached(wire.AppendUnreached(nil, 8), 900)},
	{"missing", wire.Header{Kind: wire.KindMissing, Caller: 0x1122334455667788}, (&wire.Orders{First: 12, Last: 14, Asked: 2}).Append(nil)},
	{"skip", wire.Header{Kind: wire.KindSkip, Caller: 0x1122334455667788}, (&wire.Orders{First: 12, Last: 12}).Append(nil)},
	{"credit", wire.Header{Kind: wire.KindCredit}, (&wire.Credit{Stream: 3, Taken: 1 << 20}).Append(nil)},
	{"fetch", wire.Header{Kind: wire.KindFetch, Seq: 3}, (&wire.Fetch{ID: []byte("identity"), Offset: 1 << 20, Host: "host"}).Append(nil)},
	{"chunk_layout", wire.Header{Kind: wire.KindChunk, Seq: 3}, (&wire.Chunk{Kind: wire.ChunkLayout, Sizes: []int64{20, 8 << 20}}).Append(nil)},
	{"chunk_data", wire.Header{Kind: wire.KindChunk, Seq: 3}, (&wire.Chunk{Kind: wire.ChunkData, Offset: 1 << 20, Data: []byte("data")}).Append(nil)},
	{"chunk_local", wire.Header{Kind: wire.KindChunk, Seq: 3}, (&wire.Chunk{Kind: wire.ChunkLocal, Data: []byte("identity")}).Append(nil)},
	{"chunk_fault", wire.Header{Kind: wire.KindChunk, Seq: 3}, (&wire.Chunk{
		Kind: wire.ChunkFault, Data: (&wire.Fault{Code: wire.FaultObjectLost, Message: "released"}).Append(nil),
	}).Append(nil)},
	{"death", wire.Header{Kind: wire.KindDeath}, (&wire.Death{Actor: 70000, Deaths: 3, Final: true}).Append(nil)},
	{"drop", wire.Header{Kind: wire.KindDrop}, wire.AppendRelease(nil, []byte("identity"))},
	{"release", wire.Header{Kind: wire.KindRelease}, wire.AppendRelease(wire.AppendRelease(nil, []byte("identity1")), []byte("identity2"))},
}

func TestFramesMatchTheGoldenFiles(t *testing.T) {
	seen := map[wire.Kind]bool{}
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			seen[g.head.Kind] = true
			g.head.Length = uint32(len(g.body))
			frame := append(g.head.Append(nil), g.body...)
			file := filepath.Join("testdata", g.name+".txt")
			dump := fmt.Sprintf("%v frame, version %d\n%s", g.head.Kind, wire.Version, hex.Dump(frame))
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, []byte(dump), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err, "write it with: go test ./internal/wire -update")
			require.Equal(t, string(want), dump)

			head, err := wire.ParseHeader(frame, wire.MaxBody)
			require.NoError(t, err)
			assert.Equal(t, g.head, head)
		})
	}
	for _, k := range kinds() {
		assert.True(t, seen[k], "no golden file for the %v frame", k)
	}
}

func TestPageOnTheWireIsUpToDate(t *testing.T) {
	b, err := os.ReadFile("../../docs/wire.md")
	require.NoError(t, err)
	page := string(b)
	assert.Contains(t, page, fmt.Sprintf("frame version **%d**", wire.Version))
	for _, k := range kinds() {
		assert.Contains(t, page, fmt.Sprintf("\n### %d: %v\n", k, k), "no section for the %v frame", k)
	}
	for _, s := range []string{"| 0 | `StatusEmpty`", "| 1 | `StatusInline`", "| 2 | `StatusObject`", "| 3 | `StatusFault`"} {
		assert.Contains(t, page, s)
	}
	source, err := os.ReadFile("fault.go")
	require.NoError(t, err)
	codes := regexp.MustCompile(`(?m)^\t(Fault[A-Z]\w*)\s.*// `).FindAllSubmatch(source, -1)
	assert.Greater(t, len(codes), 15)
	for i, code := range codes {
		assert.Contains(t, page, fmt.Sprintf("\n| %d | `%s` |", i, code[1]))
	}
	assert.Contains(t, page, fmt.Sprintf("Fault codes from %d are read", len(codes)))
	assert.Contains(t, page, fmt.Sprintf("Kinds 0 and %d to 255", len(kinds())+1))
	assert.Contains(t, page, fmt.Sprintf("%d bytes (64 MiB)", wire.MaxBody))
	assert.Contains(t, page, fmt.Sprintf("%d targets", wire.MaxTargets))
}
