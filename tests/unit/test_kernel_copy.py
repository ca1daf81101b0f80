# SPDX-License-Identifier: GPL-2.0-or-later
"""The lists of EXTENDED COPY (kmod/core/copy-parse.c, in user space), against the standard in Python."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parents[2]
CSCDS, SEGMENTS = 16, 64
MOST = CSCDS * 32 + SEGMENTS * 28
LIST_LENGTH, INVALID = 0x051A00, 0x052600
TOO_MANY_CSCDS, CSCD_TYPE, TOO_MANY_SEGMENTS, SEGMENT_TYPE = 0x052606, 0x052607, 0x052608, 0x052609
INLINE_DATA, UNREACHABLE, NOT_REACHABLE, DEVICE_TYPE = 0x05260B, 0x0A0804, 0x0A0D02, 0x0A0D03
Fault = tuple[int, int, int]
"""Sense, byte, segment."""


@dataclass(frozen=True, slots=True)
class Form:
    """Where a header has the list identifier and the three lengths, and how long each is."""

    parse: str
    header: int
    number: slice
    cscds: slice
    segments: slice
    inline: slice

    def lengths(self, data: bytes) -> tuple[int, int, int]:
        """CSCD descriptors, segment descriptors, inline data."""
        cscds, segments, inline = (
            int.from_bytes(data[at], "big") for at in (self.cscds, self.segments, self.inline)
        )
        return cscds, segments, inline


LID1 = Form("scst_copy_parse", 16, slice(0, 1), slice(2, 4), slice(8, 12), slice(12, 16))
LID4 = Form("scst_copy_parse_lid4", 48, slice(20, 24), slice(42, 44), slice(44, 46), slice(46, 48))


class FaultC(ctypes.Structure):
    """struct scst_copy_fault"""

    _fields_ = [
        ("sense", ctypes.c_uint32),
        ("byte", ctypes.c_int32),
        ("bit", ctypes.c_int8),
        ("segment", ctypes.c_int32),
    ]


class ListC(ctypes.Structure):
    """struct scst_copy_list"""

    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("form", ctypes.c_void_p),
        ("nr_cscds", ctypes.c_uint16),
        ("nr_segments", ctypes.c_uint16),
        ("id", ctypes.c_uint32),
        ("id_usage", ctypes.c_uint8),
    ]


class CscdC(ctypes.Structure):
    """struct scst_copy_cscd"""

    _fields_ = [
        ("designator", ctypes.c_void_p),
        ("code_set", ctypes.c_uint8),
        ("association", ctypes.c_uint8),
        ("type", ctypes.c_uint8),
        ("len", ctypes.c_uint8),
        ("block", ctypes.c_uint32),
    ]


class SegmentC(ctypes.Structure):
    """struct scst_copy_segment"""

    _fields_ = [
        ("source", ctypes.c_uint16),
        ("destination", ctypes.c_uint16),
        ("by_destination", ctypes.c_bool),
        ("nblocks", ctypes.c_uint16),
        ("from_lba", ctypes.c_uint64),
        ("to_lba", ctypes.c_uint64),
    ]


class MediumC(ctypes.Structure):
    """struct scst_copy_medium"""

    _fields_ = [("nblocks", ctypes.c_uint64), ("block_shift", ctypes.c_uint8)]


class ExtentC(ctypes.Structure):
    """struct scst_copy_extent"""

    _fields_ = [("source", ctypes.c_uint64), ("destination", ctypes.c_uint64), ("len", ctypes.c_uint64)]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("copy") / "copy.so"
    includes = [f"-I{Path(__file__).parent / 'kernel'}", f"-I{REPO / 'kmod/core'}"]
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *includes]
    subprocess.run(["gcc", *flags, str(REPO / "kmod/core/copy-parse.c"), "-o", str(library)], check=True)
    lib = ctypes.CDLL(str(library))
    for form in (LID1, LID4):
        lib[form.parse].restype = ctypes.c_bool
    return lib


class Parsed:
    """What the kernel reads in a list of exactly these bytes."""

    def __init__(self, lib: ctypes.CDLL, data: bytes, form: Form) -> None:
        self.lib = lib
        self.memory = (ctypes.c_uint8 * max(len(data), 1)).from_buffer_copy(data or b"\0")
        self.list, fault = ListC(), FaultC()
        size = ctypes.c_uint32(len(data))
        right = lib[form.parse](ctypes.byref(self.list), ctypes.byref(fault), self.memory, size)
        self.fault: Fault | None = None if right else (fault.sense, fault.byte, fault.segment)

    def cscds(self) -> list[tuple[int, int, int, bytes, int]]:
        found = []
        for number in range(self.list.nr_cscds):
            cscd = CscdC()
            self.lib.scst_copy_cscd(ctypes.byref(self.list), number, ctypes.byref(cscd))
            at = cscd.designator - ctypes.addressof(self.memory)
            name = bytes(self.memory)[at : at + cscd.len]
            found.append((cscd.code_set, cscd.association, cscd.type, name, cscd.block))
        return found

    def segments(self) -> list[tuple[int, int, bool, int, int, int]]:
        found = []
        for number in range(self.list.nr_segments):
            one = SegmentC()
            self.lib.scst_copy_segment(ctypes.byref(self.list), number, ctypes.byref(one))
            found.append(
                (one.source, one.destination, one.by_destination, one.nblocks, one.from_lba, one.to_lba)
            )
        return found


def model_lid4(data: bytes) -> Fault | None:
    """What the other header has not got: SPC-4 6.5."""
    if data[0] != 1:
        return INVALID, 0, -1
    if data[2:4] != b"\0\x20":
        return INVALID, 2, -1
    if data[15] & 3:
        return INVALID, 15, -1
    return (INVALID, 16, -1) if data[16] != 0xFF else None


def model_header(data: bytes, form: Form) -> Fault | None:
    """SPC-4 6.4.3, read slowly."""
    if len(data) < form.header:
        return LIST_LENGTH, -1, -1
    fault = model_lid4(data) if form is LID4 else None
    if fault:
        return fault
    usage = data[1] >> 3 & 3
    if usage == 1:
        return INVALID, 1, -1
    if usage == 3 and any(data[form.number]):
        return INVALID, form.number.start, -1
    cscds, segments, inline = form.lengths(data)
    if cscds + segments > MOST:
        return LIST_LENGTH, -1, -1
    if inline:
        return INLINE_DATA, form.inline.start, -1
    if form.header + cscds + segments > len(data):
        return LIST_LENGTH, -1, -1
    if cscds % 32:
        return INVALID, form.cscds.start, -1
    if cscds // 32 > CSCDS:
        return TOO_MANY_CSCDS, form.cscds.start, -1
    return (TOO_MANY_SEGMENTS, form.segments.start, -1) if segments // 28 > SEGMENTS else None


def model_cscd(desc: bytes, at: int) -> Fault | None:
    if desc[0] != 0xE4:
        return CSCD_TYPE, at, -1
    if desc[1] >> 6:
        return INVALID, at + 1, -1
    if desc[1] & 0x20:
        return UNREACHABLE, -1, -1
    if desc[1] & 0x1F:
        return DEVICE_TYPE, -1, -1
    return (INVALID, at + 7, -1) if desc[7] > 20 else None


def model_segment(desc: bytes, at: int, number: int, cscds: int, form: Form) -> Fault | None:
    if desc[0] != 2:
        return SEGMENT_TYPE, at, -1
    if len(desc) < 28:
        return INVALID, form.segments.start, -1
    length, source, destination = struct.unpack(">HHH", desc[2:8])
    if length != 24:
        return INVALID, at + 2, -1
    return (NOT_REACHABLE, -1, number) if max(source, destination) >= cscds else None


def model(data: bytes, form: Form) -> Fault | None:
    """What is wrong first."""
    fault = model_header(data, form)
    if fault:
        return fault
    cscds, segments, _inline = form.lengths(data)
    end = form.header + cscds
    faults = [model_cscd(data[at : at + 32], at) for at in range(form.header, end, 32)]
    for number, at in enumerate(range(end, end + segments, 28)):
        desc = data[at : min(at + 28, end + segments)]
        faults.append(model_segment(desc, at, number, cscds // 32, form))
    return next((fault for fault in faults if fault), None)


Head = tuple[int, int, int]
"""Identifier, byte 1, inline data."""


def made(
    cscds: list[bytes],
    segments: list[bytes],
    head: Head = (0, 0x18, 0),
    lengths: tuple[int | None, int | None] = (None, None),
    tail: bytes = b"",
) -> bytes:
    """A list of LID1; *lengths*: instead of the truth."""
    first, second = b"".join(cscds), b"".join(segments)
    sizes = [len(body) if size is None else size for body, size in zip((first, second), lengths, strict=True)]
    return struct.pack(">BBH4xII", head[0], head[1], *sizes, head[2]) + first + second + tail


def made_lid4(
    cscds: list[bytes],
    segments: list[bytes],
    head: Head = (0, 0x18, 0),
    lengths: tuple[int | None, int | None] = (None, None),
    tail: bytes = b"",
    rest: tuple[int, int, int, int] = (1, 0x20, 0, 0xFF),
) -> bytes:
    """A list of LID4; *rest*: format, length of the header's descriptor, flags, type of the descriptor."""
    first, second = b"".join(cscds), b"".join(segments)
    sizes = [len(body) if size is None else size for body, size in zip((first, second), lengths, strict=True)]
    shape, header, flags, kind = rest
    start = struct.pack(">BBH11xBB3xI18x", shape, head[1], header, flags, kind, head[0])
    return start + struct.pack(">HHH", *(size & 0xFFFF for size in (*sizes, head[2]))) + first + second + tail


def mostly(value: int, *others: int) -> st.SearchStrategy[int]:
    return st.sampled_from([value] * 12 + list(others))


@st.composite
def cscd(draw: st.DrawFn) -> bytes:
    name = draw(st.binary(max_size=20))
    length = draw(mostly(len(name), 21, 255))
    flags = draw(mostly(0, 0x20, 0x40, 0xC0, 1, 0x1F))
    head = struct.pack(
        ">BBHBBBB", draw(mostly(0xE4, 0, 0xE0, 0xFF)), flags, 0, draw(st.integers(0, 255)), 3, 0, length
    )
    return head + name.ljust(20, b"\0") + draw(st.binary(min_size=4, max_size=4))


@st.composite
def segment(draw: st.DrawFn) -> bytes:
    kind, length = draw(mostly(2, 0, 3, 0x0A, 255)), draw(mostly(24, 0, 23, 25, 65535))
    ends = [draw(mostly(0, 1, 2, 15, 16, 65535)) for _ in range(2)]
    rest = draw(st.binary(min_size=20, max_size=20))
    return struct.pack(">BBHHH", kind, draw(st.integers(0, 3)), length, *ends) + rest


heads = st.tuples(mostly(0, 1, 255), st.integers(0, 255), mostly(0, 1, 2**32 - 1))
sizes = st.none() | st.none() | st.none() | st.integers(0, MOST + 40) | st.just(2**32 - 1)
parts = (
    st.lists(cscd(), max_size=3) | st.builds(lambda one, count: [one] * count, cscd(), st.integers(15, 18)),
    st.lists(segment(), max_size=3)
    | st.builds(lambda one, count: [one] * count, segment(), st.integers(63, 66)),
    heads,
    st.tuples(sizes.map(lambda size: None if size is None else size & 0xFFFF), sizes),
    st.binary(max_size=30),
)
rests = st.tuples(mostly(1, 0, 2), mostly(0x20, 0, 0x21), mostly(0, 1, 2, 4), mostly(0xFF, 0xE4))
forms = st.tuples(st.just(LID1), st.builds(made, *parts) | st.binary(max_size=130)) | st.tuples(
    st.just(LID4), st.builds(made_lid4, *parts, rests) | st.binary(max_size=160)
)


@settings(max_examples=1500, deadline=None)
@given(forms, st.integers(0, 400))
def test_any_list(kernel: ctypes.CDLL, what: tuple[Form, bytes], cut: int) -> None:
    """Also cut anywhere: the same fault as the model's, and of what is right the same values."""
    form, data = what
    for part in (data, data[:cut]):
        parsed = Parsed(kernel, part, form)
        assert parsed.fault == model(part, form)
        if parsed.fault:
            continue
        number = int.from_bytes(part[form.number], "big")
        assert (parsed.list.id, parsed.list.id_usage) == (number, part[1] >> 3 & 3)
        length, segments, _inline = form.lengths(part)
        start = form.header + length
        assert parsed.cscds() == [
            (
                part[at + 4] & 15,
                part[at + 5] >> 4 & 3,
                part[at + 5] & 15,
                part[at + 8 : at + 8 + part[at + 7]],
                int.from_bytes(part[at + 29 : at + 32], "big"),
            )
            for at in range(form.header, start, 32)
        ]
        wanted = [
            struct.unpack(">HHxxHQQ", part[at + 4 : at + 28]) for at in range(start, start + segments, 28)
        ]
        flags = [bool(part[at + 1] & 2) for at in range(start, start + segments, 28)]
        assert parsed.segments() == [
            (*one[:2], flag, *one[2:]) for one, flag in zip(wanted, flags, strict=True)
        ]


WRONG_SEGMENT = bytes((2, 0, 0, 24)) + bytes(24)


@pytest.mark.parametrize(
    ("form", "data", "fault"),
    [
        (LID1, b"", (LIST_LENGTH, -1, -1)),
        (LID1, made([], []), None),
        (LID1, made([], [], (1, 0, 0)), None),
        (LID1, made([], [], (1, 0x08, 0)), (INVALID, 1, -1)),
        (LID1, made([], [], (1, 0x18, 0)), (INVALID, 0, -1)),
        (LID1, made([], [], lengths=(0, 28)), (LIST_LENGTH, -1, -1)),
        (LID1, made([], [WRONG_SEGMENT]), (NOT_REACHABLE, -1, 0)),
        (LID4, made_lid4([], [])[:47], (LIST_LENGTH, -1, -1)),
        (LID4, made_lid4([], []), None),
        (LID4, made_lid4([], [], (0x01020304, 0, 0)), None),
        (LID4, made_lid4([], [], (0x01000000, 0x18, 0)), (INVALID, 20, -1)),
        (LID4, made_lid4([], [], (1, 0, 1)), (INLINE_DATA, 46, -1)),
        (LID4, made_lid4([], [], rest=(0, 0x20, 0, 0xFF)), (INVALID, 0, -1)),
        (LID4, made_lid4([], [], rest=(1, 0x10, 0, 0xFF)), (INVALID, 2, -1)),
        (LID4, made_lid4([], [], rest=(1, 0x20, 1, 0xFF)), (INVALID, 15, -1)),
        (LID4, made_lid4([], [], rest=(1, 0x20, 2, 0xFF)), (INVALID, 15, -1)),
        (LID4, made_lid4([], [], rest=(1, 0x20, 0, 0xE4)), (INVALID, 16, -1)),
        (LID4, made_lid4([], [], lengths=(32, 0)), (LIST_LENGTH, -1, -1)),
        (LID4, made_lid4([], [WRONG_SEGMENT]), (NOT_REACHABLE, -1, 0)),
    ],
)
def test_lists(kernel: ctypes.CDLL, form: Form, data: bytes, fault: Fault | None) -> None:
    assert Parsed(kernel, data, form).fault == fault
    assert model(data, form) == fault


shifts = st.integers(9, 12)
counts = st.integers(0, 40) | st.integers(0, 65535)
places = st.integers(0, 50) | st.integers(0, 2**64 - 1)
capacities = st.integers(0, 60) | st.integers(0, 2**51)


@settings(max_examples=1000, deadline=None)
@given(
    counts,
    st.booleans(),
    st.tuples(places, places),
    st.tuples(shifts, shifts),
    st.tuples(capacities, capacities),
)
def test_any_extent(
    kernel: ctypes.CDLL,
    blocks: int,
    by_destination: bool,
    lbas: tuple[int, int],
    shift: tuple[int, int],
    capacity: tuple[int, int],
) -> None:
    """Where a segment is, in bytes, or why it is nowhere."""
    one = SegmentC(0, 1, by_destination, blocks, *lbas)
    ends = [MediumC(size, bits) for size, bits in zip(capacity, shift, strict=True)]
    extent = ExtentC()
    args = (ctypes.byref(one), ctypes.byref(ends[0]), ctypes.byref(ends[1]), ctypes.byref(extent))
    found = kernel.scst_copy_extent(*args)
    length = blocks << shift[by_destination]
    if any(length % (1 << bits) for bits in shift):
        assert found == 3
        return
    fits = [lba + (length >> bits) <= size for lba, bits, size in zip(lbas, shift, capacity, strict=True)]
    assert found == (0 if all(fits) else 2 if fits[0] else 1)
    if not found:
        assert (extent.source, extent.destination) == (lbas[0] << shift[0], lbas[1] << shift[1])
        assert extent.len == length
