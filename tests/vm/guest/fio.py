# SPDX-License-Identifier: GPL-2.0-or-later
"""fio in the background, and what it found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.vm.guest import tree

BEGUN = 20 * 512
PATIENCE = 120 * tree.SLOW


@dataclass(frozen=True, slots=True)
class Result:
    """Totals of a run; *worst*: the longest completion latency in milliseconds."""

    reads: int
    writes: int
    errors: int
    worst: float


class Fio:
    """A fio run, which starts at once; with *wait* its I/O has begun when the object is there.

    :meth:`finish` waits for its end by itself, :meth:`stop` ends it early.

    Both raise AssertionError with fio's messages if it saw an error or wrong data.
    """

    def __init__(
        self, folder: Path, disk: Path, name: str = "load", wait: bool = True, **options: object
    ) -> None:
        defaults: Mapping[str, object] = {
            "ioengine": "libaio",
            "direct": 1,
            "bs": "4k",
            "iodepth": 8,
            "rw": "randrw",
            "time_based": 1,
            "runtime": 60,
        }
        settings = {"name": name, "filename": disk, **defaults, **options}
        self._output = folder / f"fio-{name}.json"
        argv = ["fio", "--output-format=json", f"--output={self._output}", "--error_dump=0"]
        argv += [f"--{key}={value}" for key, value in settings.items() if value is not None]
        self._messages = folder / f"fio-{name}.messages"
        with self._messages.open("w") as messages:
            self._process = subprocess.Popen(argv, stdout=messages, stderr=subprocess.STDOUT, cwd=folder)
        # Sooner a signal would kill it; it installs its handlers before the first I/O.
        if wait:
            self._wait()

    def _wait(self) -> None:
        try:
            tree.wait_for("fio's I/O", lambda: moved(self._process.pid) > BEGUN or not self.running, PATIENCE)
        except AssertionError:
            self._process.kill()
            raise

    def __enter__(self) -> Fio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Has it not ended yet?"""
        return self._process.poll() is None

    def stop(self) -> Result:
        """End the run early (fio verifies and reports what it has done) and judge it."""
        assert self.running, f"fio has ended by itself: {self._text()}"
        os.kill(self._process.pid, signal.SIGINT)
        return self.finish()

    def finish(self, seconds: float = PATIENCE) -> Result:
        """Wait for its end and judge it."""
        self._process.wait(timeout=seconds)
        text = self._messages.read_text()
        report = self._output.read_text() if self._output.exists() else ""
        assert report, f"fio without a report, status {self._process.returncode}: {text}"
        jobs = json.loads(report[report.index("{") :])["jobs"]
        errors = sum(job["error"] for job in jobs)
        assert errors == 0, f"fio: {text}\n{report[: report.index('{')]}"
        assert self._process.returncode in (0, 128), f"fio: status {self._process.returncode}: {text}"
        worst = max(job[way]["clat_ns"]["max"] for job in jobs for way in ("read", "write")) / 1e6
        totals = [sum(job[way]["total_ios"] for job in jobs) for way in ("read", "write")]
        return Result(totals[0], totals[1], errors, worst)

    def _text(self) -> str:
        return self._messages.read_text() + (self._output.read_text() if self._output.exists() else "")


def moved(process: int) -> int:
    """Bytes that the processes that one has made have moved to and from disks: fio's jobs. Its own are those
    of its program; and what others do with a disk that has just come says nothing.
    """
    for file in ("io", f"task/{os.getpid()}/children"):
        assert (Path("/proc/self") / file).exists(), f"this kernel has no /proc/PID/{file}"
    total, made = 0, list[int]()
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{process}/task").iterdir():
            made += map(int, (task / "children").read_text().split())
        for one in made:
            counts = dict(line.split(": ") for line in Path(f"/proc/{one}/io").read_text().splitlines())
            total += int(counts["read_bytes"]) + int(counts["write_bytes"])
    return total
