// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

// Unregister takes a kind out that a test has registered. Nodes in processes of their own do not know it.
func Unregister(name string) {
	registry.Lock()
	defer registry.Unlock()
	delete(registry.kinds, name)
}

// WaitingAt counts the nodes in this process at which a submission has not ended.
func WaitingAt(s *Slots) int {
	hosts, ok := s.sys.nodes.(*inProcess)
	if !ok {
		return 0
	}
	n := 0
	for _, h := range hosts.hosts {
		h.node.mu.Lock()
		if c := h.node.mu.inbound[inboundKey{s.sys.mesh.Incarnation(), s.seq}]; c != nil && c.ctx.Err() == nil {
			n++
		}
		h.node.mu.Unlock()
	}
	return n
}

// TableHash is what the nodes of a system compare.
func TableHash(s *System) uint64 { return s.table.hash }
