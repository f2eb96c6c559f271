// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// reusable makes an object for results of some bytes, and returns holds of several stores on it.
func reusable(t *testing.T, size int, stores ...*Store) (*Writer, []*Reused) {
	t.Helper()
	w, id := openDraft(t, stores[0], ReusedSize(size))
	var holds []*Reused
	for _, s := range stores {
		r, err := s.Reuse(id)
		require.NoError(t, err)
		require.Equal(t, id, r.ID())
		require.GreaterOrEqual(t, len(r.Bytes()), size)
		holds = append(holds, r)
	}
	return w, holds
}

func TestMemoryIsFreeWhenAllHaveLetGoOfAResult(t *testing.T) {
	for _, size := range []int{0, 1, 64, 100, 300 << 10} {
		dir := storeDir(t)
		owner, other, third := openStore(t, dir), openStore(t, dir), openStore(t, dir)
		w, holds := reusable(t, size, owner, other, third)
		for round := range 3 {
			holds[0].Begin(len(holds))
			require.False(t, holds[0].Free())
			for i, r := range holds {
				copy(r.Bytes()[:size][size/3*i:], bytes.Repeat([]byte{byte(10*round + i)}, size))
			}
			one, two := holds[0].Object(), holds[1].Object()
			holds[2].Pass()
			want := bytes.Clone(holds[2].Bytes()[:size])
			require.Equal(t, want, one.Buffer(0)[:size])
			require.Equal(t, want, two.Buffer(0)[:size])
			if size > 0 {
				require.True(t, owner.ReadOnlyFault(address(one.Buffer(0))), "it is read-only")
				require.True(t, other.ReadOnlyFault(address(two.Buffer(0))), "it is read-only")
			}
			two.Retain()
			two.Release()
			one.Release()
			require.False(t, holds[0].Free(), "another reads it")
			two.Release()
			require.True(t, holds[0].Free())
			require.Equal(t, 1, owner.Stats().Objects)
		}
		for _, r := range holds {
			r.Release()
		}
		w.Abort()
		require.Zero(t, owner.Stats().Objects)
	}
}

// Who has a result keeps it, whatever happens to the hold that it came from, to the owner and to other results.
func TestAResultOutlivesWhatItIsWrittenInto(t *testing.T) {
	for name, end := range map[string]func(*Store, *Writer) error{
		"aborted": func(_ *Store, w *Writer) error { w.Abort(); return nil },
		"closed":  func(s *Store, w *Writer) error { w.Abort(); return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := storeDir(t)
			owner, other := openStore(t, dir), openStore(t, dir)
			w, holds := reusable(t, 5, owner, other)
			holds[0].Begin(2)
			copy(holds[1].Bytes(), "hello")
			objects := []*Object{holds[0].Object(), holds[1].Object()}
			for _, r := range holds {
				r.Release()
			}
			require.NoError(t, end(owner, w))
			_, err := other.Reuse(holds[0].obj.id)
			require.ErrorIs(t, err, ErrNotFound)
			if o, err := owner.Put([]byte("other")); err == nil { // somewhere else
				o.Release()
				require.NoError(t, owner.Delete(o.ID()))
			}
			for _, o := range objects {
				require.Equal(t, "hello", string(o.Buffer(0)[:5]))
				o.Release()
			}
			require.Zero(t, owner.Stats().Objects)
		})
	}
}

// The count tells of those who have a part. Of who was told of the object by one of them there is no count.
func TestMemoryThatOthersHoldIsNeverFree(t *testing.T) {
	dir := storeDir(t)
	owner, other, stranger := openStore(t, dir), openStore(t, dir), openStore(t, dir)
	for _, by := range []*Store{owner, other, stranger} {
		w, holds := reusable(t, 8, owner, other)
		holds[0].Begin(2)
		holds[0].Pass()
		o := holds[1].Object()
		passed, err := by.GetHeld(o.ID())
		require.NoError(t, err)
		o.Release()
		require.False(t, holds[0].Free())
		passed.Release()
		require.False(t, holds[0].Free(), "that it was released is not known here")
		for _, r := range holds {
			r.Release()
		}
		w.Abort()
		require.Zero(t, owner.Stats().Objects)
	}
}

func TestAHolderThatIsKilledTakesItsObjectOutOfUse(t *testing.T) {
	dir := storeDir(t)
	owner := openStore(t, dir)
	reader := startChild(t, "child", dir)
	w, holds := reusable(t, 64, owner)
	holds[0].Begin(2)
	require.Equal(t, "ok", reader.ask("reuse %s hello", idText(holds[0].ID())))
	own := holds[0].Object()
	require.Equal(t, "hello", string(own.Buffer(0)[:5]))
	reader.kill()
	own.Release()
	require.False(t, holds[0].Free())
	holds[0].Release()
	w.Abort()
	require.NoError(t, owner.Reap())
	require.Zero(t, owner.Stats().Objects)
}

func TestReuseRefusesWhatIsTooSmallOrSealed(t *testing.T) {
	dir := storeDir(t)
	owner, other := openStore(t, dir), openStore(t, dir)
	w, id := openDraft(t, owner, reusedTail-1)
	for _, s := range []*Store{owner, other} {
		_, err := s.Reuse(id)
		require.ErrorIs(t, err, ErrType)
	}
	o, err := w.Seal()
	require.NoError(t, err)
	_, err = other.Reuse(id)
	require.ErrorIs(t, err, ErrNotFound)
	o.Release()
	require.NoError(t, owner.Delete(id))
	require.Zero(t, owner.Stats().Objects)
}

// Readers in several stores release at any time, while the owner writes again what is free.
func TestWhatIsReadNeverChanges(t *testing.T) {
	dir := storeDir(t)
	owner, other := openStore(t, dir), openStore(t, dir)
	const size, rounds, readers = 4096, 500, 4
	w, holds := reusable(t, size, owner, other)
	var wg sync.WaitGroup
	for round := range rounds {
		for round > 0 && !holds[0].Free() {
			runtime.Gosched()
		}
		holds[0].Begin(2 * readers)
		want := bytes.Repeat([]byte{byte(round)}, size)
		copy(holds[0].Bytes(), want)
		for i := range 2 * readers {
			o := holds[i%2].Object()
			wg.Go(func() {
				defer o.Release()
				if !bytes.Equal(want, o.Buffer(0)[:size]) {
					t.Error("a result has changed")
				}
			})
		}
	}
	wg.Wait()
	for _, r := range holds {
		r.Release()
	}
	w.Abort()
	require.Zero(t, owner.Stats().Objects)
}
