// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

import (
	"runtime"
	"sync/atomic"
	"time"
)

// patienceOf returns how long a member gives way to others before it sleeps. Where members follow each other from operation to operation, each has its
// turn once while all others have theirs, and one that sleeps has to be woken, which takes longer than its turn. The more members share a
// processor, the longer that takes. Measured on 2 cores, see docs/decisions/0016.
func patienceOf(members, processors int) time.Duration {
	const least, most, turn = 200 * time.Microsecond, 50 * time.Millisecond, 250 * time.Microsecond
	return min(max(time.Duration(members)*turn/time.Duration(processors), least), most)
}

// lingering counts the members of this process that linger.
var lingering atomic.Int32 //nolint:gochecknoglobals // the processors of the Go scheduler are the process's

// linger gives way to others until something is so, and reports whether it is; not for longer than the patience. Members must not keep
// the rest of their process from the processors of the Go scheduler: the last of those gives way to its process, too, and where many
// members live in one process none lingers. One that is alone in its process does so in some of its turns only, those of all operations counted: to
// ask the scheduler takes a third of what a turn takes, and most of the time there is nobody else.
func (p *Port) linger(so func() bool) bool {
	const (
		look  = 8 // at the clock, every so many turns
		aside = 8 // for the rest of the process, every so many turns
	)
	most := 2 * p.processors
	ports := int(p.ports.Load())
	if ports > most {
		return false
	}
	n := int(lingering.Add(1))
	defer lingering.Add(-1)
	if n > most {
		return false
	}
	var until time.Time
	for turn := 1; ; turn++ {
		all := int(lingering.Load())
		crowd := all >= p.processors
		if crowd {
			if p.turns++; ports > 1 || p.turns%aside == 0 {
				runtime.Gosched()
			}
		}
		if !crowd || turn%all == 0 {
			giveWay()
		}
		if so() {
			return true
		}
		if turn%look != 0 {
			continue
		}
		switch now := time.Now(); {
		case until.IsZero():
			until = now.Add(p.patience)
		case now.After(until), p.head().ended.Load() != 0:
			return false
		}
	}
}
