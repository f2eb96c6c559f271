// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

// echo sends every frame back until the connection ends.
func echo(b *testing.B, c link.Conn) <-chan struct{} {
	b.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			f, err := c.Recv()
			if err != nil {
				return
			}
			if err := c.Send(b.Context(), &f.Header, f.Body); err != nil {
				return
			}
		}
	}()
	return done
}

// BenchmarkRoundTrip is one request and its answer, one at a time.
func BenchmarkRoundTrip(b *testing.B) {
	for _, tw := range twins[:4] {
		b.Run("size=64B/link="+tw.name, func(b *testing.B) {
			x, y := tw.pair(b)
			done := echo(b, y)
			body := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := x.Send(b.Context(), &wire.Header{Kind: wire.KindCall}, body); err != nil {
					b.Fatal(err)
				}
				if _, err := x.Recv(); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, x.Close())
			<-done
		})
	}
}

// BenchmarkThroughput sends in one direction; an operation is one frame received.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"64B", 64}, {"1MiB", 1 << 20}} {
		for _, tw := range twins[:4] {
			b.Run("size="+size.name+"/link="+tw.name, func(b *testing.B) {
				x, y := tw.pair(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					body := make([]byte, size.bytes)
					for err := error(nil); err == nil; {
						err = x.Send(b.Context(), &wire.Header{Kind: wire.KindBlock}, body)
					}
				}()
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := y.Recv(); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, y.Close())
				<-done
			})
		}
	}
}
