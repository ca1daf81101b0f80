# SPDX-License-Identifier: GPL-2.0-or-later
"""Rubbish on the socket: a fuzzer for the vfio-user server and the chip models behind it.

One board is attacked, another one is used properly all the time.  The run fails if the server stops answering
the good client, if a model raises an exception, or if file descriptors leak.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .boards import TestBed
from .hostside import F_ADD_SEALS
from .loop import Loop
from .vfio import protocol as wire
from .vfio.dma import F_SEAL_SHRINK
from .vfio.protocol import Command

VERSION_BODY = struct.pack("<HH", 0, 0) + b'{"capabilities":{}}\0'
INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x10,
    0x48,
    0x80,
    0xFF,
    0x100,
    0x4000,
    0xFFFF,
    0x10000,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
MEMORY = 1 << 20


class Complaints(logging.Handler):
    """Counts what the server logs; remembers internal errors."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self.internal: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        text = record.getMessage()
        self.kinds[text.split(": ")[1] if ": " in text else text] += 1
        if record.levelno >= logging.ERROR:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            self.internal.append(text + "\n" + trace)


class Client:
    """A socket to the server, without blocking."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.serial = 0

    def send(self, data: bytes, fds: list[int] | None = None) -> bool:
        """Send; False if the server has hung up or does not take more."""
        try:
            if fds:
                socket.send_fds(self.socket, [data], fds)
            else:
                self.socket.sendall(data)
        except OSError:
            return False
        return True

    def message(self, command: int, body: bytes, fds: list[int] | None = None, flags: int = 0) -> bool:
        """Send a well-formed message."""
        self.serial = self.serial + 1 & 0xFFFF
        return self.send(wire.HEADER.pack(self.serial, command, 16 + len(body), flags, 0) + body, fds)

    def drain(self) -> bytes:
        """What the server sent so far."""
        try:
            return self.socket.recv(1 << 20)
        except OSError:
            return b""

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@dataclass
class Fuzzer:
    """The attacker and the good client."""

    seed: int
    models: tuple[str, ...] = ("2432", "2312", "2200", "2261")
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = Loop()
        self.bed = TestBed(self.loop)
        for model in (*self.models, "2432"):
            self.bed.add_board(model)
        self.clients = 0
        self.messages = 0
        self.checks = 0
        self._good = Client(self.bed.endpoints[-1].path)
        self._good.message(Command.VERSION, VERSION_BODY)
        self._answer(16)

    def _answer(self, at_least: int) -> bytes:
        data = b""

        def arrived() -> bool:
            nonlocal data
            data += self._good.drain()
            return len(data) >= at_least

        if not self.loop.run_until(arrived, 10):
            raise RuntimeError("the server does not answer the good client any more")
        return data

    def check_good(self) -> None:
        """The other board still has its identity; RuntimeError if not."""
        self._good.message(Command.REGION_READ, wire.REGION_HEAD.pack(0, wire.REGION_CONFIG, 4))
        data = self._answer(36)
        if data[-4:] != bytes.fromhex("77103224"):
            raise RuntimeError(f"the good client got {data.hex()}")
        self.checks += 1

    def _number(self) -> int:
        pick = self.random
        return (
            pick.choice(INTERESTING)
            if pick.random() < 0.7
            else pick.getrandbits(pick.choice((8, 16, 32, 64)))
        )

    def _fds(self) -> list[int]:
        pick = self.random
        made = []
        for _ in range(pick.choice((0, 0, 1, 1, 1, 2, 40))):
            kind = pick.randrange(5)
            if kind == 0:
                made.append(os.eventfd(0))
            elif kind == 1:
                made.append(os.open("/dev/null", os.O_RDONLY))
            elif kind == 2:
                ends = os.pipe()
                os.close(ends[0])
                made.append(ends[1])
            else:
                fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
                os.ftruncate(fd, pick.choice((0, 100, MEMORY)))
                if kind == 3:
                    fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
                made.append(fd)
        return made

    # Kinds of attack; each sends something and says whether the connection lives.

    def _noise(self, client: Client) -> bool:
        return client.send(self.random.randbytes(self.random.choice((1, 15, 16, 17, 100, 5000))))

    def _bad_header(self, client: Client) -> bool:
        pick = self.random
        header = wire.HEADER.pack(
            pick.getrandbits(16),
            pick.choice((*range(18), 0xFFFF)),
            self._number() & 0xFFFFFFFF,
            pick.choice((0, 0, 0x10, 1, 0x20, 0xFFFFFFFF)),
            0,
        )
        return client.send(header + pick.randbytes(pick.randrange(64)))

    def _typed(self, client: Client) -> bool:
        """A known message with wild numbers in the right places."""
        pick = self.random
        layouts = {
            Command.DMA_MAP: "IIQQQ",
            Command.DMA_UNMAP: "IIQQ",
            Command.GET_INFO: "IIII",
            Command.GET_REGION_INFO: "IIIIQQ",
            Command.GET_IRQ_INFO: "IIII",
            Command.SET_IRQS: "IIIII",
            Command.REGION_READ: "QII",
            Command.REGION_WRITE: "QII",
            Command.RESET: "",
            Command.VERSION: "HH",
        }
        command = pick.choice(list(layouts))
        values = [self._number() & (1 << 8 * struct.calcsize(kind)) - 1 for kind in layouts[command]]
        body = struct.pack("<" + layouts[command], *values) + pick.randbytes(
            pick.choice((0, 0, 1, 4, 8, 200))
        )
        if pick.random() < 0.1:
            body = body[: pick.randrange(len(body) + 1)]
        fds = self._fds()
        try:
            return client.message(command, body, fds, pick.choice((0, 0, wire.FLAG_NO_REPLY)))
        finally:
            for fd in fds:
                os.close(fd)

    def _memory(self, client: Client) -> bool:
        """Proper memory, so that the chips' DMA finds something."""
        fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, MEMORY)
        os.pwrite(fd, self.random.randbytes(65536), self.random.randrange(MEMORY - 65536))
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
        try:
            return client.message(Command.DMA_MAP, wire.DMA_MAP_BODY.pack(32, 3, 0, 0, MEMORY), [fd])
        finally:
            os.close(fd)

    def _register(self, client: Client) -> bool:
        """Register writes with a liking for mailboxes, doorbells and commands."""
        pick = self.random
        for _ in range(pick.randrange(1, 40)):
            offset = pick.choice(
                (
                    pick.randrange(256),
                    0x1C,
                    0x10,
                    0x48,
                    0xC0,
                    0x0E,
                    0x0C,
                    0x08,
                    0x18,
                    0x80 + 2 * pick.randrange(32),
                    0x40 + 2 * pick.randrange(32),
                    0x10 + 2 * pick.randrange(8),
                )
            )
            size = pick.choice((1, 2, 2, 4, 4, 8))
            value = pick.choice(
                (self._number(), 0x5000, 0x50000000, 0xA0000000, 0x7000, 0x8008, 8, pick.randrange(0x80))
            )
            region = pick.choice((1, 1, 0, 4))
            if region == 4:
                offset += pick.randrange(17) << 12
            body = wire.REGION_HEAD.pack(offset, region, size) + (value & (1 << 8 * size) - 1).to_bytes(
                size, "little"
            )
            if not client.message(Command.REGION_WRITE, body, None, wire.FLAG_NO_REPLY):
                return False
            self.messages += 1
        return client.message(Command.REGION_READ, wire.REGION_HEAD.pack(0x44, 1, 4))

    def _rings(self, client: Client) -> bool:
        """Bring the chip up with rings in the memory full of rubbish, then ring the doorbell."""
        pick = self.random
        block = bytearray(pick.randbytes(160))
        struct.pack_into("<HHxxxxQQ", block, 36, 128, 128, 0x10000, 0x20000)
        struct.pack_into("<HQ", block, 78, 128, 0x30000)
        kinds = (
            0x18,
            0x19,
            0x11,
            0x12,
            0x17,
            0x1F,
            0x0B,
            0x0C,
            0x0E,
            0x29,
            0x33,
            0x39,
            0x52,
            0x53,
            0x14,
            0x55,
            0x30,
            0x31,
            0x04,
        )
        entries = b"".join(
            bytes((pick.choice(kinds), pick.choice((1, 1, 1, 2, 0, 9)))) + pick.randbytes(62)
            for _ in range(64)
        )
        fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, MEMORY)
        os.pwrite(fd, bytes(block), 0x1000)
        os.pwrite(fd, entries, 0x10000)
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
        client.message(Command.DMA_UNMAP, wire.DMA_UNMAP_BODY.pack(24, wire.UNMAP_ALL, 0, 0))
        alive = client.message(Command.DMA_MAP, wire.DMA_MAP_BODY.pack(32, 3, 0, 0, MEMORY), [fd])
        os.close(fd)
        for region, queues, base, bell, command, queue in (
            (1, 1, 0x80, 0x48, 0x50000000, 0x1C),
            (1, 1, 0x40, 0xC0, 0x5000, 0x10),
            (1, 1, 0x10, 0xC0, 0x5000, 0x18),
            (0, 4, 0x80, 0x48, 0x50000000, 0),
        ):
            for number, value in ((2, 0), (3, 0x1000), (6, 0), (7, 0), (0, pick.choice((0x60, 0x48, 0x1F)))):
                alive = alive and self._poke(client, region, base + 2 * number, value, 2)
            size = 4 if bell == 0x48 else 2
            alive = alive and self._poke(client, region, bell, command, size)
            alive = alive and self._poke(client, queues, queue, pick.randrange(128), size)
        return alive

    def _poke(self, client: Client, region: int, offset: int, value: int, size: int) -> bool:
        self.messages += 1
        body = wire.REGION_HEAD.pack(offset, region, size) + value.to_bytes(size, "little")
        return client.message(Command.REGION_WRITE, body, None, wire.FLAG_NO_REPLY)

    def round(self) -> None:
        """One attacker from connection to its end."""
        pick = self.random
        self.clients += 1
        client = Client(pick.choice(self.bed.endpoints[:-1]).path)
        if pick.random() < 0.95:
            client.message(Command.VERSION, VERSION_BODY)
        attacks: list[Callable[[Client], bool]] = [
            self._typed,
            self._typed,
            self._memory,
            self._register,
            self._rings,
            self._noise,
            self._bad_header,
        ]
        weights = (8, 8, 3, 8, 3, 1, 1)
        for _ in range(pick.randrange(1, 30)):
            self.messages += 1
            alive = pick.choices(attacks, weights)[0](client)
            for _ in range(6):
                self.loop.step(0)
            if pick.random() < 0.8:
                client.drain()
            if not alive:
                break
        client.close()
        for _ in range(6):
            self.loop.step(0)

    def close(self) -> None:
        """End the server."""
        self._good.close()
        self.bed.close()
        self.loop.close()


def open_descriptors() -> int:
    """Number of open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def heard(complaints: Complaints) -> Iterator[None]:
    """Let it hear everything the server logs, and nobody else."""
    logger = logging.getLogger("hba")
    before = logger.level, logger.propagate
    logger.addHandler(complaints)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(complaints)
        logger.level, logger.propagate = before


def run(seconds: float, seed: int) -> int:
    """Attack for a time; 0 if the server stood it."""
    complaints = Complaints()
    with heard(complaints):
        return attack(seconds, seed, complaints)


def attack(seconds: float, seed: int, complaints: Complaints) -> int:
    """The same, with the complaints of the server."""
    fuzzer = Fuzzer(seed)
    for _ in range(20):
        fuzzer.round()
    before = open_descriptors()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not complaints.internal:
        fuzzer.round()
        fuzzer.check_good()
    fuzzer.loop.run_for(0.2)
    leaked = open_descriptors() - before
    print(
        f"seed {seed}: {fuzzer.clients} clients, {fuzzer.messages} messages, "
        f"{fuzzer.checks} checks of the other board"
    )
    for kind, number in complaints.kinds.most_common(12):
        print(f"  {number:8} {kind}")
    for text in complaints.internal[:3]:
        print(text)
    if leaked > 4:
        print(f"{leaked} file descriptors leaked")
    fuzzer.close()
    return 1 if complaints.internal or leaked > 4 else 0
