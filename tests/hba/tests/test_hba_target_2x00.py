# SPDX-License-Identifier: GPL-2.0-or-later
"""The 2x00 target side, driven through registers and rings as a driver would, against a scripted initiator.

One test per row of the entry tables: enable and modify LUN, ATIO 2, CTIO 2 and 3 in every flag combination,
notifies and their acknowledgement, fast post, resource counts, residuals, sense, returned status codes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hba.boards import make_chip
from hba.fc import frames as fc
from hba.fc.media import ArbitratedLoop, FrameFault, Switch
from hba.fc.nport import Outcome
from hba.fc.scripted import ScriptedInitiator, ScsiResult, Task
from hba.hostside import Driver2200, Driver2300
from hba.isp import iocb, tgt2x
from hba.isp.fw2x import Firmware2x
from hba.isp.models import Settings
from hba.isp.regs2x import Isp2300
from hba.loop import Loop

WWPN = 0x210000E08B000001
INITIATOR = 0x10000000C9000001
READ_CDB = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 4, 0))
WRITE_CDB = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 4, 0))
DATA = bytes(range(256)) * 8
SENSE = bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0))
FULL_FAST = tgt2x.GIVE_BACK | tgt2x.FAST_POST


@dataclass
class Bench:
    """A chip in target mode, its driver, and an initiator logged in to it."""

    loop: Loop
    chip: Isp2300
    driver: Driver2300
    initiator: ScriptedInitiator
    address: int

    @property
    def firmware(self) -> Firmware2x:
        assert isinstance(self.chip.firmware, Firmware2x)
        return self.chip.firmware

    def begin(
        self,
        cdb: bytes = READ_CDB,
        data: bytes = b"",
        *,
        read: int = 0,
        lun: int = 0,
        attribute: int = 0,
        length: int | None = None,
    ) -> tuple[Task, bytes]:
        task = self.initiator.start(
            self.address, cdb, data, read=read, lun=lun, attribute=attribute, length=length
        )
        return task, self.driver.response(iocb.ATIO_2)

    def end(self, task: Task) -> ScsiResult:
        def done() -> bool:
            self.driver.service()
            return task.done

        assert self.loop.run_until(done, 60)
        return self.initiator.finish(task)


def lun_entry(kind: int, commands: int, notifies: int, *, operators: int = 0, timeout: int = 0xFFFF) -> bytes:
    entry = bytearray(64)
    entry[0:2] = bytes((kind, 1))
    entry[10], entry[18], entry[19] = operators, commands, notifies
    struct.pack_into("<H", entry, 22, timeout)
    return bytes(entry)


def ctio(
    atio: bytes,
    flags: int,
    *,
    kind: int = iocb.CTIO_2,
    handle: int = 0x20000001,
    segments: Sequence[tuple[int, int]] = (),
    scsi: int = 0,
    length: int = 0,
    offset: int = 0,
    residual: int = 0,
    sense: bytes = b"",
    info: bytes = b"",
    timeout: int = 0xFFFF,
) -> bytes:
    entry = bytearray(64)
    entry[0:2] = bytes((kind, 1))
    struct.pack_into("<I", entry, 4, handle)
    entry[8:12] = atio[8:12]
    struct.pack_into("<HHHHII", entry, 12, flags, 0, timeout, len(segments), offset, residual)
    struct.pack_into("<H", entry, 34, scsi)
    if flags & 3 == 1:
        struct.pack_into("<HHH", entry, 32, len(sense), scsi, len(info))
        entry[38 : 38 + len(info) + len(sense)] = info + sense
        return bytes(entry)
    struct.pack_into("<I", entry, 36, length)
    wide = kind == iocb.CTIO_3
    inside = 2 if wide else 3
    layout, per_more, skip, more_kind = ("<QI", 5, 4, 0x0A) if wide else ("<II", 7, 8, 0x02)
    size = struct.calcsize(layout)
    for index, segment in enumerate(segments[:inside]):
        struct.pack_into(layout, entry, 40 + size * index, *segment)
    rest = segments[inside:]
    while rest:
        more = bytearray(64)
        more[0:2] = bytes((more_kind, 1))
        for index, segment in enumerate(rest[:per_more]):
            struct.pack_into(layout, more, skip + size * index, *segment)
        rest = rest[per_more:]
        entry += more
        entry[1] += 1
    return bytes(entry)


def ack(notify: bytes, *, flags: int = 0, code: int = 0, srr: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    entry = bytearray(notify)
    entry[0] = iocb.NOTIFY_ACK
    struct.pack_into("<HH", entry, 12, flags, code)
    entry[16:30] = notify[16:30]
    struct.pack_into("<HHBB", entry, 30, srr[0], srr[1], 0, srr[2])
    return bytes(entry)


def build(
    model: str, medium_type: type[Switch] | type[ArbitratedLoop] = Switch, commands: int = 250
) -> Bench:
    loop = Loop(virtual=True)
    medium = medium_type(loop)
    chip = make_chip(loop, medium, model, Settings(WWPN, WWPN ^ 1 << 56), "hba0")
    assert isinstance(chip, Isp2300)
    driver = (Driver2200 if model == "2200" else Driver2300)(loop, chip)
    driver.start(0x36)
    driver.submit(lun_entry(iocb.ENABLE_LUN, commands, 250))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_OK
    initiator = ScriptedInitiator(loop, medium, INITIATOR)
    initiator.plug()
    address = initiator.find(WWPN)
    remote = initiator.login(address)
    assert remote.service & fc.ROLE_TARGET
    return Bench(loop, chip, driver, initiator, address)


@pytest.fixture(params=["2200", "2300", "2312"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = build(request.param)
    yield made
    made.driver.close()


def test_login_is_announced(bench: Bench) -> None:
    event = bench.driver.event(0x8014)
    while event[2] != 6 or event[1] == 0xFFFF:
        event = bench.driver.event(0x8014)
    assert event[1] == 0x81


def test_enable_and_modify_lun(bench: Bench) -> None:
    driver, targets = bench.driver, bench.firmware.targets
    driver.submit(lun_entry(iocb.ENABLE_LUN, 250, 250))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_ALREADY
    for operators, commands, notifies in (
        (0x01, 251, 250),
        (0x02, 250, 250),
        (0x04, 250, 251),
        (0x08, 250, 250),
        (0x40, 250, 251),
        (0x80, 250, 250),
    ):
        driver.submit(lun_entry(iocb.MODIFY_LUN, 1, 1, operators=operators))
        assert driver.response(iocb.MODIFY_LUN)[16] == tgt2x.LUN_OK
        assert (targets.commands, targets.notifies) == (commands, notifies)
    driver.submit(lun_entry(iocb.ENABLE_LUN, 0, 0, timeout=0))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_OK
    driver.submit(lun_entry(iocb.ENABLE_LUN, 0, 0, timeout=0), lun_entry(iocb.MODIFY_LUN, 1, 1, operators=1))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_INVALID
    assert driver.response(iocb.MODIFY_LUN)[16] == tgt2x.LUN_INVALID
    assert bench.initiator.scsi(bench.address, bytes(6)).status == fc.STATUS_BUSY


def test_enable_lun_without_target_mode() -> None:
    loop = Loop(virtual=True)
    chip = make_chip(loop, Switch(loop), "2312", Settings(WWPN, WWPN), "hba0")
    driver = Driver2300(loop, chip)
    driver.start(0x06)
    driver.submit(lun_entry(iocb.ENABLE_LUN, 250, 250))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_NO_CAPABILITY
    driver.close()


@pytest.mark.parametrize(("attribute", "code"), [(0, 0), (1, 1), (2, 2), (4, 4), (5, 5)])
def test_atio_fields(bench: Bench, attribute: int, code: int) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA, lun=300, attribute=attribute)
    firmware = bench.firmware
    assert firmware.read_id(atio) == 0x81
    rx_id, _, status = struct.unpack_from("<HHH", atio, 10)
    assert rx_id
    assert status == tgt2x.CDB_VALID
    assert atio[17] == code
    assert atio[19] == 1
    assert atio[20:30] == WRITE_CDB
    assert struct.unpack_from("<IH", atio, 36) == (len(DATA), 300)
    assert atio[42:50] == (bytes(8) if bench.chip.model.name == "2200" else INITIATOR.to_bytes(8, "big"))
    assert struct.unpack_from("<H", atio, 62)[0] == task.exchange.ox_id
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0


@pytest.mark.parametrize("kind", [iocb.CTIO_2, iocb.CTIO_3])
@pytest.mark.parametrize("pieces", [1, 3, 12])
def test_read_with_good_status(bench: Bench, kind: int, pieces: int) -> None:
    task, atio = bench.begin(read=len(DATA))
    assert atio[19] == 2
    size = -(-len(DATA) // pieces)
    segments = [
        (bench.driver.memory.allocate(size, DATA[at : at + size]), len(DATA[at : at + size]))
        for at in range(0, len(DATA), size)
    ]
    before = bench.firmware.targets.commands
    flags = tgt2x.DATA_IN | FULL_FAST | tgt2x.SEND_STATUS
    bench.driver.submit(ctio(atio, flags, kind=kind, segments=segments, length=len(DATA)))
    result = bench.end(task)
    assert (result.outcome, result.status, result.data, result.residual) == (Outcome.DONE, 0, DATA, 0)
    bench.driver.settle()
    assert bench.driver.taken.fast == [0x20000001]
    assert not bench.driver.taken.entries
    assert bench.firmware.targets.commands == before + 1


@pytest.mark.parametrize("kind", [iocb.CTIO_2, iocb.CTIO_3])
def test_write_then_status(bench: Bench, kind: int) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA)
    buffer = bench.driver.memory.allocate(len(DATA))
    half = len(DATA) // 2
    segments = [(buffer, half), (buffer + half, half)]
    bench.driver.submit(
        ctio(
            atio,
            tgt2x.DATA_OUT | tgt2x.FAST_POST,
            kind=kind,
            segments=segments,
            length=len(DATA),
            handle=0x60000002,
        )
    )
    bench.driver.wait(lambda: bench.driver.taken.fast == [0x60000002], "the data")
    assert bench.driver.memory.dma.read(buffer, len(DATA)) == DATA
    assert not task.done
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0


def test_write_with_status_in_one_entry(bench: Bench) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA)
    buffer = bench.driver.memory.allocate(len(DATA))
    flags = tgt2x.DATA_OUT | tgt2x.GIVE_BACK | tgt2x.SEND_STATUS
    bench.driver.submit(ctio(atio, flags, segments=[(buffer, len(DATA))], length=len(DATA)))
    assert bench.end(task).status == 0
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_OK
    assert bench.driver.memory.dma.read(buffer, len(DATA)) == DATA


def test_write_in_two_bursts(bench: Bench) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA)
    buffer = bench.driver.memory.allocate(len(DATA))
    half = len(DATA) // 2
    for offset in (0, half):
        bench.driver.submit(
            ctio(atio, tgt2x.DATA_OUT, segments=[(buffer + offset, half)], length=half, offset=offset)
        )
        assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_OK
    assert bench.driver.memory.dma.read(buffer, len(DATA)) == DATA
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0


def test_read_with_sense(bench: Bench) -> None:
    task, atio = bench.begin(read=len(DATA))
    part = bench.driver.memory.allocate(512, DATA[:512])
    bench.driver.submit(
        ctio(atio, tgt2x.DATA_IN | tgt2x.FAST_POST, segments=[(part, 512)], length=512),
        ctio(
            atio,
            1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS,
            scsi=0x0A02,
            residual=len(DATA) - 512,
            sense=SENSE,
        ),
    )
    result = bench.end(task)
    assert (result.status, result.sense, result.residual, result.data) == (
        2,
        SENSE,
        len(DATA) - 512,
        DATA[:512],
    )


def test_response_info_before_sense(bench: Bench) -> None:
    task, atio = bench.begin(bytes(6))
    info = bytes((0, 0, 0, 5, 0, 0, 0, 0))
    bench.driver.submit(
        ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS, scsi=0x0302, sense=SENSE, info=info)
    )
    result = bench.end(task)
    assert result.sense == SENSE
    assert task.end.response.info == info


@pytest.mark.parametrize(("scsi", "residual", "expected"), [(0x0800, 100, 100), (0x0400, 64, -64)])
def test_residuals(bench: Bench, scsi: int, residual: int, expected: int) -> None:
    task, atio = bench.begin(read=len(DATA))
    size = len(DATA) - (residual if expected > 0 else 0)
    buffer = bench.driver.memory.allocate(len(DATA), DATA)
    flags = tgt2x.DATA_IN | FULL_FAST | tgt2x.SEND_STATUS
    bench.driver.submit(
        ctio(atio, flags, segments=[(buffer, size)], length=size, scsi=scsi, residual=residual)
    )
    result = bench.end(task)
    assert (result.residual, result.data) == (expected, DATA[:size])


def test_busy(bench: Bench) -> None:
    task, atio = bench.begin(bytes(6))
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS, scsi=8))
    assert bench.end(task).status == fc.STATUS_BUSY


def test_terminate(bench: Bench) -> None:
    task, atio = bench.begin(read=512)
    before = bench.firmware.targets.commands
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.TERMINATE))
    bench.driver.wait(lambda: bool(bench.driver.taken.fast), "the end")
    assert bench.firmware.targets.commands == before + 1
    assert not task.done
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_BAD_EXCHANGE


def test_response_from_memory(bench: Bench) -> None:
    task, atio = bench.begin(read=512)
    raw = fc.Response(2, SENSE, 512).encode()
    address = bench.driver.memory.allocate(len(raw), raw)
    entry = bytearray(
        ctio(
            atio,
            2 | tgt2x.NO_DATA | tgt2x.GIVE_BACK | tgt2x.SEND_STATUS,
            segments=[(address, len(raw))],
            length=len(raw),
        )
    )
    bench.driver.submit(bytes(entry))
    result = bench.end(task)
    assert (result.status, result.sense, result.residual) == (2, SENSE, 512)
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_OK


def test_malformed_response_from_memory(bench: Bench) -> None:
    _, atio = bench.begin(read=512)
    address = bench.driver.memory.allocate(8)
    bench.driver.submit(ctio(atio, 2 | tgt2x.NO_DATA, segments=[(address, 8)], length=8))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_ERROR
    bench.driver.submit(ctio(atio, 3))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_ERROR


@pytest.mark.parametrize("flag", [tgt2x.CONFIRM, tgt2x.EXPLICIT_CONFIRM])
def test_confirmed_completion(bench: Bench, flag: int) -> None:
    task, atio = bench.begin(bytes(6))
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.GIVE_BACK | tgt2x.SEND_STATUS | flag))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_OK
    assert task.end.response.confirm


def test_confirmation_that_never_comes(bench: Bench) -> None:
    _, atio = bench.begin(bytes(6))
    bench.initiator.medium.wire.faults.append(
        FrameFault(lambda frame: frame.r_ctl == fc.R_CONFIRM and frame.type == 8, 1)
    )
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS | tgt2x.CONFIRM))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_TIMEOUT


@pytest.mark.parametrize("timeout", [0, 5])
def test_data_that_never_comes(bench: Bench, timeout: int) -> None:
    _, atio = bench.begin(WRITE_CDB, DATA)
    bench.initiator.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    buffer = bench.driver.memory.allocate(len(DATA))
    started = bench.loop.now()
    bench.driver.submit(
        ctio(
            atio,
            tgt2x.DATA_OUT | tgt2x.FAST_POST,
            segments=[(buffer, len(DATA))],
            length=len(DATA),
            timeout=timeout,
        )
    )
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_TIMEOUT
    assert bench.loop.now() - started == pytest.approx(timeout or 30, abs=0.1)


def test_bad_address(bench: Bench) -> None:
    task, atio = bench.begin(read=512)
    bench.driver.submit(ctio(atio, tgt2x.DATA_IN, segments=[(0x10, 512)], length=512))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_DMA
    task2, atio2 = bench.begin(WRITE_CDB, DATA)
    bench.driver.submit(ctio(atio2, tgt2x.DATA_OUT, segments=[(0x10, 512)], length=512))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_DMA
    assert not task.done
    assert not task2.done


def test_lun_disabled_under_a_command(bench: Bench) -> None:
    _, atio = bench.begin(read=512)
    bench.driver.submit(
        lun_entry(iocb.ENABLE_LUN, 0, 0, timeout=0), ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS)
    )
    assert bench.driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_ERROR
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_LUN_DISABLED


def test_queue_full_without_command_resources() -> None:
    bench = build("2312", commands=2)
    tasks = [bench.begin(bytes(6)) for _ in range(2)]
    assert bench.initiator.scsi(bench.address, bytes(6)).status == fc.STATUS_FULL
    bench.driver.submit(ctio(tasks[0][1], 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    bench.end(tasks[0][0])
    _, atio = bench.begin(bytes(6))
    assert atio[0] == iocb.ATIO_2
    bench.driver.submit(lun_entry(iocb.MODIFY_LUN, 1, 0, operators=1))
    assert bench.driver.response(iocb.MODIFY_LUN)[16] == tgt2x.LUN_OK
    bench.begin(bytes(6))
    bench.driver.close()


@pytest.mark.parametrize(
    ("function", "flags", "status"),
    [
        (fc.TASK_ABORT_SET, 0x0200, tgt2x.CTIO_ABORTED),
        (fc.TASK_CLEAR_SET, 0x0400, tgt2x.CTIO_ABORTED),
        (fc.TASK_LUN_RESET, 0x1000, tgt2x.CTIO_LUN_RESET),
        (fc.TASK_TARGET_RESET, 0x2000, tgt2x.CTIO_TARGET_RESET),
        (fc.TASK_CLEAR_ACA, 0x4000, None),
    ],
)
@pytest.mark.parametrize("code", [fc.TMF_COMPLETE, fc.TMF_REJECTED])
def test_task_management(bench: Bench, function: int, flags: int, status: int | None, code: int) -> None:
    _, atio = bench.begin(read=512)
    task = bench.initiator.start(bench.address, bytes(16), task=function)
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<HH", notify, 16) == (tgt2x.NOTIFY_TASK, flags)
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    expected = tgt2x.CTIO_NOTIFY_OUTSTANDING if status is None else status
    assert bench.driver.response(iocb.CTIO_2)[14] == expected
    bench.driver.submit(ack(notify, flags=tgt2x.ACK_RESPONSE_VALID, code=code))
    assert bench.driver.response(iocb.NOTIFY_ACK)[16] == tgt2x.ACK_OK
    bench.end(task)
    assert task.end.response.info[3] == code


def test_new_commands_wait_for_the_acknowledgement(bench: Bench) -> None:
    bench.initiator.start(bench.address, bytes(16), task=fc.TASK_LUN_RESET)
    notify = bench.driver.response(iocb.NOTIFY)
    task, atio = bench.begin(bytes(6))
    status = ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS)
    bench.driver.submit(status)
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_NOTIFY_OUTSTANDING
    bench.driver.submit(ack(notify), status)
    assert bench.end(task).status == 0


def test_acknowledgement_of_nothing(bench: Bench) -> None:
    notify = bytearray(64)
    bench.firmware.put_id(notify, 0x81)
    struct.pack_into("<H", notify, 16, tgt2x.NOTIFY_TASK)
    bench.driver.submit(ack(bytes(notify)))
    assert bench.driver.response(iocb.NOTIFY_ACK)[16] == tgt2x.ACK_INVALID


def test_abort(bench: Bench) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA)
    answers: list[bool] = []
    task.exchange.abort(answers.append)
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == tgt2x.NOTIFY_ABORT
    assert notify[20:22] == atio[10:12]
    assert notify[62:64] == atio[62:64]
    assert not answers
    bench.driver.submit(ack(notify))
    bench.driver.wait(lambda: bool(answers), "the answer to ABTS")
    assert answers == [True]
    assert task.end.outcome is Outcome.ABORTED
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_ABORTED


def test_abort_of_an_unknown_exchange(bench: Bench) -> None:
    task, atio = bench.begin(bytes(6))
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.TERMINATE))
    bench.driver.settle()
    assert bench.initiator.abort(task) is False


def test_abort_while_data_is_awaited(bench: Bench) -> None:
    task, atio = bench.begin(WRITE_CDB, DATA)
    bench.initiator.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    buffer = bench.driver.memory.allocate(len(DATA))
    bench.driver.submit(
        ctio(atio, tgt2x.DATA_OUT | tgt2x.FAST_POST, segments=[(buffer, len(DATA))], length=len(DATA))
    )
    bench.driver.settle()
    task.exchange.abort(lambda accepted: None)
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_ABORTED


def test_port_logout(bench: Bench) -> None:
    _, atio = bench.begin(read=512)
    bench.initiator.logout(bench.address)
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == tgt2x.NOTIFY_LOGOUT
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS), ack(notify))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_LOGGED_OUT
    event = bench.driver.event(0x8014)
    while event[2] != 7:
        event = bench.driver.event(0x8014)
    assert event[1] == 0x81


def test_lip_reset(bench: Bench) -> None:
    _, atio = bench.begin(read=512)
    bench.driver.command(0x62, {1: 0})
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == tgt2x.NOTIFY_LIP_RESET
    bench.driver.event(0x8013)
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_LIP_RESET
    bench.driver.submit(ack(notify, flags=tgt2x.ACK_CLEAR_LIP))
    assert bench.driver.response(iocb.NOTIFY_ACK)[16] == tgt2x.ACK_OK
    task, atio = bench.begin(bytes(6))
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0


def test_link_loss_under_a_command(bench: Bench) -> None:
    _, atio = bench.begin(read=512)
    bench.chip.plug(False)
    bench.driver.event(0x8012)
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    assert bench.driver.response(iocb.CTIO_2)[14] == tgt2x.CTIO_PORT_GONE
    bench.chip.plug(True)
    bench.driver.event(0x8011)


@pytest.mark.parametrize("reject", [False, True])
def test_sequence_retransmission(bench: Bench, reject: bool) -> None:
    task, _ = bench.begin(read=len(DATA))
    answers: list[tuple[Outcome, bytes]] = []
    payload = struct.pack(">B3xHHIB3x", fc.ELS_SRR, task.exchange.ox_id, fc.NO_ID, 1024, 1)
    bench.initiator.nport.fc4_request(
        bench.address, payload, lambda outcome, data: answers.append((outcome, data))
    )
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == tgt2x.NOTIFY_SRR
    assert struct.unpack_from("<IHH", notify, 24) == (1024, 1, task.exchange.ox_id)
    bench.driver.submit(ack(notify, srr=(1, 9, 0x2A) if reject else (0, 0, 0)))
    bench.driver.wait(lambda: bool(answers), "the answer to SRR")
    assert answers[0][0] is (Outcome.REJECTED if reject else Outcome.DONE)
    if reject:
        assert answers[0][1][5:7] == bytes((9, 0x2A))


def test_retransmission_of_an_unknown_exchange(bench: Bench) -> None:
    answers: list[Outcome] = []
    payload = struct.pack(">B3xHHIB3x", fc.ELS_SRR, 0x999, fc.NO_ID, 0, 1)
    bench.initiator.nport.fc4_request(bench.address, payload, lambda outcome, data: answers.append(outcome))
    bench.driver.settle()
    assert answers == [Outcome.REJECTED]


def test_firmware_crash_and_restart(bench: Bench) -> None:
    bench.chip.system_error()
    bench.driver.event(0x8002)
    bench.driver.close()
    driver = type(bench.driver)(bench.loop, bench.chip)
    driver.start(0x36)
    driver.submit(lun_entry(iocb.ENABLE_LUN, 10, 10))
    assert driver.response(iocb.ENABLE_LUN)[16] == tgt2x.LUN_OK
    bench.driver = driver
    bench.initiator.login(bench.address)
    task, atio = bench.begin(bytes(6))
    driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0


def test_lost_completion(bench: Bench) -> None:
    task, atio = bench.begin(bytes(6))
    bench.chip.faults.lose = 1
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.GIVE_BACK | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0
    bench.driver.settle()
    assert not bench.driver.taken.entries
    assert bench.chip.faults.lost == 1


def test_target_on_a_loop() -> None:
    bench = build("2312", ArbitratedLoop)
    # The initiator's arrival was a LIP.
    bench.driver.submit(ack(bench.driver.response(iocb.NOTIFY), flags=tgt2x.ACK_CLEAR_LIP))
    assert bench.driver.response(iocb.NOTIFY_ACK)[16] == tgt2x.ACK_OK
    task, atio = bench.begin(bytes(6))
    assert bench.firmware.read_id(atio) == 1
    bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    assert bench.end(task).status == 0
    members = bench.driver.memory.allocate(128)
    bench.driver.command(0x63, bench.driver.with_address(members))
    assert bench.driver.memory.dma.read(members, 3) == bytes((2, 0xEF, 0xE8))
    bench.initiator.unplug()
    bench.driver.event(0x8010)
    bench.driver.close()


def test_a_driver_that_is_late_loses_nothing(bench: Bench) -> None:
    number = 150
    driver = bench.driver
    tasks = [bench.initiator.start(bench.address, bytes(6), lun=each) for each in range(number)]
    # Nothing is read meanwhile: more commands than the queue has room for.
    bench.loop.run_for(1)
    assert bench.chip.response.free(bench.chip.responses.out) == 0
    luns = []
    for _ in tasks:
        atio = driver.response(iocb.ATIO_2)
        luns.append(struct.unpack_from("<H", atio, 40)[0])
        driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | FULL_FAST | tgt2x.SEND_STATUS))
    for task in tasks:
        bench.end(task)
    assert luns == list(range(number))


def test_ctios_fail_as_wanted(bench: Bench) -> None:
    task, atio = bench.begin(bytes(6))
    bench.chip.faults.ctio_failures, bench.chip.faults.ctio_status = 1, tgt2x.CTIO_TIMEOUT
    for expected in (tgt2x.CTIO_TIMEOUT, tgt2x.CTIO_OK):
        bench.driver.submit(ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
        assert bench.driver.response(iocb.CTIO_2)[14] == expected
    bench.end(task)


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("port logout", 0x29, 0x29),
        ("port config", 0x2A, 0x2A),
        ("lip reset", 0x0E, 0x0E),
        ("resource", 0x34, 1),
    ],
)
def test_events(bench: Bench, kind: str, code: int, status: int) -> None:
    _, atio = bench.begin(bytes(6))
    bench.chip.notify(kind, INITIATOR)
    notify = bench.driver.response(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == code
    bench.driver.submit(ack(notify), ctio(atio, 1 | tgt2x.NO_DATA | tgt2x.SEND_STATUS))
    assert bench.driver.response(iocb.NOTIFY_ACK)[16] == tgt2x.ACK_OK
    assert bench.driver.response(iocb.CTIO_2)[14] == status
    assert bench.chip.port.remotes[bench.initiator.port_id].plogi == (kind != "port logout")
