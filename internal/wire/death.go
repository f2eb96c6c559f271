// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math"
)

// Death is the body of a death frame: what a node tells the driver of an actor that has died.
type Death struct {
	Actor  uint32 // serial number on the node
	Deaths uint32 // how often it has died by now, from 1
	Final  bool   // it is not made anew
}

// Append appends the body to dst and returns it.
func (d *Death) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.Actor))
	dst = binary.AppendUvarint(dst, uint64(d.Deaths))
	if d.Final {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// ParseDeath reads the body of a death frame.
func ParseDeath(b []byte) (Death, error) {
	cur := cursor{b: b, what: "death"}
	d := Death{Actor: uint32(cur.uint("actor", math.MaxUint32)), Deaths: uint32(cur.uint("deaths", math.MaxUint32))}
	if cur.err == nil && d.Deaths == 0 {
		cur.fail("deaths")
	}
	d.Final = cur.uint("final", 1) == 1
	return d, cur.end()
}
