// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// BenchmarkPutRecord puts a record that was built in the store: nothing but the description is copied.
func BenchmarkPutRecord(b *testing.B) {
	for _, rows := range []int{100, 1_000_000} {
		for _, built := range []string{"store", "heap"} {
			b.Run(fmt.Sprintf("columns=10/rows=%d/built=%s", rows, built), func(b *testing.B) {
				s := openStore(b, storeDir(b), Limit(8<<30))
				mem := memory.DefaultAllocator
				if built == "store" {
					mem = s.Allocator()
				}
				rec := numbersRecord(mem, 10, rows)
				defer rec.Release()
				b.ReportAllocs()
				for b.Loop() {
					o, err := s.PutRecord(rec)
					noError(b, err)
					o.Release()
					noError(b, s.Delete(o.ID()))
				}
				if built == "store" {
					reportTimes(b, perLoop(b), 2*time.Microsecond, putFloor(b, s, rec))
				}
			})
		}
	}
}

// putFloor is to put the description of a value alone.
func putFloor(b *testing.B, s *Store, rec arrow.Record) time.Duration {
	meta, _, err := Flatten(rec)
	noError(b, err)
	return meanOf(func() {
		o, err := s.Put(meta)
		noError(b, err)
		o.Release()
		noError(b, s.Delete(o.ID()))
	})
}

func numbersRecord(mem memory.Allocator, columns, rows int) arrow.Record {
	var fields []arrow.Field
	for i := range columns {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("column", i), Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	b := array.NewRecordBuilder(mem, arrow.NewSchema(fields, nil))
	defer b.Release()
	values := make([]float64, rows)
	for _, f := range b.Fields() {
		f.(*array.Float64Builder).AppendValues(values, nil) //nolint:errcheck // they are all of this type
	}
	return b.NewRecord()
}

// BenchmarkSealParts is what the allocator's users pay for a put, whatever the size: one buffer and a description.
func BenchmarkSealParts(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			s := openStore(b, storeDir(b), Limit(4<<30))
			buf := s.Allocator().Allocate(size)
			defer s.Allocator().Free(buf)
			meta := []byte("description")
			b.ReportAllocs()
			for b.Loop() {
				o, err := s.Seal(meta, buf)
				noError(b, err)
				o.Release()
				noError(b, s.Delete(o.ID()))
			}
			reportTimes(b, perLoop(b), 2*time.Microsecond, mapFloor(b, size))
		})
	}
}

// BenchmarkRecord reopens a record of 100 columns in another store, and reads none or all of its columns.
func BenchmarkRecord(b *testing.B) {
	for _, read := range []int{0, 100} {
		b.Run(fmt.Sprintf("columns=100/read=%d", read), func(b *testing.B) {
			dir := storeDir(b)
			s := openStore(b, dir, Limit(4<<30))
			rec := wideRecord(b, memory.DefaultAllocator, 100, 1000)
			defer rec.Release()
			o, err := s.PutRecord(rec)
			noError(b, err)
			defer o.Release()
			from := openStore(b, dir)
			b.ReportAllocs()
			for b.Loop() {
				got, err := from.Get(o.ID())
				noError(b, err)
				r, err := from.Record(got)
				noError(b, err)
				got.Release()
				for i := range read {
					r.Column(i)
				}
				r.Release()
			}
			reportTimes(b, perLoop(b), 50*time.Microsecond, recordFloor(rec))
		})
	}
}
