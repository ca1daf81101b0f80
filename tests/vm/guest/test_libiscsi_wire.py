# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi's conformance suite over the wire: its families about iSCSI, and those of SCSI commands.

How each test ends is what the table in docs/conformance.md says, for our target and for Linux's own, LIO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.iscsi.responder import Responder
from tests.vm.guest import iscsi, libiscsi, lio, tree
from tests.vm.guest.long import more

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

SYSTEMS = ("scst", "LIO")  # the columns
SIZE = 96 << 20
TRIES = 3


def names() -> list[tuple[str, str, list[str]]]:
    """Families, their suites, their tests."""
    return [
        (family, suite, tests)
        for family in ("iSCSI", "SCSI")
        for suite, tests in libiscsi.suites(family).items()
    ]


def all_of(url: str) -> dict[str, str]:
    """What is printed of every test. The tool comes by two ways: two initiators."""
    results = {}
    for family, suite, tests in names():
        ended = libiscsi.suite_of(suite, tests, lambda name, family=family: run(f"{family}.{name}", url))  # type: ignore[misc]
        results.update({f"{suite}.{test}": ended[test] for test in tests})
    return results


def run(name: str, url: str) -> dict[str, str] | None:
    """Run what has this name."""
    return libiscsi.run_tool(name, [url, url])


def written(system: str) -> dict[str, str]:
    """The table of the document: verdict by test."""
    rows = re.findall(r"^\| (\w+\.\S+) \| (\w*) \| (\w*) \|[^|]*\|$", libiscsi.DOCUMENT.read_text(), re.M)
    at = 1 + SYSTEMS.index(system)
    return {row[0]: row[at].upper() for row in rows if row[at]}


@contextmanager
def of_lio(file: Path) -> Iterator[str]:
    """A LUN of LIO."""
    with lio.served(file) as target:
        yield f"iscsi://{target.portal}/{target.name}/0"


@contextmanager
def of_scst(file: Path) -> Iterator[str]:
    """A LUN of ours."""
    with Responder([iscsi.NAME]):
        target = iscsi.Target(iscsi.NAME)
        target.make()
        target.luns.map(0, tree.fileio("suite", file, thin=True))
        target.enable()
        yield f"iscsi://127.0.0.1:3260/{target.name}/0"
        target.enable(False)
        iscsi.wait_sessions(0)


SERVED = {"LIO": of_lio, "scst": of_scst}


@pytest.mark.parametrize("system", [*more("LIO", "scst")])
def test_suite(system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each test ends as the document says."""
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(SIZE)
    with SERVED[system](file) as url:
        printed = all_of(url)
    found = {test: libiscsi.verdict(text) for test, text in printed.items()}
    with capsys.disabled():
        print()
        for test, ended in found.items():
            print(f"libiscsi over iSCSI, {system}: {test} {ended}")
        counted = [f"{list(found.values()).count(word)} {word}" for word in libiscsi.VERDICTS]
        print(f"libiscsi over iSCSI, {system}: {', '.join(counted)}")
    different = libiscsi.differences(found, printed, written(system))
    assert not different, different
