#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Reads BTF, the description of a kernel's and its modules' types, and writes C from it.

Format: Documentation/bpf/btf.rst of the kernel. Nothing but Python's own library is needed.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

(
    VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO,
    VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64,
) = range(20)  # fmt: skip
QUALIFIERS = {VOLATILE: "volatile", CONST: "const", RESTRICT: "restrict", TYPE_TAG: ""}
# Bytes that follow a type's head: so many, and so many for each of its members.
TAIL = {
    INT: (4, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8), FUNC_PROTO: (0, 8),
    VAR: (4, 0), DATASEC: (0, 12), DECL_TAG: (4, 0), ENUM64: (0, 12),
}  # fmt: skip
MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
POINTER = 8


class BtfError(Exception):
    """Something is not there, or not as it should be."""


@dataclass(frozen=True, slots=True)
class Member:
    """Of a structure or union (*bit*, *bits*: offset, and width of a bit field or 0), or a parameter."""

    name: str
    type: int
    bit: int = 0
    bits: int = 0


@dataclass(slots=True)
class Type:
    """*size* in bytes; *ref* is the number of the type it is made of, *count* that of an array's elements."""

    kind: int
    name: str
    size: int = 0
    ref: int = 0
    count: int = 0
    members: list[Member] = field(default_factory=list)


class Btf:
    """All types of a kernel, and of a module if it comes on top."""

    def __init__(self, raw: bytes, base: Btf | None = None) -> None:
        self.types: list[Type] = list(base.types) if base else [Type(VOID, "void")]
        self.own = len(self.types)
        self._strings: bytes = base._strings if base else b""
        magic, _version, _flags, head, type_at, type_len, string_at, string_len = HEADER.unpack_from(raw)
        if magic != MAGIC:
            raise BtfError("this is no BTF")
        self._strings += raw[head + string_at : head + string_at + string_len]
        self._read(raw[head + type_at : head + type_at + type_len])

    def _name(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()

    def _read(self, raw: bytes) -> None:
        at = 0
        while at < len(raw):
            name, info, size = struct.unpack_from("<III", raw, at)
            at += 12
            kind, members, flag = info >> 24 & 0x1F, info & 0xFFFF, info >> 31
            made = Type(kind, self._name(name), size=size, ref=size)
            fixed, each = TAIL.get(kind, (0, 0))
            tail = raw[at : at + fixed + each * members]
            at += len(tail)
            if kind == ARRAY:
                made.ref, _index, made.count = struct.unpack("<III", tail)
            elif kind in (STRUCT, UNION, FUNC_PROTO):
                made.members = list(self._members(kind, tail, flag))
            self.types.append(made)

    def _members(self, kind: int, tail: bytes, flag: int) -> Iterator[Member]:
        if kind == FUNC_PROTO:
            for name, kind_of in struct.iter_unpack("<II", tail):
                yield Member(self._name(name), kind_of)
            return
        for name, kind_of, offset in struct.iter_unpack("<III", tail):
            bit, bits = (offset & 0xFFFFFF, offset >> 24) if flag else (offset, 0)
            yield Member(self._name(name), kind_of, bit, bits)

    def find(self, kind: int, name: str) -> int:
        """Number of a type. The module's own come first. Raises BtfError when there is none."""
        for number in range(len(self.types) - 1, 0, -1):
            if self.types[number].kind == kind and self.types[number].name == name:
                return number
        raise BtfError(f"there is no {name} in it")

    def bare(self, number: int) -> int:
        """The type behind typedefs and qualifiers."""
        while self.types[number].kind in (TYPEDEF, *QUALIFIERS):
            number = self.types[number].ref
        return number

    def size(self, number: int) -> int:
        """Bytes."""
        made = self.types[self.bare(number)]
        if made.kind == PTR:
            return POINTER
        return made.count * self.size(made.ref) if made.kind == ARRAY else made.size

    def declare(self, number: int, name: str) -> str:
        """A declaration of *name* in C."""
        made = self.types[number]
        if made.kind == PTR:
            inner = self.types[made.ref].kind
            return self.declare(made.ref, f"(*{name})" if inner in (ARRAY, FUNC_PROTO) else f"*{name}")
        if made.kind == ARRAY:
            return self.declare(made.ref, f"{name}[{made.count}]")
        if made.kind == FUNC_PROTO:
            words = [self.declare(each.type, each.name) for each in made.members] or ["void"]
            return self.declare(made.ref, f"{name}({', '.join(words)})")
        return f"{self.word(number)} {name}".rstrip()

    def word(self, number: int) -> str:
        """What a type without a declarator is called. A module's own typedefs are looked through."""
        made = self.types[number]
        if made.kind in QUALIFIERS:
            return f"{QUALIFIERS[made.kind]} {self.word(made.ref)}".strip()
        if made.kind == TYPEDEF:
            return made.name if number < self.own or self._unnamed(made.ref) else self.word(made.ref)
        prefix = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum ", FWD: "struct "}
        return prefix.get(made.kind, "") + made.name

    def _unnamed(self, number: int) -> bool:
        return not self.types[self.bare(number)].name


# --- files ------------------------------------------------------------------------------------------


def section(elf: bytes, name: str) -> bytes | None:
    """A section of an ELF file (64 bits, little endian); None when there is none."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise BtfError("this is no ELF file of a 64-bit machine")
    (table,) = struct.unpack_from("<Q", elf, 40)
    each, number, names = struct.unpack_from("<HHH", elf, 58)
    heads = [struct.unpack_from("<IIQQQQ", elf, table + each * index) for index in range(number)]
    _name, _type, _flags, _address, strings, _size = heads[names]
    for at, _type, _flags, _address, offset, size in heads:
        if elf[strings + at : elf.index(b"\0", strings + at)] == name.encode():
            return elf[offset : offset + size]
    return None


def zstd(data: bytes) -> bytes:
    """What the zstd program makes of it; what follows the compressed data is no matter."""
    return subprocess.run(
        ["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout


def xz(data: bytes) -> bytes:
    """Likewise."""
    return lzma.LZMADecompressor().decompress(data)


def gzip(data: bytes) -> bytes:
    """Likewise."""
    return zlib.decompressobj(31).decompress(data)


COMPRESSED = {b"\x28\xb5\x2f\xfd": zstd, b"\xfd7zXZ\0": xz, b"\x1f\x8b\x08": gzip}


def module(path: Path) -> bytes:
    """A module's file, uncompressed."""
    data = path.read_bytes()
    for magic, unpack in COMPRESSED.items():
        if data.startswith(magic):
            return unpack(data)
    return data


def image(path: Path) -> bytes:
    """The kernel in a bzImage, or the file itself if it is the kernel. Raises BtfError when none is found."""
    data = path.read_bytes()
    if data.startswith(b"\x7fELF"):
        return data
    for magic, unpack in COMPRESSED.items():
        at = data.find(magic)
        while at >= 0:
            try:
                kernel = unpack(data[at:])
            except (lzma.LZMAError, zlib.error):
                kernel = b""
            if kernel.startswith(b"\x7fELF"):
                return kernel
            at = data.find(magic, at + 1)
    raise BtfError(f"{path}: no kernel in it that can be unpacked")


def of_kernel(path: Path) -> Btf:
    """Types of a kernel: /sys/kernel/btf/vmlinux, vmlinux or vmlinuz."""
    data = path.read_bytes()
    if data[:2] == MAGIC.to_bytes(2, "little"):
        return Btf(data)
    raw = section(image(path), ".BTF")
    if raw is None:
        raise BtfError(f"{path} does not describe its types (CONFIG_DEBUG_INFO_BTF)")
    return Btf(raw)


def of_module(path: Path, kernel: Btf) -> Btf:
    """Types of a module of that kernel."""
    raw = section(module(path), ".BTF")
    if raw is None:
        raise BtfError(f"{path} does not describe its types (CONFIG_DEBUG_INFO_BTF_MODULES)")
    return Btf(raw, kernel)


def release(path: Path) -> str:
    """Of the kernel that a module is for."""
    info = section(module(path), ".modinfo") or b""
    for word in info.split(b"\0"):
        if word.startswith(b"vermagic="):
            return word.removeprefix(b"vermagic=").split(b" ")[0].decode()
    raise BtfError(f"{path} does not say which kernel it is for")


def build_id(path: Path) -> bytes:
    """What tells this build of a module from all others."""
    note = section(module(path), ".note.gnu.build-id")
    if note is None:
        raise BtfError(f"{path} has no build-id")
    name, size = struct.unpack_from("<II", note)
    return note[12 + (name + 3 & ~3) :][:size]
