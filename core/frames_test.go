// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package core_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// intruder is a connection to the socket of a live node.
type intruder struct {
	t    *testing.T
	conn net.Conn
}

func socketOf(t *testing.T, name string) string {
	t.Helper()
	dirs := sessionDirs(t)
	require.Len(t, dirs, 1)
	return filepath.Join(dirs[0], name)
}

func intrude(t *testing.T, socket string) *intruder {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketOf(t, socket), Net: "unix"})
	require.NoError(t, err)
	return newIntruder(t, conn)
}

func newIntruder(t *testing.T, conn net.Conn) *intruder {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return &intruder{t, conn}
}

// proven is an intruder that has got through the handshake.
func proven(t *testing.T, socket string, hello wire.Hello, secret []byte) *intruder {
	t.Helper()
	conn, err := link.Unix{}.Dial(t.Context(), socketOf(t, socket))
	require.NoError(t, err)
	_, err = handshake.Party{Hello: hello, Secret: secret}.Dial(t.Context(), conn, nil)
	require.NoError(t, err)
	nc, err := conn.(link.Detacher).Detach() //nolint:errcheck // a Unix socket can
	require.NoError(t, err)
	return newIntruder(t, nc)
}

// hangUp ends the sending half of the connection.
func (i *intruder) hangUp() {
	i.t.Helper()
	if c, ok := i.conn.(interface{ CloseWrite() error }); ok {
		require.NoError(i.t, c.CloseWrite())
		return
	}
	require.NoError(i.t, i.conn.Close())
}

func (i *intruder) send(b []byte) {
	i.t.Helper()
	_, err := i.conn.Write(b)
	require.NoError(i.t, err)
}

// answer reads one frame.
func (i *intruder) answer() wire.Frame {
	i.t.Helper()
	b := make([]byte, wire.HeaderSize)
	_, err := io.ReadFull(i.conn, b)
	require.NoError(i.t, err)
	h, err := wire.ParseHeader(b, 1<<20)
	require.NoError(i.t, err)
	body := make([]byte, h.Length)
	_, err = io.ReadFull(i.conn, body)
	require.NoError(i.t, err)
	return wire.Frame{Header: h, Body: body}
}

// closed waits for the other end to close the connection.
func (i *intruder) closed() {
	i.t.Helper()
	_, err := io.Copy(io.Discard, i.conn)
	if err != nil {
		require.NotErrorIs(i.t, err, os.ErrDeadlineExceeded)
	}
}

func frame(kind wire.Kind, body []byte) []byte {
	h := wire.Header{Kind: kind, Length: uint32(len(body))}
	return append(h.Append(nil), body...)
}

// secretOf reads a session's secret where the same user can: in the environment of a node.
func secretOf(t *testing.T, sys *core.System) []byte {
	t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", sys.Nodes()[0].PID))
	require.NoError(t, err)
	for v := range strings.SplitSeq(string(env), "\x00") {
		if secret, ok := strings.CutPrefix(v, "TUTTI_SECRET="); ok {
			return []byte(secret)
		}
	}
	t.Fatal("a node without a secret")
	return nil
}

func TestBadBytesOnALiveSocketHarmNobodyElse(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 4)
	hello := wire.Hello{Node: 77, Incarnation: 1, Purpose: wire.PurposeLink}
	otherVersion := frame(wire.KindHello, hello.Append(nil))
	otherVersion[2]++
	tooLong := frame(wire.KindHello, nil)
	binary.LittleEndian.PutUint32(tooLong[8:], wire.MaxBody+1)
	truncated := frame(wire.KindHello, hello.Append(nil))

	for _, socket := range []string{"n0.sock", "n1.sock", "n2.sock"} { // the driver's, and the nodes'
		for name, tt := range map[string]struct {
			bytes []byte
			fault wire.FaultCode
			say   string // in a fault that comes before the end; empty if none does
			half  bool   // send no more after this
		}{
			"no frame":           {bytes: []byte(strings.Repeat("GET / HTTP/1.1\r\n", 10))},
			"another version":    {bytes: otherVersion, fault: wire.FaultBuild, say: fmt.Sprintf("version %d, this build speaks %d", wire.Version+1, wire.Version)},
			"too long":           {bytes: tooLong},
			"truncated body":     {bytes: truncated[:len(truncated)-3], half: true},
			"truncated header":   {bytes: truncated[:30], half: true},
			"not a hello":        {bytes: frame(wire.KindCall, []byte{1, 2, 3})},
			"a hello cut short":  {bytes: frame(wire.KindHello, []byte{1, 2, 3})},
			"a proof at random":  {bytes: append(frame(wire.KindHello, hello.Append(nil)), frame(wire.KindAccept, make([]byte, 33))...), fault: wire.FaultUnauthorized, say: "wrong cluster secret"},
			"no proof":           {bytes: append(frame(wire.KindHello, hello.Append(nil)), frame(wire.KindCall, nil)...)},
			"nothing at all":     {half: true},
			"a frame of no kind": {bytes: frame(200, nil)},
		} {
			t.Run(socket+"/"+name, func(t *testing.T) {
				i := intrude(t, socket)
				i.send(tt.bytes)
				if tt.say != "" {
					f := i.answer()
					if f.Kind == wire.KindHello {
						f = i.answer()
					}
					require.Equal(t, wire.KindAccept, f.Kind)
					accept, err := wire.ParseAccept(f.Body)
					require.NoError(t, err)
					require.NotNil(t, accept.Fault)
					require.Equal(t, tt.fault, accept.Fault.Code)
					require.Contains(t, accept.Fault.Message, tt.say)
				}
				if tt.half || tt.say != "" { // the other end waits for more, or for our end
					i.hangUp()
				}
				i.closed()
				s := submit(t.Context(), t, actors, (*probe).Ping, core.Void{})
				require.NoError(t, s.Wait(bounded(t), s.Len()))
				for slot := range s.Len() {
					require.NoError(t, s.Err(slot), "the nodes serve on")
				}
			})
		}
	}
	require.Equal(t, 2, sys.Stats().Nodes)
}

func TestAPeerThatProvesItselfAndThenSendsNonsenseIsLostAlone(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	actors := spawn(t, sys, 4)
	table := core.TableHash(sys)
	nonsense := [][]byte{
		frame(wire.KindCall, []byte{0xff}),
		frame(wire.KindRelease, []byte{0xff, 0xff}),
		[]byte(strings.Repeat("nonsense", 20)),
		frame(wire.KindReply, []byte{0xff}),
		frame(wire.KindCancel, []byte{0xff}),
		frame(wire.KindHello, nil),
		frame(wire.KindBlock, []byte{0xff}),
	}
	for n := range 2 * len(nonsense) {
		bad := nonsense[n/2]
		hello := wire.Hello{Node: uint32(70 + n), Incarnation: uint64(n), Table: table, Purpose: wire.PurposeLink}
		i := proven(t, fmt.Sprintf("n%d.sock", n%2), hello, secretOf(t, sys)) // the driver's, and the first node's
		i.send(bad)
		i.hangUp()
		i.closed()
		for _, a := range actors {
			get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))
		}
	}
	// A call for a method, an actor and an object that there are not.
	hello := wire.Hello{Node: 99, Incarnation: 99, Table: table, Purpose: wire.PurposeLink}
	i := proven(t, "n1.sock", hello, secretOf(t, sys))
	for _, call := range []wire.Call{
		{Order: 1, Method: 1 << 20, Runs: []wire.Run{{Count: 2}}},
		{Order: 2, Method: 0, Runs: []wire.Run{{Actor: 1 << 20, Count: 2}}, Payload: wire.Payload{Kind: wire.PayloadObject, Data: []byte("short")}},
		{Order: 3, Method: 0, Runs: []wire.Run{{Actor: 1 << 20, Count: 2}}, Payload: wire.Payload{Data: []byte("not a value")}},
	} {
		i.send(frame(wire.KindCall, call.Append(nil)))
		answered := 0
		for answered < 2 {
			f := i.answer()
			require.Equal(t, wire.KindReply, f.Kind)
			require.NoError(t, wire.ParseReply(f.Body, func(r wire.Result) bool {
				require.Equal(t, wire.StatusFault, r.Status)
				for _, count := range r.Slots.Ranges {
					answered += int(count)
				}
				return true
			}))
		}
	}
	require.Equal(t, 2, sys.Stats().Nodes)
}
