// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"slices"
	"sync"

	"github.com/tutti-go/tutti/arrowstore"
)

// A program does the same operations again and again. So with the result of one that was there before, the head announces the object
// of the next one like it, and nobody has to wait for that.

const (
	// mostSpares is how many objects a group holds so, each for an operation of its own.
	mostSpares = 4
	// largestSpare is the most bytes that such an object has. Where more are moved, the round that it saves is short.
	largestSpare = 16 << 20
	// spareShare is the part of a store's limit that it has at most.
	spareShare = 64
	// recentCalls is how many of the last operations are known.
	recentCalls = 16
)

// spare is an object for an operation that is expected.
type spare struct {
	key   [2]uint64 // of the call
	id    arrowstore.ID
	joint *joint // at the head; nil at others
}

// drop gives the object up.
func (s *spare) drop() {
	if s != nil && s.joint != nil {
		s.joint.end()
	}
}

// spares are those of one member, and what it has handed to others last. All members of a group have the same, for they put and take them in the same operations. The operation that
// runs uses them; end may be called at any time.
type spares struct {
	recent [recentCalls][2]uint64 // that ended with agree
	calls  int

	mu struct {
		sync.Mutex

		all     []spare
		lingers *arrowstore.Object // that this member has handed to all, who may not hold it yet
		retired []retired
		ended   bool
	}
}

// retired is an object for a result that will not be. Others may still be about to join it.
type retired struct {
	joint *joint
	calls int // that have begun since
}

// expects says whether an object for the next operation like this one is worth its memory: whether there was one before.
func (p *spares) expects(key [2]uint64, size int, at *storage) bool {
	return size <= largestSpare && int64(size)*spareShare <= at.limit && slices.Contains(p.recent[:], key)
}

// take returns the object for an operation, if there is one.
func (p *spares) take(key [2]uint64) (spare, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.mu.all, func(s spare) bool { return s.key == key })
	if i < 0 {
		return spare{}, false
	}
	s := p.mu.all[i]
	p.mu.all = slices.Delete(p.mu.all, i, i+1)
	return s, true
}

// put notes an operation, and keeps the object for the next one like it, if there is one. The oldest gives way.
func (p *spares) put(key [2]uint64, next *spare) {
	if !slices.Contains(p.recent[:], key) {
		p.recent[p.calls%recentCalls] = key
		p.calls++
	}
	if next == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		next.drop()
		return
	}
	next.key = key
	if len(p.mu.all) == mostSpares {
		p.mu.all[0].drop()
		p.mu.all = slices.Delete(p.mu.all, 0, 1)
	}
	p.mu.all = append(p.mu.all, *next)
}

// linger keeps the hold on an object that all others are about to take, until all have entered a later round.
func (p *spares) linger(obj *arrowstore.Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		obj.Release()
		return
	}
	p.mu.lingers = obj
}

// retire gives an object up that others join in the operation that was the last, when they have.
func (p *spares) retire(j *joint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		j.end()
		return
	}
	p.mu.retired = append(p.mu.retired, retired{joint: j})
}

// handed returns what lets go of the objects that others have got when the operation that begins has entered a round; or nil.
func (p *spares) handed() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	obj := p.mu.lingers
	p.mu.lingers = nil
	if len(p.mu.retired) == 0 {
		if obj == nil {
			return nil
		}
		return obj.Release
	}
	var gone []*joint
	left := p.mu.retired[:0]
	for _, r := range p.mu.retired {
		if r.calls++; r.calls < 2 { // all enter this operation's round when they have done that one, and the next one's when all have entered
			left = append(left, r)
			continue
		}
		gone = append(gone, r.joint)
	}
	clear(p.mu.retired[len(left):])
	p.mu.retired = left
	return func() {
		if obj != nil {
			obj.Release()
		}
		for _, j := range gone {
			j.end()
		}
	}
}

// end gives up all objects: the epoch is over.
func (p *spares) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.ended = true
	for i := range p.mu.all {
		p.mu.all[i].drop()
	}
	p.mu.all = nil
	for _, r := range p.mu.retired {
		r.joint.end()
	}
	p.mu.retired = nil
	if p.mu.lingers != nil {
		p.mu.lingers.Release()
		p.mu.lingers = nil
	}
}
