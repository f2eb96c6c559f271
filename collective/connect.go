// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/reach"
	"github.com/tutti-go/tutti/internal/scope"
)

// WorldName is the name of the groups that Connect makes.
const WorldName = "world"

const (
	tcpScheme  = "tcp://"
	pollEvery  = 5 * time.Millisecond
	pollPause  = 200 * time.Millisecond // between attempts that failed
	secretSize = 16                     // bytes of a secret that is drawn
)

// world is what a group of Connect has besides the group: the process's end of all connections.
type world struct {
	sc      *scope.Scope
	mesh    *mesh.Mesh
	node    *scope.Node
	rank    int
	storage *storage
	tidy    func() error // takes away what the process has put somewhere, when its connections are closed
}

// ConnectOption changes what Connect does; every Option is one.
type ConnectOption interface{ connect(*connecting) }

// connecting is what the options of Connect say.
type connecting struct {
	bounds bounds
	net    reach.Network
}

type connectFunc func(*connecting)

func (f connectFunc) connect(c *connecting) { f(c) }

// Secret is what all ranks must know to meet over TCP, at least 16 bytes; it is proved and never sent. The environment variable
// TUTTI_SECRET does the same, and TUTTI_SECRET_FILE names a file that holds it.
func Secret(secret string) ConnectOption {
	return connectFunc(func(c *connecting) { c.net.Secret = secret })
}

// TLS encrypts the connections between machines with TLS 1.3, in which both sides prove that they belong together: the files hold, in
// PEM, the certificate of the authority, this process's certificate, and its key. Certificates must be valid for the name "tutti", or what
// TUTTI_TLS_NAME says, whatever the address. The environment variables TUTTI_TLS_CA, TUTTI_TLS_CERT and TUTTI_TLS_KEY do the same.
func TLS(ca, cert, key string) ConnectOption {
	return connectFunc(func(c *connecting) {
		c.net.TLS = certs.Files{CA: ca, Cert: cert, Key: key, Name: c.net.TLS.Name}
	})
}

// Insecure allows connections beyond this machine without TLS. Both sides still prove that they know the secret, but whoever is on the way
// can read and change everything that follows. The environment variable TUTTI_INSECURE=yes does the same.
func Insecure() ConnectOption { return connectFunc(func(c *connecting) { c.net.Insecure = true }) }

// Listen sets where this rank listens for others, "host:port"; port 0 is any free one. Default: rank 0 at the port of the rendezvous, at
// all addresses, or at loopback if the rendezvous is there; the others at the address from which they reach rank 0, at any port. The
// environment variable TUTTI_LISTEN does the same.
func Listen(addr string) ConnectOption {
	return connectFunc(func(c *connecting) { c.net.Listen = addr })
}

// Advertise sets where other machines reach this rank, "host" or "host:port", if it is not where it listens. Rank 0 is reached at the
// rendezvous. The environment variable TUTTI_ADVERTISE does the same.
func Advertise(addr string) ConnectOption {
	return connectFunc(func(c *connecting) { c.net.Advertise = addr })
}

// Connect makes a group of processes that have no actors: programs that a launcher such as srun or mpirun has started. Each calls it
// with its rank, from 0, the number of ranks, and the same rendezvous, which is one of
//
//   - the path of a directory that only this user can enter, on the machine that all run on, or of one that does not exist, whose
//     parent does. Its path may have 90 bytes.
//   - "tcp://host:port", where host is a name or an address at which all reach the machine of rank 0. Rank 0 listens there, the others
//     dial it once and get the addresses of all. It takes a secret that all ranks know, see [Secret]; and, if host is not loopback, [TLS] or
//     [Insecure]. Ranks of one machine still exchange data over shared memory, in a directory of this user's below TUTTI_RUNDIR.
//
// A rendezvous is for one job at a time, and can be used again after it. Connect returns when all have come. The operations are those of
// any group, and so are Shrink and Split. Timeout, Stall, Silence, Algorithm and Costs count as rank 0 gives them. Without Costs it measures its machine, as
// NewGroup does.
//
// Close, of the group or of what Shrink made of it, waits until all members have called it, as long as ctx allows, and closes the
// connections; after an error it only closes them. It must be called in any case.
//
// A ctx without a deadline gets that of Timeout, 10 min unless given. Errors: ErrArgument; context.DeadlineExceeded with the ranks that
// have not come; those of the file system and of the network.
func Connect(ctx context.Context, rank, size int, rendezvous string, opts ...ConnectOption) (*Group, error) {
	s, err := connectingWith(opts)
	switch {
	case err != nil:
		return nil, err
	case size < 1:
		return nil, fmt.Errorf("%w: Connect: size is %d, want 1 or more", ErrArgument, size)
	case rank < 0 || rank >= size:
		return nil, fmt.Errorf("%w: Connect: rank is %d, want 0 to %d", ErrArgument, rank, size-1)
	case rendezvous == "" || len(rendezvous) > maxRendezvous:
		return nil, fmt.Errorf("%w: Connect: rendezvous %q has %d bytes, want 1 to %d", ErrArgument, rendezvous, len(rendezvous), maxRendezvous)
	}
	s.bounds.Host = true
	c := charter{Name: WorldName, Group: worldGroup, Epoch: 1, Bounds: s.bounds, Members: make([]uint64, size)}
	for r := range c.Members {
		c.Members[r] = worldActor(r)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.bounds.Timeout)
		defer cancel()
	}
	var g *Group
	if addr, ok := strings.CutPrefix(rendezvous, tcpScheme); ok {
		g, err = meetOverTCP(ctx, rank, addr, s.net, c)
	} else {
		g, err = meetInDirectory(ctx, rank, rendezvous, c)
	}
	if err != nil {
		return nil, fmt.Errorf("collective: connect rank %d of %d at %s: %w", rank, size, rendezvous, err)
	}
	return g, nil
}

func connectingWith(opts []ConnectOption) (connecting, error) {
	var c connecting
	c.bounds, _ = boundsOf(WorldName, nil) // there is no option that is wrong
	if err := c.net.ReadEnv(os.Getenv); err != nil {
		return c, fmt.Errorf("%w: Connect: %w", ErrArgument, err)
	}
	for _, o := range opts {
		if o == nil {
			return c, fmt.Errorf("%w: Connect: nil option", ErrArgument)
		}
		o.connect(&c)
	}
	if err := c.net.Check(); err != nil {
		return c, fmt.Errorf("%w: Connect: %w", ErrArgument, err)
	}
	return c, nil
}

const (
	maxRendezvous = 90
	worldGroup    = 1 // the number of the group, as if rank 0 had given it
)

// worldActor is the identity that stands for a process in a charter.
func worldActor(rank int) uint64 { return uint64(rank)<<32 | 1 }

// reachAll connects to all ranks, however late they come.
func (w *world) reachAll(ctx context.Context, size int) error {
	var all errgroup.Group
	all.SetLimit(64)
	come := make([]bool, size)
	come[0] = true
	for r := 1; r < size; r++ {
		all.Go(func() error {
			for {
				if w.mesh.Connect(ctx, mesh.NodeID(r)) == nil {
					come[r] = true
					return nil
				}
				if !waitFor(ctx, pollEvery) {
					return stopped(ctx)
				}
			}
		})
	}
	err := all.Wait()
	var missing []int
	for r, ok := range come {
		if !ok {
			missing = append(missing, r)
		}
	}
	if err != nil {
		return fmt.Errorf("ranks %s have not come: %w", ranksText(missing), err)
	}
	return nil
}

// openWorld opens a process's end of the mesh. cfg says how others are reached.
func openWorld(ctx context.Context, rank int, dir string, cfg mesh.Config, tidy func() error) *world {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	cfg.Self, cfg.Incarnation = mesh.NodeID(rank), binary.LittleEndian.Uint64(b[:])
	m := mesh.New(context.WithoutCancel(ctx), cfg)
	w := &world{mesh: m, node: &scope.Node{Mesh: m, Dir: dir}, rank: rank, tidy: tidy}
	h := w.hub(ctx)
	h.world, h.job = w, jobOf(string(cfg.Secret))
	h.storage.open = func() (*arrowstore.Store, string, func() error, error) { return worldStore(cfg.Secret) }
	w.storage = h.storage
	h.mu.numbers[WorldName] = worldGroup // nobody but this goroutine knows the hub
	m.Start()
	return w
}

// agreed is what rank 0 tells the others of how the group works.
type agreed struct{ Bounds bounds }

// parseAgreed reads an agreed. What it says is validated with the charter.
func parseAgreed(text []byte) (a agreed, err error) {
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("what rank 0 says cannot be read: %w", err)
	}
	return a, nil
}

func (w *world) hub(ctx context.Context) *hub { return hubOf(ctx, w.node) }

func (w *world) join(ctx context.Context, c charter) (*Group, error) {
	w.sc = &scope.Scope{Actor: worldActor(w.rank), Node: w.node}
	return w.hub(ctx).join(w.sc, c)
}

// close ends the connections.
func (w *world) close() error {
	err := w.mesh.Close()
	if w.sc != nil {
		w.sc.End(ErrClosed)
	}
	return errors.Join(err, w.storage.close(), w.tidy())
}

// disconnect closes a group of Connect together with the others.
func (g *Group) disconnect(ctx context.Context) error {
	var err error
	if g.s.ended() == nil {
		// Who has passed the second barrier knows that all have passed the first; so nobody hangs up on one that has not.
		if err = Barrier(ctx, g); err == nil {
			_ = Barrier(ctx, g) // others may have passed it and gone
		}
	}
	g.s.finish(&ending{code: codeClosed, text: fmt.Sprintf("%v by rank %d", ErrClosed, g.m.rank)})
	return errors.Join(err, g.s.hub.world.close())
}

// waitFor waits for d, and reports whether ctx lasts.
func waitFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
