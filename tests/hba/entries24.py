# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries that a driver of an ISP24xx makes, and a chip with such a driver; used by the unit tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .boards import make_chip
from .fc import frames as fc
from .fc.media import ArbitratedLoop, Switch
from .fc.nport import Outcome
from .fc.scripted import ScriptedInitiator, Task
from .hostside import Driver2400, Driver2700, HostError
from .isp import iocb
from .isp.models import Settings
from .isp.regs24 import Isp2400
from .isp.regs27 import Isp2700
from .loop import Loop

WWPN = 0x210000E08B000001
TARGET = 0x5006016000000001
INITIATOR = 0x10000000C9000001
DATA = bytes(range(256)) * 16
INQUIRY = bytes((0x12, 0, 0, 0, 36, 0))
READ = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
WRITE = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0))
SENSE = bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0))


def build(
    model: str = "2432", medium_type: type[Switch] | type[ArbitratedLoop] = Switch, interrupt: str = "msix"
) -> tuple[Loop, Isp2400, Driver2400]:
    """A loop on virtual time, a chip on a medium, and its driver (not started)."""
    loop = Loop(virtual=True)
    chip = make_chip(
        loop, medium_type(loop), model, Settings(WWPN, WWPN ^ 1 << 56), "hba0", interrupt=interrupt
    )
    assert isinstance(chip, Isp2400)
    return loop, chip, (Driver2700 if isinstance(chip, Isp2700) else Driver2400)(loop, chip)


def login_entry(handle: int, port_id: int, flags: int = 0, vp: int = 0) -> bytes:
    """A login or logout entry."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.LOGIN, 1))
    struct.pack_into("<HHB", entry, 10, handle, flags, vp)
    entry[16:19] = port_id.to_bytes(3, "little")
    return bytes(entry)


def command_entry(
    nport: int,
    cdb: bytes,
    segments: list[tuple[int, int]],
    *,
    read: bool = True,
    lun: int = 0,
    handle: int = 7,
    timeout: int = 0,
) -> bytes:
    """A command type 7 entry with its continuations."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.COMMAND_7, 1))
    struct.pack_into("<IHHH", entry, 4, handle, nport, timeout, len(segments))
    entry[16:24] = iocb.swap(fc.lun_bytes(lun))
    entry[24] = 2 if read else 1
    entry[28:44] = iocb.swap(cdb.ljust(16, b"\0"))
    struct.pack_into("<I", entry, 44, sum(length for _, length in segments))
    if segments:
        struct.pack_into("<QI", entry, 52, *segments[0])
    for base in range(1, len(segments), 5):
        more = bytearray(64)
        more[0:2] = bytes((iocb.CONTINUATION_64, 1))
        for index, segment in enumerate(segments[base : base + 5]):
            struct.pack_into("<QI", more, 4 + 12 * index, *segment)
        entry += more
        entry[1] += 1
    return bytes(entry)


class Status:
    """A status entry, read as the driver does."""

    def __init__(self, entry: bytes) -> None:
        self.handle, self.completion, self.ox_id, self.left = struct.unpack_from("<IHHI", entry, 4)
        self.scsi, self.residual, self.sense_length, self.info_length = struct.unpack_from("<HIII", entry, 22)
        data = iocb.swap(entry[36:64])
        self.info = data[: self.info_length]
        self.sense = data[self.info_length :][: self.sense_length]


TargetSide = tuple[Loop, Isp2400, Driver2400, ScriptedInitiator]
"""A chip in target mode, its driver, and an initiator that is logged in."""


def acknowledge(notify: bytes, *, terminate: bool = False, srr: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """A notify acknowledgement; ``srr``: reject flag, explanation, reason."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.NOTIFY_ACK, 1))
    entry[8:10] = notify[8:10]
    entry[12] = 8 if terminate else 0
    entry[14:30] = notify[14:30]
    entry[30], entry[53], entry[54] = srr
    entry[62:64] = notify[62:64]
    return bytes(entry)


def serve_logins(driver: Driver2400, wanted: list[int]) -> None:
    """Acknowledge link service notifies in order."""
    for code in wanted:
        notify = driver.atio(iocb.NOTIFY)
        if notify[16:19] != bytes((0x46, 0, code)):
            raise HostError(f"waited for link service {code:02x}, got notify {notify[16:19].hex()}")
        driver.submit(acknowledge(notify))
        driver.response(iocb.NOTIFY_ACK)


def finish(driver: Driver2400, task: Task) -> None:
    """Wait for the end of an initiator's command."""
    driver.wait(lambda: task.done, "the end of the command")


def ctio7(
    atio: bytes,
    flags: int,
    segments: Sequence[tuple[int, int]] = (),
    *,
    scsi: int = 0,
    residual: int = 0,
    sense: bytes = b"",
    info: bytes = b"",
    offset: int = 0,
) -> bytes:
    """A CTIO type 7 for the exchange of an ATIO."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.CTIO_7, 1))
    struct.pack_into("<I", entry, 4, 0x20000005)
    struct.pack_into("<H", entry, 8, 0xFFFF)
    struct.pack_into("<H", entry, 12, len(segments))
    entry[20:24] = atio[4:8]
    struct.pack_into("<HI", entry, 26, flags, residual)
    struct.pack_into("<H", entry, 34, scsi)
    if flags & 0x40:
        struct.pack_into("<H", entry, 24, len(sense))
        struct.pack_into("<H", entry, 36, len(info))
        entry[40:64] = iocb.swap_padded(info + sense, 24)
        return bytes(entry)
    struct.pack_into("<I", entry, 36, offset)
    struct.pack_into("<I", entry, 44, sum(length for _, length in segments))
    if segments:
        struct.pack_into("<QI", entry, 52, *segments[0])
    return bytes(entry)


def log_in_target(model: str = "2432") -> TargetSide:
    """A chip in target mode with a scripted initiator logged in."""
    loop, chip, driver = build(model)
    driver.start(0x4036)
    initiator = ScriptedInitiator(loop, chip.medium, INITIATOR)
    initiator.plug()
    address = chip.port.port_id
    outcomes: list[Outcome] = []
    initiator.nport.login(address, lambda outcome, payload: outcomes.append(outcome))
    serve_logins(driver, [fc.ELS_PLOGI])
    driver.wait(lambda: outcomes == [Outcome.DONE], "PLOGI")
    initiator.nport.process_login(address, lambda outcome, payload: outcomes.append(outcome))
    serve_logins(driver, [fc.ELS_PRLI])
    driver.wait(lambda: len(outcomes) == 2, "PRLI")
    return loop, chip, driver, initiator
