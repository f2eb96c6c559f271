// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

// Whatever is written in whatever pieces, and however far the reader is behind, is read as it was written.
func TestRingGivesBackWhatWasWritten(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := new(ring)
		w, rd := ringWriter{r: r}, ringReader{r: r}
		var sent, got []byte
		for len(got) < 4*ringSize {
			var q net.Buffers
			for range rng.IntN(4) {
				b := make([]byte, rng.IntN(ringSize)>>rng.IntN(12))
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				q = append(q, b)
			}
			n, err := w.write(q)
			require.NoError(t, err)
			require.Equal(t, min(len(bytes.Join(q, nil)), ringSize-(len(sent)-len(got))), n, "as much as there is room for")
			sent = append(sent, bytes.Join(q, nil)[:n]...)
			b := make([]byte, rng.IntN(ringSize)>>rng.IntN(6))
			n, err = rd.read(b)
			require.NoError(t, err)
			require.Equal(t, min(len(b), len(sent)-len(got)), n, "as much as there is")
			got = append(got, b[:n]...)
		}
		require.True(t, bytes.Equal(sent[:len(got)], got))
	}
}

func TestRingTellsOfWaitsOnce(t *testing.T) {
	r := new(ring)
	w, rd := ringWriter{r: r}, ringReader{r: r}
	require.False(t, w.rouse(), "nobody waits")
	require.True(t, rd.wait())
	_, err := w.write(net.Buffers{make([]byte, ringSize)})
	require.NoError(t, err)
	require.True(t, w.rouse())
	require.False(t, w.rouse(), "it was told")
	require.False(t, rd.wait(), "there is something to read")
	require.False(t, w.rouse(), "it did not wait")

	require.False(t, rd.relieve(), "nobody waits for room")
	require.True(t, w.wantsRoom())
	read := func(n int) {
		_, err := rd.read(make([]byte, n))
		require.NoError(t, err)
	}
	read(ringSize / 4)
	require.False(t, rd.relieve(), "there is little room")
	require.True(t, w.wantsRoom())
	read(ringSize / 4)
	require.True(t, rd.relieve())
	require.False(t, rd.relieve(), "it was told")
	require.False(t, w.wantsRoom(), "there is room")
	require.False(t, rd.relieve(), "it did not wait")
}

// One message after another, each of which is read before the next is written, lies at the same place.
func TestRingBeginsAnewWhenItIsEmpty(t *testing.T) {
	r := new(ring)
	w, rd := ringWriter{r: r}, ringReader{r: r}
	for i := range byte(100) {
		_, err := w.write(net.Buffers{{i + 1, i + 2}})
		require.NoError(t, err)
		require.Equal(t, []byte{i + 1, i + 2, 0}, r.data[:3])
		n, err := rd.read(make([]byte, 5))
		require.NoError(t, err)
		require.Equal(t, 2, n)
	}
}

// A peer may write anything into the memory at any time. Each side then gets bytes that make no sense, or an error, and never
// reads or writes elsewhere, or more than it was asked to.
func FuzzRingWithAPeerThatLies(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint64(0), uint16(0))
	f.Add(uint64(1), uint64(0), uint64(1)<<63, uint16(100))
	f.Add(uint64(ringSize+1), uint64(ringSize), uint64(1), uint16(5))
	f.Add(^uint64(0), ^uint64(0), ^uint64(0), uint16(60000))
	f.Fuzz(func(t *testing.T, tail, head, base uint64, ask uint16) {
		r := new(ring)
		w, rd := ringWriter{r: r}, ringReader{r: r}
		wrote, err := w.write(net.Buffers{make([]byte, ask)})
		require.NoError(t, err)
		r.tail.Store(tail)
		r.base.Store(base)
		n, err := rd.read(make([]byte, ask))
		if tail > ringSize {
			require.ErrorIs(t, err, wire.ErrFrame)
			require.Zero(t, n)
		} else {
			require.NoError(t, err)
			require.EqualValues(t, min(uint64(ask), tail), n)
		}
		r.head.Store(head)
		more, err := w.write(net.Buffers{make([]byte, ask)})
		if used := uint64(wrote) - head; used > ringSize {
			require.ErrorIs(t, err, wire.ErrFrame)
			require.Zero(t, more)
		} else {
			require.NoError(t, err)
			require.EqualValues(t, min(uint64(ask), ringSize-used), more)
		}
		rd.wait()
		rd.relieve()
		w.wantsRoom()
		w.rouse()
	})
}
