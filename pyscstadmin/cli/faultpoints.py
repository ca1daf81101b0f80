# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about faults that are injected on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.objects import checked, converted, got, something
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.config import names
from pyscstadmin.config.faultpoints import ANY, FAULT, FAULT_STATES
from pyscstadmin.config.settings import DRIVERS

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context

__all__ = [
    "create_fault",
    "delete_fault",
    "fault_points",
    "get_fault",
    "in_force",
    "in_force_lines",
    "set_fault",
]


def _settings(ctx: Context, given: Given) -> dict[str, Any]:
    """What is to be set; a target may be said as everywhere."""
    texts = dict(given.settings)
    target = texts.get("target", ANY)
    if target not in (ANY, ""):
        driver, slash, name = target.partition("/")
        known = DRIVERS.get(driver)
        full = f"{driver}/{known.name.canonical(name) if known is not None else name}"
        texts["target"] = full if slash else "/".join(ctx.key(target))
    return converted(texts, FAULT, "a fault")


def _done(ctx: Context, given: Given, changed: bool) -> Result:
    said = [] if changed and ctx.owns_input else ["done" if changed else "nothing to do"]
    return Result({"changed": changed, "fault": given["fault"]}, said)


def create_fault(ctx: Context, given: Given) -> Result:
    """create fault"""
    ctx.alone("create fault")
    checked(names.check_device_name(given["fault"]), given["fault"])
    ctx.admin.create_fault(given["fault"], **_settings(ctx, given))
    return _done(ctx, given, True)


def set_fault(ctx: Context, given: Given) -> Result:
    """set fault"""
    ctx.alone("set fault")
    something(given, FAULT)
    return _done(ctx, given, ctx.admin.change_fault(given["fault"], **_settings(ctx, given)))


def delete_fault(ctx: Context, given: Given) -> Result:
    """delete fault"""
    ctx.alone("delete fault")
    ctx.admin.remove_fault(given["fault"])
    return _done(ctx, given, True)


def get_fault(ctx: Context, given: Given) -> Result:
    """get fault"""
    found = ctx.admin.fault(given["fault"])
    return got(given, found.settings, {"hits": str(found.hits)}, FAULT, FAULT_STATES)


def fault_points(ctx: Context, given: Given) -> Iterator[dict[str, Any]]:
    """Rows of `list faults`."""
    shown = ("enabled", "target", "group", "lun", "commands", "action")
    for fault in ctx.admin.faults():
        settings = {name: fault.settings[name] for name in shown}
        yield {"name": fault.name, **settings, "hits": fault.hits}


def in_force(ctx: Context) -> list[str]:
    """The names of those in force."""
    return [fault.name for fault in ctx.admin.faults() if fault.enabled]


def in_force_lines(ctx: Context, why: str = "") -> Iterator[str]:
    """What is injected now: nobody is to look for the cause elsewhere."""
    for fault in ctx.admin.faults():
        if fault.enabled:
            yield f"fault {fault.name} is in force: {fault.text}, {fault.hits} struck{why}"
