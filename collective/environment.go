// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tutti-go/tutti/internal/reach"
)

// The environment that ConnectEnv reads first.
const (
	EnvRank       = "TUTTI_RANK"
	EnvSize       = "TUTTI_SIZE"
	EnvRendezvous = "TUTTI_RENDEZVOUS"
	EnvPort       = "TUTTI_PORT"    // where rank 0 listens, if no rendezvous says so
	EnvService    = "TUTTI_SERVICE" // headless service of the pods of an indexed job
)

// launcher is how a launcher tells a process who it is, and, if none was named, where the ranks can meet.
type launcher struct {
	name, rank, size string
	meet             func(w where) (rendezvous string, err error)
}

// where is what there is to know of a process's surroundings.
type where struct {
	getenv   func(string) string
	hostname func() (string, error)
	tmp      string
	user     int
}

func launchers() []launcher {
	return []launcher{
		{"this library's own", EnvRank, EnvSize, func(where) (string, error) { return "", errors.New("it does not name a job") }},
		{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", openMPI},
		{"Slurm", "SLURM_PROCID", "SLURM_NTASKS", slurm},
		{"Kubernetes, for an indexed job,", "JOB_COMPLETION_INDEX", EnvSize, kubernetes},
	}
}

// ConnectEnv is Connect with what the launcher of the process says: TUTTI_RANK and TUTTI_SIZE; those of Open MPI's mpirun
// (OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE); those of Slurm's srun (SLURM_PROCID and SLURM_NTASKS); or the index of a Kubernetes job
// (JOB_COMPLETION_INDEX), where the template of the job sets TUTTI_SIZE to its completions. The first of these that is there counts.
//
// The rendezvous is TUTTI_RENDEZVOUS. Without it
//
//   - processes that Slurm or Open MPI has started on one machine meet in a directory for their job below that for temporary files;
//   - those of Slurm on several machines meet on the first of them, at TUTTI_PORT or a port that follows from the number of the job;
//   - pods of a Kubernetes job meet at the first, by the name that the headless service TUTTI_SERVICE gives it, at TUTTI_PORT or 7447.
//
// Over TCP all need a secret, see [Secret]. Errors: ErrArgument if no launcher is known, or what it says makes no sense; those of
// Connect.
func ConnectEnv(ctx context.Context, opts ...ConnectOption) (*Group, error) {
	rank, size, rendezvous, err := locate(where{os.Getenv, os.Hostname, os.TempDir(), os.Getuid()})
	if err != nil {
		return nil, err
	}
	return Connect(ctx, rank, size, rendezvous, opts...)
}

// locate finds out who this process is, and where all meet.
func locate(w where) (rank, size int, rendezvous string, err error) {
	for _, l := range launchers() {
		if w.getenv(l.rank) == "" {
			continue
		}
		if rank, err = number(w.getenv, l, l.rank); err != nil {
			return 0, 0, "", err
		}
		if size, err = number(w.getenv, l, l.size); err != nil {
			return 0, 0, "", err
		}
		if rendezvous = w.getenv(EnvRendezvous); rendezvous != "" {
			return rank, size, rendezvous, nil
		}
		if rendezvous, err = l.meet(w); err != nil {
			return 0, 0, "", fmt.Errorf("%w: %s is not set, and the environment of %s does not do: %w", ErrArgument, EnvRendezvous, l.name, err)
		}
		return rank, size, rendezvous, nil
	}
	return 0, 0, "", fmt.Errorf("%w: no launcher has set a rank: %s, OMPI_COMM_WORLD_RANK, SLURM_PROCID or JOB_COMPLETION_INDEX", ErrArgument, EnvRank)
}

// jobDir is where the processes of a job meet on one machine.
func (w where) jobDir(job string) string {
	return filepath.Join(w.tmp, fmt.Sprintf("tutti-%d-%s", w.user, filepath.Base(job)))
}

// port returns TUTTI_PORT, or another port without it.
func (w where) port(otherwise uint64) (string, error) {
	text := w.getenv(EnvPort)
	if text == "" {
		return strconv.FormatUint(otherwise, 10), nil
	}
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%s is %q, want 1 to 65535", EnvPort, text)
	}
	return text, nil
}

func openMPI(w where) (string, error) {
	if local, all := w.getenv("OMPI_COMM_WORLD_LOCAL_SIZE"), w.getenv("OMPI_COMM_WORLD_SIZE"); local != "" && local != all {
		return "", fmt.Errorf("only %s of %s ranks are on this machine", local, all)
	}
	job := w.getenv("PMIX_NAMESPACE")
	if job == "" {
		return "", errors.New("PMIX_NAMESPACE is not set")
	}
	return w.jobDir(job), nil
}

func slurm(w where) (string, error) {
	job, step := w.getenv("SLURM_JOB_ID"), w.getenv("SLURM_STEP_ID")
	if job == "" {
		return "", errors.New("SLURM_JOB_ID is not set")
	}
	machines := w.getenv("SLURM_STEP_NUM_NODES")
	if machines == "" {
		machines = w.getenv("SLURM_NNODES")
	}
	if machines == "" || machines == "1" {
		if step != "" {
			job += "." + step
		}
		return w.jobDir(job), nil
	}
	list := w.getenv("SLURM_STEP_NODELIST")
	first, err := reach.FirstHost(list)
	if err != nil {
		return "", fmt.Errorf("SLURM_STEP_NODELIST=%q: %w", list, err)
	}
	// A machine may be shared with other jobs; all processes of the step read the same numbers.
	const lowest, ports = 20000, 10000
	j, _ := strconv.ParseUint(job, 10, 32)
	s, _ := strconv.ParseUint(step, 10, 32)
	port, err := w.port(lowest + (j*31+s)%ports)
	if err != nil {
		return "", err
	}
	return tcpScheme + net.JoinHostPort(first, port), nil
}

func kubernetes(w where) (string, error) {
	service, index := w.getenv(EnvService), w.getenv("JOB_COMPLETION_INDEX")
	if service == "" {
		return "", fmt.Errorf("%s, the headless service of its pods, is not set", EnvService)
	}
	name, err := w.hostname()
	if err != nil {
		return "", err
	}
	job, ok := strings.CutSuffix(name, "-"+index) // a pod of an Indexed Job is called after both
	if !ok {
		return "", fmt.Errorf("the pod is called %q, must end in -%s", name, index)
	}
	const usual = 7447 // a pod has an address of its own
	port, err := w.port(usual)
	if err != nil {
		return "", err
	}
	return tcpScheme + net.JoinHostPort(job+"-0."+service, port), nil
}

func number(getenv func(string) string, l launcher, key string) (int, error) {
	n, err := strconv.ParseUint(getenv(key), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %q in the environment of %s, want a number", ErrArgument, key, getenv(key), l.name)
	}
	return int(n), nil
}
