# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon on real sockets, with a folder for configfs and somebody in place of the kernel."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import pytest

from pyscstadmin.errors import OperationError
from pyscstadmin.iscsi import serve, source
from pyscstadmin.iscsi.daemon import Daemon
from pyscstadmin.iscsi.device import Event, Kind
from pyscstadmin.iscsi.login import LoggedIn, Refused, Status
from pyscstadmin.iscsi.negotiate import text_of
from pyscstadmin.iscsi.pdu import HEADER, NO_TAG, LoginResponse, TextRequest, sizes
from pyscstadmin.iscsi.policy import Address, Policy, Portal, User
from pyscstadmin.iscsi.portals import Bind, Machine, look, machine_of, parse_messages, wanted
from pyscstadmin.iscsi.refusals import Patience, Record, Refusals
from pyscstadmin.iscsi.rules import Obstacle
from pyscstadmin.iscsi.serve import PER_SOURCE, WAIT_MS, Server, status_of
from pyscstadmin.iscsi.source import Seat, Source
from pyscstadmin.iscsi.tasks import ended
from pyscstadmin.iscsi.text import Asked, Said
from pyscstadmin.kernel.cfs import _Directory
from tests.unit.iscsi_client import DISCOVER, INITIATOR, ISID, NAMES, SECRET, TARGET, Initiator, proof


class Fake:
    """In place of the kernel: takes a connection, answers, and keeps it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.adopted: list[LoggedIn] = []
        self.kept: list[socket.socket] = []
        self.states: dict[str, str] = {}
        self.isns: list[str] = []
        self.dropped: list[int] = []
        self.error = 0
        # Milliseconds that the older session of the initiator port takes to end.
        self.older = -1
        self.waits: list[int] = []
        self.config = False
        self.asked: list[Asked] = []
        self.said: dict[int, Said] = {}

    def adopt(self, login: LoggedIn, fd: int, wait_ms: int) -> int:
        """Or an error."""
        self.waits.append(wait_ms)
        error = errno.EAGAIN if wait_ms < self.older else self.error
        if error:
            raise OSError(error, os.strerror(error))
        self.adopted.append(login)
        self.kept.append(socket.socket(fileno=os.dup(fd)))
        self.kept[-1].sendall(login.response)
        return len(self.adopted)

    def secret(self, target: str, user: str) -> bytes | None:
        """One user."""
        return SECRET if (target, user) == (TARGET, "it") else None

    def portal_state(self, portal: str, state: str) -> None:
        """Remember."""
        self.states[portal] = state

    def isns_state(self, state: str) -> None:
        """Remember."""
        self.isns.append(state)

    def drop(self, tsih: int, seconds: int | None = None) -> None:
        """Remember."""
        self.dropped.append(tsih)

    def text(self, after: int) -> Asked | None:
        """Of those that a test has put there."""
        return next((one for one in self.asked if one.number > after), None)

    def answer(self, number: int, said: Said) -> None:
        """Remember."""
        self.said[number] = said
        self.asked = [one for one in self.asked if one.number != number]

    def changed(self) -> None:
        """The configuration is another one."""
        self.config = True
        self.far.send(b"x")

    def events(self) -> list[Event]:
        """What `changed` said, and whether there are texts."""
        self.near.recv(100)
        return [Event(Kind.CONFIG)] * self.config + [Event(Kind.TEXT)] * bool(self.asked)

    def fileno(self) -> int:
        """To poll."""
        return self.near.fileno()

    def close(self) -> None:
        """All of it."""
        for one in (self.near, self.far, *self.kept):
            one.close()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def signals_kept() -> Iterator[None]:
    """The daemon's loop leaves signals as they are by default, which they are not in a background job."""
    numbers = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class World:
    """A folder that is like configfs, and a daemon that runs on it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.port, self.kernel = folder / "scst", free_port(), Fake()
        self.wires: list[Wire] = []
        self.logins = folder / "run" / "logins.json"
        self.portal = self.root / "drivers/iscsi/portals/here"
        self.target = self.root / "targets/iscsi" / TARGET
        for path in ("luns/0", "groups", "portals", "users", "params"):
            (self.target / path).mkdir(parents=True)
        self.portal.mkdir(parents=True)
        (self.root / "drivers/iscsi/users").mkdir()
        self.write(self.root / "generation", "1")
        self.write(self.portal / "address", "127.0.0.1")
        self.write(self.portal / "port", str(self.port))
        self.write(self.target / "enabled", "1")
        self.write(self.target / "lun_table", "0 0 disk")
        (self.target / "portals/here").symlink_to(self.portal)
        self.uses = folder / "lib" / "uses.json"
        self.source = Source(str(self.root), str(folder / "class"), str(self.uses))
        self.daemon = Daemon(self.source, Refusals(str(self.logins)), lambda: self.kernel)

    @staticmethod
    def write(path: Path, text: str) -> None:
        """An attribute."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def run(self, what: Callable[[], Awaitable[None]]) -> None:
        """Do something while the daemon runs."""

        async def both() -> None:
            task = asyncio.create_task(self.daemon.run())
            try:
                await self.until(lambda: self.kernel.states.get("here", "") != "")
                await asyncio.wait_for(what(), 60)
            finally:
                self.daemon.stop()
                await task
                for wire in self.wires:
                    wire.writer.close()
                    with suppress(OSError):
                        await wire.writer.wait_closed()

        with signals_kept():
            asyncio.run(both())

    @staticmethod
    async def until(condition: Callable[[], bool]) -> None:
        """Wait for something that comes."""
        for _ in range(6000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it does not come")

    async def connect(self) -> Wire:
        """One more initiator."""
        self.wires.append(Wire(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.wires[-1]


class Wire:
    """An initiator on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.login = Initiator()

    async def say(
        self, pairs: list[tuple[str, str]], after: int | None = None, more: bytes = b""
    ) -> LoginResponse:
        """A login request, and bytes behind it; returns the answer."""
        self.writer.write(self.login.request(text_of(pairs), after).build() + more)
        return await self.hear()

    async def hear(self) -> LoginResponse:
        """An answer."""
        header = await self.reader.readexactly(HEADER)
        size = sizes(header)
        data = await self.reader.readexactly(size.rest)
        answer = LoginResponse.parse(header, data[: size.data])
        if answer.transit:
            self.login.stage = answer.next
        return answer

    async def over(self) -> bool:
        """Whether it is closed."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A daemon that does not run yet."""
    return World(tmp_path)


def test_login_and_what_comes_early_is_the_kernels(world: World) -> None:
    async def what() -> None:
        wire = await world.connect()
        await wire.say(NAMES, 1)
        answer = await wire.say([("MaxRecvDataSegmentLength", "8192")], 3, b"early bytes")
        assert (answer.status, answer.transit, answer.next) == (0, True, 3)
        await world.until(lambda: len(world.kernel.kept) == 1)
        world.kernel.kept[0].setblocking(True)
        assert await asyncio.to_thread(world.kernel.kept[0].recv, 100) == b"early bytes"
        assert world.kernel.adopted[0].initiator == INITIATOR
        assert world.kernel.states == {"here": "listening"}

    world.run(what)


@pytest.mark.parametrize(
    ("number", "status", "rule"),
    [
        (errno.EAGAIN, 0x0301, "older-session"),
        (errno.ECANCELED, 0x0301, "newer-session"),
        (errno.ESHUTDOWN, 0x0301, "not-enabled"),
        (errno.ENOMEM, 0x0302, "kernel"),
        (errno.ENOSPC, 0x0302, "limit"),
        (errno.EBUSY, 0x0300, "kernel"),
        (errno.EPROTONOSUPPORT, 0x0300, "kernel"),
        (errno.ENODEV, 0x0301, "not-enabled"),
    ],
)
def test_i48_i85_the_kernel_does_not_take_it(world: World, number: int, status: int, rule: str) -> None:
    async def what() -> None:
        world.kernel.error = number
        wire = await world.connect()
        answer = await wire.say(NAMES, 3)
        assert (answer.status, answer.transit) == (status, False)
        assert await wire.over()

    world.run(what)
    (record,) = json.loads(world.logins.read_text())
    assert record["status"] == f"{status:04X}"
    assert record["rule"] == rule
    assert rule != "kernel" or record["reason"] == os.strerror(number)


@pytest.mark.parametrize(("takes", "waits"), [(-1, [0]), (1000, [0, WAIT_MS])])
def test_only_who_has_to_wait_for_an_older_session_does(world: World, takes: int, waits: list[int]) -> None:
    world.kernel.older = takes

    async def what() -> None:
        assert (await (await world.connect()).say(NAMES, 3)).status == 0
        assert world.kernel.kept[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    world.run(what)
    assert world.kernel.waits == waits


def sessions(folder: Path, *drivers: str, isid: str = "0x00023d000099", port: int = 1) -> None:
    """Sessions that there are, by their drivers."""
    for number, driver in enumerate(drivers):
        here = folder / f"session.{number}"
        World.write(here / "target", f"{driver}/{TARGET}")
        World.write(here / "initiator", INITIATOR)
        if driver == "iscsi":
            texts = {
                "isid": isid,
                "tsih": str(number + 1),
                "cid": "0",
                "portal": "here",
                "local": f"127.0.0.1:{port}",
            }
            for name, text in texts.items():
                World.write(here / "iscsi" / name, text)


def test_one_session_is_found_without_reading_all(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask for one that there is not, before he has said who he is."""
    sessions(tmp_path / "class", "local", *["iscsi"] * 50)
    reads, value = count(), source._value
    monkeypatch.setattr(source, "_value", lambda path, name: (next(reads), value(path, name))[1])
    found = world.source._session(7)
    assert found is not None
    assert (found.tsih, found.target, found.initiator) == (7, TARGET, INITIATOR)
    assert world.source._session(99) is None
    assert world.source.send_targets(99) is None
    assert next(reads) < 4 * 51
    world.kernel.close()


def test_the_limit_counts_sessions_of_iscsi_and_discoveries(world: World, tmp_path: Path) -> None:
    """Not those of other drivers; and one that takes the place of an older one is none more."""
    world.write(world.root / "drivers/iscsi/max_connections", "2")
    sessions(tmp_path / "class", "local", "local", "iscsi")

    async def what() -> None:
        assert (await (await world.connect()).say(DISCOVER, 3)).status == 0
        for keys in (DISCOVER, NAMES):
            wire = await world.connect()
            assert (await wire.say(keys, 3)).status == Status.RESOURCES
            assert await wire.over()
        sessions(tmp_path / "class", "local", "local", "iscsi", isid=f"0x{ISID.hex()}")
        assert (await (await world.connect()).say(NAMES, 3)).status == 0

    world.run(what)
    records = json.loads(world.logins.read_text())
    assert [(one["rule"], one["target"]) for one in records] == [("limit", ""), ("limit", TARGET)]
    assert all("max_connections (2)" in one["reason"] for one in records)


def test_sessions_are_not_counted_for_each_login(world: World, tmp_path: Path) -> None:
    """Only where there might be too many: then as they are."""
    sessions(tmp_path / "class", "iscsi", "iscsi")
    assert not world.source.has_sessions(4)
    sessions(tmp_path / "class", "iscsi", "iscsi", "iscsi", "local")
    assert not world.source.has_sessions(4)
    world.source.began()
    assert world.source.has_sessions(3)
    world.source.began()
    assert not world.source.has_sessions(4)
    assert world.source.has_sessions(3)
    world.kernel.close()


def test_enodev_of_a_target_that_is_gone() -> None:
    assert status_of(OSError(errno.ENODEV, "")) is Status.NOT_FOUND


def test_u15_refusals_have_their_reasons(world: World) -> None:
    world.write(world.target / "auth", "chap")
    world.write(world.target / "users/it/direction", "in")

    async def what() -> None:
        for user, secret in (("it", b"something else!"), ("him", SECRET)):
            wire = await world.connect()
            await wire.say([*NAMES, ("AuthMethod", "CHAP")])
            asked = await wire.say([("CHAP_A", "5")])
            text = dict(pair.split("=", 1) for pair in asked.data.decode().split("\0") if pair)
            assert (await wire.say(proof(text, user, secret), 1)).status == 0x0201
        right = await world.connect()
        await right.say([*NAMES, ("AuthMethod", "CHAP")])
        asked = await right.say([("CHAP_A", "8")])
        text = dict(pair.split("=", 1) for pair in asked.data.decode().split("\0") if pair)
        assert (await right.say(proof(text), 3)).status == 0
        await world.until(world.logins.exists)

    world.run(what)
    wrong, unknown = [Record(**record) for record in json.loads(world.logins.read_text())]
    assert (wrong.user, wrong.reason, wrong.peer) == ("it", "wrong secret of user 'it'", "127.0.0.1")
    assert (unknown.user, unknown.reason) == ("him", "unknown user 'him'")
    assert world.logins.stat().st_mode & 0o777 == 0o600
    assert SECRET.decode() not in world.logins.read_text()


async def prove(world: World, first: list[tuple[str, str]] = NAMES, user: str = "it") -> int:
    """A login by CHAP; returns its status."""
    wire = await world.connect()
    await wire.say([*first, ("AuthMethod", "CHAP")])
    asked = await wire.say([("CHAP_A", "8")])
    text = dict(pair.split("=", 1) for pair in asked.data.decode().split("\0") if pair)
    return (await wire.say(proof(text, user), 3)).status


def test_a_user_that_is_good_for_one_login(world: World) -> None:
    """One that comes to nothing in the kernel is none; discovery has users, and uses, of its own."""
    world.write(world.target / "auth", "chap")
    world.write(world.portal / "discovery_auth", "chap")
    for where in (world.target, world.root / "drivers/iscsi"):
        world.write(where / "users/it/direction", "in")
        world.write(where / "users/it/secret_from", "/etc/it 1.2.3")
        world.write(where / "users/it/uses", "1")
    world.kernel.secret = lambda target, user: SECRET  # type: ignore[method-assign]

    async def what() -> None:
        world.kernel.error = errno.EBUSY
        assert await prove(world) == 0x0300
        world.kernel.error = 0
        assert await prove(world) == 0
        assert await prove(world) == 0x0201
        assert await prove(world, DISCOVER) == 0
        assert await prove(world, DISCOVER) == 0x0201

    world.run(what)
    assert list(json.loads(world.uses.read_text()).values()) == [1, 1]
    rules = [record["rule"] for record in json.loads(world.logins.read_text())]
    assert rules == ["kernel", "used-up", "used-up"]


def test_i49_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is good for some logins waits until his use is kept, however many there are; others do not."""
    monkeypatch.setattr("pyscstadmin.iscsi.serve.ADOPTING", 2)
    world = World(tmp_path)
    world.write(world.target / "auth", "chap")
    for name, uses in (("it", "9"), ("joe", "0")):
        world.write(world.target / "users" / name / "direction", "in")
        world.write(world.target / "users" / name / "uses", uses)
    world.kernel.secret = lambda target, user: SECRET  # type: ignore[method-assign]
    hangs, disk, take = threading.Event(), threading.Event(), world.source.uses.take

    def hanging(target: str, user: User) -> Obstacle | None:
        if user.uses:
            hangs.set()
            disk.wait()
        return take(target, user)

    async def what() -> None:
        monkeypatch.setattr(world.source.uses, "take", hanging)
        waiting = [asyncio.create_task(prove(world)) for _ in range(3)]
        try:
            await world.until(hangs.is_set)
            await asyncio.sleep(0.1)  # the others likewise, most likely
            assert await asyncio.wait_for(prove(world, user="joe"), 30) == 0
            assert not any(one.done() for one in waiting)
        finally:
            disk.set()
        assert await asyncio.gather(*waiting) == [0, 0, 0]

    world.run(what)


def test_i49_half_open_logins(world: World) -> None:
    async def what() -> None:
        wires = [await world.connect() for _ in range(PER_SOURCE)]
        await asyncio.sleep(0.1)
        assert await (await world.connect()).over()
        wires[0].writer.close()
        await wires[0].writer.wait_closed()
        for _ in range(100):
            wire = await world.connect()
            try:
                answer = await wire.say(NAMES, 3)
            except (asyncio.IncompleteReadError, ConnectionError):
                await asyncio.sleep(0.05)
                continue
            assert answer.status == 0
            return
        raise AssertionError("nobody gets in")

    world.run(what)


def test_discoveries_of_one_address_leave_room_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need no secret, and count as connections: one initiator could have all of them."""
    monkeypatch.setattr(serve, "PER_SOURCE", 3)

    async def what() -> None:
        wires = [await world.connect() for _ in range(3)]
        for wire in wires:
            assert (await wire.say(DISCOVER, 3)).status == 0
        assert await (await world.connect()).over()
        wires[0].writer.close()
        await world.until(lambda: world.daemon._server._from.total() == 2)
        assert (await (await world.connect()).say(NAMES, 3)).status == 0

    world.run(what)
    assert not world.daemon._server._from


def test_a_flood_of_those_who_are_too_many_leaves_others_their_turn(world: World) -> None:
    """Connections that wait already are taken without waiting, and so one after the other."""

    async def what() -> None:
        server, turns = world.daemon._server, count()
        server._too_many = lambda peer: "too many"  # type: ignore[method-assign]
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            listener.setblocking(False)
            peers = [socket.create_connection(listener.getsockname()) for _ in range(50)]
            task = asyncio.create_task(server.accept(listener, lambda: "here"))
            refused = server._refusals._kept
            while len(refused) < 50:
                next(turns)
                await asyncio.sleep(0)
            task.cancel()
            for peer in peers:
                peer.close()
        assert next(turns) > 25

    asyncio.run(what())
    world.kernel.close()


def test_the_end_of_a_daemon_does_not_wait_for_a_cancellation_that_was_lost() -> None:
    """wait_for() of Python before 3.12 loses one where what it waits for is over just then."""

    async def what() -> None:
        lost = asyncio.Event()

        async def deaf() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            lost.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await asyncio.wait_for(ended([task]), 30)
        assert lost.is_set()
        assert task.cancelled()

    asyncio.run(what())


def test_who_accepts_is_there_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error that nobody thought of."""
    began, accept = count(), Server.accept

    async def fails_once(self: Server, listener: socket.socket, portal: Callable[[], str]) -> None:
        if next(began) == 0:
            raise ZeroDivisionError
        await accept(self, listener, portal)

    monkeypatch.setattr(Server, "accept", fails_once)

    async def what() -> None:
        world.kernel.changed()
        assert (await (await world.connect()).say(NAMES, 3)).status == 0

    world.run(what)


def test_what_cannot_be_read_is_not_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without descriptors, say: its sessions would end, and its users be unknown."""
    source = world.source
    source.device = world.kernel
    before = source.read().targets
    assert before[0].portals == {"here"}
    names = _Directory.list
    for folder in ("portals", "users", "groups"):

        def refuse(view: _Directory, path: str, folder: str = folder) -> list[str]:
            if path.endswith(f"/{folder}"):
                raise OperationError("list", path, None, errno.EMFILE)
            return names(view, path)

        monkeypatch.setattr(_Directory, "list", refuse)
        policy = source.read()
        assert (policy.available, policy.targets) == (False, before), folder
    # Nor is an iSNS server told so.
    told = count()
    monkeypatch.setattr(world.daemon._registrar, "want", lambda server, wanted: next(told))
    world.daemon._register({})
    assert next(told) == 0
    monkeypatch.undo()
    assert source.fresh().available
    assert source.sure
    world.kernel.close()


def test_a_portal_that_goes_while_it_is_read_is_none(world: World) -> None:
    """It would listen at all addresses, else."""
    world.portal.joinpath("address").unlink()
    world.source.device = world.kernel
    policy = world.source.read()
    assert policy.available
    assert not policy.portals
    world.kernel.close()


def test_i49_what_fails_is_not_half_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that end before their login has begun, as many as one address may have open."""
    fresh, left = world.source.fresh, PER_SOURCE

    def failing() -> Policy:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fresh()

    async def what() -> None:
        monkeypatch.setattr(world.source, "fresh", failing)
        for _ in range(PER_SOURCE):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await (await world.connect()).say(NAMES, 3)
        assert (await (await world.connect()).say(NAMES, 3)).status == 0

    world.run(what)


def test_i49_who_says_nothing_costs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up for a connection until it has said something."""
    looks = []
    fresh = Source.fresh

    def counted(source: Source) -> Policy:
        looks.append(source)
        return fresh(source)

    monkeypatch.setattr(Source, "fresh", counted)

    async def what() -> None:
        for _ in range(20):
            await world.connect()
        assert (await (await world.connect()).say(NAMES, 3)).status == 0

    world.run(what)
    assert len(looks) == 1


def test_i49_login_timer(world: World) -> None:
    world.write(world.root / "drivers/iscsi/login_timeout", "1")

    async def what() -> None:
        wire = await world.connect()
        await wire.say(NAMES)
        assert await wire.over()

    world.run(what)
    (record,) = json.loads(world.logins.read_text())
    assert record["reason"] == "not finished within 1 s"
    assert record["initiator"] == INITIATOR


def test_i90_discovery(world: World) -> None:
    from pyscstadmin.iscsi.pdu import LogoutRequest, TextRequest, TextResponse

    async def what() -> None:
        wire = await world.connect()
        assert (await wire.say(DISCOVER, 3)).status == 0
        wire.writer.write(TextRequest(True, False, 1, 0xFFFFFFFF, 5, 0, data=b"SendTargets=All\0").build())
        header = await wire.reader.readexactly(HEADER)
        data = await wire.reader.readexactly(sizes(header).rest)
        found = TextResponse.parse(header, data[: sizes(header).data])
        assert found.data.decode() == f"TargetName={TARGET}\0TargetAddress=127.0.0.1:{world.port},1\0"
        wire.writer.write(LogoutRequest(0, 2, 0, 6, 0).build())
        await wire.reader.readexactly(HEADER)
        assert await wire.over()

    world.run(what)


def test_changes_are_followed(world: World) -> None:
    """What the kernel announces, and who may see what, which it does not."""

    async def what() -> None:
        world.write(world.target / "lun_table", "")
        world.write(world.root / "generation", "2")
        assert (await (await world.connect()).say(NAMES, 3)).status == 0x0203
        world.write(world.target / "lun_table", "0 0 disk")
        world.write(world.root / "generation", "3")
        assert (await (await world.connect()).say(NAMES, 3)).status == 0
        world.write(world.portal / "address", "192.0.2.77")
        world.kernel.changed()
        await world.until(lambda: world.kernel.states["here"].startswith("waiting"))
        assert world.kernel.states["here"] == "waiting: no interface has address 192.0.2.77"
        with pytest.raises(ConnectionRefusedError):
            await world.connect()

    world.run(what)


def test_a_port_that_somebody_has(world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        world.write(world.portal / "port", str(other.getsockname()[1]))

        async def what() -> None:
            assert world.kernel.states["here"].startswith("failed: 127.0.0.1:")
            other.close()
            await world.until(lambda: world.kernel.states["here"] == "listening")

        world.run(what)


def a_session(world: World, folder: Path, local: str) -> None:
    """One that the kernel shows: TSIH 9."""
    session = folder / "class/session.1"
    values = {"target": f"iscsi/{TARGET}", "initiator": INITIATOR, "iscsi/portal": "here", "iscsi/cid": "0"}
    values |= {"iscsi/tsih": "9", "iscsi/isid": "0x00023d000001", "iscsi/local": local}
    for name, value in values.items():
        world.write(session / name, value)


def test_sessions_of_an_address_that_has_left(world: World, tmp_path: Path) -> None:
    a_session(world, tmp_path, "10.0.0.5:3260")
    before = Machine({"eth0": 2}, (Address(ip_address("10.0.0.5"), "eth0"),))
    (seat,) = world.source.lives()
    assert (seat.live.tsih, seat.portal, seat.local, seat.port) == (9, "here", "10.0.0.5", 3260)
    world.source.device = world.kernel
    world.daemon._left(world.source.read(), "", before, before)
    assert world.kernel.dropped == []
    world.daemon._left(world.source.read(), "", before, Machine({"eth0": 2}, ()))
    assert world.kernel.dropped == [9]
    world.kernel.close()


def asked(number: int, tsih: int, text: bytes, transfer_tag: int = NO_TAG) -> Asked:
    """A text that the kernel has."""
    return Asked(number, tsih, TextRequest(True, False, 7, transfer_tag, 0, 0, data=text), 8192)


def test_i52_texts_of_sessions(world: World, tmp_path: Path) -> None:
    """Those that were there before, and those that come; the session's own target only."""
    a_session(world, tmp_path, f"127.0.0.1:{world.port}")
    own = f"TargetName={TARGET}\0TargetAddress=127.0.0.1:{world.port},1\0".encode()
    world.kernel.asked = [asked(1, 9, b"SendTargets=\0")]

    async def what() -> None:
        await world.until(lambda: 1 in world.kernel.said)
        others = (
            b"SendTargets=All\0",
            f"SendTargets={TARGET}\0".encode(),
            b"X-a=1\0HeaderDigest=None\0",
            b"bad",
        )
        world.kernel.asked += [asked(number, 9, text) for number, text in enumerate(others, 2)]
        world.kernel.asked += [asked(6, 10, b"SendTargets=\0"), asked(7, 9, b"", 5)]
        world.kernel.far.send(b"x")
        await world.until(lambda: 7 in world.kernel.said)

    world.run(what)
    said = world.kernel.said
    assert said[1] == Said(data=own)
    assert said[2].data == b"SendTargets=Reject\0"
    assert said[3].data == own
    assert said[4].data == b"X-a=NotUnderstood\0HeaderDigest=Reject\0"
    assert [said[number].reject for number in (5, 6, 7)] == [0x04, 0x09, 0x09]


# Where to listen.


def machine(*texts: str) -> Machine:
    """Addresses, `10.0.0.5%eth0`."""
    found = [Address(ip_address(ip), zone) for ip, _, zone in (text.partition("%") for text in texts)]
    return Machine({"lo": 1, "eth0": 2, "eth1": 3}, tuple(found))


def test_u11_portals_follow_addresses() -> None:
    here = {"": machine("127.0.0.1%lo", "10.0.0.5%eth0", "fe80::5%eth0", "fe80::5%eth1")}
    portals = [
        Portal("all"),
        Portal("link", "fe80::5%eth1", 1),
        Portal("nic", "eth0", 2),
        Portal("nowhere", "10.9.9.9"),
        Portal("other", "eth7"),
        Portal("plain", "10.0.0.5", 3),
        Portal("silent", "eth1", 5, netns="away"),
        Portal("twin", "10.0.0.5", 3),
    ]
    plans = wanted(portals, {**here, "away": None})
    assert [str(bind) for bind in plans["all"].binds] == ["0.0.0.0:3260", "[::]:3260"]
    assert plans["all"].addresses == here[""].addresses
    assert plans["link"].binds == (Bind("", ip_address("fe80::5"), 1, 3),)
    assert [bind.device for bind in plans["nic"].binds] == ["eth0", "eth0"]
    assert {address.interface for address in plans["nic"].addresses} == {"eth0"}
    assert plans["plain"].binds == (Bind("", ip_address("10.0.0.5"), 3),)
    assert {name: plan.waiting for name, plan in plans.items() if plan.waiting} == {
        "nowhere": "no interface has address 10.9.9.9",
        "other": "there is no interface eth7",
        "silent": "network namespace away is not there",
        "twin": "portal plain has the same address and port",
    }


def test_a_namespace_that_was_made_anew_is_another() -> None:
    """Though its name is the same, and so are its interfaces and addresses: all its sockets are others."""
    portals = [Portal("all", netns="n"), Portal("nic", "eth0", 2, "n"), Portal("plain", "10.0.0.5", 3, "n")]
    older, newer = (
        wanted(portals, {"n": replace(machine("10.0.0.5%eth0"), space=number)}) for number in (1, 2)
    )
    for name, plan in older.items():
        assert plan.binds
        assert not {*plan.binds} & {*newer[name].binds}, name
        assert [str(bind) for bind in plan.binds] == [str(bind) for bind in newer[name].binds]


def test_rtnetlink_answers() -> None:
    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    link = struct.pack("=BxHiII", 0, 1, 2, 0, 0) + attribute(3, b"eth0\0")
    four = struct.pack("=BBBBI", 2, 24, 0, 0, 2) + attribute(1, bytes(4)) + attribute(2, b"\x0a\0\0\5")
    tentative = struct.pack("=BBBBI", 10, 64, 0x40, 0, 2) + attribute(1, bytes(15) + b"\1")
    found = machine_of([link], [four, tentative, b""])
    assert found == Machine({"eth0": 2}, (Address(ip_address("10.0.0.5"), "eth0"),))
    message = struct.pack("=IHHII", 16 + len(four), 20, 0, 0, 0) + four
    assert list(parse_messages(message * 2 + b"\xff" * 7)) == [(20, 0, four)] * 2
    assert list(parse_messages(struct.pack("=IHHII", 4, 20, 0, 0, 0))) == []


class Torn:
    """In place of a socket of rtnetlink: the first so many answers lack what there is."""

    def __init__(self, torn: int) -> None:
        self.torn = torn

    def send(self, data: bytes) -> None:
        """A question."""

    def recv(self, size: int) -> bytes:
        """NLM_F_DUMP_INTR may stand in the last message only."""
        self.torn -= 1
        if self.torn >= 0:
            return struct.pack("=IHHII", 20, 3, 0x12, 1, 0) + bytes(4)
        there = struct.pack("=IHHII", 20, 20, 2, 1, 0) + b"here"
        return there + struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)


def test_an_answer_of_rtnetlink_that_was_torn_is_asked_for_again() -> None:
    """Sessions whose address is not in it would be ended."""
    from pyscstadmin.iscsi.portals import _dump

    assert _dump(Torn(3), 22, 20, b"") == [b"here"]  # type: ignore[arg-type]
    with pytest.raises(OSError, match="they change whenever"):
        _dump(Torn(10**6), 22, 20, b"")  # type: ignore[arg-type]


def test_this_machine_has_itself() -> None:
    found = look()
    assert found is not None
    assert found.has("127.0.0.1") == [Address(ip_address("127.0.0.1"), "lo")]
    assert look("there-is-no-such-namespace") is None


# Refusals.


def test_refusals_are_kept_over_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "logins.json")
    refusals = Refusals(path, lambda: 5.0)
    for number in range(300):
        refusals.note("here", "10.0.0.7", Refused(Status.NOT_FOUND, f"no {number}"))
    refusals.save()
    again = Refusals(path)
    assert [record.reason for record in again.records] == [f"no {number}" for number in range(44, 300)]
    Path(path).write_text("{")
    assert Refusals(path).records == []


def test_i69_guessing_takes_longer_each_time() -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    assert [patience.delay("a") for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert patience.delay("b") == 0.25
    patience.success("a")
    assert patience.delay("a") == 0.25
    now[0] = 61
    assert patience.delay("b") == 0.25


def test_sessions_by_a_portal_that_their_target_was_taken_from_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before; and that the policy was read again is no reason. Where they cannot be seen, in a while."""
    sessions(tmp_path / "class", "local", "iscsi", port=world.port)
    looks, lives = count(), Source.lives

    def without_descriptors(self: Source) -> list[Seat]:
        if next(looks) < 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "sessions")
        return lives(self)

    async def what() -> None:
        world.kernel.changed()
        await world.connect()
        await asyncio.sleep(0.3)
        assert world.kernel.dropped == []
        monkeypatch.setattr(Source, "lives", without_descriptors)
        (world.target / "portals/here").unlink()
        world.kernel.changed()
        await world.until(lambda: world.kernel.dropped != [])
        assert set(world.kernel.dropped) == {2}

    world.run(what)


def test_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network namespace cannot be looked into then, which is no reason to end, and not the same as none."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="new thread") as caught:
        look("blue")
    assert caught.value.errno == errno.EAGAIN
