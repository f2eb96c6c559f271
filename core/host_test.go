// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func hostNames(sys *core.System) []string {
	var names []string
	for _, n := range sys.Nodes() {
		names = append(names, n.Host)
	}
	return names
}

func TestSimulatedHostsAreBlocksOfNeighbours(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(5), core.SimulatedHosts(2))
	assert.Equal(t, []string{"sim-0", "sim-0", "sim-0", "sim-1", "sim-1"}, hostNames(sys))
}

func TestWithoutAnOptionAllNodesShareTheHost(t *testing.T) {
	for name, opt := range map[string]core.Option{"in process": core.InProcess(3), "processes": core.LocalNodes(3)} {
		t.Run(name, func(t *testing.T) {
			names := hostNames(coretest.Start(t, opt))
			require.Len(t, names, 3)
			assert.NotEmpty(t, names[0])
			assert.Equal(t, []string{names[0], names[0], names[0]}, names)
		})
	}
	t.Setenv(core.EnvHost, "elsewhere")
	assert.Equal(t, []string{"elsewhere"}, hostNames(coretest.Start(t, core.LocalNodes(1))))
}

func TestBadHostsAreRefused(t *testing.T) {
	for _, k := range []int{-1, 0, 3} {
		_, err := core.Start(t.Context(), core.InProcess(2), core.SimulatedHosts(k))
		require.ErrorIs(t, err, core.ErrInvalid, "%d", k)
		require.ErrorContains(t, err, "SimulatedHosts("+strconv.Itoa(k)+")")
	}
	for _, name := range []string{"a/b", "../x", "a b", strings.Repeat("x", 65)} {
		t.Setenv(core.EnvHost, name)
		_, err := core.Start(t.Context())
		require.ErrorIs(t, err, core.ErrInvalid, "%q", name)
		require.ErrorContains(t, err, core.EnvHost)
	}
}

// Every process holds files of its own host's stores only, also after calls whose arguments and results lie there.
func TestStoresOfDifferentHostsNeverOpenEachOthersFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process has mapped is read from /proc")
	}
	sys := coretest.Start(t, core.LocalNodes(4), core.SimulatedHosts(2))
	assert.Equal(t, []string{"sim-0", "sim-0", "sim-1", "sim-1"}, hostNames(sys))
	for _, n := range sys.Nodes() {
		maps, err := os.ReadFile("/proc/" + strconv.Itoa(n.PID) + "/maps")
		require.NoError(t, err)
		for _, other := range []string{"sim-0", "sim-1"} {
			assert.Equal(t, other == n.Host, strings.Contains(string(maps), "/store-"+other+"/"), "node %d maps files of %s", n.ID, other)
		}
	}
}
