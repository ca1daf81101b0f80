# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``make test`` runs, and that nothing of it is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.vm import suite

JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="0" skipped="0"/></testsuites>'


def part(name: str, program: str, junit: Path | None = None) -> suite.Part:
    return suite.Part(name, (sys.executable, "-c", program), junit)


def test_each_file_is_dealt_out_once() -> None:
    """Every file of tests in the VM runs, in one machine."""
    words = [word for each in suite.vm_parts() for word in each.command if word.endswith(".py")]
    there = [str(path.relative_to(suite.REPO)) for path in (suite.REPO / "tests/vm/guest").rglob("test_*.py")]
    assert sorted(words) == sorted(there)
    assert sum("tests/sim" in each.command for each in suite.vm_parts()) == 1


def test_what_systemd_boots_is_run() -> None:
    """By itself: tests for a machine that systemd has booted are of no use in another one."""
    (words,) = [each.command for each in suite.vm_parts() if "--systemd" in each.command]
    assert list(words[words.index("--") + 1 :]) == ["tests/vm/systemd"]


def test_two_run_at_a_time(tmp_path: Path) -> None:
    """Each waits for the other, which is in vain where they come one after the other."""
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "mine, other = map(Path, {!r})\n"
        "mine.touch()\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists(): time.sleep(0.01); assert time.monotonic() < end"
    )
    names = (str(tmp_path / "a"), str(tmp_path / "b"))
    parts = [part("one", program.format(names)), part("two", program.format(names[::-1]))]
    outcomes = suite.run_all(parts)
    assert [(each.name, each.passed, each.failed) for each in outcomes] == [("one", 1, 0), ("two", 1, 0)]


def test_lines_say_whose_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    suite.run_all([part("a", "print('x'); print('y', end='')"), part("b", r"print('caf\u00e9')")])
    assert sorted(capfd.readouterr().out.splitlines()) == [
        "=== a",
        "=== b",
        "a              x",
        "a              y",
        "b              café",
    ]


def test_failures_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A bad status, a result that is not there, failures in the result: each fails the run."""
    junit = tmp_path / "junit.xml"
    written = f"from pathlib import Path; Path({str(junit)!r}).write_text({{!r}}); raise SystemExit({{}})"
    for program, file, passed, failed in (
        ("raise SystemExit(3)", None, 0, 1),
        ("pass", tmp_path / "none.xml", 0, 1),
        (written.format(JUNIT.format(7, 2), 1), junit, 5, 2),
        (written.format(JUNIT.format(7, 0), 1), junit, 7, 1),
    ):
        outcomes = suite.run_all([part("p", program, file)])
        assert [(each.passed, each.failed) for each in outcomes] == [(passed, failed)]
        assert suite.report(outcomes) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "7 passed, 1 failed"


def test_old_result_is_not_taken(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(JUNIT.format(9, 0))
    (outcome,) = suite.run_all([part("p", "pass", junit)])
    assert (outcome.passed, outcome.failed) == (0, 1)


THREE = """
import pytest

@pytest.fixture
def late():
    yield
    assert 1 == 2

def test_good(): pass
def test_bad(): assert 0
def test_left(late): pass
"""


def test_failures_are_named_at_the_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is looked at first in a log of hours is its end: the names stand there, whole."""
    junit, file = tmp_path / "junit.xml", tmp_path / "test_three.py"
    file.write_text(THREE)
    words = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", f"--junitxml={junit}", str(file)]
    outcomes = suite.run_all([part("p", f"import sys, pytest; sys.exit(pytest.main({words!r}))", junit)])
    assert suite.report(outcomes) == 1
    lines = capfd.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith("FAILED in ")]
    assert named == ["FAILED in p: test_three.py::test_bad", "FAILED in p: test_three.py::test_left"]
    assert lines[lines.index(named[0]) + 1].strip().startswith("E   assert 0")
    assert "assert 1 == 2" in lines[lines.index(named[1]) + 1]


def test_why_a_part_without_a_result_failed_is_said_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A machine that died writes no result: what it said last is all there is, and stands after the table."""
    words = "print('first'); [print('line', n) for n in range(30)]; print('why'); raise SystemExit(3)"
    outcomes = suite.run_all([part("p", words, tmp_path / "none.xml"), part("q", "print('well')")])
    capfd.readouterr()
    assert suite.report(outcomes) == 1
    lines = capfd.readouterr().out.splitlines()
    table = [number for number, line in enumerate(lines) if line.startswith(("p  ", "q  "))]
    assert lines[max(table) + 1].startswith("FAILED in p: status 3")
    assert [line.strip() for line in lines[-3:]] == ["line 29", "why", "1 passed, 1 failed"]
    assert "first" not in "".join(lines)
