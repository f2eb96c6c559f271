// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/kernel"
	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/wire"
)

// wires are peers without nodes: a virtual network, in which a line between any two ranks holds up to a few frames.
type wires struct {
	ranks    int
	capacity int // frames that a line holds
	spoil    func(body []byte) []byte

	mu      sync.Mutex
	changed *sync.Cond
	lines   map[[2]int][][]byte // by from and to
}

func newWires(ranks, capacity int) *wires {
	w := &wires{ranks: ranks, capacity: capacity, lines: map[[2]int][][]byte{}}
	w.changed = sync.NewCond(&w.mu)
	return w
}

type wireEnd struct {
	*wires

	rank int
}

func (w wireEnd) wait(ctx context.Context, flows []*flow) error {
	defer context.AfterFunc(ctx, w.changed.Broadcast)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		ready := false
		taken := map[int]int{}   // room that other flows of this call have been given, by peer
		behind := map[int]bool{} // another flow takes first what a peer sends
		for _, f := range flows {
			if f.action.Send {
				f.room = len(w.lines[[2]int{w.rank, f.peer}])+taken[f.peer] < w.capacity
				if f.room {
					taken[f.peer]++
				}
			} else if line := w.lines[[2]int{f.peer, w.rank}]; len(line) > 0 && !behind[f.peer] {
				f.body, f.came.Step, f.at = line[0], uint32(f.step.Round), f.placed
				w.lines[[2]int{f.peer, w.rank}] = line[1:]
			}
			behind[f.peer] = behind[f.peer] || !f.action.Send
			ready = ready || f.room || f.body != nil
		}
		if ready {
			w.changed.Broadcast()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.changed.Wait()
	}
}

func (wireEnd) lends(*flow) bool { return false }

func (wireEnd) lend(*flow, []byte) error { return errors.ErrUnsupported }

func (wireEnd) withdraw([]*flow) {}

func (wireEnd) room() *workspace { return &workspace{} }

func (w wireEnd) send(_ context.Context, f *flow, body []byte) error {
	if w.spoil != nil {
		body = w.spoil(body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	edge := [2]int{w.rank, f.peer}
	w.lines[edge] = append(w.lines[edge], body)
	w.changed.Broadcast()
	return nil
}

func planned(s schedule.Schedule) plan { return plan{s, schedule.Compile(s)} }

// addBytes adds modulo 256.
func addBytes(dst, src []byte) {
	sum, _ := kernel.Of(kernel.Sum, kernel.U8) // there is one
	sum.Combine(dst, src)
}

// runAll runs one schedule at all ranks, over bytes that are added modulo 256.
func runAll(t *testing.T, w *wires, bufs [][]byte, plan func(rank int) schedule.Schedule) []error {
	t.Helper()
	errs := make([]error, w.ranks)
	var wg sync.WaitGroup
	for rank := range w.ranks {
		wg.Go(func() {
			x := execution{
				peers:   wireEnd{w, rank},
				head:    make([]byte, descriptorSize),
				buf:     evenly(bufs[rank], plan(rank).Blocks),
				combine: addBytes,
			}
			s := plan(rank)
			errs[rank] = x.run(t.Context(), planned(s))
		})
	}
	wg.Wait()
	return errs
}

// Every algorithm that sums or copies one buffer, over lines that hold one frame: nobody may wait for another in a circle.
func TestTheExecutorRunsSchedulesOverAnyPeers(t *testing.T) {
	for _, ranks := range []int{1, 2, 3, 5, 8, 13} {
		for _, length := range []int{0, 1, ranks, 1000, 2*segment + 77} {
			root := ranks / 2
			given, sum := make([][]byte, ranks), make([]byte, length)
			for rank := range given {
				given[rank] = make([]byte, length)
				for i := range sum {
					given[rank][i] = byte(i*7 + rank)
				}
				addBytes(sum, given[rank])
			}
			for _, op := range []schedule.Op{schedule.AllReduce, schedule.Reduce, schedule.Broadcast} {
				want := sum
				if op == schedule.Broadcast {
					want = given[root]
				}
				for _, a := range schedule.Algorithms(op) {
					if a.Local {
						continue
					}
					bufs := make([][]byte, ranks)
					for rank := range bufs {
						bufs[rank] = slices.Clone(given[rank])
					}
					requireAll(t, runAll(t, newWires(ranks, 1), bufs, func(rank int) schedule.Schedule {
						return a.Plan(ranks, rank, root, 3)
					}))
					for rank, got := range bufs {
						if op != schedule.Reduce || rank == root {
							require.True(t, bytes.Equal(want, got), "%v %s: rank %d of %d, %d bytes", op, a.Name, rank, ranks, length)
						}
					}
				}
			}
		}
	}
}

func TestTheExecutorRefusesDataOfTheWrongLength(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"short": func(b []byte) []byte { return b[:len(b)-1] },
		"long":  func(b []byte) []byte { return append(b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWires(2, 64)
			w.spoil = spoil
			bufs := [][]byte{make([]byte, 10), make([]byte, 10)}
			for _, err := range runAll(t, w, bufs, func(rank int) schedule.Schedule { return schedule.CirculantAllReduce(2, rank) }) {
				require.ErrorIs(t, err, wire.ErrFrame)
			}
		})
	}
}

func TestBlocksCoverABufferEvenly(t *testing.T) {
	for _, count := range []int{0, 1, 5, 6, 7, 1000} {
		b := evenly(make([]int64, count), 6)
		total := 0
		for i := range b.blocks {
			n := len(b.block(i))
			assert.Zero(t, n%8)
			assert.InDelta(t, count/6*8+4, n, 4)
			total += n
		}
		assert.Equal(t, len(b.bytes), total)
	}
}

func FuzzDescriptor(f *testing.F) {
	f.Add(descriptor{op: opBroadcast, kind: kind(reflect.Int8), root: 3, count: 1 << 40}.append(nil))
	f.Add(descriptor{op: opAllReduce, how: Avg, kind: kind(reflect.Float64), count: 7}.append(nil))
	f.Add(descriptor{op: opBarrier}.append(nil))
	f.Add(descriptor{op: opGatherV, kind: kind(reflect.Bool), root: 2, count: hashOf([]int{1, 0})}.append(nil))
	f.Add(descriptor{op: opSend, kind: kind(reflect.Uint), root: 1 << 31, count: 8}.append(nil))
	f.Add([]byte{})
	f.Add(make([]byte, descriptorSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDescriptor(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.Equal(t, b[:descriptorSize], d.append(nil))
		require.NotEmpty(t, d.String())
	})
}

func FuzzEnding(f *testing.F) {
	for _, e := range []ending{
		{code: codeLost, failed: []int{1, 5, 9}, text: "node 3 is lost"},
		{code: codeDeadline, text: "too late"},
		{},
	} {
		f.Add(e.encode())
	}
	f.Add([]byte{})
	f.Add(binary.AppendUvarint([]byte{byte(codeLost)}, 1<<40))
	f.Add([]byte{byte(codeLost), 2, 5, 5})
	f.Add([]byte{0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		const ranks = 10
		e, err := parseEnding(b, ranks)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			return
		}
		require.LessOrEqual(t, len(e.failed), ranks)
		again, err := parseEnding(e.encode(), ranks)
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

// No frame, whatever its fields, may harm a node: at worst it ends the group that it names.
func FuzzFrames(f *testing.F) {
	d := descriptor{op: opBarrier}
	good := wire.Header{Kind: wire.KindBlock, Group: 1, Epoch: 1, Seq: 1, From: 1, To: 0, Hash: d.hash()}
	add := func(h wire.Header, body []byte) {
		h.Length = uint32(len(body))
		f.Add(append(h.Append(nil), body...))
	}
	add(good, d.append(nil))
	for _, change := range []func(*wire.Header){
		func(h *wire.Header) { h.Step = stepCredit },
		func(h *wire.Header) { h.Step = stepVote },
		func(h *wire.Header) { h.Step = stepVerdict },
		func(h *wire.Header) { h.Step = stepAnswer },
		func(h *wire.Header) { h.Step = stepProbe },
		func(h *wire.Header) { h.Step = stepPoint },
		func(h *wire.Header) { h.Step = stepPointCredit },
		func(h *wire.Header) { h.Step = stepPointProbe },
		func(h *wire.Header) { h.Seq = 0 },
		func(h *wire.Header) { h.Seq = 1 << 63 },
		func(h *wire.Header) { h.Kind = wire.KindAbort },
		func(h *wire.Header) { h.From = 1 << 31 },
	} {
		h := good
		change(&h)
		add(h, nil)
		add(h, make([]byte, 8))
		add(h, d.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := wire.ParseHeader(b, len(b))
		if err != nil {
			return
		}
		c := newCluster(t, 3, inMemory)
		creator, groups := c.group("g", 2, Timeout(100*time.Millisecond)) // a forged frame may hide true ones
		h.Group = creator.s.id + h.Group%2
		frame := wire.Frame{Header: h, Body: b[wire.HeaderSize:]}
		if h.Kind == wire.KindAbort {
			c.hub(1).onAbort(2, frame)
		} else {
			c.hub(1).onBlock(2, frame)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, err := range each(ctx, groups, func(ctx context.Context, g *Group) error {
			err := Barrier(ctx, g)
			cancel() // a forged frame may have taken the place of a true one
			return err
		}) {
			if err != nil {
				require.ErrorIs(t, err, ErrAborted)
			}
		}
	})
}
