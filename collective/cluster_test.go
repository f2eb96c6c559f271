// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
)

func TestMain(m *testing.M) {
	if os.Getenv(envTestProgram) != "" {
		os.Exit(testProgram())
	}
	coretest.Main(m)
}

// cluster is a few nodes in this process, without actors: what a test needs of package core. Node 0 is the driver, which hears
// of lost nodes first and tells the others.
type cluster struct {
	t      testing.TB
	nodes  []*scope.Node
	scopes map[uint64]*scope.Scope
	host   bool // groups share the memory of the machine
	tiers  bool // as if it were several, of two nodes each
	dock   *member
}

type transport func(t testing.TB) (link.Transport, func(mesh.NodeID) string)

func inMemory(testing.TB) (link.Transport, func(mesh.NodeID) string) {
	return &link.Memory{}, func(id mesh.NodeID) string { return strconv.FormatUint(uint64(id), 10) }
}

func overSockets(t testing.TB) (link.Transport, func(mesh.NodeID) string) {
	dir, err := os.MkdirTemp("", "tc") //nolint:usetesting // the address of a socket must be shorter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return link.Unix{}, func(id mesh.NodeID) string { return filepath.Join(dir, strconv.FormatUint(uint64(id), 10)) }
}

func overSharedMemory(t testing.TB) (link.Transport, func(mesh.NodeID) string) {
	_, address := overSockets(t)
	return link.Shared{}, address
}

func overTCP(testing.TB) (link.Transport, func(mesh.NodeID) string) {
	return &anyPort{at: map[string]string{}}, func(id mesh.NodeID) string { return strconv.FormatUint(uint64(id), 10) }
}

// anyPort is TCP over loopback in which listeners have names and whatever port is free.
type anyPort struct {
	link.TCP

	mu sync.Mutex
	at map[string]string // by name
}

// Listen implements link.Transport.
func (p *anyPort) Listen(name string) (link.Listener, error) {
	l, err := p.TCP.Listen("127.0.0.1:0")
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.at[name] = l.Addr()
	}
	return l, err
}

// Dial implements link.Transport.
func (p *anyPort) Dial(ctx context.Context, name string) (link.Conn, error) {
	p.mu.Lock()
	addr := p.at[name]
	p.mu.Unlock()
	return p.TCP.Dial(ctx, addr)
}

func newCluster(t testing.TB, nodes int, tr transport) *cluster {
	t.Helper()
	transport, address := tr(t)
	c := &cluster{t: t, scopes: map[uint64]*scope.Scope{}}
	for id := range nodes {
		l, err := transport.Listen(address(mesh.NodeID(id)))
		require.NoError(t, err)
		m := mesh.New(t.Context(), mesh.Config{
			Self: mesh.NodeID(id), Incarnation: uint64(id) + 1, Secret: []byte("secret"), Transport: transport, Listeners: []link.Listener{l},
			Address: func(_ context.Context, id mesh.NodeID) (string, error) { return address(id), nil },
		})
		c.nodes = append(c.nodes, &scope.Node{Mesh: m})
		c.hub(id)
		m.Start()
		t.Cleanup(func() { _ = m.Close() }) // a second time in tests that lose the node
	}
	driver := c.nodes[0].Mesh
	for id := 1; id < nodes; id++ {
		require.NoError(t, driver.Connect(t.Context(), mesh.NodeID(id)))
	}
	driver.OnLost(func(e *mesh.LostError) {
		for _, n := range c.nodes {
			_ = n.Mesh.Lost(e.Node, e.Cause) // it returns what it was given
		}
	})
	return c
}

// makers are the ways in which members reach each other.
func makers() map[string]func(t testing.TB, nodes int) *cluster {
	return map[string]func(t testing.TB, nodes int) *cluster{
		"memory":  func(t testing.TB, nodes int) *cluster { t.Helper(); return newCluster(t, nodes, inMemory) },
		"sockets": func(t testing.TB, nodes int) *cluster { t.Helper(); return newCluster(t, nodes, overSockets) },
		"host":    newHostCluster,
		"tiers": func(t testing.TB, nodes int) *cluster {
			t.Helper()
			c := newHostCluster(t, nodes)
			c.tiers = true
			return c
		},
	}
}

// links are all the ways in which messages travel, and the memory of a machine.
func links() map[string]func(t testing.TB, nodes int) *cluster {
	all := makers()
	all["shared memory"] = func(t testing.TB, nodes int) *cluster { t.Helper(); return newCluster(t, nodes, overSharedMemory) }
	all["tcp"] = func(t testing.TB, nodes int) *cluster { t.Helper(); return newCluster(t, nodes, overTCP) }
	return all
}

// makerOf returns the maker of a way: one of makers, or "process", of members that all live in one.
func makerOf(way string) func(t testing.TB, nodes int) *cluster {
	if way == "process" {
		return func(t testing.TB, _ int) *cluster { t.Helper(); return newCluster(t, 2, inMemory) }
	}
	return makers()[way]
}

// newHostCluster makes nodes that stand for processes of one machine.
func newHostCluster(t testing.TB, nodes int) *cluster {
	t.Helper()
	c := newCluster(t, nodes, overSockets)
	dir := t.TempDir()
	c.host = true
	for id := range nodes {
		c.hub(id).run = dir
	}
	t.Cleanup(func() {
		require.Eventually(t, func() bool { // an error may be out before the end of its epoch has done all it does
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			return err == nil && len(left) == 0
		}, 10*time.Second, time.Millisecond, "files of groups are left")
	})
	return c
}

func (c *cluster) hub(node int) *hub { return hubOf(context.Background(), c.nodes[node]) }

// scope returns the scope of an actor, making the actor at the first request.
func (c *cluster) scope(actor uint64) *scope.Scope {
	sc := c.scopes[actor]
	if sc == nil {
		sc = &scope.Scope{Actor: actor, Node: c.nodes[nodeOfActor(actor)]}
		c.scopes[actor] = sc
	}
	return sc
}

// places are numbers of nodes, the driver's among them: members that live on several exchange messages, those of one use its memory.
func places() map[string]int { return map[string]int{"messages": 4, "memory": 2} }

// actors names n actors, spread over all nodes but the driver's, neighbours together.
func (c *cluster) actors(n int) []uint64 {
	ids := make([]uint64, n)
	workers := max(1, len(c.nodes)-1)
	for i := range ids {
		node := i * workers / n
		if len(c.nodes) > 1 {
			node++
		}
		ids[i] = uint64(node)<<32 | uint64(i+1)
	}
	return ids
}

// invite makes all members join.
func (c *cluster) invite(ctx context.Context, ch charter) error {
	for _, actor := range ch.Members {
		if err := c.join(ctx, actor, ch); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) join(ctx context.Context, actor uint64, ch charter) error {
	sc := c.scope(actor)
	_, err := hubOf(ctx, sc.Node).join(sc, ch)
	return err
}

func (c *cluster) establish(name string, members []uint64, opts ...Option) (*Group, error) {
	return c.establishBy(0, c.invite, name, members, opts...)
}

// establishBy makes a group on a node, of members that join makes join.
func (c *cluster) establishBy(node int, join func(context.Context, charter) error, name string, members []uint64, opts ...Option) (*Group, error) {
	b, err := boundsOf(name, opts)
	if err != nil {
		return nil, err
	}
	b.Host = c.host
	return c.hub(node).establish(c.t.Context(), charter{Name: name, Members: members, Bounds: b, Hosts: c.hostsOf(members)}, join)
}

// hostsOf numbers the hosts of actors, if there are several: two nodes to each, beside the driver's.
func (c *cluster) hostsOf(actors []uint64) []uint32 {
	if !c.tiers {
		return nil
	}
	hosts := make([]uint32, len(actors))
	for i, actor := range actors {
		hosts[i] = (nodeOfActor(actor) - 1) / 2
	}
	if len(slices.Compact(slices.Clone(hosts))) == 1 {
		return nil
	}
	return hosts
}

// group makes a group of n members and returns the creator's view and the members'.
func (c *cluster) group(name string, n int, opts ...Option) (*Group, []*Group) {
	c.t.Helper()
	ids := c.actors(n)
	g, err := c.establish(name, ids, opts...)
	require.NoError(c.t, err)
	return g, c.views(name, ids)
}

func (c *cluster) views(name string, actors []uint64) []*Group {
	c.t.Helper()
	groups := make([]*Group, len(actors))
	for i, actor := range actors {
		g, err := FromContext(c.as(c.t.Context(), actor), name)
		require.NoError(c.t, err)
		groups[i] = g
	}
	return groups
}

// as returns the context of a call of an actor.
func (c *cluster) as(ctx context.Context, actor uint64) context.Context {
	return scope.With(ctx, c.scope(actor))
}

// lose ends a node as a crash would: its connections break, its actors do nothing more.
func (c *cluster) lose(node int) {
	_ = c.nodes[node].Mesh.Close()
	for _, sc := range c.scopes {
		if sc.Node == c.nodes[node] {
			sc.End(errors.New("its node crashed"))
		}
	}
}

// each runs fn for all members at once and returns their errors by rank.
func each(ctx context.Context, groups []*Group, fn func(ctx context.Context, g *Group) error) []error {
	errs := make([]error, len(groups))
	var wg errgroup.Group
	for i, g := range groups {
		wg.Go(func() error {
			errs[i] = fn(ctx, g)
			return nil
		})
	}
	_ = wg.Wait() // the errors are in errs
	return errs
}

func requireAll(t testing.TB, errs []error) {
	t.Helper()
	for rank, err := range errs {
		require.NoError(t, err, "rank %d", rank)
	}
}

// inOneProcess runs a test for members of one process that use its memory and for some that exchange messages, as options say.
func inOneProcess(t *testing.T, name string, do func(t *testing.T, opts ...Option)) {
	t.Helper()
	t.Run(name+"/memory", func(t *testing.T) { do(t) })
	t.Run(name+"/messages", func(t *testing.T) { do(t, Messages()) })
}

// everywhere runs a test at all places.
func everywhere(t *testing.T, name string, do func(t *testing.T, nodes int)) {
	t.Helper()
	for place, nodes := range places() {
		t.Run(strings.Trim(name+"/"+place, "/"), func(t *testing.T) { do(t, nodes) })
	}
}
