// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
)

// What is kept between operations are objects of one member, which all others of the host have joined: the next result is written into one of
// which nobody holds the last result any more. Who holds a view takes its object out of use for as long, and others are made. When
// a member dies the epoch is over, and nothing is used again.

// mostKept is how many objects are kept for one kind of operation: one with a result that is read, one that is written, and one that was
// announced for the next.
const mostKept = 3

// lasting is an object into which results are written one after the other.
type lasting struct {
	*arrowstore.Reused // nil until this member has joined it

	id     arrowstore.ID
	writer *arrowstore.Writer // at who made it
	now    joint              // of the operation that writes into it
	shelf  bool               // it was put on a shelf, from which it is dropped
}

// make makes an object for results of some bytes, in which all members will have a part.
func (s *sharing) make(size int) (*lasting, error) {
	w, err := s.storage.store.Create(arrowstore.ReusedSize(size))
	if err != nil {
		return nil, fmt.Errorf("shared result: %w", err)
	}
	k := &lasting{writer: w}
	if k.id, err = w.Open(); err == nil {
		k.Reused, err = s.storage.store.Reuse(k.id)
	}
	if err != nil {
		k.drop()
		return nil, fmt.Errorf("shared result: %w", err)
	}
	k.Begin(s.r.Members())
	return k, nil
}

// use joins the object, if the member has not, and makes it that of an operation.
func (k *lasting) use(size int, st *arrowstore.Store) (_ *joint, err error) {
	if k.Reused == nil {
		if k.Reused, err = st.Reuse(k.id); err != nil {
			k.Reused = nil
			return nil, fmt.Errorf("shared result: %w", err)
		}
	}
	if len(k.Bytes()) < size {
		return nil, fmt.Errorf("shared result of %d bytes in %d: %w", size, len(k.Bytes()), arrowstore.ErrCorrupt)
	}
	k.Retain()
	k.now = joint{kept: k.Reused, mem: k.Bytes()[:size:size]}
	return &k.now, nil
}

// drop gives the object up. Its memory stays for those who hold a result.
func (k *lasting) drop() {
	if k == nil {
		return
	}
	if k.Reused != nil {
		k.Release()
		k.Reused = nil
	}
	if k.writer != nil {
		k.writer.Abort()
	}
}

// unshelved drops an object that was to be announced, but was not, unless it was on a shelf before.
func (k *lasting) unshelved() {
	if k != nil && !k.shelf {
		k.drop()
	}
}

// shelf is the objects for results of one kind, the oldest first: the same at all members.
type shelf struct{ all []*lasting }

func (s *shelf) find(id arrowstore.ID) *lasting {
	for _, k := range s.all {
		if k.id == id {
			return k
		}
	}
	return nil
}

// free returns an object of which nobody needs the last result, for one of some bytes in which all of some members have a part; or nil.
func (s *shelf) free(size, members int) *lasting {
	for _, k := range s.all {
		if k.writer != nil && k.Reused != nil && len(k.Bytes()) >= size && k.Free() {
			k.Begin(members)
			return k
		}
	}
	return nil
}

// add puts an object on the shelf, unless it is there. Of more than most, the oldest gives way. made is the object at who made it.
func (s *shelf) add(id arrowstore.ID, made *lasting, most int) *lasting {
	if k := s.find(id); k != nil {
		return k
	}
	if made == nil {
		made = &lasting{id: id}
	}
	made.shelf = true
	if len(s.all) == most {
		s.all[0].drop()
		copy(s.all, s.all[1:])
		s.all = s.all[:most-1]
	}
	s.all = append(s.all, made)
	return made
}

// makes says whether the member has made one of the objects.
func (s *shelf) makes() bool {
	for _, k := range s.all {
		if k.writer != nil {
			return true
		}
	}
	return false
}

// drop gives all objects up.
func (s *shelf) drop() {
	for _, k := range s.all {
		k.drop()
	}
	s.all = nil
}
