// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/scope"
	"github.com/tutti-go/tutti/internal/wire"
)

const (
	// firstBackoff is how long an actor that dies a second time stays dead. Every further death doubles it, up to maxBackoff.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// backoff is how long an actor waits after its n-th death, counted from 1.
func backoff(n int) time.Duration {
	if n < 2 {
		return 0
	}
	return min(firstBackoff<<min(n-2, 16), maxBackoff)
}

// incarnation is one life of an actor: what its constructor made, until it dies.
type incarnation struct {
	node   *node
	impl   any
	scope  *scope.Scope
	ctx    context.Context //nolint:containedctx // ends with the life; parent of its calls' contexts
	cancel context.CancelCauseFunc

	running int // workers that serve; guarded by the actor
}

// blueprint is a configuration that actors are made of anew, with the object that it lies in, if any, until the last of them has ended.
type blueprint struct {
	value codec.Value
	obj   *arrowstore.Object
	users atomic.Int64
}

func (b *blueprint) done() {
	if b.users.Add(-1) == 0 && b.obj != nil {
		b.obj.Release()
	}
}

// build runs the kind's constructor on a configuration of the actor's own. A panic is an error of that actor.
func (a *actor) build(ctx context.Context, cfg codec.Value) (_ *incarnation, err error) {
	life := &incarnation{node: a.node, scope: &scope.Scope{Actor: uint64(a.id), Node: a.node.scope}, ctx: a.ctx, cancel: a.cancel}
	if a.restarts > 0 {
		life.ctx, life.cancel = context.WithCancelCause(a.ctx)
	}
	built := false
	defer func() {
		if r := recover(); r != nil {
			err = newPanicError(r)
		}
		if !built {
			life.end(ErrActorDead)
		}
	}()
	if life.impl, err = a.kind.construct(scope.With(ctx, life.scope), a.node.codec, cfg, codec.Copy); err != nil {
		return nil, err
	}
	if life.impl == nil {
		return nil, &methodError{errors.New("the constructor returned neither an actor nor an error")}
	}
	built = true
	return life, nil
}

func (l *incarnation) end(reason error) {
	l.cancel(reason)
	l.scope.End(reason)
}

// cutOff reports whether a call failed because the life has ended, and not by itself.
func (l *incarnation) cutOff(err error) bool {
	_, own := errors.AsType[*methodError](err)
	return err != nil && !own && l.ctx.Err() != nil && errors.Is(err, context.Cause(l.ctx))
}

// die ends a life, after a panic or a Goexit. The actor is made anew if it may be; what waits for it runs then if it is idempotent,
// and fails otherwise.
func (a *actor) die(life *incarnation, cause string) {
	reason := fmt.Errorf("%w: %s", ErrActorDead, cause)
	a.mu.Lock()
	if a.mu.life != life {
		a.mu.Unlock()
		return // another call has ended it
	}
	a.mu.life = nil
	a.mu.deaths++
	deaths := a.mu.deaths
	var waiting []item
	if deaths <= a.restarts {
		reason = fmt.Errorf("%w: %w: %s", ErrActorDead, ErrMadeAnew, cause)
		waiting = a.dropLocked(func(it *item) bool { return !it.call.idempotent })
	}
	a.mu.Unlock()
	life.end(reason)
	a.node.log.Warn("an actor has died", "kind", a.kind.name, "actor", a.id, "deaths", deaths, "restarts", a.restarts, "cause", cause)
	a.report(deaths)
	if deaths > a.restarts {
		a.node.remove(a, reason)
		return
	}
	for _, it := range waiting {
		it.call.finish(it.slot, codec.Value{}, reason)
	}
	if !a.node.begin(a.revive) {
		a.node.remove(a, reason)
	}
}

// report tells the driver of a death, before it sees the answers of the calls that died with the actor.
func (a *actor) report(deaths int) {
	d := wire.Death{Actor: a.id.Serial(), Deaths: uint32(deaths), Final: deaths > a.restarts}
	h := wire.Header{Kind: wire.KindDeath}
	if err := a.node.mesh.Send(a.node.ctx, driverNode, &h, d.Append(nil)); err != nil && a.node.ctx.Err() == nil {
		a.node.log.Debug("the driver does not hear of a death", "actor", a.id, "err", err)
	}
}

// dropLocked takes calls that wait out of the mailbox.
func (a *actor) dropLocked(match func(*item) bool) []item {
	var dropped []item
	keep := a.mu.queue[:0]
	for _, it := range a.mu.queue[a.mu.head:] {
		if match(&it) {
			dropped = append(dropped, it)
		} else {
			keep = append(keep, it)
		}
	}
	clear(a.mu.queue[len(keep):])
	a.mu.queue, a.mu.head = keep, 0
	return dropped
}

// revive makes the actor anew. A constructor that fails is another death.
func (a *actor) revive() {
	for {
		a.mu.Lock()
		deaths := a.mu.deaths
		a.mu.Unlock()
		wait := time.NewTimer(backoff(deaths))
		select {
		case <-wait.C:
		case <-a.ctx.Done(): // killed, or the node ends
			wait.Stop()
			return
		}
		life, err := a.tryBuild()
		if err == nil {
			a.node.counters.restarts.Add(1)
			a.live(life)
			return
		}
		a.node.log.Warn("an actor could not be made anew", "kind", a.kind.name, "actor", a.id, "deaths", deaths+1, "err", err)
		a.mu.Lock()
		a.mu.deaths++
		deaths, final := a.mu.deaths, a.mu.deaths > a.restarts
		a.mu.Unlock()
		a.report(deaths)
		if final {
			a.node.remove(a, fmt.Errorf("%w: it could not be made anew: %s", ErrActorDead, clip(err.Error())))
			return
		}
	}
}

// tryBuild is build on a goroutine of its own, which a constructor may end.
func (a *actor) tryBuild() (*incarnation, error) {
	type built struct {
		life *incarnation
		err  error
	}
	done := make(chan built, 1)
	go func() {
		b := built{err: &methodError{errGoexit}}
		defer func() { done <- b }()
		b.life, b.err = a.build(a.ctx, a.blueprint.value)
	}()
	b := <-done
	return b.life, b.err
}

// live puts a life into service and starts what waits for it.
func (a *actor) live(life *incarnation) {
	a.mu.Lock()
	if a.mu.dead {
		a.mu.Unlock()
		life.end(ErrActorDead)
		return
	}
	a.mu.life = life
	for life.running < a.concurrency {
		it, ok := a.takeLocked()
		if !ok {
			break
		}
		life.running++
		a.node.workers.run(turn{a, it, a.activateLocked(it, life)})
	}
	a.mu.Unlock()
}

// again runs an idempotent call that its actor's death has cut off on the next life, before what waits, and reports false if there will be none.
func (a *actor) again(it item) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.dead {
		return false
	}
	if life := a.mu.life; life != nil && life.running < a.concurrency { // nothing waits
		life.running++
		a.node.workers.run(turn{a, it, a.activateLocked(it, life)})
		return true
	}
	a.mu.queue = append([]item{it}, a.mu.queue[a.mu.head:]...)
	a.mu.head = 0
	return true
}
