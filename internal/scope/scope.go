// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"context"
	"slices"
	"sync"

	"github.com/tutti-go/tutti/internal/mesh"
)

// Node is a node as seen by the calls that it runs.
type Node struct {
	Mesh *mesh.Mesh
	Dir  string // of the system on this machine, for files that go with it; empty if there is none

	Store any    // the *arrowstore.Store of the node, and perhaps of others of its process; nil if it has none
	Host  string // identity of the host, whose nodes read each other's stores

	mu struct {
		sync.Mutex
		values map[any]any
	}
}

// Value returns the value kept under key for the life of the node. The first request makes it; create must not
// ask for a value itself.
func (n *Node) Value(key any, create func(*Node) any) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v, ok := n.mu.values[key]; ok {
		return v
	}
	v := create(n)
	if n.mu.values == nil {
		n.mu.values = map[any]any{}
	}
	n.mu.values[key] = v
	return v
}

// Scope is an actor as seen by its own calls.
type Scope struct {
	Actor uint64 // the actor's identity, as in core.ActorID
	Node  *Node

	mu struct {
		sync.Mutex
		ended   error // why; nil while the actor lives
		onEnd   []func(reason error)
		onPanic []func(reason error)
	}
}

// OnEnd calls fn when the actor ends: killed, dead of a panic, or its node shut down. If it has ended already, fn runs
// at once. fn must not block.
func (s *Scope) OnEnd(fn func(reason error)) {
	s.mu.Lock()
	ended := s.mu.ended
	if ended == nil {
		s.mu.onEnd = append(s.mu.onEnd, fn)
	}
	s.mu.Unlock()
	if ended != nil {
		fn(ended)
	}
}

// End runs what was given to OnEnd. Only the first call has an effect. reason must not be nil.
func (s *Scope) End(reason error) {
	s.mu.Lock()
	fns := s.mu.onEnd
	if s.mu.ended == nil {
		s.mu.ended = reason
	}
	s.mu.onEnd, s.mu.onPanic = nil, nil
	s.mu.Unlock()
	for _, fn := range fns {
		fn(reason)
	}
}

// OnPanic calls fn whenever a method of the actor panics, or never returns, without being the actor's end. fn must not block.
func (s *Scope) OnPanic(fn func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.ended == nil {
		s.mu.onPanic = append(s.mu.onPanic, fn)
	}
}

// Panicked runs what was given to OnPanic.
func (s *Scope) Panicked(reason error) {
	s.mu.Lock()
	fns := slices.Clone(s.mu.onPanic)
	s.mu.Unlock()
	for _, fn := range fns {
		fn(reason)
	}
}

type key struct{}

// IsKey reports whether key is what From looks up, for contexts that answer it themselves with a *Scope.
func IsKey(k any) bool { return k == key{} }

// With returns a context in which From finds s.
func With(ctx context.Context, s *Scope) context.Context { return context.WithValue(ctx, key{}, s) }

// From returns the scope of the actor whose call runs under ctx.
func From(ctx context.Context) (*Scope, bool) {
	s, ok := ctx.Value(key{}).(*Scope)
	return s, ok
}
