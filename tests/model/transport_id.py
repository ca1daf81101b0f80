# SPDX-License-Identifier: GPL-2.0-or-later
"""TransportIDs and parameter lists as the standard has them (SPC-4 7.6.4, 6.16)."""

from __future__ import annotations

import re

from tests.model.pr import INSUFFICIENT_RESOURCES, PARAMETER_LIST_LENGTH, Action, Sense, invalid_in_list

FIBRE_CHANNEL, SRP, ISCSI, SAS = 0x0, 0x4, 0x5, 0x6
MOST_IDS = 1024
FORMS = {FIBRE_CHANNEL: (8, 8), SRP: (8, 16), SAS: (4, 8)}
NAME = rb"[^\x00-\x1f,]{1,223}"
PORT_NAME = re.compile(rb"(" + NAME + rb"),i,0x([0-9a-f]{1,12})", re.IGNORECASE)


def fixed(protocol: int, number: bytes) -> bytes:
    """Of a transport whose ports have numbers."""
    at, length = FORMS[protocol]
    assert len(number) == length
    return (bytes([protocol]) + bytes(at - 1) + number).ljust(24, b"\0")


def iscsi(name: str, isid: str = "") -> bytes:
    """Of an iSCSI initiator's port, or of the initiator itself if there is no ISID."""
    text = name.lower().encode() + (f",i,0x{isid.lower():0>12}".encode() if isid else b"") + b"\0"
    text = text.ljust(max(20, -(-len(text) // 4) * 4), b"\0")
    return bytes([ISCSI | (0x40 if isid else 0), 0]) + len(text).to_bytes(2, "big") + text


def parse(data: bytes) -> tuple[bytes, int] | None:
    """The TransportID that *data* begins with, in its one form, and the bytes that it takes."""
    if len(data) < 24:
        return None
    protocol, form = data[0] & 0xF, data[0] >> 6
    if protocol == ISCSI:
        return parse_iscsi(data, form)
    if protocol not in FORMS or form:
        return None
    at, length = FORMS[protocol]
    return fixed(protocol, data[at : at + length]), 24


def parse_iscsi(data: bytes, form: int) -> tuple[bytes, int] | None:
    """Null-terminated, padded to a multiple of four, at least 20 bytes."""
    total = 4 + int.from_bytes(data[2:4], "big")
    text, end, _ = data[4:total].partition(b"\0")
    if total < 24 or total % 4 or total > len(data) or not end or form > 1:
        return None
    if form == 0:
        named = re.fullmatch(NAME, text)
        return (iscsi_bytes(text, b""), total) if named else None
    port = PORT_NAME.fullmatch(text)
    return (iscsi_bytes(port[1], port[2]), total) if port else None


def iscsi_bytes(name: bytes, isid: bytes) -> bytes:
    """`iscsi`, whatever the bytes are."""
    return iscsi(name.decode("latin-1"), isid.decode()) if name.isascii() else iscsi_raw(name, isid)


def iscsi_raw(name: bytes, isid: bytes) -> bytes:
    """Letters beyond ASCII stay as they are."""
    text = name.lower() + (b",i,0x" + isid.lower().rjust(12, b"0") if isid else b"") + b"\0"
    text = text.ljust(max(20, -(-len(text) // 4) * 4), b"\0")
    return bytes([ISCSI | (0x40 if isid else 0), 0]) + len(text).to_bytes(2, "big") + text


def refusal(action: int, data: bytes) -> Sense | None:
    """Why a parameter list is refused before anything is looked up, if it is."""
    if len(data) < 24:
        return PARAMETER_LIST_LENGTH
    if action == Action.REGISTER_AND_MOVE:
        return move_refusal(data)
    spec_i_pt = bool(data[20] & 8)
    if not spec_i_pt:
        return None if len(data) == 24 else PARAMETER_LIST_LENGTH
    if action != Action.REGISTER:
        return invalid_in_list(20, 3)
    if len(data) < 28 or 28 + int.from_bytes(data[24:28], "big") > len(data):
        return PARAMETER_LIST_LENGTH
    return ids_refusal(data[: 28 + int.from_bytes(data[24:28], "big")])


def ids_refusal(data: bytes) -> Sense | None:
    """A list of TransportIDs that ends with its length."""
    at = 28
    number = 0
    while at < len(data):
        if number == MOST_IDS:
            return INSUFFICIENT_RESOURCES
        number += 1
        found = parse(data[at:])
        if found is None:
            return invalid_in_list(at)
        at += found[1]
    return None


def move_refusal(data: bytes) -> Sense | None:
    """One TransportID, of the length that is said."""
    length = int.from_bytes(data[20:24], "big")
    if length < 24 or length % 4:
        return invalid_in_list(20)
    if 24 + length > len(data):
        return PARAMETER_LIST_LENGTH
    found = parse(data[24 : 24 + length])
    return None if found and found[1] == length else invalid_in_list(24)
