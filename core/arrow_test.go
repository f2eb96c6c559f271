// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

type arrowWorker struct{}

type labelled struct {
	Label string
	Rec   arrow.Record
}

func newArrowWorker(context.Context, core.Void) (arrowWorker, error) { return arrowWorker{}, nil }

// Total sums a column of a record that it reads in place.
func (arrowWorker) Total(_ context.Context, in labelled) (float64, error) {
	var sum float64
	for _, v := range in.Rec.Column(0).(*array.Float64).Float64Values() {
		sum += v
	}
	return sum, nil
}

// Echo returns a column.
func (arrowWorker) Echo(_ context.Context, in labelled) (arrow.Array, error) {
	return in.Rec.Column(0), nil
}

var arrowWorkers = core.Register("arrow", newArrowWorker, core.Method(arrowWorker.Total), core.Method(arrowWorker.Echo))

func TestArrowDataTravelsOutOfBand(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	workers, err := arrowWorkers.Spawn(t.Context(), sys, 4, core.Void{})
	require.NoError(t, err)
	for _, n := range []int{0, 10, 100_000} { // inline, and through the store
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Float64}}, nil))
		want := 0.0
		for i := range n {
			b.Field(0).(*array.Float64Builder).Append(float64(i))
			want += float64(i)
		}
		in := labelled{"x", b.NewRecord()}
		for _, w := range workers {
			got, err := core.Call(t.Context(), w, arrowWorker.Total, in).Get(t.Context())
			require.NoError(t, err)
			require.InDelta(t, want, got, 0)
			col, err := core.Call(t.Context(), w, arrowWorker.Echo, in).Get(t.Context())
			require.NoError(t, err)
			require.True(t, array.Equal(in.Rec.Column(0), col))
		}
		in.Rec.Release()
		b.Release()
	}
}
