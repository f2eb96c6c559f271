// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster is the control plane between a driver and its nodes: nodes join over
// gRPC, the driver asks them to spawn actors and to shut down, and each side learns when the
// other is gone. [Launch] starts node processes on this machine.
//
//	srv := cluster.Serve(ctx, cluster.ServerConfig{Listener: l, Secret: secret, Admit: admit})
//	defer srv.Close()
//	session, err := srv.Wait(ctx, 3) // node 3 has joined
//	reply, err := session.Do(ctx, request)
//
// Concurrency: all methods may be called from many goroutines; requests to one node run side
// by side.
//
// Failure: a session ends with the node's process, with silence longer than [Heartbeat]'s
// timeout, or with Close. Requests under way then fail with [ErrSessionEnded], and Done closes. A node
// that does not read blocks nobody for longer than their contexts, and is silent.
//
// Memory: messages belong to whoever receives them; a request must not be changed once it is sent.
//
// Test kit: none; a listener in memory will do, also under testing/synctest.
package cluster
