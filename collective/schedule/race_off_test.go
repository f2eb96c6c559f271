// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package schedule_test

// raceEnabled says that the test binary has the race detector.
const raceEnabled = false
