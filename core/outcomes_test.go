// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/wire"
)

// Whatever answers come, in whichever order and however many of them differ, every slot has its own, and keeps it.
func TestSlotsKeepTheirOwnOutcomes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for round := range 60 {
		n := 1 + rng.IntN(1200)
		kinds := 1 + rng.IntN(600) // how many values differ: more than fit a byte, or a few
		s := core.Detached(n)
		want := make([]string, n)
		values := make([][]byte, n)
		var order []int
		for rest := rng.Perm(n); len(rest) > 0; {
			k := 1 + rng.IntN(min(len(rest), 40))
			var body []byte
			for _, slot := range rest[:k] {
				switch v := rng.IntN(kinds); {
				case v%7 == 0:
					body = wire.AppendResult(body, wire.StatusEmpty, nil, uint32(slot))
					want[slot] = "value "
				case v%31 == 1:
					f := wire.Fault{Own: true, Message: fmt.Sprintf("fault %d", v)}
					body = wire.AppendResult(body, wire.StatusFault, f.Append(nil), uint32(slot))
					want[slot] = f.Message
				default:
					data := bytes.Repeat(binary.AppendUvarint(nil, uint64(v)+1), 1+v%300) // up to 600 bytes: some are copied, some are not
					body = wire.AppendResult(body, wire.StatusInline, data, uint32(slot))
					want[slot], values[slot] = "value "+string(data), data
				}
				order = append(order, slot)
			}
			rest = rest[k:]
			require.NoError(t, s.Answer(body))
			clear(body) // the memory of a link is used again where nothing long lies in it
			for i, slot := range order {
				got, ok := s.Completed(i)
				require.True(t, ok)
				require.Equal(t, slot, got)
			}
		}
		for slot := range n {
			data, err := s.Outcome(slot)
			if err != nil {
				require.ErrorContains(t, err, want[slot])
				continue
			}
			if len(values[slot]) > 512 {
				continue // it was cleared with the body, which is its own
			}
			require.Equal(t, want[slot], "value "+string(data), "slot %d of %d in round %d", slot, n, round)
		}
		_, ok := s.Completed(n)
		require.False(t, ok)
	}
}

// The collector of a program that makes batches runs as often as they leave garbage, which is what its slowest submissions wait for. So a slot
// takes a byte or two where actors answer alike.
func TestASlotTakesFewBytes(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates on its own account: run without it for the figures")
		return
	}
	const n, nodes, rounds = 4000, 8, 20
	answers := func(value func(i int) []byte) (bodies [][]byte) {
		for node := range nodes {
			var a core.Answers
			for i := range n / nodes {
				data, status := value(i), wire.StatusInline
				if data == nil {
					status = wire.StatusEmpty
				}
				a.Add(uint32(node*n/nodes+i), status, data)
			}
			bodies = append(bodies, a.Take()...)
		}
		return bodies
	}
	for _, c := range []struct {
		name   string
		bound  float64 // bytes for each slot
		bodies [][]byte
	}{
		{"no values", 1.5, answers(func(int) []byte { return nil })}, // 1.3 when this was written
		{"equal values", 1.5, answers(func(int) []byte { return []byte("12345678") })},
		{"eight values", 10, answers(func(i int) []byte { return fmt.Appendf(nil, "%08d", i%8) })},
		{"values of their own", 60, answers(func(i int) []byte { return fmt.Appendf(nil, "%08d", i) })},
	} {
		slots := make([]*core.Slots, rounds)
		for i := range slots {
			slots[i] = core.Detached(n)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, s := range slots {
			core.Renew(s)
			for _, body := range c.bodies {
				require.NoError(t, s.Answer(body))
			}
		}
		runtime.ReadMemStats(&after)
		each := float64(after.TotalAlloc-before.TotalAlloc) / rounds / n
		t.Logf("%s: %.2f bytes for each slot", c.name, each)
		assert.LessOrEqual(t, each, c.bound, c.name)
	}
}
