# SPDX-License-Identifier: GPL-2.0-or-later
"""Login (RFC 7143 6.3): by the book with :func:`login`, or request by request with :class:`Login`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.iscsi import pdu
from tests.iscsi.chap import Chap
from tests.iscsi.initiator import PATIENCE, Session, Terms, want
from tests.iscsi.pdu import CONTINUES, FINAL, Op, Pdu

SECURITY, OPERATIONAL, FULL = 0, 1, 3
ISID = bytes.fromhex("400000000001")
INITIATOR = "iqn.2026-11.test:initiator"
OFFER: Mapping[str, str] = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxConnections": "1",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "1048576",
    "FirstBurstLength": "262144",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "8",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
}
DISCOVERY = ("HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength", "ErrorRecoveryLevel")


class Refused(Exception):
    """The target has refused the login; *status*: class and detail as one number."""

    def __init__(self, status: int, keys: dict[str, str]) -> None:
        super().__init__(f"status {status:04x}, {keys}")
        self.status = status
        self.keys = keys


@dataclass
class Login:
    """One connection's login; what has been said by the target is in *said*."""

    session: Session
    initiator: str = INITIATOR
    target: str | None = None  # None: a discovery session
    isid: bytes = ISID
    tsih: int = 0
    cid: int = 0
    said: dict[str, str] = field(default_factory=dict)
    split_at: int | None = None  # text is cut into pieces of so many bytes

    def names(self) -> dict[str, str]:
        """What comes first."""
        if self.target is None:
            return {"InitiatorName": self.initiator, "SessionType": "Discovery"}
        return {"InitiatorName": self.initiator, "SessionType": "Normal", "TargetName": self.target}

    def request(self, csg: int, nsg: int | None, data: bytes, more: bool = False) -> Pdu:
        """A Login request; *nsg*: the stage wanted next, None: T is not set; *more*: C."""
        flags = csg << 2 | (0 if nsg is None else FINAL | nsg) | (CONTINUES if more else 0)
        one = self.session.request(Op.LOGIN, True, flags=flags, data=data)
        one.lun = self.isid + struct.pack(">H", self.tsih)
        one.itt = 0
        one.fields[20] = self.cid << 16
        return one

    def send(self, csg: int, nsg: int | None, data: bytes) -> Pdu:
        """Send text, in pieces if so wanted; the answer's first PDU."""
        step = self.split_at or max(len(data), 1)
        pieces = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
        for piece in pieces[:-1]:
            self.session.send(self.request(csg, None, piece, more=True))
            answer = self.receive()
            want(not answer.data and not answer.final, "an answer before the text is over")
        self.session.send(self.request(csg, nsg, pieces[-1]))
        return self.receive()

    def receive(self) -> Pdu:
        """A Login response. Raises Refused."""
        answer = self.session.receive()
        want(answer.op == Op.LOGIN_RESPONSE, f"{answer} is no answer to a login")
        want(answer.lun[:6] == self.isid, "ISID")
        status = answer.get(36) >> 16
        if status:
            raise Refused(status, pdu.split(answer.data))
        return answer

    def ask(self, csg: int, nsg: int | None, keys: Mapping[str, str]) -> tuple[Pdu, dict[str, str]]:
        """Send keys; the last PDU of the answer, and its keys, whatever number of PDUs it took."""
        answer = self.send(csg, nsg, pdu.join(keys))
        text = answer.data
        while answer.flags & CONTINUES:
            want(not answer.final, "T with C")
            self.session.send(self.request(csg, None, b""))
            answer = self.receive()
            text += answer.data
        found = pdu.split(text)
        self.said |= found
        return answer, found

    def secure(self, chap: Chap | None) -> int:
        """The security stage; returns the next one."""
        offer = {"AuthMethod": "CHAP,None" if chap is None else "CHAP"}
        answer, said = self.ask(SECURITY, OPERATIONAL if chap is None else None, self.names() | offer)
        if chap is not None:
            want(said.get("AuthMethod") == "CHAP", f"{said}")
            _, said = self.ask(SECURITY, None, chap.offer())
            answer, said = self.ask(SECURITY, OPERATIONAL, chap.respond(said))
            chap.check(said)
        want(answer.final, "the stage goes on")
        return answer.flags & 3

    def operate(self, offer: Mapping[str, str]) -> Pdu:
        """The operational stage, to its end."""
        keys: Mapping[str, str] = offer
        while True:
            answer, said = self.ask(OPERATIONAL, FULL, keys)
            if answer.final:
                want(answer.flags & 3 == FULL, "next stage")
                return answer
            keys = {}
            want(not said or set(said) <= {*offer, *self.said}, f"{said}")

    def terms(self, offer: Mapping[str, str]) -> Terms:
        """What has been agreed on: the offer and the answers to it."""

        def number(key: str, usual: int) -> int:
            return int(self.said.get(key, offer.get(key, str(usual))), 0)

        def yes(key: str, forced: str) -> bool:
            # Who hears the value that decides need not answer (6.2.2).
            unsaid = forced if offer.get(key) == forced else "Yes"
            return self.said.get(key, unsaid) == "Yes"

        burst = number("MaxBurstLength", 262144)
        return Terms(
            header_digest=self.said.get("HeaderDigest") == "CRC32C",
            data_digest=self.said.get("DataDigest") == "CRC32C",
            max_xmit=int(self.said.get("MaxRecvDataSegmentLength", "8192"), 0),
            max_recv=int(offer.get("MaxRecvDataSegmentLength", "8192"), 0),
            max_burst=burst,
            first_burst=min(number("FirstBurstLength", 65536), burst),
            initial_r2t=yes("InitialR2T", "Yes"),
            immediate_data=yes("ImmediateData", "No"),
            max_outstanding_r2t=number("MaxOutstandingR2T", 1),
        )

    def full(self, last: Pdu, offer: Mapping[str, str]) -> Session:
        """The full-feature phase begins."""
        self.tsih = int.from_bytes(last.lun[6:], "big")
        self.session.terms = self.terms(offer)
        self.session.digests = True
        return self.session


def connect(address: tuple[str, int], patience: float = PATIENCE) -> Session:
    """A connection that has not logged in."""
    return Session(socket.create_connection(address, patience), patience=patience)


def login(
    address: tuple[str, int],
    target: str | None,
    offer: Mapping[str, str] | None = None,
    chap: Chap | None = None,
    skip_security: bool = False,
    patience: float = PATIENCE,
    by: Callable[[tuple[str, int], float], Session] = connect,
    **more: object,
) -> Session:
    """Log in; *target* None: for discovery; *offer*: over what is offered usually; *by*: how to connect.

    Raises Refused.
    """
    keys = {**OFFER, **(offer or {})}
    if target is None:
        keys = {key: value for key, value in keys.items() if key in DISCOVERY or key in (offer or {})}
    made = by(address, patience)
    try:
        one = Login(made, target=target, **more)  # type: ignore[arg-type]
        made.terms.max_recv = int(keys.get("MaxRecvDataSegmentLength", "8192"))
        stage = OPERATIONAL if skip_security else one.secure(chap)
        last = one.operate(keys | one.names() if skip_security else keys) if stage == OPERATIONAL else None
        want(last is not None, "the operational stage is left out")
        assert last is not None
        return one.full(last, keys)
    except BaseException:
        made.close()
        raise
