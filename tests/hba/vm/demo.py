# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job over Fibre Channel, with a verdict: ``make demo-fc``.

Initiator A sees target T's devices Da and Db read-write; initiator B sees, on the same target, Db read-only
and Dc read-write. Two machines with a board each: the target's, and that of the initiators, of which A is the
board's port and B a virtual port (NPIV) on it. The target is configured by ``scstadmin``. Every step is
bounded in time and says what it found; the first that is wrong ends the demo.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from ..fc import frames as fc
from ..isp.chip import Chip
from . import initramfs
from .faultruns import cable_pull, during_verify
from .files import contents, copy_and_compare
from .lab import REPO, CheckFailed, Lab, build_own, check, make_archive
from .machine import GuestError, Machine
from .ours import name as port_name
from .packages import SERIES, Cache, SetupError, cache_root
from .scenarios import scenario

NAME = "scst-demo"
VIRTUAL = 0x2101000000000001
WRITTEN = 2 << 20
OUT = 3.0
"""Seconds that the cable is out."""

# Device -> handler and MiB; initiator -> what it sees, by LUN: device, and whether it is read-only.
DEVICES = {"Da": ("fileio", 64), "Db": ("blockio", 32), "Dc": ("fileio", 16)}
PATHS = {
    "Da": f"/tmp/Da handler=fileio size={DEVICES['Da'][1]}M",
    "Db": "/dev/loop0 handler=blockio",
    "Dc": f"/tmp/Dc handler=fileio size={DEVICES['Dc'][1]}M",
}
EXPECTED = {"A": (("Da", False), ("Db", False)), "B": (("Db", True), ("Dc", False))}

LOAD = """set -e
. /scst.sh
scst_load qlini_mode=disabled
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{target} ]
dd if=/dev/zero of=/tmp/Db bs=1M count={mib} 2>/dev/null
losetup /dev/loop0 /tmp/Db
"""
ADMIN_TIME = 900.0
"""Seconds for ``scstadmin``, which is compiled there, on a host that may be busy."""
LOOK = """unit=$(unit_of {initiator} {target} {lun}) && device=/sys/bus/scsi/devices/$unit
block=$(ls $device/block)
serial=$(tail -c +5 $device/vpd_pg80)
generic=$(ls $device/scsi_generic)
echo "$block $generic $(cat /sys/block/$block/ro) $(cat /sys/block/$block/size) $serial"
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """A LUN as an initiator's kernel has it."""

    lun: int
    node: str
    generic: str
    serial: str
    mib: int
    read_only: bool


@dataclass(slots=True)
class Demo:
    """What the steps hand on to each other."""

    lab: Lab
    board: Chip = field(init=False)
    target: Chip = field(init=False)
    client: Machine = field(init=False)
    server: Machine = field(init=False)
    disks: dict[str, list[Disk]] = field(default_factory=dict)

    def wwpn(self, initiator: str) -> int:
        """The name of an initiator's port."""
        return self.board.settings.wwpn if initiator == "A" else VIRTUAL

    # Steps: each says in one line what it found, and may print more lines before.

    def machines(self) -> str:
        """Two machines with an emulated board each, on one fabric"""
        self.board, self.target = self.lab.board("2532"), self.lab.board("2432")
        admin = initramfs.build_admin(Cache(cache_root()).package(initramfs.PYTHON), REPO)
        self.server = self.lab.boot(self.lab.bed.endpoints[1:], memory=768, cpus=2, files=admin)
        self.client = self.lab.boot(self.lab.bed.endpoints[:1], memory=640)
        return f"kernel {self.lab.kernel.release}; the driver of the boards is its own qla2xxx"

    def configure(self) -> str:
        """scstadmin: the target, three devices, two initiators by their WWPNs"""
        target = port_name(self.target)
        self.server.run(LOAD.format(target=target, mib=DEVICES["Db"][1]))
        commands = configuration(target, {name: self.wwpn(name) for name in EXPECTED})
        for command in commands:
            print(f"      scstadmin {command}", flush=True)
        self.admin(*commands)
        self.server.run(f"wait_for 60 online {self.target.settings.wwpn:016x}")
        state = self.server.run(f"cat /sys/kernel/config/scst/targets/qla2xxx/{target}/state").strip()
        check(state == "enabled", f"T is {state}")
        return f"T is {target}, {state}"

    def admin(self, *commands: str) -> str:
        """Commands to ``scstadmin`` in the target's machine; what it said."""
        lines = "\n".join(f"scstadmin {command}" for command in commands)
        return self.server.run(f"set -e\n{lines}", timeout=ADMIN_TIME)

    def login(self) -> str:
        """The initiators log in"""
        self.client.run("load sd_mod; load sg; load crc32c_generic; load ext4; load qla2xxx")
        own = f"{self.wwpn('A'):016x}"
        host = self.client.run(f"wait_for 60 online {own}; host_by_wwn {own}").strip()
        node = f"{self.board.settings.wwnn:016x}"
        self.client.run(
            f"echo {VIRTUAL:016x}:{node} >/sys/class/fc_host/{host}/vport_create\n"
            f"wait_for 60 online {VIRTUAL:016x}"
        )
        for name in EXPECTED:
            wwpn = fc.format_wwn(self.wwpn(name))
            self.server.run(f"wait_for 60 sh -c 'grep -q {wwpn} /sys/class/scst/session.*/initiator'")
            said = self.admin(f"explain {wwpn} target={port_name(self.target)}")
            check(all(device in said for device, _ in EXPECTED[name]), f"explain {wwpn} says: {said}")
            print(f"      {name}  {wwpn}", flush=True)
        return "A is the board's port, B a virtual port on it; the target has a session of each"

    def look(self) -> str:
        """What each initiator sees: its LUNs, their serial numbers, sizes and write protection"""
        for initiator, expected in EXPECTED.items():
            own, target = f"{self.wwpn(initiator):016x}", f"{self.target.settings.wwpn:016x}"
            for lun, _ in enumerate(expected):
                self.client.run(f"wait_for 60 lun_of {own} {target} {lun}")
            there = sorted(int(lun) for lun in self.client.run(f"luns_of {own} {target}").split())
            check(there == list(range(len(expected))), f"{initiator} sees LUNs {there}")
            self.disks[initiator] = [self.disk(own, target, lun) for lun in there]
            for disk, (device, read_only) in zip(self.disks[initiator], expected, strict=True):
                wanted = (self.serial(device), DEVICES[device][1], read_only)
                found = (disk.serial, disk.mib, disk.read_only)
                check(found == wanted, f"{initiator}: LUN {disk.lun} is not {device}, {read_only=}: {disk}")
                print("      " + view_line(initiator, disk, device), flush=True)
        return "A: Da and Db read-write; B: Db read-only and Dc read-write; nothing else"

    def disk(self, initiator: str, target: str, lun: int) -> Disk:
        """A LUN, by what INQUIRY, READ CAPACITY and MODE SENSE have told the kernel."""
        text = LOOK.format(initiator=initiator, target=target, lun=lun)
        block, generic, read_only, sectors, serial = self.client.run(text).split()
        return Disk(lun, f"/dev/{block}", f"/dev/{generic}", serial, int(sectors) >> 11, read_only == "1")

    def serial(self, device: str) -> str:
        """Serial number of a device, as configured."""
        path = f"/sys/kernel/config/scst/devices/{DEVICES[device][0]}/{device}/id/serial"
        return self.server.run(f"cat {path}").strip()

    def files(self) -> str:
        """A makes a file system on Da, with real files; they are compared here and behind the target"""
        copied = copy_and_compare(self.client, self.disks["A"][0].node)
        self.server.run("load crc32c_generic; load ext4")
        check(contents(self.server, "/tmp/Da", ",loop") == copied.sum, "the target's file has other contents")
        return f"{copied.files} files, {copied.mib} MiB: the same read back by A, and in the target's file"

    def share(self) -> str:
        """A writes to Db, B reads it"""
        mine, theirs = self.disks["A"][1].node, self.disks["B"][0].node
        self.client.run(
            f"dd if=/dev/urandom of=/tmp/written bs=64k count={WRITTEN >> 16} 2>/dev/null\n"
            f"dd if=/tmp/written of={mine} bs=64k oflag=direct 2>/dev/null"
        )
        self.compare(theirs)
        return f"{WRITTEN >> 20} MiB through {mine}, read back through {theirs}"

    def compare(self, node: str) -> None:
        """A disk begins with what A has written."""
        count = WRITTEN >> 16
        self.client.run(
            f"dd if={node} bs=64k count={count} iflag=direct 2>/dev/null | cmp - /tmp/written", timeout=60
        )

    def protect(self) -> str:
        """B's write to Db is refused; A's data stay, and Dc takes B's write"""
        read_only, own = self.disks["B"]
        why = self.client.run(f"! dd if=/dev/zero of={read_only.node} bs=4k count=1 2>&1").strip()
        raw = f"sg_raw -s 512 -i /dev/zero {read_only.generic} 2a 00 00 00 00 00 00 00 01 00 2>&1"
        answer = self.client.run(f"! {raw}").lower()
        check("data protect" in answer, f"WRITE(10) of B was answered: {answer}")
        self.compare(self.disks["A"][1].node)
        self.client.run(f"dd if=/tmp/written of={own.node} bs=64k oflag=direct 2>/dev/null")
        self.compare(own.node)
        return f"opening says {why.rpartition(': ')[2]!r}, WRITE(10) DATA PROTECT"

    def pull(self) -> str:
        """The initiators' cable is pulled and put back while A writes and verifies"""
        return self.disturbed(self.board)

    def pull_target(self) -> str:
        """The same with the target's cable"""
        return self.disturbed(self.target)

    def disturbed(self, chip: Chip) -> str:
        """A cable out under I/O."""
        self.client.run("for port in /sys/class/fc_remote_ports/*; do echo 120 >$port/dev_loss_tmo; done")
        started = self.lab.loop.now()
        during_verify(
            self.lab, self.client, self.disks["A"][0].node, lambda: cable_pull(self.lab, chip, OUT), "2m"
        )
        took = self.lab.loop.now() - started
        self.client.run(f"wait_for 60 online {VIRTUAL:016x}")
        self.compare(self.disks["B"][0].node)
        return f"out for {OUT:g} s; nothing failed, verified after {took:.0f} s; B reads what A wrote"

    def end(self) -> str:
        """The end: everything removed, modules unloaded, no object left, no complaint of a kernel"""
        own = f"{self.wwpn('A'):016x}"
        host = self.client.run(f"host_by_wwn {own}").strip()
        node = f"{self.board.settings.wwnn:016x}"
        self.client.run(f"echo {VIRTUAL:016x}:{node} >/sys/class/fc_host/{host}/vport_delete")
        self.admin("clear yes=yes")
        self.server.run("set -e\n. /scst.sh\nscst_clear", timeout=200)
        for machine in (self.client, self.server):
            bad = machine.bad_lines()
            check(not bad, "kernel log: " + "; ".join(bad[:5]))
        return "clean"


STEPS: tuple[Callable[[Demo], str], ...] = (
    Demo.machines,
    Demo.configure,
    Demo.login,
    Demo.look,
    Demo.files,
    Demo.share,
    Demo.protect,
    Demo.pull,
    Demo.pull_target,
    Demo.end,
)


def configuration(target: str, initiators: dict[str, int]) -> list[str]:
    """The one place that says how the target is configured: commands of ``scstadmin``."""
    commands = [f"create device {name} {PATHS[name]}" for name in DEVICES]
    commands.append(f"create target qla2xxx/{target}")
    for initiator, wwpn in initiators.items():
        commands.append(f"create group {initiator} {fc.format_wwn(wwpn)} target={target}")
        for device, read_only in EXPECTED[initiator]:
            mode = " read_only=yes" if read_only else ""
            commands.append(f"map {device} target={target} group={initiator}{mode}")
    return commands


def view_line(initiator: str, disk: Disk, device: str) -> str:
    """A LUN in a view."""
    mode = "read-only " if disk.read_only else "read-write"
    return f"{initiator}  LUN {disk.lun}  {device}  {mode}  {disk.mib:3} MiB  serial {disk.serial}"


@scenario(NAME)
def demo(lab: Lab) -> None:
    """What `make demo-fc` shows."""
    state = Demo(lab)
    for number, step in enumerate(STEPS, 1):
        print(f"{number:2}. {step.__doc__}", flush=True)
        started = lab.loop.now()
        found = step(state)
        print(f"      ok ({lab.loop.now() - started:.1f} s): {found}", flush=True)


def main() -> int:
    """Run the steps; 0 if all were as they should be."""
    print("demo: building the modules and booting the machines", flush=True)
    cache = Cache(cache_root())
    try:
        tools, kernel = cache.tools(), cache.kernel(SERIES[0])
        build_own(kernel, (NAME,))
    except SetupError as err:
        print(f"demo: {err}")
        return 2
    lab = Lab(tools, kernel, make_archive(tools, kernel))
    try:
        demo(lab)
    except (CheckFailed, GuestError, ValueError) as err:
        print(f"      WRONG: {err}\ndemo: FAILED", flush=True)
        return 1
    finally:
        lab.close(keep=False)
    print(f"demo: all {len(STEPS)} steps as they should be", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
