// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// turns moves bytes over some connections, both ways, on the calling thread.
type turns struct {
	polls []unix.PollFd // of the connections
	parts []part
	files []io.Closer // keep the descriptors open
}

// part is what goes over one connection in a round.
type part struct {
	send, recv     []byte
	sent, received int
}

func newTurns(conns []*net.TCPConn, send, recv []byte) (*turns, error) {
	w := &turns{}
	n := len(conns)
	for i, conn := range conns {
		file, err := conn.File()
		if err != nil {
			return nil, err
		}
		w.files = append(w.files, file)
		w.polls = append(w.polls, unix.PollFd{Fd: int32(file.Fd())})
		from, to := i*len(send)/n, (i+1)*len(send)/n
		w.parts = append(w.parts, part{send: send[from:to], recv: recv[from:to]})
	}
	return w, nil
}

// round sends and receives everything once.
func (w *turns) round() error {
	for i := range w.parts {
		w.parts[i].sent, w.parts[i].received = 0, 0
	}
	for {
		moved, open := 0, false
		for i := range w.parts {
			n, err := w.parts[i].move(&w.polls[i])
			if err != nil {
				return err
			}
			moved += n
			open = open || w.polls[i].Events != 0
		}
		switch {
		case !open:
			return nil
		case moved == 0:
			if _, err := unix.Poll(w.polls, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}
}

// move sends a piece and receives a piece, as far as that can be done at once, and notes what is left to wait for.
func (p *part) move(f *unix.PollFd) (int, error) {
	moved := 0
	f.Events = 0
	if rest := p.send[p.sent:]; len(rest) > 0 {
		n, err := unix.SendmsgN(int(f.Fd), rest[:min(len(rest), vector)], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return 0, err
		}
		p.sent += max(n, 0)
		moved += max(n, 0)
		f.Events |= unix.POLLOUT
	}
	if rest := p.recv[p.received:]; len(rest) > 0 {
		n, _, err := unix.Recvfrom(int(f.Fd), rest[:min(len(rest), vector)], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.ErrUnexpectedEOF
		}
		p.received += max(n, 0)
		moved += max(n, 0)
		f.Events |= unix.POLLIN
	}
	return moved, nil
}
