# SPDX-License-Identifier: GPL-2.0-or-later
"""ISP24xx and 25xx in target mode, through registers and rings, against a scripted initiator."""

from __future__ import annotations

import struct

import pytest
from hba.entries24 import (
    DATA,
    INITIATOR,
    READ,
    SENSE,
    WRITE,
    TargetSide,
    acknowledge,
    ctio7,
    finish,
    serve_logins,
)
from hba.fc import frames as fc
from hba.fc.media import FrameFault
from hba.fc.nport import Outcome
from hba.fc.scripted import ScriptedInitiator
from hba.isp import iocb


def test_target_read_write_status(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    address = chip.port.port_id
    task = initiator.start(address, READ, read=4096, attribute=2, lun=5)
    atio = driver.atio(iocb.ATIO_7)
    (length,) = struct.unpack_from("<H", atio, 2)
    assert length == 0x38 | 2 << 12
    assert atio[9:12] == address.to_bytes(3, "big")
    assert atio[13:16] == initiator.port_id.to_bytes(3, "big")
    assert atio[32:34] == b"\0\5"
    assert atio[43] == 2
    assert atio[44:54] == READ
    assert atio[60:64] == (4096).to_bytes(4, "big")
    driver.submit(ctio7(atio, 0x8002, [(driver.memory.allocate(4096, DATA), 4096)]))
    finish(driver, task)
    assert bytes(task.data) == DATA
    assert driver.response(iocb.CTIO_7)[8] == 1
    task = initiator.start(address, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    buffer = driver.memory.allocate(4096)
    driver.submit(ctio7(atio, 0x0001, [(buffer, 4096)]))
    assert driver.response(iocb.CTIO_7)[8] == 1
    assert driver.memory.dma.read(buffer, 4096) == DATA
    driver.submit(ctio7(atio, 0x8040))
    finish(driver, task)
    assert driver.response(iocb.CTIO_7)[8] == 1
    driver.submit(ctio7(atio, 0x8040))
    assert driver.response(iocb.CTIO_7)[8] == 8


def test_target_sense_residual_and_silence(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READ, read=4096)
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0x8140, scsi=0xA02, residual=4096, sense=SENSE))
    finish(driver, task)
    assert task.end.response.sense == SENSE
    assert task.end.response.residual == 4096
    driver.settle()
    assert not any(entry[0] == iocb.CTIO_7 for entry in driver.taken.entries)
    task = initiator.start(chip.port.port_id, bytes(16), task=fc.TASK_LUN_RESET)
    atio = driver.atio(iocb.ATIO_7)
    assert atio[42] == fc.TASK_LUN_RESET
    driver.submit(ctio7(atio, 0x8040, scsi=0x100, info=bytes((0, 0, 0, 5, 0, 0, 0, 0))))
    finish(driver, task)
    assert task.end.response.info[3] == 5


def test_target_long_cdb(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    cdb = bytes((0x7F,)) + bytes(range(31))
    place = chip.atio.index
    initiator.start(chip.port.port_id, cdb, read=512)
    atio = driver.atio(iocb.ATIO_7)
    assert atio[1] == 2
    assert struct.unpack_from("<H", atio, 2)[0] == 0x48
    more = driver.memory.dma.read(chip.atio.base + (place + 1) * 64, 16)
    assert atio[44:64] + more[:12] == cdb
    assert more[12:16] == (512).to_bytes(4, "big")
    assert chip.atio.index == place + 2


def test_target_confirmed_completion(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, bytes(6))
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0xA040))
    assert driver.response(iocb.CTIO_7)[8] == 1
    assert task.end.response.confirm


def test_target_terminate_and_bad_address(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    initiator.start(chip.port.port_id, READ, read=4096)
    atio = driver.atio(iocb.ATIO_7)
    driver.submit(ctio7(atio, 0x0002, [(0x10, 512)]))
    assert driver.response(iocb.CTIO_7)[8] == 0x10
    driver.submit(ctio7(atio, 0x4000))
    assert driver.response(iocb.CTIO_7)[8] == 1
    assert not chip.firmware.targets.exchanges  # type: ignore[attr-defined]
    task = initiator.start(chip.port.port_id, WRITE, DATA)
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0x0001, [(0x10, 4096)]))
    assert driver.response(iocb.CTIO_7)[8] == 0x10
    assert not task.done


@pytest.mark.parametrize("reject", [False, True])
def test_target_abort(target_side: TargetSide, reject: bool) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    driver.submit(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    driver.settle()
    answers: list[bool] = []
    task.exchange.abort(answers.append)
    received = driver.response(iocb.ABTS_RECEIVED)
    assert received[60:64] == atio[4:8]
    response = bytearray(received)
    response[0], response[23] = iocb.ABTS_RESPONSE, fc.R_BA_RJT if reject else fc.R_BA_ACC
    response[12:14] = bytes(2)
    if not reject:
        driver.submit(bytes(response))
        entry = driver.response(iocb.ABTS_RESPONSE)
        assert struct.unpack_from("<H", entry, 8)[0] == 0x31
        assert entry[52] == 0x1E
        driver.submit(ctio7(atio, 0x4000))
        assert driver.response(iocb.CTIO_7)[8] == 2
        assert driver.response(iocb.CTIO_7)[8] == 1
    driver.submit(bytes(response))
    assert struct.unpack_from("<H", driver.response(iocb.ABTS_RESPONSE), 8)[0] == 0
    driver.wait(lambda: bool(answers), "the answer")
    assert answers == [not reject]
    driver.submit(bytes(response))
    assert struct.unpack_from("<H", driver.response(iocb.ABTS_RESPONSE), 8)[0] == 0x31


def test_target_data_that_never_comes(target_side: TargetSide) -> None:
    loop, chip, driver, initiator = target_side
    initiator.start(chip.port.port_id, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    entry = bytearray(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    entry[10] = 10
    started = loop.now()
    driver.submit(bytes(entry))
    assert driver.response(iocb.CTIO_7)[8] == 0x0B
    assert loop.now() - started == pytest.approx(10, abs=0.1)


def test_target_abort_by_link_service_entry(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    initiator.start(chip.port.port_id, READ, read=4096)
    atio = driver.atio(iocb.ATIO_7)
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.ELS, 1))
    entry[16:20] = atio[4:8]
    struct.pack_into("<H", entry, 30, 3 << 13)
    driver.submit(bytes(entry))
    assert struct.unpack_from("<H", driver.response(iocb.ELS), 8)[0] == 0
    assert not chip.firmware.targets.exchanges  # type: ignore[attr-defined]


def test_target_abort_of_unknown_exchange(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READ, read=4096)
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0x4000))
    driver.response(iocb.CTIO_7)
    task.exchange.abort(lambda accepted: None)
    assert driver.response(iocb.ABTS_RECEIVED)[60:64] == b"\xff" * 4


@pytest.mark.parametrize("reject", [False, True])
def test_target_retransmission(target_side: TargetSide, reject: bool) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READ, read=4096)
    driver.atio(iocb.ATIO_7)
    outcomes: list[Outcome] = []
    payload = struct.pack(">B3xHHIB3x", fc.ELS_SRR, task.exchange.ox_id, fc.NO_ID, 512, 1)
    initiator.nport.fc4_request(chip.port.port_id, payload, lambda outcome, data: outcomes.append(outcome))
    notify = driver.atio(iocb.NOTIFY)
    assert struct.unpack_from("<H", notify, 16)[0] == 0x45
    assert struct.unpack_from("<IH", notify, 24) == (512, 1)
    driver.submit(acknowledge(notify, srr=(1, 0x2A, 9) if reject else (0, 0, 0)))
    driver.wait(lambda: bool(outcomes), "the answer to SRR")
    assert outcomes == [Outcome.REJECTED if reject else Outcome.DONE]
    initiator.nport.fc4_request(
        chip.port.port_id, payload[:4] + b"\x99\x99" + payload[6:], lambda o, data: outcomes.append(o)
    )
    driver.wait(lambda: len(outcomes) == 2, "the rejection")
    assert outcomes[1] is Outcome.REJECTED


def test_target_login_refused_and_logout(target_side: TargetSide) -> None:
    loop, chip, driver, initiator = target_side
    other = ScriptedInitiator(loop, chip.medium, INITIATOR + 1)
    other.plug()
    outcomes: list[Outcome] = []
    other.nport.login(chip.port.port_id, lambda outcome, payload: outcomes.append(outcome))
    driver.submit(acknowledge(driver.atio(iocb.NOTIFY), terminate=True))
    driver.wait(lambda: bool(outcomes), "LS_RJT")
    assert outcomes == [Outcome.REJECTED]
    initiator.nport.logout(chip.port.port_id, lambda outcome, payload: outcomes.append(outcome))
    serve_logins(driver, [fc.ELS_LOGO])
    driver.wait(lambda: len(outcomes) == 2, "LOGO")
    assert not chip.port.remotes[initiator.port_id].plogi


def test_target_lost_ctio(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.lose = 1
    task = initiator.start(chip.port.port_id, bytes(6))
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0x8040))
    finish(driver, task)
    driver.settle()
    assert not any(entry[0] == iocb.CTIO_7 for entry in driver.taken.entries)


def test_target_link_loss_ends_data_wait(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    initiator.start(chip.port.port_id, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    driver.submit(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    driver.settle()
    chip.plug(False)
    driver.event(0x8012)
    assert driver.response(iocb.CTIO_7)[8] in (2, 0x28)


def test_target_queue_in_bad_memory(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.atio.base = 0x10
    task = initiator.start(chip.port.port_id, bytes(6))
    driver.settle()
    assert not task.done
    assert not chip.firmware.targets.exchanges  # type: ignore[attr-defined]
