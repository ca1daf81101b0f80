# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration is held against the rules once: it cannot change. What is made of it is another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyscstadmin.config import valid
from pyscstadmin.config.model import Config, Device, Lun, Target
from pyscstadmin.config.schema import dumps, loads
from pyscstadmin.errors import InvalidInput

DEVICE = Device("n", "nullio", size=1 << 20)
WHOLE = Config((DEVICE,), (Target("local", "t", luns=(Lun(0, "n"),)),))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What was looked at, in the order of that."""
    found: list[Config] = []
    usual = valid._data

    def noting(part: Config) -> object:
        found.append(part)
        return usual(part)

    monkeypatch.setattr(valid, "_data", noting)
    return found


def test_once(looks: list[Config]) -> None:
    """The same object is not looked at again, an equal one is."""
    wanted = replace(WHOLE)
    for _ in range(3):
        valid.check_config(wanted)
    assert len(looks) == 1
    valid.check_config(replace(wanted))
    assert len(looks) == 2


def test_files_are_right(looks: list[Config]) -> None:
    """The reader has the same rules."""
    valid.check_config(loads(dumps(WHOLE)))
    assert not looks


def test_what_is_made_of_it_is_looked_at() -> None:
    """However it is made."""
    wanted = replace(WHOLE)
    valid.check_config(wanted)
    for wrong in (replace(wanted, devices=()), wanted.but(devices=())):
        with pytest.raises(InvalidInput):
            valid.check_config(wrong)
    assert wanted == WHOLE


def test_what_is_wrong_stays_wrong() -> None:
    """Each time it is looked at."""
    wrong = replace(WHOLE, devices=())
    for _ in range(2):
        with pytest.raises(InvalidInput):
            valid.check_config(wrong)
