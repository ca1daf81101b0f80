# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices: names, settings, identity, states, parking."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from pyscstadmin.kernel.cfs import Tree
from tests.sim.support import FALSE, NOT_BOOLEAN, NOT_NUMBER, TOO_LARGE, TRUE, Names, null_device, refused

HANDLERS = ("blockio", "fileio", "nullio")
COMMON = {
    "enabled": "0",
    "active": "0",
    "state": "disabled",
    "error": "",
    "medium": "present",
    "wanted": "0",
    "size": "0",
}
BACKED = {"path": "", "facts": "", "elsewhere": "", "expect": "", "backing": ""}
SETTINGS = {
    "block_size": "0",
    "read_only": "0",
    "rotational": "auto",
    "removable": "0",
    "stop_unit": "0",
    "pr_file": "",
}
DEFAULTS = {
    "blockio": {**COMMON, **SETTINGS, **BACKED, "write_through": "0", "thin": "0", "protection": "0"},
    "fileio": {
        **COMMON,
        **SETTINGS,
        **BACKED,
        "write_through": "0",
        "thin": "0",
        "space_threshold": "0",
        "o_direct": "0",
        "protection": "0",
        "protection_file": "",
    },
    "nullio": {**COMMON, **SETTINGS, "protection": "0"},
}
BOOLEANS = [
    (handler, name)
    for handler in HANDLERS
    for name in ("read_only", "rotational", "removable", "stop_unit", "write_through", "thin", "o_direct")
    if name in DEFAULTS[handler]
]
# Can be changed while the device is enabled.
LIVE = ("space_threshold",)
# While the device is parked.
MOVED = ("protection_file",)
PATHS = ("blockio", "fileio")


@pytest.mark.parametrize("handler", HANDLERS)
def test_attributes_and_defaults(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    entries = set(tree.list(f"devices/{handler}/d"))
    assert entries == {*DEFAULTS[handler], "id", "pr"}
    assert {name: tree.read(f"devices/{handler}/d/{name}") for name in DEFAULTS[handler]} == DEFAULTS[handler]


@pytest.mark.parametrize("handler", HANDLERS)
def test_identity_defaults(tree: Tree, handler: str) -> None:
    values = []
    for name in ("d", "e"):
        tree.mkdir(f"devices/{handler}/{name}")
        place = f"devices/{handler}/{name}/id"
        assert set(tree.list(place)) == {"vendor", "product", "revision", "serial", "naa", "eui64"}
        assert tree.read(f"{place}/vendor") == "SCST"
        assert tree.read(f"{place}/product") == handler
        assert tree.read(f"{place}/revision") == "1"
        assert tree.read(f"{place}/eui64") == ""
        assert re.fullmatch(r"3[0-9a-f]{15}", tree.read(f"{place}/naa"))
        assert tree.read(f"{place}/serial") == tree.read(f"{place}/naa")
        values.append(tree.read(f"{place}/naa"))
    tree.rmdir(f"devices/{handler}/d")
    tree.mkdir(f"devices/{handler}/d")
    values.append(tree.read(f"devices/{handler}/d/id/naa"))
    assert len(set(values)) == 3, "made anew, it is another disk"


@pytest.mark.parametrize("handler", HANDLERS)
def test_rotational_may_be_what_the_backing_says(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    path = f"devices/{handler}/d/rotational"
    tree.write(path, "1")
    tree.write(path, "auto")
    assert tree.read(path) == "auto"
    for text in ("AUTO", "automatic", "auto ", "aut"):
        with refused(errno.EINVAL):
            tree.write(path, text)
    assert tree.read(path) == "auto"


@pytest.mark.parametrize(
    ("part", "one", "two"),
    [
        ("serial", "S 1", "S 1"),
        ("naa", "5000C50000000001", "5000c50000000001"),
        ("eui64", "00A0B00000000001", "00a0b00000000001"),
    ],
)
def test_no_two_enabled_devices_have_one_identity(tree: Tree, part: str, one: str, two: str) -> None:
    first = null_device(tree, "d")
    tree.write(f"{first}/enabled", "0")
    tree.write(f"{first}/id/{part}", one)
    tree.write(f"{first}/enabled", "1")
    tree.mkdir("devices/fileio/e")
    second = "devices/fileio/e"
    tree.write(f"{second}/path", "/nonexistent/backing")
    tree.write(f"{second}/id/{part}", two)
    with refused(errno.EEXIST):
        tree.write(f"{second}/enabled", "1")
    assert tree.read(f"{second}/state") == "disabled"
    tree.write(f"{first}/enabled", "0")
    tree.write(f"{second}/enabled", "1")
    with refused(errno.EEXIST):
        tree.write(f"{first}/enabled", "1")
    tree.rmdir(second)
    tree.write(f"{first}/enabled", "1")


def test_no_eui64_is_no_identity(tree: Tree) -> None:
    for name in ("d", "e"):
        assert tree.read(f"{null_device(tree, name)}/id/eui64") == ""


@pytest.mark.parametrize("name", ["a", "Z9", "_x", "a.b:c-d", ":", "a" * 64])
def test_names_accepted(tree: Tree, name: str) -> None:
    tree.mkdir(f"devices/nullio/{name}")
    assert tree.list("devices/nullio") == [name]


@pytest.mark.parametrize(
    "name", [".a", "-a", "a b", "a*", "a?", "a@b", "a+b", "é", "a\n", "a\x7f", "a,b", "ÿ"]
)
def test_names_refused(tree: Tree, name: str) -> None:
    with refused(errno.EINVAL):
        tree.mkdir(f"devices/nullio/{name}")
    assert tree.list("devices/nullio") == []


@pytest.mark.parametrize("length", [65, 200, 256, 300])
def test_names_too_long(tree: Tree, length: int) -> None:
    with refused(errno.ENAMETOOLONG):
        tree.mkdir(f"devices/nullio/{'a' * length}")


@pytest.mark.parametrize("other", HANDLERS)
def test_a_name_is_unique_over_all_handlers(tree: Tree, other: str) -> None:
    tree.mkdir("devices/nullio/d")
    with refused(errno.EEXIST):
        tree.mkdir(f"devices/{other}/d")
    tree.rmdir("devices/nullio/d")
    tree.mkdir(f"devices/{other}/d")


@pytest.mark.parametrize(("handler", "name"), BOOLEANS)
def test_boolean_settings(tree: Tree, handler: str, name: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    path = f"devices/{handler}/d/{name}"
    for on, off in zip(TRUE, FALSE, strict=True):
        tree.write(path, on)
        assert tree.read(path) == "1"
        tree.write(path, off)
        assert tree.read(path) == "0"
    tree.write(path, "1")
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(path, text)
    assert tree.read(path) == "1"


@pytest.mark.parametrize("handler", HANDLERS)
def test_block_size(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    path = f"devices/{handler}/d/block_size"
    for text, shown in (("512", "512"), ("0x400", "1024"), ("2048", "2048"), ("4096", "4096"), ("0", "0")):
        tree.write(path, text)
        assert tree.read(path) == shown
    for text in ("1", "511", "513", "1536", "8192", "0x200000", TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(path, text)
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    assert tree.read(path) == "0"


def test_size_of_nullio(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    path = "devices/nullio/d/size"
    for text, shown in (
        ("512", "512"),
        ("0x100000", "1048576"),
        ("1099511627776", "1099511627776"),
        ("0", "0"),
    ):
        tree.write(path, text)
        assert tree.read(path) == shown
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    with refused(errno.ERANGE):
        tree.write(path, TOO_LARGE)
    assert tree.read(path) == "0"


@pytest.mark.parametrize("handler", PATHS)
def test_size_of_what_is_not_open(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    path = f"devices/{handler}/d"
    for text in ("512", "0", "1"):
        with refused(errno.EINVAL):
            tree.write(f"{path}/size", text)
    tree.write(f"{path}/path", "/nonexistent/backing")
    tree.write(f"{path}/enabled", "1")
    tree.write(f"{path}/size", "512")
    assert tree.read(f"{path}/size") == "0", "it is for the next opening"


def test_space_threshold(tree: Tree, backing: Path) -> None:
    """While the device serves, too; of files only."""
    path = file_device(tree, backing) + "/space_threshold"
    for text, shown in (("1", "1"), ("0x100000", "1048576"), (str(2**63 - 1), str(2**63 - 1)), ("0", "0")):
        tree.write(path, text)
        assert tree.read(path) == shown
    for text in NOT_NUMBER:
        with refused(errno.EINVAL):
            tree.write(path, text)
    for text in (str(2**63), TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(path, text)
    assert tree.read(path) == "0"


@pytest.mark.parametrize("block", [512, 4096])
def test_size_of_an_active_device(tree: Tree, backing: Path, block: int) -> None:
    path = file_device(tree, backing, block_size=str(block))
    whole = 1 << 20
    for text, shown in (("8192", 8192), ("0x4000", 16384), (str(whole), whole), ("4096", 4096), ("0", whole)):
        tree.write(f"{path}/size", text)
        assert tree.read(f"{path}/size") == str(shown)
    for text in (str(block + 1), "1", str(whole - 1), *NOT_NUMBER):
        with refused(errno.EINVAL):
            tree.write(f"{path}/size", text)
    for text in (str(whole + block), str(1 << 60), TOO_LARGE):
        with refused(errno.ERANGE):
            tree.write(f"{path}/size", text)
    assert (tree.read(f"{path}/size"), tree.read(f"{path}/state")) == (str(whole), "active")
    tree.write(f"{path}/size", "8192")
    tree.write(f"{path}/active", "0")
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/size") == "8192", "what was asked for outlives parking"
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/size") == "8192", "and a look for growth"
    tree.write(f"{path}/enabled", "0")
    tree.write(f"{path}/enabled", "1")
    assert tree.read(f"{path}/size") == str(whole), "it is no setting"


def test_a_backing_that_has_shrunk(tree: Tree, backing: Path) -> None:
    """Initiators know more than there is: it is served again only when somebody asks for that."""
    path = file_device(tree, backing)
    tree.write(f"{path}/active", "0")
    os.truncate(backing, 8192)
    with refused(errno.EINVAL):
        tree.write(f"{path}/active", "1")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/size")) == ("parked", str(1 << 20))
    tree.write(f"{path}/size", "0")
    tree.write(f"{path}/active", "1")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/size")) == ("active", "8192")


def test_growth_is_taken_when_asked_for(tree: Tree, backing: Path) -> None:
    path = file_device(tree, backing)
    with backing.open("r+b") as file:
        file.truncate((2 << 20) + 100)
    assert tree.read(f"{path}/size") == str(1 << 20)
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/size") == str(2 << 20)
    with backing.open("r+b") as file:
        file.truncate(3 << 20)
    tree.write(f"{path}/size", "0")
    assert tree.read(f"{path}/size") == str(3 << 20)


def test_shrinking_has_to_be_asked_for(tree: Tree, backing: Path) -> None:
    path = file_device(tree, backing)
    with backing.open("r+b") as file:
        file.truncate(1 << 19)
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/size") == str(1 << 20)
    tree.write(f"{path}/size", "0")
    assert tree.read(f"{path}/size") == str(1 << 19)


@pytest.mark.parametrize("handler", PATHS)
def test_path(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    path = f"devices/{handler}/d/path"
    for text in ("/a", "/a b/é", "/" + "x" * 4093, ""):
        tree.write(path, text)
        assert tree.read(path) == text
    tree.write(path, "/kept")
    for text in ("relative", "./x", " /x", "/a\nb", "/a\x01b", "/a\x7f"):
        with refused(errno.EINVAL):
            tree.write(path, text)
    with refused(errno.ENAMETOOLONG):
        tree.write(path, "/" + "x" * 4094)
    assert tree.read(path) == "/kept"


ID_LIMITS = {"vendor": 8, "product": 16, "revision": 4, "serial": 64}


@pytest.mark.parametrize("name", ID_LIMITS)
def test_identification_texts(tree: Tree, name: str) -> None:
    tree.mkdir("devices/nullio/d")
    path = f"devices/nullio/d/id/{name}"
    for text in ("x", "A b", "~!@", "y" * ID_LIMITS[name]):
        tree.write(path, text)
        assert tree.read(path) == text
    for length in (ID_LIMITS[name] + 1, 200, 4000):
        with refused(errno.ENAMETOOLONG):
            tree.write(path, "z" * length)
    for text in ("", "\x01", "a\x7f", "é", "\xff"):
        with refused(errno.EINVAL):
            tree.write(path, text)
    assert tree.read(path) == "y" * ID_LIMITS[name]


def test_naa(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    path = "devices/nullio/d/id/naa"
    for text in ("2" + "0" * 15, "3ABCdef012345678", "5" + "f" * 15, "6" + "A" * 31):
        tree.write(path, text)
        assert tree.read(path) == text.lower()
    for text in (
        "",
        "1" + "0" * 15,
        "6" + "0" * 15,
        "5" + "0" * 31,
        "3" * 15,
        "3" * 17,
        "3" + "g" * 15,
        "0x33333333333333",
    ):
        with refused(errno.EINVAL):
            tree.write(path, text)
    with refused(errno.ENAMETOOLONG):
        tree.write(path, "6" + "0" * 32)
    assert tree.read(path) == "6" + "a" * 31


def test_eui64(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    path = "devices/nullio/d/id/eui64"
    for text in ("0" * 16, "A" * 24, "b" * 32, ""):
        tree.write(path, text)
        assert tree.read(path) == text.lower()
    for text in ("0" * 15, "0" * 20, "x" * 16, "0" * 31):
        with refused(errno.EINVAL):
            tree.write(path, text)
    with refused(errno.ENAMETOOLONG):
        tree.write(path, "0" * 34)
    assert tree.read(path) == ""


@pytest.mark.parametrize("name", ["state", "error", "medium", "wanted"])
def test_read_only_attributes(tree: Tree, name: str) -> None:
    tree.mkdir("devices/nullio/d")
    with refused(errno.EACCES):
        tree.write(f"devices/nullio/d/{name}", "1")


@pytest.mark.parametrize("handler", HANDLERS)
def test_enabling_needs_the_required_setting(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    with refused(errno.ENODATA):
        tree.write(f"devices/{handler}/d/enabled", "1")
    assert tree.read(f"devices/{handler}/d/state") == "disabled"


@pytest.mark.parametrize("name", ["enabled", "active"])
def test_switches_refuse_what_is_no_boolean(tree: Tree, name: str) -> None:
    path = null_device(tree, "d")
    for text in NOT_BOOLEAN:
        with refused(errno.EINVAL):
            tree.write(f"{path}/{name}", text)
    assert tree.read(f"{path}/state") == "active"


NOT_WITHIN = (
    "1 within",
    "1 within ",
    "1 within x",
    "1 within -1",
    "1  within 5",
    "1 within  5",
    " within 5",
    "2 within 5",
)


@pytest.mark.parametrize("name", ["enabled", "active"])
def test_a_request_says_how_long_it_is_waited_for(tree: Tree, name: str) -> None:
    """What is over by then is as without it."""
    path = null_device(tree, "d")
    for text in NOT_WITHIN:
        with refused(errno.EINVAL):
            tree.write(f"{path}/{name}", text)
    for text in ("1 within 86400001", f"1 within {TOO_LARGE}"):
        with refused(errno.ERANGE):
            tree.write(f"{path}/{name}", text)
    assert tree.read(f"{path}/state") == "active"
    tree.write(f"{path}/{name}", "0 within 86400000")
    assert tree.read(f"{path}/{name}") == "0"
    tree.write(f"{path}/{name}", "on within 0x1000\n")
    assert tree.read(f"{path}/state") == "active"
    tree.write(f"{path}/active", "reopen within 5000")
    assert tree.read(f"{path}/state") == "active"


def test_settings_are_no_requests(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    for name, value in (("read_only", "1"), ("block_size", "512"), ("removable", "1"), ("stop_unit", "1")):
        with refused(errno.EINVAL):
            tree.write(f"devices/nullio/d/{name}", f"{value} within 5")


def test_active_needs_enabled(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    for text in ("0", "1"):
        with refused(errno.EINVAL):
            tree.write("devices/nullio/d/active", text)


def test_protection_information_needs_a_file_of_its_own(tree: Tree, backing: Path) -> None:
    path = file_device(tree, backing)
    tree.write(f"{path}/enabled", "0")
    with refused(errno.ERANGE):
        tree.write(f"{path}/protection", "4")
    tree.write(f"{path}/protection", "3")
    with refused(errno.EINVAL):
        tree.write(f"{path}/enabled", "1")
    tree.write(f"{path}/protection_file", f"{backing}.pi")
    tree.write(f"{path}/enabled", "1")
    with refused(errno.EBUSY):
        tree.write(f"{path}/protection", "0")
    tree.mkdir("devices/fileio/other")
    for name, text in (("path", backing), ("protection", "1"), ("protection_file", f"{backing}.pi")):
        tree.write(f"devices/fileio/other/{name}", str(text))
    with refused(errno.EBUSY):
        tree.write("devices/fileio/other/enabled", "1")


def test_size_and_block_size_must_agree(tree: Tree) -> None:
    tree.mkdir("devices/nullio/d")
    tree.write("devices/nullio/d/size", "4608")
    tree.write("devices/nullio/d/block_size", "4096")
    with refused(errno.EINVAL):
        tree.write("devices/nullio/d/enabled", "1")
    tree.write("devices/nullio/d/block_size", "512")
    tree.write("devices/nullio/d/enabled", "1")


def test_states_of_nullio(tree: Tree) -> None:
    path = null_device(tree, "d")

    def states() -> tuple[str, str, str]:
        return tree.read(f"{path}/enabled"), tree.read(f"{path}/active"), tree.read(f"{path}/state")

    assert states() == ("1", "1", "active")
    tree.write(f"{path}/active", "0")
    assert states() == ("1", "0", "parked")
    tree.write(f"{path}/active", "0")
    tree.write(f"{path}/active", "1")
    tree.write(f"{path}/active", "1")
    tree.write(f"{path}/enabled", "1")
    assert states() == ("1", "1", "active")
    tree.write(f"{path}/enabled", "0")
    tree.write(f"{path}/enabled", "0")
    assert states() == ("0", "0", "disabled")


@pytest.mark.parametrize("handler", HANDLERS)
def test_settings_are_fixed_while_enabled(tree: Tree, handler: str) -> None:
    path = f"devices/{handler}/d"
    tree.mkdir(path)
    if handler == "nullio":
        tree.write(f"{path}/size", "1048576")
    else:
        tree.write(f"{path}/path", "/nonexistent/backing")
    tree.write(f"{path}/enabled", "1")
    good = {"path": "/x", "size": "512", "block_size": "512", "vendor": "v", "naa": "3" * 16, "eui64": ""}
    good["pr_file"] = "/x.pr"
    for name in set(DEFAULTS[handler]) - set(COMMON) - set(BACKED) - {*LIVE, *MOVED}:
        with refused(errno.EBUSY):
            tree.write(f"{path}/{name}", good.get(name, "1"))
    for name in ("vendor", "product", "revision", "serial", "naa", "eui64"):
        with refused(errno.EBUSY):
            tree.write(f"{path}/id/{name}", good.get(name, "x"))
    tree.write(f"{path}/enabled", "0")
    tree.write(f"{path}/read_only", "1")


def test_texts_about_a_backing_can_be_set_at_any_time(tree: Tree, tmp_path: Path) -> None:
    path, file = "devices/fileio/f", tmp_path / "f"
    file.write_bytes(bytes(4096))
    tree.mkdir(path)
    tree.write(f"{path}/path", str(file))
    tree.write(f"{path}/enabled", "1")
    words = tree.read(f"{path}/backing")
    assert words.startswith("f ")
    longest = {"facts": 4094, "expect": 127, "elsewhere": 4094}
    for name, most in longest.items():
        for text in ("/" + "x" * (most - 1), "/ä {} =", ""):
            tree.write(f"{path}/{name}", text)
            assert tree.read(f"{path}/{name}") == text
        with refused(errno.ENAMETOOLONG):
            tree.write(f"{path}/{name}", "/" + "x" * most)
        with refused(errno.EINVAL):
            tree.write(f"{path}/{name}", "/a\x1bb")
    with refused(errno.EINVAL):
        tree.write(f"{path}/elsewhere", "relative")
    with refused(errno.EACCES):
        tree.write(f"{path}/backing", "x")
    with refused(errno.EBUSY):
        tree.write(f"{path}/path", "/other")
    assert tree.read(f"{path}/backing") == words
    tree.write(f"{path}/active", "0")
    assert (tree.read(f"{path}/backing"), tree.read(f"{path}/wanted")) == ("", "0")
    tree.write(f"{path}/path", "/other")


def test_a_device_with_facts_opens_what_is_expected(tree: Tree, tmp_path: Path) -> None:
    path, one, two = "devices/fileio/f", tmp_path / "one", tmp_path / "two"
    for file in (one, two):
        file.write_bytes(bytes(4096))
    tree.mkdir(path)
    tree.write(f"{path}/path", str(one))
    tree.write(f"{path}/enabled", "1")
    words = tree.read(f"{path}/backing")
    tree.write(f"{path}/facts", "x")
    assert tree.read(f"{path}/state") == "active"
    with refused(errno.ESTALE):
        tree.write(f"{path}/active", "reopen")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/error")) == ("parked", "ESTALE")
    assert (tree.read(f"{path}/wanted"), tree.read(f"{path}/backing")) == ("1", "")
    tree.write(f"{path}/expect", words)
    tree.write(f"{path}/active", "1")
    tree.write(f"{path}/active", "reopen")
    assert tree.read(f"{path}/backing") == words
    tree.write(f"{path}/elsewhere", str(two))
    with refused(errno.ESTALE):
        tree.write(f"{path}/active", "reopen")
    tree.write(f"{path}/enabled", "0")
    tree.write(f"{path}/enabled", "1")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/error")) == ("parked", "ESTALE")
    tree.write(f"{path}/elsewhere", "")
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/state") == "active"
    with refused(errno.EINVAL):
        tree.write(f"{path}/active", "again")


def test_settings_survive_disabling(tree: Tree) -> None:
    path = null_device(tree, "d")
    serial = tree.read(f"{path}/id/serial")
    tree.write(f"{path}/enabled", "0")
    assert tree.read(f"{path}/size") == str(1 << 20)
    assert tree.read(f"{path}/id/serial") == serial


def file_device(tree: Tree, backing: Path, **settings: str) -> str:
    tree.mkdir("devices/fileio/f")
    tree.write("devices/fileio/f/path", str(backing))
    for name, value in settings.items():
        tree.write(f"devices/fileio/f/{name}", value)
    tree.write("devices/fileio/f/enabled", "1")
    return "devices/fileio/f"


@pytest.mark.parametrize("block", [0, 512, 4096])
def test_fileio_is_active_with_its_backing(tree: Tree, backing: Path, block: int) -> None:
    path = file_device(tree, backing, block_size=str(block))
    assert tree.read(f"{path}/state") == "active"
    assert tree.read(f"{path}/error") == ""
    assert tree.read(f"{path}/size") == str(1 << 20)
    assert tree.read(f"{path}/block_size") == str(block)


def test_a_file_that_is_open_is_not_lost_by_its_name(tree: Tree, backing: Path) -> None:
    """It is served on; once closed, it is gone."""
    path = file_device(tree, backing)
    backing.unlink()
    assert tree.read(f"{path}/state") == "active"
    assert tree.read(f"{path}/error") == ""
    tree.write(f"{path}/size", "8192")
    assert tree.read(f"{path}/size") == "8192"
    tree.write(f"{path}/active", "0")
    assert tree.read(f"{path}/state") == "parked"
    with refused(errno.ENOENT):
        tree.write(f"{path}/active", "1")


def test_fileio_parks_without_its_backing(tree: Tree, tmp_path: Path) -> None:
    backing = tmp_path / "late.img"
    path = file_device(tree, backing)
    assert tree.read(f"{path}/state") == "parked"
    assert tree.read(f"{path}/error") == "ENOENT"
    assert tree.read(f"{path}/size") == "0"
    with refused(errno.ENOENT):
        tree.write(f"{path}/active", "1")
    backing.write_bytes(bytes(8192))
    assert tree.read(f"{path}/state") == "parked"
    tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/state") == "active"
    assert tree.read(f"{path}/error") == ""
    assert tree.read(f"{path}/size") == "8192"
    tree.write(f"{path}/active", "0")
    assert tree.read(f"{path}/state") == "parked"
    assert tree.read(f"{path}/size") == "8192"


def test_fileio_parks_under_a_file(tree: Tree, backing: Path) -> None:
    path = file_device(tree, backing / "below")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/error")) == ("parked", "ENOTDIR")


@pytest.mark.parametrize("handler", PATHS)
def test_parked_devices_can_be_mapped(tree: Tree, handler: str) -> None:
    tree.mkdir(f"devices/{handler}/d")
    tree.write(f"devices/{handler}/d/path", "/nonexistent/backing")
    tree.write(f"devices/{handler}/d/enabled", "1")
    tree.mkdir("targets/local/t")
    tree.mkdir("targets/local/t/luns/0")
    tree.symlink(f"devices/{handler}/d", "targets/local/t/luns/0/device")
    assert tree.read("targets/local/t/luns/0/state") == "parked"


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_fileio_refuses_what_is_no_file(tree: Tree, tmp_path: Path, kind: str) -> None:
    backing = tmp_path / "odd"
    if kind == "directory":
        backing.mkdir()
    elif kind == "pipe":
        os.mkfifo(backing)
    else:
        backing = Path("/dev/null")
    tree.mkdir("devices/fileio/f")
    tree.write("devices/fileio/f/path", str(backing))
    with refused(errno.EINVAL):
        tree.write("devices/fileio/f/enabled", "1")
    assert tree.read("devices/fileio/f/state") == "disabled"
    assert tree.read("devices/fileio/f/error") == "EINVAL"


def test_fileio_refuses_an_empty_file(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    tree.mkdir("devices/fileio/f")
    tree.write("devices/fileio/f/path", str(tmp_path / "empty"))
    with refused(errno.EINVAL):
        tree.write("devices/fileio/f/enabled", "1")


def test_blockio_refuses_what_is_no_block_device(tree: Tree, backing: Path) -> None:
    tree.mkdir("devices/blockio/b")
    tree.write("devices/blockio/b/path", str(backing))
    with refused(errno.ENOTBLK):
        tree.write("devices/blockio/b/enabled", "1")
    assert tree.read("devices/blockio/b/state") == "disabled"


def test_blockio_on_a_block_device(tree: Tree, block_device: str) -> None:
    for name in ("b", "c"):
        tree.mkdir(f"devices/blockio/{name}")
        tree.write(f"devices/blockio/{name}/path", block_device)
    tree.write("devices/blockio/b/enabled", "1")
    assert tree.read("devices/blockio/b/state") == "active"
    assert int(tree.read("devices/blockio/b/size")) > 0
    with refused(errno.EBUSY):
        tree.write("devices/blockio/c/enabled", "1")
    tree.write("devices/blockio/b/active", "0")
    tree.write("devices/blockio/c/enabled", "1")
    with refused(errno.EBUSY):
        tree.write("devices/blockio/b/active", "1")
    assert tree.read("devices/blockio/b/error") == "EBUSY"


def test_the_block_layer_has_no_protection_of_type_2(tree: Tree, block_device: str) -> None:
    tree.mkdir("devices/blockio/b")
    for name, text in (("path", block_device), ("protection", "2")):
        tree.write(f"devices/blockio/b/{name}", text)
    with refused(errno.EOPNOTSUPP):
        tree.write("devices/blockio/b/enabled", "1")
    tree.write("devices/blockio/b/protection", "0")
    tree.write("devices/blockio/b/enabled", "1")


def test_parking_on_request_leaves_no_error(tree: Tree, tmp_path: Path) -> None:
    """What waits for its backing and what was parked by somebody are told apart by this."""
    backing = tmp_path / "late.img"
    path = file_device(tree, backing)
    assert tree.read(f"{path}/error") == "ENOENT"
    tree.write(f"{path}/active", "0")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/error")) == ("parked", "")
    with refused(errno.ENOENT):
        tree.write(f"{path}/active", "1")
    assert tree.read(f"{path}/error") == "ENOENT"
    backing.write_bytes(bytes(8192))
    tree.write(f"{path}/active", "1")
    tree.write(f"{path}/active", "0")
    assert (tree.read(f"{path}/state"), tree.read(f"{path}/error")) == ("parked", "")


def test_disabling_needs_the_luns_gone(tree: Tree, names: Names) -> None:
    with refused(errno.EBUSY):
        tree.write(f"{names.device}/enabled", "0")
    tree.write(f"{names.device}/active", "0")
    assert tree.read(f"{names.lun}/state") == "parked"
    with refused(errno.EBUSY):
        tree.rmdir(names.device)
    tree.unlink(f"{names.lun}/device")
    tree.write(f"{names.device}/enabled", "0")
    tree.rmdir(names.device)


def test_an_enabled_device_can_be_removed(tree: Tree) -> None:
    path = null_device(tree, "d")
    tree.rmdir(path)
    assert tree.list("devices/nullio") == []
    null_device(tree, "d")


@pytest.mark.parametrize("name", sorted({*DEFAULTS["fileio"], "id/vendor", "id/naa", "id/serial"}))
@pytest.mark.parametrize("data", [bytes(range(1, 256)), b"\xff" * 64, b"A" * 5000, b"\x00" * 100, b"\n\n\n"])
def test_rubbish_changes_nothing(tree: Tree, name: str, data: bytes) -> None:
    tree.mkdir("devices/fileio/f")
    path = f"devices/fileio/f/{name}"
    before = tree.read(path)
    if name in ("facts", "expect") and min(data) > 32 and len(data) < 100:
        tree.write_raw(path, data)  # no rubbish: it is only kept
        before = data.decode(errors="surrogateescape")
    else:
        with refused(errno.EINVAL, errno.ERANGE, errno.ENAMETOOLONG, errno.EACCES):
            tree.write_raw(path, data)
    assert tree.read(path) == before


@pytest.mark.parametrize(
    "name", sorted(set(DEFAULTS["fileio"]) - {"state", "error", "medium", "size", "wanted", "backing"})
)
def test_empty_writes(tree: Tree, name: str) -> None:
    tree.mkdir("devices/fileio/f")
    with refused(errno.EFAULT):
        tree.write_raw(f"devices/fileio/f/{name}", b"")
    if name not in (*BACKED, "pr_file", "protection_file"):
        with refused(errno.EINVAL):
            tree.write(f"devices/fileio/f/{name}", "")
