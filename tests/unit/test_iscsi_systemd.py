# SPDX-License-Identifier: GPL-2.0-or-later
"""The sockets that listen outlive the daemon: who comes while there is none waits, and is answered."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from pyscstadmin.iscsi.listeners import Listeners
from pyscstadmin.iscsi.negotiate import text_of
from pyscstadmin.iscsi.pdu import HEADER, LoginResponse, sizes
from pyscstadmin.iscsi.policy import Portal
from pyscstadmin.iscsi.portals import Bind, Machine, fits, listen, wanted
from pyscstadmin.iscsi.serve import PER_SOURCE
from pyscstadmin.iscsi.systemd import NAME_MAX, Manager, given, name_of
from tests.iscsi.keeper import Keeper
from tests.unit.iscsi_client import NAMES, Initiator
from tests.unit.test_iscsi_serve import World, free_port

UNIT = Path(__file__).parents[2] / "udev/scst-iscsid.service"
LOCALHOST = ip_address("127.0.0.1")
UNAVAILABLE = 0x0301
STRING_MAX = 1 << 17  # of one string of the environment: MAX_ARG_STRLEN


# --- what is said ---


def test_name() -> None:
    assert name_of(Bind("", LOCALHOST, 3260)) == "portal//127.0.0.1/3260/0//0"
    local = Bind("blue:1", ip_address("fe80::1"), 860, 3, "eth0", 4)
    assert name_of(local) == "portal/blue%3a1/fe80%3a%3a1/860/3/eth0/4"


BINDS = st.builds(
    Bind,
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), max_size=255),
    st.ip_addresses(),
    st.integers(1, 65535),
    st.integers(0, 1 << 31),
    st.text(st.characters(exclude_characters="/: \0", exclude_categories=["Cs"]), max_size=15),
    st.integers(0, 1 << 31),
)


@any_of(BINDS, BINDS)
def test_names_are_what_systemd_takes_and_never_alike(one: Bind, other: Bind) -> None:
    name = name_of(one)
    assert len(name) <= NAME_MAX
    assert all(" " < letter < "\x7f" and letter != ":" for letter in name)
    assert (name == name_of(other)) == (one == other)


def test_all_names_fit_into_the_environment() -> None:
    """A store that is full must not keep the daemon from being started."""
    settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if line[:1].isalpha())
    most = int(settings["FileDescriptorStoreMax"])
    assert most >= 512
    assert len("LISTEN_FDNAMES=") + most * (NAME_MAX + 1) < STRING_MAX
    assert (settings["Type"], settings["NotifyAccess"]) == ("notify", "main")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, []),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, [(3, "a"), (4, "b")]),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, []),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, []),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "-1", "LISTEN_FDNAMES": "a"}, []),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "many", "LISTEN_FDNAMES": "a"}, []),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, [(3, "a")]),
    ],
)
def test_what_is_handed_over(environment: dict[str, str], found: list[tuple[int, str]]) -> None:
    assert given(environment, 7) == found


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def test_words_of_the_protocol(peer: socket.socket, tmp_path: Path) -> None:
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with socket.socket() as kept:
        assert manager.keep(kept, "portal/x")
        text, more, *_ = peer.recvmsg(1000, socket.CMSG_SPACE(16))
        assert text == b"FDSTORE=1\nFDNAME=portal/x"
        ((level, kind, data),) = more
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        (fd,) = array.array("i", data)
        assert os.path.sameopenfile(fd, kept.fileno())
        os.close(fd)
    manager.forget("portal/x")
    manager.tell("READY=1")
    assert (peer.recv(1000), peer.recv(1000)) == (b"FDSTOREREMOVE=1\nFDNAME=portal/x", b"READY=1")


def test_a_manager_that_does_not_hear(peer: socket.socket, tmp_path: Path) -> None:
    """What matters is asked for again; what does not is not waited for."""
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with socket.socket() as kept:
        answers = [manager.keep(kept, "x") for _ in range(3)]
        while answers[-1]:
            manager.tell("WATCHDOG=1")
            answers.append(manager.keep(kept, "x"))
        manager.tell("WATCHDOG=1")
        (tmp_path / "notify").unlink()
        assert not manager.keep(kept, "x")
        assert Manager({}).keep(kept, "x"), "nobody is there who could"


# --- what it is ---


def test_only_what_it_is() -> None:
    """Each property by itself."""
    bind = Bind("", LOCALHOST, free_port())
    with listen(bind) as made:
        assert fits(made, bind)
        for other in (
            replace(bind, ip=ip_address("127.0.0.2")),
            replace(bind, ip=ip_address("::1")),
            replace(bind, port=bind.port + 1),
            replace(bind, device="lo", index=1),
            replace(bind, netns="there-is-no-such-namespace"),
        ):
            assert not fits(made, other), other


def test_only_what_it_is_of_ipv6() -> None:
    bind = Bind("", ip_address("::"), free_port())
    try:
        made = listen(bind)
    except OSError:
        pytest.skip("no IPv6 here")
    with made:
        assert fits(made, bind)
        assert not fits(made, replace(bind, zone=1))
    with socket.create_server(("::", bind.port), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        assert not fits(both, bind)


# --- the daemon, killed ---


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A folder that is like configfs, with a portal and a target. No kernel: nobody gets in, all are told."""
    made = World(tmp_path)
    made.kernel.close()
    return made


@pytest.fixture
def keeper(world: World, tmp_path: Path) -> Iterator[Keeper]:
    """The daemon, ready."""
    argv = [sys.executable, "-m", "pyscstadmin.iscsi.daemon", "--root", str(world.root)]
    for name in ("device", "class", "logins", "uses"):
        argv += [f"--{name}", str(tmp_path / name)]
    with Keeper(argv) as made:
        made.wait()
        yield made


def ask(port: int) -> socket.socket:
    """Come, and ask to be let in."""
    made = socket.create_connection(("127.0.0.1", port), 60)
    made.sendall(Initiator().request(text_of(NAMES), 3).build())
    return made


def answer(asked: socket.socket) -> int:
    """The status that it is answered with."""
    with asked, asked.makefile("rb") as stream:
        header = stream.read(HEADER)
        return LoginResponse.parse(header, stream.read(sizes(header).rest)).status


def named(port: int) -> str:
    return name_of(Bind("", LOCALHOST, port))


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_who_comes_meanwhile_is_answered(world: World, keeper: Keeper, how: int) -> None:
    kept = keeper.store
    assert keeper.names() == [named(world.port)]
    for _ in range(2):
        keeper.end(how)
        waiting = [ask(world.port) for _ in range(3)]
        keeper.start()
        assert [answer(one) for one in waiting] == [UNAVAILABLE] * 3
        assert answer(ask(world.port)) == UNAVAILABLE
        assert keeper.store == kept, "the same one"


def test_many_have_given_up(world: World, keeper: Keeper) -> None:
    """They do not count for who comes after them."""
    keeper.end()
    for _ in range(3 * PER_SOURCE):
        ask(world.port).close()
    waiting = ask(world.port)
    keeper.start()
    assert answer(waiting) == UNAVAILABLE


def test_a_portal_that_moves(world: World, keeper: Keeper) -> None:
    """While there is a daemon, and while there is none."""
    ports = [world.port, free_port(), free_port()]
    world.write(world.portal / "port", str(ports[1]))
    os.kill(keeper.pid, signal.SIGHUP)
    keeper.wait(lambda: keeper.names() == [named(ports[1])])
    assert refused(ports[0])
    keeper.end()
    world.write(world.portal / "port", str(ports[2]))
    waiting = ask(ports[1])
    keeper.start()
    keeper.wait(lambda: keeper.names() == [named(ports[2])])
    assert refused(ports[1])
    with pytest.raises(ConnectionResetError):
        waiting.recv(1)
    waiting.close()
    assert answer(ask(ports[2])) == UNAVAILABLE


def other_thing(what: str, port: int) -> Any:
    """Something that might be kept by the name of a portal's socket."""
    if what == "no socket":
        return open("/dev/null", "rb")
    if what == "does not listen":
        return socket.socket()
    return listen(Bind("", LOCALHOST, port if what == "two" else 0))


@pytest.mark.parametrize("what", ["listens elsewhere", "does not listen", "no socket", "two"])
def test_what_is_not_what_its_name_says(world: World, keeper: Keeper, what: str) -> None:
    """Something else is kept by that name: it is not any more, and the portal listens."""
    name = named(world.port)
    with other_thing(what, world.port) as other:
        keeper.end()
        if what != "two":
            keeper.forget(name)
        keeper.keep(name, other.fileno())
        keeper.start()
        keeper.wait()
        assert keeper.names() == [name]
        assert not os.path.sameopenfile(other.fileno(), keeper.store[0][1])
    assert [answer(ask(world.port)) for _ in range(5)] == [UNAVAILABLE] * 5


def test_what_somebody_else_keeps(world: World, keeper: Keeper) -> None:
    """A descriptor by another name is none of the daemon's business."""
    with listen(Bind("", LOCALHOST, 0)) as other:
        keeper.keep("something", other.fileno())
        keeper.again()
        keeper.wait()
        assert answer(ask(world.port)) == UNAVAILABLE
        assert sorted(keeper.names()) == sorted(["something", named(world.port)])
        assert not refused(other.getsockname()[1])


def test_while_it_is_not_known_what_there_is(world: World, keeper: Keeper) -> None:
    """The module is not there when the next daemon starts: who comes waits for it."""
    keeper.end()
    world.root.rename(world.root.with_suffix(".gone"))
    keeper.start()
    keeper.wait()
    waiting = ask(world.port)
    waiting.settimeout(1.5)
    with pytest.raises(TimeoutError):
        waiting.recv(1)
    waiting.settimeout(60)
    world.root.with_suffix(".gone").rename(world.root)
    assert answer(waiting) == UNAVAILABLE


# --- portals that change their names ---


def test_a_portal_that_is_called_otherwise_keeps_its_socket() -> None:
    """Nobody in its queue is sent away."""

    async def what() -> None:
        asked: list[tuple[socket.socket, Any]] = []

        async def accept(made: socket.socket, name: Any) -> None:
            asked.append((made, name))
            await asyncio.Event().wait()

        listeners = Listeners(SimpleNamespace(accept=accept), Manager({}))  # type: ignore[arg-type]
        machine = Machine({"lo": 1}, ())
        port = free_port()
        for name in ("one", "other"):
            plans = wanted([Portal(name, "*", port)], {"": machine})
            assert listeners.follow(plans) == {name: "listening"}
            await asyncio.sleep(0)
            assert {now() for _, now in asked} == {name}
            assert len(asked) == len({made.family for made, _ in asked})
        listeners.close()

    asyncio.run(what())
