// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/leakcheck"
)

// childEnv names the role in which a test runs this binary again, to have another process.
const childEnv = "ARROWSTORE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		os.Exit(runChild(role, os.Getenv("ARROWSTORE_TEST_DIR")))
	}
	os.Exit(leakcheck.Run(m))
}

// storeDir returns a directory for a store, in shared memory where there is some, and checks at the end that nothing is
// left in it but what dead processes may leave.
func storeDir(t testing.TB) string {
	t.Helper()
	base := t.TempDir()
	if runtime.GOOS == "linux" {
		shm, err := os.MkdirTemp("/dev/shm", "arrowstore-test-") //nolint:usetesting // T.TempDir is on disk
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(shm)) })
		base = shm
	}
	return filepath.Join(base, "store")
}

func openStore(t testing.TB, dir string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(dir, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

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
	require.NoError(c.t, c.cmd.Process.Kill())
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
	s, err := Open(dir, Limit(256<<20), SegmentSize(8<<20))
	if err != nil {
		fmt.Println("error", err)
		return 1
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
	}
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
	case "read": // read id: returns the first buffer of a held object
		return string(held[id].Buffer(0)), nil
	case "release":
		held[id].Release()
		delete(held, id)
		return "ok", nil
	case "delete":
		return "ok", s.Delete(id)
	}
	return "", fmt.Errorf("unknown command %q", words[0])
}
