# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins, common transport and link service pass-through, and the port data base of the ISP24xx."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from ..fc import frames as fc
from ..fc.media import LOOP_ORDER
from ..fc.nport import Outcome, Remote
from ..vfio.dma import Segment
from . import chip as host
from . import iocb, purex24
from .chip import COMPLETE, EntryDone, MailboxDone, long_address

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

PLOGI, PRLI, PDISC, ADISC, LOGO, PRLO = 0, 1, 2, 3, 8, 9
SKIP_PRLI, IMPLICIT, FREE_HANDLE, EXPLICIT_LOGO = 0x20, 0x10, 0x80, 0x40
NO_LINK, NOT_LOGGED_IN, FAILED, REJECTED, PORT_ID_IN_USE, HANDLE_IN_USE, NO_PORT = (
    1,
    9,
    4,
    0x18,
    0x1A,
    0x1B,
    0x1C,
)
STATE_PLOGI, STATE_PRLI, STATE_GONE = 4, 6, 7
ELS_TERMINATE = 3

LoginParameters = tuple[int, int]


class Logins24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip

    # LOGIO.

    def login(self, entry: bytes, done: EntryDone) -> None:
        """Login or logout entry."""
        handle, flags, vp = struct.unpack_from("<HHB", entry, 10)
        port_id = int.from_bytes(entry[16:19], "little")
        port = self._firmware.ports.get(vp)
        operation = flags & 0xF

        def completed(error: LoginParameters | None, word: int = 0) -> None:
            result = bytearray(entry[:64])
            struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR if error else iocb.CS_COMPLETE)
            struct.pack_into("<II", result, 20, *(error or (word, 0)))
            if error is None:
                struct.pack_into("<I", result, 20 + 9 * 4, 1)
            done(bytes(result))

        if port is None or not port.nport.online:
            completed((NO_LINK, 0))
        elif operation == PLOGI:
            self._plogi(port, handle, port_id, flags, completed)
        elif operation == PRLI:
            self._prli(port, handle, completed)
        elif operation in (PDISC, ADISC):
            self._discover(port, handle, completed)
        elif operation in (LOGO, PRLO):
            self._logout(port, handle, flags, completed)
        else:
            completed((FAILED, 0))

    def _plogi(self, port: Port24, handle: int, port_id: int, flags: int, completed: _Completed) -> None:
        firmware = self._firmware
        known = firmware.find_handle(port, port_id)
        remote = port.nport.remotes.get(port_id)
        if known is not None and known != handle:
            if remote is not None and remote.plogi:
                completed((PORT_ID_IN_USE, known))
                return
            del firmware.handles[known]
        other = firmware.handles.get(handle)
        if other is not None and other[1] != port_id and firmware.remote(handle) is not None:
            completed((HANDLE_IN_USE, other[1]))
            return

        def answered(outcome: Outcome, payload: bytes) -> None:
            if outcome is not Outcome.DONE:
                completed(_failure(outcome, payload))
                return
            firmware.handles[handle] = (port, port_id)
            if flags & SKIP_PRLI or port_id >= 0xFFFFF0:
                completed(None)
            else:
                self._prli(port, handle, completed)

        port.nport.login(port_id, answered)

    def _prli(self, port: Port24, handle: int, completed: _Completed) -> None:
        known = self._firmware.remote(handle)
        if known is None:
            completed((NOT_LOGGED_IN, 0))
            return
        remote = known[1]

        def answered(outcome: Outcome, payload: bytes) -> None:
            if outcome is Outcome.DONE:
                completed(None, remote.service & 0xFFFF)
            else:
                completed(_failure(outcome, payload))

        port.nport.process_login(remote.port_id, answered)

    def _discover(self, port: Port24, handle: int, completed: _Completed) -> None:
        known = self._firmware.remote(handle)
        if known is None:
            completed((NOT_LOGGED_IN, 0))
            return
        remote, own = known[1], port.nport
        payload = (
            bytes((fc.ELS_ADISC, 0, 0, 0))
            + bytes(4)
            + own.wwpn.to_bytes(8, "big")
            + own.wwnn.to_bytes(8, "big")
            + own.port_id.to_bytes(4, "big")
        )

        def answered(outcome: Outcome, answer: bytes) -> None:
            good = outcome is Outcome.DONE and int.from_bytes(answer[8:16], "big") == remote.wwpn
            completed(None if good else _failure(outcome, answer))

        own.els(remote.port_id, payload, answered)

    def _logout(self, port: Port24, handle: int, flags: int, completed: _Completed) -> None:
        firmware = self._firmware
        known = firmware.handles.get(handle)
        if known is None:
            completed((NOT_LOGGED_IN, 0))
            return
        port_id = known[1]
        remote = port.nport.remotes.get(port_id)
        firmware.logging_out.add(handle)
        if remote is not None and remote.plogi and not flags & IMPLICIT:
            port.nport.logout(port_id, lambda outcome, payload: None)
        elif remote is not None:
            port.nport.drop_login(remote)
        firmware.logging_out.discard(handle)
        if flags & FREE_HANDLE:
            firmware.handles.pop(handle, None)
        completed(None)

    # Pass-through.

    def ct(self, entry: bytes, done: EntryDone) -> None:
        """Common transport pass-through."""
        (handle,) = struct.unpack_from("<H", entry, 10)
        vp = entry[14]
        limit, length = struct.unpack_from("<II", entry, 32)
        request: list[Segment] = [struct.unpack_from("<QI", entry, 40)]
        reply: list[Segment] = [struct.unpack_from("<QI", entry, 52)]
        port = self._firmware.ports.get(vp)
        known = self._firmware.handles.get(handle)
        payload = self._chip.bus.dma.gather(request, 0, length)

        def completed(status: int, size: int) -> None:
            result = bytearray(entry[:64])
            result[1] = 1
            struct.pack_into("<H", result, 8, status)
            struct.pack_into("<I", result, 32, size)
            done(bytes(result))

        def answered(outcome: Outcome, answer: bytes) -> None:
            if outcome is not Outcome.DONE:
                completed(iocb.CS_PORT_UNAVAILABLE, 0)
                return
            size = self._chip.store(reply, answer[:limit])
            completed(iocb.CS_DMA if size is None else iocb.CS_COMPLETE, size or 0)

        if port is None or known is None:
            completed(iocb.CS_LOGGED_OUT, 0)
        else:
            port.nport.ct(known[1], payload, answered)

    def els(self, entry: bytes, done: EntryDone) -> None:
        """Link service pass-through, and termination of a received exchange."""
        (flags,) = struct.unpack_from("<H", entry, 30)
        if flags >> 13 & 3 in (purex24.ACCEPT, purex24.REJECT):
            self._firmware.purex.answer(entry, done)
            return
        if flags >> 13 & 3 == ELS_TERMINATE:
            (address,) = struct.unpack_from("<I", entry, 16)
            self._firmware.targets.terminate(address)
            done(entry[:1] + b"\1" + entry[2:8] + bytes(2) + entry[10:32] + bytes(16) + entry[48:64])
            return
        self._send_els(entry, done)

    def _send_els(self, entry: bytes, done: EntryDone) -> None:
        (handle,) = struct.unpack_from("<H", entry, 10)
        (size,) = struct.unpack_from("<I", entry, 36)
        request: list[Segment] = [struct.unpack_from("<QI", entry, 40)]
        reply: list[Segment] = [struct.unpack_from("<QI", entry, 52)]
        known = self._firmware.handles.get(handle)
        port = self._firmware.ports.get(entry[14])
        d_id = known[1] if known else int.from_bytes(entry[24:27], "little")

        def completed(status: int, length: int, reason: int = 0) -> None:
            result = bytearray(entry[:64])
            result[1] = 1
            struct.pack_into("<H", result, 8, status)
            struct.pack_into("<IIII", result, 32, length, reason, 0, 0)
            done(bytes(result))

        def answered(outcome: Outcome, answer: bytes) -> None:
            if outcome in (Outcome.DONE, Outcome.REJECTED):
                size = self._chip.store(reply, answer)
                completed(iocb.CS_DMA if size is None else iocb.CS_COMPLETE, size or 0)
            else:
                completed(iocb.CS_IOCB_ERROR, 0, REJECTED)

        if port is None or not port.nport.online:
            completed(iocb.CS_PORT_UNAVAILABLE, 0)
        else:
            port.nport.els(d_id, self._chip.bus.dma.gather(request, 0, size), answered)

    # Port data base.

    def port_database(self, m: list[int], done: MailboxDone) -> None:
        """Get port database: 64 bytes for one handle."""
        known = self._firmware.handles.get(m[1])
        remote = known[0].nport.remotes.get(known[1]) if known else None
        if remote is None:
            done(host.NOT_LOGGED_IN, {1: 0})
            return
        record = bytearray(64)
        record[:24] = _record_head(m[1], remote, big_endian_id=True)
        struct.pack_into(">QQ", record, 24, remote.wwpn, remote.wwnn)
        self._chip.bus.dma.write(long_address(m), record)
        done(COMPLETE, {1: 0})

    def name_list(self, m: list[int], done: MailboxDone) -> None:
        """Get name list, extended form: 40 bytes per known port of a virtual port."""
        port = self._firmware.ports.get(m[9] & 0xFF, self._firmware.physical)
        records = []
        for handle, (owner, port_id) in sorted(self._firmware.handles.items()):
            remote = owner.nport.remotes.get(port_id)
            if owner is port and remote is not None and port_id < 0xFFFFF0:
                # Unlike the port database, this list has names with the least significant byte first.
                names = struct.pack("<QQ", remote.wwpn, remote.wwnn)
                records.append(_record_head(handle, remote, big_endian_id=False) + names)
        data = b"".join(records)[: m[8] or None]
        self._chip.bus.dma.write(long_address(m), data)
        done(COMPLETE, {1: len(data)})

    def id_list(self, m: list[int], done: MailboxDone) -> None:
        """Get id list: the ports of an arbitrated loop, 8 bytes each."""
        own = self._firmware.physical.nport
        if own.topology == "fabric":
            done(COMPLETE, {1: 0})
            return
        others = [al_pa for al_pa in self._chip.medium.ports if al_pa != own.port_id]
        data = b"".join(
            struct.pack("<BBBBHH", al_pa, 0, 0, 0, LOOP_ORDER.index(al_pa), 0) for al_pa in others
        )
        self._chip.bus.dma.write(long_address(m), data)
        done(COMPLETE, {1: len(others)})


class _Completed(Protocol):
    """Type of the function that ends a login entry (a callback protocol)."""

    def __call__(self, error: LoginParameters | None, word: int = 0) -> None: ...


def _failure(outcome: Outcome, payload: bytes) -> LoginParameters:
    if outcome is Outcome.UNREACHABLE:
        return NO_PORT, 0
    if outcome is Outcome.REJECTED:
        return REJECTED, int.from_bytes(payload[4:8], "big")
    return (NO_LINK, 0) if outcome is Outcome.LINK_DOWN else (FAILED, 0)


def _record_head(handle: int, remote: Remote, *, big_endian_id: bool) -> bytes:
    """The first 24 bytes that a port database record and a name list record share."""
    state = STATE_PRLI if remote.prli else STATE_PLOGI if remote.plogi else STATE_GONE
    port_id = remote.port_id.to_bytes(3, "big" if big_endian_id else "little")
    return (
        struct.pack("<HBB4x", 0, state, state)
        + port_id
        + b"\0"
        + struct.pack("<HHHHHH", 0, handle, 2048, 0, 0, remote.service & 0xFFFF)
    )
