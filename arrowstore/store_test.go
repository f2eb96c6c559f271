// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPutThenGet(t *testing.T) {
	cases := map[string][][]byte{
		"no buffers":        {},
		"one":               {[]byte("hello")},
		"one empty":         {{}},
		"one nil":           {nil},
		"several":           {[]byte("a"), []byte("bb"), bytes.Repeat([]byte{7}, 1000)},
		"empties among":     {{}, []byte("x"), {}, []byte("y"), {}},
		"exactly one unit":  {make([]byte, 64)},
		"one chunk":         {bytes.Repeat([]byte{1}, chunkSize)},
		"several chunks":    {bytes.Repeat([]byte{2}, 3*chunkSize+17), []byte("tail")},
		"own segment":       {bytes.Repeat([]byte{3}, 5<<20)},
		"many buffers":      make([][]byte, 1000),
		"many own segments": {bytes.Repeat([]byte{4}, 9<<20), bytes.Repeat([]byte{5}, 9<<20)},
	}
	dir := storeDir(t)
	owner := openStore(t, dir, SegmentSize(4<<20))
	reader := openStore(t, dir)
	for name, buffers := range cases {
		t.Run(name, func(t *testing.T) {
			put, err := owner.Put(buffers...)
			require.NoError(t, err)
			defer put.Release()
			for _, s := range []*Store{owner, reader} {
				got, err := s.Get(put.ID())
				require.NoError(t, err)
				requireBuffers(t, buffers, got)
				got.Release()
			}
			requireBuffers(t, buffers, put)
			require.NoError(t, owner.Delete(put.ID()))
		})
	}
	assert.Zero(t, owner.Stats().Objects)
	assert.Zero(t, owner.Stats().Used)
}

func requireBuffers(t *testing.T, want [][]byte, o *Object) {
	t.Helper()
	require.Equal(t, len(want), o.Len())
	var size int64
	for i, b := range want {
		require.Len(t, o.Buffer(i), len(b))
		require.Len(t, o.Buffer(i), cap(o.Buffer(i)), "room behind a buffer")
		require.True(t, bytes.Equal(b, o.Buffer(i)))
		if len(b) > 0 {
			require.Zero(t, uintptr(unsafe.Pointer(&o.Buffer(i)[0]))%unit, "alignment")
		}
		size += int64(len(b))
	}
	require.Equal(t, size, o.Size())
}

func TestWriteInPlace(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	other := openStore(t, dir)
	w, err := s.CreateBuffers(3, 0, 1<<20)
	require.NoError(t, err)
	require.Equal(t, 3, w.Len())
	copy(w.Bytes(), "abc")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	copy(w.Buffer(2), big)
	o, err := w.Seal()
	require.NoError(t, err)
	defer o.Release()
	got, err := other.Get(o.ID())
	require.NoError(t, err)
	defer got.Release()
	requireBuffers(t, [][]byte{[]byte("abc"), {}, big}, got)

	_, err = w.Seal()
	require.ErrorIs(t, err, ErrSealed)
	w.Abort()
	requireBuffers(t, [][]byte{[]byte("abc"), {}, big}, o)
}

func TestAbortGivesMemoryBack(t *testing.T) {
	s := openStore(t, storeDir(t))
	for _, size := range []int{0, 1, 5000, 1 << 20, 40 << 20} {
		w, err := s.Create(size)
		require.NoError(t, err)
		require.Len(t, w.Bytes(), size)
		w.Abort()
		w.Abort()
		_, err = w.Seal()
		require.ErrorIs(t, err, ErrSealed)
	}
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Used)
}

func TestDeleteWaitsForPins(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	far.Retain()

	require.NoError(t, s.Delete(o.ID()))
	require.ErrorIs(t, s.Delete(o.ID()), ErrNotFound)
	for _, st := range []*Store{s, other} {
		_, err = st.Get(o.ID())
		require.ErrorIs(t, err, ErrNotFound)
	}
	o.Release()
	far.Release()
	assert.Equal(t, 1, s.Stats().Objects, "the other store still pins it")
	assert.Equal(t, "content", string(far.Buffer(0)))
	far.Release()
	assert.Zero(t, s.Stats().Objects)
	assert.Zero(t, s.Stats().Used)
}

func TestDeleteIsForTheOwner(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	require.ErrorIs(t, other.Delete(o.ID()), ErrNotOwner)
}

func TestContainsAndList(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	want := map[ID]bool{}
	var last *Object
	for i := range 10 {
		o, err := s.Put([]byte{byte(i)})
		require.NoError(t, err)
		o.Release()
		want[o.ID()] = true
		last = o
	}
	w, err := s.Create(10) // not an object yet
	require.NoError(t, err)
	defer w.Abort()
	delete(want, last.ID())
	require.NoError(t, s.Delete(last.ID()))
	got := map[ID]bool{}
	for id := range s.List() {
		got[id] = true
		assert.True(t, s.Contains(id))
		assert.True(t, other.Contains(id))
	}
	assert.Equal(t, want, got)
	assert.Empty(t, slices.Collect(other.List()), "only what it created itself")
	for range s.List() {
		break
	}
	for _, st := range []*Store{s, other} {
		assert.False(t, st.Contains(last.ID()))
		assert.False(t, st.Contains(ID{}))
		assert.False(t, st.Contains(ID{store: 1, gen: 1}))
	}
}

func TestStaleIDsFindNothing(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("first"))
	require.NoError(t, err)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	again, err := s.Put([]byte("second"))
	require.NoError(t, err)
	defer again.Release()
	require.Equal(t, o.ID().slot, again.ID().slot, "the slot is used again")
	id := again.ID()
	for _, bad := range []ID{
		o.ID(),
		{},
		{store: id.store, slot: id.slot, gen: id.gen + 1},
		{store: id.store, slot: id.slot + 1, gen: 1},
		{store: id.store, slot: maxSlots - 1, gen: 1},
		{store: id.store ^ 1, slot: id.slot, gen: id.gen},
	} {
		for _, st := range []*Store{s, other} {
			_, err := st.Get(bad)
			require.ErrorIs(t, err, ErrNotFound, "%v", bad)
		}
	}
}

func TestLimit(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(4<<20), SegmentSize(1<<20))
	_, err := s.Put(make([]byte, 5<<20))
	require.ErrorIs(t, err, ErrNoSpace)
	_, err = s.Create(5 << 20)
	require.ErrorIs(t, err, ErrNoSpace)
	var objs []*Object
	for {
		o, err := s.Put(make([]byte, 300<<10))
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			break
		}
		objs = append(objs, o)
	}
	assert.Greater(t, len(objs), 8)
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	for range 3 { // all of it can be used again, in another shape
		o, err := s.Put(make([]byte, 4<<20))
		require.NoError(t, err)
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	assert.LessOrEqual(t, s.Stats().Held, int64(4<<20))
}

func TestTooLarge(t *testing.T) {
	s := openStore(t, storeDir(t))
	_, err := s.CreateBuffers(make([]int, maxBuffers+1)...)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = s.Create(maxObject + 1)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = s.Create(-1)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = s.Create(maxObject - 1)
	require.ErrorIs(t, err, ErrNoSpace)
}

func TestMemoryIsReturned(t *testing.T) {
	s := openStore(t, storeDir(t), Limit(64<<20), SegmentSize(4<<20))
	var objs []*Object
	for range 60 {
		o, err := s.Put(make([]byte, 1<<20-100))
		require.NoError(t, err)
		objs = append(objs, o)
	}
	require.GreaterOrEqual(t, s.Stats().Held, int64(59<<20))
	for _, o := range objs {
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
	}
	st := s.Stats()
	assert.LessOrEqual(t, st.Held, int64(16<<20), "at most a quarter of the limit stays for reuse")
	assert.Less(t, st.Segments, 10)
}

func TestClose(t *testing.T) {
	dir := storeDir(t)
	s, err := Open(dir)
	require.NoError(t, err)
	other := openStore(t, dir)
	o, err := s.Put([]byte("mine"))
	require.NoError(t, err)
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	theirs, err := other.Put([]byte("theirs"))
	require.NoError(t, err)
	near, err := s.Get(theirs.ID())
	require.NoError(t, err)
	require.NoError(t, other.Delete(theirs.ID()))
	theirs.Release()

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Put([]byte("x"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Create(1)
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Get(o.ID())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Delete(o.ID()), ErrClosed)
	require.ErrorIs(t, s.Reap(), ErrClosed)
	require.Zero(t, s.Stats())
	_, err = other.Get(o.ID())
	require.ErrorIs(t, err, ErrNotFound)

	require.NoError(t, other.Reap())
	assert.Equal(t, "mine", string(o.Buffer(0)), "what was not released stays")
	assert.Equal(t, "mine", string(far.Buffer(0)))
	assert.Equal(t, "theirs", string(near.Buffer(0)))
	assert.Equal(t, 1, other.Stats().Objects, "the closed store's pin still counts")
	o.Release()
	near.Release()
	require.NoError(t, other.Reap())
	assert.Zero(t, other.Stats().Objects)
	assert.Equal(t, "mine", string(far.Buffer(0)))
	far.Release()
	for _, name := range files(t, dir) {
		assert.NotContains(t, name, strings.TrimSuffix(metaName(s.number), ".meta"))
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	dir := storeDir(t)
	a, err := Open(dir)
	require.NoError(t, err)
	b, err := Open(dir)
	require.NoError(t, err)
	o, err := a.Put(make([]byte, 1<<20))
	require.NoError(t, err)
	p, err := b.Get(o.ID())
	require.NoError(t, err)
	p.Release()
	o.Release()
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	assert.Empty(t, files(t, dir))
}

func TestViewOf(t *testing.T) {
	s := openStore(t, storeDir(t))
	w, err := s.Create(4 * 4)
	require.NoError(t, err)
	copy(unsafe.Slice((*float32)(unsafe.Pointer(&w.Bytes()[0])), 4), []float32{1, 2, 3, 4.5})
	o, err := w.Seal()
	require.NoError(t, err)
	v, err := ViewOf[float32](o)
	require.NoError(t, err)
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	v.Retain()
	v.Release()
	assert.Equal(t, []float32{1, 2, 3, 4.5}, v.Slice())
	v.Release()
	assert.Zero(t, s.Stats().Objects)
}

func TestViewOfWrongShape(t *testing.T) {
	s := openStore(t, storeDir(t))
	o, err := s.Put(make([]byte, 12))
	require.NoError(t, err)
	defer o.Release()
	_, err = ViewOf[float64](o)
	require.ErrorIs(t, err, ErrType)
	two, err := s.Put([]byte{1}, []byte{2})
	require.NoError(t, err)
	defer two.Release()
	_, err = ViewOf[uint8](two)
	require.ErrorIs(t, err, ErrType)
	empty, err := s.Put(nil)
	require.NoError(t, err)
	defer empty.Release()
	v, err := ViewOf[int64](empty)
	require.NoError(t, err)
	defer v.Release()
	require.Empty(t, v.Slice())
}

func TestWritesThroughViewsFault(t *testing.T) {
	dir := storeDir(t)
	s, other := openStore(t, dir), openStore(t, dir)
	o, err := s.Put([]byte("content"))
	require.NoError(t, err)
	defer o.Release()
	far, err := other.Get(o.ID())
	require.NoError(t, err)
	defer far.Release()
	for st, b := range map[*Store][]byte{s: o.Buffer(0), other: far.Buffer(0)} {
		addr := faultOf(func() { b[2] = 'X' })
		require.NotZero(t, addr)
		assert.True(t, st.ReadOnlyFault(addr))
		assert.False(t, st.ReadOnlyFault(1))
	}
	assert.Equal(t, "content", string(o.Buffer(0)))
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// faultOf runs f and returns the address of the memory fault it caused, or 0.
func faultOf(f func()) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			addr = e.Addr()
		}
	}()
	f()
	return 0
}

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
