# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists with ROD tokens, and tokens (kmod/core/copy-token-parse.c, in user space), against the standard."""

from __future__ import annotations

import ctypes
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_kernel_copy import CscdC, FaultC, MediumC

REPO = Path(__file__).resolve().parents[2]
RANGES, BYTES, TIMEOUT, TIMEOUT_MAX = 64, 256 << 20, 60, 600
LIST_LENGTH, INVALID, TOO_MANY, OUT_OF_RANGE = 0x051A00, 0x052600, 0x052608, 0x052100
TYPE, LENGTH, CORRUPT = 0x052301, 0x05230A, 0x052305
VULNERABLE, ZERO = 0x00800001, 0xFFFF0001
Fault = tuple[int, int]
"""Sense, byte."""
Range = tuple[int, int]
"""LBA, blocks."""


class ListC(ctypes.Structure):
    """struct scst_token_list"""

    _fields_ = [
        ("ranges", ctypes.c_void_p),
        ("token", ctypes.c_void_p),
        ("nr", ctypes.c_uint16),
        ("nblocks", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("timeout", ctypes.c_uint32),
        ("delete", ctypes.c_bool),
    ]


class RangeC(ctypes.Structure):
    """struct scst_token_range"""

    _fields_ = [("lba", ctypes.c_uint64), ("nblocks", ctypes.c_uint32)]


class TextC(ctypes.Structure):
    """struct scst_token_text"""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("secret", ctypes.c_uint8 * 32),
        ("designator", ctypes.c_char_p),
        ("type", ctypes.c_uint8),
        ("len", ctypes.c_uint8),
        ("block_shift", ctypes.c_uint8),
        ("bytes", ctypes.c_uint64),
    ]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("token") / "token.so"
    includes = [f"-I{Path(__file__).parent / 'kernel'}", f"-I{REPO / 'kmod/core'}"]
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *includes]
    sources = [str(REPO / f"kmod/core/{name}.c") for name in ("copy-token-parse", "copy-parse")]
    subprocess.run(["gcc", *flags, *sources, "-o", str(library)], check=True)
    lib = ctypes.CDLL(str(library))
    for name in ("scst_token_parse_populate", "scst_token_parse_write", "scst_token_touches"):
        getattr(lib, name).restype = ctypes.c_bool
    lib.scst_token_decode.restype = ctypes.c_uint32
    lib.scst_token_place.restype = ctypes.c_uint64
    return lib


def header_of(write: bool) -> int:
    return 536 if write else 16


def overlap(a: Range, b: Range) -> bool:
    """Whether they have a block in common."""
    return max(a[0], b[0]) < min(a[0] + a[1], b[0] + b[1])


def model_ranges(data: bytes, header: int, size: int, shift: int) -> Fault | list[Range]:
    length, said = struct.unpack(">H", data[header - 2 : header])[0], struct.unpack(">H", data[:2])[0] + 2
    if not length or length % 16 or header + length > said:
        return INVALID, header - 2
    if length // 16 > RANGES:
        return TOO_MANY, header - 2
    found: list[Range] = []
    for at in range(header, header + length, 16):
        lba, count = struct.unpack(">QI", data[at : at + 12])
        if lba + count > size:
            return OUT_OF_RANGE, -1
        if any(overlap((lba, count), other) for other in found):
            return INVALID, at
        found.append((lba, count))
        if sum(count for _, count in found) > BYTES >> shift:
            return INVALID, at + 8
    return found


def model(data: bytes, write: bool, size: int, shift: int) -> Fault | list[Range]:
    """What is wrong first, or the ranges (SBC-3 5.7.2, 5.50.2, read slowly)."""
    header = header_of(write)
    if len(data) < header:
        return LIST_LENGTH, -1
    said = struct.unpack(">H", data[:2])[0]
    if said < header + 14:
        return INVALID, 0
    if said + 2 > len(data):
        return LIST_LENGTH, -1
    if data[2] & 1:
        return INVALID, 2
    if not write:
        timeout, kind = struct.unpack(">II", data[4:12])
        if timeout > TIMEOUT_MAX:
            return INVALID, 4
        if data[2] & 2 and kind not in (0x800000, 0x800001, 0x80FFFF):
            return INVALID, 8
    return model_ranges(data, header, size, shift)


def parsed(
    lib: ctypes.CDLL, data: bytes, write: bool, size: int, shift: int
) -> tuple[Fault | list[Range], ListC, bytes | None]:
    """What the kernel says: the fault or the ranges, the list, its token."""
    memory = (ctypes.c_uint8 * max(len(data), 1)).from_buffer_copy(data or b"\0")
    found, fault, medium = ListC(), FaultC(), MediumC(size, shift)
    function = lib.scst_token_parse_write if write else lib.scst_token_parse_populate
    args = (
        ctypes.byref(found),
        ctypes.byref(fault),
        memory,
        ctypes.c_uint32(len(data)),
        ctypes.byref(medium),
    )
    if not function(*args):
        return (fault.sense, fault.byte), found, None
    ranges = []
    for number in range(found.nr):
        one = RangeC()
        lib.scst_token_range(ctypes.byref(found), number, ctypes.byref(one))
        ranges.append((one.lba, one.nblocks))
    token = ctypes.string_at(found.token, 512) if write else None
    return ranges, found, token


def mostly(value: int, *others: int) -> st.SearchStrategy[int]:
    return st.sampled_from([value] * 12 + list(others))


@st.composite
def lists(draw: st.DrawFn, write: bool) -> bytes:
    """A list that is nearly right."""
    places = st.integers(0, 40) | st.integers(0, 2**64 - 1)
    counts = st.integers(0, 6) | st.integers(0, 2**20) | st.integers(0, 2**32 - 1)
    ranges = draw(st.lists(st.tuples(places, counts), max_size=4))
    ranges += [(1000 * number, 1) for number in range(draw(mostly(0, 62, 64, 65)))]
    body = b"".join(struct.pack(">QI4x", lba, count) for lba, count in ranges)
    header = header_of(write)
    tail = draw(st.binary(max_size=20))
    said = draw(mostly(header - 2 + len(body), 0, 29, 30, header + 13, 65535))
    length = draw(mostly(len(body), 0, 15, len(body) + 16, 65535))
    flags = draw(mostly(0, 1, 2, 3, 0xFC))
    if write:
        fill = random.Random(draw(st.integers(0, 255))).randbytes(531)
    else:
        kind = draw(st.sampled_from((0, 0x10000, 0x800000, 0x800001, 0x800002, 0x80FFFF, ZERO)))
        fill = struct.pack(">xII2x", draw(mostly(0, 1, 600, 601, 2**32 - 1)), kind)
    return struct.pack(">HB", said & 0xFFFF, flags) + fill + struct.pack(">H", length & 0xFFFF) + body + tail


@pytest.mark.parametrize("write", [False, True], ids=["populate", "write"])
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_list(kernel: ctypes.CDLL, write: bool, data: st.DataObject) -> None:
    """Also cut anywhere: the same fault as the model's, or the same ranges."""
    text = data.draw(lists(write) | st.binary(max_size=80))
    cut, shift = data.draw(st.integers(0, 1700)), data.draw(st.integers(9, 12))
    size = data.draw(st.integers(0, 100000) | st.integers(0, 2**51))
    for part in (text, text[:cut]):
        found, one, token = parsed(kernel, part, write, size, shift)
        assert found == model(part, write, size, shift)
        if isinstance(found, tuple):
            continue
        assert one.nblocks == sum(count for _, count in found)
        if write:
            assert one.offset == int.from_bytes(part[8:16], "big")
            assert (one.delete, token) == (bool(part[2] & 2), part[16:528])
        else:
            assert one.timeout == (int.from_bytes(part[4:8], "big") or TIMEOUT)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name),
    st.integers(9, 12),
    st.integers(0, 2**40),
)
def test_tokens(kernel: ctypes.CDLL, number: int, secret: bytes, name: bytes, shift: int, size: int) -> None:
    """What is written is where the standard has it (SPC-4 5.16.6.2), and read again."""
    text = TextC(number, (ctypes.c_uint8 * 32)(*secret), name, 3, len(name), shift, size)
    token = (ctypes.c_uint8 * 512)()
    kernel.scst_token_encode(ctypes.byref(text), token)
    raw = bytes(token)
    assert struct.unpack(">I2xHQ", raw[:16]) == (VULNERABLE, 0x1F8, number)
    assert raw[16:24] == bytes((0xE4, 0, 0, 0, 1, 3, 0, len(name)))
    assert raw[24:48] == name.ljust(20, b"\0") + struct.pack(">I", 1 << shift)
    assert int.from_bytes(raw[48:64], "big") == size
    assert raw[96:100] == struct.pack(">I", 1 << shift)
    assert raw[256:288] == secret
    assert not any(raw[100:256] + raw[288:])
    kind, cscd = ctypes.c_uint32(), CscdC()
    assert kernel.scst_token_decode(token, ctypes.byref(kind), ctypes.byref(cscd)) == 0
    assert kind.value == VULNERABLE
    assert ctypes.string_at(cscd.designator, cscd.len) == name
    assert (cscd.code_set, cscd.association, cscd.type, cscd.block) == (1, 0, 3, 1 << shift)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from((VULNERABLE, ZERO, 0, 0x10000, 0x800000, 2**32 - 1)),
    mostly(0x1F8, 0, 0x1F7, 65535),
    st.integers(0, 255),
    mostly(0xE4, 0, 0xE5),
    mostly(20, 0, 21, 255),
)
def test_any_token(kernel: ctypes.CDLL, kind: int, length: int, seed: int, cscd: int, name: int) -> None:
    raw = bytearray(struct.pack(">I2xH", kind, length) + random.Random(seed).randbytes(504))
    raw[16], raw[23] = cscd, name
    found = ctypes.c_uint32()
    memory = (ctypes.c_uint8 * 512).from_buffer(raw)
    sense = kernel.scst_token_decode(memory, ctypes.byref(found), ctypes.byref(CscdC()))
    if kind not in (VULNERABLE, ZERO):
        wanted = TYPE
    elif length != 0x1F8:
        wanted = LENGTH
    else:
        wanted = CORRUPT if kind == VULNERABLE and (cscd != 0xE4 or name > 20) else 0
    assert (sense, found.value) == (wanted, kind)


some = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6)


def in_c(ranges: list[Range]) -> ctypes.Array[RangeC]:
    return (RangeC * max(len(ranges), 1))(*(RangeC(*one) for one in ranges))


@settings(max_examples=500, deadline=None)
@given(some, st.integers(0, 70), st.integers(0, 12))
def test_blocks_in_common(kernel: ctypes.CDLL, ranges: list[Range], lba: int, count: int) -> None:
    args = (in_c(ranges), len(ranges), ctypes.c_uint64(lba), ctypes.c_uint64(count))
    assert kernel.scst_token_touches(*args) == any(overlap(one, (lba, count)) for one in ranges)


@settings(max_examples=500, deadline=None)
@given(some, st.integers(9, 12), st.integers(0, 40 << 9), st.integers(1, 30 << 9))
def test_places(kernel: ctypes.CDLL, ranges: list[Range], shift: int, pos: int, wanted: int) -> None:
    """Piece by piece, each byte of the data is where the ranges have it."""
    left = [(lba << shift, count << shift) for lba, count in ranges]
    skipped = pos
    while left and skipped >= left[0][1]:
        skipped -= left.pop(0)[1]
    length = ctypes.c_uint64(wanted)
    args = (in_c(ranges), len(ranges), shift, ctypes.c_uint64(pos), ctypes.byref(length))
    found = kernel.scst_token_place(*args)
    assert length.value == (min(wanted, left[0][1] - skipped) if left else 0)
    assert not left or found == left[0][0] + skipped
