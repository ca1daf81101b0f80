# SPDX-License-Identifier: GPL-2.0-or-later
"""Text Requests (RFC 7143 11.10, 11.11): how a text comes in pieces and is answered in pieces, in discovery
sessions and in others. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyscstadmin.iscsi.keys import KEYS
from pyscstadmin.iscsi.negotiate import TEXT_MAX, BadText, Pair, integer, pairs_of, text_of
from pyscstadmin.iscsi.pdu import NO_TAG, TextRequest

__all__ = ["INVALID_FIELD", "PROTOCOL_ERROR", "Asked", "Said", "Sessions", "Texts"]

PROTOCOL_ERROR, INVALID_FIELD = 0x04, 0x09

# Of a text in a session that is no discovery's.
SESSION_MAX = 8192

SendTargets = Callable[[str], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class Said:
    """A Text Response but for its numbers. `reject`: there is none, and why; `max_xmit`: bytes that the
    initiator takes in a PDU from now on, 0: as before.
    """

    final: bool = True
    more: bool = False
    transfer_tag: int = NO_TAG
    data: bytes = b""
    reject: int = 0
    max_xmit: int = 0


class Texts:
    """The texts of a connection. `send_targets`: what a value of SendTargets is answered with; `most`: bytes
    of a text, and of a piece of an answer.
    """

    def __init__(self, max_xmit: int, send_targets: SendTargets, most: int = TEXT_MAX) -> None:
        self._max_xmit = max_xmit
        self._send_targets = send_targets
        self._most = most
        self._declared = 0
        self._text = b""
        self._out = b""
        self._tag = NO_TAG
        self._transfer_tag = NO_TAG
        self._tags = 0

    def feed(self, request: TextRequest) -> Said:
        """The next request. Raises `BadText`, and all before is forgotten then."""
        try:
            return self._feed(request)
        except BadText:
            self._text = self._out = b""
            self._transfer_tag = NO_TAG
            raise

    def _feed(self, request: TextRequest) -> Said:
        if request.final and request.more:
            raise BadText("bits F and C in one request")
        if request.transfer_tag == NO_TAG:
            self._text = self._out = b""
        elif (request.tag, request.transfer_tag) != (self._tag, self._transfer_tag):
            return Said(reject=INVALID_FIELD)
        self._tag = request.tag
        if self._out:
            if request.data:
                raise BadText("text while the rest of an answer is awaited")
            return self._answer(request)
        self._text += request.data
        if len(self._text) > self._most:
            raise BadText(f"more than {self._most} bytes of text")
        if request.more:
            return self._answer(request)
        text, self._text = self._text, b""
        self._out = text_of(self._said(pairs_of(text)))
        return self._answer(request)

    def _answer(self, request: TextRequest) -> Said:
        size = min(self._max_xmit, self._most)
        chunk, self._out = self._out[:size], self._out[size:]
        more = bool(self._out)
        final = request.final and not more
        self._transfer_tag = NO_TAG if final else self._new_tag()
        declared, self._declared = self._declared, 0
        return Said(final, more, self._transfer_tag, chunk, max_xmit=declared)

    def _new_tag(self) -> int:
        self._tags = (self._tags + 1) % NO_TAG
        return self._tags

    def _said(self, pairs: list[Pair]) -> Iterator[Pair]:
        seen = set()
        for name, value in pairs:
            if name in seen:
                raise BadText(f"{name} for the second time")
            seen.add(name)
            yield from self._one(name, value)

    def _one(self, name: str, value: str) -> Iterator[Pair]:
        if name == "SendTargets":
            yield from self._send_targets(value)
        elif name == "MaxRecvDataSegmentLength":
            size = integer(value)
            key = KEYS[name]
            if size is None or not key.low <= size <= key.high:
                raise BadText(f"{name}={value[:64]!a}")
            self._max_xmit = self._declared = size
        elif name not in KEYS or name.startswith("X"):
            yield name, "NotUnderstood"
        elif name != "InitiatorAlias":
            yield name, "Reject"


@dataclass(frozen=True, slots=True)
class Asked:
    """A Text Request that the kernel has for somebody to answer. `max_xmit`: bytes that its initiator takes
    in a PDU.
    """

    number: int
    tsih: int
    request: TextRequest
    max_xmit: int


class Sessions:
    """The texts of sessions that are the kernel's. `send_targets`: of the session of this TSIH; None: there
    is none. What is forgotten, by the end of this program at the latest, begins anew.
    """

    def __init__(self, send_targets: Callable[[int], SendTargets | None]) -> None:
        self._send_targets = send_targets
        self._texts: dict[int, Texts] = {}

    def answer(self, asked: Asked) -> Said:
        """What is said to it."""
        texts = self._texts.get(asked.tsih)
        if texts is None:
            send_targets = self._send_targets(asked.tsih)
            if send_targets is None:
                return Said(reject=INVALID_FIELD)
            texts = Texts(asked.max_xmit, send_targets, SESSION_MAX)
            self._texts[asked.tsih] = texts
        try:
            return texts.feed(asked.request)
        except BadText:
            return Said(reject=PROTOCOL_ERROR)

    def forget(self, tsih: int) -> None:
        """The session is gone."""
        self._texts.pop(tsih, None)

    def forget_all(self) -> None:
        """It is not known which are gone."""
        self._texts.clear()
