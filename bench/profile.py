# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows where the instructions of an I/O go.

``python -m bench.profile scst-null scst-blk --minus scsi_debug-null --pattern 'read 256k qd1 j1'``

Every instruction of a VM is counted by a plugin of the emulator, so the figures are exact. Cells:
``scst-null``, ``lio-blk``, ``scsi_debug-null``, ``null_blk-blk`` ...; with ``--iscsi`` ``scst-null``,
``lio-file``, ``scst-digest``, ``nvmet-null`` ..., with both ends of a connection.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from bench import counts
from bench.counts import Symbol
from bench.pattern import BACKENDS, ISCSI, OVER_ISCSI, Pattern
from bench.table import markdown
from bench.vm import NETWORKED, Part, PartFailed, run

CELLS = (
    *(f"{system}-{b}" for system in ("scst", "lio") for b in BACKENDS),
    "scsi_debug-null",
    "null_blk-blk",
)
ISCSI_CELLS = (*(f"{system}-{b}" for system in ("scst", "lio") for b in OVER_ISCSI), "nvmet-null")
EVERY_CELL = tuple(dict.fromkeys((*CELLS, *ISCSI_CELLS)))
SECONDS = 7200
IOS = "ios.json"


def costs(found: Mapping[Symbol, int], ios: int) -> dict[Symbol, float]:
    """Instructions per I/O by symbol."""
    return {symbol: count / ios for symbol, count in found.items()}


def top(found: Mapping[Symbol, float], count: int) -> str:
    """The dearest symbols."""
    order = sorted(found.items(), key=lambda item: -item[1])[:count]
    return markdown(("symbol", "instructions"), ([symbol.title, f"{cost:,.1f}"] for symbol, cost in order), 1)


def modules(found: Mapping[Symbol, float]) -> str:
    """Sums by module."""
    sums: dict[Symbol, float] = {}
    for symbol, cost in found.items():
        module = Symbol(symbol.module or "kernel")
        sums[module] = sums.get(module, 0.0) + cost
    return top(sums, len(sums))


def difference(ours: Mapping[Symbol, float], base: Mapping[Symbol, float], count: int) -> str:
    """The symbols whose cost differs most, the dearer ones first."""

    def rows() -> Iterator[list[str]]:
        for symbol in sorted(chosen, key=lambda symbol: -change[symbol]):
            figures = (f"{ours.get(symbol, 0):,.1f}", f"{base.get(symbol, 0):,.1f}")
            yield [symbol.title, f"{change[symbol]:+,.1f}", *figures]

    change = {symbol: ours.get(symbol, 0.0) - base.get(symbol, 0.0) for symbol in {*ours, *base}}
    chosen = sorted(change, key=lambda symbol: -abs(change[symbol]))[:count]
    return markdown(("symbol", "difference", "ours", "base"), rows(), 1)


def parser() -> argparse.ArgumentParser:
    """The options, see the module's description."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile", description="Show where instructions go."
    )
    parser.add_argument("cells", nargs="+", choices=EVERY_CELL, metavar="cell", help=", ".join(EVERY_CELL))
    parser.add_argument(
        "--minus", choices=EVERY_CELL, metavar="CELL", help="show the differences to this cell"
    )
    parser.add_argument("--iscsi", action="store_true", help="cells over iSCSI")
    parser.add_argument(
        "--pattern",
        type=Pattern.parse,
        action="append",
        help="default: 'randread 4k qd1 j1'; may be repeated",
    )
    parser.add_argument("--top", type=int, default=40, metavar="N")
    return parser


def asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; the cells are there."""
    top = parser()
    options = top.parse_args(arguments)
    there = ISCSI_CELLS if options.iscsi else CELLS
    for cell in (*options.cells, options.minus or there[0]):
        if cell not in there:
            top.error(f"{cell}: only these are there: {', '.join(there)}")
    return options


def found_in(out: Path) -> dict[str, dict[Symbol, float]]:
    """Instructions per I/O of each cell, by symbol, of a run that is over."""
    ios: dict[str, int] = json.loads((out / IOS).read_text())
    sums = counts.read(out)
    return {cell: costs(sums[phase], number) for phase, (cell, number) in enumerate(ios.items(), 1)}


def show(
    found: Mapping[str, Mapping[Symbol, float]], cells: Iterable[tuple[str, str | None]], count: int
) -> None:
    """Print what was counted: in cells, and beyond others."""
    for cell, minus in cells:
        total = sum(found[cell].values())
        print(f"\n{cell}: {total:,.0f} instructions per I/O\n\n{modules(found[cell])}")
        print(f"\n{top(found[cell], count)}")
        if minus and minus != cell:
            extra = total - sum(found[minus].values())
            print(f"\n{cell} beyond {minus}: {extra:+,.0f}\n\n{difference(found[cell], found[minus], count)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit status 3: the VM failed, or this QEMU takes no plugins."""
    options = asked(arguments)
    cells = dict.fromkeys([*options.cells, *([options.minus] if options.minus else [])])
    patterns = [str(pattern) for pattern in options.pattern or [Pattern("randread", 4096, 1)]]
    words = (ISCSI if options.iscsi else "instructions", ",".join(patterns), *cells)
    part = Part(
        "profile",
        "bench.guest.profiling",
        words,
        icount=True,
        seconds=SECONDS,
        counted="instructions",
        append=NETWORKED if options.iscsi else "",
    )
    try:
        out = run(part)
    except (PartFailed, counts.NoPlugins) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3
    shown = [
        (f"{cell}, {pattern}", f"{options.minus}, {pattern}" if options.minus else None)
        for pattern, cell in product(patterns, options.cells)
    ]
    show(found_in(out), shown, options.top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
