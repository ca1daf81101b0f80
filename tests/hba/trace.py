# SPDX-License-Identifier: GPL-2.0-or-later
"""Readable records: one line per mailbox command, queue entry and event; frames as text or pcap-ng.

The pcap-ng file has Ethernet link type with FCoE framing: Wireshark decodes Fibre Channel, FCP and SCSI.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO, TextIO

from .fc import frames as fc
from .fc.frames import Frame
from .fc.nameserver import CT_NAMES
from .isp import iocb
from .isp.chip import EVENT_ASYNC, Chip, Event
from .isp.models import Family
from .isp.queues import ENTRY

SWAPPED = (Family.ISP2400, Family.ISP2700)
MAILBOX_NAMES = {
    0x00: "no-op",
    0x01: "load RAM",
    0x02: "execute firmware",
    0x03: "write SerDes",
    0x04: "write RAM word",
    0x05: "read RAM word",
    0x06: "mailbox register test",
    0x07: "verify checksum",
    0x08: "get firmware version",
    0x09: "load RISC RAM",
    0x0B: "load RISC RAM extended",
    0x0C: "dump RISC RAM",
    0x0F: "dump RISC RAM extended",
    0x10: "SerDes parameters",
    0x11: "get echo",
    0x12: "get IOCB status",
    0x14: "stop firmware",
    0x15: "abort command",
    0x16: "abort device",
    0x17: "abort target",
    0x18: "bus reset",
    0x1A: "port parameters",
    0x1F: "initialize multi-queue",
    0x20: "get adapter id",
    0x22: "get timeouts",
    0x27: "trace control",
    0x28: "get firmware options",
    0x2A: "generate system error",
    0x31: "read SFP",
    0x32: "set timeouts",
    0x38: "set firmware options",
    0x42: "get resource counts",
    0x47: "enhanced get port database",
    0x48: "MID initialize firmware",
    0x54: "execute IOCB",
    0x59: "set RNID",
    0x5A: "get RNID",
    0x5D: "data rate",
    0x60: "initialize firmware",
    0x62: "LIP reset",
    0x63: "get FC-AL map",
    0x64: "get port database",
    0x66: "target reset",
    0x69: "get firmware state",
    0x6A: "get port name",
    0x6B: "get link status",
    0x6C: "LIP full login",
    0x6D: "get link statistics",
    0x6E: "send SNS",
    0x6F: "login fabric port",
    0x70: "send change request",
    0x71: "logout fabric port",
    0x72: "link initialization",
    0x74: "login loop port",
    0x75: "get name list",
    0x7C: "get id list",
    0x7E: "LUN reset",
}
ASYNC_NAMES = {
    0x8001: "reset",
    0x8002: "system error",
    0x8003: "request transfer error",
    0x8004: "response transfer error",
    0x8010: "LIP occurred",
    0x8011: "loop up",
    0x8012: "loop down",
    0x8013: "LIP reset",
    0x8014: "port update",
    0x8015: "RSCN",
    0x8020: "command done",
    0x8021: "CTIO done",
    0x8030: "point to point",
}
EVENT_NAMES = {
    1: "ROM mailbox ok",
    2: "ROM mailbox failed",
    0x10: "mailbox ok",
    0x11: "mailbox failed",
    0x13: "response queue",
    0x17: "fast CTIO",
    0x1C: "ATIO queue",
}

Field = tuple[str, int, str]


def _fields(text: str) -> list[Field]:
    """``label:offset:kind`` items separated by blanks."""
    return [(label, int(offset), kind) for label, offset, kind in (item.split(":") for item in text.split())]


_LOGIN = "hdl:4:I cs:8:H nport:10:H flags:12:h vp:14:B port:16:p iop0:20:i iop1:24:i"
_CT = "hdl:4:I cs:8:H nport:10:H vp:14:B rsp:32:I cmd:36:I"
_MAILBOX = "hdl:4:I mb0:8:h mb1:10:h mb2:12:h mb3:14:h"
_NOTIFY = (
    "nport:8:H status:16:h sub:18:b xchg:20:i srr-off:24:I srr-iu:28:h srr-ox:30:h wwpn:40:w vp:51:B "
    "port:56:p ox:62:h"
)
_CTIO_7 = (
    "hdl:4:i st/nport:8:H dsds:12:H xchg:20:i flags:26:h resid:28:I ox:32:h scsi:34:h off:36:I len:44:I "
    "data:40:x24"
)
_ATIO_2 = (
    "id:8:H rx:10:h flags:12:h st:14:h code:17:b task:18:b exec:19:b cdb:20:x16 len:36:I lun:40:H "
    "wwpn:42:w ox:62:h"
)
LAYOUTS_24 = {
    kind: (name, _fields(text))
    for kind, name, text in (
        (
            iocb.STATUS,
            "status",
            "hdl:4:I cs:8:h ox:10:h left:12:I scsi:22:h resid:24:I sense:28:I info:32:I data:36:s28",
        ),
        (iocb.MARKER, "marker", "hdl:4:I nport:8:H modifier:10:B vp:14:B"),
        (iocb.STATUS_CONTINUATION, "status continuation", "data:4:x60"),
        (
            iocb.COMMAND_7,
            "command",
            "hdl:4:I nport:8:H lun:16:s8 dir:24:h cdb:28:s16 len:44:I port:48:p vp:51:B dsds:12:H",
        ),
        (iocb.TASK_MANAGEMENT, "task management", "hdl:4:I nport:8:H lun:16:s8 control:24:i port:48:p"),
        (iocb.CT, "CT", _CT),
        (iocb.ABORT, "abort", "hdl:4:I cs/nport:8:H options:10:h abort:12:I port:48:p"),
        (iocb.MAILBOX_ENTRY, "mailbox", _MAILBOX),
        (iocb.LOGIN, "login", _LOGIN),
        (iocb.ELS, "ELS", "hdl:4:I cs:8:H nport:10:H xchg:16:i op:22:b d_id:24:p flags:30:h"),
        (iocb.VP_CONTROL, "VP control", "hdl:4:I cs:10:H command:12:h map:16:x8"),
        (iocb.VP_CONFIG, "VP config", "hdl:4:I cs:10:H command:12:B vp:14:B options:16:b wwpn:20:w"),
        (iocb.REPORT_ID, "report id", "vp:10:B status:11:B port:12:p format:15:B flags:17:b"),
        (
            iocb.ATIO_7,
            "ATIO",
            "xchg:4:i s_id:13:P ox:24:r lun:32:x8 attr:41:b task:42:b dir:43:b cdb:44:x16 len:60:R",
        ),
        (
            iocb.CTIO_7,
            "CTIO",
            _CTIO_7,
        ),
        (iocb.NOTIFY, "immediate notify", _NOTIFY),
        (iocb.NOTIFY_ACK, "notify ack", "flags:12:h " + _NOTIFY),
        (iocb.ABTS_RECEIVED, "ABTS", "nport:10:H xchg:16:i s_id:24:p rx:36:h ox:38:h abort:60:i"),
        (iocb.PUREX, "PUREX", "nport:10:H xchg:16:i s_id:24:p ox:38:h payload:44:s20"),
        (
            iocb.ABTS_RESPONSE,
            "ABTS response",
            "hdl:4:i cs:8:H flags:12:h xchg:16:i r_ctl:23:b rx:36:h ox:38:h abort:60:i",
        ),
    )
}
_ID = "hdl:4:i id:8:H"
_CTIO_2X = "hdl:4:i id:8:H rx:10:h flags:12:h st:14:h timeout:16:H dsds:18:H off:20:I resid:24:I"
_LUN_2X = "lun:8:B op:10:b st:16:b commands:18:B notifies:19:B timeout:22:H"
_NOTIFY_2X = "id:8:H lun:10:H st:16:h task:18:h seq:20:h srr-off:24:I srr-iu:28:h ox:62:h"
LAYOUTS_2X = {
    kind: (name, _fields(text))
    for kind, name, text in (
        (iocb.STATUS, "status", "hdl:4:I scsi:8:h cs:10:h info:16:H sense:18:H resid:20:I data:32:x18"),
        (iocb.MARKER, "marker", "hdl:4:I id:8:H modifier:10:B lun:12:H"),
        (iocb.COMMAND_32, "command", _ID + " lun:10:H flags:12:h dsds:18:H cdb:20:x16 len:36:I"),
        (iocb.COMMAND_64, "command 64", _ID + " lun:10:H flags:12:h dsds:18:H cdb:20:x16 len:36:I"),
        (iocb.CT, "MS", _ID + " st:10:h rsp:32:I cmd:36:I"),
        (iocb.MAILBOX_ENTRY, "mailbox", _ID + " st:10:h mb0:24:h mb1:26:h mb2:28:h mb3:30:h mb10:38:h"),
        (iocb.ENABLE_LUN, "enable LUN", _LUN_2X),
        (iocb.MODIFY_LUN, "modify LUN", _LUN_2X),
        (
            iocb.ATIO_2,
            "ATIO",
            _ATIO_2,
        ),
        (iocb.CTIO_2, "CTIO 2", _CTIO_2X + " scsi:34:h len:36:I"),
        (iocb.CTIO_3, "CTIO 3", _CTIO_2X + " scsi:34:h len:36:I"),
        (iocb.NOTIFY, "immediate notify", _NOTIFY_2X),
        (iocb.NOTIFY_ACK, "notify ack", "flags:12:h response:14:h " + _NOTIFY_2X),
    )
}

_READERS: dict[str, Callable[[bytes, int], str]] = {
    "B": lambda data, at: str(data[at]),
    "b": lambda data, at: f"{data[at]:02x}",
    "H": lambda data, at: str(int.from_bytes(data[at : at + 2], "little")),
    "h": lambda data, at: f"{int.from_bytes(data[at : at + 2], 'little'):04x}",
    "r": lambda data, at: f"{int.from_bytes(data[at : at + 2], 'big'):04x}",
    "I": lambda data, at: str(int.from_bytes(data[at : at + 4], "little")),
    "i": lambda data, at: f"{int.from_bytes(data[at : at + 4], 'little'):#x}",
    "R": lambda data, at: str(int.from_bytes(data[at : at + 4], "big")),
    "p": lambda data, at: f"{int.from_bytes(data[at : at + 3], 'little'):06x}",
    "P": lambda data, at: f"{int.from_bytes(data[at : at + 3], 'big'):06x}",
    "w": lambda data, at: data[at : at + 8].hex(),
}


def _read(data: bytes, place: int, kind: str) -> str:
    if kind[0] in "xs":
        raw = data[place : place + int(kind[1:])]
        text = (iocb.swap(raw) if kind[0] == "s" else raw).hex()
        return text.rstrip("0") or "0"
    return _READERS[kind](data, place)


def describe_entry(data: bytes, *, swapped: bool) -> str:
    """One line for a queue entry; ``swapped``: layouts of the 24xx."""
    name, fields = (LAYOUTS_24 if swapped else LAYOUTS_2X).get(data[0], (f"entry {data[0]:02x}", []))
    parts = [f"{label}={_read(data, place, kind)}" for label, place, kind in fields]
    if data[3]:
        parts.append(f"entry-status={data[3]:02x}")
    if not fields:
        parts.append(data[:ENTRY].hex())
    return f"{name} " + " ".join(parts)


def describe_frame(frame: Frame) -> str:
    """One line for a frame."""
    head = f"{frame.s_id:06x} > {frame.d_id:06x} ox={frame.ox_id:04x} rx={frame.rx_id:04x}"
    payload = frame.payload
    if frame.r_ctl in (fc.R_ELS_REQUEST, fc.R_ELS_REPLY, fc.R_FC4_REQUEST, fc.R_FC4_REPLY):
        name = fc.ELS_NAMES.get(payload[0] if payload else 0, "ELS " + payload[:1].hex())
        return f"{head} {name} {payload[4:12].hex()}"
    if frame.type == fc.TYPE_CT and len(payload) >= 10:
        code = int.from_bytes(payload[8:10], "big")
        return f"{head} CT {CT_NAMES.get(code, f'{code:04x}')}"
    if frame.r_ctl == fc.R_COMMAND and len(payload) >= 32:
        lun, cdb = fc.lun_number(payload[:8]), payload[12:28].hex()
        return f"{head} FCP_CMND lun={lun} cdb={cdb} task={payload[10]:02x}"
    if frame.r_ctl == fc.R_STATUS and len(payload) >= 24:
        residual = int.from_bytes(payload[12:16], "big")
        return f"{head} FCP_RSP status={payload[11]:02x} flags={payload[10]:02x} resid={residual}"
    names = {
        fc.R_DATA: "FCP_DATA",
        fc.R_XFER_RDY: "FCP_XFER_RDY",
        fc.R_CONFIRM: "FCP_CONF",
        fc.R_ABTS: "ABTS",
        fc.R_BA_ACC: "BA_ACC",
        fc.R_BA_RJT: "BA_RJT",
        fc.R_F_RJT: "F_RJT",
    }
    return f"{head} {names.get(frame.r_ctl, f'r_ctl {frame.r_ctl:02x}')} off={frame.param} len={len(payload)}"


class TextTrace:
    """Writes everything as text; a `Tracer` of chips and a `FrameSink` of media."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._start: float | None = None

    def _line(self, when: float, who: str, text: str) -> None:
        if self._start is None:
            self._start = when
        self._out.write(f"{when - self._start:11.6f} {who:6} {text}\n")

    def _chip(self, chip: Chip, text: str) -> None:
        self._line(chip.loop.now(), chip.name, text)

    def mailbox(self, chip: Chip, inputs: list[int], status: int, outputs: Mapping[int, int]) -> None:
        """See Tracer."""
        last = max((number for number in range(1, len(inputs)) if inputs[number]), default=0)
        given = " ".join(f"{value:x}" for value in inputs[1 : last + 1])
        result = " ".join(
            f"mb{number}={value & 0xFFFF:x}" for number, value in sorted(outputs.items()) if value
        )
        name = MAILBOX_NAMES.get(inputs[0], "?")
        self._chip(chip, f"mbx  {inputs[0]:02x} {name} [{given}] -> {status:04x} {result}".rstrip())

    def entry(self, chip: Chip, direction: str, data: bytes) -> None:
        """See Tracer."""
        self._chip(chip, f"{direction:4} {describe_entry(data, swapped=chip.model.family in SWAPPED)}")

    def event(self, chip: Chip, event: Event) -> None:
        """See Tracer: queue and mailbox events are told by their contents already."""
        if event.code != EVENT_ASYNC:
            return
        values = " ".join(f"{value & 0xFFFF:04x}" for value in event.mailboxes.values())
        self._chip(
            chip, f"aen  {event.mailbox0:04x} {ASYNC_NAMES.get(event.mailbox0, '?')} {values}".rstrip()
        )

    def note(self, chip: Chip, text: str) -> None:
        """See Tracer."""
        self._chip(chip, f"---  {text}")

    def frame(self, when: float, frame: Frame) -> None:
        """See FrameSink."""
        self._line(when, "wire", describe_frame(frame))


MAX_FRAME_PAYLOAD = 2048
FCOE = bytes.fromhex("0efc00000001 0efc00000002 8906".replace(" ", "")) + bytes(13) + b"\x2e"
END_OF_FRAME = b"\x41\0\0\0"


def wire_frames(frame: Frame) -> list[bytes]:
    """A sequence as FC frames with headers, at most 2048 bytes of payload each."""
    pieces = [
        frame.payload[place : place + MAX_FRAME_PAYLOAD]
        for place in range(0, len(frame.payload), MAX_FRAME_PAYLOAD)
    ]
    result = []
    for number, piece in enumerate(pieces or [b""]):
        last = number == max(0, len(pieces) - 1)
        f_ctl = (
            frame.f_ctl if last else frame.f_ctl & ~(fc.F_END_SEQUENCE | fc.F_INITIATIVE | fc.F_LAST_SEQUENCE)
        )
        param = frame.param + number * MAX_FRAME_PAYLOAD if frame.r_ctl == fc.R_DATA else frame.param
        # Each of the first three words holds an 8-bit field and a 24-bit one (R_CTL, CS_CTL, TYPE; D_ID,
        # S_ID, F_CTL).
        head = struct.pack(
            ">IIIBBHHHI",
            frame.r_ctl << 24 | frame.d_id,
            frame.s_id,
            frame.type << 24 | f_ctl,
            0,
            0,
            number,
            frame.ox_id,
            frame.rx_id,
            param,
        )
        result.append(head + piece + bytes(-len(piece) % 4))
    return result


class PcapTrace:
    """A `FrameSink` that writes pcap-ng."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        self._block(1, struct.pack("<HHI", 1, 0, 0))

    def _block(self, kind: int, body: bytes) -> None:
        body += bytes(-len(body) % 4)
        size = len(body) + 12
        self._out.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))

    def frame(self, when: float, frame: Frame) -> None:
        """See FrameSink."""
        stamp = int(when * 1e6)
        for raw in wire_frames(frame):
            # FCoE wants the frame check sequence; readers of captures do not verify it.
            packet = FCOE + raw + bytes(4) + END_OF_FRAME
            self._block(
                6,
                struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(packet), len(packet)) + packet,
            )


class Both:
    """Sends frames to two sinks."""

    def __init__(self, first: TextTrace | PcapTrace, second: TextTrace | PcapTrace) -> None:
        self._sinks = (first, second)

    def frame(self, when: float, frame: Frame) -> None:
        """See FrameSink."""
        for sink in self._sinks:
            sink.frame(when, frame)
