# SPDX-License-Identifier: GPL-2.0-or-later
"""Random steps: often such that initiators are in each other's way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.model import pr, steps
from tests.model.rules import State
from tests.model.steps import Attr, Function
from tests.model.target import Path, Place, Target

FORMS = (6, 10, 12, 16)


@dataclass(frozen=True)
class Wishes:
    """What a driver can do. *held*: leave commands where they are. *tree*: how often the tree changes.

    *news*: things after which an initiator looks for itself, and takes what is pending.
    """

    held: bool = True
    news: bool = True
    tree: int = 4
    functions: tuple[Function, ...] = tuple(Function)


class Walk:
    """Makes steps that are possible in the state that a target device is in."""

    def __init__(self, source: random.Random, target: Target, wishes: Wishes) -> None:
        self.source, self.target, self.wishes = source, target, wishes
        self.number = 0
        held = wishes.held
        self.makers: list[tuple[int, Callable[[], steps.Step | None]]] = [
            (100, self.send),
            (20 if held else 0, self.hold),
            (16 if held else 0, self.finish),
            (5 if held else 0, self.abort),
            (3, self.manage),
            (wishes.tree, self.configure),
        ]

    def step(self) -> steps.Step:
        """The next."""
        makers = [maker for _, maker in self.makers]
        weights = [weight for weight, _ in self.makers]
        while True:
            step = self.source.choices(makers, weights)[0]()
            if step is not None and self.target.possible(step):
                return step

    def chance(self, part: float) -> bool:
        """True that often."""
        return self.source.random() < part

    # --- commands ---

    def path(self) -> tuple[str, int, int, Path | None] | None:
        """Who sends, and to which LUN."""
        if not self.target.nexuses:
            return None
        nexus = self.source.choice(list(self.target.nexuses.values()))
        luns = list(nexus.paths)
        lun = self.source.choice(luns) if luns and (not self.wishes.held or not self.chance(0.01)) else 7
        if lun not in nexus.paths and not self.wishes.held:
            return None
        return nexus.initiator, nexus.port, lun, nexus.paths.get(lun)

    def send(self) -> steps.Step | None:
        """A command."""
        found = self.path()
        if found is None:
            return None
        initiator, port, lun, path = found
        self.number += 1
        command = self.command(path)
        attr = Attr.SIMPLE
        if self.wishes.held and path is not None:
            attr = self.source.choices(list(Attr), [12, 2, 1])[0]
        return steps.Send(initiator, port, lun, command, self.number, attr)

    def hold(self) -> steps.Step | None:
        """A command whose data does not come yet."""
        if sum(task.place == Place.DATA for task in self.target.tasks.values()) >= 5:
            return None
        step = self.send()
        if not isinstance(step, steps.Send) or step.lun == 7:
            return None
        if not isinstance(step.command, steps.Write) and self.chance(0.7):
            step = replace(step, command=self.write(self.target.units[0].size))
        return replace(step, hold=True)

    def finish(self) -> steps.Step | None:
        """Its data comes."""
        ready = [task.number for task in self.target.tasks.values() if task.place == Place.DATA]
        return steps.Finish(self.source.choice(ready)) if ready else None

    def abort(self) -> steps.Step | None:
        """ABORT TASK."""
        there = list(self.target.tasks)
        return steps.AbortTask(self.source.choice(there)) if there else None

    def manage(self) -> steps.Step | None:
        """A task management function."""
        found = self.path()
        if found is None:
            return None
        initiator, port, lun, _ = found
        return steps.Manage(initiator, port, self.source.choice(self.wishes.functions), lun)

    def command(self, path: Path | None) -> steps.Command:
        """Any. Who has reserved something releases it before long."""
        size = path.unit.size if path else 64
        if path is not None and self.target.reserved.get(path.unit) is path and self.chance(0.3):
            return steps.Release(self.chance(0.5))
        makers: list[tuple[int, Callable[[], steps.Command]]] = [
            (12, steps.TestUnitReady),
            (4, steps.Inquiry),
            (6, self.request_sense),
            (3, steps.ReportLuns),
            (3, lambda: steps.ReadCapacity(self.chance(0.5))),
            (14, lambda: self.read(size)),
            (14, lambda: self.write(size)),
            (3, lambda: steps.WriteSame(*self.extent(size), self.value())),
            (5, lambda: self.compare(path)),
            (2, steps.SynchronizeCache),
            (8, self.mode_sense),
            (8, self.mode_select),
            (2, lambda: steps.Reserve(self.chance(0.5))),
            (2, lambda: steps.Release(self.chance(0.5))),
            (6, lambda: steps.ReserveIn(self.source.randrange(4))),
            (26, lambda: self.reserve_out(path)),
            (6, lambda: steps.StartStop(self.chance(0.6), self.wishes.news and self.chance(0.7))),
            (4, lambda: steps.Prevent(self.chance(0.6))),
            (3, steps.ReportGroups),
            (2, self.set_groups),
            (1, steps.SetTimestamp),
            (1, steps.SendDiagnostic),
            (1, lambda: steps.FormatUnit(self.chance(0.5))),
            (1, lambda: steps.Sanitize(self.value(), self.chance(0.5))),
            (4, self.buffers),
        ]
        return self.source.choices([make for _, make in makers], [weight for weight, _ in makers])[0]()

    def buffers(self) -> steps.Command:
        """READ BUFFER or WRITE BUFFER."""
        offset, data = self.source.choice((0, 4090, 65528)), self.value().to_bytes(4, "big") * 2
        return self.source.choice(
            (
                steps.ReadBuffer(offset, self.source.choice((8, 64))),
                steps.WriteBuffer(offset, data),
                steps.ReadEcho(),
                steps.WriteEcho(data),
            )
        )

    def request_sense(self) -> steps.Command:
        """Sometimes with little room, or with none."""
        room = 252 if self.chance(0.8) else self.source.choice((4, 8, 18)) if self.wishes.held else 18
        return steps.RequestSense(self.chance(0.3), room)

    def value(self) -> int:
        """A block's."""
        return self.source.randrange(1, 1 << 32)

    def extent(self, size: int) -> tuple[int, int]:
        """A few blocks, hardly ever beyond the end."""
        count = self.source.randint(1, 4)
        last = size - count
        if self.chance(0.03):
            return last + self.source.randint(1, 4), count
        return self.source.randint(0, self.source.choice((4, last))), count

    def read(self, size: int) -> steps.Command:
        """READ."""
        lba, count = self.extent(size)
        form = self.source.choice(FORMS)
        return steps.Read(lba, count, form, form != 6 and self.chance(0.1))

    def write(self, size: int) -> steps.Command:
        """WRITE."""
        lba, count = self.extent(size)
        form = self.source.choice(FORMS)
        return steps.Write(
            lba, tuple(self.value() for _ in range(count)), form, form != 6 and self.chance(0.1)
        )

    def compare(self, path: Path | None) -> steps.Command:
        """COMPARE AND WRITE, or VERIFY, mostly of what is there."""
        lba, count = self.extent(path.unit.size if path else 64)
        there = path.unit.medium[lba : lba + count] if path else []
        expected = [*there, *[0] * (count - len(there))]
        if self.chance(0.3):
            expected[self.source.randrange(count)] ^= 1 << self.source.randrange(32)
        if self.chance(0.4):
            return steps.Verify(lba, tuple(expected))
        return steps.CompareAndWrite(lba, tuple(expected), tuple(self.value() for _ in range(count)))

    def mode_sense(self) -> steps.Command:
        """MODE SENSE."""
        page = self.source.choices((0x0A, 0x08, 0x3F, 0x1C, 0x19), (6, 3, 3, 1, 1))[0]
        return steps.ModeSense(page, self.source.choices(range(4), (8, 1, 1, 1))[0], self.chance(0.5))

    def mode_select(self) -> steps.Command:
        """MODE SELECT."""
        if self.chance(0.2):
            return steps.SelectCaching(self.chance(0.5))
        return steps.SelectControl(self.chance(0.4), self.chance(0.25), self.chance(0.1), self.chance(0.5))

    def set_groups(self) -> steps.Command:
        """SET TARGET PORT GROUPS, mostly to where everybody can work."""
        groups = self.source.sample(list(self.target.groups), self.source.randint(1, len(self.target.groups)))
        return steps.SetGroups(tuple((group, self.state(explicit=True)) for group in groups))

    def state(self, explicit: bool = False) -> State:
        """Of asymmetric access."""
        if not self.wishes.news:
            return self.source.choices(list(State)[:3], (8, 6, 4))[0]
        if explicit:
            return self.source.choices(list(State)[:5], (8, 6, 2, 2, 1))[0]
        return self.source.choices(list(State), (8, 6, 2, 2, 1, 4))[0]

    # --- persistent reservations ---

    def reserve_out(self, path: Path | None) -> steps.Command:
        """PERSISTENT RESERVE OUT, mostly one that may be done."""
        if path is None:
            return steps.ReserveOut(pr.Command(pr.Action.REGISTER))
        unit = path.unit.reservations
        own = unit.keys.get(self.target.who(path.nexus), 0)
        weights = [8, 6, 4, 1, 4, 5, 4, 3, 1] if own else [12, 1, 1, 1, 1, 1, 6, 1, 1]
        action = self.source.choices(list(pr.Action), weights)[0]
        if unit.holds(self.target.who(path.nexus)) and self.chance(0.2):
            action = pr.Action.RELEASE
        kind = unit.type if unit.type is not None and self.chance(0.7) else self.source.choice(list(pr.Type))
        command = pr.Command(
            action,
            type=kind,
            key=own if self.chance(0.9) else self.source.randrange(4),
            sa_key=self.source.choice((0, 1, 2, 3, *unit.keys.values())),
            aptpl=self.chance(0.03),
            all_tg_pt=self.chance(0.2),
            unreg=self.chance(0.5),
            port=self.source.choice(list(self.target.groups)),
        )
        return steps.ReserveOut(self.with_ids(command))

    def with_ids(self, command: pr.Command) -> pr.Command:
        """SPEC_I_PT, and to whom a reservation is moved."""
        specific = command.action == pr.Action.REGISTER and self.chance(0.2)
        if not specific and command.action != pr.Action.REGISTER_AND_MOVE:
            return command
        who = self.source.choice([initiator for initiator, _ in self.target.nexuses])
        return replace(command, spec_i_pt=specific, transport_ids=(self.target.transport_id(who),))

    # --- the tree ---

    def configure(self) -> steps.Step | None:
        """What the administrator does. A backing that is away comes back before long."""
        for number, unit in enumerate(self.target.units):
            if unit.parked and self.chance(0.5):
                return steps.Park(number, True)
        port = self.source.choice(list(self.target.groups))
        makers = {
            "state": lambda: self.set_state(port),
            "read_only": lambda: self.read_only(port),
            "resize": lambda: steps.Resize(self.source.randrange(2), self.source.randint(48, 64)),
            "map": lambda: self.map(port),
            "session": self.session,
            "park": self.park,
        }
        weights = (6, 4, 3, 2, 1, 2) if self.wishes.news else (6, 4, 0, 0, 0, 0)
        return self.source.choices(list(makers.values()), weights)[0]()

    def park(self) -> steps.Step:
        """A backing goes, or comes back."""
        number = self.source.randrange(2)
        return steps.Park(number, self.target.units[number].parked)

    def set_state(self, port: int) -> steps.Step:
        """From where not everybody can work, mostly back."""
        group = self.target.groups[port]
        if group.state == State.TRANSITIONING and self.chance(0.7):
            return steps.SetState(port, group.before)
        active = group.state in (State.OPTIMIZED, State.NONOPTIMIZED)
        if not active and self.chance(0.7):
            return steps.SetState(port, self.source.choice((State.OPTIMIZED, State.NONOPTIMIZED)))
        return steps.SetState(port, self.state())

    def read_only(self, port: int) -> steps.Step | None:
        """Mostly writable."""
        luns = list(self.target.maps[port])
        return steps.SetReadOnly(port, self.source.choice(luns), self.chance(0.3)) if luns else None

    def map(self, port: int) -> steps.Step | None:
        """A LUN comes or goes, mostly so that there are enough."""
        there = self.target.maps[port]
        if len(there) > 1 and self.chance(0.5):
            return steps.Unmap(port, self.source.choice(list(there)))
        lun = self.source.choice([number for number in (0, 1, 2) if number not in there] or [0])
        return steps.Map(port, lun, self.source.randrange(2), self.chance(0.1))

    def session(self) -> steps.Step | None:
        """Who is not there logs in; else somebody logs out."""
        everybody = {(initiator, port) for initiator in "abc" for port in self.target.groups}
        away = sorted(everybody - set(self.target.nexuses))
        if away:
            return steps.Login(*self.source.choice(away))
        return steps.Logout(*self.source.choice(sorted(everybody)))
