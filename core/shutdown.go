// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Shutdown ends the system: calls that wait for answers fail with ErrClosed, actors' contexts are cancelled, nodes end, and
// everything the system made on this machine is removed. Nodes that have not ended when ctx does are killed; the context's error is then
// returned, and so is the error of whatever else could not be ended in order. Later calls return the result of the first.
func (s *System) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.shutdown.err = s.close(ctx) })
	return s.shutdown.err
}

// refuse ends s.ctx and takes no more calls. s.wg can be waited for afterwards.
func (s *System) refuse() {
	s.calls.Lock()
	s.calls.closed = true
	s.calls.Unlock()
	s.cancel(ErrClosed)
}

func (s *System) close(ctx context.Context) error {
	s.refuse()
	for _, c := range s.openCalls() {
		c.lose(func(int) bool { return true }, ErrClosed)
	}
	err := s.nodes.stop(ctx)
	err = errors.Join(err, s.mesh.Close())
	s.wg.Wait()
	s.transfers.close()
	s.releasePuts()
	s.releaseDescents()
	return errors.Join(err, s.store.Close(), s.dir.Close())
}

// releasePuts releases what Put has made and nobody has released. Views of it end here.
func (s *System) releasePuts() {
	s.puts.Lock()
	s.puts.closed = true
	open := slices.Collect(maps.Keys(s.puts.open))
	s.puts.Unlock()
	for _, o := range open {
		o.hold.release()
	}
}

// releaseDescents releases what actors would be made anew of.
func (s *System) releaseDescents() {
	var all []*resident
	s.members.Lock()
	for _, m := range s.members.byID {
		all = slices.AppendSeq(all, maps.Values(m.actors))
		clear(m.actors)
	}
	s.members.Unlock()
	s.bury(all)
}
