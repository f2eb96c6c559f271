// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
)

const (
	// FanOutInline is the default fan-out if the argument is part of the message: a tree of 16 reaches 272 hosts in two hops.
	FanOutInline = 16
	// FanOutObject is the default fan-out if the argument travels as an object, of which every child gets a copy over the sender's link.
	FanOutObject = 4
	// MinFanOut is the smallest fan-out. One child each would be a chain as long as there are hosts.
	MinFanOut = 2
)

// Input is what a plan depends on.
type Input struct {
	Nodes []uint32         // that have targets, each once
	Host  func(uint32) int // number of the host that a node is on
	Own   int              // the caller's host
	Size  int64            // bytes of the argument if it travels as an object, 0 if it is part of the message
	// FanOut bounds the messages that the caller and every relay send to other hosts. 0 stands for the default, which depends on Size;
	// less than MinFanOut counts as that.
	FanOut int
	// Avoid names nodes that must be addressed by the caller itself and relay for nobody, such as those that are known to be dead or cut
	// off from others. They do not count against FanOut. nil avoids none.
	Avoid func(uint32) bool
}

// Plan is the way to all nodes of an Input. Nodes are given by their index in Input.Nodes, and every one of them stands in it once.
type Plan struct {
	Direct []int   // nodes that the caller sends to, one message each
	Relays []Relay // gateways of other hosts that the caller sends to, one message each for all that is behind them
}

// Relay is the gateway of one host. It is one of the nodes itself.
type Relay struct {
	Node     int
	Local    []int   // the other nodes of its host
	Children []Relay // gateways of other hosts
}

// fanOut returns the fan-out that applies.
func (in *Input) fanOut() int {
	switch {
	case in.FanOut > 0:
		return max(in.FanOut, MinFanOut)
	case in.Size > 0:
		return FanOutObject
	}
	return FanOutInline
}

// Make plans the way to all nodes.
func Make(in Input) *Plan {
	p := &Plan{}
	k := in.fanOut()
	remote := make([]place, 0, len(in.Nodes))
	for i, node := range in.Nodes {
		host := in.Host(node)
		if host == in.Own || in.Avoid != nil && in.Avoid(node) {
			p.Direct = append(p.Direct, i)
			continue
		}
		remote = append(remote, place{host, node, i})
	}
	if len(remote) <= k && in.Size == 0 {
		for _, r := range remote {
			p.Direct = append(p.Direct, r.index)
		}
		return p
	}
	p.Relays = tree(gateways(remote), k)
	p.Relays = slices.DeleteFunc(p.Relays, func(r Relay) bool {
		alone := len(r.Local) == 0 && len(r.Children) == 0
		if alone { // it has nothing to relay
			p.Direct = append(p.Direct, r.Node)
		}
		return alone
	})
	return p
}

// place is a node and its host.
type place struct {
	host  int
	node  uint32
	index int // in Input.Nodes
}

// gateways returns one relay without children for every host, in order of the hosts: its node with the lowest number.
func gateways(nodes []place) []Relay {
	slices.SortFunc(nodes, func(a, b place) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.node, b.node)) })
	all := make([]int, len(nodes))
	for i, n := range nodes {
		all[i] = n.index
	}
	hosts := 0
	for i := range nodes {
		if i == 0 || nodes[i].host != nodes[i-1].host {
			hosts++
		}
	}
	relays := make([]Relay, 0, hosts)
	for first := 0; first < len(nodes); {
		end := first + 1
		for end < len(nodes) && nodes[end].host == nodes[first].host {
			end++
		}
		relays = append(relays, Relay{Node: all[first], Local: all[first+1 : end : end]})
		first = end
	}
	return relays
}

// tree cuts the relays into at most k blocks of nearly equal length. The first of a block relays to the rest of it.
func tree(relays []Relay, k int) []Relay {
	n := min(k, len(relays))
	if n == 0 {
		return nil
	}
	roots := make([]Relay, n)
	for i := range roots {
		block := relays[i*len(relays)/n : (i+1)*len(relays)/n]
		roots[i] = block[0]
		roots[i].Children = tree(block[1:], k)
	}
	return roots
}
