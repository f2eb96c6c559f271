// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// below lists, for each folder of the module, which other folders it may import: section 3 of the design, in which imports
// point down only. Every folder may import packages of its own.
var below = map[string][]string{
	"internal":   {},
	"arrowstore": {"internal"},
	"core":       {"arrowstore", "internal"},
	"batch":      {"core", "arrowstore", "internal"},
	"pool":       {"batch", "core", "arrowstore", "internal"},
	"collective": {"batch", "core", "arrowstore", "internal"},
	"cmd":        {"pool", "collective", "batch", "core", "arrowstore", "internal"},
	"examples":   {"pool", "collective", "batch", "core", "arrowstore", "internal"},
	"bench":      {"pool", "collective", "batch", "core", "arrowstore", "internal"},
}

// ban says that nobody but the listed folders may import a package or anything below it.
type ban struct {
	imported string
	except   []string
	tests    bool // test files may import it
	reason   string
}

var bans = []ban{
	{
		imported: "github.com/apache/arrow/go/v15/parquet", reason: "its thrift has known CVEs",
	},
	{
		imported: "github.com/apache/arrow/go/v15/arrow/flight", reason: "it brings a second gRPC service and its CVEs",
	},
	{
		imported: "github.com/apache/arrow", except: []string{"arrowstore", "examples", "bench"},
		reason: "only arrowstore knows Arrow",
	},
	{
		imported: "testing", except: []string{"core/coretest", "internal/leakcheck"}, tests: true,
		reason: "only tests and test kits may",
	},
	{
		imported: "github.com/stretchr/testify", except: []string{"core/coretest"}, tests: true,
		reason: "only tests and test kits may",
	},
}

func TestImportsPointDown(t *testing.T) { report(t, directions(repository(t))) }

func TestNobodyImportsWhatIsBanned(t *testing.T) { report(t, bannedImports(repository(t))) }

// directions wants the imports between folders to be in the table. Test files may import anything that the compiler lets them.
func directions(tr *tree) []string {
	var violations []string
	for _, f := range tr.files {
		if f.nested || f.isTest() {
			continue
		}
		from := folder(f.dir())
		allowed, known := below[from]
		if !known {
			violations = append(violations, f.at(f.syntax.Package, "folder %s has no place in the layers; give it one in internal/rules", from))
			continue
		}
		for imported, spec := range f.imports() {
			to, ours := strings.CutPrefix(imported, modulePath+"/")
			if ours && folder(to) != from && !slices.Contains(allowed, folder(to)) {
				violations = append(violations, f.at(spec.Pos(), "%s may not import %s: imports point down only", from, to))
			}
		}
	}
	return violations
}

// folder returns the first element of a path.
func folder(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

func bannedImports(tr *tree) []string {
	var violations []string
	for _, f := range tr.files {
		if f.nested {
			continue
		}
		for imported, spec := range f.imports() {
			i := slices.IndexFunc(bans, func(b ban) bool { return within(imported, b.imported) })
			if i < 0 || (bans[i].tests && f.isTest()) {
				continue
			}
			if !slices.ContainsFunc(bans[i].except, func(dir string) bool { return within(f.dir(), dir) }) {
				violations = append(violations, f.at(spec.Pos(), "imports %s: %s", imported, bans[i].reason))
			}
		}
	}
	return violations
}

// within says whether name is parent or lies below it.
func within(name, parent string) bool {
	return name == parent || strings.HasPrefix(name, parent+"/")
}

func TestRulesOnImports(t *testing.T) {
	source := func(imports ...string) string {
		var text strings.Builder
		text.WriteString(header + "package p\n")
		for _, imported := range imports {
			fmt.Fprintf(&text, "\nimport _ %q\n", imported)
		}
		return text.String()
	}
	const arrow = "github.com/apache/arrow/go/v15/"
	testRules(t, []ruleTest{
		{
			name: "direction", rule: directions,
			files: map[string]string{
				"internal/wire/a.go":      source(modulePath+"/internal/link", "fmt"),
				"internal/wire/b.go":      source(modulePath + "/core"),
				"internal/wire/b_test.go": source(modulePath + "/core"),
				"core/a.go":               source(modulePath+"/arrowstore", modulePath+"/internal/wire"),
				"core/b.go":               source(modulePath + "/batch"),
				"pool/a.go":               source(modulePath+"/batch", modulePath+"/core"),
				"pool/b.go":               source(modulePath + "/collective"),
				"collective/kernel/a.go":  source(modulePath + "/collective/schedule"),
				"arrowstore/a.go":         source(modulePath + "/core/coretest"),
				"examples/train/a.go":     source(modulePath+"/collective", modulePath+"/pool"),
				"extra/a.go":              source(),
				"a.go":                    source(),
			},
			want: []string{
				"a.go:4: folder . has no place",
				"arrowstore/a.go:6: arrowstore may not import core/coretest",
				"core/b.go:6: core may not import batch",
				"extra/a.go:4: folder extra has no place",
				"internal/wire/b.go:6: internal may not import core",
				"pool/b.go:6: pool may not import collective",
			},
		},
		{
			name: "bans", rule: bannedImports,
			files: map[string]string{
				"arrowstore/a.go":           source(arrow + "arrow/memory"),
				"arrowstore/b.go":           source(arrow+"parquet/file", arrow+"arrow/flight"),
				"core/a.go":                 source(arrow+"arrow", "testing"),
				"core/a_test.go":            source(arrow+"arrow", "testing", "github.com/stretchr/testify/require"),
				"core/b.go":                 source("github.com/stretchr/testify/require", "testing/fstest"),
				"core/coretest/a.go":        source("testing"),
				"internal/leakcheck/lib.go": source("testing"),
			},
			want: []string{
				"arrowstore/b.go:6: imports github.com/apache/arrow/go/v15/parquet/file: its thrift",
				"arrowstore/b.go:8: imports github.com/apache/arrow/go/v15/arrow/flight: it brings",
				"core/a.go:6: imports github.com/apache/arrow/go/v15/arrow: only arrowstore",
				"core/a.go:8: imports testing: only tests",
				"core/a_test.go:6: imports github.com/apache/arrow/go/v15/arrow: only arrowstore",
				"core/b.go:6: imports github.com/stretchr/testify/require: only tests",
				"core/b.go:8: imports testing/fstest: only tests",
			},
		},
	})
}
