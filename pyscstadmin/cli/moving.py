# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs of going about: ls, cd, pwd, refresh, exit, version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyscstadmin import __version__
from pyscstadmin.cli.places import Place, place
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.errors import NotPresent, OperationError

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context

__all__ = ["cd", "ls", "pwd", "quit_", "refresh", "version"]


def there(ctx: Context, path: str, here: str) -> Place:
    """The place at a path. Raises `WrongUsage` if nothing is there."""
    found = place(path, here)
    if ctx.there() and not ctx.exists(found):
        raise WrongUsage(f"nothing is at {found.path}{ctx.near_place(found)}")
    return found


def ls(ctx: Context, given: Given) -> Result:
    """ls"""
    found = there(ctx, given.get("place", "."), given.place.path)
    if not ctx.there():
        raise NotPresent(ctx.admin.root)
    assert ctx.draw is not None
    lines = ctx.draw(ctx, found, given.get("depth"))
    return Result({"place": found.path, "tree": lines}, lines)


def cd(ctx: Context, given: Given) -> Result:
    """cd"""
    ctx.here = there(ctx, given.get("place", "/"), given.place.path).path
    return Result({"place": ctx.here})


def pwd(ctx: Context, given: Given) -> Result:
    """pwd"""
    return Result({"place": ctx.here}, [ctx.here])


def refresh(ctx: Context, given: Given) -> Result:
    """refresh"""
    if not ctx.there():
        raise NotPresent(ctx.admin.root)
    return Result({})


def quit_(ctx: Context, given: Given) -> Result:
    """exit"""
    if ctx.batch is not None and ctx.batch.steps and ctx.ask is not None:
        ctx.confirm("What was begun is not in force, and is dropped.", None)
    ctx.ended = True
    return Result({})


def version(ctx: Context, given: Given) -> Result:
    """version"""
    try:
        module = ctx.admin.tree.read("version")
    except (NotPresent, OperationError):
        module = ""
    said = [f"scstadmin {__version__}", f"module {module}" if module else "module not loaded"]
    return Result({"scstadmin": __version__, "module": module}, said)
