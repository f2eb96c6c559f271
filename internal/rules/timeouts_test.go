// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// timeoutsDoc is the table of all timers.
const timeoutsDoc = "docs/timeouts.md"

var (
	timer = regexp.MustCompile(`\b(time\.(NewTimer|NewTicker|AfterFunc)|context\.(AfterFunc|With(Timeout|Deadline)(Cause)?))\(|\.Set(Read|Write)?Deadline\(`)
	// untimed are packages whose waits are not in the table: collective has its own, the others are for tests.
	untimed = regexp.MustCompile(`^(collective|bench|cmd|examples|tools|core/coretest|internal/(leakcheck|rules))(/|$)`)
	named   = regexp.MustCompile("`([a-z0-9_/]+\\.go)`")
)

func TestEveryTimerIsInTheTable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root(t), timeoutsDoc))
	require.NoError(t, err)
	report(t, unlistedTimers(repository(t), string(doc)))
}

// unlistedTimers wants every file with a timer or a deadline in the table, and every file that the table names.
func unlistedTimers(tr *tree, doc string) []string {
	listed := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(doc, -1) {
		listed[m[1]] = true
	}
	var violations []string
	for _, f := range tr.files {
		if f.isTest() || f.nested || untimed.MatchString(f.dir()) {
			continue
		}
		if at := timer.FindIndex(f.source); at != nil && !listed[f.path] {
			violations = append(violations, f.path+": has a timer that "+timeoutsDoc+" does not name: "+
				strings.TrimSpace(string(f.source[at[0]:at[1]])))
		}
		delete(listed, f.path)
	}
	for path := range listed {
		violations = append(violations, timeoutsDoc+": names "+path+", which is not there")
	}
	return violations
}

func TestRuleOnTimers(t *testing.T) {
	const timed = "package core\n\nvar t = time.NewTimer(0)\n"
	testRules(t, []ruleTest{{
		name: "timers", rule: func(tr *tree) []string { return unlistedTimers(tr, "`core/listed.go` and `core/gone.go`") },
		files: map[string]string{
			"core/listed.go":        timed,
			"core/fine.go":          "package core\n\nvar t = time.Now()\n",
			"core/a_test.go":        timed,
			"collective/timed.go":   timed,
			"core/unlisted.go":      timed,
			"internal/link/conn.go": "package link\n\nfunc f() { c.SetReadDeadline(d) }\n",
		},
		want: []string{
			"core/unlisted.go: has a timer that docs/timeouts.md does not name: time.NewTimer(",
			"docs/timeouts.md: names core/gone.go, which is not there",
			"internal/link/conn.go: has a timer that docs/timeouts.md does not name: .SetReadDeadline(",
		},
	}})
}
