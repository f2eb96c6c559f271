// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !invariants

package invariants

// Enabled says whether the checks are compiled in. It is a constant, so code behind it disappears without the tag.
const Enabled = false

// Mangle overwrites buf, which its owner has released, so that whoever still reads it fails. It does nothing without the tag.
func Mangle([]byte) {}

// CloseChecker panics when the value that holds it is closed twice or used after it was closed. Its zero value is open. It
// must not be copied.
type CloseChecker struct{}

// Close records the one permitted closing. A second call panics with the stacks of both.
func (*CloseChecker) Close() {}

// AssertOpen panics, with the stack of the Close and of this call, when Close was called before.
func (*CloseChecker) AssertOpen() {}
