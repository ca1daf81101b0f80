# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets that are hardware ports: what they are called, that they may be there before their port, and what
`ports` says of each.
"""

from __future__ import annotations

import errno
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli import answers, describe
from pyscstadmin.cli.ports import port_lines
from pyscstadmin.config import names, schema
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.ports import UNKNOWN, Port, PortTarget, uses
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.config.spelling import Spellings
from pyscstadmin.errors import ApplyFailed, Conflict, InvalidInput, NotPresent, OperationError
from pyscstadmin.kernel import modules
from pyscstadmin.kernel.ports import Places, read_ports
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from pyscstadmin.sim.tree import SimTree
from tests.unit.spellings import WRONG_WAYS, WWN_WAYS, any_name
from tests.unit.strategies import MIB

Capture = pytest.CaptureFixture[str]
DIGITS = "2100001b320a0b0c"
NAME = "21:00:00:1b:32:0a:0b:0c"
FULL = f"qla2xxx/{NAME}"
OTHER = "21:00:00:1b:32:0a:0b:0d"
ESX = "10:00:00:00:c9:aa:bb:cc"
PORT = Port("qla2xxx", NAME, "present", "QLE2562", "8.07.00", "exclusive", "host3", "8 Gbit", "Online")
ANSWERS = jsonschema.Draft202012Validator(answers.json_schema())


def _odd(text: str) -> str:
    """In a case that nobody writes."""
    return text.title().swapcase()


# Each way in the case it is written in, and in the other: as many as there are.
SPELLINGS = sorted(
    {text for way in WWN_WAYS for cased in (str, str.upper, str.title, _odd) for text in [cased(way(DIGITS))]}
)
WRONG = ["fc0", "t1", "iqn.2026-11.com.example:t", *(way(DIGITS) for way in WRONG_WAYS[:18])]
ID = Identity(serial="S1", naa="3" * 16)
CONFIG = Config((Device("da", "nullio", size=MIB, id=ID),), (Target("qla2xxx", NAME, luns=(Lun(0, "da"),)),))


@pytest.fixture
def tree() -> SimTree:
    return SimTree()


@pytest.fixture
def admin(tree: SimTree, tmp_path: Path) -> Admin:
    return Admin(tree=tree, state_dir=str(tmp_path))


@pytest.fixture
def run(tmp_path: Path, capsys: Capture) -> Callable[..., str]:
    """Run a command on a simulated tree; what it says."""

    def command(*words: str, code: int = 0) -> str:
        try:
            ended: object = main(["--sim", str(tmp_path / "sim"), *words])
        except SystemExit as exited:  # wrong usage
            ended = exited.code
        said = capsys.readouterr()
        assert ended == code, said
        return said.out + said.err

    return command


@pytest.fixture
def said(run: Callable[..., str]) -> Callable[..., Any]:
    """The same, as a document."""

    def command(*words: str, code: int = 0) -> Any:
        data = json.loads(run("--json", *words, code=code))
        ANSWERS.validate(data)
        return data

    return command


def board(tmp_path: Path, *ports: Port) -> None:
    """The ports of a simulated tree, as somebody writes them down who tries something."""
    (tmp_path / "sim").mkdir(exist_ok=True)
    (tmp_path / "sim" / "ports.json").write_text(json.dumps([_plain(port) for port in ports]))


def _plain(port: Port) -> dict[str, str]:
    return {name: getattr(port, name) for name in ("driver", "name", "qlini_mode", "link", "holder", "model")}


# Names.


def test_forty_spellings_are_one_target(admin: Admin) -> None:
    assert len(SPELLINGS) >= 40
    admin.create_target(Target("qla2xxx", SPELLINGS[7]))
    assert admin.tree.list("targets/qla2xxx") == [NAME]
    for text in SPELLINGS:
        assert Target("qla2xxx", text) == Target("qla2xxx", NAME), text
        assert admin.target_key(f"qla2xxx/{text}") == admin.target_key(text) == ("qla2xxx", NAME)
        with pytest.raises(Conflict, match="exists already"):
            admin.create_target(Target("qla2xxx", text))
        document = {"version": 1, "targets": {"qla2xxx": {text: {}}}}
        jsonschema.validate(document, describe.json_schema())
        assert schema.loads(json.dumps(document)).targets == (Target("qla2xxx", NAME),)
        # Driver local gives its targets whatever names it likes.
        assert Target("local", text).name == text


@settings(max_examples=1500, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_name_is_a_wwpn_or_none(seed: int) -> None:
    """Names, the table, the schema and the rules of initiators agree on what is a WWPN, and which one."""
    text = any_name(Random(seed))
    digits = Spellings.of(text).digits
    kind = DRIVERS["qla2xxx"].name
    assert (kind.fault(text) is None) == (len(digits) == 16) == bool(re.search(names.WWPN_PATTERN, text))
    known = kind.canonical(text)
    assert kind.canonical(known) == known
    assert known.replace(":", "") == digits if len(digits) == 16 else known == text
    assert kind.store(known) == (known if len(digits) == 16 else kind.fault(text))


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_wwpn(text: str, admin: Admin, tree: SimTree, run: Callable[..., str]) -> None:
    before = tree.dump()
    for wanted in (Config((), (Target("qla2xxx", text),)), CONFIG.but(targets=(Target("qla2xxx", text),))):
        with pytest.raises(InvalidInput, match="must be a WWPN, which has 16 hex digits"):
            admin.apply(wanted)
    with pytest.raises(InvalidInput, match="must be a WWPN"):
        admin.create_target(Target("qla2xxx", text))
    with pytest.raises(InvalidInput, match=r"<text>:1:.*must be a WWPN"):
        schema.loads(json.dumps({"version": 1, "targets": {"qla2xxx": {text: {}}}}))
    assert "must be a WWPN" in run("create", "target", f"qla2xxx/{text}", code=2)
    with pytest.raises(Conflict):
        admin.target_key(f"qla2xxx/{text}")
    assert tree.dump() == before


def test_the_kernel_has_one_spelling(tree: SimTree) -> None:
    """As kmod/targets/qla2xxx refuses the others."""
    tree.mkdir(f"targets/qla2xxx/{NAME}")
    for text in (DIGITS, f"0x{DIGITS}", NAME.upper(), f"naa.{DIGITS}", "fc0", NAME[:-1], NAME + "0"):
        with pytest.raises(OperationError) as caught:
            tree.mkdir(f"targets/qla2xxx/{text}")
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(OperationError) as caught:
        tree.mkdir(f"targets/qla2xxx/{'2' * 224}")
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("text", [f"0x{DIGITS}", NAME.upper(), f"naa.{DIGITS}", "21-00-00-1B-32-0a-0b-0c"])
def test_every_face_takes_every_spelling(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "new.json").write_text(json.dumps({"version": 1, "targets": {"qla2xxx": {text: {}}}}))
    script = f"create target {text} driver=qla2xxx\ncreate group g {ESX} target={text}\n"
    script += f"/targets/qla2xxx/{text}/groups/g get priority\n"
    script += f"begin\nset group g priority=7 target={text}\ncommit\n"

    def here(*words: str) -> int:
        return main(["--sim", str(sim), *words])

    def shell(line: str) -> None:
        with Admin(sim=str(sim)) as admin:
            failure = Shell(Session(admin, lambda said: None)).execute(line)
            assert failure is None, failure

    faces: dict[str, Callable[[], object]] = {
        "argv": lambda: here("create", "target", f"qla2xxx/{text}"),
        "place": lambda: here("/targets/qla2xxx", "create", text),
        "shell": lambda: shell(f"create target qla2xxx/{text}"),
        "input": lambda: here(),
        "file": lambda: here("apply", str(tmp_path / "new.json"), "--yes"),
        "json": lambda: here("--json", "create", "target", f"qla2xxx/{text}"),
    }
    for name, face in faces.items():
        sim = tmp_path / name
        monkeypatch.setattr(sys, "stdin", io.StringIO(script if name == "input" else ""))
        assert not face(), capsys.readouterr()
        tree = SimTree(str(sim))
        assert tree.list("targets/qla2xxx") == [NAME]
        assert tree.read(f"targets/qla2xxx/{NAME}/state") == "parked"
        capsys.readouterr()
        assert here("--json", "get", "target", text, "enabled") == 0
        assert here(f"/targets/qla2xxx/{text}", "disable") == 0
        assert here("explain", ESX, f"target={text}") == 0
        assert NAME in capsys.readouterr().out
        assert here("delete", "target", f"qla2xxx/{text}", "--yes") == 0
        assert SimTree(str(sim)).list("targets/qla2xxx") == []


def test_two_spellings_of_one_target_are_an_error(admin: Admin) -> None:
    text = json.dumps({"version": 1, "targets": {"qla2xxx": {NAME: {}, f"0x{DIGITS}": {}}}})
    with pytest.raises(InvalidInput, match=f"another spelling of '{NAME}', which is there already"):
        schema.loads(text)
    twice = (Target("qla2xxx", NAME), Target("qla2xxx", f"0x{DIGITS}"))
    with pytest.raises(InvalidInput, match="is there twice"):
        admin.apply(Config((), twice))
    # Of two drivers they are two targets, so the driver has to be said.
    admin.apply(Config((), (Target("qla2xxx", NAME), Target("local", f"0x{DIGITS}"))))
    with pytest.raises(Conflict, match="several drivers have a target"):
        admin.target_key(f"0x{DIGITS}")
    assert admin.target_key(NAME) == ("qla2xxx", NAME)


PATTERNS = (
    "2100001b32*",
    "0x2100001B32*",
    "21:00:00:1B:32:*",
    "21-00-00-1b-32-*",
    "2100:001b:32*",
    "naa.2100001b32??????",
    "NAA.2100001B32*",
    "21:00:00:1b:32:??:??:?c",
    "!50*",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_claim_in_any_spelling(pattern: str, admin: Admin) -> None:
    group = Group("g", initiators=(pattern,), luns=(Lun(0, "da"),))
    admin.apply(CONFIG.but(targets=(Target("qla2xxx", OTHER, groups=(group,)),)))
    for text in SPELLINGS:
        found = admin.explain(f"qla2xxx/{OTHER}", text)
        assert (found.group, found.initiator) == ("g", NAME), text
    assert admin.explain(OTHER, "50:01:43:80:00:00:00:00").group == ""


def test_an_initiator_is_one_entry(run: Callable[..., str], said: Callable[..., Any]) -> None:
    run("create", "target", FULL)
    run("create", "group", "g", *SPELLINGS[:1], f"target={FULL}")
    for text in SPELLINGS[1:5]:
        assert "is there already" in run("add", "initiator", text, f"target={DIGITS}", "group=g", code=1)
    listed = said("list", "initiators", f"target={DIGITS}")["initiators"]
    assert [one["name"] for one in listed] == [NAME]
    run("remove", "initiator", NAME.upper(), f"target=0x{DIGITS}", "group=g")
    assert said("list", "initiators")["initiators"] == []


# Targets before their port.


def test_a_chip_is_waited_for(
    tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enabling a target that is hardware resets it, which takes longer than opening any other."""
    within = {}
    ask = SimTree.ask

    def noted(self: SimTree, path: str, value: str, ms: int) -> None:
        within[path] = ms
        ask(self, path, value, ms)

    monkeypatch.setattr(SimTree, "ask", noted)
    board(tmp_path, PORT)
    run("create", "target", FULL)
    run("create", "target", "local/t1")
    assert within[f"targets/{FULL}/enabled"] == 60_000
    assert within["targets/local/t1/enabled"] < 10_000


def test_a_target_waits_for_its_port(
    tmp_path: Path, run: Callable[..., str], said: Callable[..., Any]
) -> None:
    """It is complete, which is said, and is no failure; it serves when its port comes, and parks when that
    goes.
    """
    note = f"note: {FULL} is parked until its port can be used (`scstadmin ports`)"
    run("create", "device", "da", "1M", "handler=nullio")
    assert note in run("create", "target", FULL)
    run("map", "da", f"target={DIGITS}")
    run("create", "target", "local/t1")
    run("save")
    file = str(tmp_path / "sim" / "scst.json")
    for words in (("apply", file), ("restore", file)):
        data = said(*words)
        assert (data["exit_code"], data["waiting"], data["parked"], data["failed"]) == (0, [FULL], [], [])
        assert note in run(*words)
    assert said("show")["target_states"] == {"local/t1": "enabled", FULL: "parked"}
    assert "parked until its port" in run("show")
    assert f"{FULL}: parked until its port" in run("status")
    explained = said("explain", ESX, f"target={DIGITS}")
    assert (explained["target"], explained["target_state"]) == (FULL, "parked")
    assert [lun["device"] for lun in explained["luns"]] == ["da"]
    assert "nobody can log in before" in run("explain", ESX, f"target={DIGITS}")
    board(tmp_path, PORT)
    assert said("show")["target_states"][FULL] == "enabled"
    assert said("apply", file)["waiting"] == []
    assert "note" not in run("explain", ESX, f"target={FULL}")
    assert run("save") == f"{file}: unchanged\n"
    board(tmp_path)
    assert said("get", "target", DIGITS, "state")["settings"][0]["value"] == "parked"
    assert said("disable", "target", DIGITS)["waiting"] == []
    assert said("enable", "target", DIGITS)["waiting"] == [FULL]
    # What is about others does not speak of it.
    assert said("set", "target", "t1", "queue_depth=9")["waiting"] == []


def test_the_provisioning_interface_says_who_waits(admin: Admin, tree: SimTree) -> None:
    outcome = admin.apply(CONFIG)
    assert (outcome.waiting, outcome.parked, outcome.exit_code) == ((FULL,), (), 0)
    again = admin.apply(CONFIG)
    assert (bool(again), again.waiting, again.exit_code) == (False, (FULL,), 0)
    tree.plug(PORT)
    assert admin.snapshot().target_states == {("qla2xxx", NAME): "enabled"}
    assert admin.apply(CONFIG).waiting == ()
    tree.unplug("qla2xxx", NAME)
    assert tree.read(f"targets/qla2xxx/{NAME}/state") == "parked"
    assert admin.change_target(NAME, queue_depth=5).waiting == (FULL,)
    assert admin.change_target(NAME, rel_tgt_id=5).waiting == (FULL,)
    assert admin.remove_target(f"0x{DIGITS}").waiting == ()


def test_settings_of_the_driver(run: Callable[..., str], said: Callable[..., Any]) -> None:
    run("create", "target", FULL, "queue_depth=32", "buffer_limit=8M")
    values = {one["name"]: one["value"] for one in said("get", "target", DIGITS)["settings"]}
    assert (values["queue_depth"], values["buffer_limit"]) == (32, 8 << 20)
    assert values["session_buffer_limit"] == 64 << 20
    assert "auto_rescan" not in values
    run("set", "target", DIGITS, "session_buffer_limit=0")
    for wrong in ("1M", "4194303", "-1", "x"):
        assert "buffer_limit" in run("set", "target", DIGITS, f"buffer_limit={wrong}", code=2)
    assert "no hosts" in run("add", "host", ESX, f"target={DIGITS}", code=2)
    assert "has no setting auto_rescan" in run("set", "target", DIGITS, "auto_rescan=no", code=2)


# What is refused.


@pytest.mark.parametrize(
    ("port", "number", "words"),
    [
        (replace(PORT, qlini_mode="enabled"), "EOPNOTSUPP", "options qla2xxx qlini_mode=exclusive"),
        (replace(PORT, holder="LIO"), "EBUSY", f"targetcli /qla2xxx delete naa.{DIGITS}"),
    ],
)
def test_a_refused_target_says_why(
    port: Port, number: str, words: str, tmp_path: Path, run: Callable[..., str], said: Callable[..., Any]
) -> None:
    board(tmp_path, port)
    data = said("create", "target", FULL, code=1)
    assert (data["error"], data["cause"]["errno"]) == ("ApplyFailed", number)
    assert words in data["cause"]["advice"]
    assert words in run("create", "target", FULL, code=1)
    assert said("list", "targets")["targets"] == []
    (use,) = said("ports")["ports"]
    assert words in use["advice"]
    assert use["target"] is None
    run("create", "target", FULL, "enabled=no")
    assert words in run("enable", "target", DIGITS, code=1)
    run("save")
    # At boot the rest is served, and the journal has the words.
    data = json.loads((tmp_path / "sim" / "scst.json").read_text())
    data["targets"] = {"qla2xxx": {NAME: {}}, "local": {"t1": {}}}
    (tmp_path / "new.json").write_text(json.dumps(data))
    assert words in run("restore", str(tmp_path / "new.json"), code=4)
    assert said("show")["target_states"] == {"local/t1": "enabled", FULL: "disabled"}
    board(tmp_path, PORT)
    assert "note" not in run("apply", str(tmp_path / "new.json"))
    assert said("show")["target_states"][FULL] == "enabled"


def test_a_port_that_becomes_another_parks_its_target(tmp_path: Path) -> None:
    """What was enabled is so in all processes, whatever the port is when they hear of it."""
    where = str(tmp_path / "sim")
    with Admin(sim=where) as one, Admin(sim=where) as two:
        assert two.config() == Config()
        one.apply(CONFIG)
        one.tree.flush()
        board(tmp_path, replace(PORT, qlini_mode="enabled"))
        assert two.snapshot().target_states == {("qla2xxx", NAME): "parked"}
        with pytest.raises(OperationError) as caught:
            two.tree.write(f"targets/qla2xxx/{NAME}/enabled", "1")
        assert caught.value.errno == errno.EOPNOTSUPP
        assert two.config().targets[0].enabled


# Modules.


def lacking(monkeypatch: pytest.MonkeyPatch, tree: SimTree, place: str, *gone: str) -> list[str]:
    """A kernel for which these modules are not there."""
    asked: list[str] = []
    folder = tree.find(place)
    assert not isinstance(folder, str)

    def modprobe(names: Iterator[str], where: str) -> None:
        asked.extend(names)
        raise NotPresent(where, "modprobe: FATAL: Module not found")

    for name in gone:
        folder.children.pop(name)  # type: ignore[union-attr]
    monkeypatch.setattr(modules, "modprobe", modprobe)
    return asked


def test_a_target_loads_its_module(monkeypatch: pytest.MonkeyPatch, admin: Admin, tree: SimTree) -> None:
    asked = lacking(monkeypatch, tree, "targets", "qla2xxx")
    with pytest.raises(NotPresent, match="Module not found"):
        admin.create_target(Target("qla2xxx", NAME))
    with pytest.raises(NotPresent, match="Module not found"):
        admin.apply(CONFIG)
    assert asked == ["scst_qla2xxx"] * 2
    assert admin.config() == Config()


def test_restore_without_a_module(monkeypatch: pytest.MonkeyPatch, admin: Admin, tree: SimTree) -> None:
    """What needs it is left out, named and noted; the rest is served."""
    lacking(monkeypatch, tree, "targets", "qla2xxx")
    local = Target("local", "t1", luns=(Lun(0, "da"),))
    outcome = admin.restore(CONFIG.but(targets=(*CONFIG.targets, local)))
    assert outcome.exit_code == 4
    (failure,) = outcome.failed
    assert failure.operation.text == f"create target {FULL}"
    assert "load module scst_qla2xxx: ENOPKG" in str(failure.error)
    assert "Module not found" in str(failure.error)
    assert admin.snapshot().target_states == {("local", "t1"): "enabled"}
    assert admin.config().targets[0].luns == (Lun(0, "da"),)
    with pytest.raises(Exception, match="left out by the last restore"):
        admin.save(str(Path(admin.state_dir) / "x.json"))


def test_restore_without_a_handler(monkeypatch: pytest.MonkeyPatch, admin: Admin, tree: SimTree) -> None:
    lacking(monkeypatch, tree, "devices", "fileio")
    group = Group("g", initiators=("a",), luns=(Lun(0, "db"), Lun(1, "da")))
    target = Target("local", "t1", luns=(Lun(3, "db"),), groups=(group,))
    devices = (*CONFIG.devices, Device("db", "fileio", path="/x"))
    outcome = admin.restore(Config(devices, (target,)))
    texts = [failure.operation.text for failure in outcome.failed]
    assert texts == [
        "create device fileio/db",
        "map db as LUN 3 of local/t1",
        "map db as LUN 0 of local/t1 group g",
    ]
    (found,) = admin.config().targets
    assert (found.luns, found.groups[0].luns) == ((), (Lun(1, "da"),))
    assert found.groups[0].initiators == ("a",)


# What `ports` says.

STATES = (PortTarget(True, "enabled"), PortTarget(True, "parked"), PortTarget(False, "disabled"))
ENABLED, PARKED, DISABLED = STATES


@pytest.mark.parametrize(
    ("port", "target", "loaded", "remark", "advice"),
    [
        (PORT, ENABLED, True, "", ""),
        (PORT, None, True, "loses the disks", f"scstadmin create target {FULL}"),
        (replace(PORT, qlini_mode="dual"), None, True, "no target uses it", f"create target {FULL}"),
        (replace(PORT, qlini_mode="disabled"), None, True, "no target uses it", f"create target {FULL}"),
        (
            replace(PORT, qlini_mode="enabled"),
            None,
            True,
            "qlini_mode is enabled",
            "/etc/modprobe.d/qla2xxx.conf",
        ),
        (replace(PORT, qlini_mode="enabled"), PARKED, True, "targets are refused", "update-initramfs -u"),
        (
            replace(PORT, qlini_mode="enabled"),
            DISABLED,
            False,
            "targets are refused",
            "modprobe -r scst_qla2xxx",
        ),
        (replace(PORT, holder="LIO"), None, True, "LIO has it", f"targetcli /qla2xxx delete naa.{DIGITS}"),
        (PORT, DISABLED, True, "not enabled", f"scstadmin enable target {FULL}"),
        (PORT, PARKED, True, "could not be opened", f"scstadmin disable target {FULL}"),
        (replace(PORT, link="Linkdown"), ENABLED, True, "not up: Linkdown", "cable"),
        (replace(PORT, link=""), ENABLED, True, "", ""),
        (replace(PORT, state=UNKNOWN), None, False, "not loaded", f"scstadmin create target {FULL}"),
        (replace(PORT, state=UNKNOWN), PARKED, False, "not loaded", "scstadmin restore"),
        (replace(PORT, state=UNKNOWN), None, True, "does not want it", "journalctl -k"),
        (None, PARKED, True, "waits for it", "lspci -d 1077:"),
        (None, DISABLED, True, "no such port is here", "lspci"),
    ],
)
def test_advice(port: Port | None, target: PortTarget | None, loaded: bool, remark: str, advice: str) -> None:
    targets = {("qla2xxx", NAME): target} if target is not None else {}
    (use,) = uses([port] if port is not None else [], targets, ["local", "qla2xxx"] if loaded else [])
    assert (use.full_name, use.port, use.target) == (FULL, port, target)
    assert remark in use.remark
    assert advice in use.advice
    assert bool(remark) == bool(use.remark) == bool(use.advice)
    text = "\n".join(port_lines([use]))
    assert text.startswith(f"{FULL}  ")
    assert use.remark in text
    assert use.advice in text
    assert "{" not in text


ports_ = st.builds(
    Port,
    st.just("qla2xxx"),
    st.sampled_from([NAME, OTHER]),
    st.sampled_from(["present", UNKNOWN, "resetting"]),
    qlini_mode=st.sampled_from(["", "enabled", "exclusive", "dual", "disabled", "odd"]),
    link=st.sampled_from(["", "Online", "Linkdown", "Unknown"]),
    holder=st.sampled_from(["", "LIO"]),
)
targets_ = st.dictionaries(
    st.sampled_from([("qla2xxx", NAME), ("qla2xxx", OTHER)]),
    st.sampled_from([*STATES, PortTarget(True, "closing"), PortTarget(False, "closing")]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ports_, unique_by=lambda port: port.name), targets_, st.booleans())
def test_each_port_and_each_target_is_said_once(
    ports: list[Port], targets: dict[tuple[str, str], PortTarget], loaded: bool
) -> None:
    found = uses(ports, targets, ["qla2xxx"] if loaded else [])
    assert [use.name for use in found] == sorted(
        {port.name for port in ports} | {name for _, name in targets}
    )
    assert all(bool(use.remark) == bool(use.advice) for use in found)
    # Nothing is remarked of what serves, and something of what does not.
    for use in found:
        serves = use.port is not None and use.target == PortTarget(True, "enabled")
        assert serves or use.remark or (use.target is not None and use.target.state == "closing")
    assert len(list(port_lines(list(found)))) >= len(found)


def test_the_verb(tmp_path: Path, run: Callable[..., str], said: Callable[..., Any]) -> None:
    assert "no hardware ports" in run("ports")
    assert said("ports") == {"schema": "scstadmin/ports/1", "ports": []}
    board(tmp_path, PORT, replace(PORT, name=OTHER, link="Linkdown"))
    run("create", "target", f"qla2xxx/{OTHER}")
    run("create", "target", "qla2xxx/50:01:43:80:00:00:00:01")
    found = {one["name"]: one for one in said("ports")["ports"]}
    assert list(found) == sorted(found)
    assert found[NAME]["target"] is None
    assert (found[OTHER]["target"], found[OTHER]["target_state"]) == (f"qla2xxx/{OTHER}", "enabled")
    gone = found["50:01:43:80:00:00:00:01"]
    assert (gone["present"], gone["target_state"], gone["model"]) == (False, "parked", "")
    text = run("ports")
    assert f"qla2xxx/{NAME}  QLE2562" in text
    assert "link Linkdown" in text
    assert text.count("\nqla2xxx/") == 2
    for words in ((f"target=0x{DIGITS}",), ("--target", NAME.upper())):
        assert [one["name"] for one in said("ports", *words)["ports"]] == [NAME]
    assert [one["name"] for one in said(f"/targets/qla2xxx/{OTHER}", "ports")["ports"]] == [OTHER]
    assert (
        len(said("/targets/qla2xxx", "ports")["ports"]) == len(said("ports", "driver=qla2xxx")["ports"]) == 3
    )
    assert said("/targets/local", "ports")["ports"] == []
    assert "`ports` is a command by itself" in run("list", "ports", code=2)


def test_completion_offers_ports(admin: Admin, tree: SimTree) -> None:
    tree.plug(PORT)
    tree.plug(replace(PORT, name=OTHER))
    shell = Shell(Session(admin, lambda line: None))
    assert shell.complete("create target qla") == [f"qla2xxx/{NAME} ", f"qla2xxx/{OTHER} "]
    assert shell.complete("/targets/qla2xxx create ")[:2] == [f"{NAME} ", f"{OTHER} "]
    assert shell.execute(f"create target qla2xxx/{DIGITS}") is None
    assert shell.complete("create target qla") == [f"qla2xxx/{OTHER} "]
    assert shell.complete(f"/targets/qla2xxx/0x{DIGITS}/gro") == [f"/targets/qla2xxx/0x{DIGITS}/groups "]


@pytest.mark.parametrize(
    "text",
    ["{}", "[1]", "[{}]", "[", '[{"driver": "local", "name": "t"}]', '[{"driver": "qla2xxx", "name": "fc0"}]']
    + [
        f'[{{"driver": "qla2xxx", "name": "{NAME}", "{key}": {value}}}]'
        for key, value in (("x", '""'), ("link", 1))
    ],
)
def test_simulated_ports_that_are_none(text: str, tmp_path: Path, run: Callable[..., str]) -> None:
    run("create", "target", FULL)
    (tmp_path / "sim" / "ports.json").write_text(text)
    for words in (("ports",), ("show",)):
        assert "cannot be read as simulated ports" in run(*words, code=5)


# On a machine.


def machine(root: Path, *, loaded: bool) -> Places:
    """/sys of a machine with a board of two ports and one virtual port, and a board of somebody else."""
    write(root / "module/qla2xxx/parameters", qlini_mode="dual")
    hosts = {
        "host3": (DIGITS, "qla2xxx"),
        "host4": (OTHER.replace(":", ""), "qla2xxx"),
        "host5": ("5" * 16, "lpfc"),
    }
    for host, (digits, inbox) in {**hosts, "host6": ("21" + "0" * 14, "qla2xxx")}.items():
        kind = "NPIV VPORT" if host == "host6" else "NPort (fabric via point-to-point)"
        write(
            root / "class/fc_host" / host,
            port_name=f"0x{digits}",
            speed="8 Gbit",
            port_state="Online" if host == "host3" else "Linkdown",
            port_type=kind,
        )
        own = {"model_name": "QLE2562", "fw_version": "8.07.00 (d0d5)"}
        write(root / "class/scsi_host" / host, proc_name="(null)", **own)
        bound(root, host, inbox)
    if loaded:
        write(
            root / f"class/scst/port.qla2xxx.{NAME}",
            driver="qla2xxx",
            name=NAME,
            state="present",
            model="QLE2562",
            firmware="8.07.00",
            qlini_mode="exclusive",
            fc_host="host3",
        )
        write(root / "class/scst/session.1", target=FULL)
        write(root / "class/scst/port.later.x", driver="later", name="x", state="present")
    (root / "target/qla2xxx" / OTHER).mkdir(parents=True)
    (root / "target/qla2xxx/discovery_auth").mkdir()
    return Places(str(root / "class"), str(root / "module"), str(root / "target"))


def bound(root: Path, host: str, inbox: str) -> None:
    """A host on a function of a board that a driver has."""
    function = root / f"devices/pci0/{host}-function"
    (function / host).mkdir(parents=True)
    (root / "bus/pci/drivers" / inbox).mkdir(parents=True, exist_ok=True)
    (function / "driver").symlink_to(root / "bus/pci/drivers" / inbox)
    (root / "class/fc_host" / host / "device").symlink_to(function / host)


def write(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")


def test_ports_of_a_machine(tmp_path: Path) -> None:
    mine = read_ports(machine(tmp_path / "loaded", loaded=True))
    other = Port(
        "qla2xxx", OTHER, UNKNOWN, "QLE2562", "8.07.00", "dual", "host4", "8 Gbit", "Linkdown", holder="LIO"
    )
    assert mine == [PORT, other]
    found = read_ports(machine(tmp_path / "not", loaded=False))
    assert found == [replace(PORT, state=UNKNOWN, qlini_mode="dual"), other]
    assert read_ports(Places(str(tmp_path / "no"), str(tmp_path / "no"), str(tmp_path / "no"))) == []


def test_a_port_that_goes_while_it_is_read(tmp_path: Path) -> None:
    places = machine(tmp_path, loaded=True)
    (tmp_path / f"class/scst/port.qla2xxx.{NAME}/name").unlink()
    (tmp_path / "class/fc_host/host4/device").unlink()
    assert [(port.name, port.state) for port in read_ports(places)] == [(NAME, UNKNOWN)]


def test_ports_without_a_control_plane(tmp_path: Path) -> None:
    """So that one knows what to call a target before there is one."""
    machine(tmp_path, loaded=False)
    with Admin(
        str(tmp_path / "scst"), class_root=str(tmp_path / "class/scst"), state_dir=str(tmp_path)
    ) as admin:
        found = admin.ports()
    assert [(use.name, use.target) for use in found] == [(NAME, None), (OTHER, None)]
    assert "scst_qla2xxx is not loaded" in found[0].remark
    assert "LIO has it" in found[1].remark


def test_a_refusal_undone_is_nothing(admin: Admin, tree: SimTree) -> None:
    tree.plug(replace(PORT, qlini_mode="enabled"))
    before = tree.dump()
    with pytest.raises(ApplyFailed, match="qlini_mode=exclusive"):
        admin.apply(CONFIG)
    after = tree.dump()
    assert after["targets"] == before["targets"]
    assert after["devices"] == before["devices"]
