// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package flight_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/flight"
	"github.com/tutti-go/tutti/internal/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func create(t *testing.T, dir string, rank, size int) *flight.Recorder {
	t.Helper()
	r, err := flight.Create(dir, flight.Head{Group: "dp", ID: 5, Epoch: 2, Rank: rank, Size: size})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close(false)) })
	return r
}

// A reader finds what was recorded while the recorder lives, as after its process was killed.
func TestTheLastOperationsAreReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flight")
	r := create(t, dir, 3, 8)
	const n = 1000
	for seq := uint64(1); seq <= n; seq++ {
		r.Begin(seq, uint32(seq)*7, fmt.Sprintf("AllReduce(sum, float32 x %d)", seq))
		if seq < n {
			r.End(flight.Done)
		}
	}
	r.Wait(6)
	logs, err := flight.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, logs, 1)
	l := logs[0]
	require.Equal(t, flight.Head{Group: "dp", ID: 5, Epoch: 2, Rank: 3, Size: 8}, l.Head)
	require.Len(t, l.Entries, 256)
	for i, e := range l.Entries {
		seq := uint64(n - 255 + i)
		require.Equal(t, seq, e.Seq)
		require.Equal(t, uint32(seq)*7, e.Hash)
		require.Equal(t, fmt.Sprintf("AllReduce(sum, float32 x %d)", seq), e.Text)
		require.WithinDuration(t, time.Now(), e.Begun, time.Minute)
	}
	last := l.Entries[255]
	require.Equal(t, flight.Running, last.State)
	require.Equal(t, 6, last.Waits)
	require.True(t, last.Ended.IsZero())
	require.Equal(t, flight.Done, l.Entries[254].State)
	require.Equal(t, -1, l.Entries[254].Waits)
	info, err := os.Stat(filepath.Join(dir, "5-2-3.flight"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestTheFirstOperationInWhichMembersDifferIsFound(t *testing.T) {
	const same = "Barrier"
	cases := map[string]struct {
		record func(rank int, r *flight.Recorder)
		want   string
	}{
		"nothing": {func(int, *flight.Recorder) {}, `group "dp" epoch 2, 4 members: no operation was recorded`},
		"all alike": {
			func(_ int, r *flight.Recorder) {
				for seq := uint64(1); seq <= 5; seq++ {
					r.Begin(seq, 9, same)
					r.End(flight.Done)
				}
			},
			"group \"dp\" epoch 2, 4 members: no difference up to operation 5\n  ranks 0-3: Barrier [00000009]: done",
		},
		"another call": {
			func(rank int, r *flight.Recorder) {
				r.Begin(1, 9, same)
				r.End(flight.Done)
				if rank == 2 {
					r.Begin(2, 10, "Broadcast(int x 1, root 0)")
				} else {
					r.Begin(2, 9, same)
				}
				r.Wait(2)
				r.End(flight.Failed)
			},
			"the members differ first in operation 2 (of 2)\n  ranks 0-1,3: Barrier [00000009]: failed, waiting for rank 2\n" +
				"  rank 2: Broadcast(int x 1, root 0) [0000000a]: failed, waiting for rank 2",
		},
		"one is behind": {
			func(rank int, r *flight.Recorder) {
				for seq := uint64(1); seq <= 700; seq++ {
					if rank == 1 && seq == 600 {
						return
					}
					r.Begin(seq, 9, same)
					r.End(flight.Done)
				}
			},
			"the members differ first in operation 600 (of 700)\n  ranks 0,2-3: Barrier [00000009]: done\n  rank 1: has not called it",
		},
		"one has done nothing": {
			func(rank int, r *flight.Recorder) {
				if rank != 3 {
					r.Begin(1, 9, same)
					r.Wait(3)
				}
			},
			"operation 1 (of 1)\n  ranks 0-2: Barrier [00000009]: running, waiting for rank 3\n  rank 3: has not called it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for rank := range 4 {
				tc.record(rank, create(t, dir, rank, 4))
			}
			logs, err := flight.ReadDir(dir)
			require.NoError(t, err)
			findings := flight.Analyze(logs)
			require.Len(t, findings, 1)
			require.Contains(t, findings[0].String(), tc.want)
		})
	}
}

func TestRanksWithoutARecordAreNamed(t *testing.T) {
	dir := t.TempDir()
	create(t, dir, 1, 5).Begin(1, 2, "Barrier")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.flight"), []byte("TuFlight"), 0o600))
	logs, err := flight.ReadDir(dir)
	require.ErrorIs(t, err, flight.ErrFormat)
	require.ErrorContains(t, err, "bad.flight")
	require.Contains(t, flight.Analyze(logs)[0].String(), "ranks 0,2-4: no record")
}

func TestARecorderThatIsClosedOrNoneRecordsNothing(t *testing.T) {
	var none *flight.Recorder
	none.Begin(1, 2, "Barrier")
	none.Wait(1)
	none.End(flight.Done)
	require.NoError(t, none.Close(true))
	dir := t.TempDir()
	r := create(t, dir, 0, 1)
	require.NoError(t, r.Close(true))
	r.Begin(1, 2, "Barrier")
	logs, err := flight.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, logs[0].Entries)
	require.Equal(t, "state(9)", flight.State(9).String())
}

func FuzzParse(f *testing.F) {
	dir := f.TempDir()
	r, err := flight.Create(dir, flight.Head{Group: "g", ID: 1, Epoch: 1, Rank: 0, Size: 2})
	require.NoError(f, err)
	r.Begin(1, 2, "Barrier")
	r.End(flight.Failed)
	require.NoError(f, r.Close(true))
	good, err := os.ReadFile(filepath.Join(dir, "1-1-0.flight"))
	require.NoError(f, err)
	f.Add(good[:4096+256], 0, byte(0))
	f.Add(good[:4096+256], 24, byte(7))
	f.Add(good[:4096+256], 4096+41, byte(255))
	f.Fuzz(func(t *testing.T, b []byte, at int, v byte) {
		whole := make([]byte, len(good)) // most of a file is the same nothing: the fuzzer need not find its length
		copy(whole, b)
		if at >= 0 && at < len(whole) {
			whole[at] = v
		}
		for _, bytes := range [][]byte{b, whole} {
			l, err := flight.Parse(bytes)
			if err != nil {
				require.ErrorIs(t, err, flight.ErrFormat)
				continue
			}
			assert.LessOrEqual(t, len(l.Entries), 256)
			assert.NotEmpty(t, flight.Analyze([]*flight.Log{l})[0].String())
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	r, err := flight.Create(b.TempDir(), flight.Head{Group: "g", ID: 1, Epoch: 1, Rank: 0, Size: 2})
	require.NoError(b, err)
	defer r.Close(false) //nolint:errcheck // the test's directory goes anyway
	b.ReportAllocs()
	for b.Loop() {
		r.Begin(1, 2, "Barrier")
		r.End(flight.Done)
	}
}
