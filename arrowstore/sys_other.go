// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package arrowstore

import "os"

// allocate backs a range of the file with disk, so that touching its mapping cannot fail.
func allocate(f *os.File, off, n int64) error { return writeZeros(f, off, n) }

// punch would give the pages of a range back; there is no portable way.
func punch(_ *os.File, _, _ int64) error { return errNoPunch }
