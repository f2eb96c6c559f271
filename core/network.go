// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/cluster"
	"github.com/tutti-go/tutti/internal/link"
)

// The environment of systems on several machines; each has an option beside it.
const (
	envListen    = "TUTTI_LISTEN"      // Listen
	envAdvertise = "TUTTI_ADVERTISE"   // Advertise
	envInsecure  = "TUTTI_INSECURE"    // Insecure, if it is "yes"
	envTLSCA     = "TUTTI_TLS_CA"      // TLS: certificate of the authority
	envTLSCert   = "TUTTI_TLS_CERT"    // TLS: own certificate
	envTLSKey    = "TUTTI_TLS_KEY"     // TLS: its key
	envTLSName   = "TUTTI_TLS_NAME"    // the name that certificates are valid for
	envSecretIn  = "TUTTI_SECRET_FILE" //nolint:gosec // the name of a variable, not a secret
	envWaitNodes = "TUTTI_WAIT_NODES"  // WaitNodes
)

// minSecret is the shortest secret that is taken from a user, in bytes.
const minSecret = 16

// network is how a process reaches others and is reached from other machines.
type network struct {
	listen    string // "host:port"; empty: from this machine only
	advertise string // "host" or "host:port"
	insecure  bool
	tls       certs.Files
	secret    string
}

// readEnv takes from the environment what it says.
func (n *network) readEnv(getenv func(string) string) error {
	n.listen, n.advertise = getenv(envListen), getenv(envAdvertise)
	n.tls = certs.Files{CA: getenv(envTLSCA), Cert: getenv(envTLSCert), Key: getenv(envTLSKey), Name: getenv(envTLSName)}
	switch v := getenv(envInsecure); v {
	case "yes":
		n.insecure = true
	case "", "no":
	default:
		return fmt.Errorf("%w: %s=%q, must be yes or no", ErrInvalid, envInsecure, v)
	}
	n.secret = getenv(cluster.EnvSecret)
	if file := getenv(envSecretIn); file != "" && n.secret == "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, envSecretIn, err)
		}
		n.secret = strings.TrimSpace(string(b))
	}
	return nil
}

// environ is what readEnv would read.
func (n *network) environ() []string {
	env := []string{
		envListen + "=" + n.listen, envAdvertise + "=" + n.advertise, envSecretIn + "=", envInsecure + "=no",
		envTLSCA + "=" + n.tls.CA, envTLSCert + "=" + n.tls.Cert, envTLSKey + "=" + n.tls.Key, envTLSName + "=" + n.tls.Name,
	}
	if n.insecure {
		env[3] = envInsecure + "=yes"
	}
	return env
}

// encrypted tells whether connections to other machines are.
func (n *network) encrypted() bool { return n.tls.CA != "" || n.tls.Cert != "" || n.tls.Key != "" }

// check looks at what does not depend on addresses.
func (n *network) check() error {
	switch {
	case n.encrypted() && (n.tls.CA == "" || n.tls.Cert == "" || n.tls.Key == ""):
		return fmt.Errorf("%w: TLS needs the authority's certificate, a certificate and its key: CA %q, certificate %q, key %q",
			ErrInvalid, n.tls.CA, n.tls.Cert, n.tls.Key)
	case n.secret != "" && len(n.secret) < minSecret:
		return fmt.Errorf("%w: the cluster secret has %d bytes, must have at least %d", ErrInvalid, len(n.secret), minSecret)
	}
	return nil
}

// checkReach refuses to speak in the clear beyond this machine.
func (n *network) checkReach(what, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w: %s %q: %w", ErrInvalid, what, addr, err)
	}
	if n.encrypted() || n.insecure || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%w: %s %s, which is beyond this machine, without TLS: use core.TLS or set %s, %s and %s; or say core.Insecure() or %s=yes "+
		"if everybody on that network may read and change everything", ErrInvalid, what, addr, envTLSCA, envTLSCert, envTLSKey, envInsecure)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// transport returns the links within the machine and, with TLS if so configured, beyond it.
func (n *network) transport() (link.Transport, error) {
	var cfg *tls.Config
	if n.encrypted() {
		var err error
		if cfg, err = certs.Load(n.tls); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return link.ByAddress{Local: link.Shared{}, TCP: link.TCP{TLS: cfg}}, nil
}

// open listens for other machines, and returns also the address to tell them: what is advertised, or what is listened on with
// fallback in place of "all addresses".
func (n *network) open(t link.Transport, fallback string) (link.Listener, string, error) {
	if err := n.checkReach("listen on", n.listen); err != nil {
		return nil, "", err
	}
	l, err := t.Listen(n.listen)
	if err != nil {
		return nil, "", err
	}
	addr, err := n.told(l.Addr(), fallback)
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return l, addr, nil
}

// told returns the address to tell others for one that is listened on.
func (n *network) told(listening, fallback string) (string, error) {
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = fallback
	}
	if n.advertise == "" {
		if host == "" {
			return "", nil
		}
		return net.JoinHostPort(host, port), nil
	}
	if h, p, err := net.SplitHostPort(n.advertise); err == nil {
		if v, err := strconv.ParseUint(p, 10, 16); err != nil || v == 0 || h == "" {
			return "", fmt.Errorf("%w: advertise %q, must be host or host:port", ErrInvalid, n.advertise)
		}
		return n.advertise, nil
	}
	return net.JoinHostPort(strings.Trim(n.advertise, "[]"), port), nil
}

// Listen lets nodes of other machines join at addr, "host:port"; an empty host or 0.0.0.0 stands for all addresses of this machine, and port 0
// for any free one. Without LocalNodes all nodes come from elsewhere: the same program, started there with TUTTI_ROLE=node and
// TUTTI_DRIVER, or with Join. Beyond loopback it takes TLS, or Insecure. The environment variable TUTTI_LISTEN does the same.
//
// Every system that listens needs a secret that all its processes know: see Secret.
func Listen(addr string) Option {
	return optionFunc(func(c *config) { c.net.listen = addr })
}

// Advertise sets where other machines reach this process, "host" or "host:port", if it is not where it listens: behind a translation of
// addresses, or when it listens on all addresses and the one that nodes dial is not the right one. The environment variable
// TUTTI_ADVERTISE does the same.
func Advertise(addr string) Option {
	return optionFunc(func(c *config) { c.net.advertise = addr })
}

// Secret sets what all processes of a system must know to talk to each other, at least 16 bytes; it is proved and never sent. The
// default is drawn at random, which is enough for nodes that this process starts. The environment variable TUTTI_SECRET does the same,
// and TUTTI_SECRET_FILE names a file that holds it.
func Secret(secret string) Option {
	return optionFunc(func(c *config) { c.net.secret = secret })
}

// TLS encrypts all connections between machines with TLS 1.3, in which both sides prove that they belong to the cluster: the files hold, in
// PEM, the certificate of the cluster's authority, this process's certificate, and its key. Certificates must be valid for the name
// "tutti", or what TUTTI_TLS_NAME says, whatever the address. The environment variables TUTTI_TLS_CA, TUTTI_TLS_CERT and TUTTI_TLS_KEY do the same.
func TLS(ca, cert, key string) Option {
	return optionFunc(func(c *config) { c.net.tls.CA, c.net.tls.Cert, c.net.tls.Key = ca, cert, key })
}

// Insecure allows connections beyond this machine without TLS. Both sides still prove that they know the secret, but whoever is on the way
// can read and change everything that follows. The environment variable TUTTI_INSECURE=yes does the same.
func Insecure() Option {
	return optionFunc(func(c *config) { c.net.insecure = true })
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
