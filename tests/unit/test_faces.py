# SPDX-License-Identifier: GPL-2.0-or-later
"""Every verb, by its own example: on the command line, at a place, as a line of the shell, from the standard
input, and as JSON. It is understood and does the same everywhere.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.answers import json_schema, name_of
from pyscstadmin.cli.engine import understand_line
from pyscstadmin.cli.places import KINDS, place
from pyscstadmin.cli.table import FORMS
from pyscstadmin.cli.verbs import Form, Given
from pyscstadmin.cli.words import quote
from pyscstadmin.config import schema
from pyscstadmin.config.model import (
    Config,
    Device,
    DeviceGroup,
    Group,
    Iscsi,
    Lun,
    Portal,
    PortGroup,
    Target,
    User,
)
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from pyscstadmin.sim.alua import Question
from pyscstadmin.sim.tree import SimTree

B1, B2, HERE = (f"iqn.2026-11.com.example:{name}" for name in ("b1", "b2", "here"))
ANSWERS = jsonschema.Draft202012Validator(json_schema())
Capture = pytest.CaptureFixture[str]

LOOKING = (
    "commit who pr lint get list show status explain sessions recorder ports plan schema ls save restore "
    "help version drain logins explain-login discover".split()
)
# About device groups.
ALUA = ("alua", "tpg", "member")
# About iSCSI.
ISCSI = ("portal", "user")
LOGINS = ("explain-login", "discover")
DISK = "iqn.2026-11.com.example:disk"
# Made in a folder, under their names.
NAMED = ("device", "target", "alua", "tpg", "fault")
# Not of these: they make sense with lines before or after them only.
# A simulated tree has no session of iSCSI that could be dropped: test_logins.py.
ALONE = [form for form in FORMS if not form.shell and form.verb != "drop"]


def words_of(form: Form, folder: Path) -> list[str]:
    """The example of a form, with files that are there."""
    words = shlex.split(form.example)
    places = {"/srv/": f"{folder}/", "/etc/scst/": f"{folder}/", "new.json": f"{folder}/new.json"}
    for place_, instead in places.items():
        words = [word.replace(place_, instead) for word in words]
    return words


def base(form: Form, folder: Path) -> Config:
    """What is there before: all that an example speaks of, but what it makes."""
    makes = form.kind if form.verb in ("create", "add") else "lun" if form.verb == "map" else ""
    free = (form.verb, form.kind) in (("delete", "device"), ("disable", "device"), ("enable", "device"))
    off = form.kind if form.verb == "enable" else ""
    devices = tuple(Device(f"n{number}", "nullio", size=1 << 20) for number in range(3))
    if makes != "device":
        devices += (Device("da", "fileio", off != "device", path=str(folder / "da.img")),)
    luns = [Lun(number, f"n{number}") for number in range(3)] + [Lun(3, "n0", True)]
    if makes not in ("device", "lun") and not free:
        luns.append(Lun(5, "da"))
    group = Group("backup", 100, (B1,) if makes == "initiator" else (B1, B2), tuple(luns))
    groups = () if makes == "group" else (group, Group("readers", 10, ("iqn.r*",)))
    hosts = () if makes == "host" else (HERE,)
    own = (Lun(0, "n1"),)
    target = Target("local", "t1", off != "target", hosts=hosts, luns=own, groups=groups)
    if form.kind in ALUA:
        devices += (Device("db", "nullio", size=1 << 20),)
    targets = () if makes == "target" else (target,)
    if form.kind in ISCSI or form.verb in LOGINS:
        links = () if (form.verb, form.kind) in (("add", "portal"), ("delete", "portal")) else ("lan",)
        users = () if makes == "user" else (User("joe", secret_file=str(folder / "older.secret")),)
        portals = () if (form.verb, form.kind) == ("create", "portal") else (Portal("lan"),)
        targets = (*targets, Target("iscsi", DISK, portals=links if portals else (), users=users))
        return Config(devices, targets, iscsi=Iscsi(portals))
    return Config(devices, targets, alua(form, makes))


def alua(form: Form, makes: str) -> tuple[DeviceGroup, ...]:
    """The device group that an example speaks of."""
    if form.kind not in ALUA or makes == "alua":
        return ()
    here = PortGroup("here", 1, targets=["local/t1"])
    there = PortGroup("there", 2, remote_ports=[77])
    groups = (there,) if makes == "tpg" else (here, there)
    return (DeviceGroup("dg", ["da"] if makes == "member" else ["da", "db"], groups),)


def make(form: Form, folder: Path) -> Path:
    """A directory with a simulated tree as it is before."""
    sim = folder / "before"
    if form.verb != "create" or form.kind != "device":
        (folder / "da.img").write_bytes(bytes(1 << 20))
    for name in ("joe", "older"):
        secret = folder / f"{name}.secret"
        secret.write_text(f"secret of {name}, and more")
        secret.chmod(0o600)
    (folder / "new.json").write_text(schema.dumps(Config((Device("x", "nullio", size=512),))))
    with Admin(sim=str(sim)) as admin:
        admin.apply(base(form, folder))
        admin.save(force=True)
        if form.kind == "fault" and form.verb != "create":
            admin.create_fault("f1", enabled=True)
        if form.verb == "activate":
            admin.deactivate("da")
        if form.verb == "rebind":
            (folder / "copy.img").write_bytes(bytes(1 << 20))
            (folder / "copy.img").rename(folder / "da.img")
        if form.verb == "answer":
            assert isinstance(admin.tree, SimTree)
            question = Question(1, "local/t1", B1, "da", {"here": "standby"})
            admin.tree.put_question("dg", question)
            admin.tree.flush()
        if form.verb == "commit":
            admin.tree.write("autocommit", "0")
            admin.tree.mkdir("targets/local/t1/groups/backup/initiators/left-staged")
    return sim


def at_place(given: Given) -> list[str]:
    """The same, said at the place it is about."""
    form, values = given.form, dict(given.values)
    where, rest = "/", [text(one) for one in given.rest]
    if form.kind in ("device", "target") and form.kind in values:
        above = {"device": "handler", "target": "driver"}[form.kind]
        first, _, name = str(values.pop(form.kind)).rpartition("/")
        root = values.pop(above, "") or first or {"device": "fileio", "target": "local"}[form.kind]
        where = f"/{KINDS[form.kind]}/{root}"
        where, rest = (where, [name, *rest]) if form.verb == "create" else (f"{where}/{name}", rest)
    elif form.kind == "fault" and "fault" in values:
        where, rest = "/faults", [str(values.pop("fault")), *rest]
        where, rest = (where, rest) if form.verb == "create" else (f"{where}/{rest[0]}", rest[1:])
    elif form.kind in ALUA and form.verb != "list":
        fixes = {"alua": ("alua",), "tpg": ("alua", "tpg"), "member": ("alua",)}
        folders = {"alua": "/alua", "tpg": "/tpgs"}
        where, names = "", [(kind, str(values.pop(kind))) for kind in fixes[form.kind]]
        for kind, name in names:
            where += (
                folders[kind] if form.verb == "create" and kind == form.kind else f"{folders[kind]}/{name}"
            )
        rest = [names[-1][1], *rest] if form.verb == "create" else rest
    elif values.get("target"):
        driver = "iscsi" if form.kind in ISCSI or form.verb in LOGINS else "local"
        where = f"/targets/{driver}/{values.pop('target').rpartition('/')[2]}"
        if form.kind == "group":
            where, rest = f"{where}/groups", [values.pop("group"), *rest] if "group" in values else rest
        elif values.get("group"):
            where = f"{where}/groups/{values.pop('group')}"
        if form.kind in ("lun", "host") or (form.kind == "initiator" and "/groups/" in where):
            where = f"{where}/{KINDS[form.kind]}"
    kind = KINDS[form.kind] if form.verb == "list" else form.kind
    said = [] if form.silent or place(where).kind == form.kind or not form.kind else [kind]
    taken = [text(values.pop(param.name)) for param in form.takes if param.name in values]
    more = [f"{name}={text(value)}" for name, value in values.items()]
    settings = [f"{name}={value}" for name, value in given.settings.items()]
    if (form.kind == "group" and rest) or (form.verb == "create" and form.kind in NAMED):
        taken, rest = [rest[0], *taken], rest[1:]
    return [where, form.verb, *said, *taken, *rest, *more, *settings]


def text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def state(sim: Path, anew: bool = False) -> dict[str, Any]:
    """The tree, without what is random or counts. `anew`: its file is another one each time."""
    found: dict[str, Any] = SimTree(str(sim)).dump()
    for devices in found["devices"].values():
        for device in devices.values():
            device["id"].pop("serial", None)
            device["id"].pop("naa", None)
            if anew:
                device["values"].pop("facts", None)
                device["texts"] = {}
    return {
        **found,
        "files": sorted(path.name for path in sim.iterdir() if path.name.startswith("scst.json")),
    }


def in_the_shell(sim: Path, line: str) -> int:
    with Admin(sim=str(sim)) as admin:
        shell = Shell(Session(admin, lambda said: None))
        failure = shell.execute(line)
        assert failure is None, failure
        return shell.session.exit_code


@pytest.mark.parametrize("form", ALONE, ids=[f"{form.verb}-{form.kind or 'whole'}" for form in ALONE])
def test_every_verb_in_every_face(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    before = make(form, tmp_path)
    words = words_of(form, tmp_path)
    placed = at_place(understand_line(words))
    line = " ".join(word if "=" in word else quote(word) for word in words)

    def typed(sim: Path) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"# a script\n{line}\n"))
        return main(["--sim", str(sim)])

    def as_json(sim: Path) -> int:
        code = main(["--sim", str(sim), "--json", *words])
        said = capsys.readouterr()
        data = json.loads(said.out)
        if form.verb != "schema":
            assert data["schema"] == name_of(form)
            ANSWERS.validate(data)
        assert said.err == ""
        return code

    faces: dict[str, Callable[[Path], int]] = {
        "argv": lambda sim: main(["--sim", str(sim), *words]),
        "place": lambda sim: main(["--sim", str(sim), *placed]),
        "shell": lambda sim: in_the_shell(sim, line),
        "input": typed,
        "json": as_json,
    }
    found = {}
    image = tmp_path / "da.img"
    content = image.read_bytes() if image.exists() else None
    for name, face in faces.items():
        sim = tmp_path / name
        shutil.copytree(before, sim)
        capsys.readouterr()
        found[name] = (face(sim), state(sim, content is None))
        if content is None and image.exists():
            assert image.stat().st_size == 10 << 30
            image.unlink()
    for name, result in found.items():
        warns = form.verb == "lint" and name not in ("shell", "input")
        assert result[0] == (1 if warns else 0), (name, capsys.readouterr())
        assert result[1] == found["argv"][1], name
    if form.verb not in (*LOOKING, "resize", "help", "version"):
        assert found["argv"][1] != state(before, content is None)


def test_the_examples_are_all_there() -> None:
    for form in FORMS:
        assert form.example.split()[0] == form.verb
        assert form.help.endswith(".")
    assert len(ALONE) > 60
