# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of config/lint.py: each with a file that it is about and one that is clean, and what is made of
them by the faces.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config import lint as linted
from pyscstadmin.config.acl import decide
from pyscstadmin.config.cover import Before, claims_everybody
from pyscstadmin.config.lint import ERROR, RULES, WARNING, Backing, Remark, exit_code, lint, lint_device
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.schema import examine, loads, to_data
from pyscstadmin.config.spelling import Spellings, is_exact, matches, name_key
from pyscstadmin.errors import InvalidInput, NotAccepted
from pyscstadmin.kernel.uses import Backings
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from tests.unit.spellings import NUMBERS, WWN_WAYS, any_name, any_pattern, pairs
from tests.unit.strategies import configs

REPO = Path(__file__).resolve().parents[2]
A, B = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:b"
WWN = "5000c500a1b2c3d4"

# Names that somebody can have.
SOUND = [
    "naa." + WWN,
    "eui." + WWN,
    "naa.6" + "0" * 31,
    "ini-A",
    "cafe",
    "00:11:22:33:44:55",
    "2001:db8::1",
    "x",
]

Json = dict[str, Any]


def look(path: str) -> Backing:
    """Paths under /same are one; the machine itself uses /used."""
    return Backing(
        "same" if path.startswith("/same") else path, path, "is swap space" if path == "/used" else ""
    )


def device(path: str = "/srv/d.img", **settings: Any) -> Json:
    """A fileio device of a file."""
    return {"path": path, **settings}


def luns(*devices: str, first: int = 0) -> Json:
    """LUNs of these devices, in a row."""
    return {str(first + index): {"device": name} for index, name in enumerate(devices)}


def group(*initiators: str, show: Json | None = None, **settings: Any) -> Json:
    """A group that shows device `d`."""
    return {"initiators": list(initiators), "luns": luns("d") if show is None else show, **settings}


def target(groups: Json | None = None, **settings: Any) -> Json:
    """A target with these groups."""
    return {"groups": {"g": group(A)} if groups is None else groups, **settings}


def file(targets: Json | None = None, **devices: Json) -> Json:
    """A file with fileio devices, by default `d`, and targets of driver local."""
    return {
        "version": 1,
        "devices": {"fileio": devices or {"d": device()}},
        "targets": {"local": targets if targets is not None else {"t": target()}},
    }


def shown(*names: str) -> Json:
    """A target that shows these devices."""
    return {"t": target({"g": group(A, show=luns(*names))})}


def ports(*targets: str, remote: int = 0) -> Json:
    """A device group of device `d`, with one target port group."""
    here = {"targets": list(targets), "remote_ports": [remote] if remote else []}
    return {"dg": {"devices": ["d"], "target_port_groups": {"a": here}}}


IQN = "iqn.2026-11.com.example:t"


def iscsi(discovery: Json | None = None, users: Json | None = None, **settings: Any) -> Json:
    """An iSCSI target that shows device `d` at portal `p`."""
    portals = {"p": {"discovery_auth": "chap"} if discovery is not None else {}}
    found = target(**{"portals": ["p"], "users": users or {}, **settings})
    return {
        **file({}),
        "iscsi": {"portals": portals, "users": discovery or {}},
        "targets": {"iscsi": {IQN: found}},
    }


GOOD: Json = {"auth": "chap", "chap_algorithms": "sha256"}
JOE: Json = {"joe": {"secret_file": "/etc/joe"}}
TWO_TARGETS = file({"t": target(), "u": target()})

# Rule -> what it is about, and where; and the same without the fault.
CASES: dict[str, list[tuple[Json, str, Json]]] = {
    "same-identity": [
        (
            file(shown("d", "e"), d=device(id={"serial": "S"}), e=device("/srv/e.img", id={"serial": "S"})),
            "devices.fileio.e.id.serial",
            file(shown("d", "e"), d=device(id={"serial": "S"}), e=device("/srv/e.img", id={"serial": "T"})),
        )
    ],
    "one-backing-twice": [
        (
            file(shown("d", "e"), d=device("/same/1"), e=device("/same/2")),
            "devices.fileio.e.path",
            file(shown("d", "e"), d=device("/same/1"), e=device("/same/2", read_only=True)),
        )
    ],
    "system-backing": [
        (file(d=device(path)), "devices.fileio.d.path", file(d=device(path, read_only=True)))
        for path in ("/etc/passwd", "/usr/lib/x.img", "/boot/x", "/used")
    ],
    "disabled-twin": [
        (
            file(d=device(id={"naa": "5" * 16}), a=device("/a", id={"naa": "5" * 16}, enabled=False)),
            "devices.fileio.a.id.naa",
            file(d=device(id={"naa": "5" * 16}), a=device("/a", id={"naa": "2" * 16}, enabled=False)),
        )
    ],
    "unstable-path": [
        (
            file(d=device(path)),
            "devices.fileio.d.path",
            file(d=device("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4")),
        )
        for path in ("/dev/sda", "/dev/sdab12", "/dev/dm-3", "/dev/loop0", "/dev/nvme0n1p2", "/dev/md127")
    ],
    "unused-device": [
        (
            file(d=device(), e=device("/e")),
            "devices.fileio.e",
            file(d=device(), e=device("/e", enabled=False)),
        )
    ],
    "initiator-in-two-groups": [
        (
            file({"t": target({"g": group("0x" + WWN), "h": group(pairs(WWN), priority=7)})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"g": group("0x" + WWN), "h": group("5000c5*", priority=7)})}),
        )
    ],
    "dead-pattern": [
        (
            file({"t": target({"all": group("*", priority=1), "g": group("iqn.*")})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"all": group("*", priority=200), "g": group("iqn.*")})}),
        ),
        (
            file(
                {
                    "t": target(
                        {"a": group("naa.5000c5*", "5000C5*"), "g": group("0x5000c500*", "5000c5??????????")}
                    )
                }
            ),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"a": group("naa.5000c501*"), "g": group("0x5000c500*", "5000c5??????????")})}),
        ),
        (
            file({"t": target({"a": group("!iqn.2026*"), "g": group("!iqn.*")})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"a": group("!iqn.*"), "g": group("!iqn.2026*")})}),
        ),
    ],
    "claims-everybody": [
        (
            file({"t": target({"g": group(f"!{A}", f"!{B}")})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"g": group(f"!{A}"), "h": group(A)})}),
        )
    ],
    "malformed-name": [
        (
            file({"t": target({"g": group(name)})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target()}),
        )
        for name in (
            "naa.5000c500a1b2c3d",
            "50:00:c5:00:a1:b2:c3",
            "0x5000c500a1b2c3d40",
            "iqn.example:a",
            "eui.12",
        )
    ]
    + [
        (
            file({"t": target({"g": group("*")}, hosts=["naa.5000c500a1b2c3"])}),
            "targets.local.t.hosts",
            file({"t": target({"g": group("*")}, hosts=[*SOUND])}),
        )
    ],
    "group-without-initiators": [
        (
            file({"t": target({"g": group()})}),
            "targets.local.t.groups.g.initiators",
            file({"t": target({"g": group(A), "h": group(show={})})}),
        )
    ],
    "group-without-luns": [
        (
            file({"t": target({"g": group(A), "h": group(B, show={})})}),
            "targets.local.t.groups.h.luns",
            file({"t": target({"g": group(A), "h": group("!iqn.*", show={}, priority=200)})}),
        )
    ],
    "no-lun-0": [
        (
            file({"t": target({"g": group(A, show=luns("d", first=1))})}),
            "targets.local.t.groups.g.luns",
            file({"t": target()}),
        )
    ],
    "twice-in-a-set": [(file(shown("d", "d")), "targets.local.t.groups.g.luns.1", file(shown("d")))],
    "different-numbers": [
        (
            file(
                {"t": target({"g": group(A, show=luns("e", "d"))}), "u": target({"h": group("iqn.*")})},
                d=device(),
                e=device("/e"),
            ),
            "targets.local.u.groups.h.luns.0",
            file(
                {"t": target({"g": group(A, show=luns("e", "d"))}), "u": target({"h": group(B)})},
                d=device(),
                e=device("/e"),
            ),
        ),
        (
            file({"t": {"luns": luns("e", "d")}, "u": {"luns": luns("d")}}, d=device(), e=device("/e")),
            "targets.local.u.luns.0",
            file({"t": {"luns": luns("d", "e")}, "u": {"luns": luns("d")}}, d=device(), e=device("/e")),
        ),
    ],
    "open-to-strangers": [
        (
            file({"t": target(luns=luns("d"))}),
            "targets.local.t.luns",
            file({"t": target(luns={"0": {"device": "d", "read_only": True}})}),
        )
    ],
    "host-sees-nothing": [
        (
            file({"t": target(hosts=[A, B])}),
            "targets.local.t.hosts",
            file({"t": target({"g": group(A), "h": group("iqn.*")}, hosts=[A, B])}),
        )
    ],
    "port-in-no-group": [
        (
            {**TWO_TARGETS, "alua": ports("local/t")},
            "targets.local.u",
            {**TWO_TARGETS, "alua": ports("local/t", "local/u")},
        ),
        (
            {**TWO_TARGETS, "alua": ports("local/t", remote=7)},
            "targets.local.u",
            {**TWO_TARGETS, "alua": {"dg": {"devices": ["d"]}}},
        ),
    ],
    "no-portal": [(iscsi(portals=[]), f"targets.iscsi.{IQN}", iscsi())],
    "not-at-that-portal": [
        (
            iscsi(groups={"g": group(f"{A}#{entry}")}),
            f"targets.iscsi.{IQN}.groups.g.initiators",
            iscsi(groups={"g": group(f"{A}#{right}")}),
        )
        for entry, right in (("q", "p"), ("q*", "P"), ("", "*"))
    ],
    "chap-without-users": [
        (iscsi(**GOOD), f"targets.iscsi.{IQN}.auth", iscsi(users=JOE, **GOOD)),
        (
            iscsi(users={"joe": {"secret_file": "/etc/joe", "direction": "out"}}, **GOOD),
            f"targets.iscsi.{IQN}.auth",
            iscsi(),
        ),
        (iscsi({}), "iscsi.portals.p.discovery_auth", iscsi(JOE)),
    ],
    "users-without-chap": [(iscsi(users=JOE), f"targets.iscsi.{IQN}.users", iscsi(users=JOE, **GOOD))],
    "user-without-secret": [
        (iscsi(users={**JOE, "ann": {}}, **GOOD), f"targets.iscsi.{IQN}.users.ann", iscsi(users=JOE, **GOOD)),
        (iscsi({**JOE, "ann": {}}), "iscsi.users.ann", iscsi(JOE)),
    ],
    "weak-algorithm": [
        (
            iscsi(users=JOE, auth="chap", chap_algorithms=f"sha256,{weak}"),
            f"targets.iscsi.{IQN}.auth",
            iscsi(users=JOE, **GOOD),
        )
        for weak in ("md5", "sha1")
    ],
}


def remarks(document: Json) -> list[Remark]:
    """What is said of a file; one that cannot be had too."""
    config, fault = examine(json.dumps(document))
    assert config is not None, fault
    return list(lint(config, look))


def test_every_rule_has_its_files() -> None:
    assert set(CASES) == set(RULES)
    assert len(RULES) >= 15


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in CASES.items() for case in cases])
def test_rule(rule: str, case: tuple[Json, str, Json]) -> None:
    wrong, where, clean = case
    found = [remark for remark in remarks(wrong) if remark.rule == rule]
    if where:
        assert {remark.as_dict()["where"] for remark in found} == {where}
        assert {remark.severity for remark in found} == {RULES[rule].severity}
    assert rule not in {remark.rule for remark in remarks(clean)}
    config, _ = examine(json.dumps(wrong))
    assert config is not None
    assert rule not in {remark.rule for remark in lint(config, look, [rule])}
    assert set(remarks(wrong)) - set(lint(config, look, [rule])) == set(found)


@pytest.mark.parametrize("path", sorted((REPO / "examples").glob("*.json")), ids=lambda path: path.name)
def test_examples_are_clean(path: Path) -> None:
    assert lint(loads(path.read_text()), Backings().look) == ()


def test_the_documentation_has_the_rules() -> None:
    page = (REPO / "docs/scstadmin.md").read_text(encoding="utf-8")
    section = page[page.index("\n## Lint\n") :]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning) \| (.*?) \| (.*?) \|$", section, re.M)
    assert rows == [(rule.name, rule.severity, rule.what, rule.advice) for rule in RULES.values()]


# What is said is true.


@settings(max_examples=100)
@given(configs())
def test_places_are_in_the_file(config: Config) -> None:
    for remark in lint(config, look):
        found: Any = to_data(config)
        for part in remark.where[:-1]:
            found = found[part]
        assert isinstance(found, dict)
        assert remark.where[-1] in found or remark.where[-1] in ("initiators", "luns", "id", "path")
        assert remark.text.startswith(remark.as_dict()["where"])


names = st.randoms(use_true_random=False).map(any_name)


@st.composite
def claimed(draw: st.DrawFn) -> Target:
    """A target with groups of patterns, many of which are near to each other."""
    source = draw(st.randoms(use_true_random=False))
    groups = [
        Group(name, source.randrange(3), tuple(one_pattern(source) for _ in range(source.randrange(1, 4))))
        for name in source.sample("abcde", source.randrange(2, 5))
    ]
    return Target("local", "t", groups=tuple(groups))


def one_pattern(source: Random) -> str:
    """A pattern, mostly one that may cover others: of a WWN or a plain name with its end cut off."""
    kind = source.random()
    if kind < 0.2:
        return any_pattern(source, any_name(source))
    if kind < 0.25:
        return source.choice(("*", "naa.*", "!*", "0x*", "iqn.*", "ib.*", "??", "?*"))
    text = (
        source.choice(WWN_WAYS)(source.choice(NUMBERS)) if kind < 0.8 else source.choice(("ab:cd", "iqn.a:b"))
    )
    at = source.randrange(1, len(text) + 1)
    text = text[:at] + source.choice(("*", "*", "?" * (len(text) - at), "?*"))
    return source.choice(("", "", "", "!")) + text


def instances(source: Random, pattern: str) -> Iterator[str]:
    """Names, among them many that match a pattern."""
    for _ in range(6):
        text = "".join(
            source.choice("0123456789abcdef:-x.") if c == "?" else rest(source) if c == "*" else c
            for c in pattern.removeprefix("!")
        )
        yield text or "a"
        bare = re.sub("[^0-9a-f]", "", re.sub(r"^(naa\.|0x|wwn\.|wwn-0x|wwn-|(fc|sas):0x)", "", text.lower()))
        yield (bare + "".join(source.choices("0123456789abcdef", k=16)))[:16]
        yield any_name(source)


def rest(source: Random) -> str:
    """What a * may stand for."""
    return "".join(source.choices("0123456789abcdefg:-", k=source.choice((0, 1, 2, 5, 10, 14))))


def without(found: Target, group: str, pattern: str) -> Target:
    """The target without an entry of a group."""
    groups = (
        Group(one.name, one.priority, tuple(p for p in one.initiators if p != pattern))
        if one.name == group
        else one
        for one in found.groups
    )
    return Target("local", "t", groups=tuple(groups))


DEAD = re.compile(r"(\S+) claims nobody: ")


@settings(max_examples=150)
@given(claimed(), st.randoms(use_true_random=False))
def test_a_dead_pattern_claims_nobody(found: Target, source: Random) -> None:
    """Whatever the name, it is as if a pattern that is said to be dead were not there."""
    for remark in lint(Config((), (found,)), look):
        if remark.rule == "dead-pattern":
            dead = DEAD.match(remark.message)
            assert dead
            less = without(found, str(remark.where[4]), dead[1])
            assert less != found
            for name in instances(source, dead[1]):
                if is_exact(name):
                    assert decide(found, name).group == decide(less, name).group, (dead[1], name)


def test_dead_patterns_are_found() -> None:
    """Of random ones a good part, so that the test above has something to be about."""
    source = Random(20261103)
    count = dead = 0
    for _ in range(2000):
        before = Before()
        before.add(one_pattern(source))
        killers = before.killers(one_pattern(source))
        dead += bool(killers)
        count += 1
    assert dead > count / 50


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("*", "iqn.*"),
        ("iqn.*", "IQN.2026*:a?"),
        ("5000c5*", "5000C500????????????"),
        ("naa.5000c5*", "naa.5000c500*"),
        ("a*", "ab*c"),
        ("*:disk", "*x:disk"),
        ("!iqn.2026*", "!iqn.*"),
        ("!aa", "!*a"),
        ("!0x5000C500A1B2C3D4", "!5000c5*"),
    ],
)
def test_what_is_covered(first: str, then: str) -> None:
    before, after = Before(), Before()
    before.add(first)
    assert before.killers(then) == [first]
    after.add(then)
    assert after.killers(first) == []


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("n*", "naa.5*"),
        ("n*", "naa.50:00:c5:*"),
        ("5000c5*", "50:00:c5:*"),
        ("50:*", "5000*"),
        ("a?", "a*"),
        ("iqn.*", "*"),
        ("0x*", "naa.6*"),
    ],
)
def test_what_is_not_covered(first: str, then: str) -> None:
    before = Before()
    before.add(first)
    assert before.killers(then) == []


@settings(max_examples=100)
@given(st.randoms(use_true_random=False))
def test_who_claims_everybody_does(source: Random) -> None:
    patterns = [one_pattern(source) for _ in range(4)] + ["!a", "!b", "!iqn.*"][: source.randrange(4)]
    found = claims_everybody(patterns)
    if found:
        for pattern in found:
            assert all(
                matches(found[0], name) or matches(found[1], name) for name in instances(source, pattern)
            )


@settings(max_examples=200)
@given(claimed(), names)
def test_claims_are_those_of_the_kernel(found: Target, name: str) -> None:
    claims = linted._Claims(found)
    assert claims.group(name_key(name), Spellings.of(name)) == decide(found, name).group


def test_thousands_are_looked_at_in_time() -> None:
    """5,000 devices, 10,000 initiators with a group each on two targets: no rule is quadratic."""
    devices = tuple(
        Device(f"d{i}", "fileio", path=f"/srv/{i}", id=Identity(serial=f"S{i}", naa=f"5{i:015x}"))
        for i in range(5000)
    )
    groups = tuple(
        Group(f"g{i}", initiators=(f"{i:016x}", f"x{i}-*"), luns=(Lun(0, f"d{i % 5000}"),))
        for i in range(5000)
    )
    targets = tuple(Target("local", name, groups=groups) for name in ("t", "u"))
    looks: list[str] = []

    def look_once(path: str) -> Backing:
        looks.append(path)
        return Backing(path, path)

    assert lint(Config(devices, targets), look_once) == ()
    assert len(looks) == 5000


# On its way to people.


@pytest.fixture
def dup(tmp_path: Path) -> Path:
    """Two devices of one file and identity, one initiator in two groups, no LUN 0, one device twice."""
    image = tmp_path / "x.img"
    image.write_bytes(bytes(1 << 20))
    same = {"serial": "S1", "naa": "5" * 16}
    document = {
        "version": 1,
        "devices": {"fileio": {"da": device(str(image), id=same), "db": device(str(image), id=same)}},
        "targets": {
            "local": {
                "t": target(
                    {
                        "g": group("0x" + WWN, show=luns("da", "da")),
                        "h": group("naa." + WWN, show=luns("db", first=1)),
                    }
                )
            }
        },
    }
    path = tmp_path / "dup.json"
    path.write_text(json.dumps(document))
    return path


Run = Callable[..., int]


@pytest.fixture
def scstadmin(tmp_path: Path) -> Run:
    return lambda *words: main(["--sim", str(tmp_path / "sim"), *words])


FIVE = ("one-backing-twice", "initiator-in-two-groups", "no-lun-0", "twice-in-a-set")


def test_all_that_is_wrong_is_named(dup: Path, scstadmin: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert scstadmin("apply", str(dup)) == 2
    said = capsys.readouterr().err
    assert "device 'da' has the same serial" in said
    assert "device 'da' has the same naa" in said
    for rule in FIVE:
        assert f"[{rule}]" in said
    assert scstadmin("--json", "apply", str(dup)) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {one["rule"] for one in problems} == {"", *FIVE}
    assert all(one["line"] for one in problems if not one["rule"])
    for command in ("plan", "lint", "restore"):
        assert scstadmin(command, str(dup)) == 2
    assert scstadmin("--json", "show") == 0
    capsys.readouterr()


def test_errors_are_accepted_by_name(dup: Path, scstadmin: Run, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(dup.read_text())
    document["devices"]["fileio"]["db"]["id"] = {"serial": "S2", "naa": "2" * 16}
    dup.write_text(json.dumps(document))
    assert scstadmin("apply", str(dup), "--accept", "one-backing-twice") == 2
    said = capsys.readouterr().err
    assert "[initiator-in-two-groups]" in said
    assert "[one-backing-twice]" not in said
    assert "say so: --accept initiator-in-two-groups" in said
    assert scstadmin("--json", "show") == 0
    assert json.loads(capsys.readouterr().out)["config"]["devices"] == {}
    both = ("--accept", "one-backing-twice", "--accept", "initiator-in-two-groups")
    assert scstadmin("apply", str(dup), *both) == 0
    said = capsys.readouterr().out
    assert "[no-lun-0]" in said
    assert "[one-backing-twice]" not in said
    assert scstadmin("--json", "lint") == 2
    data = json.loads(capsys.readouterr().out)
    assert {one["rule"] for one in data["lint"]} == set(FIVE)
    assert {one["severity"] for one in data["lint"]} == {ERROR, WARNING}
    assert scstadmin("lint", *both) == 1
    assert scstadmin("lint", *both, "--accept", "no-lun-0", "--accept", "twice-in-a-set") == 0
    assert capsys.readouterr().out.endswith("nothing to remark\n")


def test_a_rule_that_there_is_not(dup: Path, scstadmin: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("lint",), ("apply", str(REPO / "examples/null-device.json"))):
        assert scstadmin(*command, "--accept", "one-backing-twise") == 2
        assert "did you mean 'one-backing-twice'" in capsys.readouterr().err


def test_restore_serves_what_it_served(dup: Path, scstadmin: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that is new keeps nobody from his disks at boot."""
    document = json.loads(dup.read_text())
    document["devices"]["fileio"]["db"]["id"] = {"serial": "S2", "naa": "2" * 16}
    dup.write_text(json.dumps(document))
    assert scstadmin("restore", str(dup)) == 0
    said = capsys.readouterr().out
    assert "warning: devices.fileio.db.path: da and db both write to" in said
    assert "operations done" in said


def test_a_file_needs_no_control_plane(dup: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", "/nonexistent", "lint", str(REPO / "examples/cluster.json")]) == 0
    assert main(["--root", "/nonexistent", "lint"]) == 5
    capsys.readouterr()


def test_many_of_one_kind_are_counted(
    tmp_path: Path, scstadmin: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "many.json"
    path.write_text(json.dumps(file({}, **{f"d{i}": device(f"/srv/{i}") for i in range(100)})))
    assert scstadmin("plan", str(path)) == 0
    said = capsys.readouterr().out
    assert said.count("warning: ") == 10
    assert "and 90 more [unused-device]; `scstadmin lint` shows all" in said
    assert scstadmin("lint", str(path)) == 1
    assert capsys.readouterr().out.count("warning: ") == 100


def test_api(tmp_path: Path) -> None:
    devices = tuple(Device(name, "nullio", size=1 << 20) for name in ("a", "b"))
    groups = (
        Group("g", initiators=(A,), luns=(Lun(0, "a"),)),
        Group("h", initiators=(A,), luns=(Lun(0, "b"),)),
    )
    wanted = Config(devices, (Target("local", "t", groups=groups),))
    with Admin(sim=str(tmp_path)) as admin:
        with pytest.raises(NotAccepted) as caught:
            admin.apply(wanted)
        assert caught.value.exit_code == 2
        assert [problem.rule for problem in caught.value.problems] == ["initiator-in-two-groups"]
        assert admin.config() == Config()
        assert [remark.rule for remark in admin.plan(wanted).remarks] == ["initiator-in-two-groups"]
        outcome = admin.apply(wanted, accept=["initiator-in-two-groups"])
        assert outcome.done
        assert outcome.remarks == ()
        assert exit_code(admin.lint()) == 2
        with pytest.raises(InvalidInput):
            admin.lint(accept=["initiator"])


def test_one_device_is_warned_of(tmp_path: Path) -> None:
    assert [one.rule for one in lint_device(Device("d", "fileio", path="/etc/passwd"), look)] == [
        "system-backing"
    ]
    with Admin(sim=str(tmp_path)) as admin:
        outcome = admin.create_device(Device("d", "fileio", path="/etc/nonexistent.img"))
        assert [one.rule for one in outcome.remarks] == ["system-backing"]
        outcome = admin.change_device("d", path="/nonexistent/x.img")
        assert outcome.remarks == ()


def test_shell(dup: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with Admin(sim=str(tmp_path / "sim")) as admin:
        shell = Shell(Session(admin, said.append))
        assert shell.execute("lint") is None
        assert said == ["nothing to remark"]
        assert shell.complete("/ apply x accept=one") == ["accept=one-backing-twice "]
        document = json.loads(dup.read_text())
        document["devices"]["fileio"]["db"]["id"] = {"serial": "S2", "naa": "2" * 16}
        dup.write_text(json.dumps(document))
        failure = shell.execute(f"apply {dup}")
        assert failure is not None
        assert "accept=one-backing-twice,initiator-in-two-groups" in str(failure)
        assert shell.execute(f"apply {dup} accept=one-backing-twice,initiator-in-two-groups") is None
        said.clear()
        assert shell.execute("lint") is None
        assert any(line.startswith("error: ") and "[one-backing-twice]" in line for line in said)


# What this machine uses.


def block_device(number: int) -> os.stat_result:
    """What stat(2) says of a block device."""
    return os.stat_result((stat.S_IFBLK | 0o600, *(0,) * 9), {"st_rdev": number})


@pytest.fixture
def machine(tmp_path: Path) -> Backings:
    """A disk 8:0 with a root partition 8:1 and an LVM partition 8:2, on which 253:0 is swap; 8:16 is free."""
    block, proc = tmp_path / "block", tmp_path / "proc"
    parts = {
        "8:0/sda1": "8:1",
        "8:0/sda2": "8:2",
        "8:2/holders/dm-0": "253:0",
        "8:0/queue": "",
        "8:16/holders": "",
    }
    for place, number in parts.items():
        folder = block / place
        folder.mkdir(parents=True)
        if number:
            (folder / "dev").write_text(f"{number}\n")
        if "sda" in place:
            (folder / "partition").write_text("1\n")
    (proc / "self").mkdir(parents=True)
    (proc / "self/mountinfo").write_text(
        "22 1 0:5 / /proc rw - proc proc rw\n"
        "25 1 8:1 / / rw shared:1 - ext4 /dev/nonexistent1 rw\n"
        "26 25 8:1 / /mnt/a\\040b rw - ext4 /dev/nonexistent1 rw\n"
        "27 25 7:3 / /mnt/a\\040b rw - ext4 /dev/nonexistent2 rw\n"
    )
    swap = tmp_path / "swap file"
    swap.write_bytes(b"x")
    (proc / "swaps").write_text(
        f"Filename\tType\tSize\tUsed\tPriority\n{str(swap).replace(' ', chr(92) + '040')} file 1 0 -2\n"
    )
    return Backings(str(proc), str(block))


def test_uses(machine: Backings, tmp_path: Path) -> None:
    root = "holds the file system that is mounted at /"
    assert machine.use(block_device(os.makedev(8, 1))) == root
    assert machine.use(block_device(os.makedev(8, 0))) == root
    assert machine.use(block_device(os.makedev(7, 3))).endswith("mounted at /mnt/a b")
    assert machine.use(block_device(os.makedev(8, 16))) == ""
    assert machine.use(block_device(os.makedev(8, 2))) == ""
    machine._swap.add(os.makedev(253, 0))
    assert machine.use(block_device(os.makedev(8, 2))) == "is swap space of this machine"
    assert machine.look(str(tmp_path / "swap file")).use == "is swap space of this machine"
    assert machine.look(str(tmp_path / "proc/swaps")).use == ""
    assert machine.look("/nonexistent/x") == Backing("/nonexistent/x", "/nonexistent/x")


@pytest.mark.parametrize(
    ("first", "second", "rules"),
    [
        # What asks for a portal leaves others to those after it, and what does not leaves nobody.
        (("iqn.*#p",), ("iqn.2026*",), set()),
        (("iqn.*",), ("iqn.2026*#p",), {"dead-pattern"}),
        (("*p",), ("iqn.2026*#p",), set()),
        (("!iqn.2026-11.com.example:a", "!iqn.2026-11.com.example:a#p"), (A,), set()),
        ((A,), (f"{A}#p",), set()),
        ((f"!{A}",), (f"!{A}#p",), set()),
        (("iqn.*",), ("#p*",), set()),
        (("iqn.2026#p",), (A,), {"malformed-name"}),
    ],
)
def test_entries_that_ask_for_a_portal(first: tuple[str], second: tuple[str], rules: set[str]) -> None:
    found = iscsi(groups={"a": group(*first, priority=1), "b": group(*second, priority=2)}, **GOOD, users=JOE)
    assert {remark.rule for remark in remarks(found)} == rules
