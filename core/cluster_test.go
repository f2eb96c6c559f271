// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// tlsEnv is how nodes are told of certificates.
func tlsEnv(ca, cert, key string) []string {
	return []string{"TUTTI_TLS_CA=" + ca, "TUTTI_TLS_CERT=" + cert, "TUTTI_TLS_KEY=" + key}
}

// requireAlive calls every node once.
func requireAlive(t *testing.T, sys *core.System) {
	t.Helper()
	actors := spawn(t, sys, 2*sys.Stats().Nodes)
	for i, a := range actors {
		require.InDelta(t, i+1, get(t, core.Call(t.Context(), a, (*probe).Sum, []float32{float32(i), 1})), 0)
	}
}

func TestNodesOfOtherHostsJoinAndAreCalled(t *testing.T) {
	ca, cert, key := coretest.Certificates(t)
	for name, tt := range map[string]struct {
		opts []core.Option
		env  []string
	}{
		"plain": {},
		"tls":   {[]core.Option{core.TLS(ca, cert, key)}, tlsEnv(ca, cert, key)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kv := range tt.env {
				k, v, _ := strings.Cut(kv, "=")
				t.Setenv(k, v)
			}
			sys := coretest.StartHosts(t, 2, 2, tt.opts...)
			hosts := map[string]int{}
			for _, n := range sys.Nodes() {
				hosts[n.Host]++
				host, _, err := net.SplitHostPort(n.Address)
				require.NoError(t, err)
				require.Equal(t, coretest.Loopback(int(n.Host[len(n.Host)-1]-'0')), host)
			}
			assert.Equal(t, map[string]int{"host-0": 2, "host-1": 2}, hosts)
			requireAlive(t, sys)
			// One that comes later is a member like the others.
			coretest.JoinFrom(t, sys, 2)
			coretest.AwaitNodes(t, sys, 5)
			requireAlive(t, sys)
		})
	}
}

func TestLocalNodesAndOthersAreMembersAlike(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2), core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret))
	require.Equal(t, 2, sys.Stats().Nodes)
	coretest.JoinFrom(t, sys, 0)
	same := coretest.Run(t, "TUTTI_ROLE=node", "TUTTI_DRIVER="+sys.Address(), "TUTTI_SECRET="+coretest.Secret) // from the driver's own host
	coretest.AwaitNodes(t, sys, 4)
	nodes := sys.Nodes()
	assert.Equal(t, nodes[0].Host, nodes[1].Host)
	for _, n := range nodes[2:] {
		assert.Equal(t, n.PID == same.PID, n.Host == nodes[0].Host)
		assert.Greater(t, n.ID, uint32(2))
	}
	requireAlive(t, sys)
}

func TestWhoDoesNotBelongDoesNotJoin(t *testing.T) {
	ca, cert, key := coretest.Certificates(t)
	ca2, cert2, key2 := coretest.Certificates(t)
	sys := coretest.Start(t, core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret), core.WaitNodes(0), core.TLS(ca, cert, key))
	for name, env := range map[string][]string{
		"wrong secret":       append(tlsEnv(ca, cert, key), "TUTTI_SECRET=another secret altogether"),
		"another authority":  tlsEnv(ca2, cert2, key2),
		"no TLS":             {},
		"no secret":          append(tlsEnv(ca, cert, key), "TUTTI_SECRET="),
		"half a certificate": {"TUTTI_TLS_CA=" + ca},
		"another build":      append(tlsEnv(ca, cert, key), envNode+"=other build"),
	} {
		t.Run(name, func(t *testing.T) {
			j := coretest.JoinFrom(t, sys, 0, env...)
			require.EqualError(t, j.Wait(bounded(t)), "exit status 1")
		})
	}
	require.Zero(t, sys.Stats().Nodes)
	coretest.JoinFrom(t, sys, 0, tlsEnv(ca, cert, key)...)
	coretest.AwaitNodes(t, sys, 1)
	requireAlive(t, sys)
}

func TestNothingSpeaksInTheClearBeyondThisMachineUnasked(t *testing.T) {
	for addr, ok := range map[string]bool{
		"0.0.0.0:0": false, ":0": false, "[::]:0": false, "192.0.2.1:0": false, "example.org:0": false,
		"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true,
	} {
		sys, err := core.Start(t.Context(), core.Listen(addr), core.Secret(coretest.Secret), core.WaitNodes(0))
		if ok && (err == nil || strings.HasPrefix(addr, "[::1]")) { // there may be no IPv6 here
			if err == nil {
				require.NoError(t, sys.Shutdown(t.Context()))
			}
			continue
		}
		require.ErrorIs(t, err, core.ErrInvalid)
		for _, say := range []string{addr, "the option TLS", "TUTTI_TLS_CA", "use Insecure", "TUTTI_INSECURE=yes"} {
			require.ErrorContains(t, err, say)
		}
	}
	sys := coretest.Start(t, core.Listen("0.0.0.0:0"), core.Insecure(), core.Secret(coretest.Secret), core.WaitNodes(0))
	_, port, err := net.SplitHostPort(sys.Address())
	require.NoError(t, err)
	coretest.JoinFrom(t, sys, 0, "TUTTI_DRIVER=127.0.0.1:"+port)
	coretest.AwaitNodes(t, sys, 1)
	requireAlive(t, sys)
	j := coretest.JoinFrom(t, sys, 0, "TUTTI_DRIVER=192.0.2.1:"+port) // it does not even try
	require.EqualError(t, j.Wait(bounded(t)), "exit status 1")
}

func TestBadOptionsOfTheNetworkAreNamed(t *testing.T) {
	for say, opts := range map[string][]core.Option{
		"without a secret":            {core.Listen("127.0.0.1:0")},
		"has 5 bytes":                 {core.Secret("short")},
		"Listen and InProcess":        {core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret), core.InProcess(1)},
		"WaitNodes(3) without Listen": {core.WaitNodes(3)},
		"WaitNodes(-1)":               {core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret), core.WaitNodes(-1)},
		"TLS needs":                   {core.TLS("ca", "", "")},
		"missing port":                {core.Listen("nowhere"), core.Secret(coretest.Secret)},
		"advertise":                   {core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret), core.Advertise("host:x"), core.WaitNodes(0)},
		"no such file":                {core.Listen("127.0.0.1:0"), core.Secret(coretest.Secret), core.TLS("/none", "/none", "/none"), core.WaitNodes(0)},
	} {
		_, err := core.Start(t.Context(), opts...)
		require.ErrorIs(t, err, core.ErrInvalid, say)
		require.ErrorContains(t, err, say)
	}
	_, err := core.Start(t.Context(), core.Join("127.0.0.1:1"))
	require.ErrorIs(t, err, core.ErrNodeRole)
	require.ErrorIs(t, core.Serve(t.Context()), core.ErrInvalid)
	t.Setenv("TUTTI_INSECURE", "maybe")
	_, err = core.Start(t.Context())
	require.ErrorContains(t, err, `TUTTI_INSECURE="maybe", must be yes or no`)
}

func TestAdvertisedAddressesAreToldInPlaceOfBoundOnes(t *testing.T) {
	sys := coretest.Start(t, core.Listen("127.0.0.1:0"), core.Advertise("localhost"), core.Secret(coretest.Secret), core.WaitNodes(0))
	require.True(t, strings.HasPrefix(sys.Address(), "localhost:"), sys.Address())
	coretest.JoinFrom(t, sys, 0, "TUTTI_LISTEN=0.0.0.0:0", "TUTTI_INSECURE=yes", "TUTTI_ADVERTISE="+coretest.Loopback(3))
	coretest.AwaitNodes(t, sys, 1)
	require.True(t, strings.HasPrefix(sys.Nodes()[0].Address, coretest.Loopback(3)+":"), sys.Nodes()[0].Address)
	requireAlive(t, sys)
}

func TestANodeThatIsKilledElsewhereAndStartedAgainIsANewNode(t *testing.T) {
	sys := coretest.StartHosts(t, 1, 2)
	old := sys.Nodes()
	victim := spawn(t, sys, 2)[0]
	pending := core.Call(t.Context(), victim, (*probe).Block, core.Void{})
	coretest.KillNode(t, sys, old[0].ID)
	_, err := pending.Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	coretest.JoinFrom(t, sys, 0)
	coretest.AwaitNodes(t, sys, 2)
	nodes := sys.Nodes()
	require.Len(t, nodes, 3)
	assert.False(t, nodes[0].Alive)
	assert.Equal(t, old[1].ID+1, nodes[2].ID)
	_, err = core.Call(t.Context(), victim, (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost, "an actor of the old one is not found on the new one")
	requireAlive(t, sys)
}

// A host that is stopped is silent; when it goes on, its nodes find their sessions ended, and join again under new numbers.
func TestAStoppedHostIsLostAndComesBackAsNewNodes(t *testing.T) {
	sys := coretest.StartHosts(t, 2, 1, core.Heartbeat(50*time.Millisecond, 2*time.Second))
	nodes := sys.Nodes()
	actors := spawn(t, sys, 2)
	stopped := nodes[0]
	coretest.StopNode(t, sys, stopped.ID)
	_, err := core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	get(t, core.Call(t.Context(), actors[1], (*probe).Ping, core.Void{}))
	require.Equal(t, 1, sys.Stats().Nodes)

	require.NoError(t, syscall.Kill(stopped.PID, syscall.SIGCONT))
	coretest.AwaitNodes(t, sys, 2)
	again := sys.Nodes()[2]
	assert.Equal(t, stopped.PID, again.PID, "the same process")
	assert.NotEqual(t, stopped.ID, again.ID, "another node")
	assert.Equal(t, stopped.Host, again.Host)
	_, err = core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	requireAlive(t, sys)
}

// What a killed driver leaves behind on other hosts is nothing.
func TestADriverThatIsKilledLeavesNothingOnOtherHosts(t *testing.T) {
	d := startDriver(t, "listening")
	nodes := make([]*coretest.Joined, 3)
	for i := range nodes {
		nodes[i] = coretest.Run(t, "TUTTI_ROLE=node", "TUTTI_DRIVER="+d.address, "TUTTI_SECRET="+coretest.Secret,
			"TUTTI_HOST=host-"+[]string{"a", "a", "b"}[i])
	}
	eventually(t, "three nodes serve", func() bool { return d.joined() == 3 })
	require.Len(t, joinedDirs(t), 2, "one for each host")
	require.NoError(t, d.cmd.Process.Kill())
	for _, n := range nodes {
		require.EqualError(t, n.Wait(bounded(t)), "exit status 1", "it has lost its driver, and says so")
	}
	require.Empty(t, joinedDirs(t))
	coretest.Start(t) // which removes the driver's own directory
}

// joinedDirs returns the directories of that test's hosts.
func joinedDirs(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(os.Getenv(core.EnvRunDir), "j*-host-[ab]"))
	require.NoError(t, err)
	return dirs
}

// A program that was started four times by srun on one machine, its environment faked, is a driver and three nodes. Its own
// LocalNodes do not count.
func TestSlurmNeedsNoCode(t *testing.T) {
	port := freePort(t)
	var all []*coretest.Joined
	for _, rank := range []string{"3", "1", "0", "2"} {
		all = append(all, coretest.Run(t, envDriver+"=calls", "TUTTI_PORT="+port, "TUTTI_SECRET="+coretest.Secret,
			"SLURM_PROCID="+rank, "SLURM_STEP_NUM_TASKS=4", "SLURM_STEP_NODELIST=localhost", "SLURM_JOB_ID=17", "SLURM_STEP_ID=0"))
	}
	for _, j := range all {
		require.NoError(t, j.Wait(bounded(t)))
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return port
}
