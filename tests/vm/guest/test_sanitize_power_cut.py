# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts during SANITIZE, and during FORMAT UNIT that is answered before it is done.

A file is overwritten on the file system of a logged disk (logwrites.py), where the file is that remembers it.
Later the power is cut at any moment: what the disk had made stable by then is there, and of what was on its
way some sectors are, and others are not. Then the file system recovers, the device is enabled, and tells that
it has failed until it is done again: it is ready only with all that it had before, if nobody was told that it
has begun, or with nothing of that. ``SCST_ROUNDS`` says how often, ``SCST_SEED`` where.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.logwrites import SECTOR, Entry, Image, LoggedDisk
from tests.vm.guest.script import Nexus, Script, Target
from tests.vm.guest.test_format import FMTDATA
from tests.vm.guest.test_power_cut import (
    RAM_DISK,
    REGION,
    SIZE,
    Bench,
    bench,
    ext4_image,
    first_of_file,
    mounted,
)
from tests.vm.guest.test_reserve_power_cut import MAGIC, on_the_way, some_sectors
from tests.vm.guest.test_sanitize import IMMED_LIST, over, word

__all__ = ("bench", "ext4_image")

SCST_MODULES = ("scst", "scst_fileio", "scst_script", "dm_log_writes", "brd")

pytestmark = pytest.mark.usefixtures("clean_tree")

CUTS = int(os.environ.get("SCST_ROUNDS", "16")) // 2
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
NAA = "3" + "6" * 15
PASSES = 3
PATTERN = bytes(range(200)) * 2
LIST = scsi.overwrite(PATTERN, PASSES, 0x80)
BEFORE = b"".join(first_of_file(lba) for lba in range(REGION))


@dataclass(frozen=True)
class Kind:
    """What is done. *immed*: so that it is answered before; *state*: what is told of one that has failed."""

    immed: tuple[bytes, bytes]
    waits: tuple[bytes, bytes | None]
    sense: scsi.Sense
    state: str
    block: bytes


KINDS = {
    "sanitize": Kind(
        (scsi.sanitize(len(LIST), scsi.SANITIZE_IMMED), LIST),
        (scsi.sanitize(len(LIST)), LIST),
        scsi.SANITIZE_FAILED,
        "sanitize-failed",
        (PATTERN * 2)[:SECTOR],
    ),
    "format": Kind(
        (scsi.format_unit(FMTDATA), IMMED_LIST),
        (scsi.format_unit(), None),
        scsi.FORMAT_FAILED,
        "format-failed",
        bytes(SECTOR),
    ),
}


@contextmanager
def served(script: Script, folder: Path) -> Iterator[tuple[tree.Device, Nexus]]:
    """The device, and one who sees it."""
    device = tree.Device("fileio", "d").make(path=folder / "file", pr_file=folder / "pr")
    tree.write(device.path / "id/naa", NAA)
    target = Target("t1").make()
    try:
        target.luns.map(0, device.enable())
        target.enable()
        nexus = script.login(target, "a")
        nexus.attentions()
        yield device, nexus
        nexus.close()
        nexus.gone()
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()


def whole(nexus: Nexus) -> bytes:
    """The medium."""
    return b"".join(nexus.good(scsi.read10(lba, 128), read=128 * SECTOR) for lba in range(0, REGION, 128))


def record(script: Script, bench: Bench, kind: Kind) -> tuple[Image, list[Entry]]:
    """Do it, with marks for its answer and its end."""
    image, _ = bench.prepare("buffered")
    disk = LoggedDisk("cut", bench.disk, bench.log, SIZE)
    try:
        with mounted(disk.node, bench.folder), served(script, bench.folder) as (_, nexus):
            disk.mark("ready")
            cdb, data = kind.immed
            nexus.good(cdb, write=data)
            disk.mark("begun")
            assert over(nexus) is None
            disk.mark("done")
        return image, disk.read()
    finally:
        disk.remove()


def look(script: Script, folder: Path, kind: Kind) -> bytes | None:
    """What is on the medium; None: it has failed, and was done again."""
    with served(script, folder) as (device, nexus):
        if nexus.test_unit_ready().good:
            assert word(device) == "none"
            return whole(nexus)
        assert nexus.test_unit_ready().sense == kind.sense
        assert nexus.command(scsi.read10(0, 1), read=SECTOR).sense == kind.sense
        assert nexus.command(scsi.write10(0, 1), write=bytes(SECTOR)).sense == kind.sense
        assert word(device) == kind.state
        cdb, data = kind.waits
        nexus.good(cdb, write=data)
        assert whole(nexus) == kind.block * REGION
    with served(script, folder) as (_, nexus):
        assert whole(nexus) == kind.block * REGION, "it was done again, and remembers that"
    return None


def moments(log: list[Entry], marks: dict[str, int], chosen: random.Random) -> list[int]:
    """Where to cut: after each answer, and anywhere else, rather while a record is on its way."""
    there = range(marks["ready"], marks["done"] + 1)
    records = [at for at in there if log[at].data.startswith(MAGIC)]
    rest = chosen.sample(there, min(CUTS, len(there)))
    return sorted({marks["begun"], marks["done"], *records, *rest})


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_power_cut(script: Script, bench: Bench, kind: Kind) -> None:
    """Nobody takes it for done before it is, and nobody gets at what is half done."""
    print(f"SCST_SEED={SEED} SCST_ROUNDS={CUTS * 2}")
    chosen = random.Random(f"{SEED} {kind.state}")
    image, log = record(script, bench, kind)
    marks = {entry.mark: at for at, entry in enumerate(log) if entry.mark is not None}
    after, at, seen = kind.block * REGION, 0, Counter[str]()
    for moment in moments(log, marks, chosen):
        for entry in log[at:moment]:
            if entry.mark is None:
                image.apply(entry)
        at = moment
        stable = bytes(image.content)
        some_sectors(image, on_the_way(log, moment), chosen)
        image.copy_to(RAM_DISK)
        image.content[:] = stable
        with mounted(RAM_DISK, bench.folder):
            found = look(script, bench.folder, kind)
        where = f"SCST_SEED={SEED}: power cut at entry {moment} of {marks}"
        assert found in (None, BEFORE, after), f"{where}: ready, and half done"
        assert found != BEFORE or moment < marks["begun"], f"{where}: it has begun, and nobody knows"
        assert found == after or moment < marks["done"], f"{where}: it is done, and nobody knows"
        seen["failed" if found is None else "before" if found == BEFORE else "done"] += 1
    print(f"{len(log)} entries, {dict(seen)}")
    assert seen["failed"], "none of the cuts has come while it was being done"
    assert seen["done"], "none of the cuts has come when it was done"
