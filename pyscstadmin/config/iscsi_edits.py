# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of iSCSI's portals, of links to them, and of users, as values. Pure.

A target is (driver, name); no target: the users of discovery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyscstadmin.config import iscsi_names
from pyscstadmin.config.draft import Draft, Key, near
from pyscstadmin.config.edits import Edit, Needs
from pyscstadmin.config.model import Portal, User
from pyscstadmin.config.names import Fault
from pyscstadmin.config.settings import DRIVERS, ISCSI, ISCSI_USER, PORTAL
from pyscstadmin.config.valid import check_is, check_settings
from pyscstadmin.errors import Conflict, InvalidInput, Problem

__all__ = [
    "add_links",
    "change_iscsi",
    "change_portal",
    "change_user",
    "create_portal",
    "create_user",
    "remove_links",
    "remove_portal",
    "remove_user",
]


def _edit(make: Callable[[Draft], None]) -> Edit:
    return Edit(Needs(everything=True), make)


def _check(whose: str, text: str, check: Callable[[str], Fault | None]) -> None:
    check_is(str, text, whose)
    fault = check(text)
    if fault is not None:
        raise InvalidInput(f"{whose} {text[:70]}", [Problem(fault.reason)])


def change_iscsi(settings: Mapping[str, Any]) -> Edit:
    """Change settings of iSCSI as a whole."""
    check_settings("iscsi", settings, ISCSI)

    def make(draft: Draft) -> None:
        draft.iscsi = draft.iscsi.but(**settings)

    return _edit(make)


# Portals.


def create_portal(portal: Portal, key: Key | None = None) -> Edit:
    """Make a portal, and let a target be reached there."""
    check_is(Portal, portal, "portal")
    _check("portal", portal.name, iscsi_names.check_portal_name)
    if key is not None:
        _of_iscsi(key)

    def make(draft: Draft) -> None:
        if draft.iscsi.portal(portal.name) is not None:
            raise Conflict(f"portal {portal.name} exists already")
        _put_portal(draft, portal)
        if key is not None:
            target = draft.target(key).target()
            draft.put_target(target.but(portals=(*target.portals, portal.name)))

    return _edit(make)


def change_portal(name: str, settings: Mapping[str, Any]) -> Edit:
    """Change settings of a portal."""
    _check("portal", name, iscsi_names.check_portal_name)
    check_settings(f"portal {name}", settings, PORTAL)
    return _edit(lambda draft: _put_portal(draft, draft.portal(name).but(**settings)))


def _put_portal(draft: Draft, portal: Portal) -> None:
    """Add a portal, or put it in the place of the one of its name. No two listen at the same place."""
    others = [other for other in draft.iscsi.portals if other.name != portal.name]
    for other in others:
        if all(other.settings[name] == portal.settings[name] for name in ("netns", "address", "port")):
            raise Conflict(f"portal {other.name} has the same address and port")
    draft.iscsi = draft.iscsi.but(portals=(*others, portal))


def remove_portal(name: str) -> Edit:
    """Remove a portal at which no target is reached."""
    _check("portal", name, iscsi_names.check_portal_name)

    def make(draft: Draft) -> None:
        draft.portal(name)
        reached = [target for target in draft.config().targets if name in target.portals]
        if reached:
            where = ", ".join("/".join(target.key) for target in reached[:8])
            raise Conflict(f"portal {name} is one of {where}: take it from there first (`remove portal`)")
        left = [portal for portal in draft.iscsi.portals if portal.name != name]
        draft.iscsi = draft.iscsi.but(portals=left)

    return _edit(make)


def add_links(key: Key, portals: Sequence[str]) -> Edit:
    """Let a target be reached at portals: all of them, or none."""
    _of_iscsi(key)

    def make(draft: Draft) -> None:
        target = draft.target(key).target()
        for name in portals:
            draft.portal(name)
            if name in target.portals:
                raise Conflict(f"{name} is a portal of target {'/'.join(key)} already")
        draft.put_target(target.but(portals=(*target.portals, *dict.fromkeys(portals))))

    return _edit(make)


def remove_links(key: Key, portals: Sequence[str]) -> Edit:
    """Let a target not be reached at portals any more: all of them, or none."""
    _of_iscsi(key)

    def make(draft: Draft) -> None:
        target = draft.target(key).target()
        for name in portals:
            if name not in target.portals:
                raise Conflict(f"{name} is no portal of target {'/'.join(key)}{near(name, target.portals)}")
        draft.put_target(target.but(portals=[name for name in target.portals if name not in portals]))

    return _edit(make)


def _of_iscsi(key: Key) -> None:
    if not DRIVERS[key[0]].portals:
        raise Conflict(f"targets of {key[0]} have no portals and no users")


# Users.


def create_user(key: Key | None, user: User) -> Edit:
    """Make a user of a target, or of discovery."""
    check_is(User, user, "user")
    _check("user", user.name, iscsi_names.check_user_name)

    def change(users: dict[str, User]) -> None:
        if user.name in users:
            raise Conflict(f"user {user.name} of {_where(key)} exists already")
        users[user.name] = user

    return _users(key, change)


def change_user(key: Key | None, name: str, settings: Mapping[str, Any]) -> Edit:
    """Change settings of a user. A file that is given is looked at, also if it is the one that was given."""
    _check("user", name, iscsi_names.check_user_name)
    check_settings(f"user {name}", settings, ISCSI_USER)

    def change(users: dict[str, User]) -> None:
        found = _user(key, users, name).but(**settings)
        users[name] = found.but(stamp="") if "secret_file" in settings else found

    return _users(key, change)


def remove_user(key: Key | None, name: str) -> Edit:
    """Remove a user."""
    _check("user", name, iscsi_names.check_user_name)

    def change(users: dict[str, User]) -> None:
        _user(key, users, name)
        del users[name]

    return _users(key, change)


def _user(key: Key | None, users: Mapping[str, User], name: str) -> User:
    found = users.get(name)
    if found is None:
        raise Conflict(f"there is no user {name} of {_where(key)}{near(name, users)}")
    return found


def _where(key: Key | None) -> str:
    return "discovery" if key is None else f"target {'/'.join(key)}"


def _users(key: Key | None, change: Callable[[dict[str, User]], None]) -> Edit:
    if key is not None:
        _of_iscsi(key)

    def make(draft: Draft) -> None:
        target = draft.target(key).target() if key is not None else None
        users = {user.name: user for user in (target.users if target is not None else draft.iscsi.users)}
        change(users)
        if target is not None:
            draft.put_target(target.but(users=tuple(users.values())))
        else:
            draft.iscsi = draft.iscsi.but(users=tuple(users.values()))

    return _edit(make)
