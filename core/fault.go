// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// faultCodes pairs the sentinels that cross a link with their codes. An error gets the code of the first that it matches.
//
//nolint:gochecknoglobals // never written: a table
var faultCodes = []struct {
	err  error
	code wire.FaultCode
}{
	{ErrReadOnly, wire.FaultReadOnly},
	{ErrActorDead, wire.FaultNoActor},
	{ErrNoMethod, wire.FaultNoMethod},
	{ErrMailboxFull, wire.FaultMailboxFull},
	{ErrTooLarge, wire.FaultTooLarge},
	{ErrNoSpace, wire.FaultNoSpace},
	{ErrEncode, wire.FaultEncode},
	{ErrDecode, wire.FaultDecode},
	{ErrObjectLost, wire.FaultObjectLost},
	{ErrClosed, wire.FaultClosed},
	{ErrBuild, wire.FaultBuild},
	{ErrNoKind, wire.FaultNoKind},
	{ErrNodeLost, wire.FaultNodeLost},
	{context.Canceled, wire.FaultCanceled},
	{context.DeadlineExceeded, wire.FaultDeadline},
}

// panicError is a recovered panic.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprint(e.value) }

// maxText bounds the text and the stack of an error that travels, in bytes each.
const maxText = 64 << 10

// clip shortens a text to what may travel.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

// faultOf makes an error ready to travel. An error may be of the actor's own making, such as a nil pointer in an error: what it
// says must not take the node down.
func faultOf(err error) (f wire.Fault) {
	defer func() {
		if r := recover(); r != nil {
			if own, ok := errors.AsType[*methodError](err); ok {
				err = own.err
			}
			f = wire.Fault{Own: true, Message: clip(fmt.Sprintf("an error of type %T, which panicked when it was asked what it says: %v", err, r))}
		}
	}()
	f = wire.Fault{Message: clip(err.Error())}
	if p, ok := errors.AsType[*panicError](err); ok {
		f.Code, f.Stack = wire.FaultPanic, clip(p.stack)
		return f
	}
	if own, ok := errors.AsType[*methodError](err); ok {
		f.Own, f.Is = true, registeredIn(own.err)
	} else {
		f.Is = registeredIn(err)
	}
	for _, c := range faultCodes {
		if errors.Is(err, c.err) {
			f.Code = c.code
			return f
		}
	}
	return f
}

// registeredIn returns the texts of the errors made by NewError that err matches.
func registeredIn(err error) []string {
	registry.Lock()
	defer registry.Unlock()
	var texts []string
	for text, sentinel := range registry.errors {
		if errors.Is(err, sentinel) {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// sentinelsOf returns what an error that came over a link matches.
func sentinelsOf(f wire.Fault) []error {
	var is []error
	for _, c := range faultCodes {
		if c.code == f.Code {
			is = append(is, c.err)
		}
	}
	registry.Lock()
	defer registry.Unlock()
	for _, text := range f.Is {
		if err := registry.errors[text]; err != nil {
			is = append(is, err)
		}
	}
	return is
}

// ended returns why ctx has ended, or nil while it has not: its error, and its cause if that is another.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// remoteError is an error that came over a link: its text, and what it matches.
type remoteError struct {
	message string
	is      []error
}

func (e *remoteError) Error() string   { return e.message }
func (e *remoteError) Unwrap() []error { return e.is }

// faultError is the error of a slot whose call failed at its node.
func faultError(f wire.Fault, actor ActorID, kind, method string) error {
	is := sentinelsOf(f)
	if f.Own || f.Code == wire.FaultPanic || f.Code == wire.FaultReadOnly {
		return &ActorError{Actor: actor, Kind: kind, Method: method, Message: f.Message, Stack: f.Stack, is: is}
	}
	return &CallError{Actor: actor, Kind: kind, Method: method, Err: &remoteError{f.Message, is}}
}

// sendError gives the failure to send to a node the package's sentinel.
func sendError(err error) error {
	var lost *mesh.LostError
	switch {
	case errors.As(err, &lost):
		return fmt.Errorf("%w: %w", ErrNodeLost, err)
	case errors.Is(err, mesh.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, link.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// newPanicError is called by a deferred function, while the stack of the panic is still there.
func newPanicError(value any) error { return &panicError{value: value, stack: string(debug.Stack())} }
