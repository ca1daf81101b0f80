# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test must not leave behind: state of the process that the tests after it would run in.

A fixture for the conftest of every suite; it needs nothing of the packages under test.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest

__all__ = ["nothing_left"]

State = dict[str, object]


def _loggers() -> State:
    """Every logger that is not as a new one; pytest's own handlers are its own."""
    known = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    found: State = {}
    for logger in (logging.root, *known):
        kinds = [type(one) for one in logger.handlers]
        handlers = [kind.__name__ for kind in kinds if not kind.__module__.startswith("_pytest")]
        state = (logger.level, logger.propagate, logger.disabled, handlers)
        if state != (logging.NOTSET, True, False, []):
            found[f"logger {logger.name}"] = state
    return found


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _state() -> State:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {
        "folder": os.getcwd(),
        "umask": _umask(),
        "environment": environment,
        **{f"signal {int(number)}": signal.getsignal(number) for number in signal.valid_signals()},
        "threads": sorted(one.name for one in threading.enumerate() if not one.daemon),
        **_loggers(),
    }


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves the process otherwise than it found it."""
    before = _state()
    yield
    after = _state()
    changed = {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    assert not changed, f"left behind (before, after): {changed}"
