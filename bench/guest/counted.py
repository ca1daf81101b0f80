# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the plugin that counts outside of this VM when to count: see ``bench/counts.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.counts import COUNTS, SYMBOLS
from bench.guest.record import OUT


class Plugin:
    """The plugin's file, in the folder that the VM shares with the host."""

    def __init__(self, out: Path = OUT) -> None:
        self._file = os.open(out / COUNTS, os.O_RDWR)
        self._out = out

    @contextmanager
    def counting(self, phase: int) -> Iterator[None]:
        """What happens in the block is counted as *phase*, 1 to 255."""
        os.pwrite(self._file, bytes([phase]), 0)
        try:
            yield
        finally:
            os.pwrite(self._file, b"\0", 0)

    def note_symbols(self) -> None:
        """Leave the kernel's symbols on the host; all modules are loaded."""
        (self._out / SYMBOLS).write_text(Path("/proc/kallsyms").read_text())
