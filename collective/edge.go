// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"encoding/binary"
	"slices"

	"github.com/tutti-go/tutti/internal/wire"
)

// window is how many bytes may be on their way from one member to another, or wait there. A sender that is further ahead
// waits until the receiver has taken some. So a member that is late holds at most a window from each of the members that send
// to it, which are about twice the logarithm of the group's size.
const window = 4 << 20

// edge is what a member knows of its traffic with one other member.
type edge struct {
	queue    []wire.Frame // arrived and not yet taken, in the order in which they were sent
	queued   int          // bytes in queue
	frames   *int         // in the queues of all such edges, or nil where nobody counts them
	taken    uint64       // bytes taken from it, in total
	credited uint64       // of taken, what the other member was told
	sent     uint64       // bytes sent to it, in total
	granted  uint64       // of sent, what it said to have taken
	begun    uint64       // where in what comes from it the next flow begins
	berths   []*berth     // of the flows that receive from it, in the order in which they begin
}

func edgeIn(edges map[int]*edge, rank int, frames *int) *edge {
	e := edges[rank]
	if e == nil {
		e = &edge{frames: frames}
		edges[rank] = e
	}
	return e
}

// cost is what a frame takes of a window.
func cost(body []byte) int { return wire.HeaderSize + len(body) }

// take takes a frame out of the queue.
func (e *edge) take(i int) wire.Frame {
	f := e.queue[i]
	if i > 0 {
		e.queue = slices.Delete(e.queue, i, i+1)
	} else {
		e.queue[0] = wire.Frame{}
		e.queue = e.queue[1:]
	}
	e.queued -= cost(f.Body)
	if e.frames != nil {
		*e.frames--
	}
	e.taken += uint64(cost(f.Body))
	return f
}

// owesCredit says whether so much was taken that the other member must be told.
func (e *edge) owesCredit() bool { return e.taken-e.credited >= window/2 }

// creditLocked returns what the other member is to be told, or nil.
func (e *edge) creditLocked() []byte {
	if !e.owesCredit() {
		return nil
	}
	e.credited = e.taken
	return binary.LittleEndian.AppendUint64(nil, e.taken)
}
