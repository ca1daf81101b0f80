# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames and the payloads of FC-LS, FC-GS and FCP information units: building and parsing, no state.

A `Frame` stands for one sequence: its payload may be longer than the 2112 bytes of a frame on the wire.
The dump splits it again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

R_DATA, R_CT_REPLY, R_XFER_RDY, R_COMMAND, R_STATUS = 0x01, 0x03, 0x05, 0x06, 0x07
R_CT_REQUEST, R_CONFIRM = 0x02, 0x03
R_ELS_REQUEST, R_ELS_REPLY = 0x22, 0x23
R_FC4_REQUEST, R_FC4_REPLY = 0x32, 0x33
R_ABTS, R_BA_ACC, R_BA_RJT = 0x81, 0x84, 0x85
R_F_RJT = 0xC3

TYPE_BASIC, TYPE_ELS, TYPE_FCP, TYPE_CT = 0x00, 0x01, 0x08, 0x20

F_RESPONDER, F_LAST_SEQUENCE, F_END_SEQUENCE, F_INITIATIVE = 0x800000, 0x100000, 0x080000, 0x010000
F_REQUEST = 0x290000
F_ANSWER = 0x990000
F_DATA = 0x890008
"""F_CTL of data frames: the parameter field is a relative offset."""

ELS_LS_RJT, ELS_LS_ACC, ELS_PLOGI, ELS_FLOGI, ELS_LOGO = 0x01, 0x02, 0x03, 0x04, 0x05
ELS_ECHO, ELS_RRQ, ELS_REC, ELS_SRR = 0x10, 0x12, 0x13, 0x14
ELS_PRLI, ELS_PRLO, ELS_TPRLO, ELS_PDISC, ELS_ADISC = 0x20, 0x21, 0x24, 0x50, 0x52
ELS_RSCN, ELS_SCR = 0x61, 0x62
ELS_FPIN, ELS_RDP = 0x16, 0x18

ELS_NAMES = {
    1: "LS_RJT",
    2: "LS_ACC",
    3: "PLOGI",
    4: "FLOGI",
    5: "LOGO",
    0x10: "ECHO",
    0x12: "RRQ",
    0x13: "REC",
    0x14: "SRR",
    0x16: "FPIN",
    0x18: "RDP",
    0x20: "PRLI",
    0x21: "PRLO",
    0x24: "TPRLO",
    0x50: "PDISC",
    0x52: "ADISC",
    0x61: "RSCN",
    0x62: "SCR",
}

REASON_LOGICAL, REASON_UNABLE, REASON_UNSUPPORTED = 0x03, 0x09, 0x0B
EXPLAIN_NONE, EXPLAIN_BAD_EXCHANGE, EXPLAIN_LOGIN_REQUIRED, EXPLAIN_NO_DATA = 0x00, 0x17, 0x1E, 0x2A

F_PORT, FABRIC_CONTROLLER, NAME_SERVER, MANAGEMENT_SERVER = 0xFFFFFE, 0xFFFFFD, 0xFFFFFC, 0xFFFFFA
NO_ID = 0xFFFF
"""OX_ID or RX_ID not assigned."""

ROLE_INITIATOR, ROLE_TARGET, ROLE_RETRY, ROLE_CONFIRM = 0x20, 0x10, 0x100, 0x80
ROLE_READ_XFER_RDY_DISABLED = 0x02

TASK_ABORT_SET, TASK_CLEAR_SET, TASK_LUN_RESET, TASK_TARGET_RESET, TASK_CLEAR_ACA = (
    0x02,
    0x04,
    0x10,
    0x20,
    0x40,
)

RSP_LENGTH_VALID, RSP_SENSE_VALID, RSP_OVER, RSP_UNDER, RSP_CONFIRM = 0x01, 0x02, 0x04, 0x08, 0x10

TMF_COMPLETE, TMF_REJECTED, TMF_FAILED, TMF_BAD_LUN = 0x00, 0x04, 0x05, 0x09

STATUS_GOOD, STATUS_CHECK, STATUS_BUSY, STATUS_CONFLICT, STATUS_FULL = 0x00, 0x02, 0x08, 0x18, 0x28


class Frame(NamedTuple):
    """One sequence on the wire."""

    r_ctl: int
    d_id: int
    s_id: int
    type: int
    f_ctl: int
    ox_id: int
    rx_id: int
    param: int
    payload: bytes


def format_wwn(name: int) -> str:
    """``21:00:00:e0:8b:12:34:01``."""
    return ":".join(f"{byte:02x}" for byte in name.to_bytes(8, "big"))


def parse_wwn(text: str) -> int:
    """Read a WWN with or without colons, dashes or 0x; ValueError says what is wrong."""
    digits = text.lower().removeprefix("0x").replace(":", "").replace("-", "")
    if len(digits) != 16 or any(digit not in "0123456789abcdef" for digit in digits):
        raise ValueError(f"{text!r} is not a WWN: 16 hexadecimal digits are needed")
    name = int(digits, 16)
    if not name:
        raise ValueError("the WWN 0 means no name")
    return name


@dataclass(frozen=True, slots=True)
class Command:
    """FCP_CMND."""

    lun: bytes
    cdb: bytes
    length: int = 0
    read: bool = False
    write: bool = False
    attribute: int = 0
    task: int = 0
    reference: int = 0

    def encode(self) -> bytes:
        """The information unit."""
        extra = max(0, len(self.cdb) - 16 + 3) // 4
        flags = extra << 2 | self.read << 1 | self.write
        cdb = self.cdb.ljust(16 + 4 * extra, b"\0")
        head = self.lun + bytes((self.reference, self.attribute, self.task, flags))
        return head + cdb + self.length.to_bytes(4, "big")

    @classmethod
    def decode(cls, payload: bytes) -> Command:
        """Parse; ValueError if it is too short for what it announces."""
        if len(payload) < 32 or len(payload) < 32 + (payload[11] & 0xFC):
            raise ValueError(f"FCP_CMND of {len(payload)} bytes is too short")
        end = 28 + (payload[11] & 0xFC)
        length = int.from_bytes(payload[end : end + 4], "big")
        flags = payload[11]
        return cls(
            payload[:8],
            payload[12:end],
            length,
            bool(flags & 2),
            bool(flags & 1),
            payload[9] & 7,
            payload[10],
            payload[8],
        )


@dataclass(frozen=True, slots=True)
class Response:
    """FCP_RSP; ``residual`` is positive for an underrun, negative for an overrun."""

    status: int = 0
    sense: bytes = b""
    residual: int = 0
    info: bytes = b""
    confirm: bool = False

    def encode(self) -> bytes:
        """The information unit."""
        flags = (
            (RSP_LENGTH_VALID if self.info else 0)
            | (RSP_SENSE_VALID if self.sense else 0)
            | (RSP_UNDER if self.residual > 0 else RSP_OVER if self.residual < 0 else 0)
            | (RSP_CONFIRM if self.confirm else 0)
        )
        head = struct.pack(
            ">10xBBIII", flags, self.status, abs(self.residual), len(self.sense), len(self.info)
        )
        return head + self.info + self.sense

    @classmethod
    def decode(cls, payload: bytes) -> Response:
        """Parse; ValueError if it is too short for what it announces."""
        if len(payload) < 24:
            raise ValueError(f"FCP_RSP of {len(payload)} bytes is too short")
        flags, status, residual, sense_length, info_length = struct.unpack_from(">BBIII", payload, 10)
        info_length = info_length if flags & RSP_LENGTH_VALID else 0
        sense_length = sense_length if flags & RSP_SENSE_VALID else 0
        if 24 + info_length + sense_length > len(payload):
            raise ValueError("FCP_RSP announces more than it carries")
        sense = payload[24 + info_length : 24 + info_length + sense_length]
        signed = residual if flags & RSP_UNDER else -residual if flags & RSP_OVER else 0
        return cls(status, sense, signed, payload[24 : 24 + info_length], bool(flags & RSP_CONFIRM))


def task_response(code: int) -> Response:
    """FCP_RSP that answers a task management function."""
    return Response(info=bytes((0, 0, 0, code, 0, 0, 0, 0)))


def lun_bytes(lun: int) -> bytes:
    """Single-level LUN structure: peripheral below 256, flat space above."""
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


def lun_number(lun: bytes) -> int:
    """The number in a single-level LUN structure."""
    return (lun[0] << 8 | lun[1]) & 0x3FFF


def xfer_rdy(offset: int, length: int) -> bytes:
    """FCP_XFER_RDY."""
    return struct.pack(">II4x", offset, length)


def login_payload(code: int, wwpn: int, wwnn: int, frame_size: int = 2048) -> bytes:
    """PLOGI, FLOGI, PDISC or the LS_ACC of one: common and class 3 service parameters and the names."""
    common = struct.pack(">BBHHH8x", 0x20, 0x20, 3, 0x8800, frame_size)
    class3 = struct.pack(">HHHHHHHH", 0x8000, 0, 0, frame_size, 0, 0xFF, 1, 0)
    body = common + wwpn.to_bytes(8, "big") + wwnn.to_bytes(8, "big") + bytes(32) + class3 + bytes(32)
    return bytes((code, 0, 0, 0)) + body


def login_names(payload: bytes) -> tuple[int, int]:
    """Port and node name in a login payload; zeros if it is too short."""
    return int.from_bytes(payload[20:28], "big"), int.from_bytes(payload[28:36], "big")


def prli_payload(code: int, service: int) -> bytes:
    """PRLI request or its LS_ACC with one FCP service parameter page."""
    flags = 0x2000 if code == ELS_PRLI else 0x2100
    return struct.pack(">BBHBBHIII", code, 16, 20, TYPE_FCP, 0, flags, 0, 0, service)


def prli_service(payload: bytes) -> int:
    """Word 3 of the service parameter page; 0 if there is none."""
    return int.from_bytes(payload[16:20], "big") if len(payload) >= 20 else 0


def reject(reason: int, explanation: int = 0) -> bytes:
    """LS_RJT."""
    return bytes((ELS_LS_RJT, 0, 0, 0, 0, reason, explanation, 0))


LS_ACC = bytes((ELS_LS_ACC, 0, 0, 0))
