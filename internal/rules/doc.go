// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package rules holds the rules of this repository as tests: which package may import which, that everything exported is
// documented, how long files and functions may be, what the module may depend on, that the programs in README.md compile.
// A rule that needs exceptions lists them beside itself, each with its reason.
//
//	go test ./internal/rules                  # every violation with its file and line
//	go test ./internal/rules -update          # accept the list of modules that the library now needs
//
// Concurrency: the tests only read the tree, which must not change meanwhile. Memory: nothing is shared. Failure: a rule
// prints all its violations, not just the first. Test kit: every rule is a function over a tree of files, and is tested on a
// small tree that breaks it.
package rules
