// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTicksAreRoundNumbers(t *testing.T) {
	for most, want := range map[float64]float64{7782650: 1e6, 950: 200, 50: 10, 10: 2, 0: 0.2} {
		assert.InDelta(t, want, step(most), 1e-9)
	}
	assert.Equal(t, []string{"10 µs", "1 ms", "100 ms", "10 s"}, []string{duration(-2), duration(0), duration(2), duration(4)})
}

func drawn(t *testing.T, c Chart) string {
	t.Helper()
	var w strings.Builder
	require.NoError(t, c.Write(&w))
	for d := xml.NewDecoder(strings.NewReader(w.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return w.String()
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				require.NotRegexp(t, "NaN|Inf|!", a.Value)
			}
		}
	}
}

func TestMissingPointsAreLeftOut(t *testing.T) {
	some := Curve{Name: "a < b", Color: "#123456", Ys: []float64{0, 0.5, 20}}
	svg := drawn(t, Chart{
		Title: "t & t", Axis: "bytes", Xs: []float64{4, 1 << 10, 1 << 20}, Labels: []string{"4 B", "1 KiB", "1 MiB"},
		Panels: [2]Panel{{Title: "left", Curves: []Curve{some, {Name: "none", Ys: []float64{0, 0, 0}}}}, {Title: "right"}},
		Legend: []Curve{some},
	})
	assert.Equal(t, 2, strings.Count(svg, "<circle"))
	assert.Contains(t, svg, "a &lt; b, 1 KiB: 0.500 ms")
	assert.Contains(t, svg, ">1 MiB</text>")
	drawn(t, Chart{Title: "nothing"})
	drawn(t, Chart{Title: "one", Xs: []float64{4}, Labels: []string{"4 B"}, Panels: [2]Panel{{Curves: []Curve{{Ys: []float64{1}}}}}})
}

func TestAnAxisWithLabelsIsLogarithmic(t *testing.T) {
	svg := drawn(t, Chart{Xs: []float64{4, 400, 40000}, Labels: []string{"a", "b", "c"}})
	for i, label := range []string{"a", "b", "c"} {
		assert.Contains(t, svg, fmt.Sprintf(`<text x="%.1f" y="460.0" text-anchor="middle">%s</text>`, leftOf+float64(i)*panelWidth/2, label))
	}
}
