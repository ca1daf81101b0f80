# SPDX-License-Identifier: GPL-2.0-or-later
"""Sense data (SPC-5 4.4): what is said, and its bytes in both formats."""

from __future__ import annotations

from typing import NamedTuple

from tests.model import pr

FIXED_LENGTH = 18


class Said(NamedTuple):
    """Sense key, additional sense code and qualifier in one number, and what goes with them.

    *field*: what is to blame: is it in the CDB (else in the parameter list), its byte and its highest
    bit (-1: none).
    """

    code: int
    field: tuple[bool, int, int] | None = None
    information: int | None = None

    def __str__(self) -> str:
        text = "/".join(f"{self.code >> shift & 0xFF:02x}" for shift in (16, 8, 0))
        return text + (f" {self.field}" if self.field else "")


NO_SENSE = Said(0x000000)
BECOMING_READY = Said(0x020401)
START_REQUIRED = Said(0x020402)
TRANSITIONING = Said(0x02040A)
STANDBY = Said(0x02040B)
UNAVAILABLE = Said(0x02040C)
OFFLINE = Said(0x020412)
NO_MEDIUM = Said(0x023A00)
INVALID_OPCODE = Said(0x052000)
LBA_OUT_OF_RANGE = Said(0x052100)
LUN_NOT_SUPPORTED = Said(0x052500)
COMMAND_SEQUENCE = Said(0x052C00)
REMOVAL_PREVENTED = Said(0x055302)
WRITE_PROTECTED = Said(0x072700)
ECHO_OVERWRITTEN = Said(0x0B3F0F)
MISCOMPARE = 0x0E1D00


def invalid_in_cdb(byte: int, bit: int) -> Said:
    """INVALID FIELD IN CDB."""
    return Said(0x052400, (True, byte, bit))


def invalid_in_list(byte: int, bit: int) -> Said:
    """INVALID FIELD IN PARAMETER LIST."""
    return Said(0x052600, (False, byte, bit))


def of_reservations(sense: pr.Sense) -> Said:
    """What the model of persistent reservations says."""
    return Said(sense.code, (sense.in_cdb, sense.byte, sense.bit) if sense.byte >= 0 else None)


def key_specific(field: tuple[bool, int, int]) -> bytes:
    """Sense key specific sense data of ILLEGAL REQUEST: field pointer (SPC-5 4.4.2.4.2)."""
    in_cdb, byte, bit = field
    first = 0x80 | in_cdb << 6 | (0x08 | bit if bit >= 0 else 0)
    return bytes([first]) + byte.to_bytes(2, "big")


def fixed(said: Said) -> bytes:
    """Fixed format: 18 bytes. INFORMATION is not valid where there is none."""
    valid = said.information is not None
    data = bytearray(FIXED_LENGTH)
    data[0] = 0x70 | valid << 7
    data[2] = said.code >> 16
    data[3:7] = (said.information or 0).to_bytes(4, "big")
    data[7] = FIXED_LENGTH - 8
    data[12:14] = (said.code & 0xFFFF).to_bytes(2, "big")
    if said.field:
        data[15:18] = key_specific(said.field)
    return bytes(data)


def descriptor(said: Said) -> bytes:
    """Descriptor format: descriptors of type 0 (information) and 2 (sense key specific)."""
    rest = b""
    if said.information is not None:
        rest += bytes([0x00, 0x0A, 0x80, 0]) + said.information.to_bytes(8, "big")
    if said.field:
        rest += bytes([0x02, 0x06, 0, 0]) + key_specific(said.field) + b"\0"
    return bytes([0x72]) + said.code.to_bytes(3, "big") + bytes([0, 0, 0, len(rest)]) + rest


def data(said: Said, as_descriptors: bool) -> bytes:
    """Its bytes."""
    return descriptor(said) if as_descriptors else fixed(said)
