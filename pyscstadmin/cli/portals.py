# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about iSCSI's portals and users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.objects import checked, converted, got, something
from pyscstadmin.cli.results import changed
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config import iscsi_edits, iscsi_names
from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.settings import DRIVERS, ISCSI, ISCSI_STATES, ISCSI_USER, PORTAL, PORTAL_STATES

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.draft import Key
    from pyscstadmin.config.model import Config, User
    from pyscstadmin.kernel.logins import IscsiSession

__all__ = [
    "add_links",
    "create_portal",
    "create_user",
    "delete_portal",
    "delete_user",
    "drain",
    "drop_session",
    "get_driver",
    "get_portal",
    "get_user",
    "portals",
    "remove_links",
    "session_lines",
    "set_driver",
    "set_portal",
    "set_user",
    "users",
]


def set_driver(ctx: Context, given: Given) -> Result:
    """set driver"""
    _has_settings(given)
    values = converted(something(given, ISCSI), ISCSI, "driver iscsi")
    edit = iscsi_edits.change_iscsi(values)
    return changed(ctx, ctx.change(edit, _module()), {"driver": given["driver"]})


def _module() -> Config:
    """What has the driver's module loaded: there may be no target of it yet."""
    from pyscstadmin.config.model import Config, Iscsi, Portal

    return Config(iscsi=Iscsi([Portal("any")]))


def _has_settings(given: Given) -> None:
    if not DRIVERS[given["driver"]].portals:
        raise WrongUsage(f"driver {given['driver']} has no settings that all its targets share")


def get_driver(ctx: Context, given: Given) -> Result:
    """get driver"""
    _has_settings(given)
    states = {} if ctx.batch is not None else {"isns_state": ctx.admin.isns_state()}
    return got(given, dict(ctx.config.iscsi.settings), states, ISCSI, ISCSI_STATES)


# Portals.


def _portal(given: Given) -> dict[str, Any]:
    return {"portal": given["portal"]}


def create_portal(ctx: Context, given: Given) -> Result:
    """create portal"""
    from pyscstadmin.config.model import Portal

    checked(iscsi_names.check_portal_name(given["portal"]), given["portal"])
    portal = Portal(given["portal"], **converted(given.settings, PORTAL, "a portal"))
    edit = iscsi_edits.create_portal(portal, _key(ctx, given))
    return changed(ctx, ctx.change(edit, _module()), _portal(given))


def delete_portal(ctx: Context, given: Given) -> Result:
    """delete portal"""
    return changed(ctx, ctx.change(iscsi_edits.remove_portal(given["portal"])), _portal(given))


def set_portal(ctx: Context, given: Given) -> Result:
    """set portal"""
    values = converted(something(given, PORTAL), PORTAL, "a portal")
    return changed(ctx, ctx.change(iscsi_edits.change_portal(given["portal"], values)), _portal(given))


def get_portal(ctx: Context, given: Given) -> Result:
    """get portal"""
    from pyscstadmin.config.draft import Draft

    portal = Draft(ctx.config).portal(given["portal"])
    states = {} if ctx.batch is not None else {"state": ctx.admin.portal_states().get(portal.name, "")}
    return got(given, dict(portal.settings), states, PORTAL, PORTAL_STATES)


def add_links(ctx: Context, given: Given) -> Result:
    """add portal"""
    return _links(ctx, given, iscsi_edits.add_links)


def remove_links(ctx: Context, given: Given) -> Result:
    """remove portal"""
    return _links(ctx, given, iscsi_edits.remove_links)


def _links(ctx: Context, given: Given, edit: Any) -> Result:
    key = ctx.key(given["target"])
    data = {"target": "/".join(key), "portals": list(given.rest)}
    return changed(ctx, ctx.change(edit(key, given.rest)), data)


def portals(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list portals`."""
    states = {} if ctx.batch is not None else ctx.admin.portal_states()
    wanted = ctx.target(given["target"]) if given.get("target") else None
    for portal in ctx.config.iscsi.portals:
        reached = ["/".join(one.key) for one in ctx.config.targets if portal.name in one.portals]
        if wanted is None or portal.name in wanted.portals:
            yield {
                "name": portal.name,
                "address": str(portal.settings["address"]),
                "port": int(portal.settings["port"]),
                "state": states.get(portal.name, ""),
                "targets": len(reached),
            }


# Sessions.


def drop_session(ctx: Context, given: Given) -> Result:
    """drop"""
    ctx.alone("drop")
    name = given["session"]
    ctx.confirm(f"The session {name} ends; its initiator may log in again.", given.get("yes"))
    ctx.admin.drop_session(name)
    return Result({"session": name}, [f"{name} was dropped"])


def drain(ctx: Context, given: Given) -> Result:
    """drain"""
    ctx.alone("drain")
    target = "/".join(ctx.key(given["target"])) if given.get("target") else ""
    what = (
        f"target {target}"
        if target
        else f"portal {given['portal']}"
        if given.get("portal")
        else "all targets"
    )
    ctx.confirm(f"The iSCSI sessions of {what} are asked to end, and dropped.", given.get("yes"))
    found = ctx.admin.drain(target, given.get("portal", ""), given.get("timeout", 30))
    lines = [
        *_drained(found.dropped, "dropped, it has not logged out"),
        *_drained(found.asked, "asked, and not waited for: interrupted"),
    ]
    lines.append(f"{len(found.left)} logged out, {len(found.dropped)} dropped")
    data = {what: [one.name for one in which] for what, which in found._asdict().items()}
    return Result(data, lines, code=3 if found.dropped or found.asked else 0)


def _drained(sessions: Iterable[IscsiSession], how: str) -> Iterator[str]:
    return (f"{one.name} {one.initiator} on {one.target}: {how}" for one in sessions)


def session_lines(found: Iterable[IscsiSession]) -> Iterator[str]:
    """Sessions of iSCSI for people."""
    for one in found:
        yield f"{one.name}  {one.initiator} on {one.target}"
        yield from (f"  {name} {value}" for name, value in one.values.items())


# Users.


def _key(ctx: Context, given: Given) -> Key | None:
    """The target whose users are meant; None: those of discovery."""
    return ctx.key(given["target"]) if given.get("target") else None


def _user(key: Key | None, given: Given) -> dict[str, Any]:
    return {"target": "/".join(key) if key is not None else "", "user": given["user"]}


def _settings(given: Given) -> dict[str, Any]:
    if given.settings.get("secret_file") == BY_HAND:
        raise WrongUsage("secret_file: must be a file; a secret is not read from the standard input")
    return converted(given.settings, ISCSI_USER, "a user")


def create_user(ctx: Context, given: Given) -> Result:
    """create user"""
    from pyscstadmin.config.model import User

    checked(iscsi_names.check_user_name(given["user"]), given["user"])
    key = _key(ctx, given)
    user = User(given["user"], **_settings(given))
    return changed(ctx, ctx.change(iscsi_edits.create_user(key, user), _module()), _user(key, given))


def delete_user(ctx: Context, given: Given) -> Result:
    """delete user"""
    key = _key(ctx, given)
    return changed(ctx, ctx.change(iscsi_edits.remove_user(key, given["user"])), _user(key, given))


def set_user(ctx: Context, given: Given) -> Result:
    """set user"""
    key = _key(ctx, given)
    something(given, ISCSI_USER)
    edit = iscsi_edits.change_user(key, given["user"], _settings(given))
    return changed(ctx, ctx.change(edit), _user(key, given))


def get_user(ctx: Context, given: Given) -> Result:
    """get user"""
    from pyscstadmin.config.draft import near
    from pyscstadmin.errors import Conflict

    found = {user.name: user for user in _users(ctx, _key(ctx, given))}
    user = found.get(given["user"])
    if user is None:
        raise Conflict(f"there is no user {given['user']}{near(given['user'], found)}")
    return got(given, dict(user.settings), {}, ISCSI_USER, ())


def _users(ctx: Context, key: Key | None) -> Iterable[User]:
    return ctx.config.iscsi.users if key is None else ctx.target("/".join(key)).users


def users(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list users`."""
    wanted = _key(ctx, given)
    found = [] if wanted is not None else [("", ctx.config.iscsi.users)]
    found += [("/".join(one.key), one.users) for one in ctx.config.targets if wanted in (None, one.key)]
    for target, there in found:
        for user in there:
            file = user.secret_file
            yield {
                "target": target,
                "name": user.name,
                "direction": str(user.settings["direction"]),
                "expires": str(user.settings["expires"]),
                "uses": int(user.settings["uses"]),
                "secret": "none" if not file else "by hand" if file == BY_HAND else file,
            }
