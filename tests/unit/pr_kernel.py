# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's persistent reservations (kmod/core/pr-*.c), built in user space."""

from __future__ import annotations

import ctypes
import errno
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.model.pr import Action, Command, Nexus, Sense

REPO = Path(__file__).resolve().parents[2]
NAMES = ("pr-state", "pr-parse", "pr-report", "pr-access", "pr-record", "transport-id", "spelling")
SOURCES = [str(REPO / f"kmod/core/{name}.c") for name in NAMES]
INCLUDES = [f"-I{REPO}/tests/unit/kernel", f"-I{REPO}/kmod/include", f"-I{REPO}/kmod/core"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wmissing-prototypes"]

NOBODY = 0xFFFFFFFF
TRAILER = 12  # bytes at the end of a record
PREEMPTED, RELEASED, UNREGISTERED, ABORT, GONE = (1 << n for n in range(5))
CONFLICT, CHECK = 1, 2


class TransportId(ctypes.Structure):
    """struct scst_transport_id"""

    _fields_ = [("len", ctypes.c_uint16), ("bytes", ctypes.c_uint8 * 256)]


class NexusC(ctypes.Structure):
    """struct scst_pr_nexus"""

    _fields_ = [("id", TransportId), ("port", ctypes.c_uint16)]


class Registrant(ctypes.Structure):
    """struct scst_pr_registrant"""

    _fields_ = [("key", ctypes.c_uint64), ("nexus", NexusC)]


class Head(ctypes.Structure):
    """struct scst_pr, without its registrants"""

    _fields_ = [
        ("generation", ctypes.c_uint32),
        ("nr", ctypes.c_uint32),
        ("room", ctypes.c_uint32),
        ("holder", ctypes.c_uint32),
        ("type", ctypes.c_uint8),
        ("aptpl", ctypes.c_bool),
        ("lost", ctypes.c_bool),
        ("undone", ctypes.c_uint8),
        ("ident_len", ctypes.c_uint16 * 2),
        ("ident", ctypes.c_uint8 * 64),
        ("ident_text", ctypes.c_uint8 * 256),
    ]


class Port(ctypes.Structure):
    """struct scst_pr_port"""

    _fields_ = [("id", ctypes.c_uint16), ("protocol", ctypes.c_uint8)]


class Place(ctypes.Structure):
    """struct scst_pr_place"""

    _fields_ = [
        ("who", ctypes.POINTER(NexusC)),
        ("ports", ctypes.POINTER(Port)),
        ("nr_ports", ctypes.c_uint32),
        ("max", ctypes.c_uint32),
        ("durable", ctypes.c_bool),
    ]


class Request(ctypes.Structure):
    """struct scst_pr_request"""

    _fields_ = [
        ("action", ctypes.c_uint8),
        ("scope", ctypes.c_uint8),
        ("type", ctypes.c_uint8),
        ("spec_i_pt", ctypes.c_bool),
        ("all_tg_pt", ctypes.c_bool),
        ("aptpl", ctypes.c_bool),
        ("unreg", ctypes.c_bool),
        ("port", ctypes.c_uint16),
        ("key", ctypes.c_uint64),
        ("sa_key", ctypes.c_uint64),
        ("ids", ctypes.c_void_p),
        ("ids_len", ctypes.c_uint32),
        ("nr_ids", ctypes.c_uint32),
    ]


class Verdict(ctypes.Structure):
    """struct scst_pr_verdict"""

    _fields_ = [
        ("status", ctypes.c_uint8),
        ("in_cdb", ctypes.c_bool),
        ("bit", ctypes.c_int8),
        ("byte", ctypes.c_int32),
        ("sense", ctypes.c_uint32),
    ]

    def as_sense(self) -> Sense | None:
        """In the model's words."""
        if self.status != CHECK:
            return None
        return Sense(self.sense, self.in_cdb, self.byte, self.bit)


class Answer(ctypes.Structure):
    """struct scst_pr_answer"""

    _fields_ = [("verdict", Verdict), ("changed", ctypes.c_bool), ("told", ctypes.POINTER(ctypes.c_uint8))]


class RecordInfo(ctypes.Structure):
    """struct scst_pr_record_info"""

    _fields_ = [
        ("sequence", ctypes.c_uint64),
        ("nr", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("owner_len", ctypes.c_uint32),
        ("owner", ctypes.c_uint8 * 64),
    ]


class State:
    """A struct scst_pr with all its memory, which ends where it should."""

    def __init__(self, room: int) -> None:
        self.memory = ctypes.create_string_buffer(ctypes.sizeof(Head) + room * ctypes.sizeof(Registrant))
        self.head = Head.from_buffer(self.memory)
        self.head.room = room
        self.head.holder = NOBODY

    @property
    def registrants(self) -> ctypes.Array[Registrant]:
        kind: type[ctypes.Array[Registrant]] = Registrant * self.head.nr
        return kind.from_buffer(self.memory, ctypes.sizeof(Head))

    def nexuses(self) -> list[Nexus]:
        """I_T nexuses in the order of the state."""
        return [from_nexus(entry.nexus) for entry in self.registrants]

    def keys(self) -> dict[Nexus, int]:
        """As the model has them; none twice."""
        found = {from_nexus(entry.nexus): entry.key for entry in self.registrants}
        assert len(found) == self.head.nr
        return found


class Result(NamedTuple):
    """What scst_pr_out() has made."""

    state: State
    conflict: bool
    sense: Sense | None
    changed: bool
    told: dict[Nexus, int]


def from_nexus(nexus: NexusC) -> Nexus:
    """In the model's words."""
    return Nexus(bytes(nexus.id.bytes[: nexus.id.len]), nexus.port)


def to_nexus(nexus: Nexus) -> NexusC:
    """In the kernel's."""
    made = NexusC(port=nexus.port)
    made.id.len = len(nexus.initiator)
    ctypes.memmove(made.id.bytes, nexus.initiator, len(nexus.initiator))
    return made


def wire(command: Command) -> tuple[bytes, bytes]:
    """CDB and parameter list of a command (SPC-4 6.16)."""
    ids = b"".join(command.transport_ids)
    keys = command.key.to_bytes(8, "big") + command.sa_key.to_bytes(8, "big")
    if command.action == Action.REGISTER_AND_MOVE:
        flags = bytes([0, command.unreg << 1 | command.aptpl])
        data = keys + flags + command.port.to_bytes(2, "big") + len(ids).to_bytes(4, "big") + ids
    else:
        bits = command.spec_i_pt << 3 | command.all_tg_pt << 2 | command.aptpl
        data = keys + bytes([0, 0, 0, 0, bits, 0, 0, 0])
        if command.spec_i_pt:
            data += len(ids).to_bytes(4, "big") + ids
    kind = command.scope << 4 | command.type
    return bytes([0x5F, command.action, kind, 0, 0]) + len(data).to_bytes(4, "big") + b"\0", data


def resealed(record: bytes, at: int, new: bytes) -> bytes:
    """A change of a record by somebody who can compute."""
    changed = bytearray(record)
    changed[at : at + len(new)] = new
    changed[24:28] = crc(bytes(changed[:24]))
    body = bytes(changed[:-TRAILER])
    return body + crc(body) + bytes(changed[-8:])


def crc(data: bytes) -> bytes:
    """CRC-32C, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return (value ^ 0xFFFFFFFF).to_bytes(4, "big")


class Kernel:
    """The library, and what it does in the model's words."""

    def __init__(self, folder: Path) -> None:
        library = folder / "pr.so"
        flags = ["-shared", "-fPIC", "-O1", *WARNINGS, *INCLUDES]
        subprocess.run(["gcc", *flags, *SOURCES, "-o", str(library)], check=True)
        self.lib = ctypes.CDLL(str(library))
        self.lib.scst_pr_size.restype = ctypes.c_size_t
        for name in ("scst_pr_parse", "scst_pr_valid"):
            getattr(self.lib, name).restype = ctypes.c_bool
        for name in ("scst_pr_room", "scst_crc32c", "scst_pr_record_size", "scst_pr_record_encode"):
            getattr(self.lib, name).restype = ctypes.c_uint32

    def parse(self, cdb: bytes, data: bytes) -> Request | Sense:
        """Read a command; *data* must outlive the request."""
        request, verdict = Request(), Verdict()
        size = ctypes.c_uint32(len(data))
        args = (ctypes.byref(request), ctypes.byref(verdict), cdb, data, size)
        if self.lib.scst_pr_parse(*args):
            return request
        sense = verdict.as_sense()
        assert sense is not None
        return sense

    def out(
        self,
        old: State,
        who: Nexus,
        ports: dict[int, int],
        request: Request,
        *,
        limit: int,
        durable: bool = True,
        room: int | None = None,
    ) -> Result:
        """Carry out a command in exactly as much memory as the kernel says it needs."""
        table = (Port * len(ports))(*[Port(*port) for port in ports.items()])
        place = Place(ctypes.pointer(to_nexus(who)), table, len(ports), limit, durable)
        args = (ctypes.byref(place), ctypes.byref(request))
        if room is None:
            room = self.lib.scst_pr_room(old.memory, *args)
        new = State(room)
        told = (ctypes.c_uint8 * (old.head.nr + 1))()
        told[old.head.nr] = 0xA5
        answer = Answer(told=told)
        before = old.memory.raw
        error = self.lib.scst_pr_out(old.memory, *args, new.memory, ctypes.byref(answer))
        assert old.memory.raw == before, "the old state was changed"
        assert told[old.head.nr] == 0xA5, "told more than there are"
        if error:
            raise OSError(-error, errno.errorcode[-error])
        assert self.lib.scst_pr_valid(new.memory)
        verdict = answer.verdict
        marks = dict(zip(old.nexuses(), told, strict=False))
        return Result(new, verdict.status == CONFLICT, verdict.as_sense(), answer.changed, marks)

    def report(self, name: str, state: State, size: int, *more: ctypes.c_bool) -> tuple[int, bytes]:
        """Length of the whole of a reply, and what was written of it into *size* bytes."""
        function = getattr(self.lib, name)
        function.restype = ctypes.c_uint32
        buffer = ctypes.create_string_buffer(b"\xa5" * (size + 1), size + 1)
        length = function(state.memory, *more, buffer, ctypes.c_uint32(size))
        assert buffer.raw[size] == 0xA5, "written behind the end"
        return length, buffer.raw[: min(size, length)]

    def encode(self, state: State, sequence: int, owner: bytes) -> bytes:
        """A record."""
        size = self.lib.scst_pr_record_size(state.memory, ctypes.c_uint32(len(owner)))
        buffer = ctypes.create_string_buffer(b"\xa5" * (size + 1), size + 1)
        number = ctypes.c_uint64(sequence)
        args = (state.memory, number, owner, len(owner), buffer, size)
        assert self.lib.scst_pr_record_encode(*args) == size
        assert buffer.raw[size] == 0xA5, "written behind the end"
        return buffer.raw[:size]

    def check(self, record: bytes) -> tuple[int, RecordInfo]:
        """What some bytes are: enum scst_pr_record."""
        info = RecordInfo()
        return self.lib.scst_pr_record_check(record, len(record), ctypes.byref(info)), info

    def decode(self, record: bytes, room: int) -> State:
        """The state of a record."""
        state = State(room)
        error = self.lib.scst_pr_record_decode(record, len(record), state.memory)
        if error:
            raise OSError(-error, errno.errorcode[-error])
        return state

    def default_id(self, protocol: int, name: str) -> bytes:
        """The TransportID of a port that is known by its name."""
        made = TransportId()
        self.lib.scst_transport_id_default(ctypes.byref(made), protocol, name.encode())
        return bytes(made.bytes[: made.len])
