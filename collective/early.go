// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// A member may begin with operations before others have joined. Their nodes keep what comes for them until they do.

const (
	// earlyBytes bounds what a node keeps for members that have not joined. The groups of those who send more end.
	earlyBytes = 64 << 20
	// earlyTime is how long it is kept at least.
	earlyTime = time.Minute
)

// epochKey names an epoch of a group.
type epochKey struct {
	group uint64
	epoch uint32
}

// waiting is what came for the members of one epoch.
type waiting struct {
	since  time.Time
	frames []earlyFrame
	bytes  int
}

type earlyFrame struct {
	from  mesh.NodeID
	frame wire.Frame
}

// early is what waits for members that have not joined.
type early struct {
	held  map[epochKey]*waiting
	bytes int
}

func (e *early) drop(k epochKey) {
	if w := e.held[k]; w != nil {
		e.bytes -= w.bytes
		delete(e.held, k)
	}
}

// keep takes a frame in, unless there is no room.
func (e *early) keep(k epochKey, node mesh.NodeID, f wire.Frame) bool {
	n := cost(f.Body)
	if e.bytes+n > earlyBytes {
		for old, w := range e.held {
			if time.Since(w.since) > earlyTime {
				e.drop(old)
			}
		}
	}
	if e.bytes+n > earlyBytes {
		return false
	}
	w := e.held[k]
	if w == nil {
		w = &waiting{since: time.Now()}
		e.held[k] = w
	}
	w.frames = append(w.frames, earlyFrame{node, f})
	w.bytes += n
	e.bytes += n
	return true
}

// take returns what came for a rank, in the order in which it came.
func (e *early) take(k epochKey, rank uint32) []earlyFrame {
	w := e.held[k]
	if w == nil {
		return nil
	}
	var frames []earlyFrame
	w.frames = slices.DeleteFunc(w.frames, func(f earlyFrame) bool {
		if f.frame.To != rank {
			return false
		}
		frames = append(frames, f)
		w.bytes -= cost(f.frame.Body)
		e.bytes -= cost(f.frame.Body)
		return true
	})
	if len(w.frames) == 0 {
		e.drop(k)
	}
	return frames
}

// replayLocked hands a new member what came before it. It returns what that means for the group, if anything.
func (h *hub) replayLocked(s *session, m *member) *ending {
	for _, f := range h.mu.early.take(epochKey{s.id, s.epoch}, uint32(m.rank)) {
		if !s.livesOn(f.frame.From, f.from) {
			h.stale.Add(1)
			continue
		}
		if end := m.deliver(int(f.frame.From), f.from == h.mesh.Self(), f.frame); end != nil {
			return end
		}
	}
	return nil
}

// onUnknown takes in a frame for a member that this node does not have: it is yet to join, or its epoch is over.
func (h *hub) onUnknown(node mesh.NodeID, f wire.Frame) {
	k := epochKey{f.Group, f.Epoch}
	h.mu.Lock()
	s := h.mu.sessions[f.Group]
	over := h.mu.fence[f.Group] >= f.Epoch || s != nil && s.epoch > f.Epoch
	if s != nil && s.epoch == f.Epoch {
		if m := s.member(int(f.To)); m != nil { // it has joined meanwhile
			h.mu.Unlock()
			h.onBlock(node, f)
			return
		}
		over = over || s.ended() != nil || !s.livesOn(f.To, h.mesh.Self())
	}
	past := h.pastLocked(k)
	probe := f.Step == stepProbe || f.Step == stepPointProbe
	kept := !over && (probe || h.mu.early.keep(k, node, f))
	h.mu.Unlock()
	switch {
	case !over && probe: // this node lives, and the member has not begun
		h.background(func(ctx context.Context) {
			hd := wire.Header{
				Kind: wire.KindBlock, Step: stepAnswer, Group: f.Group, Epoch: f.Epoch, From: f.To, To: f.From, Seq: f.Seq,
			}
			_ = h.mesh.Send(ctx, node, &hd, answer{next: f.To}.encode())
		})
	case kept:
	case over && probe && past != nil: // it has not heard
		if end := past.ended(); end != nil {
			h.background(func(ctx context.Context) { _ = past.notice(ctx, node, end.encode()) })
		}
	case over:
		h.stale.Add(1)
	default:
		h.stale.Add(1)
		end := &ending{code: codeOther, text: fmt.Sprintf("node %d has no room for what comes before rank %d has joined", h.mesh.Self(), f.To)}
		h.background(func(ctx context.Context) {
			hd := wire.Header{Kind: wire.KindAbort, Group: f.Group, Epoch: f.Epoch}
			_ = h.mesh.Send(ctx, node, &hd, end.encode())
		})
	}
}

// answer is what a member that was probed says.
type answer struct {
	next  uint32 // the rank that it waits for, itself if it has not begun, or nobody
	moved uint64 // how much it has sent and received
}

const answerSize = 12

func (a answer) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(make([]byte, 0, answerSize), a.next), a.moved)
}

func parseAnswer(b []byte) (answer, error) {
	if len(b) != answerSize {
		return answer{}, fmt.Errorf("%w: answer of %d bytes, want %d", wire.ErrFrame, len(b), answerSize)
	}
	return answer{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])}, nil
}
