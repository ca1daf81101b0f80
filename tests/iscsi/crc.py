# SPDX-License-Identifier: GPL-2.0-or-later
"""CRC32C, as the digests of iSCSI are (RFC 7143 13.1): reflected, the lowest byte first on the wire."""

from __future__ import annotations

POLYNOMIAL = 0x82F63B78


def entry(value: int) -> int:
    """What a byte does to the sum."""
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


TABLE = [entry(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """The sum of all of it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def digest(data: bytes) -> bytes:
    """As it follows *data* on the wire."""
    return crc32c(data).to_bytes(4, "little")
