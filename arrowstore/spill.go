// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	spillMagic  = 0x31304c5053545554 // "TUTSPL01" in memory
	spillHeader = 64                 // bytes before the contents, so that these are aligned
	spillMin    = 4 << 10            // smaller objects stay in memory: a file each would cost more than they hold

	// spillBit marks a slot's segment number as the number of a spill file.
	spillBit = 1 << 31
)

func spillName(store uint64, num uint32) string { return fmt.Sprintf("%016x-%08x.spill", store, num) }

// A spill file has the object as a segment would, after a header: magic, store, file number, checksum (CRC-32C of all
// that follows the header), length of what follows.
type spillHead struct {
	store uint64
	num   uint32
	sum   uint32
	n     uint64
}

func (h spillHead) append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, spillMagic)
	b = binary.NativeEndian.AppendUint64(b, h.store)
	b = binary.NativeEndian.AppendUint32(b, h.num)
	b = binary.NativeEndian.AppendUint32(b, h.sum)
	b = binary.NativeEndian.AppendUint64(b, h.n)
	return append(b, make([]byte, spillHeader-len(b))...)
}

func parseSpillHead(b []byte) (spillHead, bool) {
	if len(b) < spillHeader || binary.NativeEndian.Uint64(b) != spillMagic {
		return spillHead{}, false
	}
	return spillHead{
		store: binary.NativeEndian.Uint64(b[8:]),
		num:   binary.NativeEndian.Uint32(b[16:]),
		sum:   binary.NativeEndian.Uint32(b[20:]),
		n:     binary.NativeEndian.Uint64(b[24:]),
	}, true
}

// writeSpill writes buffers to a new spill file, laid out as in a segment. The disk space is taken first where the system
// can, so that a full disk shows before anything depends on the file.
func writeSpill(d *dir, store uint64, num uint32, buffers [][]byte) (int64, error) {
	size, err := layoutSize(buffers, nil, func(b []byte) int { return len(b) })
	if err != nil {
		return 0, err
	}
	f, err := d.create(spillName(store, num))
	if err != nil {
		return 0, fmt.Errorf("spill: %w", noSpace(err))
	}
	if err = errors.Join(fillSpill(f, spillHead{store: store, num: num, n: uint64(size)}, buffers), f.Close()); err != nil {
		return 0, errors.Join(fmt.Errorf("spill to %s: %w", d.path, noSpace(err)), d.remove(spillName(store, num)))
	}
	return size, nil
}

func fillSpill(f *os.File, head spillHead, buffers [][]byte) error {
	size := int64(head.n)
	if err := allocate(f, 0, spillHeader+size); err != nil {
		return err
	}
	if _, err := f.Seek(spillHeader, io.SeekStart); err != nil {
		return err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 256<<10)
	if err := writeLayout(w, head.num|spillBit, buffers); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	head.sum = sum.Sum32()
	_, err := f.WriteAt(head.append(nil), 0)
	return err
}

// writeLayout writes the table of buffers and the buffers as they follow a spill header.
func writeLayout(w io.Writer, seg uint32, buffers [][]byte) error {
	off := tableLen(len(buffers))
	var table []byte
	if off > 0 {
		at := off
		for _, b := range buffers {
			at = roundUp(at, unit)
			table = appendEntry(table, seg, spillHeader+at, int64(len(b)))
			at += int64(len(b))
		}
	}
	if _, err := w.Write(table); err != nil {
		return err
	}
	at := int64(len(table))
	var pad [unit]byte
	for _, b := range buffers {
		if _, err := w.Write(pad[:roundUp(at, unit)-at]); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		at = roundUp(at, unit) + int64(len(b))
	}
	return nil
}

// mapSpill maps a spill file read-only and verifies its checksum. Processes that read the same file share its memory.
func mapSpill(d *dir, store uint64, num uint32) ([]byte, error) {
	f, err := d.open(spillName(store, num), unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("spilled object %d of store %016x is gone: %w", num, store, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	b, err := mapWhole(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	h, ok := parseSpillHead(b)
	if !ok || h.store != store || h.num != num || h.n != uint64(len(b)-spillHeader) ||
		crc32.Checksum(b[spillHeader:], crc32.MakeTable(crc32.Castagnoli)) != h.sum {
		return nil, errors.Join(fmt.Errorf("spilled object %s/%s: checksum: %w", d.path, spillName(store, num), ErrCorrupt), unmap(b))
	}
	return b, nil
}

func mapWhole(f *os.File) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Size < spillHeader {
		return nil, fmt.Errorf("spill file of %d bytes: %w", st.Size, ErrCorrupt)
	}
	return mapFile(f, st.Size, unix.PROT_READ)
}
