// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// socketPath returns a path that is short enough for a socket, which t.TempDir's need not be.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "link") //nolint:usetesting // t.TempDir contains the name of the test, which may be too long
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

// dialled returns the two ends of a connection through a transport.
func dialled(tb testing.TB, tr link.Transport, addr string) (link.Conn, link.Conn) {
	tb.Helper()
	l, err := tr.Listen(addr)
	require.NoError(tb, err)
	type accepted struct {
		conn link.Conn
		err  error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		got <- accepted{c, err}
	}()
	a, err := tr.Dial(tb.Context(), addr)
	require.NoError(tb, err)
	b := <-got
	require.NoError(tb, b.err)
	require.NoError(tb, l.Close())
	tb.Cleanup(func() {
		assert.NoError(tb, a.Close())
		assert.NoError(tb, b.conn.Close())
	})
	return a, b.conn
}

// twins are the connections that must behave alike.
var twins = []struct {
	name string
	pair func(testing.TB) (link.Conn, link.Conn)
}{
	{"unix", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, link.Unix{}, socketPath(tb)) }},
	{"memory", func(tb testing.TB) (link.Conn, link.Conn) { return dialled(tb, new(link.Memory), "here") }},
	{"pipe", func(tb testing.TB) (link.Conn, link.Conn) {
		a, b := link.Pipe()
		tb.Cleanup(func() {
			assert.NoError(tb, a.Close())
			assert.NoError(tb, b.Close())
		})
		return a, b
	}},
}

// eachTwin runs a test over every kind of connection and in both directions.
func eachTwin(t *testing.T, test func(t *testing.T, a, b link.Conn)) {
	t.Helper()
	for _, tw := range twins {
		t.Run("link="+tw.name+"/from=dialler", func(t *testing.T) {
			leakcheck.Check(t)
			a, b := tw.pair(t)
			test(t, a, b)
		})
		if tw.name == "pipe" {
			continue // its ends do not differ
		}
		t.Run("link="+tw.name+"/from=listener", func(t *testing.T) {
			leakcheck.Check(t)
			a, b := tw.pair(t)
			test(t, b, a)
		})
	}
}

// pattern returns n bytes that tell sender, number and position, so that a wrong byte says where it is from.
func pattern(sender, number, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(sender*131 + number*31 + i*7 + i>>8)
	}
	return b
}

// checkPattern fails if body is not pattern(sender, number, len(body)).
func checkPattern(t *testing.T, sender, number int, body []byte) {
	t.Helper()
	if bytes.Equal(body, pattern(sender, number, len(body))) {
		return
	}
	for i, v := range body {
		if want := byte(sender*131 + number*31 + i*7 + i>>8); v != want {
			require.Failf(t, "wrong byte", "sender %d, frame %d of %d bytes: byte %d is %#x, want %#x", sender, number, len(body), i, v, want)
		}
	}
}

func TestHeaderAndBodyArriveAsSent(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		sent := wire.Header{
			Kind: wire.KindBlock, Step: 1, Caller: 1<<63 + 2, Seq: 3, Deadline: 4 * time.Hour,
			Group: 5, Epoch: 6, From: 7, To: 8, Hash: 9,
		}
		h := sent
		require.NoError(t, a.Send(t.Context(), &h, []byte("to"), nil, []byte("gether")))
		assert.EqualValues(t, 8, h.Length, "Send sets the length")
		h.Seq = 99 // the header is not kept
		f, err := b.Recv()
		require.NoError(t, err)
		sent.Length = 8
		assert.Equal(t, wire.Frame{Header: sent, Body: []byte("together")}, f)
	})
}

func TestDeadlineThatHasPassedStaysOne(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Deadline: -time.Second}))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, time.Nanosecond, f.Deadline, "zero would mean none")
	})
}

func TestFrameWithoutBodyHasNilBody(t *testing.T) {
	for name, body := range map[string][][]byte{"none": nil, "empty part": {{}}, "two empty parts": {{}, nil}} {
		t.Run(name, func(t *testing.T) {
			eachTwin(t, func(t *testing.T, a, b link.Conn) {
				require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCancel, Length: 77}, body...))
				f, err := b.Recv()
				require.NoError(t, err)
				assert.Nil(t, f.Body)
				assert.Zero(t, f.Length)
			})
		})
	}
}

func TestBodiesOfAllSizesArriveInOrder(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		sizes := []int{
			1, 2, 63, 64, 65, 2047, 2048, 2049, 4096, 64<<10 - 65, 64<<10 - 64, 64<<10 - 63, 64 << 10, 64<<10 + 1,
			200_000, 1 << 20, 1<<20 + 1, 5 << 20,
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i, n := range sizes {
				p := pattern(0, i, n)
				parts := [][]byte{p}
				if i%2 == 1 { // many parts, some empty
					parts = [][]byte{nil, p[:n/3], p[n/3 : n/2], {}, p[n/2:]}
				}
				if !assert.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Seq: uint64(i)}, parts...)) {
					return
				}
			}
		})
		for i, n := range sizes {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
			require.Len(t, f.Body, n)
			checkPattern(t, 0, i, f.Body)
		}
		wg.Wait()
	})
}

// Many parts exceed what one writev call takes.
func TestBodyOfThousandsOfParts(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		whole := pattern(1, 2, 3000*7)
		var parts [][]byte
		for p := whole; len(p) > 0; p = p[7:] {
			parts = append(parts, p[:7])
		}
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, parts...))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, whole, f.Body)
	})
}

// Every sender's frames keep their order and none is mixed up with another's, however they are coalesced.
// All bodies are kept and looked at again in the end: no later frame may overwrite an earlier one.
func TestManySendersKeepTheirOwnOrder(t *testing.T) {
	const senders, frames = 16, 200
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		var wg sync.WaitGroup
		for s := range senders {
			rng := rand.New(rand.NewPCG(1, uint64(s)))
			wg.Go(func() {
				for i := range frames {
					n := rng.IntN(300)
					switch rng.IntN(20) {
					case 0:
						n = 2000 + rng.IntN(100) // about the size up to which bodies are copied
					case 1:
						n = rng.IntN(100_000)
					}
					p := pattern(s, i, n)
					if !assert.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall, Caller: uint64(s), Seq: uint64(i)}, p[:n/2], p[n/2:])) {
						return
					}
				}
			})
		}
		next := make([]int, senders)
		var all []wire.Frame
		for range senders * frames {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, next[f.Caller], f.Seq, "sender %d", f.Caller)
			next[f.Caller]++
			all = append(all, f)
		}
		wg.Wait()
		for _, f := range all {
			require.EqualValues(t, f.Length, len(f.Body))
			checkPattern(t, int(f.Caller), int(f.Seq), f.Body)
		}
	})
}

func TestReceivedBodyHasNoSpareCapacity(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		spare := append(make([]byte, 0, 100), "one"...)
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, spare))
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, []byte("two")))
		one, err := b.Recv()
		require.NoError(t, err)
		_ = append(one.Body, bytes.Repeat([]byte("x"), 90)...)
		two, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, "two", string(two.Body))
		assert.Equal(t, make([]byte, 10), spare[3:13], "the sender's bytes behind the body")
	})
}

// Requests and answers cross, so that both sides write and read at the same time.
func TestBothDirectionsAtOnce(t *testing.T) {
	const frames = 300
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		var wg sync.WaitGroup
		for side, c := range []link.Conn{a, b} {
			wg.Go(func() {
				for i := range frames {
					n := i * 100
					if !assert.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: uint64(i)}, pattern(side, i, n))) {
						return
					}
				}
			})
			wg.Go(func() {
				for i := range frames {
					f, err := c.Recv()
					if !assert.NoError(t, err) || !assert.EqualValues(t, i, f.Seq) || !assert.True(t, bytes.Equal(pattern(1-side, i, i*100), f.Body)) {
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// fillUp sends frames of 1 MiB until one does not find room within a moment, and returns how many were taken.
func fillUp(t *testing.T, c link.Conn) int {
	t.Helper()
	body := make([]byte, 1<<20)
	full := errors.New("no room")
	for n := 0; ; n++ {
		require.Less(t, n, 64, "a peer that does not read must stop the sender")
		binary.LittleEndian.PutUint32(body, uint32(n))
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, full)
		err := c.Send(ctx, &wire.Header{Kind: wire.KindBlock, Seq: uint64(n)}, bytes.Clone(body))
		cancel()
		if err != nil {
			require.ErrorIs(t, err, full, "the error names the cause")
			require.NotErrorIs(t, err, link.ErrClosed)
			return n
		}
	}
}

func TestSendBlocksWhilePeerDoesNotReadAndResumes(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		taken := fillUp(t, a)
		assert.GreaterOrEqual(t, taken, link.MaxQueued>>20-1)
		assert.LessOrEqual(t, taken, link.MaxQueued>>20+4, "the socket itself takes a little")

		blocked := make(chan error, 1)
		go func() {
			blocked <- a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock, Seq: uint64(taken)}, make([]byte, 1<<20))
		}()
		select {
		case err := <-blocked:
			require.Failf(t, "did not block", "%v", err)
		case <-time.After(20 * time.Millisecond):
		}
		for i := range taken + 1 { // what was cancelled did not leave a trace
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
		}
		require.NoError(t, <-blocked)
	})
}

func TestFrameLargerThanTheQueueIsTakenWhenNothingWaits(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, link.MaxQueued+1)))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Len(t, f.Body, link.MaxQueued+1)
	})
}

func TestBodyBeyondTheBoundIsRefusedAndNothingIsSent(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		mib := make([]byte, 1<<20)
		parts := make([][]byte, wire.MaxBody>>20, wire.MaxBody>>20+1)
		for i := range parts {
			parts[i] = mib
		}
		err := a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, append(parts, []byte{1})...)
		require.ErrorIs(t, err, link.ErrTooLarge)
		assert.ErrorContains(t, err, "block frame with a body of 67108865 bytes, the bound is 67108864")
		require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindCancel}))
		f, err := b.Recv()
		require.NoError(t, err)
		assert.Equal(t, wire.KindCancel, f.Kind)
	})
}

func TestFramesSentBeforePeerClosedAreDelivered(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		for i := range 10 {
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: uint64(i)}, pattern(0, i, 100)))
		}
		require.NoError(t, a.Close())
		for i := range 10 {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
		}
		for range 2 {
			_, err := b.Recv()
			require.ErrorIs(t, err, link.ErrClosed)
			require.NotErrorIs(t, err, wire.ErrFrame, "the stream ended between frames")
		}
	})
}

func TestNothingIsReceivedAfterOwnClose(t *testing.T) {
	eachTwin(t, func(t *testing.T, a, b link.Conn) {
		for range 10 {
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindReply}))
		}
		_, err := b.Recv() // the others may have been read along with it
		require.NoError(t, err)
		require.NoError(t, b.Close())
		_, err = b.Recv()
		require.ErrorIs(t, err, link.ErrClosed)
		require.ErrorIs(t, b.Send(t.Context(), &wire.Header{Kind: wire.KindReply}), link.ErrClosed)
		require.NoError(t, b.Close(), "again")
	})
}

// A Send blocked for room and a blocked Recv end on both sides, whichever side closes.
func TestCloseUnblocksBothSides(t *testing.T) {
	for _, closer := range []string{"sender", "receiver"} {
		t.Run("closer="+closer, func(t *testing.T) {
			eachTwin(t, func(t *testing.T, a, b link.Conn) {
				fillUp(t, a)
				results := make(chan error, 4)
				for range 3 {
					go func() { results <- a.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, 1<<20)) }()
				}
				go func() {
					_, err := a.Recv()
					results <- err
				}()
				time.Sleep(5 * time.Millisecond) // so that they are mostly blocked; the outcome is the same if not
				c := a
				if closer == "receiver" {
					c = b
				}
				require.NoError(t, c.Close())
				for range 4 {
					require.ErrorIs(t, <-results, link.ErrClosed)
				}
				for { // what arrived is still there for the other side; then it ends too
					if _, err := b.Recv(); err != nil {
						require.ErrorIs(t, err, link.ErrClosed)
						break
					}
				}
			})
		})
	}
}

func TestConcurrentCloseSendAndRecv(t *testing.T) {
	for _, tw := range twins {
		t.Run("link="+tw.name, func(t *testing.T) {
			leakcheck.Check(t)
			for range 50 {
				a, b := tw.pair(t)
				var wg sync.WaitGroup
				for _, c := range []link.Conn{a, b} {
					for range 2 {
						wg.Go(func() {
							for {
								if err := c.Send(t.Context(), &wire.Header{Kind: wire.KindBlock}, make([]byte, 3000)); err != nil {
									assert.ErrorIs(t, err, link.ErrClosed)
									return
								}
							}
						})
					}
					wg.Go(func() {
						for {
							if _, err := c.Recv(); err != nil {
								assert.ErrorIs(t, err, link.ErrClosed)
								return
							}
						}
					})
				}
				wg.Go(func() { assert.NoError(t, a.Close()) })
				wg.Go(func() { assert.NoError(t, a.Close()) })
				wg.Go(func() { assert.NoError(t, b.Close()) })
				wg.Wait()
			}
		})
	}
}

func TestListenersAndDials(t *testing.T) {
	for name, tr := range map[string]link.Transport{"unix": link.Unix{}, "memory": new(link.Memory)} {
		t.Run("link="+name, func(t *testing.T) {
			leakcheck.Check(t)
			addr := socketPath(t)
			_, err := tr.Dial(t.Context(), addr)
			require.ErrorContains(t, err, "link: dial "+addr, "nobody listens yet")

			l, err := tr.Listen(addr)
			require.NoError(t, err)
			_, err = tr.Listen(addr)
			require.ErrorContains(t, err, "in use")

			accepted := make(chan error, 1)
			go func() {
				_, err := l.Accept()
				accepted <- err
			}()
			require.NoError(t, l.Close())
			require.ErrorIs(t, <-accepted, link.ErrClosed)
			require.NoError(t, l.Close(), "again")
			_, err = l.Accept()
			require.ErrorIs(t, err, link.ErrClosed)
			_, err = tr.Dial(t.Context(), addr)
			require.Error(t, err)

			again, err := tr.Listen(addr)
			require.NoError(t, err, "the address is free again")
			require.NoError(t, again.Close())
		})
	}
}

func TestDialStopsWithItsContext(t *testing.T) {
	m := new(link.Memory)
	l, err := m.Listen("busy") // nobody accepts
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("changed my mind")
	cancel(cause)
	_, err = m.Dial(ctx, "busy")
	require.ErrorIs(t, err, cause)
	require.NoError(t, l.Close())

	_, err = link.Unix{}.Dial(ctx, socketPath(t))
	require.Error(t, err)
}

func TestManyConnectionsOnOneListener(t *testing.T) {
	const conns = 64
	for name, tr := range map[string]link.Transport{"unix": link.Unix{}, "memory": new(link.Memory)} {
		t.Run("link="+name, func(t *testing.T) {
			leakcheck.Check(t)
			addr := socketPath(t)
			l, err := tr.Listen(addr)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() { // echoes one frame per connection
				for range conns {
					c, err := l.Accept()
					if !assert.NoError(t, err) {
						return
					}
					wg.Go(func() {
						f, err := c.Recv()
						assert.NoError(t, err)
						assert.NoError(t, c.Send(t.Context(), &f.Header, f.Body))
						_, err = c.Recv()
						assert.ErrorIs(t, err, link.ErrClosed)
						assert.NoError(t, c.Close())
					})
				}
			})
			for i := range conns {
				wg.Go(func() {
					c, err := tr.Dial(t.Context(), addr)
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindCall}, fmt.Append(nil, i)))
					f, err := c.Recv()
					assert.NoError(t, err)
					assert.Equal(t, fmt.Sprint(i), string(f.Body))
					assert.NoError(t, c.Close())
				})
			}
			wg.Wait()
			require.NoError(t, l.Close())
		})
	}
}
