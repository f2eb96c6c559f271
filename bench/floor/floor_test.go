// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/leakcheck"
)

func TestMain(m *testing.M) {
	serveChild()
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 halt_on_error=1"); err != nil { // children would sleep before they end
		panic(err)
	}
	os.Exit(leakcheck.Run(m))
}

func TestAllProcessesAnswerEveryRound(t *testing.T) {
	for _, k := range kinds() {
		for _, n := range []int{1, 3} {
			submits, trips, err := measure(k, n, 20)
			require.NoError(t, err, k.name)
			assert.Len(t, submits, 20)
			for i, trip := range trips {
				assert.Positive(t, trip, k.name)
				assert.Positive(t, submits[i], k.name)
			}
		}
	}
}

func TestTheTableHasALineForEveryNumberAndWay(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, "1,2", 3))
	assert.Equal(t, 1+2*len(kinds()), bytes.Count(out.Bytes(), []byte("\n")), out.String())
	for _, counts := range []string{"", "0", "1,x"} {
		require.Error(t, run(&out, counts, 3))
	}
	require.Error(t, run(&out, "1", 0))
}

func TestAChildThatIsGoneIsAnError(t *testing.T) {
	ours, theirs, err := socketpair()
	require.NoError(t, err)
	require.NoError(t, theirs.Close())
	_, err = echoes([]int{ours})()
	require.Error(t, err)
	require.NoError(t, unix.Close(ours))
}
