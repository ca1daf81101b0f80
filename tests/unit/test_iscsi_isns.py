# SPDX-License-Identifier: GPL-2.0-or-later
"""iSNS: formats, what a server is told, and how it is kept told, against a server of our own on loopback."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.iscsi import registrar, registration
from pyscstadmin.iscsi.isns import (
    DELIMITER,
    HEADER,
    MESSAGE_MAX,
    Assembly,
    Attribute,
    Flag,
    Function,
    Header,
    Malformed,
    Message,
    Status,
    Tag,
    meaning,
)
from pyscstadmin.iscsi.policy import Address, Policy, Portal
from pyscstadmin.iscsi.registration import ROOM, Endpoint, Node, Registration, entity_of, split, wanted
from tests.iscsi.isns import CLIENT, FIRST, LAST, REPLACE, Registry, Request, Server, name, tlv
from tests.unit.iscsi_client import NAMES, target
from tests.unit.test_iscsi_serve import World, free_port

SEED = int(os.environ.get("SCST_SEED", "20261128"))
A, B = "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b"
NOTHING = Registration("scst-me")

# Formats.

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
VALUES = st.one_of(
    st.builds(Attribute.number, st.sampled_from((2, 6, 17, 33, 51)), st.integers(0, 0xFFFFFFFF)),
    st.builds(
        Attribute.text,
        st.sampled_from((1, 18, 32, 34)),
        st.text(CHARACTERS, max_size=50),
    ),
    st.builds(Attribute.address, st.sampled_from((3, 16, 49)), st.ip_addresses()),
    st.builds(Attribute, st.sampled_from((1, 16, 17, 32, 51)), st.just(b"")),
    st.just(DELIMITER),
)


def assembled(data: bytes) -> list[Message]:
    """The messages in a stream; what is not whole at its end is left out. Raises `Malformed`."""
    found, assembly = [], Assembly()
    while len(data) >= HEADER:
        header = Header.parse(data[:HEADER])
        if len(data) < HEADER + header.length:
            break
        message = assembly.add(header, data[HEADER : HEADER + header.length])
        data = data[HEADER + header.length :]
        if message is not None:
            found.append(message)
    return found


@given(
    st.sampled_from([*Function]),
    st.lists(VALUES, max_size=12),
    st.booleans(),
    st.none() | st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFF),
    st.integers(1, 40),
)
def test_round_trip(
    function: int, attributes: list[Attribute], replaced: bool, status: int | None, number: int, room: int
) -> None:
    """In PDUs of any size, and several messages one after the other."""
    flags = Flag.CLIENT | (Flag.REPLACE if replaced else Flag(0))
    kind = function if status is None else function | 0x8000
    message = Message(kind, tuple(attributes), flags, status, number)
    data = message.pdus(4 * room)
    assert assembled(data * 2) == [message, message]
    request = Request(kind, 0, 0, message.payload() if status is None else message.payload()[4:])
    assert request.attributes() == [(one.tag, one.value) for one in attributes]


@given(
    st.ip_addresses(),
    st.text(CHARACTERS, max_size=40),
    st.integers(0, 0xFFFFFFFF),
)
def test_values(ip: registration.IP, text: str, number: int) -> None:
    mapped = IPv6Address(int(ip)).ipv4_mapped if ip.version == 6 else None
    assert Attribute.address(Tag.PORTAL_ADDRESS, ip).as_address() == (mapped or ip)
    assert Attribute.text(Tag.NODE, text).as_text() == text
    assert Attribute.text(Tag.NODE, text).value == name(text)
    assert Attribute.number(Tag.PERIOD, number).as_number() == number


def test_layout() -> None:
    """Byte by byte (5.1, 5.3)."""
    message = Message(
        Function.DEV_DEREG,
        (
            Attribute.text(Tag.NODE, "iqn"),
            DELIMITER,
            Attribute.address(Tag.PORTAL_ADDRESS, ip_address("10.0.0.1")),
        ),
        transaction=0x1234,
    )
    attributes = (
        "00000020 00000004 69716e0000000000 0000000000000010 00000010 00000000 00000000 0000ffff 0a000001"
    )
    payload = bytes.fromhex(attributes.replace(" ", ""))
    assert message.pdus() == bytes.fromhex("0001 0004 002c 8c00 1234 0000".replace(" ", "")) + payload
    first, last = message.pdus(32)[:HEADER], message.pdus(32)[HEADER + 32 :][:HEADER]
    assert first == bytes.fromhex("000100040020840012340000")
    assert last == bytes.fromhex("00010004000c880012340001")


def pdu(
    payload: bytes = b"", flags: int = 0x4C00, sequence: int = 0, function: int = 0x8001, xid: int = 1
) -> bytes:
    """A PDU that need not be one."""
    return struct.pack(">HHHHHH", 1, function, len(payload), flags, xid, sequence) + payload


OK = bytes(4)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0\2" + pdu(OK)[2:], "version 2"),
        (pdu(b"abc"), "3 bytes of payload"),
        (pdu(OK, 0x6C00), "an authentication block"),
        (pdu(b""), "without a status"),
        (pdu(OK, 0x4800), "no message has begun"),
        (pdu(OK, 0x4400) * 2, "begins within another"),
        (pdu(OK, 0x4C00, 1), "PDU 1 where 0 was due"),
        (pdu(OK, 0x4400) + pdu(OK, 0x4800, 2), "PDU 2 where 1 was due"),
        (pdu(OK, 0x4400) + pdu(OK, 0x4800, 1, xid=2), "of another message"),
        (pdu(OK, 0x4400) + pdu(OK, 0x4800, 1, 0x8002), "of another message"),
        (pdu(OK + b"\0\0\0\1"), "4 bytes behind the last attribute"),
        (pdu(OK + tlv(32, b"abc\0")[:-4]), "says 4 bytes, there are 0"),
        (pdu(OK + tlv(32, b"abc\0")[:4] + b"\xff\xff\xff\xfc" + b"abc\0"), "says 4294967292 bytes"),
        (pdu(OK + tlv(0, bytes(4))), "attribute 0 has 4 bytes"),
        (pdu(OK + tlv(6, bytes(8))), "attribute 6 has 8 bytes"),
        (pdu(OK + tlv(16, bytes(4))), "attribute 16 has 4 bytes"),
        (pdu(OK + tlv(32, bytes(228))), "attribute 32 has 228 bytes"),
        (pdu(OK + tlv(9999, b"ab")[:-2] + b"abcd"), "behind the last|attribute 9999"),
    ],
)
def test_malformed(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        assembled(data)


def test_texts_that_are_none() -> None:
    for value in (b"abcd", b"a\0b\0", b"\xff\0\0\0"):
        with pytest.raises(Malformed):
            Attribute(Tag.NODE, value).as_text()


def test_a_message_has_an_end() -> None:
    """However much is sent without one."""
    assembly, piece = Assembly(), bytes(0xFFFC)
    header = Header(0x8001, len(piece), Flag(0), 1, 0)
    fits = MESSAGE_MAX // len(piece)
    for number in range(fits):
        flags = Flag.FIRST if number == 0 else Flag(0)
        assert assembly.add(replace(header, sequence=number, flags=flags), piece) is None
    with pytest.raises(Malformed, match="more than"):
        assembly.add(replace(header, sequence=fits), piece)


def test_any_change_of_an_answer() -> None:
    """It is an answer all the same, or it is malformed; nothing else happens."""
    stream = random.Random(SEED)
    whole = pdu(
        OK + tlv(1, name("scst-me")) + tlv(0, b"") + tlv(6, bytes(4)) + tlv(32, name(A)) + tlv(16, bytes(16))
    )
    for _ in range(3000):
        data = bytearray(whole * stream.choice((1, 2)))
        for _ in range(stream.randrange(1, 5)):
            at = stream.randrange(len(data))
            data[at : at + stream.choice((0, 1, 1, 4))] = stream.randbytes(stream.choice((0, 1, 1, 4)))
        try:
            for message in assembled(bytes(data)):
                registration.granted(message, 300)
                registration.shown(message, told(node(A)))
                with suppress(Malformed):
                    for one in message.attributes:
                        one.as_text()
        except Malformed:
            pass
        except Exception:
            print(f"seed {SEED}, input {data.hex()}")
            raise


def test_statuses_in_words() -> None:
    assert meaning(Status.INVALID_REGISTRATION) == "invalid registration (3)"
    assert meaning(4711) == "status (4711)"


# What is told.


def at(*texts: str) -> tuple[Address, ...]:
    """Addresses, `10.0.0.5%eth0`."""
    return tuple(Address(ip_address(ip), zone) for ip, _, zone in (text.partition("%") for text in texts))


def endpoint(text: str, portal: str = "p") -> Endpoint:
    """`10.0.0.5`, with the usual port."""
    return Endpoint(ip_address(text), 3260, portal)


def node(iqn: str, *places: str, tag: int = 1, alias: str = "") -> Node:
    """A target at some addresses."""
    return Node(iqn, alias, tuple((endpoint(one), tag) for one in places))


def told(*nodes: Node) -> Registration:
    """These, and the places they are at."""
    places = {one.key: one for each in nodes for one, _ in each.tags}
    return Registration("scst-me", nodes, tuple(places[key] for key in sorted(places)))


def shape(policy: Policy, server: str = "10.9.9.9", *silent: str) -> dict[str, dict[str, int]]:
    """What comes of a policy where all portals listen but some."""
    found = wanted("scst-me", policy, policy.portals.keys() - set(silent), server)
    return {one.name: {str(place): tag for place, tag in one.tags} for one in found.nodes}


def some(*portals: Portal, linked: str = "", ready: bool = True) -> Policy:
    """One target, at all portals or at some of them."""
    names = frozenset(linked.split() or (one.name for one in portals))
    return Policy((target(A, portals=names, ready=ready),), {one.name: one for one in portals})


ALL = Portal(
    "all", addresses=at("127.0.0.1%lo", "10.0.0.5%eth0", "fe80::5%eth0", "2001:db8::5%eth0", "::1%lo")
)


@pytest.mark.parametrize(
    ("policy", "places"),
    [
        (some(ALL), "10.0.0.5:3260 [2001:db8::5]:3260"),
        (some(replace(ALL, port=3261)), "10.0.0.5:3261 [2001:db8::5]:3261"),
        (some(replace(ALL, netns="blue")), ""),
        (some(replace(ALL, netns="blue", advertise="192.0.2.1")), "192.0.2.1:3260"),
        (some(replace(ALL, advertise="192.0.2.1:1")), "192.0.2.1:1"),
        (some(replace(ALL, advertise="[2001:db8::1]")), "[2001:db8::1]:3260"),
        (some(replace(ALL, advertise="san.example.com")), ""),
        (some(Portal("here", "127.0.0.1", addresses=at("127.0.0.1%lo"))), ""),
        (some(ALL, ready=False), ""),
        (some(ALL, linked="other"), ""),
        (some(ALL, Portal("near", "10.0.0.5", addresses=at("10.0.0.5")), linked="all"), "[2001:db8::5]:3260"),
        (some(ALL, Portal("near", "10.0.0.5", addresses=at("10.0.0.5")), linked="near"), "10.0.0.5:3260"),
        (some(ALL, Portal("nic", "eth0", addresses=at("10.0.0.5")), linked="nic"), "10.0.0.5:3260"),
        (
            some(Portal("a", advertise="192.0.2.1"), Portal("b", advertise="192.0.2.1"), linked="b"),
            "192.0.2.1:3260",
        ),
    ],
)
def test_i94_where_others_can_reach_it(policy: Policy, places: str) -> None:
    assert shape(policy) == ({A: dict.fromkeys(places.split(), 1)} if places else {})


def test_i94_who_is_told() -> None:
    portals = {
        "p": Portal("p", addresses=at("10.0.0.1")),
        "q": Portal("q", port=3261, addresses=at("10.0.0.1")),
    }
    one, two = (
        target(A, portals=frozenset("p"), alias="disks"),
        target(f"{A},t,0x0007", portals=frozenset("pq")),
    )
    policy = Policy((one, two, target(B, ready=False)), portals)
    assert shape(policy) == {A: {"10.0.0.1:3260": 1, "10.0.0.1:3261": 7}}
    assert shape(policy, "10.9.9.9", "q") == {A: {"10.0.0.1:3260": 1}}
    assert shape(replace(policy, available=False)) == {}
    assert shape(replace(policy, targets=(target("no name", portals=frozenset("p")),))) == {}
    assert shape(policy, "") == {}
    assert wanted("scst-me", policy, {"p"}, "x").nodes[0].alias == "disks"


def test_loopback_is_for_servers_of_this_machine() -> None:
    policy = some(Portal("here", "127.0.0.1", addresses=at("127.0.0.1%lo")), ALL, linked="here")
    for server in ("127.0.0.1", "127.0.0.1:3205", "localhost", "[::1]:99"):
        assert shape(policy, server) == {A: {"127.0.0.1:3260": 1}}
    for server in ("10.0.0.1", "isns", "[2001:db8::1]"):
        assert shape(policy, server) == {}


def test_what_has_no_address_is_said() -> None:
    policy = some(ALL, replace(ALL, name="nat", advertise="san"))
    assert wanted("scst-me", policy, policy.portals, "x").untold == ("nat",)
    assert wanted("scst-me", policy, {"all"}, "x").untold == ()


def test_servers() -> None:
    assert split("isns") == ("isns", 3205)
    assert split("isns:1") == ("isns", 1)
    assert split("10.0.0.1:3206") == ("10.0.0.1", 3206)
    assert split("[2001:db8::1]") == ("2001:db8::1", 3205)
    assert split("[2001:db8::1]:9") == ("2001:db8::1", 9)


def test_name_of_this_machine() -> None:
    """It does not tell the machine's number, and goes through nameprep as it is."""
    number = "0123456789abcdef0123456789abcdef\n"
    found = entity_of(number, "Host")
    assert found == entity_of(number.strip(), "other")
    assert found.startswith("scst-")
    assert number.strip()[:8] not in found
    assert entity_of("", "Host.Example") == "scst-host.example"


# Messages, as a server understands them.


def hear(registry: Registry, *messages: Message) -> None:
    """All of them are taken."""
    for message in messages:
        assert len(message.pdus()) <= 8192
        status, attributes = registry.handle(Request(message.function, message.flags, 1, message.payload()))
        assert status == 0, message
        assert len(attributes) + 16 <= 8192


def known(registry: Registry) -> dict[str, object]:
    """All that a server has of us."""
    entity = registry.entities.get(name("scst-me"))
    if entity is None:
        return {}
    return {"nodes": entity.nodes, "portals": entity.portals, "reachable": entity.reachable()}


def first(registry: Registry, it: Registration) -> None:
    """A server that is told for the first time, as far as we know."""
    hear(registry, *registration.register(it, NOTHING, 300, True))


PLACES = ("10.0.0.1", "10.0.0.2", "2001:db8::1")
NODES = st.builds(
    lambda number, places, tag, alias: node(
        f"iqn.2026-11.org.example:{number}", *sorted(places), tag=tag, alias=alias
    ),
    st.integers(0, 5),
    st.sets(st.sampled_from(PLACES), min_size=1),
    st.integers(1, 2),
    st.sampled_from(("", "x", "disks")),
)
TOLD = st.lists(NODES, min_size=1, max_size=6, unique_by=lambda one: one.name).map(lambda nodes: told(*nodes))


@given(st.lists(TOLD, min_size=1, max_size=4), st.booleans())
def test_i94_changes_come_to_the_same(steps: list[Registration], stale: bool) -> None:
    """A server that is told of changes one by one knows what one knows that is told at once; and what was
    there before goes.
    """
    registry, fresh = Registry(), Registry()
    if stale:
        first(registry, told(node("iqn.2026-11.org.example:0", "10.0.0.1"), node(A, "10.0.0.99")))
    first(registry, steps[0])
    for before, now in pairwise(steps):
        hear(registry, *registration.register(now, before, 300, False), *registration.remove(before, now))
    first(fresh, steps[-1])
    assert known(registry) == known(fresh)
    reachable = {one.name: {str(place): tag for place, tag in one.tags} for one in steps[-1].nodes}
    assert known(registry)["reachable"] == reachable
    hear(registry, registration.deregister(steps[-1]))
    assert registry.entities == {}


def test_what_has_not_changed_is_not_told() -> None:
    one = told(node(A, "10.0.0.1"), node(B, "10.0.0.1", alias="x"))
    assert registration.register(one, one, 300, False) == []
    assert registration.remove(one, one) == []
    (message,) = registration.register(told(one.nodes[0], replace(one.nodes[1], alias="y")), one, 300, False)
    assert [each.as_text() for each in message.parts()[1] if each.tag == Tag.NODE] == [B]


def test_many_targets_go_into_small_messages() -> None:
    """A server that takes no more than 8 KiB at a time, and says it all again in its answers."""
    many = told(
        *(
            node(f"iqn.2026-11.org.example:{'x' * 180}-{number:04}", *PLACES[: 1 + number % 3])
            for number in range(200)
        )
    )
    registry = Registry()
    first(registry, many)
    assert known(registry)["reachable"] == {
        one.name: {str(place): 1 for place, _ in one.tags} for one in many.nodes
    }
    messages = registration.register(many, NOTHING, 300, True)
    assert [bool(one.flags & Flag.REPLACE) for one in messages] == [True] + [False] * (len(messages) - 1)
    assert all(len(one.payload()) < ROOM + 1000 for one in messages)
    left = told(many.nodes[0])
    hear(registry, *registration.remove(many, left))
    assert list(known(registry)["nodes"]) == [name(left.nodes[0].name)]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"", 7),
        (tlv(32, name(A)), 2),
        (tlv(32, name(A)) + tlv(1, name("x")) + tlv(0, b"") + tlv(1, name("x")), 3),
        (tlv(32, name(A)) + tlv(1, name("x")) + tlv(0, b"") + tlv(32, name(A)), 2),
        (tlv(32, name(A)) + tlv(1, name("isns:x")) + tlv(0, b"") + tlv(1, name("isns:x")), 3),
        (tlv(32, name(A)) + tlv(1, name("x")) + tlv(0, b"") + tlv(1, name("x")) + tlv(17, bytes(4)), 2),
        (tlv(32, b"abcd") + tlv(0, b""), 2),
        (tlv(32, name(A))[:-1], 2),
    ],
)
def test_the_server_of_these_tests_refuses(payload: bytes, status: int) -> None:
    assert Registry().handle(Request(1, CLIENT | FIRST | LAST, 1, payload))[0] == status


# How it is kept told.


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A daemon that does not run yet."""
    return World(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs to wait for seconds."""
    for what, seconds in {
        "APART": 0.01,
        "FIRST": 0.02,
        "LONGEST": 0.1,
        "RENEW": 0.1,
        "FAREWELL": 0.5,
    }.items():
        monkeypatch.setattr(registrar, what, seconds)


def register_at(world: World, server: str) -> None:
    """The server is set."""
    world.write(world.root / "drivers/iscsi/isns_server", server)


def heard(server: Server, what: int) -> list[Request]:
    """The requests of that kind."""
    return [one for one in server.requests if one.function == what]


def there(registry: Registry) -> dict[str, dict[str, int]]:
    """What the server says that can be reached."""
    return {iqn: places for one in registry.entities.values() for iqn, places in one.reachable().items()}


def told_last(world: World) -> str:
    """What `isns_state` shows."""
    return world.kernel.isns[-1] if world.kernel.isns else ""


IQN = NAMES[2][1]


def test_i94_registered_and_gone(world: World) -> None:
    """What listens and is enabled, as long as the daemon runs."""
    with Server() as server:
        register_at(world, f"127.0.0.1:{server.port}")
        here = {IQN: {f"127.0.0.1:{world.port}": 1}}

        async def what() -> None:
            await world.until(lambda: told_last(world) == "registered: 1 target, 1 portal")
            assert there(server.registry) == here
            world.write(world.target / "enabled", "0")
            world.kernel.changed()
            await world.until(lambda: there(server.registry) == {})
            await world.until(lambda: told_last(world).startswith("waiting: no enabled target"))
            world.write(world.target / "enabled", "1")
            world.kernel.changed()
            await world.until(lambda: there(server.registry) == here)
            world.write(world.portal / "address", "192.0.2.77")
            world.kernel.changed()
            await world.until(lambda: there(server.registry) == {})
            world.write(world.portal / "address", "127.0.0.1")
            world.kernel.changed()
            await world.until(lambda: there(server.registry) == here)

        world.run(what)
        assert server.registry.entities == {}
        assert set(server.statuses) == {0}


def test_a_server_that_has_lost_what_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows nobody who could take anything back, and that is as good."""
    monkeypatch.setattr(registrar, "RENEW", 60.0)
    with Server() as server:
        register_at(world, f"127.0.0.1:{server.port}")

        async def what() -> None:
            await world.until(lambda: told_last(world).startswith("registered"))
            server.registry.entities.clear()
            world.write(world.target / "enabled", "0")
            world.kernel.changed()
            await world.until(lambda: told_last(world).startswith("waiting: no enabled target"))

        world.run(what)
        assert server.statuses[-1] == 6


def test_i94_change_of_the_server(world: World) -> None:
    with Server() as old, Server() as new:
        register_at(world, f"127.0.0.1:{old.port}")

        async def what() -> None:
            await world.until(lambda: there(old.registry) != {})
            register_at(world, f"localhost:{new.port}")
            world.kernel.changed()
            await world.until(lambda: there(new.registry) != {})
            assert old.registry.entities == {}
            register_at(world, "")
            world.kernel.changed()
            await world.until(lambda: told_last(world) == "off")
            assert new.registry.entities == {}

        world.run(what)


def test_u29_a_server_at_an_ipv6_address(world: World) -> None:
    with Server(host="::1") as server:
        register_at(world, f"[::1]:{server.port}")

        async def what() -> None:
            await world.until(lambda: told_last(world).startswith("registered"))

        world.run(what)
        assert len(heard(server, 4)) == 1


def test_i94_a_server_that_was_away(world: World) -> None:
    """It is told as soon as it is back, whatever it knows then."""
    port = free_port()
    register_at(world, f"127.0.0.1:{port}")

    async def what() -> None:
        await world.until(lambda: told_last(world) == f"waiting: 127.0.0.1:{port}: Connection refused")
        with Server(port=port) as server:
            await world.until(lambda: told_last(world).startswith("registered"))
            assert there(server.registry) != {}
        # It has lost its memory.
        with Server(port=port) as server:
            await world.until(lambda: there(server.registry) != {})
            await world.until(lambda: told_last(world).startswith("registered"))

    world.run(what)


def test_i94_sign_of_life(world: World) -> None:
    """A question about itself is enough, if the server would answer that; of a registration that it has lost
    it hears again.
    """
    with Server(Registry(period=1)) as server:
        register_at(world, f"127.0.0.1:{server.port}")

        async def what() -> None:
            await world.until(lambda: len(heard(server, 2)) > 5)
            assert len(heard(server, 1)) == 1
            assert heard(server, 1)[0].flags & REPLACE
            server.registry.entities.clear()
            await world.until(lambda: there(server.registry) != {})
            server.registry.blind = True
            server.registry.entities.clear()
            before = len(heard(server, 1))
            await world.until(lambda: len(heard(server, 1)) > before + 5)
            assert not any(one.flags & REPLACE for one in heard(server, 1)[1:])

        world.run(what)


def test_a_server_that_does_not_want_it(world: World) -> None:
    """Somebody else has a target of that name; until he goes."""
    with Server() as server:
        other = replace(told(node(IQN, "10.0.0.1")), entity="scst-other")
        hear(server.registry, *registration.register(other, Registration("scst-other"), 300, True))
        where = f"127.0.0.1:{server.port}"
        register_at(world, where)

        async def what() -> None:
            await world.until(lambda: told_last(world) == f"refused: {where}: invalid registration (3)")
            hear(server.registry, registration.deregister(other))
            await world.until(lambda: told_last(world).startswith("registered"))

        world.run(what)


@pytest.mark.parametrize(
    ("spoil", "state"),
    [
        (lambda answer: b"HTTP/1.1 400 Bad Request\r\n", "its answer is malformed: version 18516"),
        (lambda answer: answer[:8] + b"\xff\xff" + answer[10:], "it answers what was not asked"),
        (lambda answer: answer[:4] + b"\0\4" + answer[6:12] + bytes(3) + b"\x0c", "busy (12)"),
        (lambda answer: answer[:2] + b"\x80\x02" + answer[4:], "it answers what was not asked"),
        (lambda answer: answer[:20] + b"\xff\xff\xff\xfc" + answer[24:], "says 4294967292 bytes"),
    ],
)
def test_rubbish_of_a_server(world: World, spoil: Callable[[bytes], bytes], state: str) -> None:
    """It is said, and tried again, until it is one."""
    with Server() as server:
        server.spoil = spoil
        register_at(world, f"127.0.0.1:{server.port}")

        async def what() -> None:
            await world.until(lambda: state in told_last(world))
            server.spoil = lambda answer: answer
            await world.until(lambda: told_last(world).startswith("registered"))

        world.run(what)


def test_answers_in_pieces(world: World) -> None:
    with Server() as server:
        server.room = 4
        register_at(world, f"127.0.0.1:{server.port}")

        async def what() -> None:
            await world.until(lambda: told_last(world).startswith("registered"))

        world.run(what)


def test_nobody_waits_for_a_server(world: World) -> None:
    """One that says nothing: logins go on, and so does the end of the daemon."""
    with Server() as server:
        server.spoil = lambda answer: None
        register_at(world, f"127.0.0.1:{server.port}")

        async def what() -> None:
            await world.until(lambda: len(server.requests) > 0)
            assert (await (await world.connect()).say(NAMES, 3)).status == 0
            await world.until(lambda: told_last(world).endswith("not told yet"))

        world.run(what)


def test_nobody_waits_for_a_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody knows, for as long as that takes to find out."""
    asked, over = threading.Event(), threading.Event()

    def slow(host: str, *_: object, **__: object) -> list[object]:
        asked.set()
        over.wait(60)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(registrar, "ANSWER", 0.1)
    register_at(world, "slow.example")
    world.write(world.portal / "advertise", "192.0.2.1")

    async def what() -> None:
        await world.until(asked.is_set)
        assert (await (await world.connect()).say(NAMES, 3)).status == 0
        await world.until(lambda: told_last(world) == "waiting: slow.example: no answer in time")

    world.run(what)
    over.set()


def test_names_are_looked_up_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    over = threading.Event()

    def slow(host: str, *_: object, **__: object) -> list[object]:
        calls.append(host)
        over.wait(60)
        return [(0, 0, 0, "", ("10.0.0.1", 0)), (0, 0, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def run() -> None:
        names = registrar._Names()
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(names.addresses("isns"), 0.01)
        assert calls == ["isns"]
        over.set()
        assert await asyncio.wait_for(names.addresses("isns"), 60) == ["10.0.0.1"]
        assert await names.addresses("2001:db8::1") == ["2001:db8::1"]
        assert calls == ["isns"]

    asyncio.run(run())


def test_a_line_of_each_change_but_not_of_more(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    one = registrar.Registrar(lambda: None, lambda: now[0])
    caplog.set_level("INFO", "scst-iscsid")
    for number in range(50):
        one._say(f"waiting: {number}", trouble=True)
        one._say(f"waiting: {number}", trouble=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"iSNS: waiting: {number}" for number in range(10)
    ]
    now[0] = 61.0
    one._say("registered")
    assert (caplog.records[-1].getMessage(), caplog.records[-1].levelname) == ("iSNS: registered", "WARNING")
