// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tutti-go/tutti/internal/wire"
)

func TestSkipLeavesTheRest(t *testing.T) {
	whole := []byte("abcdefg")
	for n := range len(whole) + 1 {
		parts := [][]byte{[]byte("abc"), {}, []byte("d"), []byte("efg")}
		rest := wire.Skip(parts, n)
		assert.Equal(t, string(whole[n:]), string(slices.Concat(rest...)), "%d bytes", n)
		if n == len(whole) {
			assert.Empty(t, rest)
		}
	}
}
