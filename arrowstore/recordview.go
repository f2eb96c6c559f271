// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// recordView is a record whose columns become arrays when they are asked for: to open a record of many columns takes no
// longer than to check it, and who reads three of a hundred pays for three. It may be used as any record of Arrow, from any
// goroutine.
type recordView struct {
	refs    atomic.Int64
	schema  *arrow.Schema
	rows    int
	columns []column
	buffers [][]byte
	pin     *pin                          // one count of which is this record's
	making  sync.Mutex                    // of a column
	all     atomic.Pointer[[]arrow.Array] // what Columns returned
}

type column struct {
	head  head // what was checked, of one that is not made yet
	made  atomic.Bool
	array arrow.Array // once it is made
}

func (c *column) set(arr arrow.Array) {
	c.array = arr
	c.made.Store(true)
}

var _ arrow.Record = (*recordView)(nil)

func (u *unflattener) newRecordView(schema *arrow.Schema, rows int) *recordView {
	r := &recordView{schema: schema, rows: rows, columns: make([]column, schema.NumFields()), buffers: u.buffers, pin: u.pin}
	r.refs.Store(1)
	r.pin.count.Add(1)
	return r
}

// Retain implements arrow.Record.
func (r *recordView) Retain() { r.refs.Add(1) }

// Release implements arrow.Record.
func (r *recordView) Release() {
	if r.refs.Add(-1) != 0 {
		return
	}
	for i := range r.columns {
		if c := &r.columns[i]; c.made.Load() {
			c.array.Release()
		}
	}
	r.pin.Free(nil)
}

// Schema implements arrow.Record.
func (r *recordView) Schema() *arrow.Schema { return r.schema }

// NumRows implements arrow.Record.
func (r *recordView) NumRows() int64 { return int64(r.rows) }

// NumCols implements arrow.Record.
func (r *recordView) NumCols() int64 { return int64(len(r.columns)) }

// ColumnName implements arrow.Record.
func (r *recordView) ColumnName(i int) string { return r.schema.Field(i).Name }

// Column implements arrow.Record. The array is made by the first call.
func (r *recordView) Column(i int) arrow.Array {
	c := &r.columns[i]
	if c.made.Load() {
		return c.array
	}
	r.making.Lock()
	defer r.making.Unlock()
	if !c.made.Load() {
		data := r.pin.arrayData(r.schema.Field(i).Type, c.head, r.buffers, nil)
		defer data.Release()
		c.set(array.MakeFromData(data))
	}
	return c.array
}

// Columns implements arrow.Record.
func (r *recordView) Columns() []arrow.Array {
	if all := r.all.Load(); all != nil {
		return *all
	}
	all := make([]arrow.Array, len(r.columns))
	for i := range all {
		all[i] = r.Column(i)
	}
	r.all.Store(&all)
	return all
}

// whole returns the same record as Arrow makes it, which the caller releases.
func (r *recordView) whole() arrow.Record {
	return array.NewRecord(r.schema, r.Columns(), int64(r.rows))
}

// SetColumn implements arrow.Record.
func (r *recordView) SetColumn(i int, col arrow.Array) (arrow.Record, error) {
	w := r.whole()
	defer w.Release()
	return w.SetColumn(i, col)
}

// NewSlice implements arrow.Record.
func (r *recordView) NewSlice(i, j int64) arrow.Record {
	w := r.whole()
	defer w.Release()
	return w.NewSlice(i, j)
}

// MarshalJSON implements json.Marshaler.
func (r *recordView) MarshalJSON() ([]byte, error) {
	w := r.whole()
	defer w.Release()
	return w.MarshalJSON()
}

// String returns what Arrow's own records return.
func (r *recordView) String() string {
	w := r.whole()
	defer w.Release()
	if s, ok := w.(interface{ String() string }); ok {
		return s.String()
	}
	return r.schema.String()
}
