// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/internal/wire"
)

func randomFault(rng *rand.Rand) wire.Fault {
	fault := wire.Fault{
		Code: wire.FaultCode(rng.IntN(int(wire.FaultNoKind) + 1)), Own: rng.IntN(2) == 0,
		Message: string(randomBytes(rng, 300)), Stack: string(randomBytes(rng, 20)),
	}
	for range rng.IntN(3) {
		fault.Is = append(fault.Is, string(randomBytes(rng, 10)))
	}
	return fault
}

func TestFaultComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 10_000 {
		fault := randomFault(rng)
		got, err := wire.ParseFault(fault.Append(nil))
		require.NoError(t, err)
		require.Equal(t, fault, got)
	}
}

func TestFaultOfANewerBuildIsSomeFault(t *testing.T) {
	for _, code := range []wire.FaultCode{wire.FaultNodeLost + 1, 255} {
		newer := wire.Fault{Code: code, Message: "a new way to fail"}
		got, err := wire.ParseFault(newer.Append(nil))
		require.NoError(t, err)
		assert.Equal(t, wire.Fault{Code: wire.FaultOther, Message: "a new way to fail"}, got)
	}
}

func TestFaultRefusals(t *testing.T) {
	for name, body := range map[string][]byte{
		"own":     {0, 2, 0, 0},
		"message": {0, 0, 5, 'a', 0},
		"stack":   {0, 0, 0, 1},
	} {
		_, err := wire.ParseFault(body)
		require.ErrorIs(t, err, wire.ErrFrame)
		require.ErrorContains(t, err, "fault: bad or missing "+name)
	}
}

func TestHelloComesBackAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 1000 {
		h := wire.Hello{Node: rng.Uint32(), Incarnation: rng.Uint64(), Table: rng.Uint64(), Purpose: wire.Purpose(1 + rng.IntN(2))}
		copy(h.Nonce[:], randomBytes(rng, wire.NonceSize))
		got, err := wire.ParseHello(h.Append(nil))
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

func TestAcceptComesBackAsItWas(t *testing.T) {
	for _, a := range []wire.Accept{
		{}, {Proof: [wire.ProofSize]byte{1, 2, 31: 3}}, {Fault: &wire.Fault{Code: wire.FaultBuild, Message: "no", Is: []string{"a"}}},
	} {
		got, err := wire.ParseAccept(a.Append(nil))
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	for _, purpose := range []wire.Purpose{0, 4, 1 << 31} {
		hello := wire.Hello{Purpose: purpose}
		_, err := wire.ParseHello(hello.Append(nil))
		require.ErrorContains(t, err, "hello: bad or missing purpose")
	}
	long := wire.Accept{}
	_, err := wire.ParseAccept(append(long.Append(nil), 0))
	require.ErrorContains(t, err, "accept: bad or missing proof")
	_, err = wire.ParseAccept([]byte{2})
	require.ErrorContains(t, err, "accept: bad or missing outcome")
}
