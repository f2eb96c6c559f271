package core_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

type worker struct{ scale float32 }

func newWorker(_ context.Context, s float32) (*worker, error) { return &worker{s}, nil }
func (w *worker) Sum(_ context.Context, x []float32) (float64, error) {
	var s float64
	for _, v := range x {
		s += float64(v * w.scale)
	}
	return s, nil
}
func (w *worker) Ping(context.Context, core.Void) (core.Void, error) { return core.Void{}, nil }

var workers = core.Register("smoke", newWorker, core.Method((*worker).Sum), core.Method((*worker).Ping))

func TestMain(m *testing.M) { coretest.Main(m) }

func TestSmoke(t *testing.T) {
	for _, opt := range []core.Option{core.InProcess(3), core.LocalNodes(8)} {
		sys, err := core.Start(t.Context(), opt)
		require.NoError(t, err)
		hs, err := workers.Spawn(t.Context(), sys, 400, 2)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for _, n := range []int{10, 1 << 18} {
			x := make([]float32, n)
			for i := range x {
				x[i] = 1
			}
			v, err := core.Call(ctx, hs[0], (*worker).Sum, x).Get(ctx)
			require.NoError(t, err)
			require.InDelta(t, float64(2*n), v, 0)
			tg, err := core.NewTargets(hs)
			require.NoError(t, err)
			for range 3 {
				s, err := core.Submit(ctx, tg, (*worker).Sum, x, core.FailFast)
				require.NoError(t, err)
				require.NoError(t, s.Wait(ctx, s.Len()))
				for i := range s.Len() {
					v, err := core.RefAt[float64](s, i).Get(ctx)
					require.NoError(t, err)
					require.InDelta(t, float64(2*n), v, 0)
				}
				fmt.Printf("%d: %+v\n", n, s.Stats())
			}
		}
		tg, _ := core.NewTargets(hs)
		for range 5 {
			s, err := core.Submit(ctx, tg, (*worker).Ping, core.Void{}, core.FailFast)
			require.NoError(t, err)
			require.NoError(t, s.Wait(ctx, s.Len()))
			fmt.Printf("ping: %+v\n", s.Stats())
		}
		cancel()
		fmt.Println(sys.Stats())
		require.NoError(t, sys.Shutdown(t.Context()))
	}
}
