// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"fmt"
)

// An object of one buffer is that buffer. Any other starts with a table that has one entry for each buffer, and the
// buffers follow, each at a multiple of 64 bytes; an entry names its segment, so buffers may also lie elsewhere.
const entrySize = 24

func tableLen(buffers int) int64 {
	if buffers == 1 {
		return 0
	}
	return roundUp(int64(buffers)*entrySize, unit)
}

func appendEntry(b []byte, seg uint32, off, n int64) []byte {
	b = binary.NativeEndian.AppendUint32(b, seg)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint64(b, uint64(off))
	return binary.NativeEndian.AppendUint64(b, uint64(n))
}

// layoutSize returns how many bytes an object takes, given the sizes of its buffers, besides the parts that it has.
func layoutSize[T any](buffers []T, parts []*part, size func(T) int) (int64, error) {
	if len(buffers) > maxBuffers {
		return 0, fmt.Errorf("object of %d buffers: %w", len(buffers), ErrTooLarge)
	}
	total := tableLen(len(buffers))
	for i, b := range buffers {
		n := int64(size(b))
		if n < 0 || n > maxObject {
			return 0, fmt.Errorf("buffer %d of %d bytes: %w", i, n, ErrTooLarge)
		}
		if parts != nil && parts[i] != nil {
			continue
		}
		if total = roundUp(total, unit) + n; total > maxObject {
			return 0, fmt.Errorf("object of more than %d bytes: %w", int64(maxObject), ErrTooLarge)
		}
	}
	return total, nil
}

// place is where an object starts, as its slot says.
type place struct {
	segment uint32
	buffers uint32
	offset  uint64
	size    uint64
}

// extent returns bytes [off, off+n) of a segment, or an error when they are not all there.
func extent(seg []byte, off, n uint64) ([]byte, error) {
	size := uint64(len(seg))
	if off%unit != 0 || off > size || n > size-off {
		return nil, fmt.Errorf("bytes %d to +%d of a segment of %d: %w", off, n, size, ErrCorrupt)
	}
	return seg[off : off+n : off+n], nil
}

// open finds the buffers of an object. Nothing in place, or in the table of buffers that it leads to, is trusted.
func (o *Object) open(at place, segment func(uint32) ([]byte, error)) error {
	if at.buffers == 1 {
		b, err := buffer(at.segment, at.offset, at.size, segment)
		if err != nil {
			return err
		}
		o.one[0] = b
		o.bufs, o.size = o.one[:], int64(len(b))
		return nil
	}
	if at.buffers > maxBuffers || at.size != uint64(at.buffers)*entrySize {
		return fmt.Errorf("table of %d bytes for %d buffers: %w", at.size, at.buffers, ErrCorrupt)
	}
	table, err := buffer(at.segment, at.offset, at.size, segment)
	if err != nil {
		return err
	}
	o.bufs = make([][]byte, at.buffers)
	for i := range o.bufs {
		e := table[i*entrySize:][:entrySize]
		b, err := buffer(binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint64(e[8:]), binary.NativeEndian.Uint64(e[16:]), segment)
		if err != nil {
			return fmt.Errorf("buffer %d: %w", i, err)
		}
		o.bufs[i] = b
		o.size += int64(len(b))
	}
	return nil
}

func buffer(num uint32, off, n uint64, segment func(uint32) ([]byte, error)) ([]byte, error) {
	if n == 0 {
		return []byte{}, nil
	}
	seg, err := segment(num)
	if err != nil {
		return nil, err
	}
	return extent(seg, off, n)
}
