// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// island is a network namespace with a cable to this one.
type island struct {
	t           *testing.T
	name        string
	cable       string
	here, there string // addresses of the two ends
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// newIsland makes one, or skips the test where that is not allowed, loudly.
func newIsland(t *testing.T) *island {
	t.Helper()
	// The kernel takes its time to remove what is of an earlier one.
	id := (os.Getpid() + 7919*len(t.Name())) % 25000
	i := &island{
		t: t, name: fmt.Sprintf("tutti-%d", id), cable: fmt.Sprintf("tutti%d", id),
		here:  fmt.Sprintf("10.%d.%d.1", 100+id/250%100, id%250),
		there: fmt.Sprintf("10.%d.%d.2", 100+id/250%100, id%250),
	}
	if err := ip("netns", "add", i.name); err != nil {
		fmt.Fprintln(os.Stderr, "NOT RUN:", t.Name(), "needs network namespaces, and they are not allowed here:", err)
		t.Skip(err)
	}
	t.Cleanup(func() { assert.NoError(t, ip("netns", "del", i.name)) }) // and the cable with it
	for _, args := range [][]string{
		{"link", "add", i.cable, "type", "veth", "peer", "name", "cable", "netns", i.name},
		{"addr", "add", i.here + "/24", "dev", i.cable},
		{"link", "set", i.cable, "up"},
		{"-n", i.name, "addr", "add", i.there + "/24", "dev", "cable"},
		{"-n", i.name, "link", "set", "cable", "up"},
		{"-n", i.name, "link", "set", "lo", "up"},
	} {
		if err := ip(args...); err != nil {
			fmt.Fprintln(os.Stderr, "NOT RUN:", t.Name(), "needs virtual cables, and they are not allowed here:", err)
			t.Skip(err)
		}
	}
	return i
}

// start starts this binary on the island.
func (i *island) start(env ...string) *exec.Cmd {
	i.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", i.name, os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	require.NoError(i.t, cmd.Start())
	i.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends in order, and leaves nothing
		t := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		t.Stop()
	})
	return cmd
}

// A host whose cable is pulled is lost within the heartbeat, and nothing hangs. When the cable is back, its process joins as a new node.
func TestAHostThatIsCutOffIsLostAndComesBackAsANewNode(t *testing.T) {
	far := newIsland(t)
	ca, cert, key := coretest.Certificates(t)
	const silence = 2 * time.Second
	sys := coretest.Start(t, core.LocalNodes(1), core.Listen(far.here+":0"), core.Secret(coretest.Secret), core.TLS(ca, cert, key),
		core.Heartbeat(50*time.Millisecond, silence))
	far.start(append(tlsEnv(ca, cert, key), "TUTTI_ROLE=node", "TUTTI_DRIVER="+sys.Address(), "TUTTI_SECRET="+coretest.Secret, "TUTTI_HOST=far")...)
	coretest.AwaitNodes(t, sys, 2)
	require.Equal(t, "far", sys.Nodes()[1].Host)
	requireAlive(t, sys)
	actors := spawn(t, sys, 2)
	pending := core.Call(t.Context(), actors[1], (*probe).Block, core.Void{})

	require.NoError(t, ip("link", "set", far.cable, "down"))
	began := time.Now()
	_, err := pending.Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	took := time.Since(began)
	t.Logf("lost after %v", took)
	_, err = core.Call(t.Context(), actors[1], (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	get(t, core.Call(t.Context(), actors[0], (*probe).Ping, core.Void{}))
	require.Eventually(t, func() bool { return sys.Stats().Nodes == 1 }, 10*time.Second, time.Millisecond) // calls fail first

	require.NoError(t, ip("link", "set", far.cable, "up"))
	coretest.AwaitNodes(t, sys, 2)
	nodes := sys.Nodes()
	require.Len(t, nodes, 3)
	assert.Equal(t, nodes[1].PID, nodes[2].PID, "the same process")
	assert.NotEqual(t, nodes[1].ID, nodes[2].ID, "another node")
	_, err = core.Call(t.Context(), actors[1], (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	requireAlive(t, sys)
}

// A host that stays cut off ends by itself, and the driver ends without it.
func TestAHostThatStaysCutOffEndsByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a node tries to reach its driver")
	}
	far := newIsland(t)
	ca, cert, key := coretest.Certificates(t)
	sys, err := core.Start(t.Context(), core.Listen(far.here+":0"), core.Secret(coretest.Secret), core.TLS(ca, cert, key), core.WaitNodes(0),
		core.Heartbeat(50*time.Millisecond, time.Second))
	require.NoError(t, err)
	node := far.start(append(tlsEnv(ca, cert, key), "TUTTI_ROLE=node", "TUTTI_DRIVER="+sys.Address(), "TUTTI_SECRET="+coretest.Secret, "TUTTI_HOST=far")...)
	coretest.AwaitNodes(t, sys, 1)
	require.NoError(t, ip("link", "set", far.cable, "down"))
	require.NoError(t, sys.Shutdown(bounded(t)))
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	select {
	case err := <-ended:
		require.EqualError(t, err, "exit status 1")
	case <-time.After(2 * patience):
		t.Fatal("it still runs")
	}
}
