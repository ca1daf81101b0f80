# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi's conformance suite (`iscsi-test-cu`): what there is of it, and a run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/conformance.md"
SECONDS = 240
# Kinds of LUNs that some families are about: others' outcome has nothing to do with it, or they write, which
# fails there and means to.
ONLY = {"removable": ("NoMedia", "PreventAllow", "StartStopUnit"), "read-only": ("ReadOnly",)}
VERDICTS = ("PASSED", "SKIPPED", "FAILED", "CRASHED")
# A run of a family, or of one test of it; None: the tool itself has crashed.
Run = Callable[[str], "dict[str, str] | None"]


def suites(family: str) -> dict[str, list[str]]:
    """The suites of a family (SCSI, iSCSI), and their tests."""
    text = subprocess.run(["iscsi-test-cu", "-l"], capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for suite, test in re.findall(rf"^{family}\.([^.\s]+)\.(\S+)$", text, re.M):
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


def run_tool(name: str, units: Sequence[str]) -> dict[str, str] | None:
    """Run FAMILY.SUITE[.TEST] on a unit, by one way or two: what is printed of each test."""
    words = ["iscsi-test-cu", "-d", "-S", "-V", "-t", name, *units]
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
    )
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


def suite_of(suite: str, tests: Sequence[str], run: Run) -> dict[str, str]:
    """What is printed of every test of a suite. Where the tool crashes, its tests run one by one."""
    ended = run(suite)
    if ended is None:
        alone = {test: run(f"{suite}.{test}") for test in tests}
        ended = {test: "CRASHED" if one is None else one[test] for test, one in alone.items()}
    return ended


def written(kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """The table of the document that has these columns: verdict by column and test.

    Where a test ends one way or the other there are several ("passed, failed").
    """
    lines = DOCUMENT.read_text().splitlines()
    begin = lines.index(f"| test | {' | '.join(kinds)} | why |") + 2
    rows = [line.split(" | ") for line in takewhile(lambda line: line.startswith("| "), lines[begin:])]
    return {
        kind: {row[0].removeprefix("| "): row[at].upper() for row in rows if row[at].strip()}
        for at, kind in enumerate(kinds, 1)
    }


def differences(found: dict[str, str], printed: dict[str, str], expected: dict[str, str]) -> str:
    """Where what was found is not what the table says, and what was printed then."""
    return "\n".join(
        f"{test}: {found.get(test)}, and the table says {expected.get(test)}\n{printed.get(test)}"
        for test in sorted({*found, *expected})
        if found.get(test, "") not in expected.get(test, "").split(", ")
    )
