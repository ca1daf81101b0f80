# SPDX-License-Identifier: GPL-2.0-or-later
"""Text of login and text requests (RFC 7143 clause 6), and the keys that two sides agree on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pyscstadmin.iscsi.keys import KEYS, Key, Kind, Rule
from pyscstadmin.iscsi.policy import Params

__all__ = ["PDU_MAX", "TEXT_MAX", "BadText", "Negotiation", "Pair", "Values", "pairs_of", "text_of"]

# Bytes of text in one PDU before anything else is declared, and of a whole negotiation.
PDU_MAX = 8192
TEXT_MAX = 64 << 10

TIME2WAIT = 2
PROTOCOL_LEVEL = 2

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9.+@_#-]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}")
_SIMPLE_MAX, _LARGE_MAX = 255, 8192
_ANSWERS = ("Reject", "Irrelevant", "NotUnderstood")

Pair = tuple[str, str]


class BadText(Exception):
    """A protocol error in a text; the text of this is for the administrator."""


def pairs_of(text: bytes) -> list[Pair]:
    """The keys and values of a text. That the last one ends in a NUL is not insisted on. Raises `BadText`."""
    pairs = []
    for item in text.split(b"\0"):
        if not item:
            continue
        try:
            key, sign, value = item.decode("utf-8").partition("=")
        except UnicodeDecodeError:
            raise BadText("the text is no UTF-8") from None
        if not sign:
            raise BadText(f"{key[:64]!a} is no key=value")
        known = KEYS.get(key)
        if known is None and not _KEY.fullmatch(key):
            raise BadText(f"{key[:64]!a} cannot be a key")
        large = known is None or known.kind in (Kind.LIST, Kind.BINARY)
        if len(item) - len(key) - 1 > (_LARGE_MAX if large else _SIMPLE_MAX):
            raise BadText(f"the value of {key} is too long")
        if _CONTROL.search(value):
            raise BadText(f"the value of {key} has control characters")
        pairs.append((key, value))
    return pairs


def text_of(pairs: Iterable[Pair]) -> bytes:
    """The bytes of keys and values."""
    return b"".join(f"{key}={value}\0".encode() for key, value in pairs)


def integer(text: str) -> int | None:
    """A number as RFC 7143 6.1 writes it, None for anything else."""
    if not _NUMBER.fullmatch(text):
        return None
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


@dataclass(frozen=True, slots=True)
class Values:
    """What holds after the login. `max_xmit`: the initiator's MaxRecvDataSegmentLength; `max_recv`: ours."""

    max_xmit: int
    max_recv: int
    max_burst: int
    first_burst: int
    max_outstanding_r2t: int
    initial_r2t: bool
    immediate_data: bool
    header_digest: bool
    data_digest: bool
    protocol_level: int


class Negotiation:
    """The operational keys of one login. Each is settled once."""

    def __init__(self, params: Params, discovery: bool) -> None:
        self._params = params
        self._discovery = discovery
        self._settled: dict[str, str] = {}
        self._offered: dict[str, str] = {}
        self._declared = False
        digests = (("None",), ("None",)) if discovery else (params.header_digest, params.data_digest)
        self._wants: dict[str, tuple[str, ...] | bool | int] = {
            "HeaderDigest": digests[0],
            "DataDigest": digests[1],
            "MaxConnections": 1,
            "InitialR2T": params.initial_r2t,
            "ImmediateData": params.immediate_data,
            "MaxBurstLength": params.max_burst_length,
            "FirstBurstLength": params.first_burst_length,
            "DefaultTime2Wait": TIME2WAIT,
            "DefaultTime2Retain": 0,
            "MaxOutstandingR2T": params.max_outstanding_r2t,
            "DataPDUInOrder": True,
            "DataSequenceInOrder": True,
            "ErrorRecoveryLevel": 0,
            "TaskReporting": ("RFC3720",),
            "iSCSIProtocolLevel": PROTOCOL_LEVEL,
        }

    @property
    def max_recv(self) -> int:
        """What the target can take in one PDU once it has said so."""
        return PDU_MAX if self._discovery else self._params.max_recv_data_segment_length

    @property
    def open(self) -> bool:
        """Something that the target has brought up is not answered."""
        return bool(self._offered)

    def answer(self, pairs: list[Pair]) -> list[Pair]:
        """Settle operational keys of the initiator; returns what is to be answered, in their order. Raises
        `BadText`.
        """
        if self._settled or self._offered:
            return self._settle(pairs)
        answers, settled = _opening(self._params, self._discovery, tuple(pairs))
        self._settled = dict(settled)
        return list(answers)

    def _settle(self, pairs: Sequence[Pair]) -> list[Pair]:
        # What FirstBurstLength can be depends on the other, wherever that stands.
        first = sorted(pairs, key=lambda pair: pair[0] != "MaxBurstLength")
        answers = {name: self._one(KEYS[name], value) for name, value in first}
        return [(name, text) for name, _ in pairs if (text := answers[name]) is not None]

    def offers(self) -> list[Pair]:
        """What the target says by itself after the initiator's first operational keys."""
        if self._declared:
            return []
        self._declared = True
        said = [] if self._discovery else [("MaxRecvDataSegmentLength", str(self.max_recv))]
        for key in KEYS.values():
            if not key.offer or key.name in self._settled or (key.session and self._discovery):
                continue
            wanted = self._result(key, key.default)
            if wanted != key.default:
                self._offered[key.name] = self._proposal(key)
        return said + list(self._offered.items())

    def lacking(self) -> str:
        """Why the session cannot be: an acceptable digest was not agreed on; '' if nothing is in its way."""
        for name in ("HeaderDigest", "DataDigest"):
            accepted = self._wants[name]
            if isinstance(accepted, tuple) and self._value(name) not in accepted:
                return f"{name} must be {' or '.join(accepted)}, and the initiator does not want it"
        return ""

    def values(self) -> Values:
        """What holds now."""
        burst = self._number("MaxBurstLength")
        return Values(
            max_xmit=self._number("MaxRecvDataSegmentLength"),
            max_recv=self.max_recv if self._declared else PDU_MAX,
            max_burst=burst,
            first_burst=min(self._number("FirstBurstLength"), burst),
            max_outstanding_r2t=self._number("MaxOutstandingR2T"),
            initial_r2t=self._value("InitialR2T") == "Yes",
            immediate_data=self._value("ImmediateData") == "Yes",
            header_digest=self._value("HeaderDigest") == "CRC32C",
            data_digest=self._value("DataDigest") == "CRC32C",
            protocol_level=self._number("iSCSIProtocolLevel"),
        )

    def _value(self, name: str) -> str:
        return self._settled.get(name, KEYS[name].default)

    def _number(self, name: str) -> int:
        return integer(self._value(name)) or 0

    def _one(self, key: Key, value: str) -> str | None:
        if key.name in self._offered:
            self._accept(key, value, self._offered.pop(key.name))
            return None
        if key.rule is Rule.OBSOLETE:
            return "Reject"
        if key.declarative:
            self._declare(key, value)
            return None
        if self._discovery and key.session:
            return "Irrelevant"
        result = self._result(key, value)
        self._settled[key.name] = key.default if result == "Reject" else result
        return result

    def _declare(self, key: Key, value: str) -> None:
        if key.kind is Kind.NUMBER:
            size = integer(value)
            if size is None or not key.low <= size <= key.high:
                raise BadText(f"{key.name}={value[:64]!a} is not {key.low}-{key.high}")
            self._settled[key.name] = str(size)

    def _result(self, key: Key, value: str) -> str:
        """What becomes of a value of the initiator and the wish of the target; Reject if it cannot be one."""
        want = self._wants[key.name]
        if isinstance(want, tuple):
            return next((word for word in value.split(",") if word in want), "Reject")
        if isinstance(want, bool):
            if value not in ("Yes", "No"):
                return "Reject"
            said = value == "Yes"
            return "Yes" if (said and want if key.rule is Rule.AND else said or want) else "No"
        number = integer(value)
        if number is None or not key.low <= number <= key.high:
            return "Reject"
        if key.name == "FirstBurstLength" and "MaxBurstLength" in self._settled:
            want = min(want, self._number("MaxBurstLength"))
        return str(max(number, want) if key.rule is Rule.MAX else min(number, want))

    def _proposal(self, key: Key) -> str:
        want = self._wants[key.name]
        if isinstance(want, tuple):
            return ",".join(want)
        if isinstance(want, bool):
            return "Yes" if want else "No"
        return str(want)

    def _accept(self, key: Key, value: str, offered: str) -> None:
        """The initiator's answer to what the target has brought up."""
        if value in _ANSWERS:
            self._settled[key.name] = key.default
            return
        # An answer that is one does not change when the target's wish is applied to it once more.
        legal = value in offered.split(",") if key.kind is Kind.LIST else self._result(key, value) == value
        if not legal:
            raise BadText(f"{key.name}={value[:64]!a} is no answer to {key.name}={offered}")
        self._settled[key.name] = value


@lru_cache(maxsize=32)
def _opening(
    params: Params, discovery: bool, pairs: tuple[Pair, ...]
) -> tuple[Sequence[Pair], Mapping[str, str]]:
    """The answers to the first operational keys, and what they settle. Initiators of one kind all say the
    same, and there may be hundreds of them at once.
    """
    talk = Negotiation(params, discovery)
    return tuple(talk._settle(pairs)), talk._settled
