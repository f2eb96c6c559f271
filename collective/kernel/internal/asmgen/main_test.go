// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFilesInTheTreeAreCurrent(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		files, err := generate(arch)
		require.NoError(t, err)
		for _, f := range files {
			have, err := os.ReadFile(filepath.Join("..", "..", f.name))
			require.NoError(t, err)
			if string(have) != string(f.text) { // too long to be shown
				t.Errorf("%s is not what asmgen writes: run go generate ./collective/kernel", f.name)
			}
		}
	}
}

func TestUnknownProcessorsAreRefused(t *testing.T) {
	_, err := generate("vax")
	require.EqualError(t, err, `-arch is "vax", want amd64 or arm64`)
}
