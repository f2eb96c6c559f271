// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// child is another process that obeys commands, one line each, and answers each with one line.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t testing.TB, role, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+role, "ARROWSTORE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(c.stop)
	return c
}

// ask sends a command and returns the answer, which must not be an error.
func (c *child) ask(format string, args ...any) string {
	c.t.Helper()
	answer := c.try(format, args...)
	require.False(c.t, strings.HasPrefix(answer, "error"), answer)
	return answer
}

func (c *child) try(format string, args ...any) string {
	c.t.Helper()
	_, err := fmt.Fprintf(c.in, format+"\n", args...)
	require.NoError(c.t, err)
	line, err := c.out.ReadString('\n')
	require.NoError(c.t, err)
	return strings.TrimSpace(line)
}

func (c *child) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(c.t, err)
	}
	c.stop()
}

// stop ends the child and waits for it; a child that was killed ends with an error, which is as it should be.
func (c *child) stop() {
	if c.cmd == nil {
		return
	}
	_ = c.in.Close()
	_ = c.cmd.Wait()
	c.cmd = nil
}

func idText(id ID) string {
	b, _ := id.AppendBinary(nil) // never fails
	return hex.EncodeToString(b)
}

func parseText(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return ID{}, err
	}
	return ParseID(b)
}

// runChild is the other process: it executes commands until its input ends.
func runChild(role, dir string) int {
	opts := []Option{Limit(256 << 20), SegmentSize(8 << 20)}
	switch role {
	case "spilling churner": // it holds up to 3 MiB at a time
		opts = []Option{Limit(5 << 20), SegmentSize(1 << 20), Spill(dir + "-spill")}
	case "spiller":
		opts = []Option{Limit(2 << 20), SegmentSize(1 << 20), Spill(dir + "-spill")}
	}
	s, err := Open(dir, opts...)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	if strings.HasSuffix(role, "churner") {
		return churn(s, 5)
	}
	held := map[ID]*Object{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := childStep(s, held, strings.Fields(lines.Text()))
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Println(answer)
	}
	for _, o := range held {
		o.Release()
	}
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// seeded returns contents that anybody can make again, of one buffer or more.
func seeded(seed uint64, size int) [][]byte {
	rng := rand.New(rand.NewPCG(seed, uint64(size)))
	b := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	n := int(seed % 4)
	buffers := [][]byte{b[:size/(n+1)]}
	for i := range n {
		buffers = append(buffers, b[size*(i+1)/(n+1):size*(i+2)/(n+1)])
	}
	return buffers
}

func sameBuffers(want [][]byte, o *Object) bool {
	if len(want) != o.Len() {
		return false
	}
	for i, b := range want {
		if !bytes.Equal(b, o.Buffer(i)) {
			return false
		}
	}
	return true
}

// churn makes and deletes objects for ever, holding a few, and prints the ids, each with what it needs to be checked.
func churn(s *Store, held int) int {
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 6))
	var live []*Object
	for {
		seed, size := rng.Uint64(), rng.IntN(1<<(3+rng.IntN(17)))
		o, err := s.Put(seeded(seed, size)...)
		if errors.Is(err, ErrNoSpace) && len(live) > 0 { // what is held lies scattered in a small store
			live[0].Release()
			live = live[1:]
			continue
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(idText(o.ID()), seed, size)
		live = append(live, o)
		for len(live) > held {
			i := rng.IntN(len(live))
			live[i].Release()
			if rng.IntN(2) == 0 {
				if err := s.Delete(live[i].ID()); err != nil {
					return 1
				}
			}
			live = slices.Delete(live, i, i+1)
		}
	}
}

func childStep(s *Store, held map[ID]*Object, words []string) (string, error) {
	switch words[0] {
	case "put": // put text: creates and holds an object
		o, err := s.Put([]byte(words[1]), []byte("second"))
		if err != nil {
			return "", err
		}
		held[o.ID()] = o
		return idText(o.ID()), nil
	case "stat":
		return fmt.Sprintf("%+v", s.Stats()), nil
	case "reap":
		return "ok", s.Reap()
	case "objects": // objects: how many there are when what can be reaped is
		return strconv.Itoa(s.Stats().Objects), s.Reap()
	case "make": // make seed size: creates an object
		seed, size := seedAndSize(words[1:])
		o, err := s.Put(seeded(seed, size)...)
		if err != nil {
			return "", err
		}
		o.Release()
		return idText(o.ID()), nil
	case "create", "abort": // create seed size: as make, written in place; abort seed size: gives up half-way
		return childCreate(s, words)
	}
	return childObjectStep(s, held, words)
}

// childCreate writes an object in place, and seals it or gives it up when half of it is written.
func childCreate(s *Store, words []string) (string, error) {
	seed, size := seedAndSize(words[1:])
	want := seeded(seed, size)
	sizes := make([]int, len(want))
	for i, b := range want {
		sizes[i] = len(b)
	}
	w, err := s.CreateBuffers(sizes...)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	for i, b := range want {
		if words[0] == "abort" && i >= len(want)/2 {
			return "ok", nil
		}
		copy(w.Buffer(i), b)
	}
	o, err := w.Seal()
	if err != nil {
		return "", err
	}
	o.Release()
	return idText(o.ID()), nil
}

// childJointStep executes the commands that write an object together with others.
func childJointStep(s *Store, held map[ID]*Object, id ID, words []string) (string, error) {
	if words[0] == "reuse" { // reuse id text: the same to an object that is used again, of which it then holds the result
		r, err := s.Reuse(id)
		if err != nil {
			return "", err
		}
		copy(r.Bytes(), words[2])
		held[id] = r.Object()
		return "ok", nil
	}
	if words[0] == "join" { // join id text: writes the text over the first bytes of an open object, which it goes on holding
		j, err := s.Join(id)
		if err != nil {
			return "", err
		}
		copy(j.Bytes(), words[2])
		joined[id] = j
		return "ok", nil
	}
	o, err := joined[id].Object() // joined id: turns the hold of join into one on the sealed object
	if err != nil {
		return "", err
	}
	held[id] = o
	return "ok", nil
}

// joined are the holds of the command join in a child.
var joined = map[ID]*Joint{}

// childObjectStep executes the commands that name an object.
func childObjectStep(s *Store, held map[ID]*Object, words []string) (string, error) {
	id, err := parseText(words[1])
	if err != nil {
		return "", err
	}
	switch words[0] {
	case "get": // get id: pins the object and returns its first buffer
		o, err := s.Get(id)
		if err != nil {
			return "", err
		}
		if old := held[id]; old != nil {
			old.Release()
		}
		held[id] = o
		return string(o.Buffer(0)), nil
	case "hold": // hold id seed size: pins an object once more and checks it
		o, err := s.Get(id)
		if err != nil {
			return "", err
		}
		if old := held[id]; old != nil {
			old.Release()
		}
		held[id] = o
		fallthrough
	case "check": // check id seed size: checks a held object
		seed, size := seedAndSize(words[2:])
		if !sameBuffers(seeded(seed, size), held[id]) {
			return "", fmt.Errorf("object %v is not what was put", id)
		}
		return "ok", nil
	case "spin": // spin id...: pins and releases objects for ever
		for {
			for _, w := range words[1:] {
				id, err := parseText(w)
				if err != nil {
					return "", err
				}
				if o, err := s.Get(id); err == nil {
					o.Release()
				}
			}
		}
	case "pin": // pin id: pins the object
		o, err := s.Get(id)
		if err != nil {
			return "", err
		}
		held[id] = o
		return "ok", nil
	case "sum": // sum id: reads every byte of a held object
		n := 0
		for i := range held[id].Len() {
			for _, c := range held[id].Buffer(i) {
				n += int(c)
			}
		}
		return strconv.Itoa(n), nil
	case "join", "joined", "reuse":
		return childJointStep(s, held, id, words)
	case "read": // read id: returns the first buffer of a held object
		return string(held[id].Buffer(0)), nil
	case "retain": // retain id: makes one more unretain necessary before release
		held[id].Retain()
		return "ok", nil
	case "unretain":
		held[id].Release()
		return "ok", nil
	case "release":
		held[id].Release()
		delete(held, id)
		return "ok", nil
	case "delete":
		return "ok", s.Delete(id)
	}
	return "", fmt.Errorf("unknown command %q", words[0])
}

func seedAndSize(words []string) (uint64, int) {
	seed, _ := strconv.ParseUint(words[0], 10, 64) // the parent wrote them
	size, _ := strconv.Atoi(words[1])
	return seed, size
}
