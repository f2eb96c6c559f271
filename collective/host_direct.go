// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"errors"
	"time"

	"github.com/tutti-go/tutti/collective/hostshm"
)

// Members of one machine read a long block of a scatter straight from the root's memory, if the system lets all read each other's: it is copied once, by
// many at a time. The root waits for them then.

// directBytes is how long the longest block is from which on that pays for the root's wait.
const directBytes = 32 << 10

// direct is whether the members read each other's memory.
type direct uint8

const (
	directUntried direct = iota
	directAllowed
	directRefused
)

// direct reports whether members read each other's memory, which all find out together when it would be of use for the first time.
func (r *onHost) direct() (bool, error) {
	h := &r.g.m.host
	if h.direct == directUntried {
		ok, m, err := r.TryDirect(r.idle)
		if err == nil {
			err = r.mismatch(m)
		}
		if err != nil {
			return false, err
		}
		h.direct = directRefused
		if ok {
			h.direct = directAllowed
		}
	}
	return h.direct == directAllowed, nil
}

// scatterDirect is scatter where all read the root's memory. Whatever ends it early ends all reads, before the root's caller has its memory back.
func (r *onHost) scatterDirect(root int) error {
	c, rank := &r.call, r.g.m.rank
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	if rank == root {
		r.Expose(c.in)
		r.Publish()
		copy(c.out, r.block(c.in, root)) // while others read
		err := r.arrive()
		if err == nil {
			err = r.AwaitAll(r.idle)
		}
		if err != nil {
			r.End()
		}
		return err
	}
	if err := r.published(); err != nil {
		return err
	}
	at := len(c.out) * rank
	if c.inCounts != nil {
		at = r.ends[rank]
	}
	if err := r.ReadExposed(root, c.out, at); err != nil {
		return r.unread(err)
	}
	return r.arrive()
}

// unread says why the memory of another cannot be read. If its process is gone, word of that comes soon.
func (r *onHost) unread(err error) error {
	if !errors.Is(err, hostshm.ErrGone) {
		return err
	}
	r.bounded()
	timer := time.NewTimer(r.g.s.bounds.Silence)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
		return stopped(r.ctx)
	case <-timer.C:
		return err
	}
}
