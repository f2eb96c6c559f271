// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	arrivalPatience = 10 * time.Second // with one that has proved itself and does not say who it is
	noticePatience  = 10 * time.Second // with one that does not read
	noticeEvery     = 500 * time.Millisecond
)

// meeting is where rank 0 awaits the others. Whoever is late, or comes when it is over, is told.
type meeting struct {
	size int
	wg   sync.WaitGroup

	mu struct {
		sync.Mutex

		guests  map[int]*guest // who has come, by rank
		conns   map[net.Conn]struct{}
		changed chan struct{} // closed and replaced with every change of guests
		over    string        // why nobody is received any more
		closed  bool
	}
}

// guest is a rank that has come.
type guest struct {
	place place
	conn  net.Conn

	mu sync.Mutex // of what is written
}

func newMeeting(size int) *meeting {
	m := &meeting{size: size}
	m.mu.guests = map[int]*guest{}
	m.mu.conns = map[net.Conn]struct{}{}
	m.mu.changed = make(chan struct{})
	return m
}

// welcome takes over a connection whose other end has proved itself. It does not block.
func (m *meeting) welcome(nc net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		_ = nc.Close()
		return
	}
	m.mu.conns[nc] = struct{}{}
	m.wg.Go(func() {
		m.receive(nc)
		m.mu.Lock()
		delete(m.mu.conns, nc)
		m.mu.Unlock()
		_ = nc.Close() // the other end has gone or was told to
	})
}

// receive reads an arrival, and stays until the rank goes.
func (m *meeting) receive(nc net.Conn) {
	if nc.SetReadDeadline(time.Now().Add(arrivalPatience)) != nil {
		return
	}
	lines := bufio.NewReader(io.LimitReader(nc, arrivalLimit))
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return
	}
	a, err := parseArrival(line, m.size)
	g := &guest{place: a.Place, conn: nc}
	if err != nil {
		g.tell(notice{Fault: err.Error()})
		return
	}
	if refusal := m.seat(a.Rank, g); refusal != nil {
		g.tell(*refusal)
		return
	}
	if nc.SetReadDeadline(time.Time{}) == nil {
		_, _ = lines.ReadByte() // nothing comes: the rank has gone, or the meeting is closed
	}
	m.leave(a.Rank, g)
}

// seat notes that a rank has come, unless it is not received.
func (m *meeting) seat(rank int, g *guest) *notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mu.over != "":
		return &notice{Fault: m.mu.over, Again: true}
	case m.mu.guests[rank] != nil: // a process that has died is soon found to have left
		return &notice{Fault: fmt.Sprintf("another process has come as rank %d, from %s", rank, m.mu.guests[rank].place.Address), Again: true}
	}
	m.mu.guests[rank] = g
	m.changeLocked()
	return nil
}

func (m *meeting) leave(rank int, g *guest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.guests[rank] == g && m.mu.over == "" {
		delete(m.mu.guests, rank)
		m.changeLocked()
	}
}

func (m *meeting) changeLocked() {
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}

// await waits for all ranks, which it tells who is missing, and returns their places. The error names those who have not come.
func (m *meeting) await(ctx context.Context) ([]place, error) {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	told := map[*guest]bool{}
	for {
		m.mu.Lock()
		missing, changed := m.missingLocked(), m.mu.changed
		if len(missing) == 0 {
			m.mu.over = "the group is complete; this rank is of another job, or came a second time"
			places := make([]place, m.size)
			for rank, g := range m.mu.guests {
				places[rank] = g.place
			}
			m.mu.Unlock()
			return places, nil
		}
		var news []*guest
		for _, g := range m.mu.guests {
			if !told[g] {
				told[g] = true
				news = append(news, g)
			}
		}
		m.mu.Unlock()
		m.tellAll(news, notice{Missing: missing})
		select {
		case <-changed:
		case <-tick.C:
			clear(told) // what they know is old
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", &missingError{missing}, stopped(ctx))
		}
	}
}

func (m *meeting) missingLocked() (missing []int) {
	for rank := 1; rank < m.size; rank++ {
		if m.mu.guests[rank] == nil {
			missing = append(missing, rank)
		}
	}
	return missing
}

// answer tells all ranks that have come where the others are. Who does not hear it has gone, which is found out when it is to be reached.
func (m *meeting) answer(n notice) { m.tellAll(m.all(), n) }

// callOff tells all ranks that have come why there will be no group.
func (m *meeting) callOff(why error) {
	m.mu.Lock()
	m.mu.over = why.Error()
	m.mu.Unlock()
	m.tellAll(m.all(), notice{Fault: why.Error()})
}

func (m *meeting) all() []*guest {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*guest, 0, len(m.mu.guests))
	for _, g := range m.mu.guests {
		all = append(all, g)
	}
	return all
}

// tellAll tells guests something side by side, so that one that does not read keeps nobody waiting but this meeting.
func (m *meeting) tellAll(guests []*guest, n notice) {
	const together = 64
	places := make(chan struct{}, together) // taken by those who write
	line := n.encode()
	var wg sync.WaitGroup
	for _, g := range guests {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			g.write(line)
		})
	}
	wg.Wait()
}

func (n notice) encode() []byte {
	line, err := json.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("collective: a notice cannot be encoded: %v", err)) // a mistake of this package
	}
	return append(line, '\n')
}

func (g *guest) tell(n notice) { g.write(n.encode()) }

// write leaves a line to a guest. One that does not take it loses its connection, and so its place.
func (g *guest) write(line []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.conn.SetWriteDeadline(time.Now().Add(noticePatience))
	if err == nil {
		_, err = g.conn.Write(line)
	}
	if err != nil {
		_ = g.conn.Close()
	}
}

// close ends all that the meeting has begun.
func (m *meeting) close() {
	m.mu.Lock()
	m.mu.closed = true
	for nc := range m.mu.conns {
		_ = nc.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}
