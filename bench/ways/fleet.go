// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

// worker does almost nothing, so that what is measured is the call.
type worker struct{}

func newWorker(context.Context, core.Void) (*worker, error) { return &worker{}, nil }

// Touch reads the ends of its argument.
func (w *worker) Touch(_ context.Context, x []byte) (float64, error) {
	if len(x) == 0 {
		return 0, nil
	}
	return float64(x[0]) + float64(x[len(x)-1]), nil
}

func (w *worker) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

var workers = core.Register("bench.worker", newWorker, core.Method((*worker).Touch), core.Method((*worker).Ping))

// Fleet is a set of actors, with a plain gRPC server in each of their node processes.
type Fleet struct {
	sys     *core.System
	handles []*core.Handle[*worker]
	remote  *batch.Remote[*worker]
	servers *servers
}

// NewFleet starts actors, spread evenly over the nodes of the system, and the servers. Close comes before the end of the system.
func NewFleet(ctx context.Context, sys *core.System, actors int) (*Fleet, error) {
	handles, err := workers.Spawn(ctx, sys, actors, core.Void{})
	if err != nil {
		return nil, err
	}
	s, err := newServers(ctx, sys)
	if err != nil {
		return nil, err
	}
	return &Fleet{sys, handles, batch.New(handles), s}, nil
}

// Len returns the number of actors.
func (f *Fleet) Len() int { return len(f.handles) }

// Of returns a fleet of n of the actors, spread as evenly over the nodes as all of them are. It shares everything with f and is
// not closed. It panics if n is out of range.
func (f *Fleet) Of(n int) *Fleet {
	if n < 1 || n > len(f.handles) {
		panic(fmt.Sprintf("ways: %d of %d actors", n, len(f.handles)))
	}
	picked := make([]*core.Handle[*worker], n)
	for i := range picked {
		picked[i] = f.handles[i*len(f.handles)/n]
	}
	return &Fleet{f.sys, picked, batch.New(picked), f.servers}
}

// Close closes the connections of the fleet; actors and servers end with the system.
func (f *Fleet) Close() error { return f.servers.close() }

// Argument is what the actors are called with.
type Argument struct {
	value []byte // nil for a call without an argument
	ref   *core.Ref[[]byte]
}

// NewArgument makes an argument of size bytes and puts it into the object store, for the ways that take an object that
// is already there. Size 0 stands for no argument.
func (f *Fleet) NewArgument(ctx context.Context, size int) (*Argument, error) {
	if size == 0 {
		return &Argument{}, nil
	}
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i) // pages that were never written are all one page of zeros, which is copied at the speed of a cache
	}
	ref, err := core.Put(ctx, f.sys, value)
	return &Argument{value, ref}, err
}

// Release gives back the room of the argument in the object store.
func (a *Argument) Release() {
	if a.ref != nil {
		a.ref.Release()
	}
}

// Cost is what calling all actors once took the driver.
type Cost struct {
	Submit   time.Duration // until the caller could go on, everything being on its way
	Complete time.Duration // until the last answer was there
	Messages int           // of a batch: call messages
	Bytes    int64         // of a batch: what they hold, and the argument if it was put into the object store
	CPU      time.Duration // processor time of the driver's process until then; 0 where the system does not tell
}

// Way calls all actors of a fleet once and returns when all have answered.
type Way func(f *Fleet, ctx context.Context, arg *Argument) (Cost, error)

// errObject is returned by ways that need an object in the store and got no argument.
var errObject = errors.New("ways: no argument that could be referred to")

// clock measures one round.
type clock struct {
	began, submitted time.Time
	cpu              time.Duration
}

func start() *clock { return &clock{began: time.Now(), cpu: cpuTime()} }

func (c *clock) submit() { c.submitted = time.Now() }

func (c *clock) stop() Cost {
	now := time.Now()
	return Cost{Submit: c.submitted.Sub(c.began), Complete: now.Sub(c.began), CPU: cpuTime() - c.cpu}
}

// tempDir is for sockets: its path is short, as theirs must be.
func tempDir() (string, error) { return os.MkdirTemp("", "ways") }
