// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/reach"
)

// The environment of programs that are started many times by somebody else.
const (
	envPort    = "TUTTI_PORT"    // where the driver listens, in place of the default
	envService = "TUTTI_SERVICE" // headless service of the pods of an Indexed Job
)

const (
	// kubernetesPort is where a driver in a pod listens: it has an address of its own.
	kubernetesPort = 7447
	// A driver under Slurm shares its machine with other jobs; its port comes from the job's number.
	firstSlurmPort = 20000
	slurmPorts     = 10000
)

// placement is what a launcher has made of this process: process 0 is the driver, the others are nodes.
type placement struct {
	launcher   string
	rank, size int
	driver     string // host of process 0
	port       int
}

// placementOf recognises launchers. It returns nil if there is none, or if it has started this process alone.
func placementOf(getenv func(string) string, hostname func() (string, error)) (*placement, error) {
	if getenv(cluster.EnvRole) != "" || getenv(cluster.EnvDriver) != "" {
		return nil, nil
	}
	var p *placement
	var err error
	switch {
	case getenv("SLURM_STEP_NUM_TASKS") != "" && getenv("SLURM_PROCID") != "": // by srun; a batch script has no step
		p, err = slurm(getenv)
	case getenv("JOB_COMPLETION_INDEX") != "" && getenv(envService) != "":
		p, err = kubernetes(getenv, hostname)
	}
	if err != nil || p == nil || p.size == 1 {
		return nil, err
	}
	if port := getenv(envPort); port != "" {
		if p.port, err = number(envPort, port, 1, 65535); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func slurm(getenv func(string) string) (*placement, error) {
	size, err := number("SLURM_STEP_NUM_TASKS", getenv("SLURM_STEP_NUM_TASKS"), 1, maxNodes+1)
	if err != nil {
		return nil, err
	}
	rank, err := number("SLURM_PROCID", getenv("SLURM_PROCID"), 0, size-1)
	if err != nil {
		return nil, err
	}
	list := getenv("SLURM_STEP_NODELIST")
	first, err := reach.FirstHost(list)
	if err != nil {
		return nil, fmt.Errorf("%w: SLURM_STEP_NODELIST=%q: %w", ErrInvalid, list, err)
	}
	job, _ := strconv.ParseUint(getenv("SLURM_JOB_ID"), 10, 32) // all processes of the step read the same
	step, _ := strconv.ParseUint(getenv("SLURM_STEP_ID"), 10, 32)
	return &placement{"Slurm", rank, size, first, firstSlurmPort + int((job*31+step)%slurmPorts)}, nil
}

func kubernetes(getenv func(string) string, hostname func() (string, error)) (*placement, error) {
	size, err := number(envWaitNodes, getenv(envWaitNodes), 0, maxNodes)
	if err != nil {
		return nil, fmt.Errorf("in an Indexed Job, set it to the number of completions less one: %w", err)
	}
	index := getenv("JOB_COMPLETION_INDEX")
	rank, err := number("JOB_COMPLETION_INDEX", index, 0, size)
	if err != nil {
		return nil, err
	}
	name, err := hostname()
	if err != nil {
		return nil, err
	}
	job, ok := strings.CutSuffix(name, "-"+index) // a pod of an Indexed Job is called after both
	if !ok {
		return nil, fmt.Errorf("%w: the pod is called %q, must end in -%s", ErrInvalid, name, index)
	}
	return &placement{"Kubernetes", rank, size + 1, job + "-0." + getenv(envService), kubernetesPort}, nil
}

func number(name, v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%w: %s=%q, must be a number from %d to %d", ErrInvalid, name, v, low, high)
	}
	return n, nil
}

// options is what a placement adds to the program's options: it decides where nodes run.
func (p *placement) options() Option {
	addr := net.JoinHostPort(p.driver, strconv.Itoa(p.port))
	return optionFunc(func(c *config) {
		if p.rank > 0 {
			c.driver = addr
			return
		}
		c.nodes, c.processes, c.chosen, c.simulated, c.hostsGiven = 0, true, 0, 0, false
		c.wait, c.waitGiven = p.size-1, true
		if c.net.Listen == "" {
			host := "" // all addresses: the name of the machine may stand for one that others cannot reach
			if reach.IsLoopback(p.driver) {
				host = p.driver
			}
			c.net.Listen = net.JoinHostPort(host, strconv.Itoa(p.port))
		}
	})
}
