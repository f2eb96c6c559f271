// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRecordsAreAsArrowMakesThem compares every method of a record of the store with Arrow's own.
func TestRecordsAreAsArrowMakesThem(t *testing.T) {
	s := openStore(t, storeDir(t))
	want := wideRecord(t, memory.DefaultAllocator, 5, 20)
	defer want.Release()
	o, err := s.PutRecord(want)
	require.NoError(t, err)
	got, err := s.Record(o)
	require.NoError(t, err)
	o.Release()

	assert.Equal(t, want.NumCols(), got.NumCols())
	assert.Equal(t, want.NumRows(), got.NumRows())
	assert.Equal(t, want.ColumnName(3), got.ColumnName(3))
	assert.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
	wantJSON, err := want.MarshalJSON()
	require.NoError(t, err)
	gotJSON, err := got.MarshalJSON()
	require.NoError(t, err)
	assert.JSONEq(t, string(wantJSON), string(gotJSON))
	assert.Same(t, got.Column(2), got.Columns()[2], "a column is made once")

	part, wantPart := got.NewSlice(3, 9), want.NewSlice(3, 9)
	assert.True(t, array.RecordEqual(wantPart, part))
	wantPart.Release()
	changed, err := got.SetColumn(0, got.Column(3))
	require.NoError(t, err)
	assert.True(t, array.Equal(want.Column(3), changed.Column(0)))
	_, err = got.SetColumn(0, want.Column(1))
	require.Error(t, err, "another type")
	_, err = got.SetColumn(9, want.Column(1))
	require.Error(t, err)

	require.NoError(t, s.Delete(o.ID()))
	got.Release()
	part.Release()
	assert.Equal(t, 1, s.Stats().Objects, "what was made of it pins the object")
	changed.Release()
	assert.Zero(t, s.Stats().Objects)
}

func TestColumnsAreMadeOnceByAnyGoroutine(t *testing.T) {
	s := openStore(t, storeDir(t))
	rec := wideRecord(t, memory.DefaultAllocator, 20, 5)
	defer rec.Release()
	o, err := s.PutRecord(rec)
	require.NoError(t, err)
	got, err := s.Record(o)
	require.NoError(t, err)
	o.Release()
	var made [4][20]arrow.Array
	var wg sync.WaitGroup
	for worker := range made {
		wg.Go(func() {
			for i := range made[worker] {
				made[worker][i] = got.Column(i)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		for worker := range made {
			require.Same(t, made[0][i], made[worker][i])
		}
	}
	require.NoError(t, s.Delete(o.ID()))
	got.Release()
	assert.Zero(t, s.Stats().Objects)
}

// TestOpeningARecordCopiesNoColumnData counts what is allocated: no more for a thousand times the rows.
func TestOpeningARecordCopiesNoColumnData(t *testing.T) {
	s := openStore(t, storeDir(t))
	bytesFor := func(rows int) int64 {
		rec := wideRecord(t, memory.DefaultAllocator, 100, rows)
		defer rec.Release()
		o, err := s.PutRecord(rec)
		require.NoError(t, err)
		defer o.Release()
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				got, err := s.Record(o)
				noError(b, err)
				for i := range 100 {
					got.Column(i)
				}
				got.Release()
			}
		})
		return r.AllocedBytesPerOp()
	}
	few, many := bytesFor(10), bytesFor(10_000)
	assert.InDelta(t, few, many, 4096, "bytes allocated to open it")
}
