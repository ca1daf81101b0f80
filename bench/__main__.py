# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures this target beside LIO and the floors: ``python -m bench``, about twenty minutes.

Virtual machines, one after the other: instructions per I/O (one CPU, the clock counts instructions), cache
lines that move between CPUs (2, 4 and 8 CPUs, where QEMU takes plugins), throughput (two CPUs), the
control plane, the target's side of Fibre Channel (emulated boards), and iSCSI with Linux's initiator on the
same machine: instructions, and two sessions on two CPUs beside one.
Prints the tables, what is required, and what is worse than in the last commit. Exit status 0: all required
figures are met; 1: one is not; 2: wrong usage; 3: the measurements failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench import fc, sharing, table, vm
from bench.baseline import committed
from bench.counts import NoPlugins
from bench.hostload import QUIET
from bench.pattern import ISCSI, SESSIONS
from bench.samples import Result, Sample, aggregate, dumps, loads, merge
from bench.verdict import judged
from bench.vm import REPO, Part, PartFailed

RESULTS = REPO / "bench/results.json"
README = REPO / "README.md"
BENCHES = ("instructions", "sharing", "throughput", "control", ISCSI, SESSIONS, fc.BENCH)
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


def parts(full: bool) -> dict[str, list[Part]]:
    """What is run in machines of their own, by bench."""
    cells, seconds = "bench.guest.cells", FULL_SECONDS
    rounds = ("--rounds", "3" if full else "2")
    rtslib = ("--rtslib-mappings", "5000", "--rtslib-seconds", "1200") if full else ()
    scales = ("10x10", "100x10", "100x50")
    found = {
        "instructions": [Part("instructions", cells, ("instructions",), icount=True, seconds=seconds)],
        "sharing": sharing.parts(),
        "throughput": [Part("throughput", cells, ("throughput", *rounds), seconds=seconds)],
        ISCSI: [Part(ISCSI, cells, (ISCSI,), icount=True, seconds=seconds, append=vm.NETWORKED)],
        SESSIONS: [Part(SESSIONS, "bench.guest.sessions", seconds=seconds, append=vm.NETWORKED)],
        "control": [Part("control", "bench.guest.control", (*scales, *rtslib), seconds=seconds)],
    }
    if full:
        found["multiqueue"] = [Part("multiqueue", cells, ("multiqueue", *rounds), seconds=seconds)]
    return found


def measurements(full: bool) -> dict[str, Callable[[], list[Sample]]]:
    """Everything that can be measured, by bench."""
    found: dict[str, Callable[[], list[Sample]]] = {
        bench: partial(vm.measure, machines) for bench, machines in parts(full).items()
    }
    found[fc.BENCH] = fc.measure
    return found


def measure(options: argparse.Namespace) -> tuple[list[Result], list[str], bool]:
    """Measure and write the results, keeping those of benches that were not run.

    Also returns who was run, and whether one has failed.
    """
    samples: list[Sample] = []
    done: list[str] = []
    broken = False
    for bench, found in measurements(options.full).items():
        if options.only in (None, bench):
            try:
                samples += found()
                done.append(bench)
            except NoPlugins as error:
                print(f"bench: {bench}: skipped, nothing can be counted here: {error}")
            except PartFailed as error:
                print(f"bench: {bench}: {error}", file=sys.stderr)
                broken = True
    results = aggregate(samples)
    if len(done) < len(BENCHES) and options.results.exists():
        results = merge(loads(options.results.read_text()), results)
    options.results.write_text(dumps(results))
    return results, done, broken


def show(results: Sequence[Result], benches: Sequence[str]) -> int:
    """Print tables and verdicts; the exit status."""
    required = judged(results, benches, committed())
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
        if options.table:
            return show(loads(options.results.read_text()), BENCHES)
        results, done, broken = measure(options)
        status = show(results, done)
        return BROKEN if broken else status
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
