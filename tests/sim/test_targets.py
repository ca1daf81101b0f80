# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets, hosts, groups, initiators and LUNs."""

from __future__ import annotations

import errno

import pytest

from pyscstadmin.config.settings import LIMITS
from pyscstadmin.kernel import read
from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import (
    FALSE,
    INITIATOR,
    NOT_BOOLEAN,
    NOT_NUMBER,
    OTHER,
    TOO_LARGE,
    TRUE,
    Names,
    null_device,
    refused,
    until_set,
)

T = "targets/local/t"


def test_attributes_and_defaults(tree: Tree) -> None:
    tree.mkdir(T)
    values = {
        "enabled": "0",
        "state": "disabled",
        "lun_table": "",
        "rel_tgt_id": "1",
        "queue_depth": "0",
        "auto_rescan": "1",
        "protection": "0",
    }
    assert set(tree.list(T)) == {*values, "hosts", "luns", "groups"}
    assert {name: tree.read(f"{T}/{name}") for name in values} == values
    tree.mkdir(f"{T}/groups/g")
    assert set(tree.list(f"{T}/groups/g")) == {"priority", "lun_table", "initiators", "luns"}
    assert tree.read(f"{T}/groups/g/priority") == "100"
    for place in (f"{T}/luns/0", f"{T}/groups/g/luns/0"):
        tree.mkdir(place)
        values = {**dict.fromkeys(("read_only", *LIMITS), "0"), "burst": "100", "state": "unmapped"}
        assert set(tree.list(place)) == set(values)
        assert {name: tree.read(f"{place}/{name}") for name in values} == values
    tree.mkdir(f"{T}/hosts/{INITIATOR}")
    assert tree.list(f"{T}/hosts/{INITIATOR}") == ["host"]
    assert tree.read(f"{T}/hosts/{INITIATOR}/host") == ""
    tree.mkdir(f"{T}/groups/g/initiators/x")
    assert tree.list(f"{T}/groups/g/initiators/x") == []


@pytest.mark.parametrize("name", ["t", "iqn.2026-11.com.example:t,t,0x1", "50:01:43@_+", "A" * 223])
def test_names_accepted(tree: Tree, name: str) -> None:
    tree.mkdir(f"targets/local/{name}")
    assert tree.list("targets/local") == [name]


@pytest.mark.parametrize("name", [".t", "-t", "a b", "t*", "t!", "t#", "é", "t\n"])
def test_names_refused(tree: Tree, name: str) -> None:
    with refused(errno.EINVAL):
        tree.mkdir(f"targets/local/{name}")


@pytest.mark.parametrize("length", [224, 255, 256])
def test_names_too_long(tree: Tree, length: int) -> None:
    with refused(errno.ENAMETOOLONG):
        tree.mkdir(f"targets/local/{'t' * length}")


def test_enabled_and_state(tree: Tree) -> None:
    tree.mkdir(T)
    for on, off in zip(TRUE, FALSE, strict=True):
        tree.write(f"{T}/enabled", on)
        tree.write(f"{T}/enabled", on)
        assert (tree.read(f"{T}/enabled"), tree.read(f"{T}/state")) == ("1", "enabled")
        tree.write(f"{T}/enabled", off)
        assert (tree.read(f"{T}/enabled"), tree.read(f"{T}/state")) == ("0", "disabled")


def test_queue_depth_is_live(tree: Tree) -> None:
    tree.mkdir(T)
    tree.write(f"{T}/enabled", "1")
    for text, shown in (("1", "1"), ("65535", "65535"), ("0x20", "32"), ("0", "0")):
        tree.write(f"{T}/queue_depth", text)
        assert tree.read(f"{T}/queue_depth") == shown
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(f"{T}/queue_depth", text)
    for text in ("65536", TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(f"{T}/queue_depth", text)
    assert (tree.read(f"{T}/queue_depth"), tree.read(f"{T}/state")) == ("0", "enabled")


@pytest.mark.parametrize("name", ["enabled", "auto_rescan"])
def test_booleans_refuse(tree: Tree, name: str) -> None:
    tree.mkdir(T)
    before = tree.read(f"{T}/{name}")
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(f"{T}/{name}", text)
    with refused(errno.EFAULT):
        tree.write_raw(f"{T}/{name}", b"")
    assert tree.read(f"{T}/{name}") == before


def test_a_request_says_how_long_it_is_waited_for(tree: Tree) -> None:
    tree.mkdir(T)
    for text in ("1 within", "1 within x", "2 within 5", "1  within 5"):
        with refused(errno.EINVAL):
            tree.write(f"{T}/enabled", text)
    with refused(errno.ERANGE):
        tree.write(f"{T}/enabled", "1 within 86400001")
    for value, state in (("1", "enabled"), ("0", "disabled")):
        tree.write(f"{T}/enabled", f"{value} within 5000")
        assert tree.read(f"{T}/state") == state


def test_auto_rescan_at_any_time(tree: Tree) -> None:
    tree.mkdir(T)
    for enabled in ("1", "0"):
        tree.write(f"{T}/enabled", enabled)
        tree.write(f"{T}/auto_rescan", "off")
        assert tree.read(f"{T}/auto_rescan") == "0"
        tree.write(f"{T}/auto_rescan", "on")
        assert tree.read(f"{T}/auto_rescan") == "1"


def test_state_is_read_only(tree: Tree) -> None:
    tree.mkdir(T)
    with refused(errno.EACCES):
        tree.write(f"{T}/state", "enabled")


def test_relative_identifier(tree: Tree) -> None:
    for name, number in (("t1", "1"), ("t2", "2"), ("t3", "3")):
        tree.mkdir(f"targets/local/{name}")
        assert tree.read(f"targets/local/{name}/rel_tgt_id") == number
    path = "targets/local/t2/rel_tgt_id"
    tree.write(path, "2")
    for text in ("1", "3"):
        with refused(errno.EEXIST):
            tree.write(path, text)
    for text in ("0", "65536", TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(path, text)
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    tree.write("targets/local/t2/enabled", "1")
    with refused(errno.EBUSY):
        tree.write(path, "9")
    tree.write("targets/local/t2/enabled", "0")
    assert tree.read(path) == "2"
    tree.write(path, "65535")
    tree.write("targets/local/t3/rel_tgt_id", "2")
    tree.mkdir("targets/local/t4")
    assert tree.read("targets/local/t4/rel_tgt_id") == "3"


def test_a_removed_target_gives_its_name_and_identifier_back(tree: Tree) -> None:
    for _ in range(20):
        tree.mkdir(T)
        tree.write(f"{T}/rel_tgt_id", "77")
        tree.write(f"{T}/enabled", "1")
        tree.rmdir(T)


def test_hosts(tree: Tree) -> None:
    tree.mkdir(T)
    tree.mkdir(f"{T}/hosts/{INITIATOR}")
    with refused(errno.EEXIST):
        tree.mkdir(f"{T}/hosts/{INITIATOR}")
    with refused(errno.EEXIST):
        tree.mkdir(f"{T}/hosts/{INITIATOR.upper()}")
    for name in ("a*", "a?", "!a", "a b", "é", "a\x01"):
        with refused(errno.EINVAL):
            tree.mkdir(f"{T}/hosts/{name}")
    with refused(errno.ENAMETOOLONG):
        tree.mkdir(f"{T}/hosts/{'h' * 224}")
    with refused(errno.EACCES):
        tree.write(f"{T}/hosts/{INITIATOR}/host", "1")


def test_hosts_log_in_while_the_target_is_enabled(tree: Tree) -> None:
    tree.mkdir(T)
    tree.mkdir(f"{T}/hosts/{INITIATOR}")
    tree.write(f"{T}/enabled", "1")
    first = tree.read(f"{T}/hosts/{INITIATOR}/host")
    assert first.isdigit()
    tree.mkdir(f"{T}/hosts/{OTHER}")
    second = until_set(tree, f"{T}/hosts/{OTHER}/host")
    assert second.isdigit()
    assert second != first
    tree.rmdir(f"{T}/hosts/{OTHER}")
    tree.write(f"{T}/enabled", "0")
    assert tree.read(f"{T}/hosts/{INITIATOR}/host") == ""


@pytest.mark.parametrize("name", ["g", "A.b:c-d_9", "g" * 64])
def test_group_names_accepted(tree: Tree, name: str) -> None:
    tree.mkdir(T)
    tree.mkdir(f"{T}/groups/{name}")
    with refused(errno.EEXIST):
        tree.mkdir(f"{T}/groups/{name}")


def test_group_names_refused(tree: Tree) -> None:
    tree.mkdir(T)
    for name in (".g", "-g", "g g", "g*", "g@", "é"):
        with refused(errno.EINVAL):
            tree.mkdir(f"{T}/groups/{name}")
    with refused(errno.ENAMETOOLONG):
        tree.mkdir(f"{T}/groups/{'g' * 65}")


def test_priority(tree: Tree, names: Names) -> None:
    path = f"{names.group}/priority"
    for text, shown in (("0", "0"), ("0xffff", "65535"), ("65535", "65535"), ("42", "42")):
        tree.write(path, text)
        assert tree.read(path) == shown
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    for text in ("65536", TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(path, text)
    with refused(errno.EFAULT):
        tree.write_raw(path, b"")
    assert tree.read(path) == "42"


@pytest.mark.parametrize("name", ["x", "*", "?", "!x", "!*", "a.b:c*?d", "~", '"(){}|\\', "p" * 223])
def test_patterns_accepted(tree: Tree, names: Names, name: str) -> None:
    tree.mkdir(f"{names.group}/initiators/{name}")
    assert name in tree.list(f"{names.group}/initiators")


@pytest.mark.parametrize("name", ["!", "!!x", "x!y", "a b", "a\tb", "é", "\x01", "x\x7f"])
def test_patterns_refused(tree: Tree, names: Names, name: str) -> None:
    with refused(errno.EINVAL):
        tree.mkdir(f"{names.group}/initiators/{name}")


@pytest.mark.parametrize("name", [".", ".."])
@pytest.mark.parametrize("place", ["groups/g0/initiators", "hosts", "groups", "luns"])
def test_directories_that_are_always_there(tree: Tree, names: Names, place: str, name: str) -> None:
    before = set(tree.list(f"{names.target}/{place}"))
    with refused(errno.EEXIST):
        tree.mkdir(f"{names.target}/{place}/{name}")
    assert set(tree.list(f"{names.target}/{place}")) == before


@pytest.mark.parametrize("length", [224, 255, 256])
def test_patterns_too_long(tree: Tree, names: Names, length: int) -> None:
    with refused(errno.ENAMETOOLONG):
        tree.mkdir(f"{names.group}/initiators/{'p' * length}")


def test_patterns_are_unique_in_a_group_whatever_their_case(tree: Tree, names: Names) -> None:
    for name in (INITIATOR, INITIATOR.upper(), INITIATOR.title()):
        with refused(errno.EEXIST):
            tree.mkdir(f"{names.group}/initiators/{name}")
    tree.mkdir(f"{names.target}/groups/other")
    tree.mkdir(f"{names.target}/groups/other/initiators/{INITIATOR.upper()}")


@pytest.mark.parametrize("place", ["luns", "groups/g0/luns"])
def test_lun_numbers(tree: Tree, names: Names, place: str) -> None:
    path = f"{names.target}/{place}"
    for number in ("1", "16383", "255", "256"):
        tree.mkdir(f"{path}/{number}")
        with refused(errno.EEXIST):
            tree.mkdir(f"{path}/{number}")
    for number in ("00", "01", "-1", "+1", "1a", "lun1", "0x1", "1 ", "é"):
        with refused(errno.EINVAL):
            tree.mkdir(f"{path}/{number}")
    for number in ("16384", "65536", TOO_LARGE):
        with refused(errno.ERANGE):
            tree.mkdir(f"{path}/{number}")


def test_lun_read_only(tree: Tree, names: Names) -> None:
    path = f"{names.lun}/read_only"
    for on, off in zip(TRUE, FALSE, strict=True):
        tree.write(path, on)
        assert tree.read(path) == "1"
        tree.write(path, off)
        assert tree.read(path) == "0"
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(path, text)
    with refused(errno.EACCES):
        tree.write(f"{names.lun}/state", "active")


@pytest.mark.parametrize("name", [*LIMITS, "burst"])
def test_lun_limits(tree: Tree, names: Names, name: str) -> None:
    """Staged, as all access is; what is no number of its range changes nothing."""
    path = f"{names.lun}/{name}"
    most = {"burst": 10**4, "read_iops": 10**8, "write_iops": 10**8}.get(name, 10**12)
    generation = int(tree.read("generation"))
    for text, shown in (("7", "7"), ("0x10", "16"), (str(most), str(most)), (str(most), str(most))):
        tree.write(path, text)
        assert tree.read(path) == shown
    assert int(tree.read("generation")) == generation + 3
    for text in ("-1", "x", "1.5", "1K"):
        with refused(errno.EINVAL):
            tree.write(path, text)
    for text in (str(most + 1), TOO_LARGE, *(["0"] if name == "burst" else [])):
        with refused(errno.ERANGE):
            tree.write(path, text)
    tree.write("autocommit", "0")
    tree.write(path, "5")
    assert (tree.read(path), tree.read("staged")) == ("5", "1")


def test_lun_state_is_that_of_its_device(tree: Tree, names: Names) -> None:
    assert tree.read(f"{names.lun}/state") == "active"
    tree.write(f"{names.device}/active", "0")
    assert tree.read(f"{names.lun}/state") == "parked"
    tree.unlink(f"{names.lun}/device")
    assert tree.read(f"{names.lun}/state") == "unmapped"


def test_link_reads_back(tree: Tree, names: Names) -> None:
    assert tree.readlink(f"{names.lun}/device") == names.device
    with tree.at(f"{names.group}/luns") as view:
        assert view.readlink("0/device") == names.device


def test_one_device_may_be_many_luns(tree: Tree, names: Names) -> None:
    for number in range(1, 20):
        tree.mkdir(f"{names.group}/luns/{number}")
        tree.symlink(names.device, f"{names.group}/luns/{number}/device")
    assert len(tree.list(f"{names.group}/luns")) == 20


def test_link_to_a_disabled_device(tree: Tree, names: Names) -> None:
    tree.mkdir("devices/fileio/off")
    tree.mkdir(f"{names.group}/luns/1")
    with refused(errno.ENODEV):
        tree.symlink("devices/fileio/off", f"{names.group}/luns/1/device")


@pytest.mark.parametrize(
    "target",
    ["devices", "devices/nullio", "devices/nullio/n0/id", "targets/local/t0", "targets/local/t0/groups/g0"],
)
def test_link_to_something_else(tree: Tree, names: Names, target: str) -> None:
    tree.mkdir(f"{names.group}/luns/1")
    with refused(errno.EINVAL):
        tree.symlink(target, f"{names.group}/luns/1/device")


def test_link_out_of_configfs(tree: Tree, names: Names) -> None:
    tree.mkdir(f"{names.group}/luns/1")
    with refused(errno.EPERM):
        tree.symlink("/etc", f"{names.group}/luns/1/device")
    for target in ("/etc/passwd", f"{names.device}/size"):
        with refused(errno.ENOTDIR):
            tree.symlink(target, f"{names.group}/luns/1/device")
    with refused(errno.ENOENT):
        tree.symlink("devices/nullio/none", f"{names.group}/luns/1/device")
    with refused(errno.ENOENT):
        tree.symlink("/nonexistent/place", f"{names.group}/luns/1/device")


def test_second_link(tree: Tree, names: Names) -> None:
    null_device(tree, "n1")
    for name in ("device", "other"):
        with refused(errno.EEXIST):
            tree.symlink("devices/nullio/n1", f"{names.lun}/{name}")
    assert tree.readlink(f"{names.lun}/device") == names.device


def test_link_by_another_name(tree: Tree, names: Names) -> None:
    """The kernel does not see the name; the tool finds the device all the same."""
    tree.mkdir(f"{names.group}/luns/1")
    tree.symlink(names.device, f"{names.group}/luns/1/disk")
    assert tree.read(f"{names.group}/luns/1/state") == "active"
    group = names.group.rpartition("/")[2]
    driver, target = names.group.split("/")[1:3]
    found = read.lun(tree, driver, target, group, 1)
    assert found is not None
    assert found.device == names.device.rpartition("/")[2]
    tree.unlink(f"{names.group}/luns/1/disk")


def test_replacing_a_device_is_one_generation(tree: Tree, names: Names) -> None:
    null_device(tree, "n1")
    base = tree.read("generation")
    tree.write("autocommit", "0")
    tree.unlink(f"{names.lun}/device")
    tree.symlink("devices/nullio/n1", f"{names.lun}/device")
    tree.write("commit", base)
    tree.write("autocommit", "1")
    assert tree.read("generation") == str(int(base) + 1)
    tree.write(f"{names.device}/enabled", "0")
