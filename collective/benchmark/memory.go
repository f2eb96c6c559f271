// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
)

// HalfOfFreeMemory returns how many bytes the buffers of all members of this machine may take: the other half is for the processes, and for what
// libraries copy. Where the system does not say what is free, it is 4 GiB.
func HalfOfFreeMemory() (int, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if errors.Is(err, fs.ErrNotExist) {
		return min(4<<30, math.MaxInt), nil
	}
	for line := range strings.Lines(string(text)) {
		var kib int
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return min(kib, math.MaxInt/512) * 512, nil
		}
	}
	if err != nil {
		return 0, err
	}
	return 0, errors.New("/proc/meminfo does not say what is available")
}

// NeedOf returns how many bytes the buffers of some ranks take together, all on one host, with a shared result there.
func (p Point) NeedOf(ranks []int, members int) int {
	total := 0
	for _, rank := range ranks {
		total += p.Need(rank, members)
	}
	if p.Shared {
		s := private(p.Operation, p.Bytes/elementSize, 0, members)
		total += elementSize * max(s.in, s.out)
	}
	return total
}

// room is what there is of memory on the hosts of the members.
type room struct {
	ranks map[string][]int // on each host
	bytes map[string]int   // that their buffers may take
}

// roomOf takes what each member says of its host, of which the least counts, unless most is given.
func roomOf(hosts []string, said []int, most int) room {
	r := room{map[string][]int{}, map[string]int{}}
	for rank, h := range hosts {
		if _, ok := r.bytes[h]; !ok || said[rank] < r.bytes[h] {
			r.bytes[h] = said[rank]
		}
		r.ranks[h] = append(r.ranks[h], rank)
		if most > 0 {
			r.bytes[h] = most
		}
	}
	return r
}

// lacks says what a point lacks; empty: nothing.
func (r room) lacks(p Point, members int) string {
	for h, ranks := range r.ranks {
		if need := p.NeedOf(ranks, members); need > r.bytes[h] {
			return fmt.Sprintf("the buffers of its %d members on host %s would take %d MiB, and may take %d", len(ranks), h, need>>20, r.bytes[h]>>20)
		}
	}
	return ""
}
