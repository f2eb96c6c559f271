// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import "github.com/tutti-go/tutti/internal/link"

// OpenLane opens a lane to a node over whatever the transport is, and returns why it could not.
func OpenLane(m *Mesh, to NodeID) error {
	_, err := m.openLane(to)
	return err
}

// BurstOf returns a burst that holds frames on connections.
func BurstOf(m *Mesh, held []link.Holder) *Burst {
	b := m.Burst(len(held))
	b.held = append(b.held, held...)
	return b
}
