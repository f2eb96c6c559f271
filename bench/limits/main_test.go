// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestEveryShapeIsALine(t *testing.T) {
	var out bytes.Buffer
	small := []shape{{4, 2, 0, 1, 0}, {4, 2, 200 << 10, 1, 1}, {4, 3, 0, 0, 0}}
	require.NoError(t, run(t.Context(), &out, small, 3, 2))
	assert.Equal(t, 1+2, bytes.Count(out.Bytes(), []byte("\n")), out.String())
	assert.Contains(t, out.String(), "204800")
}
