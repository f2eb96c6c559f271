// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A store whose process was killed is dead to those who need its memory also while somebody sweeps it, and has its lock for that.
func TestTheMemoryThatTheDeadPinIsFreedAmidASweep(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir, Limit(32<<20))
	c := startChild(t, "reader", dir)
	o, err := s.Put(make([]byte, 20<<20))
	require.NoError(t, err)
	c.ask("get %s", idText(o.ID()))
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	c.kill()
	require.Equal(t, 1, s.Stats().Pinned)

	names, err := s.dir.names()
	require.NoError(t, err)
	condemned := 0
	for _, name := range names {
		if num, ok := parseName(name); ok && name == lockName(num) {
			f, err := s.dir.open(name, unix.O_RDWR)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, f.Close()) }) // until then it is as if the sweep were under way
			ok, err := condemn(f)
			require.NoError(t, err)
			require.Equal(t, num != s.number, ok)
			if ok {
				condemned++
			}
		}
	}
	require.Equal(t, 1, condemned)
	o, err = s.Put(make([]byte, 20<<20))
	require.NoError(t, err)
	o.Release()
}

// However sweeps and claims of one number meet, who has claimed it has its lock file, and no sweep takes that away.
func TestClaimsAndSweepsOfOneNumberMeet(t *testing.T) {
	const number = 7
	s := openStore(t, storeDir(t))
	d := s.dir
	var over atomic.Bool
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for range cap(errs) - 1 {
		wg.Go(func() {
			for !over.Load() {
				if err := sweepStore(d, number, []string{lockName(number)}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer over.Store(true)
		for range 2000 {
			f, err := claimNumber(d, number)
			if err == nil {
				var live bool
				if live, err = alive(d, number); err == nil && !live {
					err = errors.New("its owner is not alive")
				}
				err = errors.Join(err, d.remove(lockName(number)), f.Close())
			}
			if err != nil {
				errs <- err
				return
			}
		}
	})
	wg.Wait()
	close(errs)
	for err := range errs {
		assert.NoError(t, err)
	}
	live, err := alive(d, number)
	require.NoError(t, err)
	require.False(t, live)
}
