// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"os"
)

// pinners are the ledgers of the other stores in the directory. They are guarded by the store's lock.
type pinners struct {
	reaped   int    // how many were left when they were last reaped
	attached uint32 // value of tableHeader.attached when the directory was last listed
	ledgers  map[uint64]*ledger
	broken   bool // a ledger could not be read: pins are not known, so nothing shared may be reused
}

// hold reports whether any other live store pins generation gen of a slot. The caller has made the slot unreadable: a
// pin that is not visible now will be taken back by whoever tries to make it.
func (p *pinners) hold(s *Store, slot, gen uint32) bool {
	marks := s.table.slot(slot).word.Load()
	if marks&flagShared == 0 {
		return false
	}
	if n := s.table.header().attached.Load(); n != p.attached || p.broken {
		p.broken = p.discover(s) != nil
		p.attached = n
	}
	if p.broken {
		return true
	}
	for num, l := range p.ledgers {
		if m := mark(num); marks&m != m {
			continue
		}
		held, err := l.holds(s.number, slot, gen)
		p.broken = err != nil
		if held || p.broken {
			return true
		}
	}
	return false
}

// discover maps the ledgers that appeared since the last time.
func (p *pinners) discover(s *Store) error {
	names, err := s.dir.names()
	if err != nil {
		return err
	}
	if p.ledgers == nil {
		p.ledgers = map[uint64]*ledger{}
	}
	var errs []error
	if n := len(p.ledgers); n >= 16 && n >= 2*p.reaped { // now and then, so that the dead do not pile up
		errs = append(errs, p.reap(s))
	}
	for _, name := range names {
		num, ok := parseName(name)
		if !ok || name != ledgerName(num) || num == s.number || p.ledgers[num] != nil {
			continue
		}
		live, err := alive(s.dir, num)
		if err == nil && !live {
			continue // its pins do not count
		}
		l, err := openLedger(s.dir, num)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if l != nil {
			p.ledgers[num] = l
		}
	}
	return errors.Join(errs...)
}

// reap forgets the ledgers of dead stores.
func (p *pinners) reap(s *Store) error {
	var errs []error
	for num, l := range p.ledgers {
		live, err := alive(s.dir, num)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !live {
			delete(p.ledgers, num)
			errs = append(errs, l.close())
		}
	}
	p.reaped = len(p.ledgers)
	return errors.Join(errs...)
}

func (p *pinners) close() error {
	var errs []error
	for _, l := range p.ledgers {
		errs = append(errs, l.close())
	}
	p.ledgers = nil
	return errors.Join(errs...)
}
