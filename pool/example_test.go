// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

// Counter counts words.
type Counter struct{ words int }

// NewCounter makes a Counter.
func NewCounter(context.Context, core.Void) (*Counter, error) { return &Counter{}, nil }

// Count returns the number of words of a line.
func (c *Counter) Count(_ context.Context, line string) (int, error) {
	n := len(strings.Fields(line))
	c.words += n
	return n, nil
}

// Total returns how many words the actor has counted.
func (c *Counter) Total(context.Context, core.Void) (int, error) { return c.words, nil }

var counters = core.Register("counter", NewCounter, core.Method((*Counter).Count), core.Method((*Counter).Total))

// Example counts the words of lines with four actors, and then asks all of them how many they counted.
func Example() {
	run := func(ctx context.Context, sys *core.System) error {
		actors, err := counters.Spawn(ctx, sys, 4, core.Void{})
		if err != nil {
			return err
		}
		p, err := pool.New(actors)
		if err != nil {
			return err
		}
		defer p.Close()
		lines := []string{"who calls many", "calls one by one", "or all at once"}
		i := 0
		for n, err := range pool.Map(ctx, p, (*Counter).Count, slices.Values(lines)) {
			fmt.Println(lines[i], n, err)
			i++
		}
		refs, err := batch.Call(ctx, p.BatchRemote(), (*Counter).Total, core.Void{})
		if err != nil {
			return err
		}
		totals, err := refs.Get(ctx)
		fmt.Println(totals, err)
		return err
	}
	if err := withSystem(run); err != nil {
		fmt.Println(err)
	}
	// Output:
	// who calls many 3 <nil>
	// calls one by one 4 <nil>
	// or all at once 4 <nil>
	// [3 4 4 0] <nil>
}

// withSystem does in a test what core.Main does in a program.
func withSystem(run func(context.Context, *core.System) error) error {
	ctx := context.Background()
	sys, err := core.Start(ctx, core.InProcess(1))
	if err != nil {
		return err
	}
	err = run(ctx, sys)
	if e := sys.Shutdown(ctx); err == nil {
		err = e
	}
	return err
}
