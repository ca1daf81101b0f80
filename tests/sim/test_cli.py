# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: exit codes, output, and bad input of all kinds, which must change nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.read import snapshot
from tests.sim.conftest import REAL
from tests.sim.support import INITIATOR

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]

# These start the tool with a tree of its own: nothing of the kernel's is in it, and it starts slowly there.
simulated = pytest.mark.skipif(REAL, reason="of a simulated tree, wherever it runs")

GOOD = Config(
    (Device("n0", "nullio", size=1 << 20),),
    (
        Target(
            "local",
            "t1",
            rel_tgt_id=1,
            hosts=(INITIATOR,),
            groups=(Group("g", 100, (INITIATOR,), (Lun(0, "n0"),)),),
        ),
    ),
)
LATE = Config((Device("late", "fileio", path="/nonexistent/late.img"),))


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.json"
    path.write_text(schema.dumps(GOOD))
    return str(path)


def now(tree: Tree) -> Config:
    tree.refresh()
    return snapshot(tree).config


def test_apply_plan_show_clear(tree: Tree, scstadmin: Run, good: str, capsys: Capture) -> None:
    assert scstadmin("plan", good) == 0
    assert "create device nullio/n0" in capsys.readouterr().out
    assert now(tree) == Config()
    assert scstadmin("apply", good) == 0
    assert scstadmin("plan", good) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert scstadmin("show") == 0
    shown = capsys.readouterr().out
    for part in ("n0", "local/t1", INITIATOR, "LUN 0", "read-write", "generation"):
        assert part in shown
    assert scstadmin("sessions") == 0
    assert INITIATOR in capsys.readouterr().out
    assert scstadmin("clear", "--yes") == 0
    assert now(tree) == Config()


def test_json_everywhere(scstadmin: Run, good: str, capsys: Capture, tmp_path: Path) -> None:
    scstadmin("apply", good)
    capsys.readouterr()
    for command in (
        ["show"],
        ["plan", good],
        ["apply", good],
        ["sessions"],
        ["sessions", "--commands"],
        ["explain", "--initiator", "x", "--target", "t1"],
        ["map", "n0", "--target", "t1", "--lun", "4"],
        ["unmap", "--target", "t1", "--lun", "4"],
        ["deactivate", "n0"],
        ["activate", "n0"],
        ["save", str(tmp_path / "saved.json")],
        ["schema"],
        ["unmap", "--target", "t1", "--lun", "4"],
        ["clear", "--yes"],
    ):
        scstadmin("--json", *command)
        captured = capsys.readouterr()
        json.loads(captured.out)
        assert captured.err == ""


def test_exit_3_for_parked_devices(scstadmin: Run, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "late.json"
    path.write_text(schema.dumps(LATE))
    assert scstadmin("apply", str(path)) == 3
    assert "late" in capsys.readouterr().out
    assert scstadmin("restore", str(path)) == 3
    assert scstadmin("apply", str(path)) == 3


def test_exit_1_for_what_is_refused(tree: Tree, scstadmin: Run, good: str, capsys: Capture) -> None:
    scstadmin("apply", good)
    assert scstadmin("map", "n0", "--target", "t1", "--lun", "0", "--group", "none") == 1
    assert scstadmin("map", "none", "--target", "t1", "--lun", "9") == 1
    assert scstadmin("unmap", "--target", "t1", "--lun", "9") == 1
    assert scstadmin("activate", "none") == 1
    assert scstadmin("explain", "--target", "t9", "--initiator", "x") == 1
    assert capsys.readouterr().err.count("scstadmin:") == 5
    assert now(tree).targets == GOOD.targets


def test_exit_4_for_what_is_left_out(scstadmin: Run, tmp_path: Path, capsys: Capture) -> None:
    bad = Device("bad", "fileio", path=str(tmp_path))
    path = tmp_path / "partly.json"
    path.write_text(schema.dumps(Config((*GOOD.devices, bad), GOOD.targets)))
    assert scstadmin("apply", str(path)) == 1
    assert scstadmin("restore", str(path)) == 4
    assert "left out: create device fileio/bad" in capsys.readouterr().out
    assert scstadmin("save", str(tmp_path / "saved.json")) == 1
    assert not (tmp_path / "saved.json").exists()
    assert scstadmin("save", str(tmp_path / "saved.json"), "--force") == 0


def test_exit_5_without_control_plane(tmp_path: Path, capsys: Capture) -> None:
    from pyscstadmin.__main__ import main

    assert main(["--root", str(tmp_path / "none"), "show"]) == 5
    assert main(["--json", "--root", str(tmp_path / "none"), "clear", "--yes"]) == 5
    captured = capsys.readouterr()
    assert "modprobe scst" in captured.err
    assert json.loads(captured.out)["exit_code"] == 5


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["apply"],
        ["show", "--nonsense"],
        ["map", "--target", "t"],
        ["map", "n0", "--target", ""],
        ["map", "n0", "--target", "t", "--group", ""],
        ["map", "n0", "--target", "t", "--lun", "01"],
        ["map", "n0", "--target", "t", "--lun", "x"],
        ["map", "n0", "--target", "t", "--lun", "16384"],
        ["explain", "--target", "t"],
        ["--sim", "/x", "--root", "/y", "show"],
        ["clear"],
    ],
)
def test_exit_2_for_wrong_usage(
    scstadmin: Run, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as caught:
        scstadmin(*words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["apply"],
        ["clear"],
        ["nonsense"],
        ["shell", "-x"],
        ["map", "n0", "--lun", "x"],
        ["--sim", "a", "--root", "b"],
    ],
)
def test_wrong_usage_as_json(
    scstadmin: Run, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert scstadmin("--json", *words) == 2
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert (said["error"], said["exit_code"]) == ("WrongUsage", 2)
    assert said["message"]
    assert captured.err == ""


@pytest.mark.parametrize("answer", ["", "n", None])
def test_clear_asks(
    tree: Tree,
    scstadmin: Run,
    good: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    answer: str | None,
) -> None:
    """Whatever is no yes is a no, the end of input too."""
    scstadmin("apply", good)

    def reply(question: str) -> str:
        assert question == ""  # the output is no terminal: it is on the other one
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", reply)
    assert scstadmin("clear") == 1
    said = capsys.readouterr().err
    assert "all sessions end" in said
    assert "nothing changed" in said
    assert scstadmin("--json", "clear") == 2
    assert json.loads(capsys.readouterr().out)["error"] == "WrongUsage"
    assert now(tree).targets == GOOD.targets


# Each: the text, and what the complaint must hold.
DEVICE = '{"version": 1, "devices": {"nullio": {"n0": {"size": 1048576}}}, "targets": {"local": {"t1": %s}}}'
BAD = {
    "empty": ("", ["1:1", "not JSON"]),
    "not json": ('{"version": 1,\n  nonsense}', ["2:3", "not JSON"]),
    "cut off": ('{"version": 1, "devices": {', ["not JSON"]),
    "two documents": ("{}\n{}", ["2:1", "not JSON"]),
    "nan": ('{"version": NaN}', ["1:13", "NaN is not a JSON value"]),
    "infinity": ('{"version": 1, "$schema": "NaN",\n "devices": -Infinity}', ["2:13", "-Infinity is not"]),
    "nested": ("[" * 100000, ["nested"]),
    "huge number": ('{"version":\n ' + "9" * 5000 + "}", ["2:2", "not JSON", "5000 digits"]),
    "huge negative number": ('{"version": -' + "9" * 5000 + "}", ["1:13", "not JSON"]),
    "huge fraction": ('{"version": ' + "9" * 5000 + ".5}", ["1:13", "must be 1"]),
    "surrogate": (
        '{"version": 1, "devices": {"fileio": {"d": {"path": "/\\ud800"}}}}',
        ["1:53", "must not contain '\\ud800'"],
    ),
    "initiator ..": (DEVICE % '{"groups": {"g": {"initiators": [".."]}}}', ["'..' names a directory"]),
    "host .": (DEVICE % '{"hosts": ["."]}', ["'.' names a directory"]),
    "list": ("[]", ["must be an object"]),
    "null": ("null", ["must be an object, not null"]),
    "no version": ("{}", ['"version" is missing']),
    "other version": ('{\n "version": 2}', ["2:13", "must be 1"]),
    "version text": ('{"version": "1"}', ["1:13", "must be 1"]),
    "version true": ('{"version": true}', ["1:13", "must be 1"]),
    "unknown top key": (
        '{"version": 1,\n "device": {}}',
        ["2:2", "unknown key 'device'", "did you mean 'devices'"],
    ),
    "unknown handler": ('{"version": 1,\n\n "devices": {"fileo": {}}}', ["3:14", "did you mean 'fileio'"]),
    "unknown driver": ('{"version": 1, "targets": {"srptx": {}}}', ["1:28", "unknown target driver"]),
    "unknown setting": (
        '{"version": 1, "devices": {"fileio": {"d": {"path": "/x", "read_onyl": true}}}}',
        ["1:59", "unknown key 'read_onyl'", "did you mean 'read_only'", "devices.fileio.d"],
    ),
    "setting of another handler": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "path": "/x"}}}}',
        ["1:58", "unknown key 'path'"],
    ),
    "duplicate key": ('{"version": 1,\n "devices": {},\n "devices": {}}', ["3:2", 'duplicate key "devices"']),
    "duplicate escaped": ('{"version": 1, "targets": {}, "\\u0074argets": {}}', ["1:31", "duplicate key"]),
    "duplicate LUN": (
        DEVICE % '{"luns": {"0": {"device": "n0"},\n "0": {"device": "n0"}}}',
        ["2:2", 'duplicate LUN "0"', "targets.local.t1.luns"],
    ),
    "duplicate group": (DEVICE % '{"groups": {"g": {},\n"g": {}}}', ["2:1", 'duplicate group "g"']),
    "duplicate host": (DEVICE % '{"hosts": ["a",\n "A"]}', ["2:2", "duplicate 'A'"]),
    "duplicate initiator": (DEVICE % '{"groups": {"g": {"initiators": ["a", "a"]}}}', ["duplicate 'a'"]),
    "duplicate device": (
        '{"version": 1, "devices": {"fileio": {"d": {"path": "/x"}},\n "nullio": {"d": {"size": 512}}}}',
        ["2:13", "defined under fileio already"],
    ),
    "duplicate identifier": (
        '{"version": 1, "targets": {"local": {"a": {"rel_tgt_id": 5},\n "b": {"rel_tgt_id": 5}}}}',
        ["2:22", "'a' has the same"],
    ),
    "missing device": (
        DEVICE % '{"luns": {"0": {"device": "n1"}}}',
        ["there is no device 'n1'", "did you mean 'n0'", "targets.local.t1.luns.0.device"],
    ),
    "lun without device": (DEVICE % '{"luns": {"0": {}}}', ['"device" is missing']),
    "lun of a disabled device": (
        (DEVICE % '{"luns": {"0": {"device": "n0"}}}').replace('"size"', '"enabled": false, "size"'),
        ['"enabled": false'],
    ),
    "no path": ('{"version": 1, "devices": {"fileio": {"d": {}}}}', ['"path" is missing']),
    "no size": ('{"version": 1, "devices": {"nullio": {"d": {}}}}', ['"size" is missing']),
    "relative path": ('{"version": 1, "devices": {"fileio": {"d": {"path": "x"}}}}', ["absolute"]),
    "bad size": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 513}}}}',
        ["multiple of the block size"],
    ),
    "negative size": ('{"version": 1, "devices": {"nullio": {"d": {"size": -512}}}}', ["must be 0-"]),
    "size text": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": "1G"}}}}',
        ["1:53", "whole number, not a text"],
    ),
    "size fraction": ('{"version": 1, "devices": {"nullio": {"d": {"size": 512.0}}}}', ["not a fraction"]),
    "bool number": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "read_only": 1}}}}',
        ["true or false, not a number"],
    ),
    "number bool": ('{"version": 1, "devices": {"nullio": {"d": {"size": true}}}}', ["not true or false"]),
    "bad block size": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "block_size": 520}}}}',
        ["4096"],
    ),
    "bad naa": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "id": {"naa": "1"}}}}}',
        ["hex digits"],
    ),
    "long vendor": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "id": {"vendor": "123456789"}}}}}',
        ["longer than 8"],
    ),
    "empty serial": (
        '{"version": 1, "devices": {"nullio": {"d": {"size": 512, "id": {"serial": ""}}}}}',
        ["must not be empty"],
    ),
    "bad name": ('{"version": 1, "devices": {"nullio": {"a b": {"size": 512}}}}', ["1:39", "name 'a b'"]),
    "long name": ('{"version": 1, "targets": {"local": {"%s": {}}}}' % ("x" * 224), ["longer than 223"]),
    "bad lun": (DEVICE % '{"luns": {"01": {"device": "n0"}}}', ["LUN '01'", "leading zeroes"]),
    "large lun": (DEVICE % '{"luns": {"16384": {"device": "n0"}}}', ["LUN '16384'", "0-16383"]),
    "bad priority": (DEVICE % '{"groups": {"g": {"priority": 65536}}}', ["must be 0-65535"]),
    "bad identifier": (DEVICE % '{"rel_tgt_id": 0}', ["must be 1-65535"]),
    "pattern as host": (DEVICE % '{"hosts": ["a*"]}', ["exact name"]),
    "bad pattern": (DEVICE % '{"groups": {"g": {"initiators": ["a b"]}}}', ["without blank"]),
    "luns list": (DEVICE % '{"luns": []}', ["must be an object, not a list"]),
    "hosts text": (DEVICE % '{"hosts": "a"}', ["must be a list, not a text"]),
    "devices null": ('{"version": 1, "devices": null}', ["1:27", "must be an object, not null"]),
    "target number": ('{"version": 1, "targets": {"local": {"t": 5}}}', ["must be an object, not a number"]),
}


@pytest.mark.parametrize("command", ["apply", "plan", "restore"])
@pytest.mark.parametrize("name", BAD)
def test_bad_files(
    tree: Tree, scstadmin: Run, tmp_path: Path, capsys: Capture, name: str, command: str
) -> None:
    text, parts = BAD[name]
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert scstadmin(command, str(path)) == 2
    said = capsys.readouterr().err
    for part in (str(path), *parts):
        assert part in said
    assert "Traceback" not in said
    assert now(tree) == Config()


def test_all_problems_are_reported_at_once(scstadmin: Run, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.json"
    path.write_text(
        '{"version": 1, "devices": {"nullio": {"d": {"siez": 512}}},\n'
        ' "targets": {"local": {"t": {"luns": {"x": {"device": "e"}, "1": {"device": "e"}}, "enabled": 1}}}}'
    )
    assert scstadmin("--json", "apply", str(path)) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    lines = path.read_text().splitlines()
    wanted = [(1, '{"siez"'), (1, '"siez"'), (2, '"x"'), (2, '"e"}}'), (2, "1}}}}")]
    assert [(p["line"], p["column"]) for p in problems] == [
        (n, lines[n - 1].index(part) + 1) for n, part in wanted
    ]


def test_thousands_of_problems_are_cut_short(scstadmin: Run, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"version": 1, "devices": {f"x{i}": {} for i in range(5000)}}))
    assert scstadmin("apply", str(path)) == 2
    said = capsys.readouterr().err
    assert "and 4900 more problems" in said


@pytest.mark.parametrize("kind", ["rubbish", "spaces", "json"])
def test_large_files_are_refused_quickly(scstadmin: Run, tmp_path: Path, capsys: Capture, kind: str) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.write({"rubbish": os.urandom(1000), "spaces": b" " * 1000, "json": b"[1," * 1000}[kind])
        file.truncate(1 << 40)
    start = time.process_time()
    assert scstadmin("apply", str(path)) == 2
    assert time.process_time() - start < 10
    assert "larger than 256 MiB" in capsys.readouterr().err


def test_what_never_ends_is_refused(scstadmin: Run, capsys: Capture) -> None:
    assert scstadmin("apply", "/dev/zero") == 2
    assert "larger than 256 MiB" in capsys.readouterr().err


@simulated
def test_files_that_take_all_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" + "[]," * 10_000_000 + "1]")
    line = 'ulimit -v 400000; exec "$0" -m pyscstadmin --sim "$1" apply "$2"'
    ran = subprocess.run(
        ["sh", "-c", line, sys.executable, str(tmp_path / "s"), str(path)], capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "takes more memory than there is" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_files_that_cannot_be_read(scstadmin: Run, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "latin").write_bytes(b'{"version": 1,\n "\xe9": 1}')
    for path, part in (("none.json", "No such file"), (".", "Is a directory"), ("latin", "2:3: not UTF-8")):
        assert scstadmin("apply", str(tmp_path / path)) == 2
        assert part in capsys.readouterr().err
    assert scstadmin("apply", "/dev/zero") == 2
    assert "larger than" in capsys.readouterr().err


def test_save_restore(tree: Tree, scstadmin: Run, good: str, tmp_path: Path, capsys: Capture) -> None:
    scstadmin("apply", good)
    before = now(tree)
    path = tmp_path / "etc" / "saved.json"
    assert scstadmin("save", str(path)) == 1
    path.parent.mkdir()
    assert scstadmin("save", str(path)) == 0
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert scstadmin("save", str(path)) == 0
    assert "unchanged" in capsys.readouterr().out
    assert [p.name for p in path.parent.iterdir()] == ["saved.json"]
    scstadmin("clear", "--yes")
    assert scstadmin("save", str(path)) == 1
    assert path.read_bytes() == first
    assert scstadmin("restore", str(path)) == 0
    assert now(tree) == before
    scstadmin("map", "n0", "--target", "t1", "--lun", "7")
    assert scstadmin("save", str(path)) == 0
    assert path.with_name("saved.json.1").read_bytes() == first
    capsys.readouterr()
    assert scstadmin("save", "-") == 0
    assert capsys.readouterr().out == path.read_text()


def test_standard_input(tree: Tree, scstadmin: Run, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(Path(good).read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert scstadmin("apply", "-") == 0
    assert now(tree).targets == GOOD.targets


def test_explain(scstadmin: Run, good: str, capsys: Capture) -> None:
    scstadmin("apply", good)
    capsys.readouterr()
    for extra in ([], ["--file", good]):
        assert scstadmin("explain", "--initiator", INITIATOR.upper(), "--target", "local/t1", *extra) == 0
        said = capsys.readouterr().out
        for part in ("group g", "exact name", "LUN 0", "n0"):
            assert part in said
    assert scstadmin("explain", "--initiator", "stranger", "--target", "t1") == 0
    said = capsys.readouterr().out
    assert "no group claims" in said
    assert "none of its patterns match" in said


def test_explain_what_is_staged(tree: Tree, scstadmin: Run, good: str, capsys: Capture) -> None:
    words = ["explain", "--initiator", INITIATOR, "--target", "t1"]
    scstadmin("apply", good)
    capsys.readouterr()
    assert scstadmin(*words) == 0
    assert "staged" not in capsys.readouterr().out
    tree.refresh()
    tree.mkdir("targets/local/t1/groups/g/luns/7")
    tree.write("autocommit", "0")
    tree.unlink("targets/local/t1/groups/g/luns/0/device")
    tree.flush()
    assert scstadmin(*words) == 0
    said = capsys.readouterr().out
    assert "LUN 0 " not in said
    assert "LUN 7" not in said
    assert "staged changes not in force" in said
    assert scstadmin("--json", *words) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["settled"], data["luns"]) == (False, [])


def test_progress(scstadmin: Run, good: str, capsys: Capture) -> None:
    assert scstadmin("-v", "apply", good) == 0
    said = capsys.readouterr().err
    assert "[1/" in said
    assert "create device nullio/n0" in said


@simulated
def test_a_reader_that_goes_away(good: str, tmp_path: Path) -> None:
    """`scstadmin show | head -1` ends without a complaint."""
    command = [sys.executable, "-m", "pyscstadmin", "--sim", str(tmp_path / "pipe"), "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode in (0, 1)
    assert said == b""


LOCALES = {
    "strict": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
    "latin": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1:strict"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
}


@simulated
@pytest.mark.parametrize("locale", LOCALES)
def test_names_in_every_locale(tmp_path: Path, locale: str) -> None:
    """What cannot be printed as it is, is printed escaped; a saved file is UTF-8 all the same."""
    odd = Config((Device("d", "fileio", path=os.fsdecode(b"/nonexistent/\xff")),))
    wide = Config((Device("d", "fileio", path="/nonexistent/\u65e5\u672c\U0001f4bd"),))
    (tmp_path / "odd.json").write_text(schema.dumps(odd))
    (tmp_path / "wide.json").write_text(schema.dumps(wide), encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "pyscstadmin", "--sim", str(tmp_path / "sim"), *words]
        done = subprocess.run(command, capture_output=True, check=False, env=os.environ | LOCALES[locale])
        assert b"Traceback" not in done.stderr
        return done

    for words, code in ((["plan"], 0), (["apply"], 3)):
        assert run(*words, str(tmp_path / "odd.json")).returncode == code
    assert b"nonexistent/" in run("show").stdout
    found = schema.loads(run("save", "-").stdout.decode())
    assert found.devices[0].path == odd.devices[0].path
    done = run("apply", str(tmp_path / "wide.json"))
    if locale == "ascii":  # no file name can have these letters then
        assert done.returncode == 2
        assert b"file names cannot have" in done.stderr
        return
    assert done.returncode == 3
    assert b"nonexistent/" in run("show").stdout
    found = schema.loads(run("save", "-").stdout.decode())
    assert found.devices[0].path == wide.devices[0].path


@simulated
@pytest.mark.parametrize(
    ("redirect", "code"), [(">/dev/full", 1), (">&-", 0), ("<&-", 0), (">&- <&- 2>&-", 0), ("| true", 0)]
)
@pytest.mark.parametrize("words", ["show", "--json show", "save -"])
def test_output_that_goes_nowhere(tmp_path: Path, words: str, redirect: str, code: int) -> None:
    command = f"{sys.executable} -m pyscstadmin --sim {tmp_path}/sim {words} {redirect}"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert (b"No space left" in done.stderr) == (code == 1)


@simulated
def test_exit_code_without_a_reader(tmp_path: Path) -> None:
    """What goes wrong is said by the exit code, also where nobody reads the rest."""
    command = [
        sys.executable,
        "-m",
        "pyscstadmin",
        "--sim",
        str(tmp_path / "sim"),
        "--json",
        "apply",
        "/none",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (2, b"")


def test_what_is_in_force_is_shown(scstadmin: Run, tmp_path: Path, capsys: Capture, backing: Path) -> None:
    """A LUN of a read-only device is read-only, and a parked device says why, wherever it is looked at."""
    group = {"initiators": ["iqn.a"], "luns": {"0": {"device": "d"}, "1": {"device": "gone"}}}
    devices = {
        "d": {"path": str(backing), "read_only": True},
        "gone": {"path": str(tmp_path / "gone")},
    }
    target = {"hosts": ["iqn.a"], "groups": {"g": group}}
    config = {"version": 1, "devices": {"fileio": devices}, "targets": {"local": {"t": target}}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert scstadmin("apply", str(tmp_path / "c.json")) == 3
    capsys.readouterr()

    def said(*words: str) -> str:
        assert scstadmin(*words) == 0
        return capsys.readouterr().out

    shown = said("show")
    assert "LUN 0  d, read-only (the device is)" in shown
    assert f"gone  fileio, {tmp_path / 'gone'}, parked (ENOENT)" in shown
    assert "LUN 1  gone, read-write, parked (ENOENT)" in shown
    explained = said("explain", "--target", "t", "--initiator", "iqn.a")
    assert "LUN 0  d, read-only (the device is), 1 MiB" in explained
    assert "LUN 1  gone, read-write, parked (ENOENT)" in explained
    of_file = said("explain", "--target", "t", "--initiator", "iqn.a", "--file", str(tmp_path / "c.json"))
    assert "LUN 0  d, read-only (the device is)" in of_file
    assert "LUN 0  d, read-only\n" in said("sessions")
    assert json.loads(said("--json", "show"))["device_errors"] == {"gone": "ENOENT"}
    told = said("who", "d").splitlines()
    assert told[0].startswith("d  fileio, ")
    where = "LUN 0 of local/t for group g, read-only (the device is); seen by iqn.a"
    assert [line.strip() for line in told[1:]] == [where]
    data = json.loads(said("--json", "who", "gone"))
    assert (data["state"], data["error"]) == ("parked", "ENOENT")
    use = {"target": "local/t", "group": "g", "lun": 1, "read_only": False, "sessions": ["iqn.a"]}
    assert data["uses"] == [use]
    assert scstadmin("deactivate", "d") == 0
    capsys.readouterr()
    assert "parked on request" in said("who", "d")
    assert scstadmin("who", "dd") == 1
    assert "did you mean d?" in capsys.readouterr().err
