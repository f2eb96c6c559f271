// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tutti-go/tutti/core"
)

// grpcInFlight bounds the bytes of requests under way. Without a bound 400 calls with 8 MiB need so much
// memory that the machine measures itself.
const grpcInFlight = 256 << 20

const grpcMethod = "/bench.Worker/Touch"

// server is an actor that serves gRPC on a Unix socket, so that the baseline lives in the same processes.
type server struct{ path string }

func newServer(_ context.Context, dir string) (*server, error) {
	s := &server{path: filepath.Join(dir, fmt.Sprintf("%d.sock", os.Getpid()))}
	//nolint:noctx // a Unix socket listens at once
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

var serverKind = core.Register("bench.grpc", newServer, core.Method((*server).Path))

// servers is what one writes without this library: a plain gRPC server in every node process, and a connection to each.
type servers struct {
	dir   string
	conns []*grpc.ClientConn
}

func newServers(ctx context.Context, sys *core.System) (s *servers, err error) {
	s = new(servers)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = tempDir(); err != nil {
		return s, err
	}
	handles, err := serverKind.Spawn(ctx, sys, len(sys.Nodes()), s.dir)
	if err != nil {
		return s, err
	}
	for _, h := range handles {
		path, err := core.Call(ctx, h, (*server).Path, core.Void{}).Get(ctx)
		if err != nil {
			return s, err
		}
		conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return s, err
		}
		s.conns = append(s.conns, conn)
	}
	return s, nil
}

func (s *servers) close() error {
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// LoopGRPC makes a plain gRPC unary call for every actor, all of them under way at once, up to a bound in bytes. It
// has no submit of its own, for a unary call returns with its answer: Submit is Complete.
func (f *Fleet) LoopGRPC(ctx context.Context, arg *Argument) (Cost, error) {
	c := start()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(len(f.handles), grpcInFlight/max(len(arg.value), 1)))
	for i := range f.handles {
		conn := f.servers.conns[i*len(f.servers.conns)/len(f.handles)]
		g.Go(func() error {
			var out wrapperspb.DoubleValue
			return conn.Invoke(ctx, grpcMethod, wrapperspb.Bytes(arg.value), &out)
		})
	}
	if err := g.Wait(); err != nil {
		return Cost{}, err
	}
	c.submit()
	return c.stop(), nil
}
