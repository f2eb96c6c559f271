// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package link

// Shared is [Unix] where there is no memory that a descriptor stands for.
type Shared struct{ Unix }
