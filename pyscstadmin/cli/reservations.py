# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb about reservations: what is reserved on a device, and for whom; it can be cleared, and carried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyscstadmin.cli.objects import device_name
from pyscstadmin.cli.results import table
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.reservations import TYPES, from_json, to_json

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.reservations import Reservations

__all__ = ["ACTS", "DOCUMENT", "pr"]

DOCUMENT = "scstadmin/pr/1"


def pr(ctx: Context, given: Given) -> Result:
    """pr"""
    ctx.alone("pr")
    return _ACTS[given["what"]](ctx, given, device_name(ctx, given))


def _said(name: str, found: Reservations, lines: list[str], **more: object) -> Result:
    return Result({"device": name, **to_json(found), **more}, lines)


def _show(ctx: Context, given: Given, name: str) -> Result:
    found = ctx.admin.reservations(name)
    return _said(name, found, list(_lines(found)))


def _clear(ctx: Context, given: Given, name: str) -> Result:
    found = ctx.admin.reservations(name)
    if not found.registrants and not found.lost:
        return _said(name, found, ["nothing to do"], cleared=0)
    number = len(found.registrants)
    what = "what is lost is taken as nothing" if found.lost else f"{number} registrations end"
    ctx.confirm(f"On {name}, {what}; clusters rely on reservations to keep others away.", given.get("yes"))
    ctx.admin.clear_reservations(name, found.generation)
    return _said(name, ctx.admin.reservations(name), [f"{name}: {what}"], cleared=number)


def _export(ctx: Context, given: Given, name: str) -> Result:
    from pyscstadmin.store.save import replace_file

    file, found = _file(given), ctx.admin.reservations(name)
    document = {"schema": DOCUMENT, "device": name, **to_json(found)}
    replace_file(file, f"{json.dumps(document, indent=2)}\n".encode())
    return _said(name, found, [f"{file}: {len(found.registrants)} registrants"], file=file)


def _import(ctx: Context, given: Given, name: str) -> Result:
    wanted = _read(_file(given))
    ctx.confirm(f"What {name} has in its pr_file is replaced.", given.get("yes"))
    path = ctx.admin.import_reservations(name, wanted)
    lines = [f"{name}: {len(wanted.registrants)} registrants, when it is enabled"]
    return _said(name, wanted, lines, file=path)


_ACTS = {"show": _show, "clear": _clear, "export": _export, "import": _import}
ACTS = tuple(_ACTS)


def _file(given: Given) -> str:
    if "file" not in given.values:
        raise WrongUsage(f"say FILE: what to {given['what']}, a JSON document")
    return str(given["file"])


def _read(file: str) -> Reservations:
    from pyscstadmin.config.document import parse
    from pyscstadmin.store.load import read_text

    return from_json(parse(read_text(file), file).data, file)


def _lines(found: Reservations) -> Iterator[str]:
    """What is reserved, and a line for each registrant."""
    if found.lost:
        yield "lost: what outlived the loss of power cannot be read, and nobody gets at the medium"
        yield "`pr clear` takes it as nothing; so does REPLACE LOST RESERVATION of an initiator"
        return
    if found.reserve:
        target, _, initiator = found.reserve.partition(" ")
        yield f"reserved (RESERVE) by {initiator} on {target}"
    yield TYPES.get(found.type, found.type)
    yield f"generation {found.generation}; {'outlives' if found.aptpl else 'ends with'} a loss of power"
    if found.registrants:
        rows = [("INITIATOR", "PORT", "KEY", "")]
        rows += [
            (one.initiator, str(one.port), f"0x{one.key:x}", "holder" if one.holder else "")
            for one in found.registrants
        ]
        yield from table(rows)
    else:
        yield "nobody is registered"
