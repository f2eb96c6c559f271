// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes from dir the files of stores whose process has ended without closing them. Whether one has ended is
// known by its lock, which the kernel releases, never by age. Views that other processes hold of a dead store's objects
// stay readable. Open sweeps by itself; Sweep is for cleaning up when nobody will open the directory again. A missing
// directory is made. It is safe at any time and from any number of processes.
func Sweep(path string) error {
	d, err := openDir(path)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return errors.Join(sweep(d), d.close())
}

func sweep(d *dir) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	files := map[uint64][]string{} // by store
	for _, name := range names {
		if store, ok := parseName(name); ok {
			files[store] = append(files[store], name)
		}
	}
	var errs []error
	for store, names := range files {
		if err := sweepStore(d, store, names); err != nil {
			errs = append(errs, fmt.Errorf("sweep store %016x: %w", store, err))
		}
	}
	return errors.Join(errs...)
}

// sweepStore removes the files of one store if it is dead. It holds the dead store's lock meanwhile, so that two sweeps
// do not meet; the lock file goes last, so that an interrupted sweep is taken up again. Nobody takes its lock for the store's.
func sweepStore(d *dir, store uint64, names []string) error {
	rest := names[:0:0]
	for _, n := range names {
		if n != lockName(store) {
			rest = append(rest, n)
		}
	}
	lock, err := d.open(lockName(store), unix.O_RDWR)
	switch {
	case errors.Is(err, os.ErrNotExist): // a closing store removes its lock last: what is left is garbage
		return removeAll(d, rest)
	case err != nil:
		return err
	}
	ok, err := condemn(lock)
	if err != nil || !ok {
		return errors.Join(err, lock.Close())
	}
	if err := removeAll(d, rest); err != nil {
		return errors.Join(err, lock.Close())
	}
	return errors.Join(d.remove(lockName(store)), lock.Close())
}

func removeAll(d *dir, names []string) error {
	var errs []error
	for _, n := range names {
		errs = append(errs, d.remove(n))
	}
	return errors.Join(errs...)
}

// parseName returns the store that owns a file of a store directory, and false for a name that is not of this package.
func parseName(name string) (uint64, bool) {
	base, ext, _ := strings.Cut(name, ".")
	first, second, pair := strings.Cut(base, "-")
	owner, ok := parseHex(first, 16)
	if !ok {
		return 0, false
	}
	switch ext {
	case "lock", "meta", "pins":
		return owner, !pair
	case "seg", "spill":
		_, ok := parseHex(second, 8)
		return owner, pair && ok
	}
	return 0, false
}

func parseHex(s string, digits int) (uint64, bool) {
	if len(s) != digits || strings.ToLower(s) != s {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}
