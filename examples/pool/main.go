// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Pool counts the identifiers in all Go files below a directory, by default those of the installed Go itself: some ten thousand files of
// very different sizes, spread over actors in one process for each core. A progress bar follows the work, and every file that cannot
// be read is one error and not the end.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/pool"
)

// Lexer reads Go files.
type Lexer struct{}

// NewLexer makes a Lexer.
func NewLexer(context.Context, core.Void) (*Lexer, error) { return &Lexer{}, nil }

// Identifiers returns how often each identifier stands in a file.
func (l *Lexer) Identifiers(_ context.Context, path string) (map[string]int, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	var s scanner.Scanner
	fset := token.NewFileSet()
	s.Init(fset.AddFile(path, fset.Base(), len(source)), source, func(token.Position, string) {}, 0) // test data holds errors on purpose
	for {
		_, tok, text := s.Scan()
		if tok == token.EOF {
			return counts, nil
		}
		if tok == token.IDENT {
			counts[text]++
		}
	}
}

var lexers = core.Register("lexer", NewLexer, core.Method((*Lexer).Identifiers))

func main() {
	dir := flag.String("dir", "", "directory to read; default: the source of the installed Go")
	flag.Parse()
	core.Main(func(ctx context.Context, sys *core.System) error { return run(ctx, sys, *dir, os.Stdout, os.Stderr) },
		core.LocalNodes(runtime.NumCPU()))
}

// run writes the most frequent identifiers to out, and shows how far it is on screen.
func run(ctx context.Context, sys *core.System, dir string, out, screen io.Writer) error {
	if dir == "" {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("where is Go's source? Name a directory with -dir: %w", err)
		}
		dir = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	files, err := goFiles(dir)
	if err != nil {
		return err
	}
	handles, err := lexers.Spawn(ctx, sys, 4*runtime.NumCPU(), core.Void{})
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions(len(files), progressbar.OptionSetWriter(screen), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("files"), progressbar.OptionSetDescription("reading"))
	p, err := pool.New(handles, pool.InFlight(2), pool.OnProgress(50*time.Millisecond, func(at pool.Progress) {
		_ = bar.Set(int(at.Done + at.Failed)) // it fails beyond the end only
	}))
	if err != nil {
		return err
	}
	total, failed := count(pool.MapUnordered(ctx, p, (*Lexer).Identifiers, slices.Values(files)))
	p.Close() // with the last report of progress
	fmt.Fprintln(screen)
	report(out, total, len(files)-len(failed))
	return errors.Join(failed...)
}

// count adds up the counts of all files, in whatever order they come.
func count(results iter.Seq2[pool.Indexed[map[string]int], error]) (total map[string]int, failed []error) {
	total = map[string]int{}
	for counts, err := range results {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for name, n := range counts.Value {
			total[name] += n
		}
	}
	return total, failed
}

// report writes the ten most frequent identifiers.
func report(out io.Writer, total map[string]int, files int) {
	names := slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		return cmp.Or(cmp.Compare(total[b], total[a]), cmp.Compare(a, b))
	})
	fmt.Fprintf(out, "%d different identifiers in %d files; the most frequent:\n", len(names), files)
	for _, name := range names[:min(10, len(names))] {
		fmt.Fprintf(out, "%9d  %s\n", total[name], name)
	}
}

// goFiles returns the Go files below dir.
func goFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".go" {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no Go files below %s", dir)
	}
	return files, err
}
