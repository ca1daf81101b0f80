# SPDX-License-Identifier: GPL-2.0-or-later
"""How often an apply that changes nothing asks the kernel: no more than what a plan compares, and as much of
it as is needed to be right.
"""

from __future__ import annotations

import cProfile
import os
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.identity import asked
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.settings import HANDLERS, IDENTITY
from pyscstadmin.kernel import cfs
from pyscstadmin.kernel.cfs import RealTree
from tests.unit.plain import PlainTree, lay_out, lay_tables
from tests.unit.strategies import MIB

DEVICES, GROUPS = 20, 10
LUNS = DEVICES * GROUPS


def configuration(count: int = DEVICES, **identity: str) -> Config:
    devices = tuple(
        Device(f"d{number}", "nullio", size=MIB, id=Identity(**identity)) for number in range(count)
    )
    luns = tuple(Lun(number, device.name) for number, device in enumerate(devices))
    groups = tuple(Group(f"g{number}", initiators=(f"iqn.{number}",), luns=luns) for number in range(GROUPS))
    return Config(devices, (Target("local", "t", groups=groups),))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    lay_out(tmp_path / "scst")
    with Admin(tree=PlainTree(str(tmp_path / "scst")), state_dir=str(tmp_path / "run")) as admin:
        admin.apply(configuration())
    return tmp_path


class Counted:
    """`os`, which counts what is opened and which links are read."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.links = 0

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def open(self, path: str, *args: int, **more: int) -> int:
        self.opened.append(path)
        return os.open(path, *args, **more)

    def readlink(self, path: str, **more: int) -> str:
        self.links += 1
        return os.readlink(path, **more)


def counted(place: Path, wanted: Config, monkeypatch: pytest.MonkeyPatch) -> Counted:
    with Admin(tree=RealTree(str(place / "scst")), state_dir=str(place / "run")) as admin:
        found = Counted()
        monkeypatch.setattr(cfs, "os", found)
        assert not admin.apply(wanted).done
        monkeypatch.setattr(cfs, "os", os)
    return found


def test_an_apply_that_changes_nothing_reads_little(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a LUN, its mode and its link; of a device, what is asked for, and its state."""
    found = counted(place, configuration(), monkeypatch)
    settings = len(HANDLERS["nullio"].settings)
    assert found.links == LUNS
    assert sum(path.endswith("/read_only") for path in found.opened) == LUNS + DEVICES
    of_devices = [path for path in found.opened if path.startswith("d") and "/" in path and path[1].isdigit()]
    # `enabled`, `state`, and eui64: none is asked for, which is not the same as none of anybody's business.
    assert len(of_devices) == DEVICES * (settings + 3)
    assert len(found.opened) <= LUNS + DEVICES * (settings + 3) + 8 * GROUPS + 40


def test_of_tables_an_apply_reads_one_for_each_group(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_tables(place / "scst")
    found = counted(place, configuration(), monkeypatch)
    assert found.links == 0
    assert sum(path.endswith("_table") for path in found.opened) == 1 + 1 + GROUPS
    # Of a group: its priority, its initiators and its table.
    assert len(found.opened) <= 3 * GROUPS + 26


# Twenty-one, when each mapping was read, made and compared by itself.
CALLS_PER_MAPPING = 9


def test_an_apply_that_changes_nothing_does_little(tmp_path: Path) -> None:
    """Of 1,000 mappings: how many functions are called, which is the same on every machine."""
    wanted, root = configuration(100), tmp_path / "scst"
    lay_out(root)
    with Admin(tree=PlainTree(str(root)), state_dir=str(tmp_path)) as admin:
        admin.apply(wanted)
    lay_tables(root)
    # What is made once in a process is made by the first.
    for profile in (cProfile.Profile(), cProfile.Profile()):
        with Admin(tree=RealTree(str(root)), state_dir=str(tmp_path)) as admin, profile:
            assert not admin.apply(wanted).done
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls < CALLS_PER_MAPPING * 100 * GROUPS


def test_what_mappings_have_alike_is_there_once(tmp_path: Path) -> None:
    lay_out(tmp_path / "scst")
    with Admin(tree=PlainTree(str(tmp_path / "scst")), state_dir=str(tmp_path)) as admin:
        admin.apply(configuration())
        before = admin.config()
    lay_tables(tmp_path / "scst")
    with Admin(tree=RealTree(str(tmp_path / "scst")), state_dir=str(tmp_path)) as admin:
        found = admin.config()
    assert found == before
    first, *others = found.targets[0].groups
    assert all(group.luns is first.luns for group in others)
    assert all(device.settings is found.devices[0].settings for device in found.devices)


def test_who_asks_for_an_identity_has_all_of_them_compared(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Admin(tree=RealTree(str(place / "scst")), state_dir=str(place / "run")) as admin:
        wanted = admin.config()
    found = counted(place, wanted, monkeypatch)
    assert sum("/id/" in path for path in found.opened) == DEVICES * len(IDENTITY)


def test_what_is_asked_for() -> None:
    device = Device("d", "nullio", size=MIB)
    of = ("nullio", "d")
    assert asked(Config((device,))) == {of: ["eui64"]}
    assert asked(Config((device.but(id=Identity(vendor="X")),))) == {of: ["vendor", "eui64"]}
    for part in ("serial", "naa", "eui64"):
        known = device.but(id=Identity(**{part: "3" * 16}))
        assert asked(Config((known, Device("other", "nullio", size=MIB)))) == {}


@pytest.mark.parametrize("part", ["vendor", "product", "revision", "serial", "naa", "eui64"])
def test_an_identity_that_differs_is_changed(part: str, place: Path) -> None:
    """Though it is not read where nobody asks for it."""
    text = {"naa": "5" * 16, "eui64": "6" * 16}.get(part, "X")
    root, run = str(place / "scst"), str(place / "run")
    with Admin(tree=PlainTree(root), state_dir=run) as admin:
        one = configuration()
        device = one.devices[0].but(id=Identity(**{part: text}))
        outcome = admin.apply(one.but(devices=(device, *one.devices[1:])))
        assert outcome.done
        assert getattr(admin.config().devices[0].id, part) == text
        # Left out, it stays; but for eui64, of which none is asked for then.
        again = admin.apply(one)
        assert bool(again.done) == (part == "eui64")
        assert getattr(admin.config().devices[0].id, part) == ("" if part == "eui64" else text)
