# SPDX-License-Identifier: GPL-2.0-or-later
"""The file format: round trips, canonical text, the published JSON Schema."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.cli import describe
from pyscstadmin.config import schema
from pyscstadmin.config.locate import locate
from pyscstadmin.config.model import Config, Device, Identity, Lun, Target
from pyscstadmin.config.settings import DRIVERS, HANDLERS, ROOT
from pyscstadmin.config.where import dotted
from pyscstadmin.errors import InvalidInput
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.sim.node import Attribute, Node
from pyscstadmin.sim.tree import SimTree
from pyscstadmin.store.load import load_file
from tests.unit.strategies import configs
from tests.unit.trees import made

PUBLISHED = Path(schema.__file__).with_name("schema.json")
VALIDATOR = jsonschema.Draft202012Validator(describe.json_schema())
CONFIGFS = Path(__file__).parents[2] / "docs/configfs.md"
EXAMPLES = Path(__file__).parents[2] / "examples"


@settings(max_examples=50, deadline=None)
@given(configs())
def test_round_trip(config: Config) -> None:
    text = schema.dumps(config)
    assert schema.loads(text) == config
    assert schema.dumps(schema.loads(text)) == text
    assert VALIDATOR.is_valid(json.loads(text))


def test_only_what_differs_from_the_default_is_written() -> None:
    data = schema.to_data(Config((Device("d", "fileio", path="/x"),), (Target("local", "t", rel_tgt_id=3),)))
    assert data == {
        "version": 1,
        "devices": {"fileio": {"d": {"path": "/x"}}},
        "targets": {"local": {"t": {"rel_tgt_id": 3}}},
    }


def test_order_is_by_number_and_name() -> None:
    luns = tuple(Lun(number, "d") for number in (10, 2, 1, 100))
    config = Config((Device("d", "nullio", size=512),), (Target("local", "t", luns=luns),))
    assert list(schema.to_data(config)["targets"]["local"]["t"]["luns"]) == ["1", "2", "10", "100"]
    assert schema.dumps(config) == schema.dumps(Config(config.devices[::-1], config.targets[::-1]))


TEXTS = ["[ 1 ]", "{  a  }", "x [  y", "z  ] ", '" [ 2 ] "', '\\" { \\', "\\", "{  [  1  ]  }"]


@pytest.mark.parametrize(
    "name",
    ["/srv/ü/日本.img", os.fsdecode(b"/srv/\xff\xfe.img"), "/a {b, c} [d]", *(f"/srv/my {t}" for t in TEXTS)],
)
def test_any_path_survives(name: str) -> None:
    config = Config((Device("d", "fileio", path=name), Device("e", "fileio", path=name)))
    assert schema.loads(schema.dumps(config)) == config


@pytest.mark.parametrize("serial", TEXTS)
def test_any_serial_survives(serial: str) -> None:
    devices = (Device(n, "nullio", size=512, id=Identity(serial=f"{serial}{n}")) for n in ("d", "e"))
    config = Config(tuple(devices))
    assert schema.loads(schema.dumps(config)) == config
    assert schema.dumps(config).count("{ " + json.dumps("serial")) == 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text('[]{} ",:\\a1', min_size=1, max_size=16), min_size=1, max_size=3, unique=True))
def test_texts_with_the_signs_of_json_survive(texts: list[str]) -> None:
    devices = [
        Device(f"d{number}", "fileio", path=f"/{text}", id=Identity(product=text, serial=text))
        for number, text in enumerate(texts)
    ]
    config = Config(tuple(devices))
    assert schema.loads(schema.dumps(config)) == config


QUOTED = r'"(?:[^"\\]|\\.)*"'
INNERMOST = re.compile(rf'{QUOTED}|([\[{{])\s+((?:{QUOTED}|[^\[\]{{}}"])*?)\s+([\]}}])')


def laid_out(data: object) -> str:
    """The layout of files by its rule: indented, but what has nothing in it that could be indented and fits
    is on one line.
    """

    def line(match: re.Match[str]) -> str:
        opening, inner, closing = match.groups()
        flat = re.sub(r"\n\s*", " ", inner or "")
        if opening is None or len(flat) > 72:
            return match.group()
        return f"{opening}{flat}{closing}" if opening == "[" else f"{opening} {flat} {closing}"

    return INNERMOST.sub(line, json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


@settings(max_examples=100, deadline=None)
@given(configs(), st.text('[]{} ",:\\a1ü', min_size=1, max_size=16), st.integers(1, 12))
def test_the_layout(config: Config, text: str, many: int) -> None:
    device = Device("e", "fileio", path=f"/{text}", id=Identity(serial="s" * 64, product="p" * many))
    names = tuple(f"iqn.2026-11.com.example:{number}" for number in range(many))
    target = Target("local", "e", hosts=names, rel_tgt_id=9)
    for whole in (config, replace(config, devices=(*config.devices, device), targets=(target,))):
        assert schema.dumps(whole) == laid_out(schema.to_data(whole))


def test_numbers_without_device_are_left_out() -> None:
    config = Config((), (Target("local", "t", luns=(Lun(0, ""),)),))
    assert schema.loads(schema.dumps(config)) == Config((), (Target("local", "t"),))


DIRECTORIES = {
    "Root": "",
    "targets/DRIVER/NAME/": "targets/local/t",
    "targets/local/NAME/hosts/INITIATOR/": "targets/local/t/hosts/i",
    "targets/DRIVER/NAME/luns/N/": "targets/local/t/luns/0",
    "targets/DRIVER/NAME/groups/GROUP/": "targets/local/t/groups/g",
    **{f"devices/HANDLER/NAME/ {handler}": f"devices/{handler}/{handler}-d" for handler in HANDLERS},
    "devices/HANDLER/NAME/id/": "devices/nullio/nullio-d/id",
}


def documented(title: str, handler: str) -> dict[str, str]:
    """Attribute -> mode, of a section of docs/configfs.md; of those that a handler has."""
    page = CONFIGFS.read_text()
    found = re.search(rf"^#+ (?:\S+ and )?{re.escape(title)}(?: and \S+)?\n(.*?)(?=^#|\Z)", page, re.M | re.S)
    assert found, title
    if title.endswith("id/"):
        return dict.fromkeys(re.findall(r"^\| `([a-z0-9_]+)` \|", found[1], re.M), "rw")
    rows = re.findall(r"^\| `([a-z_]+)` \| (ro|rw|wo) (?:\| ([^|]*))?", found[1], re.M)
    who = {"all": True, "all but nullio": handler != "nullio", "all but local": False}
    return {
        name: mode
        for name, mode, some in rows
        if who.get(some.strip(), not handler or handler in some.strip().split(", "))
    }


@pytest.mark.parametrize("title", DIRECTORIES)
def test_the_page_has_the_attributes_of_the_simulation(title: str) -> None:
    """The same is asked of the kernel's tree."""
    tree = SimTree()
    for path in DIRECTORIES.values():
        if path and not path.endswith("/id"):
            tree.mkdir(path)
    node = tree.find(DIRECTORIES[title])
    assert isinstance(node, Node)
    modes = {(True, False): "ro", (True, True): "rw", (False, True): "wo"}
    shown = {name: modes[one.readable, one.writable] for name, one in node.attributes().items()}
    heading, _, handler = title.partition(" ")
    assert documented(heading, handler) == shown


def test_every_setting_can_be_set_in_the_simulation() -> None:
    tree = SimTree()
    tree.mkdir("targets/local/t")
    places = [("", ROOT), ("targets/local/t/", DRIVERS["local"].settings)]
    for name, handler in HANDLERS.items():
        tree.mkdir(f"devices/{name}/{name}-d")
        places.append((f"devices/{name}/{name}-d/", handler.settings))
    for place, known in places:
        for name, row in known.items():
            text = tree.read(place + name)
            assert row.type.from_kernel(text) == row.default
            tree.write(place + name, row.type.to_kernel(row.default) or "\n")
            assert tree.read(place + name) == text


def test_attributes_that_nobody_knows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers with remote initiators have some, and later modules may."""
    tree = made(Config((Device("d", "nullio", size=512),), (Target("local", "t", luns=(Lun(0, "d"),)),)))
    before = snapshot(tree)
    more = {"unknown": Attribute(True, True)}
    for path in ("", "targets/local/t", "targets/local/t/luns/0", "devices/nullio/d"):
        kind = type(tree.find(path))
        assert issubclass(kind, Node)
        usual = kind.attributes
        monkeypatch.setattr(kind, "attributes", lambda node, usual=usual: {**usual(node), **more})
    assert snapshot(tree) == before
    tree.unlink("targets/local/t/luns/0/device")
    tree.symlink("devices/nullio/d", "targets/local/t/luns/0/other")
    assert snapshot(tree).config == before.config
    tree.unlink("targets/local/t/luns/0/other")
    assert snapshot(tree).config.targets[0].luns == (Lun(0, ""),)


def test_the_published_schema_is_up_to_date() -> None:
    assert PUBLISHED.read_text() == describe.text(), (
        "run python -m pyscstadmin.cli.describe > pyscstadmin/config/schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    config = load_file(str(path))
    jsonschema.validate(json.loads(path.read_text()), json.loads(PUBLISHED.read_text()))
    assert schema.loads(schema.dumps(config)) == config


REFUSED_BY_BOTH = [
    {},
    {"version": 2},
    {"version": 1, "x": 1},
    {"version": 1, "devices": {"nullio": {"d": {"size": -1}}}},
    {"version": 1, "devices": {"nullio": {"d": {}}}},
    {"version": 1, "devices": {"nullio": {"d d": {"size": 512}}}},
    {"version": 1, "devices": {"fileio": {"d": {"path": "x"}}}},
    {"version": 1, "devices": {"fileio": {"d": {"path": "/x", "block_size": 3}}}},
    {"version": 1, "devices": {"fileio": {"d": {"path": "/x", "id": {"naa": "1" * 16}}}}},
    {"version": 1, "devices": {"fileio": {"d": {"path": "/x", "id": {"serial": ""}}}}},
    {"version": 1, "devices": {"nullio": {"d": {"size": 512, "rotational": "yes"}}}},
    {"version": 1, "devices": {"nullio": {"d": {"size": 512, "rotational": 1}}}},
    {"version": 1, "devices": {"nullio": {"d": {"size": 512, "stop_unit": "auto"}}}},
    {"version": 1, "buffer_limit": -1},
    {"version": 1, "buffer_limit": "64M"},
    {"version": 1, "targets": {"local": {"t": {"queue_depth": 65536}}}},
    {"version": 1, "targets": {"local": {"t": {"queue_depth": True}}}},
    {"version": 1, "targets": {"local": {"t": {"rel_tgt_id": 0}}}},
    {"version": 1, "targets": {"local": {"t": {"luns": {"01": {"device": "d"}}}}}},
    {"version": 1, "targets": {"local": {"t": {"luns": {"0": {}}}}}},
    {"version": 1, "targets": {"local": {"t": {"hosts": ["a*"]}}}},
    {"version": 1, "targets": {"local": {"t": {"hosts": ["!a"]}}}},
    {"version": 1, "targets": {"local": {"t": {"hosts": ["a/b"]}}}},
    {"version": 1, "targets": {"local": {"t": {"hosts": [".."]}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"initiators": ["."]}}}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"initiators": [".."]}}}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"initiators": ["!!a"]}}}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"initiators": ["a b"]}}}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"initiators": ["!"]}}}}}},
    {"version": 1, "targets": {"local": {"t": {"groups": {"g": {"priority": 65536}}}}}},
]


@pytest.mark.parametrize("data", REFUSED_BY_BOTH, ids=json.dumps)
def test_the_schema_refuses_what_the_reader_refuses(data: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, describe.json_schema())
    with pytest.raises(InvalidInput):
        schema.loads(json.dumps(data))


ACCEPTED_BY_BOTH = [
    {"version": 1},
    {"version": 1, "$schema": "x", "devices": {}, "targets": {}},
    {"version": 1, "devices": {"fileio": {"d": {"enabled": False}}}},
    {"version": 1, "devices": {"nullio": {"d": {"size": 512, "rotational": True, "stop_unit": True}}}},
    {"version": 1, "devices": {"nullio": {"d": {"size": 512, "rotational": "auto"}}}},
    {"version": 1, "buffer_limit": 67108864, "targets": {"local": {"t": {"queue_depth": 65535}}}},
    {
        "version": 1,
        "targets": {
            "local": {"t+@,": {"groups": {"g": {"initiators": ["!a*", "~?", "a=b>c", "...", "!..", ".x"]}}}}
        },
    },
    {"version": 1, "targets": {"local": {"t": {"hosts": ['"a"', "a=>@b", "#)(+,-.0"]}}}},
]


@pytest.mark.parametrize("data", ACCEPTED_BY_BOTH, ids=json.dumps)
def test_the_schema_accepts_what_the_reader_accepts(data: object) -> None:
    jsonschema.validate(data, describe.json_schema())
    schema.loads(json.dumps(data))


@settings(max_examples=80)
@given(st.text(max_size=60) | st.text('{}[]":,0123aversion \n\\', max_size=60))
def test_no_text_does_anything_but_an_error(text: str) -> None:
    try:
        config = schema.loads(text)
    except InvalidInput:
        return
    assert config == Config()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(0.5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(json_values, st.sampled_from(["devices", "targets", "id", "luns"]))
def test_no_document_does_anything_but_an_error(value: object, place: str) -> None:
    device = {"size": 512, "id": value} if place == "id" else {"size": 512}
    document = {
        "version": 1,
        "devices": value if place == "devices" else {"nullio": {"d": device}},
        "targets": value
        if place == "targets"
        else {"local": {"t": {"luns": value} if place == "luns" else {}}},
    }
    try:
        schema.loads(json.dumps(document))
    except InvalidInput as error:
        for problem in error.problems:
            assert problem.message
            assert problem.line == 1
            assert problem.column >= 1


@settings(max_examples=80)
@given(json_values)
def test_every_value_is_located(value: object) -> None:
    text = json.dumps(value, indent=1)
    paths: list[tuple[tuple[str | int, ...], object]] = []

    def walk(node: object, path: tuple[str | int, ...]) -> None:
        paths.append((path, node))
        if isinstance(node, dict):
            for key, inner in node.items():
                walk(inner, (*path, key))
        elif isinstance(node, list):
            for index, inner in enumerate(node):
                walk(inner, (*path, index))

    walk(value, ())
    places = locate(text, [path for path, _ in paths])
    for path, node in paths:
        found, _ = json.JSONDecoder().raw_decode(text, places.values[path])
        assert found == node
        line, column = places.line_column(places.values[path])
        assert text.split("\n")[line - 1][column - 1 :].startswith(text[places.values[path]])


def test_dotted() -> None:
    assert dotted(("targets", "local", "t", "hosts", 0)) == "targets.local.t.hosts[0]"
