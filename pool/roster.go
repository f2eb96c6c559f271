// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

// roster are the members with room for another call. The one with the fewest calls in flight is next, and of those the one that has waited
// longest: an actor that fails at once does not get all the work. Where there are several hosts, each has its own order beside that of all.
type roster struct {
	all   loads
	hosts map[string]*loads
}

func newRoster(inFlight int) roster {
	return roster{all: newLoads(inFlight), hosts: map[string]*loads{}}
}

// meet makes a member's host known, and reports whether it is the second: the members of the first are not in its order then.
func (r *roster) meet(host string) (second bool) {
	if r.hosts[host] != nil {
		return false
	}
	l := newLoads(len(r.all.byLoad))
	r.hosts[host] = &l
	return len(r.hosts) == 2
}

// update puts a member where its load says, behind its equals.
func (r *roster) update(m *member) {
	m.place.leave()
	m.near.leave()
	if m.gone || m.silent || m.inFlight >= len(r.all.byLoad) {
		return
	}
	r.all.push(m.inFlight, &m.place)
	if len(r.hosts) > 1 {
		r.hosts[m.host].push(m.inFlight, &m.near)
	}
}

// next returns the member that is to get the next item, or nil if none has room. A member of the given host goes first, however much
// others there are idle: what the item needs is there.
func (r *roster) next(host string) *member {
	if l := r.hosts[host]; l != nil && len(r.hosts) > 1 {
		if m := l.next(); m != nil {
			return m
		}
	}
	return r.all.next()
}

// loads are members by the calls that they have in flight.
type loads struct {
	byLoad []list[*member] // index: calls in flight
	low    int             // no list before this one has members
}

func newLoads(inFlight int) loads { return loads{byLoad: make([]list[*member], inFlight)} }

func (l *loads) push(load int, n *node[*member]) {
	l.byLoad[load].pushBack(n)
	l.low = min(l.low, load)
}

func (l *loads) next() *member {
	for ; l.low < len(l.byLoad); l.low++ {
		if n := l.byLoad[l.low].front; n != nil {
			return n.value
		}
	}
	return nil
}
