# SPDX-License-Identifier: GPL-2.0-or-later
"""Many writers at once: each gets what it asked for, and nobody loses anything.

`SCST_WRITES`, `SCST_EDITS`: how often each maps, and changes something (`make test-long`).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Target
from pyscstadmin.errors import Conflict, LockTimeout, SaveRefused
from pyscstadmin.kernel.lock import locked
from tests.unit.strategies import MIB

WRITES = int(os.environ.get("SCST_WRITES", "12"))
EDITS = int(os.environ.get("SCST_EDITS", "20"))
SPAWN = multiprocessing.get_context("spawn")


def together(work: Callable[[str, int], None], sim: str, count: int) -> None:
    """Let so many processes work, and none of them fail."""
    writers = [SPAWN.Process(target=work, args=(sim, number)) for number in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * count


def maps(sim: str, number: int) -> None:
    """Map devices of one's own, without saying at which numbers."""
    for index in range(WRITES):
        with Admin(sim=sim, lock_timeout=60) as admin:
            _, luns = admin.map_devices("t", (f"d{number}-{index}",), group="g")
            assert len(luns) == 1


def test_automatic_numbers(tmp_path: Path) -> None:
    devices = [Device(f"d{n}-{i}", "nullio", size=MIB) for n in range(8) for i in range(WRITES)]
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(Config(tuple(devices), (Target("local", "t", groups=(Group("g"),)),)))
    together(maps, str(tmp_path), 8)
    with Admin(sim=str(tmp_path)) as admin:
        luns = admin.config().targets[0].groups[0].luns
    assert [lun.number for lun in luns] == list(range(8 * WRITES))
    assert {lun.device for lun in luns} == {device.name for device in devices}


def edits(admin: Admin, mine: str, dice: random.Random, names: set[str]) -> None:
    """A random change of what belongs to one writer, in objects that all share."""
    name = f"{mine}.{dice.randrange(6)}"
    match dice.randrange(4):
        case 0 if name not in names:
            admin.add_initiator("t", "g", name)
            names.add(name)
        case 1 if name in names:
            admin.remove_initiator("t", "g", name)
            names.remove(name)
        case 2:
            admin.change_device(mine, product=f"P{dice.randrange(100)}")
        case _:
            admin.change_group("t", mine, priority=dice.randrange(1000))


def changes(sim: str, number: int) -> None:
    """Change one's own things, and see after each change that all the former ones are still there."""
    mine, dice, names = f"w{number}", random.Random(number), set[str]()
    with Admin(sim=sim, lock_timeout=60) as admin:
        admin.create_device(Device(mine, "nullio", size=MIB))
        admin.create_group("t", Group(mine, number))
        admin.map("t", number, mine, group=mine)
        for _ in range(EDITS):
            edits(admin, mine, dice, names)
            target = admin.config().targets[0]
            group, own = target.group("g"), target.group(mine)
            assert group is not None
            assert own is not None
            assert {one for one in group.initiators if one.startswith(f"{mine}.")} == names
            assert [(lun.number, lun.device) for lun in own.luns] == [(number, mine)]
        (Path(sim) / f"{mine}.names").write_text("\n".join(names))


def test_random_changes(tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(Config((), (Target("local", "t", groups=(Group("g"),)),)))
    together(changes, str(tmp_path), 16)
    wanted = {name for path in tmp_path.glob("*.names") for name in path.read_text().split()}
    with Admin(sim=str(tmp_path)) as admin:
        config = admin.config()
    group = config.targets[0].group("g")
    assert group is not None
    assert set(group.initiators) == wanted
    assert {device.name for device in config.devices} == {f"w{number}" for number in range(16)}
    assert len(config.targets[0].groups) == 17


def test_a_replaced_device_keeps_the_mode_of_its_lun(tmp_path: Path) -> None:
    """Read-only becomes read-write only when somebody says so."""
    devices = tuple(Device(name, "nullio", size=MIB) for name in ("a", "b", "c"))
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(Config(devices, (Target("local", "t"),)))

        def lun() -> tuple[str, bool]:
            found = admin.config().targets[0].luns[0]
            return found.device, found.read_only

        admin.map("t", 0, "a", read_only=True)
        assert not admin.map("t", 0, "a")
        admin.map("t", 0, "b", replace=True)
        assert lun() == ("b", True)
        admin.map("t", 0, "c", replace=True, read_only=False)
        assert lun() == ("c", False)
        admin.map("t", 0, "a", replace=True)
        assert lun() == ("a", False)


def holds(path: str, seconds: float, count: int) -> None:
    """Take the lock again and again, with hardly a moment between."""
    for _ in range(count):
        with locked(path, 60):
            time.sleep(seconds)


def test_the_lock_is_fair(tmp_path: Path) -> None:
    """Who takes it all the time does not keep others from it."""
    path = str(tmp_path / "lock")
    greedy = [SPAWN.Process(target=holds, args=(path, 0.05, 200)) for _ in range(2)]
    for process in greedy:
        process.start()
    with locked(path, 60):
        pass  # they have begun, or are about to
    waits: list[float] = []
    try:
        while len(waits) < 15 and all(process.is_alive() for process in greedy):
            time.sleep(0.02)
            start = time.monotonic()
            with locked(path, 60):
                waits.append(time.monotonic() - start)
    finally:
        for process in greedy:
            process.kill()
            process.join()
    assert len(waits) == 15
    # One turn of each, and what a busy machine takes on top of it.
    assert sorted(waits)[len(waits) // 2] < 1


@pytest.mark.parametrize("name", ["lock", "lock.queue"])
def test_a_lock_is_not_opened_through_a_link(name: str, tmp_path: Path) -> None:
    """Of a directory that others can write to."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(Config())
        (tmp_path / "sim" / name).unlink()
        (tmp_path / "sim" / name).symlink_to(precious)
        with pytest.raises(Conflict, match="is a link"):
            admin.clear()
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["degraded", "degraded.new"])
def test_a_note_is_not_written_through_a_link(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    bad = Config((Device("bad", "fileio", path=str(tmp_path)),))
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(Config())
        (tmp_path / "sim" / name).symlink_to(precious)
        outcome = admin.restore(bad)
        assert precious.read_text() == "precious"
        if name == "degraded.new":
            assert "note for `save`" in outcome.failed[-1].operation.text
        else:
            with pytest.raises(SaveRefused, match="left out by the last restore: create device fileio/bad"):
                admin.save()


def test_a_note_that_cannot_be_read_may_say_anything(tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(Config((Device("n", "nullio", size=MIB),)))
        (tmp_path / "degraded").mkdir()
        with pytest.raises(SaveRefused, match="cannot be read: Is a directory"):
            admin.save()
        assert admin.save(force=True)


def test_the_lock_times_out_in_the_queue(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    start = time.monotonic()
    with locked(path), pytest.raises(LockTimeout), locked(path, 0.2):
        pass
    assert time.monotonic() - start < 5
    with locked(path, 0):
        pass
