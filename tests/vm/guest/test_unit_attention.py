# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit attentions: what is reported, to whom, and exactly once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Device, Initiator, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two initiators that see a file (LUN 0) and a null device (LUN 1), with no attention pending."""

    target: Target
    file: Device
    path: Path
    hosts: tuple[Initiator, Initiator]
    first: tuple[Unit, Unit]
    second: tuple[Unit, Unit]

    def told(self) -> list[list[scsi.Sense]]:
        """What is pending: first initiator's LUN 0 and 1, second initiator's LUN 0 and 1."""
        return [unit.attentions() for unit in (*self.first, *self.second)]


@pytest.fixture
def pair(make_file: Callable[[str, int], Path]) -> Iterator[Pair]:
    """Hosts without sd, so that nobody else takes the attentions."""
    with tree.without_sd():
        yield from make_pair(make_file)


def make_pair(make_file: Callable[[str, int], Path]) -> Iterator[Pair]:
    """The same on any hosts."""
    path = make_file("f0", 1)
    file, null = tree.fileio("f0", path), tree.nullio("n0")
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, file)
    target.luns.map(1, null)
    hosts = target.login("first"), target.login("second")
    target.enable()
    views = [(Unit(host.sg(0)), Unit(host.sg(1))) for host in hosts]
    made = Pair(target, file, path, hosts, views[0], views[1])
    made.told()
    yield made
    for unit in (*views[0], *views[1]):
        unit.close()


def test_power_on_is_reported_once(pair: Pair) -> None:
    """A new LUN reports power on to each initiator, in answer to the first command that is no INQUIRY."""
    other = tree.nullio("n1")
    pair.target.luns.map(2, other)
    for host in pair.hosts:
        Path(f"/sys/class/scsi_host/host{host.number}/scan").write_text("- - 2")
    pair.told()
    for host in pair.hosts:
        with Unit(host.sg(2)) as unit:
            taken = unit.attentions()
            assert taken.count(scsi.POWER_ON) <= 1, "the scan may have taken it"
            assert unit.attentions() == []
    with tree.staging():
        pair.target.luns.unmap(2)
    with tree.staging():
        pair.target.luns.map(2, other)
    for host in pair.hosts:
        with Unit(host.sg(2)) as unit:
            unit.good(scsi.inquiry(), 255)
            taken = unit.attentions()
            assert taken.count(scsi.POWER_ON) == 1
            assert unit.attentions() == []


def test_precedence_and_request_sense(pair: Pair) -> None:
    """INQUIRY and REPORT LUNS neither report nor clear; REQUEST SENSE reports in its data and clears."""
    with tree.staging():
        tree.write(pair.target.luns.path / "0/read_only", True)
    unit = pair.first[0]
    unit.good(scsi.inquiry(), 255)
    unit.good(scsi.report_luns(64), 64)
    assert scsi.parse_sense(unit.good(scsi.request_sense(), 252)) == scsi.MODE_CHANGED
    assert scsi.parse_sense(unit.good(scsi.request_sense(), 252)) == scsi.NO_SENSE
    assert pair.told() == [[], [], [scsi.MODE_CHANGED], []]


def test_request_sense_without_room_clears_nothing(pair: Pair) -> None:
    tree.write(pair.target.luns.path / "0/read_only", True)
    pair.first[0].good(scsi.request_sense(0))
    assert pair.told() == [[scsi.MODE_CHANGED], [], [scsi.MODE_CHANGED], []]


def test_attention_ends_the_command_it_meets(pair: Pair) -> None:
    """The command that gets the attention is not executed."""
    tree.write(pair.target.luns.path / "0/read_only", True)
    tree.write(pair.target.luns.path / "0/read_only", False)
    before = pair.path.read_bytes()[:512]
    unit = pair.first[0]
    assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.MODE_CHANGED
    assert unit.good(scsi.read10(0, 1), 512) == before
    unit.good(scsi.write10(0, 1), write=bytes(512))
    assert unit.good(scsi.read10(0, 1), 512) == bytes(512)


def test_capacity_changed_while_parked(pair: Pair) -> None:
    """A file that has grown when the device becomes active again: everybody who sees it is told, once."""
    pair.file.activate(False)
    assert pair.told() == [[]] * 4
    os.truncate(pair.path, 3 << 20)
    pair.file.activate()
    told = pair.told()
    assert scsi.CAPACITY_CHANGED in told[0]
    assert scsi.CAPACITY_CHANGED in told[2]
    assert told[0].count(scsi.CAPACITY_CHANGED) == told[2].count(scsi.CAPACITY_CHANGED) == 1
    # The inventory of the session, not of the LUN.
    assert (told[1], told[3]) in (([], []), ([scsi.LUNS_CHANGED], [scsi.LUNS_CHANGED]))
    assert pair.told() == [[]] * 4
    assert pair.first[0].blocks() == ((3 << 20) // 512, 512)
    assert tree.read(tree.CLASS / "device.f0/size") == str(3 << 20)
    assert pair.file.get("size") == str(3 << 20)


def test_same_capacity_is_not_reported(pair: Pair) -> None:
    pair.file.activate(False)
    pair.file.activate()
    told = pair.told()
    assert scsi.CAPACITY_CHANGED not in told[0] + told[2]
    assert told[0] == told[2] == [scsi.MEDIUM_MAY_HAVE_CHANGED, scsi.LUNS_CHANGED, scsi.INQUIRY_CHANGED]
    assert pair.told() == [[]] * 4


def test_mode_parameters_changed(pair: Pair) -> None:
    """MODE SELECT tells everybody but its own initiator; setting the same values tells nobody."""
    unit = pair.first[0]
    page = bytearray(bytes(4) + unit.good(scsi.mode_sense6(0x0A), 255)[4:])
    page[6] ^= 0x04
    unit.good(scsi.mode_select6(len(page)), write=bytes(page))
    assert pair.told() == [[], [], [scsi.MODE_CHANGED], []]
    unit.good(scsi.mode_select6(len(page)), write=bytes(page))
    assert pair.told() == [[]] * 4


@pytest.mark.parametrize("option", ["--device", "--target"])
def test_reset(pair: Pair, option: str) -> None:
    """A reset is seen by both initiators, once per LUN it reached, and puts mode parameters back."""
    unit = pair.first[0]
    page = bytearray(bytes(4) + unit.good(scsi.mode_sense6(0x0A), 255)[4:])
    page[6] ^= 0x04
    unit.good(scsi.mode_select6(len(page)), write=bytes(page))
    pair.told()
    done = subprocess.run(
        ["sg_reset", "-N", option, str(unit.node)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = pair.told()
    reached = [told[0], told[2]] + ([told[1], told[3]] if option == "--target" else [])
    assert all(part == [scsi.RESET] for part in reached), str(told)
    if option == "--device":
        assert (told[1], told[3]) == ([], [])
    assert pair.told() == [[]] * 4
    assert not unit.good(scsi.mode_sense6(0x0A), 255)[6] & 0x04


def test_order(pair: Pair) -> None:
    """Several pending attentions come most important first."""
    with tree.staging():
        pair.target.luns.map(7, pair.file)
        tree.write(pair.target.luns.path / "0/read_only", True)
    pair.file.activate(False)
    os.truncate(pair.path, 2 << 20)
    pair.file.activate()
    subprocess.run(["sg_reset", "-N", "-d", str(pair.first[1].node)], check=True)
    subprocess.run(["sg_reset", "-N", "-d", str(pair.first[0].node)], check=True)
    taken = pair.first[0].attentions()
    assert taken[0] == scsi.RESET
    assert len(taken) == len(set(taken))
    assert {scsi.LUNS_CHANGED, scsi.CAPACITY_CHANGED, scsi.MODE_CHANGED} <= set(taken)
