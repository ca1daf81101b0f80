# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell on the real kernel: what a new user would type, and what the initiators then see."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.shell.main import Failure, Shell
from pyscstadmin.shell.session import Session

A, B = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:b"
LIMIT = 20.0


@pytest.fixture
def admin() -> Iterator[Admin]:
    with Admin() as made:
        made.clear()
        yield made
        made.clear()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def shell(admin: Admin, said: list[str]) -> Shell:
    return Shell(Session(admin, said.append))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4 << 20))
    return path


def do(shell: Shell, *lines: str) -> None:
    for line in lines:
        assert shell.execute(line) is None, line


def read_only(admin: Admin, initiator: str) -> bool:
    """Whether the initiator's kernel took LUN 0 for write-protected, as soon as it has the disk."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        # It logs in shortly after it was made.
        host = admin.tree.read(f"targets/local/t1/hosts/{initiator}/host") or "none"
        for found in Path("/sys/class/scsi_disk").glob(f"{host}:0:*:0/device/block/*/ro"):
            return found.read_text().strip() == "1"
        time.sleep(0.02)
    pytest.fail(f"{initiator} got no disk in {LIMIT:g} s")


def test_one_disk_read_only_for_one_host_and_read_write_for_another(
    shell: Shell, admin: Admin, image: Path, tmp_path: Path, said: list[str]
) -> None:
    lines = [
        f"/devices/fileio create disk1 {image}",
        "/targets/local create t1",
        "cd /targets/local/t1",
        f"groups create readers {A}",
        f"groups create writers {B}",
        "map disk1 group=readers read_only=yes",
        "map disk1 group=writers",
        f"hosts create {A} {B}",
        f"save {tmp_path}/saved.json",
    ]
    assert len(lines) < 10
    do(shell, *lines)
    assert (read_only(admin, A), read_only(admin, B)) == (True, False)
    said.clear()
    do(shell, "ls /")
    text = "\n".join(said)
    assert f"{A} on local/t1, group readers: 0=disk1(ro)" in text
    assert f"{B} on local/t1, group writers: 0=disk1" in text
    before = admin.config()
    do(shell, "clear confirm=yes", f"restore {tmp_path}/saved.json")
    assert admin.config() == before
    assert (read_only(admin, A), read_only(admin, B)) == (True, False)


def test_parked_device_and_refusals(shell: Shell, admin: Admin, image: Path, said: list[str]) -> None:
    do(shell, f"/devices/fileio create late {image}.late", "/targets/local create t1", "map late target=t1")
    assert said[0] == f"late: parked, waits for {image}.late (ENOENT)"
    assert shell.session.exit_code == 3
    failure = shell.execute("/devices/fileio/late delete")
    assert isinstance(failure, Failure)
    assert "late is LUN 0 of local/t1" in failure.message
    assert "unmap" in failure.message
    failure = shell.execute("/devices/fileio/late activate")
    assert isinstance(failure, Failure)
    assert "ENOENT" in failure.message
    image.rename(f"{image}.late")
    do(shell, "/devices/fileio/late activate", "unmap late target=t1", "/devices/fileio/late delete")


def test_completion_knows_disks_and_initiators(shell: Shell, admin: Admin, image: Path) -> None:
    do(shell, f"/devices/fileio create disk1 {image}", "/targets/local create t1")
    do(shell, f"/targets/local/t1/hosts create {A}", f"/targets/local/t1/groups create g {A}")
    assert "/dev/vda " in shell.complete("/devices/blockio create x /dev/vd")
    assert shell.complete("explain ") == ["file=", f"{A} ", "target="]
    assert shell.complete("map disk1 target=t1 group=") == ["group=g "]


def test_script(admin: Admin, image: Path) -> None:
    text = f"/devices/fileio create disk1 {image}\n/targets/local create t1\nmap disk1 target=t1\nbogus\n"
    command = [sys.executable, "-m", "pyscstadmin", "--json", "shell"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout[done.stdout.index("{") :])["line"] == 4
    assert [lun.device for lun in admin.config().targets[0].luns] == ["disk1"]
