// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package collective

// raceEnabled says that the test binary has the race detector.
const raceEnabled = true

// few returns the numbers of members or of elements that a test tries: some stand for all here, where what counts is who touches what, and each takes ten
// times as long.
func few(_ []int, some ...int) []int { return some }
