# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are one and the same, to initiators or to the disk below."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config import schema
from pyscstadmin.config.identity import same_backing, same_identities, unrecognisable
from pyscstadmin.config.model import Config, Device, Identity
from pyscstadmin.config.settings import DRIVERS, Driver, rows
from pyscstadmin.errors import InvalidInput, OperationError
from pyscstadmin.kernel.backing import identify
from pyscstadmin.sim.tree import SimTree

MIB = 1 << 20
NAA = "5000c500a1b2c3d4"

identities = st.builds(
    Identity,
    serial=st.sampled_from(["S1", "s1", "S2", "S3", "S4"]),
    naa=st.sampled_from([NAA, NAA.upper(), "3" * 16, "2" * 16, "6" + "A" * 31]),
    eui64=st.sampled_from(["", "", "00a0b00000000001", "00A0B00000000001"]),
)
some_devices = st.lists(st.tuples(identities, st.booleans()), min_size=1, max_size=4).map(
    lambda given: tuple(Device(f"d{i}", "nullio", on, size=MIB, id=one) for i, (one, on) in enumerate(given))
)


def enabled_together(devices: tuple[Device, ...]) -> bool:
    """Whether the kernel takes them, as the simulation answers."""
    tree = SimTree()
    for device in devices:
        path = f"devices/nullio/{device.name}"
        tree.mkdir(path)
        tree.write(f"{path}/size", str(device.size))
        for part in ("serial", "naa", "eui64"):
            tree.write(f"{path}/id/{part}", getattr(device.id, part))
    try:
        for device in devices:
            if device.enabled:
                tree.write(f"devices/nullio/{device.name}/enabled", "1")
    except OperationError:
        return False
    return True


@settings(max_examples=200, deadline=None)
@given(some_devices)
def test_a_file_is_refused_if_the_kernel_would_refuse(devices: tuple[Device, ...]) -> None:
    taken = enabled_together(devices)
    assert taken == (not list(same_identities(devices)))
    try:
        config = schema.loads(schema.dumps(Config(devices)))
    except InvalidInput as error:
        assert not taken
        for problem in error.problems:
            assert "has the same" in problem.message
    else:
        assert taken
        assert config.devices == devices


def problems(document: object) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        schema.loads(json.dumps(document, indent=1))
    return [problem.text("f") for problem in caught.value.problems]


def test_both_names_are_said() -> None:
    devices = {
        "fileio": {"da": {"path": "/a", "id": {"naa": NAA.upper(), "serial": "S"}}},
        "nullio": {"db": {"size": 512, "id": {"naa": NAA, "serial": "S"}}},
    }
    said = problems({"version": 1, "devices": devices})
    assert len(said) == 2
    for part, line in zip(("naa", "serial"), said, strict=True):
        assert f"devices.nullio.db.id.{part}: device 'da' has the same {part}" in line


def remote(**luns: object) -> dict[str, object]:
    return {
        "version": 1,
        "devices": {"nullio": {"d": {"size": 512, **luns}}},
        "targets": {"remote": {"t": {"groups": {"g": {"luns": {"0": {"device": "d"}}}}}}},
    }


@pytest.mark.parametrize(
    ("given_parts", "missing"),
    [
        ({}, '"naa" and "serial"'),
        ({"naa": NAA}, '"serial"'),
        ({"serial": "S"}, '"naa"'),
        ({"naa": NAA, "serial": "S"}, ""),
    ],
)
def test_remote_initiators_need_an_identity(
    monkeypatch: pytest.MonkeyPatch, given_parts: dict[str, str], missing: str
) -> None:
    monkeypatch.setitem(DRIVERS, "remote", Driver("scst_remote", rows()))
    document = remote(id=given_parts)
    if not missing:
        schema.loads(json.dumps(document))
        return
    (said,) = problems(document)
    assert f"devices.nullio.d: needs {missing} in its" in said
    assert "LUN of remote/t" in said
    assert "scstadmin save" in said
    local = {**document, "targets": {"local": document["targets"]["remote"]}}  # type: ignore[index]
    config = schema.loads(json.dumps(local))
    assert list(unrecognisable(config)) == []


def test_same_backing() -> None:
    devices = (
        Device("a", "fileio", path="/x"),
        Device("b", "fileio", path="/y"),
        Device("c", "blockio", path="/x"),
        Device("d", "fileio", path="/x", read_only=True),
        Device("e", "fileio", False, path="/x"),
        Device("f", "nullio", size=512),
        Device("g", "fileio", path="/z"),
    )
    same = {"/x": 1, "/y": 2, "/z": 2}
    found = [(one.name, two.name) for one, two in same_backing(devices, same.__getitem__)]
    assert found == [("a", "c"), ("b", "g")]


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.booleans()), max_size=6))
def test_only_those_that_write_count(given_paths: list[tuple[str, bool]]) -> None:
    devices = [
        Device(f"d{i}", "fileio", path=path, read_only=only) for i, (path, only) in enumerate(given_paths)
    ]
    writers = [device.path for device in devices if not device.read_only]
    found = list(same_backing(devices, str))
    assert len(found) == len(writers) - len(set(writers))
    assert all(one.path == two.path and not two.read_only for one, two in found)


def test_paths_of_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.img"
    file.touch()
    (tmp_path / "link").symlink_to(file)
    os.link(file, tmp_path / "hard")
    (tmp_path / "other").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    assert len({identify(f"{tmp_path}/{name}") for name in ("a.img", "link", "hard", "./a.img")}) == 1
    assert len({identify(f"{tmp_path}/{name}") for name in ("a.img", "other", "nothing")}) == 3
    assert identify(f"{tmp_path}/dangling") == identify(f"{tmp_path}/nothing")


def test_a_loop_device_is_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.img"
    file.touch()
    here = os.stat(tmp_path)
    real = os.stat

    def faked(path: str) -> os.stat_result:
        if str(path).endswith("loop7"):
            return os.stat_result((stat.S_IFBLK, *here[1:10]), {"st_rdev": os.makedev(7, 7)})
        return real(path)

    facts = tmp_path / "block/7:7/loop"
    monkeypatch.setattr(os, "stat", faked)
    node = f"{tmp_path}/loop7"
    assert identify(node, str(tmp_path / "block")) == os.makedev(7, 7)
    facts.mkdir(parents=True)
    (facts / "backing_file").write_text(f"{file}\n")
    assert identify(node, str(tmp_path / "block")) == identify(str(file))
    (facts / "backing_file").write_text(f"{node}\n")  # no end of it
    assert identify(node, str(tmp_path / "block")) == os.makedev(7, 7)
