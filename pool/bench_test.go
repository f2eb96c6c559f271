// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// benchActors and benchNodes are the size of all benchmarks.
const (
	benchActors = 400
	benchNodes  = 8
)

// BenchmarkMap maps small items, within one process and over eight. One iteration is one item.
func BenchmarkMap(b *testing.B) {
	for _, where := range []struct {
		name string
		opt  core.Option
	}{{"process=1", core.InProcess(benchNodes)}, {"process=8", core.LocalNodes(benchNodes)}} {
		for _, inFlight := range []int{1, 8} {
			name := fmt.Sprintf("actors=%d/%s/inflight=%d", benchActors, where.name, inFlight)
			b.Run(name+"/size=0", func(b *testing.B) {
				p, _ := poolOn(b, coretest.Start(b, where.opt), benchActors, pool.InFlight(inFlight))
				benchMap(b, p, (*worker).Nop, core.Void{})
			})
			b.Run(name+"/size=1KiB", func(b *testing.B) {
				p, _ := poolOn(b, coretest.Start(b, where.opt), benchActors, pool.InFlight(inFlight))
				benchMap(b, p, (*worker).Len, make([]byte, 1<<10))
			})
		}
	}
}

func benchMap[In, Out any](b *testing.B, p *pool.Pool[*worker], m func(*worker, context.Context, In) (Out, error), in In) {
	b.ReportAllocs()
	b.ResetTimer()
	for _, err := range pool.Map(b.Context(), p, m, repeat(in, b.N)) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	reportRate(b)
	p.Close()
}

func reportRate(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

// BenchmarkSubmit makes one call after the other through an idle pool, and without it. One iteration is a round trip.
func BenchmarkSubmit(b *testing.B) {
	for _, direct := range []bool{false, true} {
		b.Run(fmt.Sprintf("actors=%d/process=8/direct=%t", benchActors, direct), func(b *testing.B) {
			p, h := poolOn(b, coretest.Start(b, core.LocalNodes(benchNodes)), benchActors)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				var err error
				if direct {
					err = core.Call(b.Context(), h[i%len(h)], (*worker).Nop, core.Void{}).Err(b.Context())
				} else {
					err = pool.Submit(b.Context(), p, (*worker).Nop, core.Void{}).Err(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
				i++
			}
			p.Close()
		})
	}
}

// BenchmarkLoop is what BenchmarkMap is compared with: errgroup and unary gRPC calls that do nothing, as many at a time as there are actors, to
// servers in the same eight processes. One iteration is one call.
func BenchmarkLoop(b *testing.B) {
	b.Run(fmt.Sprintf("actors=%d/process=8/grpc", benchActors), func(b *testing.B) {
		sys := coretest.Start(b, core.LocalNodes(benchNodes))
		h, err := servers.Spawn(b.Context(), sys, benchNodes, b.TempDir())
		require.NoError(b, err)
		var clients []grpc_health_v1.HealthClient
		for _, s := range h {
			path, err := core.Call(b.Context(), s, (*server).Path, core.Void{}).Get(b.Context())
			require.NoError(b, err)
			conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
			require.NoError(b, err)
			defer func() { require.NoError(b, conn.Close()) }()
			clients = append(clients, grpc_health_v1.NewHealthClient(conn))
		}
		b.ReportAllocs()
		b.ResetTimer()
		g, ctx := errgroup.WithContext(b.Context())
		g.SetLimit(benchActors)
		for i := range b.N {
			g.Go(func() error {
				_, err := clients[i%len(clients)].Check(ctx, &grpc_health_v1.HealthCheckRequest{})
				return err
			})
		}
		require.NoError(b, g.Wait())
		b.StopTimer()
		reportRate(b)
		for _, s := range h {
			require.NoError(b, core.Call(b.Context(), s, (*server).Stop, core.Void{}).Err(b.Context()))
		}
	})
}

// server is an actor that serves gRPC on a socket of its own.
type server struct {
	srv  *grpc.Server
	path string
	done chan error
}

func newServer(_ context.Context, dir string) (*server, error) {
	s := &server{srv: grpc.NewServer(), path: filepath.Join(dir, strconv.Itoa(os.Getpid())), done: make(chan error, 1)}
	grpc_health_v1.RegisterHealthServer(s.srv, health.NewServer())
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, err
	}
	go func() { s.done <- s.srv.Serve(l) }()
	return s, nil
}

// Path returns where the server listens.
func (s *server) Path(context.Context, core.Void) (string, error) { return s.path, nil }

// Stop ends the server.
func (s *server) Stop(context.Context, core.Void) (core.Void, error) {
	s.srv.Stop()
	return core.Void{}, <-s.done
}

var servers = core.Register("server", newServer, core.Method((*server).Path), core.Method((*server).Stop))

// BenchmarkMapOfSlowItems maps items of 10 ms and reports the rate as a part of what the actors could do if they were
// never idle: "of-ideal" if a sleep of 10 ms took 10 ms, and "busy" as long as it has really taken, which is the part of the time in which actors
// had something to do. The runtime's timers are late by half a millisecond or so. In the second case one actor takes 20 times as long. One
// iteration is one item.
func BenchmarkMapOfSlowItems(b *testing.B) {
	const nap = 10 * time.Millisecond
	for _, c := range []struct {
		name     string
		first    bool
		capacity float64
	}{{"even", false, benchActors}, {"straggler", true, benchActors - 1 + 1./20}} {
		b.Run(fmt.Sprintf("actors=%d/process=8/inflight=2/%s", benchActors, c.name), func(b *testing.B) {
			p, _ := poolOn(b, coretest.Start(b, core.LocalNodes(benchNodes)), benchActors, pool.InFlight(2))
			for _, err := range pool.MapUnordered(b.Context(), p, (*worker).Doze, repeat(doze{For: time.Nanosecond}, benchActors)) {
				require.NoError(b, err) // connected
			}
			var slept time.Duration
			b.ResetTimer()
			for took, err := range pool.MapUnordered(b.Context(), p, (*worker).Doze, repeat(doze{nap, c.first}, b.N)) {
				if err != nil {
					b.Fatal(err)
				}
				slept += took.Value
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)*nap.Seconds()/c.capacity/b.Elapsed().Seconds(), "of-ideal")
			b.ReportMetric(slept.Seconds()/benchActors/b.Elapsed().Seconds(), "busy")
			p.Close()
		})
	}
}
