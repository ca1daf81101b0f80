# SPDX-License-Identifier: GPL-2.0-or-later
"""A SCSI target device with several ports (SAM-6, SPC-5, SBC-4): what comes of each step.

Written from the standards and not from our code: who reads a paragraph there should find it here. What they
leave open, and what we have chosen, is marked "Choice:". One step is done at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from tests.model import mode, pr, rules, sense, steps
from tests.model.attention import OF_RESERVATIONS, Attention
from tests.model.rules import RULES, State
from tests.model.sense import Said
from tests.model.steps import Attr, Function
from tests.model.unit import CheckCondition, Identity, Unit, require

GOOD, CHECK_CONDITION, RESERVATION_CONFLICT, TASK_ABORTED = 0x00, 0x02, 0x18, 0x40
BY_COMMAND, IMPLICIT = 1, 2
EXCLUDING = {
    pr.Action.RESERVE,
    pr.Action.PREEMPT,
    pr.Action.PREEMPT_AND_ABORT,
    pr.Action.REGISTER_AND_MOVE,
}


class Conflict(Exception):
    """RESERVATION CONFLICT."""


class Nothing(Exception):
    """GOOD, and nothing is done."""


@dataclass(eq=False)
class Nexus:
    """An I_T nexus. *luns_changed*: REPORTED LUNS DATA HAS CHANGED is pending, and no unit has told."""

    initiator: str
    port: int
    paths: dict[int, Path] = field(default_factory=dict)
    luns_changed: bool = False


@dataclass(eq=False)
class Path:
    """An I_T_L nexus. *gone*: the LUN does not lead here any more, but commands that were sent before do.

    *echoed*: it has written to the echo buffer.
    """

    nexus: Nexus
    unit: Unit
    read_only: bool
    pending: set[Attention] = field(default_factory=lambda: {Attention.POWER_ON})
    prevents: bool = False
    echoed: bool = False
    gone: bool = False
    tasks: list[Task] = field(default_factory=list)

    def tell(self, attention: Attention) -> None:
        """Establish a unit attention condition."""
        self.pending.add(attention)

    def take(self) -> Attention | None:
        """The condition that is told now, and cleared by that. One about LUNs is told by one unit for all."""
        while self.pending:
            first = min(self.pending)
            self.pending.remove(first)
            if first != Attention.LUNS_CHANGED:
                return first
            if self.nexus.luns_changed:
                self.nexus.luns_changed = False
                return first
        return None


class Place(Enum):
    """Where a task is that has not ended."""

    WAITS = "for older tasks of its task set"
    DATA = "for its data"
    FENCED = "done, and answered when what it has excluded has ended"


@dataclass(eq=False)
class Task:
    """A command that has not ended."""

    number: int
    path: Path
    command: steps.Command
    attr: Attr
    hold: bool
    place: Place = Place.WAITS
    fence: set[Task] = field(default_factory=set)


@dataclass(frozen=True)
class Answer:
    """How a task has ended. *foreign*: aborted by another I_T nexus."""

    status: int
    sense: bytes = b""
    data: bytes = b""
    foreign: bool = False

    def __str__(self) -> str:
        data = self.data.hex(" ", 4) if len(self.data) <= 128 else f"{len(self.data)} bytes"
        by = ", by another" if self.foreign else ""
        return f"status {self.status:#04x} sense [{self.sense.hex(' ')}] data [{data}]{by}"


@dataclass
class Outcome:
    """What comes of a step: answers of tasks, that of a function, and who waits for its data."""

    answers: dict[int, Answer] = field(default_factory=dict)
    response: str | None = None
    wants_data: set[int] = field(default_factory=set)


@dataclass
class Group:
    """A target port group with one port."""

    state: State = State.OPTIMIZED
    status: int = 0
    before: State = State.OPTIMIZED


class Target:
    """The SCSI target device. *ports*: relative target port identifiers. *transport_id*: of an initiator.

    *aca*: it has auto contingent allegiance, which no step asks for.
    """

    def __init__(
        self, ports: list[int], units: list[Unit], transport_id: Callable[[str], bytes], aca: bool = False
    ) -> None:
        self.transport_id = transport_id
        self.aca = aca
        self.units = units
        self.groups = {port: Group() for port in ports}
        self.maps: dict[int, dict[int, tuple[Unit, bool]]] = {port: {} for port in ports}
        self.nexuses: dict[tuple[str, int], Nexus] = {}
        self.paths: list[Path] = []
        self.reserved: dict[Unit, Path] = {}
        self.echoes: dict[Unit, tuple[Path, bytes]] = {}
        self.tasks: dict[int, Task] = {}
        self.outcome = Outcome()

    # --- steps ---

    def possible(self, step: steps.Step) -> bool:
        """Does it make sense, and does what comes of it not depend on who is faster?"""
        match step:
            case steps.Login(initiator, port):
                return (initiator, port) not in self.nexuses
            case steps.Logout(initiator, port) | steps.Manage(initiator, port):
                return (initiator, port) in self.nexuses
            case steps.Send():
                return (step.initiator, step.port) in self.nexuses and self.may_send(step)
            case steps.Finish(number):
                return number in self.tasks and self.tasks[number].place == Place.DATA
            case steps.AbortTask(number):
                return number in self.tasks
            case steps.Map(port, lun):
                return lun not in self.maps[port]
            case steps.Resize(number):
                return not self.units[number].parked
            case steps.Park(number, on):
                return self.units[number].parked == on
            case steps.Unmap(port, lun) | steps.SetReadOnly(port, lun):
                return lun in self.maps[port]
        return True

    def may_send(self, step: steps.Send) -> bool:
        """Two that wait for one task would begin at the same time."""
        path = self.nexuses[step.initiator, step.port].paths.get(step.lun)
        if path is None:
            return not step.hold and step.attr == Attr.SIMPLE
        waiting = any(task.place == Place.WAITS for task in path.tasks)
        return step.attr == Attr.HEAD_OF_QUEUE or not waiting

    def apply(self, step: steps.Step) -> Outcome:
        """Do a step that is possible."""
        self.outcome = Outcome()
        match step:
            case steps.Login(initiator, port):
                self.login(initiator, port)
            case steps.Logout(initiator, port):
                self.logout(self.nexuses[initiator, port])
            case steps.Send():
                self.send(step)
            case steps.Finish(number):
                self.finish(self.tasks[number])
            case steps.AbortTask(number):
                self.abort([self.tasks[number]], self.tasks[number].path.nexus)
                self.outcome.response = "COMPLETE"
            case steps.Manage(initiator, port):
                self.manage(self.nexuses[initiator, port], step.function, step.lun)
            case _:
                self.configure(step)
        return self.outcome

    def configure(self, step: steps.Step) -> None:
        """What the administrator does."""
        match step:
            case steps.SetState(group, state):
                self.set_state(self.groups[group], State(state))
            case steps.Map(port, lun, unit, read_only):
                self.map(port, lun, self.units[unit], read_only)
            case steps.Unmap(port, lun):
                self.unmap(port, lun)
            case steps.SetReadOnly(port, lun, on):
                self.set_read_only(port, lun, on)
            case steps.Resize(number, blocks):
                self.resize(self.units[number], blocks)
            case steps.Park(number, False):
                self.units[number].parked = True
            case steps.Park(number, True):
                self.activate(self.units[number])

    # --- I_T nexuses ---

    def login(self, initiator: str, port: int) -> None:
        """Each unit tells of power on."""
        nexus = self.nexuses[initiator, port] = Nexus(initiator, port)
        for lun, (unit, read_only) in self.maps[port].items():
            self.add_path(nexus, lun, unit, read_only)

    def add_path(self, nexus: Nexus, lun: int, unit: Unit, read_only: bool) -> None:
        """A unit can be reached by a LUN."""
        nexus.paths[lun] = Path(nexus, unit, read_only)
        self.paths.append(nexus.paths[lun])

    def logout(self, nexus: Nexus) -> None:
        """I_T nexus loss (SAM-6 6.3.4): its commands are aborted, and what it has reserved is released."""
        for lun in list(nexus.paths):
            self.drop_path(nexus, lun)
        self.abort([task for task in self.tasks.values() if task.path.nexus is nexus], nexus)
        self.paths = [path for path in self.paths if path.nexus is not nexus]
        del self.nexuses[nexus.initiator, nexus.port]

    def drop_path(self, nexus: Nexus, lun: int) -> None:
        """A unit can't be reached by a LUN any more."""
        path = nexus.paths.pop(lun)
        path.gone = True
        self.end_reserve(path)
        if not path.tasks:
            self.paths.remove(path)

    def of_unit(self, unit: Unit) -> Iterator[Path]:
        """All I_T_L nexuses of a unit."""
        return (path for path in self.paths if path.unit is unit)

    def tell(self, unit: Unit, attention: Attention, but: Path | None = None) -> None:
        """Establish a unit attention condition for all I_T nexuses, or all but one."""
        for path in self.of_unit(unit):
            if path is not but:
                path.tell(attention)

    def end_reserve(self, path: Path) -> None:
        """What was reserved through it is released."""
        if self.reserved.get(path.unit) is path:
            del self.reserved[path.unit]

    # --- what the administrator changes ---

    def luns_changed(self, port: int) -> None:
        """Who is logged in there is told of it."""
        for nexus in self.nexuses.values():
            if nexus.port == port:
                nexus.luns_changed = True
                for path in nexus.paths.values():
                    path.tell(Attention.LUNS_CHANGED)
        for unit in self.units:
            mapped = [at for at, luns in self.maps.items() if any(unit is one for one, _ in luns.values())]
            unit.reservations.ports = dict.fromkeys(mapped, pr.ANY_PROTOCOL)

    def map(self, port: int, lun: int, unit: Unit, read_only: bool) -> None:
        """A LUN comes."""
        self.maps[port][lun] = unit, read_only
        for nexus in self.nexuses.values():
            if nexus.port == port:
                self.add_path(nexus, lun, unit, read_only)
        self.luns_changed(port)

    def unmap(self, port: int, lun: int) -> None:
        """A LUN goes."""
        del self.maps[port][lun]
        for nexus in self.nexuses.values():
            if nexus.port == port:
                self.drop_path(nexus, lun)
        self.luns_changed(port)

    def set_read_only(self, port: int, lun: int, on: bool) -> None:
        """WP of the device-specific parameter changes with it: MODE PARAMETERS CHANGED."""
        unit, before = self.maps[port][lun]
        self.maps[port][lun] = unit, on
        for nexus in self.nexuses.values():
            if nexus.port == port and before != on:
                nexus.paths[lun].read_only = on
                nexus.paths[lun].tell(Attention.MODE_CHANGED)

    def resize(self, unit: Unit, blocks: int) -> None:
        """CAPACITY DATA HAS CHANGED."""
        if unit.size != blocks:
            unit.size = blocks
            self.tell(unit, Attention.CAPACITY_CHANGED)

    def activate(self, unit: Unit) -> None:
        """The backing is back, with its medium. Choice: all who see it look again."""
        unit.parked = unit.ejected = unit.stopped = False
        for path in self.of_unit(unit):
            path.nexus.luns_changed = True
            path.pending |= {
                Attention.MEDIUM_MAY_HAVE_CHANGED,
                Attention.INQUIRY_CHANGED,
                Attention.LUNS_CHANGED,
            }

    def set_state(self, group: Group, state: State) -> None:
        """Implicit change. One that leads back to where it began has failed."""
        if state == group.state:
            return
        failed = group.state == State.TRANSITIONING and state == group.before
        if state == State.TRANSITIONING:
            group.before = group.state
        group.state, group.status = state, IMPLICIT
        for unit in self.units:
            self.tell(unit, Attention.STATE_CHANGE_FAILED if failed else Attention.STATE_CHANGED)

    def state_of(self, path: Path) -> State:
        """Of the port that it goes through."""
        return self.groups[path.nexus.port].state

    # --- task management (SAM-6 clause 7) ---

    def manage(self, nexus: Nexus, function: Function, lun: int) -> None:
        """A function of task management."""
        self.outcome.response = "COMPLETE"
        if function == Function.NEXUS_RESET:
            self.reset_nexus(nexus)
        elif function == Function.TARGET_RESET:
            # Choice: of the units that the I_T nexus sees.
            self.reset({path.unit: None for path in nexus.paths.values()}, nexus)
        elif lun not in nexus.paths:
            self.outcome.response = "BAD_LUN"
        elif function == Function.LUN_RESET:
            self.reset([nexus.paths[lun].unit], nexus)
        elif function == Function.QUERY_TASK_SET:
            self.outcome.response = "SUCCEEDED" if nexus.paths[lun].tasks else "COMPLETE"
        else:
            # CLEAR TASK SET is the same: each I_T nexus has a task set of its own (TST 001b).
            self.abort(nexus.paths[lun].tasks, nexus)

    def reset(self, units: Iterable[Unit], by: Nexus) -> None:
        """Logical unit reset (SAM-6 6.3.3). Persistent reservations stay (SPC-5 5.14.1)."""
        which = list(units)
        for unit in which:
            unit.reset()
            self.reserved.pop(unit, None)
            self.tell(unit, Attention.RESET)
            for path in self.of_unit(unit):
                path.prevents = False
        self.abort([task for task in self.tasks.values() if task.path.unit in which], by)

    def reset_nexus(self, nexus: Nexus) -> None:
        """I_T nexus loss (SAM-6 6.3.4); prevention of removal ends with it (SPC-5 6.17)."""
        for path in nexus.paths.values():
            path.tell(Attention.NEXUS_LOSS)
            path.prevents = False
            self.end_reserve(path)
        self.abort([task for task in self.tasks.values() if task.path.nexus is nexus], nexus)

    def abort(self, tasks: list[Task], by: Nexus) -> None:
        """All of them at once; then others may go on. TAS is 0: others are not told by a status."""
        aborted = list(tasks)
        for task in aborted:
            self.leave(task, Answer(TASK_ABORTED, foreign=task.path.nexus is not by))
        for task in aborted:
            self.left(task)

    # --- tasks ---

    def send(self, step: steps.Send) -> None:
        """A command arrives."""
        nexus = self.nexuses[step.initiator, step.port]
        path = nexus.paths.get(step.lun)
        if path is None:
            self.outcome.answers[step.task] = self.absent(nexus, step.command)
            return
        hold = step.hold and rules.has_data(step.command)
        task = Task(step.task, path, step.command, step.attr, hold)
        path.tasks.append(task)
        self.tasks[task.number] = task
        self.go(path)

    def may_begin(self, task: Task) -> bool:
        """SAM-6 8.6: SIMPLE after older ORDERED and any HEAD OF QUEUE, ORDERED after all older, HEAD now."""
        if task.attr == Attr.HEAD_OF_QUEUE:
            return True
        tasks = [other for other in task.path.tasks if other.place != Place.FENCED and other is not task]
        older = tasks[: sum(other.number < task.number for other in tasks)]
        if any(other.attr == Attr.HEAD_OF_QUEUE for other in tasks):
            return False
        return not older if task.attr == Attr.ORDERED else all(other.attr == Attr.SIMPLE for other in older)

    def go(self, path: Path) -> None:
        """Who may begin does."""
        for task in list(path.tasks):
            if task.place == Place.WAITS and task.number in self.tasks and self.may_begin(task):
                self.begin(task)

    def begin(self, task: Task) -> None:
        """Until there is its data, or to the end."""
        task.place = Place.DATA
        try:
            self.check(task)
        except (Conflict, Nothing, CheckCondition) as why:
            self.end(task, self.refusal(task, why))
            return
        if task.hold:
            self.outcome.wants_data.add(task.number)
        else:
            self.carry_out(task)

    def finish(self, task: Task) -> None:
        """Its data has come. Choice: what stops it now stops it, as if it had come now."""
        try:
            self.check(task)
        except (Conflict, Nothing, CheckCondition) as why:
            self.end(task, self.refusal(task, why))
            return
        self.carry_out(task)

    def carry_out(self, task: Task) -> None:
        """All that is asked for is there."""
        try:
            data = self.execute(task)
        except (Conflict, Nothing, CheckCondition) as why:
            self.end(task, self.refusal(task, why))
            return
        if task.fence:
            task.place = Place.FENCED
            self.go(task.path)
        else:
            self.end(task, Answer(GOOD, data=data))

    def refusal(self, task: Task, why: Exception) -> Answer:
        """Its status, and the sense data in the format that D_SENSE says."""
        match why:
            case CheckCondition():
                raw = sense.data(why.said, task.path.unit.values.d_sense)
                return Answer(CHECK_CONDITION, raw)
            case Conflict():
                return Answer(RESERVATION_CONFLICT)
        return Answer(GOOD)

    def end(self, task: Task, answer: Answer) -> None:
        """A task has ended."""
        self.leave(task, answer)
        self.left(task)

    def leave(self, task: Task, answer: Answer) -> None:
        """It is not there any more."""
        task.path.tasks.remove(task)
        del self.tasks[task.number]
        self.outcome.answers[task.number] = answer
        if task.path.gone and not task.path.tasks and task.path in self.paths:
            self.paths.remove(task.path)

    def left(self, task: Task) -> None:
        """Who has waited for it goes on."""
        for other in list(self.tasks.values()):
            if task in other.fence:
                other.fence.remove(task)
                if not other.fence:
                    self.end(other, Answer(GOOD))
        self.go(task.path)

    # --- what stops a command, most important first ---

    def check(self, task: Task) -> None:
        """SAM-6 5.3.3: RESERVATION CONFLICT goes before a unit attention. Choice: the rest of the order."""
        path, unit, rule = task.path, task.path.unit, RULES[type(task.command)]
        answer = self.access(path, task.command)
        if answer is Conflict and not path.gone:
            raise Conflict
        attention = None if rule.quiet else path.take()
        require(attention is None, attention.said if attention is not None else sense.NO_SENSE)
        require(not path.gone, sense.LUN_NOT_SUPPORTED)
        if answer is Nothing:
            raise Nothing
        told = rules.not_ready(rule, self.state_of(path))
        require(told is None, told or sense.NO_SENSE)
        require(not (rule.reader and path.read_only), sense.WRITE_PROTECTED)
        require(not (rule.protected and unit.values.swp), sense.WRITE_PROTECTED)
        if rule.backed and unit.parked:
            ready = isinstance(task.command, steps.TestUnitReady)
            raise CheckCondition(sense.UNAVAILABLE if ready else sense.BECOMING_READY)
        if rule.loaded and (unit.ejected or unit.stopped):
            raise CheckCondition(sense.NO_MEDIUM if unit.ejected else sense.START_REQUIRED)
        unit.check(task.command)

    def who(self, nexus: Nexus) -> pr.Nexus:
        """As persistent reservations know it."""
        return pr.Nexus(self.transport_id(nexus.initiator), nexus.port)

    def access(self, path: Path, command: steps.Command) -> type[Exception] | None:
        """What reservations say to it."""
        holder = self.reserved.get(path.unit)
        if holder is not None:
            return self.access_reserved(holder.nexus is path.nexus, command)
        unit = path.unit.reservations
        relation = unit.relation(self.who(path.nexus))
        if isinstance(command, steps.Reserve | steps.Release):
            if not unit.keys:
                return None
            return Nothing if rules.holds_with(unit.type, relation) else Conflict
        return None if rules.passes_persistent(unit.type, relation, command) else Conflict

    def access_reserved(self, own: bool, command: steps.Command) -> type[Exception] | None:
        """SPC-2: the unit is reserved by RESERVE; persistent reservations are refused to everybody."""
        if isinstance(command, steps.ReserveIn | steps.ReserveOut):
            return Conflict
        if own:
            return None
        if isinstance(command, steps.Release):
            return Nothing
        return None if rules.passes_reserve(command) else Conflict

    # --- what commands do ---

    def execute(self, task: Task) -> bytes:
        """Carry a command out; returns its data-in."""
        path, unit, command = task.path, task.path.unit, task.command
        match command:
            case steps.Inquiry():
                connected = self.state_of(path) not in (State.UNAVAILABLE, State.OFFLINE)
                return unit.inquiry(connected and not unit.parked, by_command=True, aca=self.aca)
            case steps.RequestSense():
                return self.request_sense(path, command)
            case steps.ReportLuns():
                return self.report_luns(path.nexus)
            case steps.ReadCapacity(long):
                return unit.capacity(long)
            case steps.Read(lba, count):
                return unit.read(lba, count)
            case steps.ModeSense():
                return unit.mode_sense(command, unit.values.swp or path.read_only)
            case steps.ReserveIn(action):
                return unit.reserve_in(action)
            case steps.ReportGroups():
                return self.report_groups()
            case steps.ReadBuffer(offset, room):
                return bytes(unit.buffer[offset : offset + room])
            case steps.ReadEcho():
                return self.read_echo(path)
        self.change(task)
        return b""

    def change(self, task: Task) -> None:
        """Commands without data-in."""
        path, unit, command = task.path, task.path.unit, task.command
        match command:
            case steps.Write(lba, values):
                unit.write(lba, values)
            case steps.WriteSame(lba, count, value):
                unit.write(lba, (value,) * count)
            case steps.FormatUnit(immed):
                unit.format(immed)
            case steps.Sanitize(value):
                unit.fill(value)
            case steps.CompareAndWrite():
                unit.compare_and_write(command)
            case steps.Verify(lba, values):
                unit.compare(lba, values)
            case steps.SelectControl() | steps.SelectCaching():
                self.mode_select(path, command)
            case steps.Reserve():
                self.reserved.setdefault(unit, path)
            case steps.Release():
                self.reserved.pop(unit, None)
            case steps.ReserveOut(asked):
                self.reserve_out(task, asked)
            case _:
                self.change_state(path, command)

    def change_state(self, path: Path, command: steps.Command) -> None:
        """Commands that are not for the medium."""
        match command:
            case steps.StartStop(start, load):
                self.start_stop(path, start, load)
            case steps.Prevent(on):
                path.prevents = on
            case steps.SetGroups(wanted):
                self.set_groups(path, wanted)
            case steps.SetTimestamp():
                self.tell(path.unit, Attention.TIMESTAMP_CHANGED, but=path)
            case steps.WriteBuffer(offset, data):
                path.unit.buffer[offset : offset + len(data)] = data
            case steps.WriteEcho(data):
                self.echoes[path.unit] = path, data
                path.echoed = True

    def absent(self, nexus: Nexus, command: steps.Command) -> Answer:
        """At a LUN that leads nowhere (SPC-5 6.7.1, 6.33, 6.39)."""
        match command:
            case steps.Inquiry():
                data = bytearray(74)
                data[0], data[2], data[3], data[4], data[7] = 0x7F, 0x06, 0x12, 69, 0x02
                data[8:36] = b" " * 28
                data[58:62] = bytes.fromhex("00a0 0460")
                return Answer(GOOD, data=bytes(data))
            case steps.RequestSense(descriptors, room):
                return Answer(GOOD, data=sense.data(sense.LUN_NOT_SUPPORTED, descriptors)[:room])
            case steps.ReportLuns():
                return Answer(GOOD, data=self.report_luns(nexus))
        return Answer(CHECK_CONDITION, sense.fixed(sense.LUN_NOT_SUPPORTED))

    def request_sense(self, path: Path, command: steps.RequestSense) -> bytes:
        """A unit attention is told in the data and cleared; with no room for it nothing is."""
        if not command.room:
            return b""
        attention = path.take()
        said: Said | None = attention.said if attention is not None else None
        said = said or rules.NOT_READY.get(self.state_of(path)) or path.unit.state()
        return sense.data(said, command.descriptors)[: command.room]

    def read_echo(self, path: Path) -> bytes:
        """SPC-5 6.18.7: what this I_T nexus has written. Choice: there is one for all, to be overwritten."""
        writer, data = self.echoes.get(path.unit, (None, b""))
        require(path.echoed, sense.COMMAND_SEQUENCE)
        require(writer is path, sense.ECHO_OVERWRITTEN)
        return data

    def report_luns(self, nexus: Nexus) -> bytes:
        """It tells what the unit attention would, which is cleared by that (SPC-5 6.33)."""
        nexus.luns_changed = False
        entries = b"".join(bytes([0, lun, 0, 0, 0, 0, 0, 0]) for lun in sorted(nexus.paths))
        return len(entries).to_bytes(4, "big") + bytes(4) + entries

    def mode_select(self, path: Path, command: steps.SelectControl | steps.SelectCaching) -> None:
        """Everybody else is told, if anything has changed (SPC-5 6.13)."""
        now = path.unit.values
        if isinstance(command, steps.SelectControl):
            require(not command.tas, sense.invalid_in_list((8 if command.ten else 4) + 5, 6))
            wanted = mode.Values(now.wce, command.d_sense, command.swp)
        else:
            wanted = mode.Values(command.wce, now.d_sense, now.swp)
        if now.take(wanted):
            self.tell(path.unit, Attention.MODE_CHANGED, but=path)

    def start_stop(self, path: Path, start: bool, load: bool) -> None:
        """Choice: one does not stop what others use, unless the administrator says so."""
        unit = path.unit
        if start:
            unit.stopped = False
            if load and unit.ejected:
                unit.ejected = False
                self.tell(unit, Attention.MEDIUM_MAY_HAVE_CHANGED, but=path)
        elif load:
            prevented = any(other.prevents and not other.gone for other in self.of_unit(unit))
            require(unit.ejected or not prevented, sense.REMOVAL_PREVENTED)
            unit.ejected = True
        elif unit.stops:
            unit.stopped = True

    # --- asymmetric access (SPC-5 5.18.2) ---

    def report_groups(self) -> bytes:
        """REPORT TARGET PORT GROUPS; each group says that it can be in each state."""
        body = b""
        for number, group in self.groups.items():
            body += bytes([group.state, 0xCF]) + number.to_bytes(2, "big") + bytes([0, group.status, 0, 1])
            body += bytes(2) + number.to_bytes(2, "big")
        return len(body).to_bytes(4, "big") + body

    def set_groups(self, path: Path, wanted: tuple[tuple[int, int], ...]) -> None:
        """Explicit change: who asks for it is not told."""
        for at, (_, state) in enumerate(wanted):
            # Choice: offline is for the administrator to say; nobody asks for a transition.
            require(state <= State.UNAVAILABLE, sense.invalid_in_list(4 + 4 * at, 3))
        changed = [(self.groups[number], State(state)) for number, state in wanted]
        changed = [(group, state) for group, state in changed if group.state != state]
        for group, state in changed:
            group.state, group.status = state, BY_COMMAND
        for unit in self.units if changed else ():
            self.tell(unit, Attention.STATE_CHANGED, but=path)

    # --- persistent reservations (SPC-5 5.14) ---

    def reserve_out(self, task: Task, command: pr.Command) -> None:
        """The state is in force at once; the answer comes when what is excluded by it has ended."""
        unit = task.path.unit
        came = unit.reservations.execute(self.who(task.path.nexus), command)
        if came.conflict:
            raise Conflict
        if came.sense is not None:
            raise CheckCondition(sense.of_reservations(came.sense))
        aborted: list[Task] = []
        for path in self.of_unit(unit):
            who = self.who(path.nexus)
            for name in came.attentions.get(who, ()):
                path.tell(OF_RESERVATIONS[name])
            if who in came.aborted:
                path.prevents = False
                aborted += [other for other in path.tasks if other is not task]
        self.abort(aborted, task.path.nexus)
        if command.action in EXCLUDING:
            task.fence = set(self.excluded(unit))

    def excluded(self, unit: Unit) -> Iterator[Task]:
        """Writes that came before, of those who may not write any more."""
        state = unit.reservations
        for path in self.of_unit(unit):
            relation = state.relation(self.who(path.nexus))
            if not pr.passes(state.type, relation, "WRITE"):
                yield from (task for task in path.tasks if RULES[type(task.command)].writes)


def make(
    ports: list[int],
    identities: list[Identity],
    transport_id: Callable[[str], bytes],
    room: int,
    aca: bool = False,
) -> Target:
    """The device that the tests drive: one fixed unit that remembers, and a removable one that anybody may
    stop.
    """
    units = [Unit(who, room, bool(number), bool(number), not number) for number, who in enumerate(identities)]
    return Target(ports, units, transport_id, aca)
