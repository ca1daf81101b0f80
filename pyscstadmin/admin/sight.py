# SPDX-License-Identifier: GPL-2.0-or-later
"""What there is to be seen of a control plane: the half of `Admin` that changes nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pyscstadmin.config.draft import near, no_single
from pyscstadmin.config.layout import target_dir
from pyscstadmin.config.model import Config, Device
from pyscstadmin.config.ports import PortUse, uses
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.config.valid import (
    check_device,
    check_each,
    check_initiators,
    check_is,
    check_path,
    check_seconds,
    check_target,
    is_target,
)
from pyscstadmin.errors import (
    Conflict,
    NotPresent,
    OperationError,
)
from pyscstadmin.kernel import read
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.cfs import RealTree, Tree
from pyscstadmin.kernel.read import Snapshot, Standing, Use, Who
from pyscstadmin.kernel.running import Running, read_running

if TYPE_CHECKING:
    from pyscstadmin.config.acl import Decision
    from pyscstadmin.config.lint import Remark
    from pyscstadmin.config.touched import Touched
    from pyscstadmin.iscsi.explain import Told, Verdict
    from pyscstadmin.iscsi.refusals import Record as Refused
    from pyscstadmin.kernel.inflight import Command
    from pyscstadmin.kernel.logins import IscsiSession
    from pyscstadmin.kernel.recorder import Record
    from pyscstadmin.kernel.sessions import Session
    from pyscstadmin.sim.tree import SimTree

__all__ = ["Key", "Sight", "simulated_tree"]

DEFAULT_FILE = "/etc/scst/scst.json"

Key = tuple[str, str]


class Sight:
    """A look at one control plane; `Admin` says what the arguments are."""

    def __init__(
        self,
        root: str,
        sim: str | None,
        tree: Tree | None,
        class_root: str,
        backings: Machine | None,
        patience: float,
    ) -> None:
        check_seconds("patience", patience)
        for name, path in {"root": root, "sim": sim, "class_root": class_root}.items():
            if path is not None:
                check_path(name, path)
        self.root = root
        self.sim = sim
        self.class_root = class_root
        self.patience = patience
        self.backings = backings if backings is not None else Machine()
        self._tree: Tree | None = tree
        # The last configuration read or applied. Its access part is used again while the generation says that
        # it is still in force; devices and targets have no such number and are read each time.
        self._known: Snapshot | None = None
        self._locked = False

    def close(self) -> None:
        """Let go of the tree; the next call opens it again."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None
        self._known = None

    def _forget(self) -> None:
        """What is known of the tree may be wrong."""
        self._known = None

    @property
    def default_file(self) -> str:
        """Where configurations are saved when no file is given."""
        return DEFAULT_FILE if self.sim is None else os.path.join(self.sim, "scst.json")

    @property
    def tree(self) -> Tree:
        """The tree, opened if need be, and known to be the present one. Raises `NotPresent`."""
        if self._tree is None:
            self._tree = self._open()
            self._forget()
        elif not self._locked and self._tree.refresh():
            self._forget()
        return self._tree

    def _open(self) -> Tree:
        if self.sim is None:
            return RealTree(self.root)
        from pyscstadmin.sim.tree import SimTree

        return SimTree(self.sim, backings=self.backings)

    def snapshot(self) -> Snapshot:
        """The configuration with its generation and the states of devices and targets."""
        return self._snapshot()

    def _snapshot(self, parts: read.Asked | None = None) -> Snapshot:
        """The same; with `parts`, as far as a plan compares it. What is kept of it is the access."""
        found = read.snapshot(self.tree, self._known, parts)
        self._known = found if found.root.settled else None
        return found

    def config(self) -> Config:
        """The configuration the tree shows."""
        return self.snapshot().config

    def lint(self, config: Config | None = None, *, accept: Iterable[str] = ()) -> tuple[Remark, ...]:
        """What is hardly meant in a configuration, by default the present one, errors first; without what
        the rules in `accept` say. Raises `InvalidInput` for a rule that there is not.
        """
        from pyscstadmin.config.lint import lint
        from pyscstadmin.kernel.uses import Looking

        if config is not None:
            check_is(Config, config, "configuration")
        with Looking(self.patience) as looking:
            return lint(self.config() if config is None else config, looking.look, accept)

    def running(self) -> list[Running]:
        """Whose commands run that were admitted under access which has been revoked since."""
        tree = self.tree
        simulated = simulated_tree(tree)
        return simulated.running() if simulated is not None else read_running(self.class_root)

    def standing(self, names: Iterable[str]) -> dict[str, Standing]:
        """How these devices are doing; those that are not there are left out."""
        found = {}
        for name in check_each("names", names, check_device):
            standing = read.standing(self.tree, name)
            if standing is not None:
                found[name] = standing
        return found

    def sessions(self) -> list[Session]:
        """The sessions that exist now."""
        from pyscstadmin.kernel.sessions import read_sessions

        tree = self.tree
        simulated = simulated_tree(tree)
        return simulated.sessions() if simulated is not None else read_sessions(self.class_root)

    def who(self, name: str) -> Who:
        """Which LUNs a device is, and whose sessions see it now."""
        device, standing = self._device(name), read.standing(self.tree, name)
        if standing is None:
            raise Conflict(f"there is no device {name}")
        seen: dict[tuple[str, str, int], list[str]] = {}
        for session in self.sessions():
            for lun in session.luns:
                if lun.device == name:
                    seen.setdefault((session.target, session.group, lun.number), []).append(session.initiator)
        uses = []
        for target in self.config().targets:
            for group, luns in target.lun_sets():
                for mapped in (lun for lun in luns if lun.device == name):
                    place = (f"{target.driver}/{target.name}", group, mapped.number)
                    uses.append(Use(*place, mapped.read_only, tuple(sorted(seen.get(place, ())))))
        return Who(device, standing, tuple(uses))

    def ports(self) -> tuple[PortUse, ...]:
        """The hardware ports that can be targets, each with its target, and the targets whose port is not
        there. Without a control plane: the ports.
        """
        from pyscstadmin.kernel.ports import Places, read_ports

        tree: Tree | None = None
        try:
            tree = self.tree
        except NotPresent:
            if self.sim is not None:
                raise
        simulated = simulated_tree(tree) if tree is not None else None
        if simulated is not None:
            found = simulated.ports()
        else:
            classes, configfs = os.path.dirname(self.class_root), os.path.dirname(self.root)
            found = read_ports(Places(classes, lio=f"{configfs}/target"))
        loaded = tree.list("targets") if tree is not None else []
        return uses(found, read.port_targets(tree, loaded) if tree is not None else {}, loaded)

    def commands(self) -> list[Command]:
        """The commands in flight now, the oldest first. Raises `OperationError`: debugfs is not there."""
        from pyscstadmin.kernel.inflight import read_commands

        simulated = simulated_tree(self.tree)
        return simulated.in_flight() if simulated is not None else read_commands()

    def records(self) -> list[Record]:
        """What was slow and what failed, the newest last. Raises `OperationError`: debugfs is not there."""
        from pyscstadmin.kernel.recorder import read_records

        return read_records() if simulated_tree(self.tree) is None else []

    def explain(self, target: str, initiator: str) -> Decision:
        """What an initiator sees on a target, and why: by what the tree shows (see `settled`). A LUN without
        device is not seen. One of iSCSI may be `name#portal`: by that portal.
        """
        from pyscstadmin.config.acl import decide
        from pyscstadmin.config.spelling import parted

        check_initiators(initiator)
        key = self.target_key(target)
        found = read.target(self.tree, *key)
        if found is None:
            raise Conflict(f"there is no target {target}")
        decision = decide(found, *parted(found.driver, initiator))
        return replace(decision, luns=tuple(lun for lun in decision.luns if lun.device))

    def port_states(self, target: str, devices: Iterable[str]) -> dict[str, str]:
        """ALUA states of devices for those who reach them by a target (`DRIVER/NAME`), where there is one."""
        from pyscstadmin.config.alua import states_of
        from pyscstadmin.kernel.alua import device_groups

        check_target(target)
        wanted = check_each("devices", devices, check_device)
        return states_of(list(device_groups(self.tree, read.other_link)), target, wanted)

    def questions(self) -> dict[str, str]:
        """What initiators ask for by SET TARGET PORT GROUPS, by device group: what `question` says of an open
        one (number, milliseconds left, target, initiator, device, wanted states), parted by blanks.
        """
        from pyscstadmin.kernel.alua import questions

        return questions(self.tree)

    def iscsi_sessions(self, target: str = "", portal: str = "") -> list[IscsiSession]:
        """The iSCSI sessions, of a target (DRIVER/NAME) or by a portal; a simulated tree has none."""
        from pyscstadmin.kernel.logins import read_iscsi_sessions

        if self.sim is not None:
            return []
        return [
            one
            for one in read_iscsi_sessions(self.class_root)
            if target in ("", one.target) and portal in ("", one.values.get("portal"))
        ]

    def portal_states(self) -> dict[str, str]:
        """What the login daemon says of each iSCSI portal, by name."""
        from pyscstadmin.kernel.iscsi import portal_states

        return portal_states(self.tree)

    def isns_state(self) -> str:
        """What the login daemon says of the iSNS server; '' while the module is not loaded."""
        from pyscstadmin.kernel.iscsi import isns_state

        return isns_state(self.tree)

    def touched(self, wanted: Config) -> list[Touched]:
        """The iSCSI sessions that notice when the configuration becomes this one, at once or when they log in
        again.
        """
        from pyscstadmin.config.iscsi_plan import with_secrets
        from pyscstadmin.config.touched import Seat, touched
        from pyscstadmin.kernel.secrets import stamped

        check_is(Config, wanted, "wanted")
        found = self.iscsi_sessions()
        if not found:
            return []
        seats = [Seat(one.name, one.initiator, one.target, one.values.get("portal", "")) for one in found]
        present = self.config()
        return touched(present, with_secrets(present, stamped(wanted)), seats)

    def refused_logins(self) -> list[Refused]:
        """The iSCSI logins that were refused last, the oldest first. Raises `OperationError`."""
        from pyscstadmin.iscsi.refusals import FILE, read_logins

        if self.sim is not None:
            return []
        try:
            return read_logins(FILE)
        except OSError as error:
            raise OperationError("read", FILE, None, error.errno or errno.EIO) from error

    def explain_login(self, initiator: str, target: str, user: str = "", portal: str = "") -> list[Verdict]:
        """What would become of an iSCSI login, by a portal or by each of the target's: by what scst-iscsid
        decides by. `user`: who the initiator is for CHAP.
        """
        from pyscstadmin.iscsi.explain import explain, placed

        check_initiators(initiator)
        return explain(placed(self.tree), initiator, target, user, portal)

    def discover(self, initiator: str, source: str = "", at: str = "") -> list[Told]:
        """What an iSCSI initiator is told by discovery: at the end of the way that leads to the address
        `source`, or if it asks at our address `at`. Raises ValueError for what is no address.
        """
        from pyscstadmin.iscsi.explain import discoveries, placed

        check_initiators(initiator)
        return discoveries(placed(self.tree), initiator, source, at)

    def settled(self) -> bool:
        """Whether what the tree shows is in force, with nothing staged."""
        return read.root_state(self.tree).settled

    def target_key(self, target: str) -> Key:
        """(driver, name) of a target given as `DRIVER/NAME` or `NAME`. Raises `Conflict` if there is none."""
        check_target(target)
        driver, slash, name = target.partition("/")
        candidates = [(driver, name)] if slash else [(known, target) for known in DRIVERS]
        possible = [(of, DRIVERS[of].name.canonical(one)) for of, one in candidates if is_target(of, one)]
        found = [key for key in possible if self._exists(f"{target_dir(*key)}/state")]
        return found[0] if len(found) == 1 else no_single(target, len(found), self.target_names())

    def handler(self, device: str) -> str:
        """The handler of a device. Raises `Conflict` if there is none of that name."""
        return self._handler(device)[0]

    def device_names(self) -> list[str]:
        """The names of all devices."""
        return self._names(None)

    def target_names(self) -> list[str]:
        """All targets, with their drivers."""
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

    def _names(self, key: Key | None) -> list[str]:
        """The names of the groups of a target, or of all devices."""
        tree = self.tree
        if key is not None:
            return tree.list(f"{target_dir(*key)}/groups")
        return [name for handler in tree.list("devices") for name in tree.list(f"devices/{handler}")]

    def _handler(self, name: str) -> tuple[str, str]:
        check_device(name)
        found = read.find_handler(self.tree, name)
        if found is None:
            raise Conflict(f"there is no device {name}{near(name, self._names(None))}")
        return found

    def _device(self, name: str) -> Device:
        self._handler(name)
        found = read.device(self.tree, name)
        assert found is not None
        return found


def simulated_tree(tree: Tree) -> SimTree | None:
    """The tree, if it is a simulated one."""
    import sys

    module = sys.modules.get("pyscstadmin.sim.tree")
    return tree if module is not None and isinstance(tree, module.SimTree) else None
