// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
)

// maxNesting bounds how deep a type may be nested, and so the recursion of everything that follows types.
const maxNesting = 64

// appendType appends a description of an Arrow type: its id, then its parameters and the fields below it. Arrow's own
// description, a flatbuffer schema, is neither bounded nor cheap to read, so this is a plain one in varints.
func appendType(b []byte, dt arrow.DataType, depth int) ([]byte, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("type nested more than %d deep: %w", maxNesting, ErrTooLarge)
	}
	if dt == nil {
		return nil, fmt.Errorf("no type: %w", ErrType)
	}
	b = append(b, byte(dt.ID()))
	switch t := dt.(type) {
	case arrow.ExtensionType:
		b = appendString(appendString(b, t.ExtensionName()), t.Serialize())
		return appendType(b, t.StorageType(), depth+1)
	case *arrow.DictionaryType:
		b = appendBool(b, t.Ordered)
		b, err := appendType(b, t.IndexType, depth+1)
		if err != nil {
			return nil, err
		}
		return appendType(b, t.ValueType, depth+1)
	case *arrow.RunEndEncodedType:
		b = appendBool(b, t.ValueNullable)
		b, err := appendType(b, t.RunEnds(), depth+1)
		if err != nil {
			return nil, err
		}
		return appendType(b, t.Encoded(), depth+1)
	case *arrow.MapType:
		b = appendBool(b, t.KeysSorted)
		return appendFields(b, []arrow.Field{t.KeyField(), t.ItemField()}, depth+1)
	case arrow.UnionType:
		for _, c := range t.TypeCodes() {
			if c < 0 {
				return nil, fmt.Errorf("union type code %d: %w", c, ErrType)
			}
		}
		if len(t.TypeCodes()) != t.NumFields() {
			return nil, fmt.Errorf("union of %d fields and %d type codes: %w", t.NumFields(), len(t.TypeCodes()), ErrType)
		}
		b, err := appendFields(b, t.Fields(), depth+1)
		for _, c := range t.TypeCodes() {
			b = append(b, byte(c))
		}
		return b, err
	case *arrow.FixedSizeListType:
		return appendFields(binary.AppendUvarint(b, uint64(t.Len())), t.Fields(), depth+1)
	case arrow.NestedType:
		return appendFields(b, t.Fields(), depth+1)
	}
	return appendParameters(b, dt)
}

// appendParameters appends what types without children have besides their id.
func appendParameters(b []byte, dt arrow.DataType) ([]byte, error) {
	switch t := dt.(type) {
	case *arrow.FixedSizeBinaryType:
		return binary.AppendUvarint(b, uint64(t.ByteWidth)), nil
	case *arrow.TimestampType:
		return appendString(append(b, byte(t.Unit)), t.TimeZone), nil
	case arrow.TemporalWithUnit: // times and durations
		return append(b, byte(t.TimeUnit())), nil
	case arrow.DecimalType:
		return binary.AppendVarint(binary.AppendVarint(b, int64(t.GetPrecision())), int64(t.GetScale())), nil
	}
	if plainType(dt.ID()) == nil {
		return nil, fmt.Errorf("type %v: %w", dt, ErrType)
	}
	return b, nil
}

func appendFields(b []byte, fields []arrow.Field, depth int) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(fields)))
	var err error
	for _, f := range fields {
		b = appendBool(appendString(b, f.Name), f.Nullable)
		b = appendMetadata(b, f.Metadata)
		if b, err = appendType(b, f.Type, depth); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
	}
	return b, nil
}

func appendMetadata(b []byte, m arrow.Metadata) []byte {
	b = binary.AppendUvarint(b, uint64(m.Len()))
	for i, k := range m.Keys() {
		b = appendString(appendString(b, k), m.Values()[i])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// description reads what the append functions wrote. The first thing wrong sets err, and everything read after it is
// zero; counts are bounded by the bytes that are left, so that nothing is allocated on the word of a number.
type description struct {
	b    []byte
	text string // the whole of it, of which b is the end: strings are cut out of one copy
	err  error
	// extended is set by an extension type: what was read depends on what the process has registered.
	extended bool
}

func (d *description) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("Arrow description: "+format+": %w", append(args, ErrCorrupt)...)
	}
	d.b = nil
}

func (d *description) byte() byte {
	if len(d.b) == 0 {
		d.fail("it ends early")
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *description) bool() bool {
	c := d.byte()
	if c > 1 {
		d.fail("%d for a truth value", c)
	}
	return c == 1
}

// uint reads a number of at most bound.
func (d *description) uint(bound uint64) int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > bound {
		d.fail("a number is missing or above %d", bound)
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *description) int32() int32 {
	v, n := binary.Varint(d.b)
	if n <= 0 || int64(int32(v)) != v {
		d.fail("a number is missing or too large")
		return 0
	}
	d.b = d.b[n:]
	return int32(v)
}

// count reads a number of things of at least size bytes each that are still to come.
func (d *description) count(size int) int { return d.uint(uint64(len(d.b) / size)) }

func (d *description) string() string {
	n := d.count(1)
	if d.err != nil {
		return ""
	}
	from := len(d.text) - len(d.b)
	d.b = d.b[n:]
	return d.text[from : from+n]
}

func (d *description) metadata() arrow.Metadata {
	n := d.count(2)
	if n == 0 {
		return arrow.Metadata{}
	}
	keys, values := make([]string, n), make([]string, n)
	for i := range n {
		keys[i], values[i] = d.string(), d.string()
	}
	return arrow.NewMetadata(keys, values)
}

func (d *description) fields(depth int) []arrow.Field {
	fields := make([]arrow.Field, d.count(4))
	for i := range fields {
		fields[i].Name = d.string()
		fields[i].Nullable = d.bool()
		fields[i].Metadata = d.metadata()
		fields[i].Type = d.dataType(depth)
	}
	return fields
}

// dataType reads a type. After an error it returns a type all the same, so that callers need not look.
func (d *description) dataType(depth int) arrow.DataType {
	if depth > maxNesting {
		d.fail("a type is nested more than %d deep", maxNesting)
	}
	id := arrow.Type(d.byte())
	if d.err != nil {
		return arrow.Null
	}
	if t := plainType(id); t != nil {
		return t
	}
	if t := d.parameterType(id); t != nil {
		return t
	}
	if t := d.encodedType(id, depth); t != nil {
		return t
	}
	return d.nestedType(id, depth)
}

// plainType returns a type that is said by its id alone, or nil.
func plainType(id arrow.Type) arrow.DataType {
	switch id {
	case arrow.NULL:
		return arrow.Null
	case arrow.BOOL:
		return arrow.FixedWidthTypes.Boolean
	case arrow.UINT8:
		return arrow.PrimitiveTypes.Uint8
	case arrow.INT8:
		return arrow.PrimitiveTypes.Int8
	case arrow.UINT16:
		return arrow.PrimitiveTypes.Uint16
	case arrow.INT16:
		return arrow.PrimitiveTypes.Int16
	case arrow.UINT32:
		return arrow.PrimitiveTypes.Uint32
	case arrow.INT32:
		return arrow.PrimitiveTypes.Int32
	case arrow.UINT64:
		return arrow.PrimitiveTypes.Uint64
	case arrow.INT64:
		return arrow.PrimitiveTypes.Int64
	case arrow.FLOAT16:
		return arrow.FixedWidthTypes.Float16
	case arrow.FLOAT32:
		return arrow.PrimitiveTypes.Float32
	case arrow.FLOAT64:
		return arrow.PrimitiveTypes.Float64
	case arrow.DATE32:
		return arrow.PrimitiveTypes.Date32
	case arrow.DATE64:
		return arrow.PrimitiveTypes.Date64
	case arrow.INTERVAL_MONTHS:
		return arrow.FixedWidthTypes.MonthInterval
	case arrow.INTERVAL_DAY_TIME:
		return arrow.FixedWidthTypes.DayTimeInterval
	case arrow.INTERVAL_MONTH_DAY_NANO:
		return arrow.FixedWidthTypes.MonthDayNanoInterval
	case arrow.STRING:
		return arrow.BinaryTypes.String
	case arrow.BINARY:
		return arrow.BinaryTypes.Binary
	case arrow.LARGE_STRING:
		return arrow.BinaryTypes.LargeString
	case arrow.LARGE_BINARY:
		return arrow.BinaryTypes.LargeBinary
	case arrow.STRING_VIEW:
		return arrow.BinaryTypes.StringView
	case arrow.BINARY_VIEW:
		return arrow.BinaryTypes.BinaryView
	default:
		return nil
	}
}

func (d *description) parameterType(id arrow.Type) arrow.DataType {
	switch id {
	case arrow.FIXED_SIZE_BINARY:
		return &arrow.FixedSizeBinaryType{ByteWidth: d.uint(1 << 31)}
	case arrow.TIMESTAMP:
		unit := d.unit()
		return &arrow.TimestampType{Unit: unit, TimeZone: d.string()}
	case arrow.TIME32:
		return &arrow.Time32Type{Unit: d.unit()}
	case arrow.TIME64:
		return &arrow.Time64Type{Unit: d.unit()}
	case arrow.DURATION:
		return &arrow.DurationType{Unit: d.unit()}
	case arrow.DECIMAL128:
		p := d.int32()
		return &arrow.Decimal128Type{Precision: p, Scale: d.int32()}
	case arrow.DECIMAL256:
		p := d.int32()
		return &arrow.Decimal256Type{Precision: p, Scale: d.int32()}
	default:
		return nil
	}
}

func (d *description) unit() arrow.TimeUnit {
	u := arrow.TimeUnit(d.byte())
	if u > arrow.Nanosecond {
		d.fail("time unit %d", u)
	}
	return u
}

// encodedType reads the types whose values are encoded by another type.
func (d *description) encodedType(id arrow.Type, depth int) arrow.DataType {
	switch id {
	case arrow.EXTENSION:
		name, data := d.string(), d.string()
		storage := d.dataType(depth + 1)
		return d.extension(name, data, storage)
	case arrow.DICTIONARY:
		ordered := d.bool()
		index := d.dataType(depth + 1)
		if !arrow.IsInteger(index.ID()) {
			d.fail("dictionary indexed by %v", index)
		}
		return &arrow.DictionaryType{Ordered: ordered, IndexType: index, ValueType: d.dataType(depth + 1)}
	case arrow.RUN_END_ENCODED:
		nullable := d.bool()
		ends := d.dataType(depth + 1)
		t := arrow.RunEndEncodedOf(ends, d.dataType(depth+1))
		t.ValueNullable = nullable
		if !t.ValidRunEndsType(ends) {
			d.fail("run ends of type %v", ends)
		}
		return t
	default:
		return nil
	}
}

// extension returns the registered extension type. Without one the data cannot be given its meaning, and is refused
// rather than passed on as something else.
func (d *description) extension(name, data string, storage arrow.DataType) arrow.DataType {
	if d.err != nil {
		return arrow.Null
	}
	d.extended = true
	registered := arrow.GetExtensionType(name)
	if registered == nil {
		d.err = fmt.Errorf("extension type %q is not registered in this process: %w", name, ErrType)
		return arrow.Null
	}
	t, err := registered.Deserialize(storage, data)
	if err != nil {
		d.err = fmt.Errorf("extension type %q: %w: %w", name, ErrType, err)
		return arrow.Null
	}
	if !arrow.TypeEqual(t.StorageType(), storage) {
		d.fail("extension type %q stores %v, not %v", name, t.StorageType(), storage)
	}
	return t
}

func (d *description) nestedType(id arrow.Type, depth int) arrow.DataType {
	var n int
	if id == arrow.FIXED_SIZE_LIST {
		n = d.uint(1<<31 - 1)
	}
	sorted := id == arrow.MAP && d.bool()
	fields := d.fields(depth + 1)
	want := -1
	switch id {
	case arrow.LIST, arrow.LARGE_LIST, arrow.LIST_VIEW, arrow.LARGE_LIST_VIEW, arrow.FIXED_SIZE_LIST:
		want = 1
	case arrow.MAP:
		want = 2
	case arrow.STRUCT, arrow.SPARSE_UNION, arrow.DENSE_UNION:
	default:
		d.fail("type id %d", id)
	}
	if want >= 0 && len(fields) != want || id == arrow.FIXED_SIZE_LIST && n == 0 {
		d.fail("type id %d with %d fields", id, len(fields))
	}
	if d.err != nil {
		return arrow.Null
	}
	switch id {
	case arrow.LIST:
		return arrow.ListOfField(fields[0])
	case arrow.LARGE_LIST:
		return arrow.LargeListOfField(fields[0])
	case arrow.LIST_VIEW:
		return arrow.ListViewOfField(fields[0])
	case arrow.LARGE_LIST_VIEW:
		return arrow.LargeListViewOfField(fields[0])
	case arrow.FIXED_SIZE_LIST:
		return arrow.FixedSizeListOfField(int32(n), fields[0])
	case arrow.MAP:
		t := arrow.MapOfWithMetadata(fields[0].Type, fields[0].Metadata, fields[1].Type, fields[1].Metadata)
		t.KeysSorted = sorted
		t.SetItemNullable(fields[1].Nullable)
		return t
	case arrow.STRUCT:
		return arrow.StructOf(fields...)
	default:
		return d.union(id, fields)
	}
}

func (d *description) union(id arrow.Type, fields []arrow.Field) arrow.DataType {
	codes := make([]arrow.UnionTypeCode, len(fields))
	for i := range codes {
		c := d.byte()
		if c > byte(arrow.MaxUnionTypeCode) {
			d.fail("union type code %d", c)
			return arrow.Null
		}
		codes[i] = arrow.UnionTypeCode(c)
	}
	if id == arrow.SPARSE_UNION {
		return arrow.SparseUnionOf(fields, codes)
	}
	return arrow.DenseUnionOf(fields, codes)
}
