// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Name is the name that certificates are valid for unless another is asked for.
const Name = "tutti"

// Files are where the certificates are, in PEM.
type Files struct {
	CA   string // certificates of the authorities that peers may have theirs from
	Cert string // own certificate, followed by intermediate ones if there are any
	Key  string // its private key
	Name string // name that the certificates of all peers are valid for; empty: Name
}

// Load reads certificates into a configuration for both sides of a connection: TLS 1.3, and either side proves itself.
func Load(f Files) (*tls.Config, error) {
	if f.Name == "" {
		f.Name = Name
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of the authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the certificates of the authority: no certificate in %s", f.CA)
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key %s: %w", f.Cert, f.Key, err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := verify(cert.Leaf, cert.Certificate[1:], pool, f.Name, usage); err != nil {
			return nil, fmt.Errorf("the certificate %s would be refused by peers: %w", f.Cert, err)
		}
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cert},
		RootCAs:                pool,
		ClientCAs:              pool,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ServerName:             f.Name,
		SessionTicketsDisabled: true, // connections last; a resumed one would only be one more way in
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the peer has no certificate")
			}
			return state.PeerCertificates[0].VerifyHostname(f.Name)
		},
	}, nil
}

// verify finds out now what a peer would find out at every connection.
func verify(leaf *x509.Certificate, chain [][]byte, roots *x509.CertPool, name string, usage x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}
