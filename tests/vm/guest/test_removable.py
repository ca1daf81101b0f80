# SPDX-License-Identifier: GPL-2.0-or-later
"""A removable medium: who ejects it, who prevents that and until when, and who is told that it is back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import script as scripted
from tests.vm.guest import scsi, tokens, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve, sg_reset
from tests.vm.guest.tree import Device, Initiator, wait_for

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

LOEJ, NO_FLUSH = 0x02, 0x04
EJECT, LOAD = scsi.start_stop(False, LOEJ), scsi.start_stop(True, LOEJ)
BLOCK = 512


@dataclass
class Rig:
    """A removable file, and two initiators that see it."""

    device: Device
    hosts: tuple[Initiator, Initiator]
    first: Unit
    second: Unit

    def present(self) -> bool:
        """As the control plane tells, and as initiators do."""
        told = self.device.get("medium") == "present"
        absent = {unit.sense(scsi.test_unit_ready()) == scsi.NO_MEDIUM for unit in (self.first, self.second)}
        assert absent == {not told}
        return told


def driven_by_sd(host: Initiator, on: bool) -> None:
    """sd asks now and then whether there is a medium, and takes the unit attentions that a test waits for. As
    long as somebody has the disk open, it prevents removal: udev has looked at it before it goes.
    """
    if not on:
        host.disk(0)
        subprocess.run(["udevadm", "settle"], check=True)
    name = host.devices()[0].name
    Path("/sys/bus/scsi/drivers/sd", "bind" if on else "unbind").write_text(name)


@pytest.fixture
def rig(ext4: Path) -> Iterator[Rig]:
    path = ext4 / "removable"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    device = tree.fileio("cartridge", path, removable=True)
    hosts = serve(device)
    for host in hosts:
        driven_by_sd(host, False)
    with Unit(hosts[0].sg(0)) as first, Unit(hosts[1].sg(0)) as second:
        for unit in (first, second):
            unit.attentions()
            unit.good(scsi.prevent(False))
        yield Rig(device, hosts, first, second)
    path.unlink()


def test_eject_and_load(rig: Rig) -> None:
    """Without medium, what needs one says so; with one again, whoever has not loaded it is told once."""
    rig.first.good(scsi.write10(0, 1), write=b"x" * BLOCK)
    rig.first.good(EJECT)
    assert not rig.present()
    for unit in (rig.first, rig.second):
        for cdb, room in (
            (scsi.read10(0, 1), BLOCK),
            (scsi.read_capacity10(), 8),
            (scsi.read_capacity16(), 32),
            (scsi.cdb10(0x35, 0, 0), 0),
            (scsi.send_diagnostic(), 0),
        ):
            assert unit.sense(cdb, room) == scsi.NO_MEDIUM
        assert unit.sense(scsi.write10(0, 1), write=bytes(BLOCK)) == scsi.NO_MEDIUM
        assert scsi.parse_sense(unit.good(scsi.request_sense(), 252)) == scsi.NO_MEDIUM
        assert unit.good(scsi.inquiry(), 255)[1] & 0x80
        assert unit.good(scsi.mode_sense6(0x3F), 255)
    rig.first.good(EJECT)
    # It is started, but there is no medium yet.
    rig.first.good(scsi.start_stop(True))
    assert rig.first.sense(scsi.test_unit_ready()) == scsi.NO_MEDIUM
    rig.first.good(LOAD)
    assert rig.first.attentions() == []
    assert rig.second.attentions() == [scsi.MEDIUM_MAY_HAVE_CHANGED]
    assert rig.present()
    rig.second.good(LOAD)
    assert rig.first.attentions() == []
    assert rig.second.good(scsi.read10(0, 1), BLOCK) == b"x" * BLOCK


def test_a_token_of_an_ejected_medium(rig: Rig) -> None:
    """It ends with the medium, and does not come back with it."""
    token = tokens.populate(rig.first, [(0, 8)])
    tokens.write(rig.second, token, [(8, 8)])
    rig.second.good(EJECT)
    rig.first.good(LOAD)
    rig.second.attentions()
    assert tokens.send_write(rig.second, token, [(8, 8)]).sense == tokens.REVOKED
    tokens.write(rig.second, tokens.populate(rig.first, [(0, 8)]), [(8, 8)])


def test_prevented(rig: Rig) -> None:
    """As long as one initiator prevents it nobody ejects; a second time does not count twice."""
    rig.first.good(scsi.prevent(True))
    rig.first.good(scsi.prevent(True))
    rig.second.good(scsi.prevent(True))
    for unit in (rig.first, rig.second):
        assert unit.sense(EJECT) == scsi.REMOVAL_PREVENTED
        assert unit.sense(scsi.start_stop(False, LOEJ | NO_FLUSH)) == scsi.REMOVAL_PREVENTED
    rig.first.good(scsi.prevent(False))
    assert rig.first.sense(EJECT) == scsi.REMOVAL_PREVENTED
    assert rig.present()
    rig.second.good(scsi.prevent(False))
    rig.second.good(EJECT)
    assert not rig.present()
    # What is out already can be prevented from nothing, and stays where it is.
    rig.first.good(scsi.prevent(True))
    rig.second.good(EJECT)
    rig.second.good(LOAD)
    assert rig.second.sense(EJECT) == scsi.REMOVAL_PREVENTED


def logged_out(rig: Rig) -> None:
    rig.hosts[0].target.logout("first")


def reset(rig: Rig) -> None:
    sg_reset(rig.hosts[1].sg(0), "--device")


def preempted(rig: Rig) -> None:
    """PREEMPT AND ABORT of the first by the second."""
    for host, key in zip(rig.hosts, (1, 2), strict=True):
        argv = ["sg_persist", "--out", "--register", f"--param-sark={key}", str(host.sg(0))]
        subprocess.run(argv, check=True, capture_output=True)
    argv = ["sg_persist", "--out", "--preempt-abort", "--param-rk=2", "--param-sark=1", "--prout-type=1"]
    subprocess.run([*argv, str(rig.hosts[1].sg(0))], check=True, capture_output=True)


@pytest.mark.parametrize("end", [logged_out, reset, preempted], ids=lambda end: end.__name__)
def test_prevention_ends(rig: Rig, end: Callable[[Rig], None]) -> None:
    """With the session, at a reset, and when its holder is preempted and aborted."""
    rig.first.good(scsi.prevent(True))
    assert rig.second.sense(EJECT) == scsi.REMOVAL_PREVENTED
    if end is logged_out:
        rig.first.close()
    end(rig)
    rig.second.attentions()
    rig.second.good(EJECT)
    assert rig.device.get("medium") == "ejected"


def test_prevention_ends_with_the_loss_of_the_nexus(script: scripted.Script, ext4: Path) -> None:
    """Also when its session goes on; that of others does not."""
    path = ext4 / "removable"
    path.write_bytes(bytes(1 << 20))
    first, second = scripted.serve(script, tree.fileio("cartridge", path, removable=True))
    for nexus in (first, second):
        nexus.good(scsi.prevent(True))
    assert first.manage(scripted.Tmf.I_T_NEXUS_RESET) == scripted.Response.COMPLETE
    assert second.command(EJECT).sense == scsi.REMOVAL_PREVENTED
    second.good(scsi.prevent(False))
    second.good(EJECT)
    path.unlink()


def test_what_ends_with_a_reset_and_what_does_not(rig: Rig) -> None:
    """A reset starts the unit, and loads nothing; activating the device does."""
    rig.first.good(EJECT)
    reset(rig)
    for unit in (rig.first, rig.second):
        unit.attentions()
    assert not rig.present()
    rig.device.set("active", 0)
    rig.device.set("active", 1)
    # The hosts look for new units by themselves, which takes what was pending.
    for unit in (rig.first, rig.second):
        unit.attentions()
    assert rig.present()


def test_a_newcomer_finds_it_ejected(rig: Rig) -> None:
    rig.first.good(EJECT)
    host = rig.hosts[0].target.login("third")
    with Unit(host.sg(0)) as third:
        third.attentions()
        assert third.sense(scsi.test_unit_ready()) == scsi.NO_MEDIUM


def test_fixed_media(ext4: Path) -> None:
    """Without the setting there is nothing to eject, and no command that would prevent it."""
    path = ext4 / "fixed"
    path.write_bytes(bytes(1 << 20))
    device = tree.fileio("fixed", path)
    with Unit(serve(device)[0].sg(0)) as unit:
        unit.attentions()
        assert not unit.good(scsi.inquiry(), 255)[1] & 0x80
        assert unit.sense(EJECT) == scsi.INVALID_FIELD_CDB
        assert unit.sense(scsi.prevent(True)) == scsi.INVALID_OPCODE
        assert device.get("medium") == "present"
    with pytest.raises(OSError, match="busy"):
        device.set("removable", 1)
    path.unlink()


def test_sd_and_its_tools(rig: Rig) -> None:
    """sd locks the door while the disk is open, sg3_utils eject and load, and the disk is there again."""
    driven_by_sd(rig.hosts[0], True)
    disk = rig.hosts[0].disk(0)
    assert Path("/sys/block", disk.name, "removable").read_text() == "1\n"
    fd = os.open(disk, os.O_RDWR)
    try:
        eject = ["sg_start", "--eject", str(rig.hosts[1].sg(0))]
        assert subprocess.run(eject, capture_output=True, check=False).returncode != 0
        assert rig.device.get("medium") == "present"
    finally:
        os.close(fd)
    subprocess.run(eject, capture_output=True, check=True)
    assert rig.device.get("medium") == "ejected"
    with pytest.raises(OSError, match="medium"):
        os.close(os.open(disk, os.O_RDONLY))
    subprocess.run(["sg_start", "--load", str(rig.hosts[1].sg(0))], capture_output=True, check=True)

    def readable() -> bool:
        try:
            with disk.open("rb") as file:
                return len(file.read(BLOCK)) == BLOCK
        except OSError:
            return False

    wait_for("the disk to be readable again", readable)
    subprocess.run(["sg_prevent", "--prevent=1", str(rig.hosts[1].sg(0))], capture_output=True, check=True)
    assert rig.first.sense(EJECT) == scsi.REMOVAL_PREVENTED
    subprocess.run(["sg_prevent", "--allow", str(rig.hosts[1].sg(0))], capture_output=True, check=True)
    rig.first.good(EJECT)
