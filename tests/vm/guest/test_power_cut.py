# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts: what was acknowledged as stable is there when the disk has lost its cache.

An initiator writes with several commands outstanding. After each SYNCHRONIZE CACHE, FUA write and stable
write that is acknowledged a mark goes into the log of the disk (logwrites.py). Later the power is cut at the
marks: what the disk has then must be, block by block, the newest content that was stable by that time, or one
that was written since; nothing else, and nothing older. A file must have it after the file system has
recovered, and so must its protection information, where it has any. ``SCST_ROUNDS`` says how many rounds,
``SCST_SEED`` which ones; a failure names seed and mark.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.logwrites import SECTOR, Entry, Image, LoggedDisk
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_protection import NONE, information
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_log_writes", "brd")

pytestmark = pytest.mark.usefixtures("clean_tree")

ROUNDS = int(os.environ.get("SCST_ROUNDS", "16"))
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SIZE = 16 << 20
REGION = 1024  # blocks that are written to
FILE_CUTS = max(ROUNDS // 12, 1)  # of a file, beside those that promise most: each is a mount with recovery
OUTSTANDING = 4
LARGE = 320  # blocks: more segments than a bio of the usual kind has
PAGE_BLOCKS = 8
PIECE = 16  # bytes; each says what it is
NEVER = 1 << 62
NOTHING = 0  # the number of what was there before
SYNCHRONIZE10, SYNCHRONIZE16 = 0x35, 0x91
UNMAP, NDOB = 0x08, 0x01  # of WRITE SAME
RAM_DISK = Path("/dev/ram0")
LIBC = ctypes.CDLL(None, use_errno=True)


def content(lba: int, number: int) -> bytes:
    """A block of write *number*."""
    return struct.pack("<IIQ", SEED & 0xFFFFFFFF, lba, number) * (SECTOR // PIECE)


def describe(block: bytes) -> str:
    """What a block holds, for people."""
    seed, lba, number = struct.unpack("<IIQ", block[:PIECE])
    if block == bytes(SECTOR):
        return "zeros"
    whole = "" if block == block[:PIECE] * (SECTOR // PIECE) else "a part of "
    return (
        f"{whole}write {number} of block {lba}" if seed == SEED & 0xFFFFFFFF else f"foreign: {block[:16]!r}"
    )


# --- what is known to the initiator ---


@dataclass(slots=True)
class Write:
    """A write. Times are ticks of the record's clock; *stable*: of each block."""

    number: int
    lba: int
    blocks: int
    issued: int
    acked: int = NEVER
    stable: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark was set between these times, after a command of some kind.

    *news*: blocks which that command has made stable; *touched*: those about which more is known than at the
    last mark.
    """

    kind: str
    why: str
    news: int
    since: int
    until: int
    touched: frozenset[int]


class Record:
    """Which block may hold what at which time."""

    def __init__(self, first: Callable[[int], bytes]) -> None:
        self.first = first
        self.marks: list[Mark] = []
        self._lock, self._marking = threading.Lock(), threading.Lock()
        self._clock, self._number = 0, 0
        self._blocks: dict[int, list[Write]] = {}
        self._unstable: list[Write] = []
        self._touched: set[int] = set()
        self._zeros: set[int] = set()

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def now(self) -> int:
        """The time."""
        with self._lock:
            return self._tick()

    def issue(self, lba: int, blocks: int, zeros: bool = False) -> Write:
        """A write is about to be sent; *zeros*: of nothing but those."""
        with self._lock:
            self._number += 1
            if zeros:
                self._zeros.add(self._number)
            write = Write(self._number, lba, blocks, self._tick(), stable=[NEVER] * blocks)
            for block in range(lba, lba + blocks):
                self._blocks.setdefault(block, []).append(write)
            self._touched.update(range(lba, lba + blocks))
        return write

    def ack(self, write: Write, stable: bool) -> None:
        """It was acknowledged; *stable*: and must not be lost."""
        with self._lock:
            write.acked = self._tick()
            if stable:
                write.stable = [write.acked] * write.blocks
            else:
                self._unstable.append(write)
            self._touched.update(range(write.lba, write.lba + write.blocks))

    def synced(self, since: int, lba: int = 0, blocks: int = 0) -> int:
        """What was acknowledged before *since* is stable now, in these blocks (none: to the end).

        Returns how many were not before.
        """
        end = lba + blocks if blocks else REGION
        with self._lock:
            now = self._tick()
            news = sum(self._cover(write, lba, end, now) for write in self._unstable if write.acked < since)
            self._unstable = [write for write in self._unstable if NEVER in write.stable]
        return news

    def _cover(self, write: Write, lba: int, end: int, now: int) -> int:
        covered = range(max(lba, write.lba), min(end, write.lba + write.blocks))
        news = [block for block in covered if write.stable[block - write.lba] == NEVER]
        for block in news:
            write.stable[block - write.lba] = now
        self._touched.update(news)
        return len(news)

    def mark(self, disk: LoggedDisk, kind: str, why: str, news: int) -> None:
        """Set a mark in the disk's log."""
        with self._marking:
            with self._lock:
                since, touched = self._tick(), frozenset(self._touched)
                self._touched.clear()
            disk.mark(f"cut-{len(self.marks)}")
            self.marks.append(Mark(kind, why, news, since, self.now(), touched))

    def allowed(self, lba: int, mark: Mark) -> list[int]:
        """The writes whose content the block may have at a mark."""
        history = self._blocks.get(lba, [])
        newest = max((one.issued for one in history if one.stable[lba - one.lba] < mark.since), default=-1)
        found = [one.number for one in history if one.issued < mark.until and one.acked > newest]
        return found if newest >= 0 else [NOTHING, *found]

    def _contents(self, lba: int, numbers: list[int]) -> list[bytes]:
        return [self._content(lba, number) for number in numbers]

    def _content(self, lba: int, number: int) -> bytes:
        if number in self._zeros:
            return bytes(SECTOR)
        return content(lba, number) if number else self.first(lba)

    def check(self, lba: int, found: bytes, mark: Mark, where: str) -> None:
        """The block has what it may have; one that is being written may have some of each."""
        allowed = self.allowed(lba, mark)
        contents = self._contents(lba, allowed)
        if found in contents:
            return
        pieces = range(0, SECTOR, PIECE)
        torn = len(contents) > 1 and all(
            any(found[at : at + PIECE] == one[at : at + PIECE] for one in contents) for at in pieces
        )
        assert torn, (
            f"SCST_SEED={SEED}: power cut at {where} ({mark.why}): block {lba} holds {describe(found)}; "
            f"it may hold writes {allowed}"
        )


# --- load ---


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a round."""

    kind: str
    lba: int = 0
    blocks: int = 0


class Load:
    """Rounds of commands against a unit over a logged disk. *chosen* decides everything.

    *raw*: what is acknowledged is in the disk. *thin*: what is given back reads as zeroes. *grain*: so many
    blocks a file system may write together.
    """

    def __init__(
        self, unit: Unit, disk: LoggedDisk, record: Record, chosen: random.Random, kind: str
    ) -> None:
        self.unit, self.disk, self.record, self.chosen = unit, disk, record, chosen
        self.raw = kind == "blockio"
        self.thin = not self.raw
        self.grain = 1 if self.raw else PAGE_BLOCKS
        self.all_stable = False  # whatever the CDB says
        self.counts = True  # is there a cache that can be flushed?
        self.cached: set[int] = set()  # grains that wait for a flush

    def send(self, cdb: bytes, read: int = 0, write: bytes | None = None) -> bytes:
        """A command; it is repeated after a unit attention."""
        for _ in range(5):
            answer = self.unit.command(cdb, read, write)
            if answer.good:
                return answer.moved
            assert answer.sense is not None, str(answer)
            assert answer.sense[0] == scsi.UNIT_ATTENTION, str(answer)
        raise AssertionError(f"no end of unit attentions: {answer}")

    def write(self, lba: int, blocks: int, fua: bool) -> None:
        """A write, and a mark if it is stable."""
        write = self.record.issue(lba, blocks)
        data = b"".join(content(block, write.number) for block in range(lba, lba + blocks))
        make = self.chosen.choice((scsi.write10, scsi.write16))
        self.send(make(lba, blocks, scsi.FUA if fua else 0), write=data)
        self.written(write, "fua" if fua else "stable", fua)

    def clear(self, lba: int, blocks: int) -> None:
        """Zeroes, which are given back, or written, or noted: and all the same are there, or are not."""
        write = self.record.issue(lba, blocks, zeros=True)
        way = self.chosen.choice(("same10", "same16", "ndob", "unmap") if self.thin else ("same10", "same16"))
        if way == "unmap":
            self.send(scsi.unmap(24), write=scsi.unmap_list((lba, blocks)))
        elif way == "ndob":
            self.send(scsi.write_same16(lba, blocks, UNMAP | NDOB))
        else:
            make = scsi.write_same10 if way == "same10" else scsi.write_same16
            self.send(make(lba, blocks, UNMAP if self.thin else 0), write=bytes(SECTOR))
        self.written(write, "clear")

    def written(self, write: Write, kind: str, fua: bool = False) -> None:
        """It is acknowledged; a mark if it is stable."""
        stable = self.counts and (fua or self.all_stable)
        self.record.ack(write, stable)
        if stable:
            why = f"{kind}: write {write.number} of {write.blocks} blocks"
            self.record.mark(self.disk, kind, why, write.blocks)

    def sync(self, lba: int = 0, blocks: int = 0) -> None:
        """SYNCHRONIZE CACHE and a mark."""
        make, opcode = self.chosen.choice(((scsi.cdb10, SYNCHRONIZE10), (scsi.cdb16, SYNCHRONIZE16)))
        since = self.record.now()
        self.send(make(opcode, lba, blocks))
        self.synced(since, "sync", lba, blocks)

    def read_fua(self, lba: int, blocks: int) -> None:
        """What is read with FUA comes from the medium, so it is there."""
        since = self.record.now()
        self.send(scsi.read10(lba, blocks, scsi.FUA), read=blocks * SECTOR)
        self.synced(since, "read", lba, blocks)

    def synced(self, since: int, kind: str, lba: int = 0, blocks: int = 0) -> None:
        """A command that makes stable has ended."""
        if self.counts:
            news = self.record.synced(since, lba, blocks)
            self.record.mark(self.disk, kind, f"{kind} of {blocks} blocks at {lba}", news)

    def run(self, step: Step) -> None:
        """One command of a round, in a thread."""
        if step.kind in ("write", "fua"):
            self.write(step.lba, step.blocks, step.kind == "fua")
        elif step.kind == "clear":
            self.clear(step.lba, step.blocks)
        elif step.kind == "sync":
            self.sync(step.lba, step.blocks)
        else:
            self.read_fua(step.lba, step.blocks)

    def place(self) -> tuple[int, int]:
        """Some blocks."""
        blocks = LARGE if self.chosen.random() < 0.03 else self.chosen.randrange(1, 17)
        return self.chosen.randrange(REGION - blocks + 1), blocks

    def plan(self) -> list[Step]:
        """The commands of a round. None is stable where another waits for a flush: see logwrites.py."""
        steps, stable = [], set[int]()
        for _ in range(self.chosen.randrange(3, 9)):
            lba, blocks = self.place()
            grains = set(range(lba // self.grain, (lba + blocks - 1) // self.grain + 1))
            kind = self.chosen.choices(("write", "fua", "clear", "sync", "read"), (5, 3, 1, 1, 1))[0]
            if kind in ("write", "fua", "clear"):
                direct = self.counts and (kind == "fua" or self.all_stable)
                if grains & (self.cached if direct else stable):
                    continue
                (stable if direct else self.cached).update(grains)
            steps.append(Step(kind, lba, blocks))
        return steps

    def round(self) -> None:
        """Some commands at once; in the end, mostly, everything is made stable."""
        with ThreadPoolExecutor(OUTSTANDING) as pool:
            list(pool.map(self.run, self.plan()))
        if self.counts and self.chosen.random() < 0.7:
            self.sync()
            self.cached.clear()

    def flush(self) -> None:
        """The disk's cache is emptied, not by the target."""
        since = self.record.now()
        self.disk.flush()
        if self.raw:
            self.record.synced(since)
            self.cached.clear()

    def through_and_back(self) -> None:
        """For a round the block layer believes that there is no cache. What is acked then does not count."""
        self.flush()
        self.disk.set_cache("write through")
        self.counts = False
        self.round()
        self.back()

    def back(self) -> None:
        """There is a cache again, and nothing in it."""
        self.disk.set_cache("write back")
        self.flush()
        self.counts = True

    def set_wce(self, on: bool) -> None:
        """MODE SELECT. The cache is emptied before it is disabled."""
        page = bytearray(bytes(4) + self.send(scsi.mode_sense6(0x08), read=255)[4:])
        page[6] = page[6] & ~0x04 | on << 2
        since = self.record.now()
        self.send(scsi.mode_select6(len(page)), write=bytes(page))
        if not on:
            self.synced(since, "select")
            self.cached.clear()
        self.all_stable = not on

    def rounds(self, number: int, switched: bool, write_through: bool) -> None:
        """All of them: the first half with a write cache, then some without, then with one again."""
        self.all_stable = write_through
        for at in range(number):
            if switched and self.chosen.random() < 0.25:
                self.through_and_back()
            if not write_through and at in (number // 2, number * 3 // 4):
                self.set_wce(at != number // 2)
            self.round()
        self.sync()


# --- the disks ---


def system(result: int) -> None:
    """Raise the OSError of a system call that has failed."""
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def mounted(node: Path, folder: Path) -> Iterator[Path]:
    """An ext4 of *node*; its file. By system calls: starting mount(8) takes longer than the rest of a cut."""
    system(LIBC.mount(bytes(node), bytes(folder), b"ext4", 0, None))
    try:
        yield folder / "file"
    finally:
        system(LIBC.umount2(bytes(folder), 0))


def first_of_disk(lba: int) -> bytes:
    """What a block of a disk holds at first."""
    return content(lba, NOTHING)


def first_of_file(lba: int) -> bytes:
    """The same of a file, whose second half is a hole."""
    return content(lba, NOTHING) if lba < REGION // 2 else bytes(SECTOR)


@dataclass(slots=True)
class Bench:
    """Two disks, a folder to mount at, and what an ext4 with a file in it looks like."""

    disk: Path
    log: Path
    folder: Path
    ext4: Path

    def prepare(self, kind: str) -> tuple[Image, Record]:
        """The first content."""
        if kind == "blockio":
            with self.disk.open("wb") as file:
                file.write(b"".join(first_of_disk(lba) for lba in range(REGION)))
            return Image(self.disk, SIZE), Record(first_of_disk)
        image = Image(self.ext4, SIZE)
        image.copy_to(self.disk)
        return image, Record(first_of_file)


@pytest.fixture(scope="module")
def ext4_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system with a file of which the second half is a hole."""
    folder = tmp_path_factory.mktemp("image")
    image = folder / "image"
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-J", "size=4", "-E", options)
    guest_plugin.command(*argv, str(image), f"{SIZE >> 20}m")
    guest_plugin.command("mount", "-t", "ext4", "-o", "loop", str(image), str(folder))
    with (folder / "file").open("wb") as file:
        file.write(b"".join(first_of_file(lba) for lba in range(REGION // 2)))
        file.truncate(REGION * SECTOR)
    guest_plugin.command("umount", str(folder))
    return image


@pytest.fixture
def bench(disks: dict[str, PluggedDisk], tmp_path: Path, ext4_image: Path) -> Bench:
    """Two disks of the machine."""
    return Bench(disks["vm-disk-b"].node, disks["vm-disk-c"].node, tmp_path, ext4_image)


# --- power cuts ---


def cut_disk(image: Image, log: list[Entry], record: Record) -> int:
    """Cut the power at every mark; returns how often."""
    cuts, changed = 0, set(range(REGION))
    for entry in log:
        text = entry.mark
        if text is None:
            sectors = image.apply(entry)
            assert sectors.stop <= REGION, f"blocks {sectors} were written: nobody has asked for that"
            changed.update(sectors)
        elif text.startswith("cut-"):
            mark = record.marks[cuts]
            for lba in changed | mark.touched:
                record.check(lba, image.block(lba), mark, text)
            changed.clear()
            cuts += 1
    assert cuts == len(record.marks), f"{cuts} of {len(record.marks)} marks are in the log"
    return cuts


def choose_cuts(marks: list[Mark], chosen: random.Random) -> set[int]:
    """Some marks at random, the last, and of each kind the one that has made most stable."""
    best = {at.kind: number for number, at in sorted(enumerate(marks), key=lambda one: one[1].news)}
    return {*best.values(), len(marks) - 1, *chosen.sample(range(len(marks)), FILE_CUTS)}


def check_protected(file: Path, record: Record, mark: Mark) -> None:
    """Every block can be read, and those that may have but one content are protected."""
    made = tree.fileio("d", file, protection=1, protection_file=file.with_name("pi"))
    with served(made) as unit:
        data = b"".join(
            unit.good(scsi.read10(at, 128, 0x20), 128 * (SECTOR + 8)) for at in range(0, REGION, 128)
        )
    for lba in range(REGION):
        block, pi = (part := data[lba * (SECTOR + 8) : (lba + 1) * (SECTOR + 8)])[:SECTOR], part[SECTOR:]
        allowed = record.allowed(lba, mark)
        right = information(lba, block)
        if len(allowed) == 1 and allowed[0] != NOTHING and any(block):
            assert pi == right, f"{mark.why}: block {lba} is stable, and has lost its protection"
        else:
            assert pi in (right, NONE)


def cut_file(
    kind: str, image: Image, log: list[Entry], record: Record, chosen: random.Random, folder: Path
) -> int:
    """Cut the power at some marks and at the last, and let the file system recover; returns how often."""
    wanted = {f"cut-{at}": at for at in choose_cuts(record.marks, chosen)}
    cuts = 0
    for entry in log:
        if entry.mark is None:
            image.apply(entry)
        elif entry.mark in wanted:
            image.copy_to(RAM_DISK)
            with mounted(RAM_DISK, folder) as file:
                raw = file.read_bytes()
                mark = record.marks[wanted[entry.mark]]
                if kind == "protected":
                    check_protected(file, record, mark)
                    guest_plugin.leaked_counters()
            assert len(raw) == REGION * SECTOR
            for lba in range(REGION):
                record.check(lba, raw[lba * SECTOR : (lba + 1) * SECTOR], mark, entry.mark)
            cuts += 1
    assert cuts == len(wanted), f"{cuts} of {len(wanted)} marks are in the log"
    return cuts


@contextmanager
def served(made: tree.Device) -> Iterator[Unit]:
    """An initiator's unit, with no attention pending; afterwards everything is gone."""
    target = tree.Target("t1").make()
    target.luns.map(0, made)
    host = target.login("first")
    target.enable()
    host.disk(0)
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        yield unit
    guest_plugin.wipe()


def work(kind: str, backing: Path, disk: LoggedDisk, record: Record, chosen: random.Random) -> None:
    """Rounds with a device that has a cache, and some with one that writes through."""
    believed = disk.cache()
    for write_through in (False, True):
        if kind == "blockio":
            made = tree.blockio("d", backing, write_through=write_through)
        else:
            more = (
                {"protection": 1, "protection_file": backing.with_name("pi")} if kind == "protected" else {}
            )
            made = tree.fileio(
                "d", backing, o_direct=kind == "direct", write_through=write_through, thin=1, **more
            )
        with served(made) as unit:
            load = Load(unit, disk, record, chosen, kind)
            if disk.cache() != "write back":
                load.back()
            rounds = max(ROUNDS // 8, 2) if write_through else max(ROUNDS // 2, 8)
            load.rounds(rounds, believed != "write back", write_through)


def work_on(kind: str, bench: Bench, disk: LoggedDisk, record: Record, chosen: random.Random) -> None:
    """The same on the disk, or on the file in it."""
    if kind == "blockio":
        work(kind, disk.node, disk, record, chosen)
        return
    with mounted(disk.node, bench.folder) as file:
        try:
            work(kind, file, disk, record, chosen)
        finally:
            guest_plugin.wipe()
            guest_plugin.leaked_counters()


@pytest.mark.parametrize(
    ("kind", "believed"),
    [
        *product(["blockio", "buffered", "direct"], ["write back", "write through"]),
        ("protected", "write back"),
    ],
)
def test_power_cut(bench: Bench, kind: str, believed: str) -> None:
    """SYNCHRONIZE CACHE, FUA, WCE 0 and ``write_through`` keep their word.

    *believed*: of the disk's cache, when the device is enabled. It is ``write back`` afterwards, with lapses.
    """
    print(f"SCST_SEED={SEED} SCST_ROUNDS={ROUNDS}")
    chosen = random.Random(f"{SEED} {kind} {believed}")
    image, record = bench.prepare(kind)
    disk = LoggedDisk("cut", bench.disk, bench.log, SIZE)
    try:
        disk.set_cache(believed)
        work_on(kind, bench, disk, record, chosen)
        log = disk.read()
    finally:
        guest_plugin.wipe()
        disk.remove()
    if kind == "blockio":
        cuts = cut_disk(image, log, record)
    else:
        cuts = cut_file(kind, image, log, record, chosen, bench.folder)
    print(f"{len(log)} entries, {len(record.marks)} marks, {cuts} cuts")
