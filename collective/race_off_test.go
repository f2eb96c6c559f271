// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package collective

// raceEnabled says that the test binary has the race detector.
const raceEnabled = false

// sizes returns the numbers of members of a test, of which a few stand for all with the race detector.
func sizes(all []int, _ ...int) []int { return all }
