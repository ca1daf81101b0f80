# SPDX-License-Identifier: GPL-2.0-or-later
"""The text keys of iSCSI: RFC 7143 clauses 12.1 and 13, RFC 7144, and what RFC 3720 had before. Pure.

One table. Negotiation goes by it, docs/iscsi-keys.md is made from it (`python -m pyscstadmin.iscsi.keys`),
and the tests go through it row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, Flag, auto

__all__ = ["KEYS", "Key", "Kind", "Rule", "Stage", "page"]


class Kind(Enum):
    """What a value looks like."""

    LIST = "list"
    BOOLEAN = "Yes or No"
    NUMBER = "number"
    NAME = "iSCSI name"
    TEXT = "text"
    BINARY = "binary"


class Rule(Enum):
    """How a value comes about of two."""

    FIRST = "the first of the list that is acceptable"
    AND = "Yes if both say so"
    OR = "Yes if one says so"
    MIN = "the smaller"
    MAX = "the larger"
    DECLARED = "declared"
    STEP = "a step of the authentication"
    OBSOLETE = "obsolete"


class Stage(Flag):
    """When a key may be sent."""

    LEADING = auto()
    SECURITY = auto()
    OPERATIONAL = auto()
    FULL = auto()
    LOGIN = SECURITY | OPERATIONAL
    ALWAYS = SECURITY | OPERATIONAL | FULL


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `senders`: I, T or both. `low`, `high`: of a number. `values`: what a list may hold that is
    known here. `default` holds where nobody says anything. `session`: it means nothing in discovery sessions.
    `offer`: the target brings it up by itself where the default does not suit it. `answer`: for the page.
    """

    name: str
    clause: str
    kind: Kind
    rule: Rule
    stage: Stage
    senders: str = "IT"
    default: str = ""
    low: int = 0
    high: int = 0
    values: tuple[str, ...] = ()
    session: bool = False
    offer: bool = False
    answer: str = ""

    @property
    def declarative(self) -> bool:
        """It is said, not agreed on: nobody answers."""
        return self.rule is Rule.DECLARED

    @property
    def negotiated(self) -> bool:
        """Both have a say."""
        return self.rule in (Rule.FIRST, Rule.AND, Rule.OR, Rule.MIN, Rule.MAX)


def _number(name: str, clause: str, low: int, high: int, default: int, rule: Rule, **rest: object) -> Key:
    stage = Stage.OPERATIONAL
    return Key(name, clause, Kind.NUMBER, rule, stage, "IT", str(default), low, high, **rest)  # type: ignore[arg-type]


def _switch(name: str, clause: str, rule: Rule, **rest: object) -> Key:
    stage = Stage.OPERATIONAL
    return Key(name, clause, Kind.BOOLEAN, rule, stage, "IT", "Yes", session=True, **rest)  # type: ignore[arg-type]


def _step(name: str, clause: str, kind: Kind, senders: str = "IT", answer: str = "") -> Key:
    return Key(name, clause, kind, Rule.STEP, Stage.SECURITY, senders, answer=answer)


def _said(
    name: str, clause: str, kind: Kind, stage: Stage, senders: str, answer: str, default: str = ""
) -> Key:
    return Key(name, clause, kind, Rule.DECLARED, stage, senders, default, answer=answer)


_BYTES = (1 << 24) - 1
_OTHER = "another method: refused (0201h)"

_TABLE = (
    Key(
        "AuthMethod",
        "12.1",
        Kind.LIST,
        Rule.FIRST,
        Stage.SECURITY,
        "IT",
        "None",
        values=("CHAP", "None"),
        answer="CHAP where the target's `auth` says so, else None; Reject and 0201h if that is not offered",
    ),
    _step(
        "CHAP_A", "12.1.3", Kind.LIST, answer="the strongest of the target's `chap_algorithms` in the list"
    ),
    _step("CHAP_I", "12.1.3", Kind.NUMBER, answer="random; the initiator's is answered with CHAP_R"),
    _step("CHAP_C", "12.1.3", Kind.BINARY, answer="random; the initiator's must not be one of the target's"),
    _step("CHAP_N", "12.1.3", Kind.TEXT, answer="the user that proves the target's identity"),
    _step("CHAP_R", "12.1.3", Kind.BINARY, answer="after the initiator's own is found right"),
    _step("KRB_AP_REQ", "12.1.1", Kind.BINARY, "I", _OTHER),
    _step("KRB_AP_REP", "12.1.1", Kind.BINARY, "T", _OTHER),
    _step("SRP_U", "12.1.2", Kind.TEXT, "I", _OTHER),
    _step("TargetAuth", "12.1.2", Kind.BOOLEAN, "I", _OTHER),
    _step("SRP_GROUP", "12.1.2", Kind.LIST, "IT", _OTHER),
    _step("SRP_s", "12.1.2", Kind.BINARY, "T", _OTHER),
    _step("SRP_A", "12.1.2", Kind.BINARY, "I", _OTHER),
    _step("SRP_B", "12.1.2", Kind.BINARY, "T", _OTHER),
    _step("SRP_M", "12.1.2", Kind.BINARY, "I", _OTHER),
    _step("SRP_HM", "12.1.2", Kind.BINARY, "T", _OTHER),
    Key(
        "HeaderDigest",
        "13.1",
        Kind.LIST,
        Rule.FIRST,
        Stage.OPERATIONAL,
        "IT",
        "None",
        values=("CRC32C", "None"),
        offer=True,
        answer="what the parameter `header_digest` allows; None in discovery sessions",
    ),
    Key(
        "DataDigest",
        "13.1",
        Kind.LIST,
        Rule.FIRST,
        Stage.OPERATIONAL,
        "IT",
        "None",
        values=("CRC32C", "None"),
        offer=True,
        answer="what the parameter `data_digest` allows; None in discovery sessions",
    ),
    _number(
        "MaxConnections", "13.2", 1, 65535, 1, Rule.MIN, session=True, answer="1: several paths are sessions"
    ),
    _said("SendTargets", "13.3", Kind.TEXT, Stage.FULL, "I", "the targets; in a session with one, that one"),
    _said(
        "TargetName", "13.4", Kind.NAME, Stage.LEADING, "I", "0203h if there is none such for the initiator"
    ),
    _said("InitiatorName", "13.5", Kind.NAME, Stage.LEADING, "I", "0207h if it is missing"),
    _said("TargetAlias", "13.6", Kind.TEXT, Stage.ALWAYS, "T", "the target's `alias`"),
    _said("InitiatorAlias", "13.7", Kind.TEXT, Stage.ALWAYS, "I", "taken note of"),
    _said(
        "TargetAddress", "13.8", Kind.TEXT, Stage.ALWAYS, "T", "in redirections, and in discovery sessions"
    ),
    _said(
        "TargetPortalGroupTag",
        "13.9",
        Kind.NUMBER,
        Stage.LOGIN,
        "T",
        "in the first answer to the login of a normal session",
    ),
    _switch("InitialR2T", "13.10", Rule.OR, offer=True, answer="as the parameter `initial_r2t`"),
    _switch("ImmediateData", "13.11", Rule.AND, offer=True, answer="as the parameter `immediate_data`"),
    Key(
        "MaxRecvDataSegmentLength",
        "13.12",
        Kind.NUMBER,
        Rule.DECLARED,
        Stage.OPERATIONAL | Stage.FULL,
        "IT",
        "8192",
        512,
        _BYTES,
        answer="the target's own is the parameter `max_recv_data_segment_length`; 8192 in discovery sessions",
    ),
    _number(
        "MaxBurstLength",
        "13.13",
        512,
        _BYTES,
        262144,
        Rule.MIN,
        session=True,
        offer=True,
        answer="at most the parameter `max_burst_length`",
    ),
    _number(
        "FirstBurstLength",
        "13.14",
        512,
        _BYTES,
        65536,
        Rule.MIN,
        session=True,
        offer=True,
        answer="at most the parameter `first_burst_length`, and MaxBurstLength",
    ),
    _number("DefaultTime2Wait", "13.15", 0, 3600, 2, Rule.MAX, answer="2 or more"),
    _number(
        "DefaultTime2Retain", "13.16", 0, 3600, 20, Rule.MIN, answer="0: a session ends with its connection"
    ),
    _number(
        "MaxOutstandingR2T",
        "13.17",
        1,
        65535,
        1,
        Rule.MIN,
        session=True,
        answer="at most the parameter `max_outstanding_r2t`",
    ),
    _switch("DataPDUInOrder", "13.18", Rule.OR, answer="Yes"),
    _switch("DataSequenceInOrder", "13.19", Rule.OR, answer="Yes"),
    _number(
        "ErrorRecoveryLevel", "13.20", 0, 2, 0, Rule.MIN, answer="0: who loses a connection logs in anew"
    ),
    Key(
        "SessionType",
        "13.21",
        Kind.TEXT,
        Rule.DECLARED,
        Stage.LEADING,
        "I",
        "Normal",
        values=("Discovery", "Normal"),
        answer="0209h for another one",
    ),
    Key(
        "TaskReporting",
        "13.23",
        Kind.LIST,
        Rule.FIRST,
        Stage.OPERATIONAL,
        "IT",
        "RFC3720",
        values=("RFC3720",),
        session=True,
        answer="RFC3720",
    ),
    _number(
        "iSCSIProtocolLevel",
        "13.24, RFC 7144",
        0,
        31,
        1,
        Rule.MIN,
        session=True,
        answer="at most 2",
    ),
    *(
        Key(name, "13.25", kind, Rule.OBSOLETE, Stage.OPERATIONAL, "IT", answer="Reject")
        for name, kind in (
            ("IFMarker", Kind.BOOLEAN),
            ("OFMarker", Kind.BOOLEAN),
            ("IFMarkInt", Kind.NUMBER),
            ("OFMarkInt", Kind.NUMBER),
        )
    ),
    _said("X#NodeArchitecture", "13.26", Kind.TEXT, Stage.OPERATIONAL, "IT", "NotUnderstood; never sent"),
)

KEYS = {key.name: key for key in _TABLE}

_WHEN = (
    (Stage.LEADING, "first request"),
    (Stage.SECURITY, "security"),
    (Stage.OPERATIONAL, "operational"),
    (Stage.FULL, "full feature"),
)


def _range(key: Key) -> str:
    if key.kind is Kind.NUMBER and key.high:
        return f"{key.low}-{key.high}"
    return ", ".join(key.values) or key.kind.value


def _rows() -> Iterator[str]:
    for key in _TABLE:
        when = ", ".join(name for stage, name in _WHEN if stage in key.stage)
        senders = " and ".join({"I": "initiator", "T": "target"}[who] for who in key.senders)
        cells = (
            key.name,
            key.clause,
            _range(key),
            key.default or "-",
            key.rule.value,
            when,
            senders,
            key.answer,
        )
        yield f"| {' | '.join(cells)} |"


def page() -> str:
    """docs/iscsi-keys.md."""
    head = ("Key", "Clause", "Values", "Default", "Result", "When", "Sent by", "Here")
    return "\n".join(
        (
            "# Text keys of iSCSI",
            "",
            "Made from pyscstadmin/iscsi/keys.py by `python -m pyscstadmin.iscsi.keys`. Clauses are those of",
            "RFC 7143. A parameter is a file in `params/` of a target. Keys that are not in this table are",
            "answered NotUnderstood; a value that the key cannot have is answered Reject, and the default",
            "holds.",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *_rows(),
            "",
        )
    )


if __name__ == "__main__":
    print(page(), end="")
