# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets whose hardware comes and goes: parked without their port, live with it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import HOLD_DATA, LOSE_DATA, Kind, PortTarget, Script, parameters

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_script", "scst_example")

EXAMPLE = Path("/sys/module/scst_example/parameters/command")


def test_the_example_is_short() -> None:
    """docs/target-drivers.md promises so much."""
    assert len((Path(__file__).parents[2] / "kmod/scst_example.c").read_text().splitlines()) <= 150


def make(name: str = "port0") -> PortTarget:
    """A target with a device, not enabled."""
    target = PortTarget(name)
    target.make()
    target.luns.map(0, tree.nullio("n"))
    return target


def wait_state(target: PortTarget, state: str) -> None:
    """What hardware causes happens by itself, some time."""
    tree.wait_for(f"{target.name} is {state}", lambda: target.state == state)


def test_port_after_the_target(script: Script) -> None:
    """Enabled before the hardware is there: parked, then live; gone: parked again, its sessions closed."""
    target = make()
    assert target.state == "disabled"
    target.enable()
    assert target.state == "parked"
    with pytest.raises(OSError, match="not connected"):
        script.login(target, "first")
    for _ in range(3):
        script.port("port0")
        wait_state(target, "enabled")
        first = script.login(target, "first")
        first.attentions()
        assert first.test_unit_ready().good
        script.port("port0", up=False)
        first.gone()
        wait_state(target, "parked")
        assert tree.read(target.path / "enabled") == "1"
        assert tree.find_session(target, "first") is None


def test_port_before_the_target(script: Script) -> None:
    """A port that is there when the target is enabled; one that is made while it is there."""
    script.port("port0")
    target = make()
    assert target.state == "disabled"
    target.enable()
    assert target.state == "enabled"
    target.enable(False)
    assert target.state == "disabled"
    script.port("port0", up=False)
    assert target.state == "disabled"
    script.port("port0")
    assert target.state == "disabled"
    target.enable()
    wait_state(target, "enabled")


def test_other_port(script: Script) -> None:
    """A port of another name does not concern the target."""
    target = make()
    target.enable()
    script.port("port1")
    assert target.state == "parked"
    script.port("port0")
    wait_state(target, "enabled")
    script.port("port1", up=False)
    assert target.state == "enabled"


def test_port_twice(script: Script) -> None:
    """Two ports of one name are refused."""
    script.port("port0")
    assert tree.errno_of(lambda: script.port("port0")) == errno.EEXIST
    script.port("port0", up=False)
    script.port("port0")


def test_port_goes_with_commands(script: Script) -> None:
    """Commands that the driver holds are recalled when the port goes."""
    target = make()
    target.enable()
    script.port("port0")
    wait_state(target, "enabled")
    first = script.login(target, "first")
    first.attentions()
    lost = first.submit(scsi.write10(0, 1), write=bytes(512), plan=LOSE_DATA)
    script.wait(Kind.WANTS_DATA, lost)
    script.port("port0", up=False)
    assert first.answer(lost).aborted
    first.gone()
    wait_state(target, "parked")


def test_enable_fails(script: Script) -> None:
    """A driver that can't open its hardware: parked when it is absent, otherwise an error and disabled."""
    script.port("port0")
    target = make()
    with parameters(enable_error=-19):
        target.enable()
        assert target.state == "parked"
        target.enable(False)
    with parameters(enable_error=-5):
        assert tree.errno_of(target.enable) == errno.EIO
        assert target.state == "disabled"
        assert tree.read(target.path / "enabled") == "0"
    target.enable()
    assert target.state == "enabled"


def test_removed_with_its_port(script: Script) -> None:
    """The directory goes while it is live and a command is held: everything ends."""
    target = make()
    target.enable()
    script.port("port0")
    wait_state(target, "enabled")
    first = script.login(target, "first")
    first.attentions()
    held = first.submit(scsi.write10(0, 1), write=bytes(512), plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    target.luns.unmap(0)
    target.path.rmdir()
    script.data(held)
    assert not first.answer(held).good
    first.gone()
    assert guest_plugin.configured() == [str(tree.ROOT / "devices/nullio/n")]


# --- the example driver of docs/target-drivers.md ---


def example(command: str) -> str:
    """Let the example's initiator send a command; returns its answer."""
    tree.write(EXAMPLE, command)
    return tree.read(EXAMPLE)


def test_example(clean_tree: None, make_file: Callable[[str, int], Path]) -> None:
    """The example driver logs in, writes and reads back."""
    path = make_file("f", 1)
    folder = tree.ROOT / "targets/example/only"
    folder.mkdir()
    tree.LunDir(folder / "luns").map(0, tree.fileio("f", path))
    assert tree.errno_of(lambda: tree.write(EXAMPLE, bytes(6).hex())) == errno.ENOTCONN
    tree.write(folder / "enabled", True)
    for _ in range(20):
        if (answer := example(bytes(6).hex())).startswith("status 00"):
            break
        assert answer.startswith("status 02"), answer
    before = path.read_bytes()
    assert example(scsi.write10(0, 8).hex() + " 5a").startswith("status 00")
    assert path.read_bytes() == b"\x5a" * 4096 + before[4096:]
    answer = example(scsi.read10(8, 8).hex())
    assert answer.startswith("status 00")
    assert answer.endswith("data " + before[4096 : 4096 + 32].hex())
    tree.write(folder / "enabled", False)
