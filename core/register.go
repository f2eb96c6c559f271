// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tutti-go/tutti/internal/codec"
	"github.com/tutti-go/tutti/internal/scope"
)

// Void stands for "no argument" or "no result" in a method's signature. It takes no bytes on the way.
type Void = struct{}

// forAll is the kind under which methods of every kind stand in the method table.
const forAll = "*"

// method is a registered method with its types erased.
type method struct {
	kind  string
	owner *kind // nil if it is for all

	name string
	fn   uintptr // code pointer of the function it was registered with
	in   reflect.Type
	out  reflect.Type
	sig  uint64 // hash over the types' structure

	// run decodes the argument, calls the method of the actor, and encodes the result.
	run func(ctx context.Context, c *codec.Codec, actor any, arg codec.Value, mode codec.Mode) (codec.Value, error)
	// encode encodes an argument of dynamic type, for calls by name.
	encode func(c *codec.Codec, arg any) (codec.Value, error)
	// decode decodes a result to a dynamic type, for calls by name.
	decode func(c *codec.Codec, result codec.Value, mode codec.Mode) (any, error)
}

func (m *method) String() string { return m.kind + "." + m.name }

// MethodOf is a method of actors of type A, made by Method or NamedMethod for Register.
type MethodOf[A any] struct {
	m      *method
	reason string // why it cannot be registered
}

// Method makes a method known under its own name: Method((*Worker).Compute) is "Compute". f must be a
// method expression or a package-level function; closures, method values and methods of generic types have no name that
// every process agrees on and make Register panic. Use NamedMethod for them.
func Method[A, In, Out any](f func(A, context.Context, In) (Out, error)) MethodOf[A] {
	pc := reflect.ValueOf(f).Pointer()
	name, reason := "", "a method is nil"
	if pc != 0 {
		name, reason = deriveName(runtime.FuncForPC(pc).Name())
	}
	spec := NamedMethod(name, f)
	if reason != "" {
		spec.reason = reason
	}
	return spec
}

// NamedMethod makes a method known under the name given. It is called by name, or by f itself if f is no closure.
func NamedMethod[A, In, Out any](name string, f func(A, context.Context, In) (Out, error)) MethodOf[A] {
	m := &method{name: name, fn: reflect.ValueOf(f).Pointer(), in: reflect.TypeFor[In](), out: reflect.TypeFor[Out]()}
	_, in := codec.Signature(m.in)
	_, out := codec.Signature(m.out)
	m.sig = in*31 + out
	m.run = func(ctx context.Context, c *codec.Codec, actor any, arg codec.Value, mode codec.Mode) (codec.Value, error) {
		in, err := codec.Decode[In](c, arg, mode)
		if err != nil {
			return codec.Value{}, fmt.Errorf("%w: argument: %w", ErrDecode, err)
		}
		out, err := f(actor.(A), ctx, in) //nolint:errcheck // the call was delivered to an actor of the method's kind
		if err != nil {
			return codec.Value{}, &methodError{err}
		}
		v, err := codec.Encode(c, out)
		if err != nil {
			return codec.Value{}, fmt.Errorf("%w: result: %w", ErrEncode, err)
		}
		return v, nil
	}
	m.encode = func(c *codec.Codec, arg any) (codec.Value, error) {
		in, ok := arg.(In)
		if !ok && (arg != nil || reflect.TypeFor[In]().Kind() != reflect.Interface) {
			return codec.Value{}, fmt.Errorf("%w: it takes %v, not %T", ErrInvalid, reflect.TypeFor[In](), arg)
		}
		return encode(c, in)
	}
	m.decode = func(c *codec.Codec, result codec.Value, mode codec.Mode) (any, error) {
		return codec.Decode[Out](c, result, mode)
	}
	spec := MethodOf[A]{m: m}
	if name == "" || m.fn == 0 {
		spec.reason = "a method needs a name and a function"
	}
	return spec
}

// methodError marks an error as the method's own. Of what it wraps only context errors and those made with NewError are seen
// elsewhere, so that the failure of a call which the method made itself is not taken for a failure to call the method.
type methodError struct{ err error }

func (e *methodError) Error() string { return e.err.Error() }

func (e *methodError) Is(target error) bool {
	return (target == context.Canceled || target == context.DeadlineExceeded) && errors.Is(e.err, target)
}

// deriveName returns the last part of a function's full name, or why it cannot serve as a wire name.
func deriveName(full string) (name, reason string) {
	name = full[strings.LastIndexByte(full, '.')+1:]
	use := "; use core.NamedMethod(\"...\", f) for " + full
	switch {
	case strings.Contains(full, "["):
		return "", "a method of a generic type has the same name for all its instances" + use
	case strings.HasSuffix(full, "-fm"):
		return "", "a method value (w.Method) is bound to one actor; give the method expression, (*Worker).Method" + use
	case isClosure(full), name == "":
		return "", "a closure has no name that other processes know" + use
	}
	return name, ""
}

// isClosure reports whether a function's full name is one that the compiler made up: of a function literal, as in
// "main.run.func1" or "main.run.func1.2", or of a method value, as in "main.(*Worker).Compute-fm".
func isClosure(full string) bool {
	if strings.HasSuffix(full, "-fm") {
		return true
	}
	for part := range strings.SplitSeq(full[strings.LastIndexByte(full, '/')+1:], ".") {
		digits, ok := strings.CutPrefix(part, "func")
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return true
		}
	}
	return false
}

// kind is a registered kind with its types erased.
type kind struct {
	name    string
	actor   reflect.Type
	methods map[string]*method
	byFunc  map[uintptr]*method // without closures; nil value: several methods share the function
	sig     uint64              // hash over the configuration's structure

	construct func(ctx context.Context, c *codec.Codec, cfg codec.Value, mode codec.Mode) (any, error)
}

// Kind is a registered kind of actors: A is what methods are called on, C the configuration that the
// constructor takes.
type Kind[A, C any] struct {
	k *kind
}

// Name returns the name that the kind was registered under.
func (k *Kind[A, C]) Name() string { return k.k.name }

// registry holds what package-level calls of Register made known, the only state of this package that is not
// part of a System. A system works on the snapshot it took when it started.
//
//nolint:gochecknoglobals // kinds are registered by name at package level, so that all processes agree on them
var registry struct {
	sync.Mutex
	kinds  map[string]*kind
	common []*method
	nodes  []func(context.Context, *scope.Node)
	errors map[string]error // made by NewError, by text
}

// Register makes a kind of actors known under a name, with the constructor that nodes run and the
// methods that can be called. It is called at package level, so that every process that runs the binary agrees:
//
//	var workers = core.Register("worker", NewWorker, core.Method((*Worker).Compute))
//
// A may be an interface that the constructor's result satisfies. Register panics with a *RegisterError on a name that is
// empty, starts with "*" or is taken, on a nil constructor, and on methods that cannot be registered.
func Register[A, C any](name string, construct func(context.Context, C) (A, error), methods ...MethodOf[A]) *Kind[A, C] {
	if name == "" || strings.HasPrefix(name, forAll) {
		panic(&RegisterError{name, "a kind needs a name that does not start with \"*\""})
	}
	if construct == nil {
		panic(&RegisterError{name, "the constructor is nil"})
	}
	k := &kind{
		name:    name,
		actor:   reflect.TypeFor[A](),
		methods: map[string]*method{},
		byFunc:  map[uintptr]*method{},
		construct: func(ctx context.Context, c *codec.Codec, v codec.Value, mode codec.Mode) (any, error) {
			cfg, err := codec.Decode[C](c, v, mode)
			if err != nil {
				return nil, fmt.Errorf("%w: configuration: %w", ErrDecode, err)
			}
			a, err := construct(ctx, cfg)
			if err != nil {
				return nil, &methodError{err}
			}
			return a, nil
		},
	}
	_, k.sig = codec.Signature(reflect.TypeFor[C]())
	for _, spec := range methods {
		k.add(spec.m, spec.reason)
	}
	registry.Lock()
	defer registry.Unlock()
	if registry.kinds[name] != nil {
		panic(&RegisterError{name, "the name is taken; every kind needs its own"})
	}
	if registry.kinds == nil {
		registry.kinds = map[string]*kind{}
	}
	registry.kinds[name] = k
	return &Kind[A, C]{k}
}

func (k *kind) add(m *method, reason string) {
	switch {
	case m == nil:
		panic(&RegisterError{k.name, "a method is the zero MethodOf; make it with core.Method or core.NamedMethod"})
	case reason != "":
		panic(&RegisterError{k.name, reason})
	case k.methods[m.name] != nil:
		panic(&RegisterError{k.name, fmt.Sprintf("two methods are named %q; give one another name with core.NamedMethod", m.name)})
	}
	own := *m // the same method may be given to several kinds
	m = &own
	m.kind, m.owner = k.name, k
	k.methods[m.name] = m
	if isClosure(runtime.FuncForPC(m.fn).Name()) {
		return // all closures of one function literal look alike: they can only be called by name
	}
	if _, taken := k.byFunc[m.fn]; taken {
		k.byFunc[m.fn] = nil // one function under two names: it can only be called by name
		return
	}
	k.byFunc[m.fn] = m
}

// RegisterOnNode makes a function known that every node runs when it starts, before it takes its first frame from another. It is
// how a package of this module takes over frames of its own.
func RegisterOnNode(fn func(context.Context, *scope.Node)) struct{} {
	registry.Lock()
	defer registry.Unlock()
	registry.nodes = append(registry.nodes, fn)
	return struct{}{}
}

// onNode runs what was given to RegisterOnNode.
func onNode(ctx context.Context, n *scope.Node) {
	registry.Lock()
	fns := slices.Clone(registry.nodes)
	registry.Unlock()
	for _, fn := range fns {
		fn(ctx, n)
	}
}

// RegisterForAll makes methods known that can be called by name on actors of every kind. It is how a package adds an
// ability to all actors; the name should start with the package's. It panics like Register.
func RegisterForAll(methods ...MethodOf[any]) struct{} {
	registry.Lock()
	defer registry.Unlock()
	for _, spec := range methods {
		if spec.m == nil || spec.reason != "" {
			panic(&RegisterError{forAll, "a method cannot be registered: " + spec.reason})
		}
		for _, m := range registry.common {
			if m.name == spec.m.name {
				panic(&RegisterError{forAll, fmt.Sprintf("two methods are named %q", m.name)})
			}
		}
		own := *spec.m
		own.kind = forAll
		registry.common = append(registry.common, &own)
	}
	return struct{}{}
}

// funcName is the full name of a function, for messages.
func funcName(pc uintptr) string {
	if f := runtime.FuncForPC(pc); f != nil {
		return f.Name()
	}
	return "a nil function"
}
