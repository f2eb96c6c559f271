// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestMain(m *testing.M) { coretest.Main(m) }

func TestIdentifiersOfThisExampleAreCounted(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	var out, screen strings.Builder
	if err := run(t.Context(), sys, ".", &out, &screen); err != nil {
		t.Fatal(err)
	}
	// What a plain loop counts in the same files.
	files, err := goFiles(".")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, f := range files {
		counts, err := (&Lexer{}).Identifiers(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range counts {
			want[name] += n
		}
	}
	var expected strings.Builder
	report(&expected, want, len(files))
	if out.String() != expected.String() {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), expected.String())
	}
	if !strings.Contains(screen.String(), "2/2") {
		t.Errorf("the bar did not reach its end: %q", screen.String())
	}
}

func TestAFileThatCannotBeReadIsOneError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "b", "gone.go")
	_, err := (&Lexer{}).Identifiers(t.Context(), missing)
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v, want an error that names %s", err, missing)
	}
	if _, err := goFiles(filepath.Join(dir, "b")); err == nil {
		t.Error("a directory without Go files was accepted")
	}
}
