# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected on purpose: what each attribute takes and shows, and when; and the methods."""

from __future__ import annotations

import errno

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.faultpoints import FAULT, FAULTS_MAX
from pyscstadmin.errors import Conflict, InvalidInput, OperationError
from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import FALSE, NOT_BOOLEAN, NOT_NUMBER, TOO_LARGE, TRUE, refused

F = "faults/f"
NUMBERS = {
    "delay_ms": (1, 600_000),
    "probability": (1, 1000),
    "seed": (0, 2**64 - 1),
    "count": (0, 2**32 - 1),
}
# What is written, and what is shown then.
GOOD = {
    "target": {"*": "*", "local/t1": "local/t1", "d/iqn.x:y+@,z": "d/iqn.x:y+@,z"},
    "group": {"*": "*", "-": "-", "any": "any", "g" * 64: "g" * 64},
    "lun": {"*": "*", "0": "0", "16383": "16383", "0x10": "16", "007": "7"},
    "commands": {"all": "all", "reads": "reads", "writes": "writes", "0x2A": "0x2a", "0X0": "0x00"},
    "action": {name: name for name in ("drop", "delay", "busy", "task_set_full", "sense")},
    "sense": {"3/11/00": "3/11/00", "b/4B/0": "b/4b/00", "2/4/1": "2/04/01"},
}
WRONG = {
    "target": {
        "": errno.EINVAL,
        "t1": errno.EINVAL,
        "a/b/c": errno.EINVAL,
        "/t": errno.EINVAL,
        "d/": errno.EINVAL,
    }
    | {
        f"{'d' * 65}/t": errno.ENAMETOOLONG,
        f"d/{'t' * 224}": errno.ENAMETOOLONG,
        "t" * 289: errno.ENAMETOOLONG,
    },
    "group": {
        "": errno.EINVAL,
        "a b": errno.EINVAL,
        ".": errno.EINVAL,
        "--": errno.EINVAL,
        "g" * 65: errno.ENAMETOOLONG,
    },
    "lun": {
        "": errno.EINVAL,
        "any": errno.EINVAL,
        "-1": errno.EINVAL,
        "**": errno.EINVAL,
        "16384": errno.ERANGE,
    },
    "commands": {
        "": errno.EINVAL,
        "28": errno.EINVAL,
        "0x": errno.EINVAL,
        "0x100": errno.ERANGE,
        "ALL": errno.EINVAL,
    },
    "action": {"": errno.EINVAL, "Drop": errno.EINVAL, "drop_data": errno.EINVAL},
    "sense": {"": errno.EINVAL, "3/11": errno.EINVAL, "3/11/000": errno.EINVAL, "g/11/00": errno.EINVAL}
    | {"33/1/0": errno.EINVAL, "3//00": errno.EINVAL, "3/11/00 ": errno.EINVAL}
    | {"0/00/00": errno.ERANGE, "1/17/01": errno.ERANGE, "F/00/00": errno.ERANGE},
}


@pytest.fixture
def fault(tree: Tree) -> str:
    tree.mkdir(F)
    return F


def test_defaults(tree: Tree, fault: str) -> None:
    """As the table has them; nothing is in force."""
    assert set(tree.list(F)) == {*FAULT, "hits"}
    for name, row in FAULT.items():
        assert tree.read(f"{F}/{name}") == row.type.to_kernel(row.default)
    assert tree.read(f"{F}/hits") == "0"
    tree.rmdir(F)
    assert tree.list("faults") == []


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(tree: Tree, fault: str, name: str) -> None:
    path, (least, most) = f"{F}/{name}", NUMBERS[name]
    for text in (str(least), str(most), hex(most)):
        tree.write(path, text)
        assert tree.read(path) == str(int(text, 0))
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    for text in (str(most + 1), TOO_LARGE, *(["0"] if least else [])):
        with refused(errno.ERANGE):
            tree.write(path, text)
    assert tree.read(path) == str(most)


@pytest.mark.parametrize("name", GOOD)
def test_texts(tree: Tree, fault: str, name: str) -> None:
    path = f"{F}/{name}"
    for text, shown in GOOD[name].items():
        tree.write(path, text)
        assert tree.read(path) == shown
    last = tree.read(path)
    for text, number in WRONG[name].items():
        with refused(number):
            tree.write(path, text)
        assert tree.read(path) == last


def test_in_force(tree: Tree, fault: str) -> None:
    """Nothing is changed meanwhile; `hits` never. It can be removed as it is."""
    for on, off in zip(TRUE, FALSE, strict=True):
        tree.write(f"{F}/enabled", on)
        assert tree.read(f"{F}/enabled") == "1"
        tree.write(f"{F}/enabled", on)
        for name in FAULT:
            if name != "enabled":
                with refused(errno.EBUSY):
                    tree.write(f"{F}/{name}", tree.read(f"{F}/{name}"))
        tree.write(f"{F}/enabled", off)
        assert tree.read(f"{F}/enabled") == "0"
        tree.write(f"{F}/lun", "3")
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(f"{F}/enabled", text)
    with refused(errno.EACCES, errno.EPERM):
        tree.write(f"{F}/hits", "0")
    tree.write(f"{F}/enabled", "1")
    tree.rmdir(F)


def test_names(tree: Tree) -> None:
    for name, number in ((".x", errno.EINVAL), ("a b", errno.EINVAL), ("f" * 65, errno.ENAMETOOLONG)):
        with refused(number):
            tree.mkdir(f"faults/{name}")
    tree.mkdir(F)
    with refused(errno.EEXIST):
        tree.mkdir(F)


def test_only_so_many(tree: Tree) -> None:
    for number in range(FAULTS_MAX + 1):
        tree.mkdir(f"faults/f{number}")
        if number < FAULTS_MAX:
            tree.write(f"faults/f{number}/enabled", "1")
    with refused(errno.ENOSPC):
        tree.write(f"faults/f{FAULTS_MAX}/enabled", "1")
    tree.rmdir("faults/f3")
    tree.write(f"faults/f{FAULTS_MAX}/enabled", "1")


# --- the methods ---


def test_made_changed_and_removed(admin: Admin) -> None:
    admin.create_fault("f", action="sense", sense="B/4b/0", lun="0x3", enabled=True)
    found = admin.fault("f")
    assert (found.settings["sense"], found.settings["lun"], found.enabled) == ("b/4b/00", "3", True)
    assert not admin.change_fault("f", lun="3")
    assert admin.change_fault("f", action="drop", count=7)
    found = admin.fault("f")
    assert (found.settings["action"], found.settings["count"], found.enabled) == ("drop", 7, True)
    assert admin.change_fault("f", enabled=False)
    assert [fault.enabled for fault in admin.faults()] == [False]
    with pytest.raises(Conflict):
        admin.create_fault("f")
    admin.remove_fault("f")
    assert admin.faults() == []
    for call in (admin.remove_fault, admin.fault, admin.change_fault):
        with pytest.raises(Conflict, match="no fault f"):
            call("f")
    for wrong in ({"action": "explode"}, {"probability": 0}, {"target": ""}, {"what": 1}):
        with pytest.raises(InvalidInput):
            admin.create_fault("g", **wrong)
    assert admin.faults() == []


def test_all_or_nothing(admin: Admin) -> None:
    """One too many in force: it is not made, or stays as it was."""
    for number in range(FAULTS_MAX):
        admin.create_fault(f"f{number}", enabled=True)
    with pytest.raises(OperationError):
        admin.create_fault("more", enabled=True)
    assert len(admin.faults()) == FAULTS_MAX
    admin.create_fault("more")
    with pytest.raises(OperationError):
        admin.change_fault("more", lun="5", enabled=True)
    assert admin.fault("more").settings["lun"] == "*"


def test_no_part_of_the_configuration(admin: Admin) -> None:
    """What makes the tree what a file says leaves it."""
    before = admin.config()
    admin.create_fault("f", enabled=True)
    assert admin.config() == before
    admin.clear()
    assert admin.fault("f").enabled
