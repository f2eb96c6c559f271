// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	"github.com/tutti-go/tutti/core"
)

// maxInFlight bounds InFlight. More than an actor's mailbox holds is never useful.
const maxInFlight = 1 << 16

// maxQueue bounds Queue.
const maxQueue = 1 << 30

// Option configures a pool; see New.
type Option interface{ apply(*options) }

type options struct {
	inFlight int
	queue    int // 0: as many as may be in flight
	replace  any // a ReplaceFunc, or nil
	elastic  *elastic
	report   *reporter

	quarantine time.Duration
	reportDead bool
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// InFlight lets each actor have up to k calls of the pool at a time, 1 by default: one that runs, if the actor runs one at a time, and the rest in its
// mailbox, so that it need not wait for the next. No actor gets a second call before every other has its first. k
// must be between 1 and 65536 and should not exceed the actors' mailbox, or calls fail with core.ErrMailboxFull.
func InFlight(k int) Option { return optionFunc(func(o *options) { o.inFlight = k }) }

// Queue bounds the calls that wait for an actor: Submit blocks while n wait. A Map keeps up to n results and inputs beyond what may
// be in flight, so a larger n lets it run further ahead of a slow actor, and costs memory for n inputs or results. The default is the number of calls that
// may be in flight, InFlight times the actors given to New. n must be between 1 and 2^30.
func Queue(n int) Option {
	return optionFunc(func(o *options) {
		o.queue = n
		if n == 0 {
			o.queue = -1 // asked for, and out of range
		}
	})
}

// maxDead bounds what ReportDead remembers.
const maxDead = 1024

// ReportDead makes BatchRemote include the actors that the pool has lost and that were not replaced, up to 1024 of them, the latest, so that a call to all
// says who is missing: their slots fail with core.ErrActorDead or core.ErrNodeLost. Use it with batch.BestEffort or
// batch.Quorum: under batch.FailFast a lost node ends the submission. Without it they are left out.
func ReportDead() Option { return optionFunc(func(o *options) { o.reportDead = true }) }

// CallOption configures one call, or all calls of a Map.
type CallOption interface{ applyCall(*callOptions) }

type callFlag uint8

func (f callFlag) applyCall(o *callOptions) { o.idempotent = o.idempotent || f == Idempotent }

// Idempotent says that running the call more than once does no harm. If its actor is killed or its node lost while it runs, it is sent to
// another, up to three times in all: a call that takes its actors down with it does not go through the whole pool.
const Idempotent = callFlag(1)

type hedge time.Duration

func (h hedge) applyCall(o *callOptions) {
	o.idempotent, o.hedged, o.hedge = true, true, time.Duration(h)
}

// Hedge makes a call Idempotent, and sends it to a second actor too if the first has not answered after the given time and another is
// free. The first answer counts, and the other actor is asked to stop. It helps against actors that are slow now and then; after should be
// longer than most calls take (see Stats), and must be positive.
func Hedge(after time.Duration) CallOption { return hedge(after) }

// callOptions are the options of a call.
type callOptions struct {
	idempotent bool
	hedged     bool
	hedge      time.Duration
}

func newCallOptions(opts []CallOption) (callOptions, error) {
	if len(opts) == 0 {
		return callOptions{}, nil // o would be allocated
	}
	var o callOptions
	for _, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("pool: %w: nil option", core.ErrInvalid)
		}
		opt.applyCall(&o)
	}
	if o.hedged && o.hedge <= 0 {
		return o, fmt.Errorf("pool: %w: Hedge(%v), must be positive", core.ErrInvalid, o.hedge)
	}
	return o, nil
}

func newOptions(opts []Option) (options, error) {
	o := options{inFlight: 1, quarantine: defaultQuarantine}
	for _, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("pool: %w: nil option", core.ErrInvalid)
		}
		opt.apply(&o)
	}
	if o.elastic != nil {
		if err := o.elastic.check(); err != nil {
			return o, err
		}
	}
	if o.report != nil {
		if err := o.report.check(); err != nil {
			return o, err
		}
	}
	if err := checkQuarantine(o.quarantine); err != nil {
		return o, err
	}
	switch {
	case o.inFlight < 1 || o.inFlight > maxInFlight:
		return o, fmt.Errorf("pool: %w: InFlight(%d), must be between 1 and %d", core.ErrInvalid, o.inFlight, maxInFlight)
	case o.queue < 0 || o.queue > maxQueue:
		return o, fmt.Errorf("pool: %w: Queue must be between 1 and %d", core.ErrInvalid, maxQueue)
	}
	return o, nil
}
