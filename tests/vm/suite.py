# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs everything ``make test`` stands for and adds it up: ``N passed, N failed``.

Two parts run at a time, each line of their output begins with the part's name. Each part runs even when an
earlier one failed. A part that is not pytest counts as one test; so does a pytest part that ends without a
result (a crash, a machine that died). JUnit files are kept in ``build/junit``.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
JUNIT = REPO / "build/junit"
PYTHON = sys.executable
# More than run at a time, so that none waits long for the last one.
VM_PARTS = 4
VM_SECONDS = 3000
# The longest test takes 100 on an idle machine.
TEST_SECONDS = 900
# What is repeated of a failure at the end: enough for the headline of a kernel's report.
REASON_LINES = 12
REASON_COLUMNS = 200
# A part keeps one CPU busy most of the time.
AT_A_TIME = 2
# Boards that can not be a target, and the faults, are for test-hba and test-kernels.
HBA_SCENARIOS = (
    "2432",
    "2532",
    "scst-one-vm",
    "scst-two-vms",
    "scst-scripted",
    "scst-removal",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One command of the suite. *junit* is the file it writes, if it is pytest."""

    name: str
    command: tuple[str, ...]
    junit: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of a part, its time in seconds, and which tests failed and why, as far as it is known."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: tuple[str, ...] = ()


def present(*names: str) -> list[str]:
    """Those of the given files and folders that exist in the repository."""
    return [name for name in names if (REPO / name).exists()]


def python_part(name: str, folders: Sequence[str]) -> Part:
    """pytest on the host over some folders."""
    junit = JUNIT / f"{name}.xml"
    return Part(name, (PYTHON, "-m", "pytest", "-q", f"--junitxml={junit}", *folders), junit)


def parts() -> list[Part]:
    """The suite: what is over in a minute, then the long ones, and what fills the gaps."""
    suite = [Part("ruff", (PYTHON, "-m", "ruff", "check", ".")), Part("mypy", (PYTHON, "-m", "mypy"))]
    suite += [*more_types(), *vm_parts()]
    if present("tests/hba/run.py"):
        suite.append(Part("hba", (PYTHON, "tests/hba/run.py", "vm", *HBA_SCENARIOS)))
    for name, folders in (
        ("unit", present("tests/unit", "tests/vm/unit")),
        ("sim", present("tests/sim")),
        ("hba-unit", present("tests/hba/tests", "tests/hba/unit")),
    ):
        if any(list((REPO / folder).rglob("test_*.py")) for folder in folders):
            suite.append(python_part(name, folders))
    suite.append(Part("modules-strict", (PYTHON, "-m", "tests.vm", "check")))
    suite.append(python_part("vm-selftest", ["tests/vm/selftest"]))
    suite.append(Part("demo", (PYTHON, "-m", "tests.vm.demo")))
    return suite


def more_types() -> list[Part]:
    """Type checks of tests/hba, whose package is called hba, and of what runs when modules are built."""
    parts = []
    for name, path, what in (
        ("hba", "tests", ("-p", "hba")),
        ("kmod", "kmod/targets/qla2xxx", ("kmod/targets/qla2xxx/layout.py",)),
    ):
        options = ("--strict", "--config-file=", f"--cache-dir=build/mypy-{name}", *what)
        parts.append(Part(f"mypy-{name}", ("env", f"MYPYPATH={path}", PYTHON, "-m", "mypy", *options)))
    return parts


def vm_parts() -> list[Part]:
    """The tests inside the VM, dealt out to some machines; tests/sim is there on the kernel's configfs. Those
    in a machine that systemd has booted are apart.
    """
    files = sorted(str(path.relative_to(REPO)) for path in (REPO / "tests/vm/guest").glob("test_*.py"))
    hands = [files[number::VM_PARTS] for number in range(VM_PARTS)]
    hands[-1].append("tests/sim")
    dealt = [vm_part(f"vm-{number}", hand) for number, hand in enumerate(hands, 1)]
    return [*dealt, vm_part("vm-systemd", ["tests/vm/systemd"], "--systemd")]


def vm_part(name: str, files: Sequence[str], *options: str) -> Part:
    """Some files of tests in one machine."""
    out = REPO / "build/vm" / name
    command = (
        PYTHON,
        "-m",
        "tests.vm",
        "test",
        f"--out={out}",
        f"--timeout={VM_SECONDS}",
        "--env=SCST_REAL=1",
        "--env=SCST_BLOCKDEV=/dev/vda",
        # What must be over in a second on an idle machine may take as long here as others leave time for it.
        "--env=SCST_SLOW=4",
        f"--env=SCST_TEST_SECONDS={TEST_SECONDS}",
        *options,
        "--",
        *files,
    )
    return Part(name, command, out / "junit.xml")


def counts(junit: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a JUnit file. Raises ValueError when it holds no test."""
    suites = list(ElementTree.parse(junit).getroot().iter("testsuite"))
    total, bad, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    if total == 0:
        raise ValueError(f"{junit}: no tests in it")
    return max(0, total - bad - skipped), bad, skipped


def failures(junit: Path | None) -> tuple[str, ...]:
    """The tests of a JUnit file that failed or left something behind, and why; none without a file."""
    if junit is None or not junit.exists():
        return ()
    try:
        cases = ElementTree.parse(junit).getroot().iter("testcase")
    except ElementTree.ParseError:
        return ()
    found = []
    for case in cases:
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        found += [f"{name}{why(bad)}" for kind in ("failure", "error") for bad in case.findall(kind)]
    return tuple(found)


def why(bad: ElementTree.Element) -> str:
    """The lines in which pytest says what was wrong, indented; without such lines the first of the text."""
    lines = [line for line in (bad.text or "").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("E ")] or lines
    return indented(said[:REASON_LINES])


def indented(lines: Sequence[str]) -> str:
    """Lines below a headline, cut where they are very long."""
    return "".join(f"\n    {line[:REASON_COLUMNS]}" for line in lines)


def say(line: str) -> None:
    """Write a line at once: print() writes its end by itself, and another's beginning may come between."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(part: Part) -> Outcome:
    """Run a part with its output shown, whole lines at a time: others write, too."""
    say(f"=== {part.name}")
    start = time.monotonic()
    last: deque[str] = deque(maxlen=REASON_LINES)
    if part.junit is not None:
        part.junit.unlink(missing_ok=True)
    child = subprocess.Popen(
        part.command,
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            say(f"{part.name:14} {line.rstrip()}")
            last.append(line.rstrip())
    passed, failed, skipped = tally(part, child.returncode)
    reasons = failures(part.junit)
    if failed and not reasons:
        reasons = (f"status {child.returncode}, its last lines:{indented(list(last))}",)
    return Outcome(part.name, passed, failed, skipped, time.monotonic() - start, reasons)


def run_all(chosen: Sequence[Part]) -> list[Outcome]:
    """Run parts, some at a time, in this order."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(run, chosen))


def tally(part: Part, status: int) -> tuple[int, int, int]:
    """Counts of a part that ended with *status*: a bad status never counts as no failure."""
    if part.junit is None:
        return (1, 0, 0) if status == 0 else (0, 1, 0)
    try:
        passed, failed, skipped = counts(part.junit)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        say(f"{part.name}: no result: {error}")
        return 0, 1, 0
    return passed, max(failed, 1) if status != 0 else failed, skipped


def report(outcomes: Sequence[Outcome]) -> int:
    """Print the table, what failed, and the sum; returns the exit status.

    The end of a long log is what is looked at first, and often all that is kept of it: some thousand letters.
    """
    for outcome in outcomes:
        skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
        counted = f"{outcome.passed} passed, {outcome.failed} failed{skipped}"
        print(f"{outcome.name:16} {counted:40} {outcome.seconds:7.1f} s")
    for outcome in outcomes:
        for name in outcome.failures:
            print(f"FAILED in {outcome.name}: {name}")
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main() -> int:
    """Entry point; names of parts as arguments run only those."""
    JUNIT.mkdir(parents=True, exist_ok=True)
    suite = parts()
    wanted = sys.argv[1:] or [part.name for part in suite]
    unknown = set(wanted) - {part.name for part in suite}
    if unknown:
        print(f"no part named {', '.join(sorted(unknown))}; there are: {', '.join(p.name for p in suite)}")
        return 2
    return report(run_all([part for part in suite if part.name in wanted]))


if __name__ == "__main__":
    sys.exit(main())
