// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

// Contributions that are longer than slots need a round for each slot that they fill, in which all members have their turn: with hundreds of them those
// turns take longer than the data. So where all members expose their contributions, those who are awake fold them out of the memory of all.

const (
	// exposedPart is how much of all contributions is one member's work. With what comes of the nodes of the tree it stays in a second-level cache.
	exposedPart = 32 << 10
	// takenBits is how many bits of head.taken count parts. Those above tell the round.
	takenBits = 16
)

// below is what a member needs to fold a part.
type below struct {
	memory []byte          // of a part for each child of a node, level by level
	srcs   [][radix][]byte // the same as sources
	own    []byte
}

// FoldExposed folds n bytes, from an offset on, of what all members have exposed in a round before, in which all have arrived: the caller takes part after part until all
// are taken, and has to arrive then. When all have, Wide has the result, of which RoomWide says how long it may be. It is folded along the tree that Fold
// goes along, so it is the same to the last bit. own is the caller's whole contribution. The first call of a member makes 256 KiB of memory for each level of the tree, which it keeps.
func (p *Port) FoldExposed(own []byte, offset, n int, reduce Reduce) error {
	parts := max(1, (n+exposedPart-1)/exposedPart)
	top := len(p.nodes) - 1
	for {
		part, ok := p.takeExposed(parts)
		if !ok {
			return nil
		}
		if p.below.memory == nil {
			p.below.memory = make([]byte, len(p.nodes)*radix*exposedPart)
			p.below.srcs = make([][radix][]byte, len(p.nodes))
		}
		from, to := min(part*exposedPart, n), min((part+1)*exposedPart, n)
		p.below.own = own
		err := p.foldBelow(top, 0, p.Wide(n)[from:to:to], offset+from, reduce)
		p.below.own = nil
		clear(p.below.srcs[0][:]) // it holds on to nobody's memory
		if err != nil {
			return err
		}
	}
}

// takeExposed takes the next part of this round, if there is one.
func (p *Port) takeExposed(parts int) (part int, ok bool) {
	taken := &p.head().taken
	for {
		w := taken.Load()
		next := w + 1
		if w>>takenBits != p.round {
			next = p.round<<takenBits + 1 // the first of the round
		}
		part = int(next&(1<<takenBits-1)) - 1
		if part >= parts {
			return 0, false
		}
		if taken.CompareAndSwap(w, next) {
			return part, true
		}
	}
}

// foldBelow folds a part of what the members below a node have exposed.
func (p *Port) foldBelow(level, node int, dst []byte, offset int, reduce Reduce) error {
	width, srcs, n := p.width(level, node), &p.below.srcs[level], len(dst)
	for i := range width {
		at := (level*radix + i) * exposedPart
		srcs[i] = p.below.memory[at : at+n]
		child := node*radix + i
		var err error
		switch {
		case level > 0:
			err = p.foldBelow(level-1, child, srcs[i], offset, reduce)
		case child == p.rank:
			srcs[i] = p.below.own[offset : offset+n]
		default:
			err = p.readExposed(p.exposed, child, srcs[i], offset)
		}
		if err != nil {
			return err
		}
	}
	reduce(dst, srcs[:width], level == len(p.nodes)-1)
	return nil
}
