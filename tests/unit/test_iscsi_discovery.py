# SPDX-License-Identifier: GPL-2.0-or-later
"""Discovery sessions: who is told of which targets and addresses, in pieces as small as it wants."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.iscsi.discovery import Session, addresses, own_targets
from pyscstadmin.iscsi.login import Discovery
from pyscstadmin.iscsi.negotiate import pairs_of
from pyscstadmin.iscsi.pdu import (
    HEADER,
    NO_TAG,
    LogoutRequest,
    LogoutResponse,
    Reject,
    TextRequest,
    TextResponse,
    opcode,
)
from pyscstadmin.iscsi.policy import Address, Connection, Policy, Portal
from pyscstadmin.iscsi.text import Asked, Said, Sessions
from tests.unit.iscsi_client import INITIATOR, TARGET, access, came, policy, split, target


def session(what: Policy | None = None, max_xmit: int = 8192, where: Connection | None = None) -> Session:
    """One that has just begun."""
    begun = Discovery(INITIATOR, 3, 3, 10, max_xmit)
    return Session(what or policy(), where or came(), begun)


def ask(found: Session, text: bytes, cmd_sn: int = 10) -> tuple[list[tuple[str, str]], list[TextResponse]]:
    """Send a text; returns what comes back, and in which PDUs."""
    pdus = []
    request = TextRequest(True, False, 7, NO_TAG, cmd_sn, 0, data=text)
    while True:
        answer = found.feed(*split(request.build()))
        pdus.append(TextResponse.parse(*split(answer.send)))
        if pdus[-1].final:
            return pairs_of(b"".join(pdu.data for pdu in pdus)), pdus
        assert pdus[-1].transfer_tag != NO_TAG
        cmd_sn += 1
        request = TextRequest(True, False, 7, pdus[-1].transfer_tag, cmd_sn, 0)


def test_i52_send_targets() -> None:
    two = policy(target(), target(TARGET + "2"), target(TARGET + ",t,0x0002"))
    here, _ = ask(session(two), b"SendTargets=All\0")
    assert here == [
        ("TargetName", TARGET),
        ("TargetAddress", "10.0.0.5:3260,1"),
        ("TargetAddress", "10.0.0.5:3260,2"),
        ("TargetName", TARGET + "2"),
        ("TargetAddress", "10.0.0.5:3260,1"),
    ]
    one, _ = ask(session(two), f"SendTargets={TARGET.upper()}2\0".encode())
    assert [value for name, value in one if name == "TargetName"] == [TARGET + "2"]
    assert ask(session(two), f"SendTargets={TARGET}3\0".encode())[0] == []
    for bad in (b"SendTargets=\0", b"SendTargets=Alle\0"):
        assert ask(session(two), bad)[0] == [("SendTargets", "Reject")]


def test_i45_many_targets_in_small_pieces() -> None:
    many = policy(*(target(f"{TARGET}{number}") for number in range(500)))
    whole, _ = ask(session(many), b"SendTargets=All\0")
    found, pdus = ask(session(many, 512), b"SendTargets=All\0")
    assert found == whole
    assert len(pdus) > 40
    assert all(pdu.more and len(pdu.data) == 512 for pdu in pdus[:-1])
    assert (pdus[-1].more, pdus[-1].transfer_tag) == (False, NO_TAG)
    assert [pdu.stat_sn for pdu in pdus] == list(range(3, 3 + len(pdus)))


def test_i45_a_request_in_pieces() -> None:
    found = session()
    first = TextRequest(False, True, 7, NO_TAG, 10, 0, data=b"SendTar")
    answer = TextResponse.parse(*split(found.feed(*split(first.build())).send))
    assert (answer.final, answer.more, answer.data) == (False, False, b"")
    second = TextRequest(True, False, 7, answer.transfer_tag, 11, 0, data=b"gets=All\0")
    last = TextResponse.parse(*split(found.feed(*split(second.build())).send))
    assert last.final
    assert pairs_of(last.data)[0] == ("TargetName", TARGET)


def test_a_new_length_holds_at_once() -> None:
    _, pdus = ask(session(), b"MaxRecvDataSegmentLength=512\0SendTargets=All\0X-a=1\0" + b"Y=1\0")
    assert len(pdus) == 1
    many = policy(*(target(f"{TARGET}{number}") for number in range(50)))
    _, pdus = ask(session(many), b"MaxRecvDataSegmentLength=512\0SendTargets=All\0")
    assert len(pdus) > 4


def normal() -> Sessions:
    """Sessions that are the kernel's: TSIH 1."""
    own = partial(own_targets, policy(target()), INITIATOR, TARGET, came())
    return Sessions(lambda tsih: own if tsih == 1 else None)


def of_session(found: Sessions, text: bytes, max_xmit: int = 8192, **more: Any) -> Said:
    """What is said to a text of that session."""
    fields = {"final": True, "more": False, "tag": 7, "transfer_tag": NO_TAG, **more}
    request = TextRequest(cmd_sn=0, exp_stat_sn=0, data=text, **fields)
    return found.answer(Asked(1, 1, request, max_xmit))


def test_i45_text_of_a_session_in_pieces() -> None:
    """What it declares holds for the answer; who forgets, or is another program by then, rejects the rest."""
    found = normal()
    text = b"MaxRecvDataSegmentLength=512\0" + b"".join(b"X-%d=1\0" % number for number in range(100))
    first = of_session(found, text)
    assert (first.final, first.more, len(first.data), first.max_xmit) == (False, True, 512, 512)
    second = of_session(found, b"", transfer_tag=first.transfer_tag)
    assert (second.more, second.max_xmit) == (True, 0)
    found.forget(1)
    assert of_session(found, b"", transfer_tag=second.transfer_tag) == Said(reject=0x09)
    begun = of_session(found, b"SendTar", final=False, more=True)
    assert (begun.final, begun.more, begun.data) == (False, False, b"")
    assert b"TargetName=" in of_session(found, b"gets=\0", transfer_tag=begun.transfer_tag).data


def test_i42_text_of_a_session_is_bounded() -> None:
    found = normal()
    said = of_session(found, b"X-a=" + b"1" * 8000, final=False, more=True)
    assert of_session(found, b"1" * 200, transfer_tag=said.transfer_tag).reject == 0x04
    assert of_session(found, b"1" * 200, transfer_tag=said.transfer_tag).reject == 0x09
    most = of_session(
        found,
        b"MaxRecvDataSegmentLength=16777215\0" + b"".join(b"X-%d=1\0" % number for number in range(500)),
    )
    assert (len(most.data), most.more) == (8192, True)


@pytest.mark.parametrize("code", [0x00, 0x01, 0x02, 0x05, 0x07, 0x10, 0x3F, 0x20])
def test_i90_nothing_but_text_and_logout(code: int) -> None:
    header = bytes((code | 0x40, 0x80)) + bytes(46)
    answer = session().feed(header, b"")
    rejected = Reject.parse(*split(answer.send))
    assert (rejected.reason, rejected.data) == (0x04, header)
    assert not answer.over


def test_i90_wrong_transfer_tag() -> None:
    request = TextRequest(True, False, 7, 99, 10, 0)
    assert Reject.parse(*split(session().feed(*split(request.build())).send)).reason == 0x09


def test_i90_commands_out_of_turn_are_not_there() -> None:
    found = session()
    request = TextRequest(True, False, 7, NO_TAG, 11, 0, data=b"SendTargets=All\0")
    answer = found.feed(*split(request.build()))
    assert (answer.send, answer.over) == (b"", "")
    assert ask(found, b"SendTargets=All\0")[0]


def test_i90_logout() -> None:
    for reason, cid, response in ((0, 3, 0), (1, 3, 0), (1, 4, 1), (2, 3, 2)):
        answer = session().feed(*split(LogoutRequest(reason, 8, cid, 10, 0).build()))
        assert LogoutResponse.parse(*split(answer.send)).response == response
        assert bool(answer.over) == (response == 0)


def test_i70_only_what_one_may_use_by_this_portal() -> None:
    what = policy(
        target(),
        target(TARGET + "2", portals=frozenset(("there",))),
        target(TARGET + "3", access=access(["iqn.2000-01.org.other:*"], own=False)),
    )
    found, _ = ask(session(what), b"SendTargets=All\0")
    assert [value for name, value in found if name == "TargetName"] == [TARGET]


def at(*texts: str) -> tuple[Address, ...]:
    """Addresses, `10.0.0.5%eth0`."""
    return tuple(Address(ip_address(ip), zone) for ip, _, zone in (text.partition("%") for text in texts))


def shown(local: str, *portals: Portal, zone: str = "eth0") -> list[str]:
    """Where a target is that is linked to all of the portals, for one who has come to this address by the
    first.
    """
    linked = target(portals=frozenset(portal.name for portal in portals))
    what = policy(linked, portals={portal.name: portal for portal in portals})
    return addresses(linked, what, came(local, zone, portals[0].name))


def test_i91_same_family_and_scope() -> None:
    everything = at(
        "127.0.0.1%lo",
        "::1%lo",
        "10.0.0.5%eth0",
        "10.1.0.5%eth1",
        "fd00::5%eth0",
        "fe80::5%eth0",
        "fe80::6%eth1",
    )
    wild = Portal("a", "*", addresses=everything)
    assert shown("10.1.0.5", wild, zone="eth1") == ["10.1.0.5:3260", "10.0.0.5:3260"]
    assert shown("fd00::5", wild) == ["[fd00::5]:3260"]
    assert shown("fe80::5", wild) == ["[fe80::5]:3260"]
    assert shown("127.0.0.1", wild, zone="lo") == ["127.0.0.1:3260"]


def test_i91_other_portals() -> None:
    first = Portal("a", addresses=at("10.0.0.5%eth0"))
    second = Portal("b", port=3261, addresses=at("10.0.0.6%eth0"))
    assert shown("10.0.0.5", first, second) == ["10.0.0.5:3260", "10.0.0.6:3261"]
    fenced = Portal("b", netns="tenant", addresses=at("10.0.0.6%eth0"))
    assert shown("10.0.0.5", first, fenced) == ["10.0.0.5:3260"]


@pytest.mark.parametrize(
    ("advertise", "said"),
    [
        ("san.example.org", "san.example.org:3260"),
        ("san.example.org:860", "san.example.org:860"),
        ("192.0.2.9", "192.0.2.9:3260"),
        ("fd00::9", "[fd00::9]:3260"),
        ("[fd00::9]", "[fd00::9]:3260"),
        ("[fd00::9]:860", "[fd00::9]:860"),
    ],
)
def test_i91_advertise(advertise: str, said: str) -> None:
    behind = Portal("a", advertise=advertise, addresses=at("10.0.0.5%eth0"))
    assert shown("10.0.0.5", behind) == [said]


def test_i91_two_sides_of_a_translation() -> None:
    """Who comes from behind it is told of what is advertised, in its family; who does not, of our own."""
    inside = Portal("a", addresses=at("10.0.0.5%eth0"))
    outside = Portal("b", port=3261, advertise="192.0.2.9:860", addresses=at("10.0.0.5%eth0"))
    others = (
        Portal("c", advertise="san.example.org", netns="tenant", addresses=at("10.0.0.6%eth0")),
        Portal("d", advertise="[fd00::9]:861", addresses=at("fd00::5%eth0")),
        Portal("e", port=3262, addresses=at("10.0.0.7%eth0")),
    )
    assert shown("10.0.0.5", inside, outside, *others) == ["10.0.0.5:3260", "10.0.0.7:3262"]
    assert shown("10.0.0.5", outside, inside, *others) == ["192.0.2.9:860", "san.example.org:3260"]
    assert shown("fd00::5", others[1], inside, outside, *others) == ["[fd00::9]:861", "san.example.org:3260"]


def test_i92_brackets_and_no_zone() -> None:
    local = Connection("a", Address(ip_address("fe80::5%eth0"), "eth0"), 3260)
    wild = Portal("a", addresses=at("fe80::5%eth0"))
    linked = target(portals=frozenset("a"))
    assert addresses(linked, policy(linked, portals={"a": wild}), local) == ["[fe80::5]:3260"]


@given(st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=100)), max_size=8))
def test_any_bytes(pdus: list[tuple[bytes, bytes]]) -> None:
    found = session()
    for header, data in pdus:
        answer = found.feed(header, data)
        assert answer.over or len(header) == HEADER
        if answer.over:
            return


@given(st.binary(max_size=200), st.booleans(), st.booleans(), st.sampled_from([NO_TAG, 1, 2]))
def test_any_text(text: bytes, final: bool, more: bool, tag: int) -> None:
    request = TextRequest(final, more, 7, tag, 10, 0, data=text)
    answer = session().feed(*split(request.build()))
    assert answer.over or opcode(answer.send) in (0x24, 0x3F)
