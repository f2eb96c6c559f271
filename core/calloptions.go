// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"fmt"

	"github.com/tutti-go/tutti/internal/plan"
	"github.com/tutti-go/tutti/internal/wire"
)

// CallOption configures a submission; see Submit. Of options that contradict each other the last one counts.
type CallOption interface{ applyCall(*callConfig) }

// callConfig is what the options of one submission say.
type callConfig struct {
	policy     Policy
	quorum     int // actors that must be submitted to; 0 unless the policy is quorum
	cast       bool
	acked      bool // of a cast: the nodes tell when they have it
	idempotent bool
	fanOut     int // 0: the system's
}

// Policy says what a failed submission does to the rest of its batch. It is a CallOption.
type Policy uint8

const (
	// FailFast stops at the first node that a batch cannot be submitted to. What was submitted stays submitted. It is the default.
	FailFast Policy = iota
	// BestEffort submits to every node that can be reached. The slots of the others hold the error.
	BestEffort
)

func (p Policy) applyCall(c *callConfig) { c.policy, c.quorum = p, 0 }

type quorumOption int

func (q quorumOption) applyCall(c *callConfig) { c.policy, c.quorum = BestEffort, int(q) }

// Quorum submits to every node that can be reached, like BestEffort. The submission succeeds if at least m actors were submitted to, and fails
// otherwise with an error that says how many were and wraps the first reason; those stay submitted. m must be between 1 and the
// number of actors. Whether the calls succeed is told by the slots alone.
func Quorum(m int) CallOption { return quorumOption(m) }

type castOption struct{}

func (castOption) applyCall(c *callConfig) { c.cast = true }

// NoReply makes the call a cast: no answer travels. The slots succeed with the zero value as soon as the call was
// submitted; that it was submitted is all they say. It is delivered at most once, and not at all only if the actor, its node or the driver ends, its deadline
// passes, or the actor's mailbox or node has no room: a relay that dies on the way loses nothing. What fails at the actor afterwards is logged at its node and counted; see System.NodeStats. The end
// of the context cancels a cast only until it is submitted; its deadline travels.
func NoReply() CallOption { return castOption{} }

type idempotentOption struct{}

func (idempotentOption) applyCall(c *callConfig) { c.idempotent = true }

// Idempotent says that running the call more than once does no harm. If its actor dies, or its node is lost, before it has answered, and the actor is made
// anew - see Restarts - the call then runs on the new incarnation instead of failing with ErrActorDead or ErrNodeLost. At most one of the runs is
// answered. It says nothing of a cast whose node is lost: that is not sent again.
func Idempotent() CallOption { return idempotentOption{} }

// FanOutOption is what FanOut returns: an option of a system, or of one call.
type FanOutOption int

func (k FanOutOption) applyCall(c *callConfig) { c.fanOut = int(k) }

func (k FanOutOption) apply(c *config) { c.fanOut, c.fanOutSet = int(k), true }

// FanOut bounds how many messages the driver, and every relay, sends to other hosts for one batch, and so how often an argument leaves
// one host. Beyond it the hosts form a tree. It must be 2 at least. By default it is 16, and 4 for an argument that travels as an object: more
// makes the tree flatter and an argument leave its host more slowly. Given to a call it holds for that call, in place of the system's.
func FanOut(k int) FanOutOption { return FanOutOption(k) }

// configure reads options, and returns the targets as they are placed at present, for which it may have to wait.
func (t *Targets) configure(ctx context.Context, opts []CallOption) (*Targets, callConfig, error) {
	c, err := newCallConfig(t, opts)
	if err == nil {
		t, err = t.now(ctx)
	}
	return t, c, err
}

func newCallConfig(t *Targets, opts []CallOption) (c callConfig, err error) {
	for _, o := range opts {
		if o == nil {
			return c, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		o.applyCall(&c)
		if k, ok := o.(FanOutOption); ok && k < plan.MinFanOut {
			return c, fmt.Errorf("%w: FanOut(%d), must be %d at least", ErrInvalid, int(k), plan.MinFanOut)
		}
		if q, ok := o.(quorumOption); ok && (q < 1 || int(q) > len(t.ids)) {
			return c, fmt.Errorf("%w: Quorum(%d), must be between 1 and the number of actors, %d", ErrInvalid, int(q), len(t.ids))
		}
	}
	return c, nil
}

// flags are what the nodes need to know.
func (c *callConfig) flags() wire.CallFlags {
	var f wire.CallFlags
	if c.cast {
		f |= wire.CallCast
	}
	if c.acked {
		f |= wire.CallAcked
	}
	if c.idempotent {
		f |= wire.CallIdempotent
	}
	return f
}
