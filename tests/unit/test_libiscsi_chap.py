# SPDX-License-Identifier: GPL-2.0-or-later
"""What later versions of libiscsi's conformance suite than Debian's test of CHAP, as docs/conformance.md has
it: how algorithms, responses, names and identifiers are written.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from pyscstadmin.iscsi.chap import digest
from pyscstadmin.iscsi.login import LoggedIn, Refused
from pyscstadmin.iscsi.policy import User
from tests.unit.iscsi_client import NAMES, OTHER_SECRET, SECRET, Initiator, chap_policy, proof

IDENTIFIER, CHALLENGE = 0x5A, bytes(range(100, 132))


def begin(initiator: Initiator, *offer: tuple[str, str]) -> dict[str, str]:
    """Up to what the target answers to the algorithms."""
    assert initiator.say([*NAMES, ("AuthMethod", "CHAP")])["AuthMethod"] == "CHAP"
    return initiator.say(offer or [("CHAP_A", "5")])


def response(initiator: Initiator) -> bytes:
    """The right one, as bytes."""
    return bytes.fromhex(dict(proof(begin(initiator)))["CHAP_R"][2:])


@pytest.mark.parametrize(
    ("offered", "chosen"), [("5,6,7,8", "8"), ("5", "5"), ("9,5", "5"), ("56,5", "5"), ("0x5", "5")]
)
def test_algorithms(offered: str, chosen: str) -> None:
    """iSCSICHAP.Simple: of many, one; whoever is let in has proved it with that."""
    initiator = Initiator(chap_policy())
    asked = begin(initiator, ("CHAP_A", offered))
    assert asked["CHAP_A"] == chosen
    initiator.say(proof(asked), 3)
    assert isinstance(initiator.end, LoggedIn)


@pytest.mark.parametrize(
    "offered", ["56", "", "55", "5 ", " 5", "5,", ",5", "5x", "x5", "-5", "+5", "0x", "5.0"]
)
def test_no_algorithm(offered: str) -> None:
    """iSCSICHAP.Invalid: what only looks like one is none."""
    initiator = Initiator(chap_policy())
    begin(initiator, ("CHAP_A", offered))
    assert isinstance(initiator.end, Refused)


@pytest.mark.parametrize("key", ["XCHAP_A", "CHAP_AX", "CHAP_", "chap_a", "CHAP_A "])
def test_no_such_key(key: str) -> None:
    """iSCSICHAP.Invalid: likewise; nobody is asked anything, so that nobody is let in."""
    initiator = Initiator(chap_policy())
    assert "CHAP_C" not in begin(initiator, (key, "5"))
    initiator.say([("CHAP_N", "it"), ("CHAP_R", "0x" + bytes(16).hex())], 3)
    assert not isinstance(initiator.end, LoggedIn)


def test_base64() -> None:
    """iSCSICHAP.Base64."""
    for prefix in ("0b", "0B"):
        initiator = Initiator(chap_policy())
        text = prefix + b64encode(response(initiator)).decode()
        initiator.say([("CHAP_N", "it"), ("CHAP_R", text)], 3)
        assert isinstance(initiator.end, LoggedIn)


@pytest.mark.parametrize("length", [15, 17, 1023, 1024, 1025, 2048, 5000])
def test_base64_oversize(length: int) -> None:
    """iSCSICHAP.Base64Oversize: a response that begins as the right one and is longer, or shorter."""
    initiator = Initiator(chap_policy())
    right = response(initiator)
    text = "0b" + b64encode((right + bytes(length))[:length]).decode()
    initiator.say([("CHAP_N", "it"), ("CHAP_R", text)], 3)
    assert isinstance(initiator.end, Refused)


@pytest.mark.parametrize(
    ("name", "decoded"), [("0x6974", "it"), ("0bYXNr", "ask"), ("0X6974", "it"), ("0b", "")]
)
def test_names_are_texts(name: str, decoded: str) -> None:
    """iSCSICHAP.HexName, iSCSICHAP.Base64Name: one that looks like a binary value is who is called so."""
    for known in (name, decoded):
        secrets = {known: SECRET}
        what = replace(chap_policy(users=(User(known),)), secret=lambda _, user: secrets.get(user))  # noqa: B023
        initiator = Initiator(what)
        initiator.say(proof(begin(initiator), user=name), 3)
        assert isinstance(initiator.end, LoggedIn) == (known == name), known


@pytest.mark.parametrize("text", ["90", "0x5a", "0X5A", "0x05a", "0bWg==", "0BWg=="])
def test_encoded_identifier(text: str) -> None:
    """iSCSICHAP.EncodedI: the target answers with it, however it is written."""
    initiator = Initiator(chap_policy(mutual=True))
    asked = begin(initiator)
    ours = [("CHAP_I", text), ("CHAP_C", "0x" + CHALLENGE.hex())]
    said = initiator.say([*proof(asked), *ours], 1)
    right = digest(int(asked["CHAP_A"]), IDENTIFIER, OTHER_SECRET, CHALLENGE)
    assert (said["CHAP_N"], said["CHAP_R"]) == ("me", "0x" + right.hex())


@pytest.mark.parametrize("text", ["256", "0x100", "0bAQA=", "-1", "", "0x", "5a", "90 "])
def test_no_identifier(text: str) -> None:
    """One that is more than a byte, or no number."""
    initiator = Initiator(chap_policy(mutual=True))
    initiator.say([*proof(begin(initiator)), ("CHAP_I", text), ("CHAP_C", "0x" + CHALLENGE.hex())], 1)
    assert isinstance(initiator.end, Refused)
