// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// proofs are the documents that name the tests which hold what they say.
var proofs = []string{"docs/faults.md", "docs/guarantees.md", timeoutsDoc}

// proof matches a package in backquotes, and the name of a test of it, whose end may be left out.
var proof = regexp.MustCompile("`([a-z][a-z0-9/_]*)`|\\b(Test[A-Z]\\w*)(\\.\\.\\.)?")

func TestEveryTestThatIsNamedAsAProofIsThere(t *testing.T) {
	tr := repository(t)
	var violations []string
	for _, name := range proofs {
		violations = append(violations, missingProofs(tr, name)...)
	}
	report(t, violations)
}

// missingProofs wants every test that a table names in the package that it is said to be in.
func missingProofs(tr *tree, name string) []string {
	tests := map[string][]string{}
	for _, f := range tr.files {
		if !f.isTest() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				tests[f.dir()] = append(tests[f.dir()], fn.Name.Name)
			}
		}
	}
	if tr.documents[name] == "" {
		return []string{name + ": is not there"}
	}
	var violations []string
	for i, line := range strings.Split(tr.documents[name], "\n") {
		pkg := ""
		for _, m := range proof.FindAllStringSubmatch(line, -1) {
			if m[1] != "" {
				pkg = m[1]
				continue
			}
			if !has(tests[pkg], m[2], m[3] != "") {
				violations = append(violations, fmt.Sprintf("%s:%d: package %q has no %s", name, i+1, pkg, m[2]))
			}
		}
	}
	return violations
}

func has(tests []string, name string, prefix bool) bool {
	for _, test := range tests {
		if test == name || prefix && strings.HasPrefix(test, name) {
			return true
		}
	}
	return false
}

func TestRuleOnProofs(t *testing.T) {
	testRules(t, []ruleTest{{
		name: "proofs", rule: func(tr *tree) []string { return missingProofs(tr, "docs/faults.md") },
		files: map[string]string{
			"docs/faults.md":  "| it | is | `core` TestThis, TestTha...; `batch` TestOther |\n| it | is | TestThis |\n| `core.Err` | `batch` TestThis, TestTha... |\n",
			"core/a_test.go":  "package core\n\nfunc TestThis() {}\n\nfunc TestThat() {}\n\nfunc (x) TestOther() {}\n",
			"batch/a.go":      "package batch\n\nfunc TestThis() {}\n",
			"batch/a_test.go": "package batch\n\nfunc TestOther() {}\n",
		},
		want: []string{
			`docs/faults.md:2: package "" has no TestThis`,
			`docs/faults.md:3: package "batch" has no TestTha`,
			`docs/faults.md:3: package "batch" has no TestThis`,
		},
	}})
}
