# SPDX-License-Identifier: GPL-2.0-or-later
"""``scstadmin apply`` and ``clear`` while allocations of the kernel's part fail: all of it, or none of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from tests.debug.guest import faults, turns
from tests.vm.guest import tool
from tests.vm.guest.patience import SLOW
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = [
    pytest.mark.skipif(bool(faults.missing()), reason=faults.missing()),
    pytest.mark.usefixtures("clean_tree"),
]

TARGET = "iqn.2026-11.com.example:target"
FAILED = frozenset({1})  # its status: nothing was changed
SPARSE = 10  # what each of its steps asks for fails in test_fail_config.py


def document(devices: dict[str, dict[str, Any]], **targets: dict[str, Any]) -> dict[str, Any]:
    """A configuration. Identities are given: what is made anew is what it was."""
    number = 0
    for handler in devices.values():
        for device in handler.values():
            number += 1
            device["id"] = {"serial": f"S{number}", "naa": f"{0x3000000000000000 + number:x}"}
    return {"version": 1, "devices": devices, "targets": {"local": targets}}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that does not answer in time proves nothing: here it is slow for want of a processor."""
    monkeypatch.setattr(Admin, "__init__", partialmethod(Admin.__init__, patience=3.0 * SLOW))


@pytest.fixture
def documents(
    tmp_path: Path, make_file: Callable[[str, int], Path], disks: dict[str, PluggedDisk]
) -> tuple[Path, Path]:
    """Two configurations that have a device, a target and an initiator in common."""
    file, node = {"path": str(make_file("backing", 4))}, {"path": str(disks["vm-disk-a"].node)}
    name = "iqn.2026-11.com.example:kept"
    first = document(
        {"fileio": {"kept": dict(file)}, "nullio": {"going": {"size": 1 << 20}}},
        kept={"hosts": [name], "luns": {"0": {"device": "kept"}, "1": {"device": "going"}}},
    )
    group = {"initiators": ["iqn.2026-11.com.example:*"], "luns": {"3": {"device": "kept"}}}
    second = document(
        {"fileio": {"kept": dict(file)}, "blockio": {"a-device-with-a-long-name": dict(node)}},
        kept={
            "hosts": [name],
            "luns": {"0": {"device": "kept", "read_only": True}},
            "groups": {"a-group-with-a-long-name": group},
        },
        **{TARGET: {"hosts": [f"{name}-too"], "luns": {"0": {"device": "a-device-with-a-long-name"}}}},
    )
    paths = tmp_path / "first.json", tmp_path / "second.json"
    for path, content in zip(paths, (first, second), strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_apply(documents: tuple[Path, Path], tmp_path: Path, out_dir: Path) -> None:
    apply = [partial(tool.run_into, tmp_path / "out", "apply", "--yes", str(path)) for path in documents]
    clear = partial(tool.run_into, tmp_path / "out", "clear", "--yes")
    apply[0]()
    for what, do, undo in (("change", apply[1], apply[0]), ("clear", clear, apply[0])):
        operation = turns.Operation(do, undo, clear=FAILED, sparse=SPARSE)
        tally = turns.in_turn(operation)
        with (out_dir / "fail-apply.txt").open("a") as file:
            file.write(f"{what}: {tally}\n")
    clear()
