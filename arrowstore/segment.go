// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/invariants"
)

const (
	// chunkSize is how many bytes of a segment get or lose their memory together. Segments for one large object have larger
	// chunks, so that making and deleting it does not take longer the larger it is.
	chunkSize = 256 << 10
	chunksMax = 1024 // per segment for one object
)

// segment is one file of this store's objects, mapped twice: for its writers, and read-only for views, so that a stray
// write through a view faults instead of damaging what others read.
type segment struct {
	num    uint32 // in the file name; never used again in this store
	index  uint32 // in the list of segments; used again
	node   int32  // heap node at offset 0
	file   *os.File
	rw, ro []byte
	spans  int // objects in it
	chunks chunks
}

// chunkFor returns the chunk size of a segment for one object.
func chunkFor(size int64) int64 {
	chunk := int64(chunkSize)
	for size/chunk > chunksMax {
		chunk *= 2
	}
	return chunk
}

// createSegment makes a segment whose size is a multiple of chunk.
func createSegment(d *dir, store uint64, num uint32, size, chunk int64) (*segment, error) {
	f, err := d.create(segmentName(store, num))
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	g := &segment{num: num, file: f, chunks: newChunks(size, chunk)}
	err = f.Truncate(size)
	if err == nil {
		g.rw, err = mapFile(f, size, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err == nil {
		g.ro, err = mapFile(f, size, unix.PROT_READ)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create segment: %w", noSpace(err)), g.close(), d.remove(segmentName(store, num)))
	}
	return g, nil
}

func (g *segment) close() error {
	err := errors.Join(unmap(g.rw), unmap(g.ro), g.file.Close())
	g.rw, g.ro = nil, nil
	return err
}

// mangle scribbles over a span that is given back, under the build tag only, where it has memory: whoever still reads it
// shall notice.
func (g *segment) mangle(sp span) {
	if !invariants.Enabled {
		return
	}
	size := g.chunks.size
	for at, end := sp.start(), sp.start()+sp.bytes(); at < end; {
		next := min(end, (at/size+1)*size)
		if g.chunks.backed.has(int(at / size)) {
			invariants.Mangle(g.rw[at:next])
		}
		at = next
	}
}
