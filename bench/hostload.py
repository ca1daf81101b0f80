# SPDX-License-Identifier: GPL-2.0-or-later
"""Notes how much of the host others use while a VM measures, so that disturbed figures can be told apart."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_SECONDS = 0.25
# CPUs used by others, up to which a figure counts as undisturbed.
QUIET = 0.2
PROC = Path("/proc")


def family(parents: dict[int, int], root: int) -> set[int]:
    """*root* and all its descendants, given each process's parent."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def processes(proc: Path = PROC) -> dict[int, tuple[int, int]]:
    """Parent and used CPU time (ticks) of every process."""
    found: dict[int, tuple[int, int]] = {}
    for path in proc.iterdir():
        if path.name.isdigit():
            try:
                text = (path / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since the folder was read
            words = text.rpartition(")")[2].split()
            found[int(path.name)] = (int(words[1]), int(words[11]) + int(words[12]))
    return found


def busy_ticks(proc: Path = PROC) -> int:
    """CPU time (ticks) of the whole machine that was not idle."""
    words = (proc / "stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[1:9])
    return user + nice + system + irq + softirq + steal


def own_ticks(root: int, proc: Path = PROC) -> dict[int, int]:
    """CPU time (ticks) of a process and each of its descendants."""
    table = processes(proc)
    members = family({pid: parent for pid, (parent, _) in table.items()}, root)
    return {pid: table[pid][1] for pid in members if pid in table}


def grown(before: dict[int, int], after: dict[int, int]) -> int:
    """Time used between two looks by the processes of the second."""
    return sum(ticks - before.get(pid, 0) for pid, ticks in after.items())


def watch(path: Path, root: int, stop: threading.Event) -> None:
    """Append ``time load`` lines, the CPUs used by everything outside the family of *root*, until stopped."""
    tick = os.sysconf("SC_CLK_TCK")
    with path.open("w", buffering=1) as file:
        then, busy, own = time.monotonic(), busy_ticks(), own_ticks(root)
        while not stop.wait(PERIOD_SECONDS):
            now, busy_now, own_now = time.monotonic(), busy_ticks(), own_ticks(root)
            load = (busy_now - busy - grown(own, own_now)) / tick / (now - then)
            file.write(f"{time.time():.2f} {max(load, 0.0):.3f}\n")
            then, busy, own = now, busy_now, own_now


@contextmanager
def watched(path: Path) -> Iterator[None]:
    """Watch while the block runs; this process and its descendants are not "others"."""
    path.touch()
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(path, os.getpid(), stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
