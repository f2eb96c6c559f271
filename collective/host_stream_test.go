// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Results that together are too long for caches are written around them. They come whole, also where their parts begin anywhere.
func TestLongResultsAreTakenWhole(t *testing.T) {
	const n, length = 5, streamBytes/5 + 12345
	block := length/n + 1
	data := make([]byte, block*n)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	c, _ := oneMachine(t, n)
	_, groups := c.group("g", n)
	same := func(what string, got, want []byte) error {
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s: the result is another", what)
		}
		return nil
	}
	requireAll(t, each(t.Context(), groups, Barrier)) // they have met
	for _, g := range groups {
		require.NotNil(t, g.m.host.port.Load())
		g.m.host.direct = directRefused // else an all-to-all reads what others have
	}
	requireAll(t, each(t.Context(), groups, func(ctx context.Context, g *Group) error {
		out := make([]byte, len(data))
		if g.Rank() == 2 {
			copy(out, data)
		}
		if err := Broadcast(ctx, g, out, 2); err != nil {
			return err
		}
		if err := same("broadcast", out, data); err != nil {
			return err
		}
		clear(out)
		if err := AllGather(ctx, g, data[block*g.Rank():block*(g.Rank()+1)], out); err != nil {
			return err
		}
		if err := same("all-gather", out, data); err != nil {
			return err
		}
		clear(out)
		if err := AllToAll(ctx, g, data, out); err != nil {
			return err
		}
		own := data[block*g.Rank() : block*(g.Rank()+1)]
		return same("all-to-all", out, bytes.Repeat(own, n))
	}))
}
