# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's choice of a group (kmod/core/acl.c, built in user space) against the Python one."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from functools import cmp_to_key
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config.acl import decide, matches
from pyscstadmin.config.model import Group, Target

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
    source = REPO / "kmod/core/acl.c"
    include = f"-I{Path(__file__).parent / 'kernel'}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", include]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
    lib = ctypes.CDLL(str(library))
    lib.scst_pattern_match.restype = ctypes.c_bool
    lib.scst_pattern_is_exact.restype = ctypes.c_bool
    return lib


def sorted_rules(lib: ctypes.CDLL, rules: Sequence[tuple[str, int]]) -> ctypes.Array[Rule]:
    """As the kernel has them: in the order of scst_acl_rule_cmp()."""

    def compare(a: Rule, b: Rule) -> int:
        return int(lib.scst_acl_rule_cmp(ctypes.byref(a), ctypes.byref(b)))

    items = [Rule(pattern.encode(), group) for pattern, group in rules]
    items.sort(key=cmp_to_key(compare))
    return (Rule * len(items))(*items)


def select(lib: ctypes.CDLL, groups: Sequence[Group], name: str) -> str:
    """The name of the group the kernel's code chooses, "" for none."""
    ordered = sorted(groups, key=lambda group: (group.priority, group.name.encode()))
    rules = [(pattern, i) for i, group in enumerate(ordered) for pattern in group.initiators]
    exact = sorted_rules(lib, [rule for rule in rules if lib.scst_pattern_is_exact(rule[0].encode())])
    patterns = [rule for rule in rules if not lib.scst_pattern_is_exact(rule[0].encode())]
    wild = (Rule * len(patterns))(*[Rule(pattern.encode(), group) for pattern, group in patterns])
    acl = Acl(len(exact), len(wild), exact, wild)
    chosen = lib.scst_acl_select(ctypes.byref(acl), name.encode())
    return "" if chosen < 0 else ordered[chosen].name


@settings(max_examples=500)
@given(PATTERNS, NAMES)
def test_match(kernel: ctypes.CDLL, pattern: str, name: str) -> None:
    assert kernel.scst_pattern_match(pattern.encode(), name.encode()) == matches(pattern, name)


def test_match_is_not_exponential(kernel: ctypes.CDLL) -> None:
    assert not kernel.scst_pattern_match(b"*a" * 100 + b"b", b"a" * 223)


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    names = draw(st.lists(st.text("xyz", min_size=1, max_size=3), unique=True, max_size=5))
    return [
        Group(
            name,
            draw(st.integers(0, 3)),
            tuple(draw(st.lists(PATTERNS | NAMES, max_size=4, unique_by=str.lower))),
        )
        for name in names
    ]


@settings(max_examples=500)
@given(groups(), NAMES)
def test_select(kernel: ctypes.CDLL, found: list[Group], name: str) -> None:
    target = Target("local", "t", groups=tuple(found))
    assert select(kernel, found, name) == decide(target, name).group
