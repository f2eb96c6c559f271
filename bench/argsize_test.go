// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"

	"github.com/tutti-go/tutti/bench/ways"
)

// BenchmarkArgumentSize shows that the cost of a batch does not jump where its argument moves into the object store;
// see docs/decisions/0001-inline-bytes-count-per-actor.md.
func BenchmarkArgumentSize(b *testing.B) {
	f := newFleet(b, 400, 8)
	for _, size := range []int{1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 99 << 10, 101 << 10, 128 << 10} {
		b.Run("arg="+sizeName(size), func(b *testing.B) { measure(b, f, way{"batch", (*ways.Fleet).Batch}, size) })
	}
}
