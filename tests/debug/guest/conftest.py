# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the tests on debug kernels: those of the kernel's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import klog
from tests.vm.guest.conftest import clean_tree, ext4, make_file, script

__all__ = ["clean_tree", "ext4", "make_file", "script"]


@pytest.fixture(scope="module", autouse=True)
def injecting(scst_modules: tuple[str, ...]) -> Iterator[None]:
    """Faults are made on purpose in these files: what the kernel says of them is none."""
    log = Path("/dev/kmsg")
    log.write_text(f"<6>{klog.INJECTION[0]}\n")
    yield
    log.write_text(f"<6>{klog.INJECTION[1]}\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Runs take long here: what fails is shown at once."""
    if report.failed:
        print(f"\n{report.longreprtext}\n{report.capstdout}", file=sys.__stderr__, flush=True)
