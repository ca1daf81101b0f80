# SPDX-License-Identifier: GPL-2.0-or-later
"""What the watcher decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.watch.plan import (
    ABSENT,
    LONGEST_DELAY,
    Action,
    Attempt,
    Backing,
    Decision,
    Do,
    Seen,
    decide,
    in_turn,
    noted,
)

DISK = Backing("block", "254:16/7")
FILE = Backing("file", "1:2/4096")


def parked(backing: Backing, handler: str = "blockio", error: str = "ENOENT") -> Seen:
    return Seen("d", handler, "parked", "/dev/d", error, backing)


def only(seen: Seen, attempts: dict[str, Attempt] | None = None, now: float = 100.0) -> Decision:
    return decide([seen], attempts or {}, now)


@pytest.mark.parametrize(("handler", "backing"), [("blockio", DISK), ("fileio", FILE)])
def test_parked_device_is_activated_when_its_backing_is_there(handler: str, backing: Backing) -> None:
    assert only(parked(backing, handler)).actions == (Action(Do.ACTIVATE, "d", backing.identity),)


@pytest.mark.parametrize(
    ("handler", "backing"),
    [
        ("blockio", ABSENT),
        ("blockio", FILE),
        ("fileio", DISK),
        ("fileio", Backing("other")),
        ("nullio", FILE),
    ],
)
def test_parked_device_waits_for_a_backing_of_its_kind(handler: str, backing: Backing) -> None:
    assert only(parked(backing, handler)) == Decision()


def test_device_parked_on_request_stays_parked() -> None:
    """Also one whose closing lost data, which is an error, too."""
    for error in ("", "EIO"):
        assert only(replace(parked(DISK, error=error), wanted=False)) == Decision()


def test_disk_that_may_be_anywhere_is_looked_for() -> None:
    """As often as there are other disks, and now and then."""
    seen = replace(parked(Backing("absent", "\n8:0 5")), anywhere=True)
    assert only(seen).actions == (Action(Do.ACTIVATE, "d", "\n8:0 5"),)
    attempts = {"d": Attempt("\n8:0 5", 3, 130.0)}
    assert only(seen, attempts) == Decision((), 130.0)
    assert only(replace(seen, backing=Backing("absent", "\n8:0 6")), attempts).actions != ()


def test_what_is_only_odd_is_left_alone() -> None:
    odd = Seen("d", "blockio", "active", "/dev/d", "", DISK, replaced=True, shrunk=True)
    assert only(odd) == Decision()


@pytest.mark.parametrize("state", ["disabled", "active"])
def test_devices_in_order_are_left_alone(state: str) -> None:
    assert only(Seen("d", "blockio", state, "/dev/d", "", DISK)) == Decision()


@pytest.mark.parametrize("backing", [ABSENT, DISK])
def test_active_device_whose_disk_is_gone_is_reopened(backing: Backing) -> None:
    lost = Seen("d", "blockio", "active", "/dev/d", "", backing, lost=True)
    assert only(lost).actions == (Action(Do.REOPEN, "d", backing.identity),)


def test_file_being_written_is_waited_for() -> None:
    young = Backing("file", "1:2/512", settled_in=0.3)
    assert only(parked(young, "fileio")) == Decision((), 100.3)


def test_failed_attempt_is_repeated_when_due() -> None:
    attempts = {"d": Attempt(DISK.identity, 1, 101.0)}
    assert only(parked(DISK), attempts, 100.0) == Decision((), 101.0)
    assert only(parked(DISK), attempts, 101.0).actions != ()


def test_failed_attempt_is_repeated_at_once_with_another_backing() -> None:
    attempts = {"d": Attempt("254:16/6", 9, 200.0)}
    assert only(parked(DISK), attempts, 100.0).actions == (Action(Do.ACTIVATE, "d", DISK.identity),)


def test_delays_grow_to_a_limit_and_start_anew_with_another_backing() -> None:
    attempt = noted(None, "x", 0.0)
    delays = [attempt.due]
    for _ in range(2000):
        before = attempt.due
        attempt = noted(attempt, "x", before)
        delays.append(attempt.due - before)
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(delays) == LONGEST_DELAY == delays[-1]
    assert noted(attempt, "y", 0.0) == Attempt("y", 1, 1.0)


backings = st.builds(
    Backing,
    st.sampled_from(["absent", "file", "block", "other"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([0.0, 0.4]),
)
devices = st.lists(
    st.builds(
        Seen,
        st.sampled_from("abcdef"),
        st.sampled_from(["blockio", "fileio"]),
        st.sampled_from(["disabled", "opening", "parked", "active", "closing"]),
        st.just("/p"),
        st.sampled_from(["", "ENOENT", "ENODEV"]),
        backings,
        wanted=st.booleans(),
        anywhere=st.booleans(),
        lost=st.booleans(),
        grown=st.booleans(),
    ),
    unique_by=lambda seen: seen.name,
)
failures = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(Attempt, st.sampled_from(["", "a", "b"]), st.integers(1, 9), st.floats(0, 200)),
)


@given(devices, failures, st.floats(0, 200))
def test_every_decision_is_allowed(seen: list[Seen], attempts: dict[str, Attempt], now: float) -> None:
    decision = decide(seen, attempts, now)
    by_name = {one.name: one for one in seen}
    assert len({action.name for action in decision.actions}) == len(decision.actions)
    for action in decision.actions:
        one = by_name[action.name]
        if action.do is not Do.ACTIVATE:
            assert one.state == "active"
            assert one.lost is (action.do is Do.REOPEN)
            assert one.lost or one.grown
        else:
            assert one.state == "parked"
            assert one.wanted
            there = one.backing.kind == {"blockio": "block", "fileio": "file"}[one.handler]
            assert there or one.anywhere
    assert decision.due is None or decision.due > now


@given(devices, failures, st.floats(0, 200))
def test_nothing_is_forgotten_and_nothing_spins(
    seen: list[Seen], attempts: dict[str, Attempt], now: float
) -> None:
    """What is not done now is done at the time named; what failed now is not done again now."""
    decision = decide(seen, attempts, now)
    if decision.due is not None:
        settled = [replace(one, backing=replace(one.backing, settled_in=0.0)) for one in seen]
        assert decide(settled, attempts, decision.due).actions != ()
    failed = dict(attempts)
    for action in decision.actions:
        failed[action.name] = noted(failed.get(action.name), action.identity, now)
    again = decide(seen, failed, now)
    assert again.actions == ()
    assert bool(decision.actions) <= (again.due is not None)


@pytest.mark.parametrize(
    ("last", "order"), [("", "abc"), ("a", "bca"), ("b", "cab"), ("bb", "cab"), ("c", "abc"), ("z", "abc")]
)
def test_turns_go_round(last: str, order: str) -> None:
    actions = [Action(Do.ACTIVATE, name, "") for name in "bca"]
    assert "".join(action.name for action in in_turn(actions, last)) == order
