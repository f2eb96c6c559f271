// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/wire"
)

// Shared is the transport through memory that both processes map. It listens and dials as [Unix] does; the side that dials
// passes the memory and two bells over the socket, which then tells each side of the end of the other and nothing else
// but that there is room again. Where the memory cannot be had, the frames go over the socket.
type Shared struct{}

var _ Transport = Shared{}

const (
	// sharedLayout is the first byte of a connection that goes on in shared memory. It numbers the layout, and no frame
	// begins with it.
	sharedLayout = 2

	sharedSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

// memory is what both processes map: a ring for each direction.
type memory struct{ rings [2]ring }

const memoryBytes = int(unsafe.Sizeof(memory{}))

// Listen creates the socket at addr, as [Unix.Listen] does.
func (Shared) Listen(addr string) (Listener, error) {
	l, err := listenUnix(addr)
	if err != nil {
		return nil, err
	}
	return sharedListener{unixListener{l}}, nil
}

// Dial connects to the socket at addr.
func (Shared) Dial(ctx context.Context, addr string) (Conn, error) {
	nc, err := dialUnix(ctx, addr)
	if err != nil {
		return nil, err
	}
	p, err := offer(nc)
	if err != nil {
		return newStream(nc), nil //nolint:nilerr // the socket does as well
	}
	return newStream(p), nil
}

type sharedListener struct{ unixListener }

func (l sharedListener) Accept() (Conn, error) {
	nc, err := l.accept()
	if err != nil {
		return nil, err
	}
	return newStream(&accepted{Conn: nc, sock: nc}), nil
}

// handles are the descriptors that travel with an offer.
type handles struct{ memory, dialler, acceptor int }

func (h *handles) list() []int { return []int{h.memory, h.dialler, h.acceptor} }

func (h *handles) close() {
	for _, fd := range h.list() {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// offer makes the memory and hands it to the peer. When it fails, nothing was sent.
func offer(nc *net.UnixConn) (*sharedConn, error) {
	h, err := newHandles()
	if err != nil {
		return nil, err
	}
	defer h.close()
	p, err := newSharedConn(nc, h.memory, h.dialler, h.acceptor, 0)
	if err != nil {
		return nil, err
	}
	if _, _, err := nc.WriteMsgUnix([]byte{sharedLayout}, unix.UnixRights(h.list()...), nil); err != nil {
		p.discard()
		return nil, err
	}
	p.start()
	return p, nil
}

func newHandles() (_ *handles, err error) {
	h := &handles{-1, -1, -1}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.memory, err = unix.MemfdCreate("tutti-link", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return nil, err
	}
	if err = unix.Ftruncate(h.memory, int64(memoryBytes)); err != nil {
		return nil, err
	}
	if _, err = unix.FcntlInt(uintptr(h.memory), unix.F_ADD_SEALS, sharedSeals); err != nil {
		return nil, err
	}
	if h.dialler, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	h.acceptor, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return h, err
}

// accepted is a connection whose first byte has not come yet. It decides what the rest is. Who waits for that byte waits until it is closed: that it comes in
// time is for the handshake to see to.
type accepted struct {
	net.Conn // the socket

	sock *net.UnixConn
	once sync.Once
	err  error
	head []byte // of the frames, if they come over the socket; used by Read
	to   atomic.Pointer[net.Conn]
}

// decide waits for the first byte and returns the connection to use.
func (a *accepted) decide() (net.Conn, error) {
	a.once.Do(func() {
		var c net.Conn
		c, a.err = a.take()
		if a.err == nil {
			a.to.Store(&c)
		}
	})
	if a.err != nil {
		return nil, a.err
	}
	return *a.to.Load(), nil
}

func (a *accepted) take() (net.Conn, error) {
	var first [1]byte
	oob := make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := a.sock.ReadMsgUnix(first[:], oob)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, io.EOF
	}
	fds, err := descriptors(oob[:oobn])
	defer closeAll(fds)
	if err != nil {
		return nil, err
	}
	if first[0] != sharedLayout {
		a.head = first[:]
		return a.sock, nil
	}
	if len(fds) != 3 {
		return nil, fmt.Errorf("%w: an offer of shared memory with %d descriptors, want 3", wire.ErrFrame, len(fds))
	}
	if err := checkMemory(fds[0]); err != nil {
		return nil, err
	}
	c, err := newSharedConn(a.sock, fds[0], fds[2], fds[1], 1)
	if err != nil {
		return nil, fmt.Errorf("map the memory of a link: %w", err)
	}
	c.start()
	return c, nil
}

// Read implements net.Conn.
func (a *accepted) Read(b []byte) (int, error) {
	c, err := a.decide()
	if err != nil {
		return 0, err
	}
	if len(a.head) > 0 {
		n := copy(b, a.head)
		a.head = a.head[n:]
		return n, nil
	}
	return c.Read(b)
}

// Write implements net.Conn.
func (a *accepted) Write(b []byte) (int, error) {
	c, err := a.decide()
	if err != nil {
		return 0, err
	}
	return c.Write(b)
}

// tryWrite implements tryWriter. Nothing is taken before it is known what the peer understands.
func (a *accepted) tryWrite(q net.Buffers) (int, error) {
	c := a.to.Load()
	if c == nil {
		return 0, nil
	}
	if s, ok := (*c).(*sharedConn); ok {
		return s.tryWrite(q)
	}
	raw, err := a.sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	return tryWrite(raw, q)
}

// ring implements tryWriter.
func (a *accepted) ring() {
	if c := a.to.Load(); c != nil {
		if s, ok := (*c).(*sharedConn); ok {
			s.ring()
		}
	}
}

// Close implements net.Conn. The socket goes first, so that a decision that is being waited for ends.
func (a *accepted) Close() error {
	err := a.sock.Close()
	if c, e := a.decide(); e == nil && c != net.Conn(a.sock) {
		err = errors.Join(err, c.Close())
	}
	return err
}

// CloseWrite tells the peer that nothing more comes.
func (a *accepted) CloseWrite() error { return a.sock.CloseWrite() }

// checkMemory makes sure that no access to the mapping can fault, whatever the peer does.
func checkMemory(fd int) error {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&sharedSeals != sharedSeals {
		return fmt.Errorf("%w: the memory of a link is not sealed (%#x, %w)", wire.ErrFrame, seals, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != int64(memoryBytes) {
		return fmt.Errorf("%w: the memory of a link has %d bytes, want %d (%w)", wire.ErrFrame, st.Size, memoryBytes, err)
	}
	return nil
}

// descriptors returns those that came with a message.
func descriptors(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrFrame, err)
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
