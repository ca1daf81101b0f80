# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware of the ISP2200, 2300 and 2312: mailbox commands, initialisation, link, logins."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from ..fc import frames as fc
from ..fc.media import FL_PORT_LOOP_ID, LOOP_ORDER
from ..fc.nameserver import ct_request
from ..fc.nport import AbortRequest, ElsRequest, NPort, Outcome, Remote, TargetExchange
from ..vfio.dma import DmaFault, Segment
from . import chip as host
from . import iocb
from .chip import COMPLETE, EntryDone, MailboxDone, long_address
from .ini2x import Initiator2x
from .models import Family
from .queues import RequestQueue, ResponseQueue, Ring
from .regs2x import Isp2300
from .tgt2x import Target2x

OPTION_TARGET, OPTION_INITIATOR_OFF = 0x10, 0x20
ATTRIBUTE_SCC, ATTRIBUTE_2K_LOGINS = 0x02, 0x100
STATE_WAITING, STATE_READY = 1, 3
FIXED = {0x7E: fc.F_PORT, 0x7F: fc.FABRIC_CONTROLLER, 0x80: fc.NAME_SERVER}
FIRST_FABRIC_ID, LAST_FABRIC_ID = 0x81, 0xFD
LOGGED_IN, LOGGED_OUT = 6, 7
MAILBOX_SLOTS = (0, 1, 2, 3, 6, 7, 9, 10)
"""Mailboxes that a mailbox entry carries, from offset 24."""

Mailbox = Callable[[list[int], MailboxDone], None]


class Firmware2x:
    """See module text; also the user of the chip's port."""

    def __init__(self, chip: Isp2300, *, new_mailbox_entries: bool = True) -> None:
        """``new_mailbox_entries``.

        Accept the 24xx layout of mailbox entries that the in-tree driver sends to 23xx.
        """
        self.chip = chip
        chip.firmware = self
        self.extended = bool(chip.model.attributes & ATTRIBUTE_2K_LOGINS)
        self._new_entries = new_mailbox_entries
        self.nport = NPort(chip.loop, chip.settings.wwpn, chip.settings.wwnn, self, 0)
        self.ids: dict[int, int] = {}
        self.ready = False
        self.target = False
        self._link_news = False
        self._initialised = False
        self._own_logout: set[int] = set()
        self.initiator = Initiator2x(self)
        self.targets = Target2x(self)
        self.entries: dict[int, Callable[[bytes, EntryDone], None]] = {
            iocb.COMMAND_32: self.initiator.command,
            iocb.COMMAND_64: self.initiator.command,
            iocb.MARKER: self.initiator.marker,
            iocb.CT: self._ms,
            iocb.MAILBOX_ENTRY: self._mailbox_entry,
            iocb.ENABLE_LUN: self.targets.enable_lun,
            iocb.MODIFY_LUN: self.targets.modify_lun,
            iocb.CTIO_2: self.targets.ctio,
            iocb.CTIO_3: self.targets.ctio,
            iocb.NOTIFY_ACK: self.targets.notify_ack,
        }
        self._mailboxes = self._table()

    def _table(self) -> dict[int, Mailbox]:
        table: dict[int, Mailbox] = {
            0x02: self._execute,
            0x06: self._register_test,
            0x08: self._version,
            0x01: self._load,
            0x09: self._load,
            0x0B: self._load,
            0x14: self._stop,
            0x15: self.initiator.abort_command,
            0x16: self.initiator.abort_device,
            0x17: self.initiator.target_reset,
            0x20: self._adapter_id,
            0x22: self._timeouts,
            0x2A: self._crash,
            0x42: self._resources,
            0x47: self._port_database,
            0x60: self._initialise,
            0x54: self._execute_entry,
            0x5D: self._data_rate,
            0x62: self._lip,
            0x63: self._loop_map,
            0x64: self._port_database,
            0x66: self.initiator.target_reset,
            0x69: self._state,
            0x6A: self._port_name,
            0x6C: self._lip,
            0x6E: self._send_sns,
            0x6F: self._login,
            0x71: self._logout,
            0x72: self._lip,
            0x74: self._login_loop,
            0x75: self._name_list,
            0x7C: self._id_list,
            0x7E: self.initiator.lun_reset,
            0x31: self._no_sfp,
        }
        for number in (
            0x00,
            0x03,
            0x04,
            0x05,
            0x07,
            0x10,
            0x1A,
            0x27,
            0x28,
            0x32,
            0x38,
            0x59,
            0x5A,
            0x6B,
            0x6D,
            0x70,
        ):
            table.setdefault(number, lambda m, done: done(COMPLETE, {1: 0, 2: 0, 3: 0}))
        return table

    @property
    def port(self) -> NPort:
        """See Firmware."""
        return self.nport

    # Firmware protocol of Chip.

    def reset(self) -> None:
        """See Firmware."""
        self._initialised = self.ready = self._link_news = self.target = False
        self.chip.medium.unplug(self.nport)
        self.ids.clear()
        self.initiator.reset()
        self.targets.reset()

    def mailbox(self, inputs: list[int], done: MailboxDone) -> None:
        """See Firmware."""
        self.chip.execute_mailbox(self._mailboxes, inputs, done)

    def busy(self) -> bool:
        """See Firmware: this generation is never asked to collect completions."""
        return False

    def room(self) -> bool:
        """See Firmware: commands are counted in resources of their own."""
        return True

    def request(self, entry: bytes) -> None:
        """See Firmware."""
        self.dispatch(entry, self.chip.respond)

    def dispatch(self, entry: bytes, done: EntryDone) -> None:
        """Execute a queue entry."""
        handler = self.entries.get(entry[0])
        if handler is None:
            self.chip.note(f"entry type {entry[0]:02x} is unknown")
            done(entry[:1] + b"\1" + entry[2:3] + bytes((iocb.ENTRY_BAD_TYPE,)) + entry[4:64])
            return
        try:
            handler(entry, done)
        except DmaFault as err:
            self.chip.note(f"entry type {entry[0]:02x}: {err}")
            done(entry[:1] + b"\1" + entry[2:3] + bytes((iocb.ENTRY_BAD_PARAMETER,)) + entry[4:64])

    def notify(self, kind: str, s_id: int) -> None:
        """See Firmware."""
        self.targets.happened(kind, s_id)

    def interrupts_on(self) -> None:
        """See Firmware."""
        if self._link_news:
            self._link_news = False
            self._announce_link()

    def cable_changed(self) -> None:
        """See Firmware."""
        if self._initialised and self.chip.cable:
            self.chip.medium.plug(self.nport)
        elif self._initialised:
            self.chip.medium.unplug(self.nport)

    # PortUser.

    def link_changed(self, up: bool) -> None:
        """See PortUser."""
        self.ready = up
        if up:
            self._log_in_around(self._link_is_up)
        elif self._initialised:
            self._link_news = False
            self.ids.clear()
            self.initiator.reset()
            self.targets.link_lost()
            self.chip.async_event(host.ASYNC_LOOP_DOWN, 0, 0, 0)

    def _link_is_up(self) -> None:
        if self.chip.interrupts:
            self._announce_link()
        else:
            self._link_news = True

    def _log_in_around(self, finished: Callable[[], None]) -> None:
        """A loop initiator's firmware logs in to all ports before it says that the loop is up."""
        initiator = self.nport.topology == "loop" and self.nport.service & fc.ROLE_INITIATOR
        self._log_in_next([al_pa for al_pa in self.chip.medium.ports if initiator], finished)

    def _log_in_next(self, waiting: list[int], finished: Callable[[], None]) -> None:
        if not self.nport.online:
            return
        if not waiting:
            finished()
            return
        port_id, *rest = waiting
        remote = self.nport.remotes.get(port_id)
        if port_id == self.nport.port_id or (remote is not None and remote.plogi):
            self._log_in_next(rest, finished)
            return

        def answered(outcome: Outcome, payload: bytes) -> None:
            if outcome is Outcome.DONE:
                self.ids[LOOP_ORDER.index(port_id)] = port_id
                self.nport.process_login(port_id, lambda *_: self._log_in_next(rest, finished))
            else:
                self._log_in_next(rest, finished)

        self.nport.login(port_id, answered)

    def _announce_link(self) -> None:
        chip = self.chip
        if self.nport.topology == "fabric":
            chip.async_event(host.ASYNC_POINT_TO_POINT)
        else:
            chip.async_event(host.ASYNC_LIP, 0xF7F7)
        chip.async_event(host.ASYNC_LOOP_UP, chip.model.speed)
        chip.async_event(host.ASYNC_PORT_UPDATE, 0xFFFF, LOGGED_IN, 0)

    def els_received(self, request: ElsRequest) -> bool:
        """See PortUser: the firmware answers logins itself."""
        payload = request.frame.payload
        if request.code == fc.ELS_RSCN:
            for place in range(4, len(payload) - 3, 4):
                page = int.from_bytes(payload[place : place + 4], "big")
                self.chip.async_event(host.ASYNC_RSCN, page >> 16, page & 0xFFFF, 0)
        elif self.target:
            return self.targets.els_received(request)
        return False

    def login_changed(self, remote: Remote) -> None:
        """See PortUser: event 8014 with the loop id and the new state."""
        if remote.plogi:
            loop_id = self.id_for(remote.port_id)
            if self.target and remote.prli:
                self.chip.async_event(host.ASYNC_PORT_UPDATE, loop_id, LOGGED_IN, 0)
            return
        known = self.find_id(remote.port_id)
        if known is not None and self.nport.online and known not in self._own_logout:
            self.chip.async_event(host.ASYNC_PORT_UPDATE, known, LOGGED_OUT, 0)

    def command_received(self, exchange: TargetExchange) -> None:
        """See PortUser."""
        if self.target:
            self.targets.command_received(exchange)
        else:
            exchange.respond(fc.Response(fc.STATUS_CHECK))

    def abort_received(self, abort: AbortRequest) -> None:
        """See PortUser."""
        if self.target:
            self.targets.abort_received(abort)
        else:
            abort.refuse(fc.REASON_LOGICAL, 3)

    def link_disturbed(self, kind: str) -> None:
        """See PortUser."""
        if self.target:
            self.targets.lip_reset()
        self.chip.async_event(host.ASYNC_LIP if kind == "lip" else host.ASYNC_LIP_RESET, 0xF7F7)
        self._log_in_around(self._link_is_up)

    # Loop ids.

    def find_id(self, port_id: int) -> int | None:
        """The loop id of a remote port."""
        return next((loop_id for loop_id, known in self.ids.items() if known == port_id), None)

    def id_for(self, port_id: int) -> int:
        """The loop id of a remote port; a new one for a port that logged in by itself."""
        known = self.find_id(port_id)
        if known is not None:
            return known
        if self.nport.topology == "loop":
            loop_id = LOOP_ORDER.index(port_id)
        else:
            loop_id = next(
                number for number in range(FIRST_FABRIC_ID, LAST_FABRIC_ID) if number not in self.ids
            )
        self.ids[loop_id] = port_id
        return loop_id

    def address(self, loop_id: int) -> int | None:
        """The address behind a loop id."""
        if loop_id in self.ids:
            return self.ids[loop_id]
        if self.nport.topology == "fabric":
            return FIXED.get(loop_id)
        return LOOP_ORDER[loop_id] if loop_id < len(LOOP_ORDER) else None

    def read_id(self, entry: bytes, place: int = 8) -> int:
        """The loop id in an entry."""
        return entry[place] | entry[place + 1] << 8 if self.extended else entry[place + 1]

    def put_id(self, entry: bytearray, loop_id: int, place: int = 8) -> None:
        """Store a loop id in an entry."""
        struct.pack_into("<H", entry, place, loop_id if self.extended else loop_id << 8)

    # Mailbox commands.

    def _execute(self, m: list[int], done: MailboxDone) -> None:
        self.chip.running = True
        done(COMPLETE, {})

    def _register_test(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {number: m[number] for number in range(1, 8)})

    def _version(self, m: list[int], done: MailboxDone) -> None:
        major, minor, patch = self.chip.model.firmware
        done(COMPLETE, {1: major, 2: minor, 3: patch, 4: 0xFFFF, 5: 1, 6: self.chip.model.attributes})

    def _load(self, m: list[int], done: MailboxDone) -> None:
        self.chip.bus.dma.read(long_address(m), m[4] * 2)
        done(COMPLETE, {})

    def _stop(self, m: list[int], done: MailboxDone) -> None:
        self.reset()
        done(COMPLETE, {})

    def _crash(self, m: list[int], done: MailboxDone) -> None:
        self.chip.system_error()

    def _adapter_id(self, m: list[int], done: MailboxDone) -> None:
        if not self.nport.online:
            done(host.COMMAND_ERROR, {1: 7})
            return
        port_id = self.nport.port_id
        fabric = self.nport.topology == "fabric"
        loop_id = FL_PORT_LOOP_ID if fabric else LOOP_ORDER.index(port_id)
        done(COMPLETE, {1: loop_id, 2: port_id & 0xFFFF, 3: port_id >> 16, 6: 3 if fabric else 0, 7: 0})

    def _timeouts(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: 8, 2: 20, 3: 200})

    def _resources(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: 512, 2: 512, 3: 1024, 6: 1024, 7: 512, 10: 512, 11: 0})

    def _data_rate(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: self.chip.model.speed, 2: 0})

    def _state(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: STATE_READY if self.ready else STATE_WAITING})

    def _no_sfp(self, m: list[int], done: MailboxDone) -> None:
        done(host.PARAMETER_ERROR, {1: 0x20})

    def _lip(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {})
        self.chip.medium.disturb(self.nport)

    def _loop_map(self, m: list[int], done: MailboxDone) -> None:
        if self.nport.topology != "loop":
            done(host.COMMAND_ERROR, {})
            return
        members = sorted(self.chip.medium.ports, key=LOOP_ORDER.index)
        data = bytes((len(members), *members)).ljust(128, b"\0")
        self.chip.bus.dma.write(long_address(m), data)
        done(COMPLETE, {})

    def _initialise(self, m: list[int], done: MailboxDone) -> None:
        block = self.chip.bus.dma.read(long_address(m), 96)
        chip = self.chip
        request_length, response_length = struct.unpack_from("<HH", block, 36)
        request_base, response_base = struct.unpack_from("<QQ", block, 40)
        responses = ResponseQueue(chip, Ring(response_base, response_length))
        chip.start_queues(RequestQueue(chip, Ring(request_base, request_length), responses), responses)
        options = block[2]
        self.nport.wwpn = int.from_bytes(block[12:20], "big")
        self.nport.wwnn = int.from_bytes(block[24:32], "big") if block[3] & 0x40 else self.nport.wwpn
        self.target = bool(options & OPTION_TARGET)
        roles = 0 if options & OPTION_INITIATOR_OFF else fc.ROLE_INITIATOR
        self.nport.service = (
            roles | (fc.ROLE_TARGET | fc.ROLE_CONFIRM if self.target else 0) | fc.ROLE_READ_XFER_RDY_DISABLED
        )
        self.targets.initialise(block[58], block[59])
        self._initialised = True
        done(COMPLETE, {})
        if chip.cable:
            chip.medium.plug(self.nport)

    # Logins.

    def _login(self, m: list[int], done: MailboxDone) -> None:
        loop_id = m[1] if self.extended else m[1] >> 8
        self._log_in(loop_id, m[2] << 16 | m[3], done)

    def _login_loop(self, m: list[int], done: MailboxDone) -> None:
        loop_id = m[1] if self.extended else m[1] >> 8
        port_id = self.address(loop_id)
        if port_id is None:
            done(host.COMMAND_ERROR, {1: 0, 2: 0})
        else:
            self._log_in(loop_id, port_id, done)

    def _log_in(self, loop_id: int, port_id: int, done: MailboxDone) -> None:
        known = self.find_id(port_id)
        remote = self.nport.remotes.get(port_id)
        if known is not None and known != loop_id and remote is not None and remote.plogi:
            done(host.PORT_ID_USED, {1: known})
            return
        other = self.ids.get(loop_id)
        if other is not None and other != port_id and other in self.nport.remotes:
            done(host.LOOP_ID_USED, {1: loop_id})
            return
        if known is not None:
            del self.ids[known]

        def processed(outcome: Outcome, payload: bytes) -> None:
            target = bool(fc.prli_service(payload) & fc.ROLE_TARGET) if outcome is Outcome.DONE else False
            done(COMPLETE if outcome is Outcome.DONE else host.COMMAND_ERROR, {1: 0 if target else 1, 2: 0})

        def answered(outcome: Outcome, payload: bytes) -> None:
            if outcome is not Outcome.DONE:
                done(host.COMMAND_ERROR, {1: 0, 2: 0})
                return
            self.ids[loop_id] = port_id
            if port_id >= 0xFFFFF0:
                done(COMPLETE, {1: 1, 2: 0})
            else:
                self.nport.process_login(port_id, processed)

        self.nport.login(port_id, answered)

    def _logout(self, m: list[int], done: MailboxDone) -> None:
        loop_id = m[1] if self.extended else m[1] >> 8
        port_id = self.ids.get(loop_id)
        if port_id is not None:
            self._own_logout.add(loop_id)
            self.nport.logout(port_id, lambda outcome, payload: None)
            self._own_logout.discard(loop_id)
            self.ids.pop(loop_id, None)
        done(COMPLETE, {})

    def _remote(self, loop_id: int) -> Remote | None:
        port_id = self.ids.get(loop_id)
        return self.nport.remotes.get(port_id) if port_id is not None else None

    def _port_name(self, m: list[int], done: MailboxDone) -> None:
        loop_id = m[1] if self.extended else m[1] >> 8
        medium, remote = self.chip.medium, self._remote(loop_id)
        if remote is not None:
            names = (remote.wwpn, remote.wwnn)
        elif loop_id in FIXED and medium.topology == "fabric":
            names = (medium.wwpn, medium.wwnn)
        else:
            done(host.COMMAND_ERROR, {})
            return
        option = m[10] if self.extended else m[1]
        words = struct.unpack(">4H", names[option & 1].to_bytes(8, "big"))
        done(COMPLETE, {2: words[0], 3: words[1], 6: words[2], 7: words[3]})

    def _port_database(self, m: list[int], done: MailboxDone) -> None:
        loop_id = m[1] if self.extended else m[1] >> 8
        remote = self._remote(loop_id)
        if remote is None:
            done(host.COMMAND_ERROR, {})
            return
        record = bytearray(128)
        state = LOGGED_IN if remote.plogi else LOGGED_OUT
        record[2:4] = bytes((state, state))
        record[8], record[11], record[10] = (
            remote.port_id >> 16,
            remote.port_id >> 8 & 0xFF,
            remote.port_id & 0xFF,
        )
        struct.pack_into(">QQ", record, 12, remote.wwnn, remote.wwpn)
        struct.pack_into("<HHH", record, 76, 0, remote.service & 0xFFFF, loop_id)
        self.chip.bus.dma.write(long_address(m), record)
        done(COMPLETE, {1: 0})

    def _name_list(self, m: list[int], done: MailboxDone) -> None:
        records = []
        for loop_id in sorted(self.ids):
            remote = self._remote(loop_id)
            if remote is not None and remote.port_id < 0xFFFFF0:
                state = LOGGED_IN if remote.prli else 4
                head = struct.pack(
                    "<HBB4x3sBHHHHHH",
                    0,
                    state,
                    state,
                    remote.port_id.to_bytes(3, "little"),
                    0,
                    0,
                    loop_id,
                    2048,
                    0,
                    0,
                    remote.service & 0xFFFF,
                )
                records.append(head + struct.pack("<QQ", remote.wwpn, remote.wwnn))
        data = b"".join(records)[: m[8] or None]
        self.chip.bus.dma.write(long_address(m), data)
        done(COMPLETE, {1: len(data)})

    def _id_list(self, m: list[int], done: MailboxDone) -> None:
        own = self.nport
        others = (
            [] if own.topology == "fabric" else [al for al in self.chip.medium.ports if al != own.port_id]
        )
        data = b""
        for al_pa in others:
            loop_id = LOOP_ORDER.index(al_pa)
            data += bytes((al_pa, 0, 0, loop_id)) + (
                struct.pack("<H", loop_id) if self.chip.model.family is Family.ISP2300 else b""
            )
        # The one command of this family with its address in other mailboxes.
        self.chip.bus.dma.write(m[3] << 48 | m[6] << 32 | m[1] << 16 | m[2], data)
        done(COMPLETE, {1: len(others)})

    # Entries that carry other commands.

    def _execute_entry(self, m: list[int], done: MailboxDone) -> None:
        address = long_address(m)
        entry = self.chip.bus.dma.read(address, 64)
        epoch = self.chip.epoch

        def completed(result: bytes) -> None:
            if epoch == self.chip.epoch:
                stored = self.chip.store([(address, len(result))], result)
                done(host.PARAMETER_ERROR if stored is None else COMPLETE, {1: 0})

        self.dispatch(entry, completed)

    def _ms(self, entry: bytes, done: EntryDone) -> None:
        """Management server entry: a common transport request."""
        limit, length = struct.unpack_from("<II", entry, 32)
        request: list[Segment] = [struct.unpack_from("<QI", entry, 40)]
        reply: list[Segment] = [struct.unpack_from("<QI", entry, 52)]
        port_id = self.address(self.read_id(entry))

        def completed(status: int) -> None:
            result = bytearray(entry[:64])
            result[1] = 1
            struct.pack_into("<H", result, 10, status)
            done(bytes(result))

        def answered(outcome: Outcome, answer: bytes) -> None:
            if outcome is not Outcome.DONE:
                completed(iocb.CS_PORT_UNAVAILABLE)
            else:
                stored = self.chip.store(reply, answer[:limit])
                completed(iocb.CS_DMA if stored is None else iocb.CS_COMPLETE)

        if port_id is None:
            completed(iocb.CS_PORT_UNAVAILABLE)
        else:
            self.nport.ct(port_id, self.chip.bus.dma.gather(request, 0, length), answered)

    def _send_sns(self, m: list[int], done: MailboxDone) -> None:
        """Mailbox command 6e, the 2200's way to the name server: parameters in swapped 32-bit words."""
        packet = self.chip.bus.dma.read(long_address(m), min(max(m[1], 12) * 2, 64))
        limit, address, length, code = struct.unpack_from("<HxxQHxxH", packet)
        words = (min(2 * length - 8, len(packet) - 24) if length > 4 else 0) // 4
        payload = b"".join(packet[at : at + 4][::-1] for at in range(24, 24 + 4 * words, 4))

        def answered(outcome: Outcome, answer: bytes) -> None:
            if outcome is not Outcome.DONE:
                done(host.COMMAND_ERROR, {})
                return
            stored = self.chip.store([(address, 2 * limit)], answer)
            done(host.PARAMETER_ERROR if stored is None else COMPLETE, {})

        self.nport.ct(fc.NAME_SERVER, ct_request(code, payload), answered)

    def _mailbox_entry(self, entry: bytes, done: EntryDone) -> None:
        (first,) = struct.unpack_from("<H", entry, 8)
        words = struct.unpack_from("<8H", entry, 24)
        if self._new_entries and first in (0x64, 0x75) and words[0] not in (0x64, 0x6F, 0x71, 0x74):
            self._new_mailbox_entry(entry, done)
            return
        inputs = [0] * 32
        for place, number in enumerate(MAILBOX_SLOTS):
            inputs[number] = words[place]

        def completed(status: int, outputs: Mapping[int, int]) -> None:
            result = bytearray(entry[:64])
            struct.pack_into("<H", result, 10, 0 if status == COMPLETE else 0x30)
            for place, number in enumerate(MAILBOX_SLOTS):
                value = status if number == 0 else outputs.get(number)
                if value is not None:
                    struct.pack_into("<H", result, 24 + 2 * place, value & 0xFFFF)
            done(bytes(result))

        self.mailbox(inputs, completed)

    def _new_mailbox_entry(self, entry: bytes, done: EntryDone) -> None:
        """The 24xx layout: mailboxes 0 to 27 from offset 8."""
        inputs = list(struct.unpack_from("<28H", entry, 8)) + [0] * 4
        if not self.extended:
            inputs[1] <<= 8

        def completed(status: int, outputs: Mapping[int, int]) -> None:
            result = bytearray(entry[:64])
            struct.pack_into("<H", result, 8, status)
            for number, value in outputs.items():
                struct.pack_into("<H", result, 8 + 2 * number, value & 0xFFFF)
            # What the driver's old-layout reader looks at: status good, mailbox 0.
            struct.pack_into("<H", result, 10, outputs.get(1, 0))
            struct.pack_into("<H", result, 24, status)
            done(bytes(result))

        self.mailbox(inputs, completed)
