// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/certs"
)

func made(t *testing.T, name string) certs.Files {
	t.Helper()
	f, err := certs.Make(t.TempDir(), name)
	require.NoError(t, err)
	return f
}

func load(t *testing.T, f certs.Files) *tls.Config {
	t.Helper()
	cfg, err := certs.Load(f)
	require.NoError(t, err)
	return cfg
}

// meet lets two configurations shake hands and exchange a byte, and returns what each side made of it.
func meet(t *testing.T, client, server *tls.Config) (atClient, atServer error) {
	t.Helper()
	x, y := net.Pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(y, server)
		_, err := s.Write([]byte{1})
		done <- errors.Join(err, y.Close())
	}()
	c := tls.Client(x, client)
	_, atClient = c.Read(make([]byte, 1))
	require.NoError(t, x.Close())
	return atClient, <-done
}

func TestCertificatesOfOneAuthorityFit(t *testing.T) {
	cfg := load(t, made(t, "cluster"))
	a, b := meet(t, cfg, cfg)
	require.NoError(t, a)
	require.NoError(t, b)
}

func TestWhoDoesNotBelongIsRefused(t *testing.T) {
	right, other := load(t, made(t, certs.Name)), load(t, made(t, certs.Name))
	a, b := meet(t, other, right)
	require.Error(t, errors.Join(a, b), "another authority")
	a, b = meet(t, right, other)
	require.Error(t, errors.Join(a, b), "another authority")

	bare := right.Clone()
	bare.Certificates = nil
	_, b = meet(t, bare, right)
	require.ErrorContains(t, b, "certificate", "no certificate")

	old := right.Clone()
	old.MaxVersion, old.MinVersion = tls.VersionTLS12, tls.VersionTLS12
	_, b = meet(t, old, right)
	require.ErrorContains(t, b, "version", "TLS 1.2")

	f := made(t, "a")
	wantsB := load(t, f)
	wantsB = wantsB.Clone()
	wantsB.ServerName = "b"
	a, _ = meet(t, wantsB, load(t, f))
	require.ErrorContains(t, a, "not b", "another name")
}

// The accepting side checks the name as well, which TLS leaves to it.
func TestTheNameIsCheckedOnBothSides(t *testing.T) {
	f := made(t, "a")
	client, server := load(t, f).Clone(), load(t, f).Clone()
	server.VerifyConnection = func(s tls.ConnectionState) error { return s.PeerCertificates[0].VerifyHostname("b") }
	_, b := meet(t, client, server)
	require.ErrorContains(t, b, "not b")
	state := tls.ConnectionState{}
	require.ErrorContains(t, client.VerifyConnection(state), "no certificate")
}

func TestWrongFilesAreNamed(t *testing.T) {
	f := made(t, certs.Name)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, tt := range []struct {
		files certs.Files
		say   []string
	}{
		{certs.Files{CA: "/nowhere/ca.pem", Cert: f.Cert, Key: f.Key}, []string{"authority", "/nowhere/ca.pem"}},
		{certs.Files{CA: empty, Cert: f.Cert, Key: f.Key}, []string{"no certificate in " + empty}},
		{certs.Files{CA: f.CA, Cert: empty, Key: f.Key}, []string{empty, f.Key}},
		{certs.Files{CA: f.CA, Cert: f.Cert, Key: made(t, certs.Name).Key}, []string{f.Cert, "does not match"}},
		{certs.Files{CA: made(t, certs.Name).CA, Cert: f.Cert, Key: f.Key}, []string{f.Cert, "would be refused by peers"}},
		{certs.Files{CA: f.CA, Cert: f.Cert, Key: f.Key, Name: "other"}, []string{f.Cert, "not other"}},
	} {
		_, err := certs.Load(tt.files)
		for _, say := range tt.say {
			assert.ErrorContains(t, err, say)
		}
	}
}
