// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func checkTruth[T comparable](t *testing.T, in, want []T) {
	t.Helper()
	for range 3 { // what is 0 or 1 stays so
		Truth(typeOf[T](), memory(in))
		require.Equal(t, want, in)
	}
}

func TestTruthsAreZeroOrOne(t *testing.T) {
	minusZero := math.Copysign(0, -1)
	checkTruth(t, []int8{0, 1, -128, 64}, []int8{0, 1, 1, 1})
	checkTruth(t, []uint8{0, 255}, []uint8{0, 1})
	checkTruth(t, []int16{0, 256}, []int16{0, 1})
	checkTruth(t, []uint32{0, 1 << 31}, []uint32{0, 1})
	checkTruth(t, []int64{0, math.MinInt64, 1 << 32}, []int64{0, 1, 1})
	checkTruth(t, []float32{0, float32(minusZero), math.SmallestNonzeroFloat32, float32(math.NaN()), -3}, []float32{0, 0, 1, 1, 1})
	checkTruth(t, []float64{0, minusZero, math.Inf(-1), math.NaN(), 1}, []float64{0, 0, 1, 1, 1})
	checkTruth(t, []Float16{0, 1 << 15, 1, NewFloat16(-2)}, []Float16{0, 0, NewFloat16(1), NewFloat16(1)})
	checkTruth(t, []BFloat16{0, 1 << 15, 1, NewBFloat16(-2)}, []BFloat16{0, 0, NewBFloat16(1), NewBFloat16(1)})
	zeros := []float64{minusZero}
	Truth(F64, memory(zeros))
	require.False(t, math.Signbit(zeros[0]), "of -0")
	Truth(F32, nil)
}
