// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package core_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// wirecutter passes bytes between TCP connections that it accepts and an address, until it is told to stop: the connections stay open, and
// nothing that is written to them arrives, as when a router between two machines drops all packets.
type wirecutter struct {
	addr string
	mu   sync.Mutex
	open chan struct{} // closed while bytes are passed
	end  chan struct{} // closed at the end
	wg   sync.WaitGroup
}

// newWirecutter listens on loopback in front of what target returns when somebody connects.
func newWirecutter(t *testing.T, target func() string) *wirecutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wirecutter{addr: l.Addr().String(), open: make(chan struct{}), end: make(chan struct{})}
	close(w.open)
	w.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.serve(in, target()) })
		}
	})
	t.Cleanup(func() {
		close(w.end)
		assert.NoError(t, l.Close())
		w.wg.Wait()
	})
	return w
}

func (w *wirecutter) serve(in net.Conn, target string) {
	defer func() { _ = in.Close() }()
	if !w.pass() {
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	done := make(chan struct{}, 2)
	w.wg.Go(func() { w.copy(out, in, done) })
	w.wg.Go(func() { w.copy(in, out, done) })
	select {
	case <-done:
	case <-w.end:
	}
}

func (w *wirecutter) copy(to, from net.Conn, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !w.pass() {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// pass waits while nothing is to be passed, and reports false at the end.
func (w *wirecutter) pass() bool {
	w.mu.Lock()
	open := w.open
	w.mu.Unlock()
	select {
	case <-open:
		return true
	case <-w.end:
		return false
	}
}

// cut stops all bytes.
func (w *wirecutter) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = make(chan struct{})
}

// mend lets them pass again.
func (w *wirecutter) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.open)
}

// A peer whose connections stay open and bring nothing is lost within the heartbeat's timeout; nothing hangs; and it comes back when the way is free.
func TestAHalfOpenPeerIsLostAndComesBackAsANewNode(t *testing.T) {
	sys := coretest.StartHosts(t, 1, 1, core.Heartbeat(50*time.Millisecond, time.Second))
	toDriver := newWirecutter(t, sys.Address)
	listen := coretest.Loopback(1) + ":" + freePort(t)
	toNode := newWirecutter(t, func() string { return listen })
	coretest.JoinFrom(t, sys, 1, "TUTTI_DRIVER="+toDriver.addr, "TUTTI_LISTEN="+listen, "TUTTI_ADVERTISE="+toNode.addr)
	coretest.AwaitNodes(t, sys, 2)
	require.Equal(t, toNode.addr, sys.Nodes()[1].Address)
	requireAlive(t, sys)
	actors := spawn(t, sys, 2)
	far := actors[1]
	require.Equal(t, uint32(2), far.Node())
	blocked := core.Call(t.Context(), far, (*probe).Block, core.Void{})

	toDriver.cut()
	toNode.cut()
	s, err := core.Submit(t.Context(), mustTargets(t, actors...), (*probe).Make, 10, core.BestEffort)
	require.NoError(t, err)
	wait(t, s)
	require.NoError(t, s.Err(0), "others are not held up")
	require.ErrorIs(t, s.Err(1), core.ErrNodeLost)
	_, err = blocked.Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	_, err = core.Call(t.Context(), far, (*probe).Ping, core.Void{}).Get(bounded(t))
	require.ErrorIs(t, err, core.ErrNodeLost)
	require.Equal(t, 1, sys.Stats().Nodes)

	toDriver.mend()
	toNode.mend()
	coretest.AwaitNodes(t, sys, 2)
	nodes := sys.Nodes()
	assert.Equal(t, nodes[1].PID, nodes[2].PID, "the same process")
	assert.True(t, strings.HasSuffix(nodes[2].Host, "1"))
	requireAlive(t, sys)
}
