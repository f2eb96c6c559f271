// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build armbe || arm64be || m68k || mips || mips64 || mips64p32 || ppc || ppc64 || s390 || s390x || shbe || sparc || sparc64

package codec

// Buffers are the memory of numeric slices as it lies, which the format defines to be little-endian. Nothing here
// swaps bytes, so a big-endian build must stop with a name that says why.
var _ = package_codec_requires_a_little_endian_machine
