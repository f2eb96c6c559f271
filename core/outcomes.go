// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"bytes"
	"math"
	"slices"
)

// outcome is the state of a slot.
type outcome struct {
	state outcomeState
	data  []byte // flat value, or object identity
	err   error
}

type outcomeState uint8

const (
	pending outcomeState = iota
	succeeded
	succeededObject
	failed
)

// code stands for an outcome. Those that need no words have one of their own, the others are numbered as they come.
type code uint32

const (
	codePending code = iota
	codeEmpty        // succeeded with a value of no bytes
	codeUnacked      // the same of a cast, whose node may need the argument still
	codeEnding       // of the first ending
)

const (
	// shortValue is the size in bytes up to which a value is copied. A longer one stays in the memory that it came in.
	shortValue = 512
	// mostShort is how many bytes of short values lie behind each other, and then those that come stay where they are, for places in them have four bytes.
	mostShort = 1 << 30
	// lookBack is how many outcomes a new one is compared with: as many as a node may take turns with.
	lookBack = openAnswers
	// fewEndings is how many outcomes may differ before there is room for one in each slot.
	fewEndings = 2 * openAnswers
)

// outcomes are what has become of the slots of one submission. Most slots of a batch end in the same few ways, so that a slot is a number of one
// byte, and of four when more than 253 outcomes differ. Neither numbers nor short values have pointers: the collector does not scan them,
// and a batch makes so little garbage that it seldom runs.
type outcomes struct {
	narrow []uint8  // code of each slot
	wide   []uint32 // in place of narrow, when codes are larger
	// endings are the outcomes from codeEnding on.
	endings []ending
	short   []byte   // short values and identities, one behind the other
	long    [][]byte // other values
	errs    []error

	room [8]uint8  // of narrow, for few slots
	one  [1]ending // of endings, for one
}

// ending is where an outcome lies.
type ending struct {
	at   uint32 // in short, long or errs
	size uint16 // of what lies in short
	kind endingKind
}

type endingKind uint8

const (
	endingShort endingKind = iota
	endingLong
	endingObject // its identity lies in short
	endingFailed
)

// init makes n slots that are pending.
func (o *outcomes) init(n int) {
	if o.narrow = o.room[:min(n, len(o.room))]; n > len(o.room) {
		o.narrow = make([]uint8, n)
	}
	o.endings = o.one[:0]
}

// len returns the number of slots.
func (o *outcomes) len() int { return max(len(o.narrow), len(o.wide)) }

func (o *outcomes) code(slot uint32) code {
	if o.wide != nil {
		return code(o.wide[slot])
	}
	return code(o.narrow[slot])
}

func (o *outcomes) pending(slot uint32) bool { return o.code(slot) == codePending }

// set makes c the outcome of a slot.
func (o *outcomes) set(slot uint32, c code) {
	if o.wide == nil {
		if c <= math.MaxUint8 {
			o.narrow[slot] = uint8(c)
			return
		}
		o.wide = make([]uint32, len(o.narrow))
		for i, c := range o.narrow {
			o.wide[i] = uint32(c)
		}
		o.narrow = nil
	}
	o.wide[slot] = uint32(c)
}

// of returns the outcome of a slot. What it refers to is not changed.
func (o *outcomes) of(slot uint32) outcome {
	switch c := o.code(slot); c {
	case codePending:
		return outcome{}
	case codeEmpty, codeUnacked:
		return outcome{state: succeeded}
	default:
		return o.at(&o.endings[c-codeEnding])
	}
}

func (o *outcomes) at(e *ending) outcome {
	end := e.at + uint32(e.size)
	switch e.kind {
	case endingShort:
		return outcome{state: succeeded, data: o.short[e.at:end:end]}
	case endingLong:
		return outcome{state: succeeded, data: o.long[e.at]}
	case endingObject:
		return outcome{state: succeededObject, data: o.short[e.at:end:end]}
	default:
		return outcome{state: failed, err: o.errs[e.at]}
	}
}

// enter returns a code for an outcome that is not pending, which is a new one unless the outcome needs none or came just now. It copies data of
// up to shortValue bytes, which an identity has.
func (o *outcomes) enter(out outcome) code {
	if out.state == succeeded {
		if len(out.data) == 0 {
			return codeEmpty
		}
		if c, ok := o.recent(out.data); ok {
			return c
		}
	}
	e := ending{at: uint32(len(o.short)), size: uint16(min(len(out.data), shortValue))}
	switch {
	case out.state == failed:
		e = ending{at: uint32(len(o.errs)), kind: endingFailed}
		o.errs = append(o.errs, out.err)
	case len(out.data) > shortValue || out.state == succeeded && len(o.short) > mostShort:
		e = ending{at: uint32(len(o.long)), kind: endingLong}
		o.long = append(o.long, out.data)
	default:
		if out.state == succeededObject {
			e.kind = endingObject
		}
		o.short = append(o.short, out.data...)
	}
	if n := o.len(); len(o.endings) == fewEndings && n > fewEndings {
		o.endings = slices.Grow(o.endings, n-fewEndings)
		if e.kind == endingShort || e.kind == endingObject {
			o.short = slices.Grow(o.short, (n-fewEndings)*int(e.size))
		}
	}
	o.endings = append(o.endings, e)
	return codeEnding + code(len(o.endings)-1)
}

// recent returns the code of one of the last values if it is data.
func (o *outcomes) recent(data []byte) (code, bool) {
	for i := len(o.endings) - 1; i >= max(0, len(o.endings)-lookBack); i-- {
		if v := o.at(&o.endings[i]); v.state == succeeded && bytes.Equal(v.data, data) {
			return codeEnding + code(i), true
		}
	}
	return codePending, false
}
