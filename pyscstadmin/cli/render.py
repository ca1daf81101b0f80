# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for people. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from pyscstadmin.config.names import PRIORITY_DEFAULT

if TYPE_CHECKING:
    from pyscstadmin.config.acl import Decision
    from pyscstadmin.config.model import Config, Device, Group, Lun, Target
    from pyscstadmin.config.plan import Plan
    from pyscstadmin.kernel.read import Snapshot
    from pyscstadmin.kernel.sessions import Session

__all__ = ["config_counts", "decision_lines", "plan_lines", "session_lines", "show_lines", "size_text"]

_T = TypeVar("_T")


def size_text(size: int) -> str:
    """Bytes as a short text: `512 B`, `1.5 GiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:g} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB" if value < 1024 else f"{value / 1024:.1f} PiB"


def show_lines(shot: Snapshot) -> Iterator[str]:
    """The configuration with its states, as a tree."""
    config = shot.config
    yield "devices" if config.devices else "devices (none)"
    for device, last in _last(config.devices):
        yield f"{_branch(last)}{_device(device, shot.device_states.get(device.name, '?'))}"
    yield "targets" if config.targets else "targets (none)"
    for target, last in _last(config.targets):
        yield from _target(target, shot.target_states.get(target.key, "?"), shot.device_states, last)
    yield f"generation {shot.root.generation}" + (
        "" if shot.root.settled else ", with staged changes not in force"
    )


def _last(items: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    found = list(items)
    for index, item in enumerate(found):
        yield item, index == len(found) - 1


def _branch(last: bool) -> str:
    return "└─ " if last else "├─ "


def _indent(last: bool) -> str:
    return "   " if last else "│  "


def _device(device: Device, state: str) -> str:
    parts = [device.handler, device.path or size_text(device.size), state]
    if device.block_size:
        parts.append(f"block size {device.block_size}")
    flags = ("read_only", "write_through", "rotational", "o_direct")
    parts.extend(flag.replace("_", "-") for flag in flags if getattr(device, flag))
    if device.id.serial:
        parts.append(f"serial {device.id.serial}")
    return f"{device.name}  {', '.join(parts)}"


def _target(target: Target, state: str, states: Mapping[str, str], last: bool) -> Iterator[str]:
    yield f"{_branch(last)}{target.driver}/{target.name}  {state}, relative id {target.rel_tgt_id}"
    below: list[tuple[str, list[str]]] = []
    if target.hosts:
        below.append(("hosts " + ", ".join(target.hosts), []))
    if target.luns or not target.groups:
        below.append(("for everybody else" if target.groups else "for everybody", _luns(target.luns, states)))
    below.extend((_group(group), _luns(group.luns, states)) for group in target.groups)
    for (head, lines), end in _last(below):
        yield f"{_indent(last)}{_branch(end)}{head}"
        for line, final in _last(lines):
            yield f"{_indent(last)}{_indent(end)}{_branch(final)}{line}"


def _group(group: Group) -> str:
    rank = "" if group.priority == PRIORITY_DEFAULT else f" (priority {group.priority})"
    return f"group {group.name}{rank}: {', '.join(group.initiators) or 'nobody'}"


def _luns(luns: Iterable[Lun], states: Mapping[str, str]) -> list[str]:
    return [_lun(lun, states.get(lun.device, "unmapped")) for lun in luns] or ["no LUNs"]


def _lun(lun: Lun, state: str) -> str:
    mode = "read-only" if lun.read_only else "read-write"
    return f"LUN {lun.number}  {lun.device or '-'}, {mode}" + ("" if state == "active" else f", {state}")


def plan_lines(plan: Plan) -> Iterator[str]:
    """What a plan does, one operation per line, and its worst impact."""
    for operation in plan.operations:
        yield operation.describe()
    if plan:
        yield f"{len(plan.operations)} operations, impact on sessions: {plan.impact}"
    else:
        yield "nothing to do"


def decision_lines(decision: Decision, target: str, *, settled: bool = True) -> Iterator[str]:
    """Who sees what, and why. `settled` False: changes of access are staged, and `decision` counts them."""
    through = f"group {decision.group}" if decision.group else "the target's own LUNs"
    yield f"{decision.initiator} on {target}: {through}"
    yield f"  {decision.reason}"
    for line in _luns(decision.luns, {lun.device: "active" for lun in decision.luns}):
        yield f"  {line}"
    for verdict in decision.verdicts:
        if not verdict.chosen:
            yield f"  group {verdict.group} (priority {verdict.priority}): {verdict.reason}"
    if not settled:
        yield "with staged changes not in force: `sessions` says what is seen until they are committed"


def session_lines(sessions: Iterable[Session]) -> Iterator[str]:
    """The sessions, with the LUNs each sees."""
    count = 0
    for session in sessions:
        count += 1
        group = f"group {session.group}" if session.group else "own LUNs"
        moved = f"{session.commands} commands, read {size_text(session.read_bytes)}, "
        moved += f"written {size_text(session.write_bytes)}"
        yield f"{session.name}  {session.initiator} on {session.target}, {group}: {moved}"
        for lun in session.luns:
            yield f"  LUN {lun.number}  {lun.device}, {'read-only' if lun.read_only else 'read-write'}"
    if not count:
        yield "no sessions"


def config_counts(config: Config) -> str:
    """`3 devices, 1 target, 4 LUNs`."""
    luns = sum(len(luns) for target in config.targets for _, luns in target.lun_sets())
    counts = ((len(config.devices), "device"), (len(config.targets), "target"), (luns, "LUN"))
    return ", ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts)
