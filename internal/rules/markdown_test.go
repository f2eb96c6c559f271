// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeProgramsCompile vets each Go block of README.md as a package of this module. The go command sees the blocks through
// an overlay, so that nothing is written into the tree.
func TestReadmeProgramsCompile(t *testing.T) {
	tr := repository(t)
	require.Contains(t, tr.documents, "README.md")
	for _, block := range goBlocks(tr.documents["README.md"]) {
		t.Run(fmt.Sprintf("line %d", block.line), func(t *testing.T) {
			require.NoError(t, vetBlock(t, block))
		})
	}
}

// vetBlock takes testdata for the directory of the package, because vet changes into it.
func vetBlock(t *testing.T, block codeBlock) error {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		return err
	}
	source := filepath.Join(t.TempDir(), fmt.Sprintf("readme_line_%d.go", block.line))
	if err := os.WriteFile(source, []byte(block.text), 0o600); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(dir, filepath.Base(source)): source},
	})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	_, err = goCommand(t, nil, "vet", "-overlay", overlayFile, dir)
	return err
}

func TestReadmeBlocksThatDoNotCompileAreFound(t *testing.T) {
	const text = "```go\npackage main\n\nfunc main() {}\n```\n\n```go\npackage main\n\nfunc main() { undefined() }\n```\n"
	blocks := goBlocks(text)
	require.Len(t, blocks, 2)
	require.NoError(t, vetBlock(t, blocks[0]))
	err := vetBlock(t, blocks[1])
	require.Error(t, err)
	assert.Contains(t, err.Error(), "undefined: undefined")
}

// codeBlock is a fenced block of Go, with the line its fence is on.
type codeBlock struct {
	line int
	text string
}

func goBlocks(document string) []codeBlock {
	var blocks []codeBlock
	var inside, goCode bool
	for i, line := range strings.SplitAfter(document, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !inside:
			inside, goCode = true, fence == "go"
			if goCode {
				blocks = append(blocks, codeBlock{line: i + 1})
			}
		case isFence:
			inside = false
		case inside && goCode:
			blocks[len(blocks)-1].text += line
		}
	}
	return blocks
}

func TestRelativeLinksInDocumentsResolve(t *testing.T) { report(t, brokenLinks(repository(t))) }

// link matches the target of an inline link or image, and of a reference definition.
var link = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)|^\s*\[[^\]]+\]:\s+<?([^\s>]+)`)

func brokenLinks(tr *tree) []string {
	var violations []string
	for name, text := range tr.documents {
		inside := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				inside = !inside
			}
			if inside {
				continue
			}
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				target, _, _ := strings.Cut(match[1]+match[2], "#")
				if target == "" || strings.Contains(target, ":") { // a heading of this file, or a URL
					continue
				}
				if !tr.exists(path.Join(path.Dir(name), target)) {
					violations = append(violations, fmt.Sprintf("%s:%d: %s does not exist", name, i+1, target))
				}
			}
		}
	}
	return violations
}

func TestRulesOnLinks(t *testing.T) {
	testRules(t, []ruleTest{{
		name: "links", rule: brokenLinks,
		files: map[string]string{
			"README.md": "[a](docs/a.md#part) ![b](missing.png \"title\")\n[web](https://example.org) [top](#top)\n" +
				"```\n[code](nothing.md)\n```\n[mail](mailto:a@example.org)\n\n[ref]: gone.md\n",
			"docs/a.md": "[back](../README.md) [wrong](README.md)\n",
		},
		want: []string{
			"README.md:1: missing.png does not exist",
			"README.md:8: gone.md does not exist",
			"docs/a.md:1: README.md does not exist",
		},
	}})
}
