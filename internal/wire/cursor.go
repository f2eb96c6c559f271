// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// cursor reads a body front to back. The first failure sticks, so that a decoder reads
// all its fields and checks once.
type cursor struct {
	b    []byte
	what string
	err  error
}

func (c *cursor) fail(field string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s: bad or missing %s", ErrFrame, c.what, field)
	}
	c.b = nil
}

func (c *cursor) byte(field string) byte {
	if len(c.b) < 1 {
		c.fail(field)
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint64(field string) uint64 {
	if len(c.b) < 8 {
		c.fail(field)
		return 0
	}
	v := binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v
}

// uint reads a varint that must not exceed bound and must have no more bytes than it needs: a message has
// one encoding.
func (c *cursor) uint(field string, bound uint64) uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > bound || n > 1 && c.b[n-1] == 0 {
		c.fail(field)
		return 0
	}
	c.b = c.b[n:]
	return v
}

// order reads the number of a message, which is never 0.
func (c *cursor) order(field string) uint64 {
	v := c.uint(field, math.MaxUint64)
	if v == 0 {
		c.fail(field)
	}
	return v
}

// bytes reads a length and that many bytes, without copying them.
func (c *cursor) bytes(field string) []byte {
	n := c.uint(field, uint64(len(c.b)))
	if c.err != nil || n > uint64(len(c.b)) {
		c.fail(field)
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// end reports the first failure, or bytes left over.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) > 0 {
		c.fail(fmt.Sprintf("end: %d bytes left over", len(c.b)))
	}
	return c.err
}

func appendBytes[B ~[]byte | ~string](dst []byte, v B) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

func appendUint64(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }
