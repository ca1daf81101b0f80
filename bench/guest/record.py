# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of samples from the VM to the host, and of the host's load to the VM."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from bench.samples import SAMPLES, Sample

OUT = Path("/out")
HOST_LOAD = OUT / "hostload"


class Recorder:
    """Appends samples to a file of the host, and tells what goes on."""

    def __init__(self, path: Path = OUT / SAMPLES) -> None:
        self._file = path.open("w", buffering=1)

    def add(self, sample: Sample) -> None:
        """Keep one value."""
        self._file.write(json.dumps(asdict(sample)) + "\n")

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(text, flush=True)


def other_load(seconds: float) -> float:
    """CPUs of the host used by others in the last *seconds*; 0 when the host does not say."""
    if not HOST_LOAD.exists():
        return 0.0
    rows = [line.split() for line in HOST_LOAD.read_text().splitlines()]
    now = float(rows[-1][0]) if rows else 0.0
    recent = [float(load) for stamp, load in rows if float(stamp) > now - seconds]
    return sum(recent) / len(recent) if recent else 0.0
