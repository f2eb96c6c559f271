// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
)

const (
	groupName  = "tutti-benchmark"
	mostRounds = 200
	warmups    = 5 // rounds before those that count, at most; two, when they have taken a quarter of the time; one, when it took five times as long
)

// Job is one point for a member to measure. It is exported because members get it as an argument.
type Job struct {
	Point   Point
	Seconds float64 // how long it should take
	Least   int     // rounds, however long they take
}

// Timing is when a member began and ended the operation of each round, in nanoseconds of the clock that all processes of a machine share.
type Timing struct{ Begins, Ends []int64 }

type member struct {
	kept [2][]byte // buffers of earlier points that used them again, for the next: in, out
}

func newMember(context.Context, core.Void) (*member, error) { return &member{}, nil }

//nolint:gochecknoglobals // kinds are registered at package level, so that all processes agree on them
var members = core.Register("tutti-benchmark-member", newMember, core.Method((*member).Measure), core.Method((*member).Meet), core.Method((*member).Release))

// Measure does what measure_point in bench/peers/measure.h does.
func (mb *member) Measure(ctx context.Context, j Job) (t Timing, err error) {
	g, err := collective.FromContext(ctx, groupName)
	if err != nil {
		return Timing{}, err
	}
	s := shapeOf(j.Point, g.Rank(), g.Size())
	m := memory{kept: &mb.kept, inPlace: j.Point.Shared && !j.Point.Fresh}
	defer func() { err = errors.Join(err, m.release()) }()
	warm := warmth{job: j}
	for i, rounds := -warmups, 0; i < rounds; i++ {
		checked := i == -warmups || i == 0 || i == rounds-1
		if err := m.prepare(ctx, g, j.Point, s, checked); err != nil {
			return Timing{}, err
		}
		if err := collective.Barrier(ctx, g); err != nil {
			return Timing{}, err
		}
		begin, end, each, err := once(ctx, g, j.Point, s, &m, i < 0, checked)
		if err != nil {
			return Timing{}, err
		}
		if i >= 0 {
			t.Begins, t.Ends = append(t.Begins, begin.UnixNano()), append(t.Ends, end.UnixNano())
			continue
		}
		if rounds, err = warm.agree(ctx, g, each, warmups+i); err != nil {
			return Timing{}, err
		}
		if rounds > 0 {
			i = -1
			t = Timing{make([]int64, 0, rounds), make([]int64, 0, rounds)}
		}
	}
	return t, nil
}

// Release lets go of what is kept for further points.
func (mb *member) Release(context.Context, core.Void) (core.Void, error) {
	return core.Void{}, unkeep(&mb.kept)
}

// Meet returns when all members have met, with what HalfOfFreeMemory says.
func (*member) Meet(ctx context.Context, _ core.Void) (int, error) {
	g, err := collective.FromContext(ctx, groupName)
	if err != nil {
		return 0, err
	}
	if err := collective.Barrier(ctx, g); err != nil {
		return 0, err
	}
	return HalfOfFreeMemory()
}

// once does the operation and says when it began and ended; if it is waited for or checked also how long it took until all were done. To
// check and to let go of a shared result takes no part of those times.
func once(ctx context.Context, g *collective.Group, p Point, s shape, m *memory, waited, checked bool) (begin, end time.Time, each time.Duration, err error) {
	result, view := m.out, (*arrowstore.View[float32])(nil)
	begin = time.Now()
	if p.Shared {
		view, err = share(ctx, g, p.Operation, s, m)
	} else {
		err = operate(ctx, g, p.Operation, s, m.in, m.out)
	}
	end = time.Now()
	if view != nil {
		defer view.Release()
		result = view.Slice()
	}
	if err != nil || !waited && !checked {
		return begin, end, 0, err
	}
	// Without waiting, the checks of some would take the processors from those who are not done.
	if err := collective.Barrier(ctx, g); err != nil {
		return begin, end, 0, err
	}
	each = time.Since(begin)
	if checked {
		err = check(p.Operation, s, result, g.Rank(), g.Size())
	}
	return begin, end, each, err
}

// warmth is what the rounds that warm up have taken.
type warmth struct {
	job   Job
	spent time.Duration
	least time.Duration // of one round; 0 before the first
}

// agree returns how many rounds there will be, since the i-th that warms up took each; 0: first another one. The first is followed by a second
// unless it took very long.
func (w *warmth) agree(ctx context.Context, g *collective.Group, each time.Duration, i int) (int, error) {
	w.spent += each
	if w.least == 0 || each < w.least {
		w.least = each
	}
	most := w.job.Seconds / 4
	if i == 0 {
		most = w.job.Seconds * 5
	}
	rounds := []int64{0}
	if i == warmups-1 || w.spent.Seconds() >= most {
		rounds[0] = int64(min(max(w.job.Seconds/w.least.Seconds(), float64(w.job.Least)), mostRounds))
	}
	err := collective.Broadcast(ctx, g, rounds, 0)
	return int(rounds[0]), err
}

// memory is the buffers of a member, straight from the system as those of the peers are; or, where results are shared and buffers are used again,
// in the object store, where operations read them in place.
type memory struct {
	in, out []float32
	made    bool
	maps    [][]byte   // that go with the point
	kept    *[2][]byte // of the member

	inPlace bool
	place   *collective.Place[float32]  // of a gather
	filled  map[*float32]bool           // where it was
	buffer  *collective.Buffer[float32] // of a reduction
	view    *arrowstore.View[float32]   // of what the root has
}

// prepare makes the buffers what they must be before a round.
func (m *memory) prepare(ctx context.Context, g *collective.Group, p Point, s shape, atEnds bool) error {
	if m.inPlace {
		return m.inStore(ctx, g, p.Operation, s, atEnds)
	}
	if err := m.renew(s, p.Fresh); err != nil {
		return err
	}
	if p.Fresh || atEnds {
		fill(p.Operation, m.in, m.out, g.Rank())
	}
	return nil
}

// inStore is prepare for what operations read in place.
func (m *memory) inStore(ctx context.Context, g *collective.Group, operation string, s shape, atEnds bool) (err error) {
	switch operation {
	case allGather, gather, allGatherV, gatherV: // the place is another one in each round
		if m.place == nil {
			m.filled = map[*float32]bool{}
			if s.counts != nil {
				m.place, err = collective.NewPlaceV[float32](ctx, g, s.counts)
			} else {
				m.place, err = collective.NewPlace[float32](ctx, g, s.block)
			}
		}
		if err != nil {
			return err
		}
		// The same memory comes again and again. Who fills it anew in every round comes to the barrier later than a member of other points does.
		in := m.place.Slice()
		if at := unsafe.SliceData(in); atEnds || !m.filled[at] {
			m.filled[at] = true
			fill(operation, in, nil, g.Rank())
		}
		return nil
	case broadcast, scatter: // what was broadcast once cannot be changed
		if s.in == 0 || m.view != nil {
			return nil
		}
		b, err := collective.NewBuffer[float32](g, s.in)
		if err != nil {
			return err
		}
		fill(operation, b.Slice(), nil, g.Rank())
		m.view, err = b.Seal()
		return err
	case scatterV:
		m.inPlace = false // there is no such form
		return m.prepare(ctx, g, Point{Operation: operation}, s, atEnds)
	}
	if m.buffer == nil {
		if m.buffer, err = collective.NewBuffer[float32](g, s.in); err != nil {
			return err
		}
	}
	if atEnds {
		fill(operation, m.buffer.Slice(), nil, g.Rank())
	}
	return nil
}

// renew makes the buffers, again if they must be fresh. Others are those of the points before, if these were long enough: to get 400 times 16 MiB from the
// system takes as long as some operations. There is never more kept than one point needs.
func (m *memory) renew(s shape, fresh bool) error {
	if m.made && !fresh {
		return nil
	}
	if err := m.release(); err != nil {
		return err
	}
	m.made = true
	counts := [2]int{s.in, s.out}
	if fresh || len(m.kept[0]) < elementSize*s.in || len(m.kept[1]) < elementSize*s.out {
		if err := unkeep(m.kept); err != nil {
			return err
		}
	}
	for i, buf := range []*[]float32{&m.in, &m.out} {
		if counts[i] == 0 {
			continue
		}
		b := m.kept[i]
		if b == nil {
			var err error
			if b, err = unix.Mmap(-1, 0, elementSize*counts[i], unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
				return fmt.Errorf("map %d bytes: %w", elementSize*counts[i], err)
			}
			if fresh {
				m.maps = append(m.maps, b)
			} else {
				m.kept[i] = b
			}
		}
		*buf = unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), counts[i])
	}
	return nil
}

// unkeep gives kept memory back to the system.
func unkeep(kept *[2][]byte) error {
	var errs []error
	for _, b := range kept {
		if b != nil {
			errs = append(errs, unix.Munmap(b))
		}
	}
	*kept = [2][]byte{}
	return errors.Join(errs...)
}

func (m *memory) release() error {
	var errs []error
	for _, b := range m.maps {
		errs = append(errs, unix.Munmap(b))
	}
	if m.place != nil {
		m.place.Release()
	}
	if m.buffer != nil {
		m.buffer.Release()
	}
	if m.view != nil {
		m.view.Release()
	}
	*m = memory{kept: m.kept, inPlace: m.inPlace}
	return errors.Join(errs...)
}
