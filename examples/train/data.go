// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

const (
	pixels     = 8 * 8
	ink        = 16 // of a black pixel; a white one has 0
	classes    = 10
	trainLines = 1437
	testLines  = 360 // written by other people
)

// The digits are part of the binary, so that every node process has them. Their licence goes with them.
//
//go:embed digits.csv.gz digits.LICENCE.txt
var files embed.FS

// Digit is a handwritten digit.
type Digit struct {
	Inputs [pixels + 1]float32 // from 0 for white to 1 for black; after the pixels a 1, for the bias
	Label  int                 // which of 0 to 9 it is
}

// dataset reads the digits once in each process: first those to train with, then those to test with. The actors of the process
// share them, and only read.
var dataset = sync.OnceValues(func() ([]Digit, error) {
	packed, err := files.Open("digits.csv.gz")
	if err != nil {
		return nil, err
	}
	text, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("digits.csv.gz: %w", err)
	}
	return parseDigits(text, trainLines+testLines)
})

// parseDigits reads n lines, and wants no more than n.
func parseDigits(r io.Reader, n int) ([]Digit, error) {
	digits := make([]Digit, n)
	lines := bufio.NewScanner(r) // refuses lines over 64 KiB
	for i := range digits {
		if !lines.Scan() {
			return nil, fmt.Errorf("digits: line %d of %d, column 1: %w", i+1, n, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
		}
		if err := digits[i].parse(lines.Text()); err != nil {
			return nil, fmt.Errorf("digits: line %d, %w", i+1, err)
		}
	}
	if lines.Scan() {
		return nil, fmt.Errorf("digits: line %d, column 1: the file has more than %d lines", n+1, n)
	}
	return digits, lines.Err()
}

// parse reads the pixels and the label, separated by commas.
func (d *Digit) parse(line string) error {
	fields := strings.Split(line, ",")
	for i, field := range fields[:min(len(fields), pixels+1)] {
		limit := uint64(ink)
		if i == pixels {
			limit = classes - 1
		}
		v, err := strconv.ParseUint(field, 10, 8)
		if err != nil || v > limit {
			return fmt.Errorf("column %d: %.20q is not a number from 0 to %d", i+1, field, limit)
		}
		if i < pixels {
			d.Inputs[i] = float32(v) / ink
		} else {
			d.Label = int(v)
		}
	}
	d.Inputs[pixels] = 1
	if n := len(fields); n != pixels+1 {
		return fmt.Errorf("column %d: the line has %d columns, want %d", min(n, pixels+1)+1, n, pixels+1)
	}
	return nil
}
