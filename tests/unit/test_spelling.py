# SPDX-License-Identifier: GPL-2.0-or-later
"""One initiator, one name: the spellings of config/spelling.py, and what becomes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.admin import Admin
from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.plan import plan, settle
from pyscstadmin.config.schema import dumps, loads
from pyscstadmin.config.spelling import canonical, fold, is_exact, matches, name_key, same, unique
from pyscstadmin.errors import Conflict, InvalidInput, OperationError
from pyscstadmin.kernel import read
from tests.unit.spellings import GID_WAYS, WRONG_WAYS, WWN_WAYS, any_name, grouped, pairs, pairs_of

DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs/configfs.md").read_text(encoding="utf-8")

WWN = "5000c500a1b2c3d4"
GID = "fe800000000000000002c90300a15de1"
IQN = "iqn.2026-11.com.example:Host-7"
EUI = "EUI.02004567A425678D"
NAA = "naa.600140500000000A" + "B" * 16

# 40 spellings of 8 names.
FORTY: dict[str, list[str]] = {
    pairs(WWN): [way(WWN) for way in WWN_WAYS[:15]],
    pairs("10000000c9aabbcc"): ["10000000C9AABBCC", "0x10000000c9aabbcc", "10-00-00-00-c9-aa-bb-cc"],
    pairs("2100000e1e09d0a0"): [
        "fc:0x2100000e1e09d0a0,0x010400",
        "nn-0x2000000e1e09d0a0:pn-0x2100000e1e09d0a0",
    ],
    pairs("0002c90300a15de1"): ["0002:c903:00a1:5de1", "0x0002C90300A15DE1"],
    grouped(GID, 4, ":"): [way(GID) for way in GID_WAYS],
    IQN.lower(): [IQN, IQN.lower(), IQN.upper(), IQN.title()],
    EUI.lower(): [EUI, EUI.lower(), EUI.title(), "eui.02004567A425678d"],
    NAA.lower(): [NAA, NAA.lower(), NAA.upper(), NAA.title()],
}
SPELLINGS = [(name, spelling) for name, ways in FORTY.items() for spelling in ways]

names = st.randoms(use_true_random=False).map(any_name)
texts = st.text("0123456789abcdefABCDEFxgnwui.:-,", min_size=1, max_size=45)


def test_there_are_forty_of_eight() -> None:
    assert (len(FORTY), len(SPELLINGS), len(set(SPELLINGS))) == (8, 40, 40)


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
def test_canonical(name: str, spelling: str) -> None:
    assert canonical(spelling) == name
    assert canonical("!" + spelling) == "!" + name


@pytest.mark.parametrize("way", range(len(WRONG_WAYS)))
def test_what_only_looks_like_a_wwn_stays(way: int) -> None:
    spelling = WRONG_WAYS[way](WWN)
    assert not same(spelling, WWN)
    assert fold(canonical(spelling)) == fold(spelling)


@pytest.mark.parametrize(
    "name",
    [
        "ini-A",
        "host:a",
        "10-00-x",
        "Node-01",
        "deadbeef",
        "a" * 223,
        "0x",
        "naa.",
        "5000c5*",
        "!5000C5?",
        "*",
    ],
)
def test_plain_names_and_patterns_stay(name: str) -> None:
    assert canonical(name) == name


@settings(max_examples=1000)
@given(names | texts)
def test_canonical_is_canonical(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)
    assert same(name, canonical(name))
    assert len(canonical(name)) <= max(len(name), 39)


@settings(max_examples=1000)
@given(names | texts, names | texts, st.randoms(use_true_random=False))
def test_case_never_matters(one: str, two: str, source: Random) -> None:
    other = "".join(source.choice((c.upper(), c.lower())) for c in one)
    assert name_key(other) == name_key(one)
    assert matches(other, two) == matches(one, two)
    assert matches(two, other) == matches(two, one)


@settings(max_examples=1000)
@given(names | texts, names | texts)
def test_a_name_matches_its_spellings_only(one: str, two: str) -> None:
    assert matches(one, two) == same(one, two) == same(two, one)
    assert matches("!" + one, two) != matches(one, two)
    assert unique([one, two]) == tuple(sorted({canonical(one), canonical(two)})) or same(one, two)


def test_every_spelling_of_the_name_matches_alike() -> None:
    """Whatever the pattern, the answer is that for the canonical name."""
    for pattern, name in pairs_of(7, 20_000):
        assert matches(pattern, name) == matches(pattern, canonical(name)), (pattern, name)


def test_the_documentation_names_what_may_stand_before_digits() -> None:
    table = next(line for line in DOCUMENTED.splitlines() if line.startswith("| WWN"))
    gids = next(line for line in DOCUMENTED.splitlines() if line.startswith("| GID"))
    for word in ("0x", "naa.", "wwn.", "wwn-", "wwn-0x", "fc:0x", "sas:0x"):
        assert same(word + WWN, WWN)
        assert f"`{word}`" in table
    for word in ("0x", "ib."):
        assert same(word + GID, GID)
        assert f"`{word}`" in gids


@pytest.mark.parametrize(
    "pattern",
    [
        "5000c5*",
        "5000C5*",
        "50:00:C5:*",
        "50:00:c5*",
        "50-00-c5-*",
        "50-00-C5*",
        "5000:c500:*",
        "0x5000C5*",
        "naa.5000c5??????????",
        "NAA.50:00:c5*",
        "wwn.5000c5*",
        "wwn-0x5000c5*",
        "fc:0x5000c5*",
        "sas:0x5000C5*",
        "*",
        "0x*",
        "naa.*",
        "*d4",
        "?0:00:c5:*",
        "!10000000c9*",
        "!iqn.*",
    ],
)
def test_patterns_in_every_spelling(pattern: str) -> None:
    assert all(matches(pattern, way(WWN)) for way in WWN_WAYS)
    other = "21:00:00:0e:1e:09:d0:a0"
    assert matches(pattern, other) == (pattern[0] == "!" or pattern in ("*", "0x*", "naa.*"))


@pytest.mark.parametrize(
    "pattern",
    [
        "a*",
        "*:disk",
        "*:d",
        "n*",
        "w*",
        "naa*",
        "*-*",
        "*-d4",
        "5-0*",
        "*:c3d4",
        "*x*",
        "*.*",
        "ib.*",
        "!*",
        "!5000*",
    ],
)
def test_patterns_of_plain_names_claim_no_wwn(pattern: str) -> None:
    assert not any(matches(pattern, way(WWN)) for way in WWN_WAYS)


def test_patterns_of_gids() -> None:
    for pattern in ("fe80*", "0xFE80000000000000*", "ib.fe80*", "fe80:0000:*", "*:5de1", "?" * 32):
        assert all(matches(pattern, way(GID)) for way in GID_WAYS), pattern
    for pattern in ("naa.*", "wwn.fe80*", "fe-80-*", "fe:80:*"):
        assert not any(matches(pattern, way(GID)) for way in GID_WAYS), pattern


# From a file, by the interface, in the tree.


def target_of(*initiators: str) -> Target:
    """A target with one group of these."""
    return Target("local", "t", groups=(Group("g", initiators=initiators, luns=(Lun(0, "d"),)),))


@pytest.mark.parametrize(("name", "ways"), FORTY.items())
def test_one_entry_and_one_answer(name: str, ways: list[str]) -> None:
    target = target_of(*ways)
    assert target.groups[0].initiators == (name,)
    assert replace(target, hosts=tuple(ways)).hosts == (name,)
    for spelling in ways:
        assert target_of(spelling) == target
        decision = decide(target, spelling)
        assert decision == decide(target, name)
        assert decision.group == "g"


def file_of(*initiators: str) -> str:
    """The same as a file."""
    group = {"initiators": list(initiators), "luns": {"0": {"device": "d"}}}
    devices = {"nullio": {"d": {"size": 1048576}}}
    return json.dumps(
        {"version": 1, "devices": devices, "targets": {"local": {"t": {"groups": {"g": group}}}}}
    )


@pytest.mark.parametrize(("name", "ways"), FORTY.items())
def test_a_file_may_have_any_spelling(name: str, ways: list[str]) -> None:
    for spelling in ways:
        assert loads(file_of(spelling)) == loads(file_of(name))
        assert f'"{name}"' in dumps(loads(file_of(spelling)))
    with pytest.raises(InvalidInput) as caught:
        loads(file_of(*ways))
    assert len(caught.value.problems) == len(ways) - 1
    assert repr(ways[0]) in caught.value.problems[0].message


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    made = Admin(sim=str(tmp_path), settle=0)
    made.create_device(Device("d", "nullio", size=1 << 20))
    made.create_target(target_of())
    return made


def test_forty_spellings_make_eight_entries(admin: Admin) -> None:
    for name, ways in FORTY.items():
        admin.add_initiator("t", "g", ways[0])
        admin.add_host("t", ways[-1])
        for spelling in ways:
            with pytest.raises(Conflict, match="is there already"):
                admin.add_initiator("t", "g", spelling)
            with pytest.raises(Conflict, match="is there already"):
                admin.add_host("t", spelling)
            with pytest.raises(OperationError, match="EEXIST"):
                admin.tree.mkdir(f"targets/local/t/groups/g/initiators/{spelling}")
            assert admin.explain("t", spelling) == admin.explain("t", name)
    assert sorted(admin.tree.list("targets/local/t/groups/g/initiators")) == sorted(FORTY)
    assert sorted(admin.tree.list("targets/local/t/hosts")) == sorted(FORTY)
    assert {session.initiator: session.group for session in admin.sessions()} == dict.fromkeys(FORTY, "g")
    for ways in FORTY.values():
        admin.remove_initiator("t", "g", ways[-1])
        admin.remove_host("t", ways[0])
    assert admin.tree.list("targets/local/t/groups/g/initiators") == []
    assert admin.tree.list("targets/local/t/hosts") == []


def test_what_was_made_by_hand(admin: Admin) -> None:
    """It is shown and saved in canonical spelling, and neither made anew nor in the way of its removal."""
    hand = {name: ways[0] for name, ways in FORTY.items()}
    for spelling in hand.values():
        admin.tree.mkdir(f"targets/local/t/groups/g/initiators/{spelling}")
        admin.tree.mkdir(f"targets/local/t/hosts/{spelling}")
    config = admin.config()
    assert config.targets[0].hosts == config.targets[0].groups[0].initiators == tuple(sorted(FORTY))
    saved = loads(dumps(config))
    assert saved == config
    assert not admin.plan(saved)
    assert not admin.apply(saved).done
    for name, ways in list(FORTY.items())[:4]:
        admin.remove_initiator("t", "g", ways[-1])
        admin.remove_host("t", ways[-1])
        assert hand[name] not in admin.tree.list("targets/local/t/hosts")
    assert admin.config().targets[0].hosts == tuple(sorted(list(FORTY)[4:]))
    admin.remove_group("t", "g")
    admin.remove_target("t")
    assert admin.tree.list("targets/local") == []


def test_undone_is_spelled_as_before(admin: Admin) -> None:
    """What an apply has to undo comes back as it was made."""
    admin.tree.mkdir(f"targets/local/t/groups/g/initiators/0x{WWN}")
    shot = read.snapshot(admin.tree)
    steps = plan(shot.config, Config(shot.config.devices))
    undo = [act for step in steps.operations for act in step.inverse().acts]
    assert any(f"0x{WWN}" in str(act) for act in undo)
    assert not any(pairs(WWN) in str(act) for act in undo)


@given(st.lists(names, max_size=5), st.lists(names, max_size=5))
def test_settled_knows_the_tree(before: list[str], after: list[str]) -> None:
    """After a change the configuration knows how the tree spells each name that stays, and no other."""
    taken = {canonical(name): name for name in before}
    old = Target("local", "t", hosts=tuple(taken), spelled={c: n for c, n in taken.items() if c != n})
    new = settle(Config((), (old,)), Config((), (Target("local", "t", hosts=tuple(after)),))).targets[0]
    assert new.spelled == {name: old.spelled[name] for name in new.hosts if name in old.spelled}


@given(names | texts)
def test_exact_names_are_names(name: str) -> None:
    assert is_exact(name)
    assert is_exact(canonical(name))
