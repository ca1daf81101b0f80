# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode pages (kmod/core/mode-pages.c, built in user space): what MODE SENSE answers MODE SELECT takes, and of
any other list the first thing that is wrong is named.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parents[2]
CUT, FIELD = -1, -2
CURRENT, CHANGEABLE, DEFAULT = range(3)
ALL = 0xFF
PAGES = {(0x01, 0): 12, (0x02, 0): 16, (0x08, 0): 20, (0x0A, 0): 12, (0x0A, 1): 32, (0x1C, 0): 12}
# ... and of devices whose space is known.
PROVISIONING = (0x1C, 2)
SPACE_PAGES = {**PAGES, PROVISIONING: 24}
# Where the values are: page, byte, bit.
PLACES = {"wce": (0x08, 2, 2), "d_sense": (0x0A, 2, 2), "swp": (0x0A, 4, 3)}


class Values(ctypes.Structure):
    """struct scst_mode_values"""

    _fields_ = [(name, ctypes.c_bool) for name in PLACES]

    def named(self) -> dict[str, bool]:
        return {name: getattr(self, name) for name in PLACES}


class State(ctypes.Structure):
    """struct scst_mode_state"""

    _fields_ = [
        ("current_values", Values),
        ("defaults", Values),
        ("changeable", Values),
        ("nblocks", ctypes.c_uint64),
        ("block_size", ctypes.c_uint32),
        ("sense_max", ctypes.c_uint8),
        ("implicit_alua", ctypes.c_bool),
        ("dpofua", ctypes.c_bool),
        ("wp", ctypes.c_bool),
        ("ato", ctypes.c_bool),
        ("space", ctypes.c_bool),
        ("space_threshold", ctypes.c_uint32),
    ]

    @property
    def pages(self) -> dict[tuple[int, int], int]:
        """Those there are, with their lengths."""
        return SPACE_PAGES if self.space else PAGES


class Request(ctypes.Structure):
    """struct scst_mode_request"""

    _fields_ = [
        ("ten", ctypes.c_bool),
        ("dbd", ctypes.c_bool),
        ("llbaa", ctypes.c_bool),
        ("pc", ctypes.c_uint8),
        ("page", ctypes.c_uint8),
        ("subpage", ctypes.c_uint8),
    ]


class Fault(ctypes.Structure):
    """struct scst_mode_error"""

    _fields_ = [("byte", ctypes.c_uint16), ("bit", ctypes.c_int8)]


class Kernel:
    """The library."""

    def __init__(self, folder: Path) -> None:
        library = folder / "mode.so"
        flags = [
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Wno-sign-compare",
            "-Werror",
        ]
        include = f"-I{Path(__file__).parent / 'kernel'}"
        source = str(REPO / "kmod/core/mode-pages.c")
        subprocess.run(["gcc", *flags, include, source, "-o", str(library)], check=True)
        self.lib = ctypes.CDLL(str(library))
        self.lib.scst_mode_known.restype = ctypes.c_bool

    def known(self, state: State, page: int, subpage: int) -> bool:
        return bool(self.lib.scst_mode_known(ctypes.byref(state), page, subpage))

    def build(self, state: State, request: Request) -> bytes:
        buffer = ctypes.create_string_buffer(b"\xa5" * 161, 161)
        length = self.lib.scst_mode_build(ctypes.byref(request), ctypes.byref(state), buffer)
        assert buffer.raw[160] == 0xA5, "written behind the end"
        return buffer.raw[:length]

    def parse(self, state: State, data: bytes, ten: bool) -> tuple[int, dict[str, bool], tuple[int, int]]:
        values, fault = Values(), Fault(0xFFFF, 0x7F)
        where = (ctypes.byref(values), ctypes.byref(fault))
        exact = (ctypes.c_uint8 * len(data)).from_buffer_copy(data) if data else None
        found = self.lib.scst_mode_parse(ctypes.byref(state), exact, len(data), ctypes.c_bool(ten), *where)
        return found, values.named(), (fault.byte, fault.bit)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(tmp_path_factory.mktemp("mode"))


values = st.builds(Values, *[st.booleans()] * 3)
states = st.builds(
    State,
    values,
    values,
    values,
    st.integers(0, 2**64 - 1),
    st.sampled_from([512, 4096]),
    st.just(96),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.just(0) | st.integers(0, 2**32 - 1),
)
requests = st.tuples(st.booleans(), st.booleans(), st.booleans())


def split(data: bytes, ten: bool) -> tuple[bytes, bytes, dict[tuple[int, int], bytes]]:
    """Header, block descriptor and pages of a list."""
    header = 8 if ten else 4
    size = int.from_bytes(data[6:8], "big") if ten else data[3]
    pages, at = {}, header + size
    while at < len(data):
        spf = bool(data[at] & 0x40)
        length = 4 + int.from_bytes(data[at + 2 : at + 4], "big") if spf else 2 + data[at + 1]
        pages[data[at] & 0x3F, data[at + 1] if spf else 0] = data[at : at + length]
        at += length
    assert at == len(data)
    return data[:header], data[header : header + size], pages


@given(states, requests, st.sampled_from([CURRENT, CHANGEABLE, DEFAULT]))
def test_what_is_answered(kernel: Kernel, state: State, how: tuple[bool, bool, bool], control: int) -> None:
    ten, dbd, llbaa = how
    data = kernel.build(state, Request(ten, dbd, llbaa, control, 0x3F, ALL))
    header, descriptor, pages = split(data, ten)
    length = int.from_bytes(header[:2], "big") + 2 if ten else header[0] + 1
    assert length == len(data)
    assert header[3 if ten else 2] == state.wp << 7 | state.dpofua << 4
    assert {page: len(text) for page, text in pages.items()} == state.pages
    if state.space and control != CHANGEABLE:
        threshold = bytes([0x80 if state.space_threshold else 0, 1, 0, 0]) + state.space_threshold.to_bytes(
            4, "big"
        )
        assert pages[PROVISIONING][4:] == bytes(12) + threshold
    assert pages[0x01, 0][7] >> 7 == (state.space_threshold > 0 and control != CHANGEABLE)
    if dbd:
        assert not descriptor
    elif ten and llbaa:
        assert descriptor == state.nblocks.to_bytes(8, "big") + bytes(4) + state.block_size.to_bytes(4, "big")
    else:
        assert descriptor == min(state.nblocks, 2**32 - 1).to_bytes(4, "big") + state.block_size.to_bytes(
            4, "big"
        )
    shown = (state.current_values, state.changeable, state.defaults)[control].named()
    for name, (page, byte, bit) in PLACES.items():
        assert pages[page, 0][byte] >> bit & 1 == shown[name]
    assert pages[0x0A, 0][5] == (0x80 if state.ato and control != CHANGEABLE else 0)
    assert pages[0x0A, 1][4] == (0 if control == CHANGEABLE else 6 | state.implicit_alua)
    if control == CHANGEABLE:
        bits = sum(text[2 if not page[1] else 4 :].count(0) for page, text in pages.items())
        assert bits >= sum(state.pages.values()) - 4 * len(state.pages) - len(PLACES)


@given(st.booleans(), st.integers(0, 0x3F), st.integers(0, 0xFF))
def test_what_can_be_asked_for(kernel: Kernel, space: bool, page: int, subpage: int) -> None:
    """Each page alone, its subpages, all pages without and with their subpages."""
    state = State(space=space)
    wanted = {known for known in state.pages if page in (0x3F, known[0]) and subpage in (ALL, known[1])}
    assert kernel.known(state, page, subpage) == (bool(wanted) and (page != 0x3F or subpage in (0, ALL)))
    if kernel.known(state, page, subpage):
        _, _, pages = split(kernel.build(state, Request(page=page, subpage=subpage)), False)
        assert set(pages) == wanted


@given(states, requests, values)
def test_what_was_answered_can_be_selected(
    kernel: Kernel, state: State, how: tuple[bool, bool, bool], wanted: Values
) -> None:
    """With the lengths cleared that are reserved there; and with what can be changed changed."""
    ten, dbd, llbaa = how
    data = bytearray(kernel.build(state, Request(ten, dbd, llbaa, CURRENT, 0x3F, ALL)))
    data[: 3 if ten else 1] = bytes(3 if ten else 1)
    data[2 if not ten else 3] = 0
    assert kernel.parse(state, bytes(data), ten)[:2] == (0, state.current_values.named())
    expected, wrong = state.current_values.named(), []
    for name, (page, byte, bit) in PLACES.items():
        start = len(data) - sum(size for (code, sub), size in state.pages.items() if (code, sub) >= (page, 0))
        if getattr(wanted, name) != expected[name]:
            data[start + byte] ^= 1 << bit
            if getattr(state.changeable, name):
                expected[name] = not expected[name]
            else:
                wrong.append((start + byte, bit))
    found, after, where = kernel.parse(state, bytes(data), ten)
    if wrong:
        assert (found, where) == (FIELD, min(wrong))
    else:
        assert (found, after) == (0, expected)


@given(states, requests, st.data())
def test_every_cut_is_seen(
    kernel: Kernel, state: State, how: tuple[bool, bool, bool], data: st.DataObject
) -> None:
    """A list that ends anywhere but behind a page or the header is refused whole."""
    ten, dbd, llbaa = how
    whole = bytearray(kernel.build(state, Request(ten, dbd, llbaa, CURRENT, 0x3F, ALL)))
    whole[: 3 if ten else 1] = bytes(3 if ten else 1)
    whole[2 if not ten else 3] = 0
    header, descriptor, pages = split(bytes(whole), ten)
    ends, at = {len(header) + len(descriptor)}, len(header) + len(descriptor)
    for text in pages.values():
        at += len(text)
        ends.add(at)
    length = data.draw(st.integers(0, len(whole)))
    found, _, _ = kernel.parse(state, bytes(whole[:length]), ten)
    assert found == (0 if length in ends else CUT)


@settings(max_examples=2000)
@given(states, st.booleans(), st.binary(max_size=255))
def test_any_bytes(kernel: Kernel, state: State, ten: bool, data: bytes) -> None:
    """What is wrong is within the list; what is right changes nothing that can't be changed."""
    found, after, (byte, bit) = kernel.parse(state, data, ten)
    assert found in (0, CUT, FIELD)
    if found == FIELD:
        assert byte < len(data)
        assert 0 <= bit < 8
    if found == 0:
        before = state.current_values.named()
        assert all(after[name] == before[name] or getattr(state.changeable, name) for name in before)


@pytest.mark.parametrize(
    ("page", "where"),
    [
        (bytes([0x3E, 10, *bytes(10)]), (4, 5)),  # there is no such page
        (bytes([0x3F, 10, *bytes(10)]), (4, 5)),  # nor is that of all pages one
        (bytes([0x7F, 0, 0, 8, *bytes(8)]), (4, 5)),
        (bytes([0x48, 0x01, 0, 16, *bytes(16)]), (5, 7)),  # it has no such subpage
        (bytes([0x4A, 0x02, 0, 28, *bytes(28)]), (5, 7)),
        (bytes([0x48, 0x00, 0, 16, *bytes(16)]), (4, 6)),  # it is not written with a subpage
        (bytes([0x08, 17, *bytes(17)]), (5, 7)),  # its length
        (bytes([0x4A, 0x01, 0, 27, *bytes(28)]), (6, 7)),
        (bytes([0x4A, 0x01, 0, 28, 2, 0, 96, *bytes(25)]), (8, 2)),  # the clock may be the host's
        (bytes([0x4A, 0x01, 0, 28, 6, 0, 95, *bytes(25)]), (10, 5)),  # what can't be changed
        (bytes([0x1C, 10, *bytes(10)]), (6, 3)),
        (bytes([0x5C, 0x02, 0, 20, *bytes(20)]), (5, 7)),  # nobody knows the space of this one
    ],
)
def test_wrong_pages(kernel: Kernel, page: bytes, where: tuple[int, int]) -> None:
    assert kernel.parse(State(sense_max=96), bytes(4) + page, False)[::2] == (FIELD, where)
