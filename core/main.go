// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/rundir"
	"github.com/tutti-go/tutti/internal/wire"
	"github.com/tutti-go/tutti/internal/wire/controlpb"
)

// envStoreLimit tells a node process the bound of its object store, in bytes; 0 stands for the default.
const envStoreLimit = "TUTTI_STORE_LIMIT"

// shutdownGrace is how long Main waits for an orderly end.
const shutdownGrace = 10 * time.Second

// Main is the main function of a program. Started plainly, the program is the driver: Main starts a
// system with the options, calls run, shuts down, and exits with status 1 if run or the system failed. Started as a node, the
// program serves actors and does not return from Main. The context of run ends with SIGINT or SIGTERM.
//
//	func main() { core.Main(run, core.LocalNodes(8)) }
func Main(run func(context.Context, *System) error, opts ...Option) {
	ServeNode()
	if err := drive(run, opts); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func drive(run func(context.Context, *System) error, opts []Option) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sys, err := Start(ctx, opts...)
	if err != nil {
		return err
	}
	err = run(ctx, sys)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	return errors.Join(err, sys.Shutdown(end))
}

// ServeNode serves as a node and ends the process, if it was started as one; otherwise it returns at once. Programs and test
// binaries that call Start with LocalNodes call it before anything else. Main does.
func ServeNode() {
	if os.Getenv(cluster.EnvRole) != cluster.RoleNode {
		return
	}
	node := os.Getenv(cluster.EnvNode)
	keepHeapFloor()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := serveNode(ctx)
	stop()
	if err != nil {
		slog.Error("node ended", "node", node, "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// nodeEnv is what a node process is told by its environment.
type nodeEnv struct {
	id         uint32
	dir        string
	secret     []byte
	host       string // name of the host; empty for the machine's own
	storeLimit int64
}

// takeNodeEnv reads the environment and removes it, so that programs which an actor starts do not take themselves for nodes
// and do not learn the secret.
func takeNodeEnv() (env nodeEnv, err error) {
	get := func(key string) string {
		v := os.Getenv(key)
		err = errors.Join(err, os.Unsetenv(key))
		return v
	}
	node, dir, secret, limit, host := get(cluster.EnvNode), get(cluster.EnvDir), get(cluster.EnvSecret), get(envStoreLimit), get(EnvHost)
	get(cluster.EnvRole)
	id, e1 := strconv.ParseUint(node, 10, 32)
	bytes, e2 := strconv.ParseInt(limit, 10, 64)
	if e1 != nil || e2 != nil || dir == "" || host != "" && !validHost(host) {
		return env, fmt.Errorf("%w: %s=%q, %s=%q, %s=%q, %s=%q",
			ErrInvalid, cluster.EnvNode, node, cluster.EnvDir, dir, envStoreLimit, limit, EnvHost, host)
	}
	return nodeEnv{uint32(id), dir, []byte(secret), host, bytes}, err
}

// serveNode is the life of a node process.
func serveNode(ctx context.Context) (err error) {
	env, err := takeNodeEnv()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", env.id)
	held, err := rundir.Join(env.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	store, err := openStore(env.dir, env.host, env.storeLimit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return serveSession(ctx, env, store, log)
}

func serveSession(ctx context.Context, env nodeEnv, store *arrowstore.Store, log *slog.Logger) error {
	t := newTable()
	host, err := hostIdentity(env.host, env.dir)
	if err != nil {
		return err
	}
	m, err := listen(ctx, env.id, env.dir, env.secret, t, link.Shared{}, log)
	if err != nil {
		return err
	}
	n := newNode(ctx, env.dir, m, store, host, newCodec(), t, log)
	m.Start()
	join := &controlpb.Join{
		Node: env.id, Incarnation: m.Incarnation(), Build: buildVersion(), WireVersion: wire.Version, Pid: int64(os.Getpid()),
		Host: host,
	}
	for _, e := range t.entries {
		join.Table = append(join.Table, &controlpb.Entry{Kind: e.kind, Method: e.name, Signature: e.sig})
	}
	err = cluster.Join(ctx, cluster.JoinConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", controlPath(env.dir))
		},
		Secret: env.secret, Join: join, Handle: n.handle, Grace: requestGrace,
		Lost: func(node uint32, cause string) { m.Lost(node, errors.New(cause)) },
	})
	if errors.Is(err, cluster.ErrSessionEnded) {
		err = nil // the driver ended, in order or not: so does this node
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if e := n.close(end); e != nil {
		log.Warn("actors were abandoned", "err", e)
	}
	return errors.Join(err, m.Close())
}

// buildVersion names the binary in messages to people.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown build"
	}
	v := []string{info.Main.Path + "@" + info.Main.Version}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v = append(v, s.Value)
		}
	}
	return strings.Join(v, " ")
}
