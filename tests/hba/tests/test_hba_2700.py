# SPDX-License-Identifier: GPL-2.0-or-later
"""ISP27xx: flash layout, vectors, shadow pointers, pairs of queues."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import cast

import pytest
from hba.entries24 import (
    DATA,
    INQUIRY,
    READ,
    TARGET,
    Status,
    build,
    command_entry,
    ctio7,
    finish,
    log_in_target,
    login_entry,
)
from hba.fc.disk import RamDisk
from hba.fc.scripted import ScriptedInitiator, ScriptedTarget
from hba.hostside import Driver2700, HostError
from hba.isp import iocb, regs27
from hba.isp.firmware_images import dummy_2700, dump_template
from hba.isp.regs27 import Isp2700
from hba.loop import Loop

Side = tuple[Loop, Isp2700, Driver2700, ScriptedInitiator]
BLOCK_READ = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0))


@pytest.fixture
def side() -> Iterator[Side]:
    """An ISP27xx in target mode with an initiator."""
    loop, chip, driver, initiator = log_in_target("2261")
    yield loop, cast(Isp2700, chip), cast(Driver2700, driver), initiator
    driver.close()


def test_flash_layout_leads_to_names() -> None:
    _, chip, driver = build("2261")
    assert isinstance(chip, Isp2700)
    address = driver.memory.allocate(4096)

    def dump(place: int, number: int) -> bytes:
        start = regs27.FLASH_BASE + place
        more = {1: start & 0xFFFF, 8: start >> 16, 4: 0, 5: number}
        assert driver.command(0x0F, driver.with_address(address, more))[0] == 0x4000
        return driver.memory.dma.read(address, number * 4)

    table = dump(regs27.LAYOUT_PLACE, 64)
    version, length = struct.unpack_from("<HH", table)
    assert version == 1
    assert sum(struct.unpack(f"<{(8 + length) // 2}H", table[: 8 + length])) & 0xFFFF == 0
    regions = {
        struct.unpack_from("<H", table, place)[0]: struct.unpack_from("<II", table, place + 4)
        for place in range(8, 8 + length, 16)
    }
    size, start = regions[regs27.REGION_NVRAM]
    image = dump(start // 4, size // 4)
    assert image[:4] == b"ISP "
    assert sum(struct.unpack("<128I", image)) & 0xFFFFFFFF == 0
    assert int.from_bytes(image[20:28], "big") == chip.settings.wwpn
    assert dump(0, 1) == b"\xff" * 4
    driver.close()


def test_dump_template_is_valid() -> None:
    words = struct.unpack("<45I", dump_template())
    assert (words[0], words[2], words[41]) == (99, 180, 255)
    assert sum(words) == 0xFFFFFFFF
    # The driver looks for it behind two segments, and for its length there.
    assert struct.unpack_from(">I", dummy_2700(), (16 + 16 + 2) * 4)[0] - 8 == len(words)


def test_msix_is_where_the_driver_looks() -> None:
    _, _, driver = build("2261")
    assert driver.config(0x90, 1) == 0x11
    assert driver.config(0x92) & 0x7FF == 15
    driver.close()


def test_vectors_and_shadows(side: Side) -> None:
    _, chip, driver, initiator = side
    driver.settle()
    driver.raised(0)
    task = initiator.start(chip.port.port_id, READ, read=4096)
    chip.loop.run_for(0.01)
    assert driver.raised(2)
    assert not driver.raised(0)
    driver.put_queue(0, regs27.ATIO_OUT, driver.take_atios())
    atio = driver.atio(iocb.ATIO_7)
    driver.submit(ctio7(atio, 0x8002, [(driver.memory.allocate(4096, DATA), 4096)]))
    assert driver.raised(1)
    assert not driver.raised(0)
    shadow = driver.memory.dma.read(driver.responses + driver.ring * 64, 2)
    assert int.from_bytes(shadow, "little") == chip.response.index
    shadow = driver.memory.dma.read(driver.requests + driver.ring * 64, 2)
    assert int.from_bytes(shadow, "little") == chip.request.index
    assert driver.get_queue(0, regs27.REQUEST_OUT) == chip.request.index
    assert driver.get_queue(0, regs27.RESPONSE_IN) == chip.response.index
    driver.put_queue(0, regs27.RESPONSE_OUT, driver.take_responses())
    assert driver.response(iocb.CTIO_7)[8] == 1
    finish(driver, task)
    assert bytes(task.data) == DATA


def test_a_pair_answers_for_itself(side: Side) -> None:
    _, chip, driver, initiator = side
    pair = driver.pair(1, 3)
    task = initiator.start(chip.port.port_id, bytes(6))
    pair.submit(ctio7(driver.atio(iocb.ATIO_7), 0x8040))
    assert driver.raised(3)
    assert not driver.raised(1)
    assert [entry[0] for entry in pair.take()] == [iocb.CTIO_7]
    assert pair.shadow(pair.requests) == 1
    finish(driver, task)
    # A full queue of one pair does not hold up the other.
    tasks = [initiator.start(chip.port.port_id, bytes(6)) for _ in range(pair.length + 2)]
    for _ in range(pair.length + 1):
        pair.submit(ctio7(driver.atio(iocb.ATIO_7), 0x8040))
    driver.submit(ctio7(driver.atio(iocb.ATIO_7), 0x8040))
    assert driver.response(iocb.CTIO_7)[8] == 1
    assert pair.shadow(pair.requests) == 1
    assert len(pair.take()) == pair.length - 1
    assert pair.shadow(pair.requests) == 2
    assert len(pair.take()) == 2
    for task in tasks:
        finish(driver, task)


def test_queues_that_cannot_be(side: Side) -> None:
    _, _, driver, _ = side
    with pytest.raises(HostError, match="cannot be made"):
        driver.pair(16, 3)
    address = driver.memory.allocate(4096)
    # A request queue needs its response queue.
    assert driver.command(0x1F, driver.with_address(address, {1: 0, 4: 2, 5: 8, 10: 2}))[0] == 0x4005
    driver.pair(1, 3)
    delete = {1: regs27.DELETE, 4: 1}
    for expected in (0x4000, 0x4005):
        assert driver.command(0x1F, driver.with_address(0, delete))[0] == expected
    delete[1] |= regs27.IS_RESPONSE
    for expected in (0x4000, 0x4005):
        assert driver.command(0x1F, driver.with_address(0, delete))[0] == expected
    driver.start(0x4036)
    assert driver.get_queue(1, regs27.REQUEST_IN) == 0


def test_an_initiator_on_a_pair() -> None:
    loop, chip, driver = build("2261")
    assert isinstance(driver, Driver2700)
    driver.start()
    target = ScriptedTarget(loop, chip.medium, TARGET, {0: RamDisk(1 << 20)})
    target.plug()
    driver.submit(login_entry(5, target.port_id))
    driver.response(iocb.LOGIN)
    pair = driver.pair(1, 4)
    for _ in range(2):
        pair.submit(command_entry(5, INQUIRY, [(driver.memory.allocate(64), 36)]))
        driver.wait(lambda: driver.raised(4), "the interrupt")
        (entry,) = pair.take()
        assert Status(entry).handle == 7
    driver.close()


def test_without_vectors_there_are_events() -> None:
    loop, chip, driver = build("2261", interrupt="intx")
    driver.bus.remove_irqs(2)
    driver.start(0x4036)
    initiator = ScriptedInitiator(loop, chip.medium, TARGET)
    initiator.plug()
    initiator.nport.login(chip.port.port_id, lambda outcome, payload: None)
    assert driver.atio(iocb.NOTIFY)[18] == 3
    driver.close()
