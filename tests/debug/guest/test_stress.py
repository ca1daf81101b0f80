# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on the configuration at random, from several processes, on the same few objects.

What may come of each is done, or a word that says why not. ``SCST_STRESS_SECONDS``: how long; ``SCST_SEED``:
the order, which a failure names.
"""

from __future__ import annotations

import collections
import errno
import json
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW, children, impatient_kernel
from tests.vm.guest.test_unload_race import delete_module
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

SECONDS = float(os.environ.get("SCST_STRESS_SECONDS", "60"))
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PROCESSES = 4
# Linux asks a disk that becomes ready again and again for (retries + 1) * timeout = 180 s, with a lock held
# that a rescan waits for: a device may be parked for all the time. What stands still for longer hangs.
PATIENCE = 300
# Others are at the same objects: not there, already there, in use, changed meanwhile, not allowed now.
WORDS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EBUSY,
    errno.ENOTEMPTY,
    errno.EINVAL,
    errno.ENODATA,
    errno.ESTALE,
    errno.EACCES,
    errno.EPERM,
    errno.ECANCELED,
    errno.EINPROGRESS,
    errno.ENOTBLK,
    errno.ENODEV,
    errno.ENXIO,
    errno.ERANGE,
    errno.ENOMEM,  # a commit that fail_commit lets fail
}
DEVICES = [("nullio", f"n{number}") for number in range(3)]
DEVICES += [(handler, f"{handler}{number}") for handler in ("fileio", "blockio") for number in range(2)]
TARGETS = ("t0", "iqn.2026-11.com.example:t1")
GROUPS = ("g0", "a-group-with-quite-a-long-name")
PATTERNS = ("i0", "i*", "!i1", "i?", "iqn.2026-11.com.example:i*")
INITIATORS = ("i0", "i1", "iqn.2026-11.com.example:i2")
LUNS = ("0", "1", "2", "300")
MODULES = ("scst_nullio", "scst_fileio", "scst_blockio")

Operation = Callable[[], object]


class Chooser:
    """Chooses operations; *paths*: what the devices of each handler may be given as backing."""

    def __init__(self, seed: int, paths: dict[str, list[str]]) -> None:
        self._random = random.Random(seed)
        self._paths = paths

    def next(self) -> Operation:
        """The next operation."""
        choose = self._random.choice
        handler, name = choose(DEVICES)
        target = tree.ROOT / "targets/local" / choose(TARGETS)
        device = tree.Device(handler, name)
        kinds = (
            partial(self._device, device),
            partial(self._target, target),
            partial(self._access, target),
            partial(self._access, target),
            self._publish,
            lambda: partial(look, choose((device.path, target, tree.CLASS))),
        )
        return choose(kinds)()

    def _device(self, device: tree.Device) -> Operation:
        choose = self._random.choice
        return choose(
            (
                partial(self._set_up, device),
                partial(self._set_up, device),
                device.remove,
                partial(device.set, "enabled", choose((0, 1))),
                partial(device.set, "active", choose((0, 1))),
                partial(device.set, "block_size", choose((0, 512, 4096))),
                partial(device.set, "read_only", choose((0, 1))),
                partial(device.set, "size", choose((0, 1 << 20, 1 << 24))),
                partial(device.set, "id/serial", choose(("one", "another"))),
            )
        )

    def _set_up(self, device: tree.Device) -> None:
        device.path.mkdir()
        if device.handler == "nullio":
            device.set("size", 1 << self._random.choice((20, 24, 30)))
        else:
            device.set("path", self._random.choice(self._paths[device.handler]))
        device.enable()

    def _target(self, target: Path) -> Operation:
        choose = self._random.choice
        host = target / "hosts" / choose(INITIATORS)
        return choose(
            (
                target.mkdir,
                target.rmdir,
                partial(tree.write, target / "enabled", 1),
                partial(tree.write, target / "enabled", choose((0, 1))),
                partial(tree.write, target / "rel_tgt_id", choose((1, 2, 3))),
                partial(tree.write, target / "queue_depth", choose((0, 1, 64))),
                partial(tree.write, target / "auto_rescan", choose((0, 1, 1))),
                host.mkdir,
                host.mkdir,
                host.rmdir,
            )
        )

    def _access(self, target: Path) -> Operation:
        choose = self._random.choice
        group = target / "groups" / choose(GROUPS)
        lun = choose((target, group)) / "luns" / choose(LUNS)
        pattern = group / "initiators" / choose(PATTERNS)
        handler, name = choose(DEVICES)
        return choose(
            (
                group.mkdir,
                group.rmdir,
                pattern.mkdir,
                pattern.rmdir,
                partial(tree.write, group / "priority", choose((0, 1, 2))),
                partial(map_lun, lun, tree.ROOT / "devices" / handler / name),
                partial(map_lun, lun, tree.ROOT / "devices" / handler / name),
                (lun / "device").unlink,
                lun.rmdir,
                partial(tree.write, lun / "read_only", choose((0, 1))),
            )
        )

    def _publish(self) -> Operation:
        choose = self._random.choice
        return choose(
            (
                partial(tree.set_autocommit, choose((True, False))),
                partial(tree.set_autocommit, True),
                tree.commit,
                lambda: tree.write(tree.ROOT / "commit_fence", tree.generation()),
                partial(tree.fail_commit, choose((0, 1, 2, 3, 5))),
            )
        )


def map_lun(lun: Path, device: Path) -> None:
    """Make a LUN, or give a device to one that is there."""
    lun.mkdir(exist_ok=True)
    (lun / "device").symlink_to(device)


def look(folder: Path) -> None:
    """Read everything below a directory."""
    for where, _, files in os.walk(folder):
        for name in files:
            if name not in ("uevent", "commit", "commit_fence"):
                tree.errno_of(Path(where, name).read_bytes)


def work(number: int, seconds: float, paths: dict[str, list[str]], out: Path) -> None:
    """What one process does. Raises OSError for a word that is not among the expected ones."""
    chooser, end = Chooser(SEED + number, paths), time.monotonic() + seconds
    seen: collections.Counter[str] = collections.Counter()
    while time.monotonic() < end:
        operation = chooser.next()
        code = tree.errno_of(operation)
        seen[errno.errorcode.get(code, "done")] += 1
        if code and code not in WORDS:
            out.write_text(f"{operation}: {os.strerror(code)}")
            raise OSError(code, str(operation))
    out.write_text(json.dumps(seen))


def load_and_unload(seconds: float) -> None:
    """The handlers' modules come and go while nobody has a device of theirs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in MODULES:
            if delete_module(name) == 0:
                guest_plugin.command("modprobe", name)
        time.sleep(0.05)


@pytest.mark.parametrize("modules", [False, True], ids=["configuration", "modules"])
def test_random_operations(modules: bool, disks: dict[str, PluggedDisk], tmp_path: Path) -> None:
    """Nothing crashes, nothing hangs, nothing is left, and the modules can be unloaded afterwards."""
    files = [tmp_path / name for name in ("file0", "file1")]
    for file in files:
        file.write_bytes(bytes(4 << 20))
    paths = {
        "fileio": [*map(str, files), "/nonexistent", "/proc/version"],
        "blockio": [str(disks["vm-disk-a"].node), str(disks["vm-disk-b"].node), "/dev/null", "/dev/nope"],
    }
    with impatient_kernel(PATIENCE), children() as start:
        outs = [tmp_path / f"seen{number}" for number in range(PROCESSES)]
        running = [
            start(f"process {number}, SCST_SEED={SEED}", partial(work, number, SECONDS, paths, out))
            for number, out in enumerate(outs)
        ]
        if modules:
            running.append(start("modules", partial(load_and_unload, SECONDS)))
        for child in running:
            ended = child.wait(SECONDS + 60 * SLOW)
            assert ended == "done", (
                f"{child.what}: {ended}: {[out.read_text() for out in outs if out.exists()]}"
            )
    total: collections.Counter[str] = collections.Counter()
    for out in outs:
        total.update(json.loads(out.read_text()))
    print(dict(total))
    assert total["done"] > total.total() / 10, f"hardly anything was done: {dict(total)}"
