// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/arrowstore"
)

// An Arrow array takes part as its values, and a result becomes one, without copies.
func TestArrowArraysTakePartAsTheirValues(t *testing.T) {
	_, groups := newCluster(t, 3, inMemory).group("g", 3)
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		arr, err := arrowstore.ArrayOf([]float32{float32(g.Rank()), 1})
		if err != nil {
			return err
		}
		defer arr.Release()
		in, err := arrowstore.Numbers[float32](arr)
		if err != nil {
			return err
		}
		out := make([]float32, g.Size()*len(in))
		if err := compare(AllGather(ctx, g, in, out), []float32{0, 1, 1, 1, 2, 1}, out, "AllGather"); err != nil {
			return err
		}
		result, err := arrowstore.ArrayOf(out)
		if err != nil {
			return err
		}
		defer result.Release()
		require.Equal(t, "[0 1 1 1 2 1]", result.String())
		return nil
	}))
}
