# SPDX-License-Identifier: GPL-2.0-or-later
"""The 2x00 initiator side and its mailbox commands, driven through registers and rings."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hba.boards import make_chip
from hba.fc import frames as fc
from hba.fc.disk import RamDisk, Reply
from hba.fc.media import ArbitratedLoop, FrameFault, Switch
from hba.fc.nameserver import ct_request
from hba.fc.scripted import ScriptedInitiator, ScriptedTarget
from hba.hostside import Driver2200, Driver2300
from hba.isp import iocb
from hba.isp.fw2x import Firmware2x
from hba.isp.models import Settings
from hba.isp.regs2x import Isp2300
from hba.loop import Loop

WWPN, TARGET = 0x210000E08B000001, 0x5006016000000001
READ = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
WRITE = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0))
DATA = bytes(range(256)) * 16
LOOP_ID = 0x85


class Side:
    """A chip, its driver, and a target that it is logged in to."""

    def __init__(self, model: str, medium_type: type[Switch] | type[ArbitratedLoop] = Switch) -> None:
        self.loop = Loop(virtual=True)
        self.medium = medium_type(self.loop)
        chip = make_chip(self.loop, self.medium, model, Settings(WWPN, WWPN ^ 1 << 56), "hba0")
        assert isinstance(chip, Isp2300)
        self.chip = chip
        self.driver = (Driver2200 if model == "2200" else Driver2300)(self.loop, chip)
        self.target = ScriptedTarget(
            self.loop, self.medium, TARGET, {0: RamDisk(1 << 20), 2: RamDisk(1 << 20)}
        )
        self.target.plug()
        self.driver.start()

    @property
    def firmware(self) -> Firmware2x:
        assert isinstance(self.chip.firmware, Firmware2x)
        return self.chip.firmware

    def id_word(self, loop_id: int, option: int = 0) -> int:
        return loop_id if self.firmware.extended else loop_id << 8 | option

    def login(self, loop_id: int, port_id: int) -> list[int]:
        return self.driver.command(0x6F, {1: self.id_word(loop_id), 2: port_id >> 16, 3: port_id & 0xFFFF})

    def command(
        self,
        cdb: bytes,
        segments: list[tuple[int, int]],
        *,
        read: bool = True,
        lun: int = 0,
        handle: int = 7,
        loop_id: int = LOOP_ID,
        wide: bool = False,
    ) -> bytes:
        entry = bytearray(64)
        entry[0:2] = bytes((iocb.COMMAND_64 if wide else iocb.COMMAND_32, 1))
        struct.pack_into("<I", entry, 4, handle)
        self.firmware.put_id(entry, loop_id)
        struct.pack_into("<HHxxxxH", entry, 10, lun, 0x20 if read else 0x40, len(segments))
        entry[20:36] = cdb.ljust(16, b"\0")
        struct.pack_into("<I", entry, 36, sum(length for _, length in segments))
        layout, inside, more, skip, kind = ("<QI", 2, 5, 4, 0x0A) if wide else ("<II", 3, 7, 8, 0x02)
        size = struct.calcsize(layout)
        for index, segment in enumerate(segments[:inside]):
            struct.pack_into(layout, entry, 40 + size * index, *segment)
        for base in range(inside, len(segments), more):
            extra = bytearray(64)
            extra[0:2] = bytes((kind, 1))
            for index, segment in enumerate(segments[base : base + more]):
                struct.pack_into(layout, extra, skip + size * index, *segment)
            entry += extra
            entry[1] += 1
        return bytes(entry)

    def status(self) -> tuple[int, int, int, int, bytes]:
        """Handle, SCSI status, completion, residual, sense of the next status entry."""
        entry = self.driver.response(iocb.STATUS)
        handle, scsi, completion = struct.unpack_from("<IHH", entry, 4)
        sense, residual = struct.unpack_from("<HI", entry, 18)
        return handle, scsi, completion, residual, entry[32 : 32 + min(sense, 32)]


@pytest.fixture(params=["2200", "2312"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    made = Side(request.param)
    assert made.login(LOOP_ID, made.target.port_id)[:2] == [0x4000, 0]
    yield made
    made.driver.close()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("pieces", [1, 4, 16])
def test_read_and_write(side: Side, wide: bool, pieces: int) -> None:
    memory, size = side.driver.memory, len(DATA) // pieces
    out = [(memory.allocate(size, DATA[at : at + size]), size) for at in range(0, len(DATA), size)]
    side.driver.submit(side.command(WRITE, out, read=False, wide=wide))
    assert side.status() == (7, 0, 0, 0, b"")
    assert side.target.disks[0].data[4096:8192] == DATA
    back = [(memory.allocate(size), size) for _ in out]
    side.driver.submit(side.command(READ, back, wide=wide))
    assert side.status()[2] == 0
    assert b"".join(memory.dma.read(*segment) for segment in back) == DATA


def test_endings(side: Side) -> None:
    driver, memory = side.driver, side.driver.memory
    driver.submit(side.command(bytes((0x12, 0, 0, 0, 255, 0)), [(memory.allocate(255), 255)]))
    assert side.status()[1:4] == (0x800, 0x15, 219)
    driver.submit(side.command(bytes((0xFF,)), []))
    status = side.status()
    assert status[1] == 0x202
    assert status[4][12] == 0x20
    side.target.disks[0].commands[0] = lambda cdb, data: Reply(2, bytes(range(100)))
    driver.submit(side.command(bytes(6), []))
    assert side.status()[4] == bytes(range(32))
    assert driver.response(iocb.STATUS_CONTINUATION)[4:64] == bytes(range(32, 92))
    driver.submit(side.command(READ, [(0x10, 4096)]), side.command(WRITE, [(0x10, 4096)], read=False))
    assert [side.status()[2] for _ in range(2)] == [iocb.CS_DMA] * 2
    driver.submit(side.command(READ, [(memory.allocate(4096), 4096)], loop_id=0x99))
    assert side.status()[2] == iocb.CS_LOGGED_OUT
    side.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1, clip=2048))
    driver.submit(side.command(READ, [(memory.allocate(4096), 4096)]))
    assert side.status()[1:4] == (0, 0x15, 2048)


def test_aborts_and_resets(side: Side) -> None:
    driver = side.driver
    side.target.hold = True
    for handle in (1, 2, 3):
        driver.submit(
            side.command(
                READ, [(driver.memory.allocate(4096), 4096)], handle=handle, lun=2 if handle == 2 else 0
            )
        )
    driver.settle()
    word = side.id_word(LOOP_ID)
    assert driver.command(0x15, {1: word, 2: 1, 3: 0})[0] == 0x4000
    assert side.status()[:3] == (1, 0, iocb.CS_ABORTED)
    assert driver.command(0x15, {1: word, 2: 99, 3: 0})[0] == 0x4005
    assert driver.command(0x7E, {1: word, 2: 2, 3: 2})[0] == 0x4000
    assert side.status()[:3] == (2, 0, iocb.CS_RESET)
    assert driver.command(0x17, {1: word})[0] == 0x4000
    assert side.status()[:3] == (3, 0, iocb.CS_RESET)
    assert driver.command(0x16, {1: word, 2: 9})[0] == 0x4005
    assert driver.command(0x66, {1: side.id_word(0x99)})[0] == 0x4005
    assert next(line for line in side.target.log if "management" in line) == "task management 10 lun 2"
    side.target.hold = False
    driver.submit(side.command(bytes(6), []))
    assert side.status()[4][12] == 0x29


def test_logins(side: Side) -> None:
    driver, port_id = side.driver, side.target.port_id
    assert side.login(0x86, port_id)[:2] == [0x4007, LOOP_ID]
    assert side.login(0x86, 0x01FF00)[0] == 0x4005
    other = ScriptedTarget(side.loop, side.medium, TARGET + 1, {})
    other.plug()
    assert side.login(LOOP_ID, other.port_id)[:2] == [0x4008, LOOP_ID]
    assert side.login(0x80, 0xFFFFFC)[:2] == [0x4000, 1]
    initiator = ScriptedInitiator(side.loop, side.medium, TARGET + 2)
    initiator.plug()
    assert side.login(0x87, initiator.port_id)[:2] == [0x4000, 1]
    address = driver.memory.allocate(512)
    word = side.id_word(LOOP_ID)
    assert driver.command(0x64, driver.with_address(address, {1: word}))[0] == 0x4000
    record = driver.memory.dma.read(address, 128)
    assert record[8] << 16 | record[11] << 8 | record[10] == port_id
    assert record[20:28] == TARGET.to_bytes(8, "big")
    assert driver.command(0x47, driver.with_address(address, {1: side.id_word(0x99)}))[0] == 0x4005
    names = driver.command(0x6A, {1: word, 10: 0})
    assert names[2] << 48 | names[3] << 32 | names[6] << 16 | names[7] == TARGET
    assert driver.command(0x6A, {1: side.id_word(0x80)})[0] == 0x4000
    assert driver.command(0x6A, {1: side.id_word(0x99)})[0] == 0x4005
    assert driver.command(0x75, driver.with_address(address, {8: 512}))[1] == 80
    assert driver.command(0x71, {1: word})[0] == 0x4000
    side.loop.run_for(1)
    assert "LOGO" in side.target.events
    assert driver.command(0x74, {1: side.id_word(0x99)})[0] == 0x4005
    initiator.nport.logout(side.chip.port.port_id, lambda outcome, payload: None)
    event = driver.event(0x8014)
    while event[2] != 7:
        event = driver.event(0x8014)
    assert event[1] == 0x87
    initiator.login(side.chip.port.port_id)
    assert initiator.scsi(side.chip.port.port_id, bytes(6)).status == 2


@pytest.mark.parametrize("new_layout", [False, True])
def test_mailbox_entries(side: Side, new_layout: bool) -> None:
    driver = side.driver
    address = driver.memory.allocate(128)
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.MAILBOX_ENTRY, 1))
    word = LOOP_ID if new_layout else side.id_word(LOOP_ID)
    if new_layout:
        struct.pack_into("<HHHH", entry, 8, 0x64, word, address >> 16, address & 0xFFFF)
    else:
        side.firmware.put_id(entry, LOOP_ID)
        struct.pack_into("<HHHH", entry, 24, 0x64, word, address >> 16, address & 0xFFFF)
    driver.submit(bytes(entry))
    answer = driver.response(iocb.MAILBOX_ENTRY)
    assert struct.unpack_from("<H", answer, 8 if new_layout else 24)[0] == 0x4000
    assert struct.unpack_from("<H", answer, 10)[0] == 0
    assert driver.memory.dma.read(address + 20, 8) == TARGET.to_bytes(8, "big")
    entry[24:28] = struct.pack("<HH", 0x6F, side.id_word(0x90))
    entry[8:10] = bytes(2)
    entry[28:32] = struct.pack("<HH", 1, 0xFF00)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.MAILBOX_ENTRY), 10)[0] == 0x30


def test_name_server(side: Side) -> None:
    driver = side.driver
    request = ct_request(0x0112, side.target.port_id.to_bytes(4, "big"))
    source, sink = driver.memory.allocate(64, request), driver.memory.allocate(64)
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.CT, 1))
    side.firmware.put_id(entry, 0x80)
    struct.pack_into("<IIQIQI", entry, 32, 64, len(request), source, len(request), sink, 64)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.CT), 10)[0] == 0
    assert driver.memory.dma.read(sink + 16, 8) == TARGET.to_bytes(8, "big")
    side.firmware.put_id(entry, 0x99)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.CT), 10)[0] == iocb.CS_PORT_UNAVAILABLE
    # The 2200's own way: parameters with swapped bytes.
    packet = struct.pack("<HxxQHxxHH4x", 32, sink, 6, 0x0113, 0) + side.target.port_id.to_bytes(4, "little")
    address = driver.memory.allocate(64, packet)
    assert driver.command(0x6E, driver.with_address(address, {1: 14}))[0] == 0x4000
    answer = driver.memory.dma.read(sink, 24)
    assert answer[8:10] == b"\x80\x02"
    assert int.from_bytes(answer[16:24], "big") == side.target.nport.wwnn


def id_list_mailboxes(address: int) -> dict[int, int]:
    """Mailboxes of "get id list", whose address is not where other commands have it."""
    return {1: address >> 16 & 0xFFFF, 2: address & 0xFFFF, 3: address >> 48, 6: address >> 32 & 0xFFFF}


def test_other_mailbox_commands(side: Side) -> None:
    driver = side.driver
    assert driver.command(0x06, {1: 0xAAAA, 2: 0x5555})[1:3] == [0xAAAA, 0x5555]
    assert driver.command(0x08)[1:4] == list(side.chip.model.firmware)
    assert driver.command(0x69)[1] == 3
    result = driver.command(0x20)
    assert result[3] << 16 | result[2] == side.chip.port.port_id
    for code in (0x22, 0x42, 0x5D, 0x00, 0x28):
        assert driver.command(code)[0] == 0x4000
    assert driver.command(0x31)[0] == 0x4006
    assert driver.command(0xEE)[0] == 0x4001
    assert driver.command(0x63, driver.with_address(driver.memory.allocate(128)))[0] == 0x4005
    assert driver.command(0x09, driver.with_address(0x10, {4: 16}))[0] == 0x4006
    assert driver.command(0x7C, id_list_mailboxes(driver.memory.allocate(64)))[1] == 0
    driver.submit(bytes((0xEE, 1)) + bytes(62))
    assert driver.response(0xEE)[3] == iocb.ENTRY_BAD_TYPE
    address = driver.memory.allocate(64, bytes((0xEE, 1)) + bytes(62))
    assert driver.command(0x54, driver.with_address(address))[0] == 0x4000
    assert driver.command(0x14)[0] == 0x4000
    assert not side.chip.port.online


def test_registers(side: Side) -> None:
    driver = side.driver
    driver.put(0x06, 0x20)
    assert driver.get(0x80) & 0xFF == side.chip.model.fpm_revision
    driver.put(0x06, 0)
    for command, paused in ((0x2000, 0x20), (0x3000, 0)):
        driver.put(0xC0, command)
        assert driver.get(0xC0) == paused
    assert driver.get(0x08) == 0x8008
    assert driver.get(0xCC) == 0
    driver.put(0xCC, 0x1234)
    assert driver.get(0xCC) == 0x1234
    assert driver.get(0xCD, 1) == 0x12
    if side.chip.model.name == "2312":
        driver.put(0x1C, 1)
        assert driver.get(0x1C) == 1
        assert driver.get(0x12) == side.chip.request.index
        assert driver.get(0x14) == side.chip.response.index
    driver.put(0x0E, 0)
    assert driver.get(0x0E) == 0


def test_cable_and_fabric_events(side: Side) -> None:
    driver = side.driver
    side.target.hold = True
    driver.submit(side.command(READ, [(driver.memory.allocate(4096), 4096)]))
    driver.settle()
    side.chip.plug(False)
    driver.event(0x8012)
    assert side.status()[2] == iocb.CS_PORT_UNAVAILABLE
    assert driver.command(0x20)[:2] == [0x4005, 7]
    side.chip.plug(True)
    driver.event(0x8014)
    driver.settle()
    assert isinstance(side.medium, Switch)
    side.medium.rscn(side.target.port_id)
    event = driver.event(0x8015)
    assert event[1] << 16 | event[2] == side.target.port_id
    driver.command(0x6C)
    driver.event(0x8013)
    driver.set_mailbox(0, 0x2A)
    driver.start_command()
    driver.event(0x8002)


@pytest.mark.parametrize("model", ["2200", "2300"])
def test_on_a_loop(model: str) -> None:
    side = Side(model, ArbitratedLoop)
    driver = side.driver
    address = driver.memory.allocate(64)
    assert driver.command(0x7C, id_list_mailboxes(address))[1] == 1
    loop_id = driver.memory.dma.read(address + 3, 1)[0]
    database = driver.memory.allocate(128)
    assert driver.command(0x64, driver.with_address(database, {1: side.id_word(loop_id)}))[0] == 0x4000
    assert driver.memory.dma.read(database + 20, 8) == side.target.nport.wwpn.to_bytes(8, "big")
    assert driver.command(0x74, {1: side.id_word(loop_id)})[:2] == [0x4000, 0]
    driver.submit(side.command(READ, [(driver.memory.allocate(4096), 4096)], loop_id=loop_id))
    assert side.status()[2] == 0
    driver.close()
