# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of sg3_utils and ddpt against LUNs of driver ``local``: what they print, what they have sent.

The target's trace points say which commands a program has sent and how each ended, so that nothing depends on
what it says of that itself.
"""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import copying, scsi, tree
from tests.vm.guest.alua import DeviceGroup
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tracefs import Event, Trace, tracing
from tests.vm.guest.tree import Device, Target

# Exit statuses (sg_lib.h)
NOT_READY, ILLEGAL, ATTENTION, INVALID_OP = 2, 5, 6, 9
MISCOMPARE, OUT_OF_RANGE, CONFLICT, CONDITION_MET = 14, 22, 24, 25
ABORTED = 11

# An opcode, and a service action if it has any.
Op = tuple[int, ...]

BLOCK, BLOCKS = 512, 2048
PATTERN = bytes(range(256)) * 2
NAMES = ("iqn.2026-11.com.example:one", "iqn.2026-11.com.example:two")
VARIABLE_LENGTH = 0x7F


def is_op(cdb: bytes, op: Op) -> bool:
    """Is it that command?"""
    if len(op) == 1 or cdb[0] != op[0]:
        return cdb[:1] == bytes(op[:1])
    action: int = struct.unpack(">H", cdb[8:10])[0] if op[0] == VARIABLE_LENGTH else cdb[1] & 0x1F
    return action == op[1]


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as the target has seen it: CDB, status, sense key by name, ASC and ASCQ."""

    cdb: bytes
    status: str
    sense: str


@dataclass(frozen=True, slots=True, repr=False)
class Done:
    """A program that has ended: command line, exit status, all it has printed, what it has sent."""

    words: str
    status: int
    text: str
    sent: tuple[Sent, ...]

    def of(self, op: Op) -> list[Sent]:
        """Those of one kind."""
        return [one for one in self.sent if is_op(one.cdb, op)]

    def says(self, *patterns: str) -> None:
        """Each is found; a space stands for any."""
        for pattern in patterns:
            assert re.search(pattern.replace(" ", r"\s+"), self.text, re.M), f"{pattern!r} is not in:\n{self}"

    def __repr__(self) -> str:
        commands = "\n".join(f"    {one.cdb.hex(' ')}: {one.status} {one.sense}" for one in self.sent)
        return f"{self.words}: status {self.status}\n{self.text}\nsent:\n{commands}"


def commands(events: list[Event]) -> tuple[Sent, ...]:
    """What has ended, by what was recorded."""
    begun: dict[tuple[str, ...], bytes] = {}
    found = []
    for event in events:
        fields = event.fields
        key = fields["session"], fields["lun"], fields["tag"]
        if event.name == "cmd_submit":
            begun[key] = bytes.fromhex(fields["cdb"])
        elif key in begun:
            found.append(Sent(begun.pop(key), fields["status"], fields["sense"]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Rig:
    """A thin file A in a device group, B that is not thin, R that is removable; A2, B2, R2 by another port.

    *folder*: with a few files to send.
    """

    devices: dict[str, Device]
    files: dict[str, Path]
    targets: tuple[Target, Target]
    group: DeviceGroup
    units: dict[str, Unit]
    folder: Path
    trace: Trace

    def run(self, words: str) -> Done:
        """Run a program; {A} and the like stand for nodes."""
        names = {name: str(unit.node) for name, unit in self.units.items()}
        argv = shlex.split(words.format(T=self.folder, **names))
        self.trace.clear()
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        text = done.stdout.decode(errors="replace")
        return Done(" ".join(argv), done.returncode, text, commands(self.trace.events()))

    def good(self, words: str, *says: str) -> Done:
        """Run one that must succeed."""
        done = self.run(words)
        assert done.status == 0, done
        done.says(*says)
        return done

    def quiet(self) -> None:
        """Nothing is pending for anybody."""
        for unit in self.units.values():
            unit.attentions()

    def listed(self, unit: str = "A") -> set[Op]:
        """What REPORT SUPPORTED OPERATION CODES tells of."""
        data = self.units[unit].good(scsi.report_opcodes(), 8192)
        rows = (struct.unpack(">BxHxBH", data[at : at + 8]) for at in range(4, len(data), 8))
        return {(opcode, action) if flags & 1 else (opcode,) for opcode, action, flags, _ in rows}

    def numbers(self) -> list[int]:
        """Relative target port identifiers."""
        return [int(tree.read(target.path / "rel_tgt_id")) for target in self.targets]


def unit_of(words: str) -> str:
    """The unit a command line is about: the last that it names."""
    return str(re.findall(r"\{([ABR]2?)\}", words)[-1])


def make_files(folder: Path) -> None:
    """What programs send: a block of x, of zeroes, both, and what COMPARE AND WRITE wants."""
    x, zero = b"x" * BLOCK, bytes(BLOCK)
    for name, data in {"x": x, "zero": zero, "xzero": x + zero, "caw": PATTERN + x}.items():
        (folder / name).write_bytes(data)


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """All of it; no initiator has sd, so nobody else takes attentions."""
    make_files(folder)
    files = {name: folder / f"disk-{name}" for name in "ABR"}
    for path in files.values():
        path.write_bytes(PATTERN * BLOCKS)
    devices = {
        "A": tree.fileio("A", files["A"], thin=1, pr_file=folder / "reservations"),
        "B": tree.fileio("B", files["B"]),
        "R": tree.fileio("R", files["R"], removable=1),
    }
    with tree.without_sd(), tracing() as trace:
        made = []
        units = {}
        for name, suffix, initiator in zip(("t1", "t2"), ("", "2"), NAMES, strict=True):
            target = Target(name).make(auto_rescan=False)
            for lun, device in enumerate(devices.values()):
                target.luns.map(lun, device)
            host = target.login(initiator)
            target.enable()
            made.append(target)
            units.update({letter + suffix: Unit(host.sg(lun)) for lun, letter in enumerate(devices)})
        group = DeviceGroup("dg").make(devices["A"], explicit=True)
        for number, target in zip((10, 20), made, strict=True):
            group.tpg(target.name, number, target)
        pair = [copying.cscd_of(units["B"]), copying.cscd_of(units["A"])]
        lid4 = copying.parameters_lid4(pair, [copying.segment(500, 7, 9)], 0x102, copying.HOLD)
        (folder / "lid4").write_bytes(lid4)
        trace.enable(point="scst_cmd_submit")
        trace.enable(point="scst_cmd_respond")
        yield Rig(devices, files, (made[0], made[1]), group, units, folder, trace)
        for unit in units.values():
            unit.close()


# --- lines ---

NO_SUCH_OPCODE, NO_SUCH_FIELD = "ILLEGAL_REQUEST/20/00", "ILLEGAL_REQUEST/24/00"
WRONG_LIST = "ILLEGAL_REQUEST/26/00"


@dataclass(frozen=True, slots=True)
class Row:
    """A command line, one of the commands it sends, what it prints, its exit status."""

    words: str
    op: Op
    says: tuple[str, ...] = ()
    status: int = 0

    def check(self, rig: Rig) -> Done:
        """Run it: the command was sent, and is one that is told of."""
        done = rig.run(self.words)
        assert done.status == self.status, done
        assert done.of(self.op), f"not sent: {self.op}\n{done}"
        assert self.op in rig.listed(unit_of(self.words)), done
        assert NO_SUCH_OPCODE not in {one.sense for one in done.of(self.op)}, done
        done.says(*self.says)
        return done


@dataclass(frozen=True, slots=True)
class Write(Row):
    """*changes*: LBA and data of what it writes; nothing else may change."""

    changes: tuple[tuple[int, bytes], ...] = ()


def write(words: str, op: Op, *changes: tuple[int, bytes]) -> Write:
    """One that says nothing of interest."""
    return Write(words, op, changes=changes)


@dataclass(frozen=True, slots=True)
class Refused:
    """A command line, and the command that is not there."""

    words: str
    op: Op


@dataclass(frozen=True, slots=True)
class Wrong(Row):
    """A command that is there, asked for what is not; *sense*: of it."""

    sense: str = NO_SUCH_FIELD


def wrong(words: str, op: Op, at: str, sense: str = NO_SUCH_FIELD, status: int = ILLEGAL) -> Wrong:
    """*at*: what is said of the field that is named."""
    return Wrong(words, op, (at,) if at else (), status, sense)


def pr(words: str, op: Op, *says: str, status: int = 0) -> Row:
    """A line of sg_persist."""
    return Row(f"sg_persist --no-inquiry {words}", op, says, status)
