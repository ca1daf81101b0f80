# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody writes in between: COMPARE AND WRITE and ORWRITE of several processes over two initiators.

Each of these fails if the commands have their blocks for themselves no longer.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve
from tests.vm.guest.test_refused import loop_device
from tests.vm.guest.tree import Device, Initiator

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

MIB = 1 << 20
WORKERS = 8
# With the commands' exclusion switched off each test fails with these counts, every time.
ROUNDS = 16
FREE = bytes(512)
LOCK, COUNT = 0, 1


@dataclass(frozen=True, slots=True)
class Shared:
    """What the workers have in common besides the medium: who is inside, and whether one has given up."""

    memory: mmap.mmap

    @property
    def over(self) -> bool:
        """One has found a fault, and may have kept the lock."""
        return bool(self.memory[1])

    def give_up(self) -> None:
        """The others need not go on."""
        self.memory[1] = 1

    def inside(self, me: int) -> bool:
        """Go in and out again; False: somebody else was there."""
        self.memory[0] = me
        time.sleep(0.001)
        return self.memory[0] == me


def locked_increments(node: Path, me: int, shared: Shared, verdict: Callable[[str], None]) -> None:
    """Take the lock by COMPARE AND WRITE, read a number, write the next, give the lock back."""
    mine = me.to_bytes(512, "big")

    def wrong(text: str) -> None:
        verdict(text)
        shared.give_up()

    with Unit(node) as unit:
        done = 0
        while done < ROUNDS and not shared.over:
            answer = unit.command(scsi.compare_and_write(LOCK, 1), write=FREE + mine)
            if answer.sense == scsi.MISCOMPARE:
                continue
            if not answer.good:
                wrong(str(answer))
                return
            number = int.from_bytes(unit.good(scsi.read10(COUNT, 1), 512), "big")
            if not shared.inside(me):
                wrong("two were inside")
                return
            unit.good(scsi.write10(COUNT, 1), write=(number + 1).to_bytes(512, "big"))
            if me % 2:
                unit.good(scsi.write10(LOCK, 1), write=FREE)
            elif not unit.command(scsi.compare_and_write(LOCK, 1), write=mine + FREE).good:
                wrong("the lock was somebody else's")
                return
            done += 1


def run_worker(work: Callable[[Callable[[str], None]], None], pipe: int) -> None:
    """In a process of its own: tell what was wrong."""

    def verdict(text: str) -> None:
        os.write(pipe, (text + "\n").encode())

    try:
        work(verdict)
    except Exception as error:
        verdict(repr(error))


def together(works: Sequence[Callable[[Callable[[str], None]], None]]) -> str:
    """Run all in processes of their own; returns what was wrong."""
    context = multiprocessing.get_context("fork")
    reader, writer = os.pipe()
    processes = [context.Process(target=run_worker, args=(work, writer)) for work in works]
    for process in processes:
        process.start()
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return said


@contextmanager
def two_initiators(device: Device) -> Iterator[tuple[Initiator, Initiator]]:
    """Two initiators that see the device as LUN 0."""
    hosts = serve(device)
    for host in hosts:
        with Unit(host.sg(0)) as unit:
            unit.attentions()
    yield hosts
    guest_plugin.wipe()
    guest_plugin.leaked_counters()


@pytest.fixture(params=["file", "direct", "disk"])
def shared_device(request: pytest.FixtureRequest, ext4: Path, clean_tree: None) -> Iterator[Device]:
    """1 MiB of zeroes that several write to."""
    path = ext4 / "shared"
    path.write_bytes(bytes(MIB))
    if request.param == "disk":
        with loop_device(path) as node:
            yield tree.blockio("shared", node)
            guest_plugin.wipe()
    else:
        yield tree.fileio("shared", path, o_direct=request.param == "direct")
        guest_plugin.wipe()
    path.unlink()


def test_lock(shared_device: Device) -> None:
    """Eight processes over two initiators: never two have it, and nothing written under it is lost."""
    with two_initiators(shared_device) as hosts, mmap.mmap(-1, 4096) as memory:
        nodes = [host.sg(0) for host in hosts]
        shared = Shared(memory)
        works = [
            partial(locked_increments, nodes[number % 4 // 2], number + 1, shared)
            for number in range(WORKERS)
        ]
        assert together(works) == ""
        with Unit(nodes[0]) as unit:
            assert int.from_bytes(unit.good(scsi.read10(COUNT, 1), 512), "big") == WORKERS * ROUNDS
            assert unit.good(scsi.read10(LOCK, 1), 512) == FREE


def hammer(
    node: Path, commands: list[tuple[bytes, bytes]], start: float, verdict: Callable[[str], None]
) -> None:
    """Send commands as near to a moment each as may be; a miscompare is no fault."""
    with Unit(node) as unit:
        for number, (cdb, data) in enumerate(commands):
            while time.monotonic() < start + 0.02 * number:
                pass
            answer = unit.command(cdb, write=data)
            if not answer.good and answer.sense != scsi.MISCOMPARE:
                verdict(f"{cdb.hex()}: {answer}")


RACES = 60


def outcomes(old: bytes, new: bytes, written: bytes, lba: int) -> set[bytes]:
    """What is there after a COMPARE AND WRITE of all of *old* and a WRITE at *lba*, one after the other."""
    at, end = lba * 512, lba * 512 + len(written)
    last = new[:at] + written + new[end:]
    first = old[:at] + written + old[end:]
    return {last, first if written != old[at:end] else last}


@pytest.mark.parametrize("overlap", [(0, 8), (4, 8), (2, 3)], ids=["all", "end", "inside"])
def test_races_with_a_write(shared_device: Device, overlap: tuple[int, int]) -> None:
    """One after the other, whichever is first: what is left is one of the two."""
    lba, count = overlap
    works, wanted = [], []
    first, second = [], []
    for number in range(RACES):
        at = number * 12
        old, new = bytes(8 * 512), random.Random(f"new {number}").randbytes(8 * 512)
        written = random.Random(f"written {number}").randbytes(count * 512)
        first.append((scsi.compare_and_write(at, 8), old + new))
        second.append((scsi.write10(at + lba, count), written))
        tail = bytes(12 * 512 - len(old))
        wanted.append(outcomes(old + tail, new + tail, written, lba))
    with two_initiators(shared_device) as hosts:
        start = time.monotonic() + 1
        works = [
            partial(hammer, host.sg(0), commands, start)
            for host, commands in zip(hosts, (first, second), strict=True)
        ]
        assert together(works) == ""
        with Unit(hosts[0].sg(0)) as unit:
            found = [unit.good(scsi.read10(number * 12, 12), 12 * 512) for number in range(RACES)]
    wrong = [number for number in range(RACES) if found[number] not in wanted[number]]
    assert not wrong, f"neither one nor the other: {wrong}"


def test_ors_are_all_there(shared_device: Device) -> None:
    """Eight processes set bits of their own in the same blocks: none is lost."""
    with two_initiators(shared_device) as hosts:
        works = []
        for me in range(WORKERS):
            bits = [
                bytes((1 << me if at % ROUNDS == number else 0) for at in range(3 * 512))
                for number in range(ROUNDS)
            ]
            commands = [(scsi.orwrite16(3, 3), data) for data in bits]
            works.append(partial(hammer, hosts[me % 2].sg(0), commands, 0))
        assert together(works) == ""
        with Unit(hosts[0].sg(0)) as unit:
            apart = bytes(3 * 512)
            assert unit.good(scsi.read10(0, 9), 9 * 512) == apart + b"\xff" * (3 * 512) + apart
