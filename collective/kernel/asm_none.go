// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build noasm || !(amd64 || arm64)

package kernel

import "unsafe"

const slots = 0

//nolint:gochecknoglobals // never written: there is no code in assembly
var slotOf [quotient + 1][typeEnd]uint8

func sets() []instructions { return available() }

func call(int, unsafe.Pointer, *[]byte, int, int, int, uint64) {
	panic("kernel: there is no code in assembly")
}
