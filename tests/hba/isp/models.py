# SPDX-License-Identifier: GPL-2.0-or-later
"""What tells the chips apart, and the images of their parameter memories."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum

from ..vfio.pci import PciIdentity


class Family(Enum):
    """Generations that share a host interface."""

    ISP2200 = "2200"
    ISP2300 = "2300"
    ISP2400 = "2400"
    ISP2700 = "2700"


@dataclass(frozen=True, slots=True)
class Model:
    """One chip type."""

    name: str
    family: Family
    pci: PciIdentity
    firmware: tuple[int, int, int]
    attributes: int
    speed: int
    """Data rate code of the link: 0 1G, 1 2G, 3 4G, 4 8G, 5 16G."""
    fpm_revision: int = 0
    """Low byte of the frame buffer command register while the FPM registers are selected."""
    nvram_in_flash: bool = False


NPIV, MULTI_QUEUE = 0x4, 0x40
TPX_2K_LOGINS = 0x117

MODELS = {
    model.name: model
    for model in (
        Model("2200", Family.ISP2200, PciIdentity(0x2200, 5, 0x0001), (2, 2, 8), 0x17, 0),
        Model(
            "2300",
            Family.ISP2300,
            PciIdentity(0x2300, 1, 0x0009),
            (3, 3, 28),
            TPX_2K_LOGINS,
            1,
            fpm_revision=6,
        ),
        Model(
            "2312",
            Family.ISP2300,
            PciIdentity(0x2312, 2, 0x0100),
            (3, 3, 28),
            TPX_2K_LOGINS,
            1,
            fpm_revision=7,
        ),
        Model("2432", Family.ISP2400, PciIdentity(0x2432, 3, 0x0138), (8, 7, 0), NPIV, 3),
        Model(
            "2532", Family.ISP2400, PciIdentity(0x2532, 2, 0x015C), (8, 7, 0), NPIV, 4, nvram_in_flash=True
        ),
        Model("2261", Family.ISP2700, PciIdentity(0x2261, 1, 0x029B), (9, 12, 0), NPIV | MULTI_QUEUE, 5),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a board's parameter memory says; every field can be set by name in a test."""

    wwpn: int
    wwnn: int
    frame_size: int = 2048
    hard_address: int = 0
    execution_throttle: int = 0xFFFF
    login_retry: int = 8
    port_down_retry: int = 30
    link_down_timeout: int = 30
    max_luns: int = 128
    options: tuple[int, int, int] = field(default=(0x6006, 0x1026, 0x4000))
    """Firmware options 1 to 3 of a 24xx or 25xx."""
    loop_preferred: bool = False
    """2x00: try an arbitrated loop before point to point."""


def nvram_2400(settings: Settings) -> bytes:
    """512 bytes whose little-endian 32-bit words add up to 0."""
    image = bytearray(512)
    struct.pack_into(
        "<4sHHHHHHHH",
        image,
        0,
        b"ISP ",
        1,
        0,
        1,
        0,
        settings.frame_size,
        settings.execution_throttle,
        0,
        settings.hard_address,
    )
    struct.pack_into(">QQ", image, 20, settings.wwpn, settings.wwnn)
    struct.pack_into("<HHHH", image, 36, settings.login_retry, 0, 0, 0)
    struct.pack_into("<III", image, 44, *settings.options)
    struct.pack_into("<I", image, 256, 0xC00)
    image[328] = 5
    struct.pack_into(
        "<HHHH", image, 336, settings.max_luns, 0, settings.port_down_retry, settings.link_down_timeout
    )
    total = sum(struct.unpack("<127I", image[:508]))
    struct.pack_into("<I", image, 508, -total & 0xFFFFFFFF)
    return bytes(image)


def nvram_2700(settings: Settings) -> bytes:
    """As for the 24xx, with fabric notifications off."""
    image = bytearray(nvram_2400(settings))
    struct.pack_into("<H", image, 406, 0x80)
    image[508:] = bytes(4)
    struct.pack_into("<I", image, 508, -sum(struct.unpack("<128I", image)) & 0xFFFFFFFF)
    return bytes(image)


def nvram_2300(settings: Settings) -> bytes:
    """256 bytes that add up to 0 modulo 256."""
    image = bytearray(256)
    image[0:5] = b"ISP \1"
    image[6] = 1
    image[8:10] = bytes((0x06, 0xE0))
    struct.pack_into(
        "<HHHBB",
        image,
        10,
        settings.frame_size,
        256,
        min(settings.execution_throttle, 256),
        settings.login_retry,
        1,
    )
    image[18:26] = settings.wwpn.to_bytes(8, "big")
    struct.pack_into("<H", image, 26, settings.hard_address)
    image[29] = 4
    image[30:38] = settings.wwnn.to_bytes(8, "big")
    image[38:40] = bytes((0x00 if settings.loop_preferred else 0x20, 0x30))
    image[43] = 0x80
    image[70:72] = bytes((0, 0x04))
    image[81] = 5
    image[82] = settings.port_down_retry & 0xFF
    struct.pack_into("<H", image, 84, settings.max_luns)
    image[255] = -sum(image[:255]) & 0xFF
    return bytes(image)
