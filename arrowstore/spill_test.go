// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func openSpilling(t testing.TB, dir string, limit int64) (*Store, string) {
	t.Helper()
	spill := filepath.Join(t.TempDir(), "spill")
	return openStore(t, dir, Limit(limit), SegmentSize(1<<20), Spill(spill)), spill
}

// content is a megabyte that tells which object it belongs to.
func content(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 1<<20/3) }

func TestSpillAndRestore(t *testing.T) {
	dir := storeDir(t)
	s, spill := openSpilling(t, dir, 4<<20)
	reader := openStore(t, dir)
	var ids []ID
	for i := range 12 {
		o, err := s.Put(content(i), []byte("second"), nil)
		require.NoError(t, err)
		ids = append(ids, o.ID())
		o.Release()
	}
	assert.GreaterOrEqual(t, s.Stats().Spilled, 8)
	assert.GreaterOrEqual(t, s.Stats().OnDisk, int64(8<<20))
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
	for _, st := range []*Store{reader, s, reader, s} {
		for i, id := range ids {
			o, err := st.Get(id)
			require.NoError(t, err)
			requireBuffers(t, [][]byte{content(i), []byte("second"), {}}, o)
			require.True(t, st.ReadOnlyFault(address(o.Buffer(0))))
			o.Release()
		}
	}
	assert.Equal(t, 12, s.Stats().Objects)
	o, err := s.Get(ids[0])
	require.NoError(t, err)
	assert.Nil(t, o.spilled, "the owner brought it back")
	o.Release()
	for _, id := range ids {
		require.NoError(t, s.Delete(id))
	}
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Spilled)
	assert.Zero(t, s.Stats().OnDisk)
	assert.Equal(t, []string{lockName(s.number)}, files(t, spill))
}

func TestLeastRecentlyUsedIsSpilledFirst(t *testing.T) {
	s, _ := openSpilling(t, storeDir(t), 4<<20)
	put := func(i int) ID {
		o, err := s.Put(content(i))
		require.NoError(t, err)
		o.Release()
		return o.ID()
	}
	a, b := put(0), put(1)
	o, err := s.Get(a)
	require.NoError(t, err)
	o.Release()
	for i := range 2 {
		put(2 + i)
	}
	onDisk := func(id ID) bool { return s.records.find(id.slot).where == onDisk }
	assert.False(t, onDisk(a))
	put(5)
	assert.True(t, onDisk(b))
}

func TestPinnedObjectsStayInMemory(t *testing.T) {
	dir := storeDir(t)
	s, _ := openSpilling(t, dir, 4<<20)
	reader := openStore(t, dir)
	near, err := s.Put(content(1))
	require.NoError(t, err)
	o, err := s.Put(content(2))
	require.NoError(t, err)
	far, err := reader.Get(o.ID())
	require.NoError(t, err)
	o.Release()
	for i := range 10 {
		o, err := s.Put(content(10 + i))
		require.NoError(t, err)
		o.Release()
	}
	for _, id := range []ID{near.ID(), far.ID()} {
		assert.Equal(t, inSpan, s.records.find(id.slot).where)
	}
	assert.True(t, bytes.Equal(content(1), near.Buffer(0)))
	assert.True(t, bytes.Equal(content(2), far.Buffer(0)))
	near.Release()
	far.Release()
}

func TestSpillOfSealedParts(t *testing.T) {
	dir := storeDir(t)
	s, _ := openSpilling(t, dir, 4<<20)
	reader := openStore(t, dir)
	a := s.Allocator()
	b := a.Allocate(1 << 20)
	copy(b, content(3))
	o, err := s.Seal([]byte("meta"), b[:len(content(3))])
	require.NoError(t, err)
	a.Free(b)
	o.Release()
	for i := range 8 {
		o, err := s.Put(content(i))
		require.NoError(t, err)
		o.Release()
	}
	require.Equal(t, onDisk, s.records.find(o.id.slot).where)
	for _, st := range []*Store{reader, s} {
		got, err := st.Get(o.ID())
		require.NoError(t, err)
		requireBuffers(t, [][]byte{[]byte("meta"), content(3)}, got)
		got.Release()
	}
}

func TestDamagedSpillIsNoticed(t *testing.T) {
	dir := storeDir(t)
	s, spill := openSpilling(t, dir, 2<<20)
	reader := openStore(t, dir)
	o, err := s.Put(content(1))
	require.NoError(t, err)
	o.Release()
	other, err := s.Put(content(2), content(3)[:900<<10])
	require.NoError(t, err)
	other.Release()
	name := ""
	for _, n := range files(t, spill) {
		if strings.HasSuffix(n, ".spill") {
			name = filepath.Join(spill, n)
		}
	}
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { b[spillHeader+12345] ^= 1; return b },
		func(b []byte) []byte { b[9] ^= 1; return b },
		func(b []byte) []byte { b[0] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return b[:10] },
		func(b []byte) []byte { return append(b, 0) },
	} {
		require.NoError(t, os.WriteFile(name, damage(bytes.Clone(good)), 0o600))
		for _, st := range []*Store{reader, s} {
			_, err := st.Get(o.ID())
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
	require.NoError(t, os.WriteFile(name, good, 0o600))
	for _, st := range []*Store{reader, s} {
		got, err := st.Get(o.ID())
		require.NoError(t, err)
		requireBuffers(t, [][]byte{content(1)}, got)
		got.Release()
	}
}

func TestSpillDirectoryIsSwept(t *testing.T) {
	dir, spill := storeDir(t), filepath.Join(t.TempDir(), "spill")
	s, err := Open(dir, Limit(2<<20), Spill(spill))
	require.NoError(t, err)
	for i := range 5 {
		o, err := s.Put(content(i))
		require.NoError(t, err)
		o.Release()
	}
	second := openStore(t, dir, Spill(spill))
	require.Greater(t, len(files(t, spill)), 3, "what lives is not swept")
	require.NoError(t, s.Close())
	assert.Equal(t, []string{lockName(second.number)}, files(t, spill))
	require.NoError(t, os.WriteFile(filepath.Join(spill, spillName(77, 1)), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(spill, lockName(77)), nil, 0o600))
	require.NoError(t, Sweep(spill))
	assert.Equal(t, []string{lockName(second.number)}, files(t, spill))
}

func TestSpillUnderConcurrentUse(t *testing.T) {
	dir := storeDir(t)
	s, _ := openSpilling(t, dir, 4<<20)
	reader := openStore(t, dir)
	const size = 100 << 10
	var ids []ID
	for i := range 100 {
		o, err := s.Put(content(i)[:size])
		require.NoError(t, err)
		ids = append(ids, o.ID())
		o.Release()
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(worker)))
			st := []*Store{s, reader}[worker%2]
			for range 300 {
				i := rng.IntN(len(ids))
				o, err := st.Get(ids[i])
				if !assert.NoError(t, err) {
					return
				}
				if !bytes.Equal(content(i)[:size], o.Buffer(0)) {
					t.Errorf("object %d changed", i)
				}
				o.Release()
				if worker == 0 {
					o, err := s.Put(content(i)[:size])
					if assert.NoError(t, err) {
						o.Release()
						assert.NoError(t, s.Delete(o.ID()))
					}
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 100, s.Stats().Objects)
}

// TestCloseDuringUse sees that calls that are under way when the store closes leave no files.
func TestCloseDuringUse(t *testing.T) {
	for range 20 {
		dir, spill := storeDir(t), filepath.Join(t.TempDir(), "spill")
		s, err := Open(dir, Limit(2<<20), SegmentSize(1<<20), Spill(spill))
		require.NoError(t, err)
		var wg sync.WaitGroup
		started := make(chan struct{}, 3) // one for each goroutine
		for range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					o, err := s.Put(content(i)[:300<<10])
					if i == 0 {
						started <- struct{}{}
					}
					if err != nil {
						assert.True(t, isAny(err, ErrClosed, ErrNoSpace), err)
						return
					}
					o.Release()
				}
			})
		}
		for range 3 {
			<-started
		}
		require.NoError(t, s.Close())
		wg.Wait()
		assert.Empty(t, files(t, dir))
		assert.Empty(t, files(t, spill))
	}
}
