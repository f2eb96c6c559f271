// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// How members agree when some of them are gone. Each gives its vote to the lowest rank that it does not take for lost, the coordinator,
// and says whom it takes for lost. The coordinator waits for the votes of all that are left, decides, and its verdict goes from
// node to node like the end of an epoch, so that it reaches all if it reaches one that lives on. When the coordinator is lost the next rank
// takes its place; who has a verdict answers with it in place of a vote. All this works on an epoch that is over.

// matter is what a vote is about.
type matter uint8

const (
	matterNone matter = iota // of a question or a sign of life; in a verdict: the votes were about different matters
	matterShrink
	matterAgree
	matterEnd
)

func (k matter) String() string {
	if k >= matterEnd {
		return fmt.Sprintf("matter(%d)", uint8(k))
	}
	return [...]string{"nothing", "Shrink", "Agree"}[k]
}

// vote is what a member says to the coordinator, and the coordinator in its questions.
type vote struct {
	matter matter
	flag   bool
	out    []int // ranks that it takes for lost, rising
}

func (v vote) encode() []byte { return appendRanks([]byte{byte(v.matter), bit(v.flag)}, v.out) }

func parseVote(b []byte, size int) (vote, error) {
	if len(b) < 2 || b[0] >= byte(matterEnd) || b[1] > 1 {
		return vote{}, fmt.Errorf("%w: vote: bad head", wire.ErrFrame)
	}
	out, rest, err := parseRanks(b[2:], size)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes too many", wire.ErrFrame, len(rest))
	}
	if err != nil {
		return vote{}, fmt.Errorf("vote: %w", err)
	}
	return vote{matter(b[0]), b[1] == 1, out}, nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// verdict is what was decided.
type verdict struct {
	vote

	group uint64 // of the next epoch, if it is about one
	epoch uint32
}

const verdictHead = 12

func (v verdict) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, v.group)
	b = binary.LittleEndian.AppendUint32(b, v.epoch)
	return append(b, v.vote.encode()...)
}

func parseVerdict(b []byte, size int) (*verdict, error) {
	if len(b) < verdictHead {
		return nil, fmt.Errorf("%w: verdict of %d bytes", wire.ErrFrame, len(b))
	}
	v, err := parseVote(b[verdictHead:], size)
	if err != nil {
		return nil, fmt.Errorf("verdict: %w", err)
	}
	if len(v.out) == size {
		return nil, fmt.Errorf("%w: verdict that leaves nobody", wire.ErrFrame)
	}
	return &verdict{v, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}, nil
}

// ballot is what a node knows of one question to the members.
type ballot struct {
	votes   map[int]vote
	alive   map[int]int // by rank: how many signs of life came
	verdict *verdict
}

// council is what a node knows of all questions to the members of one epoch. It outlives the epoch.
type council struct {
	mu      sync.Mutex
	rounds  map[uint64]*ballot
	out     map[int]bool  // ranks that are taken for lost
	changed chan struct{} // closed at every change, and replaced
}

func (c *council) ballotLocked(round uint64) *ballot {
	b := c.rounds[round]
	if b == nil {
		b = &ballot{votes: map[int]vote{}, alive: map[int]int{}}
		c.rounds[round] = b
	}
	return b
}

func (c *council) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *council) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

// exclude takes ranks for lost.
func (c *council) exclude(ranks ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.excludeLocked(ranks)
}

func (c *council) excludeLocked(ranks []int) {
	for _, r := range ranks {
		if !c.out[r] {
			c.out[r] = true
			c.wakeLocked()
		}
	}
}

// lostRanks returns the ranks that are taken for lost on this node, in rising order.
func (s *session) lostRanks() []int {
	var gone []int
	for _, node := range s.nodes {
		if s.hub.mesh.IsLost(node) != nil {
			gone = append(gone, s.ranksOn(node)...)
		}
	}
	if end := s.ended(); end != nil && end.code.accuses() {
		gone = append(gone, end.failed...)
	}
	s.council.exclude(gone...)
	s.council.mu.Lock()
	defer s.council.mu.Unlock()
	return slices.Sorted(maps.Keys(s.council.out))
}

// accuses reports whether the ranks that an ending names are of no more use: those of the others gave up, and may go on.
func (c code) accuses() bool { return c == codeLost || c == codeDeadline || c == codeStalled }

// settle takes a verdict in. Only the first of a round counts.
func (s *session) settle(round uint64, v *verdict) {
	s.council.mu.Lock()
	b := s.council.ballotLocked(round)
	first := b.verdict == nil
	if first {
		b.verdict = v
		s.council.wakeLocked()
	}
	s.council.mu.Unlock()
	if !first {
		return
	}
	for _, node := range s.audience(true) {
		s.hub.background(func(ctx context.Context) {
			to := 0 // for the creator, which has no rank
			if ranks := s.ranksOn(node); len(ranks) > 0 {
				to = ranks[0]
			}
			s.speak(ctx, node, stepVerdict, round, s.ranksOn(s.hub.mesh.Self())[0], to, v.encode())
		})
	}
}

// speak sends one frame of a council. One that does not arrive is sent again, by whoever waits for its effect.
func (s *session) speak(ctx context.Context, node mesh.NodeID, step uint32, round uint64, from, to int, body []byte) {
	h := wire.Header{
		Kind: wire.KindBlock, Step: step, Group: s.id, Epoch: s.epoch, Seq: round, From: uint32(from), To: uint32(to),
	}
	_ = s.hub.mesh.Send(ctx, node, &h, body)
}

func isCouncil(step uint32) bool {
	return step == stepVote || step == stepAsk || step == stepAlive || step == stepVerdict
}

// onCouncil takes in a frame about a vote, of an epoch that may be over.
func (h *hub) onCouncil(node mesh.NodeID, f wire.Frame) {
	s := h.session(&f.Header)
	if s == nil {
		h.mu.RLock()
		s = h.pastLocked(epochKey{f.Group, f.Epoch})
		h.mu.RUnlock()
	}
	self := h.mesh.Self()
	switch {
	case s == nil, !s.livesOn(f.From, node):
		h.stale.Add(1)
		return
	case f.Step == stepVerdict && self == s.owner: // perhaps no member's node
	case !s.livesOn(f.To, self):
		h.stale.Add(1)
		return
	}
	if err := s.hear(node, f); err != nil {
		h.stale.Add(1)
	}
}

// hear takes in what rank f.From says to rank f.To.
func (s *session) hear(node mesh.NodeID, f wire.Frame) error {
	if f.Step == stepVerdict {
		v, err := parseVerdict(f.Body, len(s.members))
		if err != nil {
			return err
		}
		s.hub.heardOfEpoch(s.name, v.epoch)
		if _, member := slices.BinarySearch(s.nodes, s.hub.mesh.Self()); member {
			s.settle(f.Seq, v)
		}
		return nil
	}
	v, err := parseVote(f.Body, len(s.members))
	if err != nil {
		return err
	}
	from, c := int(f.From), &s.council
	c.mu.Lock()
	b := c.ballotLocked(f.Seq)
	c.excludeLocked(v.out)
	b.alive[from]++
	if _, known := b.votes[from]; f.Step == stepVote && !known {
		b.votes[from] = v
		c.wakeLocked()
	}
	settled := b.verdict
	c.mu.Unlock()
	switch {
	case settled != nil && f.Step != stepAlive:
		s.hub.background(func(ctx context.Context) {
			s.speak(ctx, node, stepVerdict, f.Seq, int(f.To), from, settled.encode())
		})
	case f.Step != stepAlive:
		out := s.lostRanks()
		s.hub.background(func(ctx context.Context) {
			s.speak(ctx, node, stepAlive, f.Seq, int(f.To), from, vote{out: out}.encode())
		})
	}
	return nil
}

// heardOfEpoch keeps later epochs of a name above one that others have numbered.
func (h *hub) heardOfEpoch(name string, epoch uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.epochs[name] = max(h.mu.epochs[name], epoch)
}
