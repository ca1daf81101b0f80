# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI sessions from sysfs, and their end by the misc device, which is a file here."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import struct
from itertools import count
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.errors import Conflict, InvalidInput, OperationError
from pyscstadmin.kernel import logins
from pyscstadmin.kernel.logins import Drained, IscsiSession, ask, drain, drop, read_iscsi_sessions
from pyscstadmin.kernel.sessions import COUNTERS

IQN, INITIATOR = "iqn.2026-11.com.example:disk", "iqn.2026-11.com.example:a"
HEADER = Path(__file__).resolve().parents[2] / "kmod/include/uapi/scst_iscsi.h"
Told = list[tuple[int, int, int, int]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sessions: one of local, two of iscsi."""
    for number, (target, portal) in enumerate((("local/t", ""), (f"iscsi/{IQN}", "p"), ("iscsi/other", "q"))):
        folder = tmp_path / f"session.{number}"
        folder.mkdir()
        texts = {
            "target": target,
            "initiator": INITIATOR,
            "group": "",
            "luns": "",
            **dict.fromkeys(COUNTERS, "0"),
        }
        for name, text in texts.items():
            (folder / name).write_text(f"{text}\n")
        if portal:
            (folder / "iscsi").mkdir()
            for name, text in {"tsih": f"0x{number:04x}", "portal": portal, "peer": "10.0.0.9:4711"}.items():
                (folder / "iscsi" / name).write_text(f"{text}\n")
    return tmp_path


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the device was told: (size, how, tsih, seconds)."""
    device, found = tmp_path / "scst-iscsi", []
    device.write_text("")

    def ioctl(file: int, number: int, data: bytes) -> None:
        assert number == logins.SCST_ISCSI_DROP
        what = struct.unpack("=IIHH", data)
        if what[2] == 99:
            raise OSError(errno.ENOENT, "")
        found.append(what)

    monkeypatch.setattr(logins, "DEVICE", str(device))
    monkeypatch.setattr("pyscstadmin.kernel.logins.fcntl.ioctl", ioctl)
    monkeypatch.setattr(drop, "__defaults__", (None, str(device)))
    return found


def test_the_number_is_that_of_the_header() -> None:
    """Field by field, as the compiler lays the structure out."""
    text = HEADER.read_text()
    found = re.search(r"struct scst_iscsi_drop \{(.*?)\};", text, re.S)
    assert found is not None
    assert re.findall(r"(__u\d+) (\w+);", found[1]) == [
        ("__u32", "size"),
        ("__u32", "how"),
        ("__u16", "tsih"),
        ("__u16", "seconds"),
    ]
    assert re.search(r"SCST_ISCSI_DROP\s+_IOW\('I', 0x43, struct scst_iscsi_drop\)", text)
    assert logins.SCST_ISCSI_DROP == 0x400C4943


def test_sessions(root: Path) -> None:
    found = read_iscsi_sessions(str(root))
    assert [(one.name, one.target, one.tsih) for one in found] == [
        ("session.1", f"iscsi/{IQN}", 1),
        ("session.2", "iscsi/other", 2),
    ]
    assert found[0].values["peer"] == "10.0.0.9:4711"
    (root / "session.1/iscsi/tsih").unlink()  # it is going
    assert [one.name for one in read_iscsi_sessions(str(root))] == ["session.2"]


def test_drop(told: Told) -> None:
    assert drop(7)
    assert drop(8, 30)
    assert told == [(12, 0, 7, 0), (12, 1, 8, 30)]
    assert not drop(99)
    with pytest.raises(OperationError) as failed:
        drop(7, None, "/nonexistent/scst-iscsi")
    assert failed.value.errno == errno.ENOENT


def run(
    seconds: int, left_after: dict[str, float], stop: float = 1e9
) -> tuple[list[str], list[str], list[tuple[int, int | None]]]:
    """Drain three sessions, of which some log out after a while; no time passes but by sleeping."""
    now, ended = [0.0], []
    sessions = [IscsiSession(f"session.{n}", "iscsi/t", INITIATOR, {"tsih": str(n)}) for n in (1, 2, 3)]

    def there() -> list[IscsiSession]:
        return [one for one in sessions if now[0] < left_after.get(one.name, 1e9)]

    def end(tsih: int, seconds: int | None) -> bool:
        ended.append((tsih, seconds))
        return any(one.tsih == tsih for one in there())

    def sleep(step: float) -> None:
        now[0] += step

    ask(sessions, seconds, end)
    found = drain(sessions, seconds, there, lambda: now[0] >= stop, end, lambda: now[0], sleep)
    assert now[0] <= min(stop, seconds) + 0.2
    assert [one.name for one in sessions if one in found.asked] == [
        one.name for one in sessions if one not in (*found.left, *found.dropped)
    ]
    return [one.name for one in found.left], [one.name for one in found.dropped], ended


def test_drain() -> None:
    """All are asked at once; who is there at the end is dropped. It ends when the last one is gone."""
    asked: list[tuple[int, int | None]] = [(1, 15), (2, 15), (3, 15)]
    all_left = {"session.1": 0.0, "session.2": 3.0, "session.3": 5.0}
    assert run(10, all_left) == (["session.1", "session.2", "session.3"], [], asked)
    left, dropped, ended = run(10, {"session.1": 0.5, "session.2": 20.0})
    assert (left, dropped) == (["session.1"], ["session.2", "session.3"])
    assert ended == [*asked, (2, None), (3, None)]
    assert run(0, {})[1] == ["session.1", "session.2", "session.3"]
    assert run(10, {"session.1": 0.5}, stop=2) == (["session.1"], [], asked)


def test_a_drain_that_is_interrupted(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who was asked cannot be unasked: that nothing changed is not said."""
    found, looks = read_iscsi_sessions(str(root)), count()

    def sessions(self: Admin, target: str = "", portal: str = "") -> list[IscsiSession]:
        if next(looks):
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(Admin, "iscsi_sessions", sessions)
    assert main(["--sim", str(root / "sim"), "--json", "drain", "--yes"]) == 3
    assert json.loads(capsys.readouterr().out)["asked"] == [one.name for one in found]
    assert [how for _, how, *_ in told] == [1] * len(found)


def test_admin(root: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, target, portal."""
    admin = Admin(class_root=str(root))
    assert [one.name for one in admin.iscsi_sessions(portal="q")] == ["session.2"]
    assert [one.name for one in admin.iscsi_sessions(target=f"iscsi/{IQN}")] == ["session.1"]
    admin.drop_session("session.2")
    assert told == [(12, 0, 2, 0)]
    for name in ("session.0", "session.9"):
        with pytest.raises(Conflict, match="no iSCSI session"):
            admin.drop_session(name)
    left, dropped, _ = admin.drain(portal="p", seconds=0)
    assert ([one.name for one in left], [one.name for one in dropped]) == ([], ["session.1"])
    with pytest.raises(InvalidInput):
        admin.drain(seconds=-1)


def test_verbs(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 3 if some had to be dropped; a script has to agree."""
    found = read_iscsi_sessions(str(root))
    sim = ["--sim", str(tmp_path / "sim")]
    monkeypatch.setattr(Admin, "iscsi_sessions", lambda self, target="", portal="": found)
    monkeypatch.setattr(
        Admin, "drain", lambda self, target, portal, seconds: Drained(found[:1], found[1:], [])
    )
    assert main([*sim, "drain", "--timeout", "5", "--yes"]) == 3
    said = capsys.readouterr().out
    assert f"session.2 {INITIATOR} on iscsi/other: dropped" in said
    assert "1 logged out, 1 dropped" in said
    monkeypatch.setattr(Admin, "drain", lambda self, target, portal, seconds: Drained(found, [], []))
    assert main([*sim, "drain", "--yes"]) == 0
    assert main([*sim, "sessions", "--iscsi"]) == 0
    assert "peer 10.0.0.9:4711" in capsys.readouterr().out
    dropped: list[str] = []
    monkeypatch.setattr(Admin, "drop_session", lambda self, name: dropped.append(name))
    assert main([*sim, "--json", "drop", "session.1", "--yes"]) == 0
    assert dropped == ["session.1"]
