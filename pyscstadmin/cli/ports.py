# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb about hardware ports: which there are, which targets they are, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.config.draft import is_called
from pyscstadmin.config.ports import UNKNOWN

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.ports import PortUse

__all__ = ["port_lines", "ports"]


def ports(ctx: Context, given: Given) -> Result:
    """ports"""
    ctx.alone("ports")
    found = [use for use in ctx.admin.ports() if _wanted(use, given)]
    return Result({"ports": [_data(use) for use in found]}, port_lines(found))


def _wanted(use: PortUse, given: Given) -> bool:
    """Whether it is one of those that a place or a parameter speaks of."""
    driver = given.get("driver") or given.place.fixed.get("driver")
    target = given.get("target") or given.place.fixed.get("target")
    return driver in (None, use.driver) and (not target or is_called((use.driver, use.name), target))


def _data(use: PortUse) -> dict[str, Any]:
    port, target = use.port, use.target
    return {
        "driver": use.driver,
        "name": use.name,
        "present": port is not None,
        "state": port.state if port is not None else "",
        "model": port.model if port is not None else "",
        "firmware": port.firmware if port is not None else "",
        "speed": port.speed if port is not None else "",
        "link": port.link if port is not None else "",
        "qlini_mode": port.qlini_mode if port is not None else "",
        "fc_host": port.fc_host if port is not None else "",
        "holder": port.holder if port is not None else "",
        "target": use.full_name if target is not None else None,
        "target_state": target.state if target is not None else "",
        "remark": use.remark,
        "advice": use.advice,
    }


def port_lines(uses: list[PortUse]) -> Iterator[str]:
    """A line for each port, and below it its target, or what is in the way and what to do."""
    for use in uses:
        yield f"{use.full_name}  {_port(use)}"
        if use.target is not None:
            yield f"  target {use.target.state}"
        if use.remark:
            yield f"  {use.remark}"
        if use.advice:
            yield f"  {use.advice}"
    if not uses:
        yield "no hardware ports that could be targets"


def _port(use: PortUse) -> str:
    port = use.port
    if port is None:
        return "not here"
    parts = [
        port.model,
        f"firmware {port.firmware}" if port.firmware else "",
        port.speed if port.speed != "unknown" else "",
        f"link {port.link}" if port.link else "",
        f"qlini_mode {port.qlini_mode}" if port.qlini_mode else "",
        port.fc_host,
        "" if port.state in ("present", UNKNOWN) else port.state,
    ]
    return ", ".join(part for part in parts if part) or "here"
