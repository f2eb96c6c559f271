// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

// Connections returns how many other nodes the member's node is connected to.
func (g *Group) Connections() int { return g.s.hub.mesh.Peers() }
