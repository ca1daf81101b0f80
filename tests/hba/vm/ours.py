# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's own target driver on emulated boards, with the in-tree driver as initiator."""

from __future__ import annotations

from collections.abc import Callable

from ..fc import frames as fc
from ..fc.media import FrameFault
from ..fc.scripted import ScriptedInitiator
from ..isp.chip import Chip
from .faultruns import cable_pull, during_verify
from .files import contents, copy_and_compare
from .lab import Lab, check
from .machine import Machine
from .scenarios import attach, log_is_clean, scenario, verify, write_and_compare

READY = bytes(6)
BLOCKS = 8
MANY_FILES = 40
LATE = 4.0
"""Seconds that data is late: a task management function must not wait for it."""

SERVE = """set -e
. /scst.sh
scst_load {parameters}
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{target} ]
scst_file f 32
scst_file g 32
scst_file h 32
scst_null n 1073741824
mkdir $SCST/targets/qla2xxx/{target}
{access}
echo 1 >$SCST/targets/qla2xxx/{target}/enabled
wait_for 60 online {wwpn}
"""
ACCESS = """scst_group {target} {group} {initiator}
{luns}"""


def name(chip: Chip | ScriptedInitiator) -> str:
    """A port as its target is called."""
    return fc.format_wwn(chip.nport.wwpn if isinstance(chip, ScriptedInitiator) else chip.settings.wwpn)


def access(target: Chip, group: str, initiator: Chip | ScriptedInitiator, *luns: str) -> str:
    """Script: what an initiator may use; each LUN as ``NUMBER DEVICE READ_ONLY``."""
    lines = "\n".join(f"scst_map $SCST/targets/qla2xxx/{name(target)}/groups/{group} {lun}" for lun in luns)
    return ACCESS.format(target=name(target), group=group, initiator=name(initiator), luns=lines)


def serve(machine: Machine, target: Chip, parameters: str, *accesses: str) -> None:
    """A target with files behind it."""
    wwpn = f"{target.settings.wwpn:016x}"
    text = SERVE.format(target=name(target), wwpn=wwpn, parameters=parameters, access="\n".join(accesses))
    machine.run(text)


def clear(machine: Machine) -> None:
    """Everything goes, nothing is left."""
    machine.run("set -e\n. /scst.sh\nscst_clear", timeout=200)


@scenario("scst-one-vm", smoke=True)
def scst_one_vm(lab: Lab) -> None:
    """Initiator and our target on two boards of one VM with two CPUs."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    serve(machine, target, "qlini_mode=dual", access(target, "a", initiator, "0 fileio/f 0", "1 nullio/n 0"))
    disk = attach(machine, initiator, target.settings.wwpn)
    write_and_compare(machine, disk)
    verify(machine, disk)
    machine.run(f"sg_reset -d {disk}; dd if={disk} of=/dev/null bs=4k count=1 iflag=direct")
    check("scst" in machine.run(f"sg_inq {disk}").lower(), "it is not our disk")
    clear(machine)
    log_is_clean(machine)


@scenario("scst-two-vms")
def scst_two_vms(lab: Lab) -> None:
    """A and B in one VM, our target on two CPUs in another: A sees f and g, B sees g read-only and h."""
    first, second = lab.board("2532"), lab.board("2432")
    target = lab.board("2432")
    server = lab.boot(lab.bed.endpoints[2:], memory=640, cpus=2)
    mine = access(target, "a", first, "0 fileio/f 0", "1 fileio/g 0")
    other = access(target, "b", second, "0 fileio/g 1", "1 fileio/h 0")
    serve(server, target, "qlini_mode=disabled", mine, other)
    client = lab.boot(lab.bed.endpoints[:2], memory=512)
    attach(client, first, target.settings.wwpn)
    client.run(f"wait_for 60 online {second.settings.wwpn:016x}")
    a, b = seen(client, first, target), seen(client, second, target)
    # 2532 to 2432, and 2432 to 2432.
    for disk in (a[0], a[1], b[1]):
        copied = copy_and_compare(client, disk)
        check(copied.files > MANY_FILES, f"only {copied.files} files were copied")
    check(contents(client, b[0]) == copied.sum, "B does not find what A has written")
    refused(client, b[0])
    # Not in scst-faults: in dual mode the in-box driver does not recover a port without a target from this.
    before = second.epoch
    second.system_error()
    check(lab.loop.run_until(lambda: second.epoch > before, 60), "the initiator's chip was not reset")
    client.run(f"wait_for 90 dd if={b[1]} of=/dev/null bs=4k count=1 iflag=direct", timeout=120)
    verify(client, b[1], "8m")
    verify(client, a[0], "8m")
    check(contents(client, b[0]) == copied.sum, "what B may only read has changed")
    clear(server)
    log_is_clean(client)
    log_is_clean(server)


def seen(client: Machine, chip: Chip, target: Chip) -> list[str]:
    """The disks that a port sees at our target: LUN 0 and 1, and no other."""
    own, wwpn = f"{chip.settings.wwpn:016x}", f"{target.settings.wwpn:016x}"
    disks = [
        client.run(f"wait_for 60 lun_of {own} {wwpn} {lun}; lun_of {own} {wwpn} {lun}").strip()
        for lun in range(2)
    ]
    there = sorted(client.run(f"luns_of {own} {wwpn}").split())
    check(there == ["0", "1"], f"{name(chip)} sees LUNs {there}")
    return disks


def refused(client: Machine, disk: str) -> None:
    """A write to a LUN that may only be read is refused, and the initiator is told why."""
    block = disk.removeprefix("/dev/")
    check(client.run(f"cat /sys/block/{block}/ro").strip() == "1", f"{disk} is not read-only")
    generic = f"/dev/$(ls /sys/block/{block}/device/scsi_generic)"
    answer = client.run(f"! sg_raw -s 512 -i /dev/zero {generic} 2a 00 00 00 00 00 00 00 01 00 2>&1")
    for word in ("data protect", "write protected"):
        check(word in answer.lower(), f"a write to a read-only LUN: {answer}")


class Wire:
    """A scripted initiator that is logged in, and what it does."""

    def __init__(self, lab: Lab, target: Chip, wwpn: int) -> None:
        self.lab, self.chip = lab, target
        self.port = ScriptedInitiator(lab.loop, lab.medium, wwpn)
        self.port.plug()

    def login(self) -> None:
        """Log in, and take what is pending."""
        self.address = self.port.find(self.chip.settings.wwpn)
        self.port.login(self.address)
        for _ in range(4):
            if self.port.scsi(self.address, READY).status == 0:
                return
        raise AssertionError(f"{name(self.port)}: TEST UNIT READY does not succeed")

    def write(self, lba: int, data: bytes) -> int:
        """Status of a write."""
        return self.port.scsi(self.address, write10(lba), data).status

    def read(self, lba: int) -> bytes:
        """Blocks."""
        result = self.port.scsi(self.address, read10(lba), read=512 * BLOCKS)
        if result.status == 2 and result.key_code[0] == 6:
            return self.read(lba)
        check(result.status == 0, f"READ: {result.status:02x} {result.key_code}")
        return result.data

    def hold_data(self, seconds: float | None) -> None:
        """The next data of a write comes late, or never."""
        fault = (
            FrameFault(is_write_data, 1) if seconds is None else FrameFault(is_write_data, 1, delay=seconds)
        )
        self.lab.medium.wire.faults.append(fault)


def is_write_data(frame: fc.Frame) -> bool:
    """Data from an initiator."""
    return frame.r_ctl == fc.R_DATA and not frame.f_ctl & fc.F_RESPONDER


def write10(lba: int) -> bytes:
    """WRITE(10)."""
    return bytes((0x2A, 0, 0, 0, *lba.to_bytes(2, "big"), 0, 0, BLOCKS, 0))


def read10(lba: int) -> bytes:
    """READ(10)."""
    return bytes((0x28, 0, 0, 0, *lba.to_bytes(2, "big"), 0, 0, BLOCKS, 0))


def killed(lab: Lab, wire: Wire, lba: int, seconds: float | None, kill: Callable[[object], None]) -> None:
    """A write that waits for its data is killed at once, and the medium does not change any more."""
    old, new = bytes([lba]) * 512 * BLOCKS, b"N" * 512 * BLOCKS
    check(wire.write(lba, old) == 0, "WRITE failed")
    wire.hold_data(seconds)
    task = wire.port.start(wire.address, write10(lba), new)
    lab.loop.run_for(0.5)
    started = lab.loop.now()
    kill(task)
    check(lab.loop.now() - started < LATE - 1, "the function waited for the data")
    lab.loop.run_for(LATE)
    check(wire.read(lba) == old, "a write was executed after the function that killed it was answered")


@scenario("scst-scripted")
def scst_scripted(lab: Lab) -> None:
    """Scripted initiators: aborts and resets against writes that wait for their data, residuals, offers."""
    target = lab.board("2432")
    machine = lab.boot(memory=512, cpus=2)
    one, two = Wire(lab, target, 0x10000000C9000001), Wire(lab, target, 0x10000000C9000002)
    serve(
        machine,
        target,
        "qlini_mode=disabled",
        access(target, "a", one.port, "0 fileio/f 0"),
        access(target, "b", two.port, "0 fileio/f 0"),
    )
    one.login()
    two.login()

    def function(wire: Wire, code: int) -> Callable[[object], None]:
        def call(_task: object) -> None:
            answer = wire.port.task_management(wire.address, code)
            check(answer == fc.TMF_COMPLETE, f"task management {code:#x}: {answer}")

        return call

    def abts(task: object) -> None:
        check(one.port.abort(task), "ABTS was rejected")  # type: ignore[arg-type]

    for lba, seconds, kill in (
        (8, None, abts),
        (16, LATE, abts),
        (24, LATE, function(one, fc.TASK_ABORT_SET)),
        (32, LATE, function(one, fc.TASK_LUN_RESET)),
        (40, LATE, function(two, fc.TASK_LUN_RESET)),
        (48, LATE, function(two, fc.TASK_TARGET_RESET)),
    ):
        killed(lab, one, lba, seconds, kill)
        two.read(lba)
    short = one.port.scsi(one.address, bytes((0x12, 0, 0, 0, 0x24, 0)), read=255)
    check(short.residual == 255 - 36, f"INQUIRY: residual {short.residual}")
    beyond = one.port.scsi(one.address, bytes((0x28, 0, 0xFF, 0xFF, 0xFF, 0xF0, 0, 0, 8, 0)), read=4096)
    check(beyond.key_code[:2] == (5, 0x21), f"READ beyond the end: {beyond.status:02x} {beyond.key_code}")
    absent = one.port.scsi(one.address, READY, lun=7)
    check(absent.key_code[:2] == (5, 0x25), f"LUN 7: {absent.status:02x} {absent.key_code}")
    # An offer of 100 MiB for a command without data costs no memory.
    task = one.port.start(one.address, READY, read=1, length=100 << 20)
    check(one.port.finish(task).residual == 100 << 20, "the whole offer is the residual")
    # A logout, and a firmware crash, with a write that waits: everybody can log in again.
    one.hold_data(None)
    one.port.start(one.address, write10(8), b"N" * 512 * BLOCKS)
    lab.loop.run_for(0.5)
    one.port.logout(one.address)
    one.login()
    for wire in (one, two):
        wire.hold_data(None)
        wire.port.start(wire.address, write10(8), b"N" * 512 * BLOCKS)
    lab.loop.run_for(0.5)
    before = target.epoch
    target.system_error()
    back = lab.loop.run_until(lambda: target.epoch > before and target.port.online, 60)
    check(back, "the port is not back after a crash of its firmware")
    lab.loop.run_for(3)
    for wire in (one, two):
        wire.login()
        check(wire.read(8) == bytes([8]) * 512 * BLOCKS, "a write of before the crash was executed")
    clear(machine)
    log_is_clean(machine)


@scenario("scst-faults")
def scst_faults(lab: Lab) -> None:
    """Cables, chip resets, a disabled target, the driver's own and the board's end, while fio verifies."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    serve(machine, target, "qlini_mode=dual", access(target, "a", initiator, "0 fileio/f 0"))
    disk = attach(machine, initiator, target.settings.wwpn)
    machine.run("for port in /sys/class/fc_remote_ports/*; do echo 120 >$port/dev_loss_tmo; done")
    machine.run(f"echo 10 >/sys/block/{disk.removeprefix('/dev/')}/device/timeout")
    folder = f"/sys/kernel/config/scst/targets/qla2xxx/{name(target)}"

    def flaps() -> None:
        for _ in range(3):
            cable_pull(lab, initiator, 0.3)
            lab.loop.run_for(2)

    def restart() -> None:
        machine.run(f"echo 0 >{folder}/enabled; echo 1 >{folder}/enabled", timeout=120)

    for what, cause in (
        ("initiator's cable", lambda: cable_pull(lab, initiator, 2)),
        ("target's cable", lambda: cable_pull(lab, target, 2)),
        ("three flaps", flaps),
        ("target's firmware crashes", target.system_error),
        ("target disabled and enabled", restart),
    ):
        started = lab.loop.now()
        during_verify(lab, machine, disk, cause, size="2m")
        print(f"    {what}: data intact after {lab.loop.now() - started:.1f} s", flush=True)
    clear(machine)
    log_is_clean(machine)


@scenario("scst-removal")
def scst_removal(lab: Lab) -> None:
    """The board is unbound and bound again with an initiator logged in: the target parks and returns."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    serve(machine, target, "qlini_mode=dual", access(target, "a", initiator, "0 fileio/f 0"))
    disk = attach(machine, initiator, target.settings.wwpn)
    state = f"/sys/kernel/config/scst/targets/qla2xxx/{name(target)}/state"
    host = machine.run(f"host_by_wwn {target.settings.wwpn:016x}").strip()
    slot = machine.run(f"basename $(readlink -f /sys/class/scsi_host/{host}/device/..)").strip()
    machine.run(f"dd if={disk} of=/dev/null bs=4k count=10 iflag=direct")
    for _ in range(2):
        machine.run(f"echo {slot} >/sys/bus/pci/drivers/qla2xxx/unbind", timeout=100)
        check(machine.run(f"cat {state}").strip() == "parked", "the target is not parked")
        machine.run(f"echo {slot} >/sys/bus/pci/drivers/qla2xxx/bind", timeout=100)
        machine.run(f"wait_for 60 grep -q enabled {state}; wait_for 60 online {target.settings.wwpn:016x}")
        machine.run(f"wait_for 60 dd if={disk} of=/dev/null bs=4k count=10 iflag=direct", timeout=100)
    clear(machine)
    log_is_clean(machine)
