// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

import "errors"

// ErrClosed says that the pool was closed before the call was made or had answered.
var ErrClosed = errors.New("pool is closed")
