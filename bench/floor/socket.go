// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	messageSize = 64
	childFD     = 3 // of the one file that a child inherits

	// patience is how long a wait for an answer may take: a child that is stopped gives none.
	patience = 10 * time.Second
)

// spawn starts this program again as a child of the kind, with one file.
func spawn(kind string, file *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	//nolint:noctx // it ends when its parent lets go, which close does
	cmd := exec.Command(self)
	// The scheduler is to leave a child alone that waits in a system call it was not told of.
	cmd.Env = append(os.Environ(), envChild+"="+kind, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	return cmd, cmd.Start()
}

// await waits for children that were let go.
func await(children []*exec.Cmd) error {
	var errs []error
	for _, c := range children {
		errs = append(errs, c.Wait())
	}
	return errors.Join(errs...)
}

func joinClose(err error, o *others) error { return errors.Join(err, o.close()) }

// openSockets starts n children with a socket to each. They end when it is closed, and so when this process is gone.
func openSockets(n int) (*others, error) {
	var fds []int
	var children []*exec.Cmd
	o := &others{close: func() error {
		var errs []error
		for _, fd := range fds {
			errs = append(errs, unix.Close(fd))
		}
		return errors.Join(append(errs, await(children))...)
	}}
	for range n {
		ours, theirs, err := socketpair()
		if err != nil {
			return nil, joinClose(err, o)
		}
		fds = append(fds, ours)
		timeout := unix.NsecToTimeval(patience.Nanoseconds())
		if err := unix.SetsockoptTimeval(ours, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return nil, errors.Join(err, theirs.Close(), o.close())
		}
		child, err := spawn("socket", theirs)
		if err == nil {
			children = append(children, child)
		}
		if err := errors.Join(err, theirs.Close()); err != nil {
			return nil, joinClose(err, o)
		}
	}
	o.round = echoes(fds)
	return o, nil
}

// socketpair returns two ends that block, as those of a C program do, and that no child inherits by accident.
func socketpair() (ours int, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, nil, err
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	return pair[0], os.NewFile(uintptr(pair[1]), "socket"), nil
}

// echoes returns a round that sends a number to all and gets it back from all.
func echoes(fds []int) func() (time.Duration, error) {
	var number uint64
	return func() (time.Duration, error) {
		var out, in [messageSize]byte
		number++
		binary.LittleEndian.PutUint64(out[:], number)
		began := time.Now()
		for _, fd := range fds {
			if err := writeAll(fd, out[:]); err != nil {
				return 0, err
			}
		}
		submit := time.Since(began)
		for i, fd := range fds {
			if err := readAll(fd, in[:]); err != nil {
				return 0, fmt.Errorf("process %d does not answer: %w", i, err)
			}
			if in != out {
				return 0, fmt.Errorf("process %d answers %v to %v", i, in, out)
			}
		}
		return submit, nil
	}
}

func serveSocket() error {
	var message [messageSize]byte
	for {
		err := readAll(childFD, message[:])
		if errors.Is(err, io.EOF) {
			return nil // the parent is done, or gone
		}
		if err == nil {
			err = writeAll(childFD, message[:])
		}
		if err != nil {
			return err
		}
	}
}

func readAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := read(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		default:
			b = b[n:]
		}
	}
	return nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
