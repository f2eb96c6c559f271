// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package hostshm

// Forge makes the member's token another, and at the second call itself again.
func (p *Port) Forge() {
	o := &p.line(p.rank).origin
	o.token[0].Store(^o.token[0].Load())
}
