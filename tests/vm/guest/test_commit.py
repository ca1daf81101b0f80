# SPDX-License-Identifier: GPL-2.0-or-later
"""Staging and commits: all at once or nothing, and what initiators notice of them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Group, Initiator, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

COMMITS = 1000
MOST_STEPS = 200
MANY_DEVICES = 600
MAPS = ([0, 1], [0, 300])


@dataclass(frozen=True, slots=True)
class Setting:
    """Two initiators in one group, a third served by the target's own LUNs."""

    target: Target
    group: Group
    device: tree.Device
    hosts: tuple[Initiator, Initiator, Initiator]


@pytest.fixture
def setting() -> Setting:
    """Everybody sees the device as LUN 0; hosts do not rescan."""
    device = tree.nullio("n0")
    target = Target("t1").make(auto_rescan=False)
    target.luns.map(0, device)
    group = target.group("g", "one", "two")
    group.luns.map(0, device)
    hosts = (target.login("one"), target.login("two"), target.login("three"))
    target.enable()
    return Setting(target, group, device, hosts)


class Watcher:
    """Reads REPORT LUNS in a loop in a thread of its own and collects the different lists."""

    def __init__(self, node: Path) -> None:
        self.seen: set[tuple[int, ...]] = set()
        self.reads = 0
        self._node = node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._failure: BaseException | None = None

    def _loop(self) -> None:
        try:
            with Unit(self._node) as unit:
                while not self._stop.is_set():
                    data = unit.good(scsi.report_luns(1024), 1024)
                    self.seen.add(tuple(scsi.lun_list(data)))
                    self.reads += 1
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Watcher:
        self._thread.start()
        tree.wait_for("the first REPORT LUNS", lambda: self.reads > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


def switch(group: Group, device: tree.Device, old: list[int], new: list[int]) -> None:
    """Move links so that the LUNs of one map become those of another; all directories exist."""
    for lun in set(old) - set(new):
        (group.luns.path / str(lun) / "device").unlink()
    for lun in set(new) - set(old):
        (group.luns.path / str(lun) / "device").symlink_to(device.path)


def test_only_whole_maps_are_seen(setting: Setting) -> None:
    tree.set_autocommit(False)
    for lun in sorted(set(MAPS[0] + MAPS[1]) - {0}):
        (setting.group.luns.path / str(lun)).mkdir()
    switch(setting.group, setting.device, [0], MAPS[0])
    tree.commit()
    start = tree.generation()
    with Watcher(setting.hosts[0].sg(0)) as watcher:
        for number in range(COMMITS):
            switch(setting.group, setting.device, MAPS[number % 2], MAPS[(number + 1) % 2])
            tree.commit(start + number)
        reads = watcher.reads
    assert tree.generation() == start + COMMITS
    assert watcher.seen == {tuple(luns) for luns in MAPS}
    assert reads > COMMITS / 4, "too few reads to prove anything"


def test_stale_generation(setting: Setting) -> None:
    base = tree.generation()
    tree.set_autocommit(False)
    setting.group.luns.map(1, setting.device)
    for wrong in (base - 1, base + 1, 0, 2**64 - 1):
        assert tree.errno_of(partial(tree.commit, wrong)) == errno.ESTALE
    assert tree.generation() == base
    assert tree.staged()
    assert setting.hosts[0].view() == "0 n0 rw\n"
    tree.commit(base)
    assert (tree.generation(), tree.staged()) == (base + 1, False)
    assert tree.errno_of(lambda: tree.commit(base)) == errno.ESTALE
    tree.commit(base + 1)
    assert tree.generation() == base + 1, "an empty commit publishes nothing"


def test_autocommit_on_commits_what_is_staged(setting: Setting) -> None:
    base = tree.generation()
    tree.set_autocommit(False)
    setting.group.luns.map(1, setting.device)
    tree.fail_commit(1)
    assert tree.errno_of(lambda: tree.set_autocommit(True)) == errno.ENOMEM
    assert (tree.generation(), tree.staged(), tree.read(tree.ROOT / "autocommit")) == (base, True, "0")
    tree.set_autocommit(True)
    assert (tree.generation(), tree.staged()) == (base + 1, False)
    assert setting.hosts[0].view() == "0 n0 rw\n1 n0 rw\n"


def test_nothing_is_published_without_change(setting: Setting) -> None:
    base = tree.generation()
    setting.group.set_priority(100)
    tree.write(setting.group.luns.path / "0/read_only", False)
    (setting.group.luns.path / "5").mkdir()
    (setting.group.luns.path / "5").rmdir()
    setting.target.group("empty").remove()
    assert (tree.generation(), tree.staged()) == (base, False)


# --- injected failures ---


def change_everything(setting: Setting, extra: tree.Device) -> None:
    """Stage changes of every kind, on two targets."""
    target, group = setting.target, setting.group
    group.luns.unmap(0)
    group.luns.map(0, extra)
    group.luns.map(5, setting.device, read_only=True)
    group.set_priority(7)
    group.disclaim("two")
    other = target.group("h", "t*")
    other.luns.map(2, extra)
    target.luns.map(9, setting.device)
    second = Target("t2")
    second.luns.map(0, extra)


def published(hosts: tuple[Initiator, ...]) -> tuple[object, ...]:
    """What is in force, byte for byte: generation, every session's luns and group, REPORT LUNS."""
    reports = []
    for host in hosts:
        with Unit(host.sg(0)) as unit:
            reports.append(unit.good(scsi.report_luns(4096), 4096))
    views = tuple((host.view(), host.group()) for host in hosts)
    return tree.generation(), views, tuple(reports)


def settled_objects() -> dict[str, int]:
    """Object counters when retired objects have been freed: two equal readings across grace periods."""
    last = tree.objects()
    while True:
        threading.Event().wait(0.1)
        now = tree.objects()
        if now == last:
            return now
        last = now


def test_injected_failure_at_every_step(setting: Setting) -> None:
    extra = tree.nullio("n1")
    second = Target("t2").make(auto_rescan=False)
    second.luns.map(3, setting.device)
    hosts = (*setting.hosts, second.login("four"))
    second.enable()
    units = [Unit(host.sg(3 if host.name == "four" else 0)) for host in hosts]
    tree.set_autocommit(False)
    change_everything(setting, extra)

    def state() -> tuple[object, ...]:
        reports = tuple(unit.good(scsi.report_luns(4096), 4096) for unit in units)
        return tree.generation(), tuple((host.view(), host.group()) for host in hosts), reports

    for unit in units:
        unit.attentions()
    before, objects = state(), settled_objects()
    steps = 0
    for step in range(1, MOST_STEPS):
        tree.fail_commit(step)
        if tree.errno_of(tree.commit) == 0:
            break
        steps = step
        assert state() == before, f"step {step}"
        assert tree.staged()
        tree.wait_objects(objects)
        assert [unit.attentions() for unit in units] == [[]] * 4, f"step {step}"
    else:
        raise AssertionError(f"{MOST_STEPS} steps and no end")
    assert steps >= 10, "changes on two targets and four sessions take more steps that can fail"
    tree.fail_commit(0)
    assert [host.view() for host in hosts] == [
        "0 n1 rw\n5 n0 ro\n",
        "2 n1 rw\n",
        "2 n1 rw\n",
        "0 n1 rw\n3 n0 rw\n",
    ]
    assert tree.generation() == before[0] + 1  # type: ignore[operator]
    for unit in units:
        unit.close()


@pytest.mark.parametrize("change", ["map", "read_only", "claim", "priority"])
def test_failed_change_with_autocommit_is_undone(setting: Setting, change: str) -> None:
    """Without staging, a change that cannot be published is refused and the tree is as before."""
    group, device = setting.group, setting.device
    lun = group.luns.path / "4"
    lun.mkdir()
    actions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "map": (lambda: (lun / "device").symlink_to(device.path), lambda: (lun / "device").is_symlink()),
        "read_only": (
            lambda: tree.write(group.luns.path / "0/read_only", True),
            lambda: tree.read(group.luns.path / "0/read_only"),
        ),
        "claim": (lambda: group.claim("three"), lambda: (group.path / "initiators/three").exists()),
        "priority": (lambda: group.set_priority(3), lambda: tree.read(group.path / "priority")),
    }
    action, look = actions[change]
    before, wanted, objects = published(setting.hosts), look(), settled_objects()
    for step in range(1, MOST_STEPS):
        tree.fail_commit(step)
        code = tree.errno_of(action)
        if code == 0:
            break
        assert code == errno.ENOMEM
        assert (published(setting.hosts), look(), tree.staged()) == (before, wanted, False)
        tree.wait_objects(objects)
    assert step > 1, "the first step could not fail"
    tree.fail_commit(0)
    assert look() != wanted
    assert tree.generation() == before[0] + 1  # type: ignore[operator]


def test_failed_removal_stays_staged(setting: Setting) -> None:
    """rmdir and unlink cannot be refused: the removal waits for a commit."""
    base = tree.generation()
    tree.fail_commit(1)
    setting.group.luns.unmap(0)
    assert (tree.generation(), tree.staged()) == (base, True)
    assert setting.hosts[0].view() == "0 n0 rw\n"
    tree.commit(base)
    assert (tree.generation(), tree.staged()) == (base + 1, False)
    assert setting.hosts[0].view() == ""


# --- removal of what is in force ---


def test_staged_removal_of_a_device_serves_until_commit(setting: Setting, tmp_path: Path) -> None:
    """Link, LUN and the device's own directory are gone from the tree; initiators go on until the commit."""
    path = tmp_path / "file"
    path.write_bytes(b"\x5a" * (1 << 20))
    device = tree.fileio("f0", path)
    setting.group.luns.map(1, device)
    with Unit(setting.hosts[0].sg(0)) as unit:
        unit.attentions()
    scan(setting.hosts[0])
    with Unit(setting.hosts[0].sg(1)) as unit:
        unit.attentions()
        tree.set_autocommit(False)
        setting.group.luns.unmap(1)
        assert tree.errno_of(lambda: device.enable(False)) == errno.EBUSY
        device.remove()
        assert setting.hosts[0].view() == "0 n0 rw\n1 f0 rw\n"
        for block in range(16):
            unit.good(scsi.write10(block, 1), write=bytes((block,)) * 512)
            assert unit.good(scsi.read10(block, 2), 1024) == bytes((block,)) * 512 + b"\x5a" * 512
        unit.good(scsi.cdb10(0x35, 0, 0))
        tree.commit()
        assert unit.sense(scsi.read10(0, 1), 512) == scsi.LUN_NOT_SUPPORTED
    assert path.read_bytes()[:1024] == bytes(512) + b"\x01" * 512
    again = tree.fileio("f0", path)
    assert again.state == "active"


def test_name_is_free_while_the_old_device_still_serves(setting: Setting, tmp_path: Path) -> None:
    tree.set_autocommit(False)
    setting.group.luns.unmap(0)
    setting.target.luns.unmap(0)
    setting.device.remove()
    again = tree.nullio("n0", 1 << 20)
    assert again.state == "active"
    with Unit(setting.hosts[0].sg(0)) as unit:
        unit.attentions()
        assert unit.blocks() == (1 << 21, 512)
    setting.group.luns.map(0, again)
    tree.commit()
    with Unit(setting.hosts[0].sg(0)) as unit:
        assert scsi.INQUIRY_CHANGED in unit.attentions()
        assert unit.blocks() == (1 << 11, 512)


def scan(host: Initiator) -> None:
    """Let an initiator that does not rescan by itself look for new LUNs."""
    Path(f"/sys/class/scsi_host/host{host.number}/scan").write_text("- - -")


# --- what initiators are told ---


@contextmanager
def all_units(host: Initiator) -> Iterator[list[Unit]]:
    """All devices the initiator has found."""
    units = [Unit(host.sg(lun)) for lun in sorted(host.devices())]
    try:
        yield units
    finally:
        for unit in units:
            unit.close()


def test_one_attention_per_session_and_change(setting: Setting) -> None:
    """REPORTED LUNS DATA HAS CHANGED: once per session, whatever the number of its LUNs or of the changes."""
    with tree.staging():
        for lun in range(1, 5):
            setting.group.luns.map(lun, setting.device)
            setting.target.luns.map(lun, setting.device)
    for host in setting.hosts:
        scan(host)
    with (
        all_units(setting.hosts[0]) as one,
        all_units(setting.hosts[1]) as two,
        all_units(setting.hosts[2]) as three,
    ):
        assert [len(units) for units in (one, two, three)] == [5, 5, 5]
        for unit in (*one, *two, *three):
            unit.attentions()
        with tree.staging():
            for lun in range(5, 10):
                setting.group.luns.map(lun, setting.device)
        told = [[sense for unit in units for sense in unit.attentions()] for units in (one, two, three)]
        assert told == [[scsi.LUNS_CHANGED], [scsi.LUNS_CHANGED], []]
        setting.group.luns.map(10, setting.device)
        setting.group.luns.map(11, setting.device)
        told = [
            [sense for unit in reversed(units) for sense in unit.attentions()] for units in (one, two, three)
        ]
        assert told == [[scsi.LUNS_CHANGED], [scsi.LUNS_CHANGED], []], (
            "two changes before the report coalesce"
        )


def test_unchanged_inventory_is_not_reported(setting: Setting) -> None:
    """Another group with the same LUNs, or a change of read_only: no REPORTED LUNS DATA HAS CHANGED."""
    with Unit(setting.hosts[0].sg(0)) as unit:
        unit.attentions()
        twin = setting.target.group("a", "one")
        with tree.staging():
            twin.luns.map(0, setting.device)
            twin.set_priority(1)
        assert setting.hosts[0].group() == "a"
        taken = unit.attentions()
        assert taken.count(scsi.LUNS_CHANGED) <= 2, "once for losing LUN 0, once for getting it"
        tree.write(twin.luns.path / "0/read_only", True)
        assert unit.attentions() == [scsi.MODE_CHANGED]


def test_counters_return_to_zero_after_use(setting: Setting) -> None:
    for host in setting.hosts:
        setting.target.logout(host.name)
    setting.group.remove()
    setting.target.luns.clear()
    setting.target.path.rmdir()
    setting.device.remove()
    assert guest_plugin.leaked_counters() == {}


def test_many_devices_go_at_once() -> None:
    """More devices than a workqueue runs items at a time lose their last LUN in one commit."""
    target = Target("t").make()
    devices = [tree.nullio(f"n{number}") for number in range(MANY_DEVICES)]
    for number, device in enumerate(devices):
        target.luns.map(number, device)
    target.enable()
    with tree.staging():
        target.luns.clear()
        for device in devices:
            device.remove()
    tree.wait_for("the devices to be gone", lambda: tree.objects()["devices"] == 0, 30)
    assert tree.nullio("n0").state == "active"
