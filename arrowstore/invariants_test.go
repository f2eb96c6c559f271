// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/invariants"
)

//go:noinline
func releaseAgain(o *Object) { o.Release() }

func TestDoubleRelease(t *testing.T) {
	s := openStore(t, storeDir(t))
	o, err := s.Put([]byte("x"))
	require.NoError(t, err)
	o.Release()
	if !invariants.Enabled {
		releaseAgain(o)
		return
	}
	defer func() {
		text, _ := recover().(string) // anything else fails the assertions
		assert.Contains(t, text, "TestDoubleRelease")
		assert.Contains(t, text, "releaseAgain")
	}()
	releaseAgain(o)
}

func TestReleasedMemoryIsMangled(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("only with the build tag invariants")
	}
	s := openStore(t, storeDir(t))
	o, err := s.Put([]byte("secret"))
	require.NoError(t, err)
	b := o.Buffer(0)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	assert.NotEqual(t, "secret", string(b))
}

// TestLeak runs itself in another process, which is to die of a leaked Object.
func TestLeak(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("only with the build tag invariants")
	}
	if dir := os.Getenv("ARROWSTORE_TEST_LEAK"); dir != "" {
		s, err := Open(dir)
		require.NoError(t, err)
		_, err = s.Put([]byte("x"))
		require.NoError(t, err)
		for {
			runtime.GC()
			runtime.Gosched()
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run", "TestLeak")
	cmd.Env = append(os.Environ(), "ARROWSTORE_TEST_LEAK="+storeDir(t))
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "never released")
	assert.Contains(t, string(out), "TestLeak")
}
