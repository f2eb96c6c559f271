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

func TestConcurrentUse(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir, Limit(64<<20)), openStore(t, dir)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 300 {
				want := bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(3000))
				o, err := s.Put(want)
				if !assert.NoError(t, err) {
					return
				}
				got, err := other.Get(o.ID())
				if assert.NoError(t, err) {
					assert.NoError(t, s.Delete(o.ID()))
					o.Release()
					assert.True(t, bytes.Equal(want, got.Buffer(0)))
					got.Release()
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, s.Stats().Objects)
}

// TestDeleteRacesWithGet has one side deleting and reusing memory while the other pins: what a Get returns must stay what
// it was until released.
func TestDeleteRacesWithGet(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir, Limit(8<<20)), openStore(t, dir)
	ids := make(chan ID, 64) // more than are live, so that some are stale when they are read
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(ids)
		for i := range 5000 {
			o, err := s.Put(bytes.Repeat([]byte{byte(i)}, 100))
			if !assert.NoError(t, err) {
				return
			}
			o.Release()
			ids <- o.ID()
			assert.NoError(t, s.Delete(o.ID()))
		}
	})
	for range 2 {
		wg.Go(func() {
			for id := range ids {
				o, err := other.Get(id)
				if err != nil {
					assert.ErrorIs(t, err, ErrNotFound)
					continue
				}
				b := o.Buffer(0)
				for _, c := range b {
					if c != b[0] {
						t.Error("memory was reused under a pin")
						break
					}
				}
				o.Release()
			}
		})
	}
	wg.Wait()
	assert.Zero(t, s.Stats().Objects)
}

// TestReadersUnmapReturnedSegments sees that a reader's mappings do not pile up when the owner returns segments.
func TestReadersUnmapReturnedSegments(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir, SegmentSize(1<<20), Limit(8<<20)), openStore(t, dir)
	var held *Object
	for i := range 50 {
		o, err := s.Put(bytes.Repeat([]byte{byte(i)}, 3<<20))
		require.NoError(t, err)
		far, err := other.Get(o.ID())
		require.NoError(t, err)
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
		if i == 0 {
			held = far
		} else {
			far.Release()
		}
	}
	p := other.peers.load()[s.number]
	assert.Less(t, len(*p.segments.Load()), 5)
	assert.Equal(t, bytes.Repeat([]byte{0}, 3<<20), held.Buffer(0))
	held.Release()
	assert.Less(t, s.Stats().Segments, 5)
}

// TestManyPeersComeAndGo sees that closed stores do not pile up in those that read from them.
func TestManyPeersComeAndGo(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	mine, err := s.Put([]byte("mine"))
	require.NoError(t, err)
	defer mine.Release()
	for range 100 {
		peer, err := Open(dir)
		require.NoError(t, err)
		o, err := peer.Put([]byte("x"))
		require.NoError(t, err)
		got, err := s.Get(o.ID())
		require.NoError(t, err)
		got.Release()
		o.Release()
		far, err := peer.Get(mine.ID())
		require.NoError(t, err)
		far.Release()
		tmp, err := s.Put([]byte("y"))
		require.NoError(t, err)
		farther, err := peer.Get(tmp.ID())
		require.NoError(t, err)
		farther.Release()
		tmp.Release()
		require.NoError(t, s.Delete(tmp.ID()))
		require.NoError(t, peer.Close())
	}
	assert.Less(t, s.Stats().Peers, 40)
	assert.Less(t, len(s.pinners.ledgers), 40)
	assert.Less(t, len(files(t, dir)), 50)
}
