# SPDX-License-Identifier: GPL-2.0-or-later
"""What the administrator is told of logins and discovery is what the daemon does."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.config.settings import DRIVERS, ISCSI, Setting
from pyscstadmin.iscsi import explain, isns, login, negotiate, refusals, registrar, serve, text
from pyscstadmin.iscsi.explain import ask
from pyscstadmin.iscsi.login import LoggedIn, Refused
from pyscstadmin.iscsi.policy import Address, Policy, Portal, Target, User
from pyscstadmin.iscsi.refusals import Refusals, read_logins
from pyscstadmin.iscsi.rules import RULES
from tests.unit.iscsi_client import INITIATOR, NAMES, SECRET, TARGET, Initiator, access, policy, proof, target

REPO = Path(__file__).resolve().parents[2]


def log_in(what: Policy, user: str, secret: bytes) -> LoggedIn | Refused:
    """A real login, by CHAP if there is a user."""
    one = Initiator(what)
    if not user:
        one.say([*NAMES, ("AuthMethod", "None")], 3)
    else:
        one.say([*NAMES, ("AuthMethod", "CHAP")])
        if one.end is None:
            one.say(proof(one.say([("CHAP_A", "7")]), user, secret), 3)
    assert isinstance(one.end, LoggedIn | Refused)
    return one.end


CHAP: dict[str, Any] = {"auth": "chap", "users": (User("it"), User("me", "out"), User("new", source=""))}
CASES = [
    (target(), "", ""),
    (target(ready=False), "", "not-enabled"),
    (target(TARGET + "2"), "", "no-such-target"),
    (target(portals=frozenset(("there",))), "", "not-at-portal"),
    (target(access=access(["iqn.2026-11.org.example:x"], own=False)), "", "not-in-a-group"),
    (target(access=access([INITIATOR], own=False)), "", ""),
    (target(access=access([f"{INITIATOR}#here"], own=False)), "", ""),
    (target(access=access([f"{INITIATOR}#there"], own=False)), "", "not-in-a-group"),
    (target(**CHAP), "it", ""),
    (target(**CHAP), "", "no-authentication"),
    (target(**CHAP), "you", "unknown-user"),
    (target(**CHAP), "me", "wrong-direction"),
    (target(**CHAP), "new", "no-secret"),
]


@pytest.mark.parametrize(("one", "user", "rule"), CASES)
def test_what_is_explained_is_what_happens(one: Target, user: str, rule: str) -> None:
    known = policy(one, secret=lambda where, user: None if user == "new" else SECRET)
    end = log_in(known, user, SECRET)
    (verdict,) = explain.explain(known, INITIATOR.upper(), TARGET, user, "here")
    assert (verdict.allowed, verdict.rule) == (not rule, rule)
    assert isinstance(end, LoggedIn) == verdict.allowed
    if isinstance(end, Refused):
        assert end.rule == rule
        assert verdict.advice == RULES[rule]


def test_each_portal_of_the_target_is_asked() -> None:
    known = policy(target(portals=frozenset(("here", "there"))))
    assert [(one.portal, one.allowed) for one in explain.explain(known, INITIATOR, TARGET)] == [
        ("here", True),
        ("there", True),
    ]
    (verdict,) = explain.explain(policy(target(portals=frozenset())), INITIATOR, TARGET)
    assert (verdict.rule, verdict.reason) == ("not-at-portal", "the target has no portal")


def test_who_is_shown_what_by_a_portal() -> None:
    """Discovery and logins know of a target by the portal only that its groups ask for."""
    known = policy(
        target(access=access(["*#here"], own=False), portals=frozenset(("here", "there"))),
        target(TARGET + "2", access=access(["*#there"], own=False), portals=frozenset(("here", "there"))),
    )
    assert [one.name for one in known.visible(INITIATOR, "here")] == [TARGET]
    assert [one.name for one in known.visible(INITIATOR, "there")] == [TARGET + "2"]
    assert [(one.portal, one.allowed) for one in explain.explain(known, INITIATOR, TARGET)] == [
        ("here", True),
        ("there", False),
    ]


def test_discovery_at_an_address() -> None:
    """Who listens nearest answers; each port by itself."""
    ours = Address(ip_address("10.0.0.5"), "eth0")
    portals = {
        name: Portal(name, address, port, netns, addresses=(ours,))
        for name, address, port, netns in (
            ("all", "*", 3260, ""),
            ("one", "10.0.0.5", 3260, ""),
            ("other", "*", 3261, ""),
            ("away", "*", 3260, "blue"),
        )
    }
    known = policy(target(portals=frozenset(("one",))), portals=portals)
    found = ask(known, INITIATOR, "", ours)
    wanted = [("one", "10.0.0.5:3260"), ("other", "10.0.0.5:3261")]
    assert [(one.portal, one.address) for one in found] == wanted
    assert [dict(one.targets) for one in found] == [{TARGET: ["10.0.0.5:3260,1"]}, {}]


def test_what_the_daemon_keeps_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "logins.json"
    kept = Refusals(str(path), clock=lambda: 1e9)
    for user, reason in (("joe", "no-such-target"), ("ann", "wrong-secret")):
        refused = Refused(None, f"because of {user}", INITIATOR, TARGET, user, reason)
        kept.note("here", "10.0.0.9", refused)
    kept.save()
    monkeypatch.setattr(refusals, "FILE", str(path))
    command = ("--root", str(tmp_path), "logins")
    assert main(command) == 0
    first, second, advice = capsys.readouterr().out.splitlines()
    assert f"{INITIATOR} at 10.0.0.9 to {TARGET} by portal here as joe: because of joe" in first
    assert "because of ann" in second
    assert advice == f"about the last one: {RULES['wrong-secret']}"
    assert main(("--json", *command, "--target", f"iscsi/{TARGET}", "--initiator", INITIATOR.upper())) == 0
    assert [one["rule"] for one in json.loads(capsys.readouterr().out)["logins"]] == [
        "no-such-target",
        "wrong-secret",
    ]
    kept.note("here", "10.0.0.9", Refused(None, "no name", "", "\x1b[2J", "a\nb"))
    kept.save()
    assert main(command) == 0
    assert "an initiator at 10.0.0.9 to \\x1b[2J by portal here as a\\nb: no name" in capsys.readouterr().out
    assert main((*command, "--initiator", "iqn.2026-11.org.example:x")) == 0
    assert capsys.readouterr().out == "no login was refused\n"


@pytest.mark.parametrize("where", [{"at": "999.1.1.1"}, {"source": "foo"}, {"source": ":::"}])
def test_what_is_no_address_is_none_without_portals(where: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        explain.discoveries(Policy(), "iqn.2020-01.x:y", **where)


def test_a_file_of_refusals_that_is_none(tmp_path: Path) -> None:
    """From an older daemon, cut off, or not there."""
    path = tmp_path / "logins.json"
    assert read_logins(str(path)) == []
    old = dict.fromkeys(("portal", "peer", "initiator", "target", "user", "status", "reason"), "")
    path.write_text(json.dumps([{**old, "time": 1, "later": 2}]))
    (record,) = read_logins(str(path))
    assert record.rule == "protocol"
    # The daemon knows what its own successor has written, too.
    assert Refusals(str(path)).records == [record]
    good = {**old, "time": 2.5}
    wrongs: list[object] = [{}, 7, None, [], {"time": 1}, {**good, "time": "x"}, {**good, "peer": 5}]
    for wrong in wrongs:
        path.write_text(json.dumps([wrong, good]))
        assert [one.time for one in read_logins(str(path))] == [2.5]
    for broken in ("[{", "{}", "[" * 99999, "\udcff"):
        path.write_text(broken, errors="surrogateescape")
        assert read_logins(str(path)) == Refusals(str(path)).records == []


def test_every_rule_that_is_used_has_its_advice() -> None:
    """None is kept that is not."""
    texts = "".join(
        path.read_text() for path in (REPO / "pyscstadmin/iscsi").glob("*.py") if path.stem != "rules"
    )
    used = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', texts))
    assert set(RULES) <= used


def test_the_guide_has_the_rules() -> None:
    page = (REPO / "docs/iscsi.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", page[page.index("| rule |") :], re.M)
    assert rows == list(RULES.items())


def test_the_guide_has_the_limits_that_are() -> None:
    """Those that are settings, and those that are not."""
    page = (REPO / "docs/iscsi.md").read_text()
    section = page[page.index("## Limits") : page.index("## Time-outs")]
    rows = dict(re.findall(r"^\| (.*?) \| .*? \| (.*?) \|", section, re.M))
    driver, own = ISCSI, DRIVERS["iscsi"].settings
    assert rows == {
        "what": "default",
        "sessions and discoveries, all targets": str(driver["max_connections"].default),
        "sessions of a target": f"{own['max_sessions'].default}: no limit",
        "logins that are not finished": str(driver["max_half_open"].default),
        "... and discovery sessions, from one address": str(serve.PER_SOURCE),
        "seconds that a login may take": str(driver["login_timeout"].default),
        "requests in one stage of a login": str(login.PDUS_MAX),
        "text in one PDU, in a login": f"{negotiate.PDU_MAX} bytes, {negotiate.TEXT_MAX >> 10} KiB",
        "commands of a session at a time": str(own["session_queue_depth"].default),
        "memory for data of a session, of a target": ", ".join(
            _mib(own[name]) for name in ("session_buffer_limit", "buffer_limit")
        ),
        "memory for data that comes before its command wants it, all sessions": _mib(driver["memory_limit"]),
        "immediate commands of a session at a time": str(_kernel("ISCSI_IMMEDIATES")),
        "a Text Request in a session": f"{text.SESSION_MAX} bytes, {_kernel('TEXT_SECONDS')} s",
        "data of a ping (NOP-Out) that goes back": f"{4 * _kernel('ISCSI_PIECES', '-ISCSI_PIECES_MIN')} KiB",
        "R2Ts of a command at a time": str(own["max_outstanding_r2t"].default),
        "a discovery session in which nothing happens": f"{serve.IDLE:g} s",
        "an answer of an iSNS server": f"{registrar.ANSWER:g} s, {isns.MESSAGE_MAX >> 20} MiB",
        "refusals that are kept": str(refusals.KEPT),
    }


def _kernel(*names: str) -> int:
    """The sum of constants of the driver, of some with a minus."""
    sources = (path.read_text() for path in (REPO / "kmod/targets/iscsi").glob("*.[ch]"))
    defined = dict(re.findall(r"^#define (\w+)\t+(\d+)\b", "\n".join(sources), re.M))
    return sum(int(defined[name.lstrip("-")]) * (-1 if name.startswith("-") else 1) for name in names)


def _mib(row: Setting) -> str:
    return f"{int(row.default) >> 20} MiB" if row.default else "no limit of its own"
