# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about iSCSI logins: which were refused, what would become of one, and what discovery would say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.spelling import canonical

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.iscsi.explain import Told
    from pyscstadmin.iscsi.refusals import Record

__all__ = ["discover", "explain_login", "logins"]


def logins(ctx: Context, given: Given) -> Result:
    """logins"""
    from pyscstadmin.iscsi.rules import RULES

    initiator = canonical(given["initiator"]) if given.get("initiator") else ""
    target = given.get("target", "").removeprefix("iscsi/")
    found = [
        one
        for one in ctx.admin.refused_logins()
        if initiator in ("", canonical(one.initiator)) and target in ("", one.target)
    ]
    data = [{**asdict(one), "advice": RULES.get(one.rule, "")} for one in found]
    return Result({"logins": data}, _login_lines(found, RULES))


def _login_lines(found: Iterable[Record], rules: dict[str, str]) -> Iterator[str]:
    rule = ""
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
        # As strangers have sent them.
        who, target, name = (
            text.encode("unicode_escape").decode() for text in (one.initiator, one.target, one.user)
        )
        what = f" to {target}" if target else ""
        user = f" as {name}" if name else ""
        how = f" ({one.status}h)" if one.status else ""
        where = f"at {one.peer}{what} by portal {one.portal}{user}"
        yield f"{when}  {who or 'an initiator'} {where}: {one.reason}{how}"
        rule = one.rule
    if rule:
        yield f"about the last one: {rules.get(rule, 'look at the log of scst-iscsid')}"
    else:
        yield "no login was refused"


def explain_login(ctx: Context, given: Given) -> Result:
    """explain-login"""
    ctx.alone("explain-login")
    key = ctx.key(given["target"])
    if key[0] != "iscsi":
        raise WrongUsage(f"targets of {key[0]} have no logins to explain; see `explain`")
    found = ctx.admin.explain_login(
        given["initiator"], key[1], given.get("user", ""), given.get("portal", "")
    )
    allowed = any(one.allowed for one in found)
    data = {"initiator": given["initiator"], "target": "/".join(key), "allowed": allowed}
    lines = []
    for one in found:
        lines.append(f"by portal {one.portal}: {one.reason}" if one.portal else one.reason)
        if one.advice:
            lines.append(f"  {one.advice}")
    return Result({**data, "portals": [asdict(one) for one in found]}, lines)


def discover(ctx: Context, given: Given) -> Result:
    """discover"""
    ctx.alone("discover")
    source, at = given.get("from", ""), given.get("at", "")
    if bool(source) == bool(at):
        raise WrongUsage("say from=ADDRESS, where the initiator is, or at=ADDRESS, where it asks")
    try:
        found = ctx.admin.discover(given["initiator"], source, at)
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    said = [asdict(one) for one in found]
    return Result({"initiator": given["initiator"], "asked": said}, _told_lines(found))


def _told_lines(found: Sequence[Told]) -> Iterator[str]:
    for one in found:
        chap = ", after CHAP as a user of discovery" if one.needs_chap else ""
        yield f"at {one.address} (portal {one.portal}){chap}:"
        for name, addresses in one.targets.items():
            yield f"  {name}"
            yield from (f"    {address}" for address in addresses)
        if not one.targets:
            yield "  nothing: it may use no target by this portal"
    if not found:
        yield "no portal listens where that leads"
