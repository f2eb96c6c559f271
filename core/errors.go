// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart with errors.Is. They arrive wrapped in an error that says
// which actor, node, method or field is meant.
var (
	// ErrClosed says that the system is shut down or shutting down.
	ErrClosed = errors.New("system is shut down")
	// ErrNoKind says that a kind is not registered, or was registered after the system started.
	ErrNoKind = errors.New("kind is not registered")
	// ErrNoMethod says that a method is not registered with the actors' kind.
	ErrNoMethod = errors.New("method is not registered")
	// ErrNoActors says that a batch, a pool or a group was asked for with no actors in it.
	ErrNoActors = errors.New("no actors")
	// ErrMixed says that the actors of one batch differ in kind or belong to different systems.
	ErrMixed = errors.New("actors do not belong together")
	// ErrInvalid says that an argument or an option is outside its bounds; nothing was done.
	ErrInvalid = errors.New("invalid argument")
	// ErrEncode says that a value cannot be encoded. The text names its type, the path within it, and the reason.
	ErrEncode = errors.New("value cannot be encoded")
	// ErrDecode says that a received value does not fit the type that was asked for.
	ErrDecode = errors.New("value cannot be decoded")
	// ErrTooLarge says that a value or a batch exceeds a bound; nothing was sent.
	ErrTooLarge = errors.New("too large")
	// ErrNoSpace says that the object store has no room for an argument or a result.
	ErrNoSpace = errors.New("object store is full")
	// ErrNameTaken says that another actor has the name; nothing was made.
	ErrNameTaken = errors.New("name is taken")
	// ErrNoName says that no actor has the name.
	ErrNoName = errors.New("no actor has this name")
	// ErrActorDead says that the actor was killed, or never existed on its node.
	ErrActorDead = errors.New("actor is dead")
	// ErrMadeAnew comes with ErrActorDead or ErrNodeLost if the actor will be, or is, made anew: later calls reach it. See Restarts.
	ErrMadeAnew = NewError("the actor is made anew")
	// ErrNodeLost says that the node of the actor is gone: its process ended or fell silent. Whether the
	// call ran there is unknown.
	ErrNodeLost = errors.New("node is lost")
	// ErrNotSubmitted says that a call was never sent, because an earlier submission of the same batch failed.
	ErrNotSubmitted = errors.New("call was not submitted")
	// ErrMailboxFull says that an actor's mailbox had no room; the call did not run.
	ErrMailboxFull = errors.New("mailbox is full")
	// ErrObjectLost says that an object which the call needs is gone: released, or lost with its node.
	ErrObjectLost = errors.New("object is lost")
	// ErrReadOnly says that a method wrote to an argument that it shares with other actors. The call failed,
	// the data is unharmed.
	ErrReadOnly = errors.New("write to a read-only view")
	// ErrBuild says that two processes run different builds: their kinds or methods differ.
	ErrBuild = errors.New("different builds")
	// ErrNodeRole says that a process that was started as a node tried to start a system of its own. The
	// program must call Main or ServeNode first thing.
	ErrNodeRole = errors.New("this process was started as a node")
)

// NewError returns a sentinel error that crosses between processes as itself: if a method returns an error that matches it, so does
// the *ActorError at the caller. It is called at package level, like Register, so that all processes agree:
//
//	var ErrStale = core.NewError("worker: model is stale")
//
// The text is the identity of the error. NewError panics with a *RegisterError if it is empty or taken.
func NewError(text string) error {
	registry.Lock()
	defer registry.Unlock()
	if text == "" || registry.errors[text] != nil {
		panic(&RegisterError{text, "an error made with NewError needs a text of its own"})
	}
	if registry.errors == nil {
		registry.errors = map[string]error{}
	}
	err := errors.New(text)
	registry.errors[text] = err
	return err
}

// RegisterError is what Register panics with. It says how to mend the registration.
type RegisterError struct {
	Kind   string // or the text of an error
	Reason string
}

// Error implements error.
func (e *RegisterError) Error() string {
	return fmt.Sprintf("core: register %q: %s", e.Kind, e.Reason)
}

// ActorError is an actor's own error: its method or constructor returned it, or panicked. It is told apart
// from failures on the way by errors.As; everything else that a call can fail with matches one of the
// package's sentinels. If the method failed with a context error or a sentinel made with NewError, the ActorError matches it too.
type ActorError struct {
	Actor   ActorID
	Kind    string
	Method  string // empty if the constructor failed
	Message string
	Stack   string  // of the panic; empty if the method returned an error
	is      []error // what it matches
}

// Error implements error. The stack is not part of the text.
func (e *ActorError) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind)
	if e.Method != "" {
		b.WriteString("." + e.Method)
	}
	fmt.Fprintf(&b, " on actor %v", e.Actor)
	if e.Stack != "" {
		b.WriteString(" panicked")
	}
	return b.String() + ": " + e.Message
}

// Unwrap returns what the error matched where it came from: context.Canceled or context.DeadlineExceeded, sentinels made with
// NewError, and ErrReadOnly if the method wrote to a read-only view.
func (e *ActorError) Unwrap() []error { return e.is }

// CallError says which call failed on the way to an actor or back. It wraps the reason, which matches one of the
// package's sentinels or a context error.
type CallError struct {
	Actor  ActorID
	Kind   string
	Method string
	Err    error
}

// Error implements error.
func (e *CallError) Error() string {
	return fmt.Sprintf("call %s.%s on actor %v: %v", e.Kind, e.Method, e.Actor, e.Err)
}

// Unwrap returns the reason.
func (e *CallError) Unwrap() error { return e.Err }

// SpawnError says which actors of a Spawn could not be created. None of the others was kept.
type SpawnError struct {
	Kind  string
	Count int // actors asked for
	// Failed is the reason by index of the actor. Each node reports as many as fit into 1 MiB, and one at least.
	Failed map[int]error
}

// Error implements error. It shows the first failure and the count.
func (e *SpawnError) Error() string {
	first := e.Count
	for i := range e.Failed {
		first = min(first, i)
	}
	return fmt.Sprintf("spawn %d actors of kind %q: %d failed, the first is number %d: %v", e.Count, e.Kind, len(e.Failed), first, e.Failed[first])
}

// Unwrap returns all reasons.
func (e *SpawnError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for i := range e.Count {
		if err := e.Failed[i]; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
