// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"testing"

	"github.com/tutti-go/tutti/internal/codec"
)

func benchmark[T any](b *testing.B, in T) {
	c := codec.New()
	v, err := codec.Encode(c, in)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := codec.Encode(c, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, mode := range map[string]codec.Mode{"view": codec.View, "copy": codec.Copy} {
		b.Run("decode="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Decode[T](c, v, mode); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type small struct {
	Name  string
	Scale float32
	Steps int
	Ready bool
}

func BenchmarkSlice(b *testing.B) {
	b.Run("size=1KiB", func(b *testing.B) { benchmark(b, make([]float32, 1<<8)) })
	b.Run("size=1MiB", func(b *testing.B) { benchmark(b, make([]float32, 1<<18)) })
}

func BenchmarkScalar(b *testing.B) { benchmark(b, 1.5) }

func BenchmarkEmpty(b *testing.B) { benchmark(b, struct{}{}) }

func BenchmarkSmallStruct(b *testing.B) { benchmark(b, small{"worker", 2, 100, true}) }

func BenchmarkThreeSlices(b *testing.B) { benchmark(b, newJob(1<<16)) }

func BenchmarkStateDict(b *testing.B) {
	benchmark(b, map[string][]float32{"w0": make([]float32, 1<<10), "b0": make([]float32, 32), "w1": make([]float32, 1<<10)})
}

func BenchmarkAppendValue(b *testing.B) {
	v, err := codec.Encode(codec.New(), newJob(1<<16))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(v.Size()))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = codec.AppendValue(dst[:0], v)
	}
}
