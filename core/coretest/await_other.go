// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package coretest

// awaitStop does nothing where stopping cannot be waited for: a process may do a little more after the signal.
func awaitStop(int) error { return nil }
