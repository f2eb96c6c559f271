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

// mapping is a segment of another store: read-only, or writable for Drafts. Every Object and Draft that has a buffer in it is a user of
// its gate.
type mapping struct {
	st   *Store
	key  segmentKey
	mem  []byte
	gate gate
}

// segmentKey names one of the two mappings of a peer's segment.
type segmentKey struct {
	num      uint32
	writable bool
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
	if !m.key.writable {
		m.st.views.remove(m.mem)
	}
	return unmap(m.mem)
}

// segment returns a segment of the peer with its gate entered.
func (p *peer) segment(key segmentKey) (*mapping, error) {
	if m := (*p.segments.Load())[key]; m != nil && m.gate.enter() {
		return m, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := (*p.segments.Load())[key]; m != nil && m.gate.enter() {
		return m, nil
	}
	segments := maps.Clone(*p.segments.Load())
	if n := p.table.header().retired.Load(); n != p.retired {
		p.retired = n
		if err := p.dropRetired(segments); err != nil {
			return nil, err
		}
	}
	b, err := mapSegment(p.st.dir, p.number, key)
	if err != nil {
		return nil, err
	}
	m := &mapping{st: p.st, key: key, mem: b}
	m.gate.enter()
	segments[key] = m
	p.segments.Store(&segments)
	if !key.writable {
		p.st.views.add(b)
	}
	return m, nil
}

// dropRetired unmaps the segments that their owner has returned to the system. Their memory is gone already; what would
// pile up are addresses.
func (p *peer) dropRetired(segments map[segmentKey]*mapping) error {
	var errs []error
	for key, m := range segments {
		exists, err := p.st.dir.exists(segmentName(p.number, key.num))
		if err == nil && !exists {
			delete(segments, key)
			err = m.shut()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// segment returns the memory of a peer's segment, which the object uses from then on.
func (o *Object) segment(num uint32) ([]byte, error) {
	for _, m := range o.mapped {
		if m.key.num == num {
			return m.mem, nil
		}
	}
	m, err := o.peer.segment(segmentKey{num: num})
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

func mapSegment(d *dir, store uint64, key segmentKey) ([]byte, error) {
	flags, prot := unix.O_RDONLY, unix.PROT_READ
	if key.writable {
		flags, prot = unix.O_RDWR, unix.PROT_READ|unix.PROT_WRITE
	}
	b, err := d.mapExisting(segmentName(store, key.num), flags, prot, func(size int64) bool {
		return size > 0 && size%chunkSize == 0
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("segment %d of store %016x is gone: %w", key.num, store, ErrNotFound)
	}
	return b, err
}
