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
)

func TestMovingObjectsAreWaitedFor(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	word := &s.table.slot(o.id.slot).word
	word.Or(flagMoving)
	found := make(chan error)
	go func() {
		got, err := other.Get(o.ID())
		if err == nil {
			got.Release()
		}
		found <- err
	}()
	word.And(^uint64(flagMoving))
	require.NoError(t, <-found)
}

func TestOwnerDiedWhileMoving(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	c := startChild(t, "owner", dir)
	id, err := parseText(c.ask("put text"))
	require.NoError(t, err)
	o, err := s.Get(id)
	require.NoError(t, err)
	o.Release()
	s.peers.load()[id.store].table.slot(id.slot).word.Or(flagMoving)
	c.kill()
	_, err = s.Get(id)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestDamagedTables(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	h := s.table.header()
	path := filepath.Join(dir, metaName(s.number))
	damages := map[string]struct{ do, undo func() }{
		"magic":    {func() { h.magic.Add(1) }, func() { h.magic.Add(^uint64(0)) }},
		"store":    {func() { h.store.Add(1) }, func() { h.store.Add(^uint64(0)) }},
		"version":  {func() { h.version.Add(1) }, func() { h.version.Add(^uint32(0)) }},
		"capacity": {func() { h.capacity.Add(1) }, func() { h.capacity.Add(^uint32(0)) }},
		"length": {
			func() { assert.NoError(t, os.Truncate(path, tableSize()-1)) },
			func() { assert.NoError(t, os.Truncate(path, tableSize())) },
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			other := openStore(t, dir)
			damage.do()
			_, err := other.Get(o.ID())
			require.ErrorIs(t, err, ErrCorrupt)
			damage.undo()
			got, err := other.Get(o.ID())
			require.NoError(t, err)
			got.Release()
		})
	}
	other := openStore(t, dir)
	h.slots.Store(1 << 31) // a bound that is itself bounded
	_, err = other.Get(ID{store: s.number, slot: maxSlots, gen: 1})
	require.ErrorIs(t, err, ErrNotFound)
	h.slots.Store(slotGrain)
}

func TestDamagedSpillPath(t *testing.T) {
	dir := storeDir(t)
	s, _ := openSpilling(t, dir, 2<<20)
	o, err := s.Put(content(1))
	require.NoError(t, err)
	o.Release()
	second, err := s.Put(content(2), content(3)[:900<<10])
	require.NoError(t, err)
	second.Release()
	require.Equal(t, onDisk, s.records.find(o.id.slot).where)
	other := openStore(t, dir)
	n := s.table.header().spillLen.Load()
	for _, bad := range []uint32{0, 1 << 31, maxPath + 1} {
		s.table.header().spillLen.Store(bad)
		_, err = other.Get(o.ID())
		require.ErrorIs(t, err, ErrCorrupt)
	}
	s.table.header().spillLen.Store(n)
	got, err := other.Get(o.ID())
	require.NoError(t, err)
	got.Release()
}

// TestWithoutHoles is a file system that cannot punch: memory is kept and used again.
func TestWithoutHoles(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(4<<20), SegmentSize(4<<20))
	s.space.noPunch = true
	for i := range 50 {
		o, err := s.Put(content(i)[:1000*(i+1)], content(i))
		require.NoError(t, err)
		requireBuffers(t, [][]byte{content(i)[:1000*(i+1)], content(i)}, o)
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
}

// TestWriteZeros is how files get their memory where fallocate is missing.
func TestWriteZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "zeros"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, writeZeros(f, 4096, 3<<20))
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	assert.Len(t, b, 4096+(3<<20))
	assert.Equal(t, len(b), bytes.Count(b, []byte{0}))
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Option{Limit(-1), SegmentSize(-1), SegmentSize(maxSegment + 1), Spill("/dev/null")} {
		dir := storeDir(t)
		_, err := Open(dir, o)
		require.Error(t, err)
		assert.Empty(t, files(t, dir), "a failed Open leaves nothing")
	}
	s := openStore(t, storeDir(t))
	assert.Positive(t, s.Stats().Limit, "the default")
}
