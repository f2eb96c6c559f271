// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(envChild); kind != "" { // this binary stands for the program
		if err := serve(kind, os.Args[1:], os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// Members check what they sum before they are measured, so that a line means that it was right.
func TestAllWaysAreMeasuredInOneRun(t *testing.T) {
	c := config{bytes: 1 << 20, rounds: 2, turns: 2, members: 2, hosts: 2, streams: []int{1, 3}, op: "all-reduce"}
	var out bytes.Buffer
	require.NoError(t, c.run(t.Context(), &out))
	for _, want := range []string{
		"bare, net, 1 streams", "bare, net, 3 streams", "bare, vector, 1 streams", "bare, vector, 3 streams",
		"bare, turns, 1 streams", "bare, turns, 3 streams", "bare, turns, 3 streams, 128 KiB to send",
		"tutti, 2 members on 2 hosts", "rate of tutti over that of the best (bare, ", " KiB to send): ",
	} {
		assert.Contains(t, out.String(), want)
	}
}

func TestSeveralMembersOnAHost(t *testing.T) {
	for op := range operations() {
		c := config{bytes: 1 << 20, rounds: 1, turns: 1, members: 4, hosts: 2, only: "tutti", op: op}
		var out bytes.Buffer
		require.NoError(t, c.run(t.Context(), &out), op)
		assert.Contains(t, out.String(), "tutti, 4 members on 2 hosts  ")
		assert.Contains(t, out.String(), "tutti, 4 members on 2 hosts, by messages")
		assert.NotContains(t, out.String(), "rate of", "there is nothing to compare with")
	}
}

func TestFlagsAreChecked(t *testing.T) {
	good := config{bytes: 64, rounds: 1, turns: 1, members: 4, hosts: 2, op: "barrier"}
	require.NoError(t, good.parse("1,64"))
	for want, change := range map[string]func(*config) string{
		`-streams: "1,65": want numbers from 1 to 64`: func(*config) string { return "1,65" },
		"-bytes: 65: want a multiple of 64":           func(c *config) string { c.bytes = 65; return "1" },
		"-rounds and -turns":                          func(c *config) string { c.turns = 0; return "1" },
		"-members: 5: want a multiple of the 2":       func(c *config) string { c.members = 5; return "1" },
		`-op: there is no "sort"`:                     func(c *config) string { c.op = "sort"; return "1" },
		`-only: "gloo": want bare or tutti`:           func(c *config) string { c.only = "gloo"; return "1" },
	} {
		c := good
		streams := change(&c)
		err := c.parse(streams)
		require.Error(t, err)
		assert.True(t, strings.HasPrefix(err.Error(), want), "%v", err)
	}
}
