// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-go/tutti/collective/flight"
)

// rendezvous returns a directory that does not exist, with a short path.
func rendezvous(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tw") //nolint:usetesting // the address of a socket must be shorter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "r")
}

// runWorld runs a program at all ranks.
func runWorld(t *testing.T, size int, dir string, program func(ctx context.Context, g *Group) error) []error {
	t.Helper()
	errs := make([]error, size)
	var all errgroup.Group
	for rank := range size {
		all.Go(func() error {
			g, err := Connect(t.Context(), rank, size, dir, Stall(10*time.Second))
			if err == nil {
				err = errors.Join(program(t.Context(), g), g.Close(t.Context()))
			}
			errs[rank] = err
			return nil
		})
	}
	require.NoError(t, all.Wait())
	return errs
}

func TestProgramsWithoutActorsConnect(t *testing.T) {
	dir := rendezvous(t)
	for _, size := range []int{1, 2, 7, 16} { // one job after the other
		requireAll(t, runWorld(t, size, dir, func(ctx context.Context, g *Group) error {
			for range 3 {
				buf := []int{1, g.Rank()}
				err := AllReduce(ctx, g, buf, Sum)
				if err := compare(err, []int{size, size * (size - 1) / 2}, buf, "AllReduce"); err != nil {
					return err
				}
			}
			return nil // some close before others have come so far
		}))
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, path := range left {
			require.Equal(t, "flight", filepath.Base(path), "%v", left)
		}
	}
}

// What an earlier job has left is no obstacle: rank 0 comes last and finds the files of one that was killed.
func TestTheTracesOfAnEarlierJobAreNoObstacle(t *testing.T) {
	dir := rendezvous(t)
	require.NoError(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{jobFile, readyFile} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0"), nil, 0o600))
	const size = 4
	var all errgroup.Group
	for rank := range size {
		all.Go(func() error {
			if rank == 0 {
				time.Sleep(2 * pollPause)
			}
			g, err := Connect(t.Context(), rank, size, dir)
			if err != nil {
				return err
			}
			return g.Close(t.Context())
		})
	}
	require.NoError(t, all.Wait())
}

func TestRanksThatDoNotComeAreNamed(t *testing.T) {
	dir := rendezvous(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	errs := make([]error, 3)
	var all errgroup.Group
	for _, rank := range []int{0, 2} {
		all.Go(func() error {
			_, errs[rank] = Connect(ctx, rank, 3, dir)
			return nil
		})
	}
	require.NoError(t, all.Wait())
	require.ErrorIs(t, errs[0], context.DeadlineExceeded)
	require.Regexp(t, `ranks \[1.*\] have not come`, errs[0].Error()) // and rank 2, if it was slow
	require.ErrorIs(t, errs[2], context.DeadlineExceeded)
	require.Contains(t, absent(t.TempDir(), 2), "[0 1] at least")

	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, 1, 3, dir)
	require.ErrorContains(t, err, "rank 0 has not come")
}

func TestConnectRefusesWhatMakesNoSense(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	require.NoError(t, os.Mkdir(open, 0o755))
	for want, args := range map[string]struct {
		rank, size int
		dir        string
	}{
		"size is 0":      {0, 0, "x"},
		"rank is 3":      {3, 3, "x"},
		"rank is -1":     {-1, 3, "x"},
		"has 0 bytes":    {0, 1, ""},
		"has 91 bytes":   {0, 1, strings.Repeat("x", 91)},
		"with mode 0700": {0, 1, open},
	} {
		_, err := Connect(t.Context(), args.rank, args.size, args.dir)
		require.ErrorIs(t, err, ErrArgument)
		require.ErrorContains(t, err, want)
	}
}

// A member that is gone leaves the others to shrink; Close then does not wait for it. Its record tells what it did last.
func TestAConnectedGroupShrinks(t *testing.T) {
	const size, victim = 5, 2
	dir := rendezvous(t)
	errs := runWorld(t, size, dir, func(ctx context.Context, g *Group) error {
		if g.Rank() == victim {
			if err := Barrier(ctx, g); err != nil {
				return err
			}
			g.s.hub.mesh.Close() //nolint:errcheck // as if it had been killed
			return nil
		}
		err := Barrier(ctx, g)
		for err == nil {
			err = Barrier(ctx, g)
		}
		if !errors.Is(err, ErrMemberLost) {
			return err
		}
		next, err := g.Shrink(ctx)
		if err != nil {
			return err
		}
		if next.Size() != size-1 {
			return fmt.Errorf("%d members are left", next.Size())
		}
		return errors.Join(Barrier(ctx, next), next.Close(ctx))
	})
	for rank, err := range errs {
		if rank != victim {
			require.NoError(t, err, "rank %d", rank)
		}
	}
	logs, err := flight.ReadDir(filepath.Join(dir, "flight"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	finding := flight.Analyze(logs)[0].String()
	require.Contains(t, finding, `group "world" epoch 1`)
	require.Contains(t, finding, "Barrier")
}

func TestTheLauncherSaysWhoAProcessIs(t *testing.T) {
	type environment map[string]string
	for name, tc := range map[string]struct {
		env        environment
		rank, size int
		dir        string
		fails      string
	}{
		"own":                {environment{EnvRank: "2", EnvSize: "5", EnvRendezvous: "/r"}, 2, 5, "/r", ""},
		"own comes first":    {environment{EnvRank: "2", EnvSize: "5", EnvRendezvous: "/r", "SLURM_PROCID": "7"}, 2, 5, "/r", ""},
		"own, no rendezvous": {environment{EnvRank: "2", EnvSize: "5"}, 0, 0, "", "TUTTI_RENDEZVOUS is not set"},
		"mpirun": {
			environment{"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_NAMESPACE": "prterun-1@1"}, 3, 4, "/tmp/tutti-9-prterun-1@1", "",
		},
		"srun": {
			environment{"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "1", "SLURM_NNODES": "1"}, 0, 8, "/tmp/tutti-9-77.1", "",
		},
		"srun on two machines": {
			environment{"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_NNODES": "2", "SLURM_STEP_NODELIST": "gpu[07-08]"},
			0, 8, "tcp://gpu07:22387", "",
		},
		"srun, a step on one of two machines": {
			environment{"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_NNODES": "2", "SLURM_STEP_NUM_NODES": "1"}, 0, 8, "/tmp/tutti-9-77", "",
		},
		"srun on two machines, port": {
			environment{"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_NNODES": "2", "SLURM_STEP_NODELIST": "a,b", EnvPort: "99"},
			0, 8, "tcp://a:99", "",
		},
		"srun on nobody knows where": {
			environment{"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_NNODES": "2"}, 0, 0, "", "SLURM_STEP_NODELIST=",
		},
		"mpirun on two machines": {
			environment{"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "j"},
			0, 0, "", "only 2 of 4 ranks are on this machine",
		},
		"kubernetes, service":  {environment{"JOB_COMPLETION_INDEX": "4", EnvSize: "6", EnvService: "svc.ns"}, 4, 6, "tcp://train-0.svc.ns:7447", ""},
		"kubernetes, bad port": {environment{"JOB_COMPLETION_INDEX": "4", EnvSize: "6", EnvService: "s", EnvPort: "0"}, 0, 0, "", "TUTTI_PORT is \"0\""},
		"kubernetes, odd name": {environment{"JOB_COMPLETION_INDEX": "5", EnvSize: "6", EnvService: "s"}, 0, 0, "", "must end in -5"},
		"kubernetes, nowhere":  {environment{"JOB_COMPLETION_INDEX": "4", EnvSize: "6"}, 0, 0, "", "TUTTI_SERVICE"},
		"kubernetes":           {environment{"JOB_COMPLETION_INDEX": "4", EnvSize: "6", EnvRendezvous: "/r"}, 4, 6, "/r", ""},
		"kubernetes, no size":  {environment{"JOB_COMPLETION_INDEX": "4"}, 0, 0, "", "TUTTI_SIZE is \"\" in the environment of Kubernetes"},
		"no number":            {environment{"SLURM_PROCID": "-1"}, 0, 0, "", "SLURM_PROCID is \"-1\""},
		"nothing":              {environment{}, 0, 0, "", "no launcher has set a rank"},
	} {
		t.Run(name, func(t *testing.T) {
			rank, size, dir, err := locate(where{
				func(key string) string { return tc.env[key] }, func() (string, error) { return "train-4", nil }, "/tmp", 9,
			})
			if tc.fails != "" {
				require.ErrorIs(t, err, ErrArgument)
				require.ErrorContains(t, err, tc.fails)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []any{tc.rank, tc.size, tc.dir}, []any{rank, size, dir})
		})
	}
}

func TestConnectEnvironment(t *testing.T) {
	for _, key := range []string{"OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX"} {
		t.Setenv(key, "")
	}
	t.Setenv(EnvRank, "0")
	t.Setenv(EnvSize, "1")
	t.Setenv(EnvRendezvous, rendezvous(t))
	g, err := ConnectEnv(t.Context())
	require.NoError(t, err)
	require.NoError(t, Barrier(t.Context(), g))
	require.NoError(t, g.Close(t.Context()))
	require.ErrorIs(t, Barrier(t.Context(), g), ErrClosed)
}
