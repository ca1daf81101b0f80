# SPDX-License-Identifier: GPL-2.0-or-later
"""The target device that the model is of: two units, two ports, three initiators; and steps done to it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.model import pr, steps, transport_id
from tests.model.rules import State
from tests.model.steps import Function
from tests.model.target import Answer, Outcome, Place, Target, make
from tests.model.unit import BLOCK, Identity
from tests.vm.guest import alua, script, scsi, tree, wire
from tests.vm.guest.conftest import wipe
from tests.vm.guest.script import Kind, Tmf
from tests.vm.guest.test_sanitize import word

PORTS = (1, 2)
ROOM = 64
INITIATORS = "abc"
STATES = {State(number): name for name, number in alua.STATES.items()}
NEVER = script.Plan(data_mode=script.Mode.NEVER)
TMF = {
    Function.ABORT_TASK_SET: Tmf.ABORT_TASK_SET,
    Function.CLEAR_TASK_SET: Tmf.CLEAR_TASK_SET,
    Function.LUN_RESET: Tmf.LUN_RESET,
    Function.TARGET_RESET: Tmf.TARGET_RESET,
    Function.NEXUS_RESET: Tmf.I_T_NEXUS_RESET,
    Function.QUERY_TASK_SET: Tmf.QUERY_TASK_SET,
}
SG_SCSI_RESET, NO_ESCALATE = 0x2284, 0x100
# Linux aborts by a clock that goes on while the whole machine stands: what comes of that is no divergence.
NO_TIMEOUT = 3600.0
RESETS = {Function.LUN_RESET: 1, Function.TARGET_RESET: 4}


def first_steps() -> list[steps.Step]:
    """Everybody sees both units by both ports, and has heard of nothing yet."""
    maps = [steps.Map(port, lun, lun) for port in PORTS for lun in (0, 1)]
    return [*maps, *(steps.Login(who, port) for who in INITIATORS for port in PORTS)]


def in_force(device: tree.Device, wanted: pr.Unit) -> bool:
    """Are these persistent reservations?"""
    kind = wanted.type.name.lower() if wanted.type is not None else "none"
    lines = tree.read(device.path / "pr/state").splitlines()
    return lines[:2] == [f"generation {wanted.generation}", f"type {kind}"]


def idle(device: tree.Device) -> bool:
    """Is nothing done to the whole medium?"""
    return word(device) == "none"


class Rig:
    """The objects of the kernel. Drivers differ in how initiators are told what to do."""

    driver: type[tree.Target] = tree.Target
    aca = False  # does the driver convey it?

    def __init__(self, folder: Path) -> None:
        self.devices = [self.device(folder, number) for number in (0, 1)]
        self.exponent = (os.statvfs(folder).f_bsize // BLOCK).bit_length() - 1
        self.targets = {port: self.target(port) for port in PORTS}
        group = alua.DeviceGroup("g").make(*self.devices, explicit=True)
        self.groups = {}
        for port, target in self.targets.items():
            tree.write(target.path / "rel_tgt_id", port)
            self.groups[port] = group.tpg(f"g{port}", port, target)
        for target in self.targets.values():
            target.enable()

    @staticmethod
    def device(folder: Path, number: int) -> tree.Device:
        """The first is fixed, and remembers what it must; the second is removable, and stops for all when one
        says so.
        """
        path, record = folder / f"model{number}", folder / f"model{number}.pr"
        path.write_bytes(bytes(ROOM * BLOCK))
        record.unlink(missing_ok=True)
        settings = {"removable": True, "stop_unit": True} if number else {"pr_file": record}
        return tree.fileio(f"d{number}", path, **settings)

    def target(self, port: int) -> tree.Target:
        """One of the ports."""
        return self.driver(f"t{port}").make()

    def model(self) -> Target:
        """A model of it as it is at first."""
        identities = [
            Identity(
                device.get("id/vendor"), device.get("id/product"), device.get("id/revision"), self.exponent
            )
            for device in self.devices
        ]
        return make(list(PORTS), identities, transport_id.iscsi, ROOM, self.aca)

    def do(self, step: steps.Step, wanted: Outcome) -> Outcome:
        """Do a step; *wanted*: what is to be waited for."""
        match step:
            case steps.SetState(group, state):
                self.groups[group].switch(STATES[State(state)])
            case steps.Map(port, lun, unit, read_only):
                self.targets[port].luns.map(lun, self.devices[unit], read_only)
                self.mapped(port, lun)
            case steps.Unmap(port, lun):
                self.unmapping(port, lun)
                self.targets[port].luns.unmap(lun)
                self.unmapped(port, lun)
            case steps.SetReadOnly(port, lun, on):
                tree.write(self.targets[port].luns.path / f"{lun}/read_only", on)
            case steps.Park(number, on):
                self.devices[number].activate(on)
            case steps.Resize(number, blocks):
                self.devices[number].set("size", blocks * BLOCK)
            case _:
                return self.act(step, wanted)
        return Outcome()

    def act(self, step: steps.Step, wanted: Outcome) -> Outcome:
        """What initiators do."""
        raise NotImplementedError

    def settle(self, model: Target) -> None:
        """What has no answer yet has got as far as it can: a reservation is in force before what it has
        excluded has ended, and only then is it answered.
        """
        for device, unit in zip(self.devices, model.units, strict=True):
            if any(task.place == Place.FENCED and task.path.unit is unit for task in model.tasks.values()):
                tree.wait_for("what is in force", partial(in_force, device, unit.reservations))

    def done(self, command: steps.Command) -> None:
        """An answer has come; what was answered before it was done is waited for."""
        if isinstance(command, steps.FormatUnit | steps.Sanitize) and command.immed:
            for device in self.devices:
                tree.wait_for("the end", partial(idle, device))

    def mapped(self, port: int, lun: int) -> None:
        """A LUN has come."""

    def unmapping(self, port: int, lun: int) -> None:
        """A LUN is going to go."""

    def unmapped(self, port: int, lun: int) -> None:
        """A LUN has gone."""

    def told(self) -> bool:
        """If it is not known what initiators have heard of, let them hear of everything."""
        return False

    def close(self) -> None:
        """The initiators go."""


class Scripted(Rig):
    """By the scripted driver."""

    driver = script.Target
    aca = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.script = script.Script()
        self.sessions: dict[tuple[str, int], script.Nexus] = {}
        self.commands: dict[int, tuple[script.Nexus, int, steps.Command]] = {}
        self.held: set[int] = set()

    def close(self) -> None:
        self.script.close()

    def do(self, step: steps.Step, wanted: Outcome) -> Outcome:
        """Nothing else may come of it than what is wanted."""
        got = super().do(step, wanted)
        response, gone = got.response, isinstance(step, steps.Logout)
        got = self.collect(wanted)
        got.response = response
        if gone:
            self.sessions.pop((step.initiator, step.port)).gone()  # type: ignore[union-attr]
        while self.script.pump():
            pass
        assert not any(map(self.is_news, self.script.unread)), f"this besides: {self.script.describe()}"
        self.script.unread.clear()
        return got

    def is_news(self, event: script.Event) -> bool:
        """A command that gets its data by itself has asked for it, too."""
        held = event.kind == Kind.WANTS_DATA and event.id in self.held
        return held or event.kind in (Kind.RESPONDED, Kind.TMF_DONE)

    def collect(self, wanted: Outcome) -> Outcome:
        """What comes of a step."""
        got = Outcome()
        for number in wanted.answers:
            nexus, tag, command = self.commands.pop(number)
            event = nexus.answer(tag)
            got.answers[number] = Answer(event.status, event.raw_sense, event.data, event.foreign)
            self.done(command)
        for number in wanted.wants_data:
            self.script.wait(Kind.WANTS_DATA, self.commands[number][1])
            got.wants_data.add(number)
        return got

    def act(self, step: steps.Step, wanted: Outcome) -> Outcome:
        got = Outcome()
        match step:
            case steps.Login(initiator, port):
                self.sessions[initiator, port] = self.script.login(self.targets[port], initiator)
            case steps.Logout(initiator, port):
                self.sessions[initiator, port].close()
            case steps.Send():
                self.send(step)
            case steps.Finish(number):
                self.script.data(self.commands[number][1])
            case steps.AbortTask(number):
                nexus, tag, _ = self.commands[number]
                got.response = nexus.manage(Tmf.ABORT_TASK, tag=tag).name
            case steps.Manage(initiator, port, function, lun):
                got.response = self.sessions[initiator, port].manage(TMF[function], lun).name
        return got

    def send(self, step: steps.Send) -> None:
        """A command; what is held is lost if it is aborted."""
        nexus = self.sessions[step.initiator, step.port]
        cdb, read, write = wire.encode(step.command)
        plan = NEVER if step.hold else script.USUAL
        number = nexus.submit(cdb, step.lun, read, write, plan, attr=step.attr)
        self.commands[step.task] = nexus, number, step.command
        if step.hold:
            self.held.add(number)


class Local(Rig):
    """By the local driver and /dev/sg*. The driver does not look for itself, which takes unit attentions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hosts: dict[tuple[str, int], tree.Initiator] = {}
        self.units: dict[tuple[str, int, int], scsi.Unit] = {}

    def target(self, port: int) -> tree.Target:
        return self.driver(f"t{port}").make(auto_rescan=False)

    def close(self) -> None:
        for unit in self.units.values():
            unit.close()
        self.units.clear()

    def told(self) -> bool:
        for unit in self.units.values():
            unit.attentions()
        return True

    def hosts_of(self, port: int) -> Iterator[tuple[str, tree.Initiator]]:
        """Those that are logged in there."""
        return ((who, host) for (who, at), host in self.hosts.items() if at == port)

    def mapped(self, port: int, lun: int) -> None:
        for who, host in self.hosts_of(port):
            self.units[who, port, lun] = scsi.Unit(host.sg(lun))

    def unmapping(self, port: int, lun: int) -> None:
        for who, _ in self.hosts_of(port):
            self.units.pop((who, port, lun)).close()

    def unmapped(self, port: int, lun: int) -> None:
        for who, host in self.hosts_of(port):
            tree.wait_for(f"LUN {lun} of {who} to go", lambda host=host: lun not in host.devices())  # type: ignore[misc]

    def act(self, step: steps.Step, wanted: Outcome) -> Outcome:
        got = Outcome()
        match step:
            case steps.Login(initiator, port):
                self.login(initiator, port)
            case steps.Logout(initiator, port):
                for who, at, lun in list(self.units):
                    if (who, at) == (initiator, port):
                        self.units.pop((who, at, lun)).close()
                del self.hosts[initiator, port]
                self.targets[port].logout(initiator)
            case steps.Send():
                got.answers[step.task] = self.send(step)
            case steps.Manage(initiator, port, function, lun):
                got.response = self.reset(self.units[initiator, port, lun], RESETS[function])
        return got

    def login(self, initiator: str, port: int) -> None:
        """And all its disks are found."""
        host = self.hosts[initiator, port] = self.targets[port].login(initiator)
        for folder in self.targets[port].luns.path.iterdir():
            lun = int(folder.name)
            self.units[initiator, port, lun] = scsi.Unit(host.sg(lun))

    def send(self, step: steps.Send) -> Answer:
        """A command."""
        cdb, read, write = wire.encode(step.command)
        unit = self.units[step.initiator, step.port, step.lun]
        answer = unit.command(cdb, read, write, NO_TIMEOUT)
        assert answer.host_status == 0, str(answer)
        self.done(step.command)
        return Answer(answer.status, answer.raw_sense, answer.moved)

    @staticmethod
    def reset(unit: scsi.Unit, how: int) -> str:
        """SG_SCSI_RESET."""
        fcntl.ioctl(unit._file, SG_SCSI_RESET, struct.pack("i", how | NO_ESCALATE))
        return "COMPLETE"


@contextmanager
def fresh(kind: type[Rig], folder: Path) -> Iterator[Rig]:
    """A new one; nothing is left of it."""
    rig = kind(folder)
    try:
        yield rig
    finally:
        rig.close()
        wipe()
