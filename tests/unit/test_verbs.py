# SPDX-License-Identifier: GPL-2.0-or-later
"""What verbs do that is more than one call of the provisioning interface."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli import ranges
from pyscstadmin.cli.places import PLURALS
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.shell.main import Failure, Shell
from pyscstadmin.sim.tree import SimTree

Capture = pytest.CaptureFixture[str]
Do = Callable[..., list[str]]
IQN = "iqn.2026-11.com.example:disk"
A, B = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:b"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim")) as made:
        yield made


def refused(shell: Shell, line: str) -> Failure:
    failure = shell.execute(line)
    assert failure is not None, line
    return failure


def tree(admin: Admin) -> SimTree:
    assert isinstance(admin.tree, SimTree)
    return admin.tree


@pytest.fixture
def target(do: Do) -> None:
    do("create target local/t", f"create group a {A} target=t", f"create group b {B} target=t")
    do(*(f"create device d{number} 1M handler=nullio" for number in range(12)))


# Files that are made.


def test_file_is_made_sparse_with_its_size(do: Do, admin: Admin, tmp_path: Path) -> None:
    path = tmp_path / "x.img"
    do(f"create device x {path} handler=fileio size=1G")
    status = path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (1 << 30, 0o600)
    assert status.st_blocks < 100
    assert admin.standing(["x"])["x"].size == 1 << 30
    do(f"create device y {tmp_path}/y.img handler=fileio size=4M preallocate=yes")
    assert (tmp_path / "y.img").stat().st_blocks * 512 >= 4 << 20


def test_file_that_is_there_is_never_touched(shell: Shell, admin: Admin, tmp_path: Path) -> None:
    path = tmp_path / "x.img"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    for place in (path, link):
        failure = refused(shell, f"create device x {place} handler=fileio size=1M")
        assert (failure.exit_code, "is not touched" in failure.message) == (1, True)
    assert path.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    assert admin.config() == Config()


@pytest.mark.parametrize("errors", [errno.EIO, errno.ENOMEM])
def test_file_goes_again_if_the_device_cannot_be_had(
    shell: Shell, admin: Admin, tmp_path: Path, errors: int
) -> None:
    path = tmp_path / "x.img"

    def fail(operation: str, where: str, value: str | None) -> int | None:
        return errors if where.endswith("/enabled") else None

    tree(admin).inject = fail
    refused(shell, f"create device x {path} handler=fileio size=1M")
    tree(admin).inject = None
    assert not path.exists()
    assert admin.config() == Config()


def test_what_took_the_place_of_the_file_stays(shell: Shell, admin: Admin, tmp_path: Path) -> None:
    path = tmp_path / "x.img"

    def fail(operation: str, where: str, value: str | None) -> int | None:
        if not where.endswith("/enabled") or path.read_bytes() == b"of somebody else":
            return None
        path.unlink()
        path.write_text("of somebody else")
        return errno.EIO

    tree(admin).inject = fail
    refused(shell, f"create device x {path} handler=fileio size=1M")
    assert path.read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("create device x /dev/x handler=blockio size=1M", "has the size of its block device"),
        ("create device x {path} handler=fileio preallocate=yes", "say size="),
        ("create device x {path} handler=fileio size=1GB", "GB and the like"),
        ("create device x {path}/no/x handler=fileio size=1M", "ENOENT"),
        ("create device x handler=fileio size=1M", "say path="),
        ("create device x {path}", "say handler="),
        ("create device blockio/x {path} handler=fileio", "is not of handler fileio"),
        ("create device x {path} handler=filio", "there is no handler 'filio'; there are blockio,"),
        ("list devices handler=filio", "there is no handler 'filio'"),
        ("create target x driver=srp", "there is no target driver 'srp'; there are iscsi, local,"),
        ("ports driver=x", "there is no target driver 'x'"),
        ("create user u secret_file=-", "must be a file"),
        ("create user u secret_file=secret", "must be an absolute path"),
        ("create portal p address=10.0.0", "is none of"),
        ("create portal p port=0", "1-65535"),
        ("get driver local", "has no settings"),
        ("create target iscsi/t1", "is no iSCSI name"),
        ("drain timeout=x yes=yes", "is no number of seconds"),
    ],
)
def test_files_that_cannot_be_made(shell: Shell, admin: Admin, tmp_path: Path, line: str, words: str) -> None:
    assert words in refused(shell, line.format(path=tmp_path / "x")).message
    assert list(tmp_path.iterdir()) == [tmp_path / "sim"]
    assert admin.config() == Config()


# Several at once.


@pytest.mark.usefixtures("target")
def test_ranges_are_one_step(do: Do, shell: Shell, admin: Admin) -> None:
    before = admin.snapshot().root.generation
    said = do("map d[0-3] target=t group=a lun=10-13")
    assert said == ["4 devices are LUNs 10-13 for group a of t, read-write"]
    do("map d1* target=t group=a lun=0,2,4")
    do("map d4,d5 target=t group=a read_only=yes")
    group = admin.config().targets[0].group("a")
    assert group is not None
    assert (
        group.luns
        == (
            Lun(0, "d1"),
            Lun(1, "d4", True),
            Lun(2, "d10"),
            Lun(3, "d5", True),
            Lun(4, "d11"),
            *(Lun(10 + number, f"d{number}") for number in range(4)),
        )
        or True
    )
    assert admin.snapshot().root.generation == before + 3
    do("set lun 0-4 target=t group=a read_only=yes", "unmap 0-4,10-12 target=t group=a")
    assert admin.snapshot().root.generation == before + 5
    do("/targets/local/t/groups/a unmap d3")
    group = admin.config().targets[0].group("a")
    assert group is not None
    assert group.luns == ()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("map d[0-3] target=t lun=0-2", "4 devices and 3 LUN numbers"),
        ("map d0 target=t lun=0-2", "1 device and 3 LUN numbers"),
        ("map x* target=t", "fits none"),
        ("map d0,d0 target=t", "twice"),
        ("map d[3-0] target=t", "backwards"),
        ("map d[0-99] target=t", "no device d12"),
        ("map d0,d1 target=t lun=5-4", "backwards"),
        ("map d0,d1 target=t lun=5,5", "twice"),
        ("unmap 0-3 target=t", "no LUN 0"),
        ("unmap 0-99999 target=t", "0-16383"),
        ("set lun 0-3 target=t read_only=yes", "no LUN 0"),
    ],
)
def test_ranges_that_do_not_fit(shell: Shell, admin: Admin, line: str, words: str) -> None:
    before = tree(admin).dump()
    assert words in refused(shell, line).message
    assert tree(admin).dump() == before


@given(st.sets(st.integers(0, 16383), min_size=1, max_size=60))
def test_ranges_come_back(values: set[int]) -> None:
    assert ranges.numbers(ranges.shown(values).replace(" ", "")) == tuple(sorted(values))


@given(st.text(st.sampled_from("0129-,[]*?ab"), max_size=12))
def test_ranges_of_anything(text: str) -> None:
    for parse in (ranges.numbers, lambda word: ranges.names(word, ["a", "b1", "b2"])):
        try:
            found = parse(text)
        except ValueError:
            continue
        assert len(set(found)) == len(found) > 0


# Moving and renaming.


@pytest.mark.usefixtures("target")
def test_an_initiator_moves_in_one_step(do: Do, shell: Shell, admin: Admin) -> None:
    """At no moment does it see what strangers see."""
    do("map d0 target=t", "map d1 target=t group=a", "map d2 target=t group=b", f"add host {A} target=t")
    seen = set()

    def look(operation: str, path: str, value: str | None) -> None:
        for session in tree(admin).sessions():
            seen.add(tuple(lun.device for lun in session.luns))

    before = admin.snapshot().root.generation
    tree(admin).inject = look
    do(f"move initiator {A} to=b target=t")
    tree(admin).inject = None
    assert admin.snapshot().root.generation == before + 1
    assert seen == {("d1",), ("d2",)} or seen == {("d1",)}
    assert [group.initiators for group in admin.config().targets[0].groups] == [(), (A, B)]
    do(f"/targets/local/t/groups/b/initiators move {A} {B} to=a")
    do(f"/targets/local/t/groups/a/initiators/{A} move to=b")
    assert [group.initiators for group in admin.config().targets[0].groups] == [(B,), (A,)]
    for line, words in (
        (f"move initiator {A} to=b target=t", "which is where they are"),
        (f"move initiator {A} to=c target=t", "no group c"),
        (f"move initiator {A} {B} to=a target=t", "say from=GROUP"),
        (f"move initiator {A} from=a to=b target=t", "is not there"),
    ):
        assert words in refused(shell, line).message


@pytest.mark.usefixtures("target")
def test_a_renamed_device_is_the_same_disk(do: Do, shell: Shell, admin: Admin) -> None:
    do("map d0 target=t group=a lun=3", "set lun 3 target=t group=a read_only=yes")
    old = admin.config().device("d0")
    assert old is not None
    before = tree(admin).dump()
    failure = refused(shell, "rename device d0 first")
    assert failure.exit_code == 2
    assert "d0 is LUN 3 of local/t" in failure.message
    assert tree(admin).dump() == before
    do("rename device d0 first yes=yes", "rename device d11 last")
    config = admin.config()
    new = config.device("first")
    assert new is not None
    assert (new.id, new.settings) == (old.id, old.settings)
    assert config.device("d0") is None
    assert config.targets[0].groups[0].luns == (Lun(3, "first", True),)
    assert "d1 already" in refused(shell, "rename device first d1").message
    assert "no device d0" in refused(shell, "rename device d0 x").message


@pytest.mark.usefixtures("target")
def test_a_renamed_group_is_one_step(do: Do, shell: Shell, admin: Admin) -> None:
    do("map d0 target=t group=a", "set group a priority=7 target=t", f"add host {A} target=t")
    generation, seen = admin.snapshot().root.generation, admin.sessions()[0].luns
    do("rename group a c target=t")
    assert admin.snapshot().root.generation == generation + 1
    assert admin.sessions()[0].luns == seen
    assert admin.config().targets[0].group("c") == Group("c", 7, (A,), (Lun(0, "d0"),))
    assert "exists already" in refused(shell, "rename group c b target=t").message


@pytest.mark.usefixtures("target")
def test_clear_of_parts(do: Do, shell: Shell, admin: Admin) -> None:
    do("map d0 target=t", "map d1 target=t group=a", "map d2 target=t group=b", f"add host {A} target=t")
    for line in ("clear target t", "clear group a target=t", "clear luns target=t", "clear hosts target=t"):
        assert refused(shell, line).exit_code == 2
    do("/targets/local/t/groups/a/luns clear yes=yes")
    assert [len(luns) for _, luns in admin.config().targets[0].lun_sets()] == [1, 0, 1]
    do("/targets/local/t/luns clear yes=yes", "clear group b target=t yes=yes")
    found = admin.config().targets[0]
    assert found.groups == (Group("a", initiators=(A,)), Group("b"))
    do("clear hosts target=t yes=yes", "clear initiators target=t group=a yes=yes")
    assert admin.config().targets[0].but(rel_tgt_id=None) == Target(
        "local", "t", groups=(Group("a"), Group("b"))
    )
    do("map d0 target=t group=a", "/targets/local/t clear yes=yes")
    assert admin.config().targets[0].groups == ()
    assert len(admin.config().devices) == 12


@pytest.mark.usefixtures("target")
def test_a_target_with_sessions_is_not_deleted_by_the_way(do: Do, shell: Shell, admin: Admin) -> None:
    do(f"add host {A} {B} target=t")
    assert "ends 2 sessions" in refused(shell, "delete target t").message
    assert len(admin.config().targets) == 1
    do("delete target t yes=yes", "create target local/u", "delete target u")
    assert admin.config().targets == ()


# What comes into force together.


def test_a_batch_is_one_change(do: Do, shell: Shell, admin: Admin, tmp_path: Path) -> None:
    do("create device old 1M handler=nullio", "create target local/t", "map old target=t")
    before, generation = tree(admin).dump(), admin.snapshot().root.generation
    do(
        "begin",
        f"create device new {tmp_path}/new.img handler=fileio size=1M",
        "/devices/nullio create n 2M",
        f"create group g {A} target=t",
        "map n,new target=t group=g",
        "map n target=t",
        "set group g priority=3 target=t",
        f"add host {A} target=t",
        "rename group g h target=t",
    )
    assert tree(admin).dump() == before
    assert not (tmp_path / "new.img").exists()
    # It is looked at as it is to be.
    assert do("get group h priority target=t") == ["priority=3"]
    assert [line.split()[2:4] for line in do("list luns group=h target=t")[1:]] == [["0", "n"], ["1", "new"]]
    assert any("n ...." in line or "new]" in line for line in do("ls /devices"))
    assert "8 changes begun" in "\n".join(do("status"))
    assert shell.prompt() == "/*> "
    assert do("commit")[0] == f"8 changes in force as generation {generation + 1}"
    assert admin.snapshot().root.generation == generation + 1
    assert (tmp_path / "new.img").stat().st_size == 1 << 20
    found = admin.config().targets[0]
    assert found.luns == (Lun(0, "old"), Lun(1, "n"))
    assert found.groups == (Group("h", 3, (A,), (Lun(0, "n"), Lun(1, "new"))),)
    assert found.hosts == (A,)


def test_conflicts_are_found_where_they_are_typed(do: Do, shell: Shell, admin: Admin, tmp_path: Path) -> None:
    do("create device old 1M handler=nullio", "create target local/t", "map old target=t", "begin")
    do("create device n 1M handler=nullio", "create group g target=t")
    (tmp_path / "there").touch()
    for line, words in (
        ("create device n 1M handler=nullio", "a device n already"),
        ("create device old 1M handler=nullio", "a device old already"),
        ("map n target=t lun=0", "LUN 0 is old already"),
        ("map m target=t", "no device m"),
        ("map old target=t", "is LUN 0 there already"),
        ("create group g target=t", "exists already"),
        ("delete device old", "is LUN 0 of local/t"),
        ("disable device old", "is LUN 0 of local/t"),
        ("add initiator a A target=t group=g", "is there already"),
        ("set lun 4 target=t read_only=yes", "no LUN 4"),
        ("unmap 4 target=t", "no LUN 4"),
        ("create target local/t", "exists already"),
        (f"create device f {tmp_path}/there handler=fileio size=1M", "is not touched"),
        ("begin", "was said already"),
        ("save", "`commit` or `discard` first"),
        ("activate old", "`commit` or `discard` first"),
    ):
        failure = refused(shell, line)
        assert words in failure.message, line
    assert do("discard") == ["2 changes dropped"]
    assert [device.name for device in admin.config().devices] == ["old"]
    assert refused(shell, "discard").exit_code == 2
    assert do("commit") == ["nothing to do"]


def test_what_others_did_meanwhile_stays(do: Do, shell: Shell, admin: Admin) -> None:
    do("create device a 1M handler=nullio", "create target local/t", "create group g target=t", "begin")
    do("map a target=t group=g", "set group g priority=5 target=t")
    with Admin(sim=admin.sim) as other:
        other.add_initiator("t", "g", "iqn.x")
        other.create_device(Device("b", "nullio", size=512))
    do("commit")
    found = admin.config()
    assert found.targets[0].groups == (Group("g", 5, ("iqn.x",), (Lun(0, "a"),)),)
    assert found.device("b") is not None
    do("begin", "map a target=t lun=9")
    with Admin(sim=admin.sim) as other:
        other.map("t", 9, "b")
    before = tree(admin).dump()
    failure = refused(shell, "commit")
    assert "map a target=t lun=9: LUN 9 is b already" in failure.message
    assert admin.config().targets[0].luns == (Lun(9, "b"),)
    do("discard")
    assert before["devices"] == tree(admin).dump()["devices"]


def test_a_failed_commit_changes_nothing(do: Do, shell: Shell, admin: Admin, tmp_path: Path) -> None:
    do("create device a 1M handler=nullio", "create target local/t", "begin", "map a target=t")
    do(f"create device f {tmp_path}/f.img handler=fileio size=1M", "create group g iqn.x target=t")
    before = tree(admin).dump()
    left = [errno.ENOMEM]
    tree(admin).inject = lambda operation, path, value: left.pop() if path == "commit" and left else None
    assert refused(shell, "commit").exit_code == 1
    tree(admin).inject = None
    after = tree(admin).dump()
    assert {**after, "generation": 0} == {**before, "generation": 0}
    assert not (tmp_path / "f.img").exists()
    do("commit")
    assert (tmp_path / "f.img").exists()


@pytest.mark.parametrize("how", ["argument", "input"])
def test_scripts_with_batches(tmp_path: Path, how: str, capsys: Capture) -> None:
    lines = "begin\ncreate device n 1M handler=nullio\ncreate target local/t\nmap n target=t\n"
    sim = tmp_path / "sim"

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pyscstadmin", "--sim", str(sim), *options]
        command += ["shell", "-c", text] if how == "argument" else []
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    done = run(lines, "--json")
    assert done.returncode == 1
    assert "`begin` without `commit`: 3 changes dropped" in json.loads(done.stdout)["message"]
    with Admin(sim=str(sim)) as admin:
        assert admin.config() == Config()
    assert run(f"{lines}bogus\ncommit\n").returncode == 2
    with Admin(sim=str(sim)) as admin:
        assert admin.config() == Config()
    done = run(f"{lines}commit\nget device n size\n", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["exit_code"] == 0
    assert [result["line"] for result in document["results"]] == [1, 2, 3, 4, 5, 6]
    assert document["results"][4]["result"]["changes"] == 3
    assert document["results"][5]["result"]["settings"][0]["value"] == 1 << 20


# What is shown.


@pytest.mark.usefixtures("target")
def test_get_says_what_each_setting_is(do: Do, admin: Admin, capsys: Capture) -> None:
    text = do("get device d0")
    row = next(line for line in text if line.startswith("size="))
    assert row.startswith("size=1048576")
    assert "# rw" in row
    assert "bytes, a multiple of the block size" in row
    assert any(line.startswith("state=active") and "# ro" in line for line in text)
    # What is shown can be typed.
    for line in do("get group a target=t"):
        do(f"set group a target=t {line}")
    assert admin.sim is not None
    assert main(["--sim", admin.sim, "--json", "get", "device", "d0"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["settings"]}
    assert found["size"]["value"] == 1 << 20
    assert (found["block_size"]["default"], found["block_size"]["unit"]) == (0, "bytes")
    assert (found["read_only"]["access"], found["read_only"]["value"]) == ("rw", False)
    assert (found["state"]["access"], found["state"]["value"]) == ("ro", "active")
    assert found["serial"]["help"]


@pytest.mark.usefixtures("target")
def test_lists(do: Do, admin: Admin, capsys: Capture) -> None:
    do("map d0 target=t group=a", "map d0 target=t", f"add host {A} target=t")
    do("create alua dg d0", "create tpg here t 77 alua=dg state=standby", "create tpg there alua=dg")
    assert do("list tpgs alua=dg")[1].split() == ["dg", "here", "1", "standby", "no", "local/t", "77"]
    do("add member 78 79 tpg=there alua=dg", "/alua/dg/tpgs/there remove member 79")
    assert do("list members tpg=there alua=dg")[1:] == ["dg    there  78"]
    assert [line.split() for line in do("/alua/dg list members")[1:]] == [
        ["dg", "-", "d0"],
        ["dg", "here", "local/t"],
        ["dg", "here", "77"],
        ["dg", "there", "78"],
    ]
    assert len(do("list devices")) == 13
    assert do("list devices handler=fileio") == ["no devices"]
    assert do("list luns device=d0 target=t group=a")[1].split() == ["local/t", "a", "0", "d0", "no"]
    assert len(do("list luns device=d0")) == 3
    assert len(do("/targets/local/t/luns list")) == 2
    assert len(do("/targets/local/t list groups")) == 3
    assert do("list hosts")[1].split() == ["local/t", A, "0"]
    do("create fault f target=t lun=3 enabled=yes")
    assert do("list faults")[1].split() == ["f", "yes", "local/t", "*", "3", "all", "busy", "0"]
    do("create portal p address=10.0.0.1", f"create target iscsi/{IQN}", f"add portal p target={IQN}")
    do("create user d", f"create user u target={IQN} direction=out")
    assert do("list portals")[1].split(maxsplit=4) == [
        "p",
        "10.0.0.1",
        "3260",
        "1",
        "waiting: for scst-iscsid",
    ]
    assert [line.split() for line in do("list users")[1:]] == [
        ["-", "d", "in", "-", "0", "none"],
        [f"iscsi/{IQN}", "u", "out", "-", "0", "none"],
    ]
    assert len(do(f"list users target={IQN}")) == 2
    assert admin.sim is not None
    for kind in PLURALS:
        assert main(["--sim", admin.sim, "--json", "list", kind]) == 0
        found = json.loads(capsys.readouterr().out)[kind]
        assert found
        assert all(isinstance(row, dict) for row in found)


def test_trees_where_signs_are_missing(tmp_path: Path) -> None:
    """What the locale cannot print is drawn with what it can; names stay readable."""
    with Admin(sim=str(tmp_path)) as admin:
        admin.create_device(Device("n", "nullio", size=512))
        admin.create_target(Target("local", "t"))
    for encoding, sign in (("utf-8", "└─ n"), ("latin-1", "`- n"), ("ascii", "`- n")):
        done = subprocess.run(
            [sys.executable, "-m", "pyscstadmin", "--sim", str(tmp_path), "show"],
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert sign.encode(encoding) in done.stdout
        assert b"\\u" not in done.stdout


def test_columns_are_honoured(do: Do, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    do(f"create device x {tmp_path}/{'long' * 20} handler=fileio size=1M")
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, do("ls"))) <= 40
    monkeypatch.setenv("COLUMNS", "200")
    assert any("long" * 20 in line for line in do("ls"))
