# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of the configuration: what one change has to know, and no more. What is not there is left out."""

from __future__ import annotations

from collections.abc import Iterable

from pyscstadmin.config.draft import Key
from pyscstadmin.config.edits import Needs
from pyscstadmin.config.layout import group_dir, set_dir, target_dir
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.spelling import spelled
from pyscstadmin.kernel import read
from pyscstadmin.kernel.cfs import View, optional

__all__ = ["luns", "part"]


def part(tree: View, needs: Needs) -> Config:
    """What is needed, as a configuration. Of devices that are only shown there are name and handler."""
    target = _target(tree, needs) if needs.target is not None else None
    targets = (target,) if target is not None else ()
    shown = {lun.device for found in targets for _, luns in found.lun_sets() for lun in luns if lun.device}
    whole = [device for name in needs.devices if (device := read.device(tree, name)) is not None]
    bare = _bare(tree, sorted(shown.union(needs.shown).difference(needs.devices)))
    return Config((*whole, *bare), targets)


def _bare(tree: View, names: Iterable[str]) -> list[Device]:
    found = ((name, read.find_handler(tree, name)) for name in names)
    return [Device(name, handler[0]) for name, handler in found if handler is not None]


def _target(tree: View, needs: Needs) -> Target | None:
    assert needs.target is not None
    key = needs.target
    if needs.whole:
        return read.target(tree, *key)
    if needs.itself:
        return read.bare_target(tree, *key)
    enabled = optional(tree, f"{target_dir(*key)}/enabled")
    if enabled is None:
        return None
    sets = {group: luns(tree, key, group, numbers) for group, numbers in needs.luns.items()}
    names = dict.fromkeys((*needs.groups, *filter(None, needs.luns)))
    groups = [_group(tree, key, name, name in needs.groups, sets.get(name, ())) for name in names]
    present = tuple(group for group in groups if group is not None)
    return Target(*key, enabled == "1", luns=sets.get("", ()), groups=present)


def _group(tree: View, key: Key, name: str, itself: bool, shown: tuple[Lun, ...]) -> Group | None:
    """A group with its priority and its initiators (`itself`), or only with these LUNs."""
    path = group_dir(*key, name)
    priority = optional(tree, f"{path}/priority")
    if priority is None:
        return None
    if not itself:
        return Group(name, luns=shown)
    initiators = tuple(tree.list(f"{path}/initiators"))
    return Group(name, int(priority), initiators, shown, spelled(initiators))


def luns(tree: View, key: Key, group: str, numbers: tuple[int, ...] = ()) -> tuple[Lun, ...]:
    """LUNs of a target ('') or a group: those of these numbers that are there, or all."""
    if not numbers:
        return read.luns(tree, set_dir(*key, group))
    found = (read.lun(tree, *key, group, number) for number in numbers)
    return tuple(lun for lun in found if lun is not None)
