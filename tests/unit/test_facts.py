# SPDX-License-Identifier: GPL-2.0-or-later
"""What a backing is known by, and when something is that backing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.config.facts import FACTS, NOTHING, TEXT_MAX, Difference, Facts, Kind, compare, fact

PROOFS = sorted(name for name, one in FACTS.items() if one.kind is Kind.PROOF and name != "sequence")
CONDITIONS = sorted(name for name, one in FACTS.items() if one.kind is Kind.CONDITION)
HINTS = sorted(name for name, one in FACTS.items() if one.kind is Kind.HINT)

texts = st.text(min_size=1, max_size=40)
prefixes = st.sampled_from(["", "disk.", "file.", "below0.", "file.below."])
names = st.builds(str.__add__, prefixes, st.sampled_from(sorted(set(FACTS) - {"sequence"})))
facts = st.dictionaries(names, texts).map(Facts.of)
provable = facts.filter(lambda one: one.provable)


def of(**values: str) -> Facts:
    """Facts by keyword; `__` stands for the dot."""
    return Facts.of({name.replace("__", "."): text for name, text in values.items()})


@given(facts)
def test_text_is_read_back(one: Facts) -> None:
    text = one.text()
    assert text.isascii()
    assert text.isprintable()
    assert Facts.parse(text) == one


def test_nothing_said_and_nothing_wanted_are_two_things() -> None:
    assert Facts.parse("") is None
    assert Facts.parse(NOTHING.text()) == NOTHING
    assert NOTHING.text() == "{}"


@pytest.mark.parametrize("text", ["x", "[]", '{"a":1}', '{"a":{"b":"c"}}', "null", '"a"'])
def test_foreign_text_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"facts|Expect"):
        Facts.parse(text)


def test_text_that_the_kernel_would_not_keep_loses_its_hints_only() -> None:
    long = of(wwid="w", size="1", path="p" * TEXT_MAX)
    assert Facts.parse(long.text()) == of(wwid="w")


@given(provable)
def test_the_same_is_the_same(one: Facts) -> None:
    assert compare(one, one).same


@given(facts)
def test_whatever_is_at_the_path_will_do_if_that_is_said(one: Facts) -> None:
    assert compare(NOTHING, one).same


@given(provable, st.data())
def test_any_other_proof_or_condition_is_named(one: Facts, data: st.DataObject) -> None:
    deciding = sorted(name for name in one if fact(name).kind is not Kind.HINT)
    name = data.draw(st.sampled_from(deciding))
    other = data.draw(texts.filter(lambda text: text != one[name]))
    verdict = compare(one, Facts.of({**one, name: other}))
    assert not verdict.same
    assert verdict.differences == (Difference(name, one[name], other),)
    assert str(verdict) == f"{name} {other}, expected {one[name]}"


@given(provable, facts)
def test_nothing_is_the_same_without_a_proof(one: Facts, two: Facts) -> None:
    """Whatever else agrees."""
    shared = {n: t for n, t in one.items() if two.get(n) == t and fact(n).kind is Kind.PROOF}
    assert compare(one, two).same <= bool(shared)


@given(provable, st.sampled_from(HINTS), texts)
def test_hints_decide_nothing(one: Facts, name: str, text: str) -> None:
    assert compare(one, Facts.of({**one, name: text})).same
    assert compare(Facts.of({**one, name: text}), one).same


@given(provable, facts)
def test_what_was_not_known_before_decides_nothing(one: Facts, more: Facts) -> None:
    assert compare(one, Facts.of({**more, **one})).same


@pytest.mark.parametrize("name", [*PROOFS, *CONDITIONS])
def test_absence(name: str) -> None:
    """What the kernel always tells is a difference when it is gone; what a database tells is not, and does
    not prove anything then.
    """
    verdict = compare(Facts.of({name: "x", "serial": "s", "wwid": "w"}), of(serial="s", wwid="w"))
    if name in ("serial", "wwid"):
        return
    if FACTS[name].listed:
        assert verdict.same
        assert compare(Facts.of({name: "x"}), NOTHING).unproven
    else:
        assert verdict.differences == (Difference(name, "x", ""),)
        assert str(verdict) == f"{name} none, expected x"


def test_numbers_of_another_run_of_the_machine_say_nothing() -> None:
    known = of(place="pci-1", sequence="boot1 5")
    assert not compare(known, of(place="pci-1", sequence="boot1 6")).same
    assert compare(known, of(place="pci-1", sequence="boot2 6")).same
    assert compare(of(sequence="boot1 5"), of(sequence="boot2 5")).unproven
    assert compare(of(sequence="boot1 5"), of(sequence="boot1 5")).same


def test_two_disks_of_the_same_size_with_one_serial_number() -> None:
    """Makers give all disks of a series one number, and forget it in the next series."""
    assert not compare(of(serial="1", wwid="a", size="9"), of(serial="1", wwid="b", size="9")).same
    assert not compare(of(serial="1", model="a"), of(serial="1", model="b")).same


def test_facts_of_what_is_below_count_as_much() -> None:
    known = Facts.of({**of(part_uuid="u", partition="1"), **of(wwid="w").below("disk")})
    assert known["disk.wwid"] == "w"
    other = Facts.of({**known, "disk.wwid": "v"})
    assert [one.name for one in compare(known, other).differences] == ["disk.wwid"]


def test_names_of_a_later_version_are_hints() -> None:
    assert fact("disk.colour").kind is Kind.HINT
    assert compare(of(serial="s", colour="red"), of(serial="s")).same
