// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package codec turns Go values into a small structured part and out-of-band buffers, and back. Numeric slices, byte
// slices and what extensions handle are not copied into the structured part, short nested slices apart: a Value refers to
// them where they lie.
//
//	c := codec.New()
//	v, err := codec.Encode(c, weights)            // []float32: no Meta, one buffer that is the slice
//	flat := codec.AppendValue(nil, v)             // one byte slice, buffers aligned to 64 bytes
//	v, err = codec.ParseValue(flat, 1<<20)        // slices of flat, nothing copied
//	got, err := codec.Decode[[]float32](c, v, codec.View)
//
// # What is encoded, and how
//
// A plan for each type is compiled once by reflection. It writes deterministic CBOR (RFC 8949, core deterministic but
// for floats, which keep their width and so the bits of every NaN):
//
//   - Booleans, integers and strings as CBOR has them; the bytes of a string are not checked to be UTF-8. A complex
//     number is an array of two floats.
//   - A slice of booleans, integers, floats or complex numbers, named or not, is bulk: null if nil, a byte string of
//     the memory if at most 64 bytes, else the count of elements as an unsigned integer, standing for the next buffer.
//     Empty and nil stay distinct. Arrays of these are byte strings.
//   - A struct is an array of its exported fields in order, with embedded structs as nested values. Fields tagged
//     `cbor:"-"` or `json:"-"` and unexported fields are skipped; other tag options have no effect. A struct all of whose
//     fields are unexported is refused, since it would arrive empty. Names do not travel, because both sides have
//     compared signatures (see Signature).
//   - Other slices and arrays are arrays, maps are maps in the bytewise order of their encoded keys, a nil pointer,
//     slice or map is null. A pointer to something that can itself be null is an array of one. Bulk inside any of these,
//     map values included, goes out of band.
//   - A type with a pair of methods for CBOR, binary or text (in this order of preference) is left to them; time.Time so
//     keeps nanoseconds and zone offset. A type with only one half of a pair is encoded like any other. A struct
//     that inherits the methods from one of several fields is refused, since the others would be lost.
//   - A protobuf message, always a pointer, is its deterministic protobuf encoding, at the root without CBOR around it.
//   - What an Extension matches is an array of its meta and its number of buffers.
//   - The content of an empty interface goes to the CBOR library whole, without out-of-band buffers, and comes back as
//     what CBOR makes of it: uint64 or int64, float64, string, []byte, bool, time.Time, *big.Int, []any,
//     map[any]any. Protobuf messages, extension values, complex numbers, channels and functions are refused there.
//
// At the root, a bulk slice has an empty Meta and one buffer, or none if it is nil; a struct without fields has neither.
//
// Pointers are followed, not preserved: two pointers to one thing become two things. A value that contains itself, or
// nests more than 256 references, is an *EncodeError that says where. Unknown fields, duplicate keys, indefinite lengths
// and left-over bytes or buffers are errors. Neither side accepts more than 1<<26 elements in one array or map.
//
// # Concurrency
//
// A Codec and its Plans are safe for concurrent use. A Value is as safe as the slices in it.
//
// # Memory
//
// Encode reads the value and never writes to it. The Bufs of the result are the memory of the value, so it must not
// change until they have been sent or copied. Meta belongs to the caller. Decode in mode View may return slices over Meta
// and Bufs: they are read-only for the receiver and end with the memory below them. A buffer that is not aligned for its
// element type is copied instead. Decode in mode Copy shares nothing.
//
// The memory of a numeric slice is its encoding, little-endian; a big-endian build does not compile.
//
// # Failure
//
// Encoding fails with an *EncodeError and decoding with a *DecodeError; both name the Go type and the path to it, and
// match ErrEncode and ErrDecode. Decoders take any bytes: they bound every length before they allocate and do not
// panic, unless an extension or an unmarshalling method does. A value is returned whole or not at all.
//
// # Testing
//
// There is no test kit: a Codec needs no environment, and AppendValue and ParseValue stand in for a wire.
package codec
