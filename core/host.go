// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tutti-go/tutti/internal/reach"
)

// A host is a set of nodes that share the directory of their object stores: they read each other's objects in place. Nodes of different
// hosts never open each other's files.

// EnvHost names the environment variable that overrides which host a process is on, for tests that stand several hosts up on one machine.
// Processes with different names have stores in different directories.
const EnvHost = reach.EnvHost

const maxHostName = 64

// validHost reports whether a name from the environment can be part of a path.
func validHost(name string) bool {
	if len(name) < 1 || len(name) > maxHostName {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}) < 0
}

// storePath is where the stores of a host are, below the directory of the system. The name is empty for the machine's own host.
func storePath(dir, host string) string {
	if host == "" {
		return filepath.Join(dir, "store")
	}
	return filepath.Join(dir, "store-"+host)
}

// simulatedHost is the name of the i-th host of SimulatedHosts.
func simulatedHost(i int) string { return "sim-" + strconv.Itoa(i) }

// hostOf returns the name of the host that a node is put on, empty for the machine's own.
func (c *config) hostOf(node uint32) string {
	switch {
	case c.simulated == 0:
		return c.host
	case node == driverNode:
		return simulatedHost(0)
	}
	return simulatedHost(int(node-driverNode-1) * c.simulated / c.nodes)
}

// hostIdentity is what nodes that share the store directory agree on and no others: the name that was given, or one made from the
// machine and the directory itself.
func hostIdentity(name, dir string) (string, error) {
	return reach.Host(name, storePath(dir, ""))
}
