# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the kernel's tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi.adopter import Adopter
from tests.iscsi.initiator import Session
from tests.vm import guest_plugin
from tests.vm.guest import iscsi, tree
from tests.vm.guest import script as scripted
from tests.vm.guest.full_phase import Make


def wipe() -> None:
    """Nothing configured, nothing staged."""
    tree.fail_commit(0)
    tree.set_autocommit(True)
    guest_plugin.wipe()
    assert not guest_plugin.configured()


@pytest.fixture
def clean_tree() -> Iterator[None]:
    """The test may leave what it likes in configfs; a test that counts objects sees only its own."""
    leaked = guest_plugin.leaked_counters()
    assert not leaked, f"an earlier test left objects: {leaked}"
    yield
    wipe()
    leaked = guest_plugin.leaked_counters()
    assert not leaked, f"objects left: {leaked}"


@pytest.fixture
def script(clean_tree: None) -> Iterator[scripted.Script]:
    """The scripted target driver; afterwards everything has ended, and the core has kept its promises."""
    before = scripted.counters()
    with scripted.Script() as opened:
        yield opened
    scripted.check_counters(before)


@pytest.fixture(scope="module")
def file_tree() -> Iterator[None]:
    """For files whose tests share one configuration."""
    yield
    wipe()


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in a file system that knows direct I/O; 400 MiB in memory."""
    folder = tmp_path_factory.mktemp("ext4")
    image, mount = folder / "image", folder / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    guest_plugin.command("modprobe", "loop")
    guest_plugin.command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(image))
    guest_plugin.command("mount", "-t", "ext4", "-o", "loop", str(image), str(mount))
    yield mount
    wipe()
    guest_plugin.leaked_counters()
    guest_plugin.command("umount", str(mount))
    image.unlink()


@pytest.fixture
def make_file(ext4: Path) -> Iterator[Callable[[str, int], Path]]:
    """Make files with reproducible random content; arguments: name, MiB. They go with the test."""
    made = []

    def make(name: str, mebibytes: int) -> Path:
        path = ext4 / name
        path.write_bytes(random.Random(name).randbytes(mebibytes << 20))
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def iscsi_target(tmp_path_factory: pytest.TempPathFactory, file_tree: None) -> Iterator[iscsi.Target]:
    """For files whose tests share one of iSCSI."""
    with iscsi.served(tmp_path_factory.mktemp("iscsi")) as made:
        yield made


@pytest.fixture
def adopter(iscsi_target: iscsi.Target) -> Iterator[Adopter]:
    """Who hands connections over to it. Its sessions go with the test, and no fault stays."""
    with iscsi.adopter(iscsi_target.name) as made:
        try:
            yield made
        finally:
            for folder in sorted((tree.ROOT / "faults").iterdir()):
                folder.rmdir()


@pytest.fixture
def login(adopter: Adopter) -> Make:
    """A session that has heard of all it has to hear of; arguments: the terms."""

    def make(**terms: Any) -> Session:
        session = adopter.login(**terms)
        for lun in (0, 1):
            iscsi.hear(session, lun)
        return session

    return make
