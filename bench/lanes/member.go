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

// startMembers starts processes that meet over TCP, of which those with neighbouring ranks say that they share a host.
func startMembers(ctx context.Context, members, hosts, bytes int) (*fleet, error) {
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
			"TUTTI_RUNDIR=" + filepath.Join(os.TempDir(), fmt.Sprintf("tutti-lanes-%d-%d", os.Getpid(), host)),
		}
		if _, err := f.start(ctx, kindMember, env, strconv.Itoa(rank), strconv.Itoa(members), strconv.Itoa(bytes), addr); err != nil {
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
	g, err := collective.Connect(ctx, rank, members, "tcp://"+args[3])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close(ctx)) }()
	buf := make([]float32, bytes/4)
	if err := check(ctx, g, buf); err != nil {
		return err
	}
	clear(buf) // sums of zeros take as long as others, and stay in range however often they are made
	return answer(in, out, func() error { return collective.AllReduce(ctx, g, buf, collective.Sum) })
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
