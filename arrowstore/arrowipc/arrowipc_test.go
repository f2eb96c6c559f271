// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowipc

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func openStore(t testing.TB, opts ...arrowstore.Option) *arrowstore.Store {
	t.Helper()
	st, err := arrowstore.Open(filepath.Join(t.TempDir(), "store"), append([]arrowstore.Option{arrowstore.Limit(64 << 20)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

// manyColumns returns a record with columns of most layouts.
func manyColumns(t testing.TB) arrow.Record {
	t.Helper()
	str, i32 := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32
	columns := []struct {
		dt   arrow.DataType
		json string
	}{
		{arrow.Null, `[null,null,null]`},
		{arrow.FixedWidthTypes.Boolean, `[true,null,false]`},
		{arrow.PrimitiveTypes.Int64, `[1,null,3]`},
		{arrow.PrimitiveTypes.Float32, `[1.5,null,3]`},
		{str, `["a",null,"longer"]`},
		{arrow.BinaryTypes.LargeBinary, `["AAEC",null,""]`},
		{&arrow.FixedSizeBinaryType{ByteWidth: 3}, `["AAEC",null,"AwQF"]`},
		{&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, `["2026-11-23 17:11:15",null,null]`},
		{&arrow.Decimal128Type{Precision: 20, Scale: 3}, `["12.345",null,"1"]`},
		{arrow.ListOf(i32), `[[1,2],null,[3,null]]`},
		{arrow.FixedSizeListOf(2, i32), `[[1,2],null,[3,null]]`},
		{arrow.StructOf(arrow.Field{Name: "a", Type: i32, Nullable: true}, arrow.Field{Name: "b", Type: str, Nullable: true}), `[{"a":1,"b":"x"},null,{"a":null,"b":null}]`},
		{arrow.MapOf(str, i32), `[[{"key":"a","value":1}],null,[{"key":"b","value":null}]]`},
		{arrow.DenseUnionOf([]arrow.Field{{Name: "i", Type: i32, Nullable: true}, {Name: "s", Type: str, Nullable: true}}, []arrow.UnionTypeCode{5, 2}), `[[5,1],[2,"x"],[5,7]]`},
		{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: str}, `["a","b","a"]`},
		{arrow.RunEndEncodedOf(i32, str), `["a","a","b"]`},
	}
	var fields []arrow.Field
	var arrays []arrow.Array
	for _, c := range columns {
		arr, _, err := array.FromJSON(memory.DefaultAllocator, c.dt, strings.NewReader(c.json))
		require.NoError(t, err)
		defer arr.Release()
		fields = append(fields, arrow.Field{Name: c.dt.Name(), Type: arr.DataType(), Nullable: true})
		arrays = append(arrays, arr)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), arrays, 3)
}

func numbers(t testing.TB, columns, rows int) arrow.Record {
	t.Helper()
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range rows {
		b.Append(int64(i))
	}
	arr := b.NewArray()
	defer arr.Release()
	var fields []arrow.Field
	var arrays []arrow.Array
	for i := range columns {
		fields = append(fields, arrow.Field{Name: strconv.Itoa(i), Type: arr.DataType()})
		arrays = append(arrays, arr)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), arrays, int64(rows))
}

func requireSameRecord(t *testing.T, want, got arrow.Record) {
	t.Helper()
	require.True(t, want.Schema().Equal(got.Schema()))
	for i, c := range want.Columns() {
		for row := range c.Len() {
			require.Equal(t, c.ValueStr(row), got.Column(i).ValueStr(row))
		}
		if c.DataType().ID() != arrow.RUN_END_ENCODED { // array.Equal of v15 never releases what it slices of these
			require.True(t, array.Equal(c, got.Column(i)))
		}
	}
}

func TestWriteThenRead(t *testing.T) {
	s := openStore(t)
	rec := manyColumns(t)
	defer rec.Release()
	var objs []*arrowstore.Object
	for range 3 {
		o, err := s.PutRecord(rec)
		require.NoError(t, err)
		objs = append(objs, o)
	}
	var stream bytes.Buffer
	require.NoError(t, Write(&stream, objs...))
	path := filepath.Join(t.TempDir(), "file.arrow")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, WriteFile(f, objs...))
	require.NoError(t, f.Close())
	file, err := os.ReadFile(path)
	require.NoError(t, err)

	requireArrowReads(t, rec, bytes.NewReader(stream.Bytes()), bytes.NewReader(file))
	for _, data := range [][]byte{stream.Bytes(), file} {
		got, err := Read(bytes.NewReader(data), s)
		require.NoError(t, err)
		require.Len(t, got, 3)
		for _, o := range got {
			r, err := s.Record(o)
			require.NoError(t, err)
			requireSameRecord(t, rec, r)
			r.Release()
			o.Release()
			require.NoError(t, s.Delete(o.ID()))
		}
	}
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	assert.Zero(t, s.Stats().Used)
}

// requireArrowReads sees that Arrow's own readers find the record three times.
func requireArrowReads(t *testing.T, want arrow.Record, stream io.Reader, file ipc.ReadAtSeeker) {
	t.Helper()
	rd, err := ipc.NewReader(stream)
	require.NoError(t, err)
	defer rd.Release()
	for range 3 {
		require.True(t, rd.Next())
		requireSameRecord(t, want, rd.Record())
	}
	require.False(t, rd.Next())
	fr, err := ipc.NewFileReader(file)
	require.NoError(t, err)
	require.Equal(t, 3, fr.NumRecords())
	for i := range 3 {
		r, err := fr.Record(i)
		require.NoError(t, err)
		requireSameRecord(t, want, r)
	}
	require.NoError(t, fr.Close())
}

func TestWriteRefuses(t *testing.T) {
	s := openStore(t)
	require.ErrorIs(t, Write(io.Discard), arrowstore.ErrType)
	plain, err := s.Put([]byte("x"))
	require.NoError(t, err)
	defer plain.Release()
	require.ErrorIs(t, Write(io.Discard, plain), arrowstore.ErrType)
	var objs []*arrowstore.Object
	for _, columns := range []int{2, 3} {
		rec := numbers(t, columns, 3)
		o, err := s.PutRecord(rec)
		require.NoError(t, err)
		rec.Release()
		defer o.Release()
		objs = append(objs, o)
	}
	require.ErrorIs(t, Write(io.Discard, objs...), arrowstore.ErrType)
}

func ipcSeed(t testing.TB) []byte {
	t.Helper()
	s := openStore(t)
	rec := manyColumns(t)
	defer rec.Release()
	o, err := s.PutRecord(rec)
	require.NoError(t, err)
	defer o.Release()
	var b bytes.Buffer
	require.NoError(t, Write(&b, o))
	return b.Bytes()
}

func TestReadOfDamagedStreams(t *testing.T) {
	s := openStore(t, arrowstore.Limit(8<<20))
	good := ipcSeed(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 400 {
		b := bytes.Clone(good)
		for range 1 + rng.IntN(3) {
			b[rng.IntN(len(b))] = byte(rng.IntN(256))
		}
		if rng.IntN(3) == 0 {
			b = b[:rng.IntN(len(b))]
		}
		checkRead(t, s, b)
	}
}

func checkRead(t *testing.T, s *arrowstore.Store, b []byte) {
	t.Helper()
	objs, err := Read(bytes.NewReader(b), s)
	if err != nil {
		known := []error{arrowstore.ErrCorrupt, arrowstore.ErrTooLarge, arrowstore.ErrNoSpace, arrowstore.ErrType}
		require.True(t, slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }), err)
	}
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	require.Zero(t, s.Stats().Objects)
	require.Zero(t, s.Stats().Used)
}

func TestReadBoundsWhatIsClaimed(t *testing.T) {
	s := openStore(t, arrowstore.Limit(1<<20))
	_, err := Read(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x70}), s)
	require.ErrorIs(t, err, arrowstore.ErrTooLarge)
	_, err = Read(strings.NewReader("no Arrow stream at all"), s)
	require.ErrorIs(t, err, arrowstore.ErrCorrupt)
	_, err = Read(strings.NewReader(""), s)
	require.ErrorIs(t, err, arrowstore.ErrCorrupt)
	rec := numbers(t, 3, 200_000)
	defer rec.Release()
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(rec.Schema()))
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	_, err = Read(&b, s)
	require.ErrorIs(t, err, arrowstore.ErrTooLarge)
	assert.Zero(t, s.Stats().Used)
}

func FuzzRead(f *testing.F) {
	f.Add(ipcSeed(f))
	f.Add([]byte(fileMagic))
	s := openStore(f, arrowstore.Limit(1<<20))
	f.Fuzz(func(t *testing.T, b []byte) { checkRead(t, s, b) })
}
