# SPDX-License-Identifier: GPL-2.0-or-later
"""What the places of the shell share: the provisioning interface, the present snapshot, and the output."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from pyscstadmin.admin import Admin
from pyscstadmin.cli.render import config_counts, remark_lines, running_lines
from pyscstadmin.config.layout import device_dir, target_dir
from pyscstadmin.config.model import Config, Device, Lun
from pyscstadmin.config.names import LUN_MAX, check_lun
from pyscstadmin.config.schema import dumps
from pyscstadmin.config.spelling import is_exact
from pyscstadmin.errors import Conflict, NotPresent, OperationError
from pyscstadmin.kernel import read
from pyscstadmin.kernel.apply import Outcome, failures
from pyscstadmin.kernel.prove import Was
from pyscstadmin.kernel.read import Snapshot
from pyscstadmin.kernel.sessions import Session as Login

__all__ = ["Session"]


class Session:
    """One run of the shell."""

    def __init__(self, admin: Admin, say: Callable[[str], None] = print) -> None:
        self.admin = admin
        self._print = say
        self._unheard = False
        self.snapshot: Snapshot | None = None
        self._left_out = False
        self._parked: set[str] = set()
        self._unsettled = 0
        self._logins: list[Login] | None = None

    def say(self, line: str) -> None:
        """Print a line. If nobody takes it, what is done is done, and the other lines are not tried."""
        try:
            if not self._unheard:
                self._print(line)
        except OSError:
            self._unheard = True

    def refresh(self) -> None:
        """Read what is there now; without a control plane there is nothing."""
        self._logins = None
        try:
            self.snapshot = self.admin.snapshot()
        except NotPresent:
            self.snapshot = None

    @property
    def config(self) -> Config:
        """The present configuration."""
        return self.snapshot.config if self.snapshot is not None else Config()

    def device_state(self, name: str) -> str:
        """disabled, opening, active, closing or parked."""
        return self.snapshot.device_states.get(name, "?") if self.snapshot is not None else "?"

    def device_size(self, device: Device) -> int:
        """The bytes that it serves."""
        sizes = self.snapshot.device_sizes if self.snapshot is not None else {}
        return sizes.get(device.name, device.size)

    def target_state(self, key: tuple[str, str]) -> str:
        """disabled, enabled, parked or closing."""
        return self.snapshot.target_states.get(key, "?") if self.snapshot is not None else "?"

    def logins(self) -> list[Login]:
        """The sessions of initiators, read once per command."""
        if self._logins is None:
            self._logins = self.admin.sessions() if self.snapshot is not None else []
        return self._logins

    def host_number(self, target: str, initiator: str) -> str:
        """Number of the SCSI host of a name, as the tree spells it; '' while it is logged out."""
        driver, _, name = target.partition("/")
        with suppress(OperationError):
            return self.admin.tree.read(f"{target_dir(driver, name)}/hosts/{initiator}/host")
        return ""

    def parked_because(self, device: Device) -> str:
        """A line about a parked device."""
        place = device_dir(device.handler, device.name)
        try:
            error, wanted = self.admin.tree.read_many([f"{place}/error", f"{place}/wanted"])
        except OperationError:  # gone meanwhile
            return f"{device.name}: parked"
        if wanted != "1":
            return f"{device.name}: parked on request; `activate` opens it"
        proof = self.admin.find(device.name)
        if proof is not None and proof.was in (Was.OTHER, Was.SEVERAL):
            return f"{device.name}: parked; {proof.text}"
        return f"{device.name}: parked, waits for {device.path} ({error})"

    def report(self, outcome: Outcome) -> None:
        """Say what is not as it was asked for."""
        self._left_out = self._left_out or bool(outcome.failed)
        self._parked.update(outcome.parked)
        for name in outcome.parked:
            # The snapshot is from before the change.
            device = read.device(self.admin.tree, name)
            self.say(self.parked_because(device) if device is not None else f"{name}: parked")
        for line in failures(outcome):
            self.say(f"left out: {line}")
        if outcome.settled is False:
            self._unsettled = max(self._unsettled, outcome.generation)
        for line in (*running_lines(outcome), *remark_lines(outcome.remarks)):
            self.say(line)

    @property
    def exit_code(self) -> int:
        """The worst of what was done, as it is now: 4 if something was left out or access that a command
        revoked is still in use, 3 if a device that a command found parked still is, else 0.
        """
        if self._left_out or self._in_use():
            return 4
        return 3 if any(self._waits(name) for name in self._parked) else 0

    def _in_use(self) -> bool:
        return bool(self._unsettled) and any(
            one.generation <= self._unsettled for one in self.admin.running()
        )

    def _waits(self, name: str) -> bool:
        try:
            found = read.find_handler(self.admin.tree, name)
        except NotPresent:
            return False
        return found is not None and found[1] == "parked"

    # LUNs.

    def luns(self, target: str, group: str) -> tuple[Lun, ...]:
        """The LUNs of a group, or a target's own. Raises `Conflict`."""
        key = self.admin.target_key(target)
        found = self.config.target(*key)
        if found is None:
            raise Conflict(f"there is no target {target}")
        for name, luns in found.lun_sets():
            if name == group:
                return luns
        raise Conflict(f"target {target} has no group {group}")

    def free_lun(self, target: str, group: str) -> int:
        """The lowest number that is not taken. Raises `Conflict`."""
        taken = {lun.number for lun in self.luns(target, group)}
        free = next((number for number in range(LUN_MAX + 1) if number not in taken), None)
        if free is None:
            raise Conflict(f"all {LUN_MAX + 1} LUN numbers are taken")
        return free

    def lun_number(self, place: tuple[str, str], text: str) -> int:
        """The LUN that a number or the name of its device means. Raises `Conflict`."""
        if check_lun(text) is None:
            return int(text)
        found = [lun.number for lun in self.luns(*place) if lun.device == text]
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(f"{text} is LUN {', '.join(map(str, found))} here: say which")
        raise Conflict(f"{text} is neither a LUN number nor a device that is a LUN here")

    # What completion offers.

    def target_names(self) -> list[str]:
        """The targets, with their drivers."""
        return [f"{target.driver}/{target.name}" for target in self.config.targets]

    def group_names(self, target: str) -> list[str]:
        """The groups of a target, of all targets if it is not known."""
        return [
            group.name
            for one in self.config.targets
            if not target or target in (one.name, f"{one.driver}/{one.name}")
            for group in one.groups
        ]

    def initiator_names(self) -> list[str]:
        """Names of initiators that are logged in or appear in the configuration."""
        found = {login.initiator for login in self.logins()}
        for target in self.config.targets:
            found.update(target.hosts)
            for group in target.groups:
                found.update(name for name in group.initiators if is_exact(name))
        return sorted(found)

    # The summary.

    def status(self) -> list[str]:
        """The present state in a few lines. Raises `NotPresent`."""
        if self.snapshot is None:
            raise NotPresent(self.admin.root)
        shot, config = self.snapshot, self.config
        logins = len(self.logins())
        counts = f"{config_counts(config)}, {logins} session{'' if logins == 1 else 's'}"
        lines = [f"{counts}, generation {shot.root.generation}"]
        if not shot.root.settled:
            lines.append("changes are staged that are not in force")
        lines += [self.parked_because(device) for device in config.devices if device.name in shot.parked]
        lines += [
            f"{driver}/{name}: {state}"
            for (driver, name), state in sorted(shot.target_states.items())
            if state != "enabled"
        ]
        lines += [f"still running under revoked access: {one.describe()}" for one in self.admin.running()]
        return [*lines, self._saved()]

    def _saved(self) -> str:
        path = self.admin.default_file
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                same = file.read() == dumps(self.config)
        except FileNotFoundError:
            return "not saved: `save` writes it to " + path
        except OSError as error:
            return f"{path}: {os.strerror(error.errno or 0)}"
        return f"saved in {path}" if same else f"changed since it was saved in {path}"
