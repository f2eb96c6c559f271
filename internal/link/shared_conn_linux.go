// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedConn is one side of a connection through shared memory. Its bell is an event descriptor that the runtime's poller
// watches, so that who waits costs no thread, and who wakes it one system call that never blocks. The socket carries a byte
// when a writer that waits for room is to look again.
type sharedConn struct {
	net.Conn // the socket; an interface, lest its ways to write many buffers at once are taken

	sock    *net.UnixConn
	sockRaw syscall.RawConn
	bell    *os.File
	bellRaw syscall.RawConn
	ready   func(uintptr) bool // mayRead, made once
	room    chan struct{}      // holds a token when there may be room
	gone    chan struct{}      // closed when the peer is
	watcher sync.WaitGroup

	in  ringReader // of the one who reads
	out ringWriter // of the one who writes

	// life is held for reading by whoever uses the memory or the descriptor of the peer's bell.
	life   sync.RWMutex
	mem    *memory // nil once closed
	peer   int     // descriptor of the peer's bell
	isGone atomic.Bool
}

// newSharedConn maps the memory. It uses duplicates of the descriptors.
func newSharedConn(nc *net.UnixConn, mem, own, peer, side int) (_ *sharedConn, err error) {
	c := &sharedConn{Conn: nc, sock: nc, room: make(chan struct{}, 1), gone: make(chan struct{}), peer: -1}
	defer func() {
		if err != nil {
			c.discard()
		}
	}()
	p, err := unix.MmapPtr(mem, 0, nil, uintptr(memoryBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	c.mem = (*memory)(p)
	c.out.r, c.in.r = &c.mem.rings[side], &c.mem.rings[1-side]
	if c.peer, err = unix.FcntlInt(uintptr(peer), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c.bell = os.NewFile(uintptr(fd), "bell")
	if c.bellRaw, err = c.bell.SyscallConn(); err != nil {
		return nil, err
	}
	if c.sockRaw, err = nc.SyscallConn(); err != nil {
		return nil, err
	}
	c.ready = c.mayRead
	return c, nil
}

// start begins to watch the socket.
func (c *sharedConn) start() { c.watcher.Go(c.watch) }

// watch waits for the end of the peer, or of the connection. Every byte until then says that there is room.
func (c *sharedConn) watch() {
	var b [64]byte
	for {
		if _, err := c.Conn.Read(b[:]); err != nil {
			break
		}
		select {
		case c.room <- struct{}{}:
		default:
		}
	}
	c.isGone.Store(true)
	close(c.gone)
	_ = c.bellRaw.Control(func(fd uintptr) { strike(int(fd)) }) // closed only after watch has ended
}

// strike rings a bell. The runtime is not told of the system call, which does not block: it would wake a thread to look after it.
func strike(fd int) {
	one := [8]byte{1}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// Read implements net.Conn. What the peer wrote before its end is read first.
func (c *sharedConn) Read(b []byte) (int, error) {
	for {
		n, err := c.tryRead(b)
		if n > 0 || err != nil {
			return n, err
		}
		if err := c.bellRaw.Read(c.ready); err != nil && !errors.Is(err, os.ErrClosed) {
			return 0, err
		}
	}
}

func (c *sharedConn) tryRead(b []byte) (int, error) {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.mem == nil {
		return 0, net.ErrClosed
	}
	gone := c.isGone.Load() // first: what was written before is there
	n, err := c.in.read(b)
	if err != nil || n == 0 && gone {
		return 0, errors.Join(err, io.EOF)
	}
	if n > 0 && c.in.relieve() {
		c.tellRoom()
	}
	return n, nil
}

// mayRead reports whether it is worth while to read. Until it is, the bell rings when it may be.
func (c *sharedConn) mayRead(uintptr) bool {
	c.life.RLock()
	defer c.life.RUnlock()
	return c.mem == nil || c.isGone.Load() || !c.in.wait()
}

// tellRoom tells the peer that there is room. If the socket is full of such bytes, it knows.
func (c *sharedConn) tellRoom() {
	var b [1]byte
	_ = c.sockRaw.Write(func(fd uintptr) bool {
		_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		return true
	})
}

// tryWrite implements tryWriter.
func (c *sharedConn) tryWrite(q net.Buffers) (int, error) {
	c.life.RLock()
	defer c.life.RUnlock()
	switch {
	case c.mem == nil:
		return 0, net.ErrClosed
	case c.isGone.Load():
		return 0, unix.EPIPE
	}
	return c.out.write(q)
}

// ring implements tryWriter.
func (c *sharedConn) ring() {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.mem != nil && c.out.rouse() {
		strike(c.peer)
	}
}

// Write implements net.Conn. It waits for room.
func (c *sharedConn) Write(b []byte) (int, error) {
	done := 0
	for {
		n, err := c.tryWrite(net.Buffers{b[done:]})
		done += n
		if err != nil {
			return done, err
		}
		c.ring()
		if done == len(b) {
			return done, nil
		}
		if c.wantsRoom() {
			select {
			case <-c.room:
			case <-c.gone:
			}
		}
	}
}

func (c *sharedConn) wantsRoom() bool {
	c.life.RLock()
	defer c.life.RUnlock()
	return c.mem != nil && c.out.wantsRoom()
}

// CloseWrite tells the peer that nothing more comes.
func (c *sharedConn) CloseWrite() error { return c.sock.CloseWrite() }

// Close implements net.Conn. It is called once.
func (c *sharedConn) Close() error {
	err := c.sock.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // by accepted
	}
	c.watcher.Wait()
	c.discard()
	return err
}

// discard gives back everything but the socket.
func (c *sharedConn) discard() {
	c.life.Lock()
	if c.mem != nil {
		_ = unix.MunmapPtr(unsafe.Pointer(c.mem), uintptr(memoryBytes))
		c.mem = nil
	}
	if c.peer >= 0 {
		_ = unix.Close(c.peer)
		c.peer = -1
	}
	c.life.Unlock()
	if c.bell != nil {
		_ = c.bell.Close() // who waits for it finds that the memory is gone
	}
}
