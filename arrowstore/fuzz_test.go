// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// FuzzTableHeader opens tables whose header is any bytes.
func FuzzTableHeader(f *testing.F) {
	d := ledgerDir(f)
	t, err := createTable(d, 7)
	require.NoError(f, err)
	require.NoError(f, t.setSpillPath("/tmp/spill"))
	f.Add(append([]byte(nil), t.mem[:300]...))
	f.Add([]byte("TUTTBL01"))
	require.NoError(f, t.close())
	f.Fuzz(func(t *testing.T, head []byte) {
		path := filepath.Join(d.path, metaName(9))
		require.NoError(t, os.WriteFile(path, head[:min(len(head), pageSize)], 0o600))
		require.NoError(t, os.Truncate(path, tableSize()))
		tb, err := openTable(d, 9)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		if _, err := tb.getSpillPath(); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
		if sl, ok := tb.find(maxSlots); ok {
			t.Fatalf("slot %v beyond the table", sl)
		}
		require.NoError(t, tb.close())
	})
}

// FuzzSlot reads an object by a slot and a table of buffers that are any bytes, in a segment of 4 KiB.
func FuzzSlot(f *testing.F) {
	f.Add(uint32(1), uint32(1), uint64(0), uint64(100), []byte{})
	f.Add(uint32(1), uint32(2), uint64(64), uint64(48), appendEntry(appendEntry(nil, 1, 128, 10), 1, 256, 5))
	f.Add(uint32(1), uint32(0), uint64(0), uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, seg, buffers uint32, off, size uint64, table []byte) {
		mem := make([]byte, 4096)
		copy(mem[min(off, 4096):], table)
		var o Object
		err := o.open(place{segment: seg, buffers: buffers, offset: off, size: size}, func(num uint32) ([]byte, error) {
			if num != 1 {
				return nil, ErrNotFound
			}
			return mem, nil
		})
		if err != nil {
			require.True(t, isAny(err, ErrCorrupt, ErrNotFound), err)
			return
		}
		for _, b := range o.bufs {
			at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(&mem[0]))
			if len(b) > 0 && (at > 4096 || at+uintptr(len(b)) > 4096) {
				t.Fatalf("a buffer of %d bytes at %d lies outside", len(b), at)
			}
		}
	})
}

// FuzzSpillHead parses the head of a spill file.
func FuzzSpillHead(f *testing.F) {
	f.Add(spillHead{store: 1, num: 2, sum: 3, n: 4}.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseSpillHead(b)
		if ok {
			require.Equal(t, b[:32], h.append(nil)[:32]) // the rest is room
		}
	})
}

// FuzzParseName sees that every name that is taken for one of a store's files is the one that the store gives it.
func FuzzParseName(f *testing.F) {
	for _, name := range []string{lockName(1), metaName(2), segmentName(3, 4), ledgerName(5), spillName(6, 7), "x.lock"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		store, ok := parseName(name)
		if !ok {
			return
		}
		if slices.Contains([]string{lockName(store), metaName(store), ledgerName(store)}, name) {
			return
		}
		require.Regexp(t, `^[0-9a-f]{16}-[0-9a-f]{8}\.(seg|spill)$`, name)
	})
}
