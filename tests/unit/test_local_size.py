# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initiator of driver ``local`` costs: kmod/targets/local/queue.h times the sizes on 6.1.

The block layer cuts the memory of a hardware queue's commands out of chunks of a power of two, the largest
first as long as more than half of it is needed; here as there (blk_mq_alloc_rqs()). What belongs to a host
besides is measured in the VM (tests/vm/guest/test_memory.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
LOCAL = REPO / "kmod/targets/local"
PAGE = 4096
LARGEST = 65536  # bytes of a chunk
CACHE_LINE = 64
REQUEST, SCSI_COMMAND, SEGMENT, SENSE = 272, 296, 32, 128  # bytes, on 6.1; two segments are in the command
POINTERS = 24  # two tables of the block layer, and the session's of commands in flight
OURS = 576  # struct local_cmd, at most: 8 bytes, and the target's command, which is asserted in host.c
KIB, MB = 1024, 1000 * 1000
OTHERS = 120 * KIB  # of a host, measured: structures, three threads, a session, places in sysfs
CPUS = (1, 2, 3, 4, 8, 12, 16, 32, 48, 56, 57, 64, 96, 112, 115, 116, 120, 127, 128)
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "queue.h"

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		printf("%u\\n", local_can_queue(atoi(argv[i])));
	return 0;
}
"""


@pytest.fixture(scope="module")
def depths(tmp_path_factory: pytest.TempPathFactory) -> dict[int, int]:
    """Commands of a hardware queue, by the number of CPUs."""
    folder = tmp_path_factory.mktemp("queue")
    (folder / "depth.c").write_text(PROGRAM)
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{LOCAL}"]
    subprocess.run(["gcc", *flags, str(folder / "depth.c"), "-o", str(folder / "depth")], check=True)
    words = [str(cpus) for cpus in CPUS]
    done = subprocess.run([folder / "depth", *words], check=True, stdout=subprocess.PIPE, text=True)
    return dict(zip(CPUS, map(int, done.stdout.split()), strict=True))


def command_bytes() -> int:
    """What a command takes from a chunk."""
    size = REQUEST + SCSI_COMMAND + OURS + 2 * SEGMENT
    return -(-size // CACHE_LINE) * CACHE_LINE


def chunks(depth: int) -> int:
    """Bytes of the chunks for so many commands."""
    total, left = 0, depth
    while left:
        chunk = LARGEST
        while chunk > PAGE and left * command_bytes() < chunk // 2:
            chunk //= 2
        total += chunk
        left -= min(left, chunk // command_bytes())
    return total


def initiator_bytes(cpus: int, depth: int) -> int:
    """Of all its commands."""
    return cpus * (chunks(depth) + depth * (SENSE + POINTERS))


def test_the_comment_tells_these_sizes() -> None:
    text = (LOCAL / "queue.h").read_text()
    for word in (
        "1,200 bytes",
        f"request {REQUEST}",
        f"SCSI command {SCSI_COMMAND}",
        f"{SENSE} bytes of sense",
    ):
        assert word in text
    assert 1150 <= command_bytes() <= 1250


def test_chunks() -> None:
    """As the block layer takes them."""
    full = LARGEST // command_bytes()
    assert [chunks(depth) for depth in (1, full, full + 1)] == [PAGE, LARGEST, LARGEST + PAGE]
    assert [chunks(depth) for depth in (26, 27)] == [LARGEST // 2, LARGEST]


def test_two_cpus(depths: dict[int, int]) -> None:
    """300 KiB with all that belongs to a host."""
    assert initiator_bytes(2, depths[2]) + OTHERS <= 300 * KIB
    assert depths[2] >= 64


@pytest.mark.parametrize("cpus", CPUS)
def test_many_cpus(depths: dict[int, int], cpus: int) -> None:
    """8 MB, up to 128 CPUs."""
    assert initiator_bytes(cpus, depths[cpus]) + OTHERS <= 8 * MB, f"{depths[cpus]} commands per queue"
    assert depths[cpus] >= 24
