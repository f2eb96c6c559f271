// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import "fmt"

const (
	defaultSegment = 1 << (24 + wordBits*2/3) // 256 MiB; 16 MiB on 32-bit systems, for who reads from many stores maps the segments of all
	minSegment     = chunkSize
	maxSegment     = 64 << 30
)

// Option changes how Open makes a store.
type Option interface{ apply(o *options) }

type options struct {
	limit   int64
	segment int64
	spill   string
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// Limit bounds the memory, in bytes, that the objects created by this store may occupy, including what was deleted but
// not yet returned to the system. The default, and what 0 means, is half the capacity of the file system under the
// directory. Puts beyond the limit fail with ErrNoSpace.
func Limit(bytes int64) Option { return optionFunc(func(o *options) { o.limit = bytes }) }

// SegmentSize sets the address space, in bytes, that is reserved for one segment file; memory is taken only as objects
// need it. The default, and what 0 means, is 256 MiB, 16 MiB on 32-bit systems. An object of more than half a segment gets a segment of its own. Small segments return whole
// files to the system sooner; large ones need fewer mappings in each reader. Values are rounded up to 256 KiB.
func SegmentSize(bytes int64) Option { return optionFunc(func(o *options) { o.segment = bytes }) }

// Spill names a directory on disk, made with mode 0700 if it is missing, to which the store moves sealed objects that nobody
// pins when it reaches its limit, least recently used first. Moved objects stay readable: the owner brings them back when
// it gets them and there is room, others map the file. Objects below 4 KiB are not moved. Several stores can share the
// directory. By default nothing is moved, and a full store returns ErrNoSpace.
func Spill(path string) Option { return optionFunc(func(o *options) { o.spill = path }) }

func (o *options) complete(capacity int64) error {
	if o.limit < 0 {
		return fmt.Errorf("limit of %d bytes is negative", o.limit)
	}
	if o.segment < 0 || o.segment > maxSegment {
		return fmt.Errorf("segment size of %d bytes is not within 0 and %d", o.segment, int64(maxSegment))
	}
	if o.limit == 0 {
		o.limit = max(capacity/2, chunkSize)
	}
	if o.segment == 0 {
		o.segment = defaultSegment
	}
	o.segment = roundUp(max(o.segment, minSegment), chunkSize)
	return nil
}
