// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package collective

// raceEnabled says that the test binary has the race detector.
const raceEnabled = true
