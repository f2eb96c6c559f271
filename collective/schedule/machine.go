// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// Program is a schedule with what each of its transfers waits for: those before it that bring or take the blocks it needs. It is
// made once and is not changed, so that many machines may share it; that of one rank serves all ranks that do alike.
type Program struct {
	blocks, turn, steps int

	// A transfer has the number 2*step if it sends, 2*step+1 if it receives.
	needs  []int32 // by transfer: how many others it waits for; -1 if it does not take place
	starts []int32 // by transfer: where in then those begin that wait for it
	then   []int32
}

// Compile finds out what the transfers of a schedule wait for.
//
//   - A block is sent when all that the rank was to receive into it before has come.
//   - A block is received when all that was to come into it before has come, and it has left in all messages before: so sums
//     are formed in the order of the schedule.
//   - Messages from one rank to another keep their order, in which their receives are released. A few receives from one rank may be
//     under way, so that what comes finds its place although the one before it is not complete. Signals hold back what comes
//     after them, as [Transfer] says, and Window bounds how many steps are under way.
func Compile(s Schedule) *Program {
	c := &compiler{s: s, seen: make([]int32, 2*s.steps), after: make([][2]int32, 0, 4*s.steps), last: newTouches(s.Blocks, s.Ranks)}
	c.sent, c.came, c.signal = map[int]int32{}, map[int][]receipt{}, -1
	p := &Program{blocks: s.Blocks, turn: s.Turn, steps: s.steps, needs: make([]int32, 2*s.steps), starts: make([]int32, 2*s.steps+1)}
	for t := range p.needs {
		p.needs[t] = -1
	}
	for i, st := range s.Steps() {
		if st.Send.Peer != None {
			c.send(int32(2*i), st.Send)
			p.needs[2*i] = 0
		}
		if st.Recv.Peer != None {
			c.recv(int32(2*i+1), st.Recv)
			p.needs[2*i+1] = 0
		}
	}
	for _, a := range c.after {
		p.starts[a[0]+1]++
		p.needs[a[1]]++
	}
	for t := range 2 * s.steps {
		p.starts[t+1] += p.starts[t]
	}
	p.then = make([]int32, len(c.after))
	at := append([]int32(nil), p.starts...)
	for _, a := range c.after {
		p.then[at[a[0]]] = a[1]
		at[a[0]]++
	}
	return p
}

// compiler goes through a schedule in order.
type compiler struct {
	s      Schedule
	seen   []int32 // by transfer: the one that was last made to wait for it, plus 1
	after  [][2]int32
	last   touches
	sent   map[int]int32     // by peer: the last message
	came   map[int][]receipt // by peer: the last messages, receivesAhead of them
	signal int32             // the last signal that was received, or -1
	since  []int32           // what was to be received since a signal was last sent, and that signal
}

// receivesAhead is how many receives from one rank may be under way.
const receivesAhead = 8

// receipt is a message that comes, and where in after stands what it waits for itself, beside what those before it wait for.
type receipt struct {
	t        int32
	from, to int
}

// wait makes one transfer wait for another.
func (c *compiler) wait(t, before int32) {
	if before >= 0 && before != t && c.seen[before] != t+1 {
		c.seen[before] = t + 1
		c.after = append(c.after, [2]int32{before, t})
	}
}

// all makes a transfer wait for what every transfer waits for.
func (c *compiler) all(t int32) {
	c.wait(t, c.signal)
	if before := int(t/2) - c.s.Window; c.s.Window > 0 && before >= 0 {
		st := c.s.at(before)
		if st.Send.Peer != None {
			c.wait(t, int32(2*before))
		}
		if st.Recv.Peer != None {
			c.wait(t, int32(2*before+1))
		}
	}
}

func (c *compiler) send(t int32, tr Transfer) {
	if before, ok := c.sent[tr.Peer]; ok {
		c.wait(t, before)
	}
	c.sent[tr.Peer] = t
	c.all(t)
	for b := range tr.Blocks.All(c.s.Blocks) {
		touch := c.last.of(b)
		c.wait(t, touch.came-1)
		touch.left = append(touch.left, t)
	}
	if tr.IsSignal() {
		for _, before := range c.since {
			c.wait(t, before)
		}
		c.since = append(c.since[:0], t)
	}
}

func (c *compiler) recv(t int32, tr Transfer) {
	r := receipt{t: t, from: len(c.after)}
	last := c.came[tr.Peer]
	if len(last) == receivesAhead {
		c.wait(t, last[0].t)
		last = append(last[:0], last[1:]...)
	}
	c.all(t)
	for b := range tr.Blocks.All(c.s.Blocks) {
		touch := c.last.of(b)
		c.wait(t, touch.came-1)
		for _, before := range touch.left {
			c.wait(t, before)
		}
		touch.came, touch.left = t+1, touch.left[:0]
	}
	r.to = len(c.after)
	for _, before := range last { // released before
		for _, a := range c.after[before.from:before.to] {
			c.wait(t, a[0])
		}
	}
	c.came[tr.Peer] = append(last, r)
	c.since = append(c.since, t)
	if tr.IsSignal() {
		c.signal = t
	}
}

// touch is what was last done to a block.
type touch struct {
	came int32   // the last transfer that received into it, plus 1
	left []int32 // those that sent it since
}

// touches are those of all blocks: few of many, where each rank has a row of its own.
type touches struct {
	dense  []touch
	sparse map[int]*touch
}

func newTouches(blocks, ranks int) touches {
	if blocks > 64*ranks {
		return touches{sparse: map[int]*touch{}}
	}
	return touches{dense: make([]touch, blocks)}
}

func (ts *touches) of(b int) *touch {
	if ts.dense != nil {
		return &ts.dense[b]
	}
	t := ts.sparse[b]
	if t == nil {
		t = &touch{}
		ts.sparse[b] = t
	}
	return t
}

// Action is a transfer that may take place now: the blocks it needs are ready.
type Action struct {
	Step int // of the schedule
	Send bool
}

func (a Action) number() int32 {
	if a.Send {
		return int32(2 * a.Step)
	}
	return int32(2*a.Step + 1)
}

// Machine runs the schedule of one rank: it releases each transfer as soon as what it waits for is done. It moves no data and
// knows no time: whoever drives it carries out the actions and says when each is complete. Real members, the tests' virtual
// network and the simulator drive the same machine. It is for one goroutine.
type Machine struct {
	p     *Program
	left  []int32 // by transfer: how many it still waits for
	queue []int32 // released and not yet asked for, from head on
	head  int
	todo  int // transfers that are not complete
}

// NewMachine returns a machine at the beginning of a program.
func NewMachine(p *Program) *Machine {
	m := &Machine{}
	m.Reset(p)
	return m
}

// Reset takes the machine to the beginning of a program.
func (m *Machine) Reset(p *Program) {
	m.p, m.left, m.queue, m.head, m.todo = p, append(m.left[:0], p.needs...), m.queue[:0], 0, 0
	for t, n := range m.left {
		if n >= 0 {
			m.todo++
		}
		if n == 0 {
			m.queue = append(m.queue, int32(t))
		}
	}
}

// Next returns a transfer that was released since, in the order of release, or false if there is none.
func (m *Machine) Next() (Action, bool) {
	if m.head == len(m.queue) {
		m.queue, m.head = m.queue[:0], 0
		return Action{}, false
	}
	t := m.queue[m.head]
	m.head++
	return Action{Step: int(t / 2), Send: t%2 == 0}, true
}

// Complete says that a transfer which Next returned is done: what is sent has left the memory of the blocks, or what came is
// in it.
func (m *Machine) Complete(a Action) {
	m.todo--
	t := a.number()
	for _, next := range m.p.then[m.p.starts[t]:m.p.starts[t+1]] {
		if m.left[next]--; m.left[next] == 0 {
			m.queue = append(m.queue, next)
		}
	}
}

// Done says whether all transfers are complete.
func (m *Machine) Done() bool { return m.todo == 0 }
