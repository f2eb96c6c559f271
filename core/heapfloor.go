// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is the size in bytes that the heap of a node process may reach before it is collected. A node that only passes messages on
// has a live heap of a megabyte or two. By Go's own rule it is collected every 4 MB, many times a second, and spends
// more on that than on the calls: bench/results/heap-floor.txt.
const heapFloor = 16 << 20

// keepHeapFloor makes the collector of this process wait until the heap is heapFloor, as long as the live heap is smaller than half of that. A larger
// heap is collected as always, and so is one for which the user has set GOGC or GOMEMLIMIT.
func keepHeapFloor() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		(&floorKeeper{percent: 100}).adjust()
	}
}

// floorKeeper adjusts the collector after every collection.
type floorKeeper struct{ percent int }

// sentinel is collected by the next collection, which is how the keeper learns of it.
type sentinel struct{ _ [16]byte }

// adjust sets the percentage for what is live now, and asks to be called after the next collection.
func (k *floorKeeper) adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return // a later Go without this metric
	}
	if p := percentFor(sample[0].Value.Uint64()); p != k.percent {
		k.percent = p
		debug.SetGCPercent(p)
	}
	runtime.AddCleanup(new(sentinel), (*floorKeeper).adjust, k)
}

// percentFor returns how much the heap may grow, in percent of what is live, so that it reaches heapFloor. Go's runtime does not
// collect a heap below 4 MB times the percentage. There are few steps, for every change stops the process for a moment.
func percentFor(live uint64) int {
	for p := heapFloor >> 20 / 4 * 100; p > 100; p /= 2 {
		if live*uint64(100+p) <= heapFloor*100 {
			return p
		}
	}
	return 100
}
