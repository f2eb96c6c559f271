// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	"github.com/tutti-go/tutti/core"
)

// defaultQuarantine is three intervals of core's heartbeat.
const defaultQuarantine = 3 * time.Second

// Quarantine sets after how much silence of a node, by default 3 s, its actors get no more calls: their process is stopped, starved or cut
// off, and what was sent there would wait. The system goes on asking the node for a sign of life. With the first, its actors are back; when the timeout of
// core.Heartbeat is over, they are lost. Calls that were sent before wait for one or the other, unless they are hedged. If all
// nodes are silent, calls wait. after must be positive; it is of no use below the interval of core.Heartbeat.
func Quarantine(after time.Duration) Option {
	return optionFunc(func(o *options) { o.quarantine = after })
}

func checkQuarantine(after time.Duration) error {
	if after <= 0 {
		return fmt.Errorf("pool: %w: Quarantine(%v), must be positive", core.ErrInvalid, after)
	}
	return nil
}

// watchSilence keeps members on silent nodes from getting calls until the scheduler ends.
func (s *scheduler) watchSilence(nodes func() []core.NodeInfo, after time.Duration) {
	t := time.NewTicker(max(after/4, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.setSilent(nodes(), after)
		case <-s.life.done:
			return
		}
	}
}

// setSilent takes in how long nothing was heard of the nodes.
func (s *scheduler) setSilent(nodes []core.NodeInfo, after time.Duration) {
	silent := map[uint32]bool{}
	for _, n := range nodes {
		if n.Silent >= after {
			silent[n.ID] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(silent) == 0 && !s.mu.silent {
		return
	}
	s.mu.silent = len(silent) > 0
	for _, m := range s.mu.members {
		if node := m.targets.Node(0); m.silent != silent[node] {
			m.silent = !m.silent
			s.mu.roster.update(m)
		}
	}
	s.dispatchLocked()
}
