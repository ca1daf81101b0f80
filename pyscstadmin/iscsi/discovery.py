# SPDX-License-Identifier: GPL-2.0-or-later
"""Discovery sessions (RFC 7143 4.3, appendix C): which targets there are, and how to reach them from where
the initiator is. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from pyscstadmin.iscsi import names
from pyscstadmin.iscsi.login import Discovery
from pyscstadmin.iscsi.negotiate import BadText, Pair
from pyscstadmin.iscsi.pdu import (
    HEADER,
    LogoutRequest,
    LogoutResponse,
    Malformed,
    Opcode,
    Reject,
    TextRequest,
    TextResponse,
    immediate,
    opcode,
    sizes,
)
from pyscstadmin.iscsi.policy import Address, Connection, Policy, Portal, Target
from pyscstadmin.iscsi.text import PROTOCOL_ERROR, Texts

__all__ = ["Answer", "Session", "addresses", "advertised", "own_targets", "told"]

# The commands that an initiator may send ahead, and the longest of them.
WINDOW = 8
PDU_MAX = 8192

_CLOSE_SESSION, _CLOSE_CONNECTION = 0, 1


def _scope(ip: Address) -> tuple[int, str]:
    """What an address has in common with those that can be reached from where it can."""
    kind = "loopback" if ip.ip.is_loopback else "link" if ip.ip.is_link_local else "global"
    return ip.ip.version, kind


def _reachable(address: Address, came: Address) -> bool:
    if _scope(address) != _scope(came):
        return False
    return not came.ip.is_link_local or address.interface == came.interface


def _spelled(address: Address, port: int) -> str:
    # Without the zone, which is a matter of each machine.
    ip = address.ip
    plain = Address(IPv6Address(int(ip))) if ip.version == 6 else address
    return f"{plain}:{port}"


def advertised(portal: Portal) -> str:
    """`advertise` with the port it has, or the portal's."""
    text = portal.advertise
    host, sign, port = text.rpartition(":")
    if text.count(":") > 1 and not text.startswith("["):
        return f"[{text}]:{portal.port}"
    if sign and port.isdigit() and not text.endswith("]"):
        return f"{host}:{port}"
    return f"{text}:{portal.port}"


def addresses(target: Target, policy: Policy, connection: Connection) -> list[str]:
    """Where the target can be reached by who has come by this connection, as in TargetAddress: first the way
    that it has come.
    """
    own = policy.portals.get(connection.portal)
    if own is None:
        return []
    found: dict[str, None] = {}
    if own.name in target.portals:
        came = _spelled(connection.local, connection.port)
        found[advertised(own) if own.advertise else came] = None
    for name in sorted(target.portals & policy.portals.keys()):
        portal = policy.portals[name]
        if portal.advertise:
            found[advertised(portal)] = None
        elif portal.netns == own.netns:
            there = (address for address in portal.addresses if _reachable(address, connection.local))
            found |= dict.fromkeys(_spelled(address, portal.port) for address in there)
    return list(found)


def own_targets(
    policy: Policy, initiator: str, name: str, connection: Connection, value: str
) -> Iterator[Pair]:
    """What SendTargets says in a session with the target of that name: it is all there is to be told of there
    (RFC 7143 appendix C).
    """
    if value and names.canonical(value) != name:
        yield "SendTargets", "Reject"
        return
    yield "TargetName", name
    for target in policy.visible(initiator, connection.portal):
        if target.port[0] == name:
            here = addresses(target, policy, connection)
            yield from (("TargetAddress", f"{address},{target.port[1]}") for address in here)


def told(policy: Policy, initiator: str, connection: Connection) -> dict[str, list[str]]:
    """What an initiator that has come by this connection is told: names of targets, and where each is, with
    its portal group tag.
    """
    shown: dict[str, list[str]] = {}
    for target in policy.visible(initiator, connection.portal):
        name, group = target.port
        here = addresses(target, policy, connection)
        shown.setdefault(name, []).extend(f"{address},{group}" for address in here)
    return shown


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send; `over`: the connection is closed then, and why."""

    send: bytes = b""
    over: str = ""


class Session:
    """A discovery session from its login on."""

    def __init__(self, policy: Policy, connection: Connection, login: Discovery) -> None:
        self._policy = policy
        self._connection = connection
        self._login = login
        self._stat_sn = login.stat_sn
        self._exp_cmd_sn = login.exp_cmd_sn
        self._texts = Texts(login.max_xmit, self._targets)

    def feed(self, header: bytes, data: bytes) -> Answer:
        """The next PDU, its data without padding. Of one longer than `PDU_MAX` the header is enough."""
        if len(header) != HEADER:
            return Answer(b"", "the connection ended")
        size = sizes(header)
        if size.data > PDU_MAX or size.data != len(data):
            return Answer(b"", f"{size.data} bytes of data")
        code = opcode(header)
        if code not in (Opcode.TEXT, Opcode.LOGOUT) or size.additional:
            return self._reject(header, PROTOCOL_ERROR)
        if not self._in_turn(header):
            return Answer()
        try:
            if code == Opcode.TEXT:
                return self._on_text(header, TextRequest.parse(header, data))
            return self._on_logout(LogoutRequest.parse(header, data))
        except (Malformed, BadText) as error:
            rejected = self._reject(header, PROTOCOL_ERROR)
            return Answer(rejected.send, str(error))

    def _in_turn(self, header: bytes) -> bool:
        """Commands go by number; what is before or behind that is not there."""
        number = int.from_bytes(header[24:28], "big")
        if immediate(header):
            return True
        if number != self._exp_cmd_sn:
            return False
        self._exp_cmd_sn = number + 1 & 0xFFFFFFFF
        return True

    def _numbers(self) -> tuple[int, int, int]:
        """StatSN, ExpCmdSN and MaxCmdSN of the next answer."""
        stat_sn, self._stat_sn = self._stat_sn, self._stat_sn + 1 & 0xFFFFFFFF
        return stat_sn, self._exp_cmd_sn, self._exp_cmd_sn + WINDOW - 1 & 0xFFFFFFFF

    def _reject(self, header: bytes, reason: int) -> Answer:
        return Answer(Reject(reason, *self._numbers(), header).build())

    # Text.

    def _on_text(self, header: bytes, request: TextRequest) -> Answer:
        said = self._texts.feed(request)
        if said.reject:
            return self._reject(header, said.reject)
        tags = request.tag, said.transfer_tag
        answer = TextResponse(said.final, said.more, *tags, *self._numbers(), request.lun, said.data)
        return Answer(answer.build())

    def _targets(self, value: str) -> Iterator[Pair]:
        wanted = names.canonical(value)
        if value != "All" and names.why_no_name(wanted):
            yield "SendTargets", "Reject"
            return
        shown = told(self._policy, self._login.initiator, self._connection)
        for name, here in shown.items():
            if value == "All" or name == wanted:
                yield "TargetName", name
                yield from (("TargetAddress", address) for address in here)

    # Logout.

    def _on_logout(self, request: LogoutRequest) -> Answer:
        response = 0
        if request.reason not in (_CLOSE_SESSION, _CLOSE_CONNECTION):
            response = 2
        elif request.reason == _CLOSE_CONNECTION and request.cid != self._login.cid:
            response = 1
        answer = LogoutResponse(response, request.tag, *self._numbers()).build()
        return Answer(answer, "" if response else "logged out")
