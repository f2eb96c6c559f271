// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"bytes"

	"github.com/tutti-go/tutti/internal/wire"
)

// replySize is the size in bytes at which the answers to one call message are divided among several frames. A single
// answer never exceeds InlineMax by much, and a frame carries wire.MaxBody.
const replySize = 1 << 20

// openAnswers is how many different outcomes are kept open for slots to join.
const openAnswers = 8

// answers gathers the outcomes of slots until they are sent. Slots with the same outcome share one entry, in whatever order they
// complete: an acknowledgement by all costs a few bytes, and an equal reply travels once. With more than openAnswers different outcomes
// at a time, the oldest is closed, and later slots with the same open another.
type answers struct {
	open []answer // oldest first; the entries behind its length keep their room for slots
	full [][]byte // bodies of about replySize bytes, the last of which is not full

	taken bool // some were taken before
	// room is for the one answer to a call for one actor.
	room struct {
		open  [1]answer
		slots [1]uint32
		full  [1][]byte
		body  [48]byte
	}
}

type answer struct {
	status wire.Status
	data   []byte
	slots  []uint32
}

// add takes the outcome of a slot in.
func (a *answers) add(slot uint32, status wire.Status, data []byte) {
	if status == wire.StatusObject { // an object of its own
		a.append(status, data, slot)
		return
	}
	for i := len(a.open) - 1; i >= 0; i-- { // the last is the likeliest
		if o := &a.open[i]; o.status == status && bytes.Equal(o.data, data) {
			o.slots = append(o.slots, slot)
			return
		}
	}
	if len(a.open) == openAnswers {
		first := a.open[0]
		a.append(first.status, first.data, first.slots...)
		copy(a.open, a.open[1:])
		a.open[openAnswers-1] = answer{status, data, append(first.slots[:0], slot)}
		return
	}
	if a.open == nil {
		a.room.open[0].slots = a.room.slots[:0]
		a.open = a.room.open[:0]
	}
	var room []uint32
	if n := len(a.open); n < cap(a.open) {
		room = a.open[:n+1][n].slots
	}
	a.open = append(a.open, answer{status, data, append(room[:0], slot)})
}

// append starts another body when the last one is full, so that no body exceeds what a frame may carry.
func (a *answers) append(status wire.Status, data []byte, slots ...uint32) {
	last := len(a.full) - 1
	if last < 0 || len(a.full[last])+len(data) > replySize && len(a.full[last]) > 0 {
		if a.full == nil && !a.taken { // or else who took may use it still
			a.full = append(a.room.full[:0], a.room.body[:0])
		} else {
			a.full = append(a.full, nil)
		}
		last++
	}
	a.full[last] = wire.AppendResult(a.full[last], status, data, slots...)
}

// take returns what was added since it last did, as bodies of reply frames.
func (a *answers) take() [][]byte {
	for i := range a.open {
		a.append(a.open[i].status, a.open[i].data, a.open[i].slots...)
		a.open[i].data = nil
	}
	full := a.full
	a.taken = true
	a.open, a.full = a.open[:0], nil
	return full
}
