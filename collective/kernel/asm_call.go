// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !noasm && (amd64 || arm64)

package kernel

import "unsafe"

//go:generate go run ./internal/asmgen -arch amd64
//go:generate go run ./internal/asmgen -arch arm64

// call runs the code in a slot of the table on n bytes of dst, from a place on. It is k sources that begin at the first; n
// must be a multiple of the code's step. What x is depends on the code.
//
//go:noescape
func call(slot int, dst unsafe.Pointer, srcs *[]byte, k, from, n int, x uint64)
