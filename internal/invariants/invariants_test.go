// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package invariants_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/invariants"
)

func TestMangleScribblesOnlyUnderTheTag(t *testing.T) {
	buf := []byte{1, 2, 3}
	invariants.Mangle(buf)
	if invariants.Enabled {
		assert.Equal(t, []byte{0xcc, 0xcc, 0xcc}, buf)
	} else {
		assert.Equal(t, []byte{1, 2, 3}, buf)
	}
}

func TestCloseCheckerCatchesMisuseOnlyUnderTheTag(t *testing.T) {
	misuses := map[string]func(*invariants.CloseChecker){
		"closed twice":     (*invariants.CloseChecker).Close,
		"used after close": (*invariants.CloseChecker).AssertOpen,
	}
	for what, misuse := range misuses {
		t.Run(what, func(t *testing.T) {
			var c invariants.CloseChecker
			c.AssertOpen()
			firstClose(&c)
			if !invariants.Enabled {
				assert.NotPanics(t, func() { misuse(&c) })
				assert.Zero(t, unsafe.Sizeof(c))
				return
			}
			defer func() {
				text, _ := recover().(string) // not a string fails the assertions below
				require.Contains(t, text, what)
				assert.Contains(t, text, "firstClose", "the stack of the closing")
				assert.Contains(t, text, "secondUse", "the stack of the misuse")
			}()
			secondUse(&c, misuse)
		})
	}
}

//go:noinline
func firstClose(c *invariants.CloseChecker) { c.Close() }

//go:noinline
func secondUse(c *invariants.CloseChecker, misuse func(*invariants.CloseChecker)) { misuse(c) }
