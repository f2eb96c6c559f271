// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package hostshm

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

type mapping struct{ base unsafe.Pointer }

func open(string, int, int) (*mapping, File, error) { return nil, File{}, errors.ErrUnsupported }

func (*mapping) back(int, int) error { return errors.ErrUnsupported }

func (*mapping) close() error { return nil }

func (*mapping) hear(*bell, *atomic.Uint32) error { return errors.ErrUnsupported }

func (*mapping) strike() {}

// bell is never heard without segments.
type bell struct{}

func (*bell) await(uint32, time.Time) {}

const bellSuffix = ".bell"

type reader struct{}

func (*Port) read(int, []byte, uint64) error { return errors.ErrUnsupported }

func processID() uint64 { return 0 }

// Populate is of use on Linux only.
func Populate([]byte) {}

func giveWay() { runtime.Gosched() }
