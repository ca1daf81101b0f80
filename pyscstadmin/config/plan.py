# SPDX-License-Identifier: GPL-2.0-or-later
"""The difference between two configurations as ordered operations. Pure: nothing here touches a tree.

Order, and why (what belongs to device groups is in `alua_plan`):

1. new devices are made and enabled, new targets are made (still disabled): nobody sees them; targets that are
   to be disabled are, before anybody sees what they are to show then;
2. all changes of access are staged and come into force with one commit;
3. only then what no longer serves anybody goes: hosts, targets, devices;
4. fixed settings of targets change (disabled for it), hosts appear, targets are enabled last.

A device whose fixed settings change has to leave its LUNs for a moment, and so has one whose disk, or part
of whose identity, another device gets. Only then is there a second commit, which brings them back. Each
operation consists of acts, one kernel call each, and each act knows the acts that undo it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyscstadmin.config.acts import (
    Act,
    Begin,
    Commit,
    End,
    Impact,
    Link,
    Mkdir,
    Operation,
    Reopen,
    Rmdir,
    Secret,
    Settle,
    Unlink,
    Write,
    inverse,
)
from pyscstadmin.config.alua_plan import AluaPlan, settle_alua
from pyscstadmin.config.identity import designators
from pyscstadmin.config.iscsi_plan import IscsiPlan, settle_iscsi, settle_users
from pyscstadmin.config.layout import device_dir, group_dir, set_dir, target_dir
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.names import PRIORITY_DEFAULT
from pyscstadmin.config.settings import HANDLERS, IDENTITY, LUN, Value, Values

if TYPE_CHECKING:
    from pyscstadmin.config.lint import Remark

__all__ = [
    "Act",
    "Begin",
    "Commit",
    "End",
    "Impact",
    "Link",
    "Mkdir",
    "Operation",
    "Plan",
    "Reopen",
    "Rmdir",
    "Secret",
    "Settle",
    "Unlink",
    "Write",
    "between",
    "inverse",
    "plan",
    "settle",
    "staged_into_force",
]


# So many identities are remembered: most devices are wanted with the same, which is none.
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in the order they are to be executed, and what `lint` remarks on what is wanted."""

    operations: tuple[Operation, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.operations)

    @property
    def impact(self) -> Impact:
        """The worst impact of any operation."""
        return max((operation.impact for operation in self.operations), default=Impact.NONE)

    @property
    def acts(self) -> int:
        """How many kernel calls it takes."""
        return sum(len(operation.acts) for operation in self.operations)


def plan(current: Config, wanted: Config, *, settled: bool = True) -> Plan:
    """What leads from one configuration to another.

    The two may be slices: only what differs matters. `settled` False says that changes are staged, or staging
    is on, in `current`: the plan then always ends with a commit.
    """
    return between(current, settle(current, wanted), settled=settled)


def between(current: Config, result: Config, *, settled: bool = True) -> Plan:
    """As `plan`, to what `settle` has filled in already."""
    if current == result and settled:
        return Plan()
    return Plan(tuple(_Planner(current, result, settled).operations()))


def staged_into_force(*, staged: bool, autocommit: bool) -> Plan:
    """What brings into force what others have staged, whatever it is, and ends the staging."""
    operations = []
    if staged:
        text = "commit the changes of access that were staged"
        operations.append(Operation(text, "commit", (Commit(),), Impact.UNIT_ATTENTION, claims=True))
    if not autocommit:
        operations.append(Operation("end the staging", "autocommit", (End(),)))
    return Plan(tuple(operations))


def settle(current: Config, wanted: Config) -> Config:
    """`wanted` with every "keep what it has" filled in from `current`. What stays as it is, is the very
    object of `current`, so that it need not be compared again.
    """
    devices = {device.name: device for device in current.devices}
    targets = {target.key: target for target in current.targets}
    asked = {target.rel_tgt_id for target in wanted.targets}
    return Config(
        tuple(_settle_device(devices.get(device.name), device) for device in wanted.devices),
        tuple(_settle_target(targets.get(target.key), target, asked) for target in wanted.targets),
        settle_alua(current, wanted),
        iscsi=settle_iscsi(current.iscsi, wanted.iscsi),
        settings=wanted.settings,
    )


def _settle_device(current: Device | None, wanted: Device) -> Device:
    if current is None or current == wanted:
        return current or wanted
    settled = _filled_device(current, wanted)
    return current if current == settled else settled


def _filled_device(current: Device, wanted: Device) -> Device:
    old = current.id
    if current.handler != wanted.handler and old.product == current.handler:
        # Nobody chose that: the kernel derives it from the handler.
        old = replace(old, product=None)
    settings = _settle_settings(current, wanted)
    if settings is not wanted.settings:
        wanted = wanted.but(settings=settings)
    identity = _filled_identity(old, wanted.id)
    return wanted if identity == wanted.id else wanted.but(id=identity)


@lru_cache(_KEPT)
def _filled_identity(old: Identity, wanted: Identity) -> Identity:
    values = {name: getattr(wanted, name) for name in IDENTITY}
    filled = {name: getattr(old, name) if value is None else value for name, value in values.items()}
    return Identity(**filled)


def _settle_settings(current: Device, wanted: Device) -> Values:
    """What is kept where it is not said, unless it is about another path."""
    rows = wanted.settings.table.kept
    if not rows or current.path != wanted.path:
        return wanted.settings
    kept: dict[str, Any] = {
        row.name: current.settings[row.name]
        for row in rows
        if wanted.settings[row.name] == row.default and row.name in current.settings
    }
    return wanted.settings.but(**kept)


def _settle_target(current: Target | None, wanted: Target, asked: set[int | None]) -> Target:
    wanted = _settle_spelling(current, wanted)
    if current is None:
        return wanted
    if wanted.rel_tgt_id is None and current.rel_tgt_id not in asked:
        wanted = wanted.but(rel_tgt_id=current.rel_tgt_id)
    if wanted.users:
        wanted = wanted.but(users=settle_users(current.users, wanted.users))
    return current if current == wanted else wanted


def _settle_spelling(current: Target | None, wanted: Target) -> Target:
    """What is in the tree stays as it is spelled there: to make it anew would end sessions."""
    known = {group.name: group.spelled for group in current.groups} if current is not None else {}
    hosts = _still_spelled(current.spelled if current is not None else {}, wanted.hosts)
    spelled = {
        group.name: _still_spelled(known.get(group.name, {}), group.initiators) for group in wanted.groups
    }
    if hosts == wanted.spelled and all(spelled[group.name] == group.spelled for group in wanted.groups):
        return wanted
    groups = tuple(replace(group, spelled=spelled[group.name]) for group in wanted.groups)
    return replace(wanted, spelled=hosts, groups=groups)


def _still_spelled(known: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: known[name] for name in names if name in known} if known else {}


class _Planner:
    def __init__(self, current: Config, wanted: Config, settled: bool) -> None:
        self.settled = settled
        self.current, self.wanted = current, wanted
        self.old_devices = {device.name: device for device in current.devices}
        self.new_devices = {device.name: device for device in wanted.devices}
        self.old_targets = {target.key: target for target in current.targets}
        self.new_targets = {target.key: target for target in wanted.targets}
        self.in_use = {
            lun.device for target in current.targets for _, luns in target.lun_sets() for lun in luns
        }
        self.old_paths = {device.name: device_dir(device.handler, device.name) for device in current.devices}
        self.new_paths = {device.name: device_dir(device.handler, device.name) for device in wanted.devices}
        self.takers = _takers(self.old_devices, self.new_devices)
        self.givers = {name for givers in self.takers.values() for name in givers}
        self.alua = AluaPlan(current, wanted)
        self.iscsi = IscsiPlan(current, wanted)

    def operations(self) -> Iterator[Operation]:
        """All operations, in order."""
        off = self.givers.union(name for name in self.old_devices if self._restarts(name))
        # What is staged hides which devices are in use by what is in force.
        detached = off & self.in_use if self.settled else off
        away = detached.union(name for name, givers in self.takers.items() if givers & detached)
        between = self._between(away)
        access = list(self._access(self.old_targets, between))
        yield from self._root_settings()
        yield from self.alua.released(self.old_devices.keys() - self.in_use)
        yield from self._released(self.givers - detached)
        yield from self._early_devices(away)
        yield from self.iscsi.early()
        yield from self._new_targets()
        yield from self._closed_targets()
        yield from self.iscsi.of_targets()
        yield from self.alua.removed()
        yield from self.alua.changed(away)
        if access or detached or not self.settled:
            yield from _committed(access, self.settled)
        yield from self.alua.released(self.in_use)
        yield from self._released(self.givers & detached)
        for name in sorted(away):
            yield from self._restart(name)
        yield from self.alua.joined(away)
        back = list(self._access(between, self.new_targets)) if away else ()
        if back:
            yield from _committed(back, True)
        yield from self._removed_hosts()
        yield from self.alua.closed_ports()
        yield from self.iscsi.of_removed_targets()
        yield from self._removed_targets()
        yield from self.iscsi.late()
        yield from self._late_devices()
        yield from self._changed_targets()
        yield from self.alua.late_ports()
        yield from self._new_hosts()
        yield from self._enabled_targets()

    def _root_settings(self) -> Iterator[Operation]:
        for change in _setting_changes("", self.current.settings, self.wanted.settings):
            yield Operation(f"set {change.path} to {change.value}", change.path, (change,))

    # Devices.

    def _restarts(self, name: str) -> bool:
        """Whether an existing device must be off to become what is wanted."""
        old, new = self.old_devices[name], self.new_devices.get(name)
        return new is not None and old.enabled and _restarts_device(old, new)

    def _early_devices(self, away: set[str]) -> Iterator[Operation]:
        for name, new in self.new_devices.items():
            old = self.old_devices.get(name)
            if name in away or old == new:
                continue
            if old is None or self._restarts(name) or not old.enabled:
                yield from self._restart(name)
            elif old.settings != new.settings:
                yield _change_live(old, new)

    def _released(self, names: set[str]) -> Iterator[Operation]:
        """Devices let go of their disks and identities, before any other device takes one of these."""
        for name in sorted(names):
            old, new = self.old_devices[name], self.new_devices.get(name)
            if new is None:
                yield _remove_device(old)
            elif name in self.takers:
                yield _switch_device(replace(old, enabled=False))
            else:
                yield _become(old, new)

    def _restart(self, name: str) -> Iterator[Operation]:
        """Make a device what it is to be, if `_released` has not."""
        old, new = self.old_devices.get(name), self.new_devices.get(name)
        if new is None or (name in self.givers and name not in self.takers):
            return
        if old is None:
            yield _create_device(new)
        else:
            yield _become(replace(old, enabled=False) if name in self.givers else old, new)

    def _late_devices(self) -> Iterator[Operation]:
        for name, old in self.old_devices.items():
            new = self.new_devices.get(name)
            if name in self.givers:
                continue
            if new is None:
                yield _remove_device(old)
            elif old.enabled and not new.enabled and not self._restarts(name):
                yield _switch_device(new)

    # Access.

    def _access(
        self, before: dict[tuple[str, str], Target], after: dict[tuple[str, str], Target]
    ) -> Iterator[Operation]:
        for key in sorted({*before, *after}):
            bare = Target(*key, enabled=False)
            impact = _noticed(self.old_targets.get(key, bare), self.new_targets.get(key))
            yield from self._target_access(before.get(key, bare), after.get(key, bare), impact)

    def _between(self, away: set[str]) -> dict[tuple[str, str], Target]:
        """The wanted targets without the LUNs of these devices."""
        if not away:
            return self.new_targets
        return {
            key: _without(target, away, self.old_targets.get(key)) for key, target in self.new_targets.items()
        }

    def _target_access(self, old: Target, new: Target, impact: Impact) -> Iterator[Operation]:
        yield from self._luns(new, "", old.luns, new.luns, impact)
        if old.groups == new.groups:
            return
        before = {group.name: group for group in old.groups}
        after = {group.name: group for group in new.groups}
        for name, group in before.items():
            if name not in after:
                yield self._remove_group(new, group, impact)
        for name, group in after.items():
            if name not in before:
                yield self._create_group(new, group, impact)
            elif before[name] != group:
                yield from self._change_group(new, before[name], group, impact)

    def _luns(
        self, target: Target, group: str, old: Sequence[Lun], new: Sequence[Lun], impact: Impact
    ) -> Iterator[Operation]:
        if old == new:
            return
        root, where = target_dir(*target.key), _place(target, group)
        place = f"{set_dir(target.driver, target.name, group)}/luns"
        before = {lun.number: lun for lun in old}
        after = {lun.number: lun for lun in new}
        for number, lun in before.items():
            if number not in after:
                path = f"{place}/{number}"
                acts = tuple(self._lun_off(path, lun))
                yield Operation(_unmap_text(lun, where), path, acts, impact, target=root)
        for number, lun in after.items():
            if number not in before:
                path = f"{place}/{number}"
                chosen = lun.chosen()
                acts = self._lun_on(path, lun.device, chosen)
                yield Operation(_map_text(lun, chosen, where), path, acts, impact, target=root)
            elif before[number] != lun:
                yield self._change_lun(target, group, before[number], lun, impact)

    def _change_lun(self, target: Target, group: str, old: Lun, new: Lun, impact: Impact) -> Operation:
        root, where = target_dir(*target.key), _place(target, group)
        path = f"{set_dir(target.driver, target.name, group)}/luns/{new.number}"
        acts: list[Act] = []
        moved = old.device != new.device
        if moved and old.device:
            acts.append(self._unlink(path, old.device))
        acts += [Write(f"{path}/{name}", is_, was) for name, is_, was in _lun_writes(old, new)]
        if moved and new.device:
            acts.append(self._link(path, new.device))
        change = f"from {old.device or 'nothing'} to {new.device or 'nothing'}" if moved else ""
        if old[2:] != new[2:]:
            change += (", " if change else "to ") + _lun_changes(old, new)
        parts: tuple[Operation, ...] = ()
        if moved and old.device and new.device:
            # Who is not to see the old device any more does not, even if the new one cannot be had.
            parts = (
                Operation(_unmap_text(old, where), path, tuple(acts[:-1]), impact, target=root),
                Operation(_map_text(new, new.chosen(), where), path, tuple(acts[-1:]), impact, target=root),
            )
        text = f"change LUN {new.number} of {where} {change}"
        return Operation(text, path, tuple(acts), impact, parts, root)

    def _lun_on(self, path: str, device: str, chosen: Mapping[str, Value]) -> tuple[Act, ...]:
        acts: list[Act] = [Mkdir(path)]
        for name, value in chosen.items():
            acts.append(Write(f"{path}/{name}", LUN[name].type.to_kernel(value)))
        if device:
            acts.append(self._link(path, device))
        return tuple(acts)

    def _lun_off(self, path: str, lun: Lun) -> Iterator[Act]:
        if lun.device:
            yield self._unlink(path, lun.device)
        chosen = lun.chosen().items()
        yield Rmdir(path, tuple([Write(f"{path}/{name}", LUN[name].type.to_kernel(v)) for name, v in chosen]))

    def _link(self, path: str, device: str) -> Link:
        return Link(f"{path}/device", self.new_paths[device])

    def _unlink(self, path: str, device: str) -> Unlink:
        return Unlink(f"{path}/device", self.old_paths[device])

    def _create_group(self, target: Target, group: Group, impact: Impact) -> Operation:
        path = group_dir(target.driver, target.name, group.name)
        acts: list[Act] = [Mkdir(path)]
        if group.priority != PRIORITY_DEFAULT:
            acts.append(Write(f"{path}/priority", str(group.priority)))
        acts.extend(Mkdir(f"{path}/initiators/{name}") for name in group.initiators)
        text = f"create group {group.name} of {_place(target)}: {_count(group)}"
        # Whom a group claims goes before what it shows: claimed and shown nothing is safer than not claimed.
        head = Operation(text, path, tuple(acts), impact, (), target_dir(*target.key), claims=True)
        luns = tuple(self._luns(target, group.name, (), group.luns, impact))
        acts.extend(act for lun in luns for act in lun.acts)
        return replace(head, acts=tuple(acts), parts=(head, *luns))

    def _remove_group(self, target: Target, group: Group, impact: Impact) -> Operation:
        path = group_dir(target.driver, target.name, group.name)
        acts: list[Act] = []
        for lun in group.luns:
            acts.extend(self._lun_off(f"{path}/luns/{lun.number}", lun))
        acts.extend(Rmdir(f"{path}/initiators/{group.spelled.get(name, name)}") for name in group.initiators)
        changed = group.priority != PRIORITY_DEFAULT
        acts.append(Rmdir(path, (Write(f"{path}/priority", str(group.priority)),) if changed else ()))
        text = f"remove group {group.name} of {_place(target)}: {_count(group)}"
        return Operation(text, path, tuple(acts), impact, (), target_dir(*target.key), claims=True)

    def _change_group(self, target: Target, old: Group, new: Group, impact: Impact) -> Iterator[Operation]:
        path = group_dir(target.driver, target.name, new.name)
        where = _place(target, new.name)

        def claim(text: str, act: Act) -> Operation:
            return Operation(text, path, (act,), impact, (), target_dir(*target.key), claims=True)

        if old.priority != new.priority:
            act = Write(f"{path}/priority", str(new.priority), str(old.priority))
            yield claim(f"set priority of {where} to {new.priority}", act)
        before, after = set(old.initiators), set(new.initiators)
        for name in sorted(before - after):
            gone = Rmdir(f"{path}/initiators/{old.spelled.get(name, name)}")
            yield claim(f"remove {name} from {where}", gone)
        for name in sorted(after - before):
            yield claim(f"add {name} to {where}", Mkdir(f"{path}/initiators/{name}"))
        yield from self._luns(target, new.name, old.luns, new.luns, impact)

    # Targets.

    def _new_targets(self) -> Iterator[Operation]:
        for key, new in self.new_targets.items():
            if key in self.old_targets:
                continue
            path = target_dir(*key)
            writes = _setting_writes(path, new.settings)
            yield Operation(f"create target {_place(new)}", path, (Mkdir(path), *writes))

    def _closed_targets(self) -> Iterator[Operation]:
        for key, new in self.new_targets.items():
            old = self.old_targets.get(key)
            if old is not None and old.enabled and not new.enabled:
                yield replace(_disable_target(new), target=target_dir(*key), claims=True)

    def _removed_hosts(self) -> Iterator[Operation]:
        for key, old in self.old_targets.items():
            new = self.new_targets.get(key)
            for host in old.hosts:
                if new is None or host not in new.hosts:
                    path = f"{target_dir(*key)}/hosts/{old.spelled.get(host, host)}"
                    impact = Impact.SESSION_DROP if old.enabled else Impact.NONE
                    yield Operation(f"remove host {host} of {_place(old)}", path, (Rmdir(path),), impact)

    def _new_hosts(self) -> Iterator[Operation]:
        for key, new in self.new_targets.items():
            old = self.old_targets.get(key)
            for host in new.hosts:
                if old is None or host not in old.hosts:
                    root = target_dir(*key)
                    path = f"{root}/hosts/{host}"
                    yield Operation(f"create host {host} of {_place(new)}", path, (Mkdir(path),), target=root)

    def _removed_targets(self) -> Iterator[Operation]:
        for key, old in self.old_targets.items():
            if key not in self.new_targets:
                path = target_dir(*key)
                restore = list(_setting_writes(path, old.settings))
                if old.rel_tgt_id is not None:
                    restore.append(Write(f"{path}/rel_tgt_id", str(old.rel_tgt_id)))
                off: tuple[Act, ...] = (_switch(path, False),) if old.enabled else ()
                impact = Impact.SESSION_DROP if old.enabled else Impact.NONE
                yield Operation(
                    f"remove target {_place(old)}", path, (*off, Rmdir(path, tuple(restore))), impact
                )

    def _changed_targets(self) -> Iterator[Operation]:
        for key, new in self.new_targets.items():
            old = self.old_targets.get(key)
            if old is None:
                continue
            path = target_dir(*key)
            if old.enabled and new.enabled and _restarts_target(old, new):
                yield _disable_target(new)
            changes = tuple(_setting_changes(path, old.settings, new.settings))
            if changes:
                yield Operation(f"change {_changed(changes)} of target {_place(new)}", path, changes)
        yield from self._relative_ids()

    def _relative_ids(self) -> Iterator[Operation]:
        """Move identifiers, never onto one that is taken: a ring goes through a free number."""
        held = _assigned(self.old_targets, self.new_targets)
        elsewhere = self.alua.remote_ports()
        wanted = {key: target.rel_tgt_id for key, target in self.new_targets.items()}
        for key, number in wanted.items():
            if number is None and held[key] is not None and held[key] in wanted.values():
                wanted[key] = _first_free({*held.values(), *wanted.values(), *elsewhere})
        pending = {
            key: number for key, number in wanted.items() if number is not None and number != held[key]
        }
        while pending:
            taken = {number: key for key, number in held.items()}
            free = [key for key, number in pending.items() if taken.get(number) not in pending]
            key = free[0] if free else next(iter(pending))
            number = pending.pop(key) if free else _first_free({*taken, *pending.values(), *elsewhere})
            path = target_dir(*key)
            write = Write(f"{path}/rel_tgt_id", str(number), None if held[key] is None else str(held[key]))
            held[key] = number
            yield Operation(f"set rel_tgt_id of {_place(self.new_targets[key])} to {number}", path, (write,))

    def _enabled_targets(self) -> Iterator[Operation]:
        for key, new in self.new_targets.items():
            old = self.old_targets.get(key)
            on = old is not None and old.enabled and not _restarts_target(old, new)
            if new.enabled and not on:
                path = target_dir(*key)
                # One that is up already shows nothing more by coming back; the others would.
                opens = "" if old is not None and old.enabled else path
                yield Operation(f"enable target {_place(new)}", path, (_switch(path, True),), target=opens)


def _committed(operations: Sequence[Operation], clean: bool) -> Iterator[Operation]:
    """Staged operations between their begin and their commit."""
    impact = max((operation.impact for operation in operations), default=Impact.NONE)
    yield Operation("stage changes of access", "autocommit", (Begin(clean),))
    yield from operations
    yield Operation("commit the changes of access", "commit", (Commit(), End()), impact)


def _takers(old: dict[str, Device], new: dict[str, Device]) -> dict[str, set[str]]:
    """Devices that take a disk or a part of an identity -> the others that have it now and let go of it.

    The kernel allows one enabled device only to have it, so these have to be off before. Two paths are the
    same disk here only if they are the same text: others would have to be looked up, and mean something
    else tomorrow.
    """
    holders: dict[tuple[str, str], set[str]] = {}
    for device in old.values():
        after = new.get(device.name)
        for held in _holds(device) - (_holds(after) if after is not None else set()):
            holders.setdefault(held, set()).add(device.name)
    taken = {
        device.name: {giver for held in _holds(device) for giver in holders.get(held, ())} - {device.name}
        for device in new.values()
        if old.get(device.name) != device
    }
    return {name: givers for name, givers in taken.items() if givers}


def _holds(device: Device) -> set[tuple[str, str]]:
    """What no other enabled device can have at the same time."""
    if not device.enabled:
        return set()
    held = set(designators(device))
    return {*held, ("path", device.path)} if HANDLERS[device.handler].exclusive else held


def _become(old: Device, new: Device) -> Operation:
    """Make an existing device that serves nobody what is wanted."""
    if old.handler != new.handler:
        return _move_device(old, new)
    if replace(old, enabled=new.enabled) == new:
        return _switch_device(new)
    return _change_device(old, new)


def _move_device(old: Device, new: Device) -> Operation:
    gone, made = _remove_device(old), _create_device(new)
    text = f"move device {_label(old)} to {_label(new)}"
    return Operation(text, made.path, (*gone.acts, *made.acts), replaces=gone.path)


def _create_device(device: Device) -> Operation:
    path = device_dir(device.handler, device.name)
    acts: list[Act] = [Mkdir(path), *_device_writes(path, device)]
    if device.enabled:
        acts.append(_switch(path, True))
    return Operation(f"create device {_label(device)}", path, tuple(acts))


def _remove_device(device: Device) -> Operation:
    path = device_dir(device.handler, device.name)
    off: tuple[Act, ...] = (_switch(path, False),) if device.enabled else ()
    gone = Rmdir(path, tuple(_device_writes(path, device)))
    return Operation(f"remove device {_label(device)}", path, (*off, gone))


def _switch_device(device: Device) -> Operation:
    path = device_dir(device.handler, device.name)
    verb = "enable" if device.enabled else "disable"
    return Operation(f"{verb} device {_label(device)}", path, (_switch(path, device.enabled),))


def _change_device(old: Device, new: Device) -> Operation:
    path = device_dir(new.handler, new.name)
    changes = [
        *_setting_changes(path, old.settings, new.settings),
        *_identity_changes(path, old, new),
    ]
    acts: list[Act] = [_switch(path, False)] if old.enabled else []
    acts.extend(changes)
    if new.enabled:
        acts.append(_switch(path, True))
    return Operation(f"change {_changed(changes)} of device {_label(new)}", path, tuple(acts))


def _change_live(old: Device, new: Device) -> Operation:
    """Change what can be changed while the device serves."""
    path = device_dir(new.handler, new.name)
    changes = tuple(_setting_changes(path, old.settings, new.settings))
    return Operation(f"change {_changed(changes)} of device {_label(new)}", path, changes)


def _restarts_device(old: Device, new: Device) -> bool:
    """Whether a device must be off to become another."""
    return old.handler != new.handler or old.id != new.id or _fixed(old.settings) != _fixed(new.settings)


def _restarts_target(old: Target, new: Target) -> bool:
    """Whether a target must be off to become another."""
    return old.rel_tgt_id != new.rel_tgt_id or _fixed(old.settings) != _fixed(new.settings)


def _fixed(settings: Values) -> list[object]:
    return [settings[name] for name, row in settings.table.items() if not row.live]


def _device_writes(path: str, device: Device) -> Iterator[Write]:
    yield from _setting_writes(path, device.settings)
    for name in IDENTITY:
        value = getattr(device.id, name)
        if value:
            yield Write(f"{path}/id/{name}", value)


def _setting_writes(path: str, settings: Values) -> Iterator[Write]:
    for name, value in settings.chosen():
        row = settings.table[name]
        yield Write(f"{path}/{row.attribute}", row.type.to_kernel(value))


def _setting_changes(path: str, old: Values, new: Values) -> Iterator[Write]:
    for name, row in new.table.items():
        before, after = old[name], new[name]
        if before != after:
            write = row.type.to_kernel
            yield Write(f"{path}/{row.attribute}".lstrip("/"), write(after), write(before))


def _identity_changes(path: str, old: Device, new: Device) -> Iterator[Write]:
    for name in IDENTITY:
        before, after = getattr(old.id, name), getattr(new.id, name)
        if after is not None and before != after:
            yield Write(f"{path}/id/{name}", after, before or "")


def _changed(writes: Iterable[Write]) -> str:
    return ", ".join(write.path.rsplit("/", 1)[-1] for write in writes)


def _disable_target(target: Target) -> Operation:
    path = target_dir(*target.key)
    return Operation(f"disable target {_place(target)}", path, (_switch(path, False),), Impact.SESSION_DROP)


def _switch(path: str, on: bool) -> Write:
    return Write(f"{path}/enabled", _bit(on), _bit(not on))


def _bit(value: bool) -> str:
    return "1" if value else "0"


def _noticed(old: Target, new: Target | None) -> Impact:
    """What the sessions of a target notice of a change of its access. One to be disabled has none by then."""
    stays = new is None or new.enabled
    return Impact.UNIT_ATTENTION if old.enabled and stays else Impact.NONE


def _without(target: Target, devices: set[str], old: Target | None) -> Target:
    """The target with the LUNs of these devices unmapped. Those that the old one does not have come later."""
    numbers = {group: {lun.number for lun in luns} for group, luns in old.lun_sets()} if old else {}

    def strip(group: str, luns: tuple[Lun, ...]) -> tuple[Lun, ...]:
        there = numbers.get(group, set())
        return tuple(
            lun._replace(device="") if lun.device in devices else lun
            for lun in luns
            if lun.device not in devices or lun.number in there
        )

    groups = tuple(replace(group, luns=strip(group.name, group.luns)) for group in target.groups)
    return replace(target, luns=strip("", target.luns), groups=groups)


def _assigned(
    old: dict[tuple[str, str], Target], new: dict[tuple[str, str], Target]
) -> dict[tuple[str, str], int | None]:
    """The identifiers after new targets took the first free ones and removed ones gave theirs back."""
    taken = {target.rel_tgt_id for target in old.values()}
    known = None not in taken
    held: dict[tuple[str, str], int | None] = {}
    for key in new:
        if key in old:
            held[key] = old[key].rel_tgt_id
        else:
            held[key] = _first_free(taken) if known else None
            taken.add(held[key])
    return held


def _first_free(taken: Iterable[int | None]) -> int:
    used = set(taken)
    return next(number for number in range(1, 65537) if number not in used)


def _label(device: Device) -> str:
    return f"{device.handler}/{device.name}" + (f" ({device.path})" if device.path else "")


def _place(target: Target, group: str = "") -> str:
    return f"{target.driver}/{target.name}" + (f" group {group}" if group else "")


def _lun_writes(old: Lun, new: Lun) -> Iterator[tuple[str, str, str]]:
    """Settings that differ, as they are to be and as they are."""
    for name, row in LUN.items():
        was, is_ = getattr(old, name), getattr(new, name)
        if was != is_:
            yield name, row.type.to_kernel(is_), row.type.to_kernel(was)


def _lun_changes(old: Lun, new: Lun) -> str:
    names = [name for name, _, _ in _lun_writes(old, new)]
    return ", ".join(_lun_word(name, getattr(new, name)) for name in names)


def _lun_word(name: str, value: Value) -> str:
    if name == "read_only":
        return "read-only" if value else "read-write"
    return f"{name}={LUN[name].type.to_text(value)}"


def _map_text(lun: Lun, chosen: Mapping[str, Value], where: str) -> str:
    mode = ""
    for name, value in chosen.items():
        mode += f", {_lun_word(name, value)}"
    return f"map {lun.device} as LUN {lun.number} of {where}{mode}"


def _unmap_text(lun: Lun, where: str) -> str:
    return f"unmap LUN {lun.number} ({lun.device}) of {where}"


def _count(group: Group) -> str:
    return f"{_some(len(group.initiators), 'initiator')}, {_some(len(group.luns), 'LUN')}"


def _some(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
