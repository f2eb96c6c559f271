// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

// box is a generic actor.
type box[T any] struct{}

func (*box[T]) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func newBox(context.Context, core.Void) (*box[int], error) { return &box[int]{}, nil }

//nolint:revive // the form of a method expression
func generic[T any](*probe, context.Context, T) (core.Void, error) { return core.Void{}, nil }

// functional has a name like that of a function literal, which it is not.
//
//nolint:revive // the form of a method expression
func functional(*probe, context.Context, core.Void) (string, error) { return "functional", nil }

func (p *probe) funcs(context.Context, core.Void) (string, error) { return "funcs", nil }

func adder(n int) func(*probe, context.Context, int) (int, error) {
	return func(_ *probe, _ context.Context, x int) (int, error) { return x + n, nil }
}

var (
	addOne, addTwo = adder(1), adder(2)

	ping = core.Method((*probe).Ping)

	oddities = core.Register("oddities", newProbe, ping,
		core.Method(functional), core.Method((*probe).funcs),
		core.NamedMethod("AddOne", addOne), core.NamedMethod("AddTwo", addTwo),
		core.NamedMethod("GenericInt", generic[int]))
	oddTwins = core.Register("odd twins", newProbe, ping)
	boxes    = core.Register("boxes", newBox, core.NamedMethod("Ping", (*box[int]).Ping))
)

func TestRegisterSaysHowToMend(t *testing.T) {
	type methods = []core.MethodOf[*probe]
	var nilMethod func(*probe, context.Context, core.Void) (core.Void, error)
	tests := []struct {
		name     string
		register func()
		say      string
	}{
		{"no name", func() { core.Register("", newProbe) }, "needs a name"},
		{"reserved name", func() { core.Register("*", newProbe) }, `does not start with "*"`},
		{"taken name", func() { core.Register("probe", newProbe) }, "the name is taken; every kind needs its own"},
		{"nil constructor", func() { core.Register[*probe, setup]("mended", nil) }, "constructor is nil"},
		{"zero method", func() { core.Register("mended", newProbe, methods{{}}...) }, "make it with core.Method"},
		{"nil method", func() { core.Register("mended", newProbe, core.Method(nilMethod)) }, "a method is nil"},
		{"closure", func() { core.Register("mended", newProbe, core.Method(addOne)) }, "use core.NamedMethod"},
		{"function literal", func() {
			core.Register("mended", newProbe, core.Method(func(*probe, context.Context, int) (int, error) { return 0, nil }))
		}, "use core.NamedMethod"},
		{"method value", func() {
			core.Register("mended", newProbe, core.Method(valued{}.Bound))
		}, "give the method expression"},
		{"generic function", func() { core.Register("mended", newProbe, core.Method(generic[int])) }, "use core.NamedMethod"},
		{"generic receiver", func() { core.Register("mended", newBox, core.Method((*box[int]).Ping)) }, "use core.NamedMethod"},
		{"method without a name", func() { core.Register("mended", newProbe, core.NamedMethod("", (*probe).Ping)) }, "needs a name"},
		{"two methods of one name", func() {
			core.Register("mended", newProbe, core.Method((*probe).Ping), core.NamedMethod("Ping", (*probe).PID))
		}, `two methods are named "Ping"; give one another name with core.NamedMethod`},
		{"method for all without a name", func() {
			core.RegisterForAll(core.NamedMethod("", func(any, context.Context, int) (int, error) { return 0, nil }))
		}, "needs a name"},
		{"zero method for all", func() { core.RegisterForAll(core.MethodOf[any]{}) }, "cannot be registered"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer core.Unregister("mended") // should it have been registered after all
			defer func() {
				err, ok := recover().(*core.RegisterError)
				require.True(t, ok, "it panics with a *RegisterError")
				assert.Contains(t, err.Error(), tt.say)
			}()
			tt.register()
		})
	}
}

// valued has a method whose value fits where a method expression is wanted.
type valued struct{}

//nolint:revive // the form of a method expression
func (valued) Bound(*probe, context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func TestFunctionsThatOnlyLookLikeClosuresAreMethods(t *testing.T) {
	actors, err := oddities.Spawn(t.Context(), coretest.Start(t), 1, setup{})
	require.NoError(t, err)
	assert.Equal(t, "functional", get(t, core.Call(t.Context(), actors[0], functional, core.Void{})))
	assert.Equal(t, "funcs", get(t, core.Call(t.Context(), actors[0], (*probe).funcs, core.Void{})))
}

func TestClosuresAreCalledByNameOnly(t *testing.T) {
	actors, err := oddities.Spawn(t.Context(), coretest.Start(t), 1, setup{})
	require.NoError(t, err)
	for _, f := range []func(*probe, context.Context, int) (int, error){addOne, addTwo, adder(3)} {
		_, err := core.Call(t.Context(), actors[0], f, 1).Get(t.Context())
		require.ErrorIs(t, err, core.ErrNoMethod)
		require.ErrorContains(t, err, "by the name")
	}
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	for name, want := range map[string]int{"AddOne": 2, "AddTwo": 3} {
		s, err := core.SubmitNamed(t.Context(), targets, name, 1, core.FailFast)
		require.NoError(t, err)
		assert.Equal(t, want, get(t, core.RefAt[int](s, 0)))
	}
}

func TestOneMethodMayBelongToSeveralKinds(t *testing.T) {
	sys := coretest.Start(t)
	a, err := oddities.Spawn(t.Context(), sys, 1, setup{})
	require.NoError(t, err)
	b, err := oddTwins.Spawn(t.Context(), sys, 1, setup{})
	require.NoError(t, err)
	get(t, core.Call(t.Context(), a[0], (*probe).Ping, core.Void{}))
	get(t, core.Call(t.Context(), b[0], (*probe).Ping, core.Void{}))
	require.NoError(t, a[0].Kill(t.Context()))
	err = core.Call(t.Context(), a[0], (*probe).Ping, core.Void{}).Err(t.Context())
	require.ErrorContains(t, err, "oddities.Ping", "each kind says its own name")
}

// Methods for all kinds. One of them has a name that a kind has taken.
var _ = core.RegisterForAll(
	core.NamedMethod("test.TypeOf", func(actor any, _ context.Context, _ core.Void) (string, error) { return fmt.Sprintf("%T", actor), nil }),
	core.NamedMethod("PID", func(any, context.Context, core.Void) (int, error) { return -1, nil }))

func TestMethodsForAllKindsAreCalledByName(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		a, err := probes.Spawn(t.Context(), sys, 1, setup{})
		require.NoError(t, err)
		b, err := boxes.Spawn(t.Context(), sys, 1, core.Void{})
		require.NoError(t, err)
		probeTargets, err := core.NewTargets(a)
		require.NoError(t, err)
		boxTargets, err := core.NewTargets(b)
		require.NoError(t, err)
		call := func(targets *core.Targets, name string) any {
			s, err := core.SubmitNamed(t.Context(), targets, name, core.Void{}, core.FailFast)
			require.NoError(t, err)
			return get(t, core.RefAt[any](s, 0))
		}
		require.Equal(t, "*core_test.probe", call(probeTargets, "test.TypeOf"))
		require.Equal(t, "*core_test.box[int]", call(boxTargets, "test.TypeOf"))
		require.Equal(t, -1, call(boxTargets, "PID"))
		require.Positive(t, call(probeTargets, "PID"), "a kind's own method goes before")
	})
	require.Panics(t, func() {
		core.RegisterForAll(core.NamedMethod("PID", func(any, context.Context, core.Void) (int, error) { return 0, nil }))
	})
}

func TestGenericActorsHaveNamedMethods(t *testing.T) {
	actors, err := boxes.Spawn(t.Context(), coretest.Start(t), 1, core.Void{})
	require.NoError(t, err)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	s, err := core.SubmitNamed(t.Context(), targets, "Ping", core.Void{}, core.FailFast)
	require.NoError(t, err)
	get(t, core.RefAt[core.Void](s, 0))
}
