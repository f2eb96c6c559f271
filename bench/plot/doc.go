// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package plot draws what the programs of bench measure: two panels of curves side by side, with a logarithmic axis of times, as
// SVG. The axis of what varies is logarithmic too if its points have labels.
//
//	err := plot.Chart{Title: "...", Axis: "actors", Xs: xs, Panels: [2]plot.Panel{left, right}, Legend: curves}.Write(file)
//
// Concurrency: a Chart is a value, which Write only reads. Memory: nothing is kept. Failure: Write returns the writer's error. Test kit:
// none.
package plot
