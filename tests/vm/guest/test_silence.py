# SPDX-License-Identifier: GPL-2.0-or-later
"""A backing whose opening hangs: the device opens when it answers, and nobody waits for it who need not."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import script as scripted
from tests.vm.guest import scsi, tool, tree
from tests.vm.guest.patience import LIMIT, MOMENT, SLOW, Child, children, impatient_kernel, stuck, timely
from tests.vm.guest.script import Script
from tests.vm.guest.silent import STATFS, Silent
from tests.vm.guest.test_log_sense import ROOM, log_sense
from tests.vm.guest.tree import Device

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "fuse")

pytestmark = pytest.mark.usefixtures("clean_tree")

Start = Callable[[str, Callable[[], object]], Child]

# Seconds that a command may wait for the lock: a command that waits for the backing keeps it for 3 at most.
LOCKED = 4.0 + LIMIT
NOT_READY = 2


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """The kernel says who sleeps uninterruptibly for seconds; that fails the file."""
    with impatient_kernel():
        yield


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts operations that may wait."""
    with children() as starter:
        yield starter


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Silent]:
    """A file that answers still."""
    (tmp_path / "mount").mkdir()
    made = Silent(tmp_path / "mount")
    try:
        yield made
    finally:
        made.answer()
        tree_wipe()
        made.close()


def tree_wipe() -> None:
    """What is open there has to be closed before it goes."""
    from tests.vm.guest_plugin import leaked_counters, wipe

    wipe()
    leaked_counters()


def slow_device(silent: Silent) -> Device:
    device = Device("fileio", "slow").make(path=silent.path)
    silent.hang()
    return device


def within(device: Device, attribute: str, value: str, milliseconds: int) -> str:
    """Ask, and wait no longer than this: the errno's name, '' for none."""
    action = partial(tree.write, device.path / attribute, f"{value} within {milliseconds}")
    number = timely(f"{attribute} {value}", partial(tree.errno_of, action), milliseconds / 1000 + LIMIT)
    return errno.errorcode[number] if number else ""


def test_enabled_while_it_opens(script: Script, silent: Silent) -> None:
    """It is a LUN at once, NOT READY until it answers, and then it is read."""
    slow = slow_device(silent)
    silent.data[:4] = b"here"
    assert within(slow, "enabled", "1", 200) == ""
    assert (slow.get("enabled"), slow.state, slow.get("wanted")) == ("1", "opening", "1")
    first, _ = scripted.serve(script, slow, tree.nullio("n"))
    sense = first.command(scsi.read10(0, 1), 0, 512).sense
    assert sense is not None
    assert sense[0] == NOT_READY
    assert timely("READ of the LUN beside", partial(first.command, scsi.read10(0, 1), 1, 512)).good
    assert within(slow, "read_only", "1", 0) == "EINVAL"
    assert tree.errno_of(partial(slow.set, "read_only", 1)) == errno.EBUSY
    assert within(slow, "enabled", "0", 100) == "EBUSY"
    assert stuck() == []
    silent.answer()
    tree.wait_for("the device to open", lambda: slow.state == "active")
    first.attentions(0)
    assert first.good(scsi.read10(0, 1), 0, 512)[:4] == b"here"


def test_requests_that_are_not_waited_for(silent: Silent, start: Start) -> None:
    """Each goes on by itself; of two the later one holds, and who waits for the other hears so."""
    slow = Device("fileio", "slow").make(path=silent.path).enable()
    slow.activate(False)
    silent.hang()
    waiting = start("active 1", slow.activate)
    tree.wait_for("it to open", lambda: slow.state == "opening")
    assert within(slow, "active", "1", 100) == "EINPROGRESS"
    assert within(slow, "active", "reopen", 0) == "EINPROGRESS"
    waiting.check_waits()
    assert within(slow, "active", "0", 100) == "EINPROGRESS"
    assert waiting.wait() == "ECANCELED"
    assert (slow.state, slow.get("wanted")) == ("opening", "0")
    silent.answer()
    tree.wait_for("it to close", lambda: slow.state == "parked")
    silent.hang()
    assert within(slow, "active", "1", 0) == "EINPROGRESS"
    assert within(slow, "enabled", "0", 100) == "EINPROGRESS"
    assert within(slow, "enabled", "1", 100) == "EBUSY"
    silent.answer()
    tree.wait_for("it to close", lambda: slow.state == "disabled")


def test_removed_while_it_opens(silent: Silent) -> None:
    """Its name is free at once, and nothing of it is left when it answers."""
    slow = slow_device(silent)
    assert within(slow, "enabled", "1", 0) == ""
    timely("rmdir", slow.remove)
    again = tree.nullio("slow2")
    timely("mkdir of the same name", partial(Device("fileio", "slow").make, path=silent.path))
    assert within(slow, "enabled", "1", 200) == "EBUSY"
    assert again.state == "active"
    silent.answer()
    tree.wait_for("it to be enabled", lambda: within(slow, "enabled", "1", 2000) == "")
    assert slow.state == "active"


def test_reservations_in_a_file_that_does_not_answer(silent: Silent) -> None:
    """Only the device that is to be enabled waits for its `pr_file`; it can be looked at and taken away."""
    device = Device("nullio", "n").make(size=1 << 20, pr_file=silent.path)
    silent.hang()
    assert within(device, "enabled", "1", 200) == ""
    assert device.state == "opening"
    timely("pr/state", (device.path / "pr/state").read_text)
    other = timely("another device", partial(tree.nullio, "other", 1 << 20))
    assert other.state == "active"
    timely("rmdir of that", other.remove)
    assert within(device, "enabled", "0", 100) == "EINPROGRESS"
    timely("rmdir of the one that waits", device.remove)
    assert stuck() == []
    silent.answer()


def test_space_that_nobody_tells(script: Script, silent: Silent) -> None:
    """Who looks at it, and LOG SENSE page 0Ch, hang with the file system; the device and all others go on."""
    device = tree.fileio("slow", silent.path, thin=1)
    first, _ = scripted.serve(script, device, tree.nullio("n"))
    silent.hang(STATFS)
    timely("a threshold", partial(device.set, "space_threshold", 1 << 30))
    tree.wait_for("it to be asked", lambda: silent.kept > 0)
    assert first.attentions(0) == [scsi.MODE_CHANGED]
    asked = first.submit(log_sense(0x0C), 0, ROOM)
    tree.wait_for("both to be asked", lambda: silent.kept > 1)
    for lun in (0, 1):
        assert timely("READ", partial(first.command, scsi.read10(0, 1), lun, 512)).good
    timely("another threshold", partial(device.set, "space_threshold", 2 << 30))
    timely("another device", partial(tree.nullio, "other"))
    assert within(device, "active", "0", 100) == "EINPROGRESS"
    assert (device.state, stuck()) == ("closing", [])
    silent.answer()
    tree.wait_for("the device to be parked", lambda: device.state == "parked")
    assert first.answer(asked).good


def test_the_tool_leaves_the_lock_to_others(silent: Silent, start: Start, tmp_path: Path) -> None:
    """While one command waits for a backing, others change other objects."""
    slow = Device("fileio", "slow").make(path=silent.path).enable()
    slow.activate(False)
    silent.hang()
    activate = start("activate", partial(tool.run_into, tmp_path / "activate.out", "activate", "slow"))
    tree.wait_for("somebody to open it", lambda: silent.kept > 0, 10 * SLOW)
    for number in range(3):
        words = ("create", "device", f"n{number}", "1M", "handler=nullio")
        status, said = timely(f"create n{number}", partial(tool.run, tmp_path, *words), LOCKED)
        assert status == 0, said
    tree.wait_for("the device to open", lambda: slow.state == "opening", 10 * SLOW)
    activate.check_waits()
    silent.answer()
    assert activate.wait(10 * SLOW) == "done", (tmp_path / "activate.out").read_text()
    assert slow.state == "active"
    time.sleep(MOMENT)
    assert stuck() == []


def test_many_openings_hang(silent: Silent) -> None:
    """Each keeps a thread, and takes it from nobody: another device is opened and closed meanwhile."""
    hung = [Device("fileio", f"slow{number}").make(path=silent.path, read_only="1") for number in range(5)]
    silent.hang()
    for device in hung:
        assert within(device, "enabled", "1", 0) == ""
    assert {device.state for device in hung} == {"opening"}
    for number in range(10):
        other = timely("enabled", partial(tree.nullio, f"n{number}", 1 << 20))
        assert other.state == "active"
        timely("rmdir", other.remove)
    silent.answer()
    for device in hung:
        tree.wait_for("it to open", partial(lambda one: one.state == "active", device))
