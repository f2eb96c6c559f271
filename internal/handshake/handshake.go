// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/internal/link"
	"github.com/tutti-go/tutti/internal/wire"
)

var (
	// ErrUnauthorized says that the peer does not know the secret of the cluster.
	ErrUnauthorized = errors.New("wrong cluster secret")
	// ErrHungUp says that the peer closed the connection instead of answering.
	ErrHungUp = errors.New("the peer hung up in the handshake; it may expect TLS, or not to")
)

// errNoSecret is the answer to a Party without a secret, which would let everybody in.
var errNoSecret = errors.New("handshake without a cluster secret")

// maxMessage bounds the text of a refusal, in bytes, so that it is received before Trust.
const maxMessage = 512

// RefusedError says why the peer turned this side away.
type RefusedError struct{ Fault wire.Fault }

// Error implements error.
func (e *RefusedError) Error() string { return "refused: " + e.Fault.Message }

// Party is one side of handshakes.
type Party struct {
	Hello  wire.Hello // but for the nonce; the purpose is that of Dial
	Secret []byte     // not empty
}

// role tells the two proofs of one handshake apart.
type role string

const (
	dialler  role = "dial"
	acceptor role = "accept"
)

// Dial opens a connection that this side dialled. If check is not nil, it may reject the peer before this side proves anything;
// its error is returned.
func (p Party) Dial(ctx context.Context, conn link.Conn, check func(wire.Hello) error) (wire.Hello, error) {
	if len(p.Secret) == 0 {
		return wire.Hello{}, errNoSecret
	}
	own := p.hello(p.Hello.Purpose)
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindHello}, own); err != nil {
		return wire.Hello{}, err
	}
	f, err := receive(ctx, conn)
	if err != nil {
		return wire.Hello{}, err
	}
	if f.Kind == wire.KindAccept { // turned away at once
		return wire.Hello{}, refusal(f)
	}
	peer, err := parseHello(f, p.Hello.Purpose)
	if err == nil && check != nil {
		err = check(peer)
	}
	if err != nil {
		return peer, err
	}
	t, err := p.transcript(conn, own, f.Body)
	if err != nil {
		return peer, err
	}
	accept := wire.Accept{Proof: t.proof(dialler)}
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindAccept}, accept.Append(nil)); err != nil {
		return peer, err
	}
	answer, err := receive(ctx, conn)
	if err != nil {
		return peer, err
	}
	if err := t.check(answer, acceptor); err != nil {
		return peer, err
	}
	conn.Trust()
	return peer, nil
}

// Accept opens a connection that the peer dialled, whatever its purpose, which it repeats. If judge is not nil, it may turn a peer away that has proved itself. The
// error says why the peer was turned away; it was told if it got as far as a proof, or speaks another version.
func (p Party) Accept(ctx context.Context, conn link.Conn, judge func(wire.Hello) *wire.Fault) (wire.Hello, error) {
	if len(p.Secret) == 0 {
		return wire.Hello{}, errNoSecret
	}
	f, err := receive(ctx, conn)
	if err != nil {
		if version, ok := errors.AsType[*wire.VersionError](err); ok {
			return wire.Hello{}, turnAway(ctx, conn, &wire.Fault{Code: wire.FaultBuild, Message: version.Error()})
		}
		return wire.Hello{}, err
	}
	peer, err := parseHello(f, 0)
	if err != nil {
		return peer, err
	}
	own := p.hello(peer.Purpose)
	t, err := p.transcript(conn, f.Body, own)
	if err != nil {
		return peer, err
	}
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindHello}, own); err != nil {
		return peer, err
	}
	answer, err := receive(ctx, conn)
	if err != nil {
		return peer, err
	}
	switch err := t.check(answer, dialler); {
	case errors.Is(err, ErrUnauthorized):
		return peer, turnAway(ctx, conn, &wire.Fault{Code: wire.FaultUnauthorized, Message: err.Error()})
	case err != nil:
		return peer, err
	}
	if judge != nil {
		if fault := judge(peer); fault != nil {
			return peer, turnAway(ctx, conn, fault)
		}
	}
	conn.Trust() // before the peer may send
	accept := wire.Accept{Proof: t.proof(acceptor)}
	return peer, conn.Send(ctx, &wire.Header{Kind: wire.KindAccept}, accept.Append(nil))
}

// hello returns the bytes of this side's hello, with a nonce of their own.
func (p Party) hello(purpose wire.Purpose) []byte {
	h := p.Hello
	h.Purpose = purpose
	_, _ = rand.Read(h.Nonce[:]) // never fails
	return h.Append(nil)
}

func receive(ctx context.Context, conn link.Conn) (wire.Frame, error) {
	f, err := conn.Recv()
	switch {
	case err != nil && ctx.Err() != nil:
		return f, context.Cause(ctx)
	case errors.Is(err, link.ErrClosed) && !errors.Is(err, wire.ErrFrame):
		return f, fmt.Errorf("%w: %w", ErrHungUp, err)
	}
	return f, err
}

func parseHello(f wire.Frame, want wire.Purpose) (wire.Hello, error) {
	if f.Kind != wire.KindHello {
		return wire.Hello{}, fmt.Errorf("%w: a connection starts with a %v frame", wire.ErrFrame, f.Kind)
	}
	h, err := wire.ParseHello(f.Body)
	if err == nil && want != 0 && h.Purpose != want {
		err = fmt.Errorf("%w: the peer has another purpose", wire.ErrFrame)
	}
	return h, err
}

// refusal is the error of an accept frame that must hold a fault.
func refusal(f wire.Frame) error {
	accept, err := wire.ParseAccept(f.Body)
	switch {
	case err != nil:
		return err
	case accept.Fault != nil:
		return &RefusedError{*accept.Fault}
	}
	return fmt.Errorf("%w: a proof without a hello", wire.ErrFrame)
}

// turnAway tells a peer why it is refused, and returns it as an error. It waits for the peer to close first, as long as ctx
// lasts: a connection that is closed at once may take its last words with it.
func turnAway(ctx context.Context, conn link.Conn, fault *wire.Fault) error {
	reason := fmt.Errorf("turned away: %s", fault.Message)
	fault.Message = fault.Message[:min(len(fault.Message), maxMessage)]
	accept := wire.Accept{Fault: fault}
	if err := conn.Send(ctx, &wire.Header{Kind: wire.KindAccept}, accept.Append(nil)); err != nil {
		return errors.Join(reason, err)
	}
	for {
		if _, err := conn.Recv(); err != nil {
			return reason // the peer has closed, which is what was waited for
		}
	}
}

// transcript is what the proofs of one handshake are about.
type transcript struct {
	secret []byte
	text   []byte
}

// label is in front of everything that is proved, so that a proof is of no use elsewhere.
const label = "tutti handshake\x00"

func (p Party) transcript(conn link.Conn, dialled, accepted []byte) (transcript, error) {
	binding, err := conn.Binding()
	if err != nil {
		return transcript{}, err
	}
	text := append([]byte(label), wire.Version, byte(len(binding)))
	text = append(text, binding...)
	text = append(text, dialled...) // hellos have one size
	return transcript{p.Secret, append(text, accepted...)}, nil
}

func (t transcript) proof(r role) (proof [wire.ProofSize]byte) {
	mac := hmac.New(sha256.New, t.secret)
	mac.Write(t.text)
	mac.Write([]byte(r))
	copy(proof[:], mac.Sum(nil))
	return proof
}

// check reads the proof of the peer, whose role is given.
func (t transcript) check(f wire.Frame, r role) error {
	if f.Kind != wire.KindAccept {
		return fmt.Errorf("%w: answered with a %v frame", wire.ErrFrame, f.Kind)
	}
	accept, err := wire.ParseAccept(f.Body)
	if err != nil {
		return err
	}
	if accept.Fault != nil {
		return &RefusedError{*accept.Fault}
	}
	want := t.proof(r)
	if !hmac.Equal(accept.Proof[:], want[:]) {
		return ErrUnauthorized
	}
	return nil
}
