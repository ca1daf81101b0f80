# SPDX-License-Identifier: GPL-2.0-or-later
"""What contradicts itself in the configuration of iSCSI. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.model import Config, Target, User
from pyscstadmin.config.settings import hint
from pyscstadmin.config.where import Path

__all__ = ["faults", "own_faults"]


def faults(config: Config) -> Iterator[tuple[Path, str]]:
    """What is wrong between a target and the whole: (where, a sentence)."""
    portals = {portal.name: portal for portal in config.iscsi.portals}
    for target in config.targets:
        for name in target.portals:
            if name not in portals:
                text = f"there is no portal {name!r}{hint(name, portals)}"
                yield ("targets", *target.key, "portals"), text
    taken: dict[tuple[object, ...], str] = {}
    for portal in config.iscsi.portals:
        where = tuple(portal.settings[name] for name in ("netns", "address", "port"))
        first = taken.setdefault(where, portal.name)
        if first != portal.name:
            yield ("iscsi", "portals", portal.name), f"portal {first!r} has the same address and port"


def own_faults(config: Config) -> Iterator[tuple[Path, str]]:
    """What is wrong with a target, or with discovery, by itself."""
    yield from _users(("iscsi", "users"), config.iscsi.users)
    for target in config.targets:
        if target.driver == "iscsi":
            path: Path = ("targets", *target.key)
            yield from _users((*path, "users"), target.users)
            yield from _settings(path, target)


def _users(path: Path, users: Iterable[User]) -> Iterator[tuple[Path, str]]:
    files: dict[str, User] = {}
    out = ""
    for user in users:
        direction, file = user.settings["direction"], user.secret_file
        if direction == "out" and out:
            yield (
                (*path, user.name),
                f"user {out!r} has the direction out already: a target proves itself as one",
            )
        elif direction == "out":
            out = user.name
        first = files.setdefault(file, user) if file not in ("", BY_HAND) else user
        if first.settings["direction"] != direction:
            text = f"user {first.name!r} of the other direction has the same; take another secret"
            yield (*path, user.name, "secret_file"), text


def _settings(path: Path, target: Target) -> Iterator[tuple[Path, str]]:
    values = target.settings
    if int(values["first_burst_length"]) > int(values["max_burst_length"]):
        yield (
            (*path, "first_burst_length"),
            f"must not be above max_burst_length ({values['max_burst_length']})",
        )
    if values["redirect"] and values["redirect_permanent"]:
        yield (*path, "redirect"), "is for now and redirect_permanent for good: leave one of them out"
