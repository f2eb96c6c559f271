// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
	"github.com/tutti-go/tutti/internal/lane"
	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/mesh"
	"github.com/tutti-go/tutti/internal/wire"
)

// lanesOf returns how many lanes a node has to another.
func (c *cluster) lanesOf(from, to int) int {
	s := c.nodes[from].Mesh.Lanes(mesh.NodeID(to), defaultLanes)
	if s == nil {
		return 0
	}
	return s.Lanes()
}

// All operations, with data that are long enough for lanes: in segments that are full and ones that are not, in blocks that neighbours share, and
// with members that are late, so that what comes has no place yet.
func TestOperationsOverLanes(t *testing.T) {
	d := integers[int32]()
	for _, lanes := range []int{0, 1, 3} {
		t.Run(fmt.Sprint("lanes=", lanes), func(t *testing.T) {
			c := newCluster(t, 4, overTCP)
			for id := range c.nodes {
				c.hub(id).lanes = lanes
			}
			for _, n := range few([]int{2, 3, 5}, 2, 5) {
				_, groups := c.group(fmt.Sprint("g", n), n, Messages())
				for _, length := range []int{laneBytes/4*n - 1, laneBytes / 4 * n, 3*segment/4 + 77} {
					rng := rand.New(rand.NewPCG(uint64(n), uint64(length)))
					trials := append(d.moves(rng, n, length), d.reductions(rng, n, length, Sum)...)
					trials = append(trials, d.reductions(rng, n, length, Max)...)
					requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
						for i, trial := range trials {
							if (i+g.Rank())%3 == 0 {
								waitFor(ctx, time.Millisecond)
							}
							if err := trial(ctx, g); err != nil {
								return fmt.Errorf("%d members, length %d: %w", n, length, err)
							}
						}
						return nil
					}))
				}
			}
			total := 0
			for from := 1; from < 4; from++ {
				for to := 1; to < 4; to++ {
					total += c.lanesOf(from, to)
				}
			}
			assert.Equal(t, lanes > 0, total > 0, "%d lanes", total)
		})
	}
}

// Means and functions of the caller's are done where they must be: the first also by the goroutines of lanes, the others not.
func TestReductionsOverLanesThatEndInSomething(t *testing.T) {
	c := newCluster(t, 3, overTCP)
	_, groups := c.group("g", 2)
	const n = 300_000
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		buf := make([]float64, n)
		for i := range buf {
			buf[i] = float64(i + 2*g.Rank())
		}
		if err := AllReduce(ctx, g, buf, Avg); err != nil {
			return err
		}
		for i, v := range buf {
			if v != float64(i+1) {
				return fmt.Errorf("element %d of a mean is %v, want %d", i, v, i+1)
			}
		}
		own := slices.Repeat([]int32{int32(g.Rank() + 1)}, n)
		var mu sync.Mutex // of the function, which is called by the member's own goroutine
		add := Custom(func(dst, src []int32) {
			if !mu.TryLock() {
				panic("called twice at once")
			}
			defer mu.Unlock()
			for i := range dst {
				dst[i] += src[i]
			}
		}, true)
		return compare(AllReduce(ctx, g, own, add), slices.Repeat([]int32{3}, n), own, "custom")
	}))
	assert.Positive(t, c.lanesOf(1, 2))
}

// What a member that gave up has lent comes back to it before the call returns: it may be changed, and nothing comes into it any more.
func TestMemoryIsTheCallersAfterAnOperationThatFailed(t *testing.T) {
	c := newCluster(t, 3, overTCP)
	for round := range 10 {
		name := fmt.Sprint("g", round)
		_, groups := c.group(name, 2)
		bufs := [2][]int64{make([]int64, 2<<20), make([]int64, 2<<20)}
		errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
			buf := bufs[g.Rank()]
			if g.Rank() == 1 { // gives up in the middle
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(round)*time.Millisecond)
				defer cancel()
			}
			err := AllReduce(ctx, g, buf, Sum)
			if err == nil {
				return nil
			}
			for i := range buf {
				buf[i] = int64(i)
			}
			waitFor(t.Context(), 5*time.Millisecond)
			for i, v := range buf {
				if v != int64(i) {
					return fmt.Errorf("element %d was changed to %d after the end", i, v)
				}
			}
			return err
		})
		for rank, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
			}
		}
	}
}

// cutting is TCP through a proxy for each connection, which does something to lanes when so many bytes have gone through.
type cutting struct {
	*anyPort

	after int
	do    func(from, to net.Conn) // with the proxy's ends of a lane

	wg sync.WaitGroup
}

// Dial implements link.Transport.
func (p *cutting) Dial(ctx context.Context, name string) (link.Conn, error) {
	p.mu.Lock()
	addr := p.at[name]
	p.mu.Unlock()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.wg.Go(func() {
		defer func() { _ = l.Close() }()
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", addr)
		if err != nil {
			_ = from.Close()
			return
		}
		p.pass(from, to)
	})
	conn, err := p.TCP.Dial(ctx, l.Addr().String())
	if err != nil { // nobody comes, for whom the proxy would wait
		_ = l.Close()
	}
	return conn, err
}

// plain keeps io.Copy from splicing, for which it holds on to pipes.
type plain struct{ io.Writer }

func (p *cutting) pass(from, to net.Conn) {
	p.wg.Go(func() {
		_, _ = io.Copy(plain{from}, to)
		_ = from.Close()
		_ = to.Close()
	})
	const purpose = wire.HeaderSize + 20 // where in the first frame it says what the connection is for
	start := make([]byte, purpose+4)
	_, err := io.ReadFull(from, start)
	if err == nil {
		_, err = to.Write(start)
	}
	if err == nil && wire.Purpose(binary.LittleEndian.Uint32(start[purpose:])) == wire.PurposeLane {
		if _, err = io.CopyN(plain{to}, from, int64(p.after)); err == nil {
			p.do(from, to)
			return
		}
	}
	_, _ = io.Copy(plain{to}, from)
	_ = from.Close()
	_ = to.Close()
}

// newCutCluster makes nodes with a proxy between any two.
func newCutCluster(t *testing.T, after int, do func(from, to net.Conn)) *cluster {
	t.Helper()
	p := &cutting{anyPort: &anyPort{at: map[string]string{}}, after: after, do: do}
	t.Cleanup(p.wg.Wait) // behind the ends of the nodes
	return newCluster(t, 3, func(testing.TB) (link.Transport, func(mesh.NodeID) string) {
		_, address := overTCP(t)
		return p, address
	})
}

// A lane that is cut in the middle of a frame, or between two, ends the operation at both ends within a few seconds, with the other as the one
// that was lost.
func TestALaneThatIsCutEndsTheOperation(t *testing.T) {
	for _, after := range []int{500, 3 * segment} {
		t.Run(fmt.Sprint("after=", after), func(t *testing.T) {
			c := newCutCluster(t, after, func(from, to net.Conn) {
				_ = from.Close()
				_ = to.Close()
			})
			_, groups := c.group("g", 2)
			errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
				return AllReduce(ctx, g, make([]float32, 4<<20), Sum)
			})
			for rank, err := range errs {
				require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
				require.ErrorIs(t, err, ErrMemberLost, "rank %d", rank)
			}
		})
	}
}

// A lane of which nothing comes any more, though nobody hangs up, does not hold an operation longer than it may take without anything that moves; nor
// does it hold up the end of the nodes.
func TestALaneThatGoesSilentIsAStall(t *testing.T) {
	release := make(chan struct{})
	c := newCutCluster(t, 3*segment, func(from, to net.Conn) {
		<-release
		_ = from.Close()
		_ = to.Close()
	})
	t.Cleanup(func() { close(release) }) // before the proxies are waited for
	_, groups := c.group("g", 2, Stall(500*time.Millisecond))
	errs := each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		return AllReduce(ctx, g, make([]float32, 16<<20), Sum)
	})
	for rank, err := range errs {
		require.ErrorIs(t, err, ErrAborted, "rank %d", rank)
		require.ErrorIs(t, err, ErrStalled, "rank %d", rank)
	}
}

func TestTheNumberOfLanesIsBounded(t *testing.T) {
	for text, want := range map[string]int{"": defaultLanes, "0": 0, "3": 3, "-1": 0, "99": lane.Most, "many": defaultLanes} {
		assert.Equal(t, want, lanesFrom(text), "%q", text)
	}
}

// What comes over a lane is checked as what comes over a link is: whatever the bytes, no memory but that of the flow that waits for them is written.
func FuzzDock(f *testing.F) {
	d := descriptor{op: opAllReduce, how: Sum, kind: kindOf[int32](), count: segment / 2}
	valid := func(at uint64, length int) []byte {
		h := wire.Header{Kind: wire.KindBlock, Caller: at, Seq: 1, From: 1, Hash: d.hash(), Length: uint32(descriptorSize + length)}
		return append(d.append(h.Append(nil)), make([]byte, length)...)
	}
	f.Add(valid(0, segment), true)
	f.Add(valid(frameCost+segment, 100), false)
	f.Add(valid(frameCost+segment, 99), true)
	f.Add(append(valid(frameCost+segment, 100), valid(frameCost+segment, 100)...), true)
	c := newCluster(f, 3, inMemory)
	f.Fuzz(func(t *testing.T, b []byte, reduce bool) {
		m := c.docking(t)
		fl, all := m.docked(d, reduce)
		for rest := b; len(rest) >= wire.HeaderSize; { // of the group that there is
			binary.LittleEndian.PutUint64(rest[40:], m.s.id)
			binary.LittleEndian.PutUint32(rest[48:], m.s.epoch)
			n := uint64(wire.HeaderSize) + uint64(binary.LittleEndian.Uint32(rest[8:]))
			rest = rest[min(n, uint64(len(rest))):]
		}
		a, z := net.Pipe()
		var writer sync.WaitGroup
		writer.Go(func() {
			if len(b) > 0 {
				_, _ = a.Write(b)
			}
			_ = a.Close()
		})
		require.Error(t, c.hub(1).serveLane(2, z))
		_ = z.Close()
		writer.Wait()
		require.LessOrEqual(t, fl.claims, 2)
		for i, v := range all {
			if i < 64 || i >= len(all)-64 {
				require.EqualValues(t, 7, v, "byte %d, beside the memory of the flow", i)
			}
		}
	})
}

// docking returns a member whose group has not ended.
func (c *cluster) docking(t *testing.T) *member {
	t.Helper()
	if c.t = t; c.dock == nil || c.dock.s.ended() != nil {
		_, groups := c.group("fuzz", 2)
		c.dock = groups[0].m
	}
	return c.dock
}

// docked makes a member wait for a long frame from rank 1 and one of 100 bytes, with 64 bytes around their memory that are 7.
func (m *member) docked(d descriptor, reduce bool) (*flow, []byte) {
	all := slices.Repeat([]byte{7}, 64+segment+100+64)
	f := &flow{berth: &berth{}, peer: 1, step: schedule.Step{}}
	f.walk = newWalk(duplex{all[64 : 64+segment+100]}, 2, schedule.Transfer{Peer: 1, Blocks: schedule.Blocks{Count: 1}})
	var take func(dst, src []byte)
	if reduce {
		take = func(dst, src []byte) { copy(dst, src) }
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.running, m.mu.seq = true, 1
	m.mu.calls[1] = call{d, d.hash()}
	m.mu.edges = map[int]*edge{}
	f.open(&f.walk, take, true)
	f.dockLocked(m.edgeLocked(1), 1)
	return f, all
}
