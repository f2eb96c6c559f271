// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// An object whose memory several stores use for one result after the other, so that nobody has to pin, map and free anything for each. The memory
// has a word behind what is written, in which those who have a part in a result are counted down as they let go of it.

// reusedTail is how many bytes the word has for itself.
const reusedTail = unit

// ReusedSize returns how large an object must be made for results of so many bytes to be written into it.
func ReusedSize(size int) int { return int(roundUp(int64(size), unit)) + reusedTail }

// Reused is a hold on an object that its Writer has opened and that several stores write and read by turns. The Writer is never sealed. Its owner
// says by Begin how many have a part in the next result, each of which then writes, and either takes an Object, when all have written, or
// passes. It is Free when all Objects are released and all others have passed. Whether all have written is for them to agree.
// Begin and Free are the owner's; the others may be called by any goroutine. The hold lasts until Release, and the memory until the Objects
// are released as well, whatever happens to the owner.
type Reused struct {
	obj  *Object  // with its buffer
	wr   *mapping // of a peer's segment, writable; nil if the store is the owner's
	mem  []byte   // to be written
	word *slot    // of the object
	held *atomic.Uint32
	refs atomic.Int64 // Objects, and who has not released it
}

// Reuse returns a hold on an object of ReusedSize bytes that its Writer has opened, in this store or in any other live store on the
// directory. It returns ErrNotFound when the object is sealed or aborted already, or its store is gone, and ErrType for one that is too small.
func (s *Store) Reuse(id ID) (*Reused, error) {
	j, err := s.Join(id)
	if err != nil {
		return nil, err
	}
	o, wr, mem := j.obj, j.wr, j.mem
	table := s.table
	if o.peer != nil {
		table = o.peer.table
	}
	j.wr = nil // it stays
	if _, err := j.Agreed(); err != nil {
		j.wr = wr
		j.Release()
		return nil, err
	}
	if len(mem) < reusedTail {
		if wr != nil {
			wr.leave()
		}
		o.Release()
		return nil, fmt.Errorf("reuse an object of %d bytes: %w", len(mem), ErrType)
	}
	end := len(mem) - reusedTail
	r := &Reused{obj: o, wr: wr, mem: mem[:end:end], word: table.slot(id.slot), held: (*atomic.Uint32)(unsafe.Pointer(&mem[end]))}
	r.refs.Store(1)
	return r, nil
}

// ID returns the id of the object, by which others get a hold on it too.
func (r *Reused) ID() ID { return r.obj.id }

// Bytes returns the memory, to be written. Who may write what, and when, is for the writers to agree. It must not be touched after Release.
func (r *Reused) Bytes() []byte { return r.mem }

// Begin says that so many have a part in the next result, before they learn of it.
func (r *Reused) Begin(parts int) { r.held.Store(uint32(parts)) }

// Free reports whether everybody has let go of the last result. It is never so again when somebody has got a hold on it by GetHeld, for
// whose end there is no count here.
func (r *Reused) Free() bool { return r.held.Load() == 0 && r.word.word.Load()&flagHeld == 0 }

// Pass lets go of the caller's part in a result without reading it.
func (r *Reused) Pass() { r.held.Add(^uint32(0)) }

// Object returns the result, when all have written. From then on nobody may write until it is released, by which the caller lets go of its part.
func (r *Reused) Object() *Object {
	r.refs.Add(1)
	o := newObject(&Object{st: r.obj.st, reused: r, id: r.obj.id, size: int64(len(r.mem))})
	o.one[0] = r.obj.bufs[0][:len(r.mem):len(r.mem)]
	o.bufs = o.one[:]
	return o
}

// Retain makes one more Release necessary.
func (r *Reused) Retain() { r.refs.Add(1) }

// Release lets go of the object. The last of all that hold it here gives its memory back.
func (r *Reused) Release() {
	if r.refs.Add(-1) > 0 {
		return
	}
	r.mem, r.held = nil, nil
	if r.wr != nil {
		r.wr.leave()
	}
	r.obj.Release()
}

// returned is the last release of an Object.
func (r *Reused) returned() {
	r.Pass()
	r.Release()
}
