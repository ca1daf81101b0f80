# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of settings: each type in all its dresses, and that a new row is all a new setting needs."""

from __future__ import annotations

import errno
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.admin import Admin
from pyscstadmin.cli import describe
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Target
from pyscstadmin.config.names import Fault
from pyscstadmin.config.ports import Port
from pyscstadmin.config.settings import (
    DEVICE,
    DRIVERS,
    GROUP,
    HANDLERS,
    IDENTITY,
    LUN,
    REL_TGT_ID,
    ROOT,
    TARGET,
    Driver,
    Handler,
    Number,
    Ports,
    Setting,
    Text,
    Values,
    rows,
)
from pyscstadmin.errors import ApplyFailed, InvalidInput
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from pyscstadmin.sim.tree import SimTree

TABLES = [ROOT, DEVICE, TARGET, GROUP, LUN, IDENTITY, rows(REL_TGT_ID)]
TABLES += [handler.settings for handler in HANDLERS.values()]
TABLES += [driver.settings for driver in DRIVERS.values()]
ALL = {id(row): row for table in TABLES for row in table.values()}.values()

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["0", "1", "yes", "No", "auto", "512", "4k", "0x10", "/a", "naa.5000c500a1b2c3d4", "-1"]),
    st.integers(-(2**70), 2**70).map(str),
)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_every_row_says_what_it_is(row: Setting) -> None:
    assert row.help
    assert row.help[0].islower() or row.help.split()[0].isupper()
    assert row.type.words
    if row.name not in (*IDENTITY, "rel_tgt_id"):  # left out, these are what the kernel makes them
        assert row.type.refuse(row.default) == ""


@settings(max_examples=300, deadline=None)
@given(row=st.sampled_from(list(ALL)), text=texts)
def test_what_is_typed_is_a_value_or_an_error(row: Setting, text: str) -> None:
    try:
        value = row.type.parse(text)
    except ValueError:
        return
    kind = row.type
    assert kind.refuse(value) == ""
    assert kind.meant(value) == value
    assert kind.parse(kind.to_text(value)) == value
    assert kind.from_kernel(kind.to_kernel(value)) == value
    # What people may write, the kernel takes.
    assert kind.store(kind.to_kernel(value)) == value
    jsonschema.validate(value, kind.schema())


@settings(max_examples=300, deadline=None)
@given(
    row=st.sampled_from(list(ALL)),
    value=st.one_of(texts, st.integers(), st.booleans(), st.none(), st.floats()),
)
def test_values_of_programs(row: Setting, value: object) -> None:
    """The table and the schema made from it agree on what is a value, and the table says why not."""
    refused = bool(row.type.refuse(value))
    valid = jsonschema.Draft202012Validator(row.type.schema()).is_valid(value)
    if isinstance(value, float) or (refused and isinstance(value, str)):
        return  # to JSON, 1.0 is a whole number; and a pattern does not say all that a check does
    assert refused != valid


@settings(max_examples=300, deadline=None)
@given(row=st.sampled_from(list(ALL)), text=texts)
def test_what_the_kernel_takes_reads_back(row: Setting, text: str) -> None:
    value = row.type.store(text)
    if not isinstance(value, Fault):
        assert row.type.from_kernel(row.type.to_kernel(value)) == value


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> str:
    """A handler that there is not, with a setting that nobody else has."""
    own = (
        Setting("size", Number(unit="bytes"), 0, "bytes", required=True),
        Setting("read_only", next(iter(LUN.values())).type, False, "nobody can write"),
        Setting("block_size", Number(), 0, "bytes"),
        Setting("spin", Number(1, 9), 5, "how fast it turns", live=True),
    )
    monkeypatch.setitem(HANDLERS, "drum", Handler("scst_drum", rows(*own), backed=False))
    return "drum"


def test_a_new_setting_is_a_row(handler: str) -> None:
    tree = SimTree()
    admin = Admin(tree=tree)
    device = Device("d", handler, size=512, spin=7)
    # Programs, files, the schema of files, the tree.
    document: dict[str, Any] = {
        "version": 1,
        "devices": {handler: {"d": {"size": 512, "spin": 7}}},
        "targets": {},
    }
    assert schema.to_data(Config((device,))) == document
    assert schema.loads(schema.dumps(Config((device,)))) == Config((device,))
    jsonschema.validate(document, describe.json_schema())
    document["devices"][handler]["d"]["spin"] = 10
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, describe.json_schema())
    admin.create_device(device)
    assert tree.read(f"devices/{handler}/d/spin") == "7"
    # A change while it serves.
    admin.apply(Config(admin.config().devices, (Target("local", "t"),)))
    admin.map("t", 0, "d")
    outcome = admin.change_device("d", spin=9)
    assert [step.text for step in outcome.done] == [f"change spin of device {handler}/d"]
    assert admin.config().devices[0].settings["spin"] == 9
    for wrong in (0, 10, "9", None):
        with pytest.raises(InvalidInput, match="spin"):
            admin.change_device("d", spin=wrong)
    # The shell, and what it completes.
    lines: list[str] = []
    shell = Shell(Session(admin, lines.append))
    assert shell.execute(f"/devices/{handler}/d set spin=1") is None
    assert shell.execute(f"/devices/{handler}/d get spin") is None
    assert lines == ["spin=1"]
    assert shell.complete(f"/devices/{handler}/d set spi") == ["spin="]
    assert shell.execute(f"/devices/{handler} create e 1M spin=4") is None
    failure = shell.execute(f"/devices/{handler}/d set spin=11")
    assert failure is not None
    assert failure.message == "spin: '11' must be 1-9"


def test_values_know_their_table() -> None:
    table = HANDLERS["nullio"].settings
    with pytest.raises(InvalidInput, match="no setting sise; did you mean 'size'"):
        Device("d", "nullio", sise=512)
    with pytest.raises(InvalidInput, match="no handler 'nullo'; did you mean 'nullio'"):
        Device("d", "nullo")
    with pytest.raises(InvalidInput, match="no target driver"):
        Target("locale", "t")
    with pytest.raises(InvalidInput, match="size: True must be a whole number"):
        Device("d", "nullio", size=True)
    values = Values(table, {"size": 512})
    assert dict(values.chosen()) == {"size": 512}
    assert values.but(size=0) == Values(table, {})
    assert hash(values.but(size=0)) == hash(Values(table, {}))
    assert not hasattr(Device("d", "nullio"), "o_direct")


def test_secrets_are_not_shown() -> None:
    table = rows(Setting("word", next(iter(IDENTITY.values())).type, "", "what only two know", secret=True))
    values = Values(table, {"word": "hush"})
    assert "hush" not in repr(values)
    with pytest.raises(InvalidInput) as caught:
        Values(table, {"word": "much too long a word"})
    assert "much" not in str(caught.value)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> str:
    """A driver that there is not, of hardware whose names are numbers, with a setting that nobody has."""

    def check(text: str) -> Fault | None:
        return None if text.isdecimal() and text.isascii() else Fault(errno.EINVAL, "must be a slot's number")

    number = Text(
        check, "the number of a slot", "^0*[0-9]+$", canonical=lambda text: text.lstrip("0") or text
    )
    own = rows(Setting("spin", Number(1, 9), 5, "how fast it turns", live=True))
    ports = Ports("drum", (), {errno.EBUSY: "slot {digits} turns already"}, "look into the slot")
    monkeypatch.setitem(DRIVERS, "drum", Driver("scst_drum", own, name=number, ports=ports))
    return "drum"


def test_a_new_driver_is_a_row(driver: str) -> None:
    tree = SimTree()
    admin = Admin(tree=tree)
    # Programs, files, the schema of files, the tree: one name.
    assert Target(driver, "007", spin=7) == Target(driver, "7", spin=7)
    document: dict[str, Any] = {"version": 1, "devices": {}, "targets": {driver: {"007": {"spin": 7}}}}
    jsonschema.validate(document, describe.json_schema())
    config = schema.loads(json.dumps(document))
    assert schema.to_data(config)["targets"] == {driver: {"7": {"spin": 7}}}
    document["targets"][driver] = {"x": {}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, describe.json_schema())
    with pytest.raises(InvalidInput, match="name 'x' must be a slot's number"):
        schema.loads(json.dumps(document))
    # It waits for its hardware, and a refusal says why.
    assert admin.apply(config).waiting == (f"{driver}/7",)
    assert tree.read(f"targets/{driver}/7/spin") == "7"
    tree.plug(Port(driver, "7"))
    tree.plug(Port(driver, "8", holder="somebody"))
    assert admin.apply(config).waiting == ()
    with pytest.raises(ApplyFailed, match="slot 8 turns already"):
        admin.create_target(Target(driver, "08"))
    assert [(use.name, use.remark) for use in admin.ports()] == [
        ("7", ""),
        ("8", "targets are refused: somebody has it"),
    ]
    # The shell, and what it completes.
    lines: list[str] = []
    shell = Shell(Session(admin, lines.append))
    assert shell.execute(f"/targets/{driver}/0007 set spin=1") is None
    assert shell.execute(f"/targets/{driver}/7 get spin") is None
    assert lines == ["spin=1"]
    assert shell.complete(f"/targets/{driver} create 8") == ["8 "]
    assert shell.complete(f"/targets/{driver}/7 set sp") == ["spin="]
