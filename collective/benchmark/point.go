// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package benchmark

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Point is what one line of results is about.
type Point struct {
	Operation string // one of Operations
	// Bytes is the larger buffer of a member: the whole input of a reduce-scatter, the whole result of a gather. Blocks have at least one element.
	Bytes int
	Fresh bool // every round gets memory that was never used before
	// Shared: the result is one object on each host, which its members read in place: see Shareable. What members bring is in the object store
	// then where buffers are reused, but of a scatterv, and is copied into it where they are fresh.
	Shared bool
}

// String returns the point as ParsePoint reads it: "allreduce:4:reused", with ":shared" behind it for a shared result.
func (p Point) String() string {
	text := fmt.Sprintf("%s:%d:%s", p.Operation, p.Bytes, p.Buffers())
	if p.Shared {
		text += ":shared"
	}
	return text
}

// Buffers returns "fresh" or "reused".
func (p Point) Buffers() string {
	if p.Fresh {
		return "fresh"
	}
	return "reused"
}

// ParsePoint reads what String returns. The error names what is wrong.
func ParsePoint(text string) (Point, error) {
	f := strings.Split(text, ":")
	shared := len(f) == 4 && f[3] == "shared"
	if len(f) != 3 && !shared {
		return Point{}, fmt.Errorf("point %q: want operation:bytes:buffers, and perhaps :shared", text)
	}
	p := Point{Operation: f[0], Fresh: f[2] == "fresh", Shared: shared}
	var err error
	if p.Bytes, err = parseBytes(f[1]); err != nil && (p.Operation != barrier || f[1] != "0") {
		return Point{}, fmt.Errorf("point %q: %w", text, err)
	}
	if f[2] != p.Buffers() {
		return Point{}, fmt.Errorf("point %q: buffers are %q, want fresh or reused", text, f[2])
	}
	return p, p.check()
}

// check names what cannot be measured.
func (p Point) check() error {
	switch {
	case !slices.Contains(Operations(), p.Operation):
		return fmt.Errorf("operation %q: want one of %s", p.Operation, strings.Join(Operations(), ", "))
	case p.Operation == barrier && p.Bytes != 0:
		return fmt.Errorf("a barrier of %d bytes: want 0", p.Bytes)
	case p.Operation != barrier && (p.Bytes < elementSize || p.Bytes%elementSize != 0):
		return fmt.Errorf("%s of %d bytes: want a multiple of %d, at least %d", p.Operation, p.Bytes, elementSize, elementSize)
	case p.Shared && !Shareable(p.Operation):
		return fmt.Errorf("%s has no shared result", p.Operation)
	}
	return nil
}

// Need returns how many bytes the buffers of the member with a rank take; a shared result is not among them.
func (p Point) Need(rank, members int) int {
	s := shapeOf(p, rank, members)
	return elementSize * (s.in + s.out)
}

// Choice is a set of points: every operation with every size and every kind of buffers. A barrier has one point, of no bytes.
type Choice struct {
	Operations []string
	Sizes      []int    // bytes
	Buffers    []string // "reused", "fresh"
	Shared     bool     // results are shared; operations without a shared result are left out
}

// DefaultChoice is all operations with reused and fresh buffers from 4 B to 16 MiB.
func DefaultChoice() Choice {
	return Choice{Operations: Operations(), Sizes: []int{4, 1 << 10, 64 << 10, 1 << 20, 16 << 20}, Buffers: []string{"reused", "fresh"}}
}

// Flags defines -operations, -sizes and -buffers, which change the choice when f is parsed.
func Flags(f *flag.FlagSet, c *Choice) {
	list(f, "operations", "operations, of "+strings.Join(Operations(), ", ")+" (default all)", &c.Operations, func(text string) (string, error) {
		return text, oneOf(text, Operations())
	})
	list(f, "sizes", "bytes of a member's larger buffer, such as 4,64KiB,1MB (default 4,1KiB,64KiB,1MiB,16MiB)", &c.Sizes, parseBytes)
	list(f, "buffers", "reused: the same in every round; fresh: memory that was never used before (default reused,fresh)", &c.Buffers, func(text string) (string, error) {
		return text, oneOf(text, []string{"reused", "fresh"})
	})
}

// list defines a flag with commas. What stands there twice counts once.
func list[T comparable](f *flag.FlagSet, name, usage string, into *[]T, parse func(string) (T, error)) {
	f.Func(name, usage, func(text string) error {
		*into = nil
		for part := range strings.SplitSeq(text, ",") {
			v, err := parse(part)
			if err != nil {
				return err
			}
			if !slices.Contains(*into, v) {
				*into = append(*into, v)
			}
		}
		return nil
	})
}

func oneOf(text string, all []string) error {
	if !slices.Contains(all, text) {
		return fmt.Errorf("%q: want some of %s", text, strings.Join(all, ", "))
	}
	return nil
}

// Points returns all points: of each kind of buffers, operation by operation and then by size.
func (c Choice) Points() []Point {
	var all []Point
	for i, buffers := range c.Buffers {
		for _, op := range c.Operations {
			if c.Shared && !Shareable(op) {
				continue
			}
			if op == barrier {
				if i == 0 {
					all = append(all, Point{Operation: op})
				}
				continue
			}
			for _, size := range c.Sizes {
				all = append(all, Point{Operation: op, Bytes: size, Fresh: buffers == "fresh", Shared: c.Shared})
			}
		}
	}
	return all
}

// Plan is what to measure, and how long that may take.
type Plan struct {
	Points  []Point
	Seconds float64 // for each point, which takes as many rounds as fit, up to 200
	Least   int     // rounds of a point, however long they take; 0 stands for 2
	// Limit is how long all points may take; 0: for ever. Each operation has its share by the number of its points and what those before it
	// left over. A point is left out if that is over, or would be if it took as long as the one of the size before, by byte where they are long; a point
	// that has begun is ended by the context only.
	Limit time.Duration
	// Memory is how many bytes the buffers of the members of one host may take; 0: half of what is free there when they start. A point that
	// needs more is left out.
	Memory int
	// Ready is called when all members run and have met, before the first point; may be nil.
	Ready func()
}

// deadline is when the share of the i-th point's operation ends, as a part of the limit.
func (p Plan) deadline(i int) time.Duration {
	last := i
	for last+1 < len(p.Points) && p.Points[last+1].Operation == p.Points[i].Operation {
		last++
	}
	return time.Duration(float64(p.Limit) * float64(last+1) / float64(len(p.Points)))
}

// ParseSize reads a number of bytes, such as 8, 8B, 64KiB or 1MB, up to 2 TiB.
func ParseSize(text string) (int, error) {
	digits := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	factor := map[string]int64{
		"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 1e3, "mb": 1e6, "gb": 1e9,
	}[strings.ToLower(text[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || factor == 0 || n < 0 || n > math.MaxInt32*1024/factor {
		return 0, fmt.Errorf("want a size such as 8, 64KiB or 1MB, up to 2 TiB, not %q", text)
	}
	return int(n * factor), nil
}

// parseBytes reads the size of a buffer.
func parseBytes(text string) (int, error) {
	n, err := ParseSize(text)
	if err == nil && (n < elementSize || n%elementSize != 0) {
		err = fmt.Errorf("%q: want a multiple of %d bytes, at least %d", text, elementSize, elementSize)
	}
	return n, err
}
