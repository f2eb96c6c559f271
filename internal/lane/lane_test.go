// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package lane_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/wire"
)

var errOver = errors.New("it is over")

// Whatever the connections are, all that is sent arrives once, on one of them, and they end between two frames.
func TestSegmentsOfAllSizesArriveWhole(t *testing.T) {
	for name, connect := range ways {
		t.Run(name, func(t *testing.T) {
			const most = 3
			var writers, receivers goroutines
			var conns []net.Conn
			var inboxes []*inbox
			s := lane.NewSet(most, func() (net.Conn, error) { // one at a time
				a, b := connect(t)
				in := newInbox()
				conns, inboxes = append(conns, a), append(inboxes, in)
				receivers.Go(func() { assert.ErrorIs(t, lane.Receive(b, headSize, bound, in), io.EOF) })
				return a, nil
			}, writers.start)
			book := newLedger()
			rng := rand.New(rand.NewPCG(1, 2))
			sizes := []int{0, 1, 15, 80, 4096, 32 << 10, 32<<10 + 1, 256 << 10}
			for range 100 {
				sizes = append(sizes, rng.IntN(70<<10))
			}
			for i, n := range sizes {
				require.NoError(t, s.Send(book.segment(i, n)))
			}
			book.await(len(sizes))
			assert.LessOrEqual(t, s.Lanes(), most)
			s.Close(errOver)
			writers.Wait()
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
			receivers.Wait()
			got := map[uint64][]byte{}
			for _, in := range inboxes {
				for seq, body := range in.got {
					require.NotContains(t, got, seq)
					got[seq] = body
				}
			}
			require.Len(t, got, len(sizes))
			for i, n := range sizes {
				require.NoError(t, book.errs[i])
				require.Equal(t, content(i, n), got[uint64(i)], "%d, of %d bytes", i, n)
			}
		})
	}
}

// What was withdrawn is not read any more; but what has begun arrives as it was.
func TestWithdrawnMemoryIsTheOwnersAtOnce(t *testing.T) {
	for name, connect := range ways {
		t.Run(name, func(t *testing.T) {
			var writers goroutines
			a, b := connect(t)
			s := lane.NewSet(1, func() (net.Conn, error) { return a, nil }, writers.start)
			book := newLedger()
			const size, count = 256 << 10, 64 // more than sockets hold
			var all []*lane.Segment
			for i := range count {
				all = append(all, book.segment(i, size))
				require.NoError(t, s.Send(all[i]))
			}
			if name == "tcp" { // the others begin when somebody reads
				book.await(1)
			}
			for _, seg := range all {
				seg.Withdraw()
				for _, piece := range seg.Body {
					clear(piece)
				}
			}
			told := len(book.errs)
			in := newInbox()
			var receiver goroutines
			receiver.Go(func() { assert.ErrorIs(t, lane.Receive(b, headSize, bound, in), io.EOF) })
			require.NoError(t, s.Send(book.segment(count, 10)))
			book.await(len(book.told) + 1)
			s.Close(errOver)
			writers.Wait()
			require.NoError(t, a.Close())
			receiver.Wait()
			assert.Less(t, len(in.got), count, "what had not begun was left out")
			assert.GreaterOrEqual(t, len(in.got), told+1)
			for seq, body := range in.got {
				n := size
				if seq == count {
					n = 10
				}
				require.Equal(t, content(int(seq), n), body, "segment %d", seq)
			}
		})
	}
}

func TestAConnectionThatBreaksTakesTheSetWithIt(t *testing.T) {
	var writers goroutines
	a, b := overTCP(t)
	s := lane.NewSet(1, func() (net.Conn, error) { return a, nil }, writers.start)
	book := newLedger()
	const count = 64
	for i := range count {
		require.NoError(t, s.Send(book.segment(i, 256<<10)))
	}
	require.NoError(t, b.Close())
	book.await(count)
	writers.Wait()
	require.ErrorContains(t, book.errs[count-1], "lane broke")
	require.ErrorContains(t, s.Send(book.segment(0, 1)), "lane broke")
	s.Close(errOver) // the first counts
	require.ErrorContains(t, s.Send(book.segment(0, 1)), "lane broke")
}

func TestTheFirstConnectionIsNeededTheOthersAreNot(t *testing.T) {
	var writers goroutines
	s := lane.NewSet(3, func() (net.Conn, error) { return nil, errOver }, writers.start)
	book := newLedger()
	require.NoError(t, s.Send(book.segment(0, 1)))
	book.await(1)
	require.ErrorIs(t, book.errs[0], errOver)
	require.ErrorIs(t, s.Send(book.segment(0, 1)), errOver)
	writers.Wait()

	a, b := overTCP(t)
	opened := 0
	s = lane.NewSet(3, func() (net.Conn, error) {
		if opened++; opened == 1 {
			return a, nil
		}
		return nil, errOver
	}, writers.start)
	var receiver goroutines
	in := newInbox()
	receiver.Go(func() { assert.ErrorIs(t, lane.Receive(b, headSize, bound, in), io.EOF) })
	for i := range 200 {
		require.NoError(t, s.Send(book.segment(i, 40<<10)))
	}
	book.await(200)
	assert.Equal(t, 1, s.Lanes())
	s.Close(errOver)
	writers.Wait()
	require.NoError(t, a.Close())
	receiver.Wait()
	assert.Len(t, in.got, 200)
	assert.LessOrEqual(t, opened, 2, "nobody tries again and again")
}

func TestASetThatNobodyRunsIsClosed(t *testing.T) {
	s := lane.NewSet(1, nil, func(func()) bool { return false })
	book := newLedger()
	require.NoError(t, s.Send(book.segment(0, 1)))
	book.await(1)
	require.ErrorIs(t, book.errs[0], lane.ErrClosed)
}

// received returns what Receive says of bytes that are followed by the end.
func received(t testing.TB, connect func(testing.TB) (net.Conn, net.Conn), b []byte, to lane.Receiver) error {
	t.Helper()
	from, end := connect(t)
	var writer goroutines
	writer.Go(func() {
		if len(b) > 0 { // a pipe would pass on that there is nothing
			_, _ = from.Write(b) // the other side may hang up before
		}
		_ = from.Close()
	})
	err := lane.Receive(end, headSize, bound, to)
	_ = end.Close()
	writer.Wait()
	return err
}

func TestFramesThatAreNoneEndTheConnection(t *testing.T) {
	book := newLedger()
	whole := func(number, size int) []byte {
		s := book.segment(number, size)
		b := append([]byte{}, s.Head...)
		for _, p := range s.Body {
			b = append(b, p...)
		}
		return b
	}
	lengthened := func(n uint32) []byte {
		b := whole(1, 5)
		binary.LittleEndian.PutUint32(b[8:], n)
		return b
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":                         {nil, io.EOF},
		"one frame":                       {whole(1, 100), io.EOF},
		"a header that is cut off":        {whole(1, 100)[:50], io.ErrUnexpectedEOF},
		"a head that is cut off":          {whole(1, 100)[:70], io.ErrUnexpectedEOF},
		"a body that is cut off":          {whole(1, 100)[:120], io.ErrUnexpectedEOF},
		"a second frame that is cut off":  {append(whole(1, 100), whole(2, 100)[:60]...), io.ErrUnexpectedEOF},
		"a body without its head":         {lengthened(headSize - 1), wire.ErrFrame},
		"a body that is longer than most": {lengthened(bound + 1), wire.ErrFrame},
		"no frame":                        {make([]byte, 200), wire.ErrFrame},
	} {
		for way, connect := range map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": overTCP, "pipe": piped} {
			t.Run(name+" over "+way, func(t *testing.T) {
				in := newInbox()
				require.ErrorIs(t, received(t, connect, c.bytes, in), c.want)
			})
		}
	}
}

// Whatever bytes come, the receiver is told of bodies within the bound only, and of no byte more than there are.
func FuzzReceive(f *testing.F) {
	book := newLedger()
	for _, size := range []int{0, 1, 300} {
		s := book.segment(size, size)
		b := append([]byte{}, s.Head...)
		for _, p := range s.Body {
			b = append(b, p...)
		}
		f.Add(append(b, b...))
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte("Tu"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newInbox()
		err := received(t, piped, b, in)
		require.Error(t, err)
		total := 0
		for _, body := range in.got {
			total += wire.HeaderSize + headSize + len(body)
		}
		require.LessOrEqual(t, total, len(b))
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && len(in.got) == 0 {
			require.Empty(t, b)
		}
	})
}
