// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFullFileSystem fills a small file system: every failure is ErrNoSpace, and none is a SIGBUS. Where mounting is not
// allowed, TestLimit remains.
func TestFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, 0)) })
	s := openStore(t, filepath.Join(mount, "store"), Limit(1<<30))
	reader := openStore(t, filepath.Join(mount, "store"))
	assert.Equal(t, int64(4<<20), s.Stats().Capacity)
	for _, size := range []int{10, 3000, 100 << 10, chunkSize, 700 << 10, 8 << 20} {
		put := func() (*Object, error) { return s.Put(make([]byte, size)) }
		create := func() (*Object, error) {
			w, err := s.Create(size)
			if err != nil {
				return nil, err
			}
			clear(w.Bytes())
			return w.Seal()
		}
		for _, add := range []func() (*Object, error){put, create, put} {
			fill(t, s, reader, add)
		}
	}
	o, err := s.Put(make([]byte, 1<<20))
	require.NoError(t, err)
	o.Release()
}

// fill adds objects until there is no space, reads them all from another store, and deletes them.
func fill(t *testing.T, s, reader *Store, add func() (*Object, error)) {
	t.Helper()
	var objs []*Object
	for len(objs) < 2000 {
		o, err := add()
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			require.ErrorContains(t, err, "has 4194304 bytes in all", "it says how small the file system is")
			break
		}
		objs = append(objs, o)
	}
	for _, o := range objs {
		got, err := reader.Get(o.ID())
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace, "no room for the ledger")
			continue
		}
		require.Equal(t, len(got.Buffer(0)), bytes.Count(got.Buffer(0), []byte{0}))
		got.Release()
	}
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Used)
}

func TestOpenOnAFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, 0)) })
	require.Error(t, os.WriteFile(filepath.Join(mount, "filler"), make([]byte, 1<<20), 0o600))
	_, err := Open(filepath.Join(mount, "store"))
	require.ErrorIs(t, err, ErrNoSpace)
	require.ErrorContains(t, err, "has 65536 bytes in all (a container")
	require.NoError(t, os.Remove(filepath.Join(mount, "filler")))
	s, err := Open(filepath.Join(mount, "store"))
	require.NoError(t, err)
	_, err = s.Put(make([]byte, 1000))
	require.ErrorIs(t, err, ErrNoSpace)
	require.NoError(t, s.Close())
	assert.Empty(t, files(t, filepath.Join(mount, "store")))
}

func TestFullSpillDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, 0)) })
	s := openStore(t, storeDir(t), Limit(2<<20), Spill(filepath.Join(mount, "spill")))
	kept := map[ID]int{}
	for i := range 10 {
		o, err := s.Put(content(i)[:900<<10])
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			require.ErrorContains(t, err, mount)
			continue
		}
		kept[o.ID()] = i
		o.Release()
	}
	assert.GreaterOrEqual(t, len(kept), 3)
	assert.Less(t, len(kept), 6)
	for id, i := range kept {
		o, err := s.Get(id)
		require.NoError(t, err)
		requireBuffers(t, [][]byte{content(i)[:900<<10]}, o)
		o.Release()
	}
}
