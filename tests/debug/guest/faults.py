# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of memory that a debug kernel makes on request (Documentation/fault-injection).

Faults of memory are kept to allocations below our modules: a module's text is on the stack. The kernel of
tests/debug counts these, whichever task or work item makes them, and lets the Nth fail. There are thousands;
``SCST_EVERY`` says which are tried: from a random one on, every so many (1: all).
"""

from __future__ import annotations

import itertools
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


SLAB = Memory("failslab", (("ignore-gfp-wait", "N"), ("cache-filter", "N")))
PAGES = Memory("fail_page_alloc", (("ignore-gfp-wait", "N"), ("ignore-gfp-highmem", "N"), ("min-order", "0")))
PERCPU = Memory("fail_percpu")
MEMORY = (SLAB, PAGES, PERCPU)


def missing() -> str:
    """What this kernel lacks for these tests; empty: nothing."""
    lacking = [memory.name for memory in MEMORY if not (memory.folder / "count").exists()]
    return f"this kernel has no fault injection for {', '.join(lacking)}: make test-debug" if lacking else ""


def numbers() -> Iterator[int]:
    """Which allocations are tried, without end."""
    return itertools.count(random.randint(1, EVERY), EVERY)


@dataclass(slots=True)
class Shot:
    """One allocation that fails, or has failed."""

    fired: bool = False


@contextmanager
def nth_fails(memory: Memory, number: int) -> Iterator[Shot]:
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


def leaks(text: str) -> list[str]:
    """The reports of kmemleak, one string for each object."""
    return [part for part in re.split(r"(?=^unreferenced object )", text, flags=re.MULTILINE) if part.strip()]
