# SPDX-License-Identifier: GPL-2.0-or-later
"""What was slow, and what failed: the kernel's records of each device, read from debugfs.

The kernel keeps the last of each kind for each device; the same failure again is the same record, seen once
more.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyscstadmin.config.layout import DEBUG_ROOT
from pyscstadmin.kernel.inflight import PLACES, debug_text, plain_name

__all__ = ["STAGES", "Record", "parse_records", "read_records"]

# Where a command was for the longest time, with words for people.
STAGES = {
    "core": PLACES["core"],
    "limited": PLACES["limited"].replace("waits", "waited"),
    "fault": PLACES["fault"].replace("is held", "held"),
    "question": "waited for an answer of `scstadmin answer`, or a program of yours",
    "order": "waited for others of its task set, or for the end of an ACA condition",
    "turn": PLACES["turn"].replace("waits", "waited"),
    "data": PLACES["data"].replace("waits", "waited"),
    "thread": PLACES["thread"].replace("waits", "waited"),
    "handler": PLACES["handler"],
    "response": PLACES["response"].replace("waits", "waited"),
}

# SAM-5 table 37.
_STATUS = {
    0x00: "GOOD",
    0x02: "CHECK CONDITION",
    0x04: "CONDITION MET",
    0x08: "BUSY",
    0x18: "RESERVATION CONFLICT",
    0x28: "TASK SET FULL",
    0x30: "ACA ACTIVE",
    0x40: "TASK ABORTED",
}
# The kernel's enum scst_tmf_response.
_RESPONSE = (
    "FUNCTION COMPLETE",
    "FUNCTION SUCCEEDED",
    "FUNCTION COMPLETE, there was no such command",
    "INCORRECT LOGICAL UNIT NUMBER",
    "FUNCTION NOT SUPPORTED",
)
# SPC-4 table 53.
_KEYS = (
    "NO SENSE",
    "RECOVERED ERROR",
    "NOT READY",
    "MEDIUM ERROR",
    "HARDWARE ERROR",
    "ILLEGAL REQUEST",
    "UNIT ATTENTION",
    "DATA PROTECT",
    "BLANK CHECK",
    "VENDOR SPECIFIC",
    "COPY ABORTED",
    "ABORTED COMMAND",
    "RESERVED",
    "VOLUME OVERFLOW",
    "MISCOMPARE",
    "COMPLETED",
)


@dataclass(frozen=True, slots=True)
class Record:
    """Something slow, a failure, or a task management function.

    `kind`: one of `RECORD_KINDS`. `when_ns`: of the last time, nanoseconds since 1970. `times`: how often
    it was seen. `session` is the name in /sys/class/scst, which may be gone; `target` DRIVER/NAME. `lun` is
    None where there is none, `device` '' where none is behind it. `ms`: milliseconds from its beginning to
    its end, of a failure to its answer; `place_ms`: of these, those in the `place` (a key of `STAGES`)
    where it was for the longest time. `bytes`: moved. `answer`: SAM status, with sense key and ASC/ASCQ, or
    a function's response. What an injected fault has done has the place `fault`. `tag`, `cdb` and `sense`
    (its first 32 bytes) are hexadecimal, the last two '' where there is none. All but `times` are of the
    last time.
    """

    kind: str
    when_ns: int
    times: int
    session: str
    target: str
    initiator: str
    lun: int | None
    device: str
    tag: str
    ms: int
    place: str
    place_ms: int
    bytes: int
    answer: str
    cdb: str
    sense: str
    what: str


def parse_records(text: str) -> list[Record]:
    """The lines of `recorder`, the newest last."""
    found = [_record(line) for line in text.splitlines() if not line.startswith("#")]
    return sorted(found, key=lambda one: one.when_ns)


def read_records(path: str = f"{DEBUG_ROOT}/recorder") -> list[Record]:
    """What the kernel remembers, the newest last. Waits for nobody. Raises `OperationError`."""
    return parse_records(debug_text(path))


def _record(line: str) -> Record:
    kind, when, times, session, target, initiator, lun, device, tag, ms, place, place_ms, *rest = line.split(
        " "
    )
    size, status, code, cdb, sense, *what = rest
    return Record(
        kind,
        int(when),
        int(times),
        f"session.{session}",
        plain_name(target),
        plain_name(initiator),
        None if lun == "-" else int(lun),
        "" if device == "-" else device,
        tag,
        int(ms),
        place,
        int(place_ms),
        int(size),
        _response(int(status)) if kind == "tmf" else _answer(int(status), int(code, 16)),
        "" if cdb == "-" else cdb,
        "" if sense == "-" else sense,
        " ".join(what),
    )


def _response(number: int) -> str:
    return _RESPONSE[number] if number < len(_RESPONSE) else f"response {number}"


def _answer(status: int, code: int) -> str:
    """`CHECK CONDITION, MEDIUM ERROR 11/00`."""
    name = _STATUS.get(status, f"status {status:02X}h")
    if not code:
        return name
    return f"{name}, {_KEYS[code >> 16 & 0xF]} {code >> 8 & 0xFF:02X}/{code & 0xFF:02X}"
