// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowipc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/tutti-go/tutti/arrowstore"
)

const (
	fileMagic    = "ARROW1\x00\x00"
	continuation = 0xffffffff
	maxMetadata  = 64 << 20 // bytes of one message without its body
)

// Write writes the records that objects hold as one Arrow IPC stream, which every Arrow implementation reads. All must
// have the same schema. The caller holds the objects meanwhile. It returns arrowstore.ErrType when an object holds no
// record or the schemas differ.
func Write(w io.Writer, objs ...*arrowstore.Object) error {
	return write(objs, func(schema *arrow.Schema) (recordWriter, error) {
		return ipc.NewWriter(w, ipc.WithSchema(schema)), nil
	})
}

// WriteFile writes the records that objects hold as an Arrow IPC file, as Write does for a stream.
func WriteFile(w io.WriteSeeker, objs ...*arrowstore.Object) error {
	return write(objs, func(schema *arrow.Schema) (recordWriter, error) {
		return ipc.NewFileWriter(w, ipc.WithSchema(schema))
	})
}

type recordWriter interface {
	Write(rec arrow.Record) error
	Close() error
}

func write(objs []*arrowstore.Object, open func(*arrow.Schema) (recordWriter, error)) error {
	if len(objs) == 0 {
		return fmt.Errorf("write no object as IPC: %w", arrowstore.ErrType)
	}
	var w recordWriter
	var schema *arrow.Schema
	for _, o := range objs {
		rec, err := record(o)
		if err != nil {
			return fmt.Errorf("write object %v as IPC: %w", o.ID(), err)
		}
		if w == nil {
			schema = rec.Schema()
			w, err = open(schema)
		}
		switch {
		case err != nil:
		case !rec.Schema().Equal(schema):
			err = fmt.Errorf("another schema than that of the first: %w", arrowstore.ErrType)
		default:
			err = w.Write(rec)
		}
		rec.Release()
		if err != nil {
			return fmt.Errorf("write object %v as IPC: %w", o.ID(), err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end of IPC: %w", err)
	}
	return nil
}

// record returns the record in an object without pinning the object, which the caller holds: Arrow's file writer keeps
// dictionaries for ever.
func record(o *arrowstore.Object) (arrow.Record, error) {
	if o.Len() == 0 {
		return nil, arrowstore.ErrType
	}
	buffers := make([][]byte, o.Len())
	for i := range buffers {
		buffers[i] = o.Buffer(i)
	}
	v, err := arrowstore.Unflatten(buffers[0], buffers[1:], nil)
	if err != nil {
		return nil, err
	}
	rec, ok := v.(arrow.Record)
	if !ok {
		return nil, fmt.Errorf("it holds a %T: %w", v, arrowstore.ErrType)
	}
	return rec, nil
}

// Read reads an Arrow IPC stream or file and stores each record batch as an object of st, in their order. The caller
// releases the Objects. Sizes that r claims are bounded by the limit of the store before anything is allocated. On an
// error what was stored is deleted; arrowstore.ErrCorrupt says that r is no well-formed stream, arrowstore.ErrTooLarge
// that it claims too much.
func Read(r io.Reader, st *arrowstore.Store) ([]*arrowstore.Object, error) {
	limit := st.Stats().Limit
	if limit == 0 {
		return nil, arrowstore.ErrClosed
	}
	mem := &boundedAllocator{from: st.Allocator(), left: limit, live: map[*byte][]byte{}}
	defer mem.freeAll()
	objs, err := readAll(r, st, mem)
	if err == nil {
		return objs, nil
	}
	for _, o := range objs {
		o.Release()
		err = errors.Join(err, st.Delete(o.ID()))
	}
	return nil, fmt.Errorf("read Arrow IPC: %w", err)
}

func readAll(r io.Reader, st *arrowstore.Store, mem *boundedAllocator) ([]*arrowstore.Object, error) {
	f := &frames{src: bufio.NewReader(r), limit: mem.left}
	if magic, err := f.src.Peek(len(fileMagic)); err == nil && string(magic) == fileMagic {
		f.file = true
		if _, err := f.src.Discard(len(fileMagic)); err != nil {
			return nil, err
		}
	}
	rd, err := ipc.NewReader(f, ipc.WithAllocator(mem))
	if err != nil {
		return nil, f.explain(err, mem)
	}
	defer rd.Release()
	var objs []*arrowstore.Object
	for rd.Next() {
		o, err := st.PutRecord(rd.Record())
		if err != nil {
			return objs, err
		}
		objs = append(objs, o)
	}
	if err := rd.Err(); err != nil {
		return objs, f.explain(err, mem)
	}
	return objs, nil
}

// frames passes an IPC stream on, having seen that each message's lengths are within bounds: Arrow's reader allocates
// what the stream says. Of a file it passes the stream that it contains, without the footer.
type frames struct {
	src   *bufio.Reader
	limit int64
	file  bool
	head  []byte // of the current message, still to be passed on
	body  int64  // bytes of the current message's body still to come
	err   error  // why the stream was refused
}

// explain returns the reason for an error of Arrow's reader, which does not keep what it wraps.
func (f *frames) explain(err error, mem *boundedAllocator) error {
	switch {
	case f.err != nil:
		return f.err
	case mem.exceeded:
		return fmt.Errorf("more than %d bytes: %w", f.limit, arrowstore.ErrTooLarge)
	}
	return fmt.Errorf("%w: %w", arrowstore.ErrCorrupt, err)
}

// Read implements io.Reader.
func (f *frames) Read(p []byte) (int, error) {
	if len(f.head) == 0 && f.body == 0 {
		if err := f.next(); err != nil {
			if !errors.Is(err, io.EOF) {
				f.err = err
			}
			return 0, err
		}
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.body)])
	f.body -= int64(n)
	return n, err
}

// next reads and checks the head of a message. The end of the stream is io.EOF.
func (f *frames) next() error {
	var prefix [8]byte
	if n, err := io.ReadFull(f.src, prefix[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("length of a message: %w: %w", arrowstore.ErrCorrupt, err)
	}
	mark, n := binary.LittleEndian.Uint32(prefix[:]), binary.LittleEndian.Uint32(prefix[4:])
	if mark == continuation && n == 0 || f.file && mark != continuation {
		return io.EOF
	}
	if mark != continuation {
		return fmt.Errorf("message without a continuation mark: %w", arrowstore.ErrCorrupt)
	}
	if n > maxMetadata {
		return fmt.Errorf("message of %d bytes of metadata: %w", n, arrowstore.ErrTooLarge)
	}
	meta, err := io.ReadAll(io.LimitReader(f.src, int64(n))) // grows with what arrives, not with what is claimed
	if err != nil || len(meta) < int(n) {
		return fmt.Errorf("message ends after %d of %d bytes of metadata: %w", len(meta), n, errors.Join(arrowstore.ErrCorrupt, err))
	}
	body, err := verifyMessage(meta)
	if err != nil {
		return err
	}
	if body > f.limit {
		return fmt.Errorf("message body of %d bytes: %w", body, arrowstore.ErrTooLarge)
	}
	f.head, f.body = append(prefix[:], meta...), body
	return nil
}

// boundedAllocator allocates no more than a number of bytes at a time, and knows what was not freed: Arrow's reader takes
// sizes from the stream, and leaves buffers behind when it fails. It is not safe for concurrent use.
type boundedAllocator struct {
	from     *arrowstore.Allocator
	left     int64
	exceeded bool
	live     map[*byte][]byte
}

// Allocate panics when the bound is exceeded; Arrow's reader turns that into an error.
func (a *boundedAllocator) Allocate(size int) []byte {
	if int64(size) > a.left || size < 0 {
		a.exceeded = true
		panic(arrowstore.ErrTooLarge)
	}
	b := a.from.Allocate(size)
	a.left -= int64(size)
	if size > 0 {
		a.live[unsafe.SliceData(b)] = b
	}
	return b
}

// Reallocate implements memory.Allocator.
func (a *boundedAllocator) Reallocate(size int, b []byte) []byte {
	r := a.Allocate(size)
	copy(r, b)
	a.Free(b)
	return r
}

// Free implements memory.Allocator.
func (a *boundedAllocator) Free(b []byte) {
	if _, ok := a.live[unsafe.SliceData(b)]; !ok {
		return
	}
	a.left += int64(len(a.live[unsafe.SliceData(b)]))
	delete(a.live, unsafe.SliceData(b))
	a.from.Free(b)
}

func (a *boundedAllocator) freeAll() {
	for _, b := range a.live {
		a.from.Free(b)
	}
}
