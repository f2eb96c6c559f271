// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"strings"
)

// entry is one line of the method table that two processes compare when they connect.
type entry struct {
	kind string
	name string // empty for the kind itself
	sig  uint64
}

func (e entry) String() string {
	if e.name == "" {
		return fmt.Sprintf("kind %q", e.kind)
	}
	return fmt.Sprintf("method %q of kind %q", e.name, e.kind)
}

// table is the snapshot of the registry that a system works on. Methods and kinds travel as their index in
// it, which is the same in all processes because equal tables are a condition of joining.
type table struct {
	kinds   []*kind
	methods []*method
	kindID  map[*kind]uint32
	methID  map[*method]uint32
	byKind  map[string]*kind
	common  map[string]*method
	entries []entry // sorted
	hash    uint64
}

func newTable() *table {
	t := &table{
		kindID: map[*kind]uint32{}, methID: map[*method]uint32{},
		byKind: map[string]*kind{}, common: map[string]*method{},
	}
	registry.Lock()
	defer registry.Unlock()
	for name, k := range registry.kinds {
		t.byKind[name] = k
		t.kinds = append(t.kinds, k)
		t.entries = append(t.entries, entry{kind: name, sig: k.sig})
		for _, m := range k.methods {
			t.methods = append(t.methods, m)
			t.entries = append(t.entries, entry{name, m.name, m.sig})
		}
	}
	for _, m := range registry.common {
		t.common[m.name] = m
		t.methods = append(t.methods, m)
		t.entries = append(t.entries, entry{forAll, m.name, m.sig})
	}
	slices.SortFunc(t.kinds, func(a, b *kind) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(t.methods, func(a, b *method) int {
		return strings.Compare(a.kind+"\x00"+a.name, b.kind+"\x00"+b.name)
	})
	slices.SortFunc(t.entries, compareEntries)
	for i, k := range t.kinds {
		t.kindID[k] = uint32(i)
	}
	for i, m := range t.methods {
		t.methID[m] = uint32(i)
	}
	t.hash = hashEntries(t.entries)
	return t
}

func compareEntries(a, b entry) int {
	return strings.Compare(a.kind+"\x00"+a.name, b.kind+"\x00"+b.name)
}

func hashEntries(entries []entry) uint64 {
	h := fnv.New64a()
	var b []byte
	for _, e := range entries {
		b = append(b[:0], e.kind+"\x00"+e.name+"\x00"...)
		_, _ = h.Write(binary.LittleEndian.AppendUint64(b, e.sig)) // a hash cannot fail
	}
	return h.Sum64()
}

// differ says in words how another build's table differs from ours, or returns nil.
func (t *table) differ(node uint32, theirBuild, ourBuild string, theirs []entry) error {
	slices.SortFunc(theirs, compareEntries)
	if slices.Equal(theirs, t.entries) {
		return nil
	}
	ours := map[string]uint64{}
	for _, e := range t.entries {
		ours[e.String()] = e.sig
	}
	var diff []string
	for _, e := range theirs {
		key := e.String()
		sig, ok := ours[key]
		delete(ours, key)
		switch {
		case !ok:
			diff = append(diff, "only the node has "+key)
		case sig != e.sig:
			diff = append(diff, key+" has another signature there")
		}
	}
	for key := range ours {
		diff = append(diff, "only the driver has "+key)
	}
	slices.Sort(diff)
	if len(diff) > 5 {
		diff = append(diff[:5], fmt.Sprintf("and %d more", len(diff)-5))
	}
	return fmt.Errorf("%w: node %d runs %s, the driver %s: %s", ErrBuild, node, theirBuild, ourBuild, strings.Join(diff, "; "))
}

// lookup finds the method that the function f was registered as.
func lookup[A, In, Out any](k *kind, f func(A, context.Context, In) (Out, error)) (*method, error) {
	m := k.byFunc[reflect.ValueOf(f).Pointer()]
	if m == nil || m.in != reflect.TypeFor[In]() || m.out != reflect.TypeFor[Out]() {
		return nil, fmt.Errorf("%w: %s of kind %q; register it with core.Method, or call it by the name given to core.NamedMethod",
			ErrNoMethod, funcName(reflect.ValueOf(f).Pointer()), k.name)
	}
	return m, nil
}

// named finds a method of a kind by name.
func (t *table) named(k *kind, name string) (*method, error) {
	if m := k.methods[name]; m != nil {
		return m, nil
	}
	if m := t.common[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %q of kind %q", ErrNoMethod, name, k.name)
}
