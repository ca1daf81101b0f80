# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory fails under commands and task management: each allocation in turn, then every tenth under load.

A command that could not be done says so (BUSY, TASK SET FULL, an error); one that says GOOD has been done.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.debug.guest import faults
from tests.debug.guest.faults import MEMORY, Memory, nth_fails, scarce_memory
from tests.vm.guest import scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.patience import SLOW
from tests.vm.guest.script import (
    HOLD_RESPONSE,
    Event,
    From,
    Nexus,
    Op,
    Plan,
    Response,
    Script,
    Target,
    Tmf,
    parameters,
    serve,
)
from tests.vm.guest.test_data_phase import make_device, noise
from tests.vm.guest.tree import Target as LocalTarget

SCST_MODULES = (
    "scst",
    "scst_nullio",
    "scst_fileio",
    "scst_blockio",
    "scst_local",
    "scst_script",
    "sd_mod",
    "sg",
)

pytestmark = [
    pytest.mark.skipif(bool(faults.missing()), reason=faults.missing()),
    pytest.mark.usefixtures("clean_tree"),
]

MakeFile = Callable[[str, int], Path]
KINDS = ["fileio", "direct", "blockio"]
BLOCKS = 600  # more segments than a bio inside a command has, or a list of segments in one piece
LENGTH = BLOCKS * 512
REFUSED = (scsi.BUSY, scsi.TASK_SET_FULL)
MOST = 300
FIO_SECONDS = 8 * SLOW


@dataclass(frozen=True, slots=True)
class Command:
    """A command to be tried; *answer*: what it must read."""

    name: str
    cdb: bytes
    read: int = 0
    write: bytes | None = None
    answer: bytes | None = None


def commands(content: bytes, other: bytes) -> list[Command]:
    """On a medium that begins with *content*."""
    return [
        Command("read", scsi.read10(0, BLOCKS), LENGTH, answer=content),
        Command("read part", scsi.read10(0, BLOCKS), 1000, answer=content[:1000]),
        Command("read fua", scsi.read10(0, BLOCKS, scsi.FUA), LENGTH, answer=content),
        Command("write", scsi.write10(0, BLOCKS), write=other),
        Command("write fua", scsi.write10(0, BLOCKS, scsi.FUA), write=other),
        Command("verify", scsi.verify10(0, BLOCKS)),
        Command("verify bytes", scsi.verify10(0, BLOCKS, 1), write=other),
        Command("synchronize", scsi.cdb10(0x35, 0, 0)),
        Command("inquiry", scsi.inquiry(page=0x83), 255),
        Command("mode sense", scsi.mode_sense10(0x3F), 512),
        Command("capacity", scsi.read_capacity16(), 32),
        Command("luns", scsi.report_luns(room=4096), 4096),
    ]


def check(what: str, command: Command, event: Event, fired: bool) -> None:
    """It is done, or it was refused because of the fault."""
    if event.good:
        assert command.answer is None or event.data == command.answer, f"{what}: wrong data"
        return
    assert fired, f"{what}: {event}, without a fault"
    assert not event.aborted, f"{what}: {event}"
    sense = event.sense
    # A back end may have failed on the way, which is an error of the medium or of hardware.
    assert event.status in REFUSED or (sense is not None and sense[0] in (0x3, 0x4, 0xB)), f"{what}: {event}"


def in_turn(first: Nexus, command: Command, memory: Memory, plan: Plan) -> int:
    """Let each allocation of a command fail in turn; how many there are."""
    for number in faults.numbers():
        assert number < MOST, f"{command.name}: no end of allocations"
        with nth_fails(memory, number) as shot:
            event = first.command(command.cdb, 0, command.read, command.write, plan, seconds=20 * SLOW)
        check(f"{command.name}, {memory.name} {number}", command, event, shot.fired)
        if not shot.fired:
            assert event.good, f"{command.name}: {event}"
            return number - 1
    raise AssertionError


@contextmanager
def pages_kept_back(first: Nexus) -> Iterator[None]:
    """Pages that were returned are kept for the next command, which then asks for none: use them up.

    Commands whose response is held have them.
    """
    held = [first.read10(0, BLOCKS, plan=HOLD_RESPONSE) for _ in range(8)]
    try:
        yield
    finally:
        first.script.let_go()
        for number in held:
            first.answer(number)


@pytest.mark.parametrize("kept", [True, False], ids=["pages-at-hand", "no-pages"])
@pytest.mark.parametrize("kind", KINDS)
def test_command(script: Script, make_file: MakeFile, kind: str, kept: bool, out_dir: Path) -> None:
    device, _ = make_device(kind, make_file)
    with parameters(max_segs=1024):
        first, _ = serve(script, device)
    old, new = noise("old", LENGTH), noise("new", LENGTH)
    first.good(scsi.write10(0, BLOCKS), write=old)
    counted = {}
    for command in commands(old, new):
        if command.name in ("write", "verify bytes"):
            first.good(scsi.write10(0, BLOCKS), write=new)
        for memory in MEMORY:
            plan = Plan(submit_from=From.TASK)
            if kept:
                counted[f"{command.name}/{memory.name}"] = in_turn(first, command, memory, plan)
            else:
                with pages_kept_back(first):
                    in_turn(first, command, memory, plan)
    assert first.good(scsi.read10(0, BLOCKS), read=LENGTH) == new
    with (out_dir / "fail-io.txt").open("a") as file:
        file.write(f"{kind}: { ({name: count for name, count in counted.items() if count}) }\n")


@pytest.mark.parametrize("place", [place for place in From if place != From.LOCKED])
def test_command_from_anywhere(script: Script, make_file: MakeFile, place: From) -> None:
    """Where it may not sleep there is no second attempt."""
    device, _ = make_device("blockio", make_file)
    first, _ = serve(script, device)
    data = noise("data", LENGTH)
    plan = Plan(submit_from=place, data_from=From.IRQ)
    with pages_kept_back(first):
        for memory in MEMORY:
            in_turn(first, Command("write", scsi.write10(0, BLOCKS), write=data), memory, plan)
            in_turn(first, Command("read", scsi.read10(0, BLOCKS), LENGTH, answer=data), memory, plan)


# --- sessions and task management ---


LUNS = 8


@pytest.fixture
def target(make_file: MakeFile) -> tree.Target:
    """An enabled target of the scripted driver, one device behind all of its LUNs."""
    device, _ = make_device("fileio", make_file)
    made = Target("t1").make()
    for lun in range(LUNS):
        made.luns.map(lun, device)
    made.enable()
    return made


def test_login_logout(script: Script, target: tree.Target) -> None:
    """Refused, or with all LUNs. A logout needs no memory, or waits for it."""
    before = tree.objects()
    for memory in MEMORY:
        for number in faults.numbers():
            assert number < MOST, "no end of allocations"
            with nth_fails(memory, number) as shot:
                code, nexus = login(script, target)
            assert code in (0, errno.ENOMEM), os.strerror(code)
            assert code == 0 or shot.fired
            if nexus is not None:
                assert len(nexus.attentions(LUNS - 1)) == 1
                with nth_fails(memory, number):
                    nexus.close()
                    nexus.gone(20 * SLOW)
            tree.wait_for("what was made for it to go", lambda: tree.objects() == before, 10 * SLOW)
            if not shot.fired:
                break


def login(script: Script, target: tree.Target) -> tuple[int, Nexus | None]:
    """Log in; the errno, and the session if there is one."""
    try:
        return 0, script.login(target, "first")
    except OSError as error:
        return error.errno or -1, None


FUNCTIONS = (Tmf.ABORT_TASK, Tmf.ABORT_TASK_SET, Tmf.LUN_RESET, Tmf.TARGET_RESET, Tmf.I_T_NEXUS_RESET)


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.name)
def test_task_management(script: Script, target: Target, fn: Tmf) -> None:
    """It is answered, and its command ends, whatever fails. All allocations are the driver's."""
    first, second = (script.login(target, name) for name in ("first", "second"))
    for nexus in (first, second):
        nexus.attentions()
    for memory in MEMORY:
        for number in faults.numbers():
            assert number < MOST, "no end of allocations"
            with nth_fails(memory, number) as shot:
                command = first.submit(scsi.test_unit_ready(), plan=HOLD_RESPONSE)
                function = first.tmf(fn, tag=command)
                script.let_go()
                answer = first.tmf_response(function, 20 * SLOW)
                first.answer(command)
                script.request(Op.HOLD_AGAIN)
            assert answer in (Response.COMPLETE, Response.NO_TASK), (number, answer)
            for nexus in (first, second):
                nexus.attentions()
            if not shot.fired:
                break


# --- under load ---


def verified(disk: Path, folder: Path, block: str, seconds: float = FIO_SECONDS) -> Fio:
    """fio writes, and reads what it has written."""
    return Fio(
        folder,
        disk,
        f"verify-{block}",
        verify="crc32c",
        verify_backlog=64,
        verify_fatal=1,
        bs=block,
        size="16m",
        runtime=int(seconds),
    )


@pytest.mark.parametrize("memory", [faults.PAGES, faults.SLAB], ids=lambda memory: memory.name)
@pytest.mark.parametrize("block", ["4k", "256k"])
@pytest.mark.parametrize("kind", KINDS)
def test_verify_while_memory_is_scarce(
    kind: str, block: str, memory: Memory, make_file: MakeFile, tmp_path: Path
) -> None:
    """A real initiator sees no error and no wrong data, and does not hang; every tenth request fails."""
    if kind == "blockio":
        device, _ = make_device(kind, make_file)
    else:
        device = tree.fileio("d", make_file("large", 24), o_direct=kind == "direct")
    target = LocalTarget("t1").make()
    target.luns.map(0, device)
    host = target.login("i1")
    target.enable()
    with verified(host.disk(0), tmp_path, block) as load:
        with scarce_memory(memory):
            tree.wait_for("the end of it", lambda: not load.running, FIO_SECONDS + 60 * SLOW)
        result = load.finish()
    assert result.writes > 0
