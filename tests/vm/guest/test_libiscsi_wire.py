# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi's conformance suite over the wire: its families about iSCSI, and those of SCSI commands.

How each test ends is what the table in docs/conformance.md says, for our target and for Linux's own, LIO.
With header digests it is the same as without; the tool knows no data digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi.responder import Responder
from tests.vm.guest import iscsi, libiscsi, lio, tree
from tests.vm.guest.long import LONG, more

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

KINDS = ("thin file", "removable", "read-only", "LIO")  # the columns
SIZE = 96 << 20
# What the local driver cannot have: initiator ports of the tool's own, sessions that end, what is iSCSI's.
WIRE = (
    *("iSCSIcmdsn", "iSCSIdatasn", "iSCSIResiduals", "iSCSITMF"),
    *("MultipathIO", "ProutReserve", "ProutPreempt", "Reserve6"),
)


@dataclass(frozen=True)
class Case:
    """A run of the tool: at what kind of LUN, with header digests or without, and which suites of it."""

    kind: str
    digest: bool = False
    suites: tuple[str, ...] = ()

    def has(self, suite: str) -> bool:
        """Whether it runs them."""
        return suite in (self.suites or libiscsi.ONLY.get(self.kind, (suite,)))


def all_of(case: Case, url: str) -> dict[str, str]:
    """What is printed of every test. The tool comes by two ways: two initiators."""
    results = {}
    for family in ("iSCSI", "SCSI"):
        for suite, tests in libiscsi.suites(family).items():
            if case.has(suite):
                ended = libiscsi.suite_of(suite, tests, partial(run, url, family))
                results.update({f"{suite}.{test}": ended[test] for test in tests})
    return results


def run(url: str, family: str, name: str) -> dict[str, str] | None:
    """Run what has this name."""
    return libiscsi.run_tool(f"{family}.{name}", [url, url])


@contextmanager
def of_lio(file: Path) -> Iterator[str]:
    """A LUN of LIO."""
    with lio.served(file) as target:
        yield f"iscsi://{target.portal}/{target.name}/0"


@contextmanager
def of_scst(device: tree.Device, digest: bool) -> Iterator[str]:
    """A LUN of ours; *digest*: of headers, which all sessions must have agreed on."""
    with Responder([iscsi.NAME], digests=digest) as responder:
        target = iscsi.Target(iscsi.NAME)
        target.make()
        target.luns.map(0, device)
        target.enable()
        yield f"iscsi://127.0.0.1:3260/{target.name}/0"
        target.enable(False)
        iscsi.wait_sessions(0)
        agreed = {keys["HeaderDigest"] for keys in responder.agreed}
        assert agreed == {"CRC32C" if digest else "None"}


@contextmanager
def served(case: Case, file: Path) -> Iterator[str]:
    """The URL of a LUN of its kind."""
    if case.kind == "LIO":
        with of_lio(file) as url:
            yield url
        return
    words = {"thin": "thin file", "removable": "removable", "read_only": "read-only"}
    device = tree.fileio("suite", file, **{word: kind == case.kind for word, kind in words.items()})
    with of_scst(device, case.digest) as url:
        yield url


def cases() -> list[Any]:
    """In `make test`: what only comes by the wire."""
    return [
        *([] if LONG else [Case("thin file", suites=WIRE)]),
        Case("removable"),
        Case("read-only"),
        *more(Case("thin file"), Case("thin file", digest=True), Case("LIO")),
    ]


def name_of(case: Case) -> str:
    return case.kind + " with digests" * case.digest + " in short" * bool(case.suites)


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_suite(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each test ends as the document says."""
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(SIZE)
    with served(case, file) as url:
        printed = all_of(case, url)
    found = {test: libiscsi.verdict(text) for test, text in printed.items()}
    with capsys.disabled():
        print()
        for test, ended in found.items():
            print(f"libiscsi over iSCSI, {name_of(case)}: {test} {ended}")
        counted = [f"{list(found.values()).count(word)} {word}" for word in libiscsi.VERDICTS]
        print(f"libiscsi over iSCSI, {name_of(case)}: {', '.join(counted)}")
    table = libiscsi.written(KINDS)[case.kind]
    expected = {test: ended for test, ended in table.items() if case.has(test.partition(".")[0])}
    different = libiscsi.differences(found, printed, expected)
    assert not different, different
