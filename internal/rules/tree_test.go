// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/tutti-go/tutti"

// tree is what the rules look at: the repository, or a few files of a test.
type tree struct {
	files     []*file
	documents map[string]string // Markdown, by slash-separated path
	exists    func(path string) bool
}

// file is one Go file. Build constraints are ignored: rules hold on every system and under every tag.
type file struct {
	path      string // slash-separated, from the root
	source    []byte
	syntax    *ast.File
	fset      *token.FileSet
	generated bool
	nested    bool // belongs to a module below the root, such as tools
}

func (f *file) dir() string { return path.Dir(f.path) }

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) isMain() bool { return f.syntax.Name.Name == "main" }

// at describes a violation at a position of the file.
func (f *file) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// imports returns the import paths of the file with the node of each.
func (f *file) imports() map[string]*ast.ImportSpec {
	found := make(map[string]*ast.ImportSpec, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		if importPath, err := strconv.Unquote(spec.Path.Value); err == nil { // the parser let only valid strings through
			found[importPath] = spec
		}
	}
	return found
}

func newFile(name string, source []byte) (*file, error) {
	f := &file{path: name, source: source, fset: token.NewFileSet()}
	var err error
	f.syntax, err = parser.ParseFile(f.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.generated = ast.IsGenerated(f.syntax)
	return f, nil
}

// readRepository reads the tree this package is part of, once for all tests, which leave it as it is.
var readRepository = sync.OnceValues(func() (*tree, error) {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	return readTree(dir)
})

func repository(t *testing.T) *tree {
	t.Helper()
	tr, err := readRepository()
	require.NoError(t, err)
	require.NotEmpty(t, tr.files)
	return tr
}

// root returns the directory of the go.mod above this package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "go.mod"))
	return dir
}

func readTree(dir string) (*tree, error) {
	tr := &tree{documents: make(map[string]string)}
	tr.exists = func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err == nil
	}
	nested := make(map[string]bool) // directories of nested modules
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			nested[relative] = nested[path.Dir(relative)] || tr.exists(relative+"/go.mod")
			return nil
		}
		return tr.read(name, relative, nested[path.Dir(relative)])
	})
	return tr, err
}

func (tr *tree) read(name, relative string, nested bool) error {
	extension := path.Ext(relative)
	if extension != ".go" && extension != ".md" || strings.HasSuffix(strings.TrimSuffix(relative, "_test.go"), "_go127") || strings.HasSuffix(relative, "_go127.go") {
		return nil // files of Go 1.27 cannot be parsed by this one: docs/decisions/0014
	}
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if extension == ".md" {
		tr.documents[relative] = string(source)
		return nil
	}
	f, err := newFile(relative, source)
	if err != nil {
		return err
	}
	f.nested = nested
	tr.files = append(tr.files, f)
	return nil
}

// packages groups the files of the main module by directory.
func (tr *tree) packages() map[string][]*file {
	found := make(map[string][]*file)
	for _, f := range tr.files {
		if !f.nested {
			found[f.dir()] = append(found[f.dir()], f)
		}
	}
	return found
}

// report fails the test with every violation, in order of file and line.
func report(t *testing.T, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range slices.Compact(violations) {
		t.Error(v)
	}
}

// goCommand runs the go command in the root with additions to the environment and returns its standard output.
func goCommand(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
