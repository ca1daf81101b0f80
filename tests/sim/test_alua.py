# SPDX-License-Identifier: GPL-2.0-or-later
"""Device groups and target port groups: what may be made where, what each attribute takes, what refuses."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import alua_edits
from pyscstadmin.config.model import Config, Device, DeviceGroup, Lun, PortGroup, Target
from pyscstadmin.config.names import PORT_GROUPS_MAX, PORT_STATES, PORTS_MAX
from pyscstadmin.config.schema import dumps, loads
from pyscstadmin.errors import Conflict, InvalidInput
from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import (
    FALSE,
    INITIATOR,
    NOT_BOOLEAN,
    NOT_NUMBER,
    TOO_LARGE,
    TRUE,
    Names,
    null_device,
    refused,
)

GROUP = "alua/dg"
TPG = f"{GROUP}/target_port_groups/a"
PORT = f"{TPG}/ports/p"


@pytest.fixture
def group(tree: Tree, names: Names) -> str:
    """A device group with the usual device, and a target port group with the usual target."""
    for path in (GROUP, f"{GROUP}/devices/n0", TPG, PORT):
        tree.mkdir(path)
    tree.symlink(names.device, f"{GROUP}/devices/n0/device")
    tree.symlink(names.target, f"{PORT}/target")
    return GROUP


def test_defaults(tree: Tree, group: str) -> None:
    assert (tree.read(f"{GROUP}/explicit"), tree.read(f"{GROUP}/transition_time")) == ("0", "0")
    assert tree.read(f"{TPG}/group_id") == "1"
    assert tree.read(f"{TPG}/state") == "active/optimized"
    assert tree.read(f"{TPG}/preferred") == "0"
    assert set(tree.list(GROUP)) == {
        "devices",
        "target_port_groups",
        "explicit",
        "transition_time",
        "ask_ms",
        "question",
        "accept",
        "refuse",
    }
    assert set(tree.list(TPG)) == {"ports", "group_id", "state", "preferred"}


def test_question_that_is_not_open(tree: Tree, group: str) -> None:
    """An answer to it is ESTALE, one that is no number wrong."""
    tree.write(f"{GROUP}/ask_ms", "1000")
    assert tree.read(f"{GROUP}/question") == ""
    for name in ("accept", "refuse"):
        path = f"{GROUP}/{name}"
        for number in ("0", "1", str(2**64 - 1)):
            with refused(errno.ESTALE):
                tree.write(path, number)
        for text in (*NOT_NUMBER, TOO_LARGE):
            with refused(errno.ERANGE if text == TOO_LARGE else errno.EINVAL):
                tree.write(path, text)
        with refused(errno.EACCES):
            tree.read(path)


@pytest.mark.parametrize("path", [f"{GROUP}/explicit", f"{TPG}/preferred"])
def test_booleans(tree: Tree, group: str, path: str) -> None:
    for text in TRUE:
        tree.write(path, text)
        assert tree.read(path) == "1"
    for text in FALSE:
        tree.write(path, text)
        assert tree.read(path) == "0"
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(path, text)


@pytest.mark.parametrize(
    ("path", "low", "high"),
    [
        (f"{GROUP}/transition_time", 0, 255),
        (f"{GROUP}/ask_ms", 0, 60000),
        (f"{TPG}/group_id", 1, 65535),
        (f"{TPG}/ports/q/rel_tgt_id", 0, 65535),
    ],
)
def test_numbers(tree: Tree, group: str, path: str, low: int, high: int) -> None:
    tree.mkdir(f"{TPG}/ports/q")
    for number in (high, 7, low if low else 8):
        tree.write(path, str(number))
        assert tree.read(path) == str(number)
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    for text in (str(high + 1), TOO_LARGE, *(["0"] if low else [])):
        with refused(errno.ERANGE):
            tree.write(path, text)


def test_states(tree: Tree, group: str) -> None:
    for state in PORT_STATES:
        tree.write(f"{TPG}/state", state)
        assert tree.read(f"{TPG}/state") == state
    for text in ("", "active", "ACTIVE/OPTIMIZED", " standby", "standby ", "0", "lba-dependent", "\x00"):
        with refused(errno.EINVAL):
            tree.write(f"{TPG}/state", text)


def test_names(tree: Tree, group: str) -> None:
    folders = ("alua", f"{GROUP}/devices", f"{GROUP}/target_port_groups", f"{TPG}/ports")
    for folder in folders:
        for name in (".hidden", "-x", "a b", "ä", "a*"):
            with refused(errno.EINVAL):
                tree.mkdir(f"{folder}/{name}")
        tree.mkdir(f"{folder}/A-z0.9_:")
        with refused(errno.EEXIST):
            tree.mkdir(f"{folder}/A-z0.9_:")
    for folder, longest in zip(folders, (64, 64, 64, 240), strict=True):
        tree.mkdir(f"{folder}/{'x' * longest}")
        with refused(errno.ENAMETOOLONG):
            tree.mkdir(f"{folder}/{'x' * (longest + 1)}")
    for folder in (GROUP, f"{GROUP}/devices/n0", TPG, PORT):
        with refused(errno.EPERM):
            tree.mkdir(f"{folder}/more")
    for folder in folders[1:]:
        with refused(errno.EPERM):
            tree.rmdir(folder)


def test_links(tree: Tree, names: Names, group: str) -> None:
    """What may be linked where, and what is there twice."""
    null_device(tree, "n1")
    tree.mkdir("alua/other")
    tree.mkdir("alua/other/devices/x")
    tree.mkdir(f"{TPG}/ports/q")
    for place in ("alua", GROUP, f"{GROUP}/devices", TPG, f"{TPG}/ports"):
        with refused(errno.EPERM):
            tree.symlink(names.device, f"{place}/device")
    with refused(errno.EINVAL):
        tree.symlink(names.target, "alua/other/devices/x/device")
    with refused(errno.EINVAL):
        tree.symlink(names.device, f"{TPG}/ports/q/target")
    with refused(errno.EEXIST):
        tree.symlink(names.device, "alua/other/devices/x/device")
    with refused(errno.EEXIST):
        tree.symlink(names.target, f"{TPG}/ports/q/target")
    for path in (f"{GROUP}/devices/n0/second", f"{PORT}/second"):
        with refused(errno.EEXIST):
            tree.symlink("devices/nullio/n1" if "devices/" in path else names.target, path)
    tree.symlink("devices/nullio/n1", "alua/other/devices/x/device")
    assert tree.readlink("alua/other/devices/x/device").endswith("devices/nullio/n1")


def test_numbers_of_ports(tree: Tree, names: Names, group: str) -> None:
    """A number is that of one port of the device group, and that of a target is the target's."""
    number = tree.read(f"{names.target}/rel_tgt_id")
    assert tree.read(f"{PORT}/rel_tgt_id") == number
    with refused(errno.EBUSY):
        tree.write(f"{PORT}/rel_tgt_id", "9")
    tree.mkdir(f"{TPG}/ports/q")
    assert tree.read(f"{TPG}/ports/q/rel_tgt_id") == "0"
    with refused(errno.EEXIST):
        tree.write(f"{TPG}/ports/q/rel_tgt_id", number)
    tree.write(f"{TPG}/ports/q/rel_tgt_id", "1000")
    with refused(errno.EBUSY):
        tree.symlink(names.target, f"{TPG}/ports/q/target")
    with refused(errno.EEXIST):
        tree.write(f"{names.target}/rel_tgt_id", "1000")
    tree.write(f"{names.target}/rel_tgt_id", "1001")
    assert tree.read(f"{PORT}/rel_tgt_id") == "1001"
    tree.mkdir("alua/other")
    tree.mkdir("alua/other/target_port_groups/a")
    tree.mkdir("alua/other/target_port_groups/a/ports/q")
    tree.write("alua/other/target_port_groups/a/ports/q/rel_tgt_id", "1000")


def test_identifiers_of_groups(tree: Tree, group: str) -> None:
    folder = f"{GROUP}/target_port_groups"
    tree.mkdir(f"{folder}/b")
    assert tree.read(f"{folder}/b/group_id") == "2"
    with refused(errno.EEXIST):
        tree.write(f"{folder}/b/group_id", "1")
    tree.write(f"{folder}/b/group_id", "2")
    tree.write(f"{TPG}/group_id", "5")
    tree.mkdir(f"{folder}/c")
    assert tree.read(f"{folder}/c/group_id") == "1"


def test_how_many(tree: Tree, group: str) -> None:
    for number in range(PORT_GROUPS_MAX - 1):
        tree.mkdir(f"{GROUP}/target_port_groups/g{number}")
    with refused(errno.ENOSPC):
        tree.mkdir(f"{GROUP}/target_port_groups/more")
    for number in range(PORTS_MAX - 1):
        tree.mkdir(f"{TPG}/ports/p{number}")
    with refused(errno.ENOSPC):
        tree.mkdir(f"{TPG}/ports/more")


def test_removal(tree: Tree, names: Names, group: str) -> None:
    for path in (GROUP, TPG, PORT, f"{GROUP}/devices/n0"):
        with refused(errno.ENOTEMPTY):
            tree.rmdir(path)
    for path in (f"{names.lun}/device", f"{GROUP}/devices/n0/device"):
        with refused(errno.EBUSY):
            tree.rmdir(names.device)
        tree.unlink(path)
    for path in (names.lun, f"{names.group}/initiators/{INITIATOR}", names.group):
        tree.rmdir(path)
    with refused(errno.EBUSY):
        tree.rmdir(names.target)
    tree.unlink(f"{PORT}/target")
    for path in (names.target, names.device, PORT, TPG, f"{GROUP}/devices/n0", GROUP):
        tree.rmdir(path)


def test_generation_stays(tree: Tree, group: str) -> None:
    """It is about access. Nothing of device groups is staged."""
    before = tree.read("generation")
    tree.write("autocommit", "0")
    tree.write(f"{TPG}/state", "standby")
    assert (tree.read("generation"), tree.read("staged")) == (before, "0")
    tree.write("autocommit", "1")


# What scstadmin makes of it.

MIB = 1 << 20


def config(*groups: PortGroup, devices: tuple[str, ...] = ("n0",), **own: Any) -> Config:
    """Two devices that are LUNs of two targets, and a device group."""
    made = (Device("n0", "nullio", size=MIB), Device("n1", "nullio", size=MIB))
    luns = (Lun(0, "n0"), Lun(1, "n1"))
    targets = tuple(Target("local", f"t{number}", rel_tgt_id=number, luns=luns) for number in (1, 2))
    return Config(made, targets, (DeviceGroup("dg", devices, groups, **own),))


PAIR = (
    PortGroup("a", 10, "active/optimized", ("local/t1",), preferred=True),
    PortGroup("b", 20, "standby", ("local/t2",), (77, 78)),
)


def test_apply_save_and_apply(admin: Admin) -> None:
    wanted = config(*PAIR, explicit=True, transition_time=60)
    assert admin.apply(wanted)
    found = admin.config()
    assert found.alua == wanted.alua
    assert not admin.apply(wanted)
    assert loads(dumps(found)) == found
    assert not admin.apply(loads(dumps(found)))
    admin.clear()
    assert admin.config() == Config()


def test_what_is_left_out_stays(admin: Admin) -> None:
    """State and identifier, as the kernel, an initiator or another program has set them."""
    admin.apply(config(*PAIR))
    admin.tree.write("alua/dg/target_port_groups/b/state", "unavailable")
    admin.tree.write("alua/dg/target_port_groups/b/group_id", "30")
    assert not admin.apply(config(PAIR[0], PAIR[1].but(group_id=None, state=None)))
    outcome = admin.apply(config(PAIR[0], PAIR[1].but(group_id=None)))
    assert [step.text for step in outcome.done] == [
        "set state of target port group b of device group dg to standby"
    ]


def test_what_was_made_by_hand(admin: Admin) -> None:
    """Directories and links of other names are the same thing, and can go."""
    admin.apply(config(PAIR[0], devices=()))
    tree = admin.tree
    tree.mkdir("alua/dg/devices/some")
    tree.symlink("devices/nullio/n0", "alua/dg/devices/some/thing")
    tree.mkdir("alua/dg/devices/stray")
    tree.mkdir("alua/dg/target_port_groups/a/ports/far")
    tree.write("alua/dg/target_port_groups/a/ports/far/rel_tgt_id", "9")
    tree.mkdir("alua/dg/target_port_groups/a/ports/stray")
    tree.mkdir("alua/dg/target_port_groups/a/ports/near")
    tree.symlink("targets/local/t2", "alua/dg/target_port_groups/a/ports/near/by")
    wanted = config(PAIR[0].but(targets=("local/t1", "local/t2"), remote_ports=(9,)))
    assert admin.config().alua == wanted.alua
    assert not admin.apply(wanted)
    admin.clear()
    assert admin.config() == Config()


def test_explain_says_the_state(admin: Admin) -> None:
    admin.apply(config(*PAIR))
    devices = ["n0", "n1"]
    assert admin.port_states("local/t1", devices) == {"n0": "active/optimized"}
    assert admin.port_states("local/t2", devices) == {"n0": "standby"}


def test_single_changes(admin: Admin) -> None:
    """As the verbs make them: each is one step, and what contradicts itself changes nothing."""
    admin.apply(config())
    admin.change(alua_edits.create_port_group("dg", PortGroup("a", targets=["t1"])))
    admin.change(alua_edits.add_devices("dg", ["n1"]))
    admin.change(alua_edits.add_ports("dg", "a", ["local/t2", 77]))
    admin.change(alua_edits.change_port_group("dg", "a", {"state": "standby", "preferred": True}))
    admin.change(alua_edits.change_device_group("dg", {"explicit": True}))
    group = PortGroup("a", 1, "standby", ("local/t1", "local/t2"), (77,), preferred=True)
    assert admin.config().alua == (DeviceGroup("dg", ("n0", "n1"), (group,), explicit=True),)
    for edit in (
        alua_edits.create_device_group(DeviceGroup("dg")),
        alua_edits.create_device_group(DeviceGroup("x", ["n0"])),
        alua_edits.create_device_group(DeviceGroup("x", ["none"])),
        alua_edits.create_port_group("dg", PortGroup("a")),
        alua_edits.create_port_group("dg", PortGroup("b", targets=["t1"])),
        alua_edits.create_port_group("x", PortGroup("b")),
        alua_edits.add_ports("dg", "a", [77]),
        alua_edits.add_ports("dg", "a", ["none"]),
        alua_edits.remove_ports("dg", "a", [78]),
        alua_edits.remove_devices("dg", ["n2"]),
        alua_edits.remove_port_group("dg", "b"),
        alua_edits.remove_device_group("x"),
    ):
        with pytest.raises(Conflict):
            admin.change(edit)
    admin.change(alua_edits.remove_ports("dg", "a", ["t1", 77]))
    admin.change(alua_edits.remove_devices("dg", ["n0"]))
    assert admin.config().alua == (
        DeviceGroup("dg", ("n1",), (group.but(targets=("local/t2",), remote_ports=()),), explicit=True),
    )
    admin.change(alua_edits.remove_port_group("dg", "a"))
    admin.change(alua_edits.remove_device_group("dg"))
    assert admin.config().alua == ()


def test_renamed_device_stays_in_its_group(admin: Admin) -> None:
    admin.apply(config(*PAIR))
    admin.rename_device("n0", "new")
    assert admin.config().alua[0].devices == ("new",)


WRONG: list[tuple[dict[str, object], str]] = [
    ({"devices": ["none"]}, "there is no device 'none'"),
    ({"devices": ["n0", "n0"]}, "duplicate 'n0'"),
    ({"target_port_groups": {"a": {"targets": ["local/none"]}}}, "there is no target 'local/none'"),
    ({"target_port_groups": {"a": {"targets": ["t1"]}}}, "must be DRIVER/NAME"),
    ({"target_port_groups": {"a": {"state": "active"}}}, "must be active/optimized"),
    ({"target_port_groups": {"a": {"group_id": 0}}}, "must be 1-65535"),
    ({"target_port_groups": {"a": {"group_id": 1}, "b": {"group_id": 1}}}, "has the same"),
    ({"target_port_groups": {"a": {"remote_ports": [1]}, "b": {"targets": ["local/t1"]}}}, "is a port of"),
    (
        {"target_port_groups": {"a": {"targets": ["local/t1"]}, "b": {"targets": ["local/t1"]}}},
        "is a port of target port group 'a' already",
    ),
    ({"target_port_groups": {"a": {"remote_ports": ["1"]}}}, "must be a whole number"),
    ({"explicit": 1}, "must be true or false"),
    ({"more": 1}, "unknown key"),
]


@pytest.mark.parametrize(("group", "said"), WRONG)
def test_files_that_are_wrong(group: dict[str, object], said: str) -> None:
    data = json.loads(dumps(config()))
    data["alua"]["dg"] = group
    with pytest.raises(InvalidInput) as caught:
        loads(json.dumps(data))
    assert said in str(caught.value)
    assert "alua.dg" in str(caught.value)


def test_device_in_two_groups(admin: Admin) -> None:
    wanted = config()
    wanted = wanted.but(alua=(*wanted.alua, DeviceGroup("more", ["n0"])))
    with pytest.raises(InvalidInput, match="is in device group 'dg' already"):
        admin.apply(wanted)
