# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual ports as targets of their own, beside the board's own port."""

from __future__ import annotations

from ..fc.scripted import ScriptedInitiator
from ..isp.chip import Chip
from .lab import Lab, check
from .machine import Job, Machine
from .ours import ACCESS, READY, access, clear, name, serve
from .scenarios import FIO, attach, log_is_clean, scenario, verify, write_and_compare

VIRTUAL = 0x2101000000000001
NODE = 0x2001000000000001
VIRTUAL_NAME = "21:01:00:00:00:00:00:01"
TREE = "/sys/kernel/config/scst/targets/qla2xxx"
PORT = "/sys/class/scst/port.qla2xxx"


class Board:
    """A board with a virtual port, in a machine."""

    def __init__(self, machine: Machine, chip: Chip) -> None:
        self.machine, self.chip = machine, chip
        self.host = machine.run(f"host_by_wwn {chip.settings.wwpn:016x}").strip()

    def virtual(self, verb: str, timeout: float = 120) -> None:
        """Make it or delete it."""
        text = f"echo {VIRTUAL:016x}:{NODE:016x} >/sys/class/fc_host/{self.host}/vport_{verb}"
        self.machine.run(text, timeout=timeout)

    def state(self, target: str) -> str:
        """Of a target."""
        return self.machine.run(f"cat {TREE}/{target}/state").strip()

    def wait_state(self, target: str, state: str) -> None:
        """It gets there."""
        self.machine.run(f"wait_for 60 grep -q {state} {TREE}/{target}/state", timeout=100)

    def is_port(self, target: str) -> bool:
        """Is it shown?"""
        return not self.machine.run(f"[ -d {PORT}.{target} ] || echo no")

    def on_fabric(self) -> bool:
        """Does the fabric know the virtual port?"""
        medium = self.chip.medium
        return any(port.wwpn == VIRTUAL for port in medium.ports.values()) if medium else False


def may(group: str, initiator: Chip | ScriptedInitiator, *luns: str) -> str:
    """Script: what an initiator may use of the virtual port's target."""
    lines = "\n".join(f"scst_map {TREE}/{VIRTUAL_NAME}/groups/{group} {lun}" for lun in luns)
    return ACCESS.format(target=VIRTUAL_NAME, group=group, initiator=name(initiator), luns=lines)


def disk_of(machine: Machine, wwpn: int) -> str:
    """LUN 0 of a target."""
    return machine.run(f"wait_for 60 disk_of {wwpn:016x} 0 && disk_of {wwpn:016x} 0", timeout=100).strip()


def writing(lab: Lab, machine: Machine, disk: str, size: str) -> Job:
    """fio writes and verifies; it has begun when this returns."""
    job = machine.start(FIO.format(disk=disk, size=size, more=""))
    wire = lab.medium.wire
    before = wire.carried
    lab.loop.run_until(lambda: wire.carried > before + 300 or job.done, 60)
    check(not job.done, f"fio on {disk} ended at once: {job.output}")
    return job


def comes_and_goes(board: Board) -> None:
    """A virtual port is a port while the board's own one is a target, whoever is there first."""
    own, there = f"{TREE}/{name(board.chip)}/enabled", f"-d {PORT}.{VIRTUAL_NAME}"
    check(board.is_port(VIRTUAL_NAME), "a virtual port that was there before is no port")
    shown = board.machine.run(f"cat {PORT}.{VIRTUAL_NAME}/fc_host").strip()
    check(shown != board.host, f"the virtual port's host is {shown}, as the board's")
    board.virtual("delete")
    check(not board.is_port(VIRTUAL_NAME), "a deleted port is shown")
    board.virtual("create")
    check(board.is_port(VIRTUAL_NAME), "a virtual port made beside a target is no port")
    board.machine.run(f"echo 0 >{own}; wait_for 20 [ ! {there} ]", timeout=100)
    board.machine.run(f"echo 1 >{own}; wait_for 20 [ {there} ]", timeout=100)


def sees(initiator: ScriptedInitiator, wwpn: int, lun: int) -> bool:
    """Is there this LUN for it?"""
    address = initiator.find(wwpn)
    initiator.login(address)
    for _ in range(4):
        answer = initiator.scsi(address, READY, lun=lun)
        if answer.key_code[:2] != (6, 0x29):
            break
    return answer.status == 0


def deleted_under_load(lab: Lab, board: Board, first: str, second: str) -> None:
    """The virtual port goes while both are written to: one ends, the other does not notice."""
    machine = board.machine
    stays, goes = writing(lab, machine, first, "8m"), writing(lab, machine, second, "64m")
    board.virtual("delete")
    check(board.state(VIRTUAL_NAME) == "parked", "the target of a deleted port is not parked")
    check(not board.is_port(VIRTUAL_NAME), "a deleted port is shown")
    check(not board.on_fabric(), "a deleted port is on the fabric")
    machine.finish(stays, 300)
    check(lab.loop.run_until(lambda: goes.done, 200) and goes.exit_code != 0, "fio wrote to no target")
    check(board.state(name(board.chip)) == "enabled", "the board's own target is not enabled any more")


@scenario("scst-npiv", smoke=True)
def scst_npiv(lab: Lab) -> None:
    """Two targets on one board, its own port's and a virtual one's: own LUNs, own ends."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    scripted = ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000001)
    scripted.plug()
    machine.run("load qla2xxx qlini_mode=dual")
    machine.run(f"wait_for 60 online {target.settings.wwpn:016x}", timeout=100)
    board = Board(machine, target)
    board.virtual("create")
    serve(machine, target, "", access(target, "a", initiator, "0 fileio/f 0"))
    board.machine.run(f"wait_for 20 [ -d {PORT}.{VIRTUAL_NAME} ]")
    comes_and_goes(board)
    accesses = "\n".join((may("a", initiator, "0 fileio/g 0"), may("b", scripted, "5 fileio/g 0")))
    machine.run(f"set -e\n. /scst.sh\nmkdir {TREE}/{VIRTUAL_NAME}\n{accesses}")
    machine.run(f"echo 1 >{TREE}/{VIRTUAL_NAME}/enabled; wait_for 60 online {VIRTUAL:016x}", timeout=100)
    first = attach(machine, initiator, target.settings.wwpn)
    second = disk_of(machine, VIRTUAL)
    check(first != second, "both targets show one disk")
    for disk in (first, second):
        write_and_compare(machine, disk)
        verify(machine, disk, "1m")
    check(sees(scripted, VIRTUAL, 5), "the virtual port's target does not show what it should")
    check(not sees(scripted, VIRTUAL, 0), "it shows what is another initiator's")
    check(not sees(scripted, target.settings.wwpn, 5), "the board's target shows the virtual port's LUN")
    deleted_under_load(lab, board, first, second)
    board.virtual("create")
    board.wait_state(VIRTUAL_NAME, "enabled")
    machine.run(f"wait_for 60 online {VIRTUAL:016x}", timeout=100)
    verify(machine, disk_of(machine, VIRTUAL), "4m")
    machine.run(f"echo 0 >{TREE}/{VIRTUAL_NAME}/enabled; echo 1 >{TREE}/{VIRTUAL_NAME}/enabled", timeout=100)
    check(lab.loop.run_until(lambda: board.on_fabric(), 60), "an enabled target is not on the fabric")
    again = f"wait_for 90 dd if={disk_of(machine, VIRTUAL)} of=/dev/null bs=4k count=4 iflag=direct"
    machine.run(again, timeout=120)
    board.virtual("delete")
    clear(machine)
    log_is_clean(machine)
