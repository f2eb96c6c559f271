// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package main

// testEpochs is as the program has by default, and the accuracy what is reached then.
const (
	testEpochs   = 20
	testAccuracy = 0.89
)
