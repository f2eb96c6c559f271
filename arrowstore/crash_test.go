// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelObject is what the model knows of an object.
type modelObject struct {
	owner   int // index of the process, or -1 when that process was killed
	deleted bool
	seed    uint64
	size    int
	held    map[int]int // how often, by which processes
}

// model drives processes at random and knows what each of their answers must be.
type model struct {
	t       *testing.T
	rng     *rand.Rand
	dir     string
	procs   []*child
	objects map[string]*modelObject
	ids     []string // keys of objects, in an order that the seed decides
}

func (m *model) some() (string, *modelObject) {
	id := m.ids[m.rng.IntN(len(m.ids))]
	return id, m.objects[id]
}

func (m *model) step() {
	p := m.rng.IntN(len(m.procs))
	if len(m.ids) == 0 || m.rng.IntN(4) == 0 {
		m.put(p)
		return
	}
	id, o := m.some()
	switch m.rng.IntN(14) {
	case 0, 1, 2, 3:
		if o.held[p] < 2 {
			m.hold(p, id, o)
		}
	case 4, 5, 6:
		if o.held[p] > 0 {
			m.release(p, id, o)
		}
	case 12:
		if o.held[p] > 0 {
			m.procs[p].ask("retain %s", id)
			o.held[p]++
		}
	case 13:
		m.procs[p].ask("abort %d %d", m.rng.Uint64(), m.rng.IntN(1<<18))
	case 7, 8:
		if o.owner >= 0 && !o.deleted {
			m.procs[o.owner].ask("delete %s", id)
			o.deleted = true
		}
	case 9, 10:
		for q := range o.held {
			m.procs[q].ask("check %s %d %d", id, o.seed, o.size)
		}
	case 11:
		if m.rng.IntN(3) == 0 {
			m.kill(p)
		}
	}
}

func (m *model) put(p int) {
	o := &modelObject{owner: p, seed: m.rng.Uint64(), size: m.rng.IntN(1 << (1 + m.rng.IntN(18))), held: map[int]int{}}
	how := []string{"make", "create"}[m.rng.IntN(2)] // copied in, or written in place
	id := m.procs[p].ask("%s %d %d", how, o.seed, o.size)
	require.NotContains(m.t, m.objects, id)
	m.objects[id] = o
	m.ids = append(m.ids, id)
}

func (m *model) hold(p int, id string, o *modelObject) {
	answer := m.procs[p].try("hold %s %d %d", id, o.seed, o.size)
	switch {
	case answer == "ok":
		require.False(m.t, o.deleted, "a deleted object was found")
		o.held[p] = 1
	case o.owner >= 0 && !o.deleted:
		require.Fail(m.t, "an object is lost", answer)
	default:
		require.Contains(m.t, answer, ErrNotFound.Error())
	}
}

// release takes one hold of a process off.
func (m *model) release(p int, id string, o *modelObject) {
	if o.held[p]--; o.held[p] > 0 {
		m.procs[p].ask("unretain %s", id)
		return
	}
	m.procs[p].ask("release %s", id)
	delete(o.held, p)
}

// kill ends a process without warning and starts another in its place.
func (m *model) kill(p int) {
	m.procs[p].kill()
	for _, o := range m.objects {
		delete(o.held, p)
		if o.owner == p {
			o.owner = -1
		}
	}
	m.procs[p] = startChild(m.t, "spiller", m.dir)
}

// finish checks what is still held, releases it, and sees that each process has exactly the objects it should.
func (m *model) finish() {
	for id, o := range m.objects {
		for p := range o.held {
			m.procs[p].ask("check %s %d %d", id, o.seed, o.size)
			for o.held[p] > 0 {
				m.release(p, id, o)
			}
		}
	}
	for p, c := range m.procs {
		c.ask("reap")
		want := 0
		for _, o := range m.objects {
			if o.owner == p && !o.deleted {
				want++
			}
		}
		assert.Equal(m.t, strconv.Itoa(want), c.ask("objects"))
	}
}

// TestProcessesAgainstModel lets processes put, create, abort, pin, retain, release, delete, spill and die at random.
func TestProcessesAgainstModel(t *testing.T) {
	steps := 1500
	if testing.Short() {
		steps = 300
	}
	for seed := range uint64(2) {
		dir := storeDir(t)
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 8)), dir: dir, objects: map[string]*modelObject{}}
		for range 3 {
			m.procs = append(m.procs, startChild(t, "spiller", dir))
		}
		for range steps {
			m.step()
		}
		m.finish()
		for _, p := range m.procs {
			p.stop()
		}
		require.NoError(t, Sweep(dir))
		assert.Empty(t, files(t, dir))
		require.NoError(t, Sweep(dir+"-spill"))
		assert.Empty(t, files(t, dir+"-spill"))
	}
}

func killRounds() int {
	if testing.Short() {
		return 20
	}
	return 120
}

// TestKilledWriters kills a process that makes objects as fast as it can, again and again: what was read of it stays
// right, and a sweep leaves nothing of it.
func TestKilledWriters(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir)
	rng := rand.New(rand.NewPCG(11, 11))
	before := files(t, dir)
	for round := range killRounds() {
		c := startChild(t, []string{"churner", "spilling churner"}[round%2], dir)
		held := map[*Object][][]byte{}
		for range rng.IntN(400) {
			line, err := c.out.ReadString('\n')
			require.NoError(t, err)
			words := strings.Fields(line)
			id, err := parseText(words[0])
			require.NoError(t, err)
			o, err := s.Get(id)
			if err != nil {
				require.ErrorIs(t, err, ErrNotFound)
				continue
			}
			want := seeded(seedAndSize(words[1:]))
			require.True(t, sameBuffers(want, o))
			if rng.IntN(10) > 0 {
				o.Release()
				continue
			}
			held[o] = want
		}
		c.kill()
		require.NoError(t, Sweep(dir))
		for o, want := range held {
			require.True(t, sameBuffers(want, o))
			o.Release()
		}
		require.NoError(t, s.Reap())
		require.ElementsMatch(t, before, files(t, dir))
		if round%2 == 1 {
			require.NoError(t, Sweep(dir+"-spill"))
			require.Empty(t, files(t, dir+"-spill"))
		}
	}
}

// TestKilledReaders kills a process that pins and releases as fast as it can while its objects are deleted: all memory
// comes back.
func TestKilledReaders(t *testing.T) {
	dir := storeDir(t)
	s := openStore(t, dir, Limit(8<<20), SegmentSize(1<<20))
	rng := rand.New(rand.NewPCG(12, 12))
	for range killRounds() {
		c := startChild(t, "reader", dir)
		var objs []*Object
		var ids []string
		for range 8 {
			o, err := s.Put(make([]byte, rng.IntN(100<<10)))
			require.NoError(t, err)
			objs = append(objs, o)
			ids = append(ids, idText(o.ID()))
		}
		c.ask("get %s", ids[0])
		_, err := fmt.Fprintf(c.in, "spin %s\n", strings.Join(ids, " "))
		require.NoError(t, err)
		for i, o := range objs {
			o.Release()
			if i == 4 {
				require.NoError(t, c.cmd.Process.Signal(os.Kill))
			}
			require.NoError(t, s.Delete(o.ID()))
			again, err := s.Put(make([]byte, rng.IntN(1000)))
			require.NoError(t, err)
			again.Release()
			require.NoError(t, s.Delete(again.ID()))
		}
		c.kill()
		require.NoError(t, s.Reap())
		require.Zero(t, s.Stats().Objects)
		require.Zero(t, s.Stats().Used)
	}
	checkHeap(t, s.space.heap)
	require.NoError(t, Sweep(dir))
	assert.Len(t, files(t, dir), 3+s.Stats().Segments)
}
