// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
)

// What processes tell each other at a meeting over TCP, as lines of JSON.

// place is where a rank is reached.
type place struct {
	Address string // "host:port"
	Host    string // ranks with the same reach each other's paths
	Path    string // of a socket
}

// arrival is what a rank says when it comes.
type arrival struct {
	Rank, Size int
	Place      place
}

// notice is what rank 0 says: who is missing, or why it will not have this rank, or, at last, where all are.
type notice struct {
	Missing []int   `json:",omitempty"`
	Fault   string  `json:",omitempty"`
	Again   bool    `json:",omitempty"` // with Fault: it may be another a moment later
	Places  []place `json:",omitempty"`
	Agreed  *agreed `json:",omitempty"` // with Places
}

// maxPlace bounds each text of a place, in bytes.
const maxPlace = 512

// arrivalLimit is how long an arrival may be, noticeLimit how long all notices to a rank together.
const arrivalLimit = 16 << 10

func noticeLimit(size int) int64 { return 16<<20 + int64(size)*8*maxPlace }

func (p place) check(rank int) error {
	for _, text := range []string{p.Address, p.Host, p.Path} {
		if text == "" || len(text) > maxPlace {
			return fmt.Errorf("the place of rank %d has a text of %d bytes, want 1 to %d", rank, len(text), maxPlace)
		}
	}
	if _, _, err := net.SplitHostPort(p.Address); err != nil {
		return fmt.Errorf("the address of rank %d: %w", rank, err)
	}
	return nil
}

// parseArrival reads an arrival at a meeting of some ranks.
func parseArrival(line []byte, size int) (a arrival, err error) {
	if err := json.Unmarshal(bytes.TrimSpace(line), &a); err != nil {
		return a, fmt.Errorf("an arrival that cannot be read: %w", err)
	}
	switch {
	case a.Size != size:
		return a, fmt.Errorf("rank %d counts %d ranks, rank 0 counts %d", a.Rank, a.Size, size)
	case a.Rank < 1 || a.Rank >= size:
		return a, fmt.Errorf("rank is %d, want 1 to %d", a.Rank, size-1)
	}
	return a, a.Place.check(a.Rank)
}

// parseNotice reads a notice.
func parseNotice(line []byte, size int) (n notice, err error) {
	if err := json.Unmarshal(bytes.TrimSpace(line), &n); err != nil {
		return n, fmt.Errorf("what rank 0 says cannot be read: %w", err)
	}
	if n.Agreed == nil {
		return n, nil
	}
	if len(n.Places) != size {
		return n, fmt.Errorf("rank 0 names %d places, want %d", len(n.Places), size)
	}
	for rank, p := range n.Places {
		if err := p.check(rank); err != nil {
			return n, err
		}
	}
	return n, nil
}
