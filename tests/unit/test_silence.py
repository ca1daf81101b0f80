# SPDX-License-Identifier: GPL-2.0-or-later
"""A backing that does not answer: who opens it waits, and nobody else does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.lint import Backing
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.errors import ApplyFailed, LockTimeout, OperationError, ScstError
from pyscstadmin.kernel.backing import Found, Machine
from pyscstadmin.kernel.uses import Backings
from pyscstadmin.sim.tree import SimTree
from pyscstadmin.watch.loop import Event, Watcher
from tests.unit.strategies import MIB

# Seconds that the lock may be kept for what does not answer, and that somebody else waits for the lock.
KEPT, WAITED = 0.2, 5.0
SLOW = "devices/fileio/slow"


@dataclass
class Scene:
    """A tree that several use, in threads, and a file in it that does not answer."""

    tree: SimTree
    folder: Path
    pool: ThreadPoolExecutor

    @property
    def path(self) -> str:
        """The file."""
        return str(self.folder / "slow.img")

    @property
    def slow(self) -> Device:
        """The device on it."""
        return Device("slow", "fileio", path=self.path)

    def admin(self, wait: float = WAITED, settle: float = 30.0) -> Admin:
        """Somebody who uses the tree."""
        made = Admin(tree=self.tree, state_dir=str(self.folder / "run"), lock_timeout=wait, settle=settle)
        made.patience = KEPT
        return made

    def hang(self) -> None:
        """It answers no longer."""
        self.tree.top.hung.add(self.path)

    def answer(self) -> None:
        """It answers again."""
        self.tree.top.hung.clear()

    def state(self) -> str:
        """That of its device; '' if there is none."""
        try:
            return self.tree.read(f"{SLOW}/state")
        except OperationError:
            return ""

    def start(self, action: Callable[[Admin], object]) -> Future[object]:
        """Somebody does something in a thread, which is on its way when this returns."""
        future = self.pool.submit(lambda: action(self.admin()))
        until(lambda: self.state() == "opening" or future.done())
        assert not future.done(), future.result()
        return future


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """With a device that is served, and one whose file answers still."""
    (tmp_path / "slow.img").write_bytes(bytes(MIB))
    (tmp_path / "other.img").write_bytes(bytes(MIB))
    tree = SimTree()
    with ThreadPoolExecutor(8) as pool:
        made = Scene(tree, tmp_path, pool)
        with made.admin() as admin:
            admin.apply(Config((Device("n", "nullio", size=MIB),), (Target("local", "t"),)))
        try:
            yield made
        finally:
            made.answer()


def changes(admin: Admin) -> None:
    """All kinds of changes of other objects."""
    admin.create_device(Device("other", "fileio", path=os.path.dirname(admin.state_dir) + "/other.img"))
    admin.deactivate("other")
    assert admin.activate("other") == "active"
    admin.create_group("t", Group("g", initiators=("iqn.a",)))
    admin.map("t", 7, "other", group="g")
    admin.unmap("t", 7, group="g")
    admin.remove_group("t", "g")
    admin.change_device("other", product="P")
    admin.remove_device("other")


def parked(scene: Scene) -> None:
    with scene.admin() as admin:
        admin.create_device(scene.slow)
        admin.deactivate("slow")


Verb = tuple[Callable[[Scene], None], Callable[[Scene], Callable[[Admin], object]]]


def nothing(scene: Scene) -> None:
    pass


def disabled(scene: Scene) -> None:
    with scene.admin() as admin:
        admin.create_device(scene.slow.but(enabled=False))


def active(scene: Scene) -> None:
    with scene.admin() as admin:
        admin.create_device(scene.slow)


def applied(scene: Scene) -> Config:
    """A whole configuration, in which the device is a LUN beside others."""
    luns = (Lun(0, "slow"), Lun(1, "n"))
    target = Target("local", "t", groups=(Group("s", initiators=("iqn.s",), luns=luns),))
    return Config((Device("n", "nullio", size=MIB), scene.slow), (target,))


VERBS: dict[str, Verb] = {
    "activate": (parked, lambda scene: lambda admin: admin.activate("slow")),
    "create": (nothing, lambda scene: lambda admin: admin.create_device(scene.slow)),
    "enable": (disabled, lambda scene: lambda admin: admin.change_device("slow", enabled=True)),
    "change": (active, lambda scene: lambda admin: admin.change_device("slow", product="S")),
    "rebind": (parked, lambda scene: lambda admin: admin.rebind("slow")),
    "apply": (nothing, lambda scene: lambda admin: admin.apply(applied(scene))),
}


@pytest.mark.parametrize("name", VERBS)
def test_others_go_on(scene: Scene, name: str) -> None:
    """They get the lock while it does not answer; who waits gets what came of it."""
    before, verb = VERBS[name]
    before(scene)
    scene.hang()
    waiting = scene.start(verb(scene))
    with scene.admin() as admin:
        changes(admin)
    assert scene.state() == "opening"
    assert not waiting.done()
    scene.answer()
    result = waiting.result(20)
    assert scene.state() == "active"
    assert getattr(result, "opening", ()) == ()
    assert getattr(result, "exit_code", 0) == 0
    with scene.admin() as admin:
        changes(admin)


def test_the_watcher_goes_on(scene: Scene) -> None:
    """It follows the other devices, and says what came of this one when it is known."""
    paths = [Path(scene.path), scene.folder / "other.img"]
    for path in paths:
        path.rename(f"{path}.away")
    events: list[Event] = []
    with scene.admin() as admin:
        admin.create_device(scene.slow.but(name="a-slow"))
        admin.create_device(Device("other", "fileio", path=str(paths[1])))
        watcher = Watcher(admin, events.append)
        watcher.look()
        for path in paths:
            Path(f"{path}.away").rename(path)
            os.utime(path, (1, 1))
        scene.hang()
        watcher.look()
        assert {name: seen.state for name, seen in watcher.seen.items()} == {
            "a-slow": "opening",
            "other": "active",
        }
        assert [event.device for event in events if event.event == "bound"] == ["other"]
        watcher.look()
        scene.answer()
        watcher.look()
        assert [event.device for event in events if event.event == "bound"] == ["other", "a-slow"]
        assert "failed" not in {event.event for event in events}


def test_the_watcher_says_what_failed(scene: Scene) -> None:
    Path(scene.path).rename(f"{scene.path}.away")
    events: list[Event] = []
    with scene.admin() as admin:
        admin.create_device(scene.slow)
        watcher = Watcher(admin, events.append)
        watcher.look()
        Path(f"{scene.path}.away").rename(scene.path)
        os.utime(scene.path, (1, 1))
        scene.hang()
        watcher.look()
        Path(scene.path).unlink()
        scene.answer()
        watcher.look()
    assert [(event.device, event.error) for event in events if event.event == "failed"] == [
        ("slow", "ENOENT")
    ]


def test_of_two_requests_the_later_one_holds(scene: Scene) -> None:
    parked(scene)
    scene.hang()
    waiting = scene.start(lambda admin: admin.activate("slow"))
    parking = scene.pool.submit(lambda: scene.admin().deactivate("slow"))
    until(lambda: scene.tree.read(f"{SLOW}/wanted") == "0")
    scene.answer()
    assert parking.result(20) == "parked"
    with pytest.raises(OperationError, match="ECANCELED"):
        waiting.result(20)
    assert scene.state() == "parked"


def test_who_waits_hears_the_error(scene: Scene) -> None:
    parked(scene)
    scene.hang()
    waiting = scene.start(lambda admin: admin.activate("slow"))
    Path(scene.path).unlink()
    scene.answer()
    with pytest.raises(OperationError, match="ENOENT"):
        waiting.result(20)


def test_an_apply_serves_what_answers(scene: Scene) -> None:
    """All the rest is in force, the LUN is there, and comes live by itself."""
    scene.hang()
    with scene.admin(settle=0.1) as admin:
        outcome = admin.apply(applied(scene))
        assert (outcome.opening, outcome.parked, outcome.exit_code) == (("slow",), (), 3)
        assert outcome.failed == ()
        found = admin.config()
        assert found.target("local", "t").groups == applied(scene).targets[0].groups  # type: ignore[union-attr]
        again = admin.apply(applied(scene))
        assert (again.done, again.opening, again.exit_code) == ((), ("slow",), 3)
        scene.answer()
        assert scene.state() == "active"
        assert admin.apply(applied(scene)).exit_code == 0


def test_many_that_do_not_answer_keep_the_lock_no_longer(scene: Scene) -> None:
    """The first takes all there is, the others a moment each."""
    devices = [scene.slow.but(name=f"s{number}", path=f"{scene.path}{number}") for number in range(20)]
    for device in devices:
        Path(device.path).write_bytes(bytes(MIB))
        scene.tree.top.hung.add(device.path)
    asked = noted(scene)
    with scene.admin(settle=0) as admin:
        outcome = admin.apply(Config(tuple(devices)))
    assert len(outcome.opening) == 20
    enabled = [asked[f"devices/fileio/{name}/enabled"] for name in outcome.opening]
    assert sorted(enabled) == 19 * [50] + [int(KEPT * 1000)]


def noted(scene: Scene) -> dict[str, int]:
    """Milliseconds for which requests are waited for, by what is asked."""
    ask, asked = scene.tree.ask, dict[str, int]()

    def noting(path: str, value: str, milliseconds: int) -> None:
        asked[path] = milliseconds
        ask(path, value, milliseconds)

    scene.tree.ask = noting  # type: ignore[method-assign]
    return asked


def test_what_answers_slowly_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine everything takes its time: that is no reason to leave anything, or to fail."""
    asked = noted(scene)
    ask = scene.tree.ask
    clock = [0.0]
    stands = SimpleNamespace(monotonic=lambda: clock[0], sleep=time.sleep)
    monkeypatch.setattr("pyscstadmin.kernel.asking.time", stands)

    def slowly(path: str, value: str, milliseconds: int) -> None:
        ask(path, value, milliseconds)
        clock[0] += 0.9 * KEPT

    scene.tree.ask = slowly  # type: ignore[method-assign]
    devices = tuple(Device(f"m{number}", "nullio", size=MIB) for number in range(30))
    with scene.admin() as admin:
        outcome = admin.apply(Config(devices, (Target("local", "t"), Target("local", "u"))))
    assert outcome.exit_code == 0
    assert len(asked) > 30
    assert set(asked.values()) == {int(KEPT * 1000)}


def test_targets_are_waited_for_when_devices_have_taken_all(scene: Scene) -> None:
    scene.hang()
    asked = noted(scene)
    with scene.admin(settle=0) as admin:
        admin.patience = 0.6
        assert admin.apply(Config((scene.slow,), (Target("local", "u"),))).opening == ("slow",)
    assert asked["targets/local/u/enabled"] == 600


def test_what_is_undone_stays_undone(scene: Scene) -> None:
    """Something else is refused after the device was left to open by itself."""
    scene.hang()
    before = scene.tree.dump()
    once = [5]
    scene.tree.inject = lambda operation, path, value: once.pop() if path == "commit" and once else None
    with scene.admin() as admin, pytest.raises(ApplyFailed):
        admin.apply(applied(scene))
    scene.tree.inject = None
    assert scene.state() == ""
    scene.answer()
    assert {**scene.tree.dump(), "generation": 0} == {**before, "generation": 0}


def test_a_device_that_is_being_opened_is_not_changed(scene: Scene) -> None:
    scene.hang()
    with scene.admin(settle=0) as admin:
        assert admin.create_device(scene.slow).opening == ("slow",)
        with pytest.raises(ScstError, match="closed"):
            admin.change_device("slow", product="X")


def test_who_waits_for_the_lock_is_told_for_what(scene: Scene) -> None:
    """While it is kept for a device, for a short time."""
    scene.hang()

    def create(admin: Admin) -> object:
        admin.patience = 2.0
        return admin.create_device(scene.slow)

    waiting = scene.start(create)
    with scene.admin(wait=0.1) as admin, pytest.raises(LockTimeout) as caught:
        admin.create_device(Device("m", "nullio", size=MIB))
    assert f"process {os.getpid()}, which waits for {SLOW}" in str(caught.value)
    with scene.admin() as admin:
        admin.create_device(Device("m", "nullio", size=MIB))
    scene.answer()
    waiting.result(20)


class Away(Machine):
    """Looks at paths on a server that is away."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()
        self.looks = 0

    @contextmanager
    def held(self, path: str) -> Iterator[Found | None]:
        if path.endswith("slow.img"):
            self.looks += 1
            self.back.wait(20)
        with super().held(path) as found:
            yield found


def test_what_does_not_answer_is_left_out_of_what_is_remarked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look is enough; what is beside it is not looked at, and all else is."""
    back, looks = threading.Event(), []

    def look(self: Backings, path: str) -> Backing:
        looks.append(os.path.basename(path))
        if path.startswith("/away/"):
            back.wait(20)
        return Backing("one", path)

    monkeypatch.setattr(Backings, "look", look)
    paths = ("/away/a", "/away/b", "/there/c", "/there/d")
    devices = tuple(Device(os.path.basename(path), "fileio", path=path) for path in paths)
    with scene.admin() as admin:
        remarks = admin.lint(Config(devices))
    back.set()
    assert looks == ["a", "c", "d"]
    assert [remark.rule for remark in remarks if "c" in remark.text] != []
    until(lambda: threading.active_count() < 10)


def test_to_look_at_it_keeps_nobody_either(scene: Scene) -> None:
    """The tool itself looks at a path before it is opened, and that may take as long."""
    with scene.admin() as admin:
        admin.create_device(scene.slow)
        admin.deactivate("slow")
    machine = Away()
    try:
        with scene.admin() as admin:
            admin.backings = machine
            with pytest.raises(OperationError, match=r"ESTALE .*does not answer"):
                admin.activate("slow")
            with pytest.raises(OperationError, match=r"ESTALE .*does not answer"):
                admin.activate("slow")
            assert machine.looks == 1, "one look is enough to wait for"
            changes(admin)
    finally:
        machine.back.set()
    with scene.admin() as admin:
        admin.backings = machine
        until(lambda: not any(look.is_alive() for look in machine._silent.values()))
        assert admin.activate("slow") == "active"
