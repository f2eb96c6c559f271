// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package collective

// raceEnabled says that the test binary has the race detector.
const raceEnabled = true

// sizes returns the numbers of members of a test: a few stand for all here, where what counts is who touches what, and each takes ten times as long.
func sizes(_ []int, few ...int) []int { return few }
