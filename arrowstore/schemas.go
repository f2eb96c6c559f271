// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
)

// schemas remembers schemas by their description: records of one table mostly follow each other, and to build a schema
// takes a good part of the time to open a record of many columns.
type schemas struct {
	mu struct {
		sync.Mutex
		byText   map[string]*arrow.Schema
		last     *arrow.Schema // that was described, as lastText says
		lastText []byte
	}
}

// text returns the description of a schema if it was the last one described.
func (c *schemas) text(s *arrow.Schema) []byte {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.last != s {
		return nil
	}
	return c.mu.lastText
}

func (c *schemas) putText(s *arrow.Schema, text []byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.last, c.mu.lastText = s, text
}

const maxSchemas = 64

func (c *schemas) get(text []byte) *arrow.Schema {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.byText[string(text)]
}

func (c *schemas) put(text []byte, s *arrow.Schema) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.byText) >= maxSchemas || c.mu.byText == nil {
		c.mu.byText = map[string]*arrow.Schema{}
	}
	c.mu.byText[string(text)] = s
}

// schema reads the schema of a record.
func (u *unflattener) schema() *arrow.Schema {
	n := u.count(1)
	text := u.b[:n]
	if s := u.known.get(text); s != nil {
		u.b = u.b[n:]
		return s
	}
	after := len(u.b) - n
	meta := u.metadata()
	fields := u.fields(0)
	if u.err == nil && len(u.b) != after {
		u.fail("a schema is not as long as it says")
	}
	if u.err != nil {
		return nil
	}
	s := arrow.NewSchema(fields, &meta)
	if !u.extended {
		u.known.put(text, s)
	}
	return s
}
