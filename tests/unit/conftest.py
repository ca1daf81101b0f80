# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of the unit tests, and a shell for those that have an `admin`."""

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

from pyscstadmin.admin import Admin
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from tests.nothing_left import nothing_left

__all__ = ("nothing_left",)

# An example may take as long as a busy machine makes it take: time is no property of what is tested here.
EXAMPLES = int(os.environ.get("SCST_EXAMPLES", "100"))
settings.register_profile("any-machine", deadline=None, max_examples=EXAMPLES)
settings.load_profile("any-machine")


@pytest.fixture
def said() -> list[str]:
    """What the shell says."""
    return []


@pytest.fixture
def shell(admin: Admin, said: list[str]) -> Shell:
    """A shell on the test's own `admin`."""
    return Shell(Session(admin, said.append))


@pytest.fixture
def do(shell: Shell, said: list[str]) -> Callable[..., list[str]]:
    """Carry out lines that must succeed; returns what the last one said."""

    def run(*lines: str) -> list[str]:
        for line in lines:
            said.clear()
            failure = shell.execute(line)
            assert failure is None, (line, failure)
        return said

    return run
