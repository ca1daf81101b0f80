# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps an iSNS server told of what there is: `registration` says what, this has the sockets and the clock.

It has a task of its own, and everything it waits for has an end: no login waits for a server, nor for the
addresses of one. A connection is for one exchange. What has not changed is told again before the server may
forget it: that is the sign of life, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

from pyscstadmin.iscsi.isns import HEADER, Assembly, Header, Malformed, Message, Status, meaning
from pyscstadmin.iscsi.registration import (
    Registration,
    deregister,
    granted,
    query,
    register,
    remove,
    shown,
    split,
)
from pyscstadmin.iscsi.tasks import ended

__all__ = ["OFF", "Registrar"]

OFF = "off"
# Seconds: a registration is good for; told again after, at the latest; between exchanges, at least.
PERIOD, RENEW, APART = 300, 60.0, 1.0
# Seconds: for a connection, for an answer, and for all of the last exchange.
CONNECT, ANSWER, FAREWELL = 3.0, 30.0, 2.0
# Seconds until it is tried again, the first time and at most.
FIRST, LONGEST = 1.0, 60.0
# Log lines in a minute.
_LINES, _MINUTE = 10, 60.0

_log = logging.getLogger("scst-iscsid")


class _Refused(Exception):
    """The server does not want it."""


class Registrar:
    """`changed` is called when `state` is another: one line that says how it goes."""

    def __init__(self, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = changed
        self._clock = clock
        self._server = ""
        self._wanted = Registration("")
        # Where that has begun.
        self._at = ""
        # What a server may have of us, and whether it has just that.
        self._told: tuple[str, Registration] | None = None
        self._sure = False
        self._visible = False
        self._period = PERIOD
        self._failures = 0
        self._wake = asyncio.Event()
        self._names = _Names()
        self._task: asyncio.Task[None] | None = None
        self._trouble = False
        self._minute, self._lines = -_MINUTE, 0
        self._transaction = 0
        self.state = OFF

    def want(self, server: str, wanted: Registration) -> None:
        """What the server ('': none) is to be told from now on."""
        if (server, wanted) == (self._server, self._wanted):
            return
        self._server, self._wanted = server, wanted
        self._wake.set()

    def start(self) -> None:
        """From now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Have the server forget us, if it takes no time worth mentioning."""
        await ended([self._task] if self._task is not None else [])
        await self._farewell()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._step()
            except Exception:
                _log.exception("iSNS")
                self._sure, pause = False, LONGEST
            await asyncio.sleep(APART)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    # A step: whatever is due, and after how many seconds there is more (None: when something changes).

    async def _step(self) -> float | None:
        server, wanted = self._server, self._wanted
        if server != self._at:
            self._at, self._failures = server, 0
            self._say(f"waiting: {server}: not told yet" if server else OFF)
            await self._farewell()
        if not server:
            return None
        if self._told is None and not wanted.nodes:
            self._say(_idle(wanted))
            return None
        return await self._try(server, wanted)

    async def _try(self, server: str, wanted: Registration) -> float | None:
        try:
            pause = await self._tell(server, wanted)
        except _Refused as error:
            return self._failed(f"refused: {server}: {error}")
        except Malformed as error:
            return self._failed(f"refused: {server}: its answer is malformed: {error}")
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            return self._failed(f"waiting: {server}: {_why(error)}")
        self._failures = 0
        self._say(_done(wanted) if wanted.nodes else _idle(wanted))
        return pause

    def _failed(self, state: str) -> float:
        self._sure = False
        self._say(state, trouble=True)
        self._failures += 1
        return float(min(LONGEST, FIRST * 2 ** min(self._failures - 1, 16)))

    async def _tell(self, server: str, wanted: Registration) -> float | None:
        if not wanted.nodes:
            assert self._told is not None
            # A server that refuses has nothing of us, or forgets it when the period is over.
            with suppress(_Refused):
                await self._exchange(server, [deregister(self._told[1])])
            self._told = None
            return None
        told = self._told[1] if self._told is not None and self._sure else None
        if told != wanted or not (self._visible and await self._seen(server, wanted)):
            await self._register(server, wanted, told)
        return min(RENEW, self._period / 3)

    async def _register(self, server: str, wanted: Registration, told: Registration | None) -> None:
        """`told`: what the server had; None: nobody knows. What it had and may have lost is told again."""
        known = told if told is not None and told != wanted else Registration(wanted.entity)
        self._told, self._sure = (server, wanted), False
        if told is None:
            self._period = PERIOD
        # There may be thousands of targets: that is no work for the loop in which others log in.
        messages = await asyncio.to_thread(register, wanted, known, PERIOD, told is None)
        messages += await asyncio.to_thread(remove, known, wanted)
        for answer in await self._exchange(server, messages):
            self._period = granted(answer, self._period)
        self._visible = await self._seen(server, wanted)
        self._sure = True

    async def _seen(self, server: str, wanted: Registration) -> bool:
        """Whether the server shows us to ourselves. One that has us in no discovery domain does not."""
        try:
            (answer,) = await self._exchange(server, [query(wanted)])
        except _Refused:
            return False
        return shown(answer, wanted)

    async def _farewell(self) -> None:
        """A server that does not hear it forgets us when the period is over."""
        told, self._told, self._sure = self._told, None, False
        if told is not None:
            with suppress(OSError, EOFError, asyncio.TimeoutError, Malformed, _Refused):
                await asyncio.wait_for(self._exchange(told[0], [deregister(told[1])]), FAREWELL)

    # Bytes.

    async def _exchange(self, server: str, messages: Sequence[Message]) -> list[Message]:
        """The answers, all of success. Raises `_Refused`, `Malformed`, OSError, EOFError."""
        reader, writer = await self._connect(server)
        try:
            return [await asyncio.wait_for(self._ask(reader, writer, one), ANSWER) for one in messages]
        finally:
            writer.transport.abort()

    async def _connect(self, server: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = split(server)
        failed: Exception = OSError("it has no address")
        for address in await asyncio.wait_for(self._names.addresses(host), ANSWER):
            try:
                return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT)
            except (OSError, asyncio.TimeoutError) as error:
                failed = error
        raise failed

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Message
    ) -> Message:
        self._transaction = self._transaction + 1 & 0xFFFF
        asked = replace(message, transaction=self._transaction)
        writer.write(asked.pdus())
        await writer.drain()
        assembly, answer = Assembly(), None
        while answer is None:
            header = Header.parse(await reader.readexactly(HEADER))
            answer = await asyncio.to_thread(assembly.add, header, await reader.readexactly(header.length))
        due = asked.function, asked.transaction
        if answer.status is None or (answer.answers, answer.transaction) != due:
            raise Malformed("it answers what was not asked")
        if answer.status != Status.SUCCESSFUL:
            raise _Refused(meaning(answer.status))
        return answer

    # What is said of it.

    def _say(self, state: str, trouble: bool = False) -> None:
        if state == self.state:
            return
        self.state = state
        level = logging.WARNING if trouble or self._trouble else logging.INFO
        self._trouble = trouble
        now = self._clock()
        if now - self._minute >= _MINUTE:
            self._minute, self._lines = now, 0
        self._lines += 1
        if self._lines <= _LINES:
            _log.log(level, "iSNS: %s", state.encode("unicode_escape").decode())
        self._changed()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _done(told: Registration) -> str:
    targets, places = _counted(len(told.nodes), "target"), _counted(len(told.endpoints), "portal")
    return f"registered: {targets}, {places}{_untold(told)}"


def _idle(wanted: Registration) -> str:
    return f"waiting: no enabled target has a portal that others can reach{_untold(wanted)}"


def _untold(told: Registration) -> str:
    """iSNS has addresses only."""
    return f"; not portal {', '.join(told.untold)}: advertise is a name" if told.untold else ""


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError):
        return "it has closed the connection"
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or not number:
        return getattr(error, "strerror", None) or str(error)
    return os.strerror(number)


class _Names:
    """Addresses of hosts. Who is asked for one may take minutes, and nobody can stop him: each host is asked
    for once at a time, in a thread that nobody waits for when all ends.
    """

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Raises OSError."""
        with suppress(ValueError):
            return [str(ip_address(host))]
        found = self._asked.get(host)
        if found is None:
            loop = asyncio.get_running_loop()
            found = self._asked[host] = loop.create_future()
            found.add_done_callback(lambda _: self._asked.pop(host))
            threading.Thread(target=_look_up, args=(host, loop, found), name="isns", daemon=True).start()
        return await asyncio.shield(found)


def _look_up(host: str, loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[str]]) -> None:
    found: list[str] | OSError
    try:
        # The name of a server is of a few addresses.
        there = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[:8]
        found = list(dict.fromkeys(str(address[0]) for *_, address in there))
    except OSError as error:
        found = error
    with suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(_settle, future, found)


def _settle(future: asyncio.Future[list[str]], found: list[str] | OSError) -> None:
    if isinstance(found, OSError):
        future.set_exception(found)
        # Perhaps nobody waits any more.
        future.exception()
    else:
        future.set_result(found)
