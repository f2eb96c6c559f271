// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Link is what a message costs between two ranks on one level.
type Link struct {
	Latency  time.Duration // from the end of the sender's work to the beginning of the receiver's
	Overhead time.Duration // a processor's work for a message, at each end
	PerByte  float64       // nanoseconds for a byte on its way: the inverse of the bandwidth
	Work     float64       // nanoseconds of a processor's work for a byte, at each end: copying
}

// String prints a link, such as "20µs, 1.5µs + 0.1 ns/B at each end, 0.32 ns/B (3.1 GB/s)".
func (l Link) String() string {
	way := "any rate"
	if l.PerByte > 0 {
		way = fmt.Sprintf("%.3g ns/B (%.3g GB/s)", l.PerByte, 1/l.PerByte)
	}
	return fmt.Sprintf("latency %v, work %v + %.3g ns/B at each end, %s", l.Latency, l.Overhead, l.Work, way)
}

// Model says what messages and sums cost, and where ranks live: ranks that follow each other share a process, a host and a rack.
type Model struct {
	Process Link // between ranks of one process
	Host    Link // between processes of one host
	Network Link // between hosts; PerByte is of a host's card, which its ranks share, in each direction

	Combine float64 // nanoseconds for a byte that is combined with another
	Copy    float64 // nanoseconds for a byte that is copied in memory
	Cores   int     // processors of a host, which its ranks share; 0: one for each rank

	PerProcess int // ranks of a process; 0: one
	PerHost    int // ranks of a host; 0: as many as of a process
	PerRack    int // ranks of a rack; 0: all
	// Oversubscription is how many times as much the cards of a rack's hosts carry together as the rack's uplink. 0: 1.
	Oversubscription float64
}

// Validate returns an error that names each field that is out of its bounds.
func (m *Model) Validate() error {
	var errs []error
	bad := func(wrong bool, name string, value any, want string) {
		if wrong {
			errs = append(errs, fmt.Errorf("schedule: model: %s is %v, want %s", name, value, want))
		}
	}
	for _, l := range []struct {
		name string
		link Link
	}{{"Process", m.Process}, {"Host", m.Host}, {"Network", m.Network}} {
		bad(l.link.Latency < 0, l.name+".Latency", l.link.Latency, "0 or more")
		bad(l.link.Overhead < 0, l.name+".Overhead", l.link.Overhead, "0 or more")
		bad(!(l.link.PerByte >= 0), l.name+".PerByte", l.link.PerByte, "0 or more")
		bad(!(l.link.Work >= 0), l.name+".Work", l.link.Work, "0 or more")
	}
	bad(!(m.Combine >= 0), "Combine", m.Combine, "0 or more")
	bad(!(m.Copy >= 0), "Copy", m.Copy, "0 or more")
	bad(m.Cores < 0, "Cores", m.Cores, "0 or more")
	bad(m.PerProcess < 0, "PerProcess", m.PerProcess, "0 or more")
	bad(m.PerHost < 0, "PerHost", m.PerHost, "0 or more")
	bad(m.PerRack < 0, "PerRack", m.PerRack, "0 or more")
	bad(!(m.Oversubscription >= 0), "Oversubscription", m.Oversubscription, "0 or more")
	return errors.Join(errs...)
}

// String prints the constants, one level to a line.
func (m *Model) String() string {
	var b strings.Builder
	process, host, rack := m.shape()
	fmt.Fprintf(&b, "in a process of %d: %v\n", process, m.Process)
	fmt.Fprintf(&b, "in a host of %d:    %v\n", host, m.Host)
	fmt.Fprintf(&b, "between hosts:      %v\n", m.Network)
	fmt.Fprintf(&b, "combine %.3g ns/B, copy %.3g ns/B", m.Combine, m.Copy)
	if m.Cores > 0 {
		fmt.Fprintf(&b, ", %d processors for a host", m.Cores)
	}
	if rack > 0 {
		fmt.Fprintf(&b, ", %d ranks to a rack, oversubscribed %.3g:1", rack, m.oversubscription())
	}
	return b.String()
}

// shape returns how many ranks follow each other in a process, a host and a rack; 0 for no racks.
func (m *Model) shape() (process, host, rack int) {
	process = max(1, m.PerProcess)
	host = max(process, m.PerHost)
	if m.PerRack > 0 {
		rack = max(host, m.PerRack)
	}
	return process, host, rack
}

func (m *Model) oversubscription() float64 {
	if m.Oversubscription == 0 {
		return 1
	}
	return m.Oversubscription
}

// between returns what a message from one rank to another costs, and whether it leaves the host.
func (m *Model) between(from, to int) (l *Link, leaves bool) {
	process, host, _ := m.shape()
	switch {
	case from/process == to/process:
		return &m.Process, false
	case from/host == to/host:
		return &m.Host, false
	default:
		return &m.Network, true
	}
}

// crowd returns how many times longer a rank's work takes when all ranks of a host work at once.
func (m *Model) crowd(ranks int) float64 {
	_, host, _ := m.shape()
	if m.Cores == 0 {
		return 1
	}
	return max(1, float64(min(host, ranks))/float64(m.Cores))
}

// folded is what a message over some distance costs where all ranks send at once: the longest latency of any of them, their average
// work, and the way of as many messages as share the card of a host or the uplink of a rack.
func (m *Model) folded(ranks, distance int) (latency, overhead, work, perByte float64) {
	process, host, rack := m.shape()
	d := min(distance, ranks-distance)
	share := func(unit int) float64 { // of ranks whose message leaves their unit
		if unit >= ranks {
			return 0
		}
		return min(1, float64(d)/float64(unit))
	}
	outside, between := share(process), share(host)
	parts := [...]struct {
		link *Link
		of   float64
	}{{&m.Process, 1 - outside}, {&m.Host, outside - between}, {&m.Network, between}}
	for _, p := range parts {
		if p.of <= 0 {
			continue
		}
		latency = max(latency, float64(p.link.Latency))
		overhead += p.of * float64(p.link.Overhead)
		work += p.of * p.link.Work
		if p.link != &m.Network {
			perByte = max(perByte, p.link.PerByte)
			continue
		}
		perByte = max(perByte, p.link.PerByte*float64(min(d, host)))
		if rack > 0 && rack < ranks {
			uplink := m.Network.PerByte * m.oversubscription() * float64(host) / float64(rack)
			perByte = max(perByte, uplink*float64(min(d, rack)))
		}
	}
	return latency, overhead, work, perByte
}
