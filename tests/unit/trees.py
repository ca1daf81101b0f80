# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated trees with configurations, and what can be asked of them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.plan import Plan, plan
from pyscstadmin.kernel.apply import execute
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.sim.tree import SimTree
from tests.unit.strategies import MIB

Inject = Callable[[str, str, "str | None"], "int | None"]

CHANGING = ("mkdir", "rmdir", "symlink", "unlink", "write")


def made(config: Config) -> SimTree:
    """A tree with a configuration."""
    tree = SimTree()
    execute(tree, plan(Config(), config), 1)
    return tree


def exclusive(tree: SimTree) -> Inject:
    """Disks are opened for one device only, here even if they are absent."""

    def inject(operation: str, path: str, value: str | None) -> int | None:
        parts = path.split("/")
        if (operation, value, parts[0], parts[-1]) != ("write", "1", "devices", "enabled"):
            return None
        devices = tree.dump()["devices"]["blockio"]
        wanted = devices.get(parts[2], {"values": {"path": None}})["values"]["path"]
        holders = {name for name, d in devices.items() if d["enabled"] and d["values"]["path"] == wanted}
        return errno.EBUSY if parts[1] == "blockio" and holders - {parts[2]} else None

    return inject


def go(tree: SimTree, wanted: Config) -> Plan:
    """Apply; returns the plan."""
    shot = snapshot(tree)
    steps = plan(shot.config, wanted, settled=shot.root.settled)
    execute(tree, steps, shot.root.generation)
    return steps


def dump(tree: SimTree) -> dict[str, Any]:
    """Everything but the generation, which never goes back, and what cannot come back: runtime state."""
    data = tree.dump()
    del data["generation"]
    for devices in data["devices"].values():
        for device in devices.values():
            device["id"] = dict(sorted(device["id"].items()))
            device["error"] = ""
    for target in data["targets"].values():
        target["hosts"] = sorted(target["hosts"])
        target["groups"] = dict(sorted(target["groups"].items()))
    data["devices"] = {handler: dict(sorted(found.items())) for handler, found in data["devices"].items()}
    data["targets"] = dict(sorted(data["targets"].items()))
    return data


def everything() -> tuple[Config, Config]:
    """Two configurations whose difference has operations of all kinds."""

    def known(number: int) -> Identity:
        return Identity("V", "P", "R", f"S{number}", f"3{number:015}")

    old = Config(
        (
            Device("away", "nullio", size=MIB, id=known(1)),
            Device("changed", "nullio", size=MIB, id=known(2)),
            Device("moved", "nullio", size=MIB, read_only=True, id=known(3)),
            Device("off", "fileio", path="/nonexistent/x", id=known(4)),
        ),
        (
            Target(
                "local", "gone", rel_tgt_id=1, auto_rescan=False, hosts=("h",), luns=(Lun(0, "away", True),)
            ),
            Target(
                "local",
                "kept",
                True,
                2,
                hosts=("a", "b"),
                luns=(Lun(0, "changed"), Lun(1, "away")),
                groups=(
                    Group("g1", 5, ("a", "b"), (Lun(0, "moved", True),)),
                    Group("g2", 100, ("c",), (Lun(3, "off"),)),
                ),
            ),
        ),
    )
    new = Config(
        (
            Device("changed", "nullio", size=2 * MIB, id=replace(known(2), serial="T")),
            Device("moved", "fileio", path="/nonexistent/y", id=known(3)),
            Device("fresh", "nullio", size=MIB, id=known(5)),
            Device("off", "fileio", False, path="/nonexistent/x", id=known(4)),
        ),
        (
            Target(
                "local",
                "new",
                rel_tgt_id=2,
                hosts=("n",),
                luns=(Lun(0, "fresh"),),
                auto_rescan=False,
                queue_depth=7,
            ),
            Target(
                "local",
                "kept",
                True,
                1,
                hosts=("b", "c"),
                auto_rescan=False,
                luns=(Lun(0, "changed", True), Lun(1, "fresh")),
                groups=(
                    Group("g1", 6, ("b", "C"), (Lun(0, "moved"), Lun(1, "fresh"))),
                    Group("g3", 1, ("x*",), ()),
                ),
            ),
        ),
    )
    return old, new


def mapped(*names: str) -> tuple[Target, ...]:
    """An enabled target whose group shows these devices as LUNs 0, 1, ... to the initiator x."""
    luns = tuple(Lun(number, name) for number, name in enumerate(names) if name)
    return (Target("local", "t", True, 1, hosts=("x",), groups=(Group("g", 100, ("x",), luns),)),)
