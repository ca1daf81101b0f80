# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about the whole: show, status, plan, apply, save, restore, clear, schema, what comes into force
together, and devices that are opened, closed and resized.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.bindings import rebound_lines
from pyscstadmin.cli.faultpoints import in_force, in_force_lines
from pyscstadmin.cli.objects import device_name
from pyscstadmin.cli.render import (
    config_counts,
    outcome_lines,
    plan_lines,
    remark_lines,
    resized_text,
    show_lines,
    target_state_text,
)
from pyscstadmin.cli.results import (
    changed,
    operation_data,
    outcome_data,
    parked_because,
    refusal_lines,
    refusals,
    remarks_data,
    running_data,
)
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.kernel.prove import Was

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.losses import Losses
    from pyscstadmin.config.model import Config
    from pyscstadmin.kernel.apply import Outcome

__all__ = [
    "activate",
    "apply",
    "begin",
    "clear",
    "commit",
    "deactivate",
    "discard",
    "lint",
    "plan",
    "rebind",
    "resize",
    "restore",
    "save",
    "schema",
    "show",
    "status",
]


def show(ctx: Context, given: Given) -> Result:
    """show"""
    from pyscstadmin.config.schema import to_data

    shot, running = ctx.snapshot, ctx.admin.running()
    refused = refusals(ctx, shot.standing())
    data = {
        "generation": shot.root.generation,
        "settled": shot.root.settled,
        "config": to_data(shot.config),
        "device_states": dict(sorted(shot.device_states.items())),
        "device_sizes": dict(sorted(shot.device_sizes.items())),
        "device_errors": dict(sorted(shot.device_errors.items())),
        "target_states": {"/".join(key): state for key, state in sorted(shot.target_states.items())},
        "running": running_data(running),
        "bindings": [proof.as_dict() for proof in refused],
    }
    return Result(data, [*show_lines(shot, running), *refusal_lines(refused)])


def status(ctx: Context, given: Given) -> Result:
    """status"""
    shot, logins, running = ctx.snapshot, len(ctx.logins()), ctx.admin.running()
    saved = _saved(ctx, shot.config)
    begun = len(ctx.batch.steps) if ctx.batch is not None else None
    data = {
        "devices": len(shot.config.devices),
        "targets": len(shot.config.targets),
        "sessions": logins,
        "generation": shot.root.generation,
        "settled": shot.root.settled,
        "parked": list(shot.parked),
        "target_states": {"/".join(key): state for key, state in sorted(shot.target_states.items())},
        "running": running_data(running),
        "faults": in_force(ctx),
        "saved": saved,
        "begun": begun,
    }
    return Result(data, _status_lines(ctx, data))


def _status_lines(ctx: Context, data: dict[str, Any]) -> Iterator[str]:
    shot, logins = ctx.snapshot, data["sessions"]
    counts = f"{config_counts(shot.config)}, {logins} session{'' if logins == 1 else 's'}"
    yield f"{counts}, generation {shot.root.generation}"
    if not shot.root.settled:
        yield "changes are staged that are not in force"
    if data["begun"] is not None:
        yield f"{data['begun']} changes begun and not in force: `commit` or `discard`"
    yield from (parked_because(ctx, name) for name in shot.parked)
    for (driver, name), state in sorted(shot.target_states.items()):
        if state != "enabled":
            yield f"{driver}/{name}: {target_state_text(state)}"
    yield from (f"still running under revoked access: {one.describe()}" for one in ctx.admin.running())
    yield from in_force_lines(ctx)
    yield str(data["saved"])


def _saved(ctx: Context, config: Config) -> str:
    from pyscstadmin.config.schema import dumps

    path = ctx.admin.default_file
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            same = file.read() == dumps(config)
    except FileNotFoundError:
        return "not saved: `save` writes it to " + path
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0)}"
    return f"saved in {path}" if same else f"changed since it was saved in {path}"


# Files.


def _load(ctx: Context, file: str) -> Config:
    """The configuration of a file. Raises `InvalidInput`; if the file is whole and what it wants cannot be
    had, with what `lint` has to say as well.
    """
    from pyscstadmin.config.lint import problems
    from pyscstadmin.errors import InvalidInput
    from pyscstadmin.store.load import examine_file

    if file == "-" and ctx.owns_input:
        raise WrongUsage("the standard input is the shell's own; give a file")
    config, fault = examine_file(file)
    if fault is None and config is not None:
        return config
    assert fault is not None
    # What the reader has said already is not said again.
    remarks = ctx.admin.lint(config, accept=["same-identity"]) if config is not None else ()
    raise InvalidInput(fault.source, [*fault.problems, *problems(remarks)], fault.more)


def plan(ctx: Context, given: Given) -> Result:
    """plan"""
    ctx.alone("plan")
    wanted = _load(ctx, given["file"])
    steps = ctx.admin.plan(wanted, accept=given.get("accept", ()))
    sessions = ctx.admin.touched(wanted) if steps else []
    data = {
        "impact": str(steps.impact),
        "operations": [operation_data(step) for step in steps.operations],
        "sessions": [one._asdict() for one in sessions],
        **remarks_data(steps.remarks),
    }
    return Result(data, plan_lines(steps, sessions))


def lint(ctx: Context, given: Given) -> Result:
    """lint"""
    from pyscstadmin.config.lint import exit_code

    config = _load(ctx, given["file"]) if given.get("file") else ctx.config
    remarks = ctx.admin.lint(config, accept=given.get("accept", ()))
    code = exit_code(remarks)
    data = {"exit_code": code, "lint": [remark.as_dict() for remark in remarks]}
    lines = remark_lines(remarks, most=len(remarks), refused=True)
    return Result(data, lines if remarks else ["nothing to remark"], code=code)


def apply(ctx: Context, given: Given) -> Result:
    """apply"""
    ctx.alone("apply")
    wanted, accept = _load(ctx, given["file"]), given.get("accept", ())
    return _agreed(
        ctx, given, lambda agree: ctx.admin.apply(wanted, accept=accept, progress=ctx.progress, agree=agree)
    )


def restore(ctx: Context, given: Given) -> Result:
    """restore"""
    ctx.alone("restore")
    wanted = _load(ctx, given.get("file") or ctx.admin.default_file)
    accept = given.get("accept", ())
    return _agreed(
        ctx, given, lambda agree: ctx.admin.restore(wanted, accept=accept, progress=ctx.progress, agree=agree)
    )


class _Asks(Exception):
    """Somebody has to agree to this first. Not under the lock: a person may take his time."""

    def __init__(self, losses: Losses) -> None:
        self.losses = losses


def _agreed(ctx: Context, given: Given, run: Callable[[Callable[[Losses], None]], Outcome]) -> Result:
    """Apply, if what goes by that may go. A person is asked about all that does, and again if it is more by
    the time he has answered; a script only has to say so where somebody is logged in and loses something.
    """
    known: Losses | None = None

    def agree(losses: Losses) -> None:
        nonlocal known
        if not given.get("yes") and losses != known and (ctx.ask is not None or losses.live):
            raise _Asks(losses)
        known = losses

    while True:
        try:
            outcome = run(agree)
        except _Asks as asks:
            ctx.admin.again()
            text = asks.losses.text()
            ctx.confirm(f"This {text}.", None, {"losses": asks.losses.as_dict()})
            known = asks.losses
        else:
            return _done(ctx, outcome, known)


def clear(ctx: Context, given: Given) -> Result:
    """clear"""
    ctx.alone("clear")
    ctx.confirm(f"Removes {config_counts(ctx.config)}; all sessions end.", given.get("yes"))
    return _done(ctx, ctx.admin.clear(progress=ctx.progress))


# Of faults, where a configuration is saved or made.
_STAYS = "; no part of the configuration, so that it is neither saved nor removed"


def _done(ctx: Context, outcome: Outcome, losses: Losses | None = None) -> Result:
    # Of as many operations as there may be, nothing is made that nobody reads.
    data, lines = outcome_data(outcome) if ctx.collects else {}, list(outcome_lines(outcome))
    if losses is not None:
        data["losses"] = losses.as_dict()
        lines.insert(1, f"this {losses.text()}")
    lines += in_force_lines(ctx, _STAYS)
    return Result(data, lines, outcome)


def save(ctx: Context, given: Given) -> Result:
    """save"""
    ctx.alone("save")
    file = given.get("file") or ctx.admin.default_file
    if file == "-":
        return _print(ctx)
    written = ctx.admin.save(file, force=bool(given.get("force")))
    said = f"{file}: {'saved' if written else 'unchanged'}"
    return Result({"file": file, "written": written}, [said, *in_force_lines(ctx, _STAYS)])


def _print(ctx: Context) -> Result:
    """The configuration as a file has it, which is what it is whatever was asked for."""
    from pyscstadmin.config.schema import dumps, to_data

    if ctx.collects:
        return Result(to_data(ctx.config), own=True)
    # The file format is UTF-8, whatever the terminal is.
    sys.stdout.flush()
    sys.stdout.buffer.write(dumps(ctx.config).encode())
    sys.stdout.buffer.flush()
    return Result(None)


def schema(ctx: Context, given: Given) -> Result:
    """schema"""
    from pyscstadmin.cli.describe import json_schema, text

    return Result(json_schema(), text().splitlines(), own=True)


# What comes into force together.


def begin(ctx: Context, given: Given) -> Result:
    """begin"""
    ctx.begin()
    return Result({"begun": True})


def commit(ctx: Context, given: Given) -> Result:
    """commit"""
    if ctx.batch is None:
        outcome = ctx.admin.commit()
        done = f"what was staged is in force as generation {outcome.generation}"
        return changed(ctx, outcome, {}, [done if outcome else "nothing is staged"])
    outcome, count = ctx.commit()
    lines = [f"{count} change{'' if count == 1 else 's'} in force as generation {outcome.generation}"]
    return changed(ctx, outcome, {"changes": count}, lines)


def discard(ctx: Context, given: Given) -> Result:
    """discard"""
    count = ctx.discard()
    return Result({"dropped": count}, [f"{count} change{'' if count == 1 else 's'} dropped"])


# Devices that are opened, closed and resized.


def activate(ctx: Context, given: Given) -> Result:
    """activate"""
    ctx.alone("activate")
    name = device_name(ctx, given)
    state = ctx.admin.activate(name)
    proof = ctx.admin.find(name)
    odd = [proof] if proof is not None and proof.was in (Was.MOVED, Was.ANY) else []
    data = {"device": name, "state": state, "bindings": [one.as_dict() for one in odd]}
    return Result(data, [f"{name}: {state}", *(f"{name}: {one.text}" for one in odd)])


def deactivate(ctx: Context, given: Given) -> Result:
    """deactivate"""
    ctx.alone("deactivate")
    name = device_name(ctx, given)
    state = ctx.admin.deactivate(name)
    return Result({"device": name, "state": state}, [f"{name}: {state}"])


def rebind(ctx: Context, given: Given) -> Result:
    """rebind"""
    ctx.alone("rebind")
    rebound = ctx.admin.rebind(device_name(ctx, given), given.get("path", ""))
    data = {"device": rebound.device, "path": rebound.path, "state": rebound.state}
    changed = [{"fact": d.name, "before": d.known, "after": d.found} for d in rebound.differences]
    return Result({**data, "differences": changed}, rebound_lines(rebound))


def resize(ctx: Context, given: Given) -> Result:
    """resize"""
    ctx.alone("resize")
    name = device_name(ctx, given)
    found = ctx.admin.resize(name, given.get("size"), shrink=bool(given.get("shrink")))
    data = {"device": name, "before": found.before, "size": found.size, "state": found.state}
    return Result(data, [resized_text(name, found.before, found.size)])
