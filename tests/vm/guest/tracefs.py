# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's trace points as every tool gets them: an instance of tracefs of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm import guest_plugin

ROOT = Path("/sys/kernel/tracing")
_LINE = re.compile(r"\] (?P<flags>\S+)\s+(?P<seconds>\d+\.\d+): (?P<name>scst_\w+): (?P<text>.*)$")
_FIELD = re.compile(r"(\w+)=(\S*)")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trace: flags, the trace point's name without ``scst_``, its fields, and its words."""

    seconds: float
    flags: str
    name: str
    text: str

    @property
    def place(self) -> str:
        """Where that was: ``h`` a hard interrupt, ``s`` a soft one, ``.`` a thread."""
        return self.flags[2].lower()  # H: a soft one was interrupted

    @property
    def fields(self) -> dict[str, str]:
        """What is written as name=value; a hexadecimal dump counts to the end of the line."""
        found = dict(_FIELD.findall(self.text))
        if "cdb" in found:
            found["cdb"] = self.text.partition("cdb=")[2].replace(" ", "")
        return found

    def has(self, *words: str) -> bool:
        """Are these words among those that have no name?"""
        return set(words) <= set(self.text.split())


class Trace:
    """An instance with all our trace points, switched off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def points(self) -> set[str]:
        """Names of our trace points."""
        return {path.name for path in (self.folder / "events/scst").iterdir() if path.is_dir()}

    def enable(self, on: bool = True, point: str = "") -> None:
        """Switch one of them, or all."""
        (self.folder / "events/scst" / point / "enable").write_text(str(int(on)))

    def clear(self) -> None:
        """Forget what was recorded."""
        (self.folder / "trace").write_text("\n")

    def events(self) -> list[Event]:
        """What was recorded, in order."""
        found = []
        for line in (self.folder / "trace").read_text().splitlines():
            if line.startswith("#") or not line.strip():
                continue
            match = _LINE.search(line)
            assert match, f"not an event of ours: {line!r}"
            name = match["name"].removeprefix("scst_")
            found.append(Event(float(match["seconds"]), match["flags"], name, match["text"]))
        return found


@contextmanager
def tracing() -> Iterator[Trace]:
    """An instance, removed afterwards."""
    if not (ROOT / "events").is_dir():
        guest_plugin.command("mount", "-t", "tracefs", "tracefs", str(ROOT))
    # Or every switching patches the scheduler's own trace points, too: a CPU of the emulator's that is in one
    # of them just then may stay at the breakpoint that was there for a moment.
    (ROOT / "options/record-cmd").write_text("0")
    folder = ROOT / "instances/scst-test"
    folder.mkdir()
    trace = Trace(folder)
    try:
        yield trace
    finally:
        trace.enable(False)
        folder.rmdir()
