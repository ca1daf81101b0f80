# SPDX-License-Identifier: GPL-2.0-or-later
"""What is reserved on a device, and for whom, as `pr/state` of a device says it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyscstadmin.errors import Conflict, InvalidInput, Problem

__all__ = [
    "NOTHING",
    "TYPES",
    "Registrant",
    "Reservations",
    "file_of",
    "from_json",
    "initiator_of",
    "parse",
    "place_for",
    "record",
    "to_json",
]

# The kernel's words for the types of a persistent reservation, for people.
TYPES = {
    "none": "nothing is reserved",
    "write_exclusive": "write exclusive",
    "exclusive_access": "exclusive access",
    "write_exclusive_registrants_only": "write exclusive, registrants only",
    "exclusive_access_registrants_only": "exclusive access, registrants only",
    "write_exclusive_all_registrants": "write exclusive, all registrants",
    "exclusive_access_all_registrants": "exclusive access, all registrants",
}

_FC, _ISCSI = 0, 5
_WWPN = slice(8, 16)


@dataclass(frozen=True, slots=True)
class Registrant:
    """An I_T nexus that has registered a key. `port`: the relative identifier of the target port it comes
    by. `transport_id`: of its initiator port, hexadecimal. `holder`: the reservation is its, or its as well.
    """

    key: int
    port: int
    transport_id: str
    holder: bool

    @property
    def initiator(self) -> str:
        """The name of the initiator port."""
        return initiator_of(self.transport_id)


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is reserved. `generation`: PRGENERATION. `type`: a key of `TYPES`. `aptpl`: what is registered
    outlives a loss of power. `lost`: it should have, and can't be read: nobody gets at the medium. `reserve`:
    who has the device by the command RESERVE, DRIVER/TARGET and initiator, or ''.
    """

    generation: int
    type: str
    aptpl: bool
    lost: bool
    registrants: tuple[Registrant, ...] = ()
    reserve: str = ""


NOTHING = "generation 0\ntype none\naptpl 0\nlost 0\n"


def initiator_of(transport_id: str) -> str:
    """The name in a TransportID: an iSCSI name, a WWPN, or for want of a better one the whole in hex."""
    data = bytes.fromhex(transport_id)
    protocol = data[0] & 0x0F if data else -1
    if protocol == _ISCSI:
        return data[4:].rstrip(b"\0").decode(errors="backslashreplace")
    if protocol == _FC:
        return data[_WWPN].hex(":")
    return transport_id


def parse(text: str) -> Reservations:
    """Of the lines of `pr/state`. Raises ValueError for what is none."""
    single: dict[str, str] = {}
    registrants = []
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "registrant":
            registrants.append(_registrant(rest))
        else:
            single[word] = rest
    try:
        return Reservations(
            int(single["generation"]),
            single["type"],
            single["aptpl"] == "1",
            single["lost"] == "1",
            tuple(registrants),
            single.get("reserve", ""),
        )
    except KeyError as error:
        raise ValueError(f"the state of reservations has no line {error}") from error


def _registrant(rest: str) -> Registrant:
    key, port, transport_id, *more = rest.split(" ")
    return Registrant(int(key, 16), int(port), transport_id, more == ["holder"])


# As a document.


def to_json(found: Reservations) -> dict[str, Any]:
    """As plain data."""
    return {
        "generation": found.generation,
        "type": found.type,
        "aptpl": found.aptpl,
        "lost": found.lost,
        "reserve": found.reserve,
        "registrants": [
            {
                "key": f"0x{one.key:016x}",
                "port": one.port,
                "initiator": one.initiator,
                "transport_id": one.transport_id,
                "holder": one.holder,
            }
            for one in found.registrants
        ],
    }


def from_json(data: object, source: str = "reservations") -> Reservations:
    """The reverse, of what somebody may have written. Raises `InvalidInput`."""
    try:
        assert isinstance(data, Mapping)
        made = Reservations(
            int(data["generation"]),
            str(data["type"]),
            data["aptpl"] is True,
            data["lost"] is True,
            tuple(_of_json(one) for one in data["registrants"]),
            str(data.get("reserve", "")),
        )
        check(made)
    except (AssertionError, KeyError, OverflowError, TypeError, ValueError) as error:
        why = f": {error}" if type(error) is ValueError else ", as `pr export` writes them"
        raise InvalidInput(source, [Problem(f"no reservations{why}")]) from error
    return made


def _of_json(one: Mapping[str, Any]) -> Registrant:
    transport_id = bytes.fromhex(one["transport_id"]).hex()
    return Registrant(int(str(one["key"]), 16), int(one["port"]), transport_id, one["holder"] is True)


def check(wanted: Reservations) -> None:
    """Raises ValueError for what there can't be."""
    holders = sum(one.holder for one in wanted.registrants)
    whose = {(one.port, one.transport_id) for one in wanted.registrants}
    everybody = wanted.type.endswith("_all_registrants")
    if wanted.type not in TYPES:
        raise ValueError(f"there is no type {wanted.type!r}; there are {', '.join(TYPES)}")
    if wanted.lost:
        raise ValueError("what is reserved was lost")
    if len(wanted.registrants) > _REGISTRANTS:
        raise ValueError(f"there are more than {_REGISTRANTS} registrants")
    if len(whose) != len(wanted.registrants):
        raise ValueError("somebody is registered twice")
    if holders != (0 if wanted.type == "none" else len(wanted.registrants) if everybody else 1) or (
        everybody and not holders
    ):
        raise ValueError(f"{holders} registrants hold a reservation of the type {wanted.type}")
    for one in wanted.registrants:
        if not 0 < one.key < 1 << 64 or not 0 < one.port < 1 << 16:
            raise ValueError(f"registrant {one.initiator} has a key, or a port, that there can't be")
        if len(one.transport_id) % 8 or not _SHORTEST <= len(one.transport_id) // 2 <= _LONGEST:
            raise ValueError(f"registrant {one.initiator} has a TransportID that there can't be")


def place_for(name: str, state: str, pr_file: object) -> str:
    """Where a device, which is in some state, finds what is imported. Raises `Conflict`."""
    if state != "disabled":
        raise Conflict(f"{name} is {state}: disable it first, or it would write over what is imported")
    if not pr_file:
        raise Conflict(f"{name} has no pr_file: without one it forgets what is reserved when it is enabled")
    return str(pr_file)


# As a record, which the kernel reads (kmod/core/pr-record.c).

_REGISTRANTS = 1024
_SHORTEST, _LONGEST = 24, 228
_NUMBERS = dict(zip(TYPES, (0, 1, 3, 5, 6, 7, 8), strict=True))
_NOBODY = 0xFFFFFFFF
_APTPL = 1
_SLOT = 512 << 10


def _crc_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


def _crc(data: bytes) -> bytes:
    """CRC-32C."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return struct.pack(">I", crc ^ 0xFFFFFFFF)


def record(wanted: Reservations, owner: bytes, sequence: int) -> bytes:
    """What outlives a loss of power of a device that is known by `owner`, its NAA identifier."""
    everybody = wanted.type.endswith("_all_registrants")
    held = (at for at, one in enumerate(wanted.registrants) if one.holder and not everybody)
    body = struct.pack(
        ">IIIBBH",
        wanted.generation & 0xFFFFFFFF,
        len(wanted.registrants),
        next(held, _NOBODY),
        _NUMBERS[wanted.type],
        _APTPL,
        len(owner),
    )
    body += owner + bytes(-len(owner) % 4)
    for one in wanted.registrants:
        transport_id = bytes.fromhex(one.transport_id)
        body += struct.pack(">QHH", one.key, one.port, len(transport_id)) + transport_id
    header = b"SCST-PR\n" + struct.pack(">HHIQ", 1, 0, 28 + len(body) + 12, sequence)
    whole = header + _crc(header) + body
    return whole + _crc(whole) + struct.pack(">Q", sequence)


def file_of(wanted: Reservations, owner: bytes, sequence: int) -> bytes:
    """A whole `pr_file` with one record. `sequence`: any number that is not that of another file."""
    data = record(wanted, owner, sequence)
    return data + bytes(2 * _SLOT - len(data))
