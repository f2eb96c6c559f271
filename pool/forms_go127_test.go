// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build go1.27

package pool_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
	"github.com/tutti-go/tutti/pool"
)

// The forms of all three packages are called as a user calls them: the types are inferred from the method.
func TestMethodForms(t *testing.T) {
	ctx := t.Context()
	sys := coretest.Start(t, core.InProcess(2))
	actors, err := counters.Spawn(ctx, sys, 3, core.Void{})
	require.NoError(t, err)
	line, err := core.Put(ctx, sys, "four words in it")
	require.NoError(t, err)

	for _, ref := range []*core.Ref[int]{actors[0].Call(ctx, (*Counter).Count, "a b"), actors[1].CallRef(ctx, (*Counter).Count, line)} {
		_, err = ref.Get(ctx)
		require.NoError(t, err)
	}

	p, err := pool.New(actors)
	require.NoError(t, err)
	defer p.Close()
	all := p.BatchRemote()
	totals, err := all.Call(ctx, (*Counter).Total, core.Void{})
	require.NoError(t, err)
	got, err := totals.Get(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{2, 4, 0}, got)
	counts, err := all.CallRef(ctx, (*Counter).Count, line)
	require.NoError(t, err)
	got, err = counts.Get(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{4, 4, 4}, got)
	counts, err = all.CallEach(ctx, (*Counter).Count, []string{"", "a", "a b"})
	require.NoError(t, err)
	got, err = counts.Get(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2}, got)

	n, err := p.Submit(ctx, (*Counter).Count, "a b c").Get(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = p.SubmitRef(ctx, (*Counter).Count, line).Get(ctx)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	lines := "one\nand two\nand three more"
	var ordered []int
	for n, err := range p.Map(ctx, (*Counter).Count, strings.SplitSeq(lines, "\n")) {
		require.NoError(t, err)
		ordered = append(ordered, n)
	}
	require.Equal(t, []int{1, 2, 3}, ordered)
	unordered := map[int]int{}
	for n, err := range p.MapUnordered(ctx, (*Counter).Count, strings.SplitSeq(lines, "\n")) {
		require.NoError(t, err)
		unordered[n.Index] = n.Value
	}
	require.Equal(t, map[int]int{0: 1, 1: 2, 2: 3}, unordered)
	tasks := p.Tasks((*Counter).Count)
	tasks.Submit(ctx, "a b")
	n, err = tasks.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
