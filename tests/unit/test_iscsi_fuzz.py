# SPDX-License-Identifier: GPL-2.0-or-later
"""What initiators have sent in logins and discovery sessions, as it was and changed."""

from __future__ import annotations

import os
import random

import pytest

from pyscstadmin.iscsi.login import Discovery, LoggedIn, Refused
from tests.fuzz.logins import changed, feed, recorded

SEED = int(os.environ.get("SCST_SEED", "20261126"))
INPUTS = 1500


@pytest.mark.parametrize("program", ["libiscsi", "ipxe"])
def test_programs(program: str) -> None:
    assert any(name.startswith(program) for name in recorded())


@pytest.mark.parametrize("name", recorded())
def test_recorded_logins(name: str) -> None:
    """They get in, unless they prove what is not true here."""
    text = recorded()[name]
    chap = "-chap-" in name
    assert isinstance(feed(text), Refused if chap else Discovery if name.endswith("-discovery") else LoggedIn)
    assert isinstance(feed(text, proving=True), Discovery if name == "libiscsi-discovery" else Refused | None)


@pytest.mark.parametrize("name", recorded())
def test_ends_anywhere(name: str) -> None:
    """At each byte: nobody is in before the last PDU of the login."""
    text = recorded()[name]
    for cut in range(0, len(text), 3):
        feed(text[:cut])


def test_any_change_of_a_login() -> None:
    stream, kept = random.Random(SEED), list(recorded().values())
    for _ in range(INPUTS):
        text = changed(stream, stream.choice(kept))
        try:
            feed(text, stream.random() < 0.3)
        except Exception:
            print(f"seed {SEED}, input {text.hex()}")
            raise
