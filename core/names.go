// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"
	"reflect"
)

// maxName bounds the length of an actor's name, in bytes.
const maxName = 256

// Named gives the actor a name by which Lookup finds it. Names belong to the system, whatever the kind. The Spawn must be of one actor, and fails with
// ErrNameTaken while another has the name: until that has ended for good, see Restarts. The name is of 1 to 256 bytes.
func Named(name string) SpawnOption {
	return spawnFunc(func(c *spawnConfig) { c.name, c.named = name, true })
}

// named is what a name stands for.
type named struct {
	id   ActorID
	kind *kind // nil until the actor is there
}

// reserve takes a name for an actor that is about to be made.
func (s *System) reserve(name string) error {
	s.names.Lock()
	defer s.names.Unlock()
	if n, ok := s.names.of[name]; ok {
		if n.kind == nil {
			return fmt.Errorf("%w: %q, by an actor that is being made", ErrNameTaken, name)
		}
		return fmt.Errorf("%w: %q, by actor %v of kind %q", ErrNameTaken, name, n.id, n.kind.name)
	}
	s.names.of[name] = named{}
	return nil
}

// assign gives a reserved name to an actor, or gives it back if k is nil.
func (s *System) assign(name string, id ActorID, k *kind) {
	s.names.Lock()
	defer s.names.Unlock()
	if k == nil {
		delete(s.names.of, name)
		return
	}
	s.names.of[name] = named{id, k}
}

// unname takes the names of actors that are gone back.
func (s *System) unname(gone func(ActorID) bool) {
	s.names.Lock()
	defer s.names.Unlock()
	for name, n := range s.names.of {
		if n.kind != nil && gone(n.id) {
			delete(s.names.of, name)
		}
	}
}

// dropIfLost takes the name of an actor back that was lost before it had it.
func (s *System) dropIfLost(id ActorID) {
	s.members.Lock()
	alive := s.members.residentLocked(id) != nil
	s.members.Unlock()
	if !alive {
		s.unname(func(other ActorID) bool { return other == id })
	}
}

// Lookup returns a handle of the actor that was spawned with Named(name). Errors: ErrNoName if there is none, or it is still being made; ErrInvalid if
// its kind is not of actors of type A; ErrClosed; the context's.
func Lookup[A any](ctx context.Context, sys *System, name string) (*Handle[A], error) {
	err := ended(ctx)
	if err == nil {
		err = sys.err()
	}
	if err != nil {
		return nil, fmt.Errorf("look %q up: %w", name, err)
	}
	sys.names.Lock()
	n, ok := sys.names.of[name]
	sys.names.Unlock()
	if !ok || n.kind == nil {
		return nil, fmt.Errorf("look %q up: %w", name, ErrNoName)
	}
	if want := reflect.TypeFor[A](); n.kind.actor != want {
		return nil, fmt.Errorf("look %q up: %w: actor %v is of kind %q, of %v, not %v", name, ErrInvalid, n.id, n.kind.name, n.kind.actor, want)
	}
	return &Handle[A]{n.id, n.kind, sys}, nil
}
