// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"fmt"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/reach"
)

// The environment of systems on several machines, beside that of package reach; each has an option beside it.
const envWaitNodes = "TUTTI_WAIT_NODES" // WaitNodes

// network is how a process reaches others and is reached from other machines. Its errors match ErrInvalid where the user is to blame.
type network struct{ reach.Network }

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

func (n *network) readEnv(getenv func(string) string) error { return invalid(n.ReadEnv(getenv)) }

func (n *network) check() error { return invalid(n.Check()) }

func (n *network) checkReach(what, addr string) error { return invalid(n.CheckReach(what, addr)) }

func (n *network) open(t link.Transport, fallback string) (link.Listener, string, error) {
	if err := n.checkReach("listen on", n.Listen); err != nil {
		return nil, "", err
	}
	return n.Open(t, fallback)
}

func (n *network) transport() (link.Transport, error) {
	t, err := n.Transport()
	return t, invalid(err)
}

// Listen lets nodes of other machines join at addr, "host:port"; an empty host or 0.0.0.0 stands for all addresses of this machine, and port 0
// for any free one. Without LocalNodes all nodes come from elsewhere: the same program, started there with TUTTI_ROLE=node and
// TUTTI_DRIVER, or with Join. Beyond loopback it takes TLS, or Insecure. The environment variable TUTTI_LISTEN does the same.
//
// Every system that listens needs a secret that all its processes know: see Secret.
func Listen(addr string) Option {
	return optionFunc(func(c *config) { c.net.Listen = addr })
}

// Advertise sets where other machines reach this process, "host" or "host:port", if it is not where it listens: behind a translation of
// addresses, or when it listens on all addresses and the one that nodes dial is not the right one. The environment variable
// TUTTI_ADVERTISE does the same.
func Advertise(addr string) Option {
	return optionFunc(func(c *config) { c.net.Advertise = addr })
}

// Secret sets what all processes of a system must know to talk to each other, at least 16 bytes; it is proved and never sent. The
// default is drawn at random, which is enough for nodes that this process starts. The environment variable TUTTI_SECRET does the same,
// and TUTTI_SECRET_FILE names a file that holds it.
func Secret(secret string) Option {
	return optionFunc(func(c *config) { c.net.Secret = secret })
}

// TLS encrypts all connections between machines with TLS 1.3, in which both sides prove that they belong to the cluster: the files hold, in
// PEM, the certificate of the cluster's authority, this process's certificate, and its key. Certificates must be valid for the name
// "tutti", or what TUTTI_TLS_NAME says, whatever the address. The environment variables TUTTI_TLS_CA, TUTTI_TLS_CERT and TUTTI_TLS_KEY do the same.
func TLS(ca, cert, key string) Option {
	return optionFunc(func(c *config) { c.net.TLS.CA, c.net.TLS.Cert, c.net.TLS.Key = ca, cert, key })
}

// Insecure allows connections beyond this machine without TLS. Both sides still prove that they know the secret, but whoever is on the way
// can read and change everything that follows. The environment variable TUTTI_INSECURE=yes does the same.
func Insecure() Option {
	return optionFunc(func(c *config) { c.net.Insecure = true })
}

// WaitNodes makes Start wait until n nodes have joined from elsewhere, beside those of LocalNodes. Others may join later. The default is 1 if
// there would be no node at all, else 0. The environment variable TUTTI_WAIT_NODES does the same.
func WaitNodes(n int) Option {
	return optionFunc(func(c *config) { c.wait, c.waitGiven = n, true })
}

// Join makes the program a node of the driver that listens at addr, "host:port". It is for Main and Serve, which then return when the driver
// has ended. The environment variables TUTTI_ROLE=node and TUTTI_DRIVER do the same.
func Join(addr string) Option {
	return optionFunc(func(c *config) { c.driver = addr })
}
