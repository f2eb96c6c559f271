// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tutti-go/tutti/internal/handshake"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/reach"
	"github.com/tutti-go/tutti/internal/rundir"
	"github.com/tutti-go/tutti/internal/wire"
)

// How processes find each other over TCP: each but rank 0 dials the rendezvous, where both sides prove that they know the secret, and
// leaves its arrival there, one line of JSON. It stays connected, and hears from time to time who is still missing. When all have come, rank 0
// answers each with the places of all, and makes sure that it can reach them. So it takes one connection and a few lines for each rank.

const (
	attemptPatience = 10 * time.Second // for one attempt to reach rank 0
	minAttemptPause = 10 * time.Millisecond
)

// meetOverTCP is Connect where rank 0 listens at an address.
func meetOverTCP(ctx context.Context, rank int, addr string, n reach.Network, c charter) (*Group, error) {
	host, port, err := net.SplitHostPort(addr)
	if p, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || p == 0 || host == "" {
		return nil, fmt.Errorf("%w: want %shost:port, with a port from 1 to 65535", ErrArgument, tcpScheme)
	}
	if n.Secret == "" {
		return nil, fmt.Errorf("%w: no secret: use Secret, or set %s or %s, of at least %d bytes, alike at all ranks",
			ErrArgument, reach.EnvSecret, reach.EnvSecretIn, reach.MinSecret)
	}
	err = n.CheckReach("meet at", addr)
	if n.Listen != "" {
		err = errors.Join(err, n.CheckReach("listen on", n.Listen))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArgument, err)
	}
	t, err := n.Transport()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArgument, err)
	}
	v := &visit{rank: rank, at: addr, net: n, transport: t, charter: c}
	if rank == 0 {
		return v.receive(ctx)
	}
	return v.call(ctx)
}

// visit is one process's part in a meeting over TCP.
type visit struct {
	rank      int
	at        string
	net       reach.Network
	transport link.Transport
	charter   charter

	own    place
	world  *world
	places atomic.Pointer[[]place] // of all ranks, when they are known
}

// open opens this process's end of the mesh. fallback is the address to tell others if it listens on all.
func (v *visit) open(ctx context.Context, fallback string, m *meeting) error {
	dir, err := rundir.New(rundir.Base(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	tidy := dir.Close
	v.own.Path = filepath.Join(dir.Path, "s")
	v.own.Host, err = reach.Host(os.Getenv(reach.EnvHost), filepath.Dir(dir.Path))
	var near, far link.Listener
	if err == nil {
		near, err = v.transport.Listen(v.own.Path)
	}
	if err == nil {
		if far, v.own.Address, err = v.net.Open(v.transport, fallback); err != nil {
			err = errors.Join(err, near.Close())
		}
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	cfg := mesh.Config{
		Secret: []byte(v.net.Secret), Transport: v.transport, Listeners: []link.Listener{near, far}, Address: v.address,
	}
	if m != nil {
		cfg.Control = m.welcome
		tidy = func() error {
			m.close()
			return dir.Close()
		}
	}
	v.world = openWorld(ctx, v.rank, dir.Path, cfg, tidy)
	v.world.hub(ctx).runAt = v.runAt
	return nil
}

// runAt returns the run directory of a rank of this host.
func (v *visit) runAt(n mesh.NodeID) string {
	all := v.places.Load()
	if all == nil || uint64(n) >= uint64(len(*all)) {
		return ""
	}
	return filepath.Dir((*all)[n].Path)
}

// address returns where a rank listens: over shared memory, if it is on this host.
func (v *visit) address(_ context.Context, n mesh.NodeID) (string, error) {
	all := v.places.Load()
	switch {
	case all == nil:
		return "", errors.New("its address is not known yet")
	case uint64(n) >= uint64(len(*all)):
		return "", fmt.Errorf("there is no rank %d", n)
	}
	p := (*all)[n]
	if p.Host == v.own.Host {
		return p.Path, nil
	}
	return p.Address, nil
}

// receive is Connect at rank 0.
func (v *visit) receive(ctx context.Context) (*Group, error) {
	if v.net.Listen == "" {
		host, port, _ := net.SplitHostPort(v.at)
		if !reach.IsLoopback(host) { // the name of the machine may stand for an address that others cannot reach
			host = ""
		}
		v.net.Listen = net.JoinHostPort(host, port)
	}
	m := newMeeting(len(v.charter.Members))
	if err := v.open(ctx, "", m); err != nil {
		return nil, err
	}
	v.own.Address = v.at
	g, err := v.host(ctx, m)
	if err != nil {
		m.callOff(err)
		return nil, errors.Join(err, v.world.close())
	}
	return g, nil
}

func (v *visit) host(ctx context.Context, m *meeting) (*Group, error) {
	h := v.world.hub(ctx)
	if !v.charter.Bounds.Select.Given {
		if _, err := h.machine.measured(ctx, h); err != nil && ctx.Err() == nil { // while the others come
			return nil, err
		}
	}
	others, err := m.await(ctx)
	if err != nil {
		return nil, err
	}
	others[0] = v.own
	v.places.Store(&others)
	c := v.charter
	c.Hosts = hostsOf(others)
	if err := h.tabulate(ctx, &c); err != nil {
		return nil, err
	}
	m.answer(notice{Places: others, Agreed: &agreed{c.Bounds}})
	if err := v.world.reachAll(ctx, len(others)); err != nil {
		return nil, err
	}
	return v.world.join(ctx, c)
}

// hostsOf numbers the hosts of ranks.
func hostsOf(places []place) []uint32 {
	numbers := map[string]uint32{}
	hosts := make([]uint32, len(places))
	for rank, p := range places {
		if _, known := numbers[p.Host]; !known {
			numbers[p.Host] = uint32(len(numbers))
		}
		hosts[rank] = numbers[p.Host]
	}
	if len(numbers) == 1 {
		return nil
	}
	return hosts
}

// call is Connect at the other ranks. Rank 0 may come late, and who answers in its place may be of an earlier job.
func (v *visit) call(ctx context.Context) (*Group, error) {
	told, err := v.comeAndWait(ctx)
	var g *Group
	if err == nil {
		v.places.Store(&told.Places)
		c := v.charter
		c.Bounds, c.Hosts = told.Agreed.Bounds, hostsOf(told.Places)
		if err = v.world.mesh.Connect(ctx, 0); err == nil {
			g, err = v.world.join(ctx, c)
		}
	}
	if err != nil && v.world != nil {
		err = errors.Join(err, v.world.close())
	}
	return g, err
}

// comeAndWait tries until rank 0 says where all are.
func (v *visit) comeAndWait(ctx context.Context) (notice, error) {
	pause, heard := minAttemptPause, error(nil) // heard is the last that rank 0 said
	for {
		told, err := v.attempt(ctx)
		if err == nil || final(err) {
			return told, err
		}
		if _, ok := errors.AsType[*missingError](err); ok || heard == nil || ctx.Err() == nil {
			heard = err
		}
		if ctx.Err() == nil && waitFor(ctx, pause) {
			pause = min(2*pause, pollPause)
			continue
		}
		if errors.Is(heard, ctx.Err()) {
			return told, heard
		}
		return told, fmt.Errorf("%w: %w", stopped(ctx), heard)
	}
}

// refusal is what rank 0 says of a rank that it does not want.
type refusal struct{ text string }

// Error implements error.
func (r *refusal) Error() string { return "rank 0 says: " + r.text }

// missingError says who rank 0 waits for.
type missingError struct{ ranks []int }

// Error implements error.
func (e *missingError) Error() string {
	return fmt.Sprintf("ranks %s have not come", ranksText(e.ranks))
}

// final reports whether another attempt would not help.
func final(err error) bool {
	_, refused := errors.AsType[*refusal](err)
	_, rejected := errors.AsType[*handshake.RefusedError](err)
	_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return refused || rejected || distrusted || errors.Is(err, handshake.ErrUnauthorized) || errors.Is(err, ErrArgument)
}

// attempt dials rank 0, says that this rank has come, and waits until all have.
func (v *visit) attempt(ctx context.Context) (notice, error) {
	nc, local, err := v.dial(ctx)
	if err != nil {
		return notice{}, fmt.Errorf("rank 0 cannot be reached: %w", err)
	}
	defer func() { _ = nc.Close() }() // rank 0 has said all, or there is an error
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	if v.world == nil {
		host, _, err := net.SplitHostPort(local)
		if err != nil {
			return notice{}, err
		}
		if v.net.Listen == "" {
			v.net.Listen = net.JoinHostPort(host, "0")
		}
		if err := v.open(ctx, host, nil); err != nil {
			return notice{}, fmt.Errorf("%w: %w", ErrArgument, err)
		}
	}
	size := len(v.charter.Members)
	line, err := json.Marshal(arrival{Rank: v.rank, Size: size, Place: v.own})
	if err != nil {
		return notice{}, err
	}
	if _, err := nc.Write(append(line, '\n')); err != nil {
		return notice{}, fmt.Errorf("rank 0 has hung up: %w", err)
	}
	var heard *missingError
	lines := bufio.NewReader(io.LimitReader(nc, noticeLimit(size)))
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if heard != nil {
				return notice{}, errors.Join(heard, stoppedOr(ctx, err))
			}
			return notice{}, fmt.Errorf("rank 0 has hung up: %w", stoppedOr(ctx, err))
		}
		told, err := parseNotice(line, size)
		switch {
		case err != nil:
			return notice{}, err
		case told.Fault != "" && !told.Again:
			return notice{}, &refusal{told.Fault}
		case told.Fault != "":
			return notice{}, errors.New("rank 0 says: " + told.Fault)
		case told.Agreed != nil:
			return told, nil
		}
		heard = &missingError{told.Missing}
	}
}

func stoppedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	return err
}

// dial opens a connection to rank 0, which both sides have proved to belong to, and returns also its address on this side.
func (v *visit) dial(ctx context.Context) (net.Conn, string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	conn, err := v.transport.Dial(ctx, v.at)
	if err != nil {
		return nil, "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // Recv takes no context
	party := handshake.Party{Hello: wire.Hello{Node: uint32(v.rank), Purpose: wire.PurposeControl}, Secret: []byte(v.net.Secret)}
	_, err = party.Dial(ctx, conn, nil)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	d, ok := conn.(link.Detacher)
	if err == nil && !ok {
		err = errors.New("the connection carries frames only")
	}
	var nc net.Conn
	if err == nil {
		nc, err = d.Detach()
	}
	if err != nil {
		return nil, "", errors.Join(err, conn.Close())
	}
	return nc, link.Local(conn), nil
}
