// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import "github.com/tutti-go/tutti/arrowstore"

// joint is an object that the members of a host write together: one that is for one result, or one that is kept.
type joint struct {
	once   *arrowstore.Joint
	writer *arrowstore.Writer // of once, at the head
	kept   *arrowstore.Reused
	mem    []byte
}

// Bytes returns the memory, to be written until the object has become a result.
func (j *joint) Bytes() []byte { return j.mem }

// Agreed returns the result, when all have written.
func (j *joint) Agreed() (*arrowstore.Object, error) {
	if j.kept != nil {
		return j.kept.Object(), nil
	}
	return j.once.Agreed()
}

// pass is Agreed for a member that does not want the result.
func (j *joint) pass() {
	if j.kept != nil {
		j.kept.Pass()
	}
}

// end lets go of what has not become an object.
func (j *joint) end() {
	if j.kept != nil {
		j.kept.Release()
		j.kept, j.mem = nil, nil
	}
	if j.once != nil {
		j.once.Release()
	}
	if j.writer != nil {
		j.writer.Abort()
	}
}
