# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/configfs.md names every attribute of the running modules, and nothing that is not there."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path("/sys/kernel/config/scst")
CLASS = Path("/sys/class/scst")
DEBUG = Path("/sys/kernel/debug/scst")
PAGE = Path(__file__).resolve().parents[3] / "docs/configfs.md"
IGNORED = {"uevent", "power", "subsystem", "device"}


@pytest.fixture
def objects() -> Iterator[None]:
    """One object of each kind, made and removed."""
    made = [
        "devices/nullio/doc-n",
        "devices/fileio/doc-f",
        "devices/blockio/doc-b",
        "targets/local/doc-t",
        "targets/local/doc-t/hosts/doc-i",
        "targets/local/doc-t/luns/0",
        "targets/local/doc-t/groups/doc-g",
        "alua/doc-a",
        "alua/doc-a/target_port_groups/doc-p",
        "alua/doc-a/target_port_groups/doc-p/ports/doc-q",
        "faults/doc-x",
        "drivers/iscsi/portals/doc-p",
        "drivers/iscsi/users/doc-u",
        "targets/iscsi/doc-s",
        "targets/iscsi/doc-s/users/doc-u",
    ]
    for path in made:
        (TREE / path).mkdir()
    (TREE / "devices/nullio/doc-n/size").write_text("1048576")
    (TREE / "devices/nullio/doc-n/enabled").write_text("1")
    (TREE / "targets/local/doc-t/enabled").write_text("1")
    yield
    (TREE / "targets/local/doc-t/enabled").write_text("0")
    (TREE / "devices/nullio/doc-n/enabled").write_text("0")
    for path in reversed(made):
        (TREE / path).rmdir()


def section(title: str) -> str:
    """The text below the heading, which may name other directories too, up to the next heading."""
    text = PAGE.read_text()
    found = re.search(rf"^#+ (?:\S+ and )?{re.escape(title)}(?: and \S+)?\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert found, f"docs/configfs.md has no section {title!r}"
    return found[1]


def documented(title: str) -> dict[str, str]:
    """Attribute -> mode, of the section's table; of targets, those that driver local has."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (ro|rw|wo)\b( \| all but local)?", section(title), re.M)
    return {name: mode for name, mode, others in rows if not others}


def attributes(path: Path) -> dict[str, str]:
    """Attribute -> mode, of one directory."""
    words = {0o4: "ro", 0o6: "rw", 0o2: "wo"}
    return {
        entry.name: words[stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) >> 6]
        for entry in os.scandir(path)
        if entry.is_file(follow_symlinks=False)
    }


@pytest.mark.parametrize(
    ("title", "path"),
    [
        ("Root", ""),
        ("devices/HANDLER/NAME/pr/", "devices/nullio/doc-n/pr"),
        ("targets/DRIVER/NAME/", "targets/local/doc-t"),
        ("targets/local/NAME/hosts/INITIATOR/", "targets/local/doc-t/hosts/doc-i"),
        ("targets/DRIVER/NAME/luns/N/", "targets/local/doc-t/luns/0"),
        ("targets/DRIVER/NAME/groups/GROUP/", "targets/local/doc-t/groups/doc-g"),
        ("alua/GROUP/", "alua/doc-a"),
        ("alua/GROUP/target_port_groups/NAME/", "alua/doc-a/target_port_groups/doc-p"),
        (
            "alua/GROUP/target_port_groups/NAME/ports/PORT/",
            "alua/doc-a/target_port_groups/doc-p/ports/doc-q",
        ),
        ("faults/NAME/", "faults/doc-x"),
        ("drivers/iscsi/", "drivers/iscsi"),
        ("drivers/iscsi/portals/NAME/", "drivers/iscsi/portals/doc-p"),
        ("targets/iscsi/NAME/users/USER/", "drivers/iscsi/users/doc-u"),
        ("targets/iscsi/NAME/users/USER/", "targets/iscsi/doc-s/users/doc-u"),
        ("targets/iscsi/NAME/params/", "targets/iscsi/doc-s/params"),
    ],
)
@pytest.mark.usefixtures("objects")
def test_one_directory(title: str, path: str) -> None:
    assert documented(title) == attributes(TREE / path)


@pytest.mark.parametrize("handler", ["nullio", "fileio", "blockio"])
@pytest.mark.usefixtures("objects")
def test_devices(handler: str) -> None:
    rows = documented("devices/HANDLER/NAME/")
    text = section("devices/HANDLER/NAME/")
    expected = {}
    for name, mode in rows.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` "))
        handlers = line.split("|")[3].strip()
        everybody = {"nullio", "fileio", "blockio"}
        some = set(handlers.split(", "))
        who = {
            "all": everybody,
            "all but nullio": everybody - {"nullio"},
            "all but local": everybody - {"local"},
        }.get(handlers, some)
        if handler in who:
            expected[name] = mode
    if handler == "nullio":
        expected["size"] = "rw"
    assert expected == attributes(TREE / f"devices/{handler}/doc-{handler[0]}")


@pytest.mark.usefixtures("objects")
def test_targets_of_iscsi() -> None:
    """Their own attributes, beside those that all but local have."""
    common = {"buffer_limit": "rw", "session_buffer_limit": "rw", **documented("targets/DRIVER/NAME/")}
    own = {name: mode for name, mode in common.items() if name not in ("auto_rescan", "protection")}
    assert {**own, **documented("targets/iscsi/NAME/")} == attributes(TREE / "targets/iscsi/doc-s")


@pytest.mark.usefixtures("objects")
def test_identity() -> None:
    text = section("devices/HANDLER/NAME/id/")
    names = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.M))
    assert names == set(attributes(TREE / "devices/nullio/doc-n/id"))


@pytest.mark.usefixtures("objects")
def test_class() -> None:
    text = section("/sys/class/scst")
    for device in CLASS.iterdir():
        kind = device.name.partition(".")[0]
        row = next(line for line in text.splitlines() if line.startswith((f"| `{kind}.", f"| `{kind}`")))
        names = set(re.findall(r"`([a-z_]+)`", row.split("|")[2]))
        present = {name for name in attributes(device) if name not in IGNORED}
        assert names == present, device.name


def test_debug() -> None:
    assert documented("/sys/kernel/debug/scst") == attributes(DEBUG)
