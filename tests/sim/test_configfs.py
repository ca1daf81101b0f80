# SPDX-License-Identifier: GPL-2.0-or-later
"""What configfs itself answers: things in the wrong place; removal in every order."""

from __future__ import annotations

import errno
import itertools

import pytest

from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.sim.tree import SimTree
from tests.sim.support import INITIATOR, Names, generation, null_device, refused

FIXED = (
    "devices",
    "devices/nullio",
    "targets",
    "targets/local",
    "devices/nullio/n0/id",
    "targets/local/t0/luns",
    "targets/local/t0/groups",
    "targets/local/t0/hosts",
    "targets/local/t0/groups/g0/luns",
    "targets/local/t0/groups/g0/initiators",
)
CLOSED = (
    "",
    "devices",
    "targets",
    "devices/nullio/n0",
    "devices/nullio/n0/id",
    "targets/local/t0",
    "targets/local/t0/groups/g0",
    "targets/local/t0/groups/g0/luns/0",
    f"targets/local/t0/groups/g0/initiators/{INITIATOR}",
)


@pytest.mark.parametrize("path", FIXED)
def test_default_groups_cannot_be_removed(tree: Tree, names: Names, path: str) -> None:
    with refused(errno.EPERM):
        tree.rmdir(path)


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_can_be_made_in_most_places(tree: Tree, names: Names, path: str) -> None:
    with refused(errno.EPERM):
        tree.mkdir(f"{path}/new".lstrip("/"))


@pytest.mark.parametrize("path", [*FIXED[:4], *(p for p in CLOSED if "/luns/0" not in p and p)])
def test_links_only_in_luns(tree: Tree, names: Names, path: str) -> None:
    with refused(errno.EPERM):
        tree.symlink(names.device, f"{path}/device")


@pytest.mark.parametrize(
    "path", ["devices/none", "devices/nullio/none/size", "none", "targets/local/t0/groups/x"]
)
def test_what_is_not_there(tree: Tree, names: Names, path: str) -> None:
    for operation in (
        tree.rmdir,
        tree.unlink,
        tree.read,
        tree.list,
        tree.readlink,
        lambda p: tree.mkdir(f"{p}/x"),
    ):
        with refused(errno.ENOENT):
            operation(path)
    with refused(errno.ENOENT):
        tree.write(path, "1")


def test_attributes_are_no_directories(tree: Tree, names: Names) -> None:
    path = f"{names.device}/size"
    for operation in (tree.rmdir, tree.list, lambda p: tree.mkdir(f"{p}/x")):
        with refused(errno.ENOTDIR):
            operation(path)
    with refused(errno.EPERM):
        tree.unlink(path)
    with refused(errno.EEXIST):
        tree.mkdir(path)
    with refused(errno.EINVAL):
        tree.readlink(path)


def test_directories_are_no_attributes(tree: Tree, names: Names) -> None:
    for operation in (tree.read, lambda p: tree.write(p, "1"), tree.unlink):
        with refused(errno.EISDIR):
            operation(names.device)
    with refused(errno.EINVAL):
        tree.readlink(names.device)
    with refused(errno.EEXIST):
        tree.mkdir(names.device)


def test_links_are_directories_to_follow(tree: Tree, names: Names) -> None:
    link = f"{names.lun}/device"
    assert tree.read(f"{link}/state") == "active"
    assert "size" in tree.list(link)
    with refused(errno.ENOTDIR):
        tree.rmdir(link)
    tree.unlink(link)
    with refused(errno.ENOENT):
        tree.read(f"{link}/state")


@pytest.mark.parametrize("enabled", ["0", "1"])
def test_full_directories_cannot_be_removed(tree: Tree, names: Names, enabled: str) -> None:
    tree.write(f"{names.target}/enabled", enabled)
    for path in (names.target, names.group, names.lun):
        with refused(errno.ENOTEMPTY):
            tree.rmdir(path)
    with refused(errno.EBUSY):
        tree.rmdir(names.device)
    assert tree.read(f"{names.lun}/state") == "active"


STEPS = {
    "link": lambda tree, n: tree.unlink(f"{n.lun}/device"),
    "lun": lambda tree, n: tree.rmdir(n.lun),
    "initiator": lambda tree, n: tree.rmdir(f"{n.group}/initiators/{INITIATOR}"),
    "group": lambda tree, n: tree.rmdir(n.group),
    "target": lambda tree, n: tree.rmdir(n.target),
    "device": lambda tree, n: tree.rmdir(n.device),
}
NEEDS = {
    "link": set(),
    "lun": {"link"},
    "initiator": set(),
    "group": {"lun", "initiator"},
    "target": {"group"},
    "device": {"link"},
}


@pytest.mark.parametrize("autocommit", ["1", "0"])
def test_removal_in_every_order(tree: Tree, autocommit: str) -> None:
    """720 orders: each step is refused exactly while something it needs gone is there.

    The kernel, where opening and closing devices takes time, gets every seventh; they begin with each step.
    """
    stride = 1 if isinstance(tree, SimTree) else 7
    for order in itertools.islice(itertools.permutations(STEPS), 0, None, stride):
        names = Names.make(tree)
        tree.write("autocommit", autocommit)
        _remove_in_order(tree, names, order)
        tree.write("autocommit", "1")
        assert tree.list("targets/local") == []
        assert tree.list("devices/nullio") == []


def _remove_in_order(tree: Tree, names: Names, order: tuple[str, ...]) -> None:
    gone: set[str] = set()
    for step in order:
        if NEEDS[step] <= gone:
            STEPS[step](tree, names)
            gone.add(step)
        else:
            with refused(errno.ENOTEMPTY, errno.EBUSY):
                STEPS[step](tree, names)
    for step in STEPS:
        if step not in gone:
            STEPS[step](tree, names)


def test_a_write_longer_than_a_page_is_not_taken_whole(tree: Tree, names: Names) -> None:
    tree.mkdir("devices/fileio/f")
    for name in (
        "devices/fileio/f/path",
        "devices/fileio/f/id/serial",
        f"{names.group}/priority",
        "autocommit",
    ):
        before = tree.read(name)
        with refused(errno.ENAMETOOLONG, errno.EINVAL, errno.ERANGE):
            tree.write(name, "1" * 5000)
        assert tree.read(name) == before


def test_views_are_cheap_paths(tree: Tree, names: Names) -> None:
    with tree.at(names.group) as view:
        assert view.read("priority") == "100"
        view.write("priority", "3")
        with view.at("luns") as luns:
            assert luns.list("") == ["0"]
            with refused(errno.ENOENT):
                luns.read("1/state")
    assert tree.read(f"{names.group}/priority") == "3"
    with refused(errno.ENOENT):
        tree.at("targets/local/none")


def test_errors_say_everything(tree: Tree, names: Names) -> None:
    with pytest.raises(OperationError) as caught:
        tree.write(f"{names.device}/size", "4096")
    text = str(caught.value)
    for part in ("write", "4096", f"{names.device}/size", "EBUSY", "disable"):
        assert part in text


def test_the_table_of_luns(tree: Tree) -> None:
    """What is in the directories, in one read: also what is longer than a page, and what is staged."""
    null_device(tree, "a-device-with-a-name-that-is-long")
    device = null_device(tree, "d0")
    tree.mkdir("targets/local/t")
    tree.mkdir("targets/local/t/groups/g")
    for place in ("targets/local/t", "targets/local/t/groups/g"):
        assert tree.read_all(f"{place}/lun_table") == ""
        for number in (7, 300, 2):
            tree.mkdir(f"{place}/luns/{number}")
        tree.symlink(device, f"{place}/luns/300/device")
        tree.symlink(device, f"{place}/luns/2/by-another-name")
        tree.write(f"{place}/luns/7/read_only", "1")
        assert rows(tree, place) == ["2 0 d0", "7 1 ", "300 0 d0"]
        for name, value in (("burst", "7"), ("write_bytes_per_sec", "4096"), ("read_iops", "9")):
            tree.write(f"{place}/luns/7/{name}", value)
            tree.write(f"{place}/luns/300/{name}", value)
        tree.write(f"{place}/luns/2/burst", "100")
        limits = "read_iops=9 write_bytes_per_sec=4096 burst=7"
        assert rows(tree, place) == ["2 0 d0", f"7 1  {limits}", f"300 0 d0 {limits}"]
        tree.write(f"{place}/luns/300/read_iops", "0")
        tree.write(f"{place}/luns/300/write_bytes_per_sec", "0")
        tree.write(f"{place}/luns/300/burst", "100")
        tree.unlink(f"{place}/luns/300/device")
        tree.rmdir(f"{place}/luns/7")
        assert rows(tree, place) == ["2 0 d0", "300 0 "]
        with refused(errno.EACCES):
            tree.write(f"{place}/lun_table", "1")
    tree.write("autocommit", "0")
    long = "devices/nullio/a-device-with-a-name-that-is-long"
    for number in range(400, 600):
        tree.mkdir(f"targets/local/t/luns/{number}")
        tree.symlink(long, f"targets/local/t/luns/{number}/device")
    assert rows(tree, "targets/local/t")[2:] == [
        f"{number} 0 a-device-with-a-name-that-is-long" for number in range(400, 600)
    ]
    tree.write("commit", str(generation(tree)))


def test_the_table_of_devices(tree: Tree) -> None:
    """What can be read in their directories, in one read: of all handlers, and of any length."""
    assert table(tree) == {}
    null_device(tree, "n")
    tree.mkdir("devices/fileio/f")
    tree.mkdir("devices/blockio/b")
    tree.write("devices/fileio/f/path", f"/{'x' * 4000}")
    tree.write("devices/fileio/f/facts", '{"a b": "/c"}')
    tree.write("devices/fileio/f/id/product", "with a blank")
    tree.write("devices/nullio/n/active", "0")
    assert table(tree) == directories(tree)
    assert table(tree)["fileio/f"]["path"] == f"/{'x' * 4000}"
    for number in range(300):
        tree.mkdir(f"devices/nullio/d{number}")
    tree.rmdir("devices/blockio/b")
    assert table(tree) == directories(tree)
    with refused(errno.EACCES):
        tree.write("device_table", "1")


def table(tree: Tree) -> dict[str, dict[str, str]]:
    """The table of devices, by device and attribute."""
    found: dict[str, dict[str, str]] = {}
    where = ""
    for line in tree.read_all("device_table").split("\n"):
        if line.startswith("/"):
            where = line[1:]
            found[where] = {}
        elif line:
            name, _, value = line.partition(" ")
            found[where][name] = value
    return found


def directories(tree: Tree) -> dict[str, dict[str, str]]:
    """The same from the directories."""
    found: dict[str, dict[str, str]] = {}
    for handler in tree.list("devices"):
        for name in tree.list(f"devices/{handler}"):
            place = f"devices/{handler}/{name}"
            names = [one for one in tree.list(place) if one not in ("id", "pr")]
            names += [f"id/{one}" for one in tree.list(f"{place}/id")]
            found[f"{handler}/{name}"] = {one: tree.read(f"{place}/{one}") for one in names}
    return found


def rows(tree: Tree, place: str) -> list[str]:
    return [line for line in tree.read_all(f"{place}/lun_table").split("\n") if line]
