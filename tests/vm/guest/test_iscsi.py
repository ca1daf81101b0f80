# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job over iSCSI, with Linux's initiator: who sees what, real files, and what happens meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi.responder import Responder
from tests.vm.guest import iscsi, openiscsi, scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.openiscsi import Initiator, Login
from tests.vm.guest.scsi import Unit
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
PATIENCE = 60 * tree.SLOW
MIB = 16
LOAD: dict[str, Any] = {"rw": "randwrite", "verify": "crc32c", "size": "4m", "runtime": 600}
DIGESTS = {f"node.conn[0].iscsi.{name}Digest": "CRC32C" for name in ("Header", "Data")}
Two = tuple[Initiator, Initiator]
In = tuple[Login, Login, Any]


@contextmanager
def by_responder() -> Iterator[Responder]:
    """Nobody but the test does."""
    with Responder([iscsi.NAME]) as responder:
        yield responder


@pytest.fixture(params=["responder", "daemon"])
def lets_in(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Who does logins."""
    return by_daemon if request.param == "daemon" else by_responder


@pytest.fixture(scope="module")
def initiators() -> Iterator[Two]:
    """A and B."""
    with openiscsi.running():
        yield Initiator("a", "iqn.2026-11.test:a").make(), Initiator("b", "iqn.2026-11.test:b").make()


@dataclass(frozen=True, slots=True)
class Served:
    """The example: A has Da and Db, B has Db read-only and Dc."""

    target: iscsi.Target
    devices: dict[str, tree.Device]
    first: tree.Group
    second: tree.Group


@pytest.fixture
def served(clean_tree: None, make_file: MakeFile, initiators: Two) -> Iterator[Served]:
    """It, enabled, and reachable when somebody listens."""
    devices = {name: tree.fileio(name, make_file(name, MIB)) for name in ("da", "db", "dc")}
    target = iscsi.Target(iscsi.NAME)
    target.make()
    groups = [target.group(one.iface, one.iqn) for one in initiators]
    groups[0].luns.map(0, devices["da"])
    groups[0].luns.map(1, devices["db"])
    groups[1].luns.map(0, devices["db"], read_only=True)
    groups[1].luns.map(1, devices["dc"])
    portal(target)
    target.enable()
    yield Served(target, devices, *groups)
    target.enable(False)
    iscsi.wait_sessions(0)


@pytest.fixture
def logged_in(served: Served, initiators: Two, lets_in: Callable[[], Any]) -> Iterator[In]:
    """Both, and who let them in."""
    with lets_in() as host:
        logins = [one.login(iscsi.NAME) for one in initiators]
        yield logins[0], logins[1], host
        for one in logins:
            if one.sid is not None:
                one.logout()


def serial(disk: Path) -> str:
    """By which a device is known."""
    return Path("/sys/block", disk.name, "device/vpd_pg80").read_bytes()[4:].decode().strip()


def test_example(
    served: Served,
    initiators: Two,
    logged_in: In,
    tmp_path: Path,
) -> None:
    """Who sees what; real files; what is read-only."""
    a, b, _ = logged_in
    for one in initiators:
        assert one.discover() == [("127.0.0.1:3260,1", iscsi.NAME)]
    a.wait_luns(0, 1)
    b.wait_luns(0, 1)
    serials = {name: device.get("id/serial") for name, device in served.devices.items()}
    assert [serial(a.disk(lun)) for lun in (0, 1)] == [serials["da"], serials["db"]]
    assert [serial(b.disk(lun)) for lun in (0, 1)] == [serials["db"], serials["dc"]]
    read_only = {
        disk.name: Path("/sys/block", disk.name, "ro").read_text().strip() for disk in map(b.disk, (0, 1))
    }
    assert list(read_only.values()) == ["1", "0"]
    files(a.disk(0), tmp_path)
    text = os.urandom(1 << 20)
    file = os.open(a.disk(1), os.O_WRONLY | os.O_SYNC)
    os.write(file, text)
    os.close(file)
    assert b.disk(0).read_bytes()[: len(text)] == text
    assert tree.errno_of(lambda: os.close(os.open(b.disk(0), os.O_WRONLY))) in (errno.EROFS, errno.EACCES)
    with Unit(b.sg(0)) as unit:
        unit.attentions()
        assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == (0x7, 0x27, 0)
    assert b.disk(0).read_bytes()[: len(text)] == text


def files(disk: Path, folder: Path) -> None:
    """A file system with some, which are there after it was away."""
    mount = folder / "mount"
    mount.mkdir()
    command("mke2fs", "-q", "-F", "-t", "ext4", str(disk))
    command("mount", str(disk), str(mount))
    wanted = {f"file{number}": os.urandom(100_000 * number) for number in range(1, 6)}
    for name, data in wanted.items():
        (mount / name).write_bytes(data)
    command("umount", str(mount))
    command("mount", str(disk), str(mount))
    assert {name: (mount / name).read_bytes() for name in wanted} == wanted
    command("umount", str(mount))


@pytest.mark.parametrize("settings", [{}, DIGESTS], ids=["plain", "digests"])
def test_load(
    served: Served,
    initiators: Two,
    settings: dict[str, object],
    tmp_path: Path,
) -> None:
    """Verified, from both at once."""
    with by_responder():
        logins = [one.login(iscsi.NAME, settings=settings) for one in initiators]
        assert {one.get("header_digest") for one in logins} == {str(int(bool(settings)))}
        fixed = {**LOAD, "time_based": 0, "bsrange": "512-128k"}
        with (
            Fio(tmp_path, logins[0].disk(0), "a", **fixed) as a,
            Fio(tmp_path, logins[1].disk(1), "b", **fixed) as b,
        ):
            a.finish()
            b.finish()
        for one in logins:
            one.logout()


def test_lun_comes(served: Served, logged_in: In) -> None:
    """An initiator finds it though nobody types a command there; the other hears of nothing."""
    a, b, _ = logged_in
    a.disk(0)
    b.disk(1)
    served.first.luns.map(2, served.devices["dc"])
    assert serial(a.disk(2, PATIENCE)) == served.devices["dc"].get("id/serial")
    assert set(b.devices()) == {0, 1}


@pytest.mark.parametrize("how", ["drop", "disable"])
def test_session_is_cut(served: Served, logged_in: In, tmp_path: Path, how: str) -> None:
    """Under load: the initiator is back by itself, and nothing is lost."""
    a, _, _ = logged_in
    with Fio(tmp_path, a.disk(0), **LOAD) as load:
        for _ in range(3):
            (folder,) = [folder for folder in iscsi.sessions() if "test:a" in tree.read(folder / "initiator")]
            if how == "drop":
                iscsi.drop(int(iscsi.value(folder, "tsih")))
            else:
                served.target.enable(False)
                iscsi.wait_sessions(0)
                served.target.enable()
            tree.wait_for("the old session's end", lambda folder=folder: not folder.exists(), PATIENCE)  # type: ignore[misc]
            iscsi.wait_sessions(2)
            tree.wait_for("login", lambda: a.state == "LOGGED_IN", PATIENCE)
        load.stop()


def test_daemon_is_killed(served: Served, initiators: Two, tmp_path: Path) -> None:
    """No session notices; who logs in while it is away, or anew after it, is let in when it is back."""
    with by_daemon() as daemon:
        a = initiators[0].login(iscsi.NAME)
        with Fio(tmp_path, a.disk(0), **LOAD) as load:
            before = iscsi.sessions()
            daemon.kill()
            with by_daemon():
                b = initiators[1].login(iscsi.NAME)
                b.disk(1)
                assert set(before) < set(iscsi.sessions())
                load.stop()
                b.logout()
                a.logout()
