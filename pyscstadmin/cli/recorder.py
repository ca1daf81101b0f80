# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb about what was slow, and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.render import size_text
from pyscstadmin.cli.verbs import Given, Result

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.kernel.recorder import Record

__all__ = ["record_lines", "recorder"]


def recorder(ctx: Context, given: Given) -> Result:
    """recorder"""
    found = [record for record in ctx.admin.records() if _wanted(record, given)]
    return Result({"records": [_data(record) for record in found]}, record_lines(found))


def _wanted(record: Record, given: Given) -> bool:
    device, kind = given.get("device") or given.place.fixed.get("device"), given.get("kind")
    return device in (None, record.device) and kind in (None, record.kind)


def _data(record: Record) -> dict[str, Any]:
    from datetime import datetime, timezone

    data = asdict(record)
    when = datetime.fromtimestamp(data.pop("when_ns") / 1e9, timezone.utc)
    return {"kind": data.pop("kind"), "when": when.isoformat(timespec="milliseconds"), **data}


def record_lines(records: Iterable[Record]) -> Iterator[str]:
    """The records, a line each: when, what, how long, whose."""
    count = 0
    for one in records:
        count += 1
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.when_ns / 1e9))
        yield f"{when}  {_fault(one)}: {_whose(one)}: {_which(one)}"
    if not count:
        yield "nothing was slow, nothing has failed"


def _fault(record: Record) -> str:
    times = "" if record.times == 1 else f", {record.times} times"
    took = f"{record.ms / 1000:.1f} s"
    if record.kind == "slow":
        from pyscstadmin.kernel.recorder import STAGES

        return f"slow, {took}, {record.place_ms / 1000:.1f} s of it {STAGES.get(record.place, record.place)}"
    if record.kind == "tmf":
        return f"{record.what}{times}, took {took}"
    injected = ", by a fault that is injected on purpose" if record.place == "fault" else ""
    return f"{record.answer}{times}, after {took}{injected}"


def _whose(record: Record) -> str:
    lun = "" if record.lun is None else f", LUN {record.lun}"
    return f"{record.initiator} on {record.target}{lun}" + (f" ({record.device})" if record.device else "")


def _which(record: Record) -> str:
    if record.kind == "tmf":
        return f"{record.answer}, tag {record.tag}"
    answer = f"{record.answer}, " if record.kind == "slow" else ""
    return f"{answer}{record.what} {size_text(record.bytes)}, CDB {record.cdb}, tag {record.tag}"
