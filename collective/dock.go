// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"net"
	"strconv"

	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// EnvLanes is how many connections a process opens at most to another on another host for what is long, beside the one that there is: 0 to 8.
// Default: 2. With 0 everything goes over the one.
const EnvLanes = "TUTTI_LANES"

// defaultLanes lets one lane drain while another is full. On loopback 1, 2 and 4 are equally fast: see docs/decisions/0019-lanes.md.
const defaultLanes = 2

// lanesFrom reads EnvLanes. What is no number, or out of bounds, counts as the nearest that is right.
func lanesFrom(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return defaultLanes
	}
	return max(0, min(n, lane.Most))
}

// lanesTo returns the lanes to a node, or nil where messages are as good.
func (h *hub) lanesTo(node mesh.NodeID) *lane.Set {
	if h.lanes == 0 {
		return nil
	}
	return h.mesh.Lanes(node, h.lanes)
}

// serveLane is a mesh.LaneHandler.
func (h *hub) serveLane(node mesh.NodeID, nc net.Conn) error {
	return lane.Receive(nc, descriptorSize, descriptorSize+segment, &dock{hub: h, node: node})
}

// dock is where the frames of one lane come in. What the operation that runs waits for goes straight to its memory; all else becomes a
// frame as those of a link.
type dock struct {
	hub  *hub
	node mesh.NodeID
	head wire.Header

	body []byte // of a frame that becomes one of a link, else nil
	m    *member
	b    *berth   // else
	dst  [][]byte // memory for the data
	rest [][]byte // of dst, what is not filled; in whose place, of data that are combined, their buffer is

	buffer []byte // of a segment
	one    [1][]byte
}

// Begin implements lane.Receiver.
func (d *dock) Begin(h *wire.Header, head []byte) error {
	if h.Kind != wire.KindBlock || h.Step >= stepMarks {
		return fmt.Errorf("%w: a %v frame with step %d on a lane", wire.ErrFrame, h.Kind, h.Step)
	}
	d.head, d.body, d.b = *h, nil, nil
	if s := d.hub.session(h); s != nil && s.livesOn(h.From, d.node) {
		s.heardFrom(d.node).Add(1)
		if m := s.member(int(h.To)); m != nil && m.land(d) {
			return nil
		}
	}
	d.body = append(make([]byte, 0, h.Length), head...)
	return nil
}

// land finds the memory for a frame, if its flow is there.
func (m *member) land(d *dock) bool {
	h := &d.head
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.mu.edges[int(h.From)]
	if e == nil {
		return false
	}
	b := e.berthAt(h.Caller)
	if b == nil || !b.direct || !m.mu.running || h.Seq != b.seq || h.Seq != m.mu.seq || h.Hash != m.mu.calls[h.Seq%remembered].hash || h.Step != b.round {
		return false
	}
	length := int(h.Length) - descriptorSize
	if at := (h.Caller - b.start) / (frameCost + segment); length == 0 || at >= uint64(len(b.claimed)) || b.into.size(int(at)) != length {
		return false
	}
	i := b.claimLocked(h.Caller)
	if i < 0 {
		return false
	}
	d.m, d.b, d.dst = m, b, d.dst[:0]
	b.into.piece(i, func(p []byte) { d.dst = append(d.dst, p) })
	if b.take == nil {
		d.rest = d.dst
		return true
	}
	if d.buffer == nil {
		d.buffer = make([]byte, segment)
	}
	d.one[0] = d.buffer[:length]
	d.rest = d.one[:]
	return true
}

// Fill implements lane.Receiver.
func (d *dock) Fill(left int, read func([][]byte) (int, error)) (int, error) {
	if d.body != nil {
		d.one[0] = d.body[len(d.body):cap(d.body)]
		n, err := read(d.one[:])
		if n > 0 {
			d.body = d.body[:len(d.body)+min(n, left)]
		}
		return n, err
	}
	if d.b.take == nil {
		d.b.hold.RLock()
		defer d.b.hold.RUnlock()
		if d.b.gone { // nobody wants it, but what follows on the lane
			if d.buffer == nil {
				d.buffer = make([]byte, segment)
			}
			d.one[0] = d.buffer[:min(left, segment)]
			return read(d.one[:])
		}
	}
	n, err := read(d.rest)
	if n > 0 {
		d.rest = wire.Skip(d.rest, min(n, left))
	}
	return n, err
}

// End implements lane.Receiver.
func (d *dock) End() error {
	if d.body != nil {
		f := wire.Frame{Header: d.head, Body: d.body}
		d.body = nil
		d.hub.onBlock(d.node, f)
		return nil
	}
	m, b := d.m, d.b
	d.m, d.b = nil, nil
	if b.take != nil {
		b.combine(d.dst, d.buffer)
	}
	clear(d.dst)
	m.landed(int(d.head.From), b, int(d.head.Length))
	return nil
}

// combine does with data what the flow does, unless it is over.
func (b *berth) combine(dst [][]byte, data []byte) {
	b.hold.RLock()
	defer b.hold.RUnlock()
	if b.gone {
		return
	}
	for _, p := range dst {
		b.take(p, data[:len(p)])
		data = data[len(p):]
	}
}

// landed notes that a frame is where it belongs.
func (m *member) landed(from int, b *berth, length int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := b.edge
	e.taken += uint64(wire.HeaderSize + length)
	b.landed++
	m.mu.moved++
	if from == m.mu.chase.silent {
		m.mu.chase.silent = -1
	}
	if b.claims == len(b.claimed) || e.owesCredit() {
		m.rouse()
	}
}
