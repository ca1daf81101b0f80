# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of the simulated tree: generation, staging and commit, and what is in force."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyscstadmin import __version__
from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Group as GroupModel
from pyscstadmin.config.model import Lun as LunModel
from pyscstadmin.config.model import Target as TargetModel
from pyscstadmin.config.settings import DRIVERS, HANDLERS, LUN, ROOT, Value
from pyscstadmin.kernel import inflight
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.running import Running
from pyscstadmin.kernel.sessions import Session, SessionLun
from pyscstadmin.sim.access import DriverDir, Target, all_targets
from pyscstadmin.sim.alua import AluaDir
from pyscstadmin.sim.device import Device, HandlerDir
from pyscstadmin.sim.faultpoints import FaultDir
from pyscstadmin.sim.force import InForce
from pyscstadmin.sim.iscsi import IscsiDir
from pyscstadmin.sim.node import RO, RW, WO, Attribute, Node, Refused, Top, stored, to_bool, to_number
from pyscstadmin.sim.ports import SimPorts

__all__ = ["Command", "Root"]


@dataclass(slots=True)
class Command:
    """A command that does not end by itself, and under which access it was admitted. `revoked`: the
    generation that took this away, 0 for none.
    """

    target: str
    initiator: str
    lun: int
    device: str
    writes: bool
    revoked: int = 0

    def allowed(self, sessions: list[Session]) -> bool:
        """Whether it would still be admitted."""
        return any(
            (session.target, session.initiator) == (self.target, self.initiator)
            and (lun.number, lun.device) == (self.lun, self.device)
            and not (lun.read_only and self.writes)
            for session in sessions
            for lun in session.luns
        )


class Root(Top):
    """The root: generation, staging and commit."""

    def __init__(self, backings: Machine | None = None, ports: SimPorts | None = None) -> None:
        super().__init__(None, "")
        self.backings = backings if backings is not None else Machine()
        self.ports = ports if ports is not None else SimPorts()
        self.generation = 1
        self.autocommit = True
        self.in_force = None
        self.identities = {}
        self.lost = []
        self.hung = set()
        self.staged = False
        self.values: dict[str, Value] = {name: row.default for name, row in ROOT.items()}
        self.commands: list[Command] = []
        self.devices = Node(self, "devices")
        self.targets = Node(self, "targets")
        self.alua = AluaDir(self, "alua")
        self.faults = FaultDir(self, "faults")
        self.drivers = Node(self, "drivers")
        self.iscsi = IscsiDir(self.drivers)
        self.portals = self.iscsi.portals
        self.drivers.children = {"iscsi": self.iscsi}
        self.children = {
            "devices": self.devices,
            "drivers": self.drivers,
            "targets": self.targets,
            "alua": self.alua,
            "faults": self.faults,
        }
        self.devices.children = {handler: HandlerDir(self.devices, handler) for handler in HANDLERS}
        self.targets.children = {driver: DriverDir(self.targets, driver) for driver in DRIVERS}

    def attributes(self) -> Mapping[str, Attribute]:
        return _ROOT_ATTRIBUTES

    def show(self, name: str) -> str:
        values = {
            "version": f"{__version__}-sim",
            "features": "",
            "generation": str(self.generation),
            "autocommit": str(int(self.autocommit)),
            "staged": str(int(self.staged)),
            "settled": str(min([self.generation, *(running.generation - 1 for running in self.running())])),
        }
        if name == "device_table":
            return "".join(device.table() for device in self._devices())
        return values[name] if name in values else ROOT[name].type.to_kernel(self.values[name])

    def store(self, name: str, text: str) -> None:
        if name in self.values:
            self.values[name] = stored(ROOT[name], text)
            return
        if name in ("commit", "commit_fence"):
            if to_number(text, 0, 2**64 - 1) != self.generation:
                raise Refused(errno.ESTALE)
            self.publish()
            self.revoke(abort=name == "commit_fence")
            return
        wanted = to_bool(text)
        if wanted:
            self.publish()
        self.autocommit = wanted

    def publish(self) -> None:
        """Bring staged changes into force."""
        if self.staged:
            self.generation += 1
        self.staged = False
        self.in_force = None

    def revoke(self, *, abort: bool = False) -> None:
        """Note whose commands run under access that is no more, or end them."""
        if not self.commands:
            return
        sessions = self.sessions()
        for command in list(self.commands):
            if not command.revoked and not command.allowed(sessions):
                command.revoked = self.generation
                if abort:
                    self.commands.remove(command)

    def running(self) -> list[Running]:
        """Revoked access that still has commands: a line of `unsettled` each."""
        found = {
            Running(command.revoked, command.target, command.initiator, command.lun, command.device)
            for command in self.commands
            if command.revoked
        }
        return sorted(found, key=lambda one: (one.generation, one.target, one.initiator, one.lun, one.device))

    def in_flight(self) -> list[inflight.Command]:
        """The commands, as they would be seen in the back end; nothing tells how old they are."""
        names = {(session.target, session.initiator): session.name for session in self.sessions()}
        return [
            inflight.Command(
                age_ms=0,
                place="handler",
                aborted=False,
                session=names.get((command.target, command.initiator), ""),
                target=command.target,
                initiator=command.initiator,
                lun=command.lun,
                device=command.device,
                tag=hex(tag),
                bytes=512,
                cdb="2a000000000000000100" if command.writes else "28000000000000000100",
                opcode="WRITE(10)" if command.writes else "READ(10)",
            )
            for tag, command in enumerate(self.commands)
        ]

    def before_change(self) -> InForce | None:
        """Call before any change of the access directories. Gives where to note what is in force."""
        if not self.autocommit and self.in_force is None:
            self.in_force = InForce()
        return self.in_force

    def after_change(self) -> None:
        """Call after a change that initiators could notice: with autocommit, it is in force."""
        self.staged = True
        if self.autocommit:
            self.publish()

    def access(self) -> dict[str, Any]:
        """The access the tree shows, as plain data: target path -> luns and groups. Empty is left out."""
        found = {target.path: target.access() for target in all_targets(self)}
        return {path: access for path, access in found.items() if access["luns"] or access["groups"]}

    def force(self) -> dict[str, Any]:
        """The access in force."""
        return self.access() if self.in_force is None else self.in_force.apply(self.access())

    def uses(self, device: str) -> bool:
        """Whether a LUN in force points at a device, while it may not in the tree."""
        return self.in_force is not None and self.in_force.uses(device)

    def sessions(self) -> list[Session]:
        """What the initiators see now."""
        found: list[Session] = []
        protected = self._read_only_devices()
        force = self.force() if self.in_force is not None else None
        for target in all_targets(self):
            if not target.enabled or not target.hosts.children:
                continue
            access = target.access() if force is None else force.get(target.path, _NOTHING)
            model = _model(target, access)
            for host in target.hosts.children:
                choice = decide(model, host)
                luns = tuple(
                    SessionLun(lun.number, lun.device, lun.read_only or lun.device in protected, *lun[3:])
                    for lun in choice.luns
                    if lun.device
                )
                name = f"session.{len(found) + 1}"
                full_name = f"{target.driver}/{target.name}"
                found.append(Session(name, full_name, choice.initiator, choice.group, luns))
        return found

    def _read_only_devices(self) -> set[str]:
        return {
            name
            for handler in self.devices.children.values()
            for name, device in handler.children.items()
            if isinstance(device, Device) and device.values["read_only"]
        }

    def _devices(self) -> Iterator[Device]:
        for node in self.devices.children.values():
            yield from (device for device in node.children.values() if isinstance(device, Device))

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        devices = {
            handler: {
                name: device.dump() for name, device in node.children.items() if isinstance(device, Device)
            }
            for handler, node in self.devices.children.items()
        }
        targets = {target.path: target.dump() for target in all_targets(self)}
        return {
            "generation": self.generation,
            "autocommit": self.autocommit,
            "staged": self.staged,
            "in_force": None if self.in_force is None else self.force(),
            "values": dict(self.values),
            "commands": [asdict(command) for command in self.commands],
            "devices": devices,
            "targets": targets,
            "alua": self.alua.dump(),
            "iscsi": self.iscsi.dump(),
            "faults": self.faults.dump(),
        }

    def load(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`, into a fresh root."""
        for handler, devices in data["devices"].items():
            node = self.devices.children[handler]
            assert isinstance(node, HandlerDir)
            for name, device in devices.items():
                node.restore(name, device)
        self.iscsi.restore(data["iscsi"])
        for path, target in data["targets"].items():
            driver = self.targets.children[path.split("/")[1]]
            assert isinstance(driver, DriverDir)
            driver.restore(path.split("/", 2)[2], target)
        self.alua.restore(data["alua"])
        self.faults.restore(data.get("faults", {}))
        for name in ("generation", "autocommit", "staged", "values"):
            setattr(self, name, data[name])
        forced = data["in_force"]
        self.in_force = None if forced is None else InForce.between(self.access(), forced)
        self.commands = [Command(**command) for command in data["commands"]]


_NOTHING: dict[str, Any] = {"luns": {}, "groups": {}}
_ROOT_ATTRIBUTES = {
    "version": RO,
    "features": RO,
    "generation": RO,
    "autocommit": RW,
    "staged": RO,
    "settled": RO,
    "device_table": RO,
    "commit": WO,
    "commit_fence": WO,
    **dict.fromkeys(ROOT, RW),
}


def _model(target: Target, access: dict[str, Any]) -> TargetModel:
    groups = tuple(
        GroupModel(name, group["priority"], tuple(group["initiators"]), _luns_model(group["luns"]))
        for name, group in access["groups"].items()
    )
    return TargetModel(target.driver, target.name, luns=_luns_model(access["luns"]), groups=groups)


def _luns_model(luns: dict[str, Any]) -> tuple[LunModel, ...]:
    return tuple(
        LunModel(int(number), lun["device"], **{name: lun[name] for name in LUN if name in lun})
        for number, lun in luns.items()
    )
