# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs scenarios one after the other, one VM (or pair) at a time, and reports."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from . import (  # noqa: F401  registers its scenarios
    both,
    chaos,
    conformance,
    crash,
    demo,
    guards,
    honest,
    matrix,
    newer,
    npiv,
    ours,
    scenarios,
)
from .lab import Effort, Lab, make_archive
from .packages import Cache, Kernel
from .scenarios import SCENARIOS


def select(names: Sequence[str], *, first: bool) -> list[str]:
    """The scenarios to run; KeyError names an unknown one.  Without names: all, or the smoke ones."""
    for name in names:
        if name not in SCENARIOS:
            raise KeyError(f"there is no scenario {name}; known are {', '.join(SCENARIOS)}")
    return list(names) or [name for name, entry in SCENARIOS.items() if first or entry.smoke]


def run_kernel(
    cache: Cache, kernel: Kernel, names: Sequence[str], record: Path | None, effort: Effort | None = None
) -> list[str]:
    """Run scenarios on one kernel; the names of those that failed."""
    tools = cache.tools()
    archive = make_archive(tools, kernel)
    failed = []
    for name in names:
        print(f"{kernel.series} {name} ...", flush=True)
        started = time.monotonic()
        place = record / f"{kernel.series}-{name}" if record else None
        problem = run_one(Lab(tools, kernel, archive, place, effort), name)
        print(
            f"{kernel.series} {name}: {'FAILED' if problem else 'ok'} ({time.monotonic() - started:.0f} s)",
            flush=True,
        )
        if problem:
            print(problem, flush=True)
            failed.append(f"{kernel.series} {name}")
    return failed


def run_one(lab: Lab, name: str) -> str:
    """Run one scenario; what went wrong, or nothing."""
    problem = ""
    try:
        SCENARIOS[name].run(lab)
    except Exception:
        # Whatever it is, the other scenarios are still worth running.
        problem = traceback.format_exc()
    finally:
        consoles = [machine.console() for machine in lab.machines]
        lab.close(keep=bool(problem))
    if problem and consoles:
        problem += "\n".join(f"--- end of console\n{text[-3000:]}" for text in consoles)
    return problem
