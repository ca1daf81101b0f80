# SPDX-License-Identifier: GPL-2.0-or-later
"""The root: generation, staging and commit."""

from __future__ import annotations

import errno

import pytest

from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import (
    FALSE,
    INITIATOR,
    NOT_BOOLEAN,
    NOT_NUMBER,
    TOO_LARGE,
    TRUE,
    Names,
    generation,
    refused,
    until_settled,
)


def test_attributes_and_defaults(tree: Tree) -> None:
    read_only = {"version", "features", "generation", "staged", "settled", "device_table"}
    writable = {"autocommit", "commit", "commit_fence", "buffer_limit"}
    # Directories of others may come: what is there beside these is not the business of this test.
    assert set(tree.list("")) >= {*read_only, *writable, "devices", "targets"}
    assert tree.read("version")
    assert tree.read("autocommit") == "1"
    assert tree.read("staged") == "0"
    assert int(tree.read("generation")) >= 0
    assert isinstance(tree.read("features"), str)


@pytest.mark.parametrize("name", ["version", "features", "generation", "staged", "settled", "device_table"])
def test_read_only_attributes(tree: Tree, name: str) -> None:
    with refused(errno.EACCES):
        tree.write(name, "1")


COMMITS = ("commit", "commit_fence")


@pytest.mark.parametrize("commit", COMMITS)
def test_commit_cannot_be_read(tree: Tree, commit: str) -> None:
    with refused(errno.EACCES):
        tree.read(commit)


def test_buffer_limit(tree: Tree) -> None:
    before = generation(tree)
    assert tree.read("buffer_limit") == "0"
    for text, shown in (("1048576", "1048576"), ("0x10000000", "268435456"), ("0", "0")):
        tree.write("buffer_limit", text)
        assert tree.read("buffer_limit") == shown
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write("buffer_limit", text)
    with refused(errno.ERANGE):
        tree.write("buffer_limit", TOO_LARGE)
    assert (tree.read("buffer_limit"), generation(tree), tree.read("staged")) == ("0", before, "0")


@pytest.mark.parametrize("text", NOT_BOOLEAN)
def test_autocommit_refuses(tree: Tree, text: str) -> None:
    with refused(errno.EINVAL):
        tree.write("autocommit", text)
    assert tree.read("autocommit") == "1"


def test_autocommit_accepts(tree: Tree) -> None:
    for off, on in zip(FALSE, TRUE, strict=True):
        tree.write("autocommit", off)
        assert tree.read("autocommit") == "0"
        tree.write("autocommit", on)
        assert tree.read("autocommit") == "1"


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("text", NOT_NUMBER)
def test_commit_refuses_what_is_no_number(tree: Tree, commit: str, text: str) -> None:
    with refused(errno.EINVAL):
        tree.write(commit, text)


@pytest.mark.parametrize("commit", COMMITS)
def test_commit_of_a_number_too_large(tree: Tree, commit: str) -> None:
    with refused(errno.ERANGE):
        tree.write(commit, TOO_LARGE)


@pytest.mark.parametrize("commit", COMMITS)
def test_commit_with_nothing_staged(tree: Tree, commit: str) -> None:
    before = generation(tree)
    tree.write(commit, str(before))
    tree.write(commit, hex(before))
    assert generation(tree) == before


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("step", [-1, 1, 1000])
def test_commit_on_another_generation(tree: Tree, names: Names, step: int, commit: str) -> None:
    base = generation(tree)
    tree.write("autocommit", "0")
    tree.write(f"{names.group}/priority", "7")
    with refused(errno.ESTALE):
        tree.write(commit, str(base + step))
    assert (generation(tree), tree.read("staged")) == (base, "1")
    tree.write(commit, str(base))
    assert (generation(tree), tree.read("staged")) == (base + 1, "0")
    with refused(errno.ESTALE):
        tree.write(commit, str(base))


@pytest.mark.parametrize("change", ["priority", "unpattern", "read_only", "unlink"])
def test_settled_follows_the_generation(tree: Tree, names: Names, change: str) -> None:
    """Nobody has a command running."""
    tree.write(f"{names.target}/enabled", "1")
    tree.mkdir(f"{names.target}/hosts/{INITIATOR}")
    assert until_settled(tree) == generation(tree)
    before = generation(tree)
    CHANGES[change](tree, names)
    assert until_settled(tree) == generation(tree) == before + 1
    tree.write(f"{names.target}/enabled", "0")
    assert until_settled(tree) == generation(tree) == before + 1


def test_staged_changes_leave_settled_as_it_is(tree: Tree, names: Names) -> None:
    before = until_settled(tree)
    tree.write("autocommit", "0")
    CHANGES["unlink"](tree, names)
    assert until_settled(tree) == generation(tree) == before


def test_devices_and_targets_are_not_staged(tree: Tree, names: Names) -> None:
    before = generation(tree)
    tree.write("autocommit", "0")
    tree.write(f"{names.target}/enabled", "1")
    tree.mkdir("targets/local/t9")
    tree.mkdir("devices/fileio/d9")
    tree.write("devices/fileio/d9/read_only", "1")
    tree.mkdir("targets/local/t9/hosts/x")
    assert (generation(tree), tree.read("staged")) == (before, "0")


CHANGES = {
    "priority": lambda tree, names: tree.write(f"{names.group}/priority", "5"),
    "pattern": lambda tree, names: tree.mkdir(f"{names.group}/initiators/x*"),
    "unpattern": lambda tree, names: tree.rmdir(f"{names.group}/initiators/iqn.2026-11.com.example:a"),
    "read_only": lambda tree, names: tree.write(f"{names.lun}/read_only", "1"),
    "unlink": lambda tree, names: tree.unlink(f"{names.lun}/device"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_published_or_staged(tree: Tree, names: Names, change: str) -> None:
    before = generation(tree)
    tree.write("autocommit", "0")
    CHANGES[change](tree, names)
    assert (generation(tree), tree.read("staged")) == (before, "1")
    tree.write("autocommit", "1")
    assert (generation(tree), tree.read("staged"), tree.read("autocommit")) == (before + 1, "0", "1")


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_published_at_once(tree: Tree, names: Names, change: str) -> None:
    before = generation(tree)
    CHANGES[change](tree, names)
    assert (generation(tree), tree.read("staged")) == (before + 1, "0")


def test_link_is_a_change(tree: Tree, names: Names) -> None:
    tree.mkdir(f"{names.target}/luns/3")
    before = generation(tree)
    tree.symlink(names.device, f"{names.target}/luns/3/device")
    assert generation(tree) == before + 1


def test_many_staged_changes_are_one_generation(tree: Tree, names: Names) -> None:
    before = generation(tree)
    tree.write("autocommit", "0")
    for number in range(10):
        tree.mkdir(f"{names.target}/luns/{number}")
        tree.symlink(names.device, f"{names.target}/luns/{number}/device")
    tree.write("commit", str(before))
    assert generation(tree) == before + 1
    tree.write("autocommit", "1")
    assert generation(tree) == before + 1


def test_what_nobody_notices_publishes_nothing(tree: Tree, names: Names) -> None:
    before = generation(tree)
    tree.mkdir(f"{names.target}/luns/7")
    tree.write(f"{names.target}/luns/7/read_only", "1")
    tree.rmdir(f"{names.target}/luns/7")
    tree.mkdir(f"{names.target}/groups/empty")
    tree.rmdir(f"{names.target}/groups/empty")
    tree.write(f"{names.lun}/read_only", "0")
    tree.write(f"{names.group}/priority", "100")
    assert (generation(tree), tree.read("staged")) == (before, "0")


def test_refused_changes_publish_nothing(tree: Tree, names: Names) -> None:
    before = generation(tree)
    with refused(errno.EEXIST):
        tree.mkdir(f"{names.group}/initiators/IQN.2026-11.com.example:A")
    with refused(errno.ERANGE):
        tree.write(f"{names.group}/priority", "65536")
    with refused(errno.ENODEV):
        tree.mkdir("devices/nullio/off")
        tree.mkdir(f"{names.target}/luns/1")
        tree.symlink("devices/nullio/off", f"{names.target}/luns/1/device")
    assert (generation(tree), tree.read("staged")) == (before, "0")


def test_a_device_in_force_cannot_be_disabled_before_the_commit(tree: Tree, names: Names) -> None:
    tree.write("autocommit", "0")
    tree.unlink(f"{names.lun}/device")
    with refused(errno.EBUSY):
        tree.write(f"{names.device}/enabled", "0")
    tree.write("commit", str(generation(tree)))
    tree.write(f"{names.device}/enabled", "0")
    assert tree.read(f"{names.device}/state") == "disabled"


def test_a_device_in_force_can_be_removed_before_the_commit(tree: Tree, names: Names) -> None:
    tree.write("autocommit", "0")
    tree.unlink(f"{names.lun}/device")
    tree.rmdir(names.device)
    assert "n0" not in tree.list("devices/nullio")
    tree.write("commit", str(generation(tree)))
    assert tree.read("staged") == "0"
