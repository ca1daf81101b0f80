# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about device groups and their target port groups (ALUA)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.objects import checked, converted, got, something
from pyscstadmin.cli.results import changed
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config import alua_edits, names
from pyscstadmin.config.settings import (
    DEVICE_GROUP,
    DEVICE_GROUP_STATES,
    GROUP_ID,
    PORT_GROUP,
    PORT_STATE,
    REL_TGT_ID,
    Rows,
)

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.model import DeviceGroup, PortGroup

__all__ = [
    "ANSWERS",
    "PORT_ROWS",
    "add_members",
    "answer",
    "create_alua",
    "create_tpg",
    "delete_alua",
    "delete_tpg",
    "device_groups",
    "get_alua",
    "get_tpg",
    "members",
    "port_groups",
    "remove_members",
    "set_alua",
    "set_tpg",
]

# How a question is answered.
ANSWERS = ("accept", "refuse")
PORT_ROWS: Rows = {GROUP_ID.name: GROUP_ID, PORT_STATE.name: PORT_STATE, **PORT_GROUP}


def _port(text: str) -> str | int:
    """A port as it is typed: a target, or the number of a port of another host. Raises `WrongUsage`."""
    if not (text.isascii() and text.isdigit()):
        return text
    reason = REL_TGT_ID.type.refuse(int(text[:9]))
    if reason:
        raise WrongUsage(f"{text!r} {reason}")
    return int(text)


def _group(ctx: Context, given: Given) -> DeviceGroup:
    from pyscstadmin.config.draft import Draft

    return Draft(ctx.config).device_group(given["alua"])


def _ports(ctx: Context, given: Given) -> PortGroup:
    from pyscstadmin.config.draft import Draft

    return Draft(ctx.config).port_group(given["tpg"], given["alua"])


def _data(given: Given, **more: Any) -> dict[str, Any]:
    found = {"alua": given["alua"]}
    return {**found, "tpg": given["tpg"], **more} if "tpg" in given.values else {**found, **more}


# Device groups.


def create_alua(ctx: Context, given: Given) -> Result:
    """create alua"""
    from pyscstadmin.config.model import DeviceGroup

    checked(names.check_group_name(given["alua"]), given["alua"])
    values = converted(given.settings, DEVICE_GROUP, "a device group")
    group = DeviceGroup(given["alua"], given.rest, **values)
    return changed(ctx, ctx.change(alua_edits.create_device_group(group)), _data(given))


def delete_alua(ctx: Context, given: Given) -> Result:
    """delete alua"""
    return changed(ctx, ctx.change(alua_edits.remove_device_group(given["alua"])), _data(given))


def set_alua(ctx: Context, given: Given) -> Result:
    """set alua"""
    values = converted(something(given, DEVICE_GROUP), DEVICE_GROUP, "a device group")
    return changed(ctx, ctx.change(alua_edits.change_device_group(given["alua"], values)), _data(given))


def get_alua(ctx: Context, given: Given) -> Result:
    """get alua"""
    group = _group(ctx, given)
    states = {} if ctx.batch is not None else {"question": ctx.admin.questions().get(group.name, "")}
    return got(given, dict(group.settings), states, DEVICE_GROUP, DEVICE_GROUP_STATES)


def answer(ctx: Context, given: Given) -> Result:
    """answer"""
    ctx.alone("answer")
    group, number, how = given["alua"], given["question"], given["how"]
    ctx.admin.answer(group, number, how == "accept")
    said = f"question {number} of {group}: {'done as asked' if how == 'accept' else 'refused'}"
    return Result({"alua": group, "question": number, "answer": how}, [said])


def add_members(ctx: Context, given: Given) -> Result:
    """add member"""
    if given.get("tpg"):
        edit = alua_edits.add_ports(given["alua"], given["tpg"], [_port(text) for text in given.rest])
    else:
        edit = alua_edits.add_devices(given["alua"], given.rest)
    return changed(ctx, ctx.change(edit), _data(given, members=list(given.rest)))


def remove_members(ctx: Context, given: Given) -> Result:
    """remove member"""
    if given.get("tpg"):
        edit = alua_edits.remove_ports(given["alua"], given["tpg"], [_port(text) for text in given.rest])
    else:
        edit = alua_edits.remove_devices(given["alua"], given.rest)
    return changed(ctx, ctx.change(edit), _data(given, members=list(given.rest)))


# Target port groups.


def create_tpg(ctx: Context, given: Given) -> Result:
    """create tpg"""
    from pyscstadmin.config.model import PortGroup

    checked(names.check_group_name(given["tpg"]), given["tpg"])
    values = converted(given.settings, PORT_ROWS, "a target port group")
    targets, numbers = _parted(given)
    group = PortGroup(given["tpg"], **{**values, "targets": targets, "remote_ports": numbers})
    return changed(ctx, ctx.change(alua_edits.create_port_group(given["alua"], group)), _data(given))


def _parted(given: Given) -> tuple[list[str], list[int]]:
    """Targets, and ports of other hosts."""
    found = [_port(text) for text in given.rest]
    return [one for one in found if isinstance(one, str)], [one for one in found if isinstance(one, int)]


def delete_tpg(ctx: Context, given: Given) -> Result:
    """delete tpg"""
    edit = alua_edits.remove_port_group(given["alua"], given["tpg"])
    return changed(ctx, ctx.change(edit), _data(given))


def set_tpg(ctx: Context, given: Given) -> Result:
    """set tpg"""
    values = converted(something(given, PORT_ROWS), PORT_ROWS, "a target port group")
    edit = alua_edits.change_port_group(given["alua"], given["tpg"], values)
    return changed(ctx, ctx.change(edit), _data(given))


def get_tpg(ctx: Context, given: Given) -> Result:
    """get tpg"""
    group = _ports(ctx, given)
    values = {"group_id": group.group_id or 0, "state": group.state or PORT_STATE.default}
    return got(given, {**values, **dict(group.settings)}, {}, PORT_ROWS, ())


# Lists.


def device_groups(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list alua`."""
    asked = {} if ctx.batch is not None else ctx.admin.questions()
    for group in ctx.config.alua:
        words = asked.get(group.name, "").split()
        yield {
            "name": group.name,
            "explicit": bool(group.settings["explicit"]),
            "devices": " ".join(group.devices),
            "tpgs": len(group.port_groups),
            "question": " ".join([*words[:1], *words[5:]]),
        }


def port_groups(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list tpgs`."""
    wanted = given.get("alua")
    for group in ctx.config.alua:
        for one in group.port_groups if wanted in (None, group.name) else ():
            yield {
                "alua": group.name,
                "name": one.name,
                "group_id": one.group_id,
                "state": one.state or PORT_STATE.default,
                "preferred": bool(one.settings["preferred"]),
                "ports": " ".join(one.ports),
            }


def members(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list members`: devices, and ports."""
    of, wanted = given.get("alua"), given.get("tpg")
    for group in ctx.config.alua if of is None else (_group(ctx, given),):
        if wanted is None:
            yield from ({"alua": group.name, "tpg": "", "member": device} for device in group.devices)
        for one in group.port_groups:
            for name in one.ports if wanted in (None, one.name) else ():
                yield {"alua": group.name, "tpg": one.name, "member": name}
