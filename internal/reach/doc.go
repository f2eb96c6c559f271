// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package reach says how a process is reached from other machines, and how it reaches them: addresses, TLS, the secret
// that all processes of one system know, and which host it is on.
//
//	var n reach.Network
//	err := errors.Join(n.ReadEnv(os.Getenv), n.Check())
//	t, err := n.Transport()
//	l, addr, err := n.Open(t, "10.0.0.7") // addr is what others are to be told
//
// Concurrency: a Network is for one goroutine while it changes.
//
// Failure: errors name the variable or the address, and what is wrong with it; none matches an error of this package.
package reach
