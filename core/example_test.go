// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/core"
)

// Greeter is an actor.
type Greeter struct {
	greeting string
	count    int
}

// NewGreeter makes a Greeter on its node.
func NewGreeter(_ context.Context, greeting string) (*Greeter, error) {
	return &Greeter{greeting: greeting}, nil
}

// Greet greets, and counts. It needs no lock: an actor runs one call at a time.
func (g *Greeter) Greet(_ context.Context, name string) (string, error) {
	if name == "" {
		return "", errors.New("whom?")
	}
	g.count++
	return fmt.Sprintf("%s, %s! (%d)", g.greeting, name, g.count), nil
}

var greeters = core.Register("greeter", NewGreeter, core.Method((*Greeter).Greet))

// A program would be core.Main(greet, core.LocalNodes(8)).
func Example() {
	ctx := context.Background()
	sys, err := core.Start(ctx, core.InProcess(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := greet(ctx, sys); err != nil {
		fmt.Println(err)
	}
	if err := sys.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Hello, Ada! (1)
	// Hello, Bob! (2)
	// greeter.Greet on actor 2/0: whom?
}

func greet(ctx context.Context, sys *core.System) error {
	actors, err := greeters.Spawn(ctx, sys, 2, "Hello")
	if err != nil {
		return err
	}
	ada := core.Call(ctx, actors[0], (*Greeter).Greet, "Ada")
	bob := core.Call(ctx, actors[0], (*Greeter).Greet, "Bob")
	nobody := core.Call(ctx, actors[1], (*Greeter).Greet, "")
	for _, ref := range []*core.Ref[string]{ada, bob, nobody} {
		text, err := ref.Get(ctx)
		if _, own := errors.AsType[*core.ActorError](err); own {
			text, err = err.Error(), nil
		}
		if err != nil {
			return err
		}
		fmt.Println(text)
	}
	return nil
}

func ExamplePut() {
	ctx := context.Background()
	sys, err := core.Start(ctx, core.InProcess(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Shutdown(ctx) }() // nothing is left to lose
	names, err := core.Put(ctx, sys, "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer names.Release()
	actors, err := greeters.Spawn(ctx, sys, 2, "Good morning")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range actors {
		fmt.Println(core.CallRef(ctx, a, (*Greeter).Greet, names).Get(ctx))
	}
	// Output:
	// Good morning, Ada! (1) <nil>
	// Good morning, Ada! (1) <nil>
}
