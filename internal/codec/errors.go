// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"errors"
	"reflect"
)

var (
	// ErrEncode matches every *EncodeError under errors.Is.
	ErrEncode = errors.New("codec: value cannot be encoded")
	// ErrDecode matches every *DecodeError under errors.Is.
	ErrDecode = errors.New("codec: bytes cannot be decoded")
)

// maxPathShown bounds the path printed by an error; the middle of a longer one is elided.
const maxPathShown = 160

// EncodeError says which part of which type or value cannot be encoded.
type EncodeError struct {
	Type   reflect.Type // Type is the Go type of the offending part; nil for an untyped nil.
	Path   string       // Path leads to it from the root, such as ".Layers[].Hook"; empty for the root itself.
	Reason string       // Reason says what is wrong with it.
	Err    error        // Err is what a marshalling method or an extension returned, if that was the cause.
}

// Error names the type, the path and the reason.
func (e *EncodeError) Error() string {
	return describe("codec: cannot encode ", e.Type, e.Path, e.Reason, e.Err)
}

// Is reports whether target is ErrEncode.
func (e *EncodeError) Is(target error) bool { return target == ErrEncode }

// Unwrap returns the error of the marshalling method or extension, or nil.
func (e *EncodeError) Unwrap() error { return e.Err }

// within puts one step in front of the path on the way back to the root.
func (e *EncodeError) within(step string) *EncodeError {
	e.Path = step + e.Path
	return e
}

// DecodeError says which part of which target type did not match the bytes.
type DecodeError struct {
	Type   reflect.Type // Type is the Go type being decoded into; nil for the flat form.
	Path   string       // Path leads to it from the root; empty for the root itself.
	Reason string       // Reason says what is wrong with the bytes.
	Err    error        // Err is what an unmarshalling method or an extension returned, if that was the cause.
}

// Error names the type, the path and the reason.
func (e *DecodeError) Error() string {
	return describe("codec: cannot decode ", e.Type, e.Path, e.Reason, e.Err)
}

// Is reports whether target is ErrDecode.
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

// Unwrap returns the error of the unmarshalling method or extension, or nil.
func (e *DecodeError) Unwrap() error { return e.Err }

func (e *DecodeError) within(step string) *DecodeError {
	e.Path = step + e.Path
	return e
}

func describe(what string, t reflect.Type, path, reason string, err error) string {
	if t == nil {
		what += "value"
	} else {
		what += t.String()
	}
	if len(path) > maxPathShown {
		half := maxPathShown / 2
		path = path[:half] + "..." + path[len(path)-half:]
	}
	if path != "" {
		what += " at " + path
	}
	what += ": " + reason
	if err != nil {
		what += ": " + err.Error()
	}
	return what
}
