// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
)

// How processes find each other in a directory: rank 0 draws a secret and writes it to the file "job", after it has removed what an earlier
// job left. Each rank listens at a socket named by its number. Rank 0 connects to all of them, which proves that they live and have
// read that secret, and then writes "ready", with what all are to
// know of the group. The others wait for that and make sure that it is rank 0 of this job that wrote it.
const (
	jobFile   = "job"
	readyFile = "ready"
)

// meetInDirectory is Connect where all meet in a directory.
func meetInDirectory(ctx context.Context, rank int, dir string, c charter) (*Group, error) {
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	if rank == 0 {
		return gatherOthers(ctx, dir, c)
	}
	return meetOthers(ctx, rank, dir, c)
}

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

// gatherOthers is Connect in a directory at rank 0.
func gatherOthers(ctx context.Context, dir string, c charter) (*Group, error) {
	for _, name := range []string{readyFile, jobFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if err := removeHostFiles(dir); err != nil {
		return nil, err
	}
	var b [secretSize]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := hex.EncodeToString(b[:])
	w, err := listenAt(ctx, 0, dir, secret)
	if err != nil {
		return nil, err
	}
	if err = writeFile(filepath.Join(dir, jobFile), secret); err == nil {
		err = w.hub(ctx).tabulate(ctx, &c) // while the others come
	}
	if err == nil || ctx.Err() != nil { // then it says who is missing
		err = w.reachAll(ctx, len(c.Members))
	}
	var told []byte
	if err == nil {
		told, err = json.Marshal(agreed{c.Bounds})
	}
	if err == nil {
		err = writeFile(filepath.Join(dir, readyFile), secret+"\n"+string(told))
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

// meetOthers is Connect in a directory at the other ranks. What it finds may be of an earlier job, so it begins anew until it speaks to rank 0.
func meetOthers(ctx context.Context, rank int, dir string, c charter) (*Group, error) {
	for {
		g, err := meetOnce(ctx, rank, dir, c)
		if err == nil {
			return g, nil
		}
		if !errors.Is(err, errStale) {
			return nil, err
		}
		if !waitFor(ctx, pollPause) {
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
	var told string
	for {
		var ready string
		if ready, err = readFile(filepath.Join(dir, readyFile)); err == nil {
			var whose string
			if whose, told, _ = strings.Cut(ready, "\n"); whose == secret {
				break
			}
		}
		if now, _ := readFile(filepath.Join(dir, jobFile)); now != secret { // gone, or another
			return nil, errors.Join(errStale, w.close())
		}
		if !waitFor(ctx, pollEvery) {
			return nil, errors.Join(fmt.Errorf("not all have come%s: %w", absent(dir, len(c.Members)), stopped(ctx)), w.close())
		}
	}
	if err := w.mesh.Connect(ctx, 0); err != nil { // a connection that rank 0 has opened, or none
		return nil, errors.Join(errStale, err, w.close())
	}
	a, err := parseAgreed([]byte(told))
	var g *Group
	if err == nil {
		c.Bounds = a.Bounds
		g, err = w.join(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return g, nil
}

// absent names the ranks that have left no trace in the directory, in a form that fits behind a sentence.
func absent(dir string, size int) string {
	var ranks []int
	for r := range size {
		if _, err := os.Lstat(filepath.Join(dir, strconv.Itoa(r))); err != nil {
			ranks = append(ranks, r)
		}
	}
	if len(ranks) == 0 {
		return ""
	}
	return fmt.Sprintf(", not ranks %s at least", ranksText(ranks))
}

// listenAt opens a process's end of the mesh in a directory.
func listenAt(ctx context.Context, rank int, dir, secret string) (*world, error) {
	address := func(n mesh.NodeID) string { return filepath.Join(dir, strconv.FormatUint(uint64(n), 10)) }
	own := address(mesh.NodeID(rank))
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var transport link.Shared
	l, err := transport.Listen(own)
	if err != nil {
		return nil, err
	}
	return openWorld(ctx, rank, dir, mesh.Config{
		Secret: []byte(secret), Transport: transport, Listeners: []link.Listener{l},
		Address: func(_ context.Context, n mesh.NodeID) (string, error) { return address(n), nil },
	}, func() error { return takeTraces(rank, dir) }), nil
}

// takeTraces takes the traces of the job away, at rank 0.
func takeTraces(rank int, dir string) (err error) {
	if rank > 0 {
		return nil
	}
	for _, name := range []string{readyFile, jobFile} {
		if e := os.Remove(filepath.Join(dir, name)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
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
		if !waitFor(ctx, pollEvery) {
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
