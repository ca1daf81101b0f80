# SPDX-License-Identifier: GPL-2.0-or-later
"""vfio-user server: one listening socket per device, one client at a time, no threads.

A client that breaks the protocol is disconnected with a line in the log; the device and all others go on.
"""

from __future__ import annotations

import array
import contextlib
import errno
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ..loop import Loop, Timer
from . import protocol as wire
from .dma import DmaFault, DmaMap
from .protocol import Command, ProtocolError, RequestError

log = logging.getLogger("hba.vfio")

CHUNK = 65536
MAX_OUTPUT = 4 << 20
HELLO_TIMEOUT = 10.0
ONE = struct.pack("<Q", 1)


class Device(Protocol):
    """What the server needs from a device model."""

    @property
    def name(self) -> str:
        """Name in log lines."""

    @property
    def regions(self) -> Mapping[int, int]:
        """Size in bytes of each region that exists."""

    @property
    def irqs(self) -> Mapping[int, tuple[int, int]]:
        """Flags and number of vectors of each interrupt type that exists."""

    def attached(self, bus: Bus) -> None:
        """A client connected: memory and interrupts are reached through ``bus``."""

    def detached(self) -> None:
        """The client went away, perhaps in the middle of anything."""

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Read ``count`` bytes inside a region."""

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Write inside a region."""

    def reset(self) -> None:
        """Back to power-on state."""

    def irq_unmasked(self, index: int) -> None:
        """The guest can take the next interrupt of this type."""


class Bus:
    """The guest's side of a device: its memory and its interrupts."""

    def __init__(self) -> None:
        self.dma = DmaMap()
        self._vectors: dict[tuple[int, int], int] = {}

    def trigger(self, index: int, vector: int = 0) -> bool:
        """Raise an interrupt; False if the guest has not installed that vector."""
        fd = self._vectors.get((index, vector))
        if fd is None:
            return False
        # EAGAIN means that the counter is full: the interrupt is pending anyway.  Any other error means
        # that the
        # client passed something that is no eventfd and harms itself only.
        with contextlib.suppress(OSError):
            os.write(fd, ONE)
        return True

    def install(self, index: int, vector: int, fd: int | None) -> None:
        """Give a vector an eventfd, or none."""
        old = self._vectors.pop((index, vector), None)
        if old is not None:
            os.close(old)
        if fd is not None:
            self._vectors[index, vector] = fd

    def remove_irqs(self, index: int) -> None:
        """Forget all vectors of a type."""
        for key in [key for key in self._vectors if key[0] == index]:
            os.close(self._vectors.pop(key))

    def close(self) -> None:
        """Let go of the guest."""
        self.dma.clear()
        for index in range(wire.IRQ_COUNT):
            self.remove_irqs(index)


class Endpoint:
    """One device on one socket path."""

    def __init__(self, loop: Loop, path: Path, device: Device) -> None:
        """Listen; OSError if the path cannot be bound."""
        self.loop, self.path, self.device = loop, path, device
        self.client: Connection | None = None
        self.rejected = 0
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen(8)
        loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError as err:
            log.warning("%s: a client could not be accepted: %s", self.device.name, err)
            return
        if self.client is not None:
            log.warning("%s: refused a second client, the device is in use", self.device.name)
            self.rejected += 1
            peer.close()
            return
        self.client = Connection(self, peer)

    def released(self) -> None:
        """The client is gone; the next one may come."""
        self.client = None

    def disconnect(self, reason: str) -> None:
        """Throw the client out: for the guest the device vanishes from the bus."""
        if self.client is not None:
            self.client.close(reason)

    def close(self) -> None:
        """Stop listening and drop the client."""
        self.disconnect("server shut down")
        self.loop.unwatch(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class Connection:
    """A connected client: stream parsing, requests, replies."""

    def __init__(self, endpoint: Endpoint, peer: socket.socket) -> None:
        self.endpoint, self.device, self.loop = endpoint, endpoint.device, endpoint.loop
        self.bus = Bus()
        self.counts: Counter[int] = Counter()
        self._socket = peer
        self._socket.setblocking(False)
        self._input = bytearray()
        self._consumed = 0
        self._passed: list[tuple[int, list[int]]] = []
        self._output = bytearray()
        self._greeted = False
        self._attached = False
        self._closed = False
        self._slow: dict[int, Callable[[bytes, list[int]], bytes]] = {
            Command.VERSION: self._version,
            Command.DMA_MAP: self._dma_map,
            Command.DMA_UNMAP: self._dma_unmap,
            Command.GET_INFO: self._get_info,
            Command.GET_REGION_INFO: self._get_region_info,
            Command.GET_IRQ_INFO: self._get_irq_info,
            Command.SET_IRQS: self._set_irqs,
            Command.RESET: self._reset,
        }
        self._hello: Timer = self.loop.call_later(HELLO_TIMEOUT, self._check_hello)
        self.loop.watch(peer.fileno(), self._readable)

    def _check_hello(self) -> None:
        if not self._greeted:
            self.close(f"no VERSION message within {HELLO_TIMEOUT:g} s")

    def close(self, reason: str) -> None:
        """Disconnect and release everything the client passed."""
        if self._closed:
            return
        self._closed = True
        log.info("%s: client gone: %s", self.device.name, reason)
        self._hello.cancel()
        self.loop.unwatch(self._socket.fileno())
        self._socket.close()
        for _, fds in self._passed:
            _close_all(fds)
        self._passed.clear()
        if self._attached:
            self.device.detached()
        self.bus.close()
        self.endpoint.released()

    def _readable(self) -> None:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(CHUNK, socket.CMSG_SPACE(4 * 2 * wire.MAX_FDS))
        except BlockingIOError:
            return
        except OSError as err:
            self.close(f"reading failed: {err}")
            return
        fds = _descriptors(ancillary) if ancillary else []
        if not data:
            _close_all(fds)
            self.close("end of stream" if not self._input else "end of stream inside a message")
            return
        self._input += data
        if fds:
            # The kernel ends a read at the buffer that carried descriptors: they belong to the message
            # that holds the last byte read.
            self._passed.append((self._consumed + len(self._input), fds))
        try:
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError("more file descriptors in one message than allowed")
            self._drain()
        except ProtocolError as err:
            log.warning("%s: protocol violation: %s", self.device.name, err)
            self.close("protocol violation")
        except Exception:
            # A mistake in one device model must not take the other devices down; tests look for this line.
            log.exception("%s: internal error", self.device.name)
            self.close("internal error")

    def _drain(self) -> None:
        data, place, size = self._input, 0, len(self._input)
        try:
            while size - place >= wire.HEADER_SIZE and not self._closed:
                message_id, command, length, flags, _ = wire.HEADER.unpack_from(data, place)
                if not wire.HEADER_SIZE <= length <= wire.MAX_MESSAGE:
                    raise ProtocolError(f"{wire.command_name(command)} claims a length of {length} bytes")
                if size - place < length:
                    break
                body = bytes(data[place + wire.HEADER_SIZE : place + length])
                place += length
                self._message(message_id, command, flags, body, self._take_fds(place))
        finally:
            self._consumed += place
            del data[:place]

    def _take_fds(self, end: int) -> list[int]:
        if not self._passed or self._passed[0][0] > self._consumed + end:
            return []
        return self._passed.pop(0)[1]

    def _message(self, message_id: int, command: int, flags: int, body: bytes, fds: list[int]) -> None:
        self.counts[command] += 1
        if flags & wire.FLAG_TYPE_MASK:
            _close_all(fds)
            raise ProtocolError(f"{wire.command_name(command)} is marked as a reply, but nothing was asked")
        if not self._greeted and command != Command.VERSION:
            _close_all(fds)
            raise ProtocolError(f"{wire.command_name(command)} came before VERSION")
        try:
            if command == Command.REGION_READ:
                answer = self._region_read(body)
            elif command == Command.REGION_WRITE:
                answer = self._region_write(body)
            else:
                answer = self._control(command, body, fds)
        except RequestError as err:
            log.warning("%s: %s refused: %s", self.device.name, wire.command_name(command), err)
            out = wire.error_reply(message_id, command, err.errno)
        else:
            out = wire.reply(message_id, command, answer)
        finally:
            if fds:
                _close_all(fds)
        if not flags & wire.FLAG_NO_REPLY:
            self._send(out)

    def _send(self, data: bytes) -> None:
        if self._closed:
            return
        if not self._output:
            try:
                sent = self._socket.send(data, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError as err:
                self.close(f"writing failed: {err}")
                return
            if sent == len(data):
                return
            data = data[sent:]
            self.loop.watch(self._socket.fileno(), self._readable, self._writable)
        self._output += data
        if len(self._output) > MAX_OUTPUT:
            self.close("the client asks but does not read the answers")

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._output, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError as err:
            self.close(f"writing failed: {err}")
            return
        del self._output[:sent]
        if not self._output:
            self.loop.watch(self._socket.fileno(), self._readable)

    # Requests.

    def _check_region(self, offset: int, region: int, count: int) -> None:
        size = self.device.regions.get(region, 0)
        if offset + count > size or not count:
            raise RequestError(
                errno.EINVAL, f"region {region}, offset {offset:#x}, {count} bytes is outside the region"
            )
        if not self._attached:
            raise RequestError(errno.EINVAL, "the device is not attached")

    def _region_read(self, body: bytes) -> bytes:
        offset, region, count = wire.unpack(wire.REGION_HEAD, body, "REGION_READ")
        self._check_region(offset, region, count)
        return body[:16] + self.device.read(region, offset, count)

    def _region_write(self, body: bytes) -> bytes:
        offset, region, count = wire.unpack(wire.REGION_HEAD, body, "REGION_WRITE")
        data = body[16:]
        if len(data) != count:
            raise ProtocolError(f"REGION_WRITE announces {count} bytes and carries {len(data)}")
        self._check_region(offset, region, count)
        try:
            self.device.write(region, offset, data)
        except DmaFault as err:
            # The models turn faults of their own transfers into the chip's error reports; this is the net
            # below.
            log.error("%s: DMA fault in a register write: %s", self.device.name, err)
        return body[:16]

    def _control(self, command: int, body: bytes, fds: list[int]) -> bytes:
        handler = self._slow.get(command)
        if handler is None:
            raise RequestError(errno.ENOTSUP, "not supported by this server")
        return handler(body, fds)

    def _version(self, body: bytes, _fds: list[int]) -> bytes:
        if self._greeted:
            raise ProtocolError("a second VERSION message")
        answer = wire.version_reply(body)
        self._greeted = self._attached = True
        self.device.attached(self.bus)
        log.info("%s: client connected", self.device.name)
        return answer

    def _dma_map(self, body: bytes, fds: list[int]) -> bytes:
        _, flags, offset, address, size = wire.unpack(wire.DMA_MAP_BODY, body, "DMA_MAP")
        self.bus.dma.map(address, size, flags, offset, fds[0] if fds else None)
        return b""

    def _dma_unmap(self, body: bytes, _fds: list[int]) -> bytes:
        _, flags, address, size = wire.unpack(wire.DMA_UNMAP_BODY, body, "DMA_UNMAP")
        if flags & wire.UNMAP_ALL:
            self.bus.dma.clear()
        else:
            self.bus.dma.unmap(address, size)
        return body[: wire.DMA_UNMAP_BODY.size]

    def _get_info(self, _body: bytes, _fds: list[int]) -> bytes:
        return wire.DEVICE_INFO_BODY.pack(16, wire.DEVICE_FLAGS_RESET_PCI, wire.REGION_COUNT, wire.IRQ_COUNT)

    def _get_region_info(self, body: bytes, _fds: list[int]) -> bytes:
        index = wire.unpack(wire.REGION_INFO_BODY, body, "GET_REGION_INFO")[2]
        if index >= wire.REGION_COUNT:
            raise RequestError(errno.EINVAL, f"there is no region {index}")
        size = self.device.regions.get(index, 0)
        flags = wire.REGION_READABLE | wire.REGION_WRITABLE if size else 0
        return wire.REGION_INFO_BODY.pack(wire.REGION_INFO_BODY.size, flags, index, 0, size, 0)

    def _get_irq_info(self, body: bytes, _fds: list[int]) -> bytes:
        index = wire.unpack(wire.IRQ_INFO_BODY, body, "GET_IRQ_INFO")[2]
        if index >= wire.IRQ_COUNT:
            raise RequestError(errno.EINVAL, f"there is no interrupt type {index}")
        flags, number = self.device.irqs.get(index, (0, 0))
        return wire.IRQ_INFO_BODY.pack(wire.IRQ_INFO_BODY.size, flags, index, number)

    def _set_irqs(self, body: bytes, fds: list[int]) -> bytes:
        request = wire.irq_request(body)
        vectors = self.device.irqs.get(request.index, (0, 0))[1]
        if request.start + request.count > vectors:
            raise RequestError(
                errno.EINVAL,
                f"interrupt type {request.index} has {vectors} vectors, asked for "
                f"{request.start}+{request.count}",
            )
        if request.flags & wire.SET_TRIGGER:
            self._set_triggers(request, fds)
        elif request.flags & wire.SET_UNMASK:
            self.device.irq_unmasked(request.index)
        elif not request.flags & wire.SET_MASK:
            raise RequestError(errno.EINVAL, f"SET_IRQS flags {request.flags:#x} name no action")
        return b""

    def _set_triggers(self, request: wire.IrqRequest, fds: list[int]) -> None:
        vectors = range(request.start, request.start + request.count)
        if request.flags & wire.SET_DATA_EVENTFD:
            for vector in vectors:
                fd = fds.pop(0) if fds else None
                if fd is not None:
                    os.set_blocking(fd, False)
                self.bus.install(request.index, vector, fd)
        elif request.flags & wire.SET_DATA_BOOL:
            if len(request.data) < request.count:
                raise ProtocolError("SET_IRQS carries fewer booleans than vectors")
            for vector, wanted in zip(vectors, request.data, strict=False):
                if wanted:
                    self.bus.trigger(request.index, vector)
        elif not request.count:
            self.bus.remove_irqs(request.index)
        else:
            for vector in vectors:
                self.bus.trigger(request.index, vector)

    def _reset(self, _body: bytes, _fds: list[int]) -> bytes:
        self.device.reset()
        return b""


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            fds.extend(numbers)
    return fds


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
