// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// handlerOf returns what a node does with frames of a kind.
func handlerOf(n *node, k wire.Kind) mesh.Handler {
	return map[wire.Kind]mesh.Handler{
		wire.KindCall: n.onCall, wire.KindRelay: n.onRelay, wire.KindReply: n.onReply, wire.KindChunk: n.transfers.onChunk,
	}[k]
}

// Block makes a node in this process read no further from any link once a frame of a kind has come, until release is called.
func Block(s *System, node uint32, k wire.Kind) (release func()) {
	n, gate := nodeOf(s, node), make(chan struct{})
	handle := handlerOf(n, k)
	n.mesh.Handle(k, func(from uint32, f wire.Frame) {
		<-gate
		handle(from, f)
	})
	return sync.OnceFunc(func() { close(gate) })
}

// Swallow makes a node lose frames of a kind, and counts them.
func Swallow(s *System, node uint32, k wire.Kind) (count *atomic.Int64) {
	count = new(atomic.Int64)
	nodeOf(s, node).mesh.Handle(k, func(uint32, wire.Frame) { count.Add(1) })
	return count
}

// CutOffAfter ends the links between a node and who sends it chunks when so many chunks of data have come.
func CutOffAfter(s *System, node, source uint32, chunks int) {
	n := nodeOf(s, node)
	left := chunks
	n.mesh.Handle(wire.KindChunk, func(from uint32, f wire.Frame) {
		n.transfers.onChunk(from, f)
		if c, err := wire.ParseChunk(f.Body); err == nil && c.Kind == wire.ChunkData && from == source {
			if left--; left == 0 {
				CutOff(s, node, source)
			}
		}
	})
}

// LoseNode makes the driver take a node for lost.
func LoseNode(s *System, node uint32) { s.mesh.Lost(node, errCutOff) }

// KeptBytes is how many bytes of answers a node keeps that it has sent to relays.
func KeptBytes(s *System, node uint32) int {
	k := &nodeOf(s, node).kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.bytes
}

// Forwarding is how many bytes of calls wait at a relay for a peer.
func Forwarding(s *System, relay, peer uint32) int {
	n := nodeOf(s, relay)
	n.mu.Lock()
	w := n.mu.forwarders[peer]
	n.mu.Unlock()
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.bytes
}

// Relaying is how many bytes of answers wait at a relay until they are passed on.
func Relaying(s *System, relay uint32) (bytes int) {
	n := nodeOf(s, relay)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.mu.relays {
		r.mu.Lock()
		for _, a := range r.mu.answers.open {
			bytes += len(a.data)
		}
		for _, b := range r.mu.answers.full {
			bytes += len(b)
		}
		r.mu.Unlock()
	}
	return bytes
}

// UnderWay is how many bytes of answers a node has sent to a relay that has not passed them on.
func UnderWay(s *System, node, relay uint32) int {
	o := nodeOf(s, node).outbox(relay)
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.mu.window.sent - o.mu.window.taken)
}

// Busy reports whether calls run or wait at a node.
func Busy(s *System, node uint32) bool {
	n := nodeOf(s, node)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.mu.actors {
		a.mu.Lock()
		busy := len(a.mu.active)+len(a.mu.queue)-a.mu.head > 0
		a.mu.Unlock()
		if busy {
			return true
		}
	}
	return false
}

// Bounds of a relay, in bytes.
const (
	RelayRoom    = relayRoom
	AnswerWindow = answerWindow
	ChunkBytes   = chunkBytes
)

// CountReplies counts the reply frames that reach the driver, and the bytes of their bodies.
func CountReplies(s *System) func() (frames, bytes int64) {
	var frames, bytes atomic.Int64
	s.mesh.Handle(wire.KindReply, func(from uint32, f wire.Frame) {
		frames.Add(1)
		bytes.Add(int64(len(f.Body)))
		s.onReply(from, f)
	})
	return func() (int64, int64) { return frames.Load(), bytes.Load() }
}

// Running reports whether an actor runs a call.
func Running[A any](h *Handle[A]) bool {
	n := nodeOf(h.sys, h.Node())
	a := n.actor(h.id.Serial())
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.mu.active) > 0
}
