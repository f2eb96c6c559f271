// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ruleTest is a small tree and what a rule must say about it: want holds the beginning of each violation, in order.
type ruleTest struct {
	name  string
	rule  func(*tree) []string
	files map[string]string
	want  []string
}

func testRules(t *testing.T, tests []ruleTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.rule(newTree(t, tt.files))
			slices.Sort(got)
			require.Len(t, got, len(tt.want), "%q", got)
			for i, want := range tt.want {
				assert.Contains(t, got[i], want)
			}
		})
	}
}

func newTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	tr := &tree{documents: make(map[string]string)}
	tr.exists = func(name string) bool { _, ok := files[name]; return ok }
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if len(name) > 3 && name[len(name)-3:] == ".md" {
			tr.documents[name] = files[name]
			continue
		}
		f, err := newFile(name, []byte(files[name]))
		require.NoError(t, err)
		tr.files = append(tr.files, f)
	}
	return tr
}
