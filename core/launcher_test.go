// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/reach"
)

func TestLaunchersAreRecognised(t *testing.T) {
	slurm := map[string]string{
		"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "gpu[003-005],login1", "SLURM_JOB_ID": "41", "SLURM_STEP_ID": "0",
	}
	pod := map[string]string{"JOB_COMPLETION_INDEX": "2", "TUTTI_SERVICE": "svc", "TUTTI_WAIT_NODES": "7"}
	with := func(base map[string]string, kv ...string) map[string]string {
		env := maps.Clone(base)
		for i := 0; i < len(kv); i += 2 {
			env[kv[i]] = kv[i+1]
		}
		return env
	}
	for name, tt := range map[string]struct {
		env  map[string]string
		want *placement
		say  string
	}{
		"nothing":            {},
		"slurm":              {env: slurm, want: &placement{"Slurm", 2, 4, "gpu003", 20000 + 41*31}},
		"slurm, own port":    {env: with(slurm, "TUTTI_PORT", "99"), want: &placement{"Slurm", 2, 4, "gpu003", 99}},
		"one task":           {env: with(slurm, "SLURM_STEP_NUM_TASKS", "1", "SLURM_PROCID", "0")},
		"batch script":       {env: map[string]string{"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "a,b"}},
		"started as a node":  {env: with(slurm, "TUTTI_ROLE", "node")},
		"told whom to join":  {env: with(slurm, "TUTTI_DRIVER", "a:1")},
		"bad rank":           {env: with(slurm, "SLURM_PROCID", "4"), say: `SLURM_PROCID="4", must be a number from 0 to 3`},
		"bad size":           {env: with(slurm, "SLURM_STEP_NUM_TASKS", "x"), say: `SLURM_STEP_NUM_TASKS="x"`},
		"no hosts":           {env: with(slurm, "SLURM_STEP_NODELIST", ""), say: "no host in it"},
		"bad port":           {env: with(slurm, "TUTTI_PORT", "70000"), say: `TUTTI_PORT="70000", must be a number from 1 to 65535`},
		"kubernetes":         {env: pod, want: &placement{"Kubernetes", 2, 8, "train-0.svc", 7447}},
		"no service":         {env: with(pod, "TUTTI_SERVICE", "")},
		"no count":           {env: with(pod, "TUTTI_WAIT_NODES", ""), say: "number of completions less one"},
		"index out of range": {env: with(pod, "JOB_COMPLETION_INDEX", "8"), say: `JOB_COMPLETION_INDEX="8"`},
		"another name":       {env: with(pod, "JOB_COMPLETION_INDEX", "3"), say: `the pod is called "train-2", must end in -3`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := placementOf(func(k string) string { return tt.env[k] }, func() (string, error) { return "train-2", nil })
			if tt.say != "" {
				require.ErrorIs(t, err, ErrInvalid)
				require.ErrorContains(t, err, tt.say)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestPlacementsDecideWhereNodesRun(t *testing.T) {
	t.Setenv(reach.EnvSecretIn, "")
	t.Setenv("TUTTI_SECRET", "a secret of some length")
	node := &placement{"Slurm", 3, 4, "gpu1", 20001}
	cfg, err := newConfig([]Option{LocalNodes(8), node.options()})
	require.NoError(t, err)
	require.Equal(t, "gpu1:20001", cfg.driver)

	local := &placement{"Slurm", 0, 4, "localhost", 20001}
	cfg, err = newConfig([]Option{LocalNodes(8), local.options()})
	require.NoError(t, err)
	require.Equal(t, "localhost:20001", cfg.net.Listen)
	require.Equal(t, 3, cfg.wait)
	require.Zero(t, cfg.nodes)
	require.True(t, cfg.processes)

	wide := &placement{"Slurm", 0, 4, "gpu1", 20001}
	_, err = newConfig([]Option{wide.options()})
	require.ErrorContains(t, err, "listen on :20001, which is beyond this machine, without TLS")
	cfg, err = newConfig([]Option{Insecure(), wide.options()})
	require.NoError(t, err)
	require.Equal(t, ":20001", cfg.net.Listen)
}
