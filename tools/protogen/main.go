// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Protogen compiles the .proto files of this repository to Go without protoc: the files are parsed by protocompile, a
// CodeGeneratorRequest is handed to each plugin on its standard input, and the answers are written below the root.
//
//	protogen -root . -plugin .bin/protoc-gen-go -plugin .bin/protoc-gen-go-grpc internal/wire/controlpb/control.proto
//
// File names are relative to the root, in the proto import path and in the output, so a generated file lies beside its
// source and its bytes depend on nothing but the source and the pinned plugins.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// parameter makes both plugins write beside the source instead of below the Go import path.
const parameter = "paths=source_relative"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var plugins []string
	flags := flag.NewFlagSet("protogen", flag.ContinueOnError)
	root := flags.String("root", ".", "directory that proto imports and outputs are relative to")
	flags.Func("plugin", "path of a code generator; may be repeated", func(path string) error {
		plugins = append(plugins, path)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if len(plugins) == 0 || flags.NArg() == 0 {
		return errors.New("need at least one -plugin and one .proto file")
	}
	files := flags.Args()
	descriptors, err := compile(ctx, *root, files)
	if err != nil {
		return err
	}
	for _, plugin := range plugins {
		if err := generate(ctx, *root, plugin, files, descriptors); err != nil {
			return fmt.Errorf("run %s: %w", filepath.Base(plugin), err)
		}
	}
	return nil
}

// compile returns the descriptors of files and of everything they import, each after its own imports.
func compile(ctx context.Context, root string, files []string) ([]*descriptorpb.FileDescriptorProto, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // carries the comments into the generated code
	}
	linked, err := compiler.Compile(ctx, files...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	var ordered []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var visit func(protoreflect.FileDescriptor)
	visit = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for i := range imports.Len() {
			visit(imports.Get(i).FileDescriptor)
		}
		ordered = append(ordered, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range linked {
		visit(file)
	}
	return ordered, nil
}

// generate runs one plugin over the files and writes what it answers.
func generate(
	ctx context.Context, root, plugin string, files []string, descriptors []*descriptorpb.FileDescriptorProto,
) error {
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      new(parameter),
		ProtoFile:      descriptors,
	})
	if err != nil {
		return err
	}
	path, err := filepath.Abs(plugin) // a bare name would be looked up in PATH, which is not the pinned one
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, file := range response.File {
		if err := write(filepath.Join(root, filepath.FromSlash(file.GetName())), file.GetContent()); err != nil {
			return err
		}
	}
	return nil
}

// write puts the two SPDX lines of this repository before the generated text, unless the proto's own header did, and
// leaves a file that would not change untouched, so that builds after it stay cached.
func write(path, content string) error {
	if !strings.HasPrefix(content, "// SPDX-") {
		content = "// SPDX-FileCopyrightText: The Tutti Authors\n// SPDX-License-Identifier: Apache-2.0\n\n" + content
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
