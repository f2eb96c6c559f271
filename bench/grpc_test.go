// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/core"
)

// grpcFleet is what one writes without this library: a plain gRPC server in every node process, and a unary call for
// every worker, all of them under way at once.
type grpcFleet struct {
	conns  []*grpc.ClientConn
	actors int
}

// server is an actor that serves gRPC on a Unix socket, so that the baseline lives in the same processes.
type server struct{ path string }

// grpcInFlight bounds the bytes of requests under way. Without a bound 400 calls with 8 MiB need so much
// memory that the machine measures itself.
const grpcInFlight = 256 << 20

const grpcMethod = "/bench.Worker/Touch"

func newServer(_ context.Context, dir string) (*server, error) {
	s := &server{path: filepath.Join(dir, fmt.Sprintf("%d.sock", os.Getpid()))}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, err
	}
	gs := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	gs.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Worker", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Touch", Handler: touch}},
	}, s)
	go func() { _ = gs.Serve(l) }() // for the life of the process
	return s, nil
}

//nolint:revive // the signature is gRPC's
func touch(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in wrapperspb.BytesValue
	if err := decode(&in); err != nil {
		return nil, err
	}
	v, err := (&worker{}).Touch(ctx, in.GetValue())
	return wrapperspb.Double(v), err
}

// Path returns where the server listens.
func (s *server) Path(context.Context, core.Void) (string, error) { return s.path, nil }

var servers = core.Register("bench.grpc", newServer, core.Method((*server).Path))

func newGRPCFleet(b *testing.B, sys *core.System, actors, nodes int) *grpcFleet {
	handles, err := servers.Spawn(b.Context(), sys, nodes, b.TempDir())
	require.NoError(b, err)
	f := &grpcFleet{actors: actors}
	for _, h := range handles {
		path, err := core.Call(b.Context(), h, (*server).Path, core.Void{}).Get(b.Context())
		require.NoError(b, err)
		conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, conn.Close()) })
		f.conns = append(f.conns, conn)
	}
	return f
}

// loopGRPC has no submit of its own: a unary call returns with its answer.
func loopGRPC(ctx context.Context, f *fleet, arg []byte) (time.Duration, error) {
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(f.grpc.actors, grpcInFlight/max(len(arg), 1)))
	for i := range f.grpc.actors {
		conn := f.grpc.conns[i*len(f.grpc.conns)/f.grpc.actors]
		g.Go(func() error {
			var out wrapperspb.DoubleValue
			return conn.Invoke(ctx, grpcMethod, wrapperspb.Bytes(arg), &out)
		})
	}
	err := g.Wait()
	return time.Since(began), err
}
