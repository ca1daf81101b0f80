# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi's conformance suite (`iscsi-test-cu`, its SCSI families) through /dev/sg of driver ``local``.

How each test ends is what the table in docs/conformance.md says, to the word: what passes goes on passing,
and what passes for the first time has to be written down.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import copying, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/conformance.md"
KINDS = ("thin file", "disk", "removable", "read-only")
# The others' outcome has nothing to do with it, or they write, which fails there and means to.
ONLY = {"removable": ("NoMedia", "PreventAllow", "StartStopUnit"), "read-only": ("ReadOnly",)}
SECONDS = 240
# SG_IO ended without a SCSI status.
OUT_OF_TIME = "failed with status 251658241"
VERDICTS = ("PASSED", "SKIPPED", "FAILED", "CRASHED")


def suites() -> dict[str, list[str]]:
    """The families of SCSI commands, and their tests."""
    text = subprocess.run(["iscsi-test-cu", "-l"], capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for suite, test in re.findall(r"^SCSI\.([^.\s]+)\.(\S+)$", text, re.M):
        found.setdefault(suite, []).append(test)
    assert found
    return found


def verdict(text: str) -> str:
    """How a test ended, by what was printed of it. What is in brackets is of a step that may have to fail."""
    if text == "CRASHED":
        return text
    if "FAILED" in text.replace("[FAILED]", ""):
        return "FAILED"
    if "SKIPPED" in text:
        return "SKIPPED"
    assert "passed" in text, text
    return "PASSED"


def fetch_results(nodes: tuple[Path, Path]) -> None:
    """Of copies with list identifier 1: over iSCSI the tool logs in anew for each test, and none is known."""
    for node in nodes:
        with Unit(node) as unit:
            unit.attentions()
            for action in (copying.STATUS, copying.FAILED):
                unit.command(copying.results(action, 1), 512)


def run(name: str, nodes: tuple[Path, Path]) -> dict[str, str] | None:
    """Run a family, or one test of it: what is printed of each test; None: the tool itself has crashed."""
    fetch_results(nodes)
    words = ["iscsi-test-cu", "-d", "-S", "-V", "-t", f"SCSI.{name}", *map(str, nodes)]
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
    )
    for node in nodes:
        with Unit(node) as unit:
            unit.attentions()
    if done.returncode < 0:
        return None
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (done.stdout.partition("Run Summary")[0] + "\n" + done.stderr).splitlines():
        begin = re.match(r"^  Test: (\S+?) ?\.\.\.", line)
        if begin:
            lines = found.setdefault(begin[1], [])
        lines.append(line)
    return {test: "\n".join(text) for test, text in found.items()}


def asked_again(suite: str, ended: dict[str, str], nodes: tuple[Path, Path]) -> dict[str, str]:
    """Tests in which a command took longer than the tool waits: on a busy host a few seconds say nothing."""
    again = {test: run(f"{suite}.{test}", nodes) for test, text in ended.items() if OUT_OF_TIME in text}
    return {**ended, **{test: one[test] for test, one in again.items() if one is not None}}


def all_of(kind: str, nodes: tuple[Path, Path]) -> dict[str, str]:
    """What is printed of every test of every family. Where the tool crashes, its tests run one by one."""
    results = {}
    for suite, tests in suites().items():
        if suite not in ONLY.get(kind, (suite,)):
            continue
        ended = run(suite, nodes)
        if ended is None:
            alone = {test: run(f"{suite}.{test}", nodes) for test in tests}
            ended = {test: "CRASHED" if one is None else one[test] for test, one in alone.items()}
        ended = asked_again(suite, ended, nodes)
        results.update({f"{suite}.{test}": ended[test] for test in tests})
    return results


def written() -> dict[str, dict[str, str]]:
    """The table of the document: verdict by kind of LUN and test."""
    rows = re.findall(r"^\| (\w+\.\S+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|", DOCUMENT.read_text(), re.M)
    return {
        kind: {row[0]: row[1 + at].upper() for row in rows if row[1 + at].strip()}
        for at, kind in enumerate(KINDS)
    }


@pytest.fixture(params=KINDS)
def lun(
    request: pytest.FixtureRequest, ext4: Path, disks: dict[str, PluggedDisk], clean_tree: None
) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """A kind of LUN, and its nodes at two initiators."""
    path = ext4 / "suite"
    with path.open("wb") as file:
        file.truncate(96 << 20)
    if request.param == "disk":
        device = tree.blockio("suite", disks["vm-disk-a"].node)
    else:
        device = tree.fileio(
            "suite",
            path,
            thin=request.param == "thin file",
            removable=request.param == "removable",
            read_only=request.param == "read-only",
        )
    first, second = serve(device)
    yield request.param, (first.sg(0), second.sg(0))
    guest_plugin.wipe()
    guest_plugin.leaked_counters()
    path.unlink()


def test_suite(lun: tuple[str, tuple[Path, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    """Each test ends as the document says."""
    kind, nodes = lun
    printed = all_of(kind, nodes)
    found = {test: verdict(text) for test, text in printed.items()}
    with capsys.disabled():
        print()
        for test, ended in found.items():
            print(f"libiscsi {kind}: {test} {ended}")
        print(
            f"libiscsi {kind}: {', '.join(f'{list(found.values()).count(word)} {word}' for word in VERDICTS)}"
        )
    expected = written()[kind]
    differences = [
        f"{test}: {found.get(test)}, and the table says {expected.get(test)}\n{printed.get(test)}"
        for test in sorted({*found, *expected})
        if found.get(test) != expected.get(test)
    ]
    assert not differences, "\n".join(differences)
