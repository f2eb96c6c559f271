// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

func TestStartRefusesBadOptions(t *testing.T) {
	for name, opts := range map[string][]core.Option{
		"no nodes":                {core.InProcess(0)},
		"fewer than none":         {core.LocalNodes(-1)},
		"too many":                {core.LocalNodes(1 << 20)},
		"two places":              {core.InProcess(1), core.LocalNodes(1)},
		"one place twice":         {core.InProcess(1), core.InProcess(1)},
		"nil option":              {nil},
		"nil logger":              {core.Logger(nil)},
		"negative limit":          {core.StoreLimit(-1)},
		"no interval":             {core.Heartbeat(0, time.Second)},
		"timeout before interval": {core.Heartbeat(time.Second, time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			sys, err := core.Start(t.Context(), opts...)
			require.ErrorIs(t, err, core.ErrInvalid)
			require.Nil(t, sys)
			require.Empty(t, sessionDirs(t))
		})
	}
}

func TestSpawnRefusesBadInput(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	unleaked(t, sys)
	late := core.Register("late", newProbe, core.Method((*probe).Ping))
	t.Cleanup(func() { core.Unregister("late") })
	var none *core.Kind[*probe, setup]
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	for name, tt := range map[string]struct {
		spawn func() (any, error)
		want  error
		say   string
	}{
		"zero Kind":       {func() (any, error) { return new(core.Kind[*probe, setup]).Spawn(t.Context(), sys, 1, setup{}) }, core.ErrNoKind, "zero Kind"},
		"nil Kind":        {func() (any, error) { return none.Spawn(t.Context(), sys, 1, setup{}) }, core.ErrNoKind, "zero Kind"},
		"late kind":       {func() (any, error) { return late.Spawn(t.Context(), sys, 1, setup{}) }, core.ErrNoKind, `"late": kind is not registered: it was registered after`},
		"no actors":       {func() (any, error) { return probes.Spawn(t.Context(), sys, 0, setup{}) }, core.ErrInvalid, "spawn 0 actors"},
		"fewer than none": {func() (any, error) { return probes.Spawn(t.Context(), sys, -1, setup{}) }, core.ErrInvalid, "must be between 1 and"},
		"far too many":    {func() (any, error) { return probes.Spawn(t.Context(), sys, math.MaxInt, setup{}) }, core.ErrInvalid, "must be between 1 and"},
		"nil system":      {func() (any, error) { return probes.Spawn(t.Context(), nil, 1, setup{}) }, core.ErrInvalid, "nil system"},
		"nil option":      {func() (any, error) { return probes.Spawn(t.Context(), sys, 1, setup{}, nil) }, core.ErrInvalid, "nil option"},
		"no mailbox":      {func() (any, error) { return probes.Spawn(t.Context(), sys, 1, setup{}, core.Mailbox(0)) }, core.ErrInvalid, "Mailbox(0)"},
		"no concurrency":  {func() (any, error) { return probes.Spawn(t.Context(), sys, 1, setup{}, core.Concurrency(-1)) }, core.ErrInvalid, "Concurrency(-1)"},
		"a channel":       {func() (any, error) { return anyConfigs.Spawn(t.Context(), sys, 1, make(chan int)) }, core.ErrEncode, "chan int"},
		"a function":      {func() (any, error) { return anyConfigs.Spawn(t.Context(), sys, 1, func() {}) }, core.ErrEncode, "func()"},
		"a cycle":         {func() (any, error) { return anyConfigs.Spawn(t.Context(), sys, 1, cyclic) }, core.ErrEncode, "contains itself"},
	} {
		t.Run(name, func(t *testing.T) {
			actors, err := tt.spawn()
			require.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, tt.say)
			require.Empty(t, actors)
		})
	}
	require.Zero(t, sys.Stats().Actors)
}

func TestTargetsMustBelongTogether(t *testing.T) {
	one, other := coretest.Start(t, core.InProcess(1)), coretest.Start(t, core.InProcess(1))
	left, err := leftPingers.Spawn(t.Context(), one, 2, core.Void{})
	require.NoError(t, err)
	right, err := rightPingers.Spawn(t.Context(), one, 1, core.Void{})
	require.NoError(t, err)
	stranger, err := leftPingers.Spawn(t.Context(), other, 1, core.Void{})
	require.NoError(t, err)
	type handles = []*core.Handle[pinger]
	for name, tt := range map[string]struct {
		actors handles
		want   error
		say    string
	}{
		"none":        {nil, core.ErrNoActors, "no actors"},
		"a nil one":   {handles{left[0], nil}, core.ErrInvalid, "handle 1 is nil"},
		"a zero one":  {handles{{}}, core.ErrInvalid, "handle 0 is nil"},
		"two kinds":   {handles{left[0], right[0]}, core.ErrMixed, `actor 1 is of kind "right", actor 0 of kind "left"`},
		"two systems": {handles{left[0], left[1], stranger[0]}, core.ErrMixed, "actor 2 belongs to another system"},
		"too many":    {make(handles, 1<<20+1), core.ErrTooLarge, "1048577"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := core.NewTargets(tt.actors)
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.say)
		})
	}
	get(t, core.Call(t.Context(), right[0], pinger.Ping, core.Void{}))
	require.ErrorIs(t, core.Call(t.Context(), (*core.Handle[pinger])(nil), pinger.Ping, core.Void{}).Err(t.Context()), core.ErrInvalid)
	require.ErrorIs(t, (*core.Handle[pinger])(nil).Kill(t.Context()), core.ErrInvalid)
}

func (*probe) unregistered(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

func TestSubmitChecksBeforeItSends(t *testing.T) {
	sys := coretest.Start(t, core.InProcess(2))
	unleaked(t, sys)
	actors := spawn(t, sys, 4)
	targets, err := core.NewTargets(actors)
	require.NoError(t, err)
	released, err := core.Put(t.Context(), sys, []float32{1})
	require.NoError(t, err)
	released.Release()
	var none func(*probe, context.Context, core.Void) (core.Void, error)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	ctx := t.Context()
	for name, tt := range map[string]struct {
		submit func() (*core.Slots, error)
		want   error
		say    string
	}{
		"unregistered method": {func() (*core.Slots, error) {
			return core.Submit(ctx, targets, (*probe).unregistered, core.Void{}, core.FailFast)
		}, core.ErrNoMethod, `unregistered of kind "probe"; register it with core.Method`},
		"nil method":         {func() (*core.Slots, error) { return core.Submit(ctx, targets, none, core.Void{}, core.FailFast) }, core.ErrNoMethod, "nil function"},
		"unknown name":       {func() (*core.Slots, error) { return core.SubmitNamed(ctx, targets, "Pong", core.Void{}, core.FailFast) }, core.ErrNoMethod, `"Pong" of kind "probe"`},
		"wrong type by name": {func() (*core.Slots, error) { return core.SubmitNamed(ctx, targets, "Sum", []float64{1}, core.FailFast) }, core.ErrInvalid, "probe.Sum: invalid argument: it takes []float32, not []float64"},
		"nil by name":        {func() (*core.Slots, error) { return core.SubmitNamed(ctx, targets, "Sum", nil, core.FailFast) }, core.ErrInvalid, "[]float32, not <nil>"},
		"channel": {func() (*core.Slots, error) {
			return core.Submit(ctx, targets, (*probe).TakeChan, make(chan int), core.FailFast)
		}, core.ErrEncode, "chan int"},
		"function": {func() (*core.Slots, error) {
			return core.Submit(ctx, targets, (*probe).TakeFunc, func() {}, core.FailFast)
		}, core.ErrEncode, "func()"},
		"cycle": {func() (*core.Slots, error) {
			return core.Submit(ctx, targets, (*probe).TakeRing, newRing(), core.FailFast)
		}, core.ErrEncode, "contains itself"},
		"channel inside": {func() (*core.Slots, error) {
			return core.Submit(ctx, targets, (*probe).TakeAny, any(make(chan int)), core.FailFast)
		}, core.ErrEncode, "chan int"},
		"channel by name": {func() (*core.Slots, error) {
			return core.SubmitNamed(ctx, targets, "TakeAny", make(chan int), core.FailFast)
		}, core.ErrEncode, "chan int"},
		"nil reference": {func() (*core.Slots, error) { return core.SubmitRef(ctx, targets, (*probe).Sum, nil, core.FailFast) }, core.ErrInvalid, "nil reference"},
		"released reference": {func() (*core.Slots, error) {
			return core.SubmitRef(ctx, targets, (*probe).Sum, released, core.FailFast)
		}, core.ErrObjectLost, "released"},
		"context that is over": {func() (*core.Slots, error) {
			return core.Submit(over, targets, (*probe).Sum, make([]float32, core.InlineMax), core.FailFast)
		}, context.Canceled, "probe.Sum"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := tt.submit()
			require.Nil(t, s, "nothing was sent")
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.say)
		})
	}
	require.Zero(t, sys.Stats().Calls)
}

func TestPutRefusesWhatCannotBeEncoded(t *testing.T) {
	sys := coretest.Start(t)
	unleaked(t, sys)
	_, err := core.Put(t.Context(), sys, make(chan int))
	require.ErrorIs(t, err, core.ErrEncode)
	_, err = core.Put(t.Context(), sys, func() {})
	require.ErrorIs(t, err, core.ErrEncode)
	_, err = core.Put(t.Context(), sys, newRing())
	require.ErrorIs(t, err, core.ErrEncode)
	_, err = core.Put[any](t.Context(), sys, unencodable("cycle"))
	require.ErrorIs(t, err, core.ErrEncode)
	_, err = core.Put(t.Context(), nil, 1)
	require.ErrorIs(t, err, core.ErrInvalid)
}

func TestResultsThatCannotBeEncodedFailTheirSlot(t *testing.T) {
	eachSystem(t, 1, func(t *testing.T, sys *core.System) {
		a := spawn(t, sys, 1)[0]
		for _, what := range []string{"channel", "func", "cycle"} {
			err := core.Call(t.Context(), a, (*probe).Give, what).Err(bounded(t))
			require.ErrorIs(t, err, core.ErrEncode, what)
			_, own := errors.AsType[*core.CallError](err)
			require.True(t, own)
			require.ErrorContains(t, err, "probe.Give on actor 1/0")
		}
		require.ErrorIs(t, core.Call(t.Context(), a, (*probe).GiveRing, core.Void{}).Err(bounded(t)), core.ErrEncode)
		get(t, core.Call(t.Context(), a, (*probe).Ping, core.Void{}))
	})
}

func TestNothingWorksAfterShutdown(t *testing.T) {
	for name, opt := range map[string]core.Option{"in process": core.InProcess(2), "processes": core.LocalNodes(2)} {
		t.Run(name, func(t *testing.T) {
			sys, err := core.Start(t.Context(), opt)
			require.NoError(t, err)
			actors := spawn(t, sys, 3)
			running := submit(t.Context(), t, actors, (*probe).Block, core.Void{})
			large := core.Call(t.Context(), actors[0], (*probe).Make, 1) // waits behind Block
			small := core.Call(t.Context(), spawn(t, sys, 1)[0], (*probe).Make, 2)
			require.Len(t, get(t, small), 2)
			ref, err := core.Put(t.Context(), sys, []float32{1})
			require.NoError(t, err)
			require.NoError(t, sys.Shutdown(bounded(t)))
			require.NoError(t, sys.Shutdown(bounded(t)), "again")
			ctx := t.Context()
			require.NoError(t, running.Wait(ctx, running.Len()))
			for i := range running.Len() {
				require.ErrorIs(t, running.Err(i), core.ErrClosed)
			}
			require.ErrorIs(t, large.Err(ctx), core.ErrClosed)
			require.Len(t, get(t, small), 2, "answers that came stay")
			require.ErrorIs(t, core.Call(ctx, actors[0], (*probe).Ping, core.Void{}).Err(ctx), core.ErrClosed)
			require.ErrorIs(t, core.Call(ctx, actors[0], (*probe).Sum, make([]float32, core.InlineMax)).Err(ctx), core.ErrClosed)
			require.ErrorIs(t, core.CallRef(ctx, actors[0], (*probe).Sum, ref).Err(ctx), core.ErrClosed)
			require.ErrorIs(t, actors[0].Kill(ctx), core.ErrClosed)
			_, err = core.Put(ctx, sys, 1)
			require.ErrorIs(t, err, core.ErrClosed)
			_, err = probes.Spawn(ctx, sys, 1, setup{})
			require.ErrorIs(t, err, core.ErrClosed)
			ref.Release()
			running.Release()
			running.Cancel(context.Canceled)
			_, _, _ = sys.Nodes(), sys.Actors(), sys.Stats() // do not panic
		})
	}
}

func TestErrorsOfManyActorsAndLongTextsTravel(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	actors := spawn(t, sys, 2)
	long := strings.Repeat("long ", 20<<20) // beyond what a frame carries
	err := core.Call(t.Context(), actors[0], (*probe).Fail, long).Err(bounded(t))
	actorErr, ok := errors.AsType[*core.ActorError](err)
	require.True(t, ok, "%.100v", err)
	require.Less(t, len(actorErr.Message), 1<<20)
	require.Contains(t, actorErr.Message, long[:1000])

	_, err = probes.Spawn(t.Context(), sys, 3000, setup{Panic: strings.Repeat("panic ", 1000)})
	spawnErr, ok := errors.AsType[*core.SpawnError](err)
	require.True(t, ok, "%.100v", err)
	require.Equal(t, 3000, spawnErr.Count)
	require.NotEmpty(t, spawnErr.Failed)
	require.Less(t, len(spawnErr.Error()), 1<<20)
	get(t, core.Call(t.Context(), actors[1], (*probe).Ping, core.Void{}))
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	for err, want := range map[error]string{
		&core.ActorError{Actor: 1<<32 | 7, Kind: "k", Method: "M", Message: "why"}:                                "k.M on actor 1/7: why",
		&core.ActorError{Actor: 1<<32 | 7, Kind: "k", Method: "M", Message: "why", Stack: "goroutine"}:            "k.M on actor 1/7 panicked: why",
		&core.ActorError{Actor: 1<<32 | 7, Kind: "k", Message: "why"}:                                             "k on actor 1/7: why",
		&core.CallError{Actor: 2 << 32, Kind: "k", Method: "M", Err: core.ErrMailboxFull}:                         "call k.M on actor 2/0: mailbox is full",
		&core.SpawnError{Kind: "k", Count: 9, Failed: map[int]error{4: errors.New("four"), 2: errors.New("two")}}: `spawn 9 actors of kind "k": 2 failed, the first is number 2: two`,
		&core.RegisterError{Kind: "k", Reason: "mend it"}:                                                         `core: register "k": mend it`,
	} {
		assert.EqualError(t, err, want)
	}
	spawnErr := &core.SpawnError{Count: 9, Failed: map[int]error{4: errors.New("four"), 2: errors.New("two")}}
	assert.Equal(t, "[two four]", fmt.Sprint(spawnErr.Unwrap()))
}

func TestSystemsLogWhereTheyAreTold(t *testing.T) {
	var log strings.Builder
	sys, err := core.Start(t.Context(), core.LocalNodes(2), core.Logger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	coretest.KillNode(t, sys, 1)
	require.NoError(t, sys.Shutdown(bounded(t)))
	require.Contains(t, log.String(), `msg="node is lost" node=1`)
}
