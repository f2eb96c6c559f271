// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rundir_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
