# SPDX-License-Identifier: GPL-2.0-or-later
"""A cable between an initiator and a target, at which one can pull: a relay of TCP connections.

What ends at one of its ends is passed on to the other, a close as a close, a reset as a reset; unless nothing
is passed on that way at the time.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.iscsi.spoiler import Spoiler, Wish

CHUNK = 1 << 16
BEAT = 0.05
LINGER = struct.pack("ii", 1, 0)


@dataclass
class Link:
    """One connection: the initiator's socket, and that to the target."""

    near: socket.socket
    far: socket.socket
    # What is not passed on; the relay does not even read it then.
    deaf: set[str] = field(default_factory=set)
    # How many bytes more until one is flipped, by direction.
    flips: dict[str, int] = field(default_factory=dict)
    # What was passed on, by direction, where that is kept.
    kept: dict[str, bytearray] = field(default_factory=dict)
    # By direction, where it is known how PDUs are cut.
    spoilers: Mapping[str, Spoiler] = field(default_factory=dict)
    over: bool = False

    def side(self, direction: str) -> tuple[socket.socket, socket.socket]:
        """From, to; *direction*: in, which is to the target, or out."""
        return (self.near, self.far) if direction == "in" else (self.far, self.near)

    def abort(self) -> None:
        """Both ends are reset, as soon as the relay has let go of them."""
        for sock in (self.near, self.far):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.end()

    def end(self) -> None:
        """Both are closed."""
        self.over = True
        self.near.close()
        self.far.close()

    def pass_on(self, direction: str) -> bool:
        """Some bytes of a direction. False: there will be no more."""
        source, sink = self.side(direction)
        try:
            data = source.recv(CHUNK)
            if direction in self.kept:
                self.kept[direction] += data
            if data:
                sink.sendall(self.flipped(direction, data))
        except ConnectionError:
            self.abort()
            return False
        except OSError:
            return False
        if not data:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        return bool(data)

    def flipped(self, direction: str, data: bytes) -> bytes:
        """With one bit the other way round, when it is time."""
        if direction in self.spoilers:
            data = self.spoilers[direction].passed(data)
        if direction not in self.flips:
            return data
        at = self.flips[direction]
        if at >= len(data):
            self.flips[direction] = at - len(data)
            return data
        del self.flips[direction]
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]

    def run(self) -> None:
        """Until both directions are over."""
        open_ = {"in", "out"}
        while open_ and not self.over:
            wanted = {self.side(one)[0]: one for one in open_ - self.deaf}
            try:
                ready = select.select(list(wanted), [], [], BEAT)[0]
            except (OSError, ValueError):
                break  # it was ended meanwhile
            for sock in ready:
                if not self.pass_on(wanted[sock]):
                    open_.discard(wanted[sock])
        self.end()


class Cable:
    """Listens at *near* and passes on to *far*, until it is closed; *keep*: and keeps what was said.

    Of connections that come from now on: *digests*, they have both; *window*, bytes of what the target sends
    that are taken before they are passed on.
    """

    def __init__(
        self, near: tuple[str, int], far: tuple[str, int], seed: int = 1, keep: bool = False
    ) -> None:
        self.far = far
        self.keep = keep
        self.digests = False
        self.window: int | None = None
        self.wishes: dict[str, list[Wish]] = {"in": [], "out": []}
        self.chance = random.Random(seed)
        self.links: list[Link] = []
        self.listener = socket.create_server(near)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for link in self.links:
            link.end()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    link = Link(near, self._onward(), spoilers=self._spoilers())
                except OSError:
                    near.close()
                    continue
                if self.keep:
                    link.kept = {"in": bytearray(), "out": bytearray()}
                for sock in (link.near, link.far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.links.append(link)
                threading.Thread(target=link.run, daemon=True).start()

    def _onward(self) -> socket.socket:
        """A connection to the target."""
        made = socket.socket()
        try:
            if self.window is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
            made.connect(self.far)
        except OSError:
            made.close()
            raise
        return made

    def _spoilers(self) -> dict[str, Spoiler]:
        return {one: Spoiler(wishes) for one, wishes in self.wishes.items()} if self.digests else {}

    @property
    def last(self) -> Link:
        """The newest connection."""
        return self.links[-1]

    def reset(self) -> None:
        """Both ends see a reset."""
        self.last.abort()

    def half_close(self) -> None:
        """The target hears that nothing more comes."""
        self.last.far.shutdown(socket.SHUT_WR)

    def silence(self) -> None:
        """Nothing passes this connection any more, either way; new ones work."""
        self.last.deaf |= {"in", "out"}

    def clog(self) -> None:
        """Nobody takes what the target sends: its window closes. The other way is open."""
        self.last.deaf.add("out")

    def clear(self) -> None:
        """As it was."""
        self.last.deaf.clear()

    def damage(self, direction: str, within: int = 4096) -> None:
        """A bit of the next bytes is flipped."""
        self.last.flips[direction] = self.chance.randrange(within)

    @property
    def damaged(self) -> bool:
        """Has it been?"""
        return not self.last.flips

    def spoil(self, direction: str, wish: Wish) -> None:
        """A bit of the next PDU of a kind is flipped, of whatever connection."""
        self.wishes[direction].append(wish)

    @property
    def spoilt(self) -> bool:
        """Has it been?"""
        return not any(self.wishes.values())
