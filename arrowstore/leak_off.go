// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !invariants

package arrowstore

// leakCheck panics under the build tag invariants when an Object is never released. Without the tag it is nothing.
type leakCheck struct{}

func (*leakCheck) start(*Object) {}

func (*leakCheck) stop() {}
