# SPDX-License-Identifier: GPL-2.0-or-later
"""The fabric's name server: registrations of ports and answers to FC-GS directory requests."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

DIRECTORY, MANAGEMENT = 0xFC, 0xFA
ACCEPT, REJECT = 0x8002, 0x8001
REASON_UNABLE, REASON_UNSUPPORTED = 0x09, 0x0B
EXPLAIN_PORT_ID, EXPLAIN_NOT_REGISTERED = 0x01, 0x07
FCP_TYPE = 0x08
N_PORT_TYPE = 0x01

CT_NAMES = {
    0x0100: "GA_NXT",
    0x0112: "GPN_ID",
    0x0113: "GNN_ID",
    0x0117: "GFT_ID",
    0x0118: "GSPN_ID",
    0x011A: "GPT_ID",
    0x011C: "GFPN_ID",
    0x011F: "GFF_ID",
    0x0127: "GPSC",
    0x0171: "GID_FT",
    0x0172: "GPN_FT",
    0x0173: "GNN_FT",
    0x01A1: "GID_PT",
    0x0200: "RHBA",
    0x0211: "RPA",
    0x0213: "RNN_ID",
    0x0217: "RFT_ID",
    0x0218: "RSPN_ID",
    0x021F: "RFF_ID",
    0x0239: "RSNN_NN",
    0x0300: "DA_ID",
}


@dataclass(slots=True)
class Entry:
    """What is registered for one port."""

    port_id: int
    wwpn: int
    wwnn: int
    types: bytes = bytes(32)
    features: int = 0
    symbolic: bytes = b""

    def has_type(self, fc4: int) -> bool:
        """The port registered this FC-4 type (bit map of 32-bit big-endian words)."""
        word = struct.unpack_from(">I", self.types, fc4 // 32 * 4)[0]
        return bool(word >> fc4 % 32 & 1)


def ct_header(request: bytes, code: int, reason: int = 0, explanation: int = 0) -> bytes:
    """CT header of an answer."""
    return request[:8] + struct.pack(">HHBBBB", code, 0, 0, reason, explanation, 0)


def ct_request(code: int, payload: bytes = b"", subtype: int = 2) -> bytes:
    """A directory request."""
    return struct.pack(">BxxxBBxxHHxxxx", 1, DIRECTORY, subtype, code, 0xFFFF) + payload


class NameServer:
    """Data base of the ports on a switch."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        """``changed(port_id)`` is called when what others may ask about a port changes."""
        self._changed = changed
        self.entries: dict[int, Entry] = {}
        self._queries: dict[int, Callable[[bytes], bytes | None]] = {
            0x0100: self._next,
            0x0112: self._port_name,
            0x0113: self._node_name,
            0x0117: self._types_of,
            0x011F: self._features_of,
            0x0171: self._ids_of_type,
            0x0172: self._port_names_of_type,
            0x0173: self._node_names_of_type,
            0x01A1: self._ids_of_port_type,
        }
        self._registrations: dict[int, Callable[[bytes], bool]] = {
            0x0213: self._known,
            0x0217: self._register_types,
            0x0218: self._register_symbolic,
            0x021F: self._register_features,
            0x0239: lambda request: True,
            0x0300: self._deregister,
        }

    def add(self, port_id: int, wwpn: int, wwnn: int) -> None:
        """A port logged in to the fabric."""
        self.entries[port_id] = Entry(port_id, wwpn, wwnn)
        self._changed(port_id)

    def remove(self, port_id: int) -> None:
        """A port left the fabric."""
        if self.entries.pop(port_id, None) is not None:
            self._changed(port_id)

    def handle(self, request: bytes) -> bytes:
        """Answer a request."""
        if len(request) < 16:
            return ct_header(request.ljust(16, b"\0"), REJECT, REASON_UNABLE)
        code = int.from_bytes(request[8:10], "big")
        if request[4] != DIRECTORY:
            return ct_header(request, REJECT, REASON_UNSUPPORTED)
        request = request.ljust(24, b"\0")
        if code in self._queries:
            found = self._queries[code](request)
            if found is None:
                return ct_header(request, REJECT, REASON_UNABLE, EXPLAIN_NOT_REGISTERED)
            return ct_header(request, ACCEPT) + found
        if code in self._registrations:
            if self._registrations[code](request):
                return ct_header(request, ACCEPT)
            return ct_header(request, REJECT, REASON_UNABLE, EXPLAIN_PORT_ID)
        return ct_header(request, REJECT, REASON_UNSUPPORTED)

    def _entry(self, request: bytes) -> Entry | None:
        return self.entries.get(int.from_bytes(request[17:20], "big"))

    def _known(self, request: bytes) -> bool:
        return self._entry(request) is not None

    def _register_types(self, request: bytes) -> bool:
        entry = self._entry(request)
        if entry is None:
            return False
        types = request[20:52].ljust(32, b"\0")
        if types != entry.types:
            entry.types = types
            self._changed(entry.port_id)
        return True

    def _register_features(self, request: bytes) -> bool:
        entry = self._entry(request)
        if entry is None:
            return False
        features = request[22]
        if features != entry.features:
            entry.features = features
            self._changed(entry.port_id)
        return True

    def _register_symbolic(self, request: bytes) -> bool:
        entry = self._entry(request)
        if entry is not None:
            entry.symbolic = request[21 : 21 + request[20]]
        return entry is not None

    def _deregister(self, request: bytes) -> bool:
        entry = self._entry(request)
        if entry is not None:
            entry.types, entry.features = bytes(32), 0
            self._changed(entry.port_id)
        return entry is not None

    def _sorted(self, fc4: int | None = None) -> list[Entry]:
        found = (self.entries[key] for key in sorted(self.entries))
        return [entry for entry in found if fc4 is None or entry.has_type(fc4)]

    @staticmethod
    def _listing(entries: list[Entry], make: Callable[[Entry], bytes]) -> bytes | None:
        """Control byte, id and what ``make`` adds; the last one is marked."""
        if not entries:
            return None
        parts = [
            bytes((0x80 if entry is entries[-1] else 0,)) + entry.port_id.to_bytes(3, "big") + make(entry)
            for entry in entries
        ]
        return b"".join(parts)

    def _ids_of_type(self, request: bytes) -> bytes | None:
        return self._listing(self._sorted(request[19]), lambda entry: b"")

    def _ids_of_port_type(self, request: bytes) -> bytes | None:
        return self._listing(self._sorted(), lambda entry: b"")

    def _port_names_of_type(self, request: bytes) -> bytes | None:
        return self._listing(
            self._sorted(request[19]), lambda entry: bytes(4) + entry.wwpn.to_bytes(8, "big")
        )

    def _node_names_of_type(self, request: bytes) -> bytes | None:
        return self._listing(
            self._sorted(request[19]), lambda entry: bytes(4) + entry.wwnn.to_bytes(8, "big")
        )

    def _port_name(self, request: bytes) -> bytes | None:
        entry = self._entry(request)
        return entry.wwpn.to_bytes(8, "big") if entry else None

    def _node_name(self, request: bytes) -> bytes | None:
        entry = self._entry(request)
        return entry.wwnn.to_bytes(8, "big") if entry else None

    def _types_of(self, request: bytes) -> bytes | None:
        entry = self._entry(request)
        return entry.types if entry else None

    def _features_of(self, request: bytes) -> bytes | None:
        entry = self._entry(request)
        # One nibble per FC-4 type, type 8 is the last of the second word.
        return bytes(7) + bytes((entry.features & 0xF,)) + bytes(120) if entry else None

    def _next(self, request: bytes) -> bytes | None:
        asked = int.from_bytes(request[17:20], "big")
        entries = self._sorted()
        if not entries:
            return None
        entry = next((entry for entry in entries if entry.port_id > asked), entries[0])
        name = bytes((len(entry.symbolic),)) + entry.symbolic.ljust(255, b"\0")
        return (
            bytes((N_PORT_TYPE,))
            + entry.port_id.to_bytes(3, "big")
            + entry.wwpn.to_bytes(8, "big")
            + name
            + entry.wwnn.to_bytes(8, "big")
            + bytes(256)
            + bytes(8)
            + bytes(16)
            + (8).to_bytes(4, "big")
            + entry.types
        )
