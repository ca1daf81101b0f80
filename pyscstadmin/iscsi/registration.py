# SPDX-License-Identifier: GPL-2.0-or-later
"""What an iSNS server is told of this machine (RFC 4171 5.6.5): targets, and where each can be reached. Pure.

The machine is one entity. A target is told if it is enabled and has a portal that listens, at addresses that
others can use. Which target is at which address its portal groups say: for each pair there is a tag, or none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, takewhile

from pyscstadmin.iscsi.discovery import advertised
from pyscstadmin.iscsi.isns import (
    DELIMITER,
    ISCSI,
    PORT,
    Attribute,
    Flag,
    Function,
    Message,
    NodeType,
    Tag,
)
from pyscstadmin.iscsi.names import why_no_name
from pyscstadmin.iscsi.policy import Address, Policy, Portal

__all__ = [
    "Endpoint",
    "Node",
    "Registration",
    "deregister",
    "entity_of",
    "granted",
    "query",
    "register",
    "remove",
    "shown",
    "split",
    "wanted",
]

IP = IPv4Address | IPv6Address
NO_TAG = -1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port, and the name of the portal that listens there."""

    ip: IP
    port: int
    name: str = ""

    @property
    def key(self) -> tuple[int, int, int]:
        """What tells it from others, and its place among them."""
        return self.ip.version, int(self.ip), self.port

    def __str__(self) -> str:
        return f"{Address(self.ip)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Node:
    """A target. `tags`: the portal group tag it has at each endpoint that it can be reached at."""

    name: str
    alias: str
    tags: tuple[tuple[Endpoint, int], ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """All of it. `untold`: portals that others are sent to by a name, for which iSNS has no words."""

    entity: str
    nodes: tuple[Node, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    untold: tuple[str, ...] = ()

    def tags(self, endpoint: Endpoint) -> dict[str, int]:
        """The portal group tag of each target there, `NO_TAG` of those that are not there."""
        if endpoint not in self.endpoints:
            return {}
        return {node.name: dict(node.tags).get(endpoint, NO_TAG) for node in self.nodes}


def entity_of(machine_id: str, host: str) -> str:
    """The name of this machine as an entity: the same for ever, and no other's. `machine_id`: of
    /etc/machine-id, which is told to nobody; the host's name is for where there is none.
    """
    if not machine_id.strip():
        return f"scst-{host.lower()}"
    return f"scst-{hashlib.sha256(f'scst-iscsid {machine_id.strip()}'.encode()).hexdigest()[:32]}"


def split(server: str) -> tuple[str, int]:
    """Host and port of `isns_server`, where HOST, HOST:PORT and [IPV6]:PORT are possible."""
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        host, port = server, str(PORT)
    return host.strip("[]"), int(port)


def _here(server: str) -> bool:
    """Whether the server is on this machine, where no address but its own needs to be known."""
    host = split(server)[0]
    ip = _ip(host)
    return host == "localhost" if ip is None else ip.is_loopback


def _ip(text: str) -> IP | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


# Where.


def _addresses(portal: Portal, here: bool) -> Iterator[IP]:
    """The addresses of a portal that mean something to others. Loopback does if it was asked for by address
    and the server is here, too; what is good on one link never does, as iSNS has no word for the link.
    """
    asked = _ip(portal.address)
    for address in portal.addresses:
        ip = address.ip
        if ip.is_loopback and not (here and ip == asked):
            continue
        if not ip.is_link_local and not ip.is_unspecified:
            yield ip


def _rank(portal: Portal) -> int:
    """Of portals at one address and port the connection is the nearest one's."""
    return 2 if portal.address == "*" else 0 if _ip(portal.address.partition("%")[0]) else 1


def _endpoints(portal: Portal, here: bool) -> list[Endpoint] | None:
    """Where others can reach it; None: only by a name. Other network namespaces are other networks."""
    if portal.advertise:
        host, port = split(advertised(portal))
        ip = _ip(host)
        return None if ip is None else [Endpoint(ip, port, portal.name)]
    if portal.netns:
        return []
    return [Endpoint(ip, portal.port, portal.name) for ip in _addresses(portal, here)]


def wanted(entity: str, policy: Policy, listening: Container[str], server: str) -> Registration:
    """What is to be told to a server. `listening`: the names of the portals that do."""
    if not server or not policy.available:
        return Registration(entity)
    owners: dict[tuple[int, int, int], tuple[Endpoint, set[str]]] = {}
    untold = []
    for portal in sorted(policy.portals.values(), key=lambda one: (_rank(one), one.name)):
        found = _endpoints(portal, _here(server)) if portal.name in listening else []
        if found is None:
            untold.append(portal.name)
        for endpoint in found or ():
            _, names = owners.setdefault(endpoint.key, (endpoint, set()))
            # To one address that is for others only, several portals may lead.
            if portal.advertise or not names:
                names.add(portal.name)
    places = [owners[key] for key in sorted(owners)]
    nodes = tuple(_nodes(policy, places))
    used = {endpoint.key for node in nodes for endpoint, _ in node.tags}
    endpoints = tuple(endpoint for endpoint, _ in places if endpoint.key in used)
    return Registration(entity, nodes, endpoints, tuple(sorted(untold)))


def _nodes(policy: Policy, places: list[tuple[Endpoint, set[str]]]) -> Iterator[Node]:
    aliases: dict[str, str] = {}
    tags: dict[str, dict[Endpoint, int]] = {}
    for target in policy.targets:
        name, tag = target.port
        if not target.ready or why_no_name(name):
            continue
        for endpoint, portals in places:
            if portals & target.portals:
                tags.setdefault(name, {}).setdefault(endpoint, tag)
                aliases[name] = aliases.get(name) or target.alias
    for name in sorted(tags):
        yield Node(name, aliases[name], tuple(tags[name].items()))


# Messages.

# What goes into one message: some servers take no longer ones, and answer with all that they were told.
ROOM = 7000
# A portal group in an answer has both its keys.
_GROUP = 48

Attributes = tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What has to be said together. `within`: what goes before it once in a message, the outermost first."""

    said: Attributes
    within: tuple[Attributes, ...] = ()


def _size(attributes: Iterable[Attribute]) -> int:
    return sum(len(one.build()) + _GROUP * (one.tag == Tag.GROUP_NODE) for one in attributes)


def _packed(pieces: Iterable[_Piece]) -> Iterator[Attributes]:
    """What each message says."""
    message: list[Attribute] = []
    size = 0
    within: tuple[Attributes, ...] = ()
    for piece in pieces:
        new = _unsaid(piece, within)
        if message and size + _size(new) > ROOM:
            yield tuple(message)
            message, size, new = [], 0, _unsaid(piece, ())
        message += new
        size += _size(new)
        within = piece.within
    if message:
        yield tuple(message)


def _unsaid(piece: _Piece, within: tuple[Attributes, ...]) -> list[Attribute]:
    """What is to be said, where that is what has been."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(piece.within, within, strict=False)))
    return [*chain.from_iterable(piece.within[same:]), *piece.said]


def register(told: Registration, before: Registration, period: int, replace: bool) -> list[Message]:
    """All of it that a server does not know already (`before`), for so many seconds if it agrees. `replace`:
    what else it has is not so.
    """
    entity = Attribute.text(Tag.ENTITY, told.entity)
    terms = Attribute.number(Tag.PROTOCOL, ISCSI), Attribute.number(Tag.PERIOD, period)
    head = (_source(told), entity, DELIMITER, entity, *terms)
    known = {node.name: node.alias for node in before.nodes}
    nodes = (_node(node) for node in told.nodes if known.get(node.name) != node.alias)
    portals = chain.from_iterable(_portal(endpoint, told, before) for endpoint in told.endpoints)
    first = Flag.CLIENT | (Flag.REPLACE if replace else Flag(0))
    return [
        Message(Function.DEV_ATTR_REG, head + said, Flag.CLIENT if number else first)
        for number, said in enumerate(_packed(chain(nodes, portals)))
    ]


def _source(told: Registration) -> Attribute:
    """Who speaks is a node of the entity."""
    return Attribute.text(Tag.NODE, told.nodes[0].name)


def _node(node: Node) -> _Piece:
    # An empty alias takes the place of an earlier one.
    kind, alias = Attribute.number(Tag.NODE_TYPE, NodeType.TARGET), Attribute.text(Tag.NODE_ALIAS, node.alias)
    return _Piece((Attribute.text(Tag.NODE, node.name), kind, alias))


def _key(endpoint: Endpoint) -> Attributes:
    address = Attribute.address(Tag.PORTAL_ADDRESS, endpoint.ip)
    return address, Attribute.number(Tag.PORTAL_PORT, endpoint.port)


def _portal(endpoint: Endpoint, told: Registration, before: Registration) -> Iterator[_Piece]:
    """A portal, and its group of each target. A server takes the tag 1 for what is not mentioned, so that
    those that are not there are, too: with no tag.
    """
    portal = (*_key(endpoint), Attribute.text(Tag.PORTAL_NAME, endpoint.name))
    known = before.tags(endpoint)
    tags = {name: tag for name, tag in told.tags(endpoint).items() if known.get(name) != tag}
    for name in sorted(tags, key=lambda name: (tags[name], name)):
        none = tags[name] == NO_TAG
        group = Attribute(Tag.GROUP_TAG) if none else Attribute.number(Tag.GROUP_TAG, tags[name])
        yield _Piece((Attribute.text(Tag.GROUP_NODE, name),), (portal, (group,)))


def remove(told: Registration, now: Registration) -> list[Message]:
    """What was told and is not so any more is taken back. `now` is registered before."""
    names = {node.name for node in now.nodes}
    keys = {endpoint.key for endpoint in now.endpoints}
    nodes = ((Attribute.text(Tag.NODE, node.name),) for node in told.nodes if node.name not in names)
    endpoints = (_key(endpoint) for endpoint in told.endpoints if endpoint.key not in keys)
    return [_dereg(now, said) for said in _packed(map(_Piece, chain(nodes, endpoints)))]


def deregister(told: Registration) -> Message:
    """Nothing is so any more."""
    return _dereg(told, (Attribute.text(Tag.ENTITY, told.entity),))


def _dereg(source: Registration, said: Attributes) -> Message:
    return Message(Function.DEV_DEREG, (_source(source), DELIMITER, *said))


def query(told: Registration) -> Message:
    """Whether it is there: the least that is a sign of life, too."""
    source = _source(told)
    return Message(Function.DEV_ATTR_QRY, (source, source, DELIMITER, Attribute(Tag.NODE)))


def shown(answer: Message, told: Registration) -> bool:
    """Whether that was the answer. Raises `Malformed`."""
    return _source(told) in answer.parts()[1]


def granted(answer: Message, asked: int) -> int:
    """For how many seconds a registration is good: as was asked, or as the server has it instead."""
    period = answer.first(Tag.PERIOD)
    return (period.as_number() if period else 0) or asked
