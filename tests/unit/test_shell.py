# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell, on a simulated tree."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.context import Context
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.shell import tree
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session

IQN = "iqn.2026-11.com.example:disk"
A, B = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:b"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim")) as made:
        yield made


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk one.img"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture
def served(do: Callable[..., list[str]], image: Path) -> None:
    """A device, a target with hosts, and a group for each of two initiators; nothing is mapped."""
    do(
        f"/devices/fileio create disk1 '{image}'",
        "/targets/local create t1",
        f"/targets/local/t1/hosts create {A} {B}",
        f"/targets/local/t1/groups create readers {A}",
        f"/targets/local/t1/groups create writers {B}",
    )


def test_any_spelling_of_a_name_will_do(shell: Shell, do: Callable[..., list[str]], served: None) -> None:
    wwn = "50:00:c5:00:a1:b2:c3:d4"
    place = "/targets/local/t1/groups/readers/initiators"
    do(f"{place} create 0x5000C500A1B2C3D4", "/targets/local/t1/hosts create naa.5000c500a1b2c3d4")
    assert any(wwn in line for line in do("/targets/local/t1 ls"))
    assert shell.execute(f"{place} create 50-00-c5-00-a1-b2-c3-d4") is not None
    assert list(do(f"explain {wwn}")) == do("explain 5000c500a1b2c3d4")
    do(f"cd {place}/wwn-0x5000c500a1b2c3d4", "cd /", f"{place} delete 5000C500A1B2C3D4")
    do("/targets/local/t1/hosts delete 0x5000c500a1b2c3d4")
    assert not any(wwn in line for line in do("/targets/local/t1 ls"))


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_not_there_is_said_not_to_be(shell: Shell, do: Callable[..., list[str]], begun: bool) -> None:
    """A place that looks like one: it ended in a stack of Python."""
    iqn = "iqn.2026-11.com.example:t"
    do("/targets/local create t", f"/targets/iscsi create {iqn}", "create portal p", "create alua a")
    do("create tpg g alua=a", *["begin"] * begun)
    there = ["/portals/p", "/alua/a", "/alua/a/tpgs", "/alua/a/tpgs/g", "/users", "/targets/local/t/luns"]
    for place in there:
        do(f"{place} ls")
    for place in (
        *(f"/{place}" for place in ("portals/q", "users/q", "alua/q", "alua/q/tpgs", "alua/a/tpgs/q")),
        *(f"/targets/iscsi/{iqn}/{folder}/q" for folder in ("portals", "users", "luns")),
    ):
        for line in (f"{place} ls", f"cd {place}"):
            failure = shell.execute(line)
            assert failure is not None
            assert "nothing is at" in failure.message, line
    do("/targets/local/t/luns")
    failure = shell.execute("shwo")
    assert failure is not None
    assert "no command shwo" in failure.message


# As a new user would.


def test_a_new_user_maps_a_disk_to_one_host_read_only_and_to_another_read_write(
    shell: Shell, admin: Admin, image: Path, do: Callable[..., list[str]]
) -> None:
    """In under ten commands, each of them found by help and Tab."""
    lines = [
        f"/devices/fileio create disk1 '{image}'",
        "/targets/local create t1",
        "cd /targets/local/t1",
        f"groups create readers {A}",
        f"groups create writers {B}",
        "map disk1 group=readers read_only=yes",
        "map disk1 group=writers",
        "save",
    ]
    help_text = "\n".join(do("help"))
    for words in ("/devices/blockio create disk1", "map disk1 group=", "\n  save"):
        assert words in help_text
    assert "create DEVICE [BACKING]" in "\n".join(do("/devices/fileio help create"))
    assert len(lines) < 10
    for line in lines:
        assert findable(shell, line), line
        do(line)
    decisions = {name: admin.explain("t1", name).luns for name in (A, B, "iqn.other")}
    assert decisions == {A: (Lun(0, "disk1", True),), B: (Lun(0, "disk1"),), "iqn.other": ()}
    saved = json.loads(Path(admin.default_file).read_text())
    assert saved["devices"]["fileio"]["disk1"]["path"] == str(image)


def findable(shell: Shell, line: str) -> bool:
    """Whether Tab leads to every word of a line, but for those the user invents."""
    words = line.split(" ")
    create = words.index("create") if "create" in words else len(words)
    at = 0
    for number, word in enumerate(words):
        typed = 1 if word.startswith("/") else 0
        while number <= create and typed < len(word):
            offers = [one.rstrip() for one in shell.complete(line[: at + typed])]
            offers += [one.rstrip("/") for one in offers]  # what is below need not be gone into
            fitting = [len(one) for one in offers if word.startswith(one) and len(one) > typed]
            assert fitting, (line[: at + typed], offers)
            typed = max(fitting)
        at += len(word) + 1
    return True


# The tree.


@pytest.mark.usefixtures("served")
def test_everything_is_in_the_tree(do: Callable[..., list[str]]) -> None:
    do("/targets/local/t1 map disk1 group=readers read_only=yes")
    text = "\n".join(do("ls"))
    for part in ("disk1", "t1", "readers", "writers", "initiators", "hosts", A, "[host0]", "disk1, read-"):
        assert part in text
    assert f"{A} on local/t1, group readers: 0=disk1(ro)" in text
    assert len(do("ls / depth=1")) == 8


@pytest.mark.usefixtures("served")
def test_going_about(shell: Shell, do: Callable[..., list[str]]) -> None:
    assert do("cd /targets/local", "t1", "pwd") == ["/targets/local/t1"]
    assert do("cd groups/readers", "pwd") == ["/targets/local/t1/groups/readers"]
    assert shell.prompt() == "/targets/local/t1/groups/readers> "
    assert do("cd ../writers", "pwd") == ["/targets/local/t1/groups/writers"]
    do("delete")
    assert do("pwd") == ["/targets/local/t1/groups"]
    assert do("cd", "pwd") == ["/"]


@pytest.mark.usefixtures("served")
def test_place_that_another_program_removed_is_left(
    shell: Shell, admin: Admin, do: Callable[..., list[str]]
) -> None:
    do("cd /targets/local/t1/groups/readers")
    with Admin(sim=admin.sim) as other:
        other.remove_target("t1")
    assert do("pwd") == ["/targets/local"]


def test_patterns_are_places(do: Callable[..., list[str]], admin: Admin, served: None) -> None:
    do("/targets/local/t1/groups create all * !iqn.b* @x", "cd /targets/local/t1/groups/all/initiators")
    do("* delete", "!iqn.b* delete", "./@x delete")
    found = admin.config().target("local", "t1")
    assert found is not None
    group = found.group("all")
    assert group is not None
    assert group.initiators == ()


# Commands.


@pytest.mark.usefixtures("served")
def test_map_and_unmap(do: Callable[..., list[str]], admin: Admin) -> None:
    do("/devices/nullio create n1 1M", "/devices/nullio create n2 4K block_size=4096")
    do("map disk1 target=t1 group=readers", "map n1 target=t1 group=readers", "map n2 target=local/t1")
    do("cd /targets/local/t1/groups/readers", "map n2 lun=9", "map n2 lun=1 replace=yes read_only=yes")
    config = admin.config().target("local", "t1")
    assert config is not None
    assert config.luns == (Lun(0, "n2"),)
    assert config.group("readers") == Group(
        "readers", initiators=(A,), luns=(Lun(0, "disk1"), Lun(1, "n2", True), Lun(9, "n2"))
    )
    do("unmap disk1", "unmap 9", "luns/1 set read_only=no", "luns delete 1", "/ unmap n2 target=t1")
    config = admin.config().target("local", "t1")
    assert config is not None
    assert all(not luns for _, luns in config.lun_sets())


@pytest.mark.usefixtures("served")
def test_settings(do: Callable[..., list[str]], admin: Admin, image: Path) -> None:
    assert any(line.startswith(f"path='{image}'") for line in do("/devices/fileio/disk1 get"))
    assert do("/devices/fileio/disk1 get state o_direct") == ["state=active", "o_direct=no"]
    do("/devices/fileio/disk1 set o_direct=yes serial=S1 product='the product'")
    found = admin.config().device("disk1")
    assert found is not None
    assert (found.settings["o_direct"], found.id.serial, found.id.product) == (True, "S1", "the product")
    do("/targets/local/t1 set rel_tgt_id=7 auto_rescan=no", "/targets/local/t1/groups/readers set priority=3")
    target = admin.config().target("local", "t1")
    assert target is not None
    assert (target.rel_tgt_id, target.settings["auto_rescan"], target.groups[0].priority) == (7, False, 3)


@pytest.mark.usefixtures("served")
def test_enable_disable_delete(do: Callable[..., list[str]], admin: Admin) -> None:
    do("/targets/local/t1 disable yes=yes", "/devices/fileio/disk1 disable")
    target, device = admin.config().target("local", "t1"), admin.config().device("disk1")
    assert target is not None
    assert device is not None
    assert (target.enabled, device.enabled) == (False, False)
    do("/targets/local/t1 enable", "/devices/fileio/disk1 enable")
    assert do("/devices/fileio/disk1 deactivate") == ["disk1: parked"]
    assert do("status")[1] == "disk1: parked on request; `activate` opens it"
    assert do("/devices/fileio/disk1 activate") == ["disk1: active"]
    do(f"/targets/local/t1/hosts delete {A} {B}", "/targets/local/t1/groups delete readers")
    do("/targets/local delete t1", "/devices/fileio delete disk1")
    assert admin.config() == Config()


@pytest.mark.usefixtures("served")
def test_files(do: Callable[..., list[str]], admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "my config.json"
    before = admin.config()
    assert do(f"save '{file}'") == [f"{file}: saved"]
    assert do("clear confirm=yes") != ["nothing to do"]
    assert "operations, impact on sessions:" in "\n".join(do(f"plan '{file}'"))
    do(f"apply '{file}'")
    assert admin.config() == before
    assert do(f"restore '{file}'")[0] == "nothing to do"
    assert do("save", "status")[-1] == f"saved in {admin.default_file}"
    do("/devices/nullio create n 1M")
    assert do("status")[-1] == f"changed since it was saved in {admin.default_file}"


@pytest.mark.usefixtures("served")
def test_explain(do: Callable[..., list[str]]) -> None:
    assert do(f"explain {A}")[0] == f"{A} on local/t1: group readers"
    assert do("cd /targets/local/t1/groups", "explain iqn.x")[0] == "iqn.x on local/t1: the target's own LUNs"
    do("/targets/local create t2")
    assert do("explain iqn.x")[0] == "iqn.x on local/t1: the target's own LUNs"


@pytest.mark.usefixtures("served")
def test_every_command_of_every_place_has_help(shell: Shell, do: Callable[..., list[str]]) -> None:
    do("/targets/local/t1 map disk1 group=readers", "create alua dg disk1", "create tpg here t1 alua=dg")
    do(
        "create fault f1 enabled=yes",
        "create portal p",
        f"create target iscsi/{IQN}",
        f"add portal p target={IQN}",
    )
    todo = [tree.Root(tree.framework(shell.context))]
    seen = set()
    while todo:
        node = todo.pop()
        todo.extend(node.children)
        for command in node.list_commands():
            if (type(node), command) not in seen:
                text = do(f"{node.path.rstrip('/')}/ help {command}")
                assert len(text[0]) > 10, command
                assert text[0].endswith("."), (command, text[0])
                seen.add((type(node), command))
    assert len({kind for kind, _ in seen}) == 25


def test_exit_code_is_that_of_the_end(do: Callable[..., list[str]], shell: Shell, image: Path) -> None:
    """A device that waited, and came or went, is not parked any more."""
    create = f"/devices/fileio create late '{image}.late'"
    do(create)
    assert shell.session.exit_code == 3
    do("/devices/fileio/late delete")
    assert shell.session.exit_code == 0
    do(create)
    image.rename(f"{image}.late")
    do("/devices/fileio/late activate")
    assert shell.session.exit_code == 0
    do("/devices/fileio/late deactivate")
    assert shell.session.exit_code == 3


def test_what_a_device_waits_for_is_the_new_path(do: Callable[..., list[str]], served: None) -> None:
    assert do("/devices/fileio/disk1 set path=/nonexistent/new") == [
        "disk1: parked, waits for /nonexistent/new (ENOENT)"
    ]
    assert "disk1: parked, waits for /nonexistent/new (ENOENT)" in do("status")


def test_explain_says_that_changes_are_staged(
    do: Callable[..., list[str]], admin: Admin, served: None
) -> None:
    assert "staged" not in "\n".join(do(f"explain {A}"))
    admin.tree.write("autocommit", "0")
    assert "staged changes not in force" in do(f"explain {A}")[-1]


# While others change the same things.


@pytest.fixture
def meanwhile(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Admin], object]], None]:
    """Let another program do something just before the next change takes the lock."""

    def arrange(action: Callable[[Admin], object]) -> None:
        writing = admin._writing

        def late(*needs: Config | None) -> object:
            monkeypatch.undo()
            with Admin(sim=admin.sim) as other:
                action(other)
            return writing(*needs)

        monkeypatch.setattr(admin, "_writing", late)

    return arrange


Meanwhile = Callable[[Callable[[Admin], object]], None]


@pytest.mark.usefixtures("served")
def test_changes_are_made_to_what_is_there_by_then(
    do: Callable[..., list[str]], admin: Admin, meanwhile: Meanwhile
) -> None:
    do("/devices/nullio create n1 1M", "/devices/nullio create n2 1M", "map n1 target=t1 lun=5")
    meanwhile(lambda other: other.map("t1", 5, "n2", replace=True))
    do("/targets/local/t1/luns/5 set read_only=yes")
    meanwhile(lambda other: other.change_device("n1", product="P"))
    do("/devices/nullio/n1 set serial=S1")
    meanwhile(lambda other: other.add_initiator("t1", "readers", "x"))
    do("/targets/local/t1/groups/readers/initiators create y z")
    meanwhile(lambda other: other.add_initiator("t1", "writers", "x"))
    do(f"/targets/local/t1/groups/writers/initiators delete {B}")
    meanwhile(lambda other: other.add_host("t1", "x"))
    do(f"/targets/local/t1/hosts delete {A}")
    config = admin.config()
    target, device = config.target("local", "t1"), config.device("n1")
    assert target is not None
    assert device is not None
    assert target.luns == (Lun(5, "n2", True),)
    assert (device.id.serial, device.id.product) == ("S1", "P")
    assert [group.initiators for group in target.groups] == [(A, "x", "y", "z"), ("x",)]
    assert target.hosts == (B, "x")


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("line", "action", "words"),
    [
        ("unmap n1 target=t1", lambda a: a.map("t1", 5, "n2", replace=True), "LUN 5 is n2 now, not n1"),
        ("/targets/local/t1/luns/5 set read_only=yes", lambda a: a.unmap("t1", 5), "no LUN 5"),
        ("/targets/local/t1/hosts create x", lambda a: a.remove_target("t1"), "no target local/t1"),
        ("/targets/local/t1 delete yes=yes", lambda a: a.remove_target("t1"), "no target local/t1"),
        ("/targets/local/t1/hosts create x", lambda a: a.add_host("t1", "X"), "x is there already"),
        (f"/targets/local/t1/hosts delete {A}", lambda a: a.remove_host("t1", A), f"{A} is not there"),
        (
            "/targets/local create t2",
            lambda a: a.create_target(Target("local", "t2", groups=(Group("g", initiators=("x",)),))),
            "exists already",
        ),
    ],
)
def test_what_became_impossible_meanwhile_is_refused(
    shell: Shell,
    admin: Admin,
    do: Callable[..., list[str]],
    meanwhile: Meanwhile,
    line: str,
    action: Callable[[Admin], object],
    words: str,
) -> None:
    do("/devices/nullio create n1 1M", "/devices/nullio create n2 1M", "map n1 target=t1 lun=5")
    after: list[Config] = []

    def act(other: Admin) -> None:
        action(other)
        after.append(other.config())

    meanwhile(act)
    failure = shell.execute(line)
    assert failure is not None
    assert words in failure.message
    assert failure.exit_code == 1
    assert [admin.config()] == after


@pytest.mark.usefixtures("served")
def test_shells_that_run_at_once_lose_nothing(admin: Admin) -> None:
    """Every command that says it is done is done, however many run at the same time."""
    gone = [f"old{number}" for number in range(4)]
    admin.add_initiator("t1", "readers", *gone)
    admin.add_host("t1", *gone)
    places = ("/targets/local/t1/groups/readers/initiators", "/targets/local/t1/hosts")
    lines = [f"{place} create new{number}" for place in places for number in range(4)]
    lines += [f"{place} delete {name}" for place in places for name in gone]
    assert admin.sim is not None
    command = [sys.executable, "-m", "pyscstadmin", "--sim", admin.sim, "--lock-timeout", "60", "shell", "-c"]
    running = [subprocess.Popen([*command, line], stderr=subprocess.PIPE) for line in lines]
    for line, process in zip(lines, running, strict=True):
        said = process.communicate(timeout=120)[1]
        assert (process.returncode, said) == (0, b""), line
    target = admin.config().target("local", "t1")
    assert target is not None
    new = {f"new{number}" for number in range(4)}
    assert set(target.groups[0].initiators) == {A, *new}
    assert set(target.hosts) == {A, B, *new}


# Errors.


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("mpa disk1", 2, "did you mean map?"),
        ("map disk1", 2, "say TARGET"),
        ("map disk1 target=t2", 1, "no target t2"),
        ("map disk1 target=local/t2", 1, "did you mean local/t1?"),
        ("map disk1 target=t1 group=reader", 1, "reader"),
        ("map disk2 target=t1", 1, "did you mean disk1?"),
        ("map disk1 target=t1 read_only=maybe", 2, "not yes or no"),
        ("map disk1 target=t1 lun=01", 2, "leading zeroes"),
        ("map disk1 target=t1 lun=16384", 2, "0-16383"),
        ("map disk1 target=t1 lun=1 lun=2", 2, "given twice"),
        ("map disk1 target=t1 colour=red", 2, "colour"),
        ("map disk1 t1 g 1 no no extra", 2, "one parameter too many"),
        ("unmap 5 target=t1", 1, "no LUN 5"),
        ("ls /target", 2, "did you mean targets?"),
        ("ls depth=x", 2, "levels"),
        ("cd nowhere", 2, "nowhere"),
        ("/devices/fileio create .x /a", 2, "'.x' must be"),
        ("/devices/fileio create x a", 2, "absolute"),
        ("/devices/fileio create x", 2, "path"),
        ("/devices/fileio create x /a block=1", 2, "did you mean block_size?"),
        ("/devices/fileio create disk1 /a", 1, "disk1"),
        ("/devices/nullio create x 1X", 2, "number of bytes"),
        ("/devices/nullio create x 1000", 2, "multiple of the block size"),
        ("/devices/fileio/disk1 set serial=", 2, "empty"),
        ("/devices/fileio/disk1 set", 2, "say what to set"),
        ("/devices/fileio/disk1 get colour", 2, "no setting colour"),
        ("/devices/fileio/disk1 set block_size=513", 2, "must be 512"),
        ("/targets/local create t1", 1, "exists"),
        ("/targets/local/t1/groups create g 'a b'", 2, "without blank"),
        ("/targets/local/t1/groups/readers/initiators create " + A.upper(), 1, "there already"),
        ("/targets/local/t1/hosts create iqn.*", 2, "exact name"),
        ("/targets/local/t1/hosts delete", 2, "say HOST"),
        ("apply -", 2, "standard input"),
        ("apply /nonexistent", 2, "No such file"),
        ("clear", 2, "say yes=yes"),
        ("/targets/local/t1/groups create g ..", 2, "always there"),
        ("help nonsense", 2, "nonsense"),
        ("create 'x", 2, "not closed"),
        ("save /proc/nonexistent/x", 1, "is not a file"),
    ],
)
def test_errors_say_what_where_and_what_to_do(
    shell: Shell, admin: Admin, line: str, code: int, words: str
) -> None:
    before = admin.config()
    failure = shell.execute(line)
    assert failure is not None
    assert words in failure.message
    assert failure.exit_code == code
    assert admin.config() == before


def test_error_of_the_shell_itself_is_no_traceback(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Context) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Context, "logins", broken)
    failure = shell.execute("status")
    assert failure is not None
    assert "ZeroDivisionError: a fault" in failure.message
    assert capsys.readouterr().err == ""


def test_without_control_plane(tmp_path: Path) -> None:
    with Admin(str(tmp_path / "nowhere"), state_dir=str(tmp_path)) as admin:
        shell = Shell(Session(admin, lambda line: None))
        for line in ("ls", "status", "map a target=t", "save"):
            failure = shell.execute(line)
            assert failure is not None
            assert failure.exit_code == 5
        assert shell.execute("help") is None
        assert shell.execute("cd /targets") is None


# Completion.


@pytest.fixture
def tab(shell: Shell, served: None, do: Callable[..., list[str]]) -> Callable[[str], list[str]]:
    do("/targets/local/t1 map disk1 group=readers lun=3")
    return shell.complete


def test_completion_of_commands_and_places(tab: Callable[[str], list[str]]) -> None:
    assert {"ls ", "map ", "devices/", "targets/"} <= set(tab(""))
    assert tab("sta") == ["status "]
    assert tab("/targets/l") == ["/targets/local/"]
    assert tab("cd /targets/local/") == ["/targets/local/t1/"]
    assert tab("/targets/local/t1/groups cr") == ["create "]
    assert tab("help ma") == ["map "]
    assert tab("ls 'x") == tab("nonsense ") == tab("/none/") == tab("ls\x00") == []


def test_completion_of_values(tab: Callable[[str], list[str]], tmp_path: Path) -> None:
    assert tab("map d") == ["disk1 "]
    assert tab("map disk1 target=") == ["target=local/t1 "]
    assert tab("map disk1 target=t1 group=re") == ["group=readers "]
    assert tab("map disk1 target=t1 group=readers lun=") == ["lun=0 "]
    assert tab("map disk1 --target=") == ["--target=local/t1 "]
    assert tab("map disk1 target=t1 read_only=") == ["read_only=no ", "read_only=yes "]
    assert {"group=", "lun=", "read_only="} <= set(tab("map disk1 target=t1 "))
    assert "target=" not in tab("map disk1 target=t1 t")
    assert set(tab("/targets/local/t1/groups/readers unmap ")) == {"3 ", "disk1 "}
    assert tab("/targets/local/t1/groups create x ") == [f"{A} ", f"{B} ", "priority="]
    assert tab("/targets/local/t1/groups/readers/initiators create ") == [f"{B} "]
    assert tab("/targets/local/t1/groups delete r") == ["readers "]
    assert tab("/devices/fileio delete ") == ["disk1 "]
    assert tab("/devices/fileio/disk1 set o_") == ["o_direct="]
    assert tab("/devices/fileio/disk1 get ser") == ["serial "]
    assert tab(f"/devices/fileio create x {tmp_path}/s") == [f"{tmp_path}/sim/"]
    assert tab(f"/devices/fileio create x {tmp_path}/d") == [f"'{tmp_path}/disk one.img' "]
    assert tab(f"/devices/blockio create x {tmp_path}/d") == []
    assert tab("/devices/blockio create x /dev/nul") == []
    folders = [one for one in tab("/devices/blockio create x ") if not one.endswith("=")]
    assert folders
    assert all(one.startswith("/dev/") and one.endswith("/") for one in folders)
    assert tab(f"apply {tmp_path}/sim/state.j") == [f"{tmp_path}/sim/state.json "]


# The command.


def test_lines_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim = ["--sim", str(tmp_path / "sim"), "shell"]
    two = "/targets/local create t\nmap n target=t"
    assert main([*sim, "-c", "/devices/nullio create n 1M", "-c", two]) == 0
    out = capsys.readouterr().out
    assert out == "n is LUN 0 for initiators that no group claims of t, read-write\n"
    assert main([*sim, "-c", "/devices/fileio create late /nonexistent/x"]) == 3
    assert main([*sim, "-c", "pwd", "-c", "nonsense", "-c", "clear confirm=yes"]) == 2
    assert capsys.readouterr().err.startswith("scstadmin: line 2: no command nonsense")
    with Admin(sim=sim[1]) as admin:
        assert len(admin.config().devices) == 2


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x1c", "\r"])
@pytest.mark.parametrize("where", ["-c", "file"])
def test_only_a_newline_ends_a_line(tmp_path: Path, separator: str, where: str) -> None:
    """Signs that other programs take for the end of a line do not make a command of what follows them."""
    text = f"/devices/nullio create m 1M\r\n/devices/nullio create n 1M # comment{separator}clear confirm=yes"
    script = tmp_path / "script"
    script.write_text(text, newline="")
    sim = str(tmp_path / "sim")
    assert main(["--sim", sim, "shell", *(["-c", text] if where == "-c" else [str(script)])]) == 0
    with Admin(sim=sim) as admin:
        assert [device.name for device in admin.config().devices] == ["m", "n"]


def test_script_stops_at_the_first_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "script"
    create = "/devices/nullio create n 1M\n"
    file.write_text(f"# makes a device\n{create}\n{create}clear confirm=yes\n")
    assert main(["--sim", str(tmp_path / "sim"), "--json", "shell", str(file)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["line"], report["exit_code"]) == (4, 1)
    with Admin(sim=str(tmp_path / "sim")) as admin:
        assert admin.config().devices != ()


def test_exit_ends_a_script(tmp_path: Path) -> None:
    assert main(["--sim", str(tmp_path / "sim"), "shell", "-c", "exit", "-c", "nonsense"]) == 0


@pytest.mark.parametrize("arguments", [["-c", "ls", "file"], ["/nonexistent"], ["-x"]])
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--sim", str(tmp_path / "sim"), "shell", *arguments])
    assert ended.value.code == 2


def test_script_from_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyscstadmin", "--sim", str(tmp_path / "sim"), "shell"]
    text = "/devices/nullio create n 1M\nls /devices\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 MiB, active" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("how", ["-", "script"])
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_script_in_no_encoding(tmp_path: Path, locale: dict[str, str], how: str) -> None:
    """Bytes of a path stay what they are, in every locale."""
    path = os.fsencode(tmp_path) + b"/\xff\xfe \xc3\xbc.img"
    text = b"/devices/fileio create late '" + path + b"'\nls\n"
    (tmp_path / "script").write_bytes(text)
    command = [sys.executable, "-m", "pyscstadmin", "--sim", "sim", "shell", how]
    done = subprocess.run(
        command, input=text, capture_output=True, check=False, cwd=tmp_path, env=os.environ | locale
    )
    assert (done.returncode, done.stderr) == (3, b"")
    assert b"waits for" in done.stdout
    with Admin(sim=str(tmp_path / "sim")) as admin:
        assert os.fsencode(admin.config().devices[0].path) == path


# At a terminal.


class Terminal:
    """The shell at a pseudo terminal."""

    def __init__(self, sim: Path, control_c: signal.Handlers = signal.SIG_DFL) -> None:
        def prepare() -> None:
            signal.signal(signal.SIGINT, control_c)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environment = os.environ | {"TERM": "dumb", "XDG_STATE_HOME": str(sim.parent / "state")}
        self.fd, inner = pty.openpty()
        self.child = subprocess.Popen(
            [sys.executable, "-m", "pyscstadmin", "--sim", str(sim)],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment,
            start_new_session=True,
            preexec_fn=prepare,
        )
        os.close(inner)
        self.text = ""

    def expect(self, words: str) -> str:
        """Read until these words; returns what came before. Fails after a minute."""
        end = time.monotonic() + 60
        while words not in self.text:
            ready = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"no {words!r} in {self.text!r}"
            self.text += os.read(self.fd, 4096).decode()
        before, _, self.text = self.text.partition(words)
        return before

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.fd, text.encode())

    def wait_asleep(self) -> None:
        """Until it waits for a key."""
        end = time.monotonic() + 60
        while "\nState:\tS" not in Path(f"/proc/{self.child.pid}/status").read_text():
            assert time.monotonic() < end, "does not wait for a key"
            time.sleep(0.01)

    def status(self) -> int:
        """The exit status, once it has ended."""
        return self.child.wait(60)

    def close(self) -> None:
        """End it if it has not ended."""
        self.child.kill()
        self.child.wait()
        os.close(self.fd)


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["", "background"])
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Bare scstadmin on a terminal, also when it is started by what ignores control-C."""
    terminal = Terminal(tmp_path / "sim", request.param)
    yield terminal
    terminal.close()


def test_a_person_at_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    """Prompt, Tab, an error, control-C, and the end of input."""
    terminal.expect("/> ")
    terminal.type("dev\tnul\tcr\tn 1M\n")
    terminal.expect("devices/nullio create n 1M")
    terminal.expect("/> ")
    terminal.type("nonsense\n")
    terminal.expect("no command nonsense at /")
    terminal.expect("/> ")
    # Python's line editor notices a signal only while it waits for a key.
    terminal.type("half a line")
    terminal.expect("half a line")
    terminal.wait_asleep()
    terminal.type("\x03")
    terminal.expect("/> ")
    terminal.type("cd devices/nullio/n\n")
    terminal.expect("/devices/nullio/n> ")
    terminal.type("get size\n")
    terminal.expect("size=1048576")
    terminal.expect("/devices/nullio/n> ")
    terminal.type("\x04")
    assert terminal.status() == 0
    history = tmp_path / "state/scstadmin/history"
    assert "devices/nullio create n 1M" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_the_end_of_input_is_no_consent(terminal: Terminal) -> None:
    terminal.expect("/> ")
    terminal.type("devices/nullio create n 1M\n")
    terminal.expect("/> ")
    terminal.type("clear\n")
    terminal.expect("[y/N] ")
    terminal.type("\x04")
    terminal.expect("nothing changed; yes=yes (--yes) does it without asking")
    terminal.expect("/> ")
    terminal.type("ls devices/nullio\n")
    terminal.expect("1 MiB, active")


def test_what_was_begun_is_not_dropped_by_the_way(terminal: Terminal) -> None:
    terminal.expect("/> ")
    terminal.type("begin\n")
    terminal.expect("/*> ")
    terminal.type("create device n 1M handler=nullio\n")
    terminal.expect("/*> ")
    terminal.type("exit\n")
    terminal.expect("is dropped. Go on? [y/N] ")
    terminal.type("n\n")
    terminal.expect("/*> ")
    terminal.type("\x04")
    terminal.expect("1 change dropped, none is in force")
    assert terminal.status() == 0


def test_many_objects_are_quick(admin: Admin, do: Callable[..., list[str]]) -> None:
    """Places are made as they are looked at: a command in a large configuration does not build all of it."""
    devices = tuple(Device(f"n{number}", "nullio", size=1 << 20) for number in range(1000))
    luns = tuple(Lun(number, f"n{number}") for number in range(1000))
    groups = tuple(Group(f"g{number}", initiators=(f"i{number}",), luns=luns[:20]) for number in range(50))
    wanted = Target("local", "t1", luns=luns, groups=groups)
    admin.create_target(Target("local", "t1"))
    admin.edit(lambda config: type(config)(devices, (wanted,)))
    do("/targets/local/t1 get")
    start = time.process_time()
    do("/targets/local/t1/groups/g7/luns/3 get")
    assert time.process_time() - start < 1.0


# Sizes, settings of the whole, and access that is still in use.


def test_resize(do: Callable[..., list[str]], shell: Shell, image: Path) -> None:
    do(f"/devices/fileio create d '{image}'")
    os.truncate(image, 2 << 20)
    assert do("/devices/fileio/d resize") == ["d: 2 MiB, was 1 MiB"]
    assert do("/devices/fileio/d resize 1M shrink=yes") == ["d: 1 MiB, was 2 MiB"]
    assert do("/devices/fileio/d get size") == ["size=1048576"]
    failure = shell.execute("/devices/fileio/d resize 512K")
    assert failure is not None
    assert failure.exit_code == 1
    for wrong in ("resize x", "resize 1M shrink=perhaps"):
        failure = shell.execute(f"/devices/fileio/d {wrong}")
        assert failure is not None
        assert failure.exit_code == 2
    assert shell.complete("/devices/fileio/d resize 0 shrink=") == ["shrink=no ", "shrink=yes "]
    assert any("1 MiB, active" in line for line in do("ls"))


def test_new_settings(do: Callable[..., list[str]], shell: Shell, admin: Admin) -> None:
    do("/devices/nullio create n 1M rotational=auto stop_unit=yes")
    assert do("/devices/nullio/n get rotational stop_unit") == ["rotational=auto", "stop_unit=yes"]
    do("/devices/nullio/n set rotational=no")
    assert do("/devices/nullio/n get rotational") == ["rotational=no"]
    assert shell.complete("/devices/nullio/n set rotational=a") == ["rotational=auto "]
    do("/targets/local create t queue_depth=7", "/targets/local/t set queue_depth=8")
    assert do("/targets/local/t get queue_depth") == ["queue_depth=8"]
    do("/ set buffer_limit=64M")
    assert do("/ get buffer_limit") == ["buffer_limit=67108864"]
    assert admin.config().settings["buffer_limit"] == 64 << 20
    assert shell.complete("/ set b") == ["buffer_limit="]
    do("clear confirm=yes")
    assert admin.config() == Config()


def test_exit_code_while_access_is_in_use(do: Callable[..., list[str]], shell: Shell, admin: Admin) -> None:
    admin.settle = 0.1
    do("/devices/nullio create n 1M", "/targets/local create t", f"/targets/local/t/hosts create {A}")
    do("/targets/local/t map n")
    tree: Any = admin.tree
    tree.begin_command("local/t", A, 0)
    assert any(A in line for line in do("/targets/local/t unmap 0"))
    assert shell.session.exit_code == 4
    tree.end_commands()
    assert shell.session.exit_code == 0
