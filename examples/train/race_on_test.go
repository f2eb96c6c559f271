// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package main

// Every epoch does the same, ten times as slowly: a few will do to find races.
const (
	testEpochs   = 8
	testAccuracy = 0.8
)
