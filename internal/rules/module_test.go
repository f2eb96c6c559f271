// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/deps.txt instead of comparing with it")

// direct lists the modules that this one may require directly; each is used. Anything else belongs in a nested module.
var direct = []string{
	"github.com/apache/arrow/go/v15",
	"github.com/fxamacker/cbor/v2",
	"github.com/stretchr/testify", // tests only
	"golang.org/x/sync",
	"golang.org/x/sys",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

// goMod is the part of `go mod edit -json` that the rules look at.
type goMod struct {
	Module  struct{ Path string }
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace []struct{ Old struct{ Path string } }
	Exclude []struct{ Path string }
	Tool    []struct{ Path string }
}

func TestDirectRequirementsAreTheAllowedOnes(t *testing.T) {
	mod := readGoMod(t)
	assert.Equal(t, modulePath, mod.Module.Path)
	assert.Empty(t, mod.Replace, "go.mod must not replace: users of the library would not get it")
	assert.Empty(t, mod.Exclude, "go.mod must not exclude: users of the library would not get it")
	assert.Empty(t, mod.Tool, "tools belong in tools/go.mod")
	var required []string
	for _, r := range mod.Require {
		if !r.Indirect {
			required = append(required, r.Path)
		}
	}
	for _, r := range required {
		assert.Contains(t, direct, r, "go.mod requires a module that is not on the list in internal/rules")
	}
	for _, r := range direct {
		assert.Contains(t, required, r, "the list in internal/rules has a module that go.mod does not require directly")
	}
}

func readGoMod(t *testing.T) goMod {
	t.Helper()
	_, err := os.ReadFile(filepath.Join(root(t), "go.mod")) // tells the test cache that the result depends on it
	require.NoError(t, err)
	out, err := goCommand(t, nil, "mod", "edit", "-json")
	require.NoError(t, err)
	var mod goMod
	require.NoError(t, json.Unmarshal([]byte(out), &mod))
	return mod
}

// TestLibraryDependsOnTheReviewedModules compares the modules that a user of the library compiles on Linux, by name, with a
// file in which a new one shows in review.
func TestLibraryDependsOnTheReviewedModules(t *testing.T) {
	// That the repository is read tells the test cache that the result depends on every file.
	env := []string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}
	patterns := []string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}
	for dir, files := range repository(t).packages() {
		if !slices.Contains([]string{"cmd", "examples", "bench"}, folder(dir)) && !onlyTests(dir, files) {
			patterns = append(patterns, "./"+dir)
		}
	}
	out, err := goCommand(t, env, patterns...)
	require.NoError(t, err)
	modules := strings.Fields(out)
	slices.Sort(modules)
	got := strings.Join(slices.Compact(modules), "\n") + "\n"
	golden := filepath.Join("testdata", "deps.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "if the change is meant: go test ./internal/rules -update, and say why in the commit")
}

// onlyTests says whether users never compile the package: it has test files only, or is a kit for the tests of this module.
func onlyTests(dir string, files []*file) bool {
	return !slices.ContainsFunc(files, func(f *file) bool { return !f.isTest() }) || within(dir, "internal/leakcheck")
}
