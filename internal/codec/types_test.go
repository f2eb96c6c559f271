// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/internal/codec"
)

// The types below cover every rule of the package doc.

type (
	vec   []float32
	level int16
	flag  bool
	name  string
)

type scalars struct {
	B    bool
	I    int
	I8   int8
	I16  int16
	I32  int32
	I64  int64
	U    uint
	U8   uint8
	U16  uint16
	U32  uint32
	U64  uint64
	F32  float32
	F64  float64
	C64  complex64
	C128 complex128
	S    string
	L    level
	Fl   flag
	N    name
}

type bulks struct {
	Bytes []byte
	Bools []bool
	I     []int
	I8    []int8
	I16   []int16
	I32   []int32
	I64   []int64
	U     []uint
	U16   []uint16
	U32   []uint32
	U64   []uint64
	F32   []float32
	F64   []float64
	C64   []complex64
	C128  []complex128
	Vec   vec
	Level []level
	Flags []flag
}

type embedded struct{ Hidden []float64 }

// Embedded is embedded by pointer.
type Embedded struct{ Shown []int32 }

type rich struct {
	embedded
	*Embedded

	Scalars  scalars
	Bulks    *bulks
	Many     []bulks
	Pointers []*scalars
	Grid     [][]float32
	Table    [2][3]int16
	Pair     [2]bulks
	Strings  []string
	ByName   map[string][]float64
	ByKey    map[[2]level]*embedded
	ByTime   map[time.Time]string
	Deep     map[string]map[int]vec
	Twice    **int
	ToSlice  *[]float32
	ToMap    *map[string]bool
	When     time.Time
	Big      *big.Int
	Addr     netip.Addr
	Empty    struct{}
	Message  *wrapperspb.StringValue
	Skipped  []float32 `cbor:"-"`
	SkippedJ []float32 `json:"-"`
	Tagged   []float32 `cbor:"t,omitempty"`
	private  []float32
}

type tree struct {
	Data []float32
	Kids []*tree
	Left *tree
	Any  any
	Map  map[string]*tree
}

type nest []nest

// column is handled as a whole by the extension columns, like an Arrow array.
type column interface{ Cells() []int64 }

type memColumn struct {
	label string
	cells []int64
}

func (m *memColumn) Cells() []int64 { return m.cells }

type columns struct{}

func (columns) Match(t reflect.Type) bool {
	return t == reflect.TypeFor[column]() || t == reflect.TypeFor[*memColumn]()
}

func (columns) Encode(v any) ([]byte, [][]byte, error) {
	m, ok := v.(*memColumn)
	if !ok {
		return nil, nil, fmt.Errorf("no column: %T", v)
	}
	if m.label == "bad" {
		return nil, nil, errBad
	}
	inner, err := codec.Encode(codec.New(), m.cells)
	return []byte(m.label), append(inner.Bufs, nil), err
}

func (columns) Decode(_ reflect.Type, meta []byte, bufs [][]byte, mode codec.Mode) (any, error) {
	switch string(meta) {
	case "refused":
		return nil, errBad
	case "stranger":
		return 7, nil
	case "nothing":
		return nil, nil
	}
	if len(bufs) == 0 {
		return nil, errors.New("too few buffers")
	}
	cells, err := codec.Decode[[]int64](codec.New(), codec.Value{Bufs: bufs[:len(bufs)-1]}, mode)
	if err != nil {
		return nil, err
	}
	return &memColumn{label: string(meta), cells: cells}, nil
}

var errBad = errors.New("bad column")

type sheet struct {
	Title  string
	First  column
	Second *memColumn
	All    []column
	After  []float64
}

// shout marshals itself as text, and fails when empty.
type shout struct{ text string }

func (s shout) MarshalText() ([]byte, error) {
	if s.text == "fail" {
		return nil, errBad
	}
	return []byte(s.text), nil
}

func (s *shout) UnmarshalText(b []byte) error {
	if string(b) == "refuse" {
		return errBad
	}
	s.text = string(b)
	return nil
}

// half only prints itself, which is no way to send it.
type half int

func (h half) MarshalText() ([]byte, error) { return []byte("half"), nil }
