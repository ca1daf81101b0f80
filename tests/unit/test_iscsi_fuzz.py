# SPDX-License-Identifier: GPL-2.0-or-later
"""What initiators have sent in logins and discovery sessions, as it was and changed."""

from __future__ import annotations

import os
import random

import pytest

from pyscstadmin.iscsi.login import Discovery, LoggedIn, Refused
from pyscstadmin.iscsi.pdu import Opcode
from tests.fuzz.logins import RECORDED, asked, changed, feed, pdus_of, recorded

SEED = int(os.environ.get("SCST_SEED", "20261126"))
INPUTS = 1500
COMMAND = 0x01


@pytest.mark.parametrize("program", ["open-iscsi", "libiscsi", "ipxe"])
def test_programs(program: str) -> None:
    assert any(name.startswith(program) for name in recorded())


@pytest.mark.parametrize("name", recorded())
def test_recorded_logins(name: str) -> None:
    """They get in; where the target wants a proof, those that have one, if it asks what it asked them."""
    text, question = recorded()[name], asked(name)
    good = Discovery if name.endswith("-discovery") else LoggedIn
    assert (question is not None) == ("-chap-" in name)
    assert isinstance(feed(text), good if question is None else Refused)
    assert isinstance(feed(text, proving=True), Refused | None)
    if question is not None:
        assert isinstance(feed(text, proving=True, question=question), good)


@pytest.mark.parametrize("name", recorded())
def test_a_proof_is_of_each_byte(name: str) -> None:
    """Of a login by CHAP: another response, and nobody is in."""
    text, question = recorded()[name], asked(name)
    if question is None:
        return
    at = text.index(b"CHAP_R=0x") + len(b"CHAP_R=0x")
    end = text.index(b"\0", at)
    for place in range(at, end):
        other = text[:place] + (b"0" if text[place : place + 1] != b"0" else b"1") + text[place + 1 :]
        assert isinstance(feed(other, proving=True, question=question), Refused)


@pytest.mark.parametrize(
    ("program", "last"),
    [("open-iscsi", Opcode.LOGOUT), ("libiscsi", Opcode.LOGOUT), ("ipxe", COMMAND)],
)
def test_recorded_sessions(program: str, last: int) -> None:
    """What comes behind a login is among what is fuzzed: commands, and the logout of who sends one."""
    parser, connection = (
        (RECORDED.parent / name / f"recorded-{program}").read_bytes() for name in ("iscsi_pdu", "iscsi_conn")
    )
    headers = [header for header, _ in pdus_of(parser[6:])]
    assert headers[-1][0] & 0x3F == last
    assert [header[0] & 0x3F for header in headers].count(COMMAND) > 1
    assert all(header in connection for header in headers)


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
