# SPDX-License-Identifier: GPL-2.0-or-later
"""What verbs have to say, made of outcomes and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.bindings import elsewhere_lines
from pyscstadmin.cli.render import remark_lines, running_lines, waiting_lines
from pyscstadmin.cli.verbs import Result
from pyscstadmin.cli.words import quote
from pyscstadmin.config.layout import device_dir
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.prove import Proof, Was

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.lint import Remark
    from pyscstadmin.config.plan import Operation
    from pyscstadmin.kernel.apply import Outcome
    from pyscstadmin.kernel.read import Standing
    from pyscstadmin.kernel.running import Running

__all__ = [
    "changed",
    "operation_data",
    "outcome_data",
    "outcome_said",
    "parked_because",
    "refusal_lines",
    "refusals",
    "remarks_data",
    "running_data",
    "settings_lines",
    "table",
]


def changed(
    ctx: Context, outcome: Outcome | None, data: Mapping[str, Any], lines: Sequence[str] = ()
) -> Result:
    """The result of a change: `data` says what it was about, `lines` what there is to say if it was made."""
    if outcome is None:
        return Result({"pending": True, "changed": True, **data}, lines)
    said = list(lines or ([] if ctx.owns_input else ["done"])) if outcome else ["nothing to do"]
    return Result(
        {"changed": bool(outcome), **data, **outcome_data(outcome)},
        [*said, *outcome_said(ctx, outcome)],
        outcome,
    )


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain data."""
    return {
        "exit_code": outcome.exit_code,
        "operations": [operation_data(step) for step in outcome.done],
        "failed": [{"step": f.operation.text, **f.error.as_dict()} for f in outcome.failed],
        "parked": [*outcome.parked, *outcome.opening],
        "waiting": list(outcome.waiting),
        "generation": outcome.generation,
        "settled": outcome.settled,
        "running": running_data(outcome.running),
        **remarks_data(outcome.remarks),
        "bindings": [proof.as_dict() for proof in outcome.proofs],
    }


def remarks_data(remarks: Iterable[Remark]) -> dict[str, Any]:
    """What `lint` remarks as plain data."""
    found = list(remarks)
    return {
        "warnings": [remark.text for remark in found],
        "lint": [remark.as_dict() for remark in found],
    }


def operation_data(operation: Operation) -> dict[str, str]:
    """An operation as plain data."""
    return {"operation": operation.text, "path": operation.path, "impact": str(operation.impact)}


def running_data(running: Iterable[Running]) -> list[dict[str, object]]:
    """Running commands as plain data."""
    return [asdict(one) for one in running]


def outcome_said(ctx: Context, outcome: Outcome) -> Iterator[str]:
    """What is not as it was asked for, or should not be."""
    yield from (parked_because(ctx, name) for name in (*outcome.parked, *outcome.opening))
    yield from elsewhere_lines(outcome)
    yield from waiting_lines(outcome.waiting)
    yield from (f"left out: {failure.operation.text}: {failure.error}" for failure in outcome.failed)
    yield from running_lines(outcome)
    yield from remark_lines(outcome.remarks)


def parked_because(ctx: Context, name: str) -> str:
    """A line about a device that waits for its backing, as it is now."""
    from pyscstadmin.kernel import read

    try:
        device = read.device(ctx.admin.tree, name)
        if device is None:
            return f"{name}: parked"
        place = device_dir(device.handler, name)
        state, error, wanted = ctx.admin.tree.read_many(
            [f"{place}/state", f"{place}/error", f"{place}/wanted"]
        )
    except OperationError:
        return f"{name}: parked"
    if state == "opening":
        return f"{name}: opening; {device.path} does not answer yet"
    if wanted != "1":
        return f"{name}: parked on request; `activate` opens it"
    proof = ctx.admin.find(name)
    if proof is not None and proof.was in (Was.OTHER, Was.SEVERAL):
        return f"{name}: parked; {proof.text}"
    return f"{name}: parked, waits for {device.path} ({error})"


def refusals(ctx: Context, standing: Mapping[str, Standing]) -> list[Proof]:
    """Of these devices, those that are parked because the right backing is not there and another one is."""
    waiting = [name for name, one in standing.items() if one.state == "parked" and one.error]
    proofs = (ctx.admin.find(name) for name in waiting)
    return [proof for proof in proofs if proof is not None and proof.was in (Was.OTHER, Was.SEVERAL)]


def refusal_lines(proofs: Iterable[Proof]) -> Iterator[str]:
    """A line for each, which names the fact."""
    return (f"{proof.device}: parked; {proof.text}" for proof in proofs)


def settings_lines(settings: Iterable[Mapping[str, Any]], *, described: bool) -> list[str]:
    """`name=value` for each, as it would be typed; with what it is as a comment, or without."""
    rows = list(settings)
    texts = [_typed(row) for row in rows]
    if not described:
        return texts
    width = min(max(map(len, texts), default=0), 40)
    return [f"{text:<{width}}  # {_comment(row)}" for text, row in zip(texts, rows, strict=True)]


def _typed(row: Mapping[str, Any]) -> str:
    text = str(row.get("text", row["value"]))
    return f"{row['name']}={quote(text) if text else ''}"


def _comment(row: Mapping[str, Any]) -> str:
    if row["access"] == "ro":
        return f"ro; {row['help']}"
    default = "required" if row["required"] else f"default {_plain(row['default'])}"
    unit = f" {row['unit']}" if row["unit"] and not row["required"] else ""
    live = "" if row["live"] else ", off for a moment to change"
    return f"rw{live}; {default}{unit}; {row['help']}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "none"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, the first row being their heads."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
