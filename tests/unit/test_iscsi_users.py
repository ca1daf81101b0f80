# SPDX-License-Identifier: GPL-2.0-or-later
"""Users that are good for some time, or for some logins: what is noted of them, and when."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.config import moments
from pyscstadmin.config.settings import ISCSI_USER
from pyscstadmin.iscsi.login import LoggedIn, Status
from pyscstadmin.iscsi.policy import Policy, User
from pyscstadmin.iscsi.uses import Uses, read_uses
from tests.unit.iscsi_client import NAMES, SECRET, TARGET, Initiator, policy, proof, target

ONCE = User("it", source="/etc/it 1.2.3", uses=1)


def log_in(what: Policy, secret: bytes = SECRET) -> Initiator:
    """By CHAP, as `it`."""
    one = Initiator(what)
    one.say([*NAMES, ("AuthMethod", "CHAP")])
    one.say(proof(one.say([("CHAP_A", "7")]), "it", secret), 3)
    return one


def known(user: User, now: float = 0.0, used: int = 0) -> Policy:
    """A target with that user."""
    one = target(auth="chap", users=(user,))
    return policy(one, secret=lambda where, name: SECRET, used=lambda where, user: used, now=lambda: now)


@pytest.mark.parametrize(
    ("user", "now", "used", "rule"),
    [
        (User("it", expires=100), 99.9, 0, ""),
        (User("it", expires=100), 100.0, 0, "expired"),
        (User("it", uses=2), 0.0, 1, ""),
        (User("it", uses=2), 0.0, 2, "used-up"),
        (User("it"), 1e12, 1000, ""),
    ],
)
def test_until_when_and_how_often(user: User, now: float, used: int, rule: str) -> None:
    one = log_in(known(user, now, used))
    if not rule:
        assert isinstance(one.end, LoggedIn)
        return
    assert (one.refused().rule, one.refused().status) == (rule, Status.AUTHENTICATION)
    # Who guesses learns nothing of it.
    assert log_in(known(user, now, used), b"another one of 12").refused().status == Status.AUTHENTICATION


def test_a_use_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of its folder, the file, then its name; nothing is said before all are."""
    path = tmp_path / "lib/uses.json"
    done: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        real = getattr(os, name)

        def call(*words: object) -> None:
            done.append(name)
            real(*words)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name))
    uses = Uses(str(path))
    assert uses.take(TARGET, ONCE) is None
    assert done == ["fsync", "fsync", "rename", "fsync"]
    assert Uses(str(path)).used(TARGET, ONCE) == 1
    again = Uses(str(path)).take(TARGET, ONCE)
    assert again is not None
    assert again.rule == "used-up"


def test_a_use_that_cannot_be_noted_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uses = Uses(str(tmp_path / "uses.json"))

    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    why = uses.take(TARGET, ONCE)
    assert why is not None
    assert why.rule == "no-record"
    assert os.strerror(28) in why.reason
    (tmp_path / "uses.json").write_text("{")
    assert uses.used(TARGET, ONCE) == ONCE.uses
    why = uses.take(TARGET, ONCE)
    assert why is not None
    assert why.rule == "no-record"
    assert (tmp_path / "uses.json").read_text() == "{"


def test_it_is_the_secret_that_is_used_up(tmp_path: Path) -> None:
    """One of the name with another secret begins anew; a credential has another state after each boot."""
    uses = Uses(str(tmp_path / "uses.json"))
    assert uses.take(TARGET, ONCE) is None
    assert uses.used(TARGET, User("it", source="/etc/it 4.5.6", uses=1)) == 0
    assert uses.used("", ONCE) == 0
    uses.give_back(TARGET, ONCE)
    assert uses.take(TARGET, ONCE) is None
    for state, used in (("1.1", 0), ("2.2", 1)):
        one = User("it", source=f"credential:it {state}", uses=9)
        assert uses.used(TARGET, one) == used
        assert uses.take(TARGET, one) is None
    assert sorted(read_uses(str(tmp_path / "uses.json")).values()) == [1, 2]


def test_two_at_a_time_do_not_have_one_use(tmp_path: Path) -> None:
    """Nor have two daemons."""
    found: list[bool] = []
    ten = User("it", uses=10)

    def run() -> None:
        uses = Uses(str(tmp_path / "uses.json"))
        found.extend(uses.take(TARGET, ten) is None for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found.count(True), found.count(False)) == (10, 10)
    assert list(json.loads((tmp_path / "uses.json").read_text()).values()) == [10]


def test_users_without_a_limit_leave_no_trace(tmp_path: Path) -> None:
    uses = Uses(str(tmp_path / "uses.json"))
    assert uses.take(TARGET, User("it")) is None
    uses.give_back(TARGET, User("it"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("2000-02-29T12:34:56Z", 951827696),
        ("2026-12-31T23:59:59Z", 1798761599),
        ("2106-02-07T06:28:15Z", 0xFFFFFFFF),
    ],
)
def test_moments(text: str, seconds: int) -> None:
    assert moments.seconds_of(text) == seconds
    assert moments.text_of(seconds) == text
    kind = ISCSI_USER["expires"].type
    assert kind.from_kernel(str(seconds)) == text
    assert kind.to_kernel(text) == str(seconds)


def test_moments_as_people_write_them() -> None:
    kind = ISCSI_USER["expires"].type
    for text in ("2026-12-31", "2026-12-31 00:00", "2026-12-31T00:00:00", "2026-12-31T00:00Z"):
        assert kind.parse(text) == "2026-12-31T00:00:00Z"
    assert kind.parse("never") == ""
    for text in ("", "2026-02-30", "1969-12-31", "2026-12-31T24:00", "tomorrow", "2107-01-01", "1798761599"):
        with pytest.raises(ValueError, match="is not a moment in UTC"):
            kind.parse(text)


def test_every_day_has_its_text() -> None:
    for seconds in range(1, 0xFFFFFFFF, 86400 * 7 + 12345):
        assert moments.seconds_of(moments.text_of(seconds)) == seconds
