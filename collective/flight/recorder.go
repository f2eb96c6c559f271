// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of a file, in bytes. All numbers are little-endian.
const (
	entries   = 256
	headSize  = 4096
	entrySize = 128
	fileSize  = headSize + entries*entrySize
	textAt    = 48 // in an entry
	maxText   = entrySize - textAt
	nameAt    = 40 // in the head
	maxName   = 1024

	magic   = "TuFlight"
	version = 1
	suffix  = ".flight"
)

// Head says whose file it is.
type Head struct {
	Group string // name; what is longer than 1024 bytes is cut off
	ID    uint64 // number of the group
	Epoch uint32
	Rank  int
	Size  int
}

// State is how far an operation is.
type State uint8

// The states. Their numbers are part of the format.
const (
	Running State = 1 + iota
	Done
	Failed
	stateEnd
)

// String returns the state in a word.
func (s State) String() string {
	if s == 0 || s >= stateEnd {
		return fmt.Sprintf("state(%d)", uint8(s))
	}
	return [...]string{"running", "done", "failed"}[s-1]
}

// Recorder writes the file of one rank. A nil Recorder records nothing.
type Recorder struct {
	path string

	mu   sync.Mutex
	mem  []byte    // nil after Close
	next uint64    // number of the next entry, from 1
	base time.Time // the last time that both clocks were asked
}

// Create makes the file of a rank in a directory, which is made if it is missing.
func Create(dir string, h Head) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%x-%d-%d%s", h.ID, h.Epoch, h.Rank, suffix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	defer f.Close() //nolint:errcheck // the mapping keeps it
	// Memory that cannot be had is an error here rather than a signal later.
	if err := allocate(f, fileSize); err != nil {
		return nil, errors.Join(fmt.Errorf("flight: %s: %w", path, err), os.Remove(path))
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flight: map %s: %w", path, err), os.Remove(path))
	}
	le := binary.LittleEndian
	name := h.Group[:min(len(h.Group), maxName)]
	le.PutUint32(mem[8:], version)
	le.PutUint32(mem[12:], h.Epoch)
	le.PutUint64(mem[16:], h.ID)
	le.PutUint32(mem[24:], uint32(h.Rank))
	le.PutUint32(mem[28:], uint32(h.Size))
	le.PutUint32(mem[32:], uint32(len(name)))
	copy(mem[nameAt:], name)
	copy(mem, magic) // last: now it is one
	return &Recorder{path: path, mem: mem, next: 1}, nil
}

// Path returns where the file is.
func (r *Recorder) Path() string {
	if r == nil {
		return ""
	}
	return r.path
}

// entryLocked returns the entry of a number.
func (r *Recorder) entryLocked(id uint64) []byte {
	at := headSize + int((id-1)%entries)*entrySize
	return r.mem[at : at+entrySize]
}

// Begin records that an operation has begun: its number in the group, the hash of what was called, and its text.
func (r *Recorder) Begin(seq uint64, hash uint32, text string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return
	}
	if r.next%entries == 1 {
		r.base = time.Now()
	}
	e := r.entryLocked(r.next)
	setID(e, 0) // whoever reads now leaves it out
	le := binary.LittleEndian
	le.PutUint64(e[8:], seq)
	le.PutUint64(e[16:], r.nowLocked())
	le.PutUint64(e[24:], 0)
	le.PutUint32(e[32:], hash)
	le.PutUint32(e[36:], 0)
	e[40], e[41] = byte(Running), byte(copy(e[textAt:], text))
	setID(e, r.next)
	r.next++
}

// setID writes the number of an entry in one piece, after all that was written before.
func setID(e []byte, id uint64) {
	(*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(e))).Store(id) // an entry is aligned
}

// Wait records the rank that the operation waits for.
func (r *Recorder) Wait(rank int) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.lastLocked(); e != nil {
		binary.LittleEndian.PutUint32(e[36:], uint32(rank)+1)
	}
}

// End records how the operation ended: Done or Failed.
func (r *Recorder) End(s State) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.lastLocked(); e != nil {
		binary.LittleEndian.PutUint64(e[24:], r.nowLocked())
		e[40] = byte(s)
	}
}

// nowLocked returns the time in nanoseconds since 1970. It asks the clock that only runs on, which takes half as long as to ask both; the other sets it once in
// every turn of the ring.
func (r *Recorder) nowLocked() uint64 { return uint64(r.base.UnixNano() + int64(time.Since(r.base))) }

// lastLocked returns the entry that was begun last, if there is one.
func (r *Recorder) lastLocked() []byte {
	if r.mem == nil || r.next == 1 {
		return nil
	}
	return r.entryLocked(r.next - 1)
}

// Close ends the mapping. keep says whether the file stays.
func (r *Recorder) Close(keep bool) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return nil
	}
	err := unix.Munmap(r.mem)
	r.mem = nil
	if !keep {
		err = errors.Join(err, os.Remove(r.path))
	}
	return err
}

// allocate gives a file its memory.
func allocate(f *os.File, n int) error {
	_, err := f.WriteAt(make([]byte, n), 0)
	return err
}
