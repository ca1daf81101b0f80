# SPDX-License-Identifier: GPL-2.0-or-later
"""What the whole of the configuration looks like, to be compared: configfs, class devices, objects alive."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW

SETTLE = 10.0 * SLOW
QUIET = 0.15 * SLOW
# What differs each time: numbers that go up, random identities, SCSI hosts; what was asked for last, also in
# vain, and why that failed; and the table that repeats all this of all devices, in the order of their making.
VARYING = {"generation", "settled", "serial", "naa", "unsettled", "host", "wanted", "error", "device_table"}


def of_folder(folder: Path) -> dict[str, str]:
    """Directories, links and values below a folder of configfs."""
    found: dict[str, str] = {}
    collect(str(folder), "", found)
    return found


def collect(folder: str, name: str, found: dict[str, str]) -> None:
    """What is in a folder, under its name; with as few system calls as there can be: they are slow here."""
    with os.scandir(folder) as entries:
        for entry in entries:
            key = name + entry.name
            if entry.is_symlink():
                found[key] = "-> " + os.path.basename(os.readlink(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                found[key] = "/"
                collect(entry.path, key + "/", found)
            elif entry.name not in VARYING:
                found[key] = value(entry.path)


def value(path: str) -> str:
    """What an attribute says; the error if it says none."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        return f"errno {error.errno}"
    try:
        return os.read(file, 1 << 16).decode()
    except OSError as error:
        return f"errno {error.errno}"
    finally:
        os.close(file)


def of_sessions() -> dict[str, str]:
    """Who is logged in where and sees what. What it leads to may be known by its name only."""
    found: dict[str, str] = {}
    for folder in tree.CLASS.glob("session.*"):
        values = {name: value(f"{folder}/{name}") for name in ("target", "initiator", "group", "luns")}
        found[f"session {values['target']}{values['initiator']}"] = values["group"] + values["luns"]
    return found


def now() -> dict[str, str]:
    """All of it."""
    objects = {f"objects {name}": str(count) for name, count in tree.objects().items()}
    return without_past(of_folder(tree.ROOT)) | of_sessions() | objects


def without_past(image: dict[str, str]) -> dict[str, str]:
    """Without what a disabled device has served, which is forgotten by the next attempt to open it."""
    disabled = {
        key.removesuffix("enabled")
        for key, text in image.items()
        if key.endswith("/enabled") and text == "0\n"
    }
    past = {f"{key}size" for key in disabled if key.startswith(("devices/fileio/", "devices/blockio/"))}
    return {key: text for key, text in image.items() if key not in past}


def difference(wanted: dict[str, str], got: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Where two images differ: wanted, got."""
    return {
        key: (wanted.get(key), got.get(key))
        for key in sorted(wanted.keys() | got.keys())
        if wanted.get(key) != got.get(key)
    }


def settled() -> dict[str, str]:
    """The image when it no longer changes: the same for as long as a grace period may take."""
    image = now()
    end = time.monotonic() + SETTLE
    while time.monotonic() < end:
        time.sleep(QUIET)
        if (later := now()) == image:
            return image
        image = later
    return image


def wait_for(wanted: dict[str, str], what: str) -> None:
    """Objects are freed after grace periods, and sessions come and go by themselves: wait for an image."""
    end = time.monotonic() + SETTLE
    while (wrong := difference(wanted, now())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not wrong, f"{what}: wanted, got: {wrong}"
