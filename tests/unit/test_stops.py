# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals at every moment: what was asked for is done, or nothing is, and the exit code says which."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config import schema
from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Config
from pyscstadmin.errors import ApplyFailed, Interrupted, PendingChanges, SaveRefused
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.stops import STOPS, Stops, deferred
from pyscstadmin.sim import tree as sim
from pyscstadmin.store import save as saving
from pyscstadmin.store.note import read_note
from tests.unit.test_shell import Terminal
from tests.unit.trees import dump, everything

NUMBERS = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
Capture = pytest.CaptureFixture[str]


class Interrupting(sim.SimTree):
    """A tree that keeps each change at once, as the kernel does, and to whose program a signal comes before
    or after its nth change.
    """

    moment = 0
    before_it = False
    number = 0
    count = 0

    def __init__(self, directory: str | None = None, **more: Any) -> None:
        super().__init__(directory, durable=True, **more)

    def before(self, operation: str, path: str, value: str | None) -> None:
        super().before(operation, path, value)
        if operation in ("mkdir", "rmdir", "symlink", "unlink", "write") and type(self).before_it:
            self.tick()

    def done(self, operation: str, path: str, value: str | None) -> None:
        super().done(operation, path, value)
        if not type(self).before_it:
            self.tick()

    @classmethod
    def tick(cls) -> None:
        cls.count += 1
        if cls.count == cls.moment:
            os.kill(os.getpid(), cls.number)

    @classmethod
    def arm(cls, moment: int, number: int, before_it: bool = False) -> None:
        cls.count, cls.moment, cls.number, cls.before_it = 0, moment, number, before_it


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All as in a program that was started by a shell; and a tree that is interrupted."""
    monkeypatch.setattr(sim, "SimTree", Interrupting)
    Interrupting.arm(0, 0)
    old = {number: signal.getsignal(number) for number in STOPS}
    for number in STOPS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


def state(directory: Path) -> dict[str, Any]:
    """The state of a simulated tree, and what is in the files beside it."""
    tree = Interrupting(str(directory))
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".json"}
    del files["state.json"]
    return {**dump(tree), "files": files}


Try = Callable[..., "tuple[int, dict[str, Any]]"]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """Run a command from the same state again and again; returns the exit code and the state after it."""
    start = tmp_path / "start"
    Interrupting.arm(0, 0)
    with Admin(sim=str(start)) as admin:
        admin.apply(everything()[0])

    def run(*command: str) -> tuple[int, dict[str, Any]]:
        place = tmp_path / "now"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(start, place)
        code = main(["--sim", str(place), *command])
        moment, Interrupting.moment = Interrupting.moment, 0
        found = state(place)
        Interrupting.moment = moment
        return code, found

    return run


@pytest.fixture
def new(tmp_path: Path) -> str:
    path = tmp_path / "new.json"
    path.write_text(schema.dumps(everything()[1]))
    return str(path)


COMMANDS = {
    "apply": ["apply", "NEW", "--yes"],
    "restore": ["restore", "NEW", "--yes"],
    "clear": ["clear", "--yes"],
    "map": ["map", "changed", "--target", "kept", "--lun", "7", "--read-only"],
    "replace": ["map", "changed", "--target", "kept", "--lun", "1", "--replace"],
    "unmap": ["unmap", "--target", "kept", "--lun", "1"],
    "deactivate": ["deactivate", "changed"],
    "shell": ["shell", "-c", "/targets/local/kept set queue_depth=5"],
}


@pytest.mark.parametrize("before_it", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_at_every_act(name: str, before_it: bool, attempt: Try, new: str, capsys: Capture) -> None:
    command = [word.replace("NEW", new) for word in COMMANDS[name]]
    old = attempt("show")[1]
    Interrupting.arm(0, 0, before_it)
    good, wanted = attempt(*command)
    acts = Interrupting.count
    assert old != wanted
    assert acts
    # One more than there are: that one comes when all is done, or never.
    for at in range(1, acts + 2):
        number = NUMBERS[at % len(NUMBERS)]
        Interrupting.arm(at, number, before_it)
        capsys.readouterr()
        code, found = attempt(*command)
        said = capsys.readouterr().err
        if code == 1:
            assert found == old, (at, number)
            assert f"interrupted by {number.name}; nothing changed" in said
        else:
            assert (code, found) == (good, wanted), (at, number)
        assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_a_script_stops_before_the_line_that_was_not_begun(attempt: Try, capsys: Capture) -> None:
    lines = [f"/targets/local/kept map changed lun={number}" for number in (7, 8, 9)]
    words = [word for line in lines for word in ("-c", line)]
    states = [attempt("shell", *words[: 2 * count])[1] for count in range(4)]
    Interrupting.arm(0, 0)
    attempt("shell", *words)
    for at in range(1, Interrupting.count + 1):
        Interrupting.arm(at, signal.SIGTERM)
        capsys.readouterr()
        code, found = attempt("shell", *words)
        done = states.index(found)
        if code == 0:
            assert done == 3
        else:
            assert code == 1
            assert f"line {done + 1}: " in capsys.readouterr().err


class Calls:
    """The module `os`, but that a signal comes at the nth call of what changes files."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number, self.count = at, number, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in (
            "open",
            "write",
            "fsync",
            "rename",
            "replace",
            "link",
            "unlink",
            "fchmod",
            "close",
            "ftruncate",
        ):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            result = found(*args, **options)
            if self.count == self.at:
                os.kill(os.getpid(), self.number)
            return result

        return call


def test_a_signal_at_every_act_of_a_save(
    attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / "scst.json"
    attempt("save", str(path))
    wanted, old = path.read_bytes(), schema.dumps(everything()[1]).encode()
    count, codes = 1, set()
    while True:
        for left in tmp_path.glob("scst.json*"):
            left.unlink()
        path.write_bytes(old)
        calls = Calls(count, NUMBERS[count % len(NUMBERS)])
        monkeypatch.setattr(saving, "os", calls)
        code, _ = attempt("save", str(path))
        monkeypatch.setattr(saving, "os", os)
        if calls.count < count:
            break
        assert path.read_bytes() == (old if code else wanted), count
        assert code in (0, 1)
        assert [found.name for found in sorted(tmp_path.glob("scst.json*"))] == ["scst.json"] + (
            [] if code else ["scst.json.1"]
        )
        codes.add(code)
        count += 1
    assert count > 8
    assert 0 in codes


def killed(action: Callable[[], object]) -> bool:
    """Whether a process that does this is killed by itself."""
    child = os.fork()
    if not child:
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def views(tree: Tree) -> dict[str, set[tuple[int, str, bool]]]:
    """Who sees what, in force."""
    assert isinstance(tree, Interrupting)
    return {
        f"{one.target} {one.initiator}": {(lun.number, lun.device, lun.read_only) for lun in one.luns}
        for one in tree.sessions()
    }


def shown(config: Config, who: str) -> set[tuple[int, str, bool]]:
    """What a configuration shows to an initiator of a target."""
    target, _, initiator = who.partition(" ")
    found = config.target(*target.split("/"))
    luns = decide(found, initiator).luns if found is not None else ()
    return {(lun.number, lun.device, lun.read_only) for lun in luns}


def test_killed_at_every_act(tmp_path: Path) -> None:
    """Nobody sees anything but what the old or the new shows; what is left is brought to either."""
    old, new = everything()
    start, goal = tmp_path / "start", tmp_path / "goal"
    for place, config in ((start, old), (goal, new)):
        with Admin(sim=str(place)) as admin:
            admin.apply(config)
            wanted, goal_views = admin.config(), views(admin.tree)
    moment, staged = 0, 0
    while True:
        moment += 1
        place = tmp_path / "now"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(start, place)

        def change(place: str = str(place), moment: int = moment) -> None:
            Interrupting.arm(moment, signal.SIGKILL)
            Admin(sim=place).apply(new)

        if not killed(change):
            break
        with Admin(sim=str(place)) as admin:
            for who, luns in views(admin.tree).items():
                assert luns <= shown(old, who) | shown(new, who), moment
            if not admin.settled():
                staged += 1
                with pytest.raises(PendingChanges, match="scstadmin commit"):
                    admin.map("kept", 9, "changed")
                assert admin.commit()
                assert admin.settled()
            assert not admin.commit()
            admin.apply(new)
            assert (admin.config(), views(admin.tree)) == (wanted, goal_views)
    assert moment > 50
    assert staged > 10


def test_what_a_killed_restore_has_left_is_not_saved(tmp_path: Path) -> None:
    """Over the file that was to be restored, say; at some moments all that is there looks as it should."""
    wanted, place, file = everything()[1], tmp_path / "now", tmp_path / "scst.json"
    with Admin(sim=str(place)) as admin:
        admin.apply(wanted)
        admin.save(str(file), force=True)
    text, refused = file.read_text(), 0

    def restore() -> None:
        shutil.rmtree(place)
        Interrupting.arm(refused + 1, signal.SIGKILL)
        Admin(sim=str(place)).restore(wanted)

    while killed(restore):
        with Admin(sim=str(place)) as admin, suppress(SaveRefused):
            assert not admin.save(str(file))  # it was all done
        refused += 1
        assert file.read_text() == text
    assert refused > 50
    assert not read_note(f"{place}/degraded")


def test_ignored_signals_stay_ignored() -> None:
    """nohup(1), and jobs in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Stops().installed():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert callable(signal.getsignal(signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_waiting_for_the_lock_can_be_interrupted(attempt: Try, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "now"
    attempt("show")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        start = time.monotonic()
        assert main(["--sim", str(place), "clear", "--yes"]) == 1
    assert time.monotonic() - start < 5
    assert capsys.readouterr().err.endswith("interrupted by SIGTERM; nothing changed\n")


def test_an_interrupted_command_in_json(attempt: Try, new: str, capsys: Capture) -> None:
    import json

    Interrupting.arm(3, signal.SIGHUP)
    assert attempt("--json", "apply", new, "--yes")[0] == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    error = json.loads(captured.out)
    assert error["error"] == "ApplyFailed"
    assert error["cause"] == {"error": "Interrupted", "message": "interrupted by SIGHUP", "exit_code": 1}


def test_programs_are_told_what_is_done(tmp_path: Path) -> None:
    """With `stops`, an exception means that nothing changed; without, it may come when all is done."""
    stops = Stops()
    config = everything()[0]
    with stops.installed(), Admin(sim=str(tmp_path / "s"), stops=stops) as admin:
        Interrupting.arm(2, signal.SIGTERM)
        with pytest.raises(ApplyFailed, match="interrupted by SIGTERM; nothing changed"):
            admin.apply(config)
        assert stops.taken() == signal.SIGTERM
        assert admin.config() == Config()
        stops.begin()
        with deferred(stops):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stops.came == signal.SIGHUP
        with pytest.raises(Interrupted):
            stops.begin()


def test_an_undoing_that_fails_is_said_in_full(
    attempt: Try, new: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A second signal, while the first is answered, does not hide what is left."""
    original = Interrupting.done

    def done(self: Interrupting, *call: Any) -> None:
        original(self, *call)
        if Interrupting.count > 3:
            os.kill(os.getpid(), signal.SIGTERM)
            self.inject = lambda *call: errno.EIO if call[0] == "rmdir" else None

    monkeypatch.setattr(Interrupting, "done", done)
    Interrupting.arm(4, signal.SIGHUP)
    code, _ = attempt("apply", new, "--yes")
    assert code == 4
    assert "and undoing it failed, which leaves" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_the_shell_and_its_history_is_kept(number: int, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "sim")
    try:
        terminal.expect("/> ")
        terminal.type("devices/nullio create n 1M\n")
        terminal.expect("/> ")
        terminal.type("half a line")
        terminal.expect("half a line")
        terminal.wait_asleep()
        os.kill(terminal.child.pid, number)
        assert terminal.status() == 0
    finally:
        terminal.close()
    assert "devices/nullio create n 1M" in (tmp_path / "state/scstadmin/history").read_text()


def test_a_terminal_that_goes_ends_the_shell(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "sim")
    terminal.expect("/> ")
    terminal.type("devices/nullio create n 1M\n")
    terminal.expect("/> ")
    terminal.wait_asleep()
    os.close(terminal.fd)
    terminal.fd = os.open(os.devnull, os.O_RDONLY)
    try:
        assert terminal.status() == 0
    finally:
        terminal.close()
    assert "devices/nullio create n 1M" in (tmp_path / "state/scstadmin/history").read_text()
