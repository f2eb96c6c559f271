// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// poll is one member's part in one vote.
type poll struct {
	m      *member
	round  uint64
	mine   vote
	to     []int                 // whom it waits for
	signs  map[int]int           // of life that each had given at the last tick
	missed map[int]time.Duration // since then
}

// decide takes part in the member's next vote and returns the verdict.
func (m *member) decide(ctx context.Context, what matter, flag bool) (*verdict, error) {
	s := m.s
	ctx, cancel := s.patient(ctx)
	defer cancel()
	m.mu.Lock()
	m.mu.rounds++
	p := &poll{
		m: m, round: m.mu.rounds, mine: vote{matter: what, flag: flag},
		signs: map[int]int{}, missed: map[int]time.Duration{},
	}
	m.mu.Unlock()
	ticker := time.NewTicker(s.bounds.tick())
	defer ticker.Stop()
	for resend := true; ; {
		s.council.mu.Lock()
		changed := s.council.changed
		s.council.mu.Unlock()
		v, err := p.look(resend)
		switch {
		case closed(s.hub.mesh.Done()): // nothing will be heard any more
			return nil, p.failure(s.endOfNode())
		case err != nil:
			return nil, p.failure(&ending{code: codeOther, text: err.Error(), cause: err})
		case v != nil && v.matter == matterNone:
			return nil, p.failure(mismatch("rank %d called %v, others called something else", m.rank, what))
		case v != nil && slices.Contains(v.out, m.rank):
			return nil, p.failure(&ending{code: codeOther, text: fmt.Sprintf("%v: the others take rank %d for lost", ErrExcluded, m.rank), cause: ErrExcluded})
		case v != nil:
			return v, nil
		}
		select {
		case <-changed:
			resend = false
		case <-ticker.C:
			p.count()
			resend = true
		case <-s.hub.mesh.Done():
		case <-ctx.Done():
			return nil, p.failure(m.endingOfPoll(ctx, p.to))
		}
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// patient bounds a vote like an operation that waits.
func (s *session) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.bounds.Stall)
}

func (m *member) endingOfPoll(ctx context.Context, missing []int) *ending {
	end := &ending{code: codeCanceled, failed: []int{m.rank}, text: fmt.Sprintf("rank %d gave up: %v", m.rank, stopped(ctx))}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		end = &ending{code: codeDeadline, failed: missing, text: fmt.Sprintf("waited for ranks %s, which have not called it", ranksText(missing))}
	}
	return end
}

// failure is what a member returns that got no verdict. The epoch is as it was.
func (p *poll) failure(end *ending) error {
	s := p.m.s
	return &Error{Group: s.name, Epoch: s.epoch, Op: p.mine.matter.String(), Rank: p.m.rank, Failed: end.failed, Reason: end}
}

// look does what is to be done now, and returns the verdict if there is one.
func (p *poll) look(resend bool) (*verdict, error) {
	s, rank := p.m.s, p.m.rank
	out := s.lostRanks()
	s.council.mu.Lock()
	b := s.council.ballotLocked(p.round)
	if b.verdict != nil {
		defer s.council.mu.Unlock()
		return b.verdict, nil
	}
	b.votes[rank] = p.mine
	var left, missing []int
	for r := range s.members {
		if _, lost := slices.BinarySearch(out, r); !lost {
			left = append(left, r)
			if _, voted := b.votes[r]; !voted {
				missing = append(missing, r)
			}
		}
	}
	s.council.mu.Unlock()
	if !slices.Contains(left, rank) {
		return nil, fmt.Errorf("%w: another takes rank %d for lost", ErrExcluded, rank)
	}
	step, to := uint32(stepVote), left[:1]
	if left[0] == rank {
		if len(missing) == 0 {
			v := p.conclude(left, out)
			s.settle(p.round, v)
			return v, nil
		}
		step, to = stepAsk, missing
	}
	again := resend || !slices.Equal(to, p.to) && step == stepVote
	p.to = to
	if again {
		v := p.mine
		v.out = out
		body := v.encode()
		for _, r := range to {
			s.hub.background(func(ctx context.Context) { s.speak(ctx, s.nodeOf(r), step, p.round, rank, r, body) })
		}
	}
	return nil, nil //nolint:nilnil // no verdict yet, which is no error
}

// count takes for lost whoever gives no sign of life.
func (p *poll) count() {
	s := p.m.s
	tick, silence := s.bounds.tick(), s.bounds.Silence
	s.council.mu.Lock()
	alive := s.council.ballotLocked(p.round).alive
	var silent []int
	for _, r := range p.to {
		if alive[r] != p.signs[r] {
			p.signs[r], p.missed[r] = alive[r], 0
		} else if p.missed[r] += tick; p.missed[r] >= silence {
			silent = append(silent, r)
		}
	}
	s.council.mu.Unlock()
	for _, r := range silent {
		s.council.exclude(s.ranksOn(s.nodeOf(r))...)
	}
}

// conclude decides, when all votes are there.
func (p *poll) conclude(left, out []int) *verdict {
	s := p.m.s
	v := &verdict{vote: p.mine}
	v.out = out
	s.council.mu.Lock()
	for _, r := range left {
		other := s.council.ballotLocked(p.round).votes[r]
		v.flag = v.flag && other.flag
		if other.matter != p.mine.matter {
			v.matter = matterNone
		}
	}
	s.council.mu.Unlock()
	if v.matter == matterShrink {
		c := charter{Name: s.name, Epoch: s.epoch + 1}
		s.hub.number(&c)
		v.group, v.epoch = c.Group, c.Epoch
	}
	return v
}
