# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripted target driver (tests/kmod/script): initiators that do what the test says.

A :class:`Script` is the open device; it gives out :class:`Nexus` objects, one per login, which submit
commands and task management functions. What the core does comes back as :class:`Event` objects, in order.
Closing the script lets go of everything that is held.
"""

from __future__ import annotations

import itertools
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

from tests.vm.guest import scsi, tree
from tests.vm.guest.pulse import pulse

NODE = Path("/dev/scst_script")
COUNTERS = Path("/sys/kernel/debug/scst_script/counters")
PARAMETERS = Path("/sys/module/scst_script/parameters")
WRONG = (
    "bad_context",
    "bad_state",
    "bad_data",
    "double_release",
    "double_tmf",
    "double_abort",
    "late_touch",
    "events_lost",
)
NO_DATA, TO_DEVICE, FROM_DEVICE = 3, 1, 2
LUN_INVALID = 0xFFFFFFFF
TASK_ABORTED = 0x40
PATIENCE = 10.0

_REQUEST = struct.Struct("=IIQQIIIIIiHHHH10B6x32s")
_EVENT = struct.Struct("=IIQQQqIIIII5B7x96s")
_IDS = itertools.count(1)
_SESSIONS = itertools.count(1)


class Op(IntEnum):
    """enum script_op."""

    LOGIN = 0
    CLOSE = 1
    SUBMIT = 2
    DATA = 3
    RESPOND = 4
    TMF = 5
    RESUME = 6
    PORT_UP = 7
    PORT_DOWN = 8
    LET_GO = 9
    HOLD_AGAIN = 10


class From(IntEnum):
    """Where a call into the core is made from."""

    HERE = 0
    TASK = 1
    BH = 2
    SOFTIRQ = 3
    IRQ = 4
    LOCKED = 5


class Mode(IntEnum):
    """What becomes of data the core waits for, or of a response."""

    GO = 0
    HOLD = 1
    NEVER = 2


class Flag(IntFlag):
    """enum script_flag."""

    KEEP_DATA = 1
    QUIET = 2
    NO_WAIT = 4
    OWN_MEMORY = 8
    NO_RESUME = 16


class Kind(IntEnum):
    """What has happened."""

    WANTS_DATA = 0
    AGAIN = 1
    RESPONDED = 2
    RELEASED = 3
    ABORT = 4
    TMF_DONE = 5
    GONE = 6
    LUNS_CHANGED = 7


class Owner(IntEnum):
    """enum scst_data_owner."""

    NONE = 0
    DRIVER = 1
    POOL = 2
    HANDLER = 3


class Tmf(IntEnum):
    """enum scst_tmf_function."""

    ABORT_TASK = 0
    ABORT_TASK_SET = 1
    LUN_RESET = 2
    TARGET_RESET = 3
    CLEAR_TASK_SET = 4
    CLEAR_ACA = 5
    I_T_NEXUS_RESET = 6
    QUERY_TASK = 7
    QUERY_TASK_SET = 8


class Response(IntEnum):
    """enum scst_tmf_response."""

    COMPLETE = 0
    SUCCEEDED = 1
    NO_TASK = 2
    BAD_LUN = 3
    NOT_SUPPORTED = 4
    REJECTED = 5


@dataclass(frozen=True, slots=True)
class Event:
    """One event; what a field means depends on the kind, see tests/kmod/script/wire.h."""

    kind: Kind
    seq: int
    ns: int
    id: int
    session: int
    residual: int
    len: int
    xfer_len: int
    data_len: int
    value: int
    status: int
    aborted: bool
    foreign: bool
    owner: Owner
    where: int
    raw_sense: bytes
    data: bytes

    @property
    def sense(self) -> scsi.Sense | None:
        """Sense key, ASC, ASCQ; None without sense data."""
        return scsi.parse_sense(self.raw_sense)

    @property
    def good(self) -> bool:
        """GOOD status, not aborted."""
        return self.status == scsi.GOOD and not self.aborted

    def __str__(self) -> str:
        code = "/".join(f"{part:02x}" for part in self.sense) if self.sense else "-"
        how = "foreign abort" if self.foreign else "aborted" if self.aborted else "not aborted"
        return f"{self.kind.name} status {self.status:#04x} sense {code} len {self.len} {how}"


def parse_event(raw: memoryview) -> Event:
    """One event with its data."""
    (
        _,
        kind,
        seq,
        ns,
        number,
        residual,
        session,
        length,
        xfer_len,
        data_len,
        value,
        status,
        sense_len,
        flags,
        owner,
        where,
        sense,
    ) = _EVENT.unpack(raw[: _EVENT.size])
    return Event(
        Kind(kind),
        seq,
        ns,
        number,
        session,
        residual,
        length,
        xfer_len,
        data_len,
        value,
        status,
        bool(flags & 1),
        bool(flags & 2),
        Owner(owner),
        where,
        sense[:sense_len],
        bytes(raw[_EVENT.size :]),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What the driver does with a command at each stage; see struct script_request."""

    submit_from: From = From.BH
    data_mode: Mode = Mode.GO
    data_from: From = From.HERE
    data_ms: int = 0
    data_again: int = 0
    error: int = 0
    response_mode: Mode = Mode.GO
    response_from: From = From.HERE
    response_ms: int = 0
    response_again: int = 0
    flags: Flag = Flag.KEEP_DATA


USUAL = Plan()
PLAIN = Plan(flags=Flag(0))
HOLD_DATA = Plan(data_mode=Mode.HOLD)
LOSE_DATA = Plan(data_mode=Mode.NEVER)
HOLD_RESPONSE = Plan(response_mode=Mode.HOLD)
LOSE_RESPONSE = Plan(response_mode=Mode.NEVER)


class Target(tree.Target):
    """targets/script/NAME, whose initiators log in through a :class:`Script`."""

    driver = "script"

    @property
    def path(self) -> Path:
        """Its directory."""
        return tree.ROOT / "targets" / self.driver / self.name

    @property
    def state(self) -> str:
        """Its state as the kernel tells it."""
        return tree.read(self.path / "state")


class PortTarget(Target):
    """targets/scriptport/NAME, which needs a port of its name."""

    driver = "scriptport"


def counters() -> dict[str, int]:
    """What the driver has counted since it was loaded."""
    rows = (line.split() for line in COUNTERS.read_text().splitlines())
    return {name: int(count) for name, count in rows}


# What begins, and what counts its end.
ENDS = {"submitted": "released", "tmfs": "tmfs_done", "sessions": "sessions_gone"}


def check_counters(before: dict[str, int]) -> None:
    """No promise was broken since *before*, and nothing is left. Raises AssertionError otherwise."""

    def left() -> dict[str, int]:
        now = counters()
        return {begun: now[begun] - now[ended] for begun, ended in ENDS.items() if now[begun] != now[ended]}

    try:
        tree.wait_for("every command, function and session to end", lambda: not left())
    except AssertionError as error:
        raise AssertionError(f"{error}: {left()} are left") from None
    time.sleep(0.1)  # the memory of released commands is looked at a little later
    now = counters()
    wrong = {name: now[name] - before[name] for name in WRONG if now[name] != before[name]}
    assert not wrong, f"promises broken: {wrong}"


def set_parameter(name: str, value: object) -> None:
    """A module parameter: limits of targets made from now on, or faults."""
    (PARAMETERS / name).write_text(f"{value}\n")


@contextmanager
def parameters(**values: object) -> Iterator[None]:
    """Set module parameters for a while."""
    old = {name: (PARAMETERS / name).read_text().strip() for name in values}
    for name, value in values.items():
        set_parameter(name, value)
    try:
        yield
    finally:
        for name, text in old.items():
            set_parameter(name, text)


class Script:
    """The open device. One at a time; closing it lets everything go."""

    def __init__(self) -> None:
        self._file = os.open(NODE, os.O_RDWR | os.O_NONBLOCK)
        self._buffer = bytearray(17 << 20)
        self.unread: list[Event] = []

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything that is held, close all sessions, take all ports away."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def request(
        self,
        op: Op,
        data: bytes = b"",
        *,
        session: int = 0,
        number: int = 0,
        tag: int = 0,
        lun: int = 0,
        expected: int = 0,
        count: int = 0,
        fn: int = 0,
        plan: Plan = USUAL,
        cdb: bytes = b"",
        direction: int = NO_DATA,
        attr: int = 0,
    ) -> None:
        """One request. Raises OSError as the driver says."""
        head = _REQUEST.pack(
            op,
            session,
            number,
            tag,
            lun,
            expected,
            len(data),
            count,
            fn,
            plan.error,
            plan.data_again,
            plan.response_again,
            plan.data_ms,
            plan.response_ms,
            len(cdb),
            direction,
            attr,
            0,
            plan.submit_from,
            plan.data_mode,
            plan.data_from,
            plan.response_mode,
            plan.response_from,
            plan.flags,
            cdb,
        )
        os.write(self._file, head + data)

    def login(self, target: tree.Target, initiator: str) -> Nexus:
        """An initiator logs in."""
        number = next(_SESSIONS)
        self.request(Op.LOGIN, f"{target.name}\0{initiator}".encode(), session=number)
        return Nexus(self, number, initiator)

    def data(
        self, command: int, data: bytes = b"", error: int = 0, sender: From = From.HERE, ms: int = 0
    ) -> None:
        """The data of a command that waits for it; without *data* what was given with the command."""
        self.request(Op.DATA, data, number=command, plan=Plan(error=error, data_from=sender, data_ms=ms))

    def respond(self, command: int, sender: From = From.HERE) -> None:
        """The response of a command whose response is held is out."""
        self.request(Op.RESPOND, number=command, plan=Plan(response_from=sender))

    def resume(self) -> None:
        """There is room again on all targets."""
        self.request(Op.RESUME)

    def let_go(self) -> None:
        """All that is held goes on, and nothing is held from now on."""
        self.request(Op.LET_GO)

    def port(self, name: str, up: bool = True) -> None:
        """A port for a target of driver scriptport comes or goes."""
        self.request(Op.PORT_UP if up else Op.PORT_DOWN, name.encode())

    # --- events ---

    def pump(self, seconds: float = 0) -> bool:
        """Read the events there are, or wait for some. False: there were none."""
        if not select.select([self._file], [], [], max(seconds, 0))[0]:
            return False
        length = os.readv(self._file, [self._buffer])
        view, at = memoryview(self._buffer), 0
        while at < length:
            size: int = struct.unpack_from("=I", view, at)[0]
            self.unread.append(parse_event(view[at : at + size]))
            at += size
        return True

    def find(self, kind: Kind, number: int | None = None, session: int | None = None) -> Event | None:
        """The first event of that kind that has come and was not taken; does not wait, does not take."""
        while self.pump():
            pass
        return self._first(kind, number, session)

    def _first(self, kind: Kind, number: int | None, session: int | None) -> Event | None:
        for event in self.unread:
            if event.kind == kind and number in (None, event.id) and session in (None, event.session):
                return event
        return None

    def wait(
        self, kind: Kind, number: int | None = None, session: int | None = None, seconds: float = PATIENCE
    ) -> Event:
        """Wait for an event and take it. Raises AssertionError when it does not come."""
        end = pulse.time() + seconds
        while (event := self._first(kind, number, session)) is None:
            left = end - pulse.time()
            what = f"no {kind.name} of {number or session} in {seconds:g} s"
            assert left > 0, f"{what}; unread: {self.describe()}"
            self.pump(left)
        self.unread.remove(event)
        return event

    def take(self, kind: Kind) -> list[Event]:
        """Take all events of a kind that have come."""
        while self.pump():
            pass
        taken = [event for event in self.unread if event.kind == kind]
        self.unread = [event for event in self.unread if event.kind != kind]
        return taken

    def describe(self) -> str:
        """The unread events for people."""
        return ", ".join(f"{event.id}: {event}" for event in self.unread[-20:]) or "none"


class Nexus:
    """One session: an initiator logged in to a target."""

    def __init__(self, script: Script, number: int, name: str) -> None:
        self.script, self.number, self.name = script, number, name

    def submit(
        self,
        cdb: bytes,
        lun: int = 0,
        read: int = 0,
        write: bytes | None = None,
        plan: Plan = USUAL,
        expected: int | None = None,
        tag: int | None = None,
        attr: int = 0,
    ) -> int:
        """Submit a command; returns its number, which is its tag unless *tag* says otherwise.

        *expected*: the expected data transfer length, if it is not that of the data.
        """
        number = next(_IDS)
        size = expected if expected is not None else read or len(write or b"")
        direction = TO_DEVICE if write is not None else FROM_DEVICE if read or size else NO_DATA
        self.script.request(
            Op.SUBMIT,
            write or b"",
            session=self.number,
            number=number,
            tag=number if tag is None else tag,
            lun=lun,
            expected=size,
            plan=plan,
            cdb=cdb,
            direction=direction,
            attr=attr,
        )
        return number

    def answer(self, command: int, seconds: float = PATIENCE) -> Event:
        """The answer of a command that was submitted; waits until it is released, too."""
        event = self.script.wait(Kind.RESPONDED, command, seconds=seconds)
        self.script.wait(Kind.RELEASED, command, seconds=seconds)
        return event

    def command(
        self,
        cdb: bytes,
        lun: int = 0,
        read: int = 0,
        write: bytes | None = None,
        plan: Plan = USUAL,
        expected: int | None = None,
        seconds: float = PATIENCE,
    ) -> Event:
        """Submit a command and wait for its answer and its release."""
        return self.answer(self.submit(cdb, lun, read, write, plan, expected), seconds)

    def good(
        self, cdb: bytes, lun: int = 0, read: int = 0, write: bytes | None = None, plan: Plan = USUAL
    ) -> bytes:
        """A command that must succeed; returns the data-in."""
        event = self.command(cdb, lun, read, write, plan)
        assert event.good, f"{self.name}: {cdb.hex(' ')}: {event}"
        return event.data

    def test_unit_ready(self, lun: int = 0) -> Event:
        """TEST UNIT READY."""
        return self.command(scsi.test_unit_ready(), lun)

    def write10(self, lba: int, data: bytes, lun: int = 0, plan: Plan = USUAL) -> int:
        """Submit a WRITE(10) of whole blocks of 512 bytes; returns its number."""
        return self.submit(scsi.write10(lba, len(data) // 512), lun, write=data, plan=plan)

    def read10(self, lba: int, blocks: int, lun: int = 0, plan: Plan = USUAL) -> int:
        """Submit a READ(10); returns its number."""
        return self.submit(scsi.read10(lba, blocks), lun, read=blocks * 512, plan=plan)

    def attentions(self, lun: int = 0) -> list[scsi.Sense]:
        """Take all pending unit attentions, by TEST UNIT READY."""
        taken: list[scsi.Sense] = []
        while len(taken) < 20:
            sense = self.test_unit_ready(lun).sense
            if sense is None or sense[0] != scsi.UNIT_ATTENTION:
                return taken
            taken.append(sense)
        raise AssertionError(f"{self.name}: no end of unit attentions: {taken}")

    def tmf(self, fn: Tmf, lun: int = 0, tag: int = 0, count: int = 1, plan: Plan = PLAIN) -> int:
        """Submit a task management function, or many of the same; returns the number of the first."""
        number = next(_IDS)
        for _ in range(count - 1):
            next(_IDS)
        self.script.request(
            Op.TMF, session=self.number, number=number, fn=fn, lun=lun, tag=tag, count=count, plan=plan
        )
        return number

    def tmf_response(self, number: int, seconds: float = PATIENCE) -> Response:
        """The answer of a function."""
        return Response(self.script.wait(Kind.TMF_DONE, number, seconds=seconds).value)

    def manage(self, fn: Tmf, lun: int = 0, tag: int = 0, seconds: float = PATIENCE) -> Response:
        """Submit a function and wait for its answer."""
        return self.tmf_response(self.tmf(fn, lun, tag), seconds)

    def close(self) -> None:
        """Begin to close the session."""
        self.script.request(Op.CLOSE, session=self.number)

    def gone(self, seconds: float = PATIENCE) -> None:
        """Wait until the session is gone."""
        self.script.wait(Kind.GONE, session=self.number, seconds=seconds)


def serve(script: Script, *devices: tree.Device, **settings: object) -> tuple[Nexus, Nexus]:
    """Two initiators that see these devices as LUNs from 0 on, with no attention pending.

    *settings*: attributes of their target t1.
    """
    target = Target("t1").make()
    for name, value in settings.items():
        tree.write(target.path / name, value)
    for lun, device in enumerate(devices):
        target.luns.map(lun, device)
    target.enable()
    pair = script.login(target, "first"), script.login(target, "second")
    for nexus in pair:
        for lun in range(len(devices)):
            nexus.attentions(lun)
    return pair
