// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"fmt"
	"strconv"
	"strings"
)

// Result is what came out at one point. Times are in microseconds.
type Result struct {
	Point

	Library   string
	Algorithm string // "default", where the library chose
	Members   int
	Rounds    int     // 0: the point was left out
	LeftOut   string  // why; not part of the text
	Min       float64 // over members, of each one's mean over rounds of its own call; likewise Avg and Max
	Avg, Max  float64
	// UntilLast is the median over rounds of the time from when the first member begins until the last has ended. Where members
	// are on several hosts, whose clocks differ, it is that of the host where this takes longest.
	UntilLast float64
}

// fields is how many a result has as text.
const fields = 11

// String returns the result with commas between its fields, as the programs in bench/peers print theirs:
// library,algorithm,operation,bytes,buffers,members,rounds,min,avg,max,untilLast. That a result is shared is the library's business.
func (r Result) String() string {
	return fmt.Sprintf("%s,%s,%s,%d,%s,%d,%d,%.2f,%.2f,%.2f,%.2f", r.Library, r.Algorithm, r.Operation, r.Bytes, r.Buffers(),
		r.Members, r.Rounds, r.Min, r.Avg, r.Max, r.UntilLast)
}

// ParseResult reads what String returns. The error names the field that is wrong.
func ParseResult(text string) (Result, error) {
	f := strings.Split(text, ",")
	if len(f) != fields {
		return Result{}, fmt.Errorf("%q has %d fields, want %d", text, len(f), fields)
	}
	r := Result{Library: f[0], Algorithm: f[1], Point: Point{Operation: f[2], Fresh: f[4] == "fresh"}}
	if f[4] != r.Buffers() {
		return Result{}, fmt.Errorf("%q: field 5: want fresh or reused", text)
	}
	for i, to := range map[int]*int{3: &r.Bytes, 5: &r.Members, 6: &r.Rounds} {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			return Result{}, fmt.Errorf("%q: field %d: %w", text, i+1, err)
		}
		*to = n
	}
	for i, to := range map[int]*float64{7: &r.Min, 8: &r.Avg, 9: &r.Max, 10: &r.UntilLast} {
		x, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return Result{}, fmt.Errorf("%q: field %d: %w", text, i+1, err)
		}
		*to = x
	}
	return r, nil
}

// Rate returns the algorithm's bandwidth, and that of the bus as nccl-tests define it, in GB/s (10^9 bytes), of the time until the
// last member is done. What a bus of a given speed could do at best is then the same for every number of members. The bytes are those that the larger
// buffer of the root really has: with 400 members, whose blocks have an element at least, an all-gather of 4 B has 1600. Both are 0 for a barrier.
func (r Result) Rate() (algorithm, bus float64) {
	if r.UntilLast == 0 || r.Members < 1 {
		return 0, 0
	}
	s := private(r.Operation, r.Bytes/elementSize, 0, r.Members)
	algorithm = float64(elementSize*max(s.in, s.out)) / r.UntilLast / 1e3
	n := float64(r.Members)
	switch r.Operation {
	case allReduce:
		return algorithm, algorithm * 2 * (n - 1) / n
	case broadcast, reduce:
		return algorithm, algorithm
	default:
		return algorithm, algorithm * (n - 1) / n
	}
}

// Columns are the heads of what Row returns.
const Columns = "     bytes    rounds     min us     avg us     max us until last us  algbw GB/s  busbw GB/s"

// Row returns the result as a line of a table below Columns.
func (r Result) Row() string {
	algorithm, bus := r.Rate()
	return fmt.Sprintf("%10d  %8d %10.1f %10.1f %10.1f %13.1f %11.3f %11.3f", r.Bytes, r.Rounds, r.Min, r.Avg, r.Max, r.UntilLast, algorithm, bus)
}
