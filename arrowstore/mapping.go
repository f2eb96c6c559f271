// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/unix"
)

// mapping is a segment of another store, mapped read-only. Every Object that has a buffer in it is a user of its gate.
type mapping struct {
	st   *Store
	num  uint32
	mem  []byte
	gate gate
}

func (m *mapping) leave() {
	if m.gate.leave() {
		_ = m.unmap() // nobody waits for it, and unmapping fails only for what is not mapped
	}
}

// shut unmaps the segment when its last user has gone.
func (m *mapping) shut() error {
	if first, empty := m.gate.shut(); first && empty {
		return m.unmap()
	}
	return nil
}

func (m *mapping) unmap() error {
	m.st.views.remove(m.mem)
	return unmap(m.mem)
}

// segment returns a segment of the peer with its gate entered.
func (p *peer) segment(num uint32) (*mapping, error) {
	if m := (*p.segments.Load())[num]; m != nil && m.gate.enter() {
		return m, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := (*p.segments.Load())[num]; m != nil && m.gate.enter() {
		return m, nil
	}
	segments := maps.Clone(*p.segments.Load())
	if n := p.table.header().retired.Load(); n != p.retired {
		p.retired = n
		if err := p.dropRetired(segments); err != nil {
			return nil, err
		}
	}
	b, err := mapSegment(p.st.dir, p.number, num)
	if err != nil {
		return nil, err
	}
	m := &mapping{st: p.st, num: num, mem: b}
	m.gate.enter()
	segments[num] = m
	p.segments.Store(&segments)
	p.st.views.add(b)
	return m, nil
}

// dropRetired unmaps the segments that their owner has returned to the system. Their memory is gone already; what would
// pile up are addresses.
func (p *peer) dropRetired(segments map[uint32]*mapping) error {
	var errs []error
	for num, m := range segments {
		exists, err := p.st.dir.exists(segmentName(p.number, num))
		if err == nil && !exists {
			delete(segments, num)
			err = m.shut()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// segment returns the memory of a peer's segment, which the object uses from then on.
func (o *Object) segment(num uint32) ([]byte, error) {
	for _, m := range o.mapped {
		if m.num == num {
			return m.mem, nil
		}
	}
	m, err := o.peer.segment(num)
	if err != nil {
		return nil, err
	}
	o.mapped = append(o.mapped, m)
	return m.mem, nil
}

func (o *Object) leaveSegments() {
	for _, m := range o.mapped {
		m.leave()
	}
	o.mapped = nil
}

func mapSegment(d *dir, store uint64, num uint32) ([]byte, error) {
	b, err := d.mapExisting(segmentName(store, num), unix.O_RDONLY, unix.PROT_READ, func(size int64) bool {
		return size > 0 && size%chunkSize == 0
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("segment %d of store %016x is gone: %w", num, store, ErrNotFound)
	}
	return b, err
}
