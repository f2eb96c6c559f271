// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !noasm

package kernel

// sets are the sets of instructions: every processor has this one.
func sets() []instructions { return available(instructions{name: "NEON", vector: 16, usable: true}) }
