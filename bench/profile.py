# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows where the instructions of a command go.

``python -m bench.profile scst-null scst-blk --minus scsi_debug-null --pattern 'read 256k qd1 j1'``

perf samples the clock of a VM in which a nanosecond is one instruction. Code that runs with interrupts off is
counted where they come back on. Cells: ``scst-null``, ``lio-blk``, ``scsi_debug-null``, ``null_blk-blk`` ...
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.pattern import BACKENDS, Pattern
from bench.table import markdown
from bench.vm import Part, PartFailed, run

CELLS = (
    *(f"{system}-{b}" for system in ("scst", "lio") for b in BACKENDS),
    "scsi_debug-null",
    "null_blk-blk",
)
LINE = re.compile(r"\s*(\d+\.\d+)%\s+\[(.)\]\s+(\S+)")
SECONDS = 7200


def parse_report(text: str) -> dict[str, float]:
    """Share of each symbol, of those that perf names, from perf's report; user space as ``user:symbol``."""
    shares: dict[str, float] = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            name = found[3] if found[2] == "k" else f"user:{found[3]}"
            shares[name] = shares.get(name, 0.0) + float(found[1])
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def costs(shares: Mapping[str, float], instructions: float) -> dict[str, float]:
    """Instructions per command by symbol."""
    return {name: share * instructions for name, share in shares.items()}


def top(found: Mapping[str, float], count: int) -> str:
    """The dearest symbols."""
    order = sorted(found.items(), key=lambda item: -item[1])[:count]
    return markdown(("symbol", "instructions"), ([name, f"{cost:,.0f}"] for name, cost in order), 1)


def difference(ours: Mapping[str, float], base: Mapping[str, float], count: int) -> str:
    """The symbols whose cost differs most, the dearer ones first."""

    def rows() -> Iterator[list[str]]:
        for name in sorted(chosen, key=lambda name: -change[name]):
            yield [name, f"{change[name]:+,.0f}", f"{ours.get(name, 0):,.0f}", f"{base.get(name, 0):,.0f}"]

    change = {name: ours.get(name, 0.0) - base.get(name, 0.0) for name in {*ours, *base}}
    chosen = sorted(change, key=lambda name: -abs(change[name]))[:count]
    return markdown(("symbol", "difference", "ours", "base"), rows(), 1)


def parser() -> argparse.ArgumentParser:
    """The options, see the module's description."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile", description="Show where instructions go."
    )
    parser.add_argument("cells", nargs="+", choices=CELLS, metavar="cell", help=", ".join(CELLS))
    parser.add_argument("--minus", choices=CELLS, metavar="CELL", help="show the differences to this cell")
    parser.add_argument("--pattern", type=Pattern.parse, default=Pattern("randread", 4096, 1))
    parser.add_argument("--top", type=int, default=40, metavar="N")
    return parser


def show(out: Path, cells: Sequence[str], minus: str | None, count: int) -> None:
    """Print what the VM left."""
    totals: dict[str, float] = json.loads((out / "instructions.json").read_text())
    found = {
        cell: costs(parse_report((out / f"{cell}.symbols").read_text()), total)
        for cell, total in totals.items()
    }
    for cell in cells:
        print(f"\n{cell}: {totals[cell]:,.0f} instructions per command\n\n{top(found[cell], count)}")
        if minus and minus != cell:
            extra = totals[cell] - totals[minus]
            print(f"\n{cell} beyond {minus}: {extra:+,.0f}\n\n{difference(found[cell], found[minus], count)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit status 3: the VM failed; 2: perf is missing."""
    options = parser().parse_args(arguments)
    if shutil.which("perf") is None:
        print("bench: perf is missing; as root: apt-get install linux-perf", file=sys.stderr)
        return 2
    cells = dict.fromkeys([*options.cells, *([options.minus] if options.minus else [])])
    try:
        words = (str(options.pattern), *cells)
        out = run(Part("profile", "bench.guest.profiling", words, icount=True, seconds=SECONDS))
    except PartFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3
    show(out, options.cells, options.minus, options.top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
