# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts while persistent reservations are kept (APTPL): what was acknowledged is there, and no more.

Initiators register, reserve and preempt one after the other, or set identifying information, which is kept
in the same record, on a device whose file is on the file system of a logged disk (logwrites.py); a mark goes
into the log after each answer. Later the power is cut at any moment: what the disk had made stable by then
is there, and of what was on its way some sectors are, and others are not. Then the file system recovers, a
device of that identity is enabled, and has what was acknowledged last, or what the next command would have
made of it. ``SCST_PR_CUTS`` says how often, ``SCST_SEED`` where.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.model.pr import Action, Command, Type
from tests.unit.pr_kernel import wire
from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.logwrites import LOG_FLUSH, LOG_FUA, SECTOR, Entry, Image, LoggedDisk
from tests.vm.guest.script import Nexus, Script, Target
from tests.vm.guest.test_power_cut import RAM_DISK, SIZE, Bench, bench, ext4_image, mounted

__all__ = ("bench", "ext4_image")

SCST_MODULES = ("scst", "scst_nullio", "scst_script", "dm_log_writes", "brd")

pytestmark = pytest.mark.usefixtures("clean_tree")

CUTS = int(os.environ.get("SCST_PR_CUTS", "10"))
COMMANDS = max(CUTS, 24)
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
NAA = "3" + "5" * 15
NAMES = ("a", "b" * 150, *(letter * 220 for letter in "cdefgh"))  # records of one sector, and of five
TYPES = (Type.WRITE_EXCLUSIVE, Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS)

MAGIC = b"SCST-PR\n"  # begins the block that a record is in
BLOCK = 4096

State = tuple[str, ...]


def state_of(device: tree.Device) -> State:
    """Type and registrants."""
    found = (device.path / "pr/state").read_text().splitlines()
    assert "lost 0" in found, found
    return tuple(line for line in found if line.startswith(("type ", "registrant ")))


def outliving(device: tree.Device) -> State:
    """The same after a loss of power."""
    kept = "aptpl 1" in (device.path / "pr/state").read_text().splitlines()
    return state_of(device) if kept else ("type none",)


def ident_of(nexus: Nexus) -> State:
    """Identifying information, which outlives a loss of power whatever becomes of reservations."""
    kinds = scsi.IDENT, scsi.IDENT_TEXT
    return tuple(nexus.good(scsi.report_ident(kind), read=512)[4:].hex() for kind in kinds)


def make_device(path: Path) -> tree.Device:
    """A device of the one identity."""
    device = tree.Device("nullio", "n").make(size=1 << 30, pr_file=path)
    tree.write(device.path / "id/naa", NAA)
    return device.enable()


def any_command(chosen: random.Random, key: int, victim: int) -> Command:
    """What somebody with this key (0: none) may do."""
    new = chosen.randrange(1, 1 << 64)
    if not key or chosen.random() < 0.3:
        goes = bool(key) and chosen.random() < 0.2
        durable = chosen.random() < 0.85
        return Command(Action.REGISTER, key=key, sa_key=0 if goes else new, aptpl=durable)
    kind = chosen.choice(TYPES)
    action = chosen.choices((Action.RESERVE, Action.RELEASE, Action.PREEMPT, Action.CLEAR), (6, 3, 1.5, 0.5))[
        0
    ]
    return Command(action, type=kind, key=key, sa_key=victim if action == Action.PREEMPT else 0)


@dataclass(slots=True)
class History:
    """What would be there after a loss of power once so many commands are answered."""

    states: list[State] = field(default_factory=list)

    def load(self, script: Script, device: tree.Device, disk: LoggedDisk, chosen: random.Random) -> None:
        """Commands one after the other, and a mark for each answer."""
        target = Target("t1").make()
        target.luns.map(0, device)
        target.enable()
        nexuses = [script.login(target, name) for name in NAMES]
        for nexus in nexuses:
            nexus.attentions()
        keys = dict.fromkeys(nexuses, 0)
        self.states.append((*outliving(device), *ident_of(nexuses[0])))
        while len(self.states) <= COMMANDS:
            self.step(chosen, chosen.choice(nexuses), keys)
            for nexus in nexuses:
                nexus.attentions()
            self.states.append((*outliving(device), *ident_of(nexuses[0])))
            disk.mark(f"ack-{len(self.states) - 1}")
        for nexus in nexuses:
            nexus.close()
            nexus.gone()

    def step(self, chosen: random.Random, nexus: Nexus, keys: dict[Nexus, int]) -> None:
        """One command; who is registered is found out from the answers."""
        if chosen.random() < 0.25:
            data = chosen.randbytes(chosen.randrange(64))
            nexus.command(scsi.set_ident(len(data), chosen.choice((scsi.IDENT, scsi.IDENT_TEXT))), write=data)
            return
        command = any_command(chosen, keys[nexus], chosen.choice([*keys.values()]))
        cdb, data = wire(command)
        event = nexus.command(cdb, write=data)
        if not event.good:
            return
        if command.action == Action.REGISTER:
            keys[nexus] = command.sa_key
        elif command.action == Action.CLEAR:
            keys.update(dict.fromkeys(keys, 0))
        elif command.action == Action.PREEMPT:
            gone = [one for one, key in keys.items() if key == command.sa_key and one is not nexus]
            keys.update(dict.fromkeys(gone, 0))


# --- cuts ---


def on_the_way(log: list[Entry], at: int) -> list[Entry]:
    """What the next flush would make stable: some sectors of it may be on the disk. What is behind a mark may
    be of a later command.
    """
    found = []
    for entry in log[at:]:
        if entry.mark is not None or entry.flags & (LOG_FLUSH | LOG_FUA):
            break
        found.append(entry)
    return found


def some_sectors(image: Image, entries: list[Entry], chosen: random.Random) -> None:
    """Put some of them on the disk. Of a record, any sectors; the file system does not reckon with a half of
    one of its blocks.
    """
    share = chosen.choice((0.1, 0.5, 0.9))
    for entry in entries:
        step = SECTOR if entry.data.startswith(MAGIC) else BLOCK
        for at in range(0, len(entry.data), step):
            if chosen.random() < share:
                image.apply(Entry(entry.sector + at // SECTOR, entry.flags, entry.data[at : at + step]))


def restored(script: Script, image: Image, folder: Path) -> State:
    """What a device has that is enabled after the file system has recovered."""
    image.copy_to(RAM_DISK)
    with mounted(RAM_DISK, folder):
        try:
            device, target = make_device(folder / "pr"), Target("t1").make()
            target.luns.map(0, device)
            target.enable()
            nexus = script.login(target, "late")
            nexus.attentions()
            found = *state_of(device), *ident_of(nexus)
            nexus.close()
            nexus.gone()
            return found
        finally:
            guest_plugin.wipe()
            guest_plugin.leaked_counters()


def moments(log: list[Entry], chosen: random.Random) -> list[int]:
    """Where to cut: anywhere, and rather while a record is on its way."""
    busy = [at for at, entry in enumerate(log) if entry.data.startswith(MAGIC) and on_the_way(log, at)]
    anywhere = [chosen.randrange(len(log) + 1) for _ in range(CUTS // 3)]
    return sorted([*anywhere, *(chosen.choice(busy) for _ in range(CUTS - len(anywhere)))])


def test_acknowledged_registrations_outlive_a_power_cut(script: Script, bench: Bench) -> None:
    """Whenever the power fails, and whichever sectors were written by then."""
    print(f"SCST_SEED={SEED} SCST_PR_CUTS={CUTS}")
    chosen = random.Random(f"{SEED} pr")
    image, _ = bench.prepare("buffered")
    history, disk = History(), LoggedDisk("cut", bench.disk, bench.log, SIZE)
    try:
        with mounted(disk.node, bench.folder):
            try:
                history.load(script, make_device(bench.folder / "pr"), disk, chosen)
            finally:
                guest_plugin.wipe()
                guest_plugin.leaked_counters()
        log = disk.read()
    finally:
        disk.remove()
    acked, at, torn = 0, 0, 0
    for moment in moments(log, chosen):
        for entry in log[at:moment]:
            if entry.mark is None:
                image.apply(entry)
            elif entry.mark.startswith("ack-"):
                acked = int(entry.mark.removeprefix("ack-"))
        at = moment
        whole = bytes(image.content)
        way = on_the_way(log, moment)
        some_sectors(image, way, chosen)
        torn += any(entry.data.startswith(MAGIC) for entry in way)
        found = restored(script, image, bench.folder)
        image.content[:] = whole
        wanted = history.states[acked : acked + 2]
        assert found in wanted, (
            f"SCST_SEED={SEED}: power cut at entry {moment} after {acked} answers: {found}; {wanted}"
        )
    print(f"{COMMANDS} commands, {len(set(history.states))} states, {len(log)} entries")
    print(f"{CUTS} cuts, {torn} of them with a record on its way")
    assert torn, "no record was ever on its way"
