// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOtherProcessReads(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	c := startChild(t, "reader", dir)
	o, err := s.Put([]byte("from-parent"))
	require.NoError(t, err)
	require.Equal(t, "from-parent", c.ask("get %s", idText(o.ID())))
	o.Release()
	require.NoError(t, s.Delete(o.ID()))
	require.Equal(t, 1, s.Stats().Pinned)
	require.Equal(t, "from-parent", c.ask("read %s", idText(o.ID())))
	require.Contains(t, c.try("get %s", idText(o.ID())), ErrNotFound.Error())
	c.ask("release %s", idText(o.ID()))
	assert.Zero(t, s.Stats().Objects)

	id, err := parseText(c.ask("put from-child"))
	require.NoError(t, err)
	got, err := s.Get(id)
	require.NoError(t, err)
	assert.Equal(t, "from-child", string(got.Buffer(0)))
	assert.Equal(t, "second", string(got.Buffer(1)))
	got.Release()
	c.stop()
	_, err = s.Get(id)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestKilledReaderIsReaped(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir, Limit(32<<20))
	for i := range 5 {
		c := startChild(t, "reader", dir)
		o, err := s.Put([]byte(fmt.Sprint("text-", i)), make([]byte, 20<<20))
		require.NoError(t, err)
		c.ask("get %s", idText(o.ID()))
		o.Release()
		require.NoError(t, s.Delete(o.ID()))
		require.Equal(t, 1, s.Stats().Pinned)
		c.kill()
		if i%2 == 0 { // otherwise the next Put finds the space by itself
			require.NoError(t, s.Reap())
			require.Zero(t, s.Stats().Objects)
		}
	}
	require.NoError(t, s.Reap())
	assert.Empty(t, s.pinners.ledgers)
}

func TestKilledWriterIsSwept(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	before := len(files(t, dir))
	for range 3 {
		c := startChild(t, "writer", dir)
		id, err := parseText(c.ask("put precious"))
		require.NoError(t, err)
		held, err := s.Get(id)
		require.NoError(t, err)
		c.kill()
		assert.Equal(t, "precious", string(held.Buffer(0)))
		require.NoError(t, Sweep(dir))
		assert.Equal(t, "precious", string(held.Buffer(0)), "a pinned view outlives its owner")
		held.Release()
		require.NoError(t, s.Reap())
		_, err = s.Get(id)
		require.ErrorIs(t, err, ErrNotFound)
		assert.Zero(t, s.Stats().Peers)
	}
	assert.Len(t, files(t, dir), before)
}

func TestOpenSweepsWhatWasKilled(t *testing.T) {
	dir := storeDir(t)
	a, b := startChild(t, "a", dir), startChild(t, "b", dir)
	id := a.ask("put x")
	b.ask("get %s", id)
	a.kill()
	require.Equal(t, "x", b.ask("read %s", id))
	b.kill()
	require.NotEmpty(t, files(t, dir))
	s, err := Open(dir)
	require.NoError(t, err)
	assert.Len(t, files(t, dir), 3, "lock, table and ledger of the new store")
	require.NoError(t, s.Close())
	assert.Empty(t, files(t, dir))
}
