// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package scope carries, in the context of a running call, what the packages of this
// module may reach of the actor and the node that run it. It is how package collective finds
// the links of its node without package core exporting them.
//
//	s, ok := scope.From(ctx) // ok is false outside an actor's call
//	hub := s.Node.Value(hubKey{}, newHub).(*hub)
//
// A Scope lives as long as its actor, a Node as long as its node. All methods may be
// called from many goroutines.
package scope
