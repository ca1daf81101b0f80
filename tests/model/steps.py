# SPDX-License-Identifier: GPL-2.0-or-later
"""What can happen to a SCSI target device: commands, and the steps that a run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from tests.model import pr

# --- commands: what a CDB and its parameter list ask for ---


@dataclass(frozen=True)
class TestUnitReady:
    """TEST UNIT READY."""

    __test__ = False


@dataclass(frozen=True)
class Inquiry:
    """INQUIRY, standard data."""


@dataclass(frozen=True)
class RequestSense:
    """REQUEST SENSE; *descriptors*: DESC."""

    descriptors: bool = False
    room: int = 252


@dataclass(frozen=True)
class ReportLuns:
    """REPORT LUNS."""


@dataclass(frozen=True)
class ReadCapacity:
    """READ CAPACITY(10), *long*: (16)."""

    long: bool = False


@dataclass(frozen=True)
class Read:
    """READ(*form*): 6, 10, 12 or 16."""

    lba: int
    count: int
    form: int = 10
    fua: bool = False


@dataclass(frozen=True)
class Write:
    """WRITE(*form*) of blocks; a block is told by a number, see `target.block`."""

    lba: int
    values: tuple[int, ...]
    form: int = 10
    fua: bool = False


@dataclass(frozen=True)
class WriteSame:
    """WRITE SAME(16)."""

    lba: int
    count: int
    value: int


@dataclass(frozen=True)
class CompareAndWrite:
    """COMPARE AND WRITE."""

    lba: int
    expected: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Verify:
    """VERIFY(10) with BYTCHK 01b."""

    lba: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class SynchronizeCache:
    """SYNCHRONIZE CACHE(10) of everything."""


@dataclass(frozen=True)
class ModeSense:
    """MODE SENSE(6), *ten*: (10); *control*: 0 current, 1 changeable, 2 default values, 3 saved."""

    page: int
    control: int = 0
    ten: bool = False


@dataclass(frozen=True)
class SelectControl:
    """MODE SELECT(6), *ten*: (10) of the control mode page; *tas* cannot be changed here."""

    d_sense: bool
    swp: bool
    tas: bool = False
    ten: bool = False


@dataclass(frozen=True)
class SelectCaching:
    """MODE SELECT(6) of the caching mode page."""

    wce: bool


@dataclass(frozen=True)
class Reserve:
    """RESERVE(6), *ten*: (10)."""

    ten: bool = False


@dataclass(frozen=True)
class Release:
    """RELEASE(6), *ten*: (10)."""

    ten: bool = False


@dataclass(frozen=True)
class ReserveIn:
    """PERSISTENT RESERVE IN: 0 keys, 1 reservation, 2 capabilities, 3 full status."""

    action: int


@dataclass(frozen=True)
class ReserveOut:
    """PERSISTENT RESERVE OUT."""

    command: pr.Command


@dataclass(frozen=True)
class StartStop:
    """START STOP UNIT; *load*: LOEJ."""

    start: bool
    load: bool = False


@dataclass(frozen=True)
class Prevent:
    """PREVENT ALLOW MEDIUM REMOVAL."""

    on: bool


@dataclass(frozen=True)
class ReportGroups:
    """REPORT TARGET PORT GROUPS."""


@dataclass(frozen=True)
class SetGroups:
    """SET TARGET PORT GROUPS: group and state."""

    wanted: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SetTimestamp:
    """SET TIMESTAMP."""


@dataclass(frozen=True)
class SendDiagnostic:
    """SEND DIAGNOSTIC, the default self-test."""


@dataclass(frozen=True)
class FormatUnit:
    """FORMAT UNIT without a list; *immed*: with one of which IMMED is all."""

    immed: bool = False


@dataclass(frozen=True)
class Sanitize:
    """SANITIZE, OVERWRITE with a block, once; *immed*: IMMED."""

    value: int
    immed: bool = False


@dataclass(frozen=True)
class ReadBuffer:
    """READ BUFFER(10) of the data buffer."""

    offset: int
    room: int


@dataclass(frozen=True)
class WriteBuffer:
    """WRITE BUFFER to the data buffer."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class ReadEcho:
    """READ BUFFER(16) of the echo buffer."""


@dataclass(frozen=True)
class WriteEcho:
    """WRITE BUFFER to the echo buffer."""

    data: bytes


Command = (
    TestUnitReady
    | Inquiry
    | RequestSense
    | ReportLuns
    | ReadCapacity
    | Read
    | Write
    | WriteSame
    | CompareAndWrite
    | Verify
    | SynchronizeCache
    | ModeSense
    | SelectControl
    | SelectCaching
    | Reserve
    | Release
    | ReserveIn
    | ReserveOut
    | StartStop
    | Prevent
    | ReportGroups
    | SetGroups
    | SetTimestamp
    | SendDiagnostic
    | FormatUnit
    | Sanitize
    | ReadBuffer
    | WriteBuffer
    | ReadEcho
    | WriteEcho
)

# --- steps ---


class Attr(IntEnum):
    """Task attributes."""

    SIMPLE = 0
    ORDERED = 1
    HEAD_OF_QUEUE = 2


class Function(Enum):
    """Task management functions that need no task (SAM-6 clause 7)."""

    ABORT_TASK_SET = "ABORT TASK SET"
    CLEAR_TASK_SET = "CLEAR TASK SET"
    LUN_RESET = "LOGICAL UNIT RESET"
    TARGET_RESET = "TARGET RESET"
    NEXUS_RESET = "I_T NEXUS RESET"
    QUERY_TASK_SET = "QUERY TASK SET"


@dataclass(frozen=True)
class Login:
    """An initiator logs in through a port: an I_T nexus is there from now on."""

    initiator: str
    port: int


@dataclass(frozen=True)
class Logout:
    """The end of it."""

    initiator: str
    port: int


@dataclass(frozen=True)
class Send:
    """A command. *hold*: its data-out does not come before `Finish`. *task*: its name while it is there."""

    initiator: str
    port: int
    lun: int
    command: Command
    task: int
    attr: Attr = Attr.SIMPLE
    hold: bool = False


@dataclass(frozen=True)
class Finish:
    """The data of a command that was held has come."""

    task: int


@dataclass(frozen=True)
class AbortTask:
    """ABORT TASK, by the I_T nexus that has sent it."""

    task: int


@dataclass(frozen=True)
class Manage:
    """A task management function."""

    initiator: str
    port: int
    function: Function
    lun: int = 0


@dataclass(frozen=True)
class SetState:
    """The administrator sets the state of a target port group (each has one port, whose number it has)."""

    group: int
    state: int


@dataclass(frozen=True)
class Map:
    """A LUN of a port leads to a unit from now on."""

    port: int
    lun: int
    unit: int
    read_only: bool = False


@dataclass(frozen=True)
class Unmap:
    """A LUN of a port goes."""

    port: int
    lun: int


@dataclass(frozen=True)
class SetReadOnly:
    """Who comes by this LUN may not write, or may again."""

    port: int
    lun: int
    on: bool


@dataclass(frozen=True)
class Resize:
    """A unit has so many blocks from now on."""

    unit: int
    blocks: int


@dataclass(frozen=True)
class Park:
    """The backing of a unit is taken away; *on*: it is back."""

    unit: int
    on: bool = False


Step = (
    Login | Logout | Send | Finish | AbortTask | Manage | SetState | Map | Unmap | SetReadOnly | Resize | Park
)
