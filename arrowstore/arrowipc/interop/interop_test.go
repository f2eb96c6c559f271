// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/arrowstore/arrowipc"
)

func openStore(t *testing.T) *arrowstore.Store {
	t.Helper()
	st, err := arrowstore.Open(filepath.Join(t.TempDir(), "store"), arrowstore.Limit(64<<20))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

// column is an array of every layout that both versions and the IPC format have, as its values in JSON.
type column struct {
	dt   arrow.DataType
	json string
}

func columns() map[string]column {
	str, i32 := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32
	union := []arrow.Field{{Name: "i", Type: i32, Nullable: true}, {Name: "s", Type: str, Nullable: true}}
	codes := []arrow.UnionTypeCode{5, 2}
	all := map[string]column{
		"null":            {arrow.Null, `[null,null,null]`},
		"bool":            {arrow.FixedWidthTypes.Boolean, `[true,null,false]`},
		"float16":         {arrow.FixedWidthTypes.Float16, `[1.5,null,2]`},
		"string":          {str, `["a",null,"long enough to matter"]`},
		"binary":          {arrow.BinaryTypes.Binary, `["AAEC",null,""]`},
		"large string":    {arrow.BinaryTypes.LargeString, `["a",null,"bb"]`},
		"large binary":    {arrow.BinaryTypes.LargeBinary, `["AAEC",null,""]`},
		"fixed binary":    {&arrow.FixedSizeBinaryType{ByteWidth: 3}, `["AAEC",null,"AwQF"]`},
		"timestamp":       {&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, `["2026-11-23 17:11:15Z",null,null]`},
		"time32":          {arrow.FixedWidthTypes.Time32ms, `["17:11:15",null,"00:00:01"]`},
		"time64":          {arrow.FixedWidthTypes.Time64ns, `["17:11:15",null,"00:00:01"]`},
		"date32":          {arrow.FixedWidthTypes.Date32, `["2026-11-23",null,"1970-01-01"]`},
		"date64":          {arrow.FixedWidthTypes.Date64, `["2026-11-23",null,"1970-01-01"]`},
		"duration":        {arrow.FixedWidthTypes.Duration_us, `["12us",null,"1us"]`},
		"month interval":  {arrow.FixedWidthTypes.MonthInterval, `[{"months":3},null,{"months":4}]`},
		"day interval":    {arrow.FixedWidthTypes.DayTimeInterval, `[{"days":3,"milliseconds":4},null,{"days":0,"milliseconds":0}]`},
		"mdn interval":    {arrow.FixedWidthTypes.MonthDayNanoInterval, `[{"months":1,"days":3,"nanoseconds":4},null,null]`},
		"decimal128":      {&arrow.Decimal128Type{Precision: 20, Scale: 3}, `["12.345",null,"1"]`},
		"decimal256":      {&arrow.Decimal256Type{Precision: 50, Scale: 2}, `["12.5",null,"1"]`},
		"list":            {arrow.ListOf(i32), `[[1,2],null,[3,null]]`},
		"large list":      {arrow.LargeListOf(str), `[["a"],null,["b",null]]`},
		"fixed list":      {arrow.FixedSizeListOf(2, i32), `[[1,2],null,[3,null]]`},
		"struct":          {arrow.StructOf(arrow.Field{Name: "a", Type: i32, Nullable: true}, arrow.Field{Name: "b", Type: arrow.ListOf(str), Nullable: true}), `[{"a":1,"b":["x","y"]},null,{"a":null,"b":null}]`},
		"map":             {arrow.MapOf(str, i32), `[[{"key":"a","value":1}],null,[{"key":"b","value":null}]]`},
		"sparse union":    {arrow.SparseUnionOf(union, codes), `[[5,1],[2,"x"],[5,null]]`},
		"dense union":     {arrow.DenseUnionOf(union, codes), `[[5,1],[2,"x"],[5,7]]`},
		"dictionary":      {&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: str}, `["a","b","a"]`},
		"string view":     {arrow.BinaryTypes.StringView, `["a",null,"much longer than twelve bytes, so that it is out of line"]`},
		"binary view":     {arrow.BinaryTypes.BinaryView, `["AAEC",null,"AAECAAECAAECAAECAAECAAECAAECAAECAAECAAEC"]`},
		"list view":       {arrow.ListViewOf(i32), `[[1,2],null,[3,null]]`},
		"large list view": {arrow.LargeListViewOf(i32), `[[1,2],null,[3,null]]`},
		"run ends":        {arrow.RunEndEncodedOf(i32, str), `["a","a","b"]`},
	}
	for _, dt := range []arrow.DataType{
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, i32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
	} {
		all[dt.Name()] = column{dt, `[1,null,3]`}
	}
	return all
}

func record(t *testing.T, c column) arrow.RecordBatch {
	t.Helper()
	arr, _, err := array.FromJSON(memory.DefaultAllocator, c.dt, strings.NewReader(c.json))
	require.NoError(t, err)
	defer arr.Release()
	md := arrow.NewMetadata([]string{"made"}, []string{"by v18"})
	return array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "column", Type: arr.DataType(), Nullable: true}}, &md), []arrow.Array{arr}, int64(arr.Len()))
}

// TestThereAndBack has v18 write a record, the store read it, and v18 read what the store writes of it, as a stream and as a
// file.
func TestThereAndBack(t *testing.T) {
	st := openStore(t)
	for name, c := range columns() {
		t.Run(name, func(t *testing.T) {
			want := record(t, c)
			defer want.Release()
			for kind, data := range map[string][]byte{"stream": stream(t, want), "file": file(t, want)} {
				objs, err := arrowipc.Read(bytes.NewReader(data), st)
				require.NoError(t, err, kind)
				require.Len(t, objs, 1)
				requireReads(t, want, objs[0])
				objs[0].Release()
				require.NoError(t, st.Delete(objs[0].ID()))
			}
		})
	}
	require.Zero(t, st.Stats().Used)
}

// TestLaterTypes has v18 write what v15 does not have: it is refused, and nothing is left behind.
func TestLaterTypes(t *testing.T) {
	st := openStore(t)
	for name, c := range map[string]column{
		"decimal32": {&arrow.Decimal32Type{Precision: 5, Scale: 1}, `["1.5",null]`},
		"decimal64": {&arrow.Decimal64Type{Precision: 15, Scale: 1}, `["1.5",null]`},
	} {
		t.Run(name, func(t *testing.T) {
			rec := record(t, c)
			defer rec.Release()
			_, err := arrowipc.Read(bytes.NewReader(stream(t, rec)), st)
			require.ErrorIs(t, err, arrowstore.ErrCorrupt)
			require.Zero(t, st.Stats().Used)
		})
	}
}

func stream(t *testing.T, rec arrow.RecordBatch) []byte {
	t.Helper()
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(rec.Schema()))
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	return b.Bytes()
}

func file(t *testing.T, rec arrow.RecordBatch) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file.arrow"))
	require.NoError(t, err)
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(rec.Schema()))
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return b
}

// requireReads sees that v18 reads the record out of what the store writes.
func requireReads(t *testing.T, want arrow.RecordBatch, o *arrowstore.Object) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, arrowipc.Write(&b, o))
	rd, err := ipc.NewReader(&b)
	require.NoError(t, err)
	defer rd.Release()
	got, err := rd.Read()
	require.NoError(t, err)
	requireSame(t, want, got)
	_, err = rd.Read()
	require.ErrorIs(t, err, io.EOF)

	f, err := os.Create(filepath.Join(t.TempDir(), "file.arrow"))
	require.NoError(t, err)
	require.NoError(t, arrowipc.WriteFile(f, o))
	fr, err := ipc.NewFileReader(f)
	require.NoError(t, err)
	require.Equal(t, 1, fr.NumRecords())
	got, err = fr.RecordBatchAt(0)
	require.NoError(t, err)
	defer got.Release()
	requireSame(t, want, got)
	require.NoError(t, fr.Close())
	require.NoError(t, f.Close())
}

func requireSame(t *testing.T, want, got arrow.RecordBatch) {
	t.Helper()
	require.True(t, want.Schema().Equal(got.Schema()), "%v, not %v", got.Schema(), want.Schema())
	require.Equal(t, want.Schema().Metadata(), got.Schema().Metadata())
	require.True(t, array.RecordEqual(want, got), "%v, not %v", got, want)
}
