# SPDX-License-Identifier: GPL-2.0-or-later
"""A small iSNS server, written from RFC 4171: it knows entities, portals, iSCSI nodes and portal groups, and
refuses whatever is not as clauses 5.1 to 5.6 want it. Its codec is not the daemon's.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

__all__ = ["CLIENT", "FIRST", "LAST", "REPLACE", "SERVER", "Entity", "Registry", "Request", "Server", "tlv"]

CLIENT, SERVER, REPLACE, LAST, FIRST = 0x8000, 0x4000, 0x1000, 0x0800, 0x0400
REG, QRY, DEREG = 1, 2, 4
FORMAT, INVALID, BAD_QUERY, UNKNOWN, ABSENT, UNAUTHORIZED, VERSION, UNSUPPORTED, BAD_DEREG = (
    2,
    3,
    5,
    6,
    7,
    8,
    10,
    15,
    22,
)

ENTITY, PROTOCOL, PERIOD, ADDRESS, PORT, NODE, TYPE = 1, 2, 6, 16, 17, 32, 33
GROUP_NODE, GROUP_ADDRESS, GROUP_PORT, TAG = 48, 49, 50, 51
KEYS = {ENTITY: (ENTITY,), ADDRESS: (ADDRESS, PORT), NODE: (NODE,)}
# What belongs to an object besides its keys; of those, what a client may not say is not here (6.1).
OWN = {ENTITY: (2, 3, 5, 6), ADDRESS: (18, 19, 20, 23), NODE: (33, 34, 35, 42)}
TEXTS = {1: 256, 18: 256, 32: 224, 34: 256, 48: 224}
NUMBERS = (2, 5, 6, 17, 19, 20, 23, 33, 35, 50, 51)

Tlv = tuple[int, bytes]
Place = tuple[bytes, bytes]


class Bad(Exception):
    """A request that is refused, with this status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def tlv(tag: int, value: bytes) -> bytes:
    """An attribute."""
    return struct.pack(">II", tag, len(value)) + value


def name(value: str) -> bytes:
    """A text as it is sent."""
    data = value.encode() + b"\0"
    return data + bytes(-len(data) % 4)


def place(ip: str, port: int) -> Place:
    """The keys of a portal."""
    if ":" in ip:
        return IPv6Address(ip).packed, port.to_bytes(4, "big")
    return bytes(10) + b"\xff\xff" + IPv4Address(ip).packed, port.to_bytes(4, "big")


@dataclass
class Request:
    """A whole message of a client."""

    function: int
    flags: int
    transaction: int
    payload: bytes
    pdus: int = 1

    def attributes(self) -> list[Tlv]:
        """All of it, each checked."""
        found, data = [], self.payload
        while data:
            if len(data) < 8:
                raise Bad(FORMAT, "half an attribute")
            tag, length = struct.unpack_from(">II", data)
            if length % 4 or length > len(data) - 8:
                raise Bad(FORMAT, f"attribute {tag} of {length} bytes")
            found.append((tag, data[8 : 8 + length]))
            self._check(*found[-1])
            data = data[8 + length :]
        return found

    @staticmethod
    def _check(tag: int, value: bytes) -> None:
        if tag == 0 and value:
            raise Bad(FORMAT, "a delimiter with a value")
        if not value:
            return
        if tag in TEXTS:
            text, nul, padding = value.partition(b"\0")
            if not nul or padding.strip(b"\0") or len(padding) > 3 or len(value) > TEXTS[tag]:
                raise Bad(FORMAT, f"attribute {tag} is no text: {value!r}")
            try:
                text.decode()
            except UnicodeDecodeError:
                raise Bad(FORMAT, f"attribute {tag} is no UTF-8") from None
        elif tag in NUMBERS and len(value) != 4:
            raise Bad(FORMAT, f"attribute {tag} is no number")
        elif tag in (3, ADDRESS, GROUP_ADDRESS) and len(value) != 16:
            raise Bad(FORMAT, f"attribute {tag} is no address")


@dataclass
class Entity:
    """A network entity, and what is in it. `groups`: no tag is None."""

    attributes: dict[int, bytes] = field(default_factory=dict)
    nodes: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    portals: dict[Place, dict[int, bytes]] = field(default_factory=dict)
    groups: dict[tuple[bytes, Place], bytes | None] = field(default_factory=dict)

    def reachable(self) -> dict[str, dict[str, int]]:
        """Portal group tags, by target and by `ADDRESS:PORT` or `[ADDRESS]:PORT`."""
        found: dict[str, dict[str, int]] = {}
        for (node, portal), tag in self.groups.items():
            if tag is not None and node in self.nodes and portal in self.portals:
                ip = IPv6Address(portal[0])
                host = str(ip.ipv4_mapped) if ip.ipv4_mapped else f"[{ip}]"
                at = f"{host}:{int.from_bytes(portal[1], 'big')}"
                found.setdefault(node.rstrip(b"\0").decode(), {})[at] = int.from_bytes(tag, "big")
        return found


class Registry:
    """What is registered. `period`: for how long a registration is good. `blind`: no node shares a discovery
    domain with itself.
    """

    def __init__(self, period: int = 120) -> None:
        self.entities: dict[bytes, Entity] = {}
        self.period = period
        self.blind = False

    def handle(self, request: Request) -> tuple[int, bytes]:
        """Status and attributes of the answer."""
        try:
            attributes = request.attributes()
            if not attributes or attributes[0][0] != NODE or not attributes[0][1]:
                raise Bad(ABSENT, "who asks?")
            if (0, b"") not in attributes:
                raise Bad(FORMAT, "no delimiter")
            at = attributes.index((0, b""))
            source, key, rest = attributes[0][1], attributes[1:at], attributes[at + 1 :]
            if request.function == REG:
                return 0, self._register(source, key, rest, bool(request.flags & REPLACE))
            if request.function == DEREG:
                return 0, self._deregister(source, key, rest)
            if request.function == QRY:
                return 0, self._query(source, key, rest)
            raise Bad(UNSUPPORTED, f"function {request.function}")
        except Bad as bad:
            return bad.status, b""

    def owner(self, node: bytes) -> Entity | None:
        """The entity of a node."""
        return next((entity for entity in self.entities.values() if node in entity.nodes), None)

    # DevAttrReg (5.6.5.1).

    def _register(self, source: bytes, key: list[Tlv], rest: list[Tlv], replace: bool) -> bytes:
        if [tag for tag, _ in key] != [ENTITY] or not key[0][1]:
            raise Bad(INVALID, "this server wants an entity for a key")
        eid = key[0][1]
        if eid.startswith(b"isns:") or eid != eid.lower():
            raise Bad(INVALID, "an entity of that name")
        objects = list(_objects(rest))
        if not objects or objects[0].key != (ENTITY, (eid,)):
            raise Bad(FORMAT, "the key is not the first object")
        if len({one.key for one in objects}) != len(objects) or any(
            one.key[0] == ENTITY for one in objects[1:]
        ):
            raise Bad(FORMAT, "an object twice, or two entities")
        old = self.entities.get(eid)
        entity = Entity() if old is None or replace else old
        if old is None and (len(objects) == 1 or PROTOCOL not in objects[0].values):
            raise Bad(INVALID, "a new entity of nothing")
        mine = {one.key[1][0] for one in objects if one.key[0] == NODE}
        if source not in mine and (old is None or source not in old.nodes):
            raise Bad(UNAUTHORIZED, "that is not the source's")
        for node in mine:
            if self.owner(node) not in (None, old):
                raise Bad(INVALID, "another entity has that node")
        for one in objects:
            one.put(entity)
        for node in entity.nodes:
            for portal in entity.portals:
                entity.groups.setdefault((node, portal), (1).to_bytes(4, "big"))
        self.entities[eid] = entity
        entity.attributes[PERIOD] = self.period.to_bytes(4, "big")
        said = tlv(PERIOD, entity.attributes[PERIOD])
        return tlv(ENTITY, eid) + tlv(0, b"") + tlv(ENTITY, eid) + said

    # DevDereg (5.6.5.4).

    def _deregister(self, source: bytes, key: list[Tlv], rest: list[Tlv]) -> bytes:
        if key or not rest:
            raise Bad(FORMAT, "a key, or nothing")
        entity = self.owner(source)
        if entity is None:
            raise Bad(UNKNOWN, "a source that is none")
        for kind, values in _keys(rest):
            if kind == ENTITY:
                if self.entities.get(values[0]) not in (None, entity):
                    raise Bad(UNAUTHORIZED, "that is not the source's")
                self.entities.pop(values[0], None)
            elif kind == NODE:
                entity.nodes.pop(values[0], None)
            else:
                entity.portals.pop((values[0], values[1]), None)
        for group in list(entity.groups):
            if group[0] not in entity.nodes and group[1] not in entity.portals:
                del entity.groups[group]
        for eid, one in list(self.entities.items()):
            if not one.nodes and not one.portals:
                del self.entities[eid]
        return tlv(0, b"")

    # DevAttrQry (5.6.5.2), of nodes only.

    def _query(self, source: bytes, key: list[Tlv], rest: list[Tlv]) -> bytes:
        if len(key) != 1 or key[0][0] not in (NODE, TYPE) or any(value for _, value in rest):
            raise Bad(BAD_QUERY, "this server knows queries of nodes only")
        if self.owner(source) is None:
            raise Bad(UNKNOWN, "a source that is none")
        said = b""
        for entity in self.entities.values():
            for node, values in entity.nodes.items():
                if key[0] in ((NODE, node), (TYPE, values.get(TYPE))) and not (self.blind and node == source):
                    there = {NODE: node, **values}
                    said += b"".join(tlv(tag, there[tag]) for tag, _ in rest if tag in there)
        return tlv(*key[0]) + tlv(0, b"") + said


def _keys(attributes: list[Tlv]) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """Keys of objects and nothing else: kind, values."""
    while attributes:
        tags = KEYS.get(attributes[0][0], ())
        if not tags or tuple(tag for tag, _ in attributes[: len(tags)]) != tags:
            raise Bad(BAD_DEREG, f"attribute {attributes[0][0]} is no key")
        yield tags[0], tuple(value for _, value in attributes[: len(tags)])
        attributes = attributes[len(tags) :]


@dataclass
class _Object:
    """An object of a registration, and its portal groups: what is at the other end, and the tag."""

    key: tuple[int, tuple[bytes, ...]]
    values: dict[int, bytes] = field(default_factory=dict)
    groups: list[tuple[tuple[bytes, ...], bytes | None]] = field(default_factory=list)

    def put(self, entity: Entity) -> None:
        """Into an entity, or over what is there."""
        kind, values = self.key
        if kind == ENTITY:
            entity.attributes.update(self.values)
        elif kind == NODE:
            if TYPE not in self.values and values[0] not in entity.nodes:
                raise Bad(INVALID, "a node of no type")
            entity.nodes.setdefault(values[0], {}).update(self.values)
        else:
            entity.portals.setdefault((values[0], values[1]), {}).update(self.values)
        for other, tag in self.groups:
            whole = (*values, *other) if kind == NODE else (*other, *values)
            entity.groups[whole[0], (whole[1], whole[2])] = tag


def _objects(attributes: list[Tlv]) -> Iterator[_Object]:
    """Each with what is its own (5.6.4)."""
    at = 0
    while at < len(attributes):
        tags = KEYS.get(attributes[at][0], ())
        if not tags or tuple(tag for tag, _ in attributes[at : at + len(tags)]) != tags:
            raise Bad(FORMAT, f"attribute {attributes[at][0]} where an object begins")
        made = _Object((tags[0], tuple(value for _, value in attributes[at : at + len(tags)])))
        if not all(made.key[1]):
            raise Bad(FORMAT, "a key without a value")
        at += len(tags)
        while at < len(attributes) and attributes[at][0] in OWN[tags[0]]:
            if attributes[at][0] in made.values:
                raise Bad(FORMAT, "an attribute twice")
            made.values[attributes[at][0]] = attributes[at][1]
            at += 1
        at = _groups(made, attributes, at)
        yield made


def _groups(made: _Object, attributes: list[Tlv], at: int) -> int:
    """Tags, each with the nodes of a portal or the portals of a node that have it."""
    others = {ADDRESS: (GROUP_NODE,), NODE: (GROUP_ADDRESS, GROUP_PORT)}.get(made.key[0], ())
    while others and at < len(attributes) and attributes[at][0] == TAG:
        tag = attributes[at][1] or None
        at += 1
        first = at
        while at < len(attributes) and tuple(one for one, _ in attributes[at : at + len(others)]) == others:
            made.groups.append((tuple(value for _, value in attributes[at : at + len(others)]), tag))
            at += len(others)
        if at == first:
            raise Bad(FORMAT, "a portal group tag of nothing")
    return at


class Server:
    """It listens. `requests`: what has come. `spoil` changes the bytes of an answer; None: none is sent.
    `room`: bytes of an answer in one PDU.
    """

    def __init__(self, registry: Registry | None = None, port: int = 0, host: str = "127.0.0.1") -> None:
        self.registry = registry or Registry()
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.spoil: Callable[[bytes], bytes | None] = lambda answer: answer
        self.room = 0xFFFC
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """It is gone; what it knew is kept in its registry."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            while True:
                request = self._message(connection)
                self.requests.append(request)
                status, attributes = self.registry.handle(request)
                self.statuses.append(status)
                answer = self.spoil(self._answer(request, status.to_bytes(4, "big") + attributes))
                if answer is not None:
                    connection.sendall(answer)
        self._open.discard(connection)

    @staticmethod
    def _exactly(connection: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            chunk = connection.recv(length - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def _message(self, connection: socket.socket) -> Request:
        """One, of however many PDUs. What is no message ends the connection."""
        whole: Request | None = None
        while True:
            header = struct.unpack(">HHHHHH", self._exactly(connection, 12))
            version, function, length, flags, transaction, sequence = header
            payload = self._exactly(connection, length)
            if whole is None:
                whole = Request(function, flags, transaction, b"", 0)
            ok = version == 1 and not length % 4 and flags & CLIENT and not flags & (SERVER | 0x23FF)
            ok = ok and (function, transaction) == (whole.function, whole.transaction)
            ok = ok and sequence == whole.pdus and bool(flags & FIRST) == (sequence == 0)
            if not ok:
                self.statuses.append(FORMAT)
                raise EOFError
            whole.payload += payload
            whole.pdus += 1
            if flags & LAST:
                return whole

    def _answer(self, request: Request, payload: bytes) -> bytes:
        pieces = [payload[at : at + self.room] for at in range(0, len(payload), self.room)]
        made = b""
        for number, piece in enumerate(pieces):
            flags = SERVER | FIRST * (number == 0) | LAST * (number == len(pieces) - 1)
            fields = 1, request.function | 0x8000, len(piece), flags, request.transaction, number
            made += struct.pack(">HHHHHH", *fields) + piece
        return made
