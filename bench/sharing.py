# SPDX-License-Identifier: GPL-2.0-or-later
"""Cache lines that move between CPUs per I/O, by function: what decides on many cores.

``python -m bench.sharing scst-far lio-far --cpus 4`` counts these cells only, and shows the functions;
``python -m bench.sharing --iscsi`` counts over iSCSI, with a session for each CPU that stays there: what
moves then is shared by sessions.

A plugin of the emulator counts them (``bench/plugin``). A line that a function of the target's own modules
has to fetch, or to take away, from another CPU is one of its own; the rest is the kernel's. ``null`` and
``blk`` complete on the CPU that submits, ``far`` on another one: a disk of one queue, whose interrupts go
to a CPU on which nothing submits.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import counts
from bench.counts import Symbol
from bench.pattern import FAR, ISCSI, Pattern
from bench.samples import Sample, machine_sample
from bench.vm import NETWORKED, Part, PartFailed, run

CPUS = (2, 4, 8)
# What is required is required of this many.
JUDGED_CPUS = 4
DEPTH = 8
BACKENDS = ("null", "blk", FAR)
PATTERNS = tuple(Pattern(access, 4096, DEPTH) for access in ("randread", "randwrite"))
SECONDS = 3600
# Modules that are a system's own, by how their names begin.
OWN = {
    "scst": ("scst",),
    "lio": ("target_core", "tcm_loop", "iscsi_target_mod"),
    "scsi_debug": ("scsi_debug",),
    "null_blk": ("null_blk",),
    "virtio": ("virtio",),
}
# A run leaves these in its folder: what was counted when, and what came of it by function.
WINDOWS, FUNCTIONS = "windows.json", "functions.txt"
SHOWN = 12
LEAST_SHOWN = 0.005
FAR_MIB = 1024
FAR_SYSTEMS = ("scst", "lio", "virtio")
CELLS = (
    *(f"{system}-{backend}" for system in ("scst", "lio") for backend in BACKENDS),
    "scsi_debug-null",
    "null_blk-blk",
    f"virtio-{FAR}",
)


def disks() -> tuple[str, ...]:
    """Words for QEMU: a disk of one queue without a medium for each system that uses ``far``."""
    words: list[str] = []
    for system in FAR_SYSTEMS:
        name = f"{FAR}-{system}"
        words += ["-blockdev", f"driver=null-co,node-name={name},size={FAR_MIB << 20}"]
        words += ["-device", f"virtio-blk-pci,drive={name},num-queues=1,serial={name}"]
    return tuple(words)


def machine(cpus: int, cells: Sequence[str] = ()) -> Part:
    """A machine of that many CPUs in which cells are counted; none: all."""
    return Part(
        f"sharing-{cpus}",
        "bench.guest.sharing",
        tuple(cells),
        seconds=SECONDS,
        cpus=cpus,
        counted="lines",
        qemu=disks(),
        read=samples,
    )


def parts() -> list[Part]:
    """What is run: a machine for each number of CPUs."""
    return [*(machine(cpus) for cpus in CPUS), over_iscsi(JUDGED_CPUS)]


def over_iscsi(cpus: int) -> Part:
    """A machine of that many CPUs in which all is counted over iSCSI."""
    return replace(machine(cpus, (ISCSI,)), name="sharing-iscsi", append=NETWORKED)


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted as a phase of the plugin: so many I/Os of a system, in a window of its cell.

    *kernel*: the release that it ran on. *round* counts the cell's windows. *transport*: ``iscsi``, or none.
    """

    phase: int
    backend: str
    access: str
    system: str
    kernel: str
    cpus: int
    round: int
    ios: int
    transport: str = ""

    @property
    def pattern(self) -> str:
        """The pattern, for the results."""
        return pattern(self.access, self.cpus, self.transport)


def pattern(access: str, cpus: int, transport: str = "") -> str:
    """What results call an access from that many CPUs."""
    return f"{access} 4k qd{DEPTH}, {cpus} CPUs{' over ' if transport else ''}{transport}"


def dumps(windows: list[Window]) -> str:
    """Text of a file of windows."""
    return json.dumps([asdict(window) for window in windows])


def loads(text: str) -> list[Window]:
    """Inverse of `dumps`."""
    return [Window(**row) for row in json.loads(text)]


def own(system: str, symbol: Symbol) -> bool:
    """Is it a function of the system's own modules?"""
    return symbol.module.startswith(OWN[system])


def lines(window: Window, moved: Mapping[Symbol, int]) -> Iterator[Sample]:
    """The values of a window: lines per I/O, all of the machine's and the system's own."""
    mine = sum(count for symbol, count in moved.items() if own(window.system, symbol))
    for metric, count in (("lines", sum(moved.values())), ("own_lines", mine)):
        place = (window.backend, window.pattern, metric, window.system)
        yield Sample("sharing", *place, window.round, count / window.ios)


def functions(window: Window, moved: Counter[Symbol]) -> Iterator[str]:
    """Lines of text: where most lines moved in a window, the system's own functions first."""
    yield f"{window.system}, {window.backend}, {window.pattern}: cache lines per I/O"
    order = sorted(moved.items(), key=lambda item: (not own(window.system, item[0]), -item[1]))
    mine = sum(own(window.system, symbol) for symbol in moved)
    for symbol, count in order[:mine][:SHOWN] + order[mine:][:SHOWN]:
        if count / window.ios >= LEAST_SHOWN:
            yield f"  {count / window.ios:8.3f}  {symbol.title}"


def samples(folder: Path) -> list[Sample]:
    """The values of a run that is over; leaves a list by function beside them, and says where."""
    windows, moved = loads((folder / WINDOWS).read_text()), counts.read(folder)
    text = "\n".join(line for window in windows for line in functions(window, moved[window.phase]))
    (folder / FUNCTIONS).write_text(text + "\n")
    print(f"bench: by function: {folder / FUNCTIONS}", flush=True)
    machines = {machine_sample("sharing", window.kernel, window.cpus) for window in windows}
    return [*machines, *(sample for window in windows for sample in lines(window, moved[window.phase]))]


def cell(text: str) -> str:
    """A cell that there is."""
    if text not in CELLS:
        raise argparse.ArgumentTypeError(f"{text}: only these are there: {', '.join(CELLS)}")
    return text


def parser() -> argparse.ArgumentParser:
    """The options, see the module's description."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sharing", description="Show where cache lines move between CPUs."
    )
    parser.add_argument("cells", nargs="*", type=cell, metavar="cell", help=", ".join(CELLS))
    parser.add_argument("--iscsi", action="store_true", help="all cells over iSCSI, instead of such")
    parser.add_argument("--cpus", type=int, default=JUDGED_CPUS, help="default: %(default)s")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit status 3: the VM failed, or this QEMU takes no plugins."""
    top = parser()
    options = top.parse_args(arguments)
    if options.iscsi == bool(options.cells):
        top.error("either cells, or --iscsi")
    try:
        out = run(over_iscsi(options.cpus) if options.iscsi else machine(options.cpus, options.cells))
    except (PartFailed, counts.NoPlugins) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3
    for sample in samples(out):
        if sample.metric.endswith("lines"):
            print(f"{sample.system}, {sample.backend}, {sample.pattern}: {sample.value:.3f} {sample.metric}")
    print((out / FUNCTIONS).read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
