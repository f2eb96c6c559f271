// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSealTakesAllocatedMemoryOver(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	a := s.Allocator()
	mine := a.Allocate(1 << 20)
	copy(mine, "in place")
	before := s.Stats().Used
	o, err := s.Seal([]byte("meta"), mine, []byte("copied"), mine)
	require.NoError(t, err)
	assert.LessOrEqual(t, s.Stats().Used-before, int64(1024), "only the table and small buffers are new")
	a.Free(mine)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	for _, got := range []*Object{o, far} {
		require.Equal(t, 4, got.Len())
		assert.Equal(t, "meta", string(got.Buffer(0)))
		assert.Len(t, got.Buffer(1), 1<<20)
		assert.Equal(t, "in place", string(got.Buffer(1)[:8]))
		assert.Equal(t, "copied", string(got.Buffer(2)))
		assert.Equal(t, address(got.Buffer(1)), address(got.Buffer(3)))
		assert.True(t, got.st.ReadOnlyFault(address(got.Buffer(1))))
	}
	require.NoError(t, s.Delete(o.ID()))
	o.Release()
	assert.GreaterOrEqual(t, s.Stats().Used, int64(1<<20))
	far.Release()
	assert.Zero(t, s.Stats().Used)
}

func TestSealAcrossSegments(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir, SegmentSize(1<<20)), openStore(t, dir)
	a := s.Allocator()
	var buffers [][]byte
	for i := range 6 {
		b := a.Allocate(700 << 10)
		copy(b, bytes.Repeat([]byte{byte(i)}, len(b)))
		buffers = append(buffers, b)
	}
	o, err := s.Seal(buffers...)
	require.NoError(t, err)
	defer o.Release()
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	defer far.Release()
	requireBuffers(t, buffers, far)
	requireBuffers(t, buffers, o)
	for _, b := range buffers {
		a.Free(b)
	}
	require.NoError(t, s.Delete(o.ID()))
	requireBuffers(t, [][]byte{bytes.Repeat([]byte{5}, 700<<10)}[:0], mustPut(t, s))
}

func mustPut(t *testing.T, s *Store, buffers ...[]byte) *Object {
	t.Helper()
	o, err := s.Put(buffers...)
	require.NoError(t, err)
	t.Cleanup(o.Release)
	return o
}

func TestSealWithoutAllocatedMemoryCopies(t *testing.T) {
	s := openStore(t, storeDir(t))
	kept := s.Allocator().Allocate(10)
	defer s.Allocator().Free(kept)
	for _, buffers := range [][][]byte{{}, {[]byte("one")}, {kept}, {[]byte("a"), []byte("b")}, {kept[5:], {}}} {
		o, err := s.Seal(buffers...)
		require.NoError(t, err)
		requireBuffers(t, buffers, o)
		for i := range buffers {
			if len(buffers[i]) > 0 {
				assert.NotEqual(t, address(buffers[i]), address(o.Buffer(i)))
			}
		}
		o.Release()
	}
}

func TestFailedSealDropsItsParts(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(1<<20))
	a := s.Allocator()
	b := a.Allocate(chunkSize)
	_, err := s.Seal(b, make([]byte, 2<<20))
	require.ErrorIs(t, err, ErrNoSpace)
	a.Free(b)
	assert.Zero(t, s.Stats().Used)
	assert.Zero(t, s.Stats().Objects)
}

func TestAllocatorFallsBackToTheHeap(t *testing.T) {
	s, err := Open(storeDir(t), Limit(1<<20))
	require.NoError(t, err)
	a := s.Allocator()
	big := a.Allocate(2 << 20)
	require.Len(t, big, 2<<20)
	assert.Zero(t, s.Stats().Used)
	big = a.Reallocate(3<<20, big)
	require.Len(t, big, 3<<20)
	a.Free(big)
	shared := a.Allocate(100)
	require.NoError(t, s.Close())
	copy(shared, "still mapped until freed")
	after := a.Reallocate(50, shared)
	assert.Equal(t, "still mapped until freed", string(after[:24]))
	a.Free(after)
	require.Len(t, a.Allocate(10), 10)
	require.Empty(t, a.Allocate(0))
}

func TestReallocateKeepsSealedMemory(t *testing.T) {
	s := openStore(t, storeDir(t))
	a := s.Allocator()
	b := a.Allocate(100 << 10)
	copy(b, "sealed")
	o, err := s.Seal(b, nil)
	require.NoError(t, err)
	grown := a.Reallocate(110<<10, b)
	copy(grown, "XXXXXX")
	small := a.Reallocate(64, grown)
	assert.Equal(t, "sealed", string(o.Buffer(0)[:6]))
	a.Free(small)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	assert.Zero(t, s.Stats().Used)
}

// TestAllocatorAgainstModel resizes and frees at random and sees that contents stay, new bytes are zero and nothing
// overlaps.
func TestAllocatorAgainstModel(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(16<<20), SegmentSize(2<<20))
	a := s.Allocator()
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(9, uint64(worker)))
			var live [][]byte
			for step := range 600 {
				size := rng.IntN(1 << (1 + rng.IntN(18)))
				mark := byte(1 + step%250)
				switch {
				case len(live) < 5 || rng.IntN(3) == 0:
					b := a.Allocate(size)
					if bytes.Count(b, []byte{0}) != size {
						t.Error("not zeroed")
					}
					live = append(live, bytes.Repeat([]byte{mark}, size))
					copy(b, live[len(live)-1])
					live[len(live)-1] = b
				case rng.IntN(2) == 0:
					i := rng.IntN(len(live))
					want := append([]byte(nil), live[i]...)
					b := a.Reallocate(size, live[i])
					n := min(size, len(want))
					if !bytes.Equal(want[:n], b[:n]) || bytes.Count(b[n:], []byte{0}) != size-n {
						t.Error("contents changed")
					}
					live[i] = b
				default:
					i := rng.IntN(len(live))
					a.Free(live[i])
					live = append(live[:i], live[i+1:]...)
				}
			}
			for _, b := range live {
				a.Free(b)
			}
		})
	}
	wg.Wait()
	assert.Zero(t, s.Stats().Used)
	s.mu.Lock()
	defer s.mu.Unlock()
	checkHeap(t, s.space.heap)
}
