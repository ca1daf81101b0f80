# SPDX-License-Identifier: GPL-2.0-or-later
"""Pattern matching and the choice of a group, against a reference that is slow and obvious."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Group, Lun, Target
from pyscstadmin.config.spelling import matches
from pyscstadmin.iscsi import policy as iscsi

letters = st.text("abAB*?", min_size=1, max_size=8)
initiators = st.text("abAB", min_size=1, max_size=8)
rules = st.tuples(st.booleans(), letters).map(lambda rule: ("!" if rule[0] else "") + rule[1])

# Spellings of two names, as names and as patterns.
numbers = st.sampled_from(
    [
        "naa.5000c500a1b2c3d4",
        "50:00:c5:00:A1:b2:c3:d4",
        "0x5000c500a1b2c3d?",
        "5000c5*",
        "eui.0123456789abcdef",
    ]
)


def reference(pattern: str, name: str) -> bool:
    body = pattern.removeprefix("!")
    regex = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in body)
    return bool(re.fullmatch(regex, name, re.IGNORECASE | re.ASCII | re.DOTALL)) != pattern.startswith("!")


@settings(max_examples=300)
@given(rules, initiators)
def test_matcher_is_the_reference(pattern: str, name: str) -> None:
    assert matches(pattern, name) == reference(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("iqn.2026-11.com.example:a", "IQN.2026-11.COM.example:A", True),
        ("iqn.*:a", "iqn.x:a", True),
        ("iqn.*:a", "iqn.x:b", False),
        ("*", "anything", True),
        ("**", "x", True),
        ("?", "xx", False),
        ("!*", "x", False),
        ("!a", "A", False),
        ("!a", "b", True),
        ("a[b]", "a[b]", True),
        ("a[b]", "ab", False),
        ("*a*b*", "xxaxxbxx", True),
        ("É", "é", False),
    ],
)
def test_matcher(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_matcher_has_no_explosion() -> None:
    start = time.process_time()
    assert not matches("*a" * 100 + "b", "a" * 223)
    assert time.process_time() - start < 1


def choice(groups: list[Group], name: str) -> str:
    """The rule of docs/configfs.md, word for word."""
    exact = [
        g
        for g in groups
        if any(p.lower() == name.lower() and not re.search(r"[*?]|^!", p) for p in g.initiators)
    ]
    wild = [g for g in groups if any(re.search(r"[*?]|^!", p) and reference(p, name) for p in g.initiators)]
    for candidates in (exact, wild):
        if candidates:
            return min(candidates, key=lambda g: (g.priority, g.name.encode())).name
    return ""


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from([1, 2]), st.lists(rules, max_size=3)),
        max_size=5,
        unique_by=lambda group: group[0],
    ),
    initiators,
)
def test_choice_is_the_reference(groups: list[tuple[str, int, list[str]]], name: str) -> None:
    made = [Group(label, priority, tuple(patterns), (Lun(0, label),)) for label, priority, patterns in groups]
    decision = decide(Target("local", "t", luns=(Lun(9, "own"),), groups=tuple(made)), name)
    assert decision.group == choice(made, name)
    assert [lun.device for lun in decision.luns] == [decision.group or "own"]
    assert [v.group for v in decision.verdicts if v.chosen] == [decision.group] * bool(decision.group)


entries = st.tuples(rules | numbers, st.sampled_from(["", "", "#p1", "#p*"])).map("".join)


@settings(max_examples=150)
@given(
    st.lists(st.lists(entries, max_size=3), max_size=4),
    initiators | numbers,
    st.sampled_from(["p1", "p2", "other"]),
    st.booleans(),
)
def test_who_is_served_is_who_sees_something(
    groups: list[list[str]], name: str, portal: str, own: bool
) -> None:
    """The login's short way, by the long one."""
    made = tuple(iscsi.Group(f"g{number}", 1, tuple(names), ()) for number, names in enumerate(groups))
    shown = iscsi.Access(("own",) if own else (), made)
    target = iscsi.Target("t", shown, portals=frozenset(("p1", "p2")))
    decision = decide(shown, name, portal)
    assert target.serves(name, portal) is (portal != "other" and bool(decision.group or decision.luns))


def test_reasons() -> None:
    groups = (
        Group("all", 1, ("*",)),
        Group("empty"),
        Group("exact", 500, ("A",)),
        Group("later", 500, ("a",)),
        Group("other", 1, ("b",)),
        Group("worse", 501, ("a",)),
    )
    decision = decide(Target("local", "t", groups=groups), "a")
    reasons = {verdict.group: verdict.reason for verdict in decision.verdicts}
    assert decision.group == "exact"
    assert reasons == {
        "all": "pattern '*' matches, but group 'exact' has the exact name",
        "empty": "it has no initiators",
        "exact": "chosen: exact name 'A' matches, priority 500",
        "later": "exact name 'a' matches, but group 'exact' of the same priority comes first by name",
        "other": "none of its patterns match",
        "worse": "exact name 'a' matches, but group 'exact' has the lower priority 500",
    }
