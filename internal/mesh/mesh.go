// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// NodeID numbers the nodes of a system. The driver is 0.
type NodeID = uint32

// ErrClosed says that the mesh was closed on this side.
var ErrClosed = errors.New("mesh: closed")

// LostError says that a node is gone.
type LostError struct {
	Node  NodeID
	Cause error
}

// Error implements error.
func (e *LostError) Error() string { return fmt.Sprintf("node %d is lost: %v", e.Node, e.Cause) }

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// RefusedError says that a peer refused the handshake.
type RefusedError struct {
	Node  NodeID
	Fault wire.Fault
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %d refused the connection: %s", e.Node, e.Fault.Message)
}

// Config says who this node is and how it reaches the others. All fields but Control and Logger are required.
type Config struct {
	Self        NodeID
	Incarnation uint64          // drawn anew by every process, so that a restarted node is not taken for the old one
	Secret      []byte          // shared by all nodes of the session
	Table       uint64          // hash of the method table
	Transport   link.Transport  // to dial with
	Listeners   []link.Listener // closed by the mesh
	// Address returns where a node listens. It may wait for the news of a node that has just joined.
	Address func(context.Context, NodeID) (string, error)
	// Control gets connections of nodes that want to join, when they have proved that they belong to the cluster. It owns
	// them and must not block. Default: they are refused.
	Control func(net.Conn)
	Logger  *slog.Logger // default: discards
}

// Handler receives frames of one kind.
type Handler func(from NodeID, f wire.Frame)

// Mesh is a node's connections to its peers.
type Mesh struct {
	cfg      Config
	door     door
	handlers [256]atomic.Pointer[Handler] // by kind
	landings atomic.Pointer[LaneHandler]
	wg       sync.WaitGroup
	ctx      context.Context //nolint:containedctx // the life of the mesh; it owns the dials and handshakes
	cancel   context.CancelCauseFunc
	endErr   error     // of end; valid after wg.Wait
	bursts   sync.Pool // of *Burst, that have ended

	mu struct {
		sync.Mutex
		closed  bool
		peers   map[NodeID]outlet    // the connection that Send uses
		last    lastOutlet           // that was asked for; empty if it may be gone
		conns   map[link.Conn]NodeID // all that are read; two per node if both dialled at once
		lanes   map[net.Conn]NodeID  // all, whoever dialled them
		sets    map[NodeID]*lane.Set // of those that this node sends by
		dials   map[NodeID]*attempt
		lost    map[NodeID]*LostError
		onLost  map[int]func(*LostError)
		nextKey int
	}
}

// New returns a mesh. Nothing is accepted before Start. The mesh ends with ctx
// or with Close, whichever comes first; Close must be called in any case.
func New(ctx context.Context, cfg Config) *Mesh {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Mesh{cfg: cfg}
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	m.mu.peers = map[NodeID]outlet{}
	m.mu.conns = map[link.Conn]NodeID{}
	m.mu.lanes = map[net.Conn]NodeID{}
	m.mu.sets = map[NodeID]*lane.Set{}
	m.mu.dials = map[NodeID]*attempt{}
	m.mu.lost = map[NodeID]*LostError{}
	m.mu.onLost = map[int]func(*LostError){}
	m.wg.Go(m.end)
	return m
}

// Self returns the node's own number.
func (m *Mesh) Self() NodeID { return m.cfg.Self }

// Incarnation returns the number that tells this process from earlier ones.
func (m *Mesh) Incarnation() uint64 { return m.cfg.Incarnation }

// Handle installs the receiver of frames of one kind, in place of an earlier one. Frames of a kind that
// has no handler are dropped with a warning.
func (m *Mesh) Handle(k wire.Kind, h Handler) { m.handlers[k].Store(&h) }

// Start begins to accept connections.
func (m *Mesh) Start() {
	for _, l := range m.cfg.Listeners {
		m.wg.Go(func() { m.acceptLoop(l) })
	}
}

// Close ends all connections and waits for everything the mesh started. Handlers do not run after it, so
// it must not be called from a handler or from a function given to OnLost. It may be called often.
func (m *Mesh) Close() error {
	m.cancel(ErrClosed)
	m.wg.Wait()
	return m.endErr
}

// Done is closed when the mesh is told to end.
func (m *Mesh) Done() <-chan struct{} { return m.ctx.Done() }

// Go runs fn on a goroutine of its own that Close waits for, and reports whether it does: not after the end of the mesh. fn may
// block in Send and Connect, which end with the mesh, but nowhere else for long.
func (m *Mesh) Go(fn func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed || m.ctx.Err() != nil {
		return false
	}
	m.wg.Go(fn) // end, which still runs, holds the group above zero
	return true
}

// end waits for the end of the mesh and closes what it holds.
func (m *Mesh) end() {
	<-m.ctx.Done()
	var err error
	for _, l := range m.cfg.Listeners {
		err = errors.Join(err, l.Close())
	}
	m.mu.Lock()
	m.mu.closed = true
	conns := make([]link.Conn, 0, len(m.mu.conns))
	for c := range m.mu.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	m.closeLanes(nil, ErrClosed)
	m.endErr = err
}

// Send sends one frame to a node, dialling it if there is no connection yet. It takes the body over.
// Errors: *LostError, *RefusedError, ErrClosed, link.ErrTooLarge, the context's, or one that says why the
// node cannot be reached; only after a *LostError is it useless to try again.
func (m *Mesh) Send(ctx context.Context, to NodeID, h *wire.Header, body ...[]byte) error {
	if to == m.cfg.Self {
		return m.sendSelf(h, body)
	}
	conn, err := m.peer(ctx, to)
	if err != nil {
		return err
	}
	if err := conn.Send(ctx, h, body...); err != nil {
		return m.sendError(to, h, err)
	}
	return nil
}

// sendError says what it means that a connection did not take a frame.
func (m *Mesh) sendError(to NodeID, h *wire.Header, err error) error {
	switch {
	case m.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, link.ErrClosed):
		return m.goneError(to, err)
	}
	return fmt.Errorf("send a %v frame to node %d: %w", h.Kind, to, err)
}

// goneError is for a Send that found the connection broken. It leaves it to the reader to declare the node lost,
// once it has handed on what the node sent before.
func (m *Mesh) goneError(node NodeID, cause error) *LostError {
	if e := m.IsLost(node); e != nil {
		return e
	}
	return &LostError{Node: node, Cause: cause}
}

func (m *Mesh) sendSelf(h *wire.Header, body [][]byte) error {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	if n > wire.MaxBody {
		return fmt.Errorf("%w: %v frame with a body of %d bytes, the bound is %d", link.ErrTooLarge, h.Kind, n, wire.MaxBody)
	}
	m.mu.Lock()
	if m.mu.closed || m.ctx.Err() != nil {
		m.mu.Unlock()
		return ErrClosed
	}
	m.wg.Add(1) // Close waits for the handler
	m.mu.Unlock()
	defer m.wg.Done()
	h.Length = uint32(n)
	f := wire.Frame{Header: *h}
	f.Normalize()
	switch {
	case n == 0:
	case len(body) == 1:
		f.Body = slices.Clip(body[0])
	default:
		f.Body = slices.Concat(body...)
	}
	m.dispatch(m.cfg.Self, f)
	return nil
}

// attempt is a dial under way.
type attempt struct {
	ctx    context.Context //nolint:containedctx // of the mesh, not of a caller; ends early when the node is lost
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when conn and err are valid
	conn   link.Conn
	err    error
}

// peer returns the connection to a node. However many callers want it, one dials.
func (m *Mesh) peer(ctx context.Context, to NodeID) (link.Conn, error) {
	m.mu.Lock()
	known, err := m.knownLocked(to)
	if known.conn != nil || err != nil {
		m.mu.Unlock()
		return known.conn, err
	}
	a := m.mu.dials[to]
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		a.ctx, a.cancel = context.WithCancelCause(m.ctx)
		m.mu.dials[to] = a
		m.wg.Go(func() { m.attempt(to, a) })
	}
	m.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to node %d: %w", to, context.Cause(ctx))
	}
}

func (m *Mesh) attempt(to NodeID, a *attempt) {
	ctx, stop := context.WithTimeoutCause(a.ctx, handshakeTimeout, errSlow)
	a.conn, a.err = m.dial(ctx, to)
	stop()
	a.cancel(nil)
	m.mu.Lock()
	delete(m.mu.dials, to)
	if e := m.mu.lost[to]; e != nil && a.err != nil {
		a.err = e
	}
	m.mu.Unlock()
	close(a.done)
}

// lastOutlet is of the node that was asked for last. A node answers one and the same most of the time, and its map is cold then.
type lastOutlet struct {
	node NodeID
	outlet
}

// outlet is the connection that Send uses for a peer.
type outlet struct {
	conn   link.Conn
	holder link.Holder // conn, if it is one; to ask each time costs more than to send
}

// knownLocked returns the way to a node, which has no connection if there is none yet.
func (m *Mesh) knownLocked(to NodeID) (outlet, error) {
	if m.mu.closed {
		return outlet{}, ErrClosed
	}
	if m.mu.last.conn != nil && m.mu.last.node == to {
		return m.mu.last.outlet, nil
	}
	if o, ok := m.mu.peers[to]; ok { // and so it is not lost
		m.mu.last = lastOutlet{to, o}
		return o, nil
	}
	if e := m.mu.lost[to]; e != nil {
		return outlet{}, e
	}
	return outlet{}, nil
}

// Connect makes sure that there is a connection to a node. There is always one to the node itself.
func (m *Mesh) Connect(ctx context.Context, to NodeID) error {
	if to == m.cfg.Self {
		return nil
	}
	_, err := m.peer(ctx, to)
	return err
}

// adopt takes a connection whose peer has proved itself into service. It returns the connection that Send
// uses: when both sides dialled at once, the first stays, so that frames keep their order.
func (m *Mesh) adopt(node NodeID, conn link.Conn) (link.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mu.closed:
		return nil, ErrClosed
	case m.mu.lost[node] != nil:
		return nil, m.mu.lost[node]
	}
	m.mu.conns[conn] = node
	if _, ok := m.mu.peers[node]; !ok {
		o := outlet{conn: conn}
		o.holder, _ = conn.(link.Holder)
		m.mu.peers[node] = o
	}
	m.wg.Go(func() { m.readLoop(node, conn) })
	return m.mu.peers[node].conn, nil
}

func (m *Mesh) readLoop(node NodeID, conn link.Conn) {
	for {
		f, err := conn.Recv()
		if err != nil {
			m.retire(node, conn, err)
			return
		}
		m.dispatch(node, f)
	}
}

// retire takes a connection out of service, and with it the node at its other end.
func (m *Mesh) retire(node NodeID, conn link.Conn, cause error) {
	if errors.Is(cause, wire.ErrFrame) && !errors.Is(cause, io.ErrUnexpectedEOF) { // a node may die in the middle of a frame
		m.cfg.Logger.Error("bad frame, closing the link", "peer", node, "err", cause)
	}
	m.Lost(node, cause) // before Close, so that a Send that it ends names this cause
	_ = conn.Close()    // broken already; the cause says how
	m.mu.Lock()
	delete(m.mu.conns, conn)
	m.mu.Unlock()
}

func (m *Mesh) dispatch(from NodeID, f wire.Frame) {
	if h := m.handlers[f.Kind].Load(); h != nil {
		(*h)(from, f)
		return
	}
	m.cfg.Logger.Warn("no handler for frame", "kind", f.Kind.String(), "peer", from)
}

// Lost records that a node is gone, closes its connections, and tells everybody who asked. Only the
// first cause counts; it is returned.
func (m *Mesh) Lost(node NodeID, cause error) *LostError {
	m.mu.Lock()
	if e := m.mu.lost[node]; e != nil {
		m.mu.Unlock()
		return e
	}
	e := &LostError{Node: node, Cause: cause}
	m.mu.lost[node] = e
	delete(m.mu.peers, node)
	m.mu.last = lastOutlet{}
	var conns []link.Conn
	for c, n := range m.mu.conns {
		if n == node {
			conns = append(conns, c)
		}
	}
	if a := m.mu.dials[node]; a != nil {
		a.cancel(e)
	}
	var tell []func(*LostError)
	if !m.mu.closed {
		for _, fn := range m.mu.onLost {
			tell = append(tell, fn)
		}
	}
	m.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // its reader ends; an error would add nothing to the cause
	}
	m.closeLanes(&node, e)
	for _, fn := range tell {
		fn(e)
	}
	return e
}

// OnLost calls fn for every node that is lost from now on, unless by Close. fn must not block, and must not
// wait for a lock under which somebody waits for Close. The returned function takes fn out again; a call that
// is under way may still come.
func (m *Mesh) OnLost(fn func(*LostError)) (cancel func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := m.mu.nextKey
	m.mu.nextKey++
	m.mu.onLost[key] = fn
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.mu.onLost, key)
	}
}

// Peers returns how many other nodes this one has a connection to.
func (m *Mesh) Peers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.peers)
}

// IsLost returns the death notice of a node, or nil while none has come.
func (m *Mesh) IsLost(node NodeID) *LostError {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.lost[node]
}
