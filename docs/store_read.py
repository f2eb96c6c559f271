#!/usr/bin/env python3
# SPDX-FileCopyrightText: The Tutti Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads an object of an arrowstore directory, with the standard library only.

    store_read.py DIR ID        lists the object's buffers
    store_read.py DIR ID N      writes buffer N to standard output

ID is what Go's ID.String prints: store-slot-generation, in hexadecimal. The layout is described in docs/store.md. The
script does not pin the object. It copies, and then sees that the object was not deleted or moved meanwhile.
"""

import mmap
import os
import struct
import sys

PAGE, SLOT, ENTRY = 4096, 32, 24
SEALED, DELETED, MOVING = 1, 2, 8
SPILLED = 1 << 31


def view(path):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return memoryview(mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ))
    finally:
        os.close(fd)


class Store:
    def __init__(self, directory, number):
        self.directory, self.number, self.segments = directory, number, {}
        self.table = view(f"{directory}/{number:016x}.meta")
        magic, store, version, capacity = struct.unpack_from("=QQII", self.table, 0)
        if (magic, store, version) != (0x31304C4254545554, number, 1):
            raise ValueError("not the table of this store, or of another version")
        self.capacity = capacity

    def word(self, slot):
        (slots,) = struct.unpack_from("=I", self.table, 64)
        if slot >= min(slots, self.capacity):
            raise KeyError("no such object")
        return struct.unpack_from("=Q", self.table, PAGE + slot * SLOT)[0]

    def bytes(self, segment, offset, size):
        if size == 0:
            return b""
        if segment not in self.segments:
            self.segments[segment] = view(self.path(segment))
        memory = self.segments[segment]
        if offset % 64 or offset + size > len(memory):
            raise ValueError("corrupt object")
        return bytes(memory[offset : offset + size])

    def path(self, segment):
        if not segment & SPILLED:
            return f"{self.directory}/{self.number:016x}-{segment:08x}.seg"
        (n,) = struct.unpack_from("=I", self.table, 256)
        directory = bytes(self.table[260 : 260 + n]).decode()
        return f"{directory}/{self.number:016x}-{segment & ~SPILLED:08x}.spill"

    def read(self, slot, generation):
        before = self.word(slot)
        if before >> 32 != generation or before & (SEALED | DELETED | MOVING) != SEALED:
            raise KeyError("no such object")
        segment, count, offset, size = struct.unpack_from("=IIQQ", self.table, PAGE + slot * SLOT + 8)
        if count == 1:
            buffers = [self.bytes(segment, offset, size)]
        else:
            table = self.bytes(segment, offset, count * ENTRY)
            buffers = [self.bytes(seg, off, n) for seg, _, off, n in struct.iter_unpack("=IIQQ", table)]
        if self.word(slot) & ~4 != before & ~4 or struct.unpack_from("=I", self.table, PAGE + slot * SLOT + 8)[0] != segment:
            raise KeyError("the object was deleted or moved while it was read")
        return buffers


def main():
    directory, (number, slot, generation) = sys.argv[1], (int(part, 16) for part in sys.argv[2].split("-"))
    buffers = Store(directory, number).read(slot, generation)
    if len(sys.argv) > 3:
        sys.stdout.buffer.write(buffers[int(sys.argv[3])])
        return
    for i, b in enumerate(buffers):
        print(f"buffer {i}: {len(b)} bytes, {b[:16].hex(' ')}{' ...' if len(b) > 16 else ''}")


if __name__ == "__main__":
    main()
