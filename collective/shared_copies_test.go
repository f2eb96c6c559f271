// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// sharedInPlace is an operation on what lies in the store already. It returns the memory that the caller wrote, and what it sees, if it is one that does.
type sharedInPlace func(context.Context, *Group) (wrote []int32, sees *arrowstore.View[int32], done func(), err error)

// partLength is how many elements a part has of what is shared in place.
const partLength = 1 << 14

// fromRoot is an operation on what the root has: parts of it.
func fromRoot(root, parts int, do func(context.Context, *Group, *arrowstore.View[int32]) (*arrowstore.View[int32], error)) sharedInPlace {
	return func(ctx context.Context, g *Group) ([]int32, *arrowstore.View[int32], func(), error) {
		if g.Rank() != root {
			v, err := do(ctx, g, nil)
			return nil, v, func() {}, err
		}
		b, err := NewBuffer[int32](g, parts*partLength)
		if err != nil {
			return nil, nil, nil, err
		}
		v, err := do(ctx, g, b.view)
		return b.Slice(), v, b.Release, err
	}
}

// inPlaces is an operation on what all have written into their Places.
func inPlaces(do func(context.Context, *Group, *Place[int32]) (*arrowstore.View[int32], error)) sharedInPlace {
	return func(ctx context.Context, g *Group) ([]int32, *arrowstore.View[int32], func(), error) {
		p, err := NewPlace[int32](ctx, g, partLength)
		if err != nil {
			return nil, nil, nil, err
		}
		wrote := p.Slice()
		v, err := do(ctx, g, p)
		return wrote, v, p.Release, err
	}
}

// What all see is the memory that was written: who changes it afterwards, as nobody may, changes it for all. No byte of it was copied or sent on the way, whatever the members are.
func TestWhatIsInTheStoreIsSharedWithoutACopy(t *testing.T) {
	const root = 1
	for _, n := range []int{2, 10} {
		for name, op := range map[string]struct {
			do   sharedInPlace
			want func(rank, part int) int // what a rank sees at the begin of a part, when each part begins with 100 times the rank that wrote it and its number
		}{
			"broadcast": {fromRoot(root, 1, func(ctx context.Context, g *Group, v *arrowstore.View[int32]) (*arrowstore.View[int32], error) {
				return BroadcastView(ctx, g, v, root)
			}), func(int, int) int { return 100 * root }},
			"scatter": {fromRoot(root, n, func(ctx context.Context, g *Group, v *arrowstore.View[int32]) (*arrowstore.View[int32], error) {
				return ScatterView(ctx, g, v, partLength, root)
			}), func(rank, _ int) int { return 100*root + rank }},
			"all-gather": {inPlaces(AllGatherPlace[int32]), func(_, part int) int { return 100 * part }},
			"gather": {inPlaces(func(ctx context.Context, g *Group, p *Place[int32]) (*arrowstore.View[int32], error) {
				return GatherPlace(ctx, g, p, root)
			}), func(_, part int) int { return 100 * part }},
		} {
			t.Run(fmt.Sprintf("%s, %d members", name, n), func(t *testing.T) {
				c, _ := oneMachine(t, 4)
				_, groups := c.group("g", n)
				requireAll(t, each(t.Context(), groups, gatherOnce(1, 0))) // the members find out where they are
				traffic := func() (copied, sent int64) {
					for node := range c.nodes {
						copied, sent = copied+c.hub(node).storage.copied.Load(), sent+c.hub(node).storage.sent.Load()
					}
					return copied, sent
				}
				copied, sent := traffic()
				requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
					return changedAfterwards(ctx, g, op.do, op.want)
				}))
				copiedThen, sentThen := traffic()
				require.Equal(t, [2]int64{copied, sent}, [2]int64{copiedThen, sentThen}, "bytes copied and sent")
			})
		}
	}
}

// changedAfterwards does an operation, changes what the member wrote, and compares what it sees with what it must see then.
func changedAfterwards(ctx context.Context, g *Group, do sharedInPlace, want func(rank, part int) int) error {
	wrote, sees, done, err := do(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	if err := Barrier(ctx, g); err != nil {
		return err
	}
	for part := range len(wrote) / partLength {
		wrote[part*partLength] = int32(100*g.Rank() + part)
	}
	if err := Barrier(ctx, g); err != nil || sees == nil {
		return err
	}
	defer sees.Release()
	for part := range len(sees.Slice()) / partLength {
		if got := int(sees.Slice()[part*partLength]); got != want(g.Rank(), part) {
			return fmt.Errorf("rank %d sees %d in part %d, want %d", g.Rank(), got, part, want(g.Rank(), part))
		}
	}
	return nil
}
