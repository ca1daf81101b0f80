# SPDX-License-Identifier: GPL-2.0-or-later
"""Access patterns, and the cells that are measured."""

from __future__ import annotations

from dataclasses import dataclass

BACKENDS = ("null", "file", "blk")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What fio does: access (``randread`` ...), block size in bytes, queue depth, number of jobs."""

    access: str
    block: int
    depth: int
    jobs: int = 1

    def __str__(self) -> str:
        return f"{self.access} {self.block >> 10}k qd{self.depth} j{self.jobs}"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Inverse of ``str``; ValueError says what is expected."""
        try:
            access, block, depth, jobs = text.split()
            if (block[-1], depth[:2], jobs[0]) != ("k", "qd", "j"):
                raise ValueError
            return cls(access, int(block[:-1]) << 10, int(depth[2:]), int(jobs[1:]))
        except (ValueError, IndexError):
            raise ValueError(f"{text!r} is no pattern like 'randread 4k qd1 j1'") from None


INSTRUCTIONS = (
    *(Pattern(access, 4096, depth) for depth in (1, 32) for access in ("randread", "randwrite")),
    Pattern("read", 256 << 10, 1),
)
THROUGHPUT = (
    *(
        Pattern(access, 4096, *load)
        for access in ("randread", "randwrite")
        for load in ((1, 1), (1, 2), (32, 1), (32, 2))
    ),
    Pattern("read", 256 << 10, 4),
)


def floor(backend: str) -> tuple[str, str]:
    """The system, and its backend, below which no target can go: the SCSI path alone, or the device alone."""
    return ("null_blk", "blk") if backend == "blk" else ("scsi_debug", "null")
