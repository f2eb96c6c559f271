// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "github.com/tutti-go/tutti/collective/hostshm"

// AllReduce of many members of one machine whose contributions are longer than a slot. Contributions are read where they are, by those who are awake, if the system
// lets all read each other's memory: so all members have two turns for each MiB, and not two for each slot. See docs/decisions/0027.

// exposedMembers is how many members there are from which on that pays.
const exposedMembers = 256

// allReduce combines a buffer of all members, and gives all the result.
func (r *onHost) allReduce(in []byte) error {
	exposes, err := r.exposes(len(in))
	switch {
	case err != nil:
		return err
	case exposes:
		return r.allReduceExposed(in)
	}
	return r.reduce(in, true)
}

// exposes reports whether an all-reduce of so many bytes reads contributions where they are.
func (r *onHost) exposes(n int) (bool, error) {
	narrow := r.g.m.host.narrow
	if n <= hostshm.ReadyBytes || r.Members() < exposedMembers && !narrow {
		return false, nil
	}
	if room, err := r.Room(n, r.idle); err != nil || room == n && !narrow {
		return false, err
	}
	return r.direct()
}

// allReduceExposed is allReduce out of the memory of all, who wait until nobody needs it any more.
func (r *onHost) allReduceExposed(in []byte) (err error) {
	room, err := r.RoomWide(len(in), r.idle)
	if err != nil {
		return err
	}
	if err := r.Enter(r.idle); err != nil {
		return err
	}
	defer r.exposing(&err)
	r.Expose(in)
	if err := r.arrive(); err != nil {
		return err
	}
	if err := r.Await(r.idle); err != nil {
		return err
	}
	return r.roundsOf(len(in), room, func(from, to int) error {
		if err := r.FoldExposed(in, from, to-from, r.fold); err != nil {
			return r.unread(err)
		}
		if err := r.arrive(); err != nil {
			return err
		}
		if err := r.Await(r.idle); err != nil {
			return err
		}
		copy(r.call.out[from:to], r.Wide(to-from))
		return nil
	})
}
