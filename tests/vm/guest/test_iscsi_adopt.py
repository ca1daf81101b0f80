# SPDX-License-Identifier: GPL-2.0-or-later
"""/dev/scst-iscsi: a connection changes its owner, or what is no connection does not."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.iscsi.device import Kernel
from tests.iscsi import adopter as handover
from tests.iscsi.adopter import EVENT_CONFIG, EVENT_GONE, Adopter
from tests.iscsi.login import ISID
from tests.iscsi.pdu import Op
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.long import often
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

OTHER = bytes.fromhex("400000000002")
SOL_TCP, TCP_ULP = 6, 31


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """Enabled, with two LUNs."""
    with iscsi.served(tmp_path) as made:
        yield made


@pytest.fixture
def adopter(target: iscsi.Target) -> Iterator[Adopter]:
    """The device is open."""
    with iscsi.adopter(target.name) as made:
        yield made


# --- descriptors ---


def closed(stack: ExitStack, adopter: Adopter) -> int:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd


def a_file(stack: ExitStack, adopter: Adopter) -> int:
    return stack.enter_context(open("/etc/passwd", "rb")).fileno()


def pipe(stack: ExitStack, adopter: Adopter) -> int:
    ours, theirs = os.pipe()
    stack.callback(os.close, ours)
    stack.callback(os.close, theirs)
    return theirs


def a_socket(*kind: int) -> Callable[[ExitStack, Adopter], int]:
    def make(stack: ExitStack, adopter: Adopter) -> int:
        return stack.enter_context(socket.socket(*kind)).fileno()

    return make


def unix_stream(stack: ExitStack, adopter: Adopter) -> int:
    one, two = socket.socketpair()
    stack.enter_context(two)
    return stack.enter_context(one).fileno()


def listening(stack: ExitStack, adopter: Adopter) -> int:
    return adopter.listener.fileno()


def shut(stack: ExitStack, adopter: Adopter) -> int:
    ours, theirs = adopter.connect()
    stack.enter_context(ours)
    theirs.shutdown(socket.SHUT_RDWR)
    return stack.enter_context(theirs).fileno()


def tls(stack: ExitStack, adopter: Adopter) -> int:
    command("modprobe", "tls")
    ours, theirs = adopter.connect()
    stack.enter_context(ours)
    theirs.setsockopt(SOL_TCP, TCP_ULP, b"tls")
    return stack.enter_context(theirs).fileno()


def taken(stack: ExitStack, adopter: Adopter) -> int:
    """Its owner is a session that goes on."""
    session, theirs = adopter.before_login()
    stack.enter_context(theirs)
    adopter.after_login(session, adopter.adopt(theirs.fileno()))
    return theirs.fileno()


WRONG: list[tuple[Callable[[ExitStack, Adopter], int], int]] = [
    (closed, errno.EBADF),
    (a_file, errno.ENOTSOCK),
    (pipe, errno.ENOTSOCK),
    (a_socket(socket.AF_INET, socket.SOCK_DGRAM), errno.EPROTONOSUPPORT),
    (a_socket(socket.AF_INET6, socket.SOCK_DGRAM), errno.EPROTONOSUPPORT),
    (a_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), errno.EPROTONOSUPPORT),
    (a_socket(socket.AF_NETLINK, socket.SOCK_RAW), errno.EPROTONOSUPPORT),
    (unix_stream, errno.EPROTONOSUPPORT),
    (a_socket(socket.AF_INET, socket.SOCK_STREAM), errno.ENOTCONN),
    (listening, errno.ENOTCONN),
    (shut, errno.ENOTCONN),
    (tls, errno.EPROTONOSUPPORT),
    (taken, errno.EBUSY),
]
IDS = "closed file pipe udp udp6 raw netlink unix new listening shut tls taken".split()


@pytest.mark.parametrize(("make", "wanted"), WRONG, ids=IDS)
def test_wrong_descriptor(adopter: Adopter, make: Callable[[ExitStack, Adopter], int], wanted: int) -> None:
    """Refused with the errno that says why, as often as one likes; nothing is left of it."""
    with ExitStack() as stack:
        fd = make(stack, adopter)
        objects, count = tree.objects(), len(os.listdir("/proc/self/fd"))
        other = {"isid": OTHER}
        for _ in range(often(50, 1000)):
            assert tree.errno_of(partial(adopter.adopt, fd, **other)) == wanted
        tree.wait_objects(objects)
        assert len(os.listdir("/proc/self/fd")) == count
    # Who had the socket before has it still.
    for session in adopter.sessions:
        assert session.ping(b"x").data == b"x"


def test_refused_socket_is_as_it_was(adopter: Adopter) -> None:
    """What was not adopted is the caller's: nothing was sent, nothing read, it can be adopted."""
    session, theirs = adopter.before_login()
    with theirs:
        session.sock.sendall(b"early")
        for wrong in ({"target": "iqn.2026-11.test:none"}, {"max_burst": 1}, {"response_len": 47}):
            assert tree.errno_of(partial(adopter.adopt, theirs.fileno(), **wrong))
        assert theirs.recv(5) == b"early"
        theirs.sendall(b"late")
        assert session.sock.recv(100) == b"late", "something was sent"
        adopter.after_login(session, adopter.adopt(theirs.fileno()))
    assert session.ping(b"x").data == b"x"


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        ({"target": "iqn.2026-11.test:none"}, errno.ENODEV),
        ({"target": ""}, errno.ENODEV),
        ({"initiator": ""}, errno.EINVAL),
        ({"initiator": "x" * 224}, errno.EINVAL),
        ({"target": "x" * 224}, errno.EINVAL),
        ({"portal": "x" * 64}, errno.EINVAL),
        ({"max_xmit": 511}, errno.EINVAL),
        ({"max_xmit": 1 << 24}, errno.EINVAL),
        ({"max_recv": 511}, errno.EINVAL),
        ({"max_recv": 1 << 24}, errno.EINVAL),
        ({"max_burst": 0}, errno.EINVAL),
        ({"max_burst": 1 << 24}, errno.EINVAL),
        ({"first_burst": 0}, errno.EINVAL),
        ({"first_burst": 4096, "max_burst": 2048}, errno.EINVAL),
        ({"max_outstanding_r2t": 0}, errno.EINVAL),
        ({"max_outstanding_r2t": 65536}, errno.EINVAL),
        ({"queue_depth": 0}, errno.EINVAL),
        ({"queue_depth": 0xFFFFFFFF}, errno.EINVAL),
        ({"initial_r2t": 2}, errno.EINVAL),
        ({"immediate_data": 2}, errno.EINVAL),
        ({"header_digest": 2}, errno.EINVAL),
        ({"data_digest": 255}, errno.EINVAL),
        ({"nop_interval": 65536}, errno.EINVAL),
        ({"nop_timeout": 0xFFFFFFFF}, errno.EINVAL),
        ({"send_timeout": 0xFFFFFFFF}, errno.EINVAL),
        ({"reserved2": 1}, errno.EINVAL),
        ({"response_len": 47}, errno.EINVAL),
        ({"response_len": 49}, errno.EINVAL),
        ({"response_len": 0xFFFFFFFC}, errno.EMSGSIZE),
        ({"size": 3}, errno.EINVAL),
        ({"size": 0xFFFFFFFF}, errno.EINVAL),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_terms(adopter: Adopter, wrong: dict[str, Any], wanted: int) -> None:
    session, theirs = adopter.before_login()
    with session, theirs:
        before = tree.objects()
        assert tree.errno_of(partial(adopter.adopt, theirs.fileno(), **wrong)) == wanted
        tree.wait_objects(before)
        assert not iscsi.sessions()


def test_response_that_is_nowhere(adopter: Adopter) -> None:
    session, theirs = adopter.before_login()
    with session, theirs:
        made = adopter.arguments(theirs.fileno(), response=8, response_len=48)
        assert tree.errno_of(partial(fcntl.ioctl, adopter.file, handover.ADOPT, made)) == errno.EFAULT
        assert not iscsi.sessions()


@pytest.mark.parametrize("more", [8, 3000])
def test_structure_of_a_later_version(adopter: Adopter, more: int) -> None:
    """What is behind what the kernel knows has to be zero."""
    for junk, wanted in ((b"\1", errno.E2BIG), (b"\0", 0)):
        session, theirs = adopter.before_login()
        with theirs:
            made = adopter.arguments(theirs.fileno(), size=ctypes.sizeof(handover.Adopt) + more)
            ready = handover.final_response(ISID)
            kept = ctypes.create_string_buffer(ready, len(ready))
            made.response, made.response_len = ctypes.addressof(kept), len(ready)
            room = bytearray(bytes(made) + bytes(more - 1) + junk)
            assert tree.errno_of(partial(fcntl.ioctl, adopter.file, handover.ADOPT, room)) == wanted
            if not wanted:
                tsih = handover.Adopt.from_buffer(room).tsih
                assert adopter.after_login(session, tsih).ping(b"x").data == b"x"
            else:
                session.close()


@pytest.mark.parametrize("number", [0, 0x3F, 0x46, 0xFF])
def test_unknown_request(adopter: Adopter, number: int) -> None:
    assert (
        tree.errno_of(partial(fcntl.ioctl, adopter.file, handover.iowr(number, 600), bytes(600)))
        == errno.ENOTTY
    )


def test_target_that_is_not_enabled(adopter: Adopter, target: iscsi.Target) -> None:
    target.enable(False)
    session, theirs = adopter.before_login()
    with session, theirs:
        assert tree.errno_of(partial(adopter.adopt, theirs.fileno())) == errno.ESHUTDOWN
        target.enable()
        adopter.after_login(session, adopter.adopt(theirs.fileno())).ping()


def test_device_is_for_root(target: iscsi.Target) -> None:
    assert handover.NODE.stat().st_mode & 0o777 == 0o600
    powerless = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run(
        [*powerless, "cat", str(handover.NODE)], capture_output=True, text=True, check=False
    )
    assert "not permitted" in done.stderr


# --- what is handed over ---


def test_session_is_there(adopter: Adopter) -> None:
    """What was agreed on is in sysfs, and the answer says what the kernel knows."""
    terms = {"isid": OTHER, "cid": 7, "stat_sn": 0xFFFFFFFF, "exp_cmd_sn": 0xFFFFFFFF, "max_burst": 4096}
    session = adopter.login(first_burst=2048, max_xmit=1024, max_recv=8192, portal="p", **terms)
    (folder,) = iscsi.wait_sessions(1)
    shown = {
        "isid": "0x400000000002", "cid": "7", "max_burst": "4096", "first_burst": "2048", "max_xmit": "1024",
        "max_recv": "8192", "portal": "p", "immediate_data": "1", "initial_r2t": "0", "header_digest": "0",
        "queue_depth": "32", "protocol_level": "1", "max_outstanding_r2t": "8",
    }  # fmt: skip
    assert {name: iscsi.value(folder, name) for name in shown} == shown
    address, port = session.sock.getsockname()
    assert iscsi.value(folder, "peer") == f"{address}:{port}"
    assert iscsi.value(folder, "local") == f"127.0.0.1:{adopter.listener.getsockname()[1]}"
    assert session.max_cmd_sn == (0xFFFFFFFF + 31) % (1 << 32)
    iscsi.hear(session)
    assert session.ping(b"x").stat_sn == 2, "0 and 1 were the unit attention's and the end of it"


def test_ipv6(target: iscsi.Target) -> None:
    with Adopter(target.name, iscsi.PATIENCE, socket.AF_INET6) as adopter:
        session = adopter.login()
        (folder,) = iscsi.wait_sessions(1)
        assert iscsi.value(folder, "peer").startswith("[::1]:")
        assert session.ping(b"x").data == b"x"
    iscsi.wait_sessions(0)


@pytest.mark.parametrize("keep", [False, True], ids=["closed", "kept"])
def test_descriptor_afterwards(adopter: Adopter, keep: bool) -> None:
    """Who has handed it over may close it, or keep it; what he does with it is no harm to others."""
    session, theirs = adopter.before_login()
    tsih = adopter.adopt(theirs.fileno())
    adopter.after_login(session, tsih)
    if keep:
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        assert session.ping(b"x").data == b"x"
        theirs.shutdown(socket.SHUT_RDWR)
        session.wait_closed()
        iscsi.wait_sessions(0)
    theirs.close()
    if not keep:
        assert session.ping(b"x").data == b"x"


def test_a_portal_forgets_who_is_gone(target: iscsi.Target) -> None:
    """Who told its state; what a successor has said stays."""
    folder = tree.ROOT / "drivers/iscsi/portals/forgets"
    folder.mkdir()
    nobody = tree.read(folder / "state")
    first, second = Kernel(), Kernel()
    first.portal_state("forgets", "listening")
    second.close()
    assert tree.read(folder / "state") == "listening"
    second = Kernel()
    second.portal_state("forgets", "listening, too")
    first.close()
    assert tree.read(folder / "state") == "listening, too"
    second.close()
    assert tree.read(folder / "state") == nobody
    folder.rmdir()


def test_device_is_closed(adopter: Adopter) -> None:
    """Nothing hangs on it."""
    session = adopter.login()
    os.close(adopter.file)
    assert session.ping(b"x").data == b"x"
    iscsi.hear(session)
    assert session.command(scsi.read10(0, 1), read=512).status == 0
    adopter.file = os.open(handover.NODE, os.O_RDWR)


@pytest.mark.parametrize("text", [b"", b"TargetPortalGroupTag=1\0", b"X" * 8000])
def test_response_is_whole(adopter: Adopter, text: bytes) -> None:
    """With its data, of any length."""
    session, theirs = adopter.before_login()
    with theirs:
        tsih = adopter.adopt(theirs.fileno(), handover.final_response(ISID, text))
    session.terms.max_recv = 8192
    answer = session.receive()
    assert (answer.op, answer.data, answer.short(14)) == (Op.LOGIN_RESPONSE, text, 0)
    assert struct.unpack(">H", answer.lun[6:]) == (tsih,)
    session.digests = True
    assert session.ping(b"x").data == b"x"
    session.close()


def test_bytes_that_came_early(adopter: Adopter) -> None:
    """Commands, and half of one, that were there before the kernel took over."""
    session, theirs = adopter.before_login()
    tasks = [session.command_pdu(scsi.test_unit_ready()) for _ in range(5)]
    pings = [session.ping_pdu(bytes([number])) for number in range(3)]
    wire = session.encode(*(one for _, one in tasks), *pings)
    session.sock.sendall(wire[:-30])
    with theirs:
        tsih = adopter.adopt(theirs.fileno())
    for task, _ in tasks:
        session.tasks[task.itt] = task
    adopter.after_login(session, tsih)
    session.sock.sendall(wire[-30:])
    assert [session.wait(one).data for one in pings] == [b"\0", b"\1", b"\2"]
    assert all(task.done for task, _ in tasks)


def test_peer_is_gone_before(adopter: Adopter) -> None:
    """It has closed, and that was not seen yet, or just then: no session stays."""
    for reset in (False, True):
        session, theirs = adopter.before_login()
        with theirs:
            if reset:
                session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            session.close()
            code = tree.errno_of(partial(adopter.adopt, theirs.fileno()))
            assert code in (0, errno.ENOTCONN)
        iscsi.wait_sessions(0)


def test_many_threads_and_one_socket(adopter: Adopter) -> None:
    """One of them has it."""
    for _ in range(often(5, 100)):
        session, theirs = adopter.before_login()
        codes: list[int] = []

        def go(fd: int = theirs.fileno(), number: int = 0, codes: list[int] = codes) -> None:
            isid = bytes([0x40, 0, 0, 0, 1, number])
            codes.append(tree.errno_of(partial(adopter.adopt, fd, isid=isid)))

        threads = [threading.Thread(target=go, kwargs={"number": number}) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        theirs.close()
        assert sorted(codes) == [0] + [errno.EBUSY] * 7
        session.close()
        iscsi.wait_sessions(0)


# --- one initiator port, one session ---


def test_reinstatement(adopter: Adopter) -> None:
    """The older session goes, whatever it was doing, and is gone when the newer begins."""
    older = adopter.login()
    iscsi.hear(older)
    held = Fault("f").make(action="drop", commands="writes").enable()
    older.start(scsi.write10(0, 1), write=b"\xee" * 512)
    tree.wait_for("the write", lambda: held.hits == 1)
    with handover.events() as told:
        newer = adopter.login()
        assert len(iscsi.sessions()) == 1
        assert (EVENT_GONE, "reinstated") in [(kind, why) for kind, _, why in told.read()]
    older.wait_closed()
    held.enable(False)
    iscsi.hear(newer)
    assert newer.command(scsi.read10(0, 1), read=512).data == bytes(512)


def test_other_ports_are_no_concern(adopter: Adopter) -> None:
    """Another ISID, another name."""
    all_of = [
        adopter.login(),
        adopter.login(isid=OTHER),
        adopter.login(initiator="iqn.2026-11.test:other"),
    ]
    iscsi.wait_sessions(3)
    for session in all_of:
        assert session.ping(b"x").data == b"x"
    adopter.login(initiator="IQN.2026-11.Test:OTHER").ping()
    iscsi.wait_sessions(3)
    assert all_of[2].wait_closed() == []


# --- events, and the end by hand ---


def test_events(adopter: Adopter, target: iscsi.Target) -> None:
    """The first says: look. Each end is told with its reason; who reads late learns what he has missed."""
    with handover.events() as told, handover.events() as late:
        assert told.read() == [(EVENT_CONFIG, 0, "none")]
        assert told.read() == []
        session, theirs = adopter.before_login()
        with theirs:
            tsih = adopter.adopt(theirs.fileno())
        adopter.after_login(session, tsih).logout()
        iscsi.wait_sessions(0)
        assert told.read() == [(EVENT_GONE, tsih, "logout")]
        target.enable(False)
        assert (EVENT_CONFIG, 0, "none") in told.read()
        target.enable()
        for _ in range(100):
            adopter.login(isid=OTHER).close()
        iscsi.wait_sessions(0)
        assert 0 < len(late.read()) <= 64
    assert tree.errno_of(partial(os.read, adopter.file, 23)) == errno.EINVAL


@pytest.mark.parametrize("seconds", [0, 1])
def test_drop(adopter: Adopter, seconds: int) -> None:
    """At once; or the initiator is asked, and dropped if it does not listen."""
    session = adopter.login()
    (folder,) = iscsi.wait_sessions(1)
    tsih = int(iscsi.value(folder, "tsih"))
    adopter.drop(tsih, handover.DROP_ASK if seconds else handover.DROP_NOW, seconds)
    session.wait_closed()
    assert [(one.byte(36), one.short(42)) for one in session.asyncs] == ([(1, seconds)] if seconds else [])
    iscsi.wait_sessions(0)
    assert tree.errno_of(partial(adopter.drop, tsih)) == errno.ENOENT
    assert tree.errno_of(partial(adopter.drop, tsih, 2)) == errno.EINVAL


def test_the_last_word_counts(adopter: Adopter) -> None:
    """Who has been given ten minutes, and then a second, has a second."""
    session = adopter.login()
    (folder,) = iscsi.wait_sessions(1)
    for seconds in (600, 1):
        adopter.drop(int(iscsi.value(folder, "tsih")), handover.DROP_ASK, seconds)
    session.wait_closed()
    assert [one.short(42) for one in session.asyncs] == [600, 1]
    iscsi.wait_sessions(0)


def test_asked_initiator_logs_out(adopter: Adopter) -> None:
    with handover.events() as told:
        session = adopter.login()
        (folder,) = iscsi.wait_sessions(1)
        adopter.drop(int(iscsi.value(folder, "tsih")), handover.DROP_ASK, 600)
        while not session.asyncs:
            session.pump()
        assert session.logout() == 0
        session.wait_closed()
        iscsi.wait_sessions(0)
        assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == ["logout"]


def test_target_is_disabled(adopter: Adopter, target: iscsi.Target) -> None:
    """Its sessions end, and what they had begun."""
    session = adopter.login()
    iscsi.hear(session)
    Fault("f").make(action="drop", commands="writes").enable()
    session.start(scsi.write10(0, 1), write=bytes(512))
    target.enable(False)
    session.wait_closed()
    iscsi.wait_sessions(0)


def test_module_does_not_go_while_it_is_used(adopter: Adopter) -> None:
    """By an open device, by a session."""
    adopter.login()
    with pytest.raises(AssertionError, match="in use"):
        command("rmmod", "scst_iscsi")
