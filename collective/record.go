// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/tutti-go/tutti/collective/flight"
)

// EnvFlight names a directory for the records of what members do, which stay there when the program ends. "off" means none. Without it
// they are in the run directory of the system and go with it.
const EnvFlight = "TUTTI_FLIGHT"

// flightDir returns where the records of a node's members are.
func flightDir(run string) string {
	switch dir := os.Getenv(EnvFlight); {
	case dir == "off", dir == "" && run == "":
		return ""
	case dir != "":
		return dir
	default:
		return filepath.Join(run, "flight")
	}
}

// record begins the record of a member. Without one, for lack of room or of descriptors, the group works as well.
func (h *hub) record(head flight.Head) *flight.Recorder {
	if h.dir == "" {
		return nil
	}
	r, err := flight.Create(h.dir, head)
	if err != nil {
		return nil
	}
	return r
}

// retire ends the record of a member. That of a group which was closed or replaced in good order is of no more use.
func (m *member) retire(end *ending) {
	m.host.spares.end()
	m.mu.Lock()
	if m.mu.running || m.mu.point {
		m.log.End(flight.Failed)
	}
	m.mu.Unlock()
	keep := end.code != codeClosed && end.code != codeReplaced
	if m.log.Close(keep) == nil && keep && m.log != nil { // a record is worth no error
		m.s.hub.kept.add(m.log.Path())
	}
}

// keptRecords is how many records of epochs that failed a node leaves in the run directory.
const keptRecords = 256

// records are the files of epochs that failed, oldest first.
type records struct {
	mu    sync.Mutex
	paths []string
}

// add leaves one more, and takes the oldest away if there are too many.
func (r *records) add(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths = append(r.paths, path)
	if len(r.paths) > keptRecords {
		_ = os.Remove(r.paths[0]) // or the end of the system does
		r.paths = r.paths[1:]
	}
}
