// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// forbidden lists the functions of the standard library that library code may not use. Tests may.
var forbidden = map[string]map[string]string{
	"time": {
		"Sleep": "wait on a timer, the context and the close signal together",
		"After": "use a timer that its owner stops",
		"Tick":  "use a ticker that its owner stops",
	},
	"context": {
		"Background": "accept a context",
		"TODO":       "accept a context",
	},
}

// rootContexts lists, as package directory and function, who may make a context from nothing, and why.
var rootContexts = map[string]string{
	"core.drive":     "it is the main function of a driver, before which there is no context",
	"core.ServeNode": "it is the main function of a node, before which there is no context",
}

func TestNothingForbiddenIsUsed(t *testing.T) { report(t, forbiddenUses(repository(t))) }

// forbiddenUses also wants no init functions. Programs may make contexts, but not sleep.
func forbiddenUses(tr *tree) []string {
	var violations []string
	for _, f := range tr.files {
		if f.isTest() || f.generated {
			continue
		}
		names := forbiddenImports(f)
		for _, decl := range f.syntax.Decls {
			where := ""
			if function, ok := decl.(*ast.FuncDecl); ok {
				where = f.dir() + "." + function.Name.Name
				if function.Recv == nil && function.Name.Name == "init" {
					violations = append(violations, f.at(function.Pos(), "init functions are forbidden: say it where it is used"))
				}
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if name, reason, pos := forbiddenUse(n, names); reason != "" && !mayMakeContext(f, name, where) {
					violations = append(violations, f.at(pos, "%s is forbidden: %s", name, reason))
				}
				return true
			})
		}
	}
	return violations
}

// forbiddenImports returns, by the name they have in the file, the packages it imports that have forbidden functions.
func forbiddenImports(f *file) map[string]string {
	names := make(map[string]string)
	for imported, spec := range f.imports() {
		if _, ok := forbidden[imported]; !ok {
			continue
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	return names
}

func forbiddenUse(n ast.Node, names map[string]string) (name, reason string, pos token.Pos) {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", token.NoPos
	}
	receiver, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", "", token.NoPos
	}
	imported := names[receiver.Name]
	return imported + "." + selector.Sel.Name, forbidden[imported][selector.Sel.Name], selector.Pos()
}

func mayMakeContext(f *file, name, where string) bool {
	if !strings.HasPrefix(name, "context.") {
		return false
	}
	_, allowed := rootContexts[where]
	return allowed || f.isMain()
}

func TestRulesOnForbiddenUses(t *testing.T) {
	const imports = "import (\n\tctx \"context\"\n\t\"time\"\n)\n"
	const uses = `
func ServeNode() { ctx.Background() }

func Other() { ctx.TODO(); time.Sleep(0); <-time.After(0); time.NewTimer(0) }

func init() {}

var x = ctx.Background()
`
	testRules(t, []ruleTest{{
		name: "uses", rule: forbiddenUses,
		files: map[string]string{
			"core/a.go":       "package core\n" + imports + uses,
			"core/a_test.go":  "package core\n" + imports + uses,
			"core/fine.go":    "package core\n\ntype time struct{ Sleep int }\n\nfunc (t time) init() { time := t; _ = time.Sleep }\n",
			"cmd/app/main.go": "package main\n" + imports + uses,
		},
		want: []string{
			"cmd/app/main.go:11: init functions are forbidden",
			"cmd/app/main.go:9: time.After is forbidden",
			"cmd/app/main.go:9: time.Sleep is forbidden",
			"core/a.go:11: init functions are forbidden",
			"core/a.go:13: context.Background is forbidden",
			"core/a.go:9: context.TODO is forbidden",
			"core/a.go:9: time.After is forbidden",
			"core/a.go:9: time.Sleep is forbidden",
		},
	}})
}
