# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections: bytes between sockets and the state machines of `login` and `discovery`.

Nothing is read beyond the PDU that is due: what an initiator sends ahead of its time is for whoever has the
connection then. Each login has a task and a timer of its own, so that nobody waits for another.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from pyscstadmin.iscsi import discovery
from pyscstadmin.iscsi.chap import Challenges
from pyscstadmin.iscsi.device import Device
from pyscstadmin.iscsi.login import Discovery, LoggedIn, Login, Refused, Status
from pyscstadmin.iscsi.negotiate import PDU_MAX
from pyscstadmin.iscsi.pdu import HEADER, sizes
from pyscstadmin.iscsi.policy import Address, Connection, Policy, Target, User
from pyscstadmin.iscsi.refusals import Patience, Refusals
from pyscstadmin.iscsi.rules import Obstacle
from pyscstadmin.iscsi.source import Source
from pyscstadmin.iscsi.tasks import ended

__all__ = ["Server", "status_of"]

# Of one address: logins that are not finished, and discovery sessions.
PER_SOURCE = 64
# What the commands of an older session of the same initiator port may take: the newer one has to come again.
WAIT_MS = 5000
ADOPTING = 128
# A discovery session in which nothing happens.
IDLE = 60.0
# To take an answer.
SEND = 10.0
# Between lines about a portal that takes no connections.
SILENT = 60.0

_UNAVAILABLE = (errno.EAGAIN, errno.ECANCELED, errno.ESHUTDOWN, errno.ENOTCONN)
_RESOURCES = (errno.ENOMEM, errno.ENOSPC)

# What the kernel says, for the administrator: the rule, and the reason in other words than the kernel's.
_RULES = {
    errno.EAGAIN: ("older-session", "the commands of the initiator's older session do not end"),
    errno.ECANCELED: ("newer-session", "the initiator has logged in again meanwhile"),
    errno.ESHUTDOWN: ("not-enabled", "the target is not enabled"),
    errno.ENODEV: ("not-enabled", "the target is not enabled"),
    errno.ENOTCONN: ("unavailable", "the kernel module is not loaded"),
    errno.ENOSPC: ("limit", "the target has as many sessions as its max_sessions allows"),
}

T = TypeVar("T")

_log = logging.getLogger("scst-iscsid")


def status_of(error: OSError) -> Status:
    """What an initiator is told when the kernel does not take its connection."""
    if error.errno in _UNAVAILABLE:
        return Status.UNAVAILABLE
    if error.errno in _RESOURCES:
        return Status.RESOURCES
    return Status.NOT_FOUND if error.errno == errno.ENODEV else Status.TARGET


def _obstacle(error: OSError) -> Obstacle:
    """What that is for the administrator."""
    rule, reason = _RULES.get(error.errno or 0, ("kernel", error.strerror or str(error)))
    return Obstacle(rule, reason)


class _Gone(Exception):
    """The other side has closed the connection."""


class Server:
    """All connections of the daemon until they are the kernel's, or over."""

    def __init__(self, source: Source, refusals: Refusals) -> None:
        self._source = source
        self._refusals = refusals
        self._patience = Patience()
        self._challenges = Challenges(os.urandom)
        self._adopt_pool = ThreadPoolExecutor(ADOPTING, "adopt")
        # Apart from the others, who are not to wait for a disk.
        self._uses_pool = ThreadPoolExecutor(1, "uses")
        self._tasks: set[asyncio.Task[None]] = set()
        # Connections that are no sessions of the kernel, by the address that they come from.
        self._from: Counter[str] = Counter()
        self._opening = 0
        self._discoveries = 0
        self._adopting = 0
        self.logins = 0

    async def accept(self, listener: socket.socket, portal_now: Callable[[], str]) -> None:
        """Take connections of a portal, for ever. Which one it is may change."""
        loop = asyncio.get_running_loop()
        silent_until = loop.time()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
                portal = portal_now()
            except OSError as error:
                if error.errno == errno.EBADF:
                    return
                if loop.time() >= silent_until:
                    _log.warning("portal %s: %s", portal_now(), error.strerror)
                    silent_until = loop.time() + SILENT
                await asyncio.sleep(0.1)
                continue
            self._admit(connection, portal, str(address[0]).partition("%")[0])
            # Where more of them wait, the next comes without a turn for anybody else. And of many who have
            # waited some have given up: that is seen before the next counts.
            await asyncio.sleep(0)

    def _admit(self, connection: socket.socket, portal: str, peer: str) -> None:
        """Begin with a connection that has come; or reset it, where there are too many."""
        why = self._too_many(peer)
        if why:
            self._refusals.note(portal, peer, Refused(None, why, rule="limit"))
            _reset(connection)
            return
        self._from[peer] += 1
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._connection(connection, portal, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _too_many(self, peer: str) -> str:
        if self._from[peer] >= PER_SOURCE:
            return f"{PER_SOURCE} logins and discoveries from this address are not finished"
        if self._opening >= self._source.policy.max_half_open:
            return f"{self._source.policy.max_half_open} logins are not finished"
        return ""

    async def close(self) -> None:
        """End what is not the kernel's."""
        await ended(self._tasks)
        # What is on its way to the kernel gets there, or not: that is not for ever.
        for pool in (self._adopt_pool, self._uses_pool):
            await asyncio.to_thread(pool.shutdown)

    async def _connection(self, connection: socket.socket, portal: str, peer: str) -> None:
        try:
            try:
                session = await self._login(connection, portal, peer)
            finally:
                self._opening -= 1
            if session is not None:
                await self._discover(connection, session)
        except (_Gone, OSError, asyncio.TimeoutError):
            pass
        except Exception:
            _log.exception("a connection by portal %s", portal)
        finally:
            connection.close()
            self._from[peer] -= 1
            if not self._from[peer]:
                del self._from[peer]

    # Login.

    async def _login(self, connection: socket.socket, portal: str, peer: str) -> discovery.Session | None:
        """To the end of the login; returns a discovery session, if there is to be one."""
        loop, seconds = asyncio.get_running_loop(), self._source.policy.login_timeout
        timer = loop.call_later(seconds, _hang_up, connection)
        login: Login | None = None
        try:
            # Until it says something nothing is done for it: there may be many who never do.
            first = await self._pdu(connection, PDU_MAX)
            policy = self._source.fresh()
            came = _came(connection, policy, portal, peer)
            login = Login(policy, came, self._challenges, os.urandom)
            end, last = await self._talk(connection, login, first)
        except (_Gone, ConnectionError, asyncio.TimeoutError) as error:
            closed = loop.time() < timer.when() and not isinstance(error, asyncio.TimeoutError)
            why = "the initiator has closed the connection" if closed else f"not finished within {seconds} s"
            self._note(portal, peer, login.give_up(why) if login else Refused(None, why, rule="not-finished"))
            return None
        finally:
            timer.cancel()
        return await self._ended(connection, policy, came, end, last)

    async def _ended(
        self,
        connection: socket.socket,
        policy: Policy,
        came: Connection,
        end: LoggedIn | Discovery | Refused,
        last: bytes,
    ) -> discovery.Session | None:
        """The login is over, and `last` to be sent; returns a discovery session, if there is to be one."""
        if isinstance(end, Refused):
            self._note(came.portal, came.peer, end)
            if end.status is Status.AUTHENTICATION:
                await asyncio.sleep(self._patience.delay(came.peer))
            await self._send(connection, last)
            return None
        if end.user:
            self._patience.success(came.peer)
        if isinstance(end, Discovery):
            full = self._full()
            if full:
                refused = Refused(Status.RESOURCES, full, end.initiator, user=end.user, rule="limit")
                self._note(came.portal, came.peer, refused)
                await self._send(connection, end.no_room)
                return None
            why = await self._use(policy.users, "", end.user)
            if why is not None:
                refused = Refused(Status.AUTHENTICATION, why.reason, end.initiator, "", end.user, why.rule)
                self._note(came.portal, came.peer, refused)
                await self._send(connection, end.no_proof)
                return None
            await self._send(connection, last)
            return discovery.Session(policy, came, end)
        await self._hand_over(connection, end)
        return None

    async def _talk(
        self, connection: socket.socket, login: Login, pdu: tuple[bytes, bytes]
    ) -> tuple[LoggedIn | Discovery | Refused, bytes]:
        """How the login ends that begins with this PDU, and what is to be sent then."""
        while True:
            step = login.feed(*pdu)
            if step.end is not None:
                return step.end, step.send
            await self._send(connection, step.send)
            pdu = await self._pdu(connection, PDU_MAX)

    def _note(self, portal: str, peer: str, refused: Refused) -> None:
        moved = refused.status in (Status.MOVED, Status.MOVED_FOR_EVER)
        nobody = refused.status is None and not refused.initiator and "closed" in refused.reason
        if not moved and not nobody:
            self._refusals.note(portal, peer, refused)

    async def _hand_over(self, connection: socket.socket, login: LoggedIn) -> None:
        """The kernel answers, and has the connection; or this says why not."""
        full = self._full(login)
        if full:
            await self._refuse(connection, login, Status.RESOURCES, Obstacle("limit", full))
            return
        self._adopting += 1
        try:
            why = await self._use(login.target.users, login.target.name, login.user)
            if why is None:
                await self._begin(connection, login)
            else:
                await self._refuse(connection, login, Status.AUTHENTICATION, why)
        finally:
            self._adopting -= 1

    async def _begin(self, connection: socket.socket, login: LoggedIn) -> None:
        where, user = login.target.name, _named(login.target.users, login.user)
        try:
            tsih = await self._adopt(connection, login)
        except OSError as error:
            status = status_of(error)
            if status is Status.NOT_FOUND and self._still(login):
                status = Status.UNAVAILABLE
            if user.uses:
                await self._pooled(self._uses_pool, lambda: self._source.uses.give_back(where, user))
            await self._refuse(connection, login, status, _obstacle(error))
        else:
            self.logins += 1
            self._source.began()
            _log.info("session %d: %s on %s", tsih, login.initiator, where)

    async def _use(self, users: Sequence[User], target: str, name: str) -> Obstacle | None:
        """A login as this user ('' for nobody): noted for good, before it is answered."""
        user = _named(users, name)
        if not user.uses:
            return None
        return await self._pooled(self._uses_pool, lambda: self._source.uses.take(target, user))

    @staticmethod
    async def _pooled(pool: ThreadPoolExecutor, what: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, what)

    async def _refuse(
        self, connection: socket.socket, login: LoggedIn, status: Status, why: Obstacle
    ) -> None:
        target = login.target.port[0]
        refused = Refused(status, why.reason, login.initiator, target, login.user, why.rule)
        self._note(login.connection.portal, login.connection.peer, refused)
        await self._send(connection, login.refused(status))

    def _full(self, login: LoggedIn | None = None) -> str:
        """Why there can be no more connections, or nothing. One that takes the place of an older session of
        the same initiator port is none more.
        """
        most = self._source.policy.max_connections
        free = most - self._discoveries - self._adopting
        if not self._source.has_sessions(free):
            return ""
        if login is not None and self._source.replaces(login):
            return ""
        return f"there are max_connections ({most}) sessions and discoveries"

    def _still(self, login: LoggedIn) -> bool:
        """Whether the target is there, if not for sessions at present."""
        policy = self._source.read()
        name = login.target.port[0]
        return isinstance(policy.find(login.initiator, name, login.connection.portal), Target)

    async def _adopt(self, connection: socket.socket, login: LoggedIn) -> int:
        device = self._source.device
        if device is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        _outlive_address(connection)
        try:
            return device.adopt(login, connection.fileno(), 0)
        except BlockingIOError:  # an older session of the initiator port is on its way out
            return await self._adopt_when_gone(device, connection, login)

    async def _adopt_when_gone(self, device: Device, connection: socket.socket, login: LoggedIn) -> int:
        # The thread's own descriptor: it may be at it when this is given up.
        fd = os.dup(connection.fileno())

        def run() -> int:
            try:
                return device.adopt(login, fd, WAIT_MS)
            finally:
                os.close(fd)

        return await self._pooled(self._adopt_pool, run)

    # Discovery.

    async def _discover(self, connection: socket.socket, session: discovery.Session) -> None:
        self._discoveries += 1
        try:
            over = ""
            while not over:
                pdu = await asyncio.wait_for(self._pdu(connection, discovery.PDU_MAX), IDLE)
                answer = session.feed(*pdu)
                over = answer.over
                if answer.send:
                    await self._send(connection, answer.send)
            # What was sent last is to arrive: the initiator closes first, or has had time to.
            connection.shutdown(socket.SHUT_WR)
            with suppress(asyncio.TimeoutError, OSError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1), 1.0)
        finally:
            self._discoveries -= 1

    # Bytes.

    async def _pdu(self, connection: socket.socket, longest: int) -> tuple[bytes, bytes]:
        """A whole PDU; of one that is too long, the header."""
        header = await self._exactly(connection, HEADER)
        size = sizes(header)
        if size.additional or size.data > longest:
            return header, b""
        rest = await self._exactly(connection, size.rest)
        return header, rest[: size.data]

    async def _exactly(self, connection: socket.socket, length: int) -> bytes:
        loop = asyncio.get_running_loop()
        found = b""
        while len(found) < length:
            chunk = await loop.sock_recv(connection, length - len(found))
            if not chunk:
                raise _Gone
            found += chunk
        return found

    async def _send(self, connection: socket.socket, data: bytes) -> None:
        # Nearly always there is room for all of it, and nobody has to watch the time.
        try:
            sent = connection.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            rest = asyncio.get_running_loop().sock_sendall(connection, data[sent:])
            await asyncio.wait_for(rest, SEND)


def _named(users: Sequence[User], name: str) -> User:
    return next((user for user in users if user.name == name), User(""))


def _hang_up(connection: socket.socket) -> None:
    """Whoever waits for the other side finds that it has gone."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Close without leaving anything behind."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _outlive_address(connection: socket.socket) -> None:
    """When its address leaves this machine the connection is reset, see `daemon`. The kernel sends that for
    sockets only that may have any address. Without the right to that (CAP_NET_RAW) the peer finds out later.
    """
    with suppress(OSError):
        connection.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)


def _came(connection: socket.socket, policy: Policy, portal: str, peer: str) -> Connection:
    host, port = connection.getsockname()[:2]
    text, _, zone = str(host).partition("%")
    local = Address(ip_address(text))
    known = policy.portals.get(portal)
    here = [address for address in known.addresses if address.ip == local.ip] if known else []
    named = [address for address in here if address.interface == zone] or here
    return Connection(portal, replace(local, interface=named[0].interface if named else zone), port, peer)
