// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"path"
	"strings"
	"testing"
)

const header = "// SPDX-FileCopyrightText: The Tutti Authors\n// SPDX-License-Identifier: Apache-2.0\n\n"

func TestEveryGoFileHasTheLicenceHeader(t *testing.T) { report(t, headers(repository(t))) }

func TestEveryPackageHasOnePackageDoc(t *testing.T) { report(t, packageDocs(repository(t))) }

func TestEveryExportedSymbolIsDocumented(t *testing.T) { report(t, exportedDocs(repository(t))) }

// headers wants the two SPDX lines at the top of each Go file, and a blank line that keeps them out of the package doc.
func headers(tr *tree) []string {
	var violations []string
	for _, f := range tr.files {
		if !strings.HasPrefix(string(f.source), header) {
			violations = append(violations, f.path+":1: does not begin with the two SPDX lines and a blank line")
		}
	}
	return violations
}

// packageDocs wants one package doc for each package, in doc.go; a program may have it in any file.
func packageDocs(tr *tree) []string {
	var violations []string
	for dir, files := range tr.packages() {
		var documented []string
		var written int // files that people wrote and that are not tests
		var program bool
		for _, f := range files {
			if f.isTest() || f.generated {
				continue
			}
			written++
			program = f.isMain()
			if f.syntax.Doc == nil {
				continue
			}
			documented = append(documented, path.Base(f.path))
			start := "Package " + f.syntax.Name.Name + " "
			if !program && !strings.HasPrefix(f.syntax.Doc.Text(), start) {
				violations = append(violations, f.at(f.syntax.Doc.Pos(), "the package doc does not begin with %q", start))
			}
		}
		switch {
		case written == 0:
		case len(documented) != 1:
			violations = append(violations, fmt.Sprintf("%s: %d files have a package doc, want 1: %v", dir, len(documented), documented))
		case !program && documented[0] != "doc.go":
			violations = append(violations, fmt.Sprintf("%s: the package doc is in %s, want it in doc.go", dir, documented[0]))
		}
	}
	return violations
}

// exportedDocs wants a comment that ends with a full stop on everything that can be seen from other packages.
func exportedDocs(tr *tree) []string {
	var violations []string
	for _, f := range tr.files {
		if f.isTest() || f.generated || f.isMain() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && receiverIsExported(decl) {
					violations = append(violations, documented(f, decl.Name, decl.Doc)...)
				}
			case *ast.GenDecl:
				violations = append(violations, genDeclDocs(f, decl)...)
			}
		}
	}
	return violations
}

func genDeclDocs(f *file, decl *ast.GenDecl) []string {
	var violations []string
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				doc := spec.Doc
				if !decl.Lparen.IsValid() {
					doc = decl.Doc
				}
				violations = append(violations, documented(f, spec.Name, doc)...)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() { // one comment may speak for a group of constants or variables
					violations = append(violations, documented(f, name, spec.Doc, decl.Doc, spec.Comment)...)
				}
			}
		}
	}
	return violations
}

// receiverIsExported says whether decl is a function, or a method of an exported type.
func receiverIsExported(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	receiver := decl.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return true
		}
	}
}

// documented takes the first comment there is.
func documented(f *file, name *ast.Ident, comments ...*ast.CommentGroup) []string {
	for _, comment := range comments {
		text := strings.TrimSpace(comment.Text())
		if text == "" {
			continue
		}
		last := text[strings.LastIndexByte(text, '\n')+1:]
		indented := strings.HasPrefix(last, "\t") || strings.HasPrefix(last, " ") // an example or a list
		if strings.HasSuffix(last, ".") || indented {
			return nil
		}
		return []string{f.at(comment.Pos(), "the comment of %s does not end with a full stop", name.Name)}
	}
	return []string{f.at(name.Pos(), "exported %s has no comment", name.Name)}
}

func TestRulesOnDocs(t *testing.T) {
	const doc = header + "// Package p is a package.\npackage p\n"
	testRules(t, []ruleTest{
		{
			name: "licence header", rule: headers,
			files: map[string]string{
				"p/a.go": doc,
				"p/b.go": "package p\n",
				"p/c.go": strings.TrimSuffix(header, "\n") + "package p\n",
				"p/d.go": "//go:build linux\n\n" + header + "package p\n",
			},
			want: []string{"p/b.go:1: ", "p/c.go:1: ", "p/d.go:1: "},
		},
		{
			name: "package doc", rule: packageDocs,
			files: map[string]string{
				"good/doc.go":            strings.ReplaceAll(doc, " p", " good"),
				"good/good_test.go":      header + "package good_test\n",
				"none/none.go":           header + "package none\n",
				"two/doc.go":             strings.ReplaceAll(doc, " p", " two"),
				"two/two.go":             strings.ReplaceAll(doc, " p", " two"),
				"elsewhere/x.go":         strings.ReplaceAll(doc, " p", " elsewhere"),
				"cmd/tutti/main.go":      header + "// Tutti is a program.\npackage main\n",
				"pb/x.pb.go":             "// Code generated by x. DO NOT EDIT.\n\npackage pb\n",
				"misnamed/doc.go":        header + "// Something else.\npackage misnamed\n",
				"onlytests/some_test.go": header + "package onlytests\n",
			},
			want: []string{
				`elsewhere: the package doc is in x.go, want it in doc.go`,
				`misnamed/doc.go:4: the package doc does not begin with "Package misnamed "`,
				`none: 0 files have a package doc, want 1: []`,
				`two: 2 files have a package doc, want 1: [doc.go two.go]`,
			},
		},
		{
			name: "exported symbols", rule: exportedDocs,
			files: map[string]string{
				"p/a.go": header + `package p

// F is documented.
func F() {}

// G is not finished
func G() {}

func H() {}

func h() {}

type T[K any] struct{}

func (t *T[K]) Bad() {}

// Good returns:
//
//	an example
func (t T[K]) Good() {}

type hidden int

func (hidden) String() string { return "" }

// Kinds of things.
const (
	A = iota
	B
)

var C int // C counts, in bytes.

var D, e int

type (
	// In is documented.
	In int

	Out int
)
`,
				"p/a_test.go": header + "package p\n\nfunc InTest() {}\n",
				"m/main.go":   header + "package main\n\nfunc Exported() {}\n",
			},
			want: []string{
				"p/a.go:12: exported H has no comment",
				"p/a.go:16: exported T has no comment",
				"p/a.go:18: exported Bad has no comment",
				"p/a.go:37: exported D has no comment",
				"p/a.go:43: exported Out has no comment",
				"p/a.go:9: the comment of G does not end with a full stop",
			},
		},
	})
}
