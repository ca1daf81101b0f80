# SPDX-License-Identifier: GPL-2.0-or-later
"""The provisioning interface: what the command line, the shell and scripts do, as methods.

    with Admin() as admin:
        admin.create_device(Device("da", "fileio", path="/srv/scst/da.img"))
        admin.map("local/t1", 0, "da", group="a", read_only=True)

Targets are named `DRIVER/NAME`, or `NAME` where only one driver has it. Every method that changes something
holds the lock of all writers while it works, either does all of it or changes nothing, and raises errors of
`errors.ScstError`. An `Admin` is for one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyscstadmin import modules, read
from pyscstadmin.acl import Decision, decide
from pyscstadmin.apply import Outcome, Progress, execute, failures, locked
from pyscstadmin.cfs import RealTree, Tree
from pyscstadmin.errors import Conflict, NotPresent, OperationError, PendingChanges
from pyscstadmin.layout import CLASS_ROOT, DRIVERS, ROOT, device_dir, group_dir, target_dir
from pyscstadmin.model import Config, Device, Group, Lun, Target
from pyscstadmin.plan import Plan, plan, settle
from pyscstadmin.read import RootState, Snapshot
from pyscstadmin.sessions import Session, read_sessions

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyscstadmin.sim import SimTree

__all__ = ["Admin"]

DEFAULT_FILE = "/etc/scst/scst.json"
STATE_DIR = "/run/scst"

Key = tuple[str, str]


class Admin:
    """Administration of one control plane.

    `root`: the configfs tree. `sim`: a directory that holds a simulated tree instead. `state_dir`: where the
    lock and the note about a degraded restore are kept. `lock_timeout`: seconds to wait for another writer.
    """

    def __init__(
        self,
        root: str = ROOT,
        *,
        sim: str | None = None,
        tree: Tree | None = None,
        class_root: str = CLASS_ROOT,
        state_dir: str | None = None,
        lock_timeout: float = 10.0,
    ) -> None:
        self.root = root
        self.sim = sim
        self.class_root = class_root
        self.state_dir = state_dir or sim or STATE_DIR
        self.lock_timeout = lock_timeout
        self._tree: Tree | None = tree
        # The last configuration read or applied. Its access part is used again while the generation says that
        # it is still in force; devices and targets have no such number and are read each time.
        self._known: Snapshot | None = None
        self._locked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the tree; the next call opens it again."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None
        self._known = None

    @property
    def default_file(self) -> str:
        """Where configurations are saved when no file is given."""
        return os.path.join(self.sim, "scst.json") if self.sim else DEFAULT_FILE

    # Looking.

    @property
    def tree(self) -> Tree:
        """The tree, opened if need be, and known to be the present one. Raises `NotPresent`."""
        if self._tree is None:
            self._tree = self._open()
            self._known = None
        elif not self._locked and self._tree.refresh():
            self._known = None
        return self._tree

    def _open(self) -> Tree:
        if self.sim is None:
            return RealTree(self.root)
        from pyscstadmin.sim import SimTree

        return SimTree(self.sim)

    def snapshot(self) -> Snapshot:
        """The configuration with its generation and the states of devices and targets."""
        tree = self.tree
        found = read.snapshot(tree, self._known)
        self._known = found if found.root.settled else None
        return found

    def config(self) -> Config:
        """The configuration the tree shows."""
        return self.snapshot().config

    def plan(self, wanted: Config) -> Plan:
        """What `apply` would do. Changes nothing."""
        shot = self.snapshot()
        return plan(shot.config, wanted, settled=shot.root.settled)

    def sessions(self) -> list[Session]:
        """The sessions that exist now."""
        tree = self.tree
        simulated = _simulated(tree)
        return simulated.sessions() if simulated is not None else read_sessions(self.class_root)

    def explain(self, target: str, initiator: str) -> Decision:
        """What an initiator sees on a target, and why."""
        key = self.target_key(target)
        found = read.target(self.tree, *key)
        if found is None:
            raise Conflict(f"there is no target {target}")
        return decide(found, initiator)

    def target_key(self, target: str) -> Key:
        """(driver, name) of a target given as `DRIVER/NAME` or `NAME`. Raises `Conflict` if there is none."""
        driver, slash, name = target.partition("/")
        candidates = [(driver, name)] if slash else [(known, target) for known in DRIVERS]
        found = [key for key in candidates if self._exists(f"{target_dir(*key)}/state")]
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(f"several drivers have a target {target}: say DRIVER/{target}")
        raise Conflict(f"there is no target {target}{_hint(target, self._target_names())}")

    def _target_names(self) -> list[str]:
        tree = self.tree
        return [
            f"{driver}/{name}" for driver in tree.list("targets") for name in tree.list(f"targets/{driver}")
        ]

    def _exists(self, attribute: str) -> bool:
        try:
            self.tree.read(attribute)
        except OperationError:
            return False
        return True

    # Whole configurations.

    def apply(self, wanted: Config, *, keep_going: bool = False, progress: Progress | None = None) -> Outcome:
        """Make the tree show `wanted`, loading modules it needs.

        Raises `ApplyFailed` when something was refused (then nothing changed). With `keep_going`, what is
        refused is left out instead, and noted: `save` will not overwrite a good file until an apply succeeds.
        """
        with self._writing(wanted):
            shot = self.snapshot()
            steps = plan(shot.config, wanted, settled=shot.root.settled)
            outcome = self._execute(steps, shot, settle(shot.config, wanted), keep_going, progress)
            self._note(failures(outcome))
        return outcome

    def restore(self, wanted: Config, *, progress: Progress | None = None) -> Outcome:
        """Apply everything that can be applied."""
        return self.apply(wanted, keep_going=True, progress=progress)

    def clear(self, *, progress: Progress | None = None) -> Outcome:
        """Remove everything."""
        return self.apply(Config(), progress=progress)

    def edit(self, change: Callable[[Config], Config]) -> Outcome:
        """Apply `change(present configuration)`, with no other writer in between."""
        with self._writing():
            return self._edit_locked(change)

    def save(self, path: str | None = None, *, force: bool = False) -> bool:
        """Write the configuration to a file (default: `default_file`); False if it holds it already.

        Raises `SaveRefused` when the present state is degraded and not `force`.
        """
        from pyscstadmin.save import degraded, save  # brings the whole file format, which few calls need

        shot = self.snapshot()
        reasons = [*self._noted(), *degraded(shot.config)]
        if not shot.root.settled:
            reasons.append("changes are staged that are not in force")
        return save(shot.config, path or self.default_file, degraded=reasons, force=force)

    # Devices.

    def create_device(self, device: Device) -> Outcome:
        """Create a device (and enable it, unless it says otherwise). An absent backing parks it."""
        wanted = Config((device,))
        with self._writing(wanted):
            return self._slice(Config(), wanted)

    def remove_device(self, name: str) -> Outcome:
        """Remove a device that no LUN points at."""
        with self._writing():
            device = self._device(name)
            return self._slice(Config((device,)), Config())

    def change_device(self, name: str, **settings: Any) -> Outcome:
        """Change settings of a device. While it changes, its LUNs are away."""

        def change(config: Config) -> Config:
            self._device(name)
            devices = (replace(d, **settings) if d.name == name else d for d in config.devices)
            return replace(config, devices=tuple(devices))

        return self.edit(change)

    def activate(self, name: str) -> str:
        """Open the backing of a parked device; returns its state. Raises `OperationError` with the error of
        the open.
        """
        return self._set_active(name, "1")

    def deactivate(self, name: str) -> str:
        """Close the backing of a device and park it; returns its state."""
        return self._set_active(name, "0")

    def _set_active(self, name: str, value: str) -> str:
        with self._writing() as tree:
            handler, _ = self._handler(name)
            path = device_dir(handler, name)
            tree.write(f"{path}/active", value)
            return tree.read(f"{path}/state")

    # Targets, hosts, groups.

    def create_target(self, target: Target) -> Outcome:
        """Create a target with everything in it."""
        if self._exists(f"{target_dir(*target.key)}/state"):
            raise Conflict(f"target {target.driver}/{target.name} exists already")
        with self._writing(Config((), (target,))):
            return self._edit_locked(lambda config: replace(config, targets=(*config.targets, target)))

    def remove_target(self, target: str) -> Outcome:
        """Remove a target with everything in it; its sessions end."""
        key = self.target_key(target)
        return self.edit(lambda c: replace(c, targets=tuple(t for t in c.targets if t.key != key)))

    def change_target(self, target: str, **settings: Any) -> Outcome:
        """Change settings of a target: `enabled`, `rel_tgt_id`, `auto_rescan`, `hosts`, `luns`, `groups`."""
        return self._edit_target(target, lambda found: replace(found, **settings))

    def add_host(self, target: str, initiator: str) -> Outcome:
        """Make a SCSI host on this machine that logs in under an initiator name (driver local)."""
        return self._edit_target(target, lambda t: replace(t, hosts=_with(t.hosts, initiator)))

    def remove_host(self, target: str, initiator: str) -> Outcome:
        """Remove such a host."""
        return self._edit_target(target, lambda t: replace(t, hosts=_less(t.hosts, initiator)))

    def create_group(self, target: str, group: Group) -> Outcome:
        """Create a group with everything in it."""

        def change(found: Target) -> Target:
            if found.group(group.name):
                raise Conflict(f"group {group.name} of {target} exists already")
            return replace(found, groups=(*found.groups, group))

        return self._edit_target(target, change)

    def remove_group(self, target: str, group: str) -> Outcome:
        """Remove a group with everything in it."""

        def change(found: Target) -> Target:
            _group(found, group)
            return replace(found, groups=tuple(g for g in found.groups if g.name != group))

        return self._edit_target(target, change)

    def change_group(self, target: str, group: str, **settings: Any) -> Outcome:
        """Change `priority`, `initiators` or `luns` of a group."""
        return self._edit_group(target, group, lambda found: replace(found, **settings))

    def add_initiator(self, target: str, group: str, pattern: str) -> Outcome:
        """Add an initiator name or pattern to a group."""
        return self._edit_group(target, group, lambda g: replace(g, initiators=_with(g.initiators, pattern)))

    def remove_initiator(self, target: str, group: str, pattern: str) -> Outcome:
        """Remove an initiator name or pattern from a group."""
        return self._edit_group(target, group, lambda g: replace(g, initiators=_less(g.initiators, pattern)))

    # LUNs. These read only what they touch, so they cost the same however much is configured.

    def map(
        self,
        target: str,
        number: int,
        device: str,
        *,
        group: str = "",
        read_only: bool = False,
        replace: bool = False,
    ) -> bool:
        """Make a device a LUN of a group ('' for the target's own LUNs); False if it is that already.

        `replace`: take the number even if another device has it, in one step for the initiators.
        """
        with self._writing():
            key = self._place(target, group)
            old = read.lun(self.tree, *key, group, number)
            new = Lun(number, device, read_only)
            if old == new:
                return False
            if old is not None and old.device not in ("", device) and not replace:
                raise Conflict(f"LUN {number} is {old.device} already: unmap it first, or ask to replace it")
            self._set_lun(key, group, old, new)
        return True

    def unmap(self, target: str, number: int, *, group: str = "", missing_ok: bool = False) -> bool:
        """Take a LUN away. One that is not there is a `Conflict`, or False with `missing_ok`."""
        with self._writing():
            key = self._place(target, group)
            old = read.lun(self.tree, *key, group, number)
            if old is None:
                if missing_ok:
                    return False
                raise Conflict(f"there is no LUN {number} in {target}{' group ' + group if group else ''}")
            self._set_lun(key, group, old, None)
        return True

    def _set_lun(self, key: Key, group: str, old: Lun | None, new: Lun | None) -> None:
        devices = {lun.device for lun in (old, new) if lun is not None and lun.device}
        slices = tuple(Device(name, self._handler(name)[0]) for name in devices)
        enabled = self.tree.read(f"{target_dir(*key)}/state") != "disabled"
        before, after = (Config(slices, (_around(key, group, lun, enabled),)) for lun in (old, new))
        self._slice(before, after)

    def _place(self, target: str, group: str) -> Key:
        key = self.target_key(target)
        if group and not self._exists(f"{group_dir(*key, group)}/priority"):
            known = self.tree.list(f"{target_dir(*key)}/groups")
            raise Conflict(f"target {target} has no group {group}{_hint(group, known)}")
        return key

    # How changes are made.

    @contextmanager
    def _writing(self, needs: Config | None = None) -> Iterator[Tree]:
        """Hold the lock, with the tree up to date and the modules of `needs` loaded."""
        if self.sim is None and self._tree is None and not os.path.isdir(self.root):
            self._load_core(needs)
        with locked(os.path.join(self.state_dir, "lock"), self.lock_timeout):
            tree = self.tree
            if needs is not None:
                absent = modules.missing(tree, needs)
                for directory, module in absent.items():
                    modules.modprobe([module], f"{self.root}/{directory}")
            self._locked = True
            try:
                yield tree
            finally:
                self._locked = False
                tree.flush()

    def _load_core(self, needs: Config | None) -> None:
        """The module itself may be absent too when a configuration is to be applied."""
        if needs is None or self.root != ROOT:
            raise NotPresent(self.root)
        modules.modprobe(["scst"], self.root)

    def _execute(
        self,
        steps: Plan,
        shot: Snapshot,
        result: Config,
        keep_going: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:
        """Execute a plan for the whole configuration and remember its result."""
        self._known = None
        outcome = execute(self.tree, steps, shot.root.generation, progress=progress, keep_going=keep_going)
        states = dict(shot.device_states)
        states.update(self._states(result, steps))
        if not outcome.failed:
            root = RootState(outcome.generation, False, True)
            self._known = Snapshot(result, root, states, shot.target_states)
        names = {device.name for device in result.devices}
        parked = (name for name, state in states.items() if state == "parked" and name in names)
        return replace(outcome, parked=tuple(sorted(parked)))

    def _states(self, config: Config, steps: Plan) -> Mapping[str, str]:
        """The states of the devices that a plan touched."""
        touched = {operation.path for operation in steps.operations}
        found = {}
        for device in config.devices:
            path = device_dir(device.handler, device.name)
            if path in touched:
                try:
                    found[device.name] = self.tree.read(f"{path}/state")
                except OperationError:  # left out, and reported as such
                    continue
        return found

    def _slice(self, old: Config, new: Config) -> Outcome:
        """Change a part of the configuration that was just read, knowing nothing of the rest."""
        root = read.root_state(self.tree)
        _must_be_settled(root)
        steps = plan(old, new)
        outcome = execute(self.tree, steps, root.generation)
        parked = (name for name, state in self._states(new, steps).items() if state == "parked")
        return replace(outcome, parked=tuple(parked))

    def _edit_locked(self, change: Callable[[Config], Config]) -> Outcome:
        shot = self.snapshot()
        _must_be_settled(shot.root)
        wanted = change(shot.config)
        return self._execute(plan(shot.config, wanted), shot, settle(shot.config, wanted))

    def _edit_target(self, target: str, change: Callable[[Target], Target]) -> Outcome:
        key = self.target_key(target)
        return self.edit(
            lambda c: replace(c, targets=tuple(change(t) if t.key == key else t for t in c.targets))
        )

    def _edit_group(self, target: str, group: str, change: Callable[[Group], Group]) -> Outcome:
        def change_target(found: Target) -> Target:
            _group(found, group)
            return replace(found, groups=tuple(change(g) if g.name == group else g for g in found.groups))

        return self._edit_target(target, change_target)

    def _handler(self, name: str) -> tuple[str, str]:
        found = read.find_handler(self.tree, name)
        if found is None:
            tree = self.tree
            known = [device for handler in tree.list("devices") for device in tree.list(f"devices/{handler}")]
            raise Conflict(f"there is no device {name}{_hint(name, known)}")
        return found

    def _device(self, name: str) -> Device:
        self._handler(name)
        found = read.device(self.tree, name)
        assert found is not None
        return found

    # The note about a degraded restore.

    @property
    def _note_path(self) -> str:
        return os.path.join(self.state_dir, "degraded")

    def _note(self, lines: Sequence[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if text:
            with open(self._note_path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        elif os.path.exists(self._note_path):
            os.unlink(self._note_path)

    def _noted(self) -> list[str]:
        try:
            with open(self._note_path, encoding="utf-8", errors="surrogateescape") as file:
                return [f"left out by the last restore: {line.rstrip()}" for line in file]
        except OSError:
            return []


def _simulated(tree: Tree) -> SimTree | None:
    """The tree, if it is a simulated one."""
    import sys

    module = sys.modules.get("pyscstadmin.sim")
    return tree if module is not None and isinstance(tree, module.SimTree) else None


def _must_be_settled(root: RootState) -> None:
    if not root.settled:
        raise PendingChanges


def _group(target: Target, name: str) -> Group:
    found = target.group(name)
    if found is None:
        known = [group.name for group in target.groups]
        raise Conflict(f"target {target.driver}/{target.name} has no group {name}{_hint(name, known)}")
    return found


def _around(key: Key, group: str, lun: Lun | None, enabled: bool) -> Target:
    """A slice of a configuration: a target with one LUN, or none."""
    luns = (lun,) if lun is not None else ()
    if group:
        return Target(*key, enabled, groups=(Group(group, luns=luns),))
    return Target(*key, enabled, luns=luns)


def _with(members: tuple[str, ...], name: str) -> tuple[str, ...]:
    if any(member.lower() == name.lower() for member in members):
        raise Conflict(f"{name} is there already (case does not matter)")
    return (*members, name)


def _less(members: tuple[str, ...], name: str) -> tuple[str, ...]:
    if name not in members:
        raise Conflict(f"{name} is not there{_hint(name, members)}")
    return tuple(member for member in members if member != name)


def _hint(word: str, known: list[str] | tuple[str, ...]) -> str:
    close = get_close_matches(word, known, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""
