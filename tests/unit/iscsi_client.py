# SPDX-License-Identifier: GPL-2.0-or-later
"""An initiator's part of a login, for the unit tests: it makes requests of keys and reads the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from pyscstadmin.iscsi.chap import Challenges, digest
from pyscstadmin.iscsi.login import Discovery, LoggedIn, Login, Refused, Step
from pyscstadmin.iscsi.negotiate import pairs_of, text_of
from pyscstadmin.iscsi.pdu import HEADER, LoginRequest, LoginResponse, sizes
from pyscstadmin.iscsi.policy import Access, Address, Connection, Group, Policy, Portal, Target, User

TARGET = "iqn.2026-11.org.example:disk"
INITIATOR = "iqn.1993-08.org.debian:01:abc"
ISID = bytes.fromhex("00023d000001")
SECRET, OTHER_SECRET = b"a secret of 21 bytes.", b"quite another secret"
NAMES = [("InitiatorName", INITIATOR), ("SessionType", "Normal"), ("TargetName", TARGET)]
DISCOVER = [("InitiatorName", INITIATOR), ("SessionType", "Discovery")]

Pairs = Sequence[tuple[str, str]]


def access(patterns: Sequence[str] = (), own: bool = True) -> Access:
    """A target with a LUN of its own, or with a group for some initiators."""
    luns = ("0 0 disk",)
    return Access(luns if own else (), (Group("some", 0, tuple(patterns), luns),) if patterns else ())


def target(name: str = TARGET, **fields: object) -> Target:
    """A target that anybody may use by portal `here`."""
    given = {"access": access(), "portals": frozenset(("here",)), **fields}
    return Target(name, **given)  # type: ignore[arg-type]


def policy(*targets: Target, **fields: object) -> Policy:
    """What there is, by default one target and one portal."""
    here = Portal("here", "*", addresses=(Address(ip_address("10.0.0.5"), "eth0"),))
    given = {"targets": targets or (target(),), "portals": {"here": here}, **fields}
    return Policy(**given)  # type: ignore[arg-type]


def chap_policy(mutual: bool = False, **fields: object) -> Policy:
    """A target that asks for CHAP: user `it`, and `me` if the target can prove itself."""
    users = (User("it"), *([User("me", "out")] if mutual else []))
    secrets = {"it": SECRET, "me": OTHER_SECRET}
    known = {user.name: secrets[user.name] for user in users}
    given = {"auth": "chap", "users": users, **fields}
    return policy(target(TARGET, **given), secret=lambda where, user: known.get(user))


def came(local: str = "10.0.0.5", interface: str = "eth0", portal: str = "here") -> Connection:
    """A connection to one of our addresses."""
    return Connection(portal, Address(ip_address(local), interface), 3260, "10.0.0.77")


class Dice:
    """Random bytes that are the same each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, length: int) -> bytes:
        self.count += 1
        return (self.count.to_bytes(4, "big") * (length // 4 + 1))[:length]


def split(pdu: bytes) -> tuple[bytes, bytes]:
    """Header and data of a PDU that is whole."""
    header, size = pdu[:HEADER], sizes(pdu)
    assert size.rest == len(pdu) - HEADER
    return header, pdu[HEADER + size.additional :][: size.data]


def response(pdu: bytes) -> LoginResponse:
    """A login response."""
    return LoginResponse.parse(*split(pdu))


@dataclass
class Initiator:
    """One login, driven request by request against the state machine."""

    policy: Policy = field(default_factory=policy)
    connection: Connection = field(default_factory=came)
    challenges: Challenges = field(default_factory=lambda: Challenges(Dice()))
    stage: int = 0
    tsih: int = 0
    cid: int = 0
    isid: bytes = ISID
    end: LoggedIn | Discovery | Refused | None = None
    last: LoginResponse | None = None

    def __post_init__(self) -> None:
        self.login = Login(self.policy, self.connection, self.challenges, Dice())

    def request(self, data: bytes, next: int | None = None, more: bool = False) -> LoginRequest:
        """A request of this login; `next` None: the stage remains."""
        transit = next is not None
        fields = (self.isid, self.tsih, 77, self.cid, 5, 0)
        return LoginRequest(transit, more, self.stage, next or 0, *fields, data=data)

    def feed(self, request: LoginRequest) -> Step:
        """Send a request as it is."""
        step = self.login.feed(*split(request.build()))
        if step.send:
            self.last = response(step.send)
        if step.end is not None:
            self.end = step.end
            if isinstance(step.end, LoggedIn):
                self.last = response(step.end.response)
        return step

    def say(self, pairs: Pairs = (), next: int | None = None, more: bool = False) -> dict[str, str]:
        """Send keys; returns those of the answer."""
        self.feed(self.request(text_of(pairs), next, more))
        assert self.last is not None
        if self.last.transit:
            self.stage = self.last.next
        return dict(pairs_of(self.last.data))

    @property
    def status(self) -> int:
        """Of the last answer."""
        assert self.last is not None
        return self.last.status

    def refused(self) -> Refused:
        """How it has ended, which is not well."""
        assert isinstance(self.end, Refused), self.end
        return self.end

    def logged_in(self) -> LoggedIn:
        """How it has ended."""
        assert isinstance(self.end, LoggedIn), self.end
        return self.end


def proof(answer: dict[str, str], user: str = "it", secret: bytes = SECRET) -> list[tuple[str, str]]:
    """CHAP_N and CHAP_R to what the target asks."""
    algorithm, identifier = int(answer["CHAP_A"]), int(answer["CHAP_I"])
    challenge = bytes.fromhex(answer["CHAP_C"][2:])
    return [("CHAP_N", user), ("CHAP_R", "0x" + digest(algorithm, identifier, secret, challenge).hex())]
