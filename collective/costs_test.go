// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/collective/schedule"
)

// measurer counts how often it measures; each time it finds something else.
type measurer struct{ times int }

func (m *measurer) measure(context.Context) (*schedule.Model, error) {
	m.times++
	return &schedule.Model{
		Host: schedule.Link{Overhead: time.Duration(m.times), PerByte: 0.1}, Combine: 0.25, Copy: 1.0 / 3, Cores: 2,
	}, nil
}

func TestConstantsAreMeasuredOncePerMachine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tutti")
	c, other := costsFile{dir, "one machine"}, costsFile{dir, "another"}
	var m measurer
	first, err := c.costs(t.Context(), "", m.measure)
	require.NoError(t, err)
	for range 3 {
		again, err := c.costs(t.Context(), "", m.measure)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	require.Equal(t, 1, m.times)
	_, err = other.costs(t.Context(), "", m.measure)
	require.NoError(t, err)
	require.Equal(t, 2, m.times)
	for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, c.path(): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode())
	}

	_, err = c.costs(t.Context(), "off", m.measure)
	require.NoError(t, err)
	require.Equal(t, 3, m.times)
	named, err := other.costs(t.Context(), c.path(), m.measure)
	require.NoError(t, err)
	require.Equal(t, first, named)
	require.NoError(t, os.Chtimes(c.path(), time.Time{}, time.Now().Add(-keptFor)))
	_, err = c.costs(t.Context(), "", m.measure)
	require.NoError(t, err)
	require.Equal(t, 4, m.times, "what is old is measured anew")
	_, err = costsFile{}.costs(t.Context(), "", m.measure)
	require.NoError(t, err)
	require.Equal(t, 5, m.times)
}

func TestWhatIsKeptMayBeBroken(t *testing.T) {
	for name, spoil := range map[string]func(path, text string) error{
		"empty":   func(path, _ string) error { return os.WriteFile(path, nil, 0o600) },
		"cut":     func(path, text string) error { return os.WriteFile(path, []byte(text[:len(text)/2]), 0o600) },
		"zero":    func(path, _ string) error { return os.WriteFile(path, []byte(`{"Key":"k"}`), 0o600) },
		"unknown": func(path, _ string) error { return os.WriteFile(path, []byte(`{"Keys":1}`), 0o600) },
		"negative": func(path, text string) error {
			return os.WriteFile(path, []byte(strings.Replace(text, `"Cores": 2`, `"Cores": -2`, 1)), 0o600)
		},
		"long": func(path, text string) error {
			return os.WriteFile(path, []byte(text+strings.Repeat(" ", keptBytes)), 0o600)
		},
		"directory": func(path, _ string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := costsFile{t.TempDir(), "k"}
			var m measurer
			_, err := c.costs(t.Context(), "", m.measure)
			require.NoError(t, err)
			text, err := os.ReadFile(c.path())
			require.NoError(t, err)
			require.NoError(t, spoil(c.path(), string(text)))
			_, err = c.costs(t.Context(), c.path(), m.measure)
			require.ErrorIs(t, err, ErrArgument, "where the user names it, it is an error")
			got, err := c.costs(t.Context(), "", m.measure)
			require.NoError(t, err)
			require.Equal(t, time.Duration(2), got.Host.Overhead)
		})
	}
	c := costsFile{filepath.Join(os.DevNull, "nowhere"), "k"}
	var m measurer
	_, err := c.costs(t.Context(), "", m.measure)
	require.NoError(t, err, "where nothing can be kept, all is measured")
	require.Equal(t, 1, m.times)
}

func TestOldFilesGo(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "new-1")
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	require.NoError(t, os.Chtimes(left, time.Time{}, time.Now().Add(-2*time.Hour)))
	var m measurer
	for i := range keptFiles + 3 {
		c := costsFile{dir, strconv.Itoa(i)}
		_, err := c.costs(t.Context(), "", m.measure)
		require.NoError(t, err)
		require.NoError(t, os.Chtimes(c.path(), time.Time{}, time.Now().Add(time.Duration(i-100)*time.Minute)))
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, keptFiles)
	assert.FileExists(t, costsFile{dir, strconv.Itoa(keptFiles + 2)}.path())
	assert.NoFileExists(t, costsFile{dir, "0"}.path())
	assert.NoFileExists(t, left)
}

func TestOnlyReleasesKeepConstants(t *testing.T) {
	const path = "github.com/tutti-go/tutti"
	dep := func(m debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Path: "x"}, Deps: []*debug.Module{{Path: "y", Version: "v9.0.0"}, &m}}
	}
	assert.Equal(t, "v1.2.3", versionOf(&debug.BuildInfo{Main: debug.Module{Path: path, Version: "v1.2.3"}}))
	assert.Equal(t, "v1.2.3", versionOf(dep(debug.Module{Path: path, Version: "v1.2.3"})))
	for _, info := range []*debug.BuildInfo{
		{Main: debug.Module{Path: path, Version: "(devel)"}},
		{Main: debug.Module{Path: path, Version: "v1.2.3+dirty"}},
		{Main: debug.Module{Path: "x"}},
		dep(debug.Module{Path: path, Version: "v1.2.3", Replace: &debug.Module{Path: "../tutti"}}),
	} {
		assert.Empty(t, versionOf(info))
	}
	assert.NotEmpty(t, processor())
}
