// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/stretchr/testify/require"
)

type half uint16

func TestNumbersOfAnArrayAreItsMemory(t *testing.T) {
	arr := fromJSON(t, arrow.PrimitiveTypes.Float32, `[1, 2, 3, 4, 5]`)
	part := array.NewSlice(arr, 1, 4)
	defer part.Release()
	got, err := Numbers[float32](part)
	require.NoError(t, err)
	require.Equal(t, []float32{2, 3, 4}, got)
	require.Equal(t, 3, cap(got), "what is behind it is not the caller's")
	all, err := Numbers[float32](arr)
	require.NoError(t, err)
	require.Same(t, &all[1], &got[0])

	halves := fromJSON(t, arrow.FixedWidthTypes.Float16, `[1, -2]`)
	bits, err := Numbers[half](halves)
	require.NoError(t, err)
	require.Equal(t, []half{0x3c00, 0xc000}, bits)

	none := fromJSON(t, arrow.PrimitiveTypes.Int64, `[]`)
	empty, err := Numbers[int64](none)
	require.NoError(t, err)
	require.Empty(t, empty)
}

func TestNumbersRefuseNullsAndOtherTypes(t *testing.T) {
	gaps := fromJSON(t, arrow.PrimitiveTypes.Int32, `[1, null, 3]`)
	_, err := Numbers[int32](gaps)
	require.ErrorIs(t, err, ErrType)
	require.ErrorContains(t, err, "1 are null")
	full := array.NewSlice(gaps, 2, 3) // without the null
	defer full.Release()
	got, err := Numbers[int32](full)
	require.NoError(t, err)
	require.Equal(t, []int32{3}, got)
	_, err = Numbers[uint32](gaps)
	require.ErrorIs(t, err, ErrType)
	require.ErrorContains(t, err, "int32 as numbers of type uint32")
	_, err = Numbers[complex64](gaps)
	require.ErrorIs(t, err, ErrType)
	text := fromJSON(t, arrow.BinaryTypes.String, `["1"]`)
	_, err = Numbers[int8](text)
	require.ErrorIs(t, err, ErrType)
}

func TestAnArrayOfNumbersIsTheSlice(t *testing.T) {
	values := []float64{1, 2, 3}
	arr, err := ArrayOf(values)
	require.NoError(t, err)
	defer arr.Release()
	want := fromJSON(t, arrow.PrimitiveTypes.Float64, `[1, 2, 3]`)
	require.True(t, array.Equal(want, arr))
	back, err := Numbers[float64](arr)
	require.NoError(t, err)
	require.Same(t, &values[0], &back[0])
	none, err := ArrayOf[int]([]int{})
	require.NoError(t, err)
	defer none.Release()
	require.Zero(t, none.Len())
	_, err = ArrayOf([]complex128{1})
	require.ErrorIs(t, err, ErrType)
}
