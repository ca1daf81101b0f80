# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/iscsi-conformance.md: every row is there, and the tests that it names exist; so do those that
docs/conformance.md names.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
TEXT = (REPO / "docs/iscsi-conformance.md").read_text()
ROWS = re.findall(r"^\| (I-\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", TEXT, re.M)
LATER = (REPO / "docs/conformance.md").read_text().partition("## Later versions of the tool")[2]
NAMED = r"`(test_\w+\.py): (test_\w+)`"
VERDICTS = ("kept", "refused", "partly", "not there")


@cache
def found_in(name: str) -> set[str]:
    """Of a file in one of the folders."""
    folders = ("unit", "vm/guest", "vm/netboot")
    found = [path for folder in folders if (path := REPO / "tests" / folder / name).exists()]
    assert len(found) == 1, name
    tree = ast.parse(found[0].read_text())
    return {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}


def test_every_row_is_there() -> None:
    assert [row for row, *_ in ROWS] == [f"I-{number}" for number in range(1, 96)]
    assert len(ROWS) == TEXT.count("\n| I-")


@pytest.mark.parametrize(("row", "verdict", "tests"), [(row, *rest) for row, _, *rest in ROWS])
def test_row(row: str, verdict: str, tests: str) -> None:
    """A verdict that is one, and tests for it; what is not there says why, and has none."""
    word = next((word for word in VERDICTS if re.match(rf"{word}\b", verdict)), "")
    assert word, verdict
    named = re.findall(NAMED, tests)
    assert len(named) == tests.count("`") // 2, "a test that is not named as the others"
    assert bool(named) == (word != "not there")
    assert word != "partly" or ":" in verdict, "what is missing?"
    for file, test in named:
        assert test in found_in(file), f"{row}: there is no {test} in {file}"


def test_later_tests_of_libiscsi() -> None:
    """Each row of the table names tests, and there is none that no row names."""
    rows = re.findall(r"^\| (iSCSI[^|]+) \| [^|]+ \| ([^|]+) \|$", LATER, re.M)
    named = {place for _, tests in rows for place in re.findall(NAMED, tests)}
    assert all(re.search(NAMED, tests) for _, tests in rows)
    assert len(rows) == LATER.count("\n| iSCSI") == 10
    there = {
        (name, test)
        for name in ("test_libiscsi_later.py", "test_libiscsi_chap.py")
        for test in found_in(name)
    }
    assert named == {place for place in there if place[1].startswith("test_")}
