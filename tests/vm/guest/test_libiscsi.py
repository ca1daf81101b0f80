# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi's conformance suite (`iscsi-test-cu`, its SCSI families) through /dev/sg of driver ``local``.

How each test ends is what the table in docs/conformance.md says, to the word: what passes goes on passing,
and what passes for the first time has to be written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import copying, libiscsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

KINDS = ("thin file", "disk", "removable", "read-only")
# SG_IO ended without a SCSI status.
OUT_OF_TIME = "failed with status 251658241"


def fetch_results(nodes: tuple[Path, Path]) -> None:
    """Of copies with list identifier 1: over iSCSI the tool logs in anew for each test, and none is known."""
    for node in nodes:
        with Unit(node) as unit:
            unit.attentions()
            for action in (copying.STATUS, copying.FAILED):
                unit.command(copying.results(action, 1), 512)


def run(name: str, nodes: tuple[Path, Path]) -> dict[str, str] | None:
    """Run a suite, or one test of it: what is printed of each test; None: the tool itself has crashed."""
    fetch_results(nodes)
    found = libiscsi.run_tool(f"SCSI.{name}", [str(node) for node in nodes])
    for node in nodes:
        with Unit(node) as unit:
            unit.attentions()
    return found


def asked_again(suite: str, ended: dict[str, str], nodes: tuple[Path, Path]) -> dict[str, str]:
    """Tests in which a command took longer than the tool waits: on a busy host a few seconds say nothing."""
    again = {test: run(f"{suite}.{test}", nodes) for test, text in ended.items() if OUT_OF_TIME in text}
    return {**ended, **{test: one[test] for test, one in again.items() if one is not None}}


def all_of(kind: str, nodes: tuple[Path, Path]) -> dict[str, str]:
    """What is printed of every test of every suite."""
    results = {}
    for suite, tests in libiscsi.suites("SCSI").items():
        if suite not in libiscsi.ONLY.get(kind, (suite,)):
            continue
        ended = libiscsi.suite_of(suite, tests, lambda name: run(name, nodes))
        ended = asked_again(suite, ended, nodes)
        results.update({f"{suite}.{test}": ended[test] for test in tests})
    return results


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
    found = {test: libiscsi.verdict(text) for test, text in printed.items()}
    with capsys.disabled():
        print()
        for test, ended in found.items():
            print(f"libiscsi {kind}: {test} {ended}")
        counted = [f"{list(found.values()).count(word)} {word}" for word in libiscsi.VERDICTS]
        print(f"libiscsi {kind}: {', '.join(counted)}")
    different = libiscsi.differences(found, printed, libiscsi.written(KINDS)[kind])
    assert not different, different
