# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware files the drivers want to load.

Dummies that pass the drivers' checks, so nothing non-free is needed.
"""

from __future__ import annotations

import struct

LOAD_ADDRESSES = (0x100000, 0x110000)
DUMP_TEMPLATE, TEMPLATE_END = 99, 255
TEMPLATE_HEAD = 41
"""32-bit words."""


def dummy_2400() -> bytes:
    """Two segments of 16 big-endian dwords for the 24xx and 25xx."""
    segments = []
    for address in LOAD_ADDRESSES:
        words = [0, 0, address, 16, 8, 7, 0, 1] + [0] * 8
        segments.append(struct.pack(">16I", *words))
    return b"".join(segments)


def dump_template() -> bytes:
    """A template for firmware dumps that dumps nothing: its only entry is the end.

    Its 32-bit words, little-endian, add up to all ones.
    """
    head = [DUMP_TEMPLATE, TEMPLATE_HEAD * 4, (TEMPLATE_HEAD + 4) * 4, 0, 1, 1, 0, 0] + [0] * (
        TEMPLATE_HEAD - 8
    )
    words = [*head, TEMPLATE_END, 16, 0, 0]
    words[7] = 0xFFFFFFFF - sum(words)
    return struct.pack(f"<{len(words)}I", *words)


def dummy_2700() -> bytes:
    """As for the 24xx, with a template for dumps behind it, between a head and a checksum."""
    template = dump_template()
    return dummy_2400() + struct.pack(">7I", 0, 0, 8 + len(template) // 4, 0, 0, 0, 0) + template + bytes(4)


def dummy_2300() -> bytes:
    """32 big-endian words for the 2x00."""
    return struct.pack(">32H", 0, 0, 0, 32, 3, 3, 28, 1, *[0] * 24)


DUMMIES = {
    "ql2200_fw.bin": dummy_2300,
    "ql2300_fw.bin": dummy_2300,
    "ql2322_fw.bin": dummy_2300,
    "ql2400_fw.bin": dummy_2400,
    "ql2500_fw.bin": dummy_2400,
    "ql2700_fw.bin": dummy_2700,
}
