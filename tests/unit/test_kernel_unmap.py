# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameter list of UNMAP (kmod/core/unmap.c, built in user space), against the standard in Python."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parents[2]
CAPACITY, MAX_BLOCKS, MAX_DESCS = 1 << 33, 8192, 5
CUT, FIELD, RANGE = -1, -2, -3
Range = tuple[int, int]


class Limits(ctypes.Structure):
    """struct scst_unmap_limits"""

    _fields_ = [("nblocks", ctypes.c_uint64), ("max_blocks", ctypes.c_uint64), ("max_descs", ctypes.c_uint32)]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("unmap") / "unmap.so"
    include = f"-I{Path(__file__).parent / 'kernel'}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", include]
    subprocess.run(["gcc", *flags, str(REPO / "kmod/core/unmap.c"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def check(lib: ctypes.CDLL, data: bytes) -> tuple[int, int]:
    """What the kernel says of a list of exactly these bytes: the ranges or the fault, and the byte."""
    limits, byte = Limits(CAPACITY, MAX_BLOCKS, MAX_DESCS), ctypes.c_uint16()
    size = ctypes.c_size_t(len(data))
    found = lib.scst_unmap_check(data, size, ctypes.byref(limits), ctypes.byref(byte))
    return int(found), byte.value


def ranges(lib: ctypes.CDLL, data: bytes, count: int) -> list[Range]:
    found = []
    for number in range(count):
        lba, blocks = ctypes.c_uint64(), ctypes.c_uint32()
        lib.scst_unmap_range(data, number, ctypes.byref(lba), ctypes.byref(blocks))
        found.append((lba.value, blocks.value))
    return found


def made(wanted: list[Range], data: int | None = None, descs: int | None = None, tail: bytes = b"") -> bytes:
    """A list; *data* and *descs*: what its two lengths say instead of the truth."""
    body = b"".join(struct.pack(">QI4x", *item) for item in wanted) + tail
    data = len(body) + 6 if data is None else data
    descs = len(body) if descs is None else descs
    return struct.pack(">HH4x", data, descs) + body


def model(data: bytes) -> tuple[int, int]:
    """SBC-3 5.28.2, read slowly."""
    if len(data) < 8 or struct.unpack(">H", data[:2])[0] + 2 > len(data):
        return CUT, 0
    whole, descs = struct.unpack(">HH", data[:4])
    if not descs:
        return 0, 0
    if descs > whole - 6 or descs // 16 > MAX_DESCS:
        return FIELD, 2
    total = 0
    for at in range(8, 8 + descs // 16 * 16, 16):
        lba, blocks = struct.unpack(">QI", data[at : at + 12])
        if lba + blocks > CAPACITY:
            return RANGE, at
        total += blocks
        if total > MAX_BLOCKS:
            return FIELD, at + 8
    return descs // 16, 0


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", (CUT, 0)),
        (bytes(7), (CUT, 0)),
        (bytes(8), (0, 0)),
        (made([(0, 1)]), (1, 0)),
        (made([(0, 0), (CAPACITY, 0), (CAPACITY - 1, 1)]), (3, 0)),
        (made([(0, 1)])[:-1], (CUT, 0)),
        (made([(0, 1)], data=23), (CUT, 0)),
        (made([(0, 1)], data=21), (FIELD, 2)),
        (made([(0, 1)], descs=32), (FIELD, 2)),
        (made([(0, 1)], descs=15), (0, 0)),
        (made([(0, 1), (1, 1)], descs=31), (1, 0)),
        (made([(0, 1)] * 6), (FIELD, 2)),
        (made([(0, 1), (CAPACITY, 1)]), (RANGE, 24)),
        (made([(2**64 - 1, 2)]), (RANGE, 8)),
        (made([(CAPACITY - 1, 2)]), (RANGE, 8)),
        (made([(0, MAX_BLOCKS), (0, 1)]), (FIELD, 32)),
        (made([(0, 2**32 - 1)]), (FIELD, 16)),
    ],
)
def test_lists(kernel: ctypes.CDLL, data: bytes, answer: tuple[int, int]) -> None:
    found = check(kernel, data)
    assert found[0] == answer[0]
    if answer[0] in (FIELD, RANGE):
        assert found[1] == answer[1]


def test_ranges_are_read(kernel: ctypes.CDLL) -> None:
    wanted = [(5, 7), (2**32 + 1, 9)]
    assert ranges(kernel, made(wanted), 2) == wanted


numbers = st.sampled_from([0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 2**64 - 1]) | st.integers(0, 2**64 - 1)
counts = st.sampled_from([0, 1, MAX_BLOCKS - 1, MAX_BLOCKS, MAX_BLOCKS + 1, 2**32 - 1])
lengths = st.none() | st.integers(0, 120) | st.integers(0, 0xFFFF)
lists = st.builds(
    made, st.lists(st.tuples(numbers, counts), max_size=7), lengths, lengths, st.binary(max_size=15)
)


@settings(max_examples=2000)
@given(lists | st.binary(max_size=130), st.integers(0, 130))
def test_any_list(kernel: ctypes.CDLL, data: bytes, cut: int) -> None:
    """Also cut anywhere."""
    for part in (data, data[:cut]):
        found, byte = check(kernel, part)
        wanted, at = model(part)
        assert found == wanted
        if found in (FIELD, RANGE):
            assert byte == at
        elif found > 0:
            assert all(lba + blocks <= CAPACITY for lba, blocks in ranges(kernel, part, found))
