# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests with in-tree drivers on both ends: the qla2xxx initiator and LIO's tcm_qla2xxx target."""

from __future__ import annotations

import re

from ..fc import frames as fc
from ..fc.media import FrameFault
from ..fc.scripted import ScriptedInitiator
from ..isp.chip import Chip
from .faultruns import cable_pull, during_verify
from .lab import Lab, check
from .machine import Machine
from .scenarios import attach, log_is_clean, scenario

LIO = """set -e
load target_core_mod; load tcm_qla2xxx {parameters}
[ -d /sys/kernel/config/target ] || mount -t configfs configfs /sys/kernel/config
cd /sys/kernel/config/target
mkdir -p core/rd_mcp_0/disk0
echo rd_pages=20480 >core/rd_mcp_0/disk0/control
echo 1 >core/rd_mcp_0/disk0/enable
mkdir -p qla2xxx/{name}/tpgt_1/lun/lun_0
cd qla2xxx/{name}/tpgt_1
echo 1 >attrib/generate_node_acls
echo 1 >attrib/cache_dynamic_acls
echo 0 >attrib/demo_mode_write_protect
echo 0 >attrib/demo_mode_login_only
ln -s /sys/kernel/config/target/core/rd_mcp_0/disk0 lun/lun_0/port
echo 1 >enable
wait_for 60 online {wwpn}
"""
BIG_VERIFY = (
    "fio --name=verify --filename={disk} --rw=write --bs=64k --size=64m --direct=1 --ioengine=libaio "
    "--iodepth=4 --verify=crc32c --do_verify=1 --thread --minimal"
)


def serve(machine: Machine, chip: Chip, parameters: str) -> None:
    """A RAM disk behind LIO on a port; the driver must be loaded with a mode that allows targets."""
    wwpn = chip.settings.wwpn
    machine.run("load qla2xxx " + parameters)
    machine.run(LIO.format(wwpn=f"{wwpn:016x}", name=fc.format_wwn(wwpn), parameters=""))


def exercise(lab: Lab, initiator: Machine, own: Chip, target: Chip, disk: str) -> None:
    """64 MiB verified, LUN reset, an aborted command, a cable pull during I/O."""
    initiator.run(BIG_VERIFY.format(disk=disk), timeout=500)
    initiator.run(f"sg_reset -d {disk}")
    abort(lab, initiator, target, disk)
    # A target that cleans up slowly after the initiator must not be given up meanwhile.
    initiator.run("for port in /sys/class/fc_remote_ports/*; do echo 120 >$port/dev_loss_tmo; done")
    # Longer than the driver's time-out of 10 s for write data: the in-tree target forgets to free commands
    # that still wait for data when it deletes the session of an initiator that comes back sooner, and then
    # never accepts its login again.
    during_verify(lab, initiator, disk, lambda: cable_pull(lab, own, 14), size="2m")


def abort(lab: Lab, machine: Machine, target: Chip, disk: str) -> None:
    """Lose the data of a write.

    The initiator gives up and sends ABTS, the target answers, the retry succeeds.
    """
    aborts: list[int] = []

    def seen(frame: fc.Frame) -> bool:
        if frame.r_ctl in (fc.R_BA_ACC, fc.R_BA_RJT):
            aborts.append(frame.r_ctl)
        return False

    name = disk.removeprefix("/dev/")
    machine.run(f"echo 5 >/sys/block/{name}/device/timeout")
    wire = lab.medium.wire
    watcher = FrameFault(seen, 1 << 30)
    wire.faults += [watcher, FrameFault(lambda f: f.r_ctl == fc.R_DATA and not f.f_ctl & fc.F_RESPONDER, 1)]
    machine.run(f"dd if=/dev/zero of={disk} bs=4k count=1 oflag=direct", timeout=200)
    wire.faults.remove(watcher)
    machine.run(f"echo 30 >/sys/block/{name}/device/timeout")
    # LIO rejects the abort if the command ends before it is looked up; both are answers.
    check(len(aborts) == 1, f"ABTS got {len(aborts)} answers instead of one")


@scenario("lio-one-vm", smoke=True)
def lio_one_vm(lab: Lab) -> None:
    """Initiator and LIO target on two HBAs of one VM."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768)
    serve(machine, target, "qlini_mode=dual")
    disk = attach(machine, initiator, target.settings.wwpn)
    exercise(lab, machine, initiator, target, disk)
    log_is_clean(machine)


@scenario("lio-two-vms")
def lio_two_vms(lab: Lab) -> None:
    """Initiator in one VM, LIO target in another, on one fabric; 2532 against 2432."""
    initiator, target = lab.board("2532"), lab.board("2432")
    server = lab.boot(lab.bed.endpoints[1:], memory=512)
    serve(server, target, "qlini_mode=disabled")
    client = lab.boot(lab.bed.endpoints[:1], memory=384)
    disk = attach(client, initiator, target.settings.wwpn)
    exercise(lab, client, initiator, target, disk)
    log_is_clean(client)
    log_is_clean(server)


@scenario("scripted-initiator")
def scripted_initiator(lab: Lab) -> None:
    """A scripted initiator against LIO: data, sense, task management, abort, logout."""
    target = lab.board("2432")
    machine = lab.boot(memory=512)
    serve(machine, target, "qlini_mode=disabled")
    port = ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000001)
    port.plug()
    address = port.find(target.settings.wwpn)
    port.login(address)
    ready = [port.scsi(address, bytes(6)).status == 0 for _ in range(3)]
    check(ready[-1], "TEST UNIT READY does not succeed after the unit attentions")
    data = bytes(range(256)) * 16
    check(port.scsi(address, bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0)), data).status == 0, "WRITE failed")
    back = port.scsi(address, bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0)), read=len(data))
    check(back.data == data, "READ returned other data")
    short = port.scsi(address, bytes((0x12, 0, 0, 0, 0x24, 0)), read=255)
    check(short.residual == 255 - 36, f"INQUIRY residual is {short.residual}")
    bad = port.scsi(address, bytes((0x28, 0, 0xFF, 0xFF, 0xFF, 0xF0, 0, 0, 8, 0)), read=4096)
    check(
        bad.status == 2 and bad.key_code[:2] == (5, 0x21),
        f"READ beyond the end: {bad.status:02x} {bad.key_code}",
    )
    check(port.task_management(address, fc.TASK_LUN_RESET) == fc.TMF_COMPLETE, "LUN reset was refused")
    task = port.start(address, bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0)), data)
    lab.medium.wire.faults.append(FrameFault(lambda frame: frame.r_ctl == fc.R_DATA, 1))
    lab.loop.run_for(1)
    started = lab.loop.now()
    port.abort(task)
    check(lab.loop.now() - started < 15, "ABTS got no answer")
    port.logout(address)
    port.login(address)
    check(
        port.scsi(address, bytes((0x12, 0, 0, 0, 0x24, 0)), read=36).status == 0,
        "INQUIRY after a new login failed",
    )
    log_is_clean(machine)


@scenario("npiv")
def npiv(lab: Lab) -> None:
    """A virtual port logs in to a target, reads its disk, survives a cable pull and is deleted."""
    lab.target()
    chip = lab.board("2432")
    machine = lab.boot()
    attach(machine, chip)
    host = machine.run(f"host_by_wwn {chip.settings.wwpn:016x}").strip()
    name = "2101000000000001"
    machine.run(
        f"echo {name}:2001000000000001 >/sys/class/fc_host/{host}/vport_create; wait_for 60 online {name}"
    )
    machine.run("wait_for 60 test -b /dev/sdb; dd if=/dev/sdb of=/dev/null bs=4k count=100 iflag=direct")
    cable_pull(lab, chip, 2)
    machine.run(
        f"wait_for 60 online {name}; wait_for 60 dd if=/dev/sdb of=/dev/null bs=4k count=10 iflag=direct"
    )
    machine.run(
        f"echo {name}:2001000000000001 >/sys/class/fc_host/{host}/vport_delete; wait_for 60 [ ! -b /dev/sdb ]"
    )
    log_is_clean(machine)


@scenario("removal")
def removal(lab: Lab) -> None:
    """Surprise removal, loss of the connection, a killed VM: the guest survives, the next VM works."""
    lab.target()
    chip = lab.board("2432")
    first = lab.boot()
    attach(first, chip)
    chip.remove()
    first.run("sleep 5; echo alive")
    log_is_clean(first)
    first.kill()
    second = lab.boot()
    disk = attach(second, chip)
    second.run(f"dd if={disk} of=/dev/null bs=64k count=16 iflag=direct")
    lab.bed.endpoints[0].disconnect("test")
    second.run("sleep 5; echo alive")
    check(not [line for line in second.bad_lines() if re.search("BUG|Oops|panic", line)], "the guest broke")
