// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func FuzzParseID(f *testing.F) {
	b, err := ID{store: 0x0123456789abcdef, slot: 77, gen: 3}.AppendBinary(nil)
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte{})
	f.Add(make([]byte, IDSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := ParseID(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := id.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, again)
		require.False(t, id.IsZero())
		require.NotEmpty(t, id.String())
	})
}

func TestIDsAreDistinctMapKeys(t *testing.T) {
	s := openStore(t, storeDir(t))
	seen := map[ID]bool{}
	for range 100 {
		o, err := s.Put(nil)
		require.NoError(t, err)
		assert.False(t, seen[o.ID()])
		assert.Equal(t, s.Number(), o.ID().Store())
		seen[o.ID()] = true
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
}

func TestLastGenerationRetiresItsSlot(t *testing.T) {
	s := openStore(t, storeDir(t))
	o, err := s.Put([]byte("x"))
	require.NoError(t, err)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	s.records.find(o.id.slot).ref.Store((math.MaxUint32 - 1) << 32)
	last, err := s.Put([]byte("y"))
	require.NoError(t, err)
	require.Equal(t, uint32(math.MaxUint32), last.id.gen)
	last.Release()
	require.NoError(t, s.Delete(last.ID()))
	next, err := s.Put([]byte("z"))
	require.NoError(t, err)
	defer next.Release()
	assert.NotEqual(t, last.id.slot, next.id.slot)
}
