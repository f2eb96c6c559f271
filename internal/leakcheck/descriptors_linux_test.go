// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunReportsDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "open")
	code, report := run(runs(func() int {
		f, err := os.Create(path)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, f.Close()) })
		r, w, err := os.Pipe()
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, r.Close()); assert.NoError(t, w.Close()) })
		return 0
	}), settings{patience: impatient})
	assert.Equal(t, 1, code)
	assert.Contains(t, report, "left 3 behind")
	assert.Contains(t, report, "-> "+path)
	assert.Equal(t, 2, strings.Count(report, "-> pipe:["))
}
