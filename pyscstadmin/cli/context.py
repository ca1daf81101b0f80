# SPDX-License-Identifier: GPL-2.0-or-later
"""What all commands of one run share: the provisioning interface, what was begun and is not in force yet, and
what of the present state was looked at already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pyscstadmin.admin import Admin
from pyscstadmin.cli.places import Place
from pyscstadmin.cli.words import Declined, NotAgreed, WrongUsage
from pyscstadmin.config import edits
from pyscstadmin.config.draft import Draft, Key, LunSet, near
from pyscstadmin.config.edits import Edit
from pyscstadmin.config.layout import group_dir, port_group_dir, portal_dir, target_dir, users_dir
from pyscstadmin.config.model import Config, Device, Lun, Target
from pyscstadmin.config.spelling import name_key
from pyscstadmin.errors import Conflict, NotPresent, OperationError, ScstError
from pyscstadmin.kernel import read
from pyscstadmin.kernel.apply import Outcome, Progress
from pyscstadmin.kernel.read import Snapshot

if TYPE_CHECKING:
    from pyscstadmin.kernel.newfile import NewFile
    from pyscstadmin.kernel.sessions import Session

__all__ = ["Batch", "Context", "Draw"]


_NOTHING_BEGUN = (
    "nothing was begun: `begin` comes first. What somebody left staged in the tree cannot be dropped alone: "
    "`commit` brings it into force, `restore` or `apply FILE` takes everything back to what a file says"
)


class Step(NamedTuple):
    """One edit, and the line that asked for it."""

    said: str
    edit: Edit


class Batch:
    """Changes that come into force together. What contradicts itself is refused at once."""

    def __init__(self, config: Config) -> None:
        self.draft = Draft(config)
        self.steps: list[Step] = []
        self.files: list[NewFile] = []
        self._config: Config | None = config

    def add(self, said: str, edit: Edit, files: Sequence[NewFile] = ()) -> None:
        """Make an edit, or raise `Conflict` and change nothing."""
        for file in files:
            if os.path.lexists(file.path) or file.path in (other.path for other in self.files):
                raise Conflict(f"{file.path} is there already and is not touched: leave the size out")
        edit.make(self.draft)
        self.steps.append(Step(said, edit))
        self.files.extend(files)
        self._config = None

    @property
    def config(self) -> Config:
        """The configuration as it is to be."""
        if self._config is None:
            self._config = self.draft.config()
        return self._config

    def edits(self) -> list[Edit]:
        """The edits; one that became impossible meanwhile says which line it was."""
        return [replace(step.edit, make=_telling(step)) for step in self.steps]


def _telling(step: Step) -> Callable[[Draft], None]:
    def make(draft: Draft) -> None:
        try:
            step.edit.make(draft)
        except Conflict as error:
            raise Conflict(f"{step.said}: {error}") from error

    return make


# Draws the tree below a place, so many levels of it.
Draw = Callable[["Context", Place, "int | None"], list[str]]


class Context:
    """One run. `ask`: puts a question to a person and says whether the answer is yes; None where nobody is.
    `progress`: told of each step. `owns_input`: commands come from the standard input. `collects`: what
    commands say is collected as data, nothing may be printed by the way.
    """

    def __init__(
        self,
        admin: Admin,
        ask: Callable[[str], bool] | None = None,
        *,
        progress: Progress | None = None,
        owns_input: bool = False,
        collects: bool = False,
        draw: Draw | None = None,
    ) -> None:
        self.admin = admin
        self.ask = ask
        self.progress = progress
        self.owns_input = owns_input
        self.collects = collects
        self.draw = draw
        self.here = "/"
        self.ended = False
        self.batch: Batch | None = None
        self.said = ""
        self._snapshot: Snapshot | None = None
        self._logins: list[Session] | None = None

    def begin_line(self, said: str = "") -> None:
        """Forget what was looked at: another line begins."""
        self.said = said
        self._snapshot = None
        self._logins = None

    # Looking.

    @property
    def snapshot(self) -> Snapshot:
        """The present state, read once per line. Raises `NotPresent`."""
        if self._snapshot is None:
            self._snapshot = self.admin.snapshot()
        return self._snapshot

    @property
    def config(self) -> Config:
        """The configuration: the present one, or with what was begun."""
        return self.batch.config if self.batch is not None else self.snapshot.config

    def there(self) -> bool:
        """Whether there is a control plane."""
        try:
            return bool(self.admin.tree)
        except NotPresent:
            return False

    def logins(self) -> list[Session]:
        """The sessions of initiators, read once per line."""
        if self._logins is None:
            self._logins = self.admin.sessions()
        return self._logins

    def key(self, target: str) -> Key:
        """(driver, name) of a target. Raises `Conflict`."""
        return (
            self.batch.draft.target_key(target) if self.batch is not None else self.admin.target_key(target)
        )

    def target(self, name: str) -> Target:
        """A target with its access. Raises `Conflict`."""
        key = self.key(name)
        if self.batch is not None:
            return self.batch.draft.target(key).target()
        found = read.target(self.admin.tree, *key)
        if found is None:
            raise Conflict(f"there is no target {name}")
        return found

    def bare_target(self, key: Key) -> Target:
        """A target with its settings; its access may be left out. Raises `Conflict`."""
        if self.batch is not None:
            return self.batch.draft.target(key).base
        found = read.bare_target(self.admin.tree, *key)
        if found is None:
            raise Conflict(f"there is no target {'/'.join(key)}")
        return found

    def priority(self, key: Key, group: str) -> int:
        """The priority of a group. Raises `Conflict`."""
        if self.batch is not None:
            return self.batch.draft.target(key).group(group).base.priority
        self.admin.lun_place("/".join(key), group)
        return int(self.admin.tree.read(f"{group_dir(*key, group)}/priority"))

    def lun(self, key: Key, group: str, number: int) -> Lun:
        """A LUN of a group, or a target's own (''). Raises `Conflict`."""
        if self.batch is not None:
            found = self.batch.draft.target(key).lun_set(group).get(number)
        else:
            found = read.lun(self.admin.tree, *self.admin.lun_place("/".join(key), group), group, number)
        if found is None:
            where = f"group {group} of target" if group else "target"
            raise Conflict(f"{where} {'/'.join(key)} has no LUN {number}")
        return found

    def exists(self, place: Place) -> bool:
        """Whether something is at a place."""
        fixed = place.fixed
        try:
            if "device" in fixed:
                return self.handler(fixed["device"]) == fixed["handler"]
            if "target" in fixed:
                return self._exists_in(self.key(fixed["target"]), place)
            return self._exists_elsewhere(place)
        except ScstError as error:
            if isinstance(error, NotPresent):
                raise
            return False

    def _exists_elsewhere(self, place: Place) -> bool:
        """Whether something is at a place that is neither of devices nor below targets."""
        group = place.fixed.get("alua", "")
        if group and place.kind != "alua" and group not in self._others("alua", ""):
            return False
        return not place.name or place.name in self._others(place.kind, group)

    def _others(self, kind: str, group: str) -> Sequence[str]:
        """The names of what is there of a kind; `group`: in which device group."""
        match kind:
            case "session":
                return [login.name for login in self.logins()]
            case "fault":
                return [fault.name for fault in self.admin.faults()]
        if self.batch is None:
            folders = {
                "alua": "alua",
                "tpg": port_group_dir(group, ""),
                "portal": portal_dir(""),
                "user": users_dir(),
            }
            return self.admin.tree.list(folders[kind].rstrip("/"))
        config = self.batch.config
        return {
            "alua": [one.name for one in config.alua],
            "tpg": [tpg.name for one in config.alua if one.name == group for tpg in one.port_groups],
            "portal": [one.name for one in config.iscsi.portals],
            "user": [one.name for one in config.iscsi.users],
        }[kind]

    def near_place(self, place: Place) -> str:
        """`; did you mean t1?` for a place where nothing is."""
        fixed = place.fixed
        if "device" in fixed:
            handler = fixed["handler"]
            return near(place.name, [d.name for d in self.config.devices if d.handler == handler])
        if place.kind == "target":
            return near(place.name, [name for _, name in (t.key for t in self.config.targets)])
        return ""

    def _exists_in(self, key: Key, place: Place) -> bool:
        group = place.fixed.get("group", "")
        if group:
            self.priority(key, group)
        match place.kind if place.name else "":
            case "lun":
                if not place.name.isdecimal():
                    return False
                self.lun(key, group, int(place.name))
            case "initiator" | "host":
                return name_key(place.name) in map(name_key, self.members(key, group))
            case "portal":
                return place.name in self.bare_target(key).portals
            case "user":
                return place.name in [user.name for user in self.bare_target(key).users]
        return True

    def members(self, key: Key, group: str) -> Sequence[str]:
        """The initiators of a group, or the hosts of a target ('')."""
        if self.batch is not None:
            target = self.batch.draft.target(key)
            return list(target.group(group).initiators if group else target.hosts)
        directory = f"{group_dir(*key, group)}/initiators" if group else f"{target_dir(*key)}/hosts"
        return self.admin.tree.list(directory)

    def handler(self, device: str) -> str:
        """The handler of a device. Raises `Conflict`."""
        if self.batch is not None:
            return self.batch.draft.device(device).handler
        return self.admin.handler(device)

    def device(self, name: str) -> Device:
        """A device. Raises `Conflict`."""
        if self.batch is not None:
            return self.batch.draft.device(name)
        self.handler(name)
        found = read.device(self.admin.tree, name)
        assert found is not None
        return found

    def device_names(self) -> list[str]:
        """The names of all devices."""
        if self.batch is not None:
            return list(self.batch.draft.devices)
        return self.admin.device_names()

    def lun_set(self, target: str, group: str) -> LunSet:
        """The LUNs of a group ('' for the target's own). Raises `Conflict`."""
        if self.batch is not None:
            return self.batch.draft.target(self.key(target)).lun_set(group)
        return self.admin.lun_set(target, group)

    def device_state(self, name: str) -> str:
        """disabled, opening, active, closing or parked; `new` for what is not in force yet."""
        return self.snapshot.device_states.get(name, "new" if self.batch is not None else "?")

    def device_size(self, device: Device) -> int:
        """The bytes that it serves."""
        return self.snapshot.device_sizes.get(device.name, device.size)

    def target_state(self, key: Key) -> str:
        """disabled, enabled, parked or closing; `new` for what is not in force yet."""
        return self.snapshot.target_states.get(key, "new" if self.batch is not None else "?")

    def host_number(self, target: str, initiator: str) -> str:
        """Number of the SCSI host of a name; '' while it is logged out."""
        driver, _, name = target.partition("/")
        with suppress(OperationError):
            return self.admin.tree.read(f"{target_dir(driver, name)}/hosts/{initiator}/host")
        return ""

    # Changing.

    def change(self, edit: Edit, needs: Config | None = None) -> Outcome | None:
        """Make an edit: at once, or (None) with all that was begun. `needs`: load the modules of this."""
        return self._change(edit, lambda: self.admin.change(edit, needs=needs))

    def create_device(self, device: Device, file: NewFile | None) -> Outcome | None:
        """Make a device, and its file."""
        files = () if file is None else (file,)
        edit = edits.create_device(device)
        size, whole = (None, False) if file is None else (file.size, file.preallocate)
        return self._change(
            edit, lambda: self.admin.create_device(device, file_size=size, preallocate=whole), files
        )

    def create_target(self, target: Target) -> Outcome | None:
        """Make a target."""
        return self._change(edits.create_target(target), lambda: self.admin.create_target(target))

    def change_device(self, name: str, settings: dict[str, object]) -> Outcome | None:
        """Change settings of a device."""
        edit = edits.change_device(name, settings)
        return self._change(edit, lambda: self.admin.change_device(name, **settings))

    def map(
        self,
        target: str,
        group: str,
        devices: Sequence[str],
        numbers: Sequence[int] | None,
        read_only: bool | None,
        replacing: bool,
    ) -> tuple[Outcome | None, Sequence[Lun]]:
        """Make devices LUNs; returns these as well."""
        if self.batch is None:
            return self.admin.map_devices(
                target, devices, numbers, group=group, read_only=read_only, replace=replacing
            )
        key = self.key(target)
        there = self.batch.draft.target(key).lun_set(group)
        for name in devices:
            self.batch.draft.device(name)
        if numbers is None:
            luns = edits.numbered(there, devices, bool(read_only))
        else:
            luns = [Lun(n, name, bool(read_only)) for n, name in zip(numbers, devices, strict=True)]
        edit = edits.map_luns(key, group, luns, modes=read_only is not None, replacing=replacing)
        self.batch.add(self.said, edit)
        return None, [found for lun in luns if (found := there.get(lun.number)) is not None]

    def _change(
        self, edit: Edit, at_once: Callable[[], Outcome], files: Sequence[NewFile] = ()
    ) -> Outcome | None:
        if self.batch is None:
            return at_once()
        self.batch.add(self.said, edit, files)
        return None

    # What comes into force together.

    def begin(self) -> None:
        """From here on, changes are collected. Raises `WrongUsage`."""
        if self.batch is not None:
            raise WrongUsage("`begin` was said already; `commit` or `discard` ends what was begun")
        self.batch = Batch(self.snapshot.config)

    def commit(self) -> tuple[Outcome, int]:
        """Bring into force what was collected, all or nothing; returns how many changes it was. What fails
        stays collected. Raises `WrongUsage`.
        """
        batch = self._begun()
        devices = tuple(batch.draft.devices.values())
        needs = Config(devices, batch.config.targets, iscsi=batch.draft.iscsi)
        outcome = self.admin.change(*batch.edits(), files=batch.files, needs=needs)
        self.batch = None
        return outcome, len(batch.steps)

    def discard(self) -> int:
        """Drop what was collected; returns how many changes it was. Raises `WrongUsage`."""
        batch = self._begun()
        self.batch = None
        return len(batch.steps)

    def _begun(self) -> Batch:
        if self.batch is None:
            raise WrongUsage(_NOTHING_BEGUN)
        return self.batch

    def alone(self, what: str) -> None:
        """Refuse what does not go together with other changes. Raises `WrongUsage`."""
        if self.batch is not None:
            raise WrongUsage(f"{what} cannot be part of what was begun: `commit` or `discard` first")

    def confirm(self, question: str, agreed: object, losses: Mapping[str, object] | None = None) -> None:
        """Go on only if that was said, or a person says so now. Raises `WrongUsage`,
        `NotAgreed` (`losses`: what they lose who are logged in), `Declined`.
        """
        if agreed:
            return
        if self.ask is None and losses:
            raise NotAgreed(question, losses)
        if self.ask is None:
            raise WrongUsage(f"{question} If that is meant, say yes=yes (--yes)")
        if not self.ask(f"{question} Go on? [y/N] "):
            raise Declined("nothing changed; yes=yes (--yes) does it without asking")
