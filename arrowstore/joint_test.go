// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// openDraft begins an object of a store that others may join.
func openDraft(t *testing.T, s *Store, size int) (*Writer, ID) {
	t.Helper()
	w, err := s.Create(size)
	require.NoError(t, err)
	t.Cleanup(w.Abort)
	id, err := w.Open()
	require.NoError(t, err)
	again, err := w.Open()
	require.NoError(t, err)
	require.Equal(t, id, again)
	return w, id
}

func TestSeveralStoresWriteOneObject(t *testing.T) {
	for name, part := range map[string]int{"small": 3, "large": 700 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := storeDir(t)
			owner := openStore(t, dir)
			stores := []*Store{owner, openStore(t, dir), openStore(t, dir), owner}
			w, id := openDraft(t, owner, part*len(stores))
			require.False(t, owner.Contains(id))
			_, err := stores[1].Get(id)
			require.ErrorIs(t, err, ErrNotFound)
			joints := make([]*Joint, len(stores))
			var wg sync.WaitGroup
			for i, s := range stores {
				j, err := s.Join(id)
				require.NoError(t, err)
				_, err = j.Object()
				require.ErrorIs(t, err, ErrNotFound, "not sealed")
				joints[i] = j
				wg.Go(func() {
					for k := range part {
						j.Bytes()[i*part+k] = byte('a' + i)
					}
				})
			}
			wg.Wait()
			o, err := w.Seal()
			require.NoError(t, err)
			require.NoError(t, owner.Delete(id))
			o.Release()
			for i, j := range joints {
				_, err := stores[i].Join(id)
				require.ErrorIs(t, err, ErrNotFound, "sealed")
				o, err := j.Object()
				require.NoError(t, err)
				_, err = j.Object()
				require.ErrorIs(t, err, ErrSealed)
				j.Release() // nothing
				require.Equal(t, 1, o.Len())
				for k, b := range o.Buffer(0) {
					if b != byte('a'+k/part) {
						t.Fatalf("byte %d is %c", k, b)
					}
				}
				require.True(t, stores[i].ReadOnlyFault(address(o.Buffer(0))), "read-only")
				passed, err := stores[1].GetHeld(id)
				require.NoError(t, err)
				require.Equal(t, o.Buffer(0), passed.Buffer(0))
				o.Release()
				passed.Release()
			}
			require.Zero(t, owner.Stats().Objects)
			_, err = stores[1].GetHeld(id)
			require.ErrorIs(t, err, ErrNotFound, "nobody holds it")
			_, err = owner.GetHeld(id)
			require.ErrorIs(t, err, ErrNotFound, "nobody holds it")
		})
	}
}

// The owner of an object that its writers agree is complete may seal it late, abort it or die.
func TestWritersWhoAgreeNeedNoSeal(t *testing.T) {
	for _, size := range []int{0, 100, 300 << 10} {
		for name, end := range map[string]func(*Store, *Writer) error{
			"sealed": func(s *Store, w *Writer) error {
				o, err := w.Seal()
				if err != nil {
					return err
				}
				o.Release()
				return s.Delete(o.ID())
			},
			"aborted": func(_ *Store, w *Writer) error { w.Abort(); return nil },
			"closed":  func(s *Store, w *Writer) error { w.Abort(); return s.Close() },
		} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				dir := storeDir(t)
				owner, other, third := openStore(t, dir), openStore(t, dir), openStore(t, dir)
				w, id := openDraft(t, owner, size)
				want := bytes.Repeat([]byte{7}, size)
				copy(w.Bytes(), want)
				var objects []*Object
				for _, s := range []*Store{owner, other} {
					j, err := s.Join(id)
					require.NoError(t, err)
					o, err := j.Agreed()
					require.NoError(t, err)
					_, err = j.Agreed()
					require.ErrorIs(t, err, ErrSealed)
					require.Equal(t, want, o.Buffer(0))
					objects = append(objects, o)
				}
				_, err := third.Get(id)
				require.ErrorIs(t, err, ErrNotFound, "not sealed")
				passed, err := third.GetHeld(id)
				require.NoError(t, err)
				require.NoError(t, end(owner, w))
				for _, o := range append(objects, passed) {
					require.Equal(t, want, o.Buffer(0))
					o.Release()
				}
				require.Zero(t, owner.Stats().Objects)
			})
		}
	}
}

func TestMemoryOfAnAbandonedObjectWaitsForItsWriters(t *testing.T) {
	dir := storeDir(t)
	owner, other := openStore(t, dir), openStore(t, dir)
	for _, joiner := range []*Store{owner, other} {
		w, id := openDraft(t, owner, 4096)
		j, err := joiner.Join(id)
		require.NoError(t, err)
		w.Abort()
		_, err = other.Join(id)
		require.ErrorIs(t, err, ErrNotFound, "aborted")
		_, err = w.Open()
		require.ErrorIs(t, err, ErrSealed)
		require.Equal(t, 1, owner.Stats().Objects)
		o, err := owner.Put(make([]byte, 4096)) // somewhere else
		require.NoError(t, err)
		for i := range j.Bytes() {
			j.Bytes()[i] = 1
		}
		require.Equal(t, make([]byte, 4096), o.Buffer(0))
		_, err = j.Object()
		require.ErrorIs(t, err, ErrNotFound)
		j.Release()
		j.Release()
		require.Equal(t, 1, owner.Stats().Objects, "that of Put")
		require.NoError(t, owner.Delete(o.ID()))
		o.Release()
	}
	require.Zero(t, owner.Stats().Objects)
}

func TestJoinRefusesWhatIsNotOpen(t *testing.T) {
	dir := storeDir(t)
	owner, other := openStore(t, dir), openStore(t, dir)
	w, err := owner.Create(8)
	require.NoError(t, err)
	defer w.Abort()
	two, err := owner.CreateBuffers(8, 8)
	require.NoError(t, err)
	defer two.Abort()
	_, err = two.Open()
	require.ErrorIs(t, err, ErrType)
	o, err := owner.Put([]byte("x"))
	require.NoError(t, err)
	defer o.Release()
	for _, s := range []*Store{owner, other} {
		for _, id := range []ID{{}, o.ID(), {store: owner.number, slot: w.d.slot, gen: w.d.rec.gen()}, {store: 1, slot: 1, gen: 1}} {
			_, err := s.Join(id)
			require.ErrorIs(t, err, ErrNotFound, "%v", id)
		}
	}
	empty, id := openDraft(t, owner, 0)
	j, err := other.Join(id)
	require.NoError(t, err)
	require.Empty(t, j.Bytes())
	sealed, err := empty.Seal()
	require.NoError(t, err)
	read, err := j.Object()
	require.NoError(t, err)
	require.Equal(t, [][]byte{{}}, read.bufs)
	read.Release()
	sealed.Release()
}

func TestWritersThatDieAreReaped(t *testing.T) {
	dir := storeDir(t)
	owner := openStore(t, dir)
	writer := startChild(t, "child", dir)
	w, id := openDraft(t, owner, 64)
	require.Equal(t, "ok", writer.ask("join %s hello", idText(id)))
	require.Equal(t, "hello", string(w.Bytes()[:5]))
	w.Abort()
	require.Equal(t, 1, owner.Stats().Objects)
	writer.kill()
	require.NoError(t, owner.Reap())
	require.Zero(t, owner.Stats().Objects)

	sealer := startChild(t, "child", dir)
	w, id = openDraft(t, owner, 64)
	require.Equal(t, "ok", sealer.ask("join %s again", idText(id)))
	o, err := w.Seal()
	require.NoError(t, err)
	o.Release()
	require.NoError(t, owner.Delete(id))
	require.Equal(t, "ok", sealer.ask("joined %s", idText(id)))
	require.Equal(t, "again", sealer.ask("read %s", idText(id))[:5])
	require.Equal(t, 1, owner.Stats().Objects)
	sealer.kill()
	require.NoError(t, owner.Reap())
	require.Zero(t, owner.Stats().Objects)
}
