# SPDX-License-Identifier: GPL-2.0-or-later
"""Rubbish written to configfs, and everybody changing everything at once."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import alua, scsi, tree
from tests.vm.guest.alua import DeviceGroup
from tests.vm.guest.fio import Fio
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Device, Initiator, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

RACE_SECONDS = float(os.environ.get("SCST_RACE_SECONDS", "6"))
HUNG = RACE_SECONDS + 60 * tree.SLOW
REFUSALS = {errno.EINVAL, errno.ERANGE, errno.ENAMETOOLONG, errno.EBUSY, errno.ESTALE}

RUBBISH: dict[str, bytes] = {
    "newline": b"\n",
    "blank": b" ",
    "NUL": b"\0",
    "word": b"nonsense",
    "yes and more": b"yes!",
    "one and more": b"1x",
    "two lines": b"1\n1\n",
    "leading blank": b" 1",
    "minus": b"-1",
    "plus": b"+1",
    "hex without digits": b"0x",
    "octal-like": b"0o17",
    "fraction": b"1.5",
    "exponent": b"1e3",
    "64 bits and one": b"18446744073709551616",
    "very many digits": b"9" * 200,
    "binary": bytes(range(1, 256)),
    "high bytes": b"\xff\xfe\xfd\x80",
    "relative path": b"../../etc/passwd",
    "control in path": b"/tmp/a\tb",
    "long": b"a" * 4095,
    "longer than a page": b"a" * 9000,
    "long path": b"/" + b"a" * 4094,
    "format": b"%s%s%s%n",
}

# Values above that are valid for some attribute: text identifiers take printable words.
TEXT = {"vendor", "product", "revision", "serial"}
WORDS = {
    "blank",
    "word",
    "yes and more",
    "one and more",
    "leading blank",
    "minus",
    "plus",
    "hex without digits",
    "octal-like",
    "fraction",
    "exponent",
    "64 bits and one",
    "relative path",
    "format",
}
EMPTY = {
    ("newline", name)
    for name in ("path", "pr_file", "protection_file", "eui64", "facts", "elsewhere", "expect")
}
# What the kernel only keeps may be anything printable.
OPAQUE = {"facts", "expect"}
PRINTABLE = {*WORDS, "very many digits", "high bytes"}
# A fault's group need not be there, but could be called so.
GROUPS = WORDS - {"blank", "yes and more", "leading blank", "minus", "plus", "relative path", "format"}


def is_valid(name: str, attribute: str) -> bool:
    """Is this value no rubbish for this attribute? (Its length may still be too much.)"""
    text = (attribute in TEXT and name in WORDS) or (attribute in OPAQUE and name in PRINTABLE)
    return text or (name, attribute) in EMPTY or (attribute == "group" and name in GROUPS)


def build() -> Initiator:
    """One of everything, enabled."""
    Device("fileio", "off").make()
    Device("blockio", "boff").make()
    Device("nullio", "noff").make()
    device = tree.nullio("n0")
    target = Target("t1").make()
    Target("toff").make()
    target.group("g", "ini", "x*").luns.map(0, device)
    target.luns.map(3, device)
    DeviceGroup("dg").make(device).tpg("a", 7, target).add_remote("far", 500)
    (tree.ROOT / "faults/f").mkdir()
    host = target.login("ini")
    target.enable()
    return host


def writable(root: Path = tree.ROOT) -> Iterator[Path]:
    """All attributes that can be written."""
    for folder, _, files in os.walk(root):
        for name in sorted(files):
            path = Path(folder, name)
            if path.stat().st_mode & stat.S_IWUSR:
                yield path


def snapshot(root: Path = tree.ROOT) -> dict[str, str]:
    """Every directory, link and readable value."""
    found = {}
    for folder, names, files in os.walk(root):
        found.update({os.path.join(folder, name): "folder" for name in names})
        for name in files:
            path = Path(folder, name)
            if path.stat().st_mode & stat.S_IRUSR:
                found[str(path)] = tree.read_table(path)
    return found


@pytest.fixture
def served(clean_tree: None) -> Initiator:
    """One of everything."""
    return build()


def test_walk_finds_what_the_documentation_lists(served: Initiator) -> None:
    """The walk is not empty by mistake: a few attributes of each kind of object are there."""
    found = {str(path.relative_to(tree.ROOT)) for path in writable()}
    assert {
        "autocommit",
        "commit",
        "devices/nullio/n0/enabled",
        "devices/fileio/off/path",
        "devices/fileio/off/id/naa",
        "targets/local/t1/rel_tgt_id",
        "targets/local/t1/groups/g/priority",
        "targets/local/t1/groups/g/luns/0/read_only",
        "targets/local/t1/luns/3/read_only",
        "alua/dg/explicit",
        "alua/dg/transition_time",
        "alua/dg/target_port_groups/a/state",
        "alua/dg/target_port_groups/a/ports/far/rel_tgt_id",
    } <= found
    states = {name for name in found if "state" in name or "generation" in name}
    assert states == {"alua/dg/target_port_groups/a/state"}


def test_rubbish_changes_nothing(served: Initiator) -> None:
    """To every writable attribute: refused with an errno of the table, and the whole tree reads as before."""
    before, view, group = snapshot(), served.view(), served.group()
    paths = list(writable())
    assert len(paths) > 40
    for name, data in RUBBISH.items():
        for path in paths:
            code = tree.errno_of(partial(tree.write, path, data))
            allowed = REFUSALS | {0} if is_valid(name, path.name) else REFUSALS
            assert code in allowed, f"{path} <- {name}: {errno.errorcode.get(code, code)}"
            if code == 0:
                tree.write(path, before[str(path)].encode())
        assert snapshot() == before, name
        assert (served.view(), served.group()) == (view, group), name


def test_empty_write_changes_nothing(served: Initiator) -> None:
    """A write of no bytes is nothing at all."""
    before = snapshot()
    for path in writable():
        tree.errno_of(partial(tree.write, path, b""))
    assert snapshot() == before


def test_random_bytes(served: Initiator) -> None:
    """Whatever comes: the tree stays readable and nothing changes."""
    source, before = random.Random(4), snapshot()
    for path in writable():
        for _ in range(20):
            data = b"\x01" + source.randbytes(source.choice((1, 2, 3, 8, 64, 500)))
            code = tree.errno_of(partial(tree.write, path, data))
            assert code in REFUSALS, f"{path} <- {data!r}"
    assert snapshot() == before


# --- names and links ---

WRONG_NAMES: list[tuple[str, str, int]] = [
    ("devices/nullio", "a" * 65, errno.ENAMETOOLONG),
    ("devices/nullio", "a" * 255, errno.ENAMETOOLONG),
    ("devices/nullio", ".hidden", errno.EINVAL),
    ("devices/nullio", "-rf", errno.EINVAL),
    ("devices/nullio", "a b", errno.EINVAL),
    ("devices/nullio", "a\nb", errno.EINVAL),
    ("devices/nullio", "a\tb", errno.EINVAL),
    ("devices/nullio", "ä", errno.EINVAL),
    ("devices/nullio", "a*", errno.EINVAL),
    ("devices/fileio", "n0", errno.EEXIST),
    ("devices/nullio", "n0", errno.EEXIST),
    ("devices", "scsi", errno.EPERM),
    ("devices/nullio/n0", "more", errno.EPERM),
    ("devices/nullio/n0/id", "more", errno.EPERM),
    ("targets", "iscsi", errno.EPERM),
    ("targets/local", "t" * 224, errno.ENAMETOOLONG),
    ("targets/local", "t/../../x", errno.ENOENT),
    ("targets/local", "t!", errno.EINVAL),
    ("targets/local", "t1", errno.EEXIST),
    ("targets/local/t1", "more", errno.EPERM),
    ("targets/local/t1/luns", "16384", errno.ERANGE),
    ("targets/local/t1/luns", "3", errno.EEXIST),
    ("targets/local/t1/luns/3", "more", errno.EPERM),
    ("targets/local/t1/groups", "g" * 65, errno.ENAMETOOLONG),
    ("targets/local/t1/groups", "g h", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators", "i" * 224, errno.ENAMETOOLONG),
    ("targets/local/t1/groups/g/initiators", "!", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators", "!!a", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators", "a!b", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators", "a b", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators", "INI", errno.EEXIST),
    ("targets/local/t1/groups/g/initiators", "X*", errno.EEXIST),
    ("targets/local/t1/groups/g/initiators", "é", errno.EINVAL),
    ("targets/local/t1/groups/g/initiators/ini", "more", errno.EPERM),
    ("targets/local/t1/hosts", "h*", errno.EINVAL),
    ("targets/local/t1/hosts", "h?", errno.EINVAL),
    ("targets/local/t1/hosts", "!h", errno.EINVAL),
    ("targets/local/t1/hosts", "INI", errno.EEXIST),
    ("targets/local/t1/hosts", "h" * 224, errno.ENAMETOOLONG),
    ("", "more", errno.EPERM),
    ("alua", "dg", errno.EEXIST),
    ("alua", "d g", errno.EINVAL),
    ("alua", "d" * 65, errno.ENAMETOOLONG),
    ("alua/dg", "more", errno.EPERM),
    ("faults", "f", errno.EEXIST),
    ("faults", "-f", errno.EINVAL),
    ("faults", "f" * 65, errno.ENAMETOOLONG),
    ("faults/f", "more", errno.EPERM),
    ("alua/dg/devices", "n0", errno.EEXIST),
    ("alua/dg/devices", "-n", errno.EINVAL),
    ("alua/dg/devices/n0", "more", errno.EPERM),
    ("alua/dg/target_port_groups", "a", errno.EEXIST),
    ("alua/dg/target_port_groups", "a*", errno.EINVAL),
    ("alua/dg/target_port_groups/a", "more", errno.EPERM),
    ("alua/dg/target_port_groups/a/ports", "p" * 241, errno.ENAMETOOLONG),
    ("alua/dg/target_port_groups/a/ports", "p!", errno.EINVAL),
    ("alua/dg/target_port_groups/a/ports/far", "more", errno.EPERM),
]


def test_wrong_names() -> None:
    build()
    before, objects = snapshot(), tree.objects()
    for folder, name, expected in WRONG_NAMES:
        code = tree.errno_of((tree.ROOT / folder / name).mkdir)
        assert code == expected, f"mkdir {folder}/{name}: {errno.errorcode.get(code, code)}"
    assert snapshot() == before
    tree.wait_objects(objects)


@pytest.mark.parametrize("length", [64, 223])
def test_longest_names(length: int) -> None:
    name = "n" * length
    if length == 64:
        device = tree.nullio(name)
        target = Target("t1").make()
        target.group(name, name).luns.map(0, device)
        host = target.login(name)
        target.enable()
        assert (host.group(), host.view()) == (name, f"0 {name} rw\n")
    else:
        target = Target(name).make()
        target.group("g", name).luns.map(16383, tree.nullio("n0"))
        host = target.login(name)
        target.enable()
        assert host.view() == "16383 n0 rw\n"
        with Unit(host.sg(16383)) as unit:
            assert unit.good(scsi.inquiry(room=255, page=0x83), 255)


def test_wrong_links(tmp_path: Path) -> None:
    host = build()
    lun = host.target.luns.path / "7"
    lun.mkdir()
    device, off = Device("nullio", "n0").path, Device("nullio", "noff").path
    before = snapshot()
    wrong: list[tuple[Path, Path, set[int]]] = [
        (lun / "device", off, {errno.ENODEV}),
        (lun / "device", tmp_path, {errno.EPERM, errno.EINVAL}),
        (lun / "device", Path("/nowhere"), {errno.ENOENT}),
        (lun / "device", device / "id", {errno.EINVAL}),
        (lun / "device", device / "size", {errno.EPERM, errno.EINVAL, errno.ENOTDIR}),
        (lun / "device", host.target.path, {errno.EINVAL}),
        (lun / "device", lun, {errno.EINVAL}),
        (lun / "device", tree.ROOT / "devices/nullio", {errno.EINVAL}),
        (host.target.luns.path / "device", device, {errno.EPERM}),
        (host.target.path / "device", device, {errno.EPERM}),
        (tree.ROOT / "device", device, {errno.EPERM}),
        (host.target.path / "groups/g/luns/0/second", device, {errno.EEXIST, errno.EPERM}),
    ]
    for place, where, expected in wrong:
        code = tree.errno_of(partial(place.symlink_to, where))
        assert code in expected, f"{place} -> {where}: {errno.errorcode.get(code, code)}"
        assert snapshot() == before, f"{place} -> {where}"
    assert (
        tree.errno_of(lambda: (host.target.path / "groups/g/luns/0/device").symlink_to(device))
        == errno.EEXIST
    )
    (lun / "device").symlink_to(device)


@pytest.mark.parametrize("what", ["file", "rename", "chmod", "truncate"])
def test_other_file_operations(what: str) -> None:
    """configfs takes nothing but its verbs."""
    build()
    before = snapshot()
    actions: dict[str, Callable[[], object]] = {
        "file": lambda: (tree.ROOT / "targets/local/t1/new").write_text("x"),
        "rename": lambda: (tree.ROOT / "devices/nullio/n0").rename(tree.ROOT / "devices/nullio/n1"),
        "chmod": lambda: (tree.ROOT / "devices/nullio/n0/size").unlink(),
        "truncate": lambda: (tree.ROOT / "devices/nullio/n0/id").rmdir(),
    }
    assert tree.errno_of(actions[what]) in (errno.EPERM, errno.EACCES, errno.EXDEV)
    assert snapshot() == before


# --- everybody at once ---


def quietly(action: Callable[[], object]) -> None:
    """Do it, whatever comes back: another process may have been faster."""
    try:
        action()
    except OSError:
        return


def churn_devices(source: random.Random, folder: Path) -> None:
    """Make, enable, park, activate, disable and remove devices."""
    handler = source.choice(("nullio", "fileio"))
    device = Device(handler, f"d{source.randrange(4)}")
    steps: list[Callable[[], object]] = [
        device.path.mkdir,
        lambda: device.set("size", 1 << 20),
        lambda: device.set("path", folder / "churn"),
        lambda: device.enable(True),
        lambda: device.activate(source.random() < 0.5),
        lambda: device.enable(source.random() < 0.7),
        device.remove,
    ]
    for _ in range(4):
        quietly(source.choice(steps))


def churn_access(source: random.Random, folder: Path) -> None:
    """Make, link, change and remove LUNs and groups."""
    target = Target(f"t{source.randrange(2)}")
    group = target.path / "groups" / f"g{source.randrange(3)}"
    lun = source.choice((target.path, group)) / "luns" / str(source.randrange(4))
    device = Device(source.choice(("nullio", "fileio")), f"d{source.randrange(4)}")
    pattern = group / "initiators" / source.choice(("a", "b", "*", "!a", "?"))
    steps: list[Callable[[], object]] = [
        group.mkdir,
        group.rmdir,
        lun.mkdir,
        lun.rmdir,
        pattern.mkdir,
        pattern.rmdir,
        lambda: (lun / "device").symlink_to(device.path),
        (lun / "device").unlink,
        lambda: tree.write(lun / "read_only", source.randrange(2)),
        lambda: tree.write(group / "priority", source.randrange(5)),
    ]
    for _ in range(6):
        quietly(source.choice(steps))


def churn_targets(source: random.Random, folder: Path) -> None:
    """Make, enable, disable and remove targets and hosts."""
    target = Target(f"t{source.randrange(2)}")
    host = target.path / "hosts" / source.choice("ab")
    steps: list[Callable[[], object]] = [
        target.path.mkdir,
        target.path.rmdir,
        lambda: target.enable(True),
        lambda: target.enable(True),
        lambda: target.enable(False),
        host.mkdir,
        host.mkdir,
        host.rmdir,
        lambda: tree.write(target.path / "auto_rescan", source.randrange(2)),
    ]
    for _ in range(3):
        quietly(source.choice(steps))


def churn_alua(source: random.Random, folder: Path) -> None:
    """Make, link, change and remove device groups and target port groups."""
    group = tree.ROOT / "alua" / f"g{source.randrange(2)}"
    entry = group / "devices" / source.choice("ab")
    tpg = group / "target_port_groups" / source.choice("ab")
    port = tpg / "ports" / source.choice("ab")
    device = Device(source.choice(("nullio", "fileio")), f"d{source.randrange(4)}")
    steps: list[Callable[[], object]] = [
        group.mkdir,
        group.rmdir,
        entry.mkdir,
        entry.rmdir,
        tpg.mkdir,
        tpg.rmdir,
        port.mkdir,
        port.rmdir,
        lambda: (entry / "device").symlink_to(device.path),
        (entry / "device").unlink,
        lambda: (port / "target").symlink_to(Target(f"t{source.randrange(2)}").path),
        (port / "target").unlink,
        lambda: tree.write(port / "rel_tgt_id", source.randrange(9)),
        lambda: tree.write(tpg / "state", source.choice(list(alua.STATES))),
        lambda: tree.write(tpg / "group_id", source.randrange(4)),
        lambda: tree.write(group / "explicit", source.randrange(2)),
    ]
    for _ in range(8):
        quietly(source.choice(steps))


def churn_commits(source: random.Random, folder: Path) -> None:
    """Stage and commit, with right and wrong generations and injected failures; read everything."""
    steps: list[Callable[[], object]] = [
        lambda: tree.set_autocommit(False),
        lambda: tree.set_autocommit(True),
        tree.commit,
        tree.commit,
        lambda: tree.commit(1),
        lambda: tree.fail_commit(source.randrange(6)),
        lambda: [path.read_text() for path in tree.CLASS.glob("session.*/luns")],
        lambda: [path.read_text() for path in tree.CLASS.glob("device.*/*") if path.is_file()],
        snapshot,
    ]
    for _ in range(3):
        quietly(source.choice(steps))


def churn_io(source: random.Random, folder: Path) -> None:
    """Send commands to whatever SCSI device is there."""
    nodes = [node for node in Path("/dev").glob("sg*") if node.is_char_device()]
    for node in nodes[:4]:
        quietly(partial(probe, node, source))


def probe(node: Path, source: random.Random) -> None:
    """A few commands to one node."""
    with Unit(node) as unit:
        for _ in range(10):
            unit.command(scsi.report_luns(256), read=256)
            unit.command(scsi.read10(source.randrange(100), 8), read=4096)
            unit.command(scsi.write10(source.randrange(100), 8), write=bytes(4096))
            unit.command(alua.report_groups(), read=1024)
            unit.command(alua.set_groups(8), write=alua.set_list((source.randrange(4), source.randrange(4))))


def child(work: Callable[[random.Random, Path], None], seed: int, folder: Path, seconds: float) -> int:
    """Churn in a process of its own; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code, source, end = 1, random.Random(seed), time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            work(source, folder)
        code = 0
    except BaseException:  # It must not go on as a second pytest, and must not die without a word.
        traceback.print_exc()
    finally:
        os._exit(code)


def test_everybody_at_once(tmp_path: Path) -> None:
    """Processes change everything while sessions do I/O; a bystander on its own target sees no error."""
    (tmp_path / "churn").write_bytes(bytes(1 << 20))
    calm = Target("calm").make()
    calm.luns.map(0, tree.nullio("calm"))
    host = calm.login("calm")
    calm.enable()
    access = (churn_access, churn_access, churn_alua)
    works = (churn_devices, *access, churn_targets, churn_commits, churn_io)
    with Fio(tmp_path, host.disk(0), runtime=int(RACE_SECONDS + 120 * tree.SLOW)) as load:
        pids = [child(work, seed, tmp_path, RACE_SECONDS) for seed, work in enumerate(works)]
        ends = [wait_child(pid, HUNG) for pid in pids]
        load.stop()
    assert ends == [0] * len(pids), "a process died or hung"
    assert host.view() == "0 calm rw\n"


def wait_child(pid: int, seconds: float) -> int:
    """Exit status of a child; one that hangs is killed and counts as -1."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return -1


def test_link_to_what_is_being_removed(tmp_path: Path) -> None:
    """Links find their device or do not, while it comes and goes: configfs does not keep it for them."""
    device = Device("nullio", "fleeting")
    luns = Target("t").make().luns.path

    def come_and_go(source: random.Random, folder: Path) -> None:
        quietly(device.make)
        quietly(device.enable)
        quietly(device.remove)

    def link(source: random.Random, folder: Path) -> None:
        lun = luns / str(source.randrange(100))
        quietly(lun.mkdir)
        quietly(lambda: (lun / "device").symlink_to(device.path))
        quietly((lun / "device").unlink)

    pids = [child(work, seed, tmp_path, RACE_SECONDS) for seed, work in enumerate((come_and_go, link, link))]
    assert [wait_child(pid, HUNG) for pid in pids] == [0, 0, 0], "a process died or hung"
