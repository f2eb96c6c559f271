// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package link

import (
	"net"
	"time"
)

// setUserTimeout does nothing: elsewhere the system's own bounds hold, and the heartbeat.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
