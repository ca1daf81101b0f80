# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults on the way between the in-tree initiator and our target, while fio writes and verifies.

Each scenario is a row of the matrix: the data must be intact, I/O must go on, or end in an error where
that is said; the kernel logs have no warning, no object is left and the modules can be unloaded.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..boards import DEFAULT_WWPN
from ..fc import frames as fc
from ..fc.media import FrameFault
from ..fc.scripted import ScriptError, Task
from ..isp.chip import Chip
from .faultruns import cable_pull
from .lab import Lab, check
from .machine import Job, Machine, Place
from .ours import BLOCKS, Wire, access, clear, is_write_data, name, read10, serve, write10
from .scenarios import attach, log_is_clean, scenario

SCRIPTED = 0x10000000C9000001
# Each pass has other contents: what an older one has left is told from what was written last.
LOAD = """rm -f /tmp/stop /tmp/passes
pass=0
while [ ! -e /tmp/stop ]; do
	pass=$((pass + 1))
	fio --name=verify --filename={disk} --rw=randwrite --bs=4k --size=1m --direct=1 --ioengine=libaio \\
		--iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=$pass --thread --minimal \\
		>/tmp/fio 2>&1 || {{ cat /tmp/fio; exit 1; }}
	echo $pass >/tmp/passes
done
echo $pass
"""
FLOWING = 300
"""So many frames, and I/O flows."""
LAST_FLOW = 120.0
CHIP_RESET = 0x2025C
MANY = 100
BOARDS_OWN = 2048
"""Exchanges of a board."""
BUSY = (0x08, 0x28)
"""Status BUSY and TASK SET FULL."""


@dataclass(slots=True)
class Bed:
    """Our target, an in-tree initiator that fio keeps busy, and scripted ones on a disk of their own."""

    lab: Lab
    client: Machine
    server: Machine
    initiator: Chip
    target: Chip
    disk: str
    wire: Wire
    other: Wire
    job: Job | None = None

    @property
    def folder(self) -> str:
        """The target's in configfs."""
        return f"/sys/kernel/config/scst/targets/qla2xxx/{name(self.target)}"

    def start(self) -> None:
        """Begin to write and verify."""
        self.job = self.client.start(LOAD.format(disk=self.disk))
        self.flows("before the fault")

    def flows(self, what: str) -> None:
        """I/O goes on: frames are carried, and nothing has failed."""
        job, wire = self.job, self.lab.medium.wire
        assert job is not None
        before, started = wire.carried, self.lab.loop.now()
        self.lab.loop.run_until(lambda: wire.carried > before + FLOWING or job.done, LAST_FLOW)
        check(not job.done, f"{what}: fio failed: {job.output}")
        check(wire.carried > before + FLOWING, f"{what}: no I/O for {LAST_FLOW:g} s")
        print(f"    {what}: I/O after {self.lab.loop.now() - started:.1f} s", flush=True)

    def stop(self, timeout: float = 180.0) -> None:
        """End of the load: everything that was written is verified."""
        assert self.job is not None
        self.client.run("touch /tmp/stop")
        print(f"    {self.client.finish(self.job, timeout).strip()} passes verified", flush=True)

    def end(self) -> None:
        """Nothing may be left."""
        self.stop()
        finished(self)


def finished(bed: Bed) -> None:
    """No object is left, the modules go, the kernels have nothing to say."""
    clear(bed.server)
    for machine in {id(machine): machine for machine in (bed.client, bed.server)}.values():
        log_is_clean(machine)


def patient(client: Machine, disk: str, seconds: int = 120) -> None:
    """An initiator that gives no port up for so many seconds, and a command after ten."""
    client.run(f"for port in /sys/class/fc_remote_ports/*; do echo {seconds} >$port/dev_loss_tmo; done")
    client.run(f"echo 10 >/sys/block/{disk.removeprefix('/dev/')}/device/timeout")


def one_machine(lab: Lab) -> Bed:
    """Both boards in one machine of two CPUs."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=896, cpus=2)
    return beginning(lab, machine, machine, initiator, target)


def two_machines(lab: Lab) -> Bed:
    """A machine each; the target's has two CPUs."""
    initiator, target = lab.board("2432"), lab.board("2432")
    server = lab.boot(lab.bed.endpoints[1:], memory=768, cpus=2)
    client = lab.boot(lab.bed.endpoints[:1], memory=384)
    return beginning(lab, client, server, initiator, target)


def beginning(lab: Lab, client: Machine, server: Machine, initiator: Chip, target: Chip) -> Bed:
    """Our target serves both initiators."""
    wire, more = Wire(lab, target, SCRIPTED), Wire(lab, target, SCRIPTED + 1)
    bed = Bed(lab, client, server, initiator, target, "", wire, more)
    bed_serve(bed)
    bed.disk = attach(client, initiator, target.settings.wwpn)
    patient(client, bed.disk)
    return bed


def bed_serve(bed: Bed) -> None:
    """Files as LUN 0 of each: one is fio's, one the scripted initiators'."""
    parameters = "qlini_mode=dual" if bed.client is bed.server else "qlini_mode=disabled"
    mine = access(bed.target, "a", bed.initiator, "0 fileio/f 0")
    others = [
        access(bed.target, group, wire.port, "0 fileio/g 0")
        for group, wire in (("s", bed.wire), ("t", bed.other))
    ]
    serve(bed.server, bed.target, parameters, mine, *others)


# --- what goes wrong ---------------------------------------------------------------------------------------


def chip_reset(machine: Machine, chip: Chip) -> None:
    """The driver resets the chip, and is done with it."""
    host = machine.run(f"host_by_wwn {chip.settings.wwpn:016x}").strip()
    before = chip.epoch
    machine.run(f"echo {CHIP_RESET} >/sys/class/scsi_host/{host}/device/reset", timeout=120)
    check(machine.loop.run_until(lambda: chip.epoch > before, 60), "the chip was not reset")


def crash(bed: Bed, chip: Chip) -> None:
    """The firmware crashes; the port is back after a while."""
    before = chip.epoch
    chip.system_error()
    back = bed.lab.loop.run_until(lambda: chip.epoch > before + 1 and chip.port.online, 90)
    check(back, "the port is not back after a crash of its firmware")


def own_data(bed: Bed, count: int) -> FrameFault:
    """So many of the scripted initiators' frames with data are lost from now on."""

    def matches(frame: fc.Frame) -> bool:
        return is_write_data(frame) and frame.s_id in (bed.wire.port.port_id, bed.other.port.port_id)

    fault = FrameFault(matches, count)
    bed.lab.medium.wire.faults.append(fault)
    return fault


def waiting_writes(bed: Bed, count: int) -> list[Task]:
    """Writes that the firmware has, and whose data never comes."""
    fault = own_data(bed, count)
    data = b"N" * 512 * BLOCKS
    tasks = [bed.wire.port.start(bed.wire.address, write10(8), data) for _ in range(count)]
    found = bed.lab.loop.run_until(lambda: fault.hits >= count, 60)
    check(found, f"the data of {fault.hits} writes were asked for instead of {count}")
    return tasks


def login(bed: Bed) -> None:
    """The scripted initiator logs in, as soon as that is possible."""
    end = bed.lab.loop.now() + LAST_FLOW
    while True:
        try:
            bed.wire.login()
            return
        except ScriptError:
            check(bed.lab.loop.now() < end, f"no login for {LAST_FLOW:g} s")
            bed.lab.loop.run_for(1)


def unchanged(bed: Bed) -> None:
    """The lost writes have ended at both sides, and what they would have written was not written."""
    check(read(bed, 8) == old(8), "a write without data has changed the medium")
    debug = "/sys/kernel/debug"
    bed.server.run(f"[ -d {debug}/scst ] || mount -t debugfs debugfs {debug}")
    lines = bed.server.run(f"cat {debug}/scst/commands").splitlines()
    left = [line for line in lines if name(bed.wire.port) in line]
    check(not left, "commands of a login that has ended:\n" + "\n".join(left))


def read(bed: Bed, lba: int) -> bytes:
    """Contents, as the scripted initiator sees them; it logs in anew when it is logged out.

    In dual mode the in-box driver asks a port that has come back whether it is a target, and begins with a
    PLOGI of its own: for the port, that is the end of the login it has just made.
    """
    end = bed.lab.loop.now() + LAST_FLOW
    while True:
        try:
            return bed.wire.read(lba)
        except ScriptError:
            check(bed.lab.loop.now() < end, f"no login lasts for {LAST_FLOW:g} s")
            login(bed)


def old(lba: int) -> bytes:
    """Contents before the fault."""
    return bytes([lba]) * 512 * BLOCKS


def prepare(bed: Bed) -> None:
    """The scripted initiator logs in and writes something."""
    login(bed)
    check(bed.wire.write(8, old(8)) == 0, "WRITE failed")


# --- the rows -----------------------------------------------------------------------------------------------


@scenario("scst-fault-cables")
def cables(lab: Lab) -> None:
    """A cable is pulled and put back twenty times, by turns at either end."""
    bed = one_machine(lab)
    bed.start()
    for turn in range(20):
        cable_pull(lab, (bed.initiator, bed.target)[turn % 2], 0.2 + turn % 5 * 0.5)
        bed.flows(f"cable {turn + 1}")
    bed.end()


@scenario("scst-fault-reset")
def resets(lab: Lab) -> None:
    """The chip is reset, at the target's end and at the initiator's."""
    bed = one_machine(lab)
    bed.start()
    for chip, what in ((bed.target, "target"), (bed.initiator, "initiator"), (bed.target, "target")):
        chip_reset(bed.server, chip)
        bed.flows(f"the {what}'s chip is reset")
    bed.end()


@scenario("scst-fault-crash")
def crashes(lab: Lab) -> None:
    """The target's firmware crashes with a hundred commands of its own, twice."""
    bed = one_machine(lab)
    prepare(bed)
    bed.start()
    for _ in range(2):
        tasks = waiting_writes(bed, MANY)
        crash(bed, bed.target)
        bed.flows(f"firmware crash with {MANY} writes")
        # In dual mode the target may log in here first, as an initiator; who comes first ends them.
        login(bed)
        check(all(task.done for task in tasks), "a command has no end")
        unchanged(bed)
    bed.end()


@scenario("scst-fault-abts")
def aborts(lab: Lab) -> None:
    """Storms of ABTS: for writes that wait, that are on their way, and for reads."""
    bed = one_machine(lab)
    prepare(bed)
    bed.start()
    answered = 0
    for storm in range(20):
        answered += abort_all(bed, storm)
        check(bed.wire.read(8) == old(8), "an aborted write has changed the medium")
    bed.flows(f"{answered} ABTS")
    check(answered >= 300, f"only {answered} commands were under way when they were aborted")
    bed.end()


def abort_all(bed: Bed, storm: int) -> int:
    """Start commands and abort those that have not ended; how many those were."""
    lab, port, address = bed.lab, bed.wire.port, bed.wire.address
    waiting = own_data(bed, 10)
    data = b"N" * 512 * BLOCKS
    tasks = [port.start(address, write10(8), data) for _ in range(10)]
    tasks += [port.start(address, write10(64), data) for _ in range(10)]
    tasks += [port.start(address, read10(64), read=512 * BLOCKS) for _ in range(10)]
    lab.loop.run_until(lambda: waiting.hits >= 10, 0.01 * (storm % 4 * 5))
    if waiting in lab.medium.wire.faults:
        # Data of what is not aborted in time must not be written: of these writes it never comes.
        waiting.count = 1 << 30
    answers: list[bool] = []
    open_tasks = [task for task in tasks if not task.done]
    for task in open_tasks:
        task.exchange.abort(answers.append)
    done = lab.loop.run_until(lambda: len(answers) == len(open_tasks), 15)
    check(done, f"{len(open_tasks) - len(answers)} of {len(open_tasks)} ABTS got no answer")
    if waiting in lab.medium.wire.faults:
        lab.medium.wire.faults.remove(waiting)
    return len(open_tasks)


@scenario("scst-fault-lost")
def lost(lab: Lab) -> None:
    """CTIOs of the target that never come back: of responses, and of data."""
    bed = one_machine(lab)
    bed.start()
    for _ in range(2):
        bed.target.faults.lose = 3
        check(lab.loop.run_until(lambda: not bed.target.faults.lose, 60), "no CTIO was lost")
        bed.flows("3 CTIOs lost")
    bed.end()


@scenario("scst-fault-ring")
def ring_full(lab: Lab) -> None:
    """The target's request queue is full for two seconds."""
    bed = one_machine(lab)
    prepare(bed)
    bed.start()
    length = 256 << 10
    cdb = bytes((0x28, 0, 0, 0, 0, 0, 0, length >> 17, length >> 9 & 255, 0))
    alone = bed.wire.port.scsi(bed.wire.address, cdb, read=length)
    check(alone.status == 0 and len(alone.data) == length, f"READ of 256 KiB: {alone.status:02x}")
    bed.target.faults.stall = True
    tasks = [bed.wire.port.start(bed.wire.address, cdb, read=length) for _ in range(4 * MANY)]
    lab.loop.run_for(2)
    check(not any(task.done for task in tasks), "the queue does not stand")
    bed.target.faults.stall = False
    bed.flows("request queue full")
    for task in tasks:
        result = bed.wire.port.finish(task, 60)
        check(result.status in (0, *BUSY), f"READ of 256 KiB: {result.status:02x}")
        check(result.status != 0 or result.data == alone.data, "READ returned other data")
    good = sum(task.end.response.status == 0 for task in tasks)
    print(f"    {good} of {len(tasks)} reads good, the others busy", flush=True)
    check(good >= MANY, f"only {good} reads were good")
    bed.end()


@scenario("scst-fault-exchanges")
def exchanges(lab: Lab) -> None:
    """More commands than the firmware has exchanges for, and than the target takes: those are busy."""
    bed = one_machine(lab)
    prepare(bed)
    bed.start()
    # Until all are there a busy host takes longer than the driver lets a write wait for its data.
    bed.target.habits.data_timeout = False
    bed.target.faults.exchanges = MANY
    too_many(bed, [bed.wire], 3 * MANY)
    bed.target.faults.exchanges = 0
    bed.target.habits.exchange_limit = False
    # One initiator alone is stopped by the core, at half of the board's number.
    bed.other.login()
    too_many(bed, [bed.wire, bed.other], BOARDS_OWN // 2 + MANY)
    bed.end()


def too_many(bed: Bed, wires: list[Wire], count: int) -> None:
    """Writes that wait for their data until there is room for no more; then all go with their login."""
    lab = bed.lab
    fault = own_data(bed, 1 << 30)
    tasks = [
        wire.port.start(wire.address, write10(8), b"N" * 512 * BLOCKS) for wire in wires for _ in range(count)
    ]

    def all_seen() -> bool:
        return sum(task.done for task in tasks) + fault.hits >= len(tasks)

    check(lab.loop.run_until(all_seen, 120), "there are commands that nobody answers")
    ends = [task.end.response for task in tasks if task.done]
    busy = [end.status for end in ends]
    print(f"    {fault.hits} writes wait for data, {len(busy)} are refused", flush=True)
    others = {(end.status, end.sense.hex()) for end in ends if end.status not in BUSY}
    check(bool(busy) and not others, f"answers: {others}")
    lab.loop.run_for(2)
    for wire in wires:
        wire.port.logout(wire.address)
    lab.medium.wire.faults.remove(fault)
    bed.flows("exchanges exhausted")
    login(bed)
    unchanged(bed)


@scenario("scst-fault-tmf")
def task_management(lab: Lab) -> None:
    """The initiator resets the LUN, the target and its own bus."""
    bed = one_machine(lab)
    bed.start()
    for turn in range(9):
        option = ("-d", "-t", "-b")[turn % 3]
        bed.client.run(f"sg_reset {option} {bed.disk}", timeout=120)
        bed.flows(f"sg_reset {option}")
    bed.end()


@scenario("scst-fault-killed")
def killed(lab: Lab) -> None:
    """The initiator's machine is killed; another one on the same board goes on with its disk."""
    bed = two_machines(lab)
    for _ in range(2):
        bed.start()
        bed.client.kill()
        bed.client = lab.boot(lab.bed.endpoints[:1], memory=384)
        bed.disk = attach(bed.client, bed.initiator, bed.target.settings.wwpn)
        patient(bed.client, bed.disk)
    bed.start()
    bed.end()


@scenario("scst-fault-disable")
def disabled(lab: Lab) -> None:
    """The target is disabled and enabled."""
    bed = one_machine(lab)
    prepare(bed)
    bed.start()
    for _ in range(3):
        waiting_writes(bed, 10)
        bed.server.run(f"echo 0 >{bed.folder}/enabled", timeout=120)
        lab.loop.run_for(1)
        bed.server.run(f"echo 1 >{bed.folder}/enabled", timeout=120)
        bed.flows("target disabled and enabled")
        login(bed)
        unchanged(bed)
    bed.end()


@scenario("scst-fault-unload")
def unloaded(lab: Lab) -> None:
    """The modules are unloaded and loaded: what is in use is kept, what is not goes."""
    bed = two_machines(lab)
    bed.start()
    for _ in range(2):
        bed.server.run("! rmmod scst_qla2xxx && ! rmmod scst_fileio && ! rmmod scst")
        bed.flows("modules in use are kept")
        clear(bed.server)
        # The files are the same, with all that was acknowledged.
        bed_serve(bed)
        bed.flows("modules unloaded and loaded")
    bed.end()


@scenario("scst-fault-removal")
def removed(lab: Lab) -> None:
    """The target's board is pulled out: its registers read all ones, and then the slot is empty."""
    bed = two_machines(lab)
    patient(bed.client, bed.disk, 10)
    bed.start()
    host = bed.server.run(f"host_by_wwn {bed.target.settings.wwpn:016x}").strip()
    slot = bed.server.run(f"basename $(readlink -f /sys/class/scsi_host/{host}/device/..)").strip()
    bed.target.remove()
    lab.loop.run_for(5)
    bed.server.run(f"echo 1 >/sys/bus/pci/devices/{slot}/remove", timeout=200)
    state = bed.server.run(f"cat {bed.folder}/state").strip()
    check(state == "parked", f"the target is {state}")
    print("    the board is gone, the target is parked", flush=True)
    give_up(bed)
    finished(bed)


def give_up(bed: Bed) -> None:
    """The initiator's I/O ends with an error, once its port is given up."""
    job = bed.job
    assert job is not None
    check(bed.lab.loop.run_until(lambda: job.done, 120), "the initiator's I/O has no end")
    print("    the initiator's I/O ended with an error", flush=True)


@dataclass(frozen=True, slots=True)
class Served:
    """A board's socket that another process serves."""

    path: Path


@scenario("scst-fault-emulator")
def emulator_killed(lab: Lab) -> None:
    """What stands behind both boards is killed: both are dead from then on, and both machines live.

    QEMU 11 itself has been seen to end by that: ``error_setv: Assertion `*errp == NULL' failed``. Then
    nothing has been learnt of the drivers.
    """
    with tempfile.TemporaryDirectory(prefix="hba-serve-") as folder:
        program = [sys.executable, str(Path(__file__).parents[1] / "run.py"), "serve", folder, "2432", "2432"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
            try:
                boards_vanish(lab, server, [Served(Path(folder, f"hba{n}.sock")) for n in range(2)])
            finally:
                server.kill()


def boards_vanish(lab: Lab, process: subprocess.Popen[str], places: list[Place]) -> None:
    """See `emulator_killed`."""
    assert process.stdout is not None
    for _ in places:
        process.stdout.readline()
    server, client = lab.boot(places[1:], memory=640, cpus=2), lab.boot(places[:1], memory=384)
    initiator, target = fc.format_wwn(DEFAULT_WWPN), fc.format_wwn(DEFAULT_WWPN + 1)
    server.run(SERVE_NAMES.format(initiator=initiator, target=target, wwpn=f"{DEFAULT_WWPN + 1:016x}"))
    client.run(f"load sd_mod; load sg; load qla2xxx; wait_for 60 online {DEFAULT_WWPN:016x}")
    found = f"disk_of {DEFAULT_WWPN + 1:016x} 0"
    disk = client.run(f"wait_for 60 {found} && {found}").strip()
    job = client.start(LOAD.format(disk=disk))
    lab.loop.run_until(lambda: job.done, 10)
    check(not job.done, f"fio failed: {job.output}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    lab.loop.run_for(5)
    for machine in (server, client):
        machine.run("echo alive")
    server.run("set -e\n. /scst.sh\nscst_clear", timeout=300)
    for machine in (server, client):
        log_is_clean(machine)


SERVE_NAMES = """set -e
. /scst.sh
scst_load qlini_mode=disabled
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{target} ]
scst_file f 32
mkdir $SCST/targets/qla2xxx/{target}
scst_group {target} a {initiator}
scst_map $SCST/targets/qla2xxx/{target}/groups/a 0 fileio/f 0
echo 1 >$SCST/targets/qla2xxx/{target}/enabled
wait_for 60 online {wwpn}
"""
