// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"sync"
	"unsafe"
)

// views are the read-only mappings of a store, by address.
type views struct {
	mu struct {
		sync.RWMutex
		sizes map[uintptr]int
	}
}

func (v *views) add(b []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.sizes == nil {
		v.mu.sizes = map[uintptr]int{}
	}
	v.mu.sizes[uintptr(unsafe.Pointer(unsafe.SliceData(b)))] = len(b)
}

func (v *views) remove(b []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.mu.sizes, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

func (v *views) contain(addr uintptr) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for from, size := range v.mu.sizes {
		if addr >= from && addr-from < uintptr(size) {
			return true
		}
	}
	return false
}
