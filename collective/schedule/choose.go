// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// Choice is an algorithm and into how many parts it cuts the data, if that is a choice; else 1.
type Choice struct {
	Algorithm *Algorithm
	Parts     int
}
