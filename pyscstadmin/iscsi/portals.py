# SPDX-License-Identifier: GPL-2.0-or-later
"""Where to listen: portals follow the addresses of this machine.

`wanted` decides, and is pure: which sockets there should be, and what the `state` of each portal is. What the
machine has is asked for by rtnetlink, whole each time; that something is different is heard there, too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

from pyscstadmin.iscsi.policy import Address, Portal

__all__ = [
    "Bind",
    "Machine",
    "Netlink",
    "Plan",
    "fits",
    "inside",
    "listen",
    "look",
    "parse_messages",
    "space_of",
    "wanted",
]

NETNS = "/run/netns"
BACKLOG = 1024

T = TypeVar("T")
Messages = Iterator[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Bind:
    """A socket that listens. `zone`: number of the interface of a link-local address; `device`: the interface
    that all has to come by, `index` its number; `space`: number of the network namespace.
    """

    netns: str
    ip: IPv4Address | IPv6Address
    port: int
    zone: int = 0
    device: str = ""
    index: int = 0
    space: int = 0

    def __str__(self) -> str:
        host = f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)
        return f"{host}:{self.port}" + (f" on {self.device}" if self.device else "")


@dataclass(frozen=True, slots=True)
class Machine:
    """Interfaces (name -> number) and addresses of one network namespace. `space`: its number, which is
    another one when it was made anew under its name.
    """

    interfaces: Mapping[str, int]
    addresses: tuple[Address, ...]
    space: int = 0

    def has(self, address: str) -> list[Address]:
        """The addresses that are this one: `10.0.0.5`, `fe80::1`, `fe80::1%eth0`."""
        text, _, zone = address.partition("%")
        try:
            ip = ip_address(text)
        except ValueError:
            return []
        return [found for found in self.addresses if found.ip == ip and zone in ("", found.interface)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one portal comes to: sockets, the addresses that it can be reached at, and why it has none."""

    binds: tuple[Bind, ...] = ()
    addresses: tuple[Address, ...] = ()
    waiting: str = ""


_ANY = (IPv4Address("0.0.0.0"), IPv6Address("::"))


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _plan(portal: Portal, machine: Machine | None) -> Plan:
    if machine is None:
        return Plan(waiting=f"network namespace {portal.netns} is not there")
    if portal.address == "*":
        binds = tuple(Bind(portal.netns, ip, portal.port, space=machine.space) for ip in _ANY)
        return Plan(binds, machine.addresses)
    if _is_address(portal.address):
        found = machine.has(portal.address)
        if not found:
            return Plan(waiting=f"no interface has address {portal.address}")
        return Plan(tuple(_one(portal, address, machine) for address in found), tuple(found))
    index = machine.interfaces.get(portal.address, 0)
    if not index:
        return Plan(waiting=f"there is no interface {portal.address}")
    here = tuple(address for address in machine.addresses if address.interface == portal.address)
    if not here:
        return Plan(waiting=f"interface {portal.address} has no address")
    binds = tuple(Bind(portal.netns, ip, portal.port, 0, portal.address, index, machine.space) for ip in _ANY)
    return Plan(binds, here)


def _one(portal: Portal, address: Address, machine: Machine) -> Bind:
    zone = machine.interfaces.get(address.interface, 0) if address.ip.is_link_local else 0
    zone = zone if address.ip.version == 6 else 0
    return Bind(portal.netns, address.ip, portal.port, zone, space=machine.space)


def wanted(portals: Iterable[Portal], machines: Mapping[str, Machine | None]) -> dict[str, Plan]:
    """What each portal comes to. `machines`: by network namespace, None for one that is not there. Of portals
    with one and the same address the first by name has it.
    """
    plans: dict[str, Plan] = {}
    taken: dict[Bind, str] = {}
    for portal in sorted(portals, key=lambda portal: portal.name):
        plan = _plan(portal, machines.get(portal.netns))
        other = next((taken[bind] for bind in plan.binds if bind in taken), "")
        if other:
            plan = Plan(waiting=f"portal {other} has the same address and port")
        taken |= dict.fromkeys(plan.binds, portal.name)
        plans[portal.name] = plan
    return plans


# Sockets.

_CLONE_NEWNET = 0x40000000


def inside(netns: str, what: Callable[[], T]) -> T:
    """Do something in a network namespace: in a thread of its own, which is in there until it ends."""
    if not netns:
        return what()
    results: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            _enter(netns)
            results.append(what())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"netns {netns}")
    try:
        thread.start()
    except RuntimeError as error:  # there are too many, or no memory for one
        raise OSError(errno.EAGAIN, str(error)) from error
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(f"{NETNS}/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def listen(bind: Bind) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    return inside(bind.netns, lambda: _listen(bind))


def _listen(bind: Bind) -> socket.socket:
    six = bind.ip.version == 6
    made = socket.socket(
        socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    )
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # One portal may be at all addresses and another at one of them: who is nearer is asked.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections take it over.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bind.device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bind.device.encode())
        made.bind((str(bind.ip), bind.port, 0, bind.zone) if six else (str(bind.ip), bind.port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


_SO_BINDTOIFINDEX, _SO_NETNS_COOKIE = 62, 71


def fits(made: socket.socket, bind: Bind) -> bool:
    """Whether a socket that listens is as `listen` would make it now."""
    try:
        return inside(bind.netns, lambda: _fits(made, bind))
    except OSError:
        return False


def _fits(made: socket.socket, bind: Bind) -> bool:
    six = bind.ip.version == 6
    if (made.family, made.type) != (socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM):
        return False
    host, port, *more = made.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        return (
            (ip_address(host.partition("%")[0]), port) == (bind.ip, bind.port)
            and more[1:] == [bind.zone] * six
            and made.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == socket.IPPROTO_TCP
            and made.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) == (bind.index or bind.zone)
            and (not six or made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1)
            and _namespace(made) == _namespace(here)
        )


def _namespace(made: socket.socket) -> bytes:
    """A number that no other network namespace has, or had."""
    return made.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)


# rtnetlink.

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
# Something has changed while it was told: an address that was there all the time may be missing.
_TORN = 0x10
_ATTEMPTS = 20
_IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 3, 1, 2, 8
_UNUSABLE = 0x40 | 0x08  # tentative; a duplicate
_OPTIMISTIC = 0x04
_GROUPS = 0x1 | 0x10 | 0x100  # links, addresses of IPv4 and of IPv6
_BUFFER = 1 << 20


def parse_messages(data: bytes) -> Messages:
    """(type, flags, payload) of each message."""
    while len(data) >= _HEADER.size:
        length, kind, flags, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, flags, data[_HEADER.size : length]
        data = data[length + -length % 4 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
    return found


def machine_of(links: Sequence[bytes], addresses: Sequence[bytes]) -> Machine:
    """What the answers to both questions come to."""
    names: dict[int, str] = {}
    for payload in links:
        if len(payload) >= _LINK.size:
            name = _attributes(payload[_LINK.size :]).get(_IFLA_IFNAME, b"")
            names[_LINK.unpack_from(payload)[2]] = name.rstrip(b"\0").decode("utf-8", "replace")
    found = [address for payload in addresses for address in _addresses(payload, names)]
    return Machine({name: index for index, name in names.items()}, tuple(dict.fromkeys(found)))


def _addresses(payload: bytes, names: Mapping[int, str]) -> Iterator[Address]:
    if len(payload) < _ADDRESS.size:
        return
    _, _, flags, _, index = _ADDRESS.unpack_from(payload)
    there = _attributes(payload[_ADDRESS.size :])
    if len(there.get(_IFA_FLAGS, b"")) == 4:
        flags = int.from_bytes(there[_IFA_FLAGS], "little" if struct.pack("=H", 1)[0] else "big")
    if flags & _UNUSABLE and not flags & _OPTIMISTIC:
        return
    # The far end of a point-to-point link is the other one.
    raw = there.get(_IFA_LOCAL) or there.get(_IFA_ADDRESS, b"")
    if len(raw) in (4, 16):
        yield Address(ip_address(raw), names.get(index, ""))


class Netlink:
    """Hears of changes in one network namespace. `space`: its number."""

    def __init__(self, netns: str = "") -> None:
        self._socket, self.space = inside(netns, lambda: (self._open(), _space()))

    @staticmethod
    def _open() -> socket.socket:
        made = _route()
        made.setblocking(False)
        with suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, _GROUPS))
        return made

    def fileno(self) -> int:
        """To poll."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Take what is there; what it says is looked up. That some was lost is a change like any."""
        for _ in range(1000):
            try:
                self._socket.recv(_BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        """Stop."""
        self._socket.close()


def _route() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def look(netns: str = "") -> Machine | None:
    """What the namespace has; None if it is not there."""
    try:
        return inside(netns, _look)
    except FileNotFoundError:
        return None


def _look() -> Machine:
    with _route() as asking:
        asking.bind((0, 0))
        links = _dump(asking, _GETLINK, _NEWLINK, bytes(_LINK.size))
        found = machine_of(links, _dump(asking, _GETADDR, _NEWADDR, bytes(_ADDRESS.size)))
    return replace(found, space=_space())


def space_of(netns: str) -> int:
    """The number of the network namespace that has this name now, 0 if none has."""
    try:
        return os.stat(f"{NETNS}/{netns}").st_ino
    except OSError:
        return 0


def _space() -> int:
    """The number of the network namespace that this thread is in."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def _dump(asking: socket.socket, question: int, answer: int, body: bytes) -> list[bytes]:
    """What is answered, all of one moment. Raises OSError."""
    request = _HEADER.pack(_HEADER.size + len(body), question, _REQUEST_DUMP, 1, 0) + body
    for _ in range(_ATTEMPTS):
        asking.send(request)
        found, torn = _answers(asking, answer)
        if not torn:
            return found
    raise OSError(errno.EAGAIN, "they change whenever they are looked at")


def _answers(asking: socket.socket, answer: int) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    torn = 0
    while True:
        for kind, flags, payload in parse_messages(asking.recv(_BUFFER)):
            torn |= flags & _TORN
            if kind == _DONE:
                return found, torn
            if kind == _ERROR:
                number = -struct.unpack_from("=i", payload)[0]
                raise OSError(number, os.strerror(number))
            if kind == answer:
                found.append(payload)
