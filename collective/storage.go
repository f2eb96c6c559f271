// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/scope"
)

// storage is where a node shares memory with others.
type storage struct {
	store *arrowstore.Store // nil if the node has none
	host  string

	once   sync.Once
	opened error                                                   // of open
	limit  int64                                                   // of the store, in bytes; known when it is ready
	open   func() (*arrowstore.Store, string, func() error, error) // opens the store when it is first needed, or nil
	closed func() error                                            // closes what open has opened

	stretch int // bytes that the contributions of all members of a host to a stretch of a reduction take at most

	copied atomic.Int64 // bytes of data that operations with shared results have copied into the store
	sent   atomic.Int64 // bytes that they have sent to other members, the few of their arrangements included
}

func newStorage(n *scope.Node) *storage {
	st, _ := n.Store.(*arrowstore.Store)
	return &storage{store: st, host: n.Host, stretch: stretchBytes}
}

// ready reports whether there is a store.
func (p *storage) ready() error {
	p.once.Do(func() {
		if p.open != nil {
			p.store, p.host, p.closed, p.opened = p.open()
		}
		if p.store != nil {
			p.limit = p.store.Stats().Limit
		}
	})
	if p.opened != nil {
		return fmt.Errorf("object store for shared results: %w", p.opened)
	}
	if p.store == nil {
		return fmt.Errorf("%w: a shared result: the node has no object store", ErrArgument)
	}
	return nil
}

// close ends what open has opened, for good.
func (p *storage) close() error {
	p.once.Do(func() { p.opened = ErrClosed })
	if p.closed == nil {
		return nil
	}
	return p.closed()
}
