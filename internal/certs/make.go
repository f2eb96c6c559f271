// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Make makes an authority and a certificate of it that is valid for name and one hour, and writes them to files in dir. It is for
// tests: the authority's key is forgotten.
func Make(dir, name string) (Files, error) {
	now := time.Now()
	f := Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node.key"), Name: name}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + dir},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	node := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	ca, e1 := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	cert, e2 := x509.CreateCertificate(rand.Reader, node, authority, &key.PublicKey, caKey)
	der, e3 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(e1, e2, e3); err != nil {
		return f, err
	}
	return f, errors.Join(
		write(f.CA, "CERTIFICATE", ca), write(f.Cert, "CERTIFICATE", cert), write(f.Key, "PRIVATE KEY", der))
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
