# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command costs grows with what it changes, and not with what there is."""

from __future__ import annotations

import cProfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session

MOST = 2.2


def silent(line: str) -> None:
    pass


def lines(count: int, mapping: str) -> Iterator[str]:
    """A script that makes devices, and LUNs of them."""
    yield "create target local/t"
    yield "create group g iqn.a target=t"
    for number in range(count // 2 - 1):
        yield f"/devices/nullio create d{number} 1M"
        yield f"/targets/local/t map d{number} group=g{mapping.format(number)}"


Script = Callable[[int], Iterator[str]]


def run(directory: Path, script: Iterator[str]) -> None:
    """Carry out a script, in a simulated tree of its own."""
    with Admin(sim=str(directory)) as admin:
        shell = Shell(Session(admin, silent))
        for line in script:
            assert shell.execute(line) is None, line


def calls(directory: Path, script: Iterator[str]) -> int:
    """How many functions a script calls."""
    profile = cProfile.Profile()
    profile.runcall(run, directory, script)
    return sum(entry.callcount for entry in profile.getstats())


def seconds(directory: Path, script: Iterator[str]) -> float:
    """How long a script takes the processor."""
    start = time.process_time()
    run(directory, script)
    return time.process_time() - start


def check_linear(directory: Path, script: Script, count: int) -> None:
    """Twice as many lines cost about twice as much. Calls are counted exactly. What they do not show is to be
    found in the time: at this size, what grew with the square would take four times as long. Other programs
    only make it longer, so the least of some tries is what it takes.
    """
    small, large = (calls(directory / f"calls{size}", script(size)) for size in (count, 2 * count))
    assert large <= MOST * small, (small, large)
    least = [float("inf"), float("inf")]
    for attempt in range(10):
        for number in range(2):
            took = seconds(directory / f"{attempt}.{number}", script(count * (1 + number)))
            least[number] = min(least[number], took)
        if least[1] <= 3 * least[0]:
            return
    pytest.fail(f"it took {least}")


@pytest.mark.parametrize("mapping", [" lun={}", ""], ids=["numbers given", "numbers chosen"])
def test_script(tmp_path: Path, mapping: str) -> None:
    check_linear(tmp_path, lambda size: lines(size, mapping), 300)


def test_batch(tmp_path: Path) -> None:
    def script(size: int) -> Iterator[str]:
        yield "begin"
        yield from lines(size, "")
        yield "commit"

    check_linear(tmp_path, script, 600)


def test_small_changes_of_a_large_configuration(tmp_path: Path) -> None:
    """In one process, at 5,000 devices that are all LUNs."""
    count = 5000
    devices = tuple(Device(f"d{number}", "nullio", size=1 << 20) for number in range(count))
    luns = tuple(Lun(number, f"d{number}") for number in range(count))
    group = Group("g", initiators=("iqn.a",), luns=luns)
    other = Group("other", initiators=("iqn.b",))
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(Config(devices, (Target("local", "t", groups=(group, other)),)))
        shell = Shell(Session(admin, silent))
        assert shell.execute("map d0 target=t group=other") is None
        took = {}
        for line in (
            "add initiator iqn.new target=t group=g",
            "move initiator iqn.new target=t from=g to=other",
            "remove initiator iqn.new target=t group=other",
            "create device new 1M handler=nullio",
            "map new target=t group=other",
            "set lun 1 target=t group=other read_only=yes",
            "unmap new target=t group=other",
            "delete device new",
            "create group third iqn.c target=t",
            "set group third priority=5 target=t",
            "rename group third fourth target=t",
            "delete group fourth target=t",
            "set target t queue_depth=5",
            "get device d4999",
            "create target local/u",
            "delete target u",
        ):
            start = time.process_time()
            assert shell.execute(line) is None, line
            took[line] = time.process_time() - start
    slow = {line: seconds for line, seconds in took.items() if seconds >= 0.05}
    assert len(slow) <= 1, slow  # once, the log of the simulated tree is taken into its state
