// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package certs reads the certificates of a cluster and makes some for tests. All nodes have certificates of one
// authority that are valid for one name, by default [Name], whatever their addresses are: nodes come and go, and
// what is to be proved is that they belong to the cluster.
//
//	cfg, err := certs.Load(certs.Files{CA: "ca.pem", Cert: "node.pem", Key: "node.key"})
//
// Concurrency: a configuration may be used by many connections at once.
//
// Failure: an error names the file and what is wrong with it.
//
// Test kit: [Make].
package certs
