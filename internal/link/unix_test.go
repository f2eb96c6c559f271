// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// rawPeer returns a connection and the plain socket at its other end.
func rawPeer(t *testing.T) (link.Conn, *net.UnixConn) {
	t.Helper()
	addr := socketPath(t)
	l, err := link.Unix{}.Listen(addr)
	require.NoError(t, err)
	raw, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
	require.NoError(t, err)
	c, err := l.Accept()
	require.NoError(t, err)
	c.Trust()
	require.NoError(t, l.Close())
	t.Cleanup(func() {
		assert.NoError(t, c.Close())
		_ = raw.Close() // the test may have closed it
	})
	return c, raw
}

// header returns the bytes of a header, changed at one place.
func header(h wire.Header, at int, v ...byte) []byte {
	b := h.Append(nil)
	copy(b[at:], v)
	return b
}

func TestBadBytesGiveTypedErrors(t *testing.T) {
	call := wire.Header{Kind: wire.KindCall, Length: 1000}
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  error
		text  string
	}{
		{"no byte at all", nil, io.EOF, "link: closed: EOF"},
		{"one byte", []byte("T"), io.ErrUnexpectedEOF, "malformed frame"},
		{"header cut off", header(call, 0)[:63], io.ErrUnexpectedEOF, "malformed frame"},
		{"body missing", header(call, 0), io.ErrUnexpectedEOF, "call frame cut off"},
		{"body cut off", append(header(call, 0), make([]byte, 999)...), io.ErrUnexpectedEOF, "malformed frame"},
		{"too long", header(call, 8, 1, 0, 0, 4), nil, "call frame has a body of 67108865 bytes, the bound is 67108864"},
		{"as long as a number can say", header(call, 8, 255, 255, 255, 255), nil, "call frame has a body of 4294967295 bytes"},
		{"not a link", []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody else\r\n\r\n...."), nil, "starts with 47 45, not a tutti link"},
		{"unknown kind", header(call, 3, 200), nil, "unknown kind(200)"},
		{"reserved bits", header(call, 4, 1), nil, "reserved bits are set in a call frame"},
		{"negative deadline", header(call, 39, 0x80), nil, "negative deadline in a call frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leakcheck.Check(t)
			c, raw := rawPeer(t)
			good := append(header(wire.Header{Kind: wire.KindCancel, Length: 2}, 0), "ok"...)
			_, err := raw.Write(append(good, tt.bytes...))
			require.NoError(t, err)
			if tt.want != nil {
				require.NoError(t, raw.Close())
			}
			f, err := c.Recv()
			require.NoError(t, err)
			require.Equal(t, "ok", string(f.Body))
			for range 2 { // what follows a bad frame is never taken for a frame
				_, err = c.Recv()
				require.ErrorContains(t, err, tt.text)
				if tt.want != nil {
					require.ErrorIs(t, err, link.ErrClosed)
					require.ErrorIs(t, err, tt.want)
				}
				if tt.want != io.EOF { //nolint:errorlint // the table's value, not an error that came back
					require.ErrorIs(t, err, wire.ErrFrame)
				}
			}
		})
	}
}

// A peer of another version is told so: the link can still send.
func TestOtherVersionIsNamedAndCanBeAnswered(t *testing.T) {
	leakcheck.Check(t)
	c, raw := rawPeer(t)
	_, err := raw.Write(header(wire.Header{Kind: wire.KindHello}, 2, wire.Version+1))
	require.NoError(t, err)
	_, err = c.Recv()
	var version *wire.VersionError
	require.ErrorAs(t, err, &version)
	assert.Equal(t, wire.VersionError{Got: wire.Version + 1, Want: wire.Version}, *version)
	require.ErrorIs(t, err, wire.ErrFrame)

	require.NoError(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindAccept}, []byte("no")))
	answer := make([]byte, wire.HeaderSize+2)
	_, err = io.ReadFull(raw, answer)
	require.NoError(t, err)
	assert.Equal(t, append(header(wire.Header{Kind: wire.KindAccept, Length: 2}, 0), "no"...), answer)
}

// The bytes on the socket are exactly header and body, in whatever pieces they come.
func TestFrameInPieces(t *testing.T) {
	leakcheck.Check(t)
	c, raw := rawPeer(t)
	body := pattern(3, 4, 100_000)
	whole := append(header(wire.Header{Kind: wire.KindBlock, Length: uint32(len(body)), Seq: 5}, 0), body...)
	done := make(chan error, 1)
	go func() {
		for p := whole; len(p) > 0; {
			n := min(len(p), 1+len(p)%4099)
			if _, err := raw.Write(p[:n]); err != nil {
				done <- err
				return
			}
			p = p[n:]
		}
		done <- nil
	}()
	f, err := c.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 5, f.Seq)
	checkPattern(t, 3, 4, f.Body)
	require.NoError(t, <-done)
}

func TestPeerThatDiesFailsLaterSends(t *testing.T) {
	leakcheck.Check(t)
	c, raw := rawPeer(t)
	require.NoError(t, raw.Close())
	_ = c.Send(t.Context(), &wire.Header{Kind: wire.KindCall}) // accepted, not arrived
	require.ErrorIs(t, c.Send(t.Context(), &wire.Header{Kind: wire.KindCall}), link.ErrClosed)
	_, err := c.Recv()
	require.ErrorIs(t, err, link.ErrClosed)
}

// A failure to send does not cost what the peer sent before it died, as over a link in memory. TCP cannot promise that: a
// peer that is gone answers what is sent to it with a reset.
func TestWhatADeadPeerSentIsStillReceived(t *testing.T) {
	eachLocalTwin(t, func(t *testing.T, a, b link.Conn) {
		const frames = 50
		for i := range frames {
			require.NoError(t, a.Send(t.Context(), &wire.Header{Kind: wire.KindReply, Seq: uint64(i)}, []byte("answer")))
		}
		require.NoError(t, a.Close())
		for err := error(nil); err == nil; { // the first may be taken
			err = b.Send(t.Context(), &wire.Header{Kind: wire.KindCall})
		}
		require.ErrorIs(t, b.Send(t.Context(), &wire.Header{Kind: wire.KindCall}), link.ErrClosed)
		for i := range frames {
			f, err := b.Recv()
			require.NoError(t, err)
			require.EqualValues(t, i, f.Seq)
		}
		_, err := b.Recv()
		require.ErrorIs(t, err, link.ErrClosed)
	})
}

func TestSocketIsForItsOwnerOnlyAndRemovedByClose(t *testing.T) {
	addr := socketPath(t)
	l, err := link.Unix{}.Listen(addr)
	require.NoError(t, err)
	info, err := os.Stat(addr)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	assert.Equal(t, fs.ModeSocket, info.Mode().Type())
	require.NoError(t, l.Close())
	_, err = os.Stat(addr)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestTooLongPathIsSaidClearly(t *testing.T) {
	leakcheck.Check(t)
	addr := "/tmp/" + strings.Repeat("x", 200)
	_, err := link.Unix{}.Listen(addr)
	require.ErrorContains(t, err, "the path of a socket may have 10")
	require.ErrorContains(t, err, "this one has 205")
	_, err = link.Unix{}.Dial(t.Context(), addr)
	require.ErrorContains(t, err, "this one has 205")
}

func TestLongestPathWorks(t *testing.T) {
	leakcheck.Check(t)
	addr := socketPath(t)
	longest := 107
	for {
		l, err := link.Unix{}.Listen(addr + strings.Repeat("x", longest-len(addr)))
		if err != nil && longest == 107 {
			longest = 103 // not Linux
			continue
		}
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = link.Unix{}.Listen(addr + strings.Repeat("x", longest+1-len(addr)))
		require.ErrorContains(t, err, "the path of a socket may have")
		return
	}
}

func TestListenWhereNothingCanBe(t *testing.T) {
	leakcheck.Check(t)
	for _, addr := range []string{"/nowhere/at/all", ""} {
		_, err := link.Unix{}.Listen(addr)
		require.ErrorContains(t, err, "link: listen on "+addr)
	}
}
