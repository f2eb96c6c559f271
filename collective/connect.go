// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/scope"
)

// WorldName is the name of the groups that Connect makes.
const WorldName = "world"

// How processes find each other in a directory: rank 0 draws a secret and writes it to the file "job", after it has removed what an earlier
// job left. Each rank listens at a socket named by its number. Rank 0 connects to all of them, which proves that they live and have
// read that secret, and then writes "ready". The others wait for that and make sure that it is rank 0 of this job that wrote it.
const (
	jobFile    = "job"
	readyFile  = "ready"
	pollEvery  = 5 * time.Millisecond
	pollPause  = 200 * time.Millisecond // between attempts that failed
	secretSize = 16                     // bytes of the secret
)

// world is what a group of Connect has besides the group: the process's end of all connections.
type world struct {
	sc   *scope.Scope
	mesh *mesh.Mesh
	node *scope.Node
	dir  string
	rank int
}

// Connect makes a group of processes that have no actors: programs that a launcher such as srun or mpirun has started. Each calls it
// with its rank, from 0, the number of ranks, and the same rendezvous: the path of a directory that only this user can enter, on the
// machine that all run on, or of one that does not exist, whose parent does. A rendezvous is for one job at a time, and can be used
// again after it; its path may have 90 bytes. Connect returns when all have come. The operations are those of any group, and so are
// Shrink and Split.
//
// Close, of the group or of what Shrink made of it, waits until all members have called it, as long as ctx allows, and closes the
// connections; after an error it only closes them. It must be called in any case.
//
// Errors: ErrArgument; the context's, at rank 0 with the ranks that have not come; those of the file system.
func Connect(ctx context.Context, rank, size int, rendezvous string, opts ...Option) (*Group, error) {
	b, err := boundsOf(WorldName, opts)
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
	if err := privateDir(rendezvous); err != nil {
		return nil, fmt.Errorf("collective: connect rank %d: %w", rank, err)
	}
	c := charter{Name: WorldName, Group: 1, Epoch: 1, Bounds: b, Members: make([]uint64, size)}
	for r := range c.Members {
		c.Members[r] = worldActor(r)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	meet := meetOthers
	if rank == 0 {
		meet = gatherOthers
	}
	g, err := meet(ctx, rank, rendezvous, c)
	if err != nil {
		return nil, fmt.Errorf("collective: connect rank %d of %d at %s: %w", rank, size, rendezvous, err)
	}
	return g, nil
}

const maxRendezvous = 90

// worldActor is the identity that stands for a process in a charter.
func worldActor(rank int) uint64 { return uint64(rank)<<32 | 1 }

// privateDir makes sure that path is a directory of this user that nobody else can enter.
func privateDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%w: rendezvous %s must be a directory of user %d with mode 0700", ErrArgument, path, os.Getuid())
	}
	return nil
}

// gatherOthers is Connect at rank 0.
func gatherOthers(ctx context.Context, _ int, dir string, c charter) (*Group, error) {
	for _, name := range []string{readyFile, jobFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	var b [secretSize]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := hex.EncodeToString(b[:])
	w, err := listenAt(ctx, 0, dir, secret)
	if err != nil {
		return nil, err
	}
	if err = writeFile(filepath.Join(dir, jobFile), secret); err == nil {
		err = w.reachAll(ctx, len(c.Members))
	}
	if err == nil {
		err = writeFile(filepath.Join(dir, readyFile), secret)
	}
	var g *Group
	if err == nil {
		g, err = w.join(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return g, nil
}

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
				if !pause(ctx, pollEvery) {
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

// meetOthers is Connect at the other ranks. What it finds may be of an earlier job, so it begins anew until it speaks to rank 0.
func meetOthers(ctx context.Context, rank int, dir string, c charter) (*Group, error) {
	for {
		g, err := meetOnce(ctx, rank, dir, c)
		if err == nil {
			return g, nil
		}
		if !errors.Is(err, errStale) {
			return nil, err
		}
		if !pause(ctx, pollPause) {
			return nil, fmt.Errorf("%w: %w", stopped(ctx), err)
		}
	}
}

var errStale = errors.New("rank 0 has not come")

func meetOnce(ctx context.Context, rank int, dir string, c charter) (*Group, error) {
	secret, err := awaitFile(ctx, filepath.Join(dir, jobFile))
	if err != nil {
		return nil, err
	}
	w, err := listenAt(ctx, rank, dir, secret)
	if err != nil {
		return nil, err
	}
	for {
		var ready string
		if ready, err = readFile(filepath.Join(dir, readyFile)); err == nil && ready == secret {
			break
		}
		if now, _ := readFile(filepath.Join(dir, jobFile)); now != secret { // gone, or another
			return nil, errors.Join(errStale, w.close())
		}
		if !pause(ctx, pollEvery) {
			return nil, errors.Join(fmt.Errorf("not all have come: %w", stopped(ctx)), w.close())
		}
	}
	if err := w.mesh.Connect(ctx, 0); err != nil { // a connection that rank 0 has opened, or none
		return nil, errors.Join(errStale, err, w.close())
	}
	g, err := w.join(ctx, c)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return g, nil
}

// listenAt opens a process's end of the mesh.
func listenAt(ctx context.Context, rank int, dir, secret string) (*world, error) {
	address := func(n mesh.NodeID) string { return filepath.Join(dir, strconv.FormatUint(uint64(n), 10)) }
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	own := address(mesh.NodeID(rank))
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var transport link.Shared
	l, err := transport.Listen(own)
	if err != nil {
		return nil, err
	}
	m := mesh.New(context.WithoutCancel(ctx), mesh.Config{
		Self: mesh.NodeID(rank), Incarnation: binary.LittleEndian.Uint64(b[:]), Secret: []byte(secret),
		Transport: transport, Listeners: []link.Listener{l},
		Address: func(_ context.Context, n mesh.NodeID) (string, error) { return address(n), nil },
	})
	w := &world{mesh: m, node: &scope.Node{Mesh: m, Dir: dir}, dir: dir, rank: rank}
	hubOf(ctx, w.node).world = w
	m.Start()
	return w, nil
}

func (w *world) join(ctx context.Context, c charter) (*Group, error) {
	w.sc = &scope.Scope{Actor: worldActor(w.rank), Node: w.node}
	return hubOf(ctx, w.node).join(w.sc, c)
}

// close ends the connections. Rank 0 takes the traces of the job away.
func (w *world) close() error {
	err := w.mesh.Close()
	if w.sc != nil {
		w.sc.End()
	}
	if w.rank > 0 {
		return err
	}
	for _, name := range []string{readyFile, jobFile} {
		if e := os.Remove(filepath.Join(w.dir, name)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
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

// pause waits for d, and reports whether ctx lasts.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitFile waits for a file.
func awaitFile(ctx context.Context, path string) (string, error) {
	for {
		text, err := readFile(path)
		switch {
		case err == nil:
			return text, nil
		case !errors.Is(err, os.ErrNotExist):
			return "", err
		}
		if !pause(ctx, pollEvery) {
			return "", fmt.Errorf("%w: %w", errStale, stopped(ctx))
		}
	}
}

func readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// writeFile writes a file that appears as a whole.
func writeFile(path, text string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
