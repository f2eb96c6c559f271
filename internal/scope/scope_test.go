// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package scope_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/scope"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func TestScopeIsFoundInItsContextOnly(t *testing.T) {
	_, ok := scope.From(t.Context())
	assert.False(t, ok, "outside an actor's call")
	s := &scope.Scope{Actor: 7}
	ctx, cancel := context.WithCancel(scope.With(t.Context(), s))
	defer cancel()
	got, ok := scope.From(ctx)
	require.True(t, ok)
	assert.Same(t, s, got)
	inner := &scope.Scope{Actor: 8}
	got, _ = scope.From(scope.With(ctx, inner))
	assert.Same(t, inner, got, "the innermost")
}

func TestValueIsMadeOncePerKeyAndNode(t *testing.T) {
	type key struct{ n int }
	var made atomic.Int32
	nodes := []*scope.Node{{}, {}}
	create := func(n *scope.Node) any {
		made.Add(1)
		return &struct{ of *scope.Node }{n}
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		for k := range 3 {
			want := n.Value(key{k}, create)
			for range 10 {
				wg.Go(func() { assert.Same(t, want, n.Value(key{k}, create)) })
			}
		}
	}
	wg.Wait()
	assert.EqualValues(t, 6, made.Load())
}

func TestConcurrentFirstRequestsMakeOneValue(t *testing.T) {
	var n scope.Node
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { n.Value("key", func(*scope.Node) any { return made.Add(1) }) })
	}
	wg.Wait()
	assert.EqualValues(t, 1, made.Load())
}

func TestOnEndRunsOnceInOrderAndAtOnceAfterTheEnd(t *testing.T) {
	var s scope.Scope
	var ran []int
	why := errors.New("killed")
	note := func(n int) func(error) {
		return func(reason error) {
			assert.Equal(t, why, reason)
			ran = append(ran, n)
		}
	}
	s.OnEnd(note(1))
	s.OnEnd(func(reason error) {
		note(2)(reason)
		s.OnEnd(note(3)) // the end has come: at once
	})
	assert.Empty(t, ran)
	s.End(why)
	s.End(errors.New("again"))
	assert.Equal(t, []int{1, 2, 3}, ran)
	s.OnEnd(note(4))
	assert.Equal(t, []int{1, 2, 3, 4}, ran)
}

func TestOnEndAndEndTogetherLoseNothing(t *testing.T) {
	for range 100 {
		var s scope.Scope
		var ran atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { s.OnEnd(func(error) { ran.Add(1) }) })
			wg.Go(func() { s.End(errors.New("killed")) })
		}
		wg.Wait()
		require.EqualValues(t, 4, ran.Load())
	}
}

func TestOnPanicRunsEachTimeUntilTheEnd(t *testing.T) {
	var s scope.Scope
	var heard []string
	s.OnPanic(func(reason error) { heard = append(heard, reason.Error()) })
	s.Panicked(errors.New("once"))
	s.Panicked(errors.New("twice"))
	s.End(errors.New("killed"))
	s.Panicked(errors.New("dead"))
	s.OnPanic(func(error) { heard = append(heard, "after the end") })
	s.Panicked(errors.New("dead"))
	assert.Equal(t, []string{"once", "twice"}, heard)
}
