// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
)

// How long members wait, unless the group was made with other options.
const (
	DefaultTimeout = 10 * time.Minute
	DefaultStall   = 30 * time.Second
	DefaultSilence = 2 * time.Second
)

// Option changes a group at its creation.
type Option interface {
	ConnectOption
	apply(*bounds)
}

type optionFunc func(*bounds)

func (f optionFunc) apply(b *bounds)       { f(b) }
func (f optionFunc) connect(c *connecting) { f(&c.bounds) }

// Timeout bounds each operation on the group whose context has no deadline of its own, however well it goes on. It must be
// positive. Default: DefaultTimeout, 10 minutes.
func Timeout(d time.Duration) Option { return optionFunc(func(b *bounds) { b.Timeout = d }) }

// Stall bounds how long an operation on the group may wait while nothing moves, neither at the member nor at the one that it waits for
// in the end; so it is also how long members wait for one that computes and has not called the operation. A slow transfer that
// goes on is not ended by it. It must be positive. Default: DefaultStall, 30 s, and only for operations whose context has no
// deadline; if given, it holds for all.
func Stall(d time.Duration) Option {
	return optionFunc(func(b *bounds) { b.Stall, b.Strict = d, true })
}

// Silence is how long the node of a member may leave the questions of those who wait for it without an answer, before it counts
// as lost: its process is stopped, or cut off. A node answers while its actors compute, so this has nothing to do with how long
// they take; but one that has no processor for so long is taken for lost. It must be positive. Default: DefaultSilence, 2 s. It is
// counted in turns of the member that waits, so that one that was itself stopped or starved accuses nobody.
func Silence(d time.Duration) Option { return optionFunc(func(b *bounds) { b.Silence = d }) }

// boundsOf applies options to the defaults.
func boundsOf(name string, opts []Option) (bounds, error) {
	b := bounds{Timeout: DefaultTimeout, Stall: DefaultStall, Silence: DefaultSilence}
	for _, o := range opts {
		if o == nil {
			return b, fmt.Errorf("%w: group %q: nil option", ErrArgument, name)
		}
		o.apply(&b)
	}
	return b, nil
}

// Group is one epoch of a group of actors, seen by a member or by its creator. It may be used from many goroutines.
type Group struct {
	s       *session
	m       *member                                                // nil at the creator
	handles any                                                    // at the creator: []*core.Handle[A]
	again   func(ctx context.Context, ranks []int) (*Group, error) // at the creator: makes the next epoch of some of its members

	targets  func() (*core.Targets, error) // at the creator: the members, for operations over references
	ordering chan struct{}                 // holds one while such an operation runs
}

// FromContext returns the group of the given name that the actor was put into, by the latest NewGroup, Shrink or Split that gave it
// that name. ctx must be one of the actor's call. The group may have failed: then operations on it say why. Errors:
// ErrOutside, ErrNoGroup, ErrClosed.
func FromContext(ctx context.Context, name string) (*Group, error) {
	sc, ok := scope.From(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: group %q", ErrOutside, name)
	}
	h := hubOf(ctx, sc.Node)
	h.mu.RLock()
	g := h.mu.joined[sc.Actor][name]
	h.mu.RUnlock()
	if g == nil {
		return nil, fmt.Errorf("%w: actor %x is in no group %q", ErrNoGroup, sc.Actor, name)
	}
	if end := g.s.ended(); end != nil && end.code == codeClosed {
		return nil, fmt.Errorf("%w: %q: %s", ErrClosed, name, end.text)
	}
	return g, nil
}

// Rank returns the member's number in the group, from 0, in the order of the handles given to NewGroup. The creator's is -1.
func (g *Group) Rank() int {
	if g.m == nil {
		return -1
	}
	return g.m.rank
}

// Size returns the number of members.
func (g *Group) Size() int { return len(g.s.members) }

// Epoch returns the epoch: 1 for the first group of its name, and higher with each NewGroup and Shrink of that name.
func (g *Group) Epoch() uint32 { return g.s.epoch }

// Name returns the name given to NewGroup, or made by Split.
func (g *Group) Name() string { return g.s.name }

// Done is closed when the group's epoch is over, also at the creator. Err then says why.
func (g *Group) Done() <-chan struct{} { return g.s.ctx.Done() }

// Err returns nil while the group's epoch lasts, and then an *Error with the reason and the ranks that failed.
func (g *Group) Err() error {
	if g.s.ended() == nil {
		return nil
	}
	return g.s.failure(g.Rank(), 0, "Err")
}

// Close ends the group for all its members, whose pending and later operations return an *Error that matches ErrClosed. A
// member or the creator may call it; once is enough. It returns when the notice has been sent: at once if the group is over
// already, for whatever reason. A group of Connect ends otherwise; see there. Errors: the context's; members that are lost are no error.
func (g *Group) Close(ctx context.Context) error {
	if g.m != nil && g.s.hub.world != nil && g.s.name == WorldName {
		return g.disconnect(ctx)
	}
	return g.s.close(ctx, g.who())
}

func (g *Group) who() string {
	if g.m == nil {
		return "its creator"
	}
	return fmt.Sprintf("rank %d", g.m.rank)
}

// close ends the epoch and tells the other nodes.
func (s *session) close(ctx context.Context, by string) error {
	end := &ending{code: codeClosed, text: fmt.Sprintf("%v by %s", ErrClosed, by)}
	if !s.finish(end) {
		return nil
	}
	body := end.encode()
	var all errgroup.Group // side by side: a node that does not listen must not keep the others from hearing
	for _, node := range s.audience(true) {
		all.Go(func() error {
			err := s.notice(ctx, node, body)
			if _, lost := errors.AsType[*mesh.LostError](err); err == nil || lost {
				return nil
			}
			return fmt.Errorf("collective: close group %q: %w", s.name, err)
		})
	}
	return all.Wait()
}
