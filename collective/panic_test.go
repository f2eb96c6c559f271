// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// Fall says in which way one member does not do its part.
type Fall struct {
	Group string
	Way   string
	Rank  int
}

// Heard is what a member heard of the group's end.
type Heard struct {
	Text     string
	Failed   []int
	Panicked bool
	Lost     bool
}

// Fall runs an all-reduce, in which one member does not do its part.
func (m *member) Fall(ctx context.Context, f Fall) (Heard, error) {
	g, err := collective.FromContext(ctx, f.Group)
	if err != nil {
		return Heard{}, err
	}
	buf, op := make([]float32, 50_000), collective.Reduction(collective.Sum)
	if f.Way == "function" {
		op = collective.Custom(func([]float32, []float32) {
			if g.Rank() == 0 { // which one process calls for all
				panic("out of luck")
			}
		}, true)
	}
	if g.Rank() == f.Rank {
		switch f.Way {
		case "method":
			panic("out of luck")
		case "goexit":
			runtime.Goexit()
		case "buffer", "async buffer", "prepared buffer":
			v, err := readOnly(g, len(buf))
			if err != nil {
				return Heard{}, err
			}
			defer v.Release()
			buf = v.Slice()
		}
	}
	for err == nil { // one that goes away behind the others is missed in the next
		err = reduceBy(ctx, g, f.Way, buf, op)
	}
	h := Heard{Text: err.Error(), Panicked: errors.Is(err, collective.ErrPanicked), Lost: errors.Is(err, collective.ErrMemberLost)}
	if e, ok := errors.AsType[*collective.Error](err); ok {
		h.Failed = e.Failed
	}
	return h, nil
}

// reduceBy runs an all-reduce, where way says so in the background.
func reduceBy(ctx context.Context, g *collective.Group, way string, buf []float32, op collective.Reduction) error {
	switch way {
	case "async buffer":
		return g.Async(ctx, func(ctx context.Context) error { return collective.AllReduce(ctx, g, buf, op) }).Wait(ctx)
	case "prepared buffer":
		p, err := collective.PrepareAllReduce(ctx, g, buf, op)
		if err != nil {
			return err
		}
		return p.Start(ctx).Wait(ctx)
	default:
		return collective.AllReduce(ctx, g, buf, op)
	}
}

// readOnly returns memory of the object store that nobody may write.
func readOnly(g *collective.Group, n int) (*arrowstore.View[float32], error) {
	b, err := collective.NewBuffer[float32](g, n)
	if err != nil {
		return nil, err
	}
	return b.Seal()
}

// Whatever keeps a member from doing its part, the others hear of it at once: whose part it was, and why.
func TestAMemberThatPanicsIsHeardOfAtOnce(t *testing.T) {
	const n, rank = 5, 3
	const fault = "memory that it was given cannot be"
	const unwritable = "rank 3: AllReduce(sum, float32 x 50000): " + fault
	ways := map[string]struct {
		text string
		own  string // error of the member's call
		here string // what the member itself hears, if its call goes on
	}{
		"method":          {text: "rank 3: collective-member.Fall panicked: out of luck", own: "panicked: out of luck"},
		"goexit":          {text: "rank 3: collective-member.Fall: it ended its goroutine with runtime.Goexit", own: "runtime.Goexit"},
		"function":        {text: ": AllReduce(custom, float32 x 50000) panicked: out of luck", own: "panicked: out of luck"},
		"buffer":          {text: unwritable, here: fault}, // where another writes to it
		"async buffer":    {text: unwritable, here: fault},
		"prepared buffer": {text: unwritable, here: fault},
	}
	nodes := map[string]core.Option{"one process": core.InProcess(1), "messages": core.InProcess(2), "processes": core.LocalNodes(2)}
	for where, option := range nodes {
		t.Run(where, func(t *testing.T) {
			sys := coretest.Start(t, option)
			for way, want := range ways {
				actors := spawn(t, sys, n)
				g, err := collective.NewGroup(t.Context(), "fragile", actors)
				require.NoError(t, err)
				began := time.Now()
				heard, err := fall(t, actors, Fall{g.Name(), way, rank})
				require.Less(t, time.Since(began), collective.DefaultStall/2, way)
				if err != nil {
					require.ErrorContains(t, err, want.own)
				}
				<-g.Done()
				require.ErrorIs(t, g.Err(), collective.ErrPanicked, way)
				require.ErrorContains(t, g.Err(), want.text)
				listened := 0
				for r, h := range heard {
					if h.Text == "" { // its own call has panicked
						require.Error(t, err)
						continue
					}
					listened++
					require.True(t, h.Panicked, "%s: rank %d: %v", way, r, h)
					text := want.text
					if r == rank { // its own error may be that of what it ran in the background
						text = want.here
					}
					require.Contains(t, h.Text, text)
					if r == rank && len(h.Failed) == 0 {
						continue
					}
					if way != "function" { // which one member calls for another
						require.Equal(t, []int{rank}, h.Failed, "%s: rank %d: %v", way, r, h)
					}
				}
				require.Positive(t, listened)
			}
		})
	}
}

// An actor that is made anew after a panic is a member lost.
func TestAMemberThatDiesOfAPanicIsLost(t *testing.T) {
	const n, rank = 4, 2
	for where, option := range systems(2) {
		t.Run(where, func(t *testing.T) {
			sys := coretest.Start(t, option)
			actors, err := members.Spawn(t.Context(), sys, n, core.Void{}, core.Restarts(1))
			require.NoError(t, err)
			g, err := collective.NewGroup(t.Context(), "mortal", actors)
			require.NoError(t, err)
			heard, err := fall(t, actors, Fall{g.Name(), "method", rank})
			require.ErrorContains(t, err, "panicked: out of luck")
			for r, h := range heard {
				if r != rank {
					require.True(t, h.Lost, "rank %d: %v", r, h)
					require.Equal(t, []int{rank}, h.Failed)
					require.Contains(t, h.Text, "the actor of rank 2 on node")
					require.Contains(t, h.Text, "panicked in collective-member.Fall: out of luck")
				}
			}
		})
	}
}

// fall returns what the members have heard, and the errors of those that did not return.
func fall(t *testing.T, actors []*core.Handle[*member], f Fall) ([]Heard, error) {
	t.Helper()
	refs, err := batch.Call(t.Context(), batch.New(actors), (*member).Fall, f)
	require.NoError(t, err)
	return refs.Get(t.Context())
}
