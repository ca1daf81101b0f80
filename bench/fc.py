# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command over Fibre Channel costs on the target's side, beside LIO: ``python -m bench --only fc``.

Emulated boards on both ends (tests/hba). The target's side is a machine of its own, with one CPU and two
boards: one served by ours, one by LIO's tcm_qla2xxx, each with a null device and a file. An initiator in
another machine uses them in turn. A plugin of the emulator counts what the target's machine executes, by
module; what it does by itself when nobody asks for anything is measured, too, and subtracted. That is so much
in a second, whatever else it does: its clock ticks when it is idle, too.

Both use the in-box driver to talk to the board, and much of what a command costs is there, and in
interrupts: the emulator has one for nearly every completion, where a real board collects them. So what each
target's own modules execute is counted apart. And it gives each command to a thread, so that between two
commands there is a switch to it and one to the idle task, whoever the target is: threads that are woken are
counted beside context switches.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import counts
from bench.pattern import Pattern
from bench.samples import OURS, Sample, machine_sample
from bench.vm import PartFailed
from tests.hba.isp.chip import Chip
from tests.hba.vm.lab import REPO, CheckFailed, Lab, build_own, make_archive
from tests.hba.vm.machine import GuestError, Machine
from tests.hba.vm.ours import name as port_name
from tests.hba.vm.packages import SERIES, Cache, SetupError, cache_root

BENCH = "fc"
LIO = "lio"
ROUNDS = 3
FILE_MIB = 32
IDLE_SECONDS = 4.0
BACKENDS = ("null", "file")
PATTERNS = {
    Pattern("randread", 4096, 1): 1000,
    Pattern("randwrite", 4096, 1): 1000,
    Pattern("read", 256 << 10, 1): 128,
}
"""Each with so many I/Os."""
IDLE = 255
"""The phase of the plugin in which nobody asks for anything."""
APPEND = "nohz=off schedstats=enable"
"""As many clock ticks when the machine is idle as otherwise; wake-ups are counted."""
INBOX = "qla2xxx"
OWN = {OURS: ("scst",), LIO: ("target_core", "tcm_")}
"""How the names of a system's own modules begin."""

SERVE = """set -e
. /scst.sh
scst_load qlini_mode=disabled
load target_core_file; load tcm_qla2xxx
wait_for 20 [ -d /sys/class/scst/port.qla2xxx.{ours} ]
scst_null n 1073741824
scst_file f {mib}
target=$SCST/targets/qla2xxx/{ours}
mkdir $target
scst_map $target 0 nullio/n 0
scst_map $target 1 fileio/f 0
echo 1 >$target/enabled
dd if=/dev/zero of=/tmp/l bs=1M count={mib} 2>/dev/null
cd /sys/kernel/config/target
mkdir -p core/rd_mcp_0/n core/fileio_0/f
echo rd_pages=262144,rd_nullio=1 >core/rd_mcp_0/n/control
echo fd_dev_name=/tmp/l,fd_dev_size=$(({mib} << 20)),fd_buffered_io=1 >core/fileio_0/f/control
echo 1 >core/rd_mcp_0/n/enable
echo 1 >core/fileio_0/f/enable
mkdir -p qla2xxx/{lio}/tpgt_1/lun/lun_0 qla2xxx/{lio}/tpgt_1/lun/lun_1
cd qla2xxx/{lio}/tpgt_1
echo 1 >attrib/generate_node_acls
echo 1 >attrib/cache_dynamic_acls
echo 0 >attrib/demo_mode_write_protect
echo 0 >attrib/demo_mode_login_only
ln -s /sys/kernel/config/target/core/rd_mcp_0/n lun/lun_0/port
ln -s /sys/kernel/config/target/core/fileio_0/f lun/lun_1/port
echo 1 >enable
wait_for 60 online {ours_wwpn}
wait_for 60 online {lio_wwpn}
"""
ATTACH = """disk=$(wait_for 60 disk_of {wwpn} {lun} >&2 && disk_of {wwpn} {lun}) || exit 1
queue=/sys/block/${{disk#/dev/}}/queue
echo none >$queue/scheduler
echo 2 >$queue/nomerges
dd if=$disk of=/dev/null bs=64k count=512 iflag=direct 2>/dev/null
echo $disk
"""
FIO = (
    "fio --name=cost --filename={disk} --rw={access} --bs={block} --size={mib}m --number_ios={ios} "
    "--direct=1 --ioengine=libaio --iodepth=1 --norandommap --randrepeat=1 --thread --output-format=json"
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A LUN of the initiator's, whose target is a system's."""

    system: str
    backend: str
    node: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Context switches, and threads that were woken."""

    switches: float
    wakeups: float

    def since(self, before: Spent) -> Spent:
        """What came after."""
        return Spent(self.switches - before.switches, self.wakeups - before.wakeups)

    def per(self, seconds: float) -> Spent:
        """In one of so many seconds."""
        return Spent(self.switches / seconds, self.wakeups / seconds)


@dataclass(frozen=True, slots=True)
class Window:
    """What was done while the plugin counted a phase; *spent*: by the target's machine."""

    phase: int
    disk: Disk
    pattern: Pattern
    round: int
    ios: int
    seconds: float
    spent: Spent


def measure() -> list[Sample]:
    """Samples of everything, and the machine they are of. Raises NoPlugins, and PartFailed."""
    print(f"bench: {BENCH}", flush=True)
    try:
        return measured(Cache(cache_root()))
    except (SetupError, CheckFailed, GuestError) as error:
        raise PartFailed(f"{BENCH}: {error}") from error


def measured(cache: Cache) -> list[Sample]:
    """The same, with tools and a kernel from the cache."""
    tools, kernel = cache.tools(), cache.kernel(SERIES[0])
    build_own(kernel, ("scst-",))
    counts.build(qemu=tools.qemu())
    folder = Path(tempfile.mkdtemp(prefix="fc-", dir=runs()))
    lab = Lab(tools, kernel, make_archive(tools, kernel))
    try:
        return [machine_sample(BENCH, kernel.release, 1), *Bench(lab, folder).samples()]
    finally:
        lab.close(keep=False)


def runs() -> Path:
    """Where runs leave what they have counted."""
    folder = REPO / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Bench:
    """Two machines, and the plugin's file."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        """Boot them; the target's with the plugin."""
        self.lab, self.folder = lab, folder
        initiator = lab.board("2432")
        self.boards = {OURS: lab.board("2432"), LIO: lab.board("2432")}
        plugin = counts.arguments(counts.PLUGIN, folder / counts.COUNTS, "instructions")
        self.server = lab.boot(lab.bed.endpoints[1:], memory=768, append=APPEND, more=plugin)
        self.client = lab.boot(lab.bed.endpoints[:1], memory=384)
        self.server.run(self._serve(), timeout=600)
        self.client.run("load sd_mod; load sg; load qla2xxx")
        self.client.run(f"wait_for 60 online {initiator.settings.wwpn:016x}")

    def _serve(self) -> str:
        wwpns = {f"{system}_wwpn": f"{chip.settings.wwpn:016x}" for system, chip in self.boards.items()}
        names = {system: port_name(chip) for system, chip in self.boards.items()}
        return SERVE.format(
            ours=names[OURS],
            lio=names[LIO],
            ours_wwpn=wwpns[f"{OURS}_wwpn"],
            lio_wwpn=wwpns[f"{LIO}_wwpn"],
            mib=FILE_MIB,
        )

    def samples(self) -> Iterator[Sample]:
        """Measure, and say what it was."""
        disks = [
            Disk(system, backend, self._attach(chip, lun))
            for system, chip in self.boards.items()
            for lun, backend in enumerate(BACKENDS)
        ]
        idle_seconds, idle_spent = self._idle()
        windows = list(self._windows(disks))
        modules = Modules(self.server)
        found = self._counted(modules)
        rate = sum(found[IDLE].values()) / idle_seconds
        own_rate = {module: count / idle_seconds for module, count in found[IDLE].items()}
        (self.folder / "modules.json").write_text(json.dumps({str(w): found[w.phase] for w in windows}))
        for window in windows:
            yield from values(window, found[window.phase], rate, own_rate, idle_spent.per(idle_seconds))

    def _attach(self, chip: Chip, lun: int) -> str:
        text = self.client.run(ATTACH.format(wwpn=f"{chip.settings.wwpn:016x}", lun=lun), timeout=200)
        return text.split()[-1]

    def _windows(self, disks: Sequence[Disk]) -> Iterator[Window]:
        """Every cell, in each round with the systems in the other order, so that drift cancels."""
        phase = 0
        for turn in range(ROUNDS):
            for pattern, ios in PATTERNS.items():
                for backend in BACKENDS:
                    pair = [disk for disk in disks if disk.backend == backend]
                    for disk in pair if turn % 2 == 0 else reversed(pair):
                        phase += 1
                        yield self._window(phase, disk, pattern, turn, ios)
            print(f"bench: {BENCH}: round {turn + 1}", flush=True)

    def _window(self, phase: int, disk: Disk, pattern: Pattern, turn: int, ios: int) -> Window:
        script = FIO.format(disk=disk.node, access=pattern.access, block=pattern.block, mib=FILE_MIB, ios=ios)
        before, started = self._spent(), self.lab.loop.now()
        self._phase(phase)
        output = self.client.run(script, timeout=600)
        self._phase(0)
        seconds, spent = self.lab.loop.now() - started, self._spent().since(before)
        job = json.loads(output[output.index("{") :])["jobs"][0]
        done = job["read"]["total_ios"] + job["write"]["total_ios"]
        if done != ios:
            raise RuntimeError(f"fio did {done} I/Os instead of {ios}")
        return Window(phase, disk, pattern, turn, ios, seconds, spent)

    def _idle(self) -> tuple[float, Spent]:
        """Nobody asks for anything: seconds, and what is spent meanwhile."""
        self.lab.loop.run_for(2)
        before, started = self._spent(), self.lab.loop.now()
        self._phase(IDLE)
        self.lab.loop.run_for(IDLE_SECONDS)
        self._phase(0)
        seconds = self.lab.loop.now() - started
        return seconds, self._spent().since(before)

    def _phase(self, phase: int) -> None:
        with (self.folder / counts.COUNTS).open("r+b") as file:
            file.write(bytes([phase]))

    def _spent(self) -> Spent:
        """By the target's machine since it was started."""
        words = self.server.run("grep ^ctxt /proc/stat; grep ^cpu0 /proc/schedstat").split()
        # Behind "cpu0": calls of sched_yield(), 0, of schedule(), those that found nothing, try_to_wake_up().
        return Spent(int(words[1]), int(words[7]))

    def _counted(self, modules: Modules) -> dict[int, Counter[str]]:
        """Instructions by phase and module."""
        found: dict[int, Counter[str]] = {}
        path = self.folder / counts.COUNTS
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            for count in counts.counts(bytes(data)):
                found.setdefault(count.phase, Counter())[modules.at(count.address)] += count.reads
        path.unlink()
        return found


class Modules:
    """Where a machine's modules are."""

    def __init__(self, machine: Machine) -> None:
        rows = [line.split() for line in machine.run("cut -d' ' -f1,2,6 /proc/modules").splitlines()]
        self._ranges = [(int(start, 16), int(start, 16) + int(size), name) for name, size, start in rows]

    def at(self, address: int) -> str:
        """The module that an address is in; the kernel itself; or ``user``."""
        if address >> 63 == 0:
            return "user"
        for start, end, name in self._ranges:
            if start <= address < end:
                return name
        return "kernel"


def values(
    window: Window, found: Counter[str], rate: float, module_rates: dict[str, float], idle: Spent
) -> Iterator[Sample]:
    """The figures of a window, per I/O, without what the machine does by itself in that time."""

    def own(prefixes: tuple[str, ...]) -> float:
        return sum(
            count - module_rates.get(module, 0.0) * window.seconds
            for module, count in found.items()
            if module.startswith(prefixes)
        )

    figures = {
        "instructions": sum(found.values()) - rate * window.seconds,
        "own_instructions": own(OWN[window.disk.system]),
        "inbox_instructions": own((INBOX,)),
        "switches": window.spent.switches - idle.switches * window.seconds,
        "wakeups": window.spent.wakeups - idle.wakeups * window.seconds,
    }
    for metric, value in figures.items():
        yield Sample(
            BENCH,
            window.disk.backend,
            str(window.pattern),
            metric,
            window.disk.system,
            window.round,
            max(0.0, value) / window.ios,
        )
