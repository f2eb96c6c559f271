// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"errors"
	"strconv"
	"strings"
)

// FirstHost returns the first name of a list such as "gpu[003-007,9],login1".
func FirstHost(list string) (string, error) {
	if end := strings.IndexAny(list, ",["); end >= 0 && list[end] == '[' {
		numbers, rest, ok := strings.Cut(list[end+1:], "]")
		low, _, _ := strings.Cut(numbers, ",")
		low, _, _ = strings.Cut(low, "-")
		if _, err := strconv.ParseUint(low, 10, 64); !ok || err != nil {
			return "", errors.New("no list of hosts")
		}
		suffix, _, _ := strings.Cut(rest, ",")
		if strings.ContainsAny(suffix, "[]") {
			return "", errors.New("hosts with several ranges are not understood; say where process 0 is")
		}
		return list[:end] + low + suffix, nil
	}
	first, _, _ := strings.Cut(list, ",")
	if first == "" {
		return "", errors.New("no host in it")
	}
	return first, nil
}
