# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts one direction of a connection into PDUs, as it passes, and flips a bit of one that is waited for.

Of a connection with both digests, once it has logged in: logins have none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.iscsi.pdu import BHS, DIGEST, Op, head_lengths, padding

# The byte of a header in which a bit is flipped: one that says nothing of where the PDU ends.
PLACE = 40
BIT = 0x10
OPCODE = 0x3F


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be damaged: the next PDU of this opcode; its header, or its data, where it has some."""

    op: int
    data: bool = False


@dataclass
class Spoiler:
    """Of one direction. *wishes*: the first is what is waited for; it goes when it has come true."""

    wishes: list[Wish]
    head: bytearray = field(default_factory=bytearray)
    left: int = 0  # bytes of this PDU that are to come behind its header
    flip: int | None = None  # how many of them pass until one is flipped

    def passed(self, data: bytes) -> bytes:
        """These bytes, whatever parts of whatever PDUs they are, as they go on."""
        out = bytearray(data)
        at = 0
        while at < len(out):
            at += self._behind(out, at) if self.left else self._header(out, at)
        return bytes(out)

    def _behind(self, out: bytearray, at: int) -> int:
        """What is behind a header; how many bytes it was."""
        count = min(self.left, len(out) - at)
        self.left -= count
        if self.flip is None:
            return count
        if self.flip < count:
            out[at + self.flip] ^= BIT
            self.wishes.pop(0)
            self.flip = None
        else:
            self.flip -= count
        return count

    def _header(self, out: bytearray, at: int) -> int:
        """A part of a header; how many bytes it was."""
        known = len(self.head)
        self.head += out[at : at + BHS - known]
        wish = next((one for one in self.wishes[:1] if one.op == self.head[0] & OPCODE), None)
        if wish is not None and not wish.data and known <= PLACE < len(self.head):
            out[at + PLACE - known] ^= BIT
            self.wishes.pop(0)
        taken = len(self.head) - known
        if len(self.head) == BHS:
            self._begin(wish is not None and wish.data)
        return taken

    def _begin(self, spoil: bool) -> None:
        """A header is there as a whole."""
        more, length = head_lengths(bytes(self.head))
        digest = 0 if self.head[0] & OPCODE in (Op.LOGIN, Op.LOGIN_RESPONSE) else DIGEST
        before = more + digest
        self.left = before + (length + padding(length) + digest if length else 0)
        self.flip = before if spoil and length else None
        self.head.clear()
