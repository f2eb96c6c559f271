// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

// OpenLane opens a lane to a node over whatever the transport is, and returns why it could not.
func OpenLane(m *Mesh, to NodeID) error {
	_, err := m.openLane(to)
	return err
}
