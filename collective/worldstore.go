// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package collective

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/internal/reach"
	"github.com/tutti-go/tutti/internal/rundir"
)

// The processes of Connect open an object store when they first need one: those of one machine and job in the same directory, whose name
// comes from the secret of the job. Its last user takes it away, or the next start of anything beside it.

// worldStore opens the object store of a process of Connect.
func worldStore(secret []byte) (st *arrowstore.Store, host string, closed func() error, err error) {
	name := os.Getenv(core.EnvHost)
	sum := sha256.Sum256(append([]byte("object store "+name+" "), secret...))
	dir, err := rundir.Share(filepath.Join(rundir.Base(), "c"+hex.EncodeToString(sum[:8])), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, "", nil, err
	}
	if st, err = arrowstore.Open(filepath.Join(dir.Path, "store")); err != nil {
		return nil, "", nil, errors.Join(err, dir.Close())
	}
	closed = func() error { return errors.Join(st.Close(), dir.Close()) }
	if host, err = reach.Host("", dir.Path); err != nil {
		return nil, "", nil, errors.Join(err, closed())
	}
	return st, host, closed, nil
}
