# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures this target beside LIO and the floors: ``python -m bench``, about ten minutes.

Three virtual machines, one after the other: instructions per command (one CPU, the clock counts
instructions), throughput (two CPUs), and the control plane. Prints the tables and what is required. Exit
status 0: all required figures are met; 1: one is not; 2: wrong usage; 3: the measurements failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import table, vm
from bench.hostload import QUIET
from bench.samples import Result, aggregate, dumps, loads, merge
from bench.verdict import judged
from bench.vm import REPO, Part, PartFailed

RESULTS = REPO / "bench/results.json"
README = REPO / "README.md"
BENCHES = ("instructions", "throughput", "control")
ALWAYS_SHOWN = ("setup", "multiqueue")
FULL_SECONDS = 3600
MISSED, USAGE, BROKEN = 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """The options, see the module's description."""
    top = argparse.ArgumentParser(prog="python -m bench", description="Measure beside LIO and the floors.")
    what = top.add_mutually_exclusive_group()
    what.add_argument("--table", action="store_true", help="print the tables of the last results")
    what.add_argument("--readme", action="store_true", help="write a summary into README.md")
    what.add_argument("--only", choices=BENCHES, help="measure and judge one part; the others' results stay")
    top.add_argument(
        "--full", action="store_true", help="more rounds, tcm_loop with more queues, rtslib at 5,000"
    )
    top.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FILE", help="default: bench/results.json"
    )
    return top


def parts(full: bool) -> dict[str, Part]:
    """What is run, by name."""
    cells, seconds = "bench.guest.cells", FULL_SECONDS
    rounds = ("--rounds", "3" if full else "2")
    rtslib = ("--rtslib-mappings", "5000", "--rtslib-seconds", "1200") if full else ()
    found = [
        Part("instructions", cells, ("instructions",), icount=True, seconds=seconds),
        Part("throughput", cells, ("throughput", *rounds), seconds=seconds),
        Part("control", "bench.guest.control", ("10x10", "100x10", "100x50", *rtslib), seconds=seconds),
    ]
    if full:
        found.append(Part("multiqueue", cells, ("multiqueue", *rounds), seconds=seconds))
    return {part.name: part for part in found}


def measure(options: argparse.Namespace) -> list[Result]:
    """Measure and write the results, keeping those of parts that were not run."""
    every = parts(options.full)
    chosen = [every[options.only]] if options.only else list(every.values())
    results = aggregate(vm.measure(chosen))
    if options.only and options.results.exists():
        results = merge(loads(options.results.read_text()), results)
    options.results.write_text(dumps(results))
    return results


def show(results: Sequence[Result], benches: Sequence[str]) -> int:
    """Print tables and verdicts; the exit status."""
    required = judged(results, benches)
    missed = [requirement for requirement in required if not requirement.met]
    print(table.report([result for result in results if result.bench in (*benches, *ALWAYS_SHOWN)]))
    print(table.verdicts(required))
    for bench, load in table.disturbance(table.Book(tuple(results))):
        if bench in benches and load > QUIET:
            print(
                f"\nbench: {bench}: others used up to {load:.1f} CPUs of the host; its figures are disturbed"
            )
    print(f"\nbench: {len(required) - len(missed)} of {len(required)} required figures met")
    return MISSED if missed else 0


def rewrite_readme(results: Sequence[Result]) -> None:
    """Put the summary between the markers of README.md."""
    README.write_text(table.replace_between(README.read_text(), table.summary(results), README))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    try:
        if options.readme:
            rewrite_readme(loads(options.results.read_text()))
            return 0
        results = loads(options.results.read_text()) if options.table else measure(options)
        return show(results, [options.only] if options.only else BENCHES)
    except PartFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return BROKEN
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
