# SPDX-License-Identifier: GPL-2.0-or-later
"""What can happen to a connection and to what is behind it, while data is written and verified.

Each fault strikes one initiator's session: it is over, or goes on, within the time that is set for that; the
initiator is there again without a command, and has lost nothing. Meanwhile a bystander with a session and a
disk of its own keeps that session, and is served.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi.adopter import Adopter
from tests.iscsi.cable import Cable
from tests.iscsi.pdu import Answered, Tmf
from tests.vm.guest import iscsi, openiscsi, patience, scsi, tree
from tests.vm.guest.conftest import wipe
from tests.vm.guest.fio import Fio
from tests.vm.guest.iscsid import Daemon, by_daemon, portal
from tests.vm.guest.long import LONG, more, often
from tests.vm.guest.openiscsi import Initiator, Login
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest_plugin import PluggedDisk, command

SCST_MODULES = (*iscsi.MODULES, "scst_blockio")

pytestmark = pytest.mark.usefixtures("clean_tree")

DIRECT, CABLE, ROUTED = "127.0.0.1:3260", "127.0.0.1:3261", "10.97.0.2:3260"
NETNS = "far"
MIB = 2
LOAD: dict[str, Any] = {
    "rw": "randwrite",
    "verify": "crc32c",
    "verify_backlog": 32,
    "serialize_overlap": 1,
    "size": f"{MIB}m",
    "bs": "16k",
    "runtime": 3600,
    "iodepth": 4,
}
# Of the target: when it notices by itself.
ALIVE = {"nop_interval": 1, "nop_timeout": round(3 * tree.SLOW), "send_timeout": round(4 * tree.SLOW)}
# Of the initiators: they notice nothing by themselves, but for a timeout of commands.
NOTICES_NOTHING: dict[str, object] = {
    "node.conn[0].timeo.noop_out_interval": 0,
    "node.conn[0].timeo.noop_out_timeout": 0,
}
NOTICES: dict[str, object] = {
    "node.conn[0].timeo.noop_out_interval": 1,
    "node.conn[0].timeo.noop_out_timeout": 2,
}
DIGESTS: dict[str, object] = {f"node.conn[0].iscsi.{name}Digest": "CRC32C" for name in ("Header", "Data")}
# The same, and it loses patience with commands, and with their aborts and resets, too.
IMPATIENT: dict[str, object] = {
    **NOTICES_NOTHING,
    "node.session.timeo.replacement_timeout": 600,
    "node.session.err_timeo.abort_timeout": 1,
    "node.session.err_timeo.lu_reset_timeout": 1,
    "node.session.err_timeo.tgt_reset_timeout": 1,
}
# Seconds until what is noticed by one of them has its consequences, and the initiator is back.
BACK = 60 * tree.SLOW
HOLD = 120 if LONG else 6
# What a bystander may wait for, if not for CPUs: nothing that takes as long as a fault.
BYSTANDER_MS = 10_000 * tree.SLOW


@dataclass
class Scene:
    """All that faults are made of."""

    target: iscsi.Target
    daemon: Daemon
    cable: Cable
    victim: Initiator
    mapper: Mapper
    folder: Path
    login: Login | None = None
    seen: set[Path] = field(default_factory=set)

    def session(self) -> Path:
        """The victim's, at the target's end."""
        return tree.wait_one("the victim's session", lambda: of(self.victim), BACK)

    def cut(self, before: Path) -> None:
        """Its session has ended, and there is another."""
        tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
        self.back()

    def back(self) -> None:
        """The victim is logged in."""
        assert self.login is not None
        login = self.login
        tree.wait_for("the victim", lambda: login.up and bool(of(self.victim)), BACK)


def of(who: Initiator) -> list[Path]:
    """Sessions of an initiator."""
    found = []
    for folder in iscsi.sessions():
        try:
            if tree.read(folder / "initiator") == who.iqn:
                found.append(folder)
        except OSError:
            continue  # it ended while we looked
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """A fault. *by*: where the victim's connection leads along; *settings*: of its node."""

    strike: Callable[[Scene], None]
    by: str = CABLE
    settings: dict[str, object] = field(default_factory=lambda: NOTICES_NOTHING)
    times: int = 1


# --- along the cable ---


def reset(scene: Scene) -> None:
    """TCP reset, of both ends."""
    before = scene.session()
    scene.cable.reset()
    scene.cut(before)


def fin(scene: Scene) -> None:
    """The initiator's end closes, as far as the target can see."""
    before = scene.session()
    scene.cable.half_close()
    scene.cut(before)


def silent(scene: Scene) -> None:
    """Nothing passes: the target asks for a sign of life, and gives up."""
    before = scene.session()
    scene.cable.silence()
    tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
    # The initiator is told when the cable is whole again.
    scene.cable.reset()
    scene.back()


def clogged(scene: Scene) -> None:
    """What the target sends is not taken: it gives up."""
    before = scene.session()
    scene.cable.clog()
    tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
    # The initiator is told when the cable is whole again.
    scene.cable.reset()
    scene.back()


def hiccup(scene: Scene) -> None:
    """The same, but only for a moment: the session goes on."""
    before = scene.session()
    scene.cable.clog()
    time.sleep(1)
    scene.cable.clear()
    scene.back()
    assert before.exists()


def damaged(scene: Scene) -> None:
    """A bit is wrong, either way: nobody takes the data for right."""
    for direction in ("in", "out") * often(1, 20):
        scene.cable.damage(direction)
        tree.wait_for("the damage", lambda: scene.cable.damaged, BACK)
        scene.back()


# --- in the network ---


def tc(*words: str) -> None:
    """What the target's end of the link does to what it sends."""
    command("ip", "netns", "exec", NETNS, "tc", *words)


def netem(*words: str) -> Callable[[Scene], None]:
    """Both ends lose, delay, or swap: TCP makes it good, and no session ends."""

    def strike(scene: Scene) -> None:
        before = scene.session()
        tc("qdisc", "add", "dev", "far0", "root", "netem", *words)
        command("tc", "qdisc", "add", "dev", "near0", "root", "netem", *words)
        time.sleep(often(3, 30))
        command("tc", "qdisc", "del", "dev", "near0", "root")
        tc("qdisc", "del", "dev", "far0", "root")
        scene.back()
        assert before.exists()

    return strike


def black_hole(scene: Scene) -> None:
    """Large packets of the target's do not arrive, and nobody says so: the initiator gives up."""
    before = scene.session()
    tc("qdisc", "add", "dev", "far0", "root", "handle", "1:", "prio")
    small = ["u32", "match", "u16", "0x0000", "0xfc00", "at", "2", "action", "ok"]
    tc("filter", "add", "dev", "far0", "parent", "1:", "prio", "1", "protocol", "ip", *small)
    large = ["u32", "match", "u32", "0", "0", "action", "drop"]
    tc("filter", "add", "dev", "far0", "parent", "1:", "prio", "2", "protocol", "ip", *large)
    tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
    tc("qdisc", "del", "dev", "far0", "root")
    scene.back()


def address_leaves(scene: Scene) -> None:
    """The session is reset at once, and the initiator, which would notice nothing, hears of it."""
    assert scene.login is not None
    before, login = scene.session(), scene.login
    command("ip", "-n", NETNS, "addr", "del", "10.97.0.2/24", "dev", "far0")
    tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
    tree.wait_for("the initiator to notice", lambda: not login.up, BACK)
    command("ip", "-n", NETNS, "addr", "add", "10.97.0.2/24", "dev", "far0")
    scene.back()


# --- by an administrator ---


def portal_leaves(scene: Scene) -> None:
    """Nobody is let in there; who is in stays."""
    before = scene.session()
    link = scene.target.path / "portals/p"
    link.unlink()
    time.sleep(1)
    assert before.exists()
    link.symlink_to(tree.ROOT / "drivers/iscsi/portals/p")
    scene.back()


def target_is_disabled(scene: Scene) -> None:
    """All its sessions end; the bystander has another target."""
    before = scene.session()
    scene.target.enable(False)
    tree.wait_for("the old session's end", lambda: not before.exists(), BACK)
    time.sleep(1)
    scene.target.enable()
    scene.back()


def group_changes(scene: Scene) -> None:
    """The victim is another group's, which has the same disk."""
    before = scene.session()
    other = scene.target.group("other")
    other.luns.map(0, tree.Device("blockio", "victim"))
    with tree.staging():
        tree.Group(scene.target.path / "groups/victim").disclaim(scene.victim.iqn)
        other.claim(scene.victim.iqn)
    tree.wait_for("the other group", lambda: tree.read(before / "group") == "other", BACK)
    with tree.staging():
        other.disclaim(scene.victim.iqn)
        tree.Group(scene.target.path / "groups/victim").claim(scene.victim.iqn)
    other.remove()
    assert before.exists()


# --- behind the target ---


def back_end_hangs(scene: Scene) -> None:
    """The initiator aborts, resets, logs in anew, and is told to come again, until the disk is there."""
    assert scene.login is not None
    disk = scene.login.disk(0)
    Path("/sys/block", disk.name, "device/timeout").write_text("2")
    Path("/sys/block", disk.name, "device/eh_timeout").write_text("2")
    scene.mapper.suspend()
    time.sleep(HOLD)
    scene.mapper.resume()
    scene.back()
    Path("/sys/block", disk.name, "device/timeout").write_text("60")


CASES = {
    "damaged": Case(damaged, settings={**NOTICES_NOTHING, **DIGESTS}),
    "address": Case(address_leaves, ROUTED),
    "hang": Case(back_end_hangs, settings=IMPATIENT),
}
FURTHER = {
    "reset": Case(reset, times=3),
    "fin": Case(fin, times=2),
    "silent": Case(silent),
    "clogged": Case(clogged),
    "hiccup": Case(hiccup),
    "loss": Case(netem("loss", "1%"), ROUTED),
    "reorder": Case(netem("delay", "5ms", "2ms", "reorder", "25%"), ROUTED),
    "duplicate": Case(netem("duplicate", "5%"), ROUTED),
    "corrupt": Case(netem("corrupt", "1%"), ROUTED),
    "black hole": Case(black_hole, ROUTED, NOTICES),
    "portal": Case(portal_leaves),
    "disabled": Case(target_is_disabled, times=3),
    "group": Case(group_changes),
}


# --- the scene ---


@pytest.fixture(scope="module")
def initiators() -> Iterator[tuple[Initiator, Initiator]]:
    """The victim and the bystander."""
    with openiscsi.running():
        yield (
            Initiator("victim", "iqn.2026-11.test:victim").make(),
            Initiator("bystander", "iqn.2026-11.test:bystander").make(),
        )


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """A network namespace with two addresses."""
    for module in ("veth", "sch_netem", "sch_prio", "cls_u32", "act_gact"):
        command("modprobe", module)
    command("ip", "netns", "add", NETNS)
    command("ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", NETNS)
    command("ip", "addr", "add", "10.97.0.1/24", "dev", "near0")
    command("ip", "link", "set", "near0", "up")
    for words in (
        ["addr", "add", "10.97.0.3/24", "dev", "far0"],
        ["addr", "add", "10.97.0.2/24", "dev", "far0"],
        ["link", "set", "lo", "up"],
        ["link", "set", "far0", "up"],
    ):
        command("ip", "-n", NETNS, *words)
    yield
    command("ip", "link", "del", "near0")
    command("ip", "netns", "del", NETNS)


def make_target(name: str, initiator: Initiator, device: tree.Device) -> iscsi.Target:
    """One initiator's."""
    target = iscsi.Target(name)
    target.make()
    for key, value in ALIVE.items():
        tree.write(target.path / "params" / key, value)
    target.group(initiator.iface, initiator.iqn).luns.map(0, device)
    return target


BYSTANDER = "iqn.2026-11.test:bystanders"


@pytest.fixture
def scene(
    clean_tree: None,
    initiators: tuple[Initiator, Initiator],
    network: None,
    disks: dict[str, PluggedDisk],
    tmp_path: Path,
) -> Iterator[Scene]:
    """Two targets, of two disks."""
    dmsetup("create", "hang", "--table", f"0 {MIB << 11} linear {disks['vm-disk-b'].node} 0")
    mapper = Mapper("hang")
    file = tmp_path / "bystander"
    file.write_bytes(bytes(MIB << 20))
    target = make_target(iscsi.NAME, initiators[0], tree.blockio("victim", mapper.node))
    other = make_target(BYSTANDER, initiators[1], tree.fileio("bystander", file))
    portal(target)
    portal(target, "far", address="10.97.0.2", netns=NETNS)
    portal(other)
    target.enable()
    other.enable()
    with by_daemon("p", "far") as daemon, Cable(("127.0.0.1", 3261), ("127.0.0.1", 3260)) as cable:
        yield Scene(target, daemon, cable, initiators[0], mapper, tmp_path)
        mapper.resume()
        for one in (target, other):
            one.enable(False)
            iscsi.wait_sessions(0, one.name)
    wipe()
    dmsetup("remove", "--retry", "hang")


@pytest.mark.parametrize("name", [*CASES, *more(*FURTHER)])
def test_fault(scene: Scene, initiators: tuple[Initiator, Initiator], name: str) -> None:
    """See the file's description."""
    case = (CASES | FURTHER)[name]
    calm = initiators[1].login(BYSTANDER)
    scene.login = initiators[0].login(iscsi.NAME, case.by, case.settings)
    (undisturbed,) = iscsi.sessions(BYSTANDER)
    with (
        Fio(scene.folder, calm.disk(0), "bystander", **LOAD) as bystander,
        Fio(scene.folder, scene.login.disk(0), "victim", **LOAD) as victim,
    ):
        for _ in range(case.times):
            case.strike(scene)
        victim.stop()
        found = bystander.stop()
    assert undisturbed.exists(), "the bystander has lost its session"
    print(f"{name}: the bystander's longest wait was {found.worst:.0f} ms")
    assert found.worst < BYSTANDER_MS
    scene.login.logout()
    calm.logout()


# --- initiators that do it on purpose ---

OTHER = bytes.fromhex("400000000002")
ABORTS = 1000


@pytest.fixture
def slow_disk(clean_tree: None, disks: dict[str, PluggedDisk]) -> Iterator[tuple[Adopter, Mapper]]:
    """A target with a disk that can be stopped as LUN 0, and another as LUN 1."""
    dmsetup("create", "hang", "--table", f"0 {MIB << 11} linear {disks['vm-disk-b'].node} 0")
    mapper = Mapper("hang")
    target = iscsi.Target(iscsi.NAME)
    target.make()
    target.luns.map(0, tree.blockio("victim", mapper.node))
    target.luns.map(1, tree.nullio("null"))
    target.enable()
    try:
        with iscsi.adopter() as made:
            yield made, mapper
            mapper.resume()
    finally:
        dmsetup("resume", "hang")
        wipe()
        dmsetup("remove", "--retry", "hang")


def kernel_threads() -> int:
    """How many there are."""
    stats = Path("/proc").glob("[0-9]*/stat")
    return sum(stat.read_text().rpartition(")")[2].split()[1] == "2" for stat in stats)


def test_aborts_while_the_disk_hangs(slow_disk: tuple[Adopter, Mapper]) -> None:
    """Each is answered when what it was about is over, and others are served meanwhile."""
    adopter, mapper = slow_disk
    session = adopter.login()
    iscsi.hear(session)
    before = session.command(scsi.read10(0, 16), read=16 * 512)
    mapper.suspend()
    threads = kernel_threads()
    wanted = [bytes([0x80 + at]) * 512 for at in range(16)]
    tasks = [session.start(scsi.write10(at, 1), write=data) for at, data in enumerate(wanted)]
    asked = [
        session.tmf_pdu(Tmf.ABORT_TASK, task=tasks[number % 16])
        if number % 10
        else session.tmf_pdu(Tmf.LUN_RESET)
        for number in range(ABORTS)
    ]
    for one in asked:
        session.send(one)
    other = adopter.login(isid=OTHER, initiator="iqn.2026-11.test:other")
    for _ in range(20):
        patience.timely("a ping", lambda: other.ping(b"x"), 5 * tree.SLOW)
        iscsi.hear(other, 1)
        patience.timely("a read", lambda: other.command(scsi.read10(0, 8), lun=1, read=4096), 5 * tree.SLOW)
    more_threads = kernel_threads() - threads
    print(f"{more_threads} more kernel threads")
    mapper.resume()
    answers = Counter(session.wait(one).byte2 for one in asked)
    assert set(answers) <= {Answered.COMPLETE, Answered.NO_TASK, Answered.REJECTED}
    iscsi.hear(session)
    after = session.command(scsi.read10(0, 16), read=16 * 512)
    for at, data in enumerate(wanted):
        block = slice(at * 512, at * 512 + 512)
        assert after.data[block] in (before.data[block], data)
    assert more_threads < 100


def test_two_initiators_with_one_port(slow_disk: tuple[Adopter, Mapper]) -> None:
    """Each ends the other's session as it comes, and nobody else's; also while the disk hangs."""
    adopter, mapper = slow_disk
    other = adopter.login(isid=OTHER)
    last = adopter.login()
    for number in range(often(20, 500)):
        if number % 5 == 4:
            iscsi.hear(last)
            mapper.suspend()
            last.start(scsi.write10(0, 1), write=bytes(512))
            # The answer to what came behind it says that the write is with the disk.
            assert last.ping(b"x").data == b"x"
            with pytest.raises(BlockingIOError):
                adopter.login(wait_ms=50)
            mapper.resume()
        newer = adopter.login()
        last.wait_closed()
        last = newer
    assert other.ping(b"x").data == b"x"
    assert last.ping(b"x").data == b"x"
    iscsi.wait_sessions(2)
