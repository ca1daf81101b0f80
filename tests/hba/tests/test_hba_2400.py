# SPDX-License-Identifier: GPL-2.0-or-later
"""ISP24xx and 25xx through registers and rings: both roles, management, aborts, virtual ports, faults."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hba.entries24 import (
    DATA,
    INITIATOR,
    INQUIRY,
    READ,
    TARGET,
    WRITE,
    WWPN,
    Status,
    build,
    command_entry,
    login_entry,
)
from hba.fc import frames as fc
from hba.fc.disk import RamDisk
from hba.fc.media import ArbitratedLoop, FrameFault
from hba.fc.scripted import ScriptedInitiator, ScriptedTarget
from hba.hostside import Driver2400, HostError
from hba.isp import iocb
from hba.isp.regs24 import Isp2400
from hba.loop import Loop


@pytest.fixture
def side() -> Iterator[tuple[Loop, Isp2400, Driver2400, ScriptedTarget]]:
    """An initiator chip logged in to a scripted target as handle 5."""
    loop, chip, driver = build()
    target = ScriptedTarget(
        loop, chip.medium, TARGET, {0: RamDisk(1 << 20), 3: RamDisk(1 << 20, read_only=True)}
    )
    target.plug()
    driver.start()
    driver.submit(login_entry(5, target.port_id))
    entry = driver.response(iocb.LOGIN)
    assert struct.unpack_from("<H", entry, 8)[0] == 0
    assert entry[20] & 0x10
    yield loop, chip, driver, target
    driver.close()


Side = tuple[Loop, Isp2400, Driver2400, ScriptedTarget]


def test_bring_up_order() -> None:
    _, chip, driver = build()
    driver.start()
    assert [event[0] for event in driver.taken.events] == [0x8030, 0x8011]
    report = driver.response(iocb.REPORT_ID)
    assert report[12:15] == chip.port.port_id.to_bytes(3, "little")
    assert report[15] == 1
    assert driver.command(0x69)[1] == 3
    result = driver.command(0x20, {9: 0})
    assert (result[3] << 16 | result[2], result[6]) == (chip.port.port_id, 3)
    assert driver.command(0x08)[1:4] == [8, 7, 0]
    words = driver.command(0x6A, {1: 0x7FE, 10: 0})
    assert words[2] << 48 | words[3] << 32 | words[6] << 16 | words[7] == chip.medium.wwpn
    assert driver.command(0x6A, {1: 9, 10: 0})[0] == 0x400A
    assert driver.command(0xEE)[0] == 0x4001
    assert driver.command(0x31)[0] == 0x4006
    assert driver.command(0x06, {1: 0xAAAA, 2: 0x5555})[1:3] == [0xAAAA, 0x5555]
    assert driver.command(0x0B, driver.with_address(0x10, {4: 0, 5: 4}))[0] == 0x4006
    driver.close()


def test_before_the_link() -> None:
    _loop, chip, driver = build()
    chip.plug(False)
    driver.start()
    assert driver.command(0x69)[1] == 1
    assert driver.command(0x20, {9: 0})[:2] == [0x4005, 7]
    driver.submit(login_entry(5, 0x010200))
    assert struct.unpack_from("<I", driver.response(iocb.LOGIN), 20)[0] == 1
    with pytest.raises(HostError, match="8014"):
        driver.event(0x8014, 1)
    chip.plug(True)
    driver.event(0x8014)
    driver.close()


@pytest.mark.parametrize("pieces", [1, 2, 6, 12])
def test_read_and_write(side: Side, pieces: int) -> None:
    _, _, driver, target = side
    size = -(-len(DATA) // pieces)
    parts = [DATA[at : at + size] for at in range(0, len(DATA), size)]
    out = [(driver.memory.allocate(size, part), len(part)) for part in parts]
    driver.submit(command_entry(5, WRITE, out, read=False))
    status = Status(driver.response(iocb.STATUS))
    assert (status.completion, status.scsi, status.left) == (0, 0, 0)
    assert target.disks[0].data[4096:8192] == DATA
    back = [(driver.memory.allocate(size), len(part)) for part in parts]
    driver.submit(command_entry(5, READ, back))
    assert Status(driver.response(iocb.STATUS)).completion == 0
    assert b"".join(driver.memory.dma.read(*segment) for segment in back) == DATA


def test_residual_and_sense(side: Side) -> None:
    _, _, driver, _ = side
    buffer = driver.memory.allocate(512)
    driver.submit(command_entry(5, bytes((0x12, 0, 0, 0, 255, 0)), [(buffer, 255)]))
    status = Status(driver.response(iocb.STATUS))
    assert (status.completion, status.scsi, status.left, status.residual) == (0x15, 0x800, 219, 219)
    assert driver.memory.dma.read(buffer + 8, 8) == b"EMULATED"
    driver.submit(command_entry(5, bytes((0xFF,)), []))
    status = Status(driver.response(iocb.STATUS))
    assert status.scsi == 0x202
    assert status.sense[2] == 5
    assert status.sense[12] == 0x20
    driver.submit(command_entry(5, WRITE, [(buffer, 512)], read=False, lun=3))
    assert Status(driver.response(iocb.STATUS)).sense[12] == 0x27


def test_long_sense_goes_into_a_continuation(side: Side) -> None:
    from hba.fc.disk import Reply

    _, _, driver, target = side
    sense = bytes(range(100))
    target.disks[0].commands[0x00] = lambda cdb, data: Reply(2, sense)
    driver.submit(command_entry(5, bytes(6), []))
    status = Status(driver.response(iocb.STATUS))
    assert status.sense_length == 100
    assert status.sense == sense[:28]
    more = driver.response(iocb.STATUS_CONTINUATION)
    assert iocb.swap(more[4:64]) == sense[28:88]
    assert iocb.swap(driver.response(iocb.STATUS_CONTINUATION)[4:64])[:12] == sense[88:]


def test_dropped_data_frame_is_noticed(side: Side) -> None:
    _, chip, driver, _ = side
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1, clip=2048))
    driver.submit(command_entry(5, READ, [(driver.memory.allocate(4096), 4096)]))
    status = Status(driver.response(iocb.STATUS))
    assert (status.completion, status.left, status.scsi) == (0x15, 2048, 0)


def test_bad_data_address(side: Side) -> None:
    _, _, driver, _ = side
    for read, cdb in ((True, READ), (False, WRITE)):
        driver.submit(command_entry(5, cdb, [(0x10, 4096)], read=read))
        assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_DMA


def test_not_logged_in(side: Side) -> None:
    _, _, driver, _ = side
    driver.submit(command_entry(9, INQUIRY, [(driver.memory.allocate(36), 36)]))
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_LOGGED_OUT


def test_login_errors_and_discovery(side: Side) -> None:
    _, chip, driver, target = side

    def attempt(entry: bytes) -> tuple[int, int, int]:
        driver.submit(entry)
        answer = driver.response(iocb.LOGIN)
        return struct.unpack_from("<H", answer, 8)[0], *struct.unpack_from("<II", answer, 20)

    assert attempt(login_entry(6, target.port_id)) == (0x31, 0x1A, 5)
    assert attempt(login_entry(6, 0x01FF00)) == (0x31, 0x1C, 0)
    other = ScriptedTarget(chip.loop, chip.medium, TARGET + 1, {})
    other.plug()
    assert attempt(login_entry(5, other.port_id)) == (0x31, 0x1B, target.port_id)
    assert attempt(login_entry(5, 0, 3))[0] == 0
    assert attempt(login_entry(5, 0, 1))[:2] == (0, target.nport.service)
    assert attempt(login_entry(9, 0, 3))[:2] == (0x31, 9)
    assert attempt(login_entry(9, 0, 1))[:2] == (0x31, 9)
    assert attempt(login_entry(9, 0, 8))[:2] == (0x31, 9)
    assert attempt(login_entry(5, 0, 7))[:2] == (0x31, 4)
    assert attempt(login_entry(0x7FC, 0xFFFFFC, 0x20))[0] == 0
    assert attempt(login_entry(5, 0, 0x88))[0] == 0
    chip.loop.run_for(1)
    assert "LOGO" in target.events
    assert not driver.taken.events or driver.taken.events[-1][2] != 7
    assert attempt(login_entry(5, target.port_id, 0x20))[0] == 0
    assert attempt(login_entry(5, target.port_id, 0x98))[0] == 0


def test_port_database_and_name_list(side: Side) -> None:
    _, _chip, driver, target = side
    address = driver.memory.allocate(512)
    assert driver.command(0x64, driver.with_address(address, {1: 5}))[0] == 0x4000
    record = driver.memory.dma.read(address, 64)
    assert record[2] == 6
    assert record[8:11] == target.port_id.to_bytes(3, "big")
    assert record[22] & 0x10
    assert record[24:32] == TARGET.to_bytes(8, "big")
    assert driver.command(0x64, driver.with_address(address, {1: 77}))[0] == 0x400A
    assert driver.command(0x75, driver.with_address(address, {1: 0xC, 8: 512, 9: 0}))[1] == 40
    record = driver.memory.dma.read(address, 40)
    assert record[8:11] == target.port_id.to_bytes(3, "little")
    assert record[24:32] == TARGET.to_bytes(8, "little")
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.MAILBOX_ENTRY, 1))
    struct.pack_into("<HHHH", entry, 8, 0x64, 5, address >> 16, address & 0xFFFF)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.MAILBOX_ENTRY), 8)[0] == 0x4000
    assert driver.command(0x7C, driver.with_address(address))[1] == 0


def test_name_server_through_the_chip(side: Side) -> None:
    from hba.fc.nameserver import ct_request

    _, chip, driver, target = side
    driver.submit(login_entry(0x7FC, 0xFFFFFC, 0x20))
    driver.response(iocb.LOGIN)

    def ask(payload: bytes, limit: int = 512) -> bytes:
        source, sink = driver.memory.allocate(len(payload), payload), driver.memory.allocate(limit)
        entry = bytearray(64)
        entry[0:2] = bytes((iocb.CT, 1))
        struct.pack_into("<H", entry, 10, 0x7FC)
        struct.pack_into("<IIQIQI", entry, 32, limit, len(payload), source, len(payload), sink, limit)
        driver.submit(bytes(entry))
        answer = driver.response(iocb.CT)
        status, size = struct.unpack_from("<H", answer, 8)[0], struct.unpack_from("<I", answer, 32)[0]
        assert status == 0
        return driver.memory.dma.read(sink, size)

    own = chip.port.port_id.to_bytes(4, "big")
    assert ask(ct_request(0x0217, own + bytes(2) + b"\x01" + bytes(29)))[8:10] == b"\x80\x02"
    assert ask(ct_request(0x021F, own + bytes((0, 0, 2, 8))))[8:10] == b"\x80\x02"
    listing = ask(ct_request(0x0171, bytes((0, 0, 0, 8))))[16:]
    ids = {int.from_bytes(listing[at + 1 : at + 4], "big") for at in range(0, len(listing), 4)}
    assert ids == {chip.port.port_id, target.port_id}
    assert ask(ct_request(0x0112, target.port_id.to_bytes(4, "big")))[16:] == TARGET.to_bytes(8, "big")
    assert ask(ct_request(0x011F, own))[23] == 2
    assert ask(ct_request(0x0999))[8:10] == b"\x80\x01"
    assert len(ask(ct_request(0x0100, own), 1024)) == 608


def test_task_management_returns_the_commands(side: Side) -> None:
    _loop, _, driver, target = side
    target.hold = True
    buffer = driver.memory.allocate(4096)
    driver.submit(
        command_entry(5, READ, [(buffer, 4096)], handle=1),
        command_entry(5, INQUIRY, [(buffer, 36)], handle=2, lun=3),
    )
    driver.settle()
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.TASK_MANAGEMENT, 1))
    struct.pack_into("<IH", entry, 4, 99, 5)
    struct.pack_into("<I", entry, 24, 0x10)
    driver.submit(bytes(entry))
    answers = {status.handle: status for status in (Status(driver.response(iocb.STATUS)) for _ in range(2))}
    assert answers[1].completion == iocb.CS_RESET
    assert (answers[99].completion, answers[99].scsi & 0x100, answers[99].info[3]) == (0, 0x100, 0)
    struct.pack_into("<I", entry, 24, 0x02)
    driver.submit(bytes(entry))
    assert {Status(driver.response(iocb.STATUS)).handle for _ in range(2)} == {2, 99}
    target.hold = False
    driver.submit(command_entry(5, bytes(6), []))
    assert Status(driver.response(iocb.STATUS)).sense[12] == 0x29
    struct.pack_into("<H", entry, 8, 44)
    driver.submit(bytes(entry))
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_PORT_UNAVAILABLE
    assert target.log[-2:] == ["task management 10 lun 0", "task management 20 lun 0"]


@pytest.mark.parametrize("options", [0, 1])
def test_abort(side: Side, options: int) -> None:
    _, _, driver, target = side
    target.hold = True
    driver.submit(command_entry(5, READ, [(driver.memory.allocate(4096), 4096)], handle=21))
    driver.settle()
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.ABORT, 1))
    struct.pack_into("<IHHI", entry, 4, 50, 5, options, 21)
    driver.submit(bytes(entry))
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_ABORTED
    assert struct.unpack_from("<H", driver.response(iocb.ABORT), 8)[0] == 0
    assert ("abort" in target.log) == (not options)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.ABORT), 8)[0] == iocb.CS_IOCB_ERROR


@pytest.mark.parametrize("options", [0, 1])
def test_abort_of_task_management(side: Side, options: int) -> None:
    """A driver that gets no answer aborts it, and waits for the entry itself to come back."""
    _, _, driver, target = side
    target.hold_tasks = True
    task = bytearray(64)
    task[0:2] = bytes((iocb.TASK_MANAGEMENT, 1))
    struct.pack_into("<IH", task, 4, 99, 5)
    struct.pack_into("<I", task, 24, 0x10)
    driver.submit(bytes(task))
    driver.settle()
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.ABORT, 1))
    struct.pack_into("<IHHI", entry, 4, 50, 5, options, 99)
    driver.submit(bytes(entry))
    status = Status(driver.response(iocb.STATUS))
    assert (status.handle, status.completion) == (99, iocb.CS_ABORTED)
    assert struct.unpack_from("<H", driver.response(iocb.ABORT), 8)[0] == 0
    assert ("abort" in target.log) == (not options)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.ABORT), 8)[0] == iocb.CS_IOCB_ERROR


def test_command_timeout(side: Side) -> None:
    loop, _, driver, target = side
    target.hold = True
    started = loop.now()
    driver.submit(command_entry(5, READ, [(driver.memory.allocate(4096), 4096)], timeout=3))
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_TIMEOUT
    assert 3 <= loop.now() - started <= 5


def test_cable_pull_and_return(side: Side) -> None:
    _loop, chip, driver, target = side
    target.hold = True
    driver.submit(command_entry(5, READ, [(driver.memory.allocate(4096), 4096)]))
    driver.settle()
    chip.plug(False)
    driver.event(0x8012)
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_PORT_UNAVAILABLE
    driver.submit(command_entry(5, INQUIRY, [(driver.memory.allocate(36), 36)]))
    assert Status(driver.response(iocb.STATUS)).completion == iocb.CS_PORT_UNAVAILABLE
    chip.plug(True)
    driver.event(0x8014)
    assert target.events.count("RSCN") >= 2


def test_remote_events(side: Side) -> None:
    loop, chip, driver, target = side
    chip.medium.rscn(target.port_id)  # type: ignore[union-attr]
    event = driver.event(0x8015)
    while event[1] << 16 | event[2] != target.port_id:
        event = driver.event(0x8015)
    target.nport.logout(chip.port.port_id, lambda outcome, payload: None)
    event = driver.event(0x8014)
    assert event[1:3] == (5, 7)
    peer = ScriptedInitiator(loop, chip.medium, INITIATOR)
    peer.plug()
    peer.login(chip.port.port_id)
    assert peer.scsi(chip.port.port_id, bytes(6)).status == 2
    chip.medium.disturb(chip.port)
    driver.event(0x8012)
    driver.command(0x72)
    driver.event(0x8012)


def test_crash_reset_and_restart(side: Side) -> None:
    _, chip, driver, target = side
    driver.set_mailbox(0, 0x2A)
    driver.start_command()
    driver.event(0x8002)
    assert not chip.port.online
    assert chip.asked
    driver.close()
    again = Driver2400(chip.loop, chip)
    again.start()
    assert not chip.asked
    again.submit(login_entry(5, target.port_id))
    assert struct.unpack_from("<H", again.response(iocb.LOGIN), 8)[0] == 0
    again.command(0x14)
    assert not chip.port.online


def test_faults_of_completions(side: Side) -> None:
    loop, chip, driver, _ = side
    buffer = driver.memory.allocate(4096)
    chip.faults.lose = 1
    driver.submit(command_entry(5, READ, [(buffer, 4096)]))
    driver.settle(1)
    assert not any(entry[0] == iocb.STATUS for entry in driver.taken.entries)
    assert chip.faults.lost == 1
    chip.faults.delay, chip.faults.dma_rate = 2.0, 4096.0
    started = loop.now()
    driver.submit(command_entry(5, READ, [(buffer, 4096)]))
    driver.response(iocb.STATUS)
    assert loop.now() - started == pytest.approx(3.0, abs=0.1)


def test_surprise_removal(side: Side) -> None:
    _, chip, driver, target = side
    chip.remove()
    driver.put(0x48, 0x50000000)
    assert driver.get(0x44) == 0xFFFFFFFF
    assert driver.config(0) == 0xFFFF
    assert target.port_id not in chip.port.remotes


def test_queue_transfer_errors() -> None:
    _, chip, driver = build()
    driver.start()
    chip.request.base = 0x10
    driver.put(0x1C, 1)
    assert driver.event(0x8003)[1] == 1
    driver.put(0x1C, 0xFFFF)
    driver.close()
    _loop, chip, driver = build()
    driver.start()
    chip.response.base = 0x10
    driver.submit(login_entry(5, 0x01FF00))
    driver.event(0x8004)
    driver.close()


def test_unknown_entry(side: Side) -> None:
    _, _, driver, _ = side
    driver.submit(bytes((0xEE, 1)) + bytes(62))
    assert driver.response(0xEE)[3] == iocb.ENTRY_BAD_TYPE
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.CT, 1))
    struct.pack_into("<IIQI", entry, 32, 16, 16, 0x10, 16)
    driver.submit(bytes(entry))
    assert driver.response(iocb.CT)[3] == iocb.ENTRY_BAD_PARAMETER


def test_execute_entry_by_mailbox(side: Side) -> None:
    _, _, driver, _ = side
    address = driver.memory.allocate(64, login_entry(0x7FC, 0xFFFFFC, 0x20))
    assert driver.command(0x54, driver.with_address(address))[0] == 0x4000
    assert driver.memory.dma.read(address + 8, 2) == bytes(2)
    payload = bytes((fc.ELS_ECHO, 0, 0, 0))
    source, sink = driver.memory.allocate(4, payload), driver.memory.allocate(64)
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.ELS, 1))
    struct.pack_into("<H", entry, 10, 5)
    struct.pack_into("<IIQIQI", entry, 32, 64, 4, source, 4, sink, 64)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.ELS), 8)[0] == 0
    assert driver.memory.dma.read(sink, 1) == bytes((fc.ELS_LS_ACC,))


@pytest.mark.parametrize("model", ["2432", "2532"])
def test_parameter_memory(model: str) -> None:
    _, _chip, driver = build(model)
    base = 0x7FF48080 if model == "2532" else 0x7FFE0080
    words = []
    for index in range(128):
        driver.put(0, base + index)
        assert driver.get(0) & 0x80000000
        words.append(driver.get(4))
    image = struct.pack("<128I", *words)
    assert image[:4] == b"ISP "
    assert image[20:28] == WWPN.to_bytes(8, "big")
    assert sum(words) & 0xFFFFFFFF == 0
    driver.put(0, 0x7FF00000)
    assert driver.get(4) == 0xFFFFFFFF
    driver.put(4, 0x1234)
    driver.put(0, 0xFFF00000)
    driver.put(0, 0x7FF00000)
    assert driver.get(4) == 0x1234
    driver.put(0, 0x7FFD03AB)
    assert driver.get(4) == 0x2015
    driver.close()


def test_registers() -> None:
    _, chip, driver = build(interrupt="intx")
    assert chip.irqs.keys() == {0}
    driver.put(0x48, 0x10000000)
    assert driver.get(0x48) == 0x20
    driver.put(0x48, 0x20000000)
    assert driver.get(0x48) == 0
    assert driver.get(0x10) == 0
    driver.put(0x4C, 0x55)
    assert driver.get(0x4C) == 0x55
    assert driver.get(0x4D, 1) == 0
    driver.put(0x08, 0x30000)
    assert driver.get(0x08) == 0x10000
    driver.put(0x0C, 8)
    assert driver.get(0x0C) == 8
    chip.async_event(0x8030)
    assert driver.get(0x10) == 8
    assert driver.get(0x44) == 0x80308012
    chip.irq_unmasked(0)
    driver.close()


def test_private_loop() -> None:
    loop, chip, driver = build(medium_type=ArbitratedLoop)
    target = ScriptedTarget(loop, chip.medium, TARGET, {0: RamDisk(1 << 20)})
    chip.medium.set_hard_address(target.nport, 4)  # type: ignore[union-attr]
    target.plug()
    driver.start()
    result = driver.command(0x20, {9: 0})
    assert (result[1], result[2], result[6]) == (0, 0xEF, 0)
    address = driver.memory.allocate(64)
    assert driver.command(0x7C, driver.with_address(address))[1] == 1
    assert driver.memory.dma.read(address, 8) == struct.pack("<BBBBHH", target.port_id, 0, 0, 0, 4, 0)
    driver.submit(login_entry(4, target.port_id))
    assert driver.response(iocb.LOGIN)[8] == 0
    driver.submit(login_entry(9, 0x01))
    assert driver.response(iocb.LOGIN)[20] == 0x1C
    target.unplug()
    driver.event(0x8010)
    driver.close()


def test_marker_with_and_without_answer(side: Side) -> None:
    _, _, driver, _ = side
    marker = bytes((iocb.MARKER, 1, 0, 0))
    driver.submit(marker + b"\xff\xff\xff\x0f" + bytes(56), marker + b"\x05\0\0\0" + bytes(56))
    assert driver.response(iocb.MARKER)[4] == 5
    driver.settle()
    assert not any(entry[0] == iocb.MARKER for entry in driver.taken.entries)


# Virtual ports.


def vp_config(index: int, wwpn: int, options: int = 0x38, command: int = 1) -> bytes:
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.VP_CONFIG, 1))
    entry[12:17] = bytes((command, 1, index, 0, options))
    struct.pack_into(">QQ", entry, 20, wwpn, wwpn + 1)
    return bytes(entry)


def vp_control(index: int, command: int) -> bytes:
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.VP_CONTROL, 1))
    struct.pack_into("<HH", entry, 12, command, 1)
    entry[16 + (index - 1) // 8] = 1 << (index - 1) % 8
    return bytes(entry)


def test_virtual_port(side: Side) -> None:
    _loop, chip, driver, target = side
    driver.response(iocb.REPORT_ID)
    driver.submit(vp_config(2, 0x2101000000000001))
    assert driver.response(iocb.VP_CONFIG)[10] == 0
    report = driver.response(iocb.REPORT_ID)
    port_id = int.from_bytes(report[12:15], "little")
    assert report[10] == 2
    assert port_id == chip.port.port_id + 1
    result = driver.command(0x20, {9: 2})
    assert result[2] == port_id & 0xFFFF
    driver.submit(login_entry(8, target.port_id, vp=2))
    assert driver.response(iocb.LOGIN)[8] == 0
    buffer = driver.memory.allocate(4096)
    driver.submit(command_entry(8, READ, [(buffer, 4096)]))
    assert Status(driver.response(iocb.STATUS)).completion == 0
    chip.plug(False)
    driver.event(0x8012)
    chip.plug(True)
    reports = [driver.response(iocb.REPORT_ID) for _ in range(2)]
    assert [entry[10] for entry in reports] == [0, 2]
    driver.submit(vp_control(2, 0x0B))
    assert driver.response(iocb.VP_CONTROL)[10] == 0
    assert port_id not in chip.medium.ports
    driver.submit(
        vp_control(2, 0x00), vp_config(0, 1), vp_config(3, 0x2101000000000003, command=0), vp_control(3, 0x00)
    )
    assert driver.response(iocb.VP_CONTROL)[10] == 1
    assert driver.response(iocb.VP_CONFIG)[10] == 2
    assert driver.response(iocb.VP_CONFIG)[10] == 0
    assert driver.response(iocb.VP_CONTROL)[10] == 0
    assert driver.response(iocb.REPORT_ID)[10] == 3


def test_virtual_port_of_the_control_block() -> None:
    _loop, chip, driver = build()
    mid = (
        struct.pack("<HH", 4, 0)
        + bytes(20)
        + struct.pack("<HBB", 0, 0x18, 0)
        + struct.pack(">QQ", 0x2101000000000007, 9)
    )
    driver.start(mid=mid + bytes(40))
    reports = [driver.response(iocb.REPORT_ID)[10] for _ in range(2)]
    assert reports == [0, 1]
    assert {port.wwpn for port in chip.medium.ports.values()} == {WWPN, 0x2101000000000007}
    driver.close()


def test_completions_are_collected_while_commands_are_active() -> None:
    loop, chip, driver = build()
    target = ScriptedTarget(loop, chip.medium, TARGET, {0: RamDisk(1 << 20)})
    target.plug()
    driver.start()
    driver.submit(login_entry(5, target.port_id))
    driver.response(iocb.LOGIN)
    chip.coalesce = 0.5
    target.delay = 0.0
    buffer = driver.memory.allocate(4096)
    started = loop.now()
    driver.submit(command_entry(5, READ, [(buffer, 4096)], handle=1))
    driver.response(iocb.STATUS)
    assert loop.now() == started
    target.hold = True
    driver.submit(command_entry(5, READ, [(buffer, 4096)], handle=2))
    driver.settle(0.1)
    target.hold = False
    started = loop.now()
    driver.submit(command_entry(5, READ, [(buffer, 4096)], handle=3))
    assert Status(driver.response(iocb.STATUS)).handle == 3
    assert loop.now() - started == pytest.approx(0.5, abs=0.01)
    driver.close()
