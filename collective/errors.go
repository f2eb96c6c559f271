// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"strings"

	"github.com/tutti-go/tutti/core"
)

// These cross between processes as themselves: a driver's errors.Is finds them in the *core.ActorError of a method that
// returned one.
var (
	// ErrAborted is matched by every *Error: the group's epoch is over, no operation on it will succeed again.
	ErrAborted = core.NewError("collective: group aborted")
	// ErrMemberLost is the reason when a member's node was lost or its actor ended.
	ErrMemberLost = core.NewError("collective: member lost")
	// ErrMismatch is the reason when members called different operations, or one with different element types, counts,
	// reductions or roots.
	ErrMismatch = core.NewError("collective: members called different operations")
	// ErrStalled is the reason when nothing moved for the group's Stall. It matches context.DeadlineExceeded too.
	ErrStalled = core.NewError("collective: no progress")
	// ErrRevoked is the reason when Revoke was called, by a member or by the creator.
	ErrRevoked = core.NewError("collective: group revoked")
	// ErrPanicked is the reason when an operation of a member, or a method of its actor, panicked. The member may still live, and be a part of
	// the group that Shrink makes.
	ErrPanicked = core.NewError("collective: member panicked")
	// ErrExcluded is returned by Shrink and Agree to a member that the others take for lost.
	ErrExcluded = core.NewError("collective: excluded from the group")
	// ErrReplaced is the reason when NewGroup made a group of the same name.
	ErrReplaced = core.NewError("collective: group replaced by a newer one of its name")
	// ErrClosed is the reason when Close was called, by a member or by the creator. FromContext returns it too.
	ErrClosed = core.NewError("collective: group closed")
	// ErrNoGroup says that the actor was never put into a group of that name.
	ErrNoGroup = core.NewError("collective: no such group")
	// ErrOutside says that FromContext was called with a context that is not one of an actor's call.
	ErrOutside = core.NewError("collective: not in an actor's call")
	// ErrNotMember says that an operation was called on a group that the caller holds but is not a member of: by its creator, or
	// by an actor that got hold of another's group.
	ErrNotMember = core.NewError("collective: not a member of the group")
	// ErrArgument is matched by errors about arguments: a root that is no rank, a wrong length, a reduction that is
	// not for the element type, an empty or repeated set of members. Nothing was sent and the group is as before.
	ErrArgument = core.NewError("collective: bad argument")
)

// Error says that an operation failed because the group's epoch is over. All members get the same Reason and Failed: those of
// the first failure that reached the member.
type Error struct {
	Group  string
	Epoch  uint32
	Seq    uint64 // number of the operation in its group, from 1; 0 if the epoch was over before it began, and of Send, Recv and SendRecv
	Op     string // what was called, such as "AllReduce(sum, float32 x 1000)"
	Rank   int    // rank of the caller
	Failed []int  // ranks known to have failed, in rising order; empty if the reason does not tell
	Reason error  // matches one of the sentinels of this package, context.Canceled or context.DeadlineExceeded
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "collective: group %q epoch %d: rank %d: %s", e.Group, e.Epoch, e.Rank, e.Op)
	if e.Seq > 0 {
		fmt.Fprintf(&b, " (operation %d)", e.Seq)
	}
	if len(e.Failed) > 0 {
		fmt.Fprintf(&b, ": failed ranks %s", ranksText(e.Failed))
	}
	fmt.Fprintf(&b, ": %v", e.Reason)
	return b.String()
}

// Is makes an Error match ErrAborted.
func (e *Error) Is(target error) bool { return target == ErrAborted }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Reason }

// ranksText prints the first ranks of a list, or numbers by rank, and how many more there are.
func ranksText(ranks []int) string {
	const shown = 8
	text := fmt.Sprint(ranks[:min(len(ranks), shown)])
	if more := len(ranks) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
