// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package collective

// raceEnabled says that the test binary has the race detector.
const raceEnabled = false

// few returns the numbers of members or of elements that a test tries, of which some stand for all with the race detector.
func few(all []int, _ ...int) []int { return all }
