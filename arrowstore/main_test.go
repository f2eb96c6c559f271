// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
)

// childEnv names the role in which a test runs this binary again, to have another process.
const childEnv = "ARROWSTORE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		os.Exit(runChild(role, os.Getenv("ARROWSTORE_TEST_DIR")))
	}
	os.Exit(leakcheck.Run(m))
}

// storeDir returns a directory for a store, in shared memory where there is some, and checks at the end that nothing is
// left in it but what dead processes may leave.
func storeDir(t testing.TB) string {
	t.Helper()
	base := t.TempDir()
	if runtime.GOOS == "linux" {
		shm, err := os.MkdirTemp("/dev/shm", "arrowstore-test-") //nolint:usetesting // T.TempDir is on disk
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(shm)) })
		base = shm
	}
	return filepath.Join(base, "store")
}

func openStore(t testing.TB, dir string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(dir, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
