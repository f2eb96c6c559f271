// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ledgerDir(t testing.TB) *dir {
	t.Helper()
	d, err := openDir(filepath.Join(t.TempDir(), "ledgers"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.close()) })
	return d
}

func newLedger(t testing.TB, d *dir) (writer, reader *ledger) {
	t.Helper()
	writer, err := createLedger(d, 7)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, writer.close()) })
	reader, err = openLedger(d, 7)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, reader.close()) })
	return writer, reader
}

// TestLedgerAgainstModel pins and unpins objects of a few owners, more and more of them, and asks as an owner does.
func TestLedgerAgainstModel(t *testing.T) {
	l, reader := newLedger(t, ledgerDir(t))
	rng := rand.New(rand.NewPCG(41, 41))
	type object struct {
		owner     uint64
		slot, gen uint32
	}
	pins := map[object][]*entry{}
	total := 0
	for step := range 20_000 {
		o := object{uint64(1 + rng.IntN(3)), uint32(rng.IntN(1 + step/10)), uint32(1 + rng.IntN(2))}
		if rng.IntN(3) > 0 {
			e, err := l.add(o.owner, o.slot, o.gen)
			require.NoError(t, err)
			pins[o] = append(pins[o], e)
			total++
		} else if es := pins[o]; len(es) > 0 {
			es[len(es)-1].drop()
			pins[o] = es[:len(es)-1]
			total--
		}
		held, err := reader.holds(o.owner, o.slot, o.gen)
		require.NoError(t, err)
		require.Equal(t, len(pins[o]) > 0, held)
	}
	require.Greater(t, int(l.header().levels.Load()), 2, "it grew under %d pins", total)
	for o, es := range pins {
		for _, e := range es {
			e.drop()
		}
		held, err := reader.holds(o.owner, o.slot, o.gen)
		require.NoError(t, err)
		require.False(t, held)
	}
}

// TestLedgerUnderConcurrentUse has goroutines share entries, while an owner sees that what is held all the time is always
// found.
func TestLedgerUnderConcurrentUse(t *testing.T) {
	l, reader := newLedger(t, ledgerDir(t))
	const kept = 50
	for slot := range uint32(kept) {
		_, err := l.add(1, slot, 1)
		require.NoError(t, err)
	}
	var pinning, looking sync.WaitGroup
	for worker := range 3 {
		pinning.Go(func() {
			rng := rand.New(rand.NewPCG(42, uint64(worker)))
			var held []*entry
			for range 20_000 {
				if e, err := l.add(1+uint64(rng.IntN(2)), uint32(rng.IntN(2*kept)), 1); assert.NoError(t, err) {
					held = append(held, e)
				}
				if len(held) > 20 {
					i := rng.IntN(len(held))
					held[i].drop()
					held[i] = held[len(held)-1]
					held = held[:len(held)-1]
				}
			}
			for _, e := range held {
				e.drop()
			}
		})
	}
	done := make(chan struct{})
	looking.Go(func() {
		for {
			for slot := range uint32(kept) {
				if held, err := reader.holds(1, slot, 1); err != nil || !held {
					t.Errorf("slot %d: %t, %v", slot, held, err)
					return
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	pinning.Wait()
	close(done)
	looking.Wait()
	for slot := range uint32(2 * kept) {
		held, err := reader.holds(1, slot, 1)
		require.NoError(t, err)
		require.Equal(t, slot < kept, held)
	}
}

func TestDamagedLedgers(t *testing.T) {
	d := ledgerDir(t)
	l, reader := newLedger(t, d)
	h := l.header()
	h.levels.Store(3) // of which two are not there
	_, err := reader.holds(1, 1, 1)
	require.ErrorIs(t, err, ErrCorrupt)
	h.levels.Store(maxLevels + 1)
	_, err = openLedger(d, 7)
	require.ErrorIs(t, err, ErrCorrupt)
	h.levels.Store(1)
	h.pinner.Store(8)
	_, err = openLedger(d, 7)
	require.ErrorIs(t, err, ErrCorrupt)
	h.pinner.Store(7)
	h.magic.Store(0) // it is being made
	got, err := openLedger(d, 7)
	require.NoError(t, err)
	require.Nil(t, got)
	h.magic.Store(ledgerMagic)
}

// TestUnreadableLedgerKeepsMemory sees that an owner that cannot read a ledger reuses nothing that its pinner may hold.
func TestUnreadableLedgerKeepsMemory(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	o.Release()
	other.ledger.header().levels.Store(5)
	require.NoError(t, s.Delete(o.ID()))
	far.Release()
	require.Equal(t, 1, s.Stats().Objects)
	other.ledger.header().levels.Store(1)
	require.NoError(t, s.Reap())
	require.Zero(t, s.Stats().Objects)
}

// FuzzLedger opens and searches files of any contents.
func FuzzLedger(f *testing.F) {
	d := ledgerDir(f)
	l, _ := newLedger(f, d)
	_, err := l.add(1, 2, 3)
	require.NoError(f, err)
	good, err := os.ReadFile(filepath.Join(d.path, ledgerName(7)))
	require.NoError(f, err)
	f.Add(good[:64], uint16(2), uint32(headSize))
	f.Add(good[:24], uint16(0), uint32(100))
	f.Fuzz(func(t *testing.T, head []byte, slot uint16, size uint32) {
		path := filepath.Join(d.path, ledgerName(9))
		require.NoError(t, os.WriteFile(path, head, 0o600))
		require.NoError(t, os.Truncate(path, int64(size)%(4*headSize)))
		l, err := openLedger(d, 9)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		if l == nil {
			return
		}
		if _, err := l.holds(1, uint32(slot), 3); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
		require.NoError(t, l.close())
	})
}
