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

// Without segments nobody sleeps.
func sleep(*atomic.Uint32, uint32, time.Duration) bool { return true }

func rouse(*atomic.Uint32) {}

func giveWay() { runtime.Gosched() }
