// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnsafePathsAreRefused(t *testing.T) {
	base := t.TempDir()
	plain := filepath.Join(base, "plain")
	require.NoError(t, os.Mkdir(plain, 0o700))
	open := filepath.Join(base, "open")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o755))
	link := filepath.Join(base, "link")
	require.NoError(t, os.Symlink(plain, link))
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{open, link, file} {
		_, err := Open(path)
		require.Error(t, err, path)
		if path != file {
			require.ErrorIs(t, err, ErrUnsafe, path)
			require.ErrorIs(t, Sweep(path), ErrUnsafe, path)
		}
	}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(base, "foreign")
		require.NoError(t, os.Mkdir(foreign, 0o700))
		require.NoError(t, os.Chown(foreign, 12345, 12345))
		_, err := Open(foreign)
		require.ErrorIs(t, err, ErrUnsafe)
	}
}

func TestUnsafeFilesAreRefused(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	other := openStore(t, dir)
	seg := filepath.Join(dir, segmentName(s.number, 0))
	require.NoError(t, os.Rename(seg, seg+".away"))
	require.NoError(t, os.Symlink("/etc/passwd", seg))
	_, err = other.Get(o.ID())
	require.ErrorIs(t, err, ErrUnsafe)
	require.NoError(t, os.Remove(seg))
	require.NoError(t, os.WriteFile(seg, make([]byte, chunkSize), 0o600))
	require.NoError(t, os.Chmod(seg, 0o644))
	_, err = other.Get(o.ID())
	require.ErrorIs(t, err, ErrUnsafe)
	require.NoError(t, os.Remove(seg))
	_, err = other.Get(o.ID())
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, os.Rename(seg+".away", seg))
	got, err := other.Get(o.ID())
	require.NoError(t, err)
	got.Release()
}

func TestTornSlotsAreRefused(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	one, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer one.Release()
	many, err := s.Put([]byte("a"), []byte("b"))
	require.NoError(t, err)
	defer many.Release()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, o := range []*Object{one, many} {
		sl := s.table.slot(o.id.slot)
		seg, n, off, size := sl.segment.Load(), sl.buffers.Load(), sl.offset.Load(), sl.size.Load()
		for range 2000 {
			scramble := func(v uint64) uint64 {
				switch rng.IntN(4) {
				case 0:
					return rng.Uint64()
				case 1:
					return v + uint64(rng.IntN(256)) - 128
				case 2:
					return uint64(rng.IntN(300 << 20))
				}
				return v
			}
			sl.segment.Store(seg + uint32(rng.IntN(20)/19))
			sl.buffers.Store(uint32(scramble(uint64(n))))
			sl.offset.Store(scramble(off))
			sl.size.Store(scramble(size))
			if got, err := other.Get(o.ID()); err == nil {
				assert.LessOrEqual(t, got.Size(), int64(defaultSegment))
				got.Release()
			} else if !assert.True(t, isAny(err, ErrCorrupt, ErrNotFound), err) {
				return
			}
		}
		sl.segment.Store(seg)
		sl.buffers.Store(n)
		sl.offset.Store(off)
		sl.size.Store(size)
		got, err := s.Get(o.ID())
		require.NoError(t, err, "the owner never reads the slot")
		got.Release()
	}
}
