// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrFormat is matched by every error about a file that is no recorder's.
var ErrFormat = errors.New("flight: not the file of a recorder")

// Entry is one operation of a rank.
type Entry struct {
	Seq   uint64 // number of the operation in its group; 0 for Send, Recv and SendRecv
	Hash  uint32 // of what was called
	Text  string // what was called, cut to 80 bytes
	State State
	Waits int // rank that it waited for last, or -1
	Begun time.Time
	Ended time.Time // zero while it runs
}

// Log is what a rank did last, oldest first.
type Log struct {
	Head

	Entries []Entry
}

// Parse reads a file.
func Parse(b []byte) (*Log, error) {
	le := binary.LittleEndian
	if len(b) != fileSize || !bytes.HasPrefix(b, []byte(magic)) {
		return nil, fmt.Errorf("%w: %d bytes that begin with %q", ErrFormat, len(b), b[:min(len(b), len(magic))])
	}
	if v := le.Uint32(b[8:]); v != version {
		return nil, fmt.Errorf("%w: version %d, this build reads %d", ErrFormat, v, version)
	}
	rank, size, name := le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint32(b[32:])
	if size > math.MaxInt32 || rank >= size || name > maxName {
		return nil, fmt.Errorf("%w: rank %d of %d, a name of %d bytes", ErrFormat, rank, size, name)
	}
	l := &Log{Head: Head{
		Group: string(b[nameAt : nameAt+name]), ID: le.Uint64(b[16:]), Epoch: le.Uint32(b[12:]), Rank: int(rank), Size: int(size),
	}}
	type numbered struct {
		id uint64
		Entry
	}
	var all []numbered
	for i := range uint64(entries) {
		e := b[headSize+i*entrySize : headSize+(i+1)*entrySize]
		id, state, text, waits := le.Uint64(e), State(e[40]), int(e[41]), le.Uint32(e[36:])
		if id == 0 || (id-1)%entries != i || state == 0 || state >= stateEnd || text > maxText || waits > size {
			continue // never written, or cut off in the middle
		}
		entry := Entry{
			Seq: le.Uint64(e[8:]), Hash: le.Uint32(e[32:]), Text: string(e[textAt : textAt+text]), State: state, Waits: int(waits) - 1,
			Begun: time.Unix(0, int64(le.Uint64(e[16:]))),
		}
		if ended := le.Uint64(e[24:]); ended > 0 {
			entry.Ended = time.Unix(0, int64(ended))
		}
		all = append(all, numbered{id, entry})
	}
	slices.SortFunc(all, func(a, b numbered) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, e := range all {
		l.Entries = append(l.Entries, e.Entry)
	}
	return l, nil
}

// ReadDir reads all files of recorders in directories and below them. A file that is damaged is an error, beside which the others are returned.
func ReadDir(dirs ...string) (logs []*Log, err error) {
	for _, dir := range dirs {
		walk := filepath.WalkDir(dir, func(path string, d os.DirEntry, e error) error {
			if e != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
				return e
			}
			b, e := os.ReadFile(path) //nolint:gosec // what the user asks for
			var l *Log
			if e == nil {
				l, e = Parse(b)
			}
			if e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", path, e))
				return nil
			}
			logs = append(logs, l)
			return nil
		})
		err = errors.Join(err, walk)
	}
	return logs, err
}
