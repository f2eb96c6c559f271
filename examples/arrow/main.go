// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Arrow sends one Arrow record to 64 actors on 4 node processes. The record's columns are copied once, into shared
// memory, and every actor reads them there.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/core"
)

const actors = 64

// Query is the argument of a call: a record beside plain fields.
type Query struct {
	Column int
	Rows   arrow.Record
}

// Summer adds up a column.
type Summer struct{}

// NewSummer makes a Summer.
func NewSummer(context.Context, core.Void) (*Summer, error) { return &Summer{}, nil }

// Sum returns the sum of a column. The record is valid until Sum returns, and is not to be released.
func (s *Summer) Sum(_ context.Context, q Query) (float64, error) {
	column, ok := q.Rows.Column(q.Column).(*array.Float64)
	if !ok {
		return 0, fmt.Errorf("column %d holds %v, not float64", q.Column, q.Rows.Column(q.Column).DataType())
	}
	var sum float64
	for _, v := range column.Float64Values() {
		sum += v
	}
	return sum, nil
}

// Copy returns a column, to show that Arrow data comes back as well.
func (s *Summer) Copy(_ context.Context, q Query) (arrow.Array, error) {
	return q.Rows.Column(q.Column), nil
}

var summers = core.Register("summer", NewSummer, core.Method((*Summer).Sum), core.Method((*Summer).Copy))

func main() { core.Main(run, core.LocalNodes(4)) }

func run(ctx context.Context, sys *core.System) error {
	handles, err := summers.Spawn(ctx, sys, actors, core.Void{})
	if err != nil {
		return err
	}
	rec := numbers(1 << 20)
	defer rec.Release()
	began := time.Now()
	refs, err := batch.Call(ctx, batch.New(handles), (*Summer).Sum, Query{Column: 0, Rows: rec})
	if err != nil {
		return err
	}
	sums, err := refs.Get(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d actors read %d rows (%d MiB, stored once) in %v: sum %.0f\n",
		len(sums), rec.NumRows(), rec.NumRows()*8>>20, time.Since(began).Round(100*time.Microsecond), sums[0])
	return nil
}

// numbers returns a record with one column: 0, 1, 2, ...
func numbers(rows int) arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Float64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	column := make([]float64, rows)
	for i := range column {
		column[i] = float64(i)
	}
	b.Field(0).(*array.Float64Builder).AppendValues(column, nil) //nolint:errcheck // the schema says so
	return b.NewRecord()
}
