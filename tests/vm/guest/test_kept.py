# SPDX-License-Identifier: GPL-2.0-or-later
"""Acknowledged is kept: write-back errors reach everybody, flushes reach the disk, and what could not be read
or written is said, with the block it was.

Where stable storage is meant the disk itself is looked at, around every cache.
"""

from __future__ import annotations

import itertools
import mmap
import os
import random
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Event, Nexus, Script, Target, serve
from tests.vm.guest.scsi import Sense, Unit
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "scst_script",
    "sd_mod", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
WRITE_ERROR: Sense = (0x3, 0x0C, 0x00)
LOST: Sense = (0x4, 0x0C, 0x00)  # Linux would send the command again after a MEDIUM ERROR, and believe GOOD
READ_ERROR: Sense = (0x3, 0x11, 0x00)
RESERVATION_CONFLICT = 0x18
SYNC = scsi.cdb10(0x35, 0, 0)
MIB = 1 << 20
GROUND = 16 * 2048  # sectors of the file system, so few that they can be searched
SECTORS = 65536
BAD, BAD_COUNT = 20_000, 64
LIO = Path("/sys/kernel/config/target")
NUMBERS = itertools.count()


def deferred(event: Event) -> Sense | None:
    """Sense of an earlier command: response code 71h or 73h."""
    raw = event.raw_sense
    if not raw or raw[0] & 0x7F not in (0x71, 0x73):
        return None
    return scsi.parse_sense(bytes((raw[0] - 1,)) + raw[1:])


def information(raw: bytes) -> int | None:
    """The INFORMATION field of sense data, None if it is not valid."""
    if raw[0] & 0x7F == 0x70:
        return int.from_bytes(raw[3:7], "big") if raw[0] & 0x80 else None
    at = 8
    while at < 8 + raw[7]:
        if raw[at] == 0x00:
            return int.from_bytes(raw[at + 4 : at + 12], "big") if raw[at + 2] & 0x80 else None
        at += 2 + raw[at + 1]
    return None


# --- a file system over a disk that can fail ---


class Ground:
    """A file on an ext4 whose disk can be made to fail everything; and what the medium has of it."""

    def __init__(self, disk: Mapper, table: str, path: Path) -> None:
        self._disk, self._table, self.path = disk, table, path
        path.write_bytes(bytes(MIB))
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def _load(self, table: str) -> None:
        dmsetup("suspend", "--noflush", "--nolockfs", self._disk.name)
        dmsetup("load", self._disk.name, "--table", table)
        dmsetup("resume", self._disk.name)

    def fail(self) -> None:
        """From here on every I/O fails."""
        self._load(f"0 {GROUND} error")

    def heal(self) -> None:
        """As before."""
        self._load(self._table)

    def noise(self, label: str) -> bytes:
        """Eight blocks that no other test has written."""
        return random.Random(f"{label} {self.path}").randbytes(4096)

    def has(self, label: str) -> bool:
        """Is this noise on the medium itself?"""
        return medium_has(self._disk.node, self.noise(label))


def medium_has(node: Path, content: bytes) -> bool:
    """Is it on the medium itself? Read around the page cache."""
    size = int(Path("/sys/block", node.name, "size").read_text()) * 512
    file = os.open(node, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4 << 20) as buffer:
            for at in range(0, size, len(buffer)):
                length = os.preadv(file, [buffer], at)
                if buffer.find(content, 0, length) >= 0:
                    return True
    finally:
        os.close(file)
    return False


WRITE_BACK = Path("/proc/sys/vm/dirty_writeback_centisecs")


@pytest.fixture(scope="module")
def written_when_told() -> Iterator[None]:
    """No page is written for its age: on a slow machine, before a test has looked or while its disk fails."""
    before = WRITE_BACK.read_text()
    WRITE_BACK.write_text("0")
    yield
    WRITE_BACK.write_text(before)


@pytest.fixture(scope="module")
def mounted(
    written_when_told: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mapper, str, Path]]:
    """The mapping, its table, and where it is mounted."""
    mount = tmp_path_factory.mktemp("ground")
    table = f"0 {GROUND} linear {guest_plugin.find_disks()['vm-disk-b'].node} 0"
    dmsetup("create", "ground", "--table", table)
    disk = Mapper("ground")
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0")
    guest_plugin.command(*argv, str(disk.node))
    guest_plugin.command("mount", "-t", "ext4", "-o", "errors=continue", str(disk.node), str(mount))
    yield disk, table, mount
    guest_plugin.command("umount", str(mount))
    dmsetup("remove", "--retry", "ground")


@pytest.fixture
def ground(mounted: tuple[Mapper, str, Path]) -> Iterator[Ground]:
    """A new file of 1 MiB that is on the medium."""
    disk, table, mount = mounted
    made = Ground(disk, table, mount / f"file{next(NUMBERS)}")
    yield made
    made.heal()
    guest_plugin.wipe()
    guest_plugin.leaked_counters()
    made.path.unlink()


def sense_of(nexus: Nexus, cdb: bytes) -> Sense | None:
    """A command's own sense, none deferred."""
    event = nexus.command(cdb)
    assert deferred(event) is None, f"{nexus.name}: deferred {event.raw_sense.hex()}"
    return event.sense


def first_deferred(nexus: Nexus) -> list[Sense]:
    """All deferred errors, taken by TEST UNIT READY; unit attentions come before them."""
    found = []
    for _ in range(10):
        event = nexus.test_unit_ready()
        if (sense := deferred(event)) is not None:
            found.append(sense)
        elif event.sense is None:
            return found
        else:
            assert event.sense[0] == scsi.UNIT_ATTENTION, str(event)
    raise AssertionError(f"{nexus.name}: no end of it")


# --- errors of writing back (B2) ---


def test_sync_error_reaches_everybody(script: Script, ground: Ground) -> None:
    """A writes, the disk fails, B syncs first: both hear of it, once each."""
    first, second = serve(script, tree.fileio("f", ground.path))
    first.good(scsi.write10(0, 8), write=ground.noise("lost"))
    ground.fail()
    assert sense_of(second, SYNC) == LOST
    assert sense_of(first, SYNC) == LOST, "who wrote was told that it is stable"
    ground.heal()
    assert sense_of(first, SYNC) is None
    assert sense_of(second, SYNC) is None
    first.good(scsi.write10(0, 8), write=ground.noise("kept"))
    assert sense_of(first, SYNC) is None
    assert ground.has("kept")


@pytest.mark.parametrize("how", ["fua", "write_through"])
def test_stable_write_error(script: Script, ground: Ground, how: str) -> None:
    """A write that has to be stable and is not says so itself; so does the SYNC of who wrote before."""
    device = tree.fileio("f", ground.path, write_through=how == "write_through")
    first, second = serve(script, device)
    ground.fail()
    flags = scsi.FUA if how == "fua" else 0
    answer = second.command(scsi.write10(8, 8, flags), write=ground.noise("b"))
    assert answer.sense == LOST, str(answer)
    assert sense_of(first, SYNC) == LOST
    ground.heal()
    assert sense_of(first, SYNC) is None
    second.good(scsi.write10(8, 8, flags), write=ground.noise("b"))
    assert ground.has("b")


def test_error_at_park_is_told_later(script: Script, ground: Ground) -> None:
    """What could not be written when the backing was closed: `error` says so, who wrote is told, deferred.

    Who only read is not, nor who came later. Linux drops deferred errors, so the next SYNC says it once more.
    """
    device = tree.fileio("f", ground.path)
    first, second = serve(script, device)
    log = guest_plugin.KernelLog()
    second.good(scsi.read10(0, 8), read=4096)
    first.good(scsi.write10(0, 8), write=ground.noise("lost"))
    ground.fail()
    device.activate(False)
    assert (device.state, device.get("error")) == ("parked", "EIO")
    assert any("device f: data that were acknowledged could not be written" in line for line in log.read())
    log.close()
    late = script.login(Target("t1"), "late")
    ground.heal()
    device.activate()
    assert device.get("error") == ""
    assert first_deferred(first) == [WRITE_ERROR]
    assert first_deferred(second) == []
    assert first_deferred(late) == []
    assert [sense_of(nexus, SYNC) for nexus in (first, second, late)] == [LOST, None, None]
    assert sense_of(first, SYNC) is None


def test_deferred_error_belongs_to_who_wrote_since(script: Script, ground: Ground) -> None:
    """Closed without an error, what an initiator wrote is kept: a later loss is that of others."""
    device = tree.fileio("f", ground.path)
    first, second = serve(script, device)
    first.good(scsi.write10(0, 8), write=ground.noise("kept"))
    device.activate(False)
    assert device.get("error") == ""
    assert ground.has("kept")
    device.activate()
    assert first_deferred(first) == first_deferred(second) == []
    second.good(scsi.write10(0, 8), write=ground.noise("lost"))
    ground.fail()
    device.activate(False)
    ground.heal()
    device.activate()
    assert first_deferred(first) == []
    assert first_deferred(second) == [WRITE_ERROR]


def test_loss_reaches_a_real_initiator(ground: Ground) -> None:
    """Whatever its SCSI layer makes of a deferred error: fsync(2) of who wrote fails, once."""
    device = tree.fileio("f", ground.path)
    disks = [host.disk(0) for host in serve_local(device)]
    with direct(disks[0]) as writer, direct(disks[1]) as reader, mmap.mmap(-1, 4096) as buffer:
        buffer.write(ground.noise("lost"))
        os.pwritev(writer, [buffer], 0)
        os.preadv(reader, [buffer], 0)
        ground.fail()
        device.activate(False)
        assert device.get("error") == "EIO"
        ground.heal()
        device.activate()
        failed = [bool(tree.errno_of(partial(os.fsync, file))) for file in (writer, writer, reader)]
        assert failed == [True, False, False]


def test_sync_error_reaches_real_initiators(ground: Ground) -> None:
    """The disk fails while both are logged in: fsync(2) of each fails, once; the other one's first."""
    disks = [host.disk(0) for host in serve_local(tree.fileio("f", ground.path))]
    with direct(disks[0]) as first, direct(disks[1]) as second, mmap.mmap(-1, 4096) as buffer:
        buffer.write(ground.noise("lost"))
        os.pwritev(first, [buffer], 0)
        ground.fail()
        failed = [bool(tree.errno_of(partial(os.fsync, file))) for file in (second, first)]
        ground.heal()
        assert failed == [True, True]
        assert [bool(tree.errno_of(partial(os.fsync, file))) for file in (first, second)] == [False, False]


@contextmanager
def direct(disk: Path) -> Iterator[int]:
    """A disk, open around the page cache."""
    file = os.open(disk, os.O_RDWR | os.O_DIRECT)
    try:
        yield file
    finally:
        os.close(file)


# --- flushes and FUA (B3) ---


@pytest.fixture
def cached_disk(disks: dict[str, PluggedDisk]) -> Iterator[Path]:
    """A disk whose cache mode is put back afterwards."""
    node = disks["vm-disk-a"].node
    cache = cache_mode(node)
    before = cache.read_text()
    yield node
    guest_plugin.wipe()
    cache.write_text(before)


def cache_mode(node: Path) -> Path:
    """Where the block layer's idea of the disk's cache can be changed."""
    return Path("/sys/block", node.name, "queue/write_cache")


def flushes(node: Path) -> int:
    """Flushes the disk has completed."""
    return int(Path("/sys/block", node.name, "stat").read_text().split()[15])


def flushes_of(node: Path, action: Callable[[], object]) -> int:
    """Flushes that something costs."""
    before = flushes(node)
    action()
    return flushes(node) - before


def wce(nexus: Nexus) -> bool:
    """Write cache enabled, as MODE SENSE tells."""
    return bool(nexus.good(scsi.mode_sense6(0x08), read=255)[4 + 2] & 0x04)


def test_cache_switched_at_run_time(script: Script, cached_disk: Path) -> None:
    """SYNCHRONIZE CACHE and FUA flush as soon as there is a cache; WCE follows, and initiators are told."""
    mode = cache_mode(cached_disk)
    mode.write_text("write through")
    first, second = serve(script, tree.blockio("b", cached_disk))
    sync = partial(first.good, SYNC)
    write = partial(first.good, scsi.write10(0, 1), write=bytes(512))
    write_fua = partial(first.good, scsi.write10(0, 1, scsi.FUA), write=bytes(512))
    assert not wce(first)
    assert [flushes_of(cached_disk, action) for action in (sync, write, write_fua)] == [0, 0, 0]
    mode.write_text("write back")
    assert flushes_of(cached_disk, sync) == 1, "acknowledged, and in a volatile cache"
    assert first.attentions() == [scsi.MODE_CHANGED]
    assert second.attentions() == [scsi.MODE_CHANGED]
    assert flushes_of(cached_disk, write) == 0
    assert flushes_of(cached_disk, write_fua) >= 1
    assert wce(first)
    mode.write_text("write through")
    assert not wce(second)
    assert first.attentions() == second.attentions() == [scsi.MODE_CHANGED]
    assert flushes_of(cached_disk, sync) == 0


def test_cache_switched_is_noticed_by_mode_sense(script: Script, cached_disk: Path) -> None:
    """Whoever asks first notices; it is told once."""
    cache_mode(cached_disk).write_text("write back")
    first, second = serve(script, tree.blockio("b", cached_disk))
    assert wce(first)
    cache_mode(cached_disk).write_text("write through")
    assert not wce(first)
    assert second.attentions() == [scsi.MODE_CHANGED]
    assert not wce(second)
    assert second.attentions() == []


def test_fua_read_flushes_the_disk(script: Script, cached_disk: Path) -> None:
    """READ with FUA: what is newer in the cache goes to the medium first."""
    cache_mode(cached_disk).write_text("write back")
    first, _ = serve(script, tree.blockio("b", cached_disk))
    for plain, fua in (
        (scsi.read10(0, 8), scsi.read10(0, 8, scsi.FUA)),
        (scsi.read16(0, 8), scsi.read16(0, 8, scsi.FUA)),
    ):
        assert flushes_of(cached_disk, partial(first.good, plain, read=4096)) == 0
        assert flushes_of(cached_disk, partial(first.good, fua, read=4096)) == 1


@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct"])
def test_what_is_stable_when(script: Script, ground: Ground, direct: bool) -> None:
    """A file's dirty pages: what brings them to the medium, and that it is there before the answer.

    FUA of reads, writes, COMPARE AND WRITE and ORWRITE, WRITE AND VERIFY, SYNC. A COMPARE AND WRITE with FUA
    compares with what the medium has, so that it brings there what it finds, whether it is what was expected.
    """
    first, _ = serve(script, tree.fileio("f", ground.path, o_direct=direct))
    first.good(scsi.write10(0, 8), write=ground.noise("plain"))
    if not direct:
        assert not ground.has("plain"), "the test shows nothing"
    first.good(scsi.read10(0, 8), read=4096)
    assert first.good(scsi.read10(0, 8, scsi.FUA), read=4096) == ground.noise("plain")
    assert ground.has("plain")
    first.good(scsi.write10(64, 8, scsi.FUA), write=ground.noise("fua"))
    assert ground.has("fua")
    first.good(scsi.write_verify10(96, 8, 1), write=ground.noise("verified"))
    assert ground.has("verified")
    old, other = ground.noise("found"), bytes(4096)
    first.good(scsi.write10(160, 8), write=old)
    answer = first.command(scsi.compare_and_write(160, 8, scsi.FUA), write=other + other)
    assert answer.sense == scsi.MISCOMPARE
    assert ground.has("found")
    first.good(scsi.compare_and_write(160, 8, scsi.FUA), write=old + ground.noise("compared"))
    assert ground.has("compared")
    first.good(scsi.write10(192, 8), write=other)
    first.good(scsi.orwrite16(192, 8, scsi.FUA), write=ground.noise("or"))
    assert ground.has("or")
    first.good(scsi.write10(128, 8), write=ground.noise("sync"))
    first.good(scsi.cdb16(0x91, 128, 8))
    assert ground.has("sync")


@pytest.mark.parametrize("eject", [False, True], ids=["stop", "eject"])
def test_what_is_stopped_or_ejected_is_stable(script: Script, ground: Ground, eject: bool) -> None:
    """Who stops a unit, or takes its medium out, may switch it off then."""
    first, _ = serve(script, tree.fileio("f", ground.path, removable=True, stop_unit=True))
    first.good(scsi.write10(0, 8), write=ground.noise("plain"))
    assert not ground.has("plain"), "the test shows nothing"
    first.good(scsi.start_stop(False, 0x02 if eject else 0))
    assert ground.has("plain")


@pytest.mark.parametrize("how", ["write_through", "wce_off"])
def test_without_a_cache_every_write_is_stable(script: Script, ground: Ground, how: str) -> None:
    """`write_through`, or WCE cleared by MODE SELECT."""
    device = tree.fileio("f", ground.path, write_through=how == "write_through")
    first, second = serve(script, device)
    if how == "wce_off":
        page = bytearray(first.good(scsi.mode_sense6(0x08), read=255)[4:])
        page[0] &= 0x3F
        page[2] &= ~0x04
        first.good(scsi.mode_select6(4 + len(page)), write=bytes(4) + bytes(page))
        assert second.attentions() == [scsi.MODE_CHANGED]
    assert not wce(second)
    second.good(scsi.write10(0, 8), write=ground.noise(how))
    assert ground.has(how)
    data = ground.noise(how) + ground.noise(f"{how} compared")
    second.good(scsi.compare_and_write(0, 8), write=data)
    assert ground.has(f"{how} compared")
    second.good(scsi.write10(64, 8), write=bytes(4096))
    second.good(scsi.orwrite16(64, 8), write=ground.noise(f"{how} or"))
    assert ground.has(f"{how} or")


# --- short transfers (B8) ---


@pytest.mark.parametrize("kind", ["nullio", "fileio", "direct", "blockio"])
def test_short_write_writes_nothing(kind: str, make_file: MakeFile, disks: dict[str, PluggedDisk]) -> None:
    """Data-out shorter than the CDB says, or none: refused, and the medium is as it was."""
    medium: Path | None = None
    if kind == "nullio":
        device = tree.nullio("d", 1 << 20)
    elif kind == "blockio":
        medium = disks["vm-disk-a"].node
        device = tree.blockio("d", medium)
    else:
        medium = make_file("f", 1)
        device = tree.fileio("d", medium, o_direct=kind == "direct")
    before = head(medium)
    with Unit(serve_local(device)[0].sg(0)) as unit:
        unit.attentions()
        for data in (b"\xee" * 512, b"\xee" * 1000, None):
            answer = unit.command(scsi.write10(0, 2), write=data)
            assert answer.sense == scsi.SHORT_TRANSFER, f"{data and len(data)} bytes: {answer}"
        assert unit.sense(scsi.verify10(0, 2, 1), write=b"\xee" * 512) == scsi.SHORT_TRANSFER
    assert head(medium) == before


def head(medium: Path | None) -> bytes:
    """The first blocks of a medium, where there is one."""
    if medium is None:
        return b""
    file = os.open(medium, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, 4096, 0)
    finally:
        os.close(file)


# --- bad blocks ---


@contextmanager
def bad_disk(disk: Path) -> Iterator[Path]:
    """A mapping of a disk with blocks in the middle that cannot be read or written."""
    table = (
        f"0 {BAD} linear {disk} 0\n{BAD} {BAD_COUNT} error\n"
        f"{BAD + BAD_COUNT} {SECTORS - BAD - BAD_COUNT} linear {disk} {BAD + BAD_COUNT}\n"
    )
    subprocess.run(["dmsetup", "--noudevsync", "create", "bad"], input=table, text=True, check=True)
    try:
        yield Mapper("bad").node
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()
        dmsetup("remove", "--retry", "bad")


def on_bad_disk(kind: str, node: Path) -> tree.Device:
    """A device over it."""
    return tree.blockio("d", node, block_size=4096 if kind == "4k" else 0)


@pytest.mark.parametrize("descriptor", [False, True], ids=["fixed", "descriptor"])
@pytest.mark.parametrize("kind", ["512", "4k"])
def test_first_bad_block_is_told(
    script: Script, disks: dict[str, PluggedDisk], kind: str, descriptor: bool
) -> None:
    """MEDIUM ERROR names the first block that cannot be read, for reads and VERIFY, short and long."""
    size = 4096 if kind == "4k" else 512
    bad = BAD * 512 // size
    with bad_disk(disks["vm-disk-c"].node) as node:
        first, _ = serve(script, on_bad_disk(kind, node))
        content = random.Random(kind).randbytes(100 * size)
        first.good(scsi.write10(bad - 100, 100), write=content)
        if descriptor:
            page = bytearray(first.good(scsi.mode_sense6(0x0A), read=255)[4:])
            page[2] |= 0x04
            first.good(scsi.mode_select6(4 + len(page)), write=bytes(4) + bytes(page))
        for lba, count in ((bad - 3, 8), (bad - 1, 2), (bad, 1), (bad + 1, 4), (bad - 100, 256)):
            for cdb, read in (
                (scsi.read10(lba, count), count * size),
                (scsi.read16(lba, count), count * size),
                (scsi.verify10(lba, count), 0),
                (scsi.verify16(lba, count), 0),
            ):
                event = first.command(cdb, read=read)
                assert event.sense == READ_ERROR, f"{cdb.hex()}: {event}"
                assert event.raw_sense[0] & 0x7F == (0x72 if descriptor else 0x70)
                assert information(event.raw_sense) == max(lba, bad), cdb.hex()
                good = (max(lba, bad) - lba) * size if read else 0
                assert event.len == good, "what is before it was not moved"
                assert event.data == content[(lba - bad) * size :][:good]
        first.good(scsi.read10(bad - 8, 8), read=8 * size)
        write = first.command(scsi.write10(bad - 1, 2), write=bytes(2 * size))
        assert write.sense == WRITE_ERROR, str(write)


def test_initiator_takes_the_good_part(disks: dict[str, PluggedDisk]) -> None:
    """sd knows which block it is, and takes what is before it."""
    with bad_disk(disks["vm-disk-c"].node) as node:
        host = serve_local(on_bad_disk("512", node))[0]
        disk = host.disk(0)
        log = guest_plugin.KernelLog()
        file = os.open(disk, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, 64 << 10) as buffer, pytest.raises(OSError, match="No data available"):
            os.preadv(file, [buffer], (BAD - 64) * 512)
        os.close(file)
        lines = [line for line in log.read() if f"dev {disk.name}, sector" in line]
        log.close()
        assert [f"sector {BAD} " in line for line in lines] == [True], lines
        os.posix_fadvise((file := os.open(disk, os.O_RDONLY)), 0, 0, os.POSIX_FADV_RANDOM)
        assert len(os.pread(file, 64 << 10, (BAD - 64) * 512)) == 64 * 512
        os.close(file)


# --- a backing that is reserved by another host ---


@contextmanager
def reserved_disk() -> Iterator[tuple[Path, Path]]:
    """A disk of another target, as two hosts see it: of the first, and of the second."""
    guest_plugin.command("modprobe", "-a", "target_core_mod", "tcm_loop")
    # It writes its registrations there, also those that it shall forget.
    Path("/var/target/pr").mkdir(parents=True, exist_ok=True)
    store = LIO / "core/rd_mcp_0/r"
    store.mkdir(parents=True)
    (store / "control").write_text("rd_pages=2048")
    (store / "wwn/vpd_unit_serial").write_text(str(uuid.uuid4()))
    (store / "enable").write_text("1")
    portals = [LIO / f"loopback/naa.600140500000000{number}/tpgt_1" for number in (1, 2)]
    nodes = []
    for number, portal in enumerate(portals):
        portal.mkdir(parents=True)
        (portal / "nexus").write_text(f"naa.600140500000001{number}")
        (portal / "lun/lun_0").mkdir()
        (portal / "lun/lun_0/store").symlink_to(store)
        address = (portal / "address").read_text().strip()
        nodes.append(find_lio_disk(address))
    try:
        yield nodes[0], nodes[1]
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()
        for portal in portals:
            (portal / "lun/lun_0/store").unlink()
            (portal / "lun/lun_0").rmdir()
            portal.rmdir()
            portal.parent.rmdir()
        store.rmdir()
        store.parent.rmdir()
        (LIO / "loopback").rmdir()
        guest_plugin.command("modprobe", "-r", "tcm_loop")


def find_lio_disk(address: str) -> Path:
    """The disk of LUN 0 of a SCSI host that is given as H:C:I."""
    folder = Path("/sys/bus/scsi/devices", f"{address}:0", "block")
    return tree.wait_node(f"the disk of {address}", lambda: folder.glob("*"))


def persistent_reserve_out(action: int, kind: int = 0) -> bytes:
    """PERSISTENT RESERVE OUT with a parameter list of 24 bytes."""
    return bytes((0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0))


def test_reservation_of_the_backing(script: Script) -> None:
    """Writes that the disk refuses because another host has reserved it end in RESERVATION CONFLICT."""
    key = bytes(8) + (1).to_bytes(8, "big") + bytes(8)
    with reserved_disk() as (owner, ours):
        first, _ = serve(script, tree.blockio("b", ours))
        first.good(scsi.write10(0, 8), write=bytes(4096))
        with Unit(owner) as unit:
            unit.attentions()
            unit.good(persistent_reserve_out(0), write=key)
            holder = (1).to_bytes(8, "big") + bytes(16)
            unit.good(persistent_reserve_out(1, 1), write=holder)
            answer = first.command(scsi.write10(0, 8), write=bytes(4096))
            assert answer.status == RESERVATION_CONFLICT, str(answer)
            assert answer.raw_sense == b""
            first.good(scsi.read10(0, 8), read=4096)
            unit.good(persistent_reserve_out(3), write=holder)
        first.good(scsi.write10(0, 8), write=bytes(4096))
