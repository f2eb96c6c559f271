// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/reach"
)

// envTestProgram makes this binary the program that a launcher would start: it is how long Connect may take.
const envTestProgram = "TUTTI_TEST_PROGRAM"

// testSecret is what the ranks of tests know.
const testSecret = "a secret of the tests"

// testProgram connects, as its environment says, and runs a few operations.
func testProgram() int {
	patience, err := time.ParseDuration(os.Getenv(envTestProgram))
	if err == nil {
		err = testOperations(patience)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func testOperations(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	g, err := ConnectEnv(ctx)
	if err != nil {
		return err
	}
	ctx = context.Background()
	n := g.Size()
	err = func() error {
		buf, want := make([]int, 30000), make([]int, 30000)
		for i := range buf {
			buf[i], want[i] = i+g.Rank(), n*i+n*(n-1)/2
		}
		if err := compare(AllReduce(ctx, g, buf, Sum), want, buf, "AllReduce"); err != nil {
			return err
		}
		v, err := AllReduceShared(ctx, g, []int{g.Rank()}, Sum)
		if err := sameView(err, []int{n * (n - 1) / 2}, v, "AllReduceShared"); err != nil {
			return err
		}
		half, err := g.Split(ctx, g.Rank()%2, 0)
		if err != nil {
			return err
		}
		one := []int{1}
		if err := compare(AllReduce(ctx, half, one, Sum), []int{(n + 1 - g.Rank()%2) / 2}, one, "AllReduce of a half"); err != nil {
			return err
		}
		text, err := g.Explain(schedule.AllReduce, 1000)
		fmt.Println(text)
		return err
	}()
	return errors.Join(err, g.Close(ctx))
}

// start starts this binary as the program of some ranks, and returns what they wrote, by rank, and how they ended.
func start(t *testing.T, ranks []int, env func(rank int) []string) (outputs map[int]string, errs map[int]error) {
	t.Helper()
	outputs, errs = map[int]string{}, map[int]error{}
	programs := map[int]*exec.Cmd{}
	for _, rank := range ranks {
		p := exec.CommandContext(t.Context(), os.Args[0])
		p.Env = append(os.Environ(), env(rank)...)
		p.Stdout = new(strings.Builder)
		p.Stderr = p.Stdout
		require.NoError(t, p.Start())
		programs[rank] = p
	}
	for rank, p := range programs {
		errs[rank] = p.Wait()
		outputs[rank] = fmt.Sprint(p.Stdout)
	}
	return outputs, errs
}

// freeAddress returns an address of loopback at which nobody listens. It stays the test's, for the kernel gives a port that is bound to nobody
// else, but lets who asks for it listen.
func freeAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	unix.CloseOnExec(fd)
	t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := unix.Getsockname(fd)
	require.NoError(t, err)
	in, ok := at.(*unix.SockaddrInet4)
	require.True(t, ok)
	return fmt.Sprintf("127.0.0.1:%d", in.Port)
}

// Programs that a launcher has started meet, in a directory or over TCP, on one host or on several, in the clear or not.
func TestProgramsMeet(t *testing.T) {
	const size = 5
	files, err := certs.Make(t.TempDir(), certs.Name)
	require.NoError(t, err)
	encrypted := []string{reach.EnvTLSCA + "=" + files.CA, reach.EnvTLSCert + "=" + files.Cert, reach.EnvTLSKey + "=" + files.Key}
	for name, tc := range map[string]struct {
		tcp   bool
		hosts int
		env   []string
		say   string
	}{
		"in a directory":      {false, 1, nil, "in a host of 5"},
		"over TCP":            {true, 1, nil, "in a host of 5"},
		"over TCP, two hosts": {true, 2, nil, "in a host of 3"},
		"over TLS, two hosts": {true, 2, encrypted, "in a host of 3"},
	} {
		t.Run(name, func(t *testing.T) {
			at := rendezvous(t)
			if tc.tcp {
				at = tcpScheme + freeAddress(t)
			}
			outputs, errs := start(t, []int{4, 1, 0, 3, 2}, func(rank int) []string {
				env := append([]string{
					envTestProgram + "=60s", fmt.Sprintf("%s=%d", EnvRank, rank), fmt.Sprintf("%s=%d", EnvSize, size), EnvRendezvous + "=" + at,
					reach.EnvSecret + "=" + testSecret,
				}, tc.env...)
				if tc.hosts > 1 {
					env = append(env, fmt.Sprintf("%s=h%d", reach.EnvHost, rank*tc.hosts/size))
				}
				return env
			})
			for rank, err := range errs {
				require.NoError(t, err, "rank %d: %s", rank, outputs[rank])
				assert.Contains(t, outputs[rank], tc.say)
				assert.Contains(t, outputs[rank], "the least predicted time")
				assert.Equal(t, outputs[0], outputs[rank], "all choose alike")
			}
		})
	}
}

func TestAProgramThatNeverComesIsNamed(t *testing.T) {
	const size, never = 4, 2
	for name, at := range map[string]string{"in a directory": rendezvous(t), "over TCP": tcpScheme + freeAddress(t)} {
		t.Run(name, func(t *testing.T) {
			outputs, errs := start(t, []int{0, 1, 3}, func(rank int) []string {
				return []string{
					envTestProgram + "=2s", fmt.Sprintf("%s=%d", EnvRank, rank), fmt.Sprintf("%s=%d", EnvSize, size), EnvRendezvous + "=" + at,
					reach.EnvSecret + "=" + testSecret,
				}
			})
			for rank, err := range errs {
				require.Error(t, err)
				assert.Contains(t, outputs[rank], fmt.Sprintf("connect rank %d of %d at %s", rank, size, at))
				assert.Contains(t, outputs[rank], "deadline exceeded")
			}
			assert.Regexp(t, `ranks \[.*\b2\b.*\] have not come`, outputs[0]) // and those that were too slow
		})
	}
}

// connectAll is Connect at some ranks of this process.
func connectAll(ctx context.Context, ranks []int, size int, at string) (groups []*Group, errs []error) {
	groups, errs = make([]*Group, size), make([]error, size)
	var all errgroup.Group
	for _, rank := range ranks {
		all.Go(func() error {
			groups[rank], errs[rank] = Connect(ctx, rank, size, at, Secret(testSecret))
			return nil
		})
	}
	_ = all.Wait() // there is none
	return groups, errs
}

// A process that died before all had come gives its place to the next, and one too many gets none.
func TestAPlaceAtAMeetingIsGivenAgain(t *testing.T) {
	at := tcpScheme + freeAddress(t)
	first, cancel := context.WithCancel(t.Context())
	type result struct {
		groups []*Group
		errs   []error
	}
	done := make(chan result, 2)
	go func() {
		groups, errs := connectAll(t.Context(), []int{0}, 3, at)
		done <- result{groups, errs}
	}()
	gone := make(chan error, 1)
	go func() {
		_, errs := connectAll(first, []int{1}, 3, at)
		gone <- errs[1]
	}()
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	go func() {
		groups, errs := connectAll(t.Context(), []int{1, 2}, 3, at)
		done <- result{groups, errs}
	}()
	groups := make([]*Group, 3)
	for range 2 {
		r := <-done
		requireAll(t, r.errs)
		for rank, g := range r.groups {
			if g != nil {
				groups[rank] = g
			}
		}
	}
	late, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, errs := connectAll(late, []int{1}, 3, at)
	require.ErrorIs(t, errs[1], context.DeadlineExceeded)
	require.ErrorContains(t, errs[1], "the group is complete")
	requireAll(t, each(t.Context(), groups, Barrier))
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error { return g.Close(ctx) }))
}

func TestMeetingsRefuseWhoDoesNotBelong(t *testing.T) {
	at := tcpScheme + freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	host := make(chan error, 1)
	go func() {
		_, errs := connectAll(ctx, []int{0}, 3, at)
		host <- errs[0]
	}()
	_, err := Connect(t.Context(), 1, 3, at, Secret("another secret, wrong"))
	require.ErrorContains(t, err, "wrong cluster secret")
	_, errs := connectAll(t.Context(), []int{3}, 4, at)
	require.ErrorContains(t, errs[3], "rank 3 counts 4 ranks, rank 0 counts 3")
	_, errs = connectAll(t.Context(), []int{0}, 3, at)
	require.ErrorContains(t, errs[0], "address already in use")
	cancel()
	err = <-host
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "ranks [1 2] have not come")
}

func TestConnectOverTCPRefusesWhatMakesNoSense(t *testing.T) {
	for want, tc := range map[string]struct {
		at   string
		opts []ConnectOption
	}{
		"no secret":                 {"tcp://127.0.0.1:7", nil},
		"has 5 bytes":               {"tcp://127.0.0.1:7", []ConnectOption{Secret("short")}},
		"want tcp://host:port":      {"tcp://127.0.0.1", []ConnectOption{Secret(testSecret)}},
		"with a port from 1":        {"tcp://127.0.0.1:0", []ConnectOption{Secret(testSecret)}},
		"without TLS":               {"tcp://10.0.0.1:7", []ConnectOption{Secret(testSecret)}},
		"/no/ca":                    {"tcp://10.0.0.1:7", []ConnectOption{Secret(testSecret), TLS("/no/ca", "/no/cert", "/no/key")}},
		"TLS needs":                 {"tcp://10.0.0.1:7", []ConnectOption{Secret(testSecret), TLS("/no/ca", "", "")}},
		"nil option":                {"tcp://10.0.0.1:7", []ConnectOption{nil}},
		"advertise":                 {"tcp://127.0.0.1:7", []ConnectOption{Secret(testSecret), Advertise("a:b")}},
		"listen on 0.0.0.0:0":       {"tcp://127.0.0.1:7", []ConnectOption{Secret(testSecret), Listen("0.0.0.0:0")}},
		`group "world": Timeout`:    {"tcp://127.0.0.1:7", []ConnectOption{Secret(testSecret), Timeout(0)}},
		"has no algorithm \"none\"": {"tcp://127.0.0.1:7", []ConnectOption{Secret(testSecret), Algorithm(schedule.AllReduce, "none")}},
	} {
		_, err := Connect(t.Context(), 0, 2, tc.at, tc.opts...)
		require.ErrorIs(t, err, ErrArgument, want)
		require.ErrorContains(t, err, want)
	}
}

func FuzzArrival(f *testing.F) {
	f.Add([]byte(`{"Rank":1,"Size":3,"Place":{"Address":"h:1","Host":"h","Path":"/p"}}`))
	f.Add([]byte(`{"Rank":7}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if a, err := parseArrival(line, 3); err == nil {
			require.Contains(t, []int{1, 2}, a.Rank)
			require.NoError(t, a.Place.check(a.Rank))
		}
	})
}

func FuzzNotice(f *testing.F) {
	p := place{"h:1", "h", "/p"}
	f.Add(notice{Missing: []int{1}}.encode())
	f.Add(notice{Fault: "no", Again: true}.encode())
	f.Add(notice{Places: []place{p, p}, Agreed: &agreed{}}.encode())
	f.Fuzz(func(t *testing.T, line []byte) {
		n, err := parseNotice(line, 2)
		if err == nil && n.Agreed != nil {
			require.Len(t, n.Places, 2)
			again, err := parseNotice(n.encode(), 2)
			require.NoError(t, err)
			require.Equal(t, n, again)
		}
	})
}
