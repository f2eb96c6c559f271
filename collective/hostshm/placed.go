// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

// Contributions that stay where they are cost nobody anything until all of a node are there. Then there is work for several members at once,
// which they share: those who wait take part after part.

const (
	// placedBytes is how much of each contribution is a part. It is less than what is copied at once, for members begin together.
	placedBytes = 16 << 10
	// claimBits is how many bits of a node's claims count parts. Those above tell the round.
	claimBits = 8
)

const _ = uint(1<<(claimBits-1) - maxParts) // else a part has no number

// FoldPlaced is FoldInto of contributions that stay where they are: source returns that of a rank among the neighbours of the caller, the members of
// its node of the tree, when that has arrived. All give as many bytes, no more than RoomPlaced has found. When all neighbours have arrived, those that are
// awake reduce, part by part; the others need not. It returns when the round has ended or, to a member that leaves early, when nobody needs its
// contribution any more. After an error of source, which it returns, the round does not end.
func (p *Port) FoldPlaced(own, result []byte, source func(rank int) ([]byte, error), reduce Reduce, early bool, idle Idle) (*Mismatch, error) {
	p.result, p.source, p.failed = result, source, nil
	defer func() { p.result, p.source = nil, nil }()
	node, parts := p.rank/radix, partsOf(len(own), placedBytes)
	arrivals, claims, read := p.count(0, node, 0), p.count(0, node, 1), p.count(0, node, readPart)
	p.line(p.rank).arrived.Store(p.round)
	if int(arrivals.n.Add(1)) == p.width(0, node) {
		arrivals.n.Store(0)
		read.n.Store(p.claim(0))
		claims.n.Store(p.claim(0))
		if parts > 1 {
			p.ring(false)
		}
	}
	h, round := p.head(), p.round
	for {
		over := func() bool { return h.ready.Load() >= round || early && read.n.Load() == p.claim(parts) }
		err := p.wait(func() bool { return p.claimable(claims) || over() }, idle)
		if err != nil {
			return nil, err
		}
		part, ok := p.take(claims, parts)
		if !ok {
			if over() {
				return nil, nil
			}
			continue // another was faster
		}
		from, to := rangeOf(part, parts, len(own))
		m, complete := p.climb(part, own, from, to, reduce)
		if m != nil || p.failed != nil {
			return m, p.failed
		}
		if complete && int(h.folded.Add(1)) == parts {
			p.complete()
		}
	}
}

// claim is the word of a node of which so many parts were taken in this round. It is never 0, which stands for none that could be taken.
func (p *Port) claim(taken int) uint32 {
	return uint32(p.round)<<claimBits | uint32(taken) | 1<<(claimBits-1)
}

// claimable reports whether parts of a node can be taken in this round.
func (p *Port) claimable(c *counter) bool { return p.offers(c.n.Load()) }

// offers reports whether a node's claims leave parts to be taken in this round.
func (p *Port) offers(claims uint32) bool {
	return claims != 0 && claims>>claimBits == p.claim(0)>>claimBits
}

// take takes the next part of a node, if there is one.
func (p *Port) take(c *counter, parts int) (part int, ok bool) {
	for {
		w := c.n.Load()
		if !p.offers(w) {
			return 0, false
		}
		part = int(w & (1<<(claimBits-1) - 1))
		next := w + 1
		if part == parts-1 {
			next = 0 // the counter is for others from then on
		}
		if c.n.CompareAndSwap(w, next) {
			return part, true
		}
	}
}
