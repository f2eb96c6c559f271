// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// line returns a line of the file with all pixels equal.
func line(pixel, label string) string { return strings.Repeat(pixel+",", pixels) + label + "\n" }

func TestDatasetHasAllDigits(t *testing.T) {
	digits, err := dataset()
	require.NoError(t, err)
	require.Len(t, digits, trainLines+testLines)
	var seen [classes]int
	for _, d := range digits {
		seen[d.Label]++
	}
	for label, n := range seen {
		assert.Greater(t, n, 150, "digits with label %d", label)
	}
	assert.InDelta(t, 13.0/16, digits[0].Inputs[3], 0)
	assert.InDelta(t, 1, digits[0].Inputs[pixels], 0, "the input of the biases")
}

func TestLicenceGoesWithTheData(t *testing.T) {
	licence, err := files.ReadFile("digits.LICENCE.txt")
	require.NoError(t, err)
	assert.Contains(t, string(licence), "CC BY 4.0")
	assert.Contains(t, string(licence), "Alpaydin")
}

func TestBadDataIsRefusedWithLineAndColumn(t *testing.T) {
	good := line("16", "9")
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "line 1 of 2, column 1: unexpected EOF"},
		{"line missing", good, "line 2 of 2, column 1: unexpected EOF"},
		{"cut off in a line", good + "0,16,3", "line 2, column 4: the line has 3 columns, want 65"},
		{"cut off after a comma", good + "0,16,", `line 2, column 3: "" is not a number from 0 to 16`},
		{"label missing", good + strings.TrimSuffix(line("1", ""), ",\n"), "line 2, column 65: the line has 64 columns, want 65"},
		{"column too many", good + line("0,0", "1"), "line 2, column 66: the line has 129 columns, want 65"},
		{"line too many", good + good + "\n", "line 3, column 1: the file has more than 2 lines"},
		{"blank line", good + "\n" + good, `line 2, column 1: "" is not a number from 0 to 16`},
		{"pixel too large", good + "0,17" + good, `line 2, column 2: "1716" is not a number`},
		{"pixel over 16", good + "0,0,17," + good, `line 2, column 3: "17" is not a number from 0 to 16`},
		{"pixel negative", "-1," + good, `line 1, column 1: "-1" is not a number from 0 to 16`},
		{"pixel not a number", good + line("1.5", "0"), `line 2, column 1: "1.5" is not a number from 0 to 16`},
		{"pixel huge", line(strings.Repeat("9", 99), "0"), `line 1, column 1: "99999999999999999999" is not a number from 0 to 16`},
		{"label too large", line("0", "10"), `line 1, column 65: "10" is not a number from 0 to 9`},
		{"spaces", line(" 1", "1"), `line 1, column 1: " 1" is not a number from 0 to 16`},
		{"line too long", good + strings.Repeat("1", 1<<17), "line 2 of 2, column 1: bufio.Scanner: token too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseDigits(strings.NewReader(tt.text), 2)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func FuzzParseDigits(f *testing.F) {
	f.Add(line("16", "9"))
	f.Add(line("0", "0"))
	f.Add(line("17", "9"))
	f.Add(line("1,", "9"))
	f.Add("1,2,3")
	f.Fuzz(func(t *testing.T, text string) {
		digits, err := parseDigits(strings.NewReader(text), 1)
		if err != nil {
			assert.Contains(t, err.Error(), "column")
			return
		}
		require.Len(t, digits, 1)
		assert.True(t, 0 <= digits[0].Label && digits[0].Label < classes)
		for _, v := range digits[0].Inputs {
			assert.True(t, 0 <= v && v <= 1)
		}
	})
}
