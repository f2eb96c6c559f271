// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

// openCalls are the calls that run at a node, by caller and number. Where there is one at a time, which is so at the nodes of
// a batch, it takes no map.
type openCalls struct {
	sole *inbound
	more map[inboundKey]*inbound
}

func (o *openCalls) add(c *inbound) {
	switch {
	case o.sole == nil:
		o.sole = c
	case o.more == nil:
		o.more = map[inboundKey]*inbound{c.key: c}
	default:
		o.more[c.key] = c
	}
}

func (o *openCalls) find(key inboundKey) (*inbound, bool) {
	if o.sole != nil && o.sole.key == key {
		return o.sole, true
	}
	c, ok := o.more[key]
	return c, ok
}

func (o *openCalls) remove(key inboundKey) {
	if o.sole != nil && o.sole.key == key {
		o.sole = nil
		return
	}
	delete(o.more, key)
}

// all is an iterator.
func (o *openCalls) all(yield func(*inbound) bool) {
	if o.sole != nil && !yield(o.sole) {
		return
	}
	for _, c := range o.more {
		if !yield(c) {
			return
		}
	}
}
