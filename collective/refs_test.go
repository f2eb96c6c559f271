// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/batch"
	"github.com/tutti-go/tutti/collective"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// put makes an input for each rank: element i of rank r is i*8 + r.
func put(t *testing.T, sys *core.System, n, length int) (refs []*core.Ref[[]float32], values [][]float32) {
	t.Helper()
	for rank := range n {
		v := make([]float32, length)
		for i := range v {
			v[i] = float32(i*8 + rank)
		}
		ref, err := core.Put(t.Context(), sys, v)
		require.NoError(t, err)
		refs, values = append(refs, ref), append(values, v)
	}
	return refs, values
}

func release(refs []*core.Ref[[]float32]) {
	for _, r := range refs {
		r.Release()
	}
}

// hold waits for the results of an operation, compares them and returns the references.
func hold(t *testing.T, want func(rank int) []float32) func(got *batch.Refs[[]float32], err error) []*core.Ref[[]float32] {
	t.Helper()
	return func(got *batch.Refs[[]float32], err error) []*core.Ref[[]float32] {
		t.Helper()
		require.NoError(t, err)
		values, err := got.Get(t.Context())
		require.NoError(t, err)
		for rank, v := range values {
			require.Len(t, v, len(want(rank)))
			require.True(t, slices.Equal(want(rank), v), "rank %d", rank)
		}
		return got.Refs()
	}
}

func TestOperationsOverReferences(t *testing.T) {
	for name, nodes := range systems(4) {
		for hosts, opts := range map[string][]core.Option{"one host": {nodes}, "two hosts": {nodes, core.SimulatedHosts(2)}} {
			t.Run(name+"/"+hosts, func(t *testing.T) {
				sys := coretest.Start(t, opts...)
				for _, n := range []int{1, 5} {
					g, err := collective.NewGroup(t.Context(), "refs", spawn(t, sys, n))
					require.NoError(t, err)
					for _, length := range []int{0, n, 2000 * n, 40_000 * n} { // within a message, and beyond
						overReferences(t, sys, g, length)
					}
					require.NoError(t, g.Close(t.Context()))
				}
				nothingIsLeft(t, sys)
			})
		}
	}
}

func overReferences(t *testing.T, sys *core.System, g *collective.Group, length int) {
	n := g.Size()
	in, values := put(t, sys, n, length)
	sums := make([]float32, length)
	for i := range sums {
		for _, v := range values {
			sums[i] += v[i]
		}
	}
	ctx := t.Context()
	sum := hold(t, func(int) []float32 { return sums })(collective.AllReduceRefs(ctx, g, in, collective.Sum))
	// Results are inputs, wherever they are.
	same := hold(t, func(int) []float32 { return sums })(collective.AllReduceRefs(ctx, g, sum, collective.Max))
	part := func(rank int) []float32 { return sums[rank*length/n : (rank+1)*length/n] }
	parts := hold(t, part)(collective.ReduceScatterRefs(ctx, g, in, collective.Sum))
	whole := hold(t, func(int) []float32 { return sums })(collective.AllGatherRefs(ctx, g, parts))
	root := n / 2
	copies := hold(t, func(int) []float32 { return values[root] })(collective.BroadcastRefs(ctx, g, in[root], root))
	for _, refs := range [][]*core.Ref[[]float32]{in, sum, same, parts, whole, copies} {
		release(refs)
	}
}

// nothingIsLeft waits until the stores that show in the driver's hold nothing.
func nothingIsLeft(t *testing.T, sys *core.System) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		st := sys.Stats()
		return st.Objects.Objects == 0 && st.Calls == 0
	}, 20*time.Second, 5*time.Millisecond, "objects or calls are left")
}

func TestReferencesOfEveryElementType(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	g, err := collective.NewGroup(t.Context(), "types", spawn(t, sys, 3))
	require.NoError(t, err)
	check := func(err error) { t.Helper(); require.NoError(t, err) }
	check(reduced(t, sys, g, []bool{true, false}, []bool{true, false}, collective.LogicalAnd))
	check(reduced(t, sys, g, []int{1, -2}, []int{3, -6}, collective.Sum))
	check(reduced(t, sys, g, []int8{1, -2}, []int8{3, -6}, collective.Sum))
	check(reduced(t, sys, g, []int16{1, -2}, []int16{3, -6}, collective.Sum))
	check(reduced(t, sys, g, []int32{7, 0}, []int32{1, 0}, collective.LogicalOr))
	check(reduced(t, sys, g, []int64{1, -2}, []int64{1, -2}, collective.Avg))
	check(reduced(t, sys, g, []uint{1, 2}, []uint{3, 6}, collective.Sum))
	check(reduced(t, sys, g, []uint8{1, 2}, []uint8{3, 6}, collective.Sum))
	check(reduced(t, sys, g, []uint16{1, 2}, []uint16{3, 6}, collective.Sum))
	check(reduced(t, sys, g, []uint32{1, 2}, []uint32{1, 2}, collective.BitAnd))
	check(reduced(t, sys, g, []uint64{1, 2}, []uint64{1, 8}, collective.Prod))
	check(reduced(t, sys, g, []float64{1, 2}, []float64{3, 6}, collective.Sum))
	check(reduced(t, sys, g, []complex64{1, 2i}, []complex64{3, 6i}, collective.Sum))
	check(reduced(t, sys, g, []complex128{1, 2i}, []complex128{3, 6i}, collective.Sum))
	half, three := collective.NewFloat16(0.5), collective.NewFloat16(1.5)
	check(reduced(t, sys, g, []collective.Float16{half}, []collective.Float16{three}, collective.Sum))
	bhalf, bthree := collective.NewBFloat16(0.5), collective.NewBFloat16(1.5)
	check(reduced(t, sys, g, []collective.BFloat16{bhalf}, []collective.BFloat16{bthree}, collective.Sum))
}

// reduced reduces the same value of all members.
func reduced[T collective.RefElement](t *testing.T, sys *core.System, g *collective.Group, in, want []T, op collective.Op) error {
	t.Helper()
	ref, err := core.Put(t.Context(), sys, in)
	if err != nil {
		return err
	}
	defer ref.Release()
	got, err := collective.AllReduceRefs(t.Context(), g, slices.Repeat([]*core.Ref[[]T]{ref}, g.Size()), op)
	if err != nil {
		return err
	}
	defer got.Release()
	values, err := got.Get(t.Context())
	for _, v := range values {
		require.Equal(t, want, v, "%T", in)
	}
	return err
}

// Operations that are called at the same time reach all members in one order.
func TestOperationsOverReferencesWaitForEachOther(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(2))
	g, err := collective.NewGroup(t.Context(), "busy", spawn(t, sys, 4))
	require.NoError(t, err)
	in, _ := put(t, sys, 4, 3)
	errs := make(chan error)
	for range 8 {
		go func() {
			got, err := collective.AllReduceRefs(t.Context(), g, in, collective.Sum)
			if err == nil {
				var v [][]float32
				if v, err = got.Get(t.Context()); err == nil && v[0][0] != 6 {
					err = errors.New("wrong result")
				}
			}
			errs <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-errs)
	}
}

func TestReferencesThatCannotBeInputsAreErrorsOfTheCallAlone(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	g, err := collective.NewGroup(t.Context(), "g", spawn(t, sys, 3))
	require.NoError(t, err)
	in, _ := put(t, sys, 3, 5)
	gone, _ := put(t, sys, 1, 5)
	release(gone)
	try := func(refs []*core.Ref[[]float32], op collective.Op) error {
		_, err := collective.AllReduceRefs(t.Context(), g, refs, op)
		return err
	}
	require.ErrorIs(t, try(in[:2], collective.Sum), collective.ErrArgument)
	require.ErrorContains(t, try([]*core.Ref[[]float32]{in[0], nil, in[2]}, collective.Sum), "reference 1 is nil")
	require.ErrorIs(t, try(in, collective.BitAnd), collective.ErrArgument)
	require.ErrorIs(t, try(in, collective.Op(200)), collective.ErrArgument)
	err = try([]*core.Ref[[]float32]{in[0], in[1], gone[0]}, collective.Sum)
	require.ErrorIs(t, err, core.ErrObjectLost)
	require.ErrorContains(t, err, "argument 2")
	_, err = collective.BroadcastRefs(t.Context(), g, in[0], 3)
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.BroadcastRefs[float32](t.Context(), g, nil, 0)
	require.ErrorIs(t, err, collective.ErrArgument)
	_, err = collective.ReduceScatterRefs(t.Context(), g, in, collective.BitOr)
	require.ErrorIs(t, err, collective.ErrArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = collective.AllReduceRefs(ctx, g, in, collective.Sum)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, try(in, collective.Sum), "the group is as before")
	release(in)
	nothingIsLeft(t, sys)
}

func TestLengthsThatDifferAreErrorsByRank(t *testing.T) {
	for name, nodes := range systems(2) {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes)
			actors := spawn(t, sys, 4)
			g, err := collective.NewGroup(t.Context(), "g", actors)
			require.NoError(t, err)
			in, _ := put(t, sys, 4, 50_000)
			odd, _ := put(t, sys, 1, 50_001)
			_, err = collective.AllReduceRefs(t.Context(), g, append(in[:3:3], odd[0]), collective.Sum)
			failed, ok := errors.AsType[*batch.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 4, failed.Total)
			require.Len(t, failed.Failures, 4)
			for rank, f := range failed.Failures {
				require.Equal(t, rank, f.Index)
				require.ErrorIs(t, f.Err, collective.ErrMismatch)
				require.ErrorContains(t, f.Err, "50001")
			}
			<-g.Done() // the creator hears of it, too
			_, err = collective.AllReduceRefs(t.Context(), g, in, collective.Sum)
			require.ErrorIs(t, err, collective.ErrAborted)
			g, err = collective.NewGroup(t.Context(), "g", actors)
			require.NoError(t, err)
			_, err = collective.ReduceScatterRefs(t.Context(), g, append(in[:3:3], odd[0]), collective.Sum)
			failed, ok = errors.AsType[*batch.Error](err)
			require.True(t, ok, "%v", err)
			require.ErrorIs(t, failed.At(3), collective.ErrArgument, "the members that have begun do not wait for it")
			require.ErrorIs(t, g.Err(), collective.ErrAborted)
			release(in)
			release(odd)
			nothingIsLeft(t, sys)
		})
	}
}

func TestADeadMemberIsAnErrorOfAnOperationOverReferences(t *testing.T) {
	for name, nodes := range systems(3) {
		t.Run(name, func(t *testing.T) {
			sys := coretest.Start(t, nodes)
			actors := spawn(t, sys, 6)
			g, err := collective.NewGroup(t.Context(), "g", actors)
			require.NoError(t, err)
			_, err = collective.NewGroup(t.Context(), "alone", actors[4:5])
			require.NoError(t, err)
			busy := core.Call(t.Context(), actors[4], (*member).Loop, Task{Group: "alone", Op: "barrier"}) // so that its order waits
			in, _ := put(t, sys, 6, 50_000)
			done := make(chan error)
			go func() {
				_, err := collective.AllReduceRefs(t.Context(), g, in, collective.Sum)
				done <- err
			}()
			timer := time.NewTimer(50 * time.Millisecond) // amid the operation, or before: the errors must be right in either case
			<-timer.C
			require.NoError(t, actors[4].Kill(t.Context()))
			err = <-done
			_ = busy.Err(t.Context()) // it has a report of its own, or died
			if failed, ok := errors.AsType[*batch.Error](err); ok {
				for _, f := range failed.Failures {
					if f.Index == 4 {
						require.ErrorIs(t, f.Err, core.ErrActorDead)
						continue
					}
					require.ErrorIs(t, f.Err, collective.ErrMemberLost)
				}
				require.Len(t, failed.Failures, 6)
			} else {
				require.ErrorIs(t, err, collective.ErrMemberLost)
			}
			next, err := g.Shrink(t.Context())
			require.NoError(t, err)
			require.Equal(t, 5, next.Size())
			got, err := collective.AllReduceRefs(t.Context(), next, append(in[:4:4], in[5]), collective.Sum)
			require.NoError(t, err)
			got.Release()
			release(in)
			nothingIsLeft(t, sys)
		})
	}
}

func TestALostNodeIsAnErrorOfAnOperationOverReferences(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(3))
	actors := spawn(t, sys, 6)
	g, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	in, _ := put(t, sys, 6, 50_000)
	coretest.KillNode(t, sys, 3)
	_, err = collective.AllReduceRefs(t.Context(), g, in, collective.Sum)
	require.True(t, errors.Is(err, core.ErrNodeLost) || errors.Is(err, collective.ErrMemberLost), "%v", err)
	next, err := g.Shrink(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, next.Size())
	got, err := collective.AllReduceRefs(t.Context(), next, in[:4], collective.Sum)
	require.NoError(t, err)
	got.Release()
}

// The end of the caller's context ends the epoch, for members that have begun would wait for those that have not.
func TestAnOperationOverReferencesEndsWithItsContext(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	actors := spawn(t, sys, 3)
	g, err := collective.NewGroup(t.Context(), "g", actors)
	require.NoError(t, err)
	alone, err := collective.NewGroup(t.Context(), "alone", actors[:1])
	require.NoError(t, err)
	busy := core.Call(t.Context(), actors[0], (*member).Loop, Task{Group: "alone", Op: "barrier"})
	in, _ := put(t, sys, 3, 50_000)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = collective.AllReduceRefs(ctx, g, in, collective.Sum)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, g.Err(), collective.ErrAborted)
	require.NoError(t, alone.Close(t.Context()))
	require.NoError(t, busy.Err(t.Context()))
	release(in)
	nothingIsLeft(t, sys)
}
