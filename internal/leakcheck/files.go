// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package leakcheck

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// files returns everything below the directories, by path.
func files(dirs []string) (map[string]string, error) {
	found := make(map[string]string)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the directory itself is missing, or its entry went away meanwhile
			}
			if err != nil {
				return err
			}
			if path != dir {
				found[path] = path
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
