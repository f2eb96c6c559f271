// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tutti-go/tutti/internal/certs"
	"github.com/tutti-go/tutti/internal/link"
)

// The environment that ReadEnv reads.
const (
	EnvListen    = "TUTTI_LISTEN"    // "host:port"
	EnvAdvertise = "TUTTI_ADVERTISE" // "host" or "host:port"
	EnvInsecure  = "TUTTI_INSECURE"  // yes or no
	EnvTLSCA     = "TUTTI_TLS_CA"    // file with the certificate of the authority
	EnvTLSCert   = "TUTTI_TLS_CERT"  // file with the own certificate
	EnvTLSKey    = "TUTTI_TLS_KEY"   // file with its key
	EnvTLSName   = "TUTTI_TLS_NAME"  // the name that certificates are valid for
	EnvSecret    = "TUTTI_SECRET"
	EnvSecretIn  = "TUTTI_SECRET_FILE" //nolint:gosec // the name of a variable, not a secret
	EnvHost      = "TUTTI_HOST"        // name of the host, in place of the machine's own
)

// MinSecret is the shortest secret that is taken from a user, in bytes.
const MinSecret = 16

// Network is how a process reaches others and is reached from other machines. The zero value is for one machine.
type Network struct {
	Listen    string // "host:port"; empty: from this machine only
	Advertise string // "host" or "host:port"; empty: where it listens
	Insecure  bool   // it may speak in the clear beyond this machine
	TLS       certs.Files
	Secret    string // that all processes know
}

// ReadEnv takes from the environment what it says.
func (n *Network) ReadEnv(getenv func(string) string) error {
	n.Listen, n.Advertise = getenv(EnvListen), getenv(EnvAdvertise)
	n.TLS = certs.Files{CA: getenv(EnvTLSCA), Cert: getenv(EnvTLSCert), Key: getenv(EnvTLSKey), Name: getenv(EnvTLSName)}
	switch v := getenv(EnvInsecure); v {
	case "yes":
		n.Insecure = true
	case "", "no":
	default:
		return fmt.Errorf("%s=%q, must be yes or no", EnvInsecure, v)
	}
	n.Secret = getenv(EnvSecret)
	if file := getenv(EnvSecretIn); file != "" && n.Secret == "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", EnvSecretIn, err)
		}
		n.Secret = strings.TrimSpace(string(b))
	}
	return nil
}

// Environ is what ReadEnv would read, but for the secret.
func (n *Network) Environ() []string {
	env := []string{
		EnvListen + "=" + n.Listen, EnvAdvertise + "=" + n.Advertise, EnvSecretIn + "=", EnvInsecure + "=no",
		EnvTLSCA + "=" + n.TLS.CA, EnvTLSCert + "=" + n.TLS.Cert, EnvTLSKey + "=" + n.TLS.Key, EnvTLSName + "=" + n.TLS.Name,
	}
	if n.Insecure {
		env[3] = EnvInsecure + "=yes"
	}
	return env
}

// Encrypted tells whether connections to other machines are.
func (n *Network) Encrypted() bool { return n.TLS.CA != "" || n.TLS.Cert != "" || n.TLS.Key != "" }

// Check looks at what does not depend on addresses.
func (n *Network) Check() error {
	switch {
	case n.Encrypted() && (n.TLS.CA == "" || n.TLS.Cert == "" || n.TLS.Key == ""):
		return fmt.Errorf("TLS needs the authority's certificate, a certificate and its key: CA %q, certificate %q, key %q",
			n.TLS.CA, n.TLS.Cert, n.TLS.Key)
	case n.Advertise != "" && !advertisable(n.Advertise):
		return fmt.Errorf("advertise %q, must be host or host:port", n.Advertise)
	case n.Secret != "" && len(n.Secret) < MinSecret:
		return fmt.Errorf("the cluster secret has %d bytes, must have at least %d", len(n.Secret), MinSecret)
	}
	return nil
}

// advertisable tells whether an address is a host, or a host and a port.
func advertisable(addr string) bool {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return true // a host
	}
	v, err := strconv.ParseUint(p, 10, 16)
	return err == nil && v > 0 && h != ""
}

// CheckReach refuses to speak in the clear beyond this machine. what says for what the address is.
func (n *Network) CheckReach(what, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s %q: %w", what, addr, err)
	}
	if n.Encrypted() || n.Insecure || IsLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s %s, which is beyond this machine, without TLS: use the option TLS or set %s, %s and %s; or use Insecure or set %s=yes "+
		"if everybody on that network may read and change everything", what, addr, EnvTLSCA, EnvTLSCert, EnvTLSKey, EnvInsecure)
}

// IsLoopback tells whether a name or an address stands for this machine only.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Transport returns the links within the machine and, with TLS if so configured, beyond it.
func (n *Network) Transport() (link.Transport, error) {
	var cfg *tls.Config
	if n.Encrypted() {
		var err error
		if cfg, err = certs.Load(n.TLS); err != nil {
			return nil, err
		}
	}
	return link.ByAddress{Local: link.Shared{}, TCP: link.TCP{TLS: cfg}}, nil
}

// Open listens for other machines, and returns also the address to tell them: what is advertised, or what is listened on with
// fallback in place of "all addresses".
func (n *Network) Open(t link.Transport, fallback string) (link.Listener, string, error) {
	if err := n.CheckReach("listen on", n.Listen); err != nil {
		return nil, "", err
	}
	l, err := t.Listen(n.Listen)
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
func (n *Network) told(listening, fallback string) (string, error) {
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = fallback
	}
	if n.Advertise == "" {
		if host == "" {
			return "", nil
		}
		return net.JoinHostPort(host, port), nil
	}
	if _, _, err := net.SplitHostPort(n.Advertise); err == nil {
		return n.Advertise, nil
	}
	return net.JoinHostPort(strings.Trim(n.Advertise, "[]"), port), nil
}

// Host returns what processes that share the directory dir of one machine agree on and no others: name, if there is one, or one made
// from the machine and the directory itself.
func Host(name, dir string) (string, error) {
	if name != "" {
		return name, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("directory %s: %w", dir, err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // not Linux, or no /proc: the name has to do
		boot = []byte(hostname)
	}
	sum := sha256.Sum256(fmt.Appendf(bytes.TrimSpace(boot), " %d %d", st.Dev, st.Ino))
	return hostname + "-" + hex.EncodeToString(sum[:4]), nil
}
