// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tutti-go/tutti/core"
	"github.com/tutti-go/tutti/core/coretest"
)

type environment struct{}

func newEnvironment(context.Context, core.Void) (environment, error) { return environment{}, nil }

// Names returns the names of the variables that a program started by the actor would inherit.
func (environment) Names(context.Context, core.Void) ([]string, error) {
	var names []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	return names, nil
}

var environments = core.Register("core_test.environment", newEnvironment, core.Method(environment.Names))

func TestProgramsThatAnActorStartsInheritNeitherRoleNorSecret(t *testing.T) {
	sys := coretest.Start(t, core.LocalNodes(1))
	hs, err := environments.Spawn(t.Context(), sys, 1, core.Void{})
	require.NoError(t, err)
	names, err := core.Call(t.Context(), hs[0], environment.Names, core.Void{}).Get(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, names)
	require.NotContains(t, names, "TUTTI_ROLE")
	require.NotContains(t, names, "TUTTI_SECRET")
}
