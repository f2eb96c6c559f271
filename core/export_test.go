// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package core

// Unregister takes a kind out that a test has registered. Nodes in processes of their own do not know it.
func Unregister(name string) {
	registry.Lock()
	defer registry.Unlock()
	delete(registry.kinds, name)
}
