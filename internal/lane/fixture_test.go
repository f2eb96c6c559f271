// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/wire"
)

const (
	headSize = 16
	bound    = headSize + 256<<10
)

// overTCP returns the two ends of a connection over loopback.
func overTCP(t testing.TB) (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	a, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// overTLS is the same, encrypted.
func overTLS(t testing.TB) (net.Conn, net.Conn) {
	files, err := certs.Make(t.TempDir(), certs.Name)
	require.NoError(t, err)
	cfg, err := certs.Load(files)
	require.NoError(t, err)
	a, b := overTCP(t)
	return tls.Client(a, cfg), tls.Server(b, cfg)
}

func piped(t testing.TB) (net.Conn, net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

var ways = map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": overTCP, "tls": overTLS, "pipe": piped}

// goroutines runs functions and waits for them.
type goroutines struct{ sync.WaitGroup }

func (g *goroutines) start(fn func()) bool {
	g.Go(fn)
	return true
}

// ledger is an owner that counts what becomes of its segments.
type ledger struct {
	mu   sync.Mutex
	errs []error
	told chan struct{}
}

func newLedger() *ledger { return &ledger{told: make(chan struct{}, 1<<16)} }

func (l *ledger) Sent(_ *lane.Segment, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
	l.told <- struct{}{}
}

// await waits for some more to be told.
func (l *ledger) await(n int) {
	for range n {
		<-l.told
	}
}

// segment makes a frame of a number whose body, of some pieces, follows from it.
func (l *ledger) segment(number, size int) *lane.Segment {
	h := wire.Header{Kind: wire.KindBlock, Seq: uint64(number), Length: uint32(headSize + size)}
	head := binary.LittleEndian.AppendUint64(h.Append(nil), uint64(size))
	head = binary.LittleEndian.AppendUint64(head, ^uint64(number))
	body := content(number, size)
	rng := rand.New(rand.NewPCG(uint64(number), 9))
	s := &lane.Segment{Owner: l, Head: head}
	for len(body) > 0 {
		n := 1 + rng.IntN(len(body))
		s.Body = append(s.Body, body[:n:n])
		body = body[n:]
	}
	return s
}

func content(number, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(number*31 + i*7 + i>>8)
	}
	return b
}

// inbox is a receiver that keeps bodies by number. It gives out memory in small pieces now and then.
type inbox struct {
	mu    sync.Mutex
	got   map[uint64][]byte
	fills int

	head wire.Header
	body []byte
	at   int
}

func newInbox() *inbox { return &inbox{got: map[uint64][]byte{}} }

func (r *inbox) Begin(h *wire.Header, head []byte) error {
	if len(head) != headSize || binary.LittleEndian.Uint64(head[8:]) != ^h.Seq {
		return errors.New("a head that is none")
	}
	r.head, r.body, r.at = *h, make([]byte, int(h.Length)-headSize), 0
	return nil
}

func (r *inbox) Fill(left int, read func([][]byte) (int, error)) (int, error) {
	r.fills++
	if left != len(r.body)-r.at {
		return 0, fmt.Errorf("%d bytes are left, want %d", left, len(r.body)-r.at)
	}
	room := r.body[r.at:]
	if r.fills%3 == 0 {
		room = room[:(len(room)+1)/2]
	}
	half := len(room) / 2
	dst := [][]byte{room[:half], room[half:]}
	n, err := read(dst)
	r.at += min(max(n, 0), len(room))
	return n, err
}

func (r *inbox) End() error {
	if r.at != len(r.body) {
		return fmt.Errorf("the end after %d of %d bytes", r.at, len(r.body))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[r.head.Seq] = r.body
	return nil
}
