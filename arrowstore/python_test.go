// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bytes"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPythonReads has the script of docs/store.md read objects, so that the layout is what the page says.
func TestPythonReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here")
	}
	dir := storeDir(t)
	s, _ := openSpilling(t, dir, 4<<20)
	var objs []*Object
	var want [][][]byte
	for i, buffers := range [][][]byte{
		{[]byte("one")},
		{{}},
		{},
		{[]byte("a"), {}, bytes.Repeat([]byte("b"), 100_000)},
		{content(1)},
		{content(2), []byte("x")},
		{content(3)},
		{content(4)},
		{content(5)},
	} {
		o, err := s.Put(buffers...)
		require.NoError(t, err)
		if i < 4 {
			defer o.Release()
		} else {
			o.Release()
		}
		objs, want = append(objs, o), append(want, buffers)
	}
	require.Positive(t, s.Stats().Spilled)
	read := func(args ...string) ([]byte, error) {
		return exec.CommandContext(t.Context(), python, append([]string{"../docs/store_read.py", dir}, args...)...).Output()
	}
	for i, o := range objs {
		list, err := read(o.ID().String())
		require.NoError(t, err)
		require.Equal(t, len(want[i]), bytes.Count(list, []byte("\n")))
		for k, b := range want[i] {
			if i%2 == 0 || k == 0 {
				got, err := read(o.ID().String(), strconv.Itoa(k))
				require.NoError(t, err)
				require.True(t, bytes.Equal(b, got))
			}
		}
	}
	require.NoError(t, s.Delete(objs[4].ID()))
	_, err = read(objs[4].ID().String())
	require.Error(t, err)
}
