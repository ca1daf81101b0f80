# SPDX-License-Identifier: GPL-2.0-or-later
"""Has the instructions of I/Os counted by address, in the instruction-counting VM, for `bench.profile`.

``python -m bench.guest.profiling instructions|iscsi PATTERN,... CELL...``. Leaves in /out the number of I/Os
of each pattern and cell, in the order of the plugin's phases (from 1 on), and the kernel's symbols.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import product

from bench.guest import systems
from bench.guest.cells import SHAPES, disks_of
from bench.guest.counted import Plugin
from bench.guest.record import OUT
from bench.guest.window import FIRST_IOS, Section, moved_bytes, running, wait_started
from bench.pattern import Pattern

IOS = "ios.json"
# Of the guest's clock.
SECONDS, MOST_SECONDS = 0.05, 1000.0


def profile(plugin: Plugin, phase: int, disk: systems.Disk, pattern: Pattern) -> int:
    """Have one cell counted; returns the number of its I/Os."""
    shape, before_start = SHAPES["instructions"], moved_bytes(disk.name)
    with running([Section(disk.name, pattern)], MOST_SECONDS, shape.size_mib) as fio:
        wait_started(fio, disk.name, before_start + FIRST_IOS * pattern.block)
        time.sleep(shape.settle)
        with plugin.counting(phase):
            before = moved_bytes(disk.name)
            time.sleep(SECONDS)
            return (moved_bytes(disk.name) - before) // pattern.block


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    bench, patterns, wanted = arguments[0], map(Pattern.parse, arguments[1].split(",")), arguments[2:]
    found = {}
    with disks_of(bench, SHAPES[bench].size_mib) as there:
        disks = {f"{disk.system}-{disk.backend}": disk for disk in there}
        plugin = Plugin()
        plugin.note_symbols()
        for phase, (pattern, cell) in enumerate(product(patterns, wanted), 1):
            name = f"{cell}, {pattern}"
            found[name] = profile(plugin, phase, disks[cell], pattern)
            print(f"{name}: {found[name]} I/Os", flush=True)
    (OUT / IOS).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
