// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkReadersMemory has processes read the same object and reports what memory each of them costs besides the one
// copy of the object: proportional set sizes after less those before, less the object, for each process.
func BenchmarkReadersMemory(b *testing.B) {
	const readers, size = 50, 256 << 20
	b.Run(fmt.Sprintf("readers=%d/%s", readers, sizeName(size)), func(b *testing.B) {
		dir := storeDir(b)
		s := openStore(b, dir, Limit(1<<30))
		o, err := s.Put(filled(size))
		require.NoError(b, err)
		defer o.Release()
		var procs []*child
		for range readers {
			procs = append(procs, startChild(b, "reader", dir))
		}
		total := func() (n int) {
			for _, c := range procs {
				n += pss(b, c.cmd.Process.Pid)
			}
			return n
		}
		for b.Loop() {
			for _, c := range procs {
				c.ask("stat")
			}
			before := total()
			for _, c := range procs {
				c.ask("pin %s", idText(o.ID()))
				c.ask("sum %s", idText(o.ID()))
			}
			extra := float64(total()-before-size) / readers
			b.ReportMetric(extra, "extra-B/reader")
			b.ReportMetric(extra/(1<<20), "of-asked")
			b.ReportMetric(extra*readers/float64(before), "x-floor") // to what the processes have without it
			for _, c := range procs {
				c.ask("release %s", idText(o.ID()))
			}
		}
	})
}

func pss(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(b, err)
			return n << 10
		}
	}
	b.Fatal("no Pss in smaps_rollup")
	return 0
}
