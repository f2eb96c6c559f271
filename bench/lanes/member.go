// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tutti-go/tutti/collective"
)

// kindMember is a process of ours.
const kindMember = "member"

// patience bounds the time of a member, so that nothing is left of a run that failed.
const patience = 10 * time.Minute

// startMembers starts processes that meet over TCP, of which those with neighbouring ranks say that they share a host. With flat they exchange messages there, too.
func startMembers(ctx context.Context, members, hosts, bytes int, op string, flat bool) (*fleet, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	secret := rand.Text()
	f := &fleet{}
	for rank := range members {
		host := rank / (members / hosts)
		env := []string{
			"TUTTI_SECRET=" + secret, fmt.Sprintf("TUTTI_HOST=host-%d", host),
			"TUTTI_RUNDIR=" + filepath.Join(os.TempDir(), fmt.Sprintf("tutti-lanes-%d-%d-%t", os.Getpid(), host, flat)),
		}
		if _, err := f.start(ctx, kindMember, env, strconv.Itoa(rank), strconv.Itoa(members), strconv.Itoa(bytes), addr, op, strconv.FormatBool(flat)); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

// freeAddress returns one of loopback that nobody listened at a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func serveMember(args []string, in io.Reader, out io.Writer) (err error) {
	numbers, err := numbersOf(args[:3])
	if err != nil {
		return err
	}
	rank, members, bytes := numbers[0], numbers[1], numbers[2]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var opts []collective.ConnectOption
	if args[5] == "true" {
		opts = append(opts, collective.Messages())
	}
	g, err := collective.Connect(ctx, rank, members, "tcp://"+args[3], opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	buf := make([]float32, bytes/4)
	if err := check(ctx, g, buf); err != nil {
		return err
	}
	clear(buf) // sums of zeros take as long as others, and stay in range however often they are made
	operate, part := operations()[args[4]], buf[:len(buf)/members*members]
	return answer(in, out, func() error { return operate(ctx, g, part) })
}

// operations are what members can do in a round, by name. A part of buf is what a member gives or gets where that is less than all. Those that some members
// leave before the others are followed by a barrier.
func operations() map[string]func(ctx context.Context, g *collective.Group, buf []float32) error {
	own := func(g *collective.Group, buf []float32) []float32 {
		n := len(buf) / g.Size()
		return buf[g.Rank()*n : (g.Rank()+1)*n]
	}
	var out []float32 // of a reduce-scatter
	return map[string]func(ctx context.Context, g *collective.Group, buf []float32) error{
		"all-reduce": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return collective.AllReduce(ctx, g, buf, collective.Sum)
		},
		"reduce": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return errors.Join(collective.Reduce(ctx, g, buf, collective.Sum, 1), collective.Barrier(ctx, g))
		},
		"broadcast": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return errors.Join(collective.Broadcast(ctx, g, buf, 1), collective.Barrier(ctx, g))
		},
		"reduce-scatter": func(ctx context.Context, g *collective.Group, buf []float32) error {
			if out == nil {
				out = make([]float32, len(buf)/g.Size())
			}
			return collective.ReduceScatter(ctx, g, buf, out, collective.Sum)
		},
		"all-gather": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return collective.AllGather(ctx, g, own(g, buf), buf)
		},
		"gather": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return errors.Join(collective.Gather(ctx, g, own(g, buf), buf, 1), collective.Barrier(ctx, g))
		},
		"scatter": func(ctx context.Context, g *collective.Group, buf []float32) error {
			return errors.Join(collective.Scatter(ctx, g, buf, own(g, buf), 1), collective.Barrier(ctx, g))
		},
		"barrier": func(ctx context.Context, g *collective.Group, _ []float32) error { return collective.Barrier(ctx, g) },
	}
}

// check does an all-reduce of which all members know the result.
func check(ctx context.Context, g *collective.Group, buf []float32) error {
	for i := range buf {
		buf[i] = float32(i%1000 + g.Rank())
	}
	if err := collective.AllReduce(ctx, g, buf, collective.Sum); err != nil {
		return err
	}
	n := g.Size()
	for i, v := range buf {
		if want := float32(i%1000*n + n*(n-1)/2); v != want {
			return fmt.Errorf("rank %d: element %d of %d is %v, want %v", g.Rank(), i, len(buf), v, want)
		}
	}
	return nil
}
