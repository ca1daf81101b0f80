# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads of a device: they come when there is work, and go when there has been none for long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW
from tests.vm.guest.script import Nexus, Script, serve

SCST_MODULES = ("scst", "scst_fileio", "scst_nullio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

# Without work for so long a thread goes, and is looked for as often.
IDLE = 10.0


def threads(*devices: str) -> dict[int, str]:
    """The threads of devices, by their numbers, as they are at one moment: they come and go."""
    wanted = {f"scst/{device}": device for device in devices}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in wanted:
            found[int(folder.name)] = wanted[name]
    return found


def write(nexus: Nexus, lun: int) -> None:
    """Something that is done on a thread."""
    assert nexus.answer(nexus.write10(0, bytes(512), lun)).good


def test_they_go_when_there_is_no_work(script: Script, make_file: Callable[[str, int], Path]) -> None:
    """And those that were idle go although one is at work; work that comes later has them back."""
    nexus, _ = serve(script, tree.fileio("f", make_file("f", 1)), tree.fileio("g", make_file("g", 1)))
    for lun in (0, 1):
        numbers = [nexus.write10(0, bytes(512), lun) for _ in range(64)]
        assert all(nexus.answer(number).good for number in numbers)
        write(nexus, lun)
    assert threads("f")
    assert threads("g")

    def busy_alone() -> bool:
        """The first device has one thread, which has something to do all the time."""
        write(nexus, 0)
        return len(threads("f")) == 1 and not threads("g")

    tree.wait_for("idle threads to go", busy_alone, 3 * IDLE * SLOW)
    tree.wait_for("all threads to go", lambda: not threads("f"), 3 * IDLE * SLOW)
    for lun in (0, 1):
        write(nexus, lun)
    assert len(threads("f")) == len(threads("g")) == 1


def test_openings_need_no_thread_each() -> None:
    """Which answer at once: the thread of the last one does the next. What hangs keeps its own: test_hang."""
    devices = [tree.nullio(f"d{number}", 1 << 20) for number in range(20)]
    assert all(device.state == "active" for device in devices)
    assert 1 <= len(threads("state")) < 5


@contextmanager
def frozen(mount: Path) -> Iterator[None]:
    """Nothing can be written in a file system."""
    guest_plugin.command("fsfreeze", "-f", str(mount))
    try:
        yield
    finally:
        guest_plugin.command("fsfreeze", "-u", str(mount))


def forget(file: Path) -> None:
    """Leave nothing of it in the page cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_one_write_after_the_other(script: Script, ext4: Path, make_file: Callable[[str, int], Path]) -> None:
    """A file system writes a file under one lock: more threads would only wait. Reads need not."""
    file = make_file("f", 1)
    nexus, other = serve(script, tree.fileio("f", file))
    forget(file)
    blocks = [bytes([number]) * 512 for number in range(1, 33)]
    with frozen(ext4):
        numbers = [nexus.write10(lba, block) for lba, block in enumerate(blocks)]
        # It comes to a thread after all of them.
        assert other.answer(other.read10(1024, 1)).good
        count = len(threads("f"))
    assert all(nexus.answer(number).good for number in numbers)
    assert count <= 1 + (os.cpu_count() or 1) + 1
    assert nexus.answer(nexus.read10(0, 32)).data == b"".join(blocks)


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Run on one CPU."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def affinities(*devices: str) -> dict[int, tuple[str, set[int]]]:
    """Their threads, and the CPUs that each may run on."""
    found = {}
    for number, device in threads(*devices).items():
        with suppress(ProcessLookupError):
            found[number] = device, os.sched_getaffinity(number)
    return found


def bound(device: str, cpu: int) -> set[int]:
    """The threads of a device that run on one CPU alone."""
    return {number for number, (_, cpus) in affinities(device).items() if cpus == {cpu}}


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU is near to itself")
def test_bound_threads_are_few(script: Script, make_file: Callable[[str, int], Path]) -> None:
    """16 for each CPU in all, however many devices there are; those without one are served all the same."""
    cpus = os.cpu_count() or 1
    names = [f"f{number}" for number in range(20)]
    nexus, _ = serve(script, *(tree.fileio(name, make_file(name, 1)) for name in names))
    for cpu in range(cpus):
        with on_cpu(cpu):
            for _ in range(3):
                for lun in range(len(names)):
                    write(nexus, lun)
    served = [(device, *where) for device, where in affinities(*names).values() if len(where) == 1]
    assert 1 <= len(served) <= 16 * cpus
    assert len(set(served)) < len(names) * cpus


def switches(thread: int) -> int:
    """How often it has gone to sleep."""
    lines = Path("/proc", str(thread), "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt")).split()[1])


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU is near to itself")
def test_who_waits_is_served_where_it_is(script: Script, make_file: Callable[[str, int], Path]) -> None:
    """A job that is alone is done on the CPU that it was submitted on, by a thread that stays there."""
    nexus, _ = serve(script, tree.fileio("f", make_file("f", 1)))
    own = {}
    for cpu in (0, 1):
        with on_cpu(cpu):
            write(nexus, 0)
        tree.wait_for(f"a thread on CPU {cpu}", lambda cpu=cpu: len(bound("f", cpu)) == 1, 10 * SLOW)  # type: ignore[misc]
        (own[cpu],) = bound("f", cpu)
    for cpu in (0, 1):
        before = [switches(own[0]), switches(own[1])]
        with on_cpu(cpu):
            for _ in range(20):
                write(nexus, 0)
        slept = [switches(own[0]) - before[0], switches(own[1]) - before[1]]
        assert slept[cpu] >= 20 > slept[1 - cpu]


@pytest.mark.skipif(os.cpu_count() == 1, reason="the last CPU stays")
def test_cpu_that_goes(script: Script, ext4: Path, make_file: Callable[[str, int], Path]) -> None:
    """Its thread goes on elsewhere, with what it has at hand and with what comes."""
    nexus, _ = serve(script, tree.fileio("f", make_file("f", 1)))
    with on_cpu(1):
        write(nexus, 0)
        tree.wait_for("a thread on CPU 1", lambda: len(bound("f", 1)) == 1, 10 * SLOW)
    online = Path("/sys/devices/system/cpu/cpu1/online")
    try:
        with frozen(ext4):
            with on_cpu(1):
                numbers = [nexus.write10(lba, bytes(512)) for lba in range(4)]
            online.write_text("0")
        assert all(nexus.answer(number).good for number in numbers)
        write(nexus, 0)
    finally:
        online.write_text("1")
    for cpu in (0, 1):
        with on_cpu(cpu):
            write(nexus, 0)
