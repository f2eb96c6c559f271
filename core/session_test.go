// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// useRunDir lets systems keep their directories below a new one, which it returns.
func useRunDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(core.EnvRunDir), "r") //nolint:usetesting // sockets need short paths
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, mode))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	t.Setenv(core.EnvRunDir, dir)
	return dir
}

func TestStartRemovesWhatNobodyHolds(t *testing.T) {
	dir := useRunDir(t, 0o700)
	left := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Join(path, "store"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(path, "lock"), nil, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(path, "store", "segment"), make([]byte, 1000), 0o600))
		return path
	}
	dead, alive := left("s-dead"), left("s-alive")
	empty := filepath.Join(dir, "s-empty")
	require.NoError(t, os.Mkdir(empty, 0o700))
	lock, err := os.Open(filepath.Join(alive, "lock"))
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Close()) }()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_SH))

	sys := coretest.Start(t, core.LocalNodes(2))
	require.NoDirExists(t, dead)
	require.NoDirExists(t, empty)
	require.FileExists(t, filepath.Join(alive, "store", "segment"))
	get(t, core.Call(t.Context(), spawn(t, sys, 2)[1], (*probe).Sum, ones(large)))
}

func TestStartRefusesDirectoriesThatAreOpenToOthers(t *testing.T) {
	useRunDir(t, 0o755)
	_, err := core.Start(t.Context())
	require.ErrorIs(t, err, core.ErrInvalid)
	require.ErrorContains(t, err, "must be a directory of user")

	dir := useRunDir(t, 0o700)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	t.Setenv(core.EnvRunDir, file)
	_, err = core.Start(t.Context())
	require.ErrorIs(t, err, core.ErrInvalid)

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	t.Setenv(core.EnvRunDir, link)
	_, err = core.Start(t.Context())
	require.ErrorIs(t, err, core.ErrInvalid, "a link may lead anywhere")

	t.Setenv(core.EnvRunDir, filepath.Join(dir, "missing", "deep"))
	_, err = core.Start(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestStartSaysThatAPathIsTooLongForASocket(t *testing.T) {
	dir := filepath.Join(useRunDir(t, 0o700), strings.Repeat("long", 30))
	t.Setenv(core.EnvRunDir, dir)
	_, err := core.Start(t.Context(), core.LocalNodes(1))
	require.ErrorContains(t, err, "choose a shorter directory")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing is left of the attempt")
	coretest.Start(t, core.InProcess(2)) // needs no sockets
}
