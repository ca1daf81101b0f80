# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's choice of a group, and its idea of which names are spellings of one (kmod/core/acl.c and
spelling.c, built in user space), against the Python ones.
"""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Sequence
from functools import cmp_to_key
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Group, Target
from pyscstadmin.config.spelling import canonical, is_exact, matches, name_key, same
from tests.unit.spellings import any_name, any_pattern, pairs_of, recased

REPO = Path(__file__).resolve().parents[2]
ALPHABET = "abAB.:*?"
NAMES = st.text("abAB.:", min_size=1, max_size=12)
BANG = st.sampled_from(["", "", "", "!"])
PATTERNS = st.tuples(BANG, st.text(ALPHABET, min_size=1, max_size=10)).map("".join)


class Rule(ctypes.Structure):
    """struct scst_acl_rule"""

    _fields_ = [("pattern", ctypes.c_char_p), ("group", ctypes.c_uint32)]


class Acl(ctypes.Structure):
    """struct scst_acl"""

    _fields_ = [
        ("nr_exact", ctypes.c_uint32),
        ("nr_wild", ctypes.c_uint32),
        ("exact", ctypes.POINTER(Rule)),
        ("wild", ctypes.POINTER(Rule)),
    ]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("acl") / "acl.so"
    sources = [str(REPO / "kmod/core" / name) for name in ("acl.c", "spelling.c")]
    include = f"-I{Path(__file__).parent / 'kernel'}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", include]
    subprocess.run(["gcc", *flags, *sources, "-o", str(library)], check=True)
    lib = ctypes.CDLL(str(library))
    lib.scst_pattern_match.restype = ctypes.c_bool
    lib.scst_pattern_is_exact.restype = ctypes.c_bool
    lib.scst_name_same.restype = ctypes.c_bool
    lib.scst_name_canonical_size.restype = ctypes.c_size_t
    return lib


def kernel_canonical(lib: ctypes.CDLL, name: str) -> str:
    """The kernel's canonical spelling; it has to fill exactly the room that it asks for."""
    size = lib.scst_name_canonical_size(name.encode())
    buffer = ctypes.create_string_buffer(b"\xff" * (size + 8))
    lib.scst_name_canonical(buffer, name.encode())
    assert buffer.raw[size - 1] == 0
    assert buffer.raw[size : size + 8] == b"\xff" * 8
    assert len(buffer.value) == size - 1
    return buffer.value.decode()


def sorted_rules(lib: ctypes.CDLL, rules: Sequence[tuple[str, int]]) -> ctypes.Array[Rule]:
    """As the kernel has them: in the order of scst_acl_rule_cmp()."""

    def compare(a: Rule, b: Rule) -> int:
        return int(lib.scst_acl_rule_cmp(ctypes.byref(a), ctypes.byref(b)))

    items = [Rule(pattern.encode(), group) for pattern, group in rules]
    items.sort(key=cmp_to_key(compare))
    return (Rule * len(items))(*items)


class Made(NamedTuple):
    """A group as somebody made it by hand, in whatever spelling."""

    name: str
    priority: int
    initiators: Sequence[str]


def select(lib: ctypes.CDLL, groups: Sequence[Group | Made], name: str, portal: str = "") -> str:
    """The name of the group the kernel's code chooses, "" for none."""
    ordered = sorted(groups, key=lambda group: (group.priority, group.name.encode()))
    rules = [(pattern, i) for i, group in enumerate(ordered) for pattern in group.initiators]
    names = [rule for rule in rules if lib.scst_pattern_is_exact(rule[0].encode())]
    exact = sorted_rules(lib, [(kernel_canonical(lib, name), group) for name, group in names])
    patterns = [rule for rule in rules if not lib.scst_pattern_is_exact(rule[0].encode())]
    wild = (Rule * len(patterns))(*[Rule(pattern.encode(), group) for pattern, group in patterns])
    acl = Acl(len(exact), len(wild), exact, wild)
    at = f"{kernel_canonical(lib, name)}#{portal}".encode() if portal else None
    chosen = lib.scst_acl_select(ctypes.byref(acl), name.encode(), at)
    return "" if chosen < 0 else ordered[chosen].name


@settings(max_examples=500)
@given(PATTERNS, NAMES)
def test_match(kernel: ctypes.CDLL, pattern: str, name: str) -> None:
    assert kernel.scst_pattern_match(pattern.encode(), name.encode()) == matches(pattern, name)


SEED, PAIRS = 20261103, 100_000


def test_spellings(kernel: ctypes.CDLL) -> None:
    """Of 100,000 random pairs: a third are matches, and thousands are only because spellings are known."""
    hits = known = 0
    for pattern, name in pairs_of(SEED, PAIRS):
        expected = matches(pattern, name)
        found = kernel.scst_pattern_match(pattern.encode(), name.encode())
        assert found == expected, (pattern, name)
        hits += expected
        known += expected != as_written(kernel, pattern, name)
    assert hits > PAIRS / 5
    assert PAIRS - hits > PAIRS / 5
    assert known > PAIRS / 20


def as_written(kernel: ctypes.CDLL, pattern: str, name: str) -> bool:
    """Whether they would match if no spelling were known: letters that no number has keep the rest apart."""
    pattern, name = (text.lower().replace("0", "q").replace("a", "z") for text in (pattern, name))
    return bool(kernel.scst_pattern_match(pattern.encode(), name.encode()))


def test_canonical_spelling(kernel: ctypes.CDLL) -> None:
    for pattern, name in pairs_of(SEED + 1, PAIRS // 4):
        assert kernel_canonical(kernel, name) == canonical(name), name
        assert kernel.scst_pattern_is_exact(pattern.encode()) == is_exact(pattern), pattern


def test_same_name(kernel: ctypes.CDLL) -> None:
    source = random.Random(SEED + 2)
    equal = 0
    for _ in range(PAIRS // 4):
        one, two = any_name(source), any_name(source)
        found = kernel.scst_name_same(one.encode(), two.encode())
        assert found == same(one, two) == (name_key(one) == name_key(two)), (one, two)
        equal += found
    assert equal > PAIRS / 100


def test_select_by_any_spelling(kernel: ctypes.CDLL) -> None:
    source = random.Random(SEED + 3)
    chosen = 0
    for _ in range(3000):
        name = any_name(source)
        made = [
            Made(group, source.randrange(3), [entry(source, name) for _ in range(source.randrange(4))])
            for group in source.sample("vwxyz", source.randrange(5))
        ]
        groups = tuple(Group(one.name, one.priority, tuple(one.initiators)) for one in made)
        expected = decide(Target("local", "t", groups=groups), name).group
        assert select(kernel, made, name) == select(kernel, groups, recased(source, name)) == expected
        chosen += expected != ""
    assert chosen > 1000


def entry(source: random.Random, name: str) -> str:
    """An exact name, or a pattern."""
    return any_name(source) if source.randrange(2) else any_pattern(source, name)


def test_match_is_not_exponential(kernel: ctypes.CDLL) -> None:
    assert not kernel.scst_pattern_match(b"*a" * 100 + b"b", b"a" * 223)


ASKING = st.tuples(PATTERNS, st.text("pqPQ*?", max_size=3)).map("#".join)


@st.composite
def groups(draw: st.DrawFn, entries: st.SearchStrategy[str] = PATTERNS | NAMES) -> list[Group]:
    names = draw(st.lists(st.text("xyz", min_size=1, max_size=3), unique=True, max_size=5))
    return [
        Group(
            name,
            draw(st.integers(0, 3)),
            tuple(draw(st.lists(entries, max_size=4, unique_by=str.lower))),
        )
        for name in names
    ]


@settings(max_examples=500)
@given(groups(), NAMES)
def test_select(kernel: ctypes.CDLL, found: list[Group], name: str) -> None:
    target = Target("local", "t", groups=tuple(found))
    assert select(kernel, found, name) == decide(target, name).group


@settings(max_examples=500)
@given(groups(PATTERNS | NAMES | ASKING), NAMES, st.text("pqPQ", max_size=2))
def test_select_by_a_portal(kernel: ctypes.CDLL, found: list[Group], name: str, portal: str) -> None:
    target = Target("iscsi", "iqn.2026-11.com.example:t", groups=tuple(found))
    assert select(kernel, found, name, portal) == decide(target, name, portal).group


@pytest.mark.parametrize(
    ("entries", "portal", "chosen"),
    [
        ({"g": "iqn.a:x#p"}, "p", "g"),
        ({"g": "iqn.a:x#p"}, "P", "g"),
        ({"g": "iqn.a:x#p"}, "q", ""),
        ({"g": "iqn.a:x#p"}, "", ""),
        ({"g": "iqn.a:*#p?"}, "p1", "g"),
        ({"g": "*#*"}, "p", "g"),
        ({"g": "*#*"}, "", ""),
        ({"g": "!*#p"}, "p", ""),
        ({"g": "!*#p"}, "q", "g"),
        # The pair before the name, the name before any pattern; what asks for no portal does not care.
        ({"a": "iqn.a:x", "b": "iqn.a:x#p"}, "p", "b"),
        ({"a": "iqn.a:x", "b": "iqn.a:x#p"}, "q", "a"),
        ({"a": "*#p", "b": "iqn.a:x"}, "p", "b"),
        ({"a": "*#p", "b": "iqn.*"}, "p", "a"),
        ({"a": "iqn.*", "b": "*#p"}, "p", "a"),
        ({"a": "*x"}, "p", "a"),
        ({"a": "*p"}, "p", ""),
    ],
)
def test_portals(kernel: ctypes.CDLL, entries: dict[str, str], portal: str, chosen: str) -> None:
    made = tuple(Group(name, initiators=(entry,)) for name, entry in entries.items())
    target = Target("iscsi", "iqn.2026-11.com.example:t", groups=made)
    assert decide(target, "iqn.a:x", portal).group == select(kernel, made, "iqn.a:x", portal) == chosen


def test_a_name_with_a_sharp_that_came_by_no_portal(kernel: ctypes.CDLL) -> None:
    """It is a name like any other."""
    for entry in ("host#1", "host#?", "*#1", "host*"):
        made = (Group("g", initiators=(entry,)),)
        assert decide(Target("local", "t", groups=made), "host#1").group == "g"
        assert select(kernel, made, "host#1") == "g"
