# SPDX-License-Identifier: GPL-2.0-or-later
"""One VM with boards of your choice, running a script of yours: for work on a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..fc.frames import format_wwn
from . import initramfs
from .lab import DISK_SIZE, TARGET_WWPN, Lab
from .machine import GuestError
from .packages import Cache


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What to boot."""

    models: Sequence[str]
    script: str
    series: str
    target: bool = False
    """Also a scripted target port with one RAM disk."""
    extra: Sequence[Path] = ()
    """Module files for the guest's ``/extra``."""
    record: Path | None = None
    timeout: float = 600.0


def run(cache: Cache, plan: BootPlan) -> int:
    """Boot, run, print the script's output; 0 if it succeeds and the kernel log has no warnings."""
    tools, kernel = cache.tools(), cache.kernel(plan.series)
    archive = initramfs.build(tools, kernel, extra=plan.extra)
    lab = Lab(tools, kernel, archive, plan.record)
    try:
        if plan.target:
            lab.target(size=DISK_SIZE)
            print(f"target {format_wwn(TARGET_WWPN)}")
        for model in plan.models:
            chip = lab.board(model)
            print(f"{chip.name}: {model} {format_wwn(chip.settings.wwpn)}", flush=True)
        machine = lab.boot()
        print(machine.run(plan.script, plan.timeout), end="")
        bad = machine.bad_lines()
        print("\n".join(bad), end="\n" if bad else "")
        return 1 if bad else 0
    except GuestError as err:
        print(err)
        return 1
    finally:
        lab.close(keep=False)
