# SPDX-License-Identifier: GPL-2.0-or-later
"""Target port groups (kmod/core/alua-state.c, built in user space), against the standard in Python."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config.names import PORT_GROUPS_MAX, PORT_STATES, PORTS_MAX

REPO = Path(__file__).resolve().parents[2]
CUT, FIELD = -1, -2
STATES = dict(zip(PORT_STATES, (0, 1, 2, 3, 14, 15), strict=True))
LIST_MAX = 4 + 4 * (PORT_GROUPS_MAX + 1)


class GroupC(ctypes.Structure):
    """struct scst_alua_group"""

    _fields_ = [
        ("id", ctypes.c_uint16),
        ("first", ctypes.c_uint16),
        ("nr_ports", ctypes.c_uint8),
        ("state", ctypes.c_uint8),
        ("status", ctypes.c_uint8),
        ("preferred", ctypes.c_bool),
    ]


class Alua(ctypes.Structure):
    """struct scst_alua"""

    _fields_ = [
        ("by_command", ctypes.c_bool),
        ("transition_time", ctypes.c_uint8),
        ("nr_groups", ctypes.c_uint16),
        ("nr_ports", ctypes.c_uint16),
        ("group", ctypes.POINTER(GroupC)),
        ("port", ctypes.POINTER(ctypes.c_uint16)),
    ]


class Tpg(NamedTuple):
    """A target port group."""

    group_id: int
    state: int
    status: int
    preferred: bool
    ports: tuple[int, ...]


PUT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("alua") / "alua.so"
    includes = [f"-I{Path(__file__).parent / 'kernel'}", f"-I{REPO}/kmod/core"]
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wshadow", *includes]
    subprocess.run(["gcc", *flags, str(REPO / "kmod/core/alua-state.c"), "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    found.scst_alua_state_name.restype = ctypes.c_char_p
    found.scst_alua_of_port.restype = ctypes.POINTER(GroupC)
    found.scst_alua_same.restype = ctypes.c_bool
    return found


def made(tpgs: list[Tpg], time: int = 0) -> Alua:
    """The value of the kernel."""
    ports = [port for tpg in tpgs for port in tpg.ports]
    groups, first = (GroupC * max(len(tpgs), 1))(), 0
    for number, tpg in enumerate(tpgs):
        groups[number] = GroupC(tpg.group_id, first, len(tpg.ports), tpg.state, tpg.status, tpg.preferred)
        first += len(tpg.ports)
    return Alua(False, time, len(tpgs), len(ports), groups, (ctypes.c_uint16 * max(first, 1))(*ports))


def reported(lib: ctypes.CDLL, alua: Alua, *, extended: bool) -> bytes:
    """What REPORT TARGET PORT GROUPS answers."""
    found = bytearray()
    put = PUT(lambda _, data, size: found.extend(data[:size]))
    lib.scst_alua_report(ctypes.byref(alua), ctypes.c_bool(extended), put, None)
    return bytes(found)


def wanted_report(tpgs: list[Tpg], time: int, *, extended: bool) -> bytes:
    """SPC-4 table 303 and 304."""
    body = struct.pack(">BBH", 0x10, time, 0) if extended else b""
    for tpg in tpgs:
        first = tpg.state | (0x80 if tpg.preferred else 0)
        body += struct.pack(">BBHBBBB", first, 0xCF, tpg.group_id, 0, tpg.status, 0, len(tpg.ports))
        body += b"".join(struct.pack(">HH", 0, port) for port in tpg.ports)
    return struct.pack(">I", len(body)) + body


@st.composite
def groups(draw: st.DrawFn) -> list[Tpg]:
    """Groups with each identifier, and each port, once."""
    ids = draw(st.lists(st.integers(1, 65535), max_size=5, unique=True))
    ports = draw(st.lists(st.integers(1, 65535), min_size=len(ids), max_size=12, unique=True))
    found = []
    for left, group_id in zip(range(len(ids), 0, -1), ids, strict=True):
        count = draw(st.integers(1, len(ports) - left + 1))
        state, status = draw(st.sampled_from(list(STATES.values()))), draw(st.integers(0, 2))
        found.append(Tpg(group_id, state, status, draw(st.booleans()), tuple(ports[:count])))
        ports = ports[count:]
    return found


def test_names(kernel: ctypes.CDLL) -> None:
    """Those of the tool, and no others."""
    named = {kernel.scst_alua_state_name(number): number for number in range(16)}
    named.pop(None)
    assert {name.decode(): number for name, number in named.items()} == STATES


@settings(max_examples=200, deadline=None)
@given(groups(), st.integers(0, 255), st.booleans())
def test_report(kernel: ctypes.CDLL, tpgs: list[Tpg], time: int, extended: bool) -> None:
    found = reported(kernel, made(tpgs, time), extended=extended)
    assert found == wanted_report(tpgs, time, extended=extended)


def test_largest_report(kernel: ctypes.CDLL) -> None:
    tpgs = [
        Tpg(number + 1, 0, 0, False, tuple(range(number * PORTS_MAX + 1, (number + 1) * PORTS_MAX + 1)))
        for number in range(PORT_GROUPS_MAX)
    ]
    assert reported(kernel, made(tpgs), extended=True) == wanted_report(tpgs, 0, extended=True)


@settings(max_examples=100, deadline=None)
@given(groups(), st.integers(0, 65535))
def test_group_of_a_port(kernel: ctypes.CDLL, tpgs: list[Tpg], other: int) -> None:
    alua = made(tpgs)
    for port in (other, *(port for tpg in tpgs for port in tpg.ports)):
        found = kernel.scst_alua_of_port(ctypes.byref(alua), ctypes.c_uint16(port))
        owner = next((tpg for tpg in tpgs if port in tpg.ports), None)
        assert (found[0].id if found else None) == (owner.group_id if owner else None)
    assert not kernel.scst_alua_of_port(None, ctypes.c_uint16(other))


@settings(max_examples=200, deadline=None)
@given(groups(), groups(), st.booleans())
def test_same_is_what_is_reported(
    kernel: ctypes.CDLL, first: list[Tpg], second: list[Tpg], alike: bool
) -> None:
    """But for the status codes."""
    second = [tpg._replace(status=(tpg.status + 1) % 3) for tpg in first] if alike else second
    plain = [[tpg._replace(status=0) for tpg in tpgs] for tpgs in (first, second)]
    same = wanted_report(plain[0], 0, extended=False) == wanted_report(plain[1], 0, extended=False)
    assert kernel.scst_alua_same(ctypes.byref(made(first)), ctypes.byref(made(second))) == same


# SET TARGET PORT GROUPS.


def parsed(lib: ctypes.CDLL, tpgs: list[Tpg], data: bytes) -> tuple[int, list[int], int]:
    """What the kernel says of a list of exactly these bytes: the fault, the states, the byte."""
    alua, states, byte = made(tpgs), (ctypes.c_uint8 * PORT_GROUPS_MAX)(), ctypes.c_uint16()
    cut = data[:LIST_MAX]
    room = ctypes.create_string_buffer(cut, max(len(cut), 1))
    fault = lib.scst_alua_parse(ctypes.byref(alua), room, len(cut), states, ctypes.byref(byte))
    return int(fault), list(states[: len(tpgs)]), byte.value


def wanted_parse(tpgs: list[Tpg], data: bytes) -> tuple[int, dict[int, int], int]:
    """SPC-4 6.45, in Python: the fault, states by group, the byte."""
    states = {tpg.group_id: tpg.state for tpg in tpgs}
    if not data:
        return 0, states, 0
    if len(data) < 4 or len(data) % 4:
        return CUT, states, 0
    named: set[int] = set()
    for at in range(4, len(data), 4):
        state, group = struct.unpack(">BxH", data[at : at + 4])
        if state & 15 > 3:
            return FIELD, states, at
        if group not in states or group in named:
            return FIELD, states, at + 2
        named.add(group)
        states[group] = state & 15
    return 0, states, 0


@settings(max_examples=500, deadline=None)
@given(groups(), st.data())
def test_parse(kernel: ctypes.CDLL, tpgs: list[Tpg], data: st.DataObject) -> None:
    """Lists that are nearly right, and lists that are not."""
    ids = st.sampled_from([tpg.group_id for tpg in tpgs] or [1]) | st.integers(0, 65535)
    state = st.integers(0, 3) | st.integers(0, 255)
    descriptors = data.draw(st.lists(st.tuples(state, st.integers(0, 255), ids), max_size=6))
    text = bytes(4) + b"".join(struct.pack(">BBH", *one) for one in descriptors)
    text = data.draw(st.sampled_from([text, text, text[:-1], text + b"\0", b""]))
    fault, states, byte = parsed(kernel, tpgs, text)
    wanted, by_group, at = wanted_parse(tpgs, text)
    assert fault == wanted
    if fault == FIELD:
        assert byte == at
    if fault == 0:
        assert states == [by_group[tpg.group_id] for tpg in tpgs]


@settings(max_examples=300, deadline=None)
@given(groups(), st.binary(max_size=200))
def test_parse_anything(kernel: ctypes.CDLL, tpgs: list[Tpg], data: bytes) -> None:
    fault, _, byte = parsed(kernel, tpgs, data)
    wanted, _, at = wanted_parse(tpgs, data[:LIST_MAX])
    assert (fault, byte if fault == FIELD else 0) == (wanted, at if wanted == FIELD else 0)


def test_more_descriptors_than_groups_can_be(kernel: ctypes.CDLL) -> None:
    """What is beyond the bytes that are looked at need not be: there is a fault before."""
    tpgs = [Tpg(number + 1, 0, 0, False, (number + 1,)) for number in range(PORT_GROUPS_MAX)]
    whole = bytes(4) + b"".join(struct.pack(">BxH", 2, tpg.group_id) for tpg in tpgs)
    assert parsed(kernel, tpgs, whole) == (0, [2] * PORT_GROUPS_MAX, 0)
    fault, _, byte = parsed(kernel, tpgs, whole + struct.pack(">BxH", 2, 1) * 100)
    assert (fault, byte) == (FIELD, len(whole) + 2)
