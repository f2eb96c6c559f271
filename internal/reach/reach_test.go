// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package reach_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/reach"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	for want, n := range map[string]reach.Network{
		"TLS needs":             {TLS: certs.Files{CA: "ca.pem"}},
		"must have at least 16": {Secret: "short"},
		`advertise "a:0"`:       {Advertise: "a:0"},
		`advertise ":7"`:        {Advertise: ":7"},
	} {
		require.ErrorContains(t, n.Check(), want)
	}
	for _, addr := range []string{"", "host", "10.0.0.1:7", "[::1]:7", "::1"} {
		n := reach.Network{Advertise: addr}
		require.NoError(t, n.Check(), addr)
	}
}

func TestNothingIsSpokenInTheClearBeyondThisMachine(t *testing.T) {
	var n reach.Network
	for _, addr := range []string{"127.0.0.1:1", "localhost:1", "[::1]:1"} {
		require.NoError(t, n.CheckReach("listen on", addr))
	}
	for _, addr := range []string{":1", "0.0.0.0:1", "10.0.0.1:1", "host:1"} {
		require.ErrorContains(t, n.CheckReach("listen on", addr), "without TLS")
	}
	n.Insecure = true
	require.NoError(t, n.CheckReach("listen on", "host:1"))
	require.Error(t, n.CheckReach("listen on", "host"))
}

func TestTheEnvironmentIsReadAndPassedOn(t *testing.T) {
	env := map[string]string{
		reach.EnvListen: ":7", reach.EnvAdvertise: "h", reach.EnvInsecure: "yes", reach.EnvTLSCA: "a", reach.EnvTLSCert: "b", reach.EnvTLSKey: "c",
		reach.EnvTLSName: "n", reach.EnvSecret: "s",
	}
	var n, again reach.Network
	require.NoError(t, n.ReadEnv(func(k string) string { return env[k] }))
	passed := map[string]string{}
	for _, kv := range n.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		passed[k] = v
	}
	require.NoError(t, again.ReadEnv(func(k string) string { return passed[k] }))
	again.Secret = "s" // which is not
	require.Equal(t, n, again)
	env[reach.EnvInsecure] = "maybe"
	require.ErrorContains(t, n.ReadEnv(func(k string) string { return env[k] }), `TUTTI_INSECURE="maybe"`)
}

func TestFirstHostOfAList(t *testing.T) {
	for list, want := range map[string]string{
		"a": "a", "a,b": "a", "n[1-3]": "n1", "n[007,9]": "n007", "n[12-13].example.org,b": "n12.example.org", "127.0.0.1,x[1-2]": "127.0.0.1",
		"login1,gpu[1-2]": "login1",
	} {
		got, err := reach.FirstHost(list)
		require.NoError(t, err, list)
		require.Equal(t, want, got)
	}
	for _, list := range []string{"", ",a", "n[", "n[]", "n[x-y]", "r[1-2]c[1-2]"} {
		_, err := reach.FirstHost(list)
		require.Error(t, err, list)
	}
}

func FuzzFirstHost(f *testing.F) {
	f.Add("gpu[003-007,9],login1")
	f.Fuzz(func(t *testing.T, list string) {
		if host, err := reach.FirstHost(list); err == nil {
			require.NotEmpty(t, host)
			require.LessOrEqual(t, len(host), len(list))
		}
	})
}
