// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// The bare programs: two processes with some connections. In a round each sends as many bytes as it receives, in both directions at once,
// out of and into buffers that are reused.
const (
	kindNet    = "net"    // connections of Go's, a Write and a ReadFull for each
	kindVector = "vector" // blocking sockets with writev and readv, of threads of their own
	kindTurns  = "turns"  // one thread, which sends a piece and receives a piece wherever it can, and waits when it can do neither
)

const (
	maxStreams = 64
	vector     = 256 << 10 // bytes of an entry
	// smallBuffer keeps what is under way in the processor's cache, as lanes do over loopback.
	smallBuffer = 128 << 10
)

// startBare starts two processes, whose connections buffer as many bytes to send, or with 0 what the system finds right.
func startBare(ctx context.Context, kind string, streams, bytes, buffer int) (*fleet, error) {
	f := &fleet{}
	args := []string{strconv.Itoa(streams), strconv.Itoa(bytes), strconv.Itoa(buffer)}
	first, err := f.start(ctx, kind, nil, args...)
	if err != nil {
		return nil, err
	}
	addr, err := first.line()
	if err == nil {
		_, err = f.start(ctx, kind, nil, append(args, addr)...)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// serveBare is one of the two. With an address it dials the other.
func serveBare(kind string, args []string, in io.Reader, out io.Writer) error {
	numbers, err := numbersOf(args[:3])
	if err != nil {
		return err
	}
	streams, bytes := numbers[0], numbers[1]
	conns, err := connections(streams, args[3:], out)
	if err != nil {
		return err
	}
	if buffer := numbers[2]; buffer > 0 {
		for _, conn := range conns {
			if err := conn.SetWriteBuffer(buffer); err != nil {
				return err
			}
		}
	}
	send, recv := make([]byte, bytes), make([]byte, bytes)
	for i := range send {
		send[i] = byte(i)
		recv[i] = 1 // the pages are there from the first round on
	}
	var begin []chan struct{}
	done := make(chan error, 2*streams)
	work := func(do func() error) {
		c := make(chan struct{})
		begin = append(begin, c)
		go func() {
			runtime.LockOSThread() // of no harm to the connections of Go's, whose goroutines wait in the poller
			for range c {
				done <- do()
			}
		}()
	}
	if kind == kindTurns {
		w, err := newTurns(conns, send, recv)
		if err != nil {
			return err
		}
		work(w.round)
		conns = nil
	}
	for i, conn := range conns {
		s, r := send[i*bytes/streams:(i+1)*bytes/streams], recv[i*bytes/streams:(i+1)*bytes/streams]
		if kind == kindVector {
			file, err := conn.File() // which blocks
			if err != nil {
				return err
			}
			work(func() error { return vectored(file, s, unix.Writev) })
			work(func() error { return vectored(file, r, unix.Readv) })
			continue
		}
		work(func() error { _, err := conn.Write(s); return err })
		work(func() error { _, err := io.ReadFull(conn, r); return err })
	}
	return answer(in, out, func() error {
		for _, c := range begin {
			c <- struct{}{}
		}
		var errs []error
		for range begin {
			errs = append(errs, <-done)
		}
		return errors.Join(errs...)
	})
}

func connections(n int, dial []string, out io.Writer) ([]*net.TCPConn, error) {
	var next func() (net.Conn, error)
	if len(dial) > 0 {
		next = func() (net.Conn, error) { return net.Dial("tcp", dial[0]) } //nolint:noctx,gosec // to loopback
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the process
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		fmt.Fprintln(out, l.Addr())
		next = l.Accept
	}
	var conns []*net.TCPConn
	for range n {
		c, err := next()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, fmt.Errorf("a connection of type %T", c)
		}
		conns = append(conns, tcp)
	}
	return conns, nil
}

// vectored moves all of b by calls of a vector of pieces.
func vectored(file *os.File, b []byte, call func(fd int, iov [][]byte) (int, error)) error {
	var iov [][]byte
	for len(b) > 0 {
		iov = iov[:0]
		for at := 0; at < len(b) && len(iov) < 16; at += vector {
			iov = append(iov, b[at:min(at+vector, len(b))])
		}
		n, err := call(int(file.Fd()), iov)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		b = b[max(n, 0):]
	}
	return nil
}
