# SPDX-License-Identifier: GPL-2.0-or-later
"""What a 24xx does when its driver is slow, greedy or late: full queues, lack of exchanges, events."""

from __future__ import annotations

import struct
from typing import cast

import pytest
from hba.entries24 import (
    DATA,
    INITIATOR,
    READ,
    WRITE,
    TargetSide,
    acknowledge,
    build,
    command_entry,
    ctio7,
    finish,
    serve_logins,
)
from hba.fc import frames as fc
from hba.fc.media import ArbitratedLoop, FrameFault
from hba.fc.nport import Outcome
from hba.fc.scripted import ScriptedInitiator, Task
from hba.hostside import Driver2400
from hba.isp import iocb
from hba.isp.fw24 import Firmware24
from hba.isp.notices import NOTICES
from hba.isp.regs24 import Isp2400

ATIO, RESPONSE = 0x1C, 0x13
READY = bytes(6)
STATUS = 0x8040


def firmware(chip: Isp2400) -> Firmware24:
    return cast(Firmware24, chip.firmware)


def handle(chip: Isp2400, initiator: ScriptedInitiator) -> int:
    return firmware(chip).handle_for(firmware(chip).physical, initiator.port_id)


def waiting_write(side: TargetSide, timeout: int = 0) -> tuple[Task, bytes]:
    """A write whose CTIO waits for data that never comes."""
    _, chip, driver, initiator = side
    task = initiator.start(chip.port.port_id, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    entry = bytearray(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    entry[8:10] = handle(chip, initiator).to_bytes(2, "little")
    entry[10] = timeout
    driver.submit(bytes(entry))
    driver.settle()
    return task, atio


def no_ctio(driver: Driver2400) -> bool:
    return not any(entry[0] == iocb.CTIO_7 for entry in driver.taken.entries)


# Queues.


def test_unread_atios_are_kept(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    driver.ignored.add(ATIO)
    tasks = [initiator.start(chip.port.port_id, READY, lun=number) for number in range(3 * driver.ring)]
    driver.settle()
    assert chip.atio.free(chip.atio_out) == 0
    driver.catch_up()
    seen = []
    for _ in tasks:
        atio = driver.atio(iocb.ATIO_7)
        seen.append(fc.lun_number(atio[32:40]))
        driver.submit(ctio7(atio, STATUS))
        driver.response(iocb.CTIO_7)
    assert seen == list(range(3 * driver.ring))
    for task in tasks:
        finish(driver, task)


def test_a_command_of_two_entries_waits_for_both(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    driver.ignored.add(ATIO)
    for _ in range(driver.ring - 2):
        initiator.start(chip.port.port_id, READY)
    driver.settle()
    assert chip.atio.free(chip.atio_out) == 1
    long = bytes((0x7F,)) + bytes(range(31))
    initiator.start(chip.port.port_id, long, read=512)
    initiator.start(chip.port.port_id, READY)
    driver.settle()
    # What came later does not overtake it.
    assert chip.atio.free(chip.atio_out) == 1
    driver.catch_up()
    driver.settle()
    kinds = [entry[44] for entry in driver.taken.atios]
    assert kinds[: driver.ring - 1] == [0] * (driver.ring - 2) + [0x7F]


def test_without_back_pressure_atios_are_overwritten(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.habits.back_pressure = False
    driver.ignored.add(ATIO)
    for number in range(2 * driver.ring):
        initiator.start(chip.port.port_id, READY, lun=number)
    driver.settle()
    driver.catch_up()
    driver.settle()
    assert len(driver.taken.atios) == driver.ring


def test_responses_wait_and_requests_wait_behind_them(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    driver.ignored.add(RESPONSE)
    number = driver.ring + 20
    tasks = [initiator.start(chip.port.port_id, READY) for _ in range(number)]
    for _ in range(number):
        driver.submit(ctio7(driver.atio(iocb.ATIO_7), STATUS))
    driver.settle()
    assert chip.response.free(chip.responses.out) == 0
    # One answer did not fit; the entries behind it stay where they are.
    assert driver.free_requests() == driver.ring - 1 - (number - driver.ring)
    assert sum(task.done for task in tasks) == driver.ring
    driver.catch_up()
    for task in tasks:
        finish(driver, task)
        assert driver.response(iocb.CTIO_7)[8] == 1
    assert driver.free_requests() == driver.ring - 1


def test_a_stalled_request_queue_fills_up(target_side: TargetSide) -> None:
    loop, chip, driver, initiator = target_side
    chip.faults.stall = True
    tasks = [initiator.start(chip.port.port_id, READY) for _ in range(5)]
    before = driver.free_requests()
    for _ in tasks:
        driver.submit(ctio7(driver.atio(iocb.ATIO_7), STATUS))
    driver.settle(2)
    assert driver.free_requests() == before - 5
    assert not any(task.done for task in tasks)
    chip.faults.stall = False
    started = loop.now()
    for task in tasks:
        finish(driver, task)
    assert loop.now() - started < 0.1


def test_a_slow_request_queue(target_side: TargetSide) -> None:
    loop, chip, driver, initiator = target_side
    tasks = [initiator.start(chip.port.port_id, READY) for _ in range(5)]
    atios = [driver.atio(iocb.ATIO_7) for _ in tasks]
    chip.faults.request_rate = 2
    started = loop.now()
    driver.submit(*(ctio7(atio, STATUS) for atio in atios))
    for task in tasks:
        finish(driver, task)
    assert loop.now() - started == pytest.approx(2, abs=0.1)


def test_entries_under_way_are_limited(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.iocbs = 2
    _, first = waiting_write(target_side)
    waiting_write(target_side)
    other = initiator.start(chip.port.port_id, READY)
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), STATUS))
    driver.settle()
    assert not other.done
    # Whatever ends makes room; here it is not the driver, whose terminate would stand in the same queue.
    chip.notify("lip reset")
    finish(driver, other)
    assert first


# Resources.


def resources(driver: Driver2400) -> list[int]:
    return driver.command(0x42, outputs=12)


def test_resource_counts_are_current(target_side: TargetSide) -> None:
    _, chip, driver, _ = target_side
    assert resources(driver)[1:4] == [2048, 2048, 2048]
    _, atio = waiting_write(target_side)
    counts = resources(driver)
    assert (counts[1], counts[2], counts[7], counts[10]) == (2048, 2047, 4095, 4096)
    driver.submit(ctio7(atio, 0x4000))
    driver.settle()
    assert resources(driver)[2] == 2048
    assert chip.faults.exchanges == 0


def test_the_driver_asks_for_few_exchanges(target_side: TargetSide) -> None:
    _, chip, driver, _ = target_side
    driver.start(0x4036, exchanges=7)
    assert firmware(chip).exchanges == 7
    driver.start(0x4036, exchanges=0xFFFF)
    assert firmware(chip).exchanges == 2048


@pytest.mark.parametrize("answer", ["busy", "terminate", "nothing"])
def test_a_command_without_exchange(target_side: TargetSide, answer: str) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.exchanges = 1
    held = initiator.start(chip.port.port_id, READY)
    first = driver.atio(iocb.ATIO_7)
    task = initiator.start(chip.port.port_id, READ, read=4096)
    atio = driver.atio(iocb.ATIO_7)
    assert atio[4:8] == b"\xff" * 4
    assert first[4:8] != atio[4:8]
    if answer == "nothing":
        answers: list[bool] = []
        task.exchange.abort(answers.append)
        received = driver.response(iocb.ABTS_RECEIVED)
        assert received[60:64] == b"\xff" * 4
        reply = bytearray(received)
        reply[0], reply[23], reply[12] = iocb.ABTS_RESPONSE, fc.R_BA_RJT, 0
        driver.submit(bytes(reply))
        driver.wait(lambda: bool(answers), "BA_RJT")
    else:
        entry = bytearray(ctio7(atio, STATUS if answer == "busy" else 0x4000, scsi=0x808, residual=4096))
        entry[16:19] = atio[13:16][::-1]
        entry[32:34] = atio[24:26][::-1]
        driver.submit(bytes(entry))
        assert driver.response(iocb.CTIO_7)[8] == 1
        if answer == "busy":
            finish(driver, task)
            assert (task.end.response.status, task.end.response.residual) == (8, 4096)
        driver.submit(bytes(entry))
        assert driver.response(iocb.CTIO_7)[8] == 8
    driver.submit(ctio7(first, STATUS))
    finish(driver, held)
    again = initiator.start(chip.port.port_id, READY)
    atio = driver.atio(iocb.ATIO_7)
    assert atio[4:8] != b"\xff" * 4
    driver.submit(ctio7(atio, STATUS))
    finish(driver, again)


def test_no_data_for_a_command_without_exchange(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.queue_full = 1
    initiator.start(chip.port.port_id, READ, read=4096)
    atio = driver.atio(iocb.ATIO_7)
    entry = bytearray(ctio7(atio, 0x8002, [(driver.memory.allocate(4096), 4096)]))
    entry[16:19] = atio[13:16][::-1]
    entry[32:34] = atio[24:26][::-1]
    driver.submit(bytes(entry))
    assert driver.response(iocb.CTIO_7)[8] == 8


def test_exchanges_of_a_login_are_free_when_it_ends(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.exchanges = 2
    for _ in range(2):
        initiator.start(chip.port.port_id, READY)
        assert driver.atio(iocb.ATIO_7)[4:8] != b"\xff" * 4
    chip.notify("silent logout")
    assert len(firmware(chip).targets) == 0


def test_a_firmware_that_answers_full_itself(target_side: TargetSide) -> None:
    _, chip, _, initiator = target_side
    chip.habits.answers_full = True
    chip.faults.queue_full = 1
    assert initiator.scsi(chip.port.port_id, READY).status == fc.STATUS_FULL


def test_initiator_commands_wait_for_exchanges(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    fw = firmware(chip)
    fw.exchanges = 2
    number = handle(chip, initiator)
    remote = chip.port.remotes[initiator.port_id]
    assert remote.prli
    sent: list[int] = []

    def lost(frame: fc.Frame) -> bool:
        if frame.r_ctl == fc.R_COMMAND:
            sent.append(frame.ox_id)
        return frame.r_ctl == fc.R_COMMAND

    chip.medium.wire.faults.append(FrameFault(lost, 100))
    for tag in range(4):
        driver.submit(command_entry(number, READY, [], handle=100 + tag))
    driver.settle()
    assert len(sent) == 2
    assert len(fw.initiator) == 4
    aborts = []
    for tag in (103, 100):
        entry = bytearray(64)
        entry[0:2] = bytes((iocb.ABORT, 1))
        struct.pack_into("<HHI", entry, 8, number, 1, tag)
        driver.submit(bytes(entry))
        aborts.append(struct.unpack_from("<H", driver.response(iocb.ABORT), 8)[0])
    assert aborts == [0, 0]
    ended = [struct.unpack_from("<IH", driver.response(iocb.STATUS), 4) for _ in range(2)]
    assert ended == [(103, iocb.CS_ABORTED), (100, iocb.CS_ABORTED)]
    driver.settle()
    assert len(sent) == 3
    assert fw.initiator.exchanges == 2


# Aborts.


def abort(side: TargetSide, task: Task) -> tuple[bytes, list[bool]]:
    answers: list[bool] = []
    task.exchange.abort(answers.append)
    return side[2].response(iocb.ABTS_RECEIVED), answers


def test_abts_leaves_the_ctio_to_the_driver(target_side: TargetSide) -> None:
    _, _, driver, _ = target_side
    task, atio = waiting_write(target_side)
    received, answers = abort(target_side, task)
    driver.settle(5)
    assert no_ctio(driver)
    driver.submit(ctio7(atio, 0x4000))
    # First the one that waited, then the one that ended it.
    waited, ended = driver.response(iocb.CTIO_7), driver.response(iocb.CTIO_7)
    assert (waited[8], ended[8]) == (2, 1)
    assert waited[26] & 1
    response = bytearray(received)
    response[0], response[23] = iocb.ABTS_RESPONSE, fc.R_BA_ACC
    response[12:14] = bytes(2)
    driver.submit(bytes(response))
    driver.wait(lambda: bool(answers), "BA_ACC")
    assert answers == [True]


def test_a_driver_that_never_terminates(target_side: TargetSide) -> None:
    _, _, driver, _ = target_side
    task, _ = waiting_write(target_side, timeout=10)
    abort(target_side, task)
    driver.settle(9)
    assert no_ctio(driver)
    assert driver.response(iocb.CTIO_7)[8] == 0x0B


def test_a_firmware_with_patience(target_side: TargetSide) -> None:
    _, chip, driver, _ = target_side
    chip.habits.data_timeout = False
    waiting_write(target_side, timeout=10)
    driver.settle(60)
    assert no_ctio(driver)


def test_data_behind_abts_is_not_taken(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, WRITE, DATA)
    atio = driver.atio(iocb.ATIO_7)
    chip.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1, delay=1))
    driver.submit(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    driver.settle()
    abort(target_side, task)
    driver.settle(2)
    assert no_ctio(driver)


def test_abts_may_end_the_ctio(target_side: TargetSide) -> None:
    target_side[1].habits.abts_ends_ctio = True
    task, _ = waiting_write(target_side)
    abort(target_side, task)
    assert target_side[2].response(iocb.CTIO_7)[8] == 2


# CTIO status and notifies.

WAY = {
    "lip reset": 0x0E,
    "target reset": 0x17,
    "port config": 0x2A,
    "port logout": 0x29,
    "global tprlo": 0x29,
}


@pytest.mark.parametrize("kind", WAY)
def test_events_end_commands(target_side: TargetSide, kind: str) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READY)
    idle = driver.atio(iocb.ATIO_7)
    waiting_write(target_side)
    number = handle(chip, initiator)
    chip.notify(kind, INITIATOR if kind == "port logout" else 0)
    assert driver.response(iocb.CTIO_7)[8] == WAY[kind]
    late = bytearray(ctio7(idle, STATUS))
    late[8:10] = number.to_bytes(2, "little")
    driver.submit(bytes(late))
    assert driver.response(iocb.CTIO_7)[8] == WAY[kind]
    if kind != "target reset":
        notify = driver.atio(iocb.NOTIFY)
        assert struct.unpack_from("<H", notify, 16)[0] == NOTICES[kind].code
        assert struct.unpack_from("<H", notify, 8)[0] == (number if kind == "port logout" else 0xFFFF)
    assert not task.done
    assert chip.port.remotes[initiator.port_id].plogi != NOTICES[kind].logout


@pytest.mark.parametrize("kind", [kind for kind, notice in NOTICES.items() if notice.code])
def test_notifies_are_acknowledged(target_side: TargetSide, kind: str) -> None:
    _, chip, driver, initiator = target_side
    chip.notify(kind, INITIATOR)
    notify = driver.atio(iocb.NOTIFY)
    assert notify[56:59] == initiator.port_id.to_bytes(3, "little")
    assert list(firmware(chip).notices.unacknowledged.values()) == [NOTICES[kind].code]
    driver.submit(acknowledge(notify))
    assert driver.response(iocb.NOTIFY_ACK)[16] == 1
    assert not firmware(chip).notices.unacknowledged
    driver.submit(acknowledge(notify))
    assert driver.response(iocb.NOTIFY_ACK)[16] == 6


def test_abort_task_names_the_command(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READY, lun=5)
    atio = driver.atio(iocb.ATIO_7)
    fw = firmware(chip)
    fw.notices.happened(fw.physical, "abort task", initiator.port_id, task.exchange.ox_id)
    notify = driver.atio(iocb.NOTIFY)
    assert notify[20:24] == atio[4:8]
    assert notify[32:40] == atio[32:40]


def test_ctio_after_a_logout(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    initiator.start(chip.port.port_id, READY)
    idle = driver.atio(iocb.ATIO_7)
    waiting_write(target_side)
    number = handle(chip, initiator)
    outcomes: list[Outcome] = []
    initiator.nport.logout(chip.port.port_id, lambda outcome, payload: outcomes.append(outcome))
    serve_logins(driver, [fc.ELS_LOGO])
    assert driver.response(iocb.CTIO_7)[8] == 0x29
    late = bytearray(ctio7(idle, STATUS))
    late[8:10] = number.to_bytes(2, "little")
    driver.submit(bytes(late))
    assert driver.response(iocb.CTIO_7)[8] == 0x29
    # The port is logged in again: now it is the exchange that does not exist.
    initiator.nport.login(chip.port.port_id, lambda outcome, payload: None)
    serve_logins(driver, [fc.ELS_PLOGI])
    driver.submit(bytes(late))
    assert driver.response(iocb.CTIO_7)[8] == 8


def test_ctio_after_a_logout_without_a_status_of_its_own(target_side: TargetSide) -> None:
    _, chip, driver, _ = target_side
    chip.habits.logout_status = False
    waiting_write(target_side)
    chip.notify("silent logout")
    assert driver.response(iocb.CTIO_7)[8] == 2


def test_srr_brings_the_ctio_back(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task, atio = waiting_write(target_side)
    payload = struct.pack(">B3xHHIB3x", fc.ELS_SRR, task.exchange.ox_id, fc.NO_ID, 0, 5)
    outcomes: list[Outcome] = []
    initiator.nport.fc4_request(chip.port.port_id, payload, lambda outcome, data: outcomes.append(outcome))
    assert driver.response(iocb.CTIO_7)[8] == 0x45
    driver.submit(acknowledge(driver.atio(iocb.NOTIFY)))
    driver.wait(lambda: bool(outcomes), "the answer to SRR")
    driver.submit(ctio7(atio, 0x0001, [(driver.memory.allocate(4096), 4096)]))
    assert driver.response(iocb.CTIO_7)[8] == 1


def test_ctios_fail_as_wanted(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    chip.faults.ctio_failures, chip.faults.ctio_status = 2, 0x0E
    task = initiator.start(chip.port.port_id, READY)
    atio = driver.atio(iocb.ATIO_7)
    for expected in (0x0E, 0x0E, 0x01):
        driver.submit(ctio7(atio, STATUS))
        assert driver.response(iocb.CTIO_7)[8] == expected
    finish(driver, task)


def test_a_lip_is_told_as_a_link_reinit() -> None:
    _, chip, driver = build(medium_type=ArbitratedLoop)
    driver.start(0x4036)
    assert isinstance(chip.medium, ArbitratedLoop)
    chip.medium.lip()
    assert driver.atio(iocb.NOTIFY)[16] == 0x0F
    driver.event(0x8010)
    driver.close()


def test_a_crashed_firmware_completes_nothing(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    task = initiator.start(chip.port.port_id, READY)
    atio = driver.atio(iocb.ATIO_7)
    waiting_write(target_side)
    chip.system_error()
    driver.event(0x8002)
    driver.submit(ctio7(atio, STATUS))
    driver.settle()
    assert no_ctio(driver)
    assert not task.done or task.end.outcome is not Outcome.DONE


def test_errors_of_notify(target_side: TargetSide) -> None:
    _, chip, _, _ = target_side
    with pytest.raises(ValueError, match="known are lip reset"):
        chip.notify("nonsense")
    with pytest.raises(ValueError, match="is logged in"):
        chip.notify("port logout", 5)


@pytest.mark.parametrize(("code", "answers"), [(fc.ELS_RDP, [Outcome.REJECTED]), (fc.ELS_FPIN, [])])
def test_link_services_that_could_be_passed_through(
    target_side: TargetSide, code: int, answers: list[Outcome]
) -> None:
    _, chip, driver, initiator = target_side
    driver.taken.entries.clear()
    outcomes: list[Outcome] = []
    initiator.nport.els(
        chip.port.port_id, bytes((code,)) + bytes(15), lambda outcome, payload: outcomes.append(outcome)
    )
    driver.settle()
    assert outcomes == answers
    assert not driver.taken.atios
    assert not driver.taken.entries


def ask_for(driver: Driver2400, *codes: int) -> None:
    """Have link services passed through."""
    wanted = bytearray(32)
    for code in codes:
        wanted[code // 8] |= 1 << code % 8
    address = driver.memory.allocate(64, bytes(wanted))
    assert driver.command(0x59, driver.with_address(address, {1: 5 << 8}))[0] == 0x4000
    assert driver.command(0x38, {1: 0x400})[0] == 0x4000


def test_a_link_service_is_passed_through(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    ask_for(driver, fc.ELS_RDP)
    answers: list[tuple[Outcome, bytes]] = []
    request = bytes((fc.ELS_RDP, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1))
    initiator.nport.els(
        chip.port.port_id, request, lambda outcome, payload: answers.append((outcome, payload))
    )
    entry = driver.response(iocb.PUREX)
    assert entry[47] == fc.ELS_RDP
    assert entry[24:27] == initiator.port_id.to_bytes(3, "little")
    assert struct.unpack_from("<HH", entry, 10) == (handle(chip, initiator), 12 + 24)
    reply = bytearray(64)
    reply[0:2] = bytes((iocb.ELS, 1))
    reply[16:20] = entry[16:20]
    data = fc.LS_ACC + b"lots of facts"
    struct.pack_into("<HIIQI", reply, 30, 1 << 13, 0, len(data), driver.memory.allocate(64, data), len(data))
    for expected in (0, iocb.CS_IOCB_ERROR):
        driver.submit(bytes(reply))
        assert struct.unpack_from("<H", driver.response(iocb.ELS), 8)[0] == expected
    driver.settle()
    assert answers == [(Outcome.DONE, data)]


def test_a_long_link_service_has_continuations(target_side: TargetSide) -> None:
    _, chip, driver, initiator = target_side
    ask_for(driver, fc.ELS_FPIN)
    payload = bytes((fc.ELS_FPIN, *range(1, 100)))
    initiator.nport.els(chip.port.port_id, payload, lambda outcome, data: None)
    entry = driver.response(iocb.PUREX)
    assert entry[1] == 3
    more = [driver.response(iocb.STATUS_CONTINUATION) for _ in range(2)]
    assert iocb.swap(entry[44:64]) + b"".join(iocb.swap(each[4:]) for each in more) == payload + bytes(40)
