# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that a debug kernel makes on request (Documentation/fault-injection): memory, block I/O.

Faults of memory are kept to allocations below our modules: a module's text is on the stack. The kernel of
tests/debug counts these, whichever task or work item makes them, and lets the Nth fail. There are thousands;
``SCST_EVERY`` says which are tried: from a random one on, every so many (1: all). Where one operation makes
hundreds, most are the initiator's that scans and probes: the steps grow.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEBUG = Path("/sys/kernel/debug")
# Where modules are loaded (without address randomisation): the kernel's own modules are built in.
MODULES = (0xFFFFFFFFA0000000, 0xFFFFFFFFFF000000)
NEVER = 1 << 30  # times that are not used up
FEW = 50
EVERY = int(os.environ.get("SCST_EVERY", "7"))


@dataclass(frozen=True, slots=True)
class Memory:
    """A way to get memory, which can be made to fail. *settings*: what is its own."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        """Its attributes."""
        return DEBUG / self.name

    def write(self, attribute: str, value: object) -> None:
        """Set one."""
        (self.folder / attribute).write_text(str(value))

    def begin(self, interval: int, times: int, probability: int = 100) -> None:
        """Every *interval*-th allocation fails with so many percent from now on, until *times* have."""
        self.write("probability", 0)
        for name, value in (
            *self.settings,
            ("verbose", 0),
            ("space", 0),
            ("task-filter", "N"),
            ("stacktrace-depth", 32),
            ("require-start", MODULES[0]),
            ("require-end", MODULES[1]),
            ("interval", interval),
            ("count", 0),
            ("times", times),
        ):
            self.write(name, value)
        self.write("probability", probability)

    def end(self) -> int:
        """No more failures; returns how many of the times are left."""
        self.write("probability", 0)
        return int((self.folder / "times").read_text())


class Own:
    """Whatever memory this thread asks for, also above our modules, as configfs does: fail-nth."""

    name = "fail-nth"

    def __init__(self) -> None:
        self._file = -1

    def begin(self, interval: int, times: int, probability: int = 100) -> None:
        """The *interval*-th allocation fails."""
        assert (times, probability) == (1, 100)
        for memory in (SLAB, PAGES):
            for attribute, value in memory.settings:
                memory.write(attribute, value)
        self._file = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
        os.pwrite(self._file, str(interval).encode(), 0)

    def end(self) -> int:
        """How many of the times are left."""
        left = int(os.pread(self._file, 16, 0))
        os.pwrite(self._file, b"0", 0)
        os.close(self._file)
        return 1 if left else 0


SLAB = Memory("failslab", (("ignore-gfp-wait", "N"), ("cache-filter", "N")))
PAGES = Memory("fail_page_alloc", (("ignore-gfp-wait", "N"), ("ignore-gfp-highmem", "N"), ("min-order", "0")))
PERCPU = Memory("fail_percpu")
MEMORY = (SLAB, PAGES, PERCPU)
Kind = Memory | Own


def missing() -> str:
    """What this kernel lacks for these tests; empty: nothing."""
    lacking = [memory.name for memory in MEMORY if not (memory.folder / "count").exists()]
    return f"this kernel has no fault injection for {', '.join(lacking)}: make test-debug" if lacking else ""


def numbers(sparse: int = 1) -> Iterator[int]:
    """Which allocations are tried, without end. *sparse*: so many times fewer, unless all are."""
    every = EVERY * sparse if EVERY > 1 else 1
    number = random.randint(1, every)
    while True:
        yield number
        number += every * max(1, number // FEW) if EVERY > 1 else 1


@dataclass(slots=True)
class Shot:
    """One allocation that fails, or has failed."""

    fired: bool = False


@contextmanager
def nth_fails(memory: Kind, number: int) -> Iterator[Shot]:
    """In the body the *number*-th allocation below our modules fails; the shot says whether there was one."""
    shot = Shot()
    # An interval of 1 is no interval, and is not counted.
    memory.begin(max(number, 1), 1)
    try:
        yield shot
    finally:
        shot.fired = memory.end() == 0


@contextmanager
def scarce_memory(*kinds: Memory, interval: int = 10, probability: int = 100) -> Iterator[dict[str, int]]:
    """In the body every so many allocations below our modules fail; the result is filled with how many."""
    failed: dict[str, int] = {}
    for memory in kinds:
        memory.begin(interval, NEVER, probability)
    try:
        yield failed
    finally:
        for memory in kinds:
            failed[memory.name] = NEVER - memory.end()


@contextmanager
def failing_requests(disk: Path, percent: int) -> Iterator[dict[str, int]]:
    """In the body so many of the requests to one disk fail; the result is filled with how many did."""
    folder, flag = DEBUG / "fail_make_request", Path("/sys/block", disk.name, "make-it-fail")
    for name, value in (("verbose", 0), ("space", 0), ("task-filter", "N"), ("stacktrace-depth", 0)):
        (folder / name).write_text(str(value))
    (folder / "interval").write_text("1")
    (folder / "times").write_text(str(NEVER))
    failed: dict[str, int] = {}
    flag.write_text("1")
    (folder / "probability").write_text(str(percent))
    try:
        yield failed
    finally:
        (folder / "probability").write_text("0")
        flag.write_text("0")
        failed["requests"] = NEVER - int((folder / "times").read_text())


@contextmanager
def no_new_thread(number: int) -> Iterator[Shot]:
    """In the body the *number*-th allocation of kthreadd fails, which makes all kernel threads for others."""
    shot = Shot()
    file = os.open("/proc/2/task/2/fail-nth", os.O_RDWR)
    try:
        os.pwrite(file, str(number).encode(), 0)
        yield shot
        shot.fired = os.pread(file, 16, 0).strip() == b"0"
    finally:
        os.pwrite(file, b"0", 0)
        os.close(file)


def leaks(text: str) -> list[str]:
    """The reports of kmemleak, one string for each object."""
    return [part for part in re.split(r"(?=^unreferenced object )", text, flags=re.MULTILINE) if part.strip()]
