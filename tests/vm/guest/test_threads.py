# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads of a device: they come when there is work, and go when there has been none for long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW
from tests.vm.guest.script import Nexus, Script, serve

SCST_MODULES = ("scst", "scst_fileio", "scst_nullio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

# Without work for so long a thread goes, and is looked for as often.
IDLE = 10.0


def threads(device: str) -> set[int]:
    """The threads of a device, by their numbers."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name == f"scst/{device}":
            found.add(int(folder.name))
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
