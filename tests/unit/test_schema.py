# SPDX-License-Identifier: GPL-2.0-or-later
"""The file format: round trips, canonical text, the published JSON Schema."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.cli import describe
from pyscstadmin.config import schema
from pyscstadmin.config.layout import DRIVERS, HANDLERS
from pyscstadmin.config.locate import dotted, locate
from pyscstadmin.config.model import Config, Device, Identity, Lun, Target
from pyscstadmin.errors import InvalidInput
from pyscstadmin.store.load import load_file
from tests.unit.strategies import configs

PUBLISHED = Path(schema.__file__).with_name("schema.json")
VALIDATOR = jsonschema.Draft202012Validator(describe.json_schema())
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
    devices = (Device(name, "nullio", size=512, id=Identity(serial=serial)) for name in ("d", "e"))
    config = Config(tuple(devices))
    assert schema.loads(schema.dumps(config)) == config
    assert schema.dumps(config).count("{ " + json.dumps("serial")) == 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text('[]{} ",:\\a1', min_size=1, max_size=16), min_size=1, max_size=3))
def test_texts_with_the_signs_of_json_survive(texts: list[str]) -> None:
    devices = [
        Device(f"d{number}", "fileio", path=f"/{text}", id=Identity(product=text, serial=text))
        for number, text in enumerate(texts)
    ]
    config = Config(tuple(devices))
    assert schema.loads(schema.dumps(config)) == config


def test_numbers_without_device_are_left_out() -> None:
    config = Config((), (Target("local", "t", luns=(Lun(0, ""),)),))
    assert schema.loads(schema.dumps(config)) == Config((), (Target("local", "t"),))


def test_every_setting_is_a_field_of_the_model() -> None:
    devices, targets = ({f.name for f in fields(kind)} for kind in (Device, Target))
    for handler in HANDLERS.values():
        assert {setting.name for setting in handler.settings} <= devices
        assert handler.required in {setting.name for setting in handler.settings}
    for driver in DRIVERS.values():
        assert {setting.name for setting in driver.settings} <= targets


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
