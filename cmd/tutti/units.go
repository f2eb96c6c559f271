// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-go/tutti/collective/schedule"
)

// parseNet reads rate, latency and perhaps work for a message into a link.
func parseNet(text string, l *schedule.Link) error {
	bad := fmt.Errorf("want a rate, a latency and perhaps the work for a message, such as 25gbit,20us,5us, not %q", text)
	parts := strings.Split(text, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return bad
	}
	number, unit := strings.ToLower(parts[0]), 0.0
	for suffix, bits := range map[string]float64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		if digits, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = digits, bits
		}
	}
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil || !(rate*unit >= 1 && rate*unit <= 1e15) {
		return bad
	}
	l.PerByte = 8e9 / (rate * unit)
	for i, to := range []*time.Duration{&l.Latency, &l.Overhead}[:len(parts)-1] {
		d, err := time.ParseDuration(parts[i+1])
		if err != nil || d < 0 {
			return bad
		}
		*to = d
	}
	return nil
}

// pairOf reads rank=value.
func pairOf(text string) (rank int, value string, err error) {
	left, value, ok := strings.Cut(text, "=")
	rank, err = strconv.Atoi(left)
	if !ok || err != nil || rank < 0 {
		return 0, "", fmt.Errorf("want rank=value, not %q", text)
	}
	return rank, value, nil
}

// durations returns what reads rank=time into a map.
func durations(into *map[int]time.Duration) func(string) error {
	return func(text string) error {
		rank, value, err := pairOf(text)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("want a time such as 10ms, not %q", value)
		}
		if *into == nil {
			*into = map[int]time.Duration{}
		}
		(*into)[rank] = d
		return nil
	}
}

// factors returns what reads rank=factor into a map.
func factors(into *map[int]float64) func(string) error {
	return func(text string) error {
		rank, value, err := pairOf(text)
		if err != nil {
			return err
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x > 0 && x <= 1e9) {
			return fmt.Errorf("want a factor above 0, not %q", value)
		}
		if *into == nil {
			*into = map[int]float64{}
		}
		(*into)[rank] = x
		return nil
	}
}
