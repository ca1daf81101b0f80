# SPDX-License-Identifier: GPL-2.0-or-later
"""Who sees what on a target: per-initiator LUNs, group choice, reassignment, absent LUNs."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Initiator, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
WP = 0x80
RESCANNED = 60


@dataclass(frozen=True, slots=True)
class Example:
    """The example every release must run."""

    target: Target
    a: Initiator
    b: Initiator


@pytest.fixture
def example(make_file: MakeFile) -> Example:
    """Initiator A sees Da and Db read-write; B sees Db read-only and Dc read-write."""
    devices = {name: tree.fileio(name, make_file(name, 4)) for name in ("Da", "Db", "Dc")}
    target = Target("t1").make()
    group_a, group_b = target.group("ga", "ini-A"), target.group("gb", "ini-B")
    group_a.luns.map(0, devices["Da"])
    group_a.luns.map(1, devices["Db"])
    group_b.luns.map(0, devices["Db"], read_only=True)
    group_b.luns.map(1, devices["Dc"])
    a, b = target.login("ini-A"), target.login("ini-B")
    target.enable()
    return Example(target, a, b)


def reported(host: Initiator, lun: int = 0) -> list[int]:
    """REPORT LUNS through one of the initiator's devices."""
    with Unit(host.sg(lun)) as unit:
        return scsi.lun_list(unit.good(scsi.report_luns(), 16 + 8 * 16384))


def serial(host: Initiator, lun: int) -> str:
    """Unit serial number behind a LUN."""
    with Unit(host.sg(lun)) as unit:
        return unit.good(scsi.inquiry(page=0x80), 255)[4:].decode()


def device_serial(device: str, handler: str = "fileio") -> str:
    """The serial number configfs shows for a device."""
    return tree.read(tree.ROOT / "devices" / handler / device / "id/serial")


def test_example_views(example: Example) -> None:
    assert example.a.view() == "0 Da rw\n1 Db rw\n"
    assert example.b.view() == "0 Db ro\n1 Dc rw\n"
    assert (example.a.group(), example.b.group()) == ("ga", "gb")
    for host in (example.a, example.b):
        assert reported(host) == [0, 1]
    assert [serial(example.a, lun) for lun in (0, 1)] == [device_serial("Da"), device_serial("Db")]
    assert [serial(example.b, lun) for lun in (0, 1)] == [device_serial("Db"), device_serial("Dc")]


def test_example_write_protection(example: Example) -> None:
    """B's writes to Db end in DATA PROTECT, WP is set for B only, and Db is unchanged."""
    block = bytes(range(256)) * 2
    with scsi.opened(example.a.sg(1), example.b.sg(0), example.b.sg(1)) as (a_db, b_db, b_dc):
        for unit in (a_db, b_db, b_dc):
            unit.attentions()
        before = a_db.good(scsi.read10(0, 8), 4096)
        writes = [scsi.write6(0, 1), scsi.write10(0, 1), scsi.cdb12(0xAA, 0, 1), scsi.write16(0, 1)]
        for cdb in writes:
            assert b_db.sense(cdb, write=block) == scsi.WRITE_PROTECTED, cdb.hex()
            assert b_dc.sense(cdb, write=block) is None
        assert a_db.good(scsi.read10(0, 8), 4096) == before
        protected = [unit.good(scsi.mode_sense6(0x3F), 255)[2] & WP for unit in (a_db, b_db, b_dc)]
        assert protected == [0, WP, 0]
        assert b_db.good(scsi.mode_sense10(0x3F), 512)[3] & WP


def test_example_sd_knows_write_protection(example: Example) -> None:
    disk = example.b.disk(0)
    assert Path("/sys/block", disk.name, "ro").read_text() == "1\n"
    assert Path("/sys/block", example.a.disk(1).name, "ro").read_text() == "0\n"


def test_example_data_is_shared(example: Example) -> None:
    """What A writes to Db, B reads; Da and Dc are not touched; the file has it after SYNCHRONIZE CACHE."""
    data = random.Random(1).randbytes(64 << 10)
    with scsi.opened(example.a.sg(1), example.b.sg(0), example.a.sg(0), example.b.sg(1)) as (
        a_db,
        b_db,
        da,
        dc,
    ):
        for unit in (a_db, b_db, da, dc):
            unit.attentions()
        others = [unit.good(scsi.read10(0, 256), 128 << 10) for unit in (da, dc)]
        a_db.good(scsi.write10(100, 128), write=data)
        assert b_db.good(scsi.read10(100, 128), len(data)) == data
        a_db.good(scsi.cdb10(0x35, 0, 0))
        assert [unit.good(scsi.read10(0, 256), 128 << 10) for unit in (da, dc)] == others
    path = Path(tree.read(tree.ROOT / "devices/fileio/Db/path"))
    assert path.read_bytes()[51200 : 51200 + len(data)] == data


# --- which group ---

# Groups as (name, priority, patterns); who is chosen for initiator "iqn.2024-01.com.example:Host-7".
NAME = "iqn.2024-01.com.example:Host-7"
CHOICES: dict[str, tuple[list[tuple[str, int, list[str]]], str]] = {
    "nobody claims": ([("g", 0, ["iqn.2024-01.com.example:Host-8"])], ""),
    "no groups": ([], ""),
    "empty group": ([("g", 0, [])], ""),
    "exact": ([("g", 0, [NAME])], "g"),
    "exact, other case": ([("g", 0, [NAME.upper()])], "g"),
    "exact before better pattern": ([("p", 0, ["*"]), ("e", 65535, [NAME])], "e"),
    "exact in two groups: priority": ([("a", 7, [NAME]), ("b", 6, [NAME])], "b"),
    "exact in two groups: name": ([("b", 7, [NAME]), ("a", 7, [NAME])], "a"),
    "pattern": ([("g", 0, ["iqn.*:host-?"])], "g"),
    "question mark is one character": ([("g", 0, ["iqn.*:Host-??"]), ("h", 0, ["iqn.*:Host?"])], ""),
    "star may be empty": ([("g", 0, [NAME + "*"])], "g"),
    "stars backtrack": ([("g", 0, ["*o*o*7"])], "g"),
    "stars only": ([("g", 0, ["***"])], "g"),
    "patterns: priority before name": ([("a", 50, ["iqn*"]), ("b", 49, ["*"])], "b"),
    "patterns: equal priority, name in byte order": (
        [("b", 5, ["*"]), ("a", 5, ["*"]), ("B", 5, ["*"])],
        "B",
    ),
    "inverted, no match": ([("g", 0, ["!iqn.*"])], ""),
    "inverted, match": ([("g", 0, ["!eui.*"])], "g"),
    "inverted exact name is a pattern": ([("n", 0, ["!other"]), ("e", 9, [NAME])], "e"),
    "inverted exact name": ([("n", 0, ["!" + NAME])], ""),
    "pattern of a prefix only": ([("g", 0, ["iqn.2024-01.com.example:Host"])], ""),
    "brackets mean themselves": ([("g", 0, ["iqn.2024-01.com.example:Host-[0-9]"])], ""),
    "backslash means itself": ([("g", 0, ["iqn.2024-01.com.example:Host-\\7"])], ""),
    "second pattern of a group": ([("g", 0, ["no*", "iqn.*"])], "g"),
}


@pytest.fixture
def one_device() -> tree.Device:
    """A null device to map."""
    return tree.nullio("n0")


def build_groups(target: Target, groups: list[tuple[str, int, list[str]]], device: tree.Device) -> None:
    """Make groups, each with LUN 0."""
    for name, priority, patterns in groups:
        group = target.group(name).set_priority(priority)
        group.luns.map(0, device)
        group.claim(*patterns)


def test_group_choice(one_device: tree.Device) -> None:
    """The rule holds whatever the order of creation, for a session that is there and for one that comes."""
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, one_device)
    host = target.login(NAME)
    target.enable()
    for case, (groups, chosen) in CHOICES.items():
        for order in (groups, groups[::-1]):
            build_groups(target, order, one_device)
            assert host.group() == chosen, case
            if order is groups:
                target.logout(NAME)
                target.login(NAME)
                assert host.group() == chosen, f"{case}, at login"
            for name, _, _ in order:
                tree.Group(target.path / "groups" / name).remove()
            assert host.group() == "", case


def test_priority_change_moves_a_session(one_device: tree.Device) -> None:
    target = Target("t1").make()
    first, second = target.group("a", "*").set_priority(1), target.group("b", "*").set_priority(2)
    first.luns.map(0, one_device)
    second.luns.map(1, one_device)
    host = target.login("x")
    target.enable()
    assert (host.group(), host.view()) == ("a", "0 n0 rw\n")
    first.set_priority(3)
    assert (host.group(), host.view()) == ("b", "1 n0 rw\n")
    host.wait_luns(1)


def test_reassignment_of_a_connected_session(example: Example) -> None:
    """B joins A's group: it keeps its session and its devices follow."""
    number, session = example.b.number, example.b.session
    example.b.wait_luns(0, 1)
    before = folders(example.b)
    with tree.staging():
        group_b = tree.Group(example.target.path / "groups/gb")
        group_b.disclaim("ini-B")
        tree.Group(example.target.path / "groups/ga").claim("ini-B")
    assert example.b.view() == "0 Da rw\n1 Db rw\n"
    assert (example.b.number, example.b.session, example.b.group()) == (number, session, "ga")
    # Until they are replaced the old ones already lead to what is behind their LUNs now.
    tree.wait_for("B has found new ones", lambda: not before & folders(example.b))
    tree.wait_for("B's LUN 0 is Da", lambda: serial_is(example.b, 0, "Da"))
    tree.wait_for("B's LUN 1 is Db", lambda: serial_is(example.b, 1, "Db"))
    with Unit(example.b.sg(1)) as unit:
        unit.attentions()
        unit.good(scsi.write10(0, 1), write=bytes(512))


def folders(host: Initiator) -> set[int]:
    """Which devices an initiator has: inodes, which sysfs never gives again."""
    found = set()
    for folder in host.devices().values():
        with suppress(FileNotFoundError):
            found.add(folder.stat().st_ino)
    return found


def serial_is(host: Initiator, lun: int, device: str) -> bool:
    """Has the initiator a device there with this serial number? False while it is being replaced."""
    try:
        return serial(host, lun) == device_serial(device)
    except (OSError, AssertionError):
        return False


def test_who_rescans_a_lun_that_goes_waits_for_nothing() -> None:
    """A rescan waits with a lock that the removal of the device takes: its commands must end."""
    device = tree.nullio("n0")
    target = Target("t1").make()
    host = target.login("ini-A")
    target.enable()
    stop = threading.Event()

    def rescan() -> None:
        while not stop.is_set():
            for path in host.devices().values():
                with suppress(OSError):
                    (path / "rescan").write_text("1")

    threads = [threading.Thread(target=rescan, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(RESCANNED):
            target.luns.map(0, device)
            host.wait_luns(0)
            target.luns.unmap(0)
            host.wait_luns()
    finally:
        stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_default_luns_serve_the_rest(one_device: tree.Device) -> None:
    """No group claims: the target's own LUNs; a group without LUNs claims: nothing."""
    target = Target("t1").make()
    target.luns.map(3, one_device, read_only=True)
    target.group("none", "poor")
    rich, poor = target.login("rich"), target.login("poor")
    target.enable()
    assert (rich.group(), rich.view()) == ("", "3 n0 ro\n")
    assert (poor.group(), poor.view()) == ("none", "")
    rich.wait_luns(3)
    assert poor.devices() == {}


def test_read_only_of_the_device_and_of_the_lun(make_file: MakeFile) -> None:
    """A read-only device is read-only for everybody; changing read_only of a mapping works at any time."""
    ro, rw = tree.fileio("ro", make_file("ro", 1), read_only=True), tree.fileio("rw", make_file("rw", 1))
    target = Target("t1").make()
    target.luns.map(0, ro)
    target.luns.map(1, rw)
    host = target.login("x")
    target.enable()
    with scsi.opened(host.sg(0), host.sg(1)) as (fixed, free):
        for unit in (fixed, free):
            unit.attentions()
        assert fixed.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.WRITE_PROTECTED
        assert fixed.good(scsi.mode_sense6(0x3F), 255)[2] & WP
        for protect in (True, False):
            tree.write(target.luns.path / "1/read_only", protect)
            assert free.attentions() == [scsi.MODE_CHANGED]
            assert free.sense(scsi.write10(0, 1), write=bytes(512)) == (
                scsi.WRITE_PROTECTED if protect else None
            )
            assert bool(free.good(scsi.mode_sense6(0x3F), 255)[2] & WP) == protect


# --- LUN numbers ---


def test_lun_numbers(one_device: tree.Device) -> None:
    """The numbers at the edges of the addressing methods reach their devices, also without LUN 0."""
    numbers = (1, 255, 256, 300, 16383)
    target = Target("t1").make()
    devices = {lun: tree.nullio(f"n{lun}") for lun in numbers if lun}
    for lun, device in devices.items():
        target.luns.map(lun, device)
    host = target.login("x")
    target.enable()
    assert reported(host, 1) == list(numbers)
    host.wait_luns(*numbers)
    for lun in numbers:
        assert serial(host, lun) == device_serial(f"n{lun}", "nullio")
        with Unit(host.sg(lun)) as unit:
            unit.attentions()
            assert unit.good(scsi.read10(0, 1), 512) == bytes(512)
    target.luns.map(0, one_device)
    host.wait_luns(0, *numbers)
    assert reported(host, 0) == [0, *numbers]


def test_many_luns(one_device: tree.Device) -> None:
    """A list longer than one copy: complete, in order, and truncated where the buffer ends."""
    numbers = [*range(300), *range(1000, 16000, 100), 16383]
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, one_device)
    host = target.login("x")
    target.enable()
    with tree.staging():
        for lun in random.Random(2).sample(numbers[1:], len(numbers) - 1):
            target.luns.map(lun, one_device)
    assert [int(line.split()[0]) for line in host.view().splitlines()] == numbers
    assert reported(host) == numbers
    with Unit(host.sg(0)) as unit:
        whole = unit.good(scsi.report_luns(), 8 + 8 * len(numbers))
        for room in (16, 17, 24, 263, 264, 265, 272, 8 * len(numbers)):
            answer = unit.read_into(scsi.report_luns(room), 8192, fill=0xA5)
            assert answer.good
            assert answer.resid == 8192 - room
            assert answer.data == whole[:room] + b"\xa5" * (8192 - room)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("16384", errno.ERANGE),
        ("99999999999999999999", errno.ERANGE),
        ("00", errno.EINVAL),
        ("01", errno.EINVAL),
        ("-1", errno.EINVAL),
        ("0x1", errno.EINVAL),
        ("a", errno.EINVAL),
        ("1 ", errno.EINVAL),
        ("+1", errno.EINVAL),
    ],
)
def test_wrong_lun_numbers(name: str, expected: int) -> None:
    target = Target("t1").make()
    assert tree.errno_of((target.luns.path / name).mkdir) == expected


# --- absent LUNs ---


def test_absent_lun(one_device: tree.Device) -> None:
    """An initiator that has not noticed that its LUN is gone gets the answers of SPC-4 for an absent unit."""
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, one_device)
    target.luns.map(1, one_device)
    host = target.login("x")
    target.enable()
    with scsi.opened(host.sg(0), host.sg(1)) as (there, gone):
        gone.attentions()
        target.luns.unmap(1)
        assert gone.sense(scsi.test_unit_ready()) == scsi.LUN_NOT_SUPPORTED
        assert gone.sense(scsi.read10(0, 1), 512) == scsi.LUN_NOT_SUPPORTED
        assert gone.good(scsi.inquiry(), 255)[0] == 0x7F
        assert scsi.parse_sense(gone.good(scsi.request_sense(), 252)) == scsi.LUN_NOT_SUPPORTED
        assert scsi.parse_sense(gone.good(scsi.request_sense(descriptor=True), 252)) == scsi.LUN_NOT_SUPPORTED
        assert gone.good(scsi.inquiry(page=0), 255) == bytes((0x7F, 0, 0, 1, 0))
        assert gone.sense(scsi.inquiry(page=0x83), 255) == scsi.INVALID_FIELD_CDB
        assert scsi.lun_list(gone.good(scsi.report_luns(), 1024)) == [0]
        assert there.attentions() == [], "REPORT LUNS has told it"
        target.luns.unmap(0)
        assert scsi.lun_list(gone.good(scsi.report_luns(), 1024)) == []


def test_lun_leads_elsewhere(one_device: tree.Device, make_file: MakeFile) -> None:
    """Another device under the same number: INQUIRY DATA HAS CHANGED, without a rescan."""
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, one_device)
    host = target.login("x")
    target.enable()
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        other = tree.fileio("other", make_file("other", 1))
        with tree.staging():
            target.luns.unmap(0)
            target.luns.map(0, other)
        assert scsi.INQUIRY_CHANGED in unit.attentions()
        assert unit.good(scsi.inquiry(page=0x80), 255)[4:].decode() == device_serial("other")
