// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tutti-go/tutti/collective/schedule"
)

// EnvCosts names a file with the constants of the machine, which is read instead of measuring them, by groups that are made without the option
// [Costs]: one like those that are kept, whose model may be changed. "off" measures anew for each system and keeps nothing.
const EnvCosts = "TUTTI_COSTS"

// What is kept of measurements, in the user's cache directory.
const (
	keptBytes = 16 << 10            // of a file, at most
	keptFiles = 32                  // at most
	keptFor   = 30 * 24 * time.Hour // then it is measured anew
)

// kept is a file of constants.
type kept struct {
	Key   string // of what was measured: the machine and the library
	Model schedule.Model
}

// costsFile is where the constants of a machine are kept.
type costsFile struct {
	dir string // empty: nowhere
	key string
}

// costsOfMachine returns where the constants of this machine are kept: nowhere if this build does not tell its version, as tests do not, for the
// constants of another one may be different.
func costsOfMachine() costsFile {
	dir, err := os.UserCacheDir()
	info, ok := debug.ReadBuildInfo()
	if err != nil || !ok {
		return costsFile{}
	}
	version := versionOf(info)
	if version == "" {
		return costsFile{}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // systems without it have one kernel for each release
	return costsFile{
		dir: filepath.Join(dir, "tutti"),
		key: fmt.Sprintf("%s/%s, %s, %d cores, kernel %s, %s, tutti %s", runtime.GOOS, runtime.GOARCH, processor(),
			runtime.GOMAXPROCS(0), strings.TrimSpace(string(kernel)), runtime.Version(), version),
	}
}

// versionOf returns the version of this library in a program, or nothing if it is one under development.
func versionOf(info *debug.BuildInfo) string {
	const path = "github.com/tutti-go/tutti"
	m := &info.Main
	if m.Path != path {
		at := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == path })
		if at < 0 {
			return ""
		}
		m = info.Deps[at]
	}
	if m.Replace != nil || m.Version == "(devel)" || strings.HasSuffix(m.Version, "+dirty") {
		return ""
	}
	return m.Version
}

// processor names the model of the processor, as far as the system tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "some processor"
}

// path returns the file for the key.
func (c costsFile) path() string {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.key) // a hash never fails
	return filepath.Join(c.dir, fmt.Sprintf("costs-%016x.json", h.Sum64()))
}

// costs returns the constants of the machine: those of the file that the environment names, those that are kept, or new ones that measure makes.
func (c costsFile) costs(ctx context.Context, env string, measure func(context.Context) (*schedule.Model, error)) (*schedule.Model, error) {
	if env == "off" || env == "" && c.dir == "" {
		return measure(ctx)
	}
	if env != "" {
		k, err := readCosts(env)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrArgument, EnvCosts, err)
		}
		return &k.Model, nil
	}
	// Whatever is wrong with what is kept, it can be measured.
	if info, err := os.Lstat(c.path()); err == nil && time.Since(info.ModTime()) < keptFor {
		if k, err := readCosts(c.path()); err == nil && k.Key == c.key {
			return &k.Model, nil
		}
	}
	m, err := measure(ctx)
	if err == nil {
		_ = c.keep(*m) // else the next system measures, too
	}
	return m, err
}

// readCosts reads a file of constants.
func readCosts(path string) (k kept, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, err
	}
	if !info.Mode().IsRegular() || info.Size() > keptBytes {
		return k, fmt.Errorf("%s: want a file of at most %d bytes", path, keptBytes)
	}
	f, err := os.Open(path)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	d := json.NewDecoder(io.LimitReader(f, keptBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&k); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	if err := k.Model.Validate(); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	if k.Model.Host.Overhead == 0 || k.Model.Combine == 0 || k.Model.Copy == 0 {
		return k, fmt.Errorf("%s: a model without Host.Overhead, Combine or Copy, which take some time", path)
	}
	return k, nil
}

// keep writes the file, which others may do at the same time, and removes the oldest of those that are too many.
func (c costsFile) keep(m schedule.Model) (err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(kept{c.key, m}, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, "new-*") // for the user alone
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path())
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return c.prune()
}

// prune removes the oldest files beyond the most that are kept, and what an interrupted keep has left.
func (c costsFile) prune() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type aged struct {
		path string
		at   time.Time
	}
	var files []aged
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(c.dir, e.Name())
		switch {
		case err != nil: // it is gone
		case strings.HasPrefix(e.Name(), "costs-"):
			files = append(files, aged{path, info.ModTime()})
		case strings.HasPrefix(e.Name(), "new-") && time.Since(info.ModTime()) > time.Hour:
			errs = append(errs, os.Remove(path))
		}
	}
	slices.SortFunc(files, func(a, b aged) int { return b.at.Compare(a.at) })
	for _, f := range files[min(keptFiles, len(files)):] {
		errs = append(errs, os.Remove(f.path))
	}
	return errors.Join(errs...)
}
