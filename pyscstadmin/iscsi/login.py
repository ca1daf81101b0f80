# SPDX-License-Identifier: GPL-2.0-or-later
"""The login of one connection (RFC 7143 clauses 6.3 and 11.12): whole PDUs in, bytes to send out. Pure.

`Login.feed` takes a request; it returns what to send, and, at the end, how the login has ended. Whatever
comes in, that is an answer of the standard or the end of the connection, never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pyscstadmin.iscsi import names
from pyscstadmin.iscsi.chap import Challenges, Chap, Random, Wrong
from pyscstadmin.iscsi.keys import KEYS, Stage
from pyscstadmin.iscsi.negotiate import (
    PDU_MAX,
    TEXT_MAX,
    BadText,
    Negotiation,
    Pair,
    Values,
    pairs_of,
    text_of,
)
from pyscstadmin.iscsi.pdu import HEADER, LoginRequest, LoginResponse, Opcode, immediate, opcode, sizes
from pyscstadmin.iscsi.policy import Connection, Params, Policy, Target
from pyscstadmin.iscsi.rules import Obstacle

__all__ = ["PDUS_MAX", "Discovery", "LoggedIn", "Login", "Refused", "Status", "Step"]

# Requests of one stage.
PDUS_MAX = 64

SECURITY, OPERATIONAL, FULL = 0, 1, 3
_STAGES = {SECURITY: Stage.SECURITY, OPERATIONAL: Stage.OPERATIONAL}
# By name, for who asks for each key of each login.
_LEADING = frozenset(key.name for key in KEYS.values() if Stage.LEADING in key.stage)
_ALWAYS = frozenset(key.name for key in KEYS.values() if key.stage is Stage.ALWAYS)
_ALLOWED = {
    number: frozenset(key.name for key in KEYS.values() if key.stage & stage)
    for number, stage in _STAGES.items()
}
_DISCOVERY_TSIH = 1
_FIRST_STAT_SN = 1


class Status(IntEnum):
    """Status-Class and Status-Detail (11.13.5)."""

    SUCCESS = 0x0000
    MOVED = 0x0101
    MOVED_FOR_EVER = 0x0102
    INITIATOR = 0x0200
    AUTHENTICATION = 0x0201
    AUTHORIZATION = 0x0202
    NOT_FOUND = 0x0203
    REMOVED = 0x0204
    VERSION = 0x0205
    CONNECTIONS = 0x0206
    MISSING = 0x0207
    CANNOT_INCLUDE = 0x0208
    SESSION_TYPE = 0x0209
    NO_SESSION = 0x020A
    INVALID = 0x020B
    TARGET = 0x0300
    UNAVAILABLE = 0x0301
    RESOURCES = 0x0302


@dataclass(frozen=True, slots=True)
class Refused:
    """It has failed, or goes on elsewhere. `status` None: the connection is closed without an answer. `rule`:
    one of `RULES`.
    """

    status: Status | None
    reason: str
    initiator: str = ""
    target: str = ""
    user: str = ""
    rule: str = "protocol"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A normal session may begin. `response` is the last answer, which is not sent: whoever makes the session
    does that. `request`: the last one, for an answer that says that nothing came of it. `tsih`: the session
    whose connection this one replaces, 0 for none.
    """

    target: Target
    initiator: str
    connection: Connection
    isid: bytes
    cid: int
    tsih: int
    stat_sn: int
    exp_cmd_sn: int
    values: Values
    response: bytes
    request: LoginRequest
    user: str = ""

    def refused(self, status: Status) -> bytes:
        """The answer instead of `response`."""
        return _answer(self.request, status, self.stat_sn, self.exp_cmd_sn).build()


@dataclass(frozen=True, slots=True)
class Discovery:
    """A discovery session has begun, once the last answer is sent. `no_room`, `no_proof`: those instead."""

    initiator: str
    cid: int
    stat_sn: int
    exp_cmd_sn: int
    max_xmit: int
    user: str = ""
    no_room: bytes = b""
    no_proof: bytes = b""


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes to send, and how the login has ended, if it has."""

    send: bytes = b""
    end: LoggedIn | Discovery | Refused | None = None


class _Refuse(Exception):
    def __init__(
        self, status: Status | None, reason: str, rule: str = "protocol", answer: list[Pair] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.rule = rule
        self.answer = answer or []


def _answer(
    request: LoginRequest,
    status: Status,
    stat_sn: int,
    exp_cmd_sn: int,
    window: int = 1,
    *,
    transit: bool = False,
    more: bool = False,
    tsih: int | None = None,
    data: bytes = b"",
) -> LoginResponse:
    """An answer; `transit`: the next stage is the one that the request asks for."""
    return LoginResponse(
        transit,
        more,
        request.stage,
        request.next if transit else 0,
        request.isid,
        request.tsih if tsih is None else tsih,
        request.tag,
        stat_sn,
        exp_cmd_sn,
        exp_cmd_sn + window - 1 & 0xFFFFFFFF,
        status,
        data=data,
    )


class Login:
    """A connection from its first byte to the full-feature phase. `random`: so many random bytes."""

    def __init__(
        self, policy: Policy, connection: Connection, challenges: Challenges, random: Random
    ) -> None:
        self._policy = policy
        self._connection = connection
        self._challenges = challenges
        self._random = random
        self._first: LoginRequest | None = None
        self._stage = SECURITY
        self._pdus = 0
        self._bytes = 0
        self._text = b""
        self._out = b""
        self._stat_sn = _FIRST_STAT_SN
        self._seen: dict[str, str] = {}
        # The keys of the first text, from then on.
        self._led: frozenset[str] | None = None
        self._target: Target | None = None
        self._chap: Chap | None = None
        self._proved = False
        self._talk = Negotiation(Params(), False)
        self.initiator = ""
        self.wanted = ""

    @property
    def user(self) -> str:
        """Who the initiator says that it is, in CHAP."""
        return self._chap.user if self._chap else ""

    def feed(self, header: bytes, data: bytes) -> Step:
        """The next PDU, its data without padding. Of one longer than `PDU_MAX` the header is enough."""
        try:
            return self._feed(header, data)
        except _Refuse as refusal:
            return self._refuse(header, refusal)
        except BadText as error:
            return self._refuse(header, _Refuse(Status.INITIATOR, str(error)))
        except Wrong as error:
            return self._refuse(header, _Refuse(Status.AUTHENTICATION, str(error), error.rule))

    def give_up(self, reason: str) -> Refused:
        """The login ends for a reason from outside, and nothing is said about it."""
        return Refused(None, reason, self.initiator, self.wanted, self.user, "not-finished")

    def _refuse(self, header: bytes, refusal: _Refuse) -> Step:
        who = (self.initiator, self.wanted, self.user)
        end = Refused(refusal.status, refusal.reason, *who, refusal.rule)
        if refusal.status is None:
            return Step(b"", end)
        request = self._first or _shape(header)
        answer = text_of(refusal.answer)
        return Step(_answer(request, refusal.status, self._stat_sn, request.cmd_sn, data=answer).build(), end)

    # A request as such.

    def _feed(self, header: bytes, data: bytes) -> Step:
        request = self._request(header, data)
        self._pdus += 1
        self._bytes += len(data)
        if self._pdus > PDUS_MAX:
            raise _Refuse(Status.INITIATOR, f"more than {PDUS_MAX} requests in one stage")
        if self._bytes > TEXT_MAX:
            raise _Refuse(Status.INITIATOR, f"more than {TEXT_MAX} bytes of text")
        if self._out:
            if data or request.more:
                raise _Refuse(Status.INITIATOR, "text while the rest of an answer is awaited")
            return self._respond(request)
        self._text += data
        if request.more:
            return self._send(request, b"", False)
        text, self._text = self._text, b""
        self._out = text_of(self._keys(pairs_of(text), request))
        return self._respond(request)

    def _request(self, header: bytes, data: bytes) -> LoginRequest:
        if len(header) != HEADER:
            raise _Refuse(None, "the connection ended")
        if opcode(header) != Opcode.LOGIN:
            first = self._first is None
            raise _Refuse(None if first else Status.INVALID, f"opcode {opcode(header):02X}h in the login")
        if self._first is None and not immediate(header):
            raise _Refuse(None, "a login request without the bit I")
        size = sizes(header)
        if size.additional or size.data > PDU_MAX or size.data != len(data):
            what = "additional headers" if size.additional else f"{size.data} bytes of text"
            raise _Refuse(Status.INITIATOR, f"a login request with {what}")
        request = LoginRequest.parse(header, data)
        if self._first is None:
            self._begin(request)
        else:
            self._continue(request, self._first)
        if request.more and request.transit:
            raise _Refuse(Status.INITIATOR, "bits T and C in one request")
        if request.transit and (request.next not in (OPERATIONAL, FULL) or request.next <= request.stage):
            raise _Refuse(Status.INITIATOR, f"from stage {request.stage} to {request.next}")
        return request

    def _begin(self, request: LoginRequest) -> None:
        if request.version_min > 0:
            raise _Refuse(Status.VERSION, f"version {request.version_min} or later is asked for")
        if request.stage not in (SECURITY, OPERATIONAL):
            raise _Refuse(Status.INITIATOR, f"a login that begins in stage {request.stage}")
        self._first, self._stage = request, request.stage

    def _continue(self, request: LoginRequest, first: LoginRequest) -> None:
        for what in ("isid", "tsih", "tag", "cid"):
            if getattr(request, what) != getattr(first, what):
                raise _Refuse(Status.INITIATOR, f"{what} is another one than before")
        if request.stage != self._stage:
            raise _Refuse(Status.INITIATOR, f"stage {request.stage} instead of {self._stage}")

    # What it says.

    def _keys(self, pairs: list[Pair], request: LoginRequest) -> list[Pair]:
        """What is to be answered to the keys of a whole text."""
        new = self._new(pairs)
        answers = []
        if self._led is None:
            self._led = frozenset(name for name, _ in new)
            answers += self._lead(dict(new), request)
        ours = [(name, value) for name, value in new if self._mine(name)]
        unknown = [(name, "NotUnderstood") for name, _ in new if name not in KEYS or name.startswith("X")]
        if self._stage == OPERATIONAL:
            if not self._proved:
                self._skip()
            answers += [*self._talk.answer(ours), *unknown, *self._talk.offers()]
        else:
            answers += [*self._authenticate(dict(ours), request), *unknown]
        if self._proved and self._target is not None:
            self._redirect(self._target, answers)
        return answers

    def _new(self, pairs: list[Pair]) -> list[Pair]:
        """The keys that were not there before. What is only declared may be said again."""
        new = []
        for name, value in pairs:
            known = KEYS.get(name)
            before = self._seen.get(name)
            if before is None:
                new.append((name, value))
                self._seen[name] = value
            elif known is None or not known.declarative or before != value:
                raise _Refuse(Status.INITIATOR, f"{name} for the second time")
            if known is not None and "I" not in known.senders:
                raise _Refuse(Status.INITIATOR, f"{name}, which only targets send")
        return new

    def _mine(self, name: str) -> bool:
        """Whether a key is one that this stage is about. Raises `_Refuse` where it must not be sent."""
        if name not in KEYS or name.startswith("X"):
            return False
        if name in _LEADING:
            if name not in (self._led or ()):
                raise _Refuse(Status.INITIATOR, f"{name} after the first request")
            return False
        if name not in _ALLOWED[self._stage]:
            raise _Refuse(Status.INITIATOR, f"{name} in the wrong stage")
        return name not in _ALWAYS

    def _lead(self, keys: dict[str, str], request: LoginRequest) -> list[Pair]:
        """The first text: who wants what."""
        self.wanted = keys.get("TargetName", "")
        if "InitiatorName" not in keys:
            raise _Refuse(Status.MISSING, "no InitiatorName")
        self.initiator = names.canonical(keys["InitiatorName"])
        why = names.why_no_name(self.initiator)
        if why:
            raise _Refuse(Status.INITIATOR, f"InitiatorName {self.initiator!a}: {why}")
        kind = keys.get("SessionType", "Normal")
        if kind not in KEYS["SessionType"].values:
            raise _Refuse(Status.SESSION_TYPE, f"SessionType={kind!a}")
        if not self._policy.available:
            raise _Refuse(Status.UNAVAILABLE, "the kernel module is not loaded", "unavailable")
        if kind == "Discovery":
            if request.tsih:
                raise _Refuse(Status.NO_SESSION, f"there is no discovery session {request.tsih}")
            self._talk = Negotiation(Params(), True)
            portal = self._policy.portals.get(self._connection.portal)
            self._require(portal is not None and portal.discovery_auth == "chap")
            return []
        target = self._find(keys, request)
        self._target = target
        self._talk = Negotiation(target.params, False)
        self._require(target.auth == "chap")
        said = [("TargetPortalGroupTag", str(target.port[1]))]
        return said + ([("TargetAlias", target.alias)] if target.alias else [])

    def _find(self, keys: dict[str, str], request: LoginRequest) -> Target:
        if "TargetName" not in keys:
            raise _Refuse(Status.MISSING, "no TargetName")
        self.wanted = names.canonical(keys["TargetName"])
        portal = self._connection.portal
        target = self._policy.find(self.initiator, self.wanted, portal)
        if isinstance(target, Obstacle):
            raise _Refuse(Status.NOT_FOUND, target.reason, target.rule)
        closed = target.obstacle()
        if closed is not None:
            raise _Refuse(Status.UNAVAILABLE, closed.reason, closed.rule)
        if request.tsih:
            self._rejoin(request, target)
        return target

    def _rejoin(self, request: LoginRequest, target: Target) -> None:
        live = self._policy.session(request.tsih)
        port = (target.name, self.initiator, request.isid)
        if live is None or (live.target, names.canonical(live.initiator), live.isid) != port:
            raise _Refuse(Status.NO_SESSION, f"there is no session {request.tsih} of this initiator")
        if live.cid != request.cid:
            raise _Refuse(Status.CONNECTIONS, "a session has one connection")

    # Authentication.

    def _require(self, chap: bool) -> None:
        """CHAP, or nothing."""
        if not chap:
            self._proved = True
            return
        target = "" if self._target is None else self._target.name
        users = self._policy.users if self._target is None else self._target.users
        allowed = self._policy.algorithms if self._target is None else self._target.algorithms
        policy = self._policy
        self._chap = Chap(
            users,
            allowed,
            lambda user: policy.secret(target, user),
            lambda user: policy.user_obstacle(target, user),
            self._challenges,
            self._random,
        )

    def _skip(self) -> None:
        raise _Refuse(Status.AUTHENTICATION, "the initiator skips the authentication", "no-authentication")

    def _authenticate(self, keys: dict[str, str], request: LoginRequest) -> list[Pair]:
        answers: list[Pair] = []
        methods = keys.pop("AuthMethod", None)
        if methods is not None:
            wanted = "CHAP" if self._chap else "None"
            if wanted not in methods.split(","):
                needed = "must authenticate" if self._chap else "cannot authenticate"
                rule = "no-authentication" if self._chap else "authentication-not-wanted"
                raise _Refuse(Status.AUTHENTICATION, f"the initiator {needed} and offers {methods!a}", rule)
            answers.append(("AuthMethod", wanted))
        other = sorted(name for name in keys if not name.startswith("CHAP_"))
        if other:
            raise _Refuse(Status.AUTHENTICATION, f"{', '.join(other)} without that method")
        if self._chap is None:
            if keys:
                raise _Refuse(Status.AUTHENTICATION, "CHAP without that method")
        elif keys:
            if "AuthMethod" not in self._seen:
                raise _Refuse(Status.AUTHENTICATION, "CHAP without AuthMethod")
            answers += self._chap.step(keys)
            self._proved = self._chap.done
        elif methods is None and not self._proved and request.transit:
            self._skip()
        return answers

    def _redirect(self, target: Target, answers: list[Pair]) -> None:
        """To who has shown that he may know: that the target is elsewhere."""
        where = target.redirect or target.redirect_permanent
        if where:
            status = Status.MOVED if target.redirect else Status.MOVED_FOR_EVER
            raise _Refuse(status, f"the target is at {where}", answer=[*answers, ("TargetAddress", where)])

    # Answers.

    def _respond(self, request: LoginRequest) -> Step:
        chunk, self._out = self._out[:PDU_MAX], self._out[PDU_MAX:]
        if self._out:
            return self._send(request, chunk, False, more=True)
        ready = self._proved and not self._talk.open
        if not (request.transit and ready):
            return self._send(request, chunk, False)
        if request.next != FULL:
            self._stage, self._pdus = request.next, 0
            return self._send(request, chunk, True)
        lacking = self._talk.lacking()
        if lacking:
            raise _Refuse(Status.INITIATOR, lacking)
        return self._finish(request, chunk)

    def _send(self, request: LoginRequest, chunk: bytes, transit: bool, more: bool = False) -> Step:
        assert self._first is not None
        first, stat_sn = self._first.cmd_sn, self._stat_sn
        response = _answer(request, Status.SUCCESS, stat_sn, first, transit=transit, more=more, data=chunk)
        self._stat_sn = stat_sn + 1 & 0xFFFFFFFF
        return Step(response.build())

    def _finish(self, request: LoginRequest, chunk: bytes) -> Step:
        assert self._first is not None
        first, values = self._first.cmd_sn, self._talk.values()
        success = (request, Status.SUCCESS, self._stat_sn, first)
        if self._target is None:
            last = _answer(*success, transit=True, tsih=_DISCOVERY_TSIH, data=chunk)
            stat_sn = self._stat_sn + 1 & 0xFFFFFFFF
            wrong = (Status.RESOURCES, Status.AUTHENTICATION)
            no = [_answer(request, status, self._stat_sn, first).build() for status in wrong]
            end = Discovery(self.initiator, request.cid, stat_sn, first, values.max_xmit, self.user, *no)
            return Step(last.build(), end)
        response = _answer(*success, self._target.params.queue_depth, transit=True, data=chunk)
        return Step(
            b"",
            LoggedIn(
                self._target,
                self.initiator,
                self._connection,
                request.isid,
                request.cid,
                request.tsih,
                self._stat_sn,
                first,
                values,
                response.build(),
                request,
                self.user,
            ),
        )


def _shape(header: bytes) -> LoginRequest:
    """A request as far as the fields go that are echoed, whatever it is."""
    code = bytes((Opcode.LOGIN,))
    return LoginRequest.parse(code + header[1:4] + bytes(4) + header[8:HEADER], b"")
