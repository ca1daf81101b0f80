# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations of each operation on the configuration fail in turn: it is refused as a whole, or done."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.debug.guest import faults, image, turns
from tests.debug.guest.turns import Operation, in_turn
from tests.vm.guest import tree
from tests.vm.guest.tree import Device, Group, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = [
    pytest.mark.skipif(bool(faults.missing()), reason=faults.missing()),
    pytest.mark.usefixtures("clean_tree"),
]

# configfs keeps names up to 19 characters in the object, and asks for memory for longer ones.
LONG = "a-name-that-is-longer-than-nineteen-characters"
TARGET = "iqn.2026-11.com.example:target-with-a-usual-name"
INITIATORS = ("iqn.2026-11.com.example:first", "iqn.2026-11.com.example:second")
NAMES = ("short", LONG)
SPARSE = 4  # of logins: most allocations are those of the initiator's scan


@dataclass(frozen=True, slots=True)
class Stage:
    """A device of each handler, disabled; a target with a group that claims both of its initiators."""

    devices: dict[str, Device]
    target: Target
    group: Group


@pytest.fixture
def stage(make_file: Callable[[str, int], Path], disks: dict[str, PluggedDisk]) -> Stage:
    """Nothing is enabled, nothing is mapped."""
    devices = {
        "nullio": Device("nullio", f"n{LONG}").make(size=1 << 20),
        "fileio": Device("fileio", f"f{LONG}").make(path=make_file("backing", 4)),
        "blockio": Device("blockio", f"b{LONG}").make(path=disks["vm-disk-a"].node),
    }
    target = Target(TARGET).make()
    return Stage(devices, target, target.group(LONG, "iqn.2026-11.com.example:*"))


@pytest.fixture
def report(request: pytest.FixtureRequest, out_dir: Path) -> Iterator[turns.Tally]:
    """What a test has counted, kept beside the logs."""
    tally = turns.Tally()
    yield tally
    with (out_dir / "fail-config.txt").open("a") as file:
        file.write(f"{request.node.name}: {tally}\n")


# --- directories ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["devices/nullio", "devices/fileio", "targets/local"])
def test_mkdir(where: str, name: str, report: turns.Tally) -> None:
    path = tree.ROOT / where / name
    in_turn(Operation(path.mkdir, path.rmdir), report, own=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["hosts", "groups"])
def test_mkdir_below_target(stage: Stage, where: str, name: str, report: turns.Tally) -> None:
    path = stage.target.path / where / f"new-{name}"
    in_turn(Operation(path.mkdir, path.rmdir), report, own=True)


@pytest.mark.parametrize("where", ["luns/0", "luns/300"])
def test_mkdir_lun(stage: Stage, where: str, report: turns.Tally) -> None:
    path = stage.group.path / where
    in_turn(Operation(path.mkdir, path.rmdir), report, own=True)


# --- devices ---


@pytest.mark.parametrize("handler", ["nullio", "fileio", "blockio"])
def test_device_enable_disable(stage: Stage, handler: str, report: turns.Tally) -> None:
    device = stage.devices[handler]
    enable, disable = device.enable, partial(device.enable, False)
    in_turn(Operation(enable, disable), report)
    enable()
    in_turn(Operation(disable, enable, removal=True), report)


@pytest.mark.parametrize("handler", ["nullio", "fileio", "blockio"])
def test_device_park_activate(stage: Stage, handler: str, report: turns.Tally) -> None:
    device = stage.devices[handler].enable()
    activate, park = partial(device.activate, True), partial(device.activate, False)
    in_turn(Operation(park, activate), report)
    park()
    in_turn(Operation(activate, park), report)


@pytest.mark.parametrize("handler", ["fileio", "blockio"])
def test_device_settings(
    stage: Stage, handler: str, disks: dict[str, PluggedDisk], report: turns.Tally
) -> None:
    device = stage.devices[handler]
    old, new = device.get("path"), disks["vm-disk-b"].node
    in_turn(Operation(partial(device.set, "path", new), partial(device.set, "path", old)), report)


@pytest.mark.parametrize("handler", ["fileio", "blockio"])
def test_device_resize(stage: Stage, handler: str, report: turns.Tally) -> None:
    device = stage.devices[handler].enable()
    whole, half = int(device.get("size")), int(device.get("size")) // 2
    in_turn(Operation(partial(device.set, "size", half), partial(device.set, "size", whole)), report)


@pytest.mark.parametrize("handler", ["nullio", "fileio", "blockio"])
def test_device_remove_enabled(stage: Stage, handler: str, report: turns.Tally) -> None:
    """rmdir of what is enabled: the way of commands that wait, and of the backing's close."""
    device = Device(handler, "going")
    settings = {"size": 1 << 20} if handler == "nullio" else {"path": stage.devices[handler].get("path")}

    def make() -> None:
        device.make(**settings).enable()

    make()
    in_turn(Operation(device.remove, make, removal=True), report)
    device.remove()


# --- access ---


def logged_in(stage: Stage) -> None:
    """Both initiators have sessions that look at a LUN; no LUN is rescanned behind our back."""
    for device in stage.devices.values():
        device.enable()
    tree.write(stage.target.path / "auto_rescan", False)
    stage.group.luns.map(5, stage.devices["nullio"])
    for initiator in INITIATORS:
        stage.target.login(initiator)
    stage.target.enable()
    time.sleep(1)


@pytest.mark.parametrize("sessions", [False, True], ids=["nobody", "sessions"])
@pytest.mark.parametrize("handler", ["fileio", "blockio"])
def test_map_unmap(stage: Stage, handler: str, sessions: bool, report: turns.Tally) -> None:
    if sessions:
        logged_in(stage)
    else:
        stage.devices[handler].enable()
    folder = stage.group.path / "luns/0"
    folder.mkdir()
    link = folder / "device"
    make, remove = partial(link.symlink_to, stage.devices[handler].path), link.unlink
    # A group that had LUNs once keeps a set of none.
    make()
    remove()
    in_turn(Operation(make, remove), report, own=not sessions)
    make()
    in_turn(Operation(remove, make, removal=True), report)


def test_read_only(stage: Stage, report: turns.Tally) -> None:
    logged_in(stage)
    path = stage.group.path / "luns/5/read_only"
    in_turn(Operation(partial(tree.write, path, True), partial(tree.write, path, False)), report)


@pytest.mark.parametrize("pattern", ["!iqn.2026-11.com.example:first", "iqn.2026-11.com.example:fi*"])
def test_patterns(stage: Stage, pattern: str, report: turns.Tally) -> None:
    """One initiator is taken from its group, or given to another with other LUNs, and back."""
    logged_in(stage)
    other = stage.target.group("another-group-with-a-long-name").set_priority(1)
    other.luns.map(0, stage.devices["fileio"])
    stage.group.set_priority(2)
    group = stage.group if pattern.startswith("!") else other
    claim, disclaim = partial(group.claim, pattern), partial(group.disclaim, pattern)
    in_turn(Operation(claim, disclaim), report)
    claim()
    in_turn(Operation(disclaim, claim, removal=True), report)


def test_priority(stage: Stage, report: turns.Tally) -> None:
    logged_in(stage)
    set_to = stage.group.set_priority
    set_to(1)
    in_turn(Operation(partial(set_to, 7), partial(set_to, 1)), report)


@pytest.mark.parametrize("how", ["commit", "commit_fence", "autocommit"])
def test_commit(stage: Stage, how: str, report: turns.Tally) -> None:
    """Several changes at once: all or none."""
    logged_in(stage)

    def stage_changes(*, back: bool) -> None:
        tree.set_autocommit(False)
        if back:
            stage.group.luns.unmap(7)
            (stage.group.path / "luns/5/device").symlink_to(stage.devices["nullio"].path)
        else:
            (stage.group.path / "luns/5/device").unlink()
            stage.group.luns.map(7, stage.devices["fileio"])

    def commit() -> None:
        # The generation is asked for each time: a commit that failed has not changed it.
        tree.write(tree.ROOT / how, 1 if how == "autocommit" else tree.generation())

    def undo() -> None:
        stage_changes(back=True)
        tree.commit()
        stage_changes(back=False)

    stage_changes(back=False)
    in_turn(Operation(commit, undo), report)
    tree.commit()
    tree.set_autocommit(True)


# --- targets and sessions ---


def logins_over(target: Target, wanted: bool) -> None:
    """Until all initiators are logged in, or out."""

    def over() -> bool:
        return all((tree.find_session(target, name) is not None) == wanted for name in INITIATORS)

    tree.wait_for(f"sessions {wanted}", over, image.SETTLE)


def test_target_enable_disable(stage: Stage, report: turns.Tally) -> None:
    """Its initiators log in, and find a LUN of each handler."""
    for lun, device in enumerate(stage.devices.values()):
        stage.group.luns.map(lun, device.enable())
    for initiator in INITIATORS:
        stage.target.login(initiator)

    def disable() -> None:
        stage.target.enable(False)
        logins_over(stage.target, False)

    def enable() -> None:
        stage.target.enable()
        logins_over(stage.target, True)

    in_turn(Operation(stage.target.enable, disable, sparse=SPARSE), report)
    enable()
    in_turn(Operation(disable, enable, removal=True, sparse=SPARSE), report)


def test_login_logout(stage: Stage, report: turns.Tally) -> None:
    """One more initiator of a target that is enabled: it is refused, or it is logged in sooner or later."""
    for lun, device in enumerate(stage.devices.values()):
        stage.group.luns.map(lun, device.enable())
    stage.target.enable()
    name = INITIATORS[0]
    path = stage.target.path / "hosts" / name

    def over() -> None:
        wanted = path.is_dir()
        tree.wait_for(
            f"{name} logged in: {wanted}",
            lambda: (tree.find_session(stage.target, name) is not None) == wanted,
            image.SETTLE,
        )

    in_turn(Operation(path.mkdir, path.rmdir, settle=over, sparse=SPARSE), report)
    path.mkdir()
    over()
    in_turn(Operation(path.rmdir, path.mkdir, settle=over, removal=True, sparse=SPARSE), report)


def test_rel_tgt_id(stage: Stage, report: turns.Tally) -> None:
    path = stage.target.path / "rel_tgt_id"
    old = tree.read(path)
    in_turn(Operation(partial(tree.write, path, 4711), partial(tree.write, path, old)), report)


# --- threads ---


def test_no_thread_for_a_device(stage: Stage) -> None:
    """The device's job waits until there is memory for a thread."""
    device = stage.devices["nullio"]
    for number in range(1, 12):
        with faults.no_new_thread(number):
            device.enable()
            assert device.state == "active"
        device.enable(False)
        tree.wait_for("its thread to go", lambda: not threads_of(device.name), 30)


def threads_of(name: str) -> list[str]:
    """Threads of a device or target; ps(1) shows the beginning of the name."""
    found = []
    for file in Path("/proc").glob("[0-9]*/comm"):
        try:
            found.append(file.read_text().strip())
        except OSError:
            continue  # it ended meanwhile
    return [
        text for text in found if text.startswith("scst/") and name.startswith(text.removeprefix("scst/"))
    ]


def test_no_thread_for_an_initiator(stage: Stage) -> None:
    path = stage.target.path / "hosts" / INITIATORS[0]
    before = image.settled()
    fired = True
    number = 0
    while fired:
        number += 1
        with faults.no_new_thread(number) as shot:
            code = tree.errno_of(path.mkdir)
        fired = shot.fired
        assert code in (0, errno.ENOMEM, errno.EAGAIN), os.strerror(code)
        if code == 0:
            path.rmdir()
        image.wait_for(before, f"allocation {number} of kthreadd")
