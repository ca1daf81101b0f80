# SPDX-License-Identifier: GPL-2.0-or-later
"""A logical unit: its medium, mode parameters, reservations, and what commands do to them (SPC-5, SBC-4).

What keeps a command from being done, and who is told of what it does, is in `target`.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model import mode, pr, sense, steps
from tests.model.sense import Said

BLOCK = 512
BUFFER = 1 << 16


class Identity(NamedTuple):
    """What INQUIRY tells of who a unit is; logical blocks per physical block, as an exponent."""

    vendor: str
    product: str
    revision: str
    exponent: int = 0


class CheckCondition(Exception):
    """The command ends in CHECK CONDITION."""

    def __init__(self, said: Said) -> None:
        super().__init__(str(said))
        self.said = said


def require(condition: bool, said: Said) -> None:
    """CHECK CONDITION unless *condition*."""
    if not condition:
        raise CheckCondition(said)


def block(value: int) -> bytes:
    """The block that is told by a number."""
    return value.to_bytes(4, "big") * (BLOCK // 4)


def blocks(values: tuple[int, ...] | list[int]) -> bytes:
    """Several of them."""
    return b"".join(map(block, values))


def first_difference(one: bytes, other: bytes) -> int | None:
    """Offset in bytes."""
    pairs = enumerate(zip(one, other, strict=True))
    return next((at for at, (left, right) in pairs if left != right), None)


class Unit:
    """One logical unit, with room for *room* blocks, all of which it has at first.

    *durable*: it remembers what a loss of power must not take away.
    """

    def __init__(
        self, identity: Identity, room: int, removable: bool, stops: bool, durable: bool = False
    ) -> None:
        self.identity = identity
        self.medium = [0] * room
        self.size = room
        self.values = mode.Values()
        self.removable = removable
        self.stops = stops
        self.parked = False
        self.ejected = False
        self.stopped = False
        self.reservations = pr.Unit({}, 1024, durable)
        self.buffer = bytearray(BUFFER)

    def reset(self) -> None:
        """SAM-6 6.3.3: mode parameters are the defaults, and it runs. What is ejected stays so."""
        self.values = mode.Values()
        self.stopped = False

    # --- what is wrong with a CDB ---

    def check(self, command: steps.Command) -> None:
        """Before there is any data."""
        match command:
            case steps.Read(lba, count) | steps.WriteSame(lba, count):
                self.check_range(lba, count)
            case steps.Write(lba, values) | steps.Verify(lba, values) | steps.CompareAndWrite(lba, _, values):
                self.check_range(lba, len(values))
            case steps.StartStop(_, load):
                require(self.removable or not load, sense.invalid_in_cdb(4, 1))
            case steps.Prevent():
                require(self.removable, sense.INVALID_OPCODE)
            case steps.Sanitize():
                # Choice: who would forget that it has begun has none.
                require(self.reservations.durable, sense.INVALID_OPCODE)
            case _:
                pass

    def check_range(self, lba: int, count: int) -> None:
        """LOGICAL BLOCK ADDRESS and the number of blocks."""
        require(lba + count <= self.size, sense.LBA_OUT_OF_RANGE)

    # --- the medium ---

    def read(self, lba: int, count: int) -> bytes:
        """Blocks as they are."""
        return blocks(self.medium[lba : lba + count])

    def write(self, lba: int, values: tuple[int, ...]) -> None:
        """Blocks as they are to be."""
        self.medium[lba : lba + len(values)] = values

    def compare(self, lba: int, values: tuple[int, ...]) -> None:
        """MISCOMPARE says at which byte of the data."""
        at = first_difference(self.read(lba, len(values)), blocks(values))
        require(at is None, Said(sense.MISCOMPARE, information=at))

    def compare_and_write(self, command: steps.CompareAndWrite) -> None:
        """COMPARE AND WRITE."""
        self.compare(command.lba, command.expected)
        self.write(command.lba, command.values)

    def format(self, immed: bool) -> None:
        """FORMAT UNIT. Choice: who would forget that it has begun is waited for."""
        require(self.reservations.durable or not immed, sense.invalid_in_list(1, 1))
        self.fill(0)

    def fill(self, value: int) -> None:
        """All blocks alike. What is told while it is being done is not modelled: it is waited for."""
        self.write(0, (value,) * self.size)

    # --- what is told of it ---

    def capacity(self, long: bool) -> bytes:
        """READ CAPACITY."""
        if not long:
            return (self.size - 1).to_bytes(4, "big") + BLOCK.to_bytes(4, "big")
        blocks = (self.size - 1).to_bytes(8, "big") + BLOCK.to_bytes(4, "big")
        return blocks + bytes([0, self.identity.exponent]) + bytes(18)

    def state(self) -> Said:
        """What REQUEST SENSE tells if there is nothing else."""
        if self.parked:
            return sense.UNAVAILABLE
        if self.ejected:
            return sense.NO_MEDIUM
        return sense.START_REQUIRED if self.stopped else sense.NO_SENSE

    def inquiry(self, connected: bool, by_command: bool, aca: bool) -> bytes:
        """Standard INQUIRY data (SPC-5 6.7.2). Choice: it is SPC-4's, SBC-3's and SAM-5's."""
        data = bytearray(74)
        data[0] = 0x00 if connected else 0x20
        data[1] = self.removable << 7
        data[2] = 0x06
        data[3] = aca << 5 | 0x10 | 0x02  # NORMACA, HISUP, format
        data[4] = len(data) - 5
        data[5] = (0x30 if by_command else 0x10) | 0x08  # TPGS, 3PC
        data[7] = 0x02  # CMDQUE
        data[8:16] = self.identity.vendor.ljust(8).encode()
        data[16:32] = self.identity.product.ljust(16).encode()
        data[32:36] = self.identity.revision.ljust(4).encode()
        data[58:64] = bytes.fromhex("00a0 0460 04c0")
        return bytes(data)

    def mode_sense(self, command: steps.ModeSense, protected: bool) -> bytes:
        """MODE SENSE."""
        values = {mode.CHANGEABLE: mode.ALL_OF_THEM, mode.DEFAULT: mode.Values()}.get(
            command.control, self.values
        )
        found = mode.pages(command.page, values, command.control != mode.CHANGEABLE)
        require(bool(found), sense.invalid_in_cdb(2, 5))
        require(command.control != mode.SAVED, Said(0x053900))
        return mode.parameter_list(found, command.ten, protected)

    def reserve_in(self, action: int) -> bytes:
        """PERSISTENT RESERVE IN."""
        unit = self.reservations
        return (
            unit.read_keys,
            unit.read_reservation,
            unit.report_capabilities,
            unit.read_full_status,
        )[action]()
