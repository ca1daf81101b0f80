# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins, row by row of RFC 7143, against the state machine alone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.iscsi import chap
from pyscstadmin.iscsi.chap import Challenges, digest
from pyscstadmin.iscsi.keys import KEYS, Key, Rule
from pyscstadmin.iscsi.login import Discovery, LoggedIn, Login, Refused
from pyscstadmin.iscsi.negotiate import PDU_MAX, TEXT_MAX, Negotiation, Values, pairs_of, text_of
from pyscstadmin.iscsi.pdu import HEADER, LoginRequest
from pyscstadmin.iscsi.policy import Live, Params, Portal, User
from tests.unit.iscsi_client import (
    DISCOVER,
    INITIATOR,
    ISID,
    NAMES,
    SECRET,
    TARGET,
    Dice,
    Initiator,
    access,
    came,
    chap_policy,
    policy,
    proof,
    split,
    target,
)

CHAP = ("AuthMethod", "CHAP")


def with_params(**fields: object) -> Initiator:
    """Towards a target with these parameters, in the operational stage."""
    params = Params(**fields)  # type: ignore[arg-type]
    initiator = Initiator(policy(target(params=params)))
    initiator.say(NAMES, 1)
    return initiator


def values(*pairs: tuple[str, str], **fields: object) -> Values:
    """What a login with these keys comes to."""
    initiator = with_params(**fields)
    initiator.say(pairs, 3)
    return initiator.logged_in().values


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("transit", [False, True])
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("stage", range(4))
def test_i39_stages(stage: int, after: int, transit: bool, more: bool) -> None:
    initiator = Initiator()
    request = replace(initiator.request(text_of(NAMES)), stage=stage, next=after, transit=transit, more=more)
    initiator.feed(request)
    legal = stage in (0, 1) and not (transit and (more or after <= stage or after == 2))
    assert initiator.status == (0 if legal else 0x0200)
    if legal:
        assert initiator.last is not None
        assert (initiator.last.transit, initiator.last.next) == (transit, after if transit else 0)


@pytest.mark.parametrize("now", [0, 1])
@given(stage=st.integers(0, 3), after=st.integers(0, 3), transit=st.booleans(), more=st.booleans())
def test_i39_stages_later(now: int, stage: int, after: int, transit: bool, more: bool) -> None:
    """The second request: the stage is the one that was agreed on, and no other."""
    initiator = Initiator(stage=now)
    initiator.say(NAMES)
    assert initiator.status == 0
    request = replace(initiator.request(b""), stage=stage, next=after, transit=transit, more=more)
    initiator.feed(request)
    legal = stage == now and not (transit and (more or after <= stage or after == 2))
    assert initiator.status == (0 if legal else 0x0200)
    assert (initiator.end is not None) == (not legal or (transit and after == 3))


def test_i39_no_way_back() -> None:
    initiator = Initiator()
    initiator.say(NAMES, 1)
    initiator.stage = 0
    initiator.say((), 1)
    assert initiator.status == 0x0200


def test_i40_first_pdu() -> None:
    initiator = Initiator()
    good = initiator.request(text_of(NAMES), 1)
    for bad in (replace(good, immediate=False).build(), b"\x01" + good.build()[1:]):
        step = Initiator().login.feed(*split(bad))
        assert not step.send
        assert isinstance(step.end, Refused)
        assert step.end.status is None
    initiator.feed(replace(good, version_min=1))
    assert initiator.status == 0x0205


def test_i41_names() -> None:
    cases: list[tuple[list[tuple[str, str]], int]] = [
        (NAMES[1:], 0x0207),
        (NAMES[:2], 0x0207),
        ([*NAMES[:2], ("TargetName", TARGET + "x")], 0x0203),
        ([NAMES[0], ("SessionType", "Party"), NAMES[2]], 0x0209),
        ([("InitiatorName", "somebody"), *NAMES[1:]], 0x0200),
        ([NAMES[0], NAMES[2]], 0),
        ([("InitiatorName", INITIATOR.upper()), NAMES[1], ("TargetName", TARGET.upper())], 0),
    ]
    for keys, status in cases:
        initiator = Initiator()
        initiator.say(keys, 1)
        assert initiator.status == status, keys


def test_i41_who_may_not_is_told_there_is_none() -> None:
    hidden = policy(target(access=access(["iqn.2000-01.org.other:*"], own=False)))
    elsewhere = policy(target(portals=frozenset(("there",))))
    for what, why in ((hidden, "no group"), (elsewhere, "not linked")):
        initiator, nowhere = Initiator(what), Initiator(what)
        initiator.say(NAMES, 1)
        nowhere.say([*NAMES[:2], ("TargetName", TARGET + "x")], 1)
        assert initiator.status == 0x0203
        assert initiator.last == nowhere.last
        assert why in initiator.refused().reason


def test_i41_a_group_or_luns_of_its_own() -> None:
    for allowed in (access([INITIATOR], own=False), access(own=True)):
        initiator = Initiator(policy(target(access=allowed)))
        initiator.say(NAMES, 3)
        assert initiator.logged_in().initiator == INITIATOR


def test_i42_keys_and_limits() -> None:
    for text in (b"a b=c\0", b"A" * 64 + b"=x\0", b"nothing\0", b"=x\0", b"A=\xff\0", b"A=\x01\0"):
        initiator = Initiator()
        initiator.feed(initiator.request(text_of(NAMES) + text, 1))
        assert initiator.status == 0x0200, text
    initiator = Initiator()
    initiator.say([*NAMES, ("InitiatorAlias", "x" * 256)], 1)
    assert initiator.status == 0x0200


def test_i42_64_kib_of_text() -> None:
    initiator = Initiator()
    initiator.feed(initiator.request(text_of(NAMES) + b"A=" + b"x" * 7000 + b"\0", more=True))
    count = 1
    while initiator.end is None:
        initiator.feed(initiator.request(f"A{count}=".encode() + b"x" * 7000 + b"\0", more=True))
        count += 1
    assert initiator.status == 0x0200
    assert count == TEXT_MAX // 7000 + 1


def test_i42_64_requests() -> None:
    initiator = Initiator()
    initiator.say(NAMES)
    for _ in range(63):
        initiator.say()
        assert initiator.end is None
    initiator.say()
    assert initiator.status == 0x0200


def test_i42_8192_bytes_in_a_pdu() -> None:
    initiator = Initiator()
    header = initiator.request(b"x" * (PDU_MAX + 1)).build()[:HEADER]
    step = initiator.login.feed(header, b"")
    assert isinstance(step.end, Refused)
    assert step.end.status == 0x0200


def test_i43_twice_and_in_the_wrong_stage() -> None:
    cases = [
        (0, [*NAMES, ("HeaderDigest", "None")]),
        (1, [*NAMES, ("AuthMethod", "None")]),
        (1, [*NAMES, ("MaxBurstLength", "512"), ("MaxBurstLength", "1024")]),
        (0, [*NAMES, ("TargetAlias", "x")]),
        (0, [*NAMES, ("SendTargets", "All")]),
    ]
    for stage, keys in cases:
        initiator = Initiator(stage=stage)
        initiator.say(keys, 3)
        assert initiator.status == 0x0200, keys
    initiator = Initiator()
    initiator.say(NAMES[:1], more=True)
    initiator.say(NAMES[1:], 1)
    initiator.say([("HeaderDigest", "None")])
    initiator.say([("HeaderDigest", "None")], 3)
    assert initiator.status == 0x0200


def test_i43_names_come_first() -> None:
    initiator = Initiator()
    initiator.say([NAMES[0], NAMES[2]])
    initiator.say([("SessionType", "Normal")], 1)
    assert initiator.status == 0x0200


def test_i44_said_again() -> None:
    """libiscsi did that in each request."""
    initiator = Initiator()
    initiator.say(NAMES, 1)
    initiator.say(NAMES, 3)
    assert initiator.logged_in().target.name == TARGET
    other = Initiator()
    other.say(NAMES, 1)
    other.say([("InitiatorName", INITIATOR + "x")], 3)
    assert other.status == 0x0200
    assert "InitiatorName for the second time" in other.refused().reason


def legal(name: str) -> str:
    """A value that the key can have."""
    key = KEYS[name]
    return key.default or (key.values[0] if key.values else "1")


@pytest.mark.parametrize(
    "name", [key.name for key in KEYS.values() if key.negotiated and key.name != "AuthMethod"]
)
def test_i44_every_negotiated_key(name: str) -> None:
    initiator = with_params()
    answer = initiator.say([(name, legal(name))])
    assert initiator.status == 0
    assert answer[name] not in ("Reject", "NotUnderstood", "Irrelevant")
    wrong = with_params()
    assert wrong.say([(name, "Perhaps")])[name] == "Reject"
    assert wrong.status == 0


@pytest.mark.parametrize("key", [key for key in KEYS.values() if key.high and key.negotiated])
def test_i44_ends_of_ranges(key: Key) -> None:
    name, low, high = key.name, key.low, key.high
    for value, good in ((low, True), (high, True), (high + 1, False), (low - 1, False)):
        found = with_params().say([(name, str(value))])[name]
        assert (found != "Reject") == good, value


# What suits a target that wants other than the defaults, and what it then brings up by itself.
WANTS: dict[str, dict[str, object]] = {
    "HeaderDigest": {"header_digest": ("CRC32C",)},
    "DataDigest": {"data_digest": ("CRC32C",)},
    "InitialR2T": {"initial_r2t": False},
    "ImmediateData": {"immediate_data": False},
    "MaxBurstLength": {"max_burst_length": 4096, "first_burst_length": 4096},
    "FirstBurstLength": {"first_burst_length": 4096},
}


def test_i44_every_key_that_is_brought_up_is_tried() -> None:
    assert set(WANTS) == {key.name for key in KEYS.values() if key.offer}


@pytest.mark.parametrize(
    "answer", ["Reject", "Irrelevant", "NotUnderstood", "", "Perhaps", "0x", "as offered"]
)
@pytest.mark.parametrize("name", WANTS)
def test_i44_every_answer_to_what_is_brought_up(name: str, answer: str) -> None:
    """What is offered holds, or the default does, or the login ends."""
    initiator = with_params(**WANTS[name])
    offered = initiator.say((), 3)
    if name not in offered:
        # A value that the initiator's silence decides on: InitialR2T is Yes if one says so.
        assert name == "InitialR2T"
        return
    initiator.say([(key, answer if key == name and answer != "as offered" else value)
                   for key, value in offered.items() if key in WANTS], 3)  # fmt: skip
    digest_is_missing = "Digest" in name and answer != "as offered"
    if answer in ("", "Perhaps", "0x") or digest_is_missing:
        assert initiator.status == 0x0200
    else:
        found = initiator.logged_in().values
        taken = {"InitialR2T": not found.initial_r2t, "ImmediateData": not found.immediate_data,
                 "MaxBurstLength": found.max_burst == 4096, "FirstBurstLength": found.first_burst == 4096,
                 "HeaderDigest": found.header_digest, "DataDigest": found.data_digest}  # fmt: skip
        assert taken[name] == (answer == "as offered")


@pytest.mark.parametrize("name", [key.name for key in KEYS.values() if key.session and not key.declarative])
def test_i44_irrelevant_in_discovery(name: str) -> None:
    initiator = Initiator()
    initiator.say(DISCOVER, 1)
    assert initiator.say([(name, legal(name))])[name] == "Irrelevant"
    assert initiator.status == 0


@pytest.mark.parametrize("name", [key.name for key in KEYS.values() if key.rule is Rule.STEP])
def test_i44_steps_of_no_authentication(name: str) -> None:
    """Nobody has asked for them."""
    initiator = Initiator()
    initiator.say([*NAMES, (name, "1")], 1)
    assert initiator.status in (0x0200, 0x0201)


def test_i44_unknown() -> None:
    initiator = Initiator()
    answer = initiator.say([*NAMES, ("X-com.example.key", "1"), ("Whatever", "2")], 1)
    assert (answer["X-com.example.key"], answer["Whatever"]) == ("NotUnderstood",) * 2


def test_i44_declared_keys_are_not_answered() -> None:
    initiator = with_params()
    answer = initiator.say([("InitiatorAlias", "me"), ("MaxRecvDataSegmentLength", "65536")], 3)
    assert answer == {"MaxRecvDataSegmentLength": "262144"}
    bad = with_params()
    bad.say([("MaxRecvDataSegmentLength", "511")], 3)
    assert bad.status == 0x0200


@given(st.lists(st.integers(0, 400), max_size=20))
def test_i45_text_in_pieces(cuts: list[int]) -> None:
    text = text_of([*NAMES, ("InitiatorAlias", "disk of the night"), ("AuthMethod", "None")])
    places = sorted({0, *(cut for cut in cuts if 0 < cut < len(text)), len(text)})
    initiator = Initiator()
    for start, end in pairwise(places):
        last = end == len(text)
        step = initiator.feed(initiator.request(text[start:end], 3 if last else None, not last))
        if not last:
            assert initiator.last is not None
            assert not initiator.last.data
            assert not initiator.last.transit
            assert step.end is None
    assert initiator.logged_in().initiator == INITIATOR


def test_i45_a_long_answer_in_pieces() -> None:
    initiator = Initiator()
    names = [f"K{number}" for number in range(1500)]
    initiator.feed(initiator.request(text_of(NAMES), more=True))
    for start in range(0, 1500, 500):
        text = text_of((name, "") for name in names[start : start + 500])
        initiator.feed(initiator.request(text, 3 if start == 1000 else None, start < 1000))
    found = b""
    while initiator.end is None:
        assert initiator.last is not None
        found += initiator.last.data
        assert initiator.last.more
        initiator.feed(initiator.request(b"", 3))
    found += initiator.logged_in().response[HEADER:]
    assert [name for name, value in pairs_of(found) if value == "NotUnderstood"] == names


def test_i46_numbers_and_booleans() -> None:
    assert with_params().say([("MaxBurstLength", "0x4000")])["MaxBurstLength"] == "16384"
    for value in ("4k", "-1", "1.5", "", "0x", "512~1024"):
        assert with_params().say([("MaxBurstLength", value)])["MaxBurstLength"] == "Reject"
    for value in ("yes", "YES", "1", ""):
        assert with_params().say([("InitialR2T", value)])["InitialR2T"] == "Reject"


def test_i47_numbers_of_answers() -> None:
    initiator = Initiator(policy(target(params=Params(queue_depth=7))))
    stat_sns = []
    for pairs, after in ((NAMES, 1), ([], None), ([], 3)):
        initiator.say(pairs, after)
        assert initiator.last is not None
        stat_sns.append(initiator.last.stat_sn)
        assert (initiator.last.tsih, initiator.last.exp_cmd_sn) == (0, 5)
    assert stat_sns == [1, 2, 3]
    end = initiator.logged_in()
    assert (end.stat_sn, end.exp_cmd_sn) == (3, 5)
    assert initiator.last is not None
    assert initiator.last.max_cmd_sn == 5 + 7 - 1


def test_i48_states_of_the_target() -> None:
    for what, status in (
        (policy(target(ready=False)), 0x0301),
        (policy(available=False), 0x0301),
        (policy(target(redirect="10.0.0.9:3260")), 0x0101),
        (policy(target(redirect_permanent="[fd00::9]:3260")), 0x0102),
    ):
        initiator = Initiator(what)
        answer = initiator.say(NAMES, 3)
        assert initiator.status == status
        assert initiator.refused().status == status
        if status < 0x0200:
            assert answer["TargetAddress"] in ("10.0.0.9:3260", "[fd00::9]:3260")


def test_i48_another_request_in_the_login() -> None:
    initiator = Initiator()
    initiator.say(NAMES)
    step = initiator.login.feed(b"\x41" + bytes(47), b"")
    assert isinstance(step.end, Refused)
    assert step.end.status == 0x020B


def test_i50_sessions_that_there_are() -> None:
    def find(tsih: int) -> Live | None:
        return Live(9, TARGET, INITIATOR, ISID, 0) if tsih == 9 else None

    known = policy(session=find)
    for fields, status in (
        ({"tsih": 8}, 0x020A),
        ({"tsih": 9, "cid": 1}, 0x0206),
        ({"tsih": 9, "isid": bytes(6)}, 0x020A),
        ({"tsih": 9}, 0),
        ({}, 0),
    ):
        initiator = Initiator(known, **fields)
        initiator.say(NAMES, 3)
        assert initiator.status == status, fields
        if not status:
            assert initiator.logged_in().tsih == fields.get("tsih", 0)


def test_i50_no_discovery_session_is_joined() -> None:
    initiator = Initiator(tsih=9)
    initiator.say(DISCOVER, 1)
    assert initiator.status == 0x020A


def test_i51_one_connection() -> None:
    assert with_params().say([("MaxConnections", "8")])["MaxConnections"] == "1"


def test_i53_portal_group() -> None:
    for folder, tag in ((TARGET, "1"), (TARGET + ",t,0x0002", "2")):
        initiator = Initiator(policy(target(folder, alias="Plattenlager Süd")))
        answer = initiator.say(NAMES)
        assert answer == {"TargetPortalGroupTag": tag, "TargetAlias": "Plattenlager Süd"}
        assert "TargetPortalGroupTag" not in initiator.say((), 3)
        assert initiator.logged_in().target.name == folder


def test_i54_r2t_and_immediate_data() -> None:
    assert with_params().say([("InitialR2T", "No")])["InitialR2T"] == "No"
    assert with_params().say([("InitialR2T", "Yes")])["InitialR2T"] == "Yes"
    assert with_params(initial_r2t=True).say([("InitialR2T", "No")])["InitialR2T"] == "Yes"
    assert with_params(immediate_data=False).say([("ImmediateData", "Yes")])["ImmediateData"] == "No"
    found = values(("InitialR2T", "No"), ("ImmediateData", "Yes"))
    assert (found.initial_r2t, found.immediate_data) == (False, True)


def test_i54_what_does_not_suit_is_brought_up() -> None:
    initiator = with_params(immediate_data=False, header_digest=("CRC32C",), first_burst_length=4096)
    answer = initiator.say((), 3)
    offered = {"ImmediateData": "No", "HeaderDigest": "CRC32C", "FirstBurstLength": "4096"}
    assert {name: answer[name] for name in offered} == offered
    assert initiator.last is not None
    assert not initiator.last.transit
    initiator.say(list(offered.items()), 3)
    found = initiator.logged_in().values
    assert (found.immediate_data, found.header_digest, found.first_burst) == (False, True, 4096)


def test_i54_no_answer_to_what_is_brought_up() -> None:
    initiator = with_params(immediate_data=False)
    initiator.say((), 3)
    initiator.say([("ImmediateData", "Yes")], 3)
    assert initiator.status == 0x0200


def test_i55_lengths() -> None:
    found = values(("MaxRecvDataSegmentLength", "8192"))
    assert (found.max_xmit, found.max_recv) == (8192, 262144)
    found = values(("MaxBurstLength", "16776192"), ("FirstBurstLength", "262144"))
    assert (found.max_burst, found.first_burst) == (1048576, 262144)
    found = values(("FirstBurstLength", "262144"), ("MaxBurstLength", "65536"))
    assert (found.max_burst, found.first_burst) == (65536, 65536)
    assert values().max_burst == 262144
    assert values().first_burst == 65536


def test_i56_times() -> None:
    answer = with_params().say([("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20")])
    assert (answer["DefaultTime2Wait"], answer["DefaultTime2Retain"]) == ("2", "0")
    assert with_params().say([("DefaultTime2Wait", "9")])["DefaultTime2Wait"] == "9"


def test_i57_r2ts() -> None:
    assert with_params().say([("MaxOutstandingR2T", "16")])["MaxOutstandingR2T"] == "8"
    assert values(("MaxOutstandingR2T", "3")).max_outstanding_r2t == 3


def test_i58_order() -> None:
    answer = with_params().say([("DataPDUInOrder", "No"), ("DataSequenceInOrder", "No")])
    assert (answer["DataPDUInOrder"], answer["DataSequenceInOrder"]) == ("Yes", "Yes")


def test_i59_recovery() -> None:
    assert with_params().say([("ErrorRecoveryLevel", "2")])["ErrorRecoveryLevel"] == "0"


def test_i60_task_reporting() -> None:
    assert with_params().say([("TaskReporting", "FastAbort,RFC3720")])["TaskReporting"] == "RFC3720"
    assert with_params().say([("TaskReporting", "FastAbort")])["TaskReporting"] == "Reject"


def test_i31_protocol_level() -> None:
    for asked, level in (("0", 0), ("1", 1), ("2", 2), ("31", 2)):
        assert with_params().say([("iSCSIProtocolLevel", asked)])["iSCSIProtocolLevel"] == str(level)
        assert values(("iSCSIProtocolLevel", asked)).protocol_level == level
    assert values().protocol_level == 1


def test_i61_markers() -> None:
    for name in [key.name for key in KEYS.values() if key.rule is Rule.OBSOLETE]:
        for value in ("Yes", "No", "8192~16384"):
            assert with_params().say([(name, value)])[name] == "Reject"


def test_i62_node_architecture() -> None:
    answer = with_params().say([("X#NodeArchitecture", "AIX/p570")])
    assert answer["X#NodeArchitecture"] == "NotUnderstood"


def test_i07_digests() -> None:
    for offered, allowed, chosen in (
        ("CRC32C,None", ("None", "CRC32C"), "CRC32C"),
        ("None,CRC32C", ("CRC32C", "None"), "None"),
        ("CRC32C", ("None",), "Reject"),
        ("CRC32C,None", ("None",), "None"),
    ):
        assert with_params(header_digest=allowed).say([("HeaderDigest", offered)])["HeaderDigest"] == chosen
    needed = with_params(data_digest=("CRC32C",))
    needed.say([("DataDigest", "None")], 3)
    assert needed.status == 0x0200
    discovery = Initiator()
    discovery.say(DISCOVER, 1)
    assert discovery.say([("HeaderDigest", "CRC32C,None")])["HeaderDigest"] == "None"


# Authentication.


def known(secrets: dict[str, bytes]) -> Callable[[str, str], bytes | None]:
    """Who has which secret, of any target."""
    return lambda where, user: secrets.get(user)


def ask(initiator: Initiator, algorithms: str = "5,6,7,8") -> dict[str, str]:
    """CHAP up to the target's challenge."""
    assert initiator.say([*NAMES, CHAP])["AuthMethod"] == "CHAP"
    return initiator.say([("CHAP_A", algorithms)])


def test_i63_methods() -> None:
    assert Initiator(chap_policy()).say([*NAMES, ("AuthMethod", "KRB5,CHAP,None")], 1)["AuthMethod"] == "CHAP"
    assert Initiator().say([*NAMES, ("AuthMethod", "CHAP,None")], 1)["AuthMethod"] == "None"
    for what, offered in ((chap_policy(), "None"), (policy(), "CHAP"), (chap_policy(), "KRB5,SRP")):
        initiator = Initiator(what)
        initiator.say([*NAMES, ("AuthMethod", offered)], 1)
        assert initiator.status == 0x0201


@pytest.mark.parametrize(("stage", "after"), [(0, 1), (0, 3), (1, 3), (1, None)])
def test_i63_nobody_skips_it(stage: int, after: int | None) -> None:
    initiator = Initiator(chap_policy(), stage=stage)
    initiator.say(NAMES, after)
    assert initiator.status == 0x0201


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize(
    ("offered", "chosen"), [("5", 5), ("5,6", 6), ("7,5", 7), ("5,6,7,8", 8), ("99,5", 5)]
)
def test_i64_u18_strongest_algorithm(offered: str, chosen: int, mutual: bool) -> None:
    initiator = Initiator(chap_policy(mutual=True))
    asked = ask(initiator, offered)
    assert asked["CHAP_A"] == str(chosen)
    assert len(asked["CHAP_C"]) == 2 + 2 * {5: 16, 6: 20, 7: 32, 8: 32}[chosen]
    mine = [("CHAP_I", "17"), ("CHAP_C", "0x" + "ab" * 16)] if mutual else []
    answer = initiator.say([*proof(asked), *mine], 3)
    assert initiator.logged_in().user == "it"
    if mutual:
        right = digest(chosen, 17, b"quite another secret", b"\xab" * 16)
        assert (answer["CHAP_N"], answer["CHAP_R"]) == ("me", "0x" + right.hex())
    else:
        assert not answer


def test_i64_algorithms_can_be_forbidden() -> None:
    strict = chap_policy(algorithms=("sha3-256", "sha256"))
    assert ask(Initiator(strict))["CHAP_A"] == "8"
    initiator = Initiator(strict)
    ask(initiator, "5,6")
    assert initiator.status == 0x0201


def test_i65_reflection_and_replay() -> None:
    shared = Challenges(Dice())
    first = Initiator(chap_policy(mutual=True), challenges=shared)
    second = Initiator(chap_policy(mutual=True), challenges=shared)
    asked, again = ask(first), ask(second)
    assert asked["CHAP_C"] != again["CHAP_C"]
    second.say([*proof(again), ("CHAP_I", asked["CHAP_I"]), ("CHAP_C", asked["CHAP_C"])], 1)
    assert second.status == 0x0201
    assert "reflection" in second.refused().reason
    # What was right once is not when it is said in another login.
    third = Initiator(chap_policy(), challenges=shared)
    ask(third)
    third.say(proof(asked), 1)
    assert third.status == 0x0201


def test_i66_secrets_that_are_none() -> None:
    for secrets, mutual in (({"it": b"short"}, False), ({"it": SECRET, "me": SECRET}, True)):
        what = replace(chap_policy(mutual=True), secret=known(secrets))
        initiator = Initiator(what)
        asked = ask(initiator)
        mine = [("CHAP_I", "1"), ("CHAP_C", "0x" + "ab" * 16)] if mutual else []
        initiator.say([*proof(asked, secret=secrets["it"]), *mine], 1)
        assert initiator.status == 0x0201


def test_i67_mutual() -> None:
    mine = [("CHAP_I", "1"), ("CHAP_C", "0x" + "ab" * 16)]
    nobody = Initiator(chap_policy())
    nobody.say([*proof(ask(nobody)), *mine], 1)
    assert nobody.status == 0x0201
    wrong = Initiator(chap_policy(mutual=True))
    answer = wrong.say([*proof(ask(wrong), secret=SECRET[::-1]), *mine], 1)
    assert wrong.status == 0x0201
    assert not answer
    early = Initiator(chap_policy(mutual=True))
    ask(early)
    assert not early.say(mine, 1)
    assert early.status == 0x0201


def test_i68_u19_forms() -> None:
    for form in ("hex", "HEX", "base64"):
        initiator = Initiator(chap_policy(mutual=True))
        asked = ask(initiator)
        raw = bytes.fromhex(dict(proof(asked))["CHAP_R"][2:])
        texts = {
            "hex": "0x" + raw.hex(),
            "HEX": "0X" + raw.hex().upper(),
            "base64": "0b" + b64encode(raw).decode(),
        }
        initiator.say(
            [("CHAP_N", "it"), ("CHAP_R", texts[form]), ("CHAP_I", "0x11"), ("CHAP_C", "0bq6ur")], 3
        )
        assert isinstance(initiator.end, LoggedIn), form
    for bad in ("0x123", "0x", "0b", "0b!!!!", "123", "0x" + "ab" * 1025, "0b" + "A" * 1400):
        initiator = Initiator(chap_policy())
        ask(initiator)
        initiator.say([("CHAP_N", "it"), ("CHAP_R", bad)], 1)
        assert initiator.status in (0x0201, 0x0200), bad


def test_i68_a_name_is_text() -> None:
    for name in ("0xabcd", "0babcd"):
        what = chap_policy(users=(User(name),))
        initiator = Initiator(replace(what, secret=known({name: SECRET})))
        initiator.say(proof(ask(initiator), user=name), 3)
        assert initiator.logged_in().user == name


def test_i69_all_refusals_are_one() -> None:
    answers = []
    for user, secret, why in (
        ("nobody", SECRET, "unknown user"),
        ("it", SECRET[::-1], "wrong secret"),
        ("me", b"quite another secret", "other direction"),
    ):
        initiator = Initiator(chap_policy(mutual=True))
        initiator.say(proof(ask(initiator), user, secret), 1)
        assert why in initiator.refused().reason
        assert initiator.refused().user == user
        answers.append(initiator.last)
    assert answers[0] is not None
    assert answers[0].status == 0x0201
    assert answers[0] == answers[1] == answers[2]


def test_i69_an_unknown_user_costs_what_a_wrong_secret_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(*arguments: object) -> bytes:
        counts[-1] += 1
        return digest(*arguments)  # type: ignore[arg-type]

    for user in ("nobody", "it"):
        initiator = Initiator(chap_policy())
        said = proof(ask(initiator), user, SECRET[::-1])
        counts.append(0)
        with monkeypatch.context() as patched:
            patched.setattr(chap, "digest", counted)
            initiator.say(said, 1)
    assert counts == [1, 1]


def test_i70_discovery_has_users_of_its_own() -> None:
    asked: list[tuple[str, str]] = []

    def secret(where: str, user: str) -> bytes | None:
        asked.append((where, user))
        return SECRET

    here = {"here": Portal("here", discovery_auth="chap")}
    what = policy(target(), portals=here, users=(User("finder"),), secret=secret)
    open_one, closed = Initiator(what), Initiator(what)
    open_one.say(NAMES, 3)
    assert isinstance(open_one.end, LoggedIn)
    closed.say(DISCOVER, 1)
    assert closed.status == 0x0201
    finder = Initiator(what)
    finder.say([*DISCOVER, CHAP])
    finder.say(proof(finder.say([("CHAP_A", "5")]), "finder"), 3)
    assert isinstance(finder.end, Discovery)
    assert asked == [("", "finder")]
    assert finder.last is not None
    assert finder.last.tsih != 0


def test_i71_no_secret_in_what_is_said() -> None:
    initiator = Initiator(chap_policy())
    initiator.say(proof(ask(initiator), secret=b"a wrong one of mine"), 1)
    assert SECRET.decode() not in repr(initiator.end)
    assert "wrong one" not in repr(initiator.end)


def test_i95_t_bit_at_each_step() -> None:
    """iPXE asks to go on with each step of CHAP."""
    initiator = Initiator(chap_policy())
    initiator.say([*NAMES, ("AuthMethod", "CHAP,None")], 1)
    assert initiator.last is not None
    assert not initiator.last.transit
    asked = initiator.say([("CHAP_A", "5")], 1)
    assert not initiator.last.transit
    initiator.say(proof(asked), 1)
    assert initiator.stage == 1


def test_redirect_after_authentication_only() -> None:
    initiator = Initiator(chap_policy(redirect="10.0.0.9:3260"))
    asked = ask(initiator)
    assert initiator.status == 0
    assert initiator.say(proof(asked), 1)["TargetAddress"] == "10.0.0.9:3260"
    assert initiator.status == 0x0101


# What initiators of the field send (their keys; the values of one login each).

OPEN_ISCSI = (
    "HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No "
    "ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=16776192 FirstBurstLength=262144 "
    "MaxOutstandingR2T=1 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes "
    "MaxRecvDataSegmentLength=262144"
)
LIBISCSI = (
    "HeaderDigest=None,CRC32C DataDigest=None InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 "
    "FirstBurstLength=262144 MaxRecvDataSegmentLength=262144 DataPDUInOrder=Yes DataSequenceInOrder=Yes "
    "DefaultTime2Wait=2 DefaultTime2Retain=0 MaxConnections=1 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 "
    "IFMarker=No OFMarker=No"
)
IPXE = (
    "HeaderDigest=None DataDigest=None MaxConnections=1 InitialR2T=Yes ImmediateData=No "
    "MaxRecvDataSegmentLength=8192 MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=0 "
    "DefaultTime2Retain=0 MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes ErrorRecoveryLevel=0"
)
WINDOWS = (
    "HeaderDigest=None,CRC32C DataDigest=None,CRC32C ErrorRecoveryLevel=2 InitialR2T=No ImmediateData=Yes "
    "MaxRecvDataSegmentLength=65536 MaxBurstLength=262144 FirstBurstLength=65536 MaxConnections=8 "
    "DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=60 MaxOutstandingR2T=16"
)
ESXI = (
    "HeaderDigest=None,CRC32C DataDigest=None,CRC32C ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes "
    "MaxRecvDataSegmentLength=131072 MaxBurstLength=262144 FirstBurstLength=262144 MaxConnections=1 "
    "DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=0 MaxOutstandingR2T=1 "
    "IFMarker=No OFMarker=No"
)


@pytest.mark.parametrize(
    "keys",
    [OPEN_ISCSI, LIBISCSI, IPXE, WINDOWS, ESXI],
    ids=["open-iscsi", "libiscsi", "ipxe", "windows", "esxi"],
)
def test_replayed(keys: str) -> None:
    pairs = [(name, value) for name, _, value in (word.partition("=") for word in keys.split())]
    initiator = Initiator()
    initiator.say([*NAMES, ("AuthMethod", "CHAP,None")], 1)
    answer = initiator.say(pairs, 3)
    end = initiator.logged_in()
    assert end.values.max_xmit == int(dict(pairs)["MaxRecvDataSegmentLength"])
    assert (end.values.header_digest, end.values.data_digest) == (False, False)
    assert answer.keys() == {name for name, _ in pairs}
    if keys == IPXE:
        assert (end.values.initial_r2t, end.values.immediate_data) == (True, False)


# Anything.


@given(st.lists(st.tuples(st.binary(min_size=0, max_size=60), st.binary(max_size=300)), max_size=6))
def test_any_bytes(pdus: list[tuple[bytes, bytes]]) -> None:
    login = Login(chap_policy(mutual=True), came(), Challenges(Dice()), Dice())
    for header, data in pdus:
        step = login.feed(header, data)
        if step.end is not None:
            assert isinstance(step.end, Refused)
            return


TEXTS = st.sampled_from(
    ["Yes", "No", "None", "CRC32C", "CHAP", "5", "8", "0x", "0b", "1", "99999999999", "", "All"]
)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(sorted(KEYS)), TEXTS | st.text(max_size=20)), max_size=6),
            st.integers(0, 255),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_any_keys(requests: list[tuple[list[tuple[str, str]], int, bool]], proving: bool) -> None:
    login = Login(chap_policy() if proving else policy(), came(), Challenges(Dice()), Dice())
    said = text_of(NAMES)
    for pairs, flags, named in requests:
        text = (said if named else b"") + b"".join(f"{k}={v}\0".encode() for k, v in pairs)
        pdu = LoginRequest(False, False, 0, 0, ISID, 0, 1, 0, 1, 0, data=text).build()
        header = pdu[:1] + bytes((flags,)) + pdu[2:HEADER]
        step = login.feed(header, text)
        if step.end is not None:
            assert not (proving and isinstance(step.end, LoggedIn))
            return
        assert step.send


@given(st.permutations(OPEN_ISCSI.split()), st.integers(0, 20))
def test_order_of_keys_is_no_matter(words: list[str], cut: int) -> None:
    def result(order: list[str], at: int) -> Values:
        talk = Negotiation(Params(), False)
        pairs = [(name, value) for name, _, value in (word.partition("=") for word in order)]
        for part in (pairs[:at], pairs[at:]):
            talk.answer(part)
            talk.offers()
        return talk.values()

    assert result(words, cut) == result(OPEN_ISCSI.split(), 0)
