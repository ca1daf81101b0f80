# SPDX-License-Identifier: GPL-2.0-or-later
"""mkdir and rmdir against rmmod and insmod of the module whose directory it is.

``SCST_RACE_SECONDS``: how long each race takes.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW, Child, children

SCST_MODULES = ("scst",)

pytestmark = pytest.mark.usefixtures("clean_tree")

SECONDS = float(os.environ.get("SCST_RACE_SECONDS") or 2 + 2 * SLOW)
O_NONBLOCK = 0o4000
SYS_DELETE_MODULE, SYS_FINIT_MODULE = 176, 313
# What a mkdir may meet: no directory, one that is going, one that is being made.
MET = {0, errno.ENOENT, errno.ENODEV, errno.EEXIST, errno.EBUSY, errno.EINVAL, errno.ENOTEMPTY, errno.EPERM}
# The other racer's mkdir has the lock of the parent: `enabled` does not wait then (docs/configfs.md).
MET |= {errno.EINPROGRESS}
LIBC = ctypes.CDLL(None, use_errno=True)


def delete_module(name: str) -> int:
    """The errno, 0: unloaded."""
    failed = LIBC.syscall(SYS_DELETE_MODULE, name.encode(), O_NONBLOCK)
    return ctypes.get_errno() if failed else 0


def load_module(name: str) -> int:
    """The errno, 0: loaded. Nothing else is loaded."""
    path = Path("/lib/modules", os.uname().release, "updates", f"{name}.ko")
    file = os.open(path, os.O_RDONLY)
    try:
        return ctypes.get_errno() if LIBC.syscall(SYS_FINIT_MODULE, file, b"", 0) else 0
    finally:
        os.close(file)


def make_and_remove(make: Callable[[], None], remove: Callable[[], None], end: float) -> None:
    """Again and again. Raises OSError for an errno that says something else than "it is not there"."""
    while time.monotonic() < end:
        code = tree.errno_of(make)
        if code not in MET:
            raise OSError(code, "mkdir")
        with suppress(OSError):
            remove()
        # Now and then nobody has anything in it, and the module can go.
        time.sleep(random.choice((0, 0, 0.05 * SLOW)))


def folder_pair(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Making a device or a target, and removing it."""
    path = tree.ROOT / name
    return path.mkdir, path.rmdir


def host_pair(number: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Making a target with an initiator that logs in, and removing both."""
    path = tree.ROOT / "targets/local" / f"r{number}"

    def make() -> None:
        path.mkdir()
        tree.write(path / "enabled", 1)
        (path / "hosts/h").mkdir()

    def remove() -> None:
        for folder in (path / "hosts/h", path):
            with suppress(OSError):
                folder.rmdir()

    return make, remove


@contextmanager
def racers(pairs: list[tuple[Callable[[], None], Callable[[], None]]], end: float) -> Iterator[list[Child]]:
    """A process for each pair."""
    with children() as start:
        yield [
            start(f"racer {number}", partial(make_and_remove, make, remove, end))
            for number, (make, remove) in enumerate(pairs)
        ]


@pytest.mark.parametrize("which", ["scst_nullio", "scst_local"])
def test_unload_race(which: str) -> None:
    """Directories come and go while their module does: errors that say so, no crash, nothing left."""
    guest_plugin.command("modprobe", which)
    end = time.monotonic() + SECONDS
    pairs = [host_pair(0), folder_pair("targets/local/r1")]
    if which != "scst_local":
        pairs = [folder_pair(f"devices/nullio/r{number}") for number in (0, 1)]
    seen: collections.Counter[str] = collections.Counter()
    with racers(pairs, end) as running:
        while time.monotonic() < end:
            code = delete_module(which)
            seen[f"rmmod {errno.errorcode.get(code, code)}"] += 1
            if code == 0:
                code = load_module(which)
                seen[f"insmod {errno.errorcode.get(code, code)}"] += 1
        for racer in running:
            assert racer.wait(20 * SLOW) == "done"
    print(dict(seen))
    assert seen["insmod 0"] > 0, f"it was never unloaded: {dict(seen)}"
    assert set(seen) <= {"rmmod 0", "rmmod EAGAIN", "rmmod EBUSY", "rmmod EWOULDBLOCK", "insmod 0"}, dict(
        seen
    )
    for _ in range(int(100 * SLOW)):
        guest_plugin.wipe()
        if not guest_plugin.configured() and not any(tree.objects().values()):
            break
        time.sleep(0.05)
    assert not any(tree.objects().values())
