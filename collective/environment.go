// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The environment that ConnectEnv reads first.
const (
	EnvRank       = "TUTTI_RANK"
	EnvSize       = "TUTTI_SIZE"
	EnvRendezvous = "TUTTI_RENDEZVOUS"
)

// launcher is how a launcher tells a process who it is.
type launcher struct {
	name, rank, size, job string
}

func launchers() []launcher {
	return []launcher{
		{"this library's own", EnvRank, EnvSize, ""},
		{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE"},
		{"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID"},
		{"Kubernetes, for an indexed job,", "JOB_COMPLETION_INDEX", EnvSize, "HOSTNAME"},
	}
}

// ConnectEnv is Connect with what the launcher of the process says: TUTTI_RANK and TUTTI_SIZE; those of Open MPI's mpirun
// (OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE); those of Slurm's srun (SLURM_PROCID and SLURM_NTASKS); or the index of a Kubernetes job
// (JOB_COMPLETION_INDEX), where the template of the job sets TUTTI_SIZE to its completions. The first of these that is there counts.
//
// The rendezvous is TUTTI_RENDEZVOUS. Without it Slurm's and Open MPI's processes, if all run on one machine, meet in a directory for
// their job below that for temporary files. Errors: ErrArgument if no launcher is known, or what it says makes no sense; those of
// Connect.
func ConnectEnv(ctx context.Context, opts ...Option) (*Group, error) {
	rank, size, rendezvous, err := place(os.Getenv, os.TempDir(), os.Getuid())
	if err != nil {
		return nil, err
	}
	return Connect(ctx, rank, size, rendezvous, opts...)
}

// place finds out who this process is.
func place(getenv func(string) string, tmp string, user int) (rank, size int, rendezvous string, err error) {
	for _, l := range launchers() {
		if getenv(l.rank) == "" {
			continue
		}
		if rank, err = number(getenv, l, l.rank); err != nil {
			return 0, 0, "", err
		}
		if size, err = number(getenv, l, l.size); err != nil {
			return 0, 0, "", err
		}
		if rendezvous = getenv(EnvRendezvous); rendezvous != "" {
			return rank, size, rendezvous, nil
		}
		job := getenv(l.job)
		if l.job == "" || l.job == "HOSTNAME" || job == "" {
			return 0, 0, "", fmt.Errorf("%w: %s is not set, and the environment of %s does not name a job", ErrArgument, EnvRendezvous, l.name)
		}
		if n := getenv("SLURM_NNODES"); l.rank == "SLURM_PROCID" && n != "" && n != "1" {
			return 0, 0, "", fmt.Errorf("%w: %s is not set, and the job runs on %s machines", ErrArgument, EnvRendezvous, n)
		}
		if step := getenv("SLURM_STEP_ID"); l.rank == "SLURM_PROCID" && step != "" {
			job += "." + step
		}
		return rank, size, filepath.Join(tmp, fmt.Sprintf("tutti-%d-%s", user, filepath.Base(job))), nil
	}
	return 0, 0, "", fmt.Errorf("%w: no launcher has set a rank: %s, OMPI_COMM_WORLD_RANK, SLURM_PROCID or JOB_COMPLETION_INDEX", ErrArgument, EnvRank)
}

func number(getenv func(string) string, l launcher, key string) (int, error) {
	n, err := strconv.ParseUint(getenv(key), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %q in the environment of %s, want a number", ErrArgument, key, getenv(key), l.name)
	}
	return int(n), nil
}
