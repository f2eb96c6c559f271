// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/hostshm"
)

func TestALineLetsOneInAtATimeAlsoWhereSomeQuit(t *testing.T) {
	const comers, turns = 6, 2000
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var l line
	var all sync.WaitGroup
	inside, entered := 0, 0 // guarded by the line
	for comer := range comers {
		all.Go(func() {
			for i := range turns {
				ctx := t.Context()
				if (i+comer)%3 == 0 {
					ctx = gone // takes its turn only if it has come
				}
				if !l.await(ctx, l.join()) {
					continue
				}
				inside++
				entered++
				if i%64 == 0 {
					runtime.Gosched()
				}
				assert.Equal(t, 1, inside)
				inside--
				l.leave()
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, entered, comers*turns/2)
	require.Nil(t, l.join(), "the line is free")
	first, second, third := l.join(), l.join(), l.join()
	l.quit(second)
	l.leave()
	<-first
	select {
	case <-third:
		t.Fatal("the third came before the first had left")
	default:
	}
	l.leave()
	<-third
	l.leave()
	require.Nil(t, l.join())
}

// Members use the memory of a machine while its epoch ends: it is closed once, when the last has left, and nobody gets it afterwards.
func TestMemoryOfAMachineIsClosedWhenTheLastHasLeft(t *testing.T) {
	for range 100 {
		o := &host{path: filepath.Join(t.TempDir(), "memory")}
		require.NotEqual(t, hostshm.File{}, o.open(2))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for s := o.use(); s != nil; s = o.use() {
					s.Ended() // reads the memory
					o.leave()
				}
			})
		}
		held := o.use()
		o.end()
		all.Wait()
		require.True(t, held.Ended(), "it stays for who has it")
		require.NotNil(t, o.segment.Load())
		o.leave()
		require.Nil(t, o.segment.Load())
		require.Nil(t, o.use())
		o.end()
	}
}
