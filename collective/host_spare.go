// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective/hostshm"
)

// A program does the same operations again and again. So with the result of one that was there before, the head announces the object
// of the next one like it, and nobody has to wait for that. The objects are kept, with what maps them, and used again.

const (
	// mostSpares is for how many kinds of operations a group keeps objects.
	mostSpares = 4
	// largestSpare is the most bytes that such an object has. Where more are moved, the round that it saves is short.
	largestSpare = 16 << 20
	// spareShare is the part of a store's limit that it has at most.
	spareShare = 192
	// recentCalls is how many of the last operations are known.
	recentCalls = 16
)

// spare is what is kept for one kind of operation.
type spare struct {
	shelf

	key  [2]uint64     // of the call
	next arrowstore.ID // the object for the next one; zero if none was announced
}

// spares are those of one member, and what it has handed to others last. All members of a group have the same, for they put and take them in the same operations. The operation that
// runs uses them; end may be called at any time.
type spares struct {
	recent [recentCalls][2]uint64 // that ended with put
	calls  int
	due    atomic.Bool // there is something for handed

	mu struct {
		sync.Mutex

		all     []*spare           // the one that was used last at the end
		lingers *arrowstore.Object // that this member has handed to all, who may not hold it yet
		retired []retired
		ended   bool
	}
}

// retired is what was kept for results that will not be. Others may still be about to join the objects.
type retired struct {
	shelf shelf
	calls int // that have begun since
}

// expects says whether an object for the next operation like this one is worth its memory: whether there was one before.
func (p *spares) expects(key [2]uint64, size int, at *storage) bool {
	return size > 0 && size <= largestSpare && int64(size)*spareShare <= at.limit && slices.Contains(p.recent[:], key)
}

// findLocked returns what is kept for a kind of operation, if anything is.
func (p *spares) findLocked(key [2]uint64) *spare {
	i := slices.IndexFunc(p.mu.all, func(s *spare) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	return p.mu.all[i]
}

// take returns the object that was announced for an operation, or nil. use must be called before it is touched.
func (p *spares) take(key [2]uint64) *lasting {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.findLocked(key)
	if s == nil || s.next.IsZero() {
		return nil
	}
	k := s.find(s.next)
	s.next = arrowstore.ID{}
	return k
}

// use joins an object, if this member has not, for an operation with a result of some bytes.
func (p *spares) use(k *lasting, size int, at *storage) (*joint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		return nil, hostshm.ErrEnded
	}
	return k.use(size, at.store)
}

// free returns an object for an operation, of which nobody needs the last result, for one of some bytes, for one in which all of some members have a part; or
// nil. Only who has made it finds it.
func (p *spares) free(key [2]uint64, size, members int) *lasting {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.findLocked(key); s != nil {
		return s.free(size, members)
	}
	return nil
}

// put notes an operation, and the object that is announced for the next one like it, if there is one; made is the object at who made it just now. The kind that was
// used longest ago gives way.
func (p *spares) put(key [2]uint64, next arrowstore.ID, made *lasting) {
	if !slices.Contains(p.recent[:], key) {
		p.recent[p.calls%recentCalls] = key
		p.calls++
	}
	if next.IsZero() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		made.drop()
		return
	}
	s := p.lastLocked(key)
	s.next = next
	s.add(next, made, mostKept)
}

// lastLocked returns what is kept for a kind of operation, or begins it, at the end of all. It allocates nothing for one that is known.
func (p *spares) lastLocked(key [2]uint64) *spare {
	s := p.findLocked(key)
	if s == nil {
		s = &spare{key: key}
		if len(p.mu.all) == mostSpares {
			p.mu.all[0].drop()
			p.mu.all = slices.Delete(p.mu.all, 0, 1)
		}
		p.mu.all = append(p.mu.all, s)
	}
	i := slices.Index(p.mu.all, s)
	copy(p.mu.all[i:], p.mu.all[i+1:])
	p.mu.all[len(p.mu.all)-1] = s
	return s
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
	p.due.Store(true)
}

// retire gives objects up that others join in the operation that was the last, when they have.
func (p *spares) retire(s shelf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.ended {
		s.drop()
		return
	}
	p.mu.retired = append(p.mu.retired, retired{shelf: s})
	p.due.Store(true)
}

// handed returns what lets go of the objects that others have got when the operation that begins has entered a round; or nil.
func (p *spares) handed() func() {
	if !p.due.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	obj := p.mu.lingers
	p.mu.lingers = nil
	if len(p.mu.retired) == 0 {
		p.due.Store(false)
		if obj == nil {
			return nil
		}
		return obj.Release
	}
	var gone []shelf
	left := p.mu.retired[:0]
	for _, r := range p.mu.retired {
		if r.calls++; r.calls < 2 { // all enter this operation's round when they have done that one, and the next one's when all have entered
			left = append(left, r)
			continue
		}
		gone = append(gone, r.shelf)
	}
	clear(p.mu.retired[len(left):])
	p.mu.retired = left
	return func() {
		if obj != nil {
			obj.Release()
		}
		for i := range gone {
			gone[i].drop()
		}
	}
}

// end gives up all objects: the epoch is over.
func (p *spares) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.ended = true
	for _, s := range p.mu.all {
		s.drop()
	}
	p.mu.all = nil
	for i := range p.mu.retired {
		p.mu.retired[i].shelf.drop()
	}
	p.mu.retired = nil
	if p.mu.lingers != nil {
		p.mu.lingers.Release()
		p.mu.lingers = nil
	}
}
