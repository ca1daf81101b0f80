# SPDX-License-Identifier: GPL-2.0-or-later
"""Access patterns, and the cells that are measured.

Backends: ``null`` keeps no data, ``file`` is in the page cache, ``blk`` is a null_blk device, which
completes on the CPU that submits, and ``far`` a disk whose interrupts come on another CPU. ``digest`` is
``null`` over iSCSI with header and data digest.
"""

from __future__ import annotations

from dataclasses import dataclass

BACKENDS = ("null", "file", "blk")
FAR = "far"
DIGEST = "digest"
# The bench in which a target and its initiator are on one machine, with TCP between them.
ISCSI = "iscsi"
# The one in which sessions of iSCSI on CPUs of their own are compared with one alone.
SESSIONS = "sessions"


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
# Over iSCSI, by backend: what its figures are compared with is that of ``null``.
OVER_ISCSI = {
    "null": INSTRUCTIONS,
    "file": tuple(pattern for pattern in INSTRUCTIONS if pattern.depth == 1),
    DIGEST: tuple(pattern for pattern in INSTRUCTIONS if pattern.depth == 1),
}
SESSIONS_PATTERN = Pattern("randread", 4096, 8)
THROUGHPUT = (
    *(
        Pattern(access, 4096, *load)
        for access in ("randread", "randwrite")
        for load in ((1, 1), (1, 2), (32, 1), (32, 2))
    ),
    Pattern("read", 256 << 10, 4),
)


# I/Os of so many bytes are told by MB/s, smaller ones by their number.
LARGE = 64 << 10


def speed(pattern: Pattern) -> tuple[str, str]:
    """The metric that tells a pattern's speed, and its unit."""
    return ("mb_s", "MB/s") if pattern.block >= LARGE else ("iops", "I/Os per second")


def floor(backend: str, bench: str = "") -> tuple[str, str]:
    """The system, and its backend, below which no target can go: the SCSI path alone, or the device alone.

    Over iSCSI it is a reference only: NVMe over TCP, with Linux's target.
    """
    if bench == ISCSI:
        return ("nvmet", "null")
    if backend == FAR:
        return ("virtio", FAR)
    return ("null_blk", "blk") if backend == "blk" else ("scsi_debug", "null")
