# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware of the ISP24xx and ISP25xx: mailbox commands, initialisation, link, ports behind the chip."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import cast

from ..fc import frames as fc
from ..fc.media import LOOP_ORDER, Switch
from ..fc.nport import AbortRequest, ElsRequest, NPort, Remote, TargetExchange
from ..vfio.dma import DmaFault
from . import chip as host
from . import iocb
from .chip import COMPLETE, EntryDone, MailboxDone, long_address
from .ini24 import Initiator24
from .login24 import Logins24
from .notice24 import Notices24
from .npiv24 import Virtual24
from .purex24 import Purex24
from .regs24 import Isp2400
from .regs27 import Isp2700
from .tgt24 import Target24

OPTION_TARGET, OPTION_INITIATOR_OFF = 0x10, 0x20
COALESCING, DELAY_UNIT = 6, 1e-4
"""Operation mode in firmware options 2, and the unit of the control block's interrupt delay in seconds."""
EXCHANGES, IOCBS = 2048, 4096
STATE_WAITING, STATE_READY = 1, 3
HANDLE_F_PORT, HANDLE_NAME_SERVER = 0x7FE, 0x7FC
FIRST_OWN_HANDLE = 0x400
TOPOLOGY_FABRIC_FLAG = 6
SWITCH_TAKES_VIRTUAL_PORTS = 0x400

Mailbox = Callable[[list[int], MailboxDone], None]


class Port24:
    """The physical port (index 0) or a virtual one."""

    def __init__(self, firmware: Firmware24, index: int, wwpn: int, wwnn: int, service: int) -> None:
        self.firmware, self.index = firmware, index
        self.nport = NPort(firmware.chip.loop, wwpn, wwnn, self, service)
        self.target = bool(service & fc.ROLE_TARGET)

    def link_changed(self, up: bool) -> None:
        """See PortUser."""
        self.firmware.link_changed(self, up)

    def els_received(self, request: ElsRequest) -> bool:
        """See PortUser: state changes become events, logins go to the driver in target mode."""
        if request.code == fc.ELS_RSCN:
            self._rscn(request.frame.payload)
            return False
        if self.firmware.purex.received(self, request):
            return True
        return self.target and self.firmware.notices.els_received(self, request)

    def _rscn(self, payload: bytes) -> None:
        for place in range(4, len(payload) - 3, 4):
            page = int.from_bytes(payload[place : place + 4], "big")
            self.firmware.chip.async_event(host.ASYNC_RSCN, page >> 16, page & 0xFFFF, self.index)

    def login_changed(self, remote: Remote) -> None:
        """See PortUser: a logout that the driver did not ask for is an event."""
        firmware = self.firmware
        if remote.plogi:
            firmware.handle_for(self, remote.port_id)
            return
        firmware.targets.forget_closed()
        if self.nport.online and not self.target:
            handle = firmware.find_handle(self, remote.port_id)
            if handle is not None and handle not in firmware.logging_out:
                firmware.chip.async_event(host.ASYNC_PORT_UPDATE, handle, 7, self.index)

    def command_received(self, exchange: TargetExchange) -> None:
        """See PortUser."""
        if self.target:
            self.firmware.targets.command_received(self, exchange)
        else:
            exchange.respond(fc.Response(fc.STATUS_CHECK))

    def abort_received(self, abort: AbortRequest) -> None:
        """See PortUser."""
        if self.target:
            self.firmware.notices.abort_received(self, abort)
        else:
            abort.refuse(fc.REASON_LOGICAL, 3)

    def link_disturbed(self, kind: str) -> None:
        """See PortUser."""
        if self.index == 0:
            self.firmware.link_disturbed(kind)


class Firmware24:
    """See module text."""

    def __init__(self, chip: Isp2400) -> None:
        self.chip = chip
        chip.firmware = self
        self.ports: dict[int, Port24] = {0: Port24(self, 0, chip.settings.wwpn, chip.settings.wwnn, 0)}
        self.handles: dict[int, tuple[Port24, int]] = {}
        self.logging_out: set[int] = set()
        self.options = (0, 0, 0)
        self.exchanges = EXCHANGES
        """Exchanges of each side: what the driver asked for, at most what the firmware has."""
        self.ready = False
        self._link_news = False
        self._initialised = False
        self.initiator = Initiator24(self)
        self.logins = Logins24(self)
        self.targets = Target24(self)
        self.notices = Notices24(self)
        self.virtual = Virtual24(self)
        self.purex = Purex24(self)
        self.entries: dict[int, Callable[[bytes, EntryDone], None]] = {
            iocb.COMMAND_7: self.initiator.command,
            iocb.TASK_MANAGEMENT: self.initiator.task_management,
            iocb.ABORT: self.initiator.abort,
            iocb.MARKER: self.initiator.marker,
            iocb.LOGIN: self.logins.login,
            iocb.CT: self.logins.ct,
            iocb.ELS: self.logins.els,
            iocb.MAILBOX_ENTRY: self._mailbox_entry,
            iocb.CTIO_7: self.targets.ctio,
            iocb.NOTIFY_ACK: self.notices.acknowledged,
            iocb.ABTS_RESPONSE: self.notices.abts_response,
            iocb.VP_CONTROL: self.virtual.control,
            iocb.VP_CONFIG: self.virtual.configure,
        }
        self._mailboxes = self._table()

    def _table(self) -> dict[int, Mailbox]:
        table: dict[int, Mailbox] = {
            0x02: self._execute,
            0x06: self._register_test,
            0x08: self._version,
            0x09: self._load,
            0x0B: self._load,
            0x0F: self._dump,
            0x14: self._stop,
            0x1F: self._queue,
            0x20: self._adapter_id,
            0x22: self._timeouts,
            0x2A: self._crash,
            0x42: self._resources,
            0x38: self.purex.options,
            0x48: self._initialise,
            0x60: self._initialise,
            0x54: self._execute_entry,
            0x59: self.purex.parameters,
            0x5D: self._data_rate,
            0x64: self.logins.port_database,
            0x69: self._state,
            0x6A: self._port_name,
            0x72: self._link_init,
            0x75: self.logins.name_list,
            0x7C: self.logins.id_list,
            0x31: self._no_sfp,
        }
        simple = {0x28: {1: 0, 2: 0, 3: 0}, 0x7C: {1: 0}}
        for number in (
            0x00,
            0x03,
            0x07,
            0x10,
            0x1A,
            0x27,
            0x28,
            0x32,
            0x5A,
            0x6B,
            0x6C,
            0x6D,
            0x70,
        ):
            result = simple.get(number, {1: 0, 2: 0})
            table.setdefault(number, lambda m, done, result=result: done(COMPLETE, result))  # type: ignore[misc]
        return table

    @property
    def physical(self) -> Port24:
        """Port 0."""
        return self.ports[0]

    @property
    def port(self) -> NPort:
        """See Firmware."""
        return self.physical.nport

    # Firmware protocol of Chip.

    def reset(self) -> None:
        """See Firmware."""
        self._initialised = self.ready = self._link_news = False
        self.virtual.remove_all()
        self.chip.medium.unplug(self.physical.nport)
        self.handles.clear()
        self.logging_out.clear()
        self.initiator.reset()
        self.notices.reset()
        self.targets.reset()
        self.purex.reset()

    def mailbox(self, inputs: list[int], done: MailboxDone) -> None:
        """See Firmware."""
        self.chip.execute_mailbox(self._mailboxes, inputs, done)

    def busy(self) -> bool:
        """See Firmware."""
        return self.initiator.busy()

    def room(self) -> bool:
        """See Firmware: so many entries can be under way."""
        limit = self.chip.faults.iocbs or IOCBS
        return len(self.initiator) + len(self.targets.waiting) < limit

    def request(self, entry: bytes) -> None:
        """See Firmware."""
        self.dispatch(entry, self.chip.answers.respond)

    def notify(self, kind: str, s_id: int) -> None:
        """See Firmware."""
        self.notices.happened(self.physical, kind, s_id)

    def interrupts_on(self) -> None:
        """See Firmware: link news that came while the driver could not take them."""
        if self._link_news:
            self._link_news = False
            self._announce_link()

    def cable_changed(self) -> None:
        """See Firmware."""
        if not self._initialised:
            return
        if self.chip.cable:
            self.chip.medium.plug(self.physical.nport)
        else:
            self.virtual.link_lost()
            self.chip.medium.unplug(self.physical.nport)

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

    # Link.

    def link_changed(self, port: Port24, up: bool) -> None:
        """A port of this chip got an address or lost it."""
        if port.index:
            if up:
                self.report_id(port)
            return
        self.ready = up
        if up and self.chip.interrupts:
            self._announce_link()
        elif up:
            self._link_news = True
        elif self._initialised:
            self._link_news = False
            self.handles.clear()
            self.initiator.reset()
            self.notices.reset()
            self.targets.reset()
            self.chip.async_event(host.ASYNC_LOOP_DOWN, 0, 0, 0)

    def _announce_link(self) -> None:
        chip, port = self.chip, self.physical
        fabric = port.nport.topology == "fabric"
        if fabric:
            chip.async_event(host.ASYNC_POINT_TO_POINT)
        else:
            chip.async_event(host.ASYNC_LIP, 0xF7F7)
        chip.async_event(host.ASYNC_LOOP_UP, chip.model.speed)
        if chip.model.attributes & 0x4:
            self.report_id(port)
        chip.async_event(host.ASYNC_PORT_UPDATE, 0xFFFF, 6, 0)
        self.virtual.link_restored()

    def link_disturbed(self, kind: str) -> None:
        """LIP or link reset with an unchanged address."""
        if kind == "lip":
            if self.physical.target:
                self.notices.happened(self.physical, "link reinit", 0)
            self.chip.async_event(host.ASYNC_LIP, 0xF7F7)
        else:
            self.chip.async_event(host.ASYNC_LOOP_DOWN, 0, 0, 0)
        if self.chip.interrupts:
            self._announce_link()

    def report_id(self, port: Port24) -> None:
        """Report ID acquisition entry."""
        entry = bytearray(64)
        entry[0:2] = bytes((iocb.REPORT_ID, 1))
        entry[8:11] = bytes((1, 1, port.index))
        entry[12:15] = port.nport.port_id.to_bytes(3, "little")
        medium = self.chip.medium
        if isinstance(medium, Switch):
            entry[15], entry[17] = 1, TOPOLOGY_FABRIC_FLAG
            struct.pack_into(">QQ", entry, 40, medium.wwpn, medium.wwnn)
        else:
            entry[16] = 1
        self.chip.respond(bytes(entry))

    # Handles.

    def find_handle(self, port: Port24, port_id: int) -> int | None:
        """The N_Port handle of a remote port."""
        for handle, (owner, known) in self.handles.items():
            if known == port_id and owner is port:
                return handle
        return None

    def handle_for(self, port: Port24, port_id: int) -> int:
        """The N_Port handle of a remote port; a new one for a port that logged in by itself."""
        handle = self.find_handle(port, port_id)
        if handle is None:
            handle = next(number for number in range(FIRST_OWN_HANDLE, 0x7EE) if number not in self.handles)
            self.handles[handle] = (port, port_id)
        return handle

    def remote(self, handle: int) -> tuple[Port24, Remote] | None:
        """The remote port behind a handle, if it is logged in."""
        known = self.handles.get(handle)
        remote = known[0].nport.remotes.get(known[1]) if known else None
        return (known[0], remote) if known and remote and remote.plogi else None

    # Mailbox commands.

    def _execute(self, m: list[int], done: MailboxDone) -> None:
        self.chip.running = True
        done(COMPLETE, {1: 0x400, 2: 0, 3: 0})

    def _register_test(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {number: m[number] for number in range(1, 8)})

    def _version(self, m: list[int], done: MailboxDone) -> None:
        major, minor, patch = self.chip.model.firmware
        attributes = self.chip.model.attributes
        done(COMPLETE, {1: major, 2: minor, 3: patch, 4: 0xFFFF, 5: 0x10, 6: attributes, 15: 0, 16: 0, 17: 0})

    def _load(self, m: list[int], done: MailboxDone) -> None:
        # The code is not executed; reading it proves that the address is good.
        self.chip.bus.dma.read(long_address(m), min((m[4] << 16 | m[5]) * 4, 1 << 20))
        done(COMPLETE, {})

    def _dump(self, m: list[int], done: MailboxDone) -> None:
        """Dump RAM; of the RISC's address space there is only the flash."""
        start, number = m[8] << 16 | m[1], min(m[4] << 16 | m[5], 1 << 18)
        words = (self.chip.flash_word(address) for address in range(start, start + number))
        self.chip.bus.dma.write(long_address(m), b"".join(word.to_bytes(4, "little") for word in words))
        done(COMPLETE, {})

    def _queue(self, m: list[int], done: MailboxDone) -> None:
        made = isinstance(self.chip, Isp2700) and self.chip.queue_command(m, long_address(m))
        done(COMPLETE if made else host.COMMAND_ERROR, {1: 0})

    def _stop(self, m: list[int], done: MailboxDone) -> None:
        self.reset()
        done(COMPLETE, {})

    def _crash(self, m: list[int], done: MailboxDone) -> None:
        self.chip.system_error()

    def _adapter_id(self, m: list[int], done: MailboxDone) -> None:
        port = self.ports.get(m[9])
        if port is None or not port.nport.online:
            done(host.COMMAND_ERROR, {1: 7})
            return
        port_id = port.nport.port_id
        fabric = port.nport.topology == "fabric"
        loop_id = 0x7E if fabric else LOOP_ORDER.index(port_id)
        done(
            COMPLETE,
            {
                1: loop_id,
                2: port_id & 0xFFFF,
                3: port_id >> 16,
                6: 3 if fabric else 0,
                7: SWITCH_TAKES_VIRTUAL_PORTS if fabric else 0,
                9: m[9],
            },
        )

    def _timeouts(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: 8, 2: 20, 3: 200})

    def _resources(self, m: list[int], done: MailboxDone) -> None:
        vports = 63 if self.chip.model.attributes & 0x4 else 0
        targets = EXCHANGES - len(self.targets)
        initiators = EXCHANGES - self.initiator.exchanges
        iocbs = IOCBS - len(self.initiator) - len(self.targets.waiting)
        done(
            COMPLETE,
            {
                1: EXCHANGES,
                2: targets,
                3: initiators,
                6: EXCHANGES,
                7: iocbs,
                10: IOCBS,
                11: vports,
                12: 0,
            },
        )

    def _data_rate(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {1: self.chip.model.speed, 2: 0})

    def _state(self, m: list[int], done: MailboxDone) -> None:
        state = STATE_READY if self.ready else STATE_WAITING
        done(COMPLETE, {1: state, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0})

    def _no_sfp(self, m: list[int], done: MailboxDone) -> None:
        done(host.PARAMETER_ERROR, {1: 0x20})

    def _link_init(self, m: list[int], done: MailboxDone) -> None:
        done(COMPLETE, {})
        self.chip.medium.disturb(self.physical.nport)

    def _port_name(self, m: list[int], done: MailboxDone) -> None:
        names = self._names(m[1])
        if names is None:
            done(host.NOT_LOGGED_IN, {})
            return
        words = struct.unpack(">4H", names[m[10] & 1].to_bytes(8, "big"))
        done(COMPLETE, {2: words[0], 3: words[1], 6: words[2], 7: words[3]})

    def _names(self, handle: int) -> tuple[int, int] | None:
        medium = self.chip.medium
        if handle in (HANDLE_F_PORT, HANDLE_NAME_SERVER):
            return (medium.wwpn, medium.wwnn) if medium.topology == "fabric" else None
        known = self.remote(handle)
        return (known[1].wwpn, known[1].wwnn) if known else None

    def _initialise(self, m: list[int], done: MailboxDone) -> None:
        block = self.chip.bus.dma.read(long_address(m), 128)
        chip = self.chip
        chip.base_queues(block)
        self.exchanges = min(int.from_bytes(block[8:10], "little") or EXCHANGES, EXCHANGES)
        self.options = cast("tuple[int, int, int]", struct.unpack_from("<III", block, 92))
        delay = int.from_bytes(block[88:90], "little")
        chip.coalesce = delay * DELAY_UNIT if self.options[1] & 0xF == COALESCING else 0.0
        port = self.physical
        port.nport.wwpn = int.from_bytes(block[12:20], "big")
        if self.options[0] & 0x4000:
            port.nport.wwnn = int.from_bytes(block[20:28], "big")
        else:
            port.nport.wwnn = port.nport.wwpn
        port.nport.service = self.service(self.options[0])
        port.target = bool(self.options[0] & OPTION_TARGET)
        self._initialised = True
        if m[0] == 0x48:
            self.virtual.load(long_address(m))
        done(COMPLETE, {1: 0, 2: 0})
        if chip.cable:
            chip.medium.plug(port.nport)

    def service(self, options: int) -> int:
        """FCP service parameters for firmware options 1."""
        roles = 0 if options & OPTION_INITIATOR_OFF else fc.ROLE_INITIATOR
        if options & OPTION_TARGET:
            roles |= fc.ROLE_TARGET | fc.ROLE_CONFIRM
        return roles | fc.ROLE_READ_XFER_RDY_DISABLED

    def _execute_entry(self, m: list[int], done: MailboxDone) -> None:
        address = long_address(m)
        entry = self.chip.bus.dma.read(address, 64)
        epoch = self.chip.epoch
        if self.chip.tracer is not None:
            self.chip.tracer.entry(self.chip, ">", entry)

        def completed(result: bytes) -> None:
            if epoch != self.chip.epoch:
                return
            if self.chip.tracer is not None:
                self.chip.tracer.entry(self.chip, "<", result)
            stored = self.chip.store([(address, len(result))], result)
            done(host.PARAMETER_ERROR if stored is None else COMPLETE, {1: 0})

        self.dispatch(entry, completed)

    def _mailbox_entry(self, entry: bytes, done: EntryDone) -> None:
        inputs = list(struct.unpack_from("<28H", entry, 8)) + [0] * 4

        def completed(status: int, outputs: Mapping[int, int]) -> None:
            result = bytearray(entry[:64])
            struct.pack_into("<H", result, 8, status)
            for number, value in outputs.items():
                if number < 28:
                    struct.pack_into("<H", result, 8 + 2 * number, value & 0xFFFF)
            done(bytes(result))

        self.mailbox(inputs, completed)
