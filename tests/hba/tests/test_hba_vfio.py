# SPDX-License-Identifier: GPL-2.0-or-later
"""The vfio-user server: messages, memory, interrupts, violations, reconnection."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hba.hostside import F_ADD_SEALS
from hba.loop import Loop
from hba.vfio import protocol as wire
from hba.vfio.dma import F_SEAL_SHRINK, DmaFault, DmaMap, cut
from hba.vfio.pci import ConfigSpace, PciIdentity
from hba.vfio.protocol import Command, RequestError
from hba.vfio.server import Bus, Endpoint

VERSION = struct.pack("<HH", 0, 0) + b'{"capabilities":{"max_msg_fds":16}}\0'


class Toy:
    """A device with one region of memory."""

    name = "toy"

    def __init__(self) -> None:
        self.regions = {0: 64, 7: 256}
        self.irqs = {0: (7, 1), 2: (9, 4)}
        self.memory = bytearray(64)
        self.log: list[str] = []
        self.bus: Bus | None = None

    def attached(self, bus: Bus) -> None:
        self.bus = bus
        self.log.append("attached")

    def detached(self) -> None:
        self.log.append("detached")

    def read(self, region: int, offset: int, count: int) -> bytes:
        return bytes(self.memory[offset : offset + count])

    def write(self, region: int, offset: int, data: bytes) -> None:
        if offset == 60:
            raise DmaFault("on purpose")
        if offset == 56:
            raise ZeroDivisionError("on purpose")
        self.memory[offset : offset + len(data)] = data

    def reset(self) -> None:
        self.log.append("reset")

    def irq_unmasked(self, index: int) -> None:
        self.log.append(f"unmasked {index}")


class Peer:
    """The other end, with messages on request."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.loop = loop
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.serial = 0

    def send(self, command: int, body: bytes = b"", fds: list[int] | None = None, flags: int = 0) -> int:
        self.serial += 1
        data = wire.HEADER.pack(self.serial, command, 16 + len(body), flags, 0) + body
        socket.send_fds(self.socket, [data], fds or [])
        return self.serial

    def receive(self) -> tuple[int, int, int, bytes]:
        """Id, command, errno and body of one reply."""
        data = b""

        def arrived() -> bool:
            nonlocal data
            try:
                data += self.socket.recv(65536)
            except BlockingIOError:
                return False
            return len(data) >= 16 and len(data) >= struct.unpack_from("<I", data, 4)[0]

        assert self.loop.run_until(arrived, 5)
        number, command, size, flags, error = wire.HEADER.unpack_from(data)
        assert flags & 1
        assert bool(flags & wire.FLAG_ERROR) == bool(error)
        assert size == len(data)
        return number, command, error, data[16:]

    def ask(self, command: int, body: bytes = b"", fds: list[int] | None = None) -> bytes:
        number = self.send(command, body, fds)
        answer = self.receive()
        assert answer[:2] == (number, command)
        if answer[2]:
            raise OSError(answer[2], os.strerror(answer[2]))
        return answer[3]

    def closed(self) -> bool:
        def gone() -> bool:
            try:
                return not self.socket.recv(65536)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        return self.loop.run_until(gone, 15)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Loop, Toy, Endpoint, Peer]]:
    loop = Loop()
    toy = Toy()
    endpoint = Endpoint(loop, tmp_path / "toy.sock", toy)
    peer = Peer(loop, endpoint.path)
    yield loop, toy, endpoint, peer
    peer.socket.close()
    endpoint.close()
    loop.close()


def memfd(size: int = 8192, *, sealed: bool = True) -> int:
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
    return fd


def test_version_and_description(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    _, toy, _, peer = world
    answer = peer.ask(Command.VERSION, VERSION)
    assert answer[:4] == bytes(4)
    assert answer.endswith(b"\0")
    assert b"max_data_xfer_size" in answer
    assert toy.log == ["attached"]
    assert wire.DEVICE_INFO_BODY.unpack(peer.ask(Command.GET_INFO, bytes(16))) == (16, 3, 9, 5)
    sizes = [
        wire.REGION_INFO_BODY.unpack(
            peer.ask(Command.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        )[4]
        for index in range(9)
    ]
    assert sizes == [64, 0, 0, 0, 0, 0, 0, 256, 0]
    irqs = [
        wire.IRQ_INFO_BODY.unpack(peer.ask(Command.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0)))[1:]
        for index in range(3)
    ]
    assert irqs == [(7, 0, 1), (0, 1, 0), (9, 2, 4)]
    peer.ask(Command.RESET)
    assert toy.log[-1] == "reset"


def test_region_access_and_posted_writes(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    _, toy, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    peer.send(Command.REGION_WRITE, wire.REGION_HEAD.pack(8, 0, 4) + b"abcd", flags=wire.FLAG_NO_REPLY)
    assert peer.ask(Command.REGION_READ, wire.REGION_HEAD.pack(8, 0, 4))[16:] == b"abcd"
    assert len(peer.ask(Command.REGION_WRITE, wire.REGION_HEAD.pack(0, 0, 2) + b"xy")) == 16
    assert toy.memory[:2] == b"xy"
    peer.ask(Command.REGION_WRITE, wire.REGION_HEAD.pack(60, 0, 1) + b"x")
    for body in (
        wire.REGION_HEAD.pack(62, 0, 4),
        wire.REGION_HEAD.pack(0, 3, 4),
        wire.REGION_HEAD.pack(0, 0, 0),
    ):
        with pytest.raises(OSError, match="Invalid"):
            peer.ask(Command.REGION_READ, body)


def test_memory(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    _, toy, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    fd = memfd()
    peer.ask(Command.DMA_MAP, wire.DMA_MAP_BODY.pack(32, 3, 4096, 0x1000, 4096), [fd])
    peer.ask(Command.DMA_MAP, wire.DMA_MAP_BODY.pack(32, 1, 0, 0x2000, 4096), [fd])
    peer.ask(Command.DMA_MAP, wire.DMA_MAP_BODY.pack(32, 1, 0, 0x3000, 4096))
    assert toy.bus is not None
    dma = toy.bus.dma
    os.pwrite(fd, b"tail", 8188)
    os.pwrite(fd, b"head", 0)
    os.close(fd)
    assert dma.read(0x1FFC, 8) == b"tailhead"
    dma.write(0x1000, b"new")
    assert dma.read(0x1000, 3) == b"new"
    for address in (0x2000, 0x1FFE, 0x3000, 0x9000):
        with pytest.raises(DmaFault):
            dma.write(address, b"1234")
    assert dma.gather([(0x1000, 2), (0x1002, 1)], 1, 10) == b"ew"
    assert dma.scatter([(0x1000, 2), (0x1100, 2)], 1, b"abcd") == 3
    assert dma.read(0x1001, 1) + dma.read(0x1100, 2) == b"abc"
    assert len(peer.ask(Command.DMA_UNMAP, wire.DMA_UNMAP_BODY.pack(24, 0, 0x1000, 4096))) == 24
    with pytest.raises(OSError, match="No such"):
        peer.ask(Command.DMA_UNMAP, wire.DMA_UNMAP_BODY.pack(24, 0, 0x1000, 4096))
    with pytest.raises(OSError, match="Invalid"):
        peer.ask(Command.DMA_UNMAP, wire.DMA_UNMAP_BODY.pack(24, 0, 0x2000, 100))
    peer.ask(Command.DMA_UNMAP, wire.DMA_UNMAP_BODY.pack(24, wire.UNMAP_ALL, 0, 0))
    assert len(dma) == 0


def test_memory_refused() -> None:
    dma = DmaMap()
    good, loose = memfd(), memfd(sealed=False)
    null = os.open("/dev/null", os.O_RDWR)
    dma.map(0x1000, 4096, 3, 0, good)
    for address, size, offset, fd, error in (
        (0x1800, 4096, 0, good, errno.EEXIST),
        (0x800, 4096, 0, good, errno.EEXIST),
        (0x4000, 0, 0, good, errno.EINVAL),
        (0x4000, 4096, 8192, good, errno.EINVAL),
        (0x4000, 4096, 0, loose, errno.EPERM),
        (0x4000, 4096, 0, null, errno.EINVAL),
        ((1 << 64) - 1, 4096, 0, good, errno.EINVAL),
    ):
        with pytest.raises(RequestError) as caught:
            dma.map(address, size, 3, offset, fd)
        assert caught.value.errno == error
    for fd in (good, loose, null):
        os.close(fd)


def test_cut() -> None:
    assert cut([(10, 4), (20, 4)], 0, 8) == [(10, 4), (20, 4)]
    assert cut([(10, 4), (20, 4)], 5, 8) == [(21, 3)]
    assert cut([(10, 4)], 4, 1) == []


def test_interrupts(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    _, toy, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    assert toy.bus is not None
    events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x24, 2, 0, 2), events)
    assert toy.bus.trigger(2, 1)
    assert not toy.bus.trigger(2, 2)
    assert not toy.bus.trigger(0)
    assert os.eventfd_read(events[1]) == 1
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x22, 2, 0, 2) + b"\1\0")
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x21, 2, 0, 1))
    assert os.eventfd_read(events[0]) == 2
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x24, 2, 0, 1))
    assert not toy.bus.trigger(2, 0)
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x21, 2, 0, 0))
    assert not toy.bus.trigger(2, 1)
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x11, 0, 0, 1))
    peer.ask(Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x09, 0, 0, 1))
    assert toy.log[-1] == "unmasked 0"
    for body in (
        wire.SET_IRQS_BODY.pack(20, 0x21, 2, 3, 2),
        wire.SET_IRQS_BODY.pack(20, 0x21, 4, 0, 1),
        wire.SET_IRQS_BODY.pack(20, 1, 2, 0, 1),
    ):
        with pytest.raises(OSError, match="Invalid"):
            peer.ask(Command.SET_IRQS, body)
    for fd in events:
        os.close(fd)


def test_unknown_requests_are_refused(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    _, _, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    for command, body in (
        (99, b""),
        (Command.REGION_WRITE_MULTI, bytes(64)),
        (Command.GET_REGION_IO_FDS, bytes(16)),
    ):
        with pytest.raises(OSError, match="not supported"):
            peer.ask(command, body)
    with pytest.raises(OSError, match="Invalid"):
        peer.ask(Command.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0))
    with pytest.raises(OSError, match="Invalid"):
        peer.ask(Command.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, 5, 0))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (wire.HEADER.pack(1, 1, 8, 0, 0), "length of 8"),
        (wire.HEADER.pack(1, 10, 1 << 30, 0, 0), "length of 1073741824"),
        (wire.HEADER.pack(1, 4, 32, 0, 0) + bytes(16), "before VERSION"),
        (wire.HEADER.pack(1, 1, 16, 1, 0), "marked as a reply"),
        (wire.HEADER.pack(1, 1, 18, 0, 0) + b"\0\0", "too short"),
        (wire.HEADER.pack(1, 1, 20, 0, 0) + b"\1\0\0\0", "not supported"),
        (wire.HEADER.pack(1, 1, 22, 0, 0) + b"\0\0\0\0{{", "malformed JSON"),
        (wire.HEADER.pack(1, 1, 22, 0, 0) + b"\0\0\0\0[]", "not an object"),
    ],
)
def test_violations(
    world: tuple[Loop, Toy, Endpoint, Peer], caplog: pytest.LogCaptureFixture, data: bytes, text: str
) -> None:
    loop, toy, endpoint, peer = world
    peer.socket.sendall(data)
    assert peer.closed()
    assert text in caplog.text
    again = Peer(loop, endpoint.path)
    again.ask(Command.VERSION, VERSION)
    assert toy.log[-1] == "attached"
    again.socket.close()


@pytest.mark.parametrize(
    ("command", "body", "text"),
    [
        (Command.VERSION, VERSION, "second VERSION"),
        (Command.DMA_MAP, b"short", "at least 32"),
        (Command.REGION_WRITE, wire.REGION_HEAD.pack(0, 0, 4) + b"x", "announces 4 bytes and carries 1"),
        (Command.SET_IRQS, wire.SET_IRQS_BODY.pack(20, 0x22, 2, 0, 2), "fewer booleans"),
        (Command.REGION_WRITE, wire.REGION_HEAD.pack(56, 0, 1) + b"x", "internal error"),
    ],
)
def test_violations_after_version(
    world: tuple[Loop, Toy, Endpoint, Peer],
    caplog: pytest.LogCaptureFixture,
    command: int,
    body: bytes,
    text: str,
) -> None:
    _, toy, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    peer.send(command, body)
    assert peer.closed()
    assert text in caplog.text
    assert toy.log[-1] == "detached"


def test_too_many_descriptors(
    world: tuple[Loop, Toy, Endpoint, Peer], caplog: pytest.LogCaptureFixture
) -> None:
    _, _, _, peer = world
    null = os.open("/dev/null", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    peer.send(Command.VERSION, VERSION, [null] * 60)
    assert peer.closed()
    assert "more file descriptors" in caplog.text
    assert len(os.listdir("/proc/self/fd")) <= before
    os.close(null)


def test_second_client_is_refused(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    loop, _, endpoint, peer = world
    peer.ask(Command.VERSION, VERSION)
    second = Peer(loop, endpoint.path)
    assert second.closed()
    assert endpoint.rejected == 1
    second.socket.close()
    peer.ask(Command.GET_INFO, bytes(16))


def test_silent_client_is_dropped(tmp_path: Path) -> None:
    loop = Loop(virtual=True)
    endpoint = Endpoint(loop, tmp_path / "toy.sock", Toy())
    peer = Peer(loop, endpoint.path)
    assert peer.closed()
    assert loop.now() == pytest.approx(10, abs=6)
    endpoint.close()
    peer.socket.close()


def test_client_that_does_not_read(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    loop, _, endpoint, peer = world
    peer.ask(Command.VERSION, VERSION)
    message = wire.HEADER.pack(1, Command.REGION_READ, 32, 0, 0) + wire.REGION_HEAD.pack(0, 7, 64)
    for _ in range(20000):
        if endpoint.client is None:
            break
        with contextlib.suppress(BlockingIOError, ConnectionError):
            peer.socket.send(message * 100)
        loop.step(0)
    assert endpoint.client is None


def test_slow_reader_gets_everything(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    loop, _, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    wanted = 20000
    message = wire.HEADER.pack(1, Command.REGION_READ, 32, 0, 0) + wire.REGION_HEAD.pack(0, 7, 64)
    sent = 0
    while sent < wanted * len(message):
        try:
            sent += peer.socket.send((message * wanted)[sent : sent + 65536])
        except BlockingIOError:
            loop.step(0)
        for _ in range(3):
            loop.step(0)
    got = 0

    def drained() -> bool:
        nonlocal got
        try:
            got += len(peer.socket.recv(1 << 20))
        except BlockingIOError:
            return False
        return got == wanted * 96

    assert loop.run_until(drained, 10)


def test_descriptors_go_to_their_message(world: tuple[Loop, Toy, Endpoint, Peer]) -> None:
    """Messages without descriptors that arrive glued in front of one with them must not get them."""
    loop, toy, _, peer = world
    peer.ask(Command.VERSION, VERSION)
    fd = memfd()
    os.pwrite(fd, b"right", 0)
    rom = wire.DMA_MAP_BODY.pack(32, 1, 0, 0x100000, 4096)
    first = wire.HEADER.pack(1, Command.DMA_MAP, 16 + len(rom), 0, 0) + rom
    ram = wire.DMA_MAP_BODY.pack(32, 3, 0, 0x200000, 4096)
    second = wire.HEADER.pack(2, Command.DMA_MAP, 16 + len(ram), 0, 0) + ram
    peer.socket.sendall(first)
    socket.send_fds(peer.socket, [second], [fd])
    peer.socket.sendall(wire.HEADER.pack(3, Command.GET_INFO, 16, 0, 0))
    os.close(fd)
    loop.run_for(0.05)
    assert toy.bus is not None
    assert toy.bus.dma.read(0x200000, 5) == b"right"
    with pytest.raises(DmaFault):
        toy.bus.dma.read(0x100000, 1)


def test_config_space() -> None:
    space = ConfigSpace(PciIdentity(0x2432, 3, 0x138))
    space.add_io_bar(0, 256)
    space.add_memory_bar(1, 0x4000, wide=True)
    space.add_msi()
    space.add_msix(16, 1, 0x2000, 0x3000)
    assert space.read(0, 4) == bytes.fromhex("77103224")
    space.write(0x10, b"\xff" * 12)
    assert space.read(0x10, 12) == bytes.fromhex("01ffffff04c0ffffffffffff")
    assert space.read(0x34, 1) == b"\x54"
    assert space.read(0x55, 1) == b"\x7c"
    assert space.read(6, 1) == b"\x10"
    space.write(0, b"\0\0\0\0")
    assert space.read(0, 4) == bytes.fromhex("77103224")
    space.reset()
    assert space.read(0x10, 4) == b"\1\0\0\0"
