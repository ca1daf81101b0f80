# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes of blocks that may fail, and an account of what each block may hold.

A write that was acknowledged is what its block holds from then on. One that failed may have been done or not,
so its block may hold either. Each thread has blocks of its own, and one request at a time.
"""

from __future__ import annotations

import mmap
import os
import random
import threading
from pathlib import Path
from types import TracebackType

BLOCK = 4096
SPAN = 64  # blocks of each thread


class Writer:
    """One thread's blocks."""

    def __init__(self, disk: Path, number: int, blocks: int) -> None:
        self.done = self.failed = 0
        self.wrong: list[str] = []
        self._first, self._blocks = number * SPAN, blocks
        self._may: dict[int, set[int]] = {self._first + block: {0} for block in range(SPAN)}
        self._file = os.open(disk, os.O_RDWR | os.O_DIRECT)
        self._buffer = mmap.mmap(-1, blocks * BLOCK)
        self._number = 0
        self._random = random.Random(number)
        self._clear()

    def close(self) -> None:
        """Let go of the disk."""
        os.close(self._file)

    def _clear(self) -> None:
        for block in range(0, SPAN, self._blocks):
            count = min(self._blocks, SPAN - block)
            os.pwritev(self._file, [memoryview(self._buffer)[: count * BLOCK]], (self._first + block) * BLOCK)

    def _fill(self, block: int, count: int) -> int:
        self._number += 1
        for offset in range(count):
            head = f"{block + offset} {self._number} ".encode()
            self._buffer[offset * BLOCK : (offset + 1) * BLOCK] = head + bytes(BLOCK - len(head))
        return self._number

    def step(self) -> None:
        """One request: a write, or a read that is checked."""
        count = self._random.randint(1, self._blocks)
        block = self._first + self._random.randrange(SPAN - count + 1)
        write = self._random.random() < 0.6
        view = memoryview(self._buffer)[: count * BLOCK]
        number = self._fill(block, count) if write else 0
        try:
            if write:
                moved = os.pwritev(self._file, [view], block * BLOCK)
            else:
                moved = os.preadv(self._file, [view], block * BLOCK)
        except OSError:
            moved = 0
        self.done += moved == count * BLOCK
        self.failed += moved != count * BLOCK
        for offset in range(count):
            whole = (offset + 1) * BLOCK <= moved
            if write:
                self._may[block + offset] = {number} if whole else self._may[block + offset] | {number}
            elif whole:
                self._check(block + offset, offset)

    def _check(self, block: int, offset: int) -> None:
        raw = self._buffer[offset * BLOCK : offset * BLOCK + 64]
        words = raw.split(b"\0")[0].split()
        held = 0 if not words else int(words[1]) if int(words[0]) == block else -1
        if held not in self._may[block]:
            self.wrong.append(f"block {block} holds {raw[:40]!r}, not one of {sorted(self._may[block])}")
        else:
            # What was read can't be another one later.
            self._may[block] = {held}

    def check_all(self) -> None:
        """Read every block. Raises OSError if one can't be read."""
        for block in self._may:
            os.preadv(self._file, [memoryview(self._buffer)[:BLOCK]], block * BLOCK)
            self._check(block, 0)


class Ledger:
    """Writers at work on a disk, from the beginning of the body to its end. Their blocks are cleared first.

    *blocks*: how many a request has at most.
    """

    def __init__(self, disk: Path, threads: int = 4, blocks: int = 1) -> None:
        self._writers = [Writer(disk, number, blocks) for number in range(threads)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(writer,)) for writer in self._writers]

    def _run(self, writer: Writer) -> None:
        while not self._stop.is_set():
            writer.step()
            self._stop.wait(0.002)

    def __enter__(self) -> Ledger:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def done(self) -> int:
        """Requests that ended well so far."""
        return sum(writer.done for writer in self._writers)

    @property
    def failed(self) -> int:
        """Those that did not."""
        return sum(writer.failed for writer in self._writers)

    def close(self) -> None:
        """Let go of the disk."""
        for writer in self._writers:
            writer.close()

    def judge(self) -> None:
        """After the body, with the disk working again: every block holds what it may. Lets go of the disk."""
        wrong = []
        try:
            for writer in self._writers:
                writer.check_all()
                wrong += writer.wrong
        finally:
            self.close()
        assert not wrong, f"{len(wrong)} blocks: {wrong[:3]}"
