// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rundir_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/rundir"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func TestTheLastToCloseRemovesTheDirectory(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	first, err := rundir.New(base, slog.Default())
	require.NoError(t, err)
	second, err := rundir.Join(first.Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(first.Path, "socket"), nil, 0o600))
	require.NoError(t, first.Close())
	require.DirExists(t, second.Path)
	require.NoError(t, second.Close())
	require.NoDirExists(t, second.Path)
	_, err = rundir.Join(second.Path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWhatNobodyHoldsIsRemovedByTheNext(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	alive, err := rundir.New(base, slog.Default())
	require.NoError(t, err)
	dead := filepath.Join(base, "dead")
	require.NoError(t, os.MkdirAll(filepath.Join(dead, "store"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dead, "lock"), nil, 0o600))
	next, err := rundir.New(base, slog.Default())
	require.NoError(t, err)
	require.NoDirExists(t, dead)
	require.DirExists(t, alive.Path)
	require.NoError(t, next.Close())
	require.NoError(t, alive.Close())
}

func TestABaseThatOthersCanEnterIsRefused(t *testing.T) {
	dir := t.TempDir()
	open, file, link := filepath.Join(dir, "open"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(t.TempDir(), link))
	for _, base := range []string{open, file, link} {
		_, err := rundir.New(base, slog.Default())
		require.ErrorIs(t, err, rundir.ErrUnsafe, base)
	}
}

// lockedBy locks a directory as a process does that is about to die, and returns its death.
func lockedBy(t *testing.T, path string) (die func()) {
	t.Helper()
	f, err := os.Open(filepath.Join(path, "lock"))
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_SH))
	return func() { require.NoError(t, f.Close()) }
}

func TestWhoWaitsForTheLockOfTheDeadRemovesTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, err := rundir.New(filepath.Join(t.TempDir(), "base"), slog.Default())
		require.NoError(t, err)
		second, err := rundir.Join(first.Path)
		require.NoError(t, err)
		die := lockedBy(t, first.Path)
		var wg sync.WaitGroup
		start := time.Now()
		for _, d := range []*rundir.Dir{first, second} {
			wg.Go(func() { assert.NoError(t, d.CloseWithin(5*time.Second)) })
		}
		time.Sleep(2 * time.Second)
		require.DirExists(t, first.Path, "somebody has it yet")
		die()
		wg.Wait()
		require.Less(t, time.Since(start), 3*time.Second)
		require.NoDirExists(t, first.Path)
	})
}

func TestWhoWaitsForTheLockOfTheLivingGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := rundir.New(filepath.Join(t.TempDir(), "base"), slog.Default())
		require.NoError(t, err)
		die := lockedBy(t, d.Path)
		start := time.Now()
		require.NoError(t, d.CloseWithin(5*time.Second))
		require.Equal(t, 5*time.Second, time.Since(start))
		require.DirExists(t, d.Path)
		die()
	})
}

// A directory that was removed and made anew under the same name is not that of who has held the first.
func TestADirectoryThatWasMadeAnewIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "base", "shared")
		old, err := rundir.Share(path, slog.Default())
		require.NoError(t, err)
		die := lockedBy(t, path)
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, old.CloseWithin(time.Minute)) })
		synctest.Wait()                        // it has let go, and waits
		require.NoError(t, os.RemoveAll(path)) // as another user of it does that closes it
		anew, err := rundir.Share(path, slog.Default())
		require.NoError(t, err)
		die()
		wg.Wait()
		require.DirExists(t, path)
		require.NoError(t, anew.Close())
		require.NoDirExists(t, path)
	})
}
