// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package handshake_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func party(node uint32, secret string) handshake.Party {
	return handshake.Party{
		Hello:  wire.Hello{Node: node, Incarnation: uint64(node) + 10, Table: 5, Purpose: wire.PurposeLink},
		Secret: []byte(secret),
	}
}

// ends are two ends of a connection.
func ends(t *testing.T) (dialler, acceptor link.Conn) {
	t.Helper()
	a, b := link.Pipe()
	t.Cleanup(func() {
		assert.NoError(t, a.Close())
		assert.NoError(t, b.Close())
	})
	return a, b
}

type outcome struct {
	peer wire.Hello
	err  error
}

// accept runs the accepting side.
func accept(t *testing.T, p handshake.Party, conn link.Conn, judge func(wire.Hello) *wire.Fault) <-chan outcome {
	t.Helper()
	done := make(chan outcome, 1)
	go func() {
		peer, err := p.Accept(t.Context(), conn, judge)
		done <- outcome{peer, err}
	}()
	return done
}

func TestBothSidesLearnWhoTheOtherIs(t *testing.T) {
	for _, purpose := range []wire.Purpose{wire.PurposeLink, wire.PurposeControl} {
		a, b := ends(t)
		done := accept(t, party(1, "s"), b, func(peer wire.Hello) *wire.Fault {
			assert.EqualValues(t, 7, peer.Node)
			return nil
		})
		p := party(7, "s")
		p.Hello.Purpose = purpose
		peer, err := p.Dial(t.Context(), a, nil)
		require.NoError(t, err)
		assert.EqualValues(t, 1, peer.Node)
		assert.EqualValues(t, 11, peer.Incarnation)
		got := <-done
		require.NoError(t, got.err)
		assert.EqualValues(t, 7, got.peer.Node)
		assert.Equal(t, purpose, got.peer.Purpose)
		// Both trust each other now.
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, make([]byte, 1<<20)))
		_, err = b.Recv()
		require.NoError(t, err)
	}
}

func TestNobodyGetsInWithAnotherSecret(t *testing.T) {
	a, b := ends(t)
	done := accept(t, party(1, "right"), b, func(wire.Hello) *wire.Fault {
		t.Error("judged before it proved itself")
		return nil
	})
	_, err := party(7, "wrong").Dial(t.Context(), a, nil)
	var refused *handshake.RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, wire.FaultUnauthorized, refused.Fault.Code)
	require.NoError(t, a.Close())
	require.EqualError(t, (<-done).err, "turned away: wrong cluster secret")
}

func TestASecretMustBeThere(t *testing.T) {
	a, b := ends(t)
	_, err := party(7, "").Dial(t.Context(), a, nil)
	require.ErrorContains(t, err, "without a cluster secret")
	_, err = party(1, "").Accept(t.Context(), b, nil)
	require.ErrorContains(t, err, "without a cluster secret")
}

func TestJudgesAreHeard(t *testing.T) {
	a, b := ends(t)
	long := strings.Repeat("why ", 1000)
	done := accept(t, party(1, "s"), b, func(wire.Hello) *wire.Fault { return &wire.Fault{Code: wire.FaultClosed, Message: long} })
	_, err := party(7, "s").Dial(t.Context(), a, nil)
	var refused *handshake.RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, wire.FaultClosed, refused.Fault.Code)
	assert.Equal(t, long[:512], refused.Fault.Message)
	require.NoError(t, a.Close())
	require.ErrorContains(t, (<-done).err, "turned away: why")

	a, b = ends(t)
	done = accept(t, party(1, "s"), b, nil)
	rejected := errors.New("not you")
	_, err = party(7, "s").Dial(t.Context(), a, func(wire.Hello) error { return rejected })
	require.ErrorIs(t, err, rejected)
	require.NoError(t, a.Close())
	require.ErrorIs(t, (<-done).err, handshake.ErrHungUp)
}

// relay passes frames on between two ends and may change them: somebody in the middle of an unencrypted connection.
func relay(t *testing.T, from, to link.Conn, change func(int, *wire.Frame)) {
	t.Helper()
	go func() {
		for n := 0; ; n++ {
			f, err := from.Recv()
			if err != nil {
				_ = to.Close()
				return
			}
			change(n, &f)
			if to.Send(context.WithoutCancel(t.Context()), &f.Header, f.Body) != nil {
				return
			}
		}
	}()
}

// Whatever is changed on the way, neither side takes the other for what it is not.
func TestHellosCannotBeChangedOnTheWay(t *testing.T) {
	for _, at := range []int{0, 9, 16, 24, 55} {
		for _, fromDialler := range []bool{true, false} {
			a, x := ends(t)
			y, b := ends(t)
			change := func(n int, f *wire.Frame) {
				if n == 0 {
					f.Body = append([]byte{}, f.Body...)
					f.Body[at] ^= 1
				}
			}
			keep := func(int, *wire.Frame) {}
			if fromDialler {
				relay(t, x, y, change)
				relay(t, y, x, keep)
			} else {
				relay(t, x, y, keep)
				relay(t, y, x, change)
			}
			done := accept(t, party(1, "s"), b, nil)
			_, err := party(7, "s").Dial(t.Context(), a, nil)
			require.Error(t, err, "byte %d", at)
			require.NoError(t, a.Close())
			require.Error(t, (<-done).err)
		}
	}
}

// A proof that was overheard is of no use later: nonces differ.
func TestAProofCannotBeReplayed(t *testing.T) {
	a, x := ends(t)
	y, b := ends(t)
	var heard []wire.Frame
	relay(t, x, y, func(_ int, f *wire.Frame) { heard = append(heard, *f) })
	relay(t, y, x, func(int, *wire.Frame) {})
	done := accept(t, party(1, "s"), b, nil)
	_, err := party(7, "s").Dial(t.Context(), a, nil)
	require.NoError(t, err)
	require.NoError(t, (<-done).err)

	c, d := ends(t)
	done = accept(t, party(1, "s"), d, nil)
	for _, f := range heard {
		require.NoError(t, c.Send(t.Context(), &f.Header, f.Body))
	}
	_, err = c.Recv() // its hello
	require.NoError(t, err)
	f, err := c.Recv()
	require.NoError(t, err)
	got, err := wire.ParseAccept(f.Body)
	require.NoError(t, err)
	require.NotNil(t, got.Fault)
	assert.Equal(t, wire.FaultUnauthorized, got.Fault.Code)
	require.NoError(t, c.Close())
	require.Error(t, (<-done).err)
}

// overTLS returns two ends of two different TLS connections whose holder in the middle has a certificate of the same authority.
func TestTheHandshakeBelongsToItsTLSConnection(t *testing.T) {
	leakcheck.Check(t)
	files, err := certs.Make(t.TempDir(), certs.Name)
	require.NoError(t, err)
	cfg, err := certs.Load(files)
	require.NoError(t, err)
	tr := link.TCP{TLS: cfg}
	connect := func(serve func(link.Conn)) link.Conn {
		l, err := tr.Listen("127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if assert.NoError(t, err) {
				serve(conn)
			}
		}()
		conn, err := tr.Dial(t.Context(), l.Addr())
		require.NoError(t, err)
		require.NoError(t, l.Close())
		t.Cleanup(func() {
			assert.NoError(t, conn.Close())
			<-done
		})
		return conn
	}
	result := make(chan error, 1)
	onward := connect(func(conn link.Conn) {
		_, err := party(1, "s").Accept(t.Context(), conn, nil)
		result <- err
		assert.NoError(t, conn.Close())
	})
	a := connect(func(conn link.Conn) { // in the middle: passes everything on, one frame at a time
		for {
			f, err := conn.Recv()
			if err != nil || onward.Send(t.Context(), &f.Header, f.Body) != nil {
				break
			}
			if f, err = onward.Recv(); err != nil || conn.Send(t.Context(), &f.Header, f.Body) != nil {
				break
			}
		}
		assert.NoError(t, conn.Close())
		assert.NoError(t, onward.Close())
	})
	_, err = party(7, "s").Dial(t.Context(), a, nil)
	var refused *handshake.RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, wire.FaultUnauthorized, refused.Fault.Code)
	require.NoError(t, a.Close())
	require.Error(t, <-result)
}

// A peer that speaks TLS to one that does not, and the other way round, is told what that may mean.
func TestTLSMeetsPlain(t *testing.T) {
	leakcheck.Check(t)
	files, err := certs.Make(t.TempDir(), certs.Name)
	require.NoError(t, err)
	cfg, err := certs.Load(files)
	require.NoError(t, err)
	try := func(here, there link.TCP) (ours, theirs error) {
		l, err := there.Listen("127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, err = party(1, "s").Accept(t.Context(), conn, nil)
				assert.NoError(t, conn.Close())
			}
			done <- err
		}()
		conn, err := here.Dial(t.Context(), l.Addr())
		if err == nil {
			_, err = party(7, "s").Dial(t.Context(), conn, nil)
			require.NoError(t, conn.Close())
		}
		require.NoError(t, l.Close())
		return err, <-done
	}
	ours, theirs := try(link.TCP{}, link.TCP{TLS: cfg})
	require.ErrorContains(t, ours, "")
	require.ErrorContains(t, theirs, "does not look like a TLS handshake")
	require.Error(t, ours)
	ours, theirs = try(link.TCP{TLS: cfg}, link.TCP{})
	require.Error(t, ours)
	require.ErrorContains(t, theirs, "not a tutti link")
}

// What a stranger makes this side read is bounded, over TLS too.
func TestAStrangerMayNotSendMuch(t *testing.T) {
	leakcheck.Check(t)
	files, err := certs.Make(t.TempDir(), certs.Name)
	require.NoError(t, err)
	cfg, err := certs.Load(files)
	require.NoError(t, err)
	l, err := link.TCP{TLS: cfg}.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = party(1, "s").Accept(t.Context(), conn, nil)
			assert.NoError(t, conn.Close())
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	// The beginning of a client hello of 60000 bytes, in records of 16 KiB.
	hello := append([]byte{1, 0, 0xea, 0x60}, make([]byte, 60000)...)
	for len(hello) > 0 {
		n := min(len(hello), 16<<10)
		_, err = nc.Write(append([]byte{22, 3, 1, byte(n >> 8), byte(n)}, hello[:n]...))
		if err != nil {
			break
		}
		hello = hello[n:]
	}
	_, err = io.Copy(io.Discard, nc)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, <-done, "peer has sent 16384 bytes and not proved itself")
	require.NoError(t, nc.Close())
}
