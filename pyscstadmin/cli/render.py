# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for people. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from pyscstadmin.cli.bindings import binding_lines
from pyscstadmin.config.facts import Facts
from pyscstadmin.config.names import PRIORITY_DEFAULT
from pyscstadmin.config.settings import LIMITS, PORT_STATE, Known, Number
from pyscstadmin.kernel.read import Standing

if TYPE_CHECKING:
    from pyscstadmin.admin import Who
    from pyscstadmin.config.acl import Decision
    from pyscstadmin.config.lint import Remark
    from pyscstadmin.config.model import Config, Device, DeviceGroup, Group, Iscsi, Lun, Target, User
    from pyscstadmin.config.plan import Plan
    from pyscstadmin.config.settings import Setting, Value, Values
    from pyscstadmin.config.touched import Touched
    from pyscstadmin.kernel.apply import Outcome
    from pyscstadmin.kernel.inflight import Command as InFlight
    from pyscstadmin.kernel.read import Snapshot
    from pyscstadmin.kernel.running import Running
    from pyscstadmin.kernel.sessions import Session, SessionLun

__all__ = [
    "command_lines",
    "config_counts",
    "decision_lines",
    "limits_text",
    "mode_text",
    "outcome_lines",
    "plan_lines",
    "remark_lines",
    "resized_text",
    "running_lines",
    "session_lines",
    "show_lines",
    "size_text",
    "state_text",
    "target_state_text",
    "waiting_lines",
    "who_lines",
]

_T = TypeVar("_T")
_MOST_REMARKS = 10


def size_text(size: int) -> str:
    """Bytes as a short text: `512 B`, `1.5 GiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:g} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB" if value < 1024 else f"{value / 1024:.1f} PiB"


def show_lines(shot: Snapshot, running: Iterable[Running] = ()) -> Iterator[str]:
    """The configuration with its states, as a tree, and whose commands of revoked access still run."""
    config = shot.config
    yield from _chosen(config.settings)
    yield "devices" if config.devices else "devices (none)"
    for device, last in _last(config.devices):
        size = shot.device_sizes.get(device.name, device.size)
        state = state_text(shot.device_states.get(device.name, "?"), shot.device_errors.get(device.name, ""))
        yield f"{_branch(last)}{_device(device, state, size)}"
    yield "targets" if config.targets else "targets (none)"
    devices = shot.standing()
    for target, last in _last(config.targets):
        yield from _target(target, shot.target_states.get(target.key, "?"), devices, last)
    if config.alua:
        yield "alua"
    for group, last in _last(config.alua):
        yield from _device_group(group, last)
    yield from _iscsi(config.iscsi)
    yield f"generation {shot.root.generation}" + (
        "" if shot.root.settled else ", with staged changes not in force"
    )
    for one in running:
        yield f"still running under access revoked by generation {one.generation}: {one.describe()}"


def state_text(state: str, error: str) -> str:
    """A state with its reason: `parked on request`, `parked (ENOENT)`."""
    if state != "parked":
        return state
    return f"parked ({error})" if error else "parked on request"


def _last(items: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    found = list(items)
    for index, item in enumerate(found):
        yield item, index == len(found) - 1


def _branch(last: bool) -> str:
    return "└─ " if last else "├─ "


def _indent(last: bool) -> str:
    return "   " if last else "│  "


def _device_group(group: DeviceGroup, last: bool) -> Iterator[str]:
    head = ", ".join([group.name, *_chosen(group.settings)])
    yield f"{_branch(last)}{head}: {', '.join(group.devices) or '-'}"
    for one, end in _last(group.port_groups):
        parts = [one.state or str(PORT_STATE.default), *_chosen(one.settings), f"id {one.group_id or '-'}"]
        yield f"{_indent(last)}{_branch(end)}{one.name}  {', '.join(parts)}: {', '.join(one.ports) or '-'}"


def _iscsi(iscsi: Iscsi) -> Iterator[str]:
    """Portals and users of discovery, if there is anything."""
    lines = [", ".join([f"portal {one.name}", *_chosen(one.settings)]) for one in iscsi.portals]
    lines += [f"discovery: {_user(user)}" for user in iscsi.users]
    if lines or any(iscsi.settings.chosen()):
        yield ", ".join(["iscsi", *_chosen(iscsi.settings)])
    for line, last in _last(lines):
        yield f"{_branch(last)}{line}"


def _user(user: User) -> str:
    return f"user {user.name} {user.settings['direction']}{'' if user.secret_file else ' without secret'}"


def _device(device: Device, state: str, size: int) -> str:
    parts = [device.handler, *([device.path] if device.path else []), state]
    if size:
        parts.insert(-1, size_text(size))
    parts += _chosen(device.settings)
    if device.id.serial:
        parts.append(f"serial {device.id.serial}")
    return f"{device.name}  {', '.join(parts)}"


def _target(target: Target, state: str, devices: Mapping[str, Standing], last: bool) -> Iterator[str]:
    parts = [target_state_text(state), f"relative id {target.rel_tgt_id}", *_chosen(target.settings)]
    yield f"{_branch(last)}{target.driver}/{target.name}  {', '.join(parts)}"
    below: list[tuple[str, list[str]]] = []
    if target.hosts:
        below.append(("hosts " + ", ".join(target.hosts), []))
    if target.portals:
        below.append(("portals " + ", ".join(target.portals), []))
    if target.users:
        below.append((", ".join(map(_user, target.users)), []))
    if target.luns or not target.groups:
        below.append(
            ("for everybody else" if target.groups else "for everybody", _luns(target.luns, devices))
        )
    below.extend((_group(group), _luns(group.luns, devices)) for group in target.groups)
    for (head, lines), end in _last(below):
        yield f"{_indent(last)}{_branch(end)}{head}"
        for line, final in _last(lines):
            yield f"{_indent(last)}{_indent(end)}{_branch(final)}{line}"


def _chosen(settings: Values) -> list[str]:
    """The settings that somebody has chosen, but those that make the thing what it is."""
    return [
        _setting(settings.table[name], value)
        for name, value in settings.chosen()
        if not settings.table[name].required
    ]


def _setting(row: Setting, value: Value) -> str:
    if isinstance(row.type, Known):
        facts = Facts.read(str(value))
        return f"known by {facts.summary}" if facts is not None else ""
    if isinstance(value, bool):
        return row.name.replace("_", "-") if value else f"not {row.name.replace('_', '-')}"
    text = str(value)
    if isinstance(value, int) and isinstance(row.type, Number) and row.type.unit == "bytes":
        text = size_text(value)
    return f"{row.name.replace('_', ' ')} {'(secret)' if row.secret else text}"


def _group(group: Group) -> str:
    rank = "" if group.priority == PRIORITY_DEFAULT else f" (priority {group.priority})"
    return f"group {group.name}{rank}: {', '.join(group.initiators) or 'nobody'}"


def _luns(luns: Iterable[Lun], devices: Mapping[str, Standing]) -> list[str]:
    return [_lun(lun, devices.get(lun.device, _UNMAPPED)) for lun in luns] or ["no LUNs"]


def _lun(lun: Lun, device: Standing) -> str:
    text = f"LUN {lun.number}  {lun.device or '-'}, {mode_text(lun.read_only, device.read_only)}"
    text += limits_text(lun)
    return text if device.state == "active" else f"{text}, {state_text(device.state, device.error)}"


def limits_text(lun: Lun | SessionLun) -> str:
    """What each initiator is limited to; empty if nothing is."""
    words = [f"{name}={getattr(lun, name)}" for name in LIMITS if getattr(lun, name)]
    return f", {', '.join([*words, f'burst={lun.burst}'])}" if words else ""


def mode_text(lun: bool, device: bool) -> str:
    """What initiators can do, by what is read-only."""
    if lun:
        return "read-only"
    return "read-only (the device is)" if device else "read-write"


_UNMAPPED = Standing("unmapped", 0)


def plan_lines(plan: Plan, sessions: Iterable[Touched] = ()) -> Iterator[str]:
    """What a plan does, one operation per line, which iSCSI sessions it touches, and its worst impact."""
    for operation in plan.operations:
        yield operation.describe()
    yield from (one.text for one in sessions)
    if plan:
        yield f"{len(plan.operations)} operations, impact on sessions: {plan.impact}"
    else:
        yield "nothing to do"
    yield from remark_lines(plan.remarks, refused=True)


def outcome_lines(outcome: Outcome, done: str = "") -> Iterator[str]:
    """What was done (`done`: in these words), and what is not as it was asked for, or should not be."""
    yield done or (f"{len(outcome.done)} operations done" if outcome.done else "nothing to do")
    yield from binding_lines(outcome)
    yield from waiting_lines(outcome.waiting)
    yield from (f"left out: {failure.operation.text}: {failure.error}" for failure in outcome.failed)
    yield from running_lines(outcome)
    yield from remark_lines(outcome.remarks)


def remark_lines(
    remarks: Iterable[Remark], *, most: int = _MOST_REMARKS, refused: bool = False
) -> Iterator[str]:
    """What `lint` remarks, at most so many of one rule. `refused`: errors are called that, and what comes of
    them is said; otherwise all are warnings.
    """
    told: dict[str, int] = {}
    errors = []
    for remark in remarks:
        told[remark.rule] = told.get(remark.rule, 0) + 1
        if refused and remark.severity == "error" and remark.rule not in errors:
            errors.append(remark.rule)
        if told[remark.rule] <= most:
            yield f"{remark.severity if refused else 'warning'}: {remark.text}"
    for rule, count in told.items():
        if count > most:
            yield f"and {count - most} more [{rule}]; `scstadmin lint` shows all"
    if errors:
        how = " ".join(f"--accept {rule}" for rule in errors)
        yield f"`apply` refuses this, unless told that it is meant: {how}"


def waiting_lines(targets: Iterable[str]) -> Iterator[str]:
    """Which targets are configured and wait for their hardware."""
    for target in targets:
        yield f"note: {target} is {target_state_text('parked')}, and goes into service by itself then"


def target_state_text(state: str) -> str:
    """A target's state with its reason."""
    return f"{state} until its port can be used (`scstadmin ports`)" if state == "parked" else state


def running_lines(outcome: Outcome) -> Iterator[str]:
    """Whose commands still run though they would not be admitted any more, and what to do about it."""
    if outcome.settled is not False:
        return
    yield f"in force since generation {outcome.generation}, but commands that were admitted before still run:"
    yield from (f"  {one.describe()}" for one in outcome.running)
    yield (
        "they may still change the medium: give it to nobody else before `scstadmin show` has no such line; "
        "look after the backing of the device if they hang (journalctl -k -g scst), and use --fence next "
        "time to have them aborted"
    )


def resized_text(name: str, before: int, size: int) -> str:
    """`da: 64 MiB, was 32 MiB`."""
    return f"{name}: {size_text(size)}" + (f", was {size_text(before)}" if size != before else ", as before")


def decision_lines(
    decision: Decision,
    target: str,
    standing: Mapping[str, Standing] | None = None,
    *,
    settled: bool = True,
    state: str = "",
    paths: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Who sees what, and why. `standing`: how the devices are, if it is known. `settled` False: changes of
    access are staged, and `decision` counts them. `state`: that of the target. `paths`: states of devices in
    device groups, by this target.
    """
    through = f"group {decision.group}" if decision.group else "the target's own LUNs"
    yield f"{decision.initiator} on {target}: {through}"
    yield f"  {decision.reason}"
    known = standing or {}
    for lun in decision.luns:
        device = known.get(lun.device, Standing("active", 0))
        path = (paths or {}).get(lun.device, "")
        size = f", {size_text(device.size)}" if device.size else ""
        yield f"  {_lun(lun, device)}{size}" + (f", {path} by this target" if path else "")
    if not decision.luns:
        yield "  no LUNs"
    for verdict in decision.verdicts:
        if not verdict.chosen:
            yield f"  group {verdict.group} (priority {verdict.priority}): {verdict.reason}"
    if not settled:
        yield "with staged changes not in force: `sessions` says what is seen until they are committed"
    if state == "parked":
        yield f"note: {target} is {target_state_text(state)}: nobody can log in before"


def who_lines(who: Who) -> Iterator[str]:
    """A device, the LUNs that it is, and who sees it now."""
    device, standing = who.device, who.standing
    yield _device(device, state_text(standing.state, standing.error), standing.size)
    for use in who.uses:
        whom = f"group {use.group}" if use.group else "initiators that no group claims"
        seen = ", ".join(use.sessions) or "nobody now"
        yield (
            f"  LUN {use.lun} of {use.target} for {whom}, {mode_text(use.read_only, standing.read_only)}; "
            f"seen by {seen}"
        )
    if not who.uses:
        yield "  no LUNs"


def session_lines(sessions: Iterable[Session]) -> Iterator[str]:
    """The sessions, with the LUNs each sees."""
    count = 0
    for session in sessions:
        count += 1
        group = f"group {session.group}" if session.group else "own LUNs"
        moved = f"{session.commands} commands, read {size_text(session.read_bytes)}, "
        moved += f"written {size_text(session.write_bytes)}"
        yield f"{session.name}  {session.initiator} on {session.target}, {group}: {moved}"
        if trouble := _trouble(session):
            yield f"  {trouble}"
        for lun in session.luns:
            mode = "read-only" if lun.read_only else "read-write"
            yield f"  LUN {lun.number}  {lun.device}, {mode}{limits_text(lun)}{_limited(lun)}"
    if not count:
        yield "no sessions"


def _limited(lun: SessionLun) -> str:
    """What its limits have done; empty if nothing ever waited."""
    if not lun.limited and not lun.waiting:
        return ""
    return f"; {lun.limited} commands waited {lun.limited_us / 1e6:.1f} s together, {lun.waiting} wait now"


def _trouble(session: Session) -> str:
    """What was not answered GOOD, and why; empty when everything was."""
    counts = (
        (session.aborted, "aborted"),
        (session.lun_resets, "LUN RESET"),
        (session.unit_attentions, "UNIT ATTENTION"),
        (session.check_conditions, "CHECK CONDITION"),
        (session.busy, "BUSY"),
        (session.task_set_full, "TASK SET FULL"),
    )
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def command_lines(commands: Iterable[InFlight]) -> Iterator[str]:
    """The commands in flight, a line each: since when, where, whose, what."""
    count = 0
    for one in commands:
        count += 1
        lun = "no LUN" if one.lun is None else f"LUN {one.lun}"
        whose = f"{one.initiator} on {one.target}, {lun}" + (f" ({one.device})" if one.device else "")
        what = f"{one.opcode} {size_text(one.bytes)}, CDB {one.cdb}, tag {one.tag}"
        yield f"{one.age_ms / 1000:.1f} s  {one.where}: {whose}: {what}"
    if not count:
        yield "no commands in flight"


def config_counts(config: Config) -> str:
    """`3 devices, 1 target, 4 LUNs`."""
    luns = sum(len(luns) for target in config.targets for _, luns in target.lun_sets())
    counts = ((len(config.devices), "device"), (len(config.targets), "target"), (luns, "LUN"))
    return ", ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts)
