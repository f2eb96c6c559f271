// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"errors"
	"fmt"

	"github.com/tutti-go/tutti/arrowstore"
	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/wire"
)

// InlineMax is the size in bytes up to which an argument or a result travels inside the message, as a copy of each actor's own.
// An argument counts once for every actor of a batch on the node that has most of them, because each decodes its own. Anything
// larger is put once into the object store of its host and read there in place. docs/decisions/0001 has the measurement.
const InlineMax = 100 << 10

// eachMax bounds the bytes of inline arguments in one message when every actor gets its own. Where that many actors share a node,
// smaller arguments go through the store.
const eachMax = 16 << 20

// argument is an encoded argument, ready to be sent to any number of nodes.
type argument struct {
	payload wire.Payload // of all slots, unless each is set
	origin  uint32       // node whose host has the object that the payload names
	each    []argument   // of one slot each; release and put are those of all together
	release func()       // lets go of the object that the payload names; nil if the payload is inline
	put     int64        // bytes that were put into the store for this call
}

// copiedPart is the size of an actor's own argument up to which it is copied into the message rather than handed to the link
// as a part: a part costs an entry in the vectored write, which is worth more.
const copiedPart = 512

// payloadFor returns what kind of payload goes to the slots of one share, and appends its data to parts.
func (a *argument) payloadFor(sys *System, s *share, parts [][]byte) (wire.PayloadKind, [][]byte) {
	if a.each == nil {
		p := a.payloadAt(sys, s.host)
		return p.Kind, append(parts, p.Data)
	}
	return wire.PayloadEach, append(parts, a.eachFor(sys, s)...)
}

// eachFor returns the payloads of the slots of some shares, one after the other, in parts.
func (a *argument) eachFor(sys *System, shares ...*share) (parts [][]byte) {
	size := 0
	for _, s := range shares {
		for _, slot := range s.slots {
			size += wire.EachRoom
			if n := len(a.each[slot].payload.Data); n <= copiedPart {
				size += n
			}
		}
	}
	data := make([]byte, 0, size)
	for _, s := range shares {
		for _, slot := range s.slots {
			p := a.each[slot].payloadAt(sys, s.host)
			if len(p.Data) <= copiedPart {
				data = wire.AppendEach(data, p)
				continue
			}
			data = wire.AppendEachHead(data, p)
			parts = append(parts, data, p.Data)
			data = data[len(data):]
		}
	}
	return append(parts, data)
}

// payloadAt returns what goes to a node of a host, if each is not set.
func (a *argument) payloadAt(sys *System, host string) wire.Payload {
	if a.payload.Kind != wire.PayloadObject || sys.hostOf(a.origin) == host {
		return a.payload
	}
	return a.remotePayload()
}

// remotePayload names the object that the payload is to nodes of other hosts.
func (a *argument) remotePayload() wire.Payload {
	r := wire.Remote{ID: a.payload.Data, Origin: a.origin, Source: a.origin}
	return wire.Payload{Kind: wire.PayloadRemote, Data: r.Append(nil)}
}

// done lets the argument go. Calling it again has no effect.
func (a *argument) done() {
	if a.release != nil {
		a.release()
		a.release = nil
	}
}

// argumentOf decides how an encoded value travels to at most share actors of one node. The value's buffers are copied
// here, once: into the message or into the store.
func (s *System) argumentOf(v codec.Value, share int) (argument, error) {
	if v.Size()*share <= InlineMax {
		return argument{payload: wire.Payload{Kind: wire.PayloadInline, Data: codec.AppendValue(nil, v)}}, nil
	}
	obj, err := s.put(v)
	if err != nil {
		return argument{}, err
	}
	free := func() {
		s.drop(obj)
		obj.Release()
	}
	return argument{payload: objectPayload(obj), release: free, put: obj.Size()}, nil
}

func objectPayload(obj *arrowstore.Object) wire.Payload {
	return wire.Payload{Kind: wire.PayloadObject, Data: idBytes(obj.ID())}
}

// encode encodes a value and gives its failure the package's sentinel.
func encode[T any](c *codec.Codec, v T) (codec.Value, error) {
	out, err := codec.Encode(c, v)
	if err != nil {
		return codec.Value{}, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return out, nil
}

// storeError gives an error of the object store the package's sentinel.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, arrowstore.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, arrowstore.ErrNotFound), errors.Is(err, arrowstore.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrObjectLost, err)
	case errors.Is(err, arrowstore.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, arrowstore.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}
