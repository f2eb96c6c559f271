// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/reach"
	"github.com/tutti-go/tutti/internal/wire"
)

// envStoreLimit tells a node process the bound of its object store, in bytes; 0 stands for the default.
const envStoreLimit = "TUTTI_STORE_LIMIT"

// shutdownGrace is how long Main waits for an orderly end.
const shutdownGrace = 10 * time.Second

// Main is the main function of a program. Started plainly, the program is the driver: Main starts a
// system with the options, calls run, shuts down, and exits with status 1 if run or the system failed. Started as a node, the
// program serves actors and does not return from Main; started many times by Slurm's srun, or as an Indexed Job of Kubernetes, process 0 is the
// driver and the others are its nodes, whatever the options say about nodes: see docs/cluster.md. The context of run ends with SIGINT or SIGTERM.
//
//	func main() { core.Main(run, core.LocalNodes(8)) }
func Main(run func(context.Context, *System) error, opts ...Option) {
	ServeNode()
	placed, err := placementOf(os.Getenv, os.Hostname)
	if placed != nil {
		opts = append(slices.Clone(opts), placed.options())
	}
	if err == nil {
		err = drive(run, opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// serveAs serves as the node that the program's options make of it. As in a node that the environment has made one, what its actors start is
// not to know the secret.
func serveAs(ctx context.Context, cfg config) error {
	if err := errors.Join(os.Unsetenv(cluster.EnvSecret), os.Unsetenv(reach.EnvSecretIn)); err != nil {
		return err
	}
	return serveNode(ctx, envOf(cfg), cfg.logger)
}

// envOf is what a node's options make of it.
func envOf(cfg config) nodeEnv {
	return nodeEnv{id: wire.NoNode, driver: cfg.driver, host: cfg.host, net: cfg.net}
}

func drive(run func(context.Context, *System) error, opts []Option) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if cfg, err := newConfig(opts); err == nil && cfg.driver != "" {
		return serveAs(ctx, cfg)
	}
	sys, err := Start(ctx, opts...)
	if err != nil {
		return err
	}
	err = run(ctx, sys)
	return errors.Join(err, endSystem(ctx, sys))
}

// endSystem shuts the system of a program down whose run has returned.
func endSystem(ctx context.Context, sys *System) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	return sys.Shutdown(ctx)
}

// Serve serves as a node of the driver that Join names, with the other options of the network, until the driver has ended or ctx does. It is for
// programs that own their main function and are told by other means than the environment whom to join; Main does the same with
// Join. The error is nil if the driver ended in order, and matches ErrNodeLost if it was lost and cannot be
// joined again: then its calls have been dropped, and nothing of the system is left in this process.
func Serve(ctx context.Context, opts ...Option) error {
	cfg, err := newConfig(opts)
	if err == nil && cfg.driver == "" {
		err = fmt.Errorf("%w: no driver: use core.Join", ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return serveNode(ctx, envOf(cfg), cfg.logger)
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
	err := serveFromEnv(ctx)
	stop()
	if err != nil {
		slog.Error("node ended", "node", node, "err", err)
		os.Exit(1)
	}
	os.Exit(0)
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
