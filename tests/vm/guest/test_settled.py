# SPDX-License-Identifier: GPL-2.0-or-later
"""Access that was taken away is over when `settled` says so; till then everybody sees whose it was (B7)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tool, tree
from tests.vm.guest.long import more
from tests.vm.guest.patience import MOMENT, children, timely
from tests.vm.guest.script import HOLD_DATA, LOSE_DATA, Kind, Script, Target, serve
from tests.vm.guest.test_recovery import Mapper, mapper, outstanding
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest.tree import Device, Group, Initiator, LunDir

__all__ = ("mapper",)

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "scst_script", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
CORE = tree.CLASS / "core"
DATA = b"\xbb" * 4096
PARTLY = 4


def settled() -> int:
    """The newest generation such that nothing older is alive; the same in both places."""
    value = int(tree.read(CORE / "settled"))
    assert value <= int(tree.read(tree.ROOT / "settled"))
    return value


def is_settled() -> bool:
    """Is nothing alive of an earlier configuration?"""
    return settled() == tree.generation()


def unsettled() -> list[str]:
    """Whose commands of revoked access still run."""
    return (CORE / "unsettled").read_text().splitlines()


def wait_unsettled(*wanted: str) -> None:
    """Exactly these still run; those who had sent nothing are over after a grace period of the kernel's."""

    def alive() -> list[str]:
        return [line.partition(" ")[2] for line in unsettled()]

    tree.wait_for(f"only {wanted} to be alive", lambda: alive() == list(wanted), 3)


def medium(node: Path) -> bytes:
    """The blocks the tests write, around the page cache."""
    file = os.open(node, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, len(DATA), 0)
    finally:
        os.close(file)


class Poll:
    """Waits for `settled` as any program would: read, then poll()."""

    def __init__(self) -> None:
        self._file = os.open(CORE / "settled", os.O_RDONLY)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLPRI | select.POLLERR)

    def __enter__(self) -> Poll:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def value(self) -> int:
        """The value now, which is where the next wait begins."""
        return int(os.pread(self._file, 32, 0))

    def woken(self, seconds: float) -> bool:
        """Has there been anything new within so many seconds?"""
        return bool(self._poll.poll(seconds * 1000))


# --- a write that the back end has ---


def unmap(luns: LunDir, _: Device) -> None:
    """The LUN goes."""
    luns.unmap(0)


def remap(luns: LunDir, other: Device) -> None:
    """The LUN becomes another device."""
    luns.unmap(0)
    luns.map(0, other)


def protect(luns: LunDir, _: Device) -> None:
    """The LUN turns read-only."""
    tree.write(luns.path / "0/read_only", True)


def regroup(luns: LunDir, other: Device) -> None:
    """A group with other LUNs claims the initiator."""
    group = Group(luns.path.parent / "groups/other")
    group.path.mkdir()
    group.luns.map(0, other)
    group.claim("first")


REVOCATIONS = [unmap, remap, protect, regroup]


@pytest.mark.parametrize(
    ("revoke", "fence"),
    [
        *((revoke, False) for revoke in REVOCATIONS),
        (unmap, True),
        *more((remap, True), (protect, True), (regroup, True)),
    ],
)
def test_write_in_the_back_end(
    script: Script, mapper: Mapper, revoke: Callable[[LunDir, Device], None], fence: bool
) -> None:
    """Revoked while its write hangs: known until it is over, whatever revoked it; a poll is woken."""
    first, second = serve(script, tree.blockio("slow", mapper.node), tree.nullio("n"))
    other, target = tree.nullio("other"), Target("t1")
    assert is_settled()
    assert unsettled() == []
    before = tree.generation()
    mapper.suspend()
    write = first.submit(scsi.write10(0, 8), write=DATA)
    time.sleep(MOMENT)
    timely("the revocation", partial(publish, revoke, target.luns, other, fence))
    assert tree.generation() == before + 1
    with Poll() as poll:
        assert poll.value() == before
        wait_unsettled("script/t1 first 0 slow")
        assert unsettled() == [f"{before + 1} script/t1 first 0 slow"]
        time.sleep(MOMENT)
        assert poll.value() == before
        assert not poll.woken(MOMENT)
        assert not is_settled()
        second.attentions(1)
        target.luns.map(7, other)
        assert settled() == before, "later publications do not hide it"
        while poll.woken(0):
            poll.value()
        mapper.resume()
        answer = first.answer(write)
        assert answer.aborted == fence, str(answer)
        while poll.value() != tree.generation():
            assert poll.woken(10), "not woken"
    assert unsettled() == []
    assert medium(mapper.node) in ((DATA, bytes(4096)) if fence else (DATA,))


def publish(revoke: Callable[[LunDir, Device], None], luns: LunDir, other: Device, fence: bool) -> None:
    """Revoke, in one publication."""
    tree.set_autocommit(False)
    try:
        revoke(luns, other)
        if fence:
            tree.write(tree.ROOT / "commit_fence", tree.generation())
        else:
            tree.commit()
    finally:
        tree.set_autocommit(True)


def test_reads_do_not_count_when_it_turns_read_only(script: Script, mapper: Mapper) -> None:
    """A read that hangs is no writer."""
    first, _ = serve(script, tree.blockio("slow", mapper.node))
    mapper.suspend()
    read = first.read10(0, 8)
    time.sleep(MOMENT)
    protect(Target("t1").luns, tree.Device("nullio", "none"))
    tree.wait_for("settled", is_settled, 1)
    mapper.resume()
    assert first.answer(read).good


def test_session_ends(script: Script, mapper: Mapper) -> None:
    """An initiator that logs out while its write hangs: its access is over when the write is."""
    first, second = serve(script, tree.blockio("slow", mapper.node))
    mapper.suspend()
    write = first.submit(scsi.write10(0, 8), write=DATA)
    time.sleep(MOMENT)
    first.close()
    tree.wait_for("the session to be seen", lambda: bool(unsettled()), 1)
    assert unsettled()[0].split()[1:] == ["script/t1", "first", "0", "slow"]
    assert not is_settled()
    time.sleep(MOMENT)
    assert script.find(Kind.GONE, session=first.number) is None
    mapper.resume()
    assert first.answer(write).aborted
    first.gone()
    tree.wait_for("settled", is_settled)
    assert second.test_unit_ready().sense is None


# --- a write that waits for its data ---


@pytest.mark.parametrize("revoke", REVOCATIONS, ids=lambda revoke: revoke.__name__)
@pytest.mark.parametrize("late", [False, True], ids=["recalled", "late_data"])
def test_fence_and_a_write_without_data(
    script: Script, make_file: MakeFile, revoke: Callable[[LunDir, Device], None], late: bool
) -> None:
    """A fenced publication asks for the write back; whether its data comes or not, the medium stays."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before, other = path.read_bytes(), tree.nullio("other")
    write = first.submit(scsi.write10(0, 8), write=DATA, plan=HOLD_DATA if late else LOSE_DATA)
    script.wait(Kind.WANTS_DATA, write)
    publish(revoke, Target("t1").luns, other, True)
    script.wait(Kind.ABORT, write)
    if late:
        assert not is_settled()
        wait_unsettled("script/t1 first 0 f")
        script.data(write)
    assert first.answer(write).aborted
    tree.wait_for("settled", is_settled)
    assert path.read_bytes() == before


def test_fence_leaves_others_alone(script: Script, make_file: MakeFile) -> None:
    """What keeps its access is not aborted by a fence."""
    path = make_file("f", 1)
    target = Target("t1").make()
    device = tree.fileio("f", path)
    target.luns.map(0, device)
    target.enable()
    group = target.group("g", "victim")
    group.luns.map(0, device)
    victim, other = script.login(target, "victim"), script.login(target, "other")
    for nexus in (victim, other):
        nexus.attentions()
    held = []
    for number, nexus in enumerate((victim, other)):
        held.append(nexus.submit(scsi.write10(8 * number, 8), write=DATA, plan=HOLD_DATA))
        script.wait(Kind.WANTS_DATA, held[-1])
    tree.set_autocommit(False)
    group.luns.unmap(0)
    tree.write(tree.ROOT / "commit_fence", tree.generation())
    tree.set_autocommit(True)
    script.wait(Kind.ABORT, held[0])
    assert script.find(Kind.ABORT, held[1]) is None
    for number in held:
        script.data(number)
    assert victim.answer(held[0]).aborted
    assert other.answer(held[1]).good
    tree.wait_for("settled", is_settled)


# --- the tool ---


class Writer:
    """sg_raw with a write of zeros to LUN 0 of an initiator of this host, which hangs."""

    def __init__(self, host: Initiator, mapper: Mapper) -> None:
        node = host.sg(0)
        with scsi.Unit(node) as unit:
            unit.attentions()
        self._argv = ["sg_raw", "-t", "600", "-s", "4096", "-i", "/dev/zero", str(node)]
        self._argv += [f"{byte:02x}" for byte in scsi.write10(0, 8)]
        self._host, self._mapper = host, mapper

    @contextmanager
    def hanging(self) -> Iterator[subprocess.Popen[bytes]]:
        """Send it; the body runs while it hangs, unless it resumes the mapping."""
        self._mapper.suspend()
        with subprocess.Popen(self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            try:
                tree.wait_for("the write to hang", lambda: outstanding(self._host, 0) > 0)
                yield child
            finally:
                self._mapper.resume()


def test_host_removed(mapper: Mapper) -> None:
    """An initiator of this host whose directory is removed."""
    host, _ = serve_local(tree.blockio("slow", mapper.node))
    writer = Writer(host, mapper)
    with writer.hanging() as child:
        timely("rmdir of the host", (host.target.path / "hosts/first").rmdir)
        assert not is_settled(), "removed, and nobody knows that it may still write"
        assert [line.split()[1:] for line in unsettled()] == [["local/t1", "first", "0", "slow"]]
        time.sleep(MOMENT)
        assert not is_settled()
        assert child.poll() is None
        mapper.resume()
        child.wait(20)
    tree.wait_for("settled", is_settled)
    assert unsettled() == []


# --- the tool ---


@pytest.mark.parametrize("fence", [False, True], ids=["", "fence"])
def test_tool_names_the_writer(mapper: Mapper, tmp_path: Path, fence: bool) -> None:
    """`apply --settle 1` takes the LUN away, exits 4 and says whose write still runs; with --fence, too."""
    host, _ = serve_local(tree.blockio("slow", mapper.node), tree.nullio("n"))
    writer, file = Writer(host, mapper), configuration_without_lun(tmp_path)
    with writer.hanging() as child:
        status, said = tool.run(
            tmp_path, "apply", str(file), "--yes", "--settle", "1", *(["--fence"] if fence else [])
        )
        assert (status, said["settled"]) == (PARTLY, False)
        assert said["running"] == [
            {
                "generation": tree.generation(),
                "target": "local/t1",
                "initiator": "first",
                "lun": 0,
                "device": "slow",
            }
        ]
        assert tool.run(tmp_path, "show")[1]["running"] == said["running"]
        assert child.poll() is None
        mapper.resume()
        assert (child.wait(20) == 0) != fence
    status, said = tool.run(tmp_path, "apply", str(file), "--settle", "5")
    assert (status, said["running"]) == (0, [])
    tree.wait_for("settled", is_settled)


def configuration_without_lun(folder: Path) -> Path:
    """A file with the present configuration, but for LUN 0."""
    status, said = tool.run(folder, "save", "-")
    assert status == 0, said
    del said["targets"]["local"]["t1"]["luns"]["0"]
    file = folder / "wanted.json"
    file.write_text(json.dumps(said))
    return file


def test_tool_waits_as_long_as_it_takes(mapper: Mapper, tmp_path: Path) -> None:
    """Exit 0 means that it is over: the tool returns after the write has ended, and soon."""
    host, _ = serve_local(tree.blockio("slow", mapper.node), tree.nullio("n"))
    writer, file, out = Writer(host, mapper), configuration_without_lun(tmp_path), tmp_path / "out"
    apply = partial(tool.run_into, out, "apply", str(file), "--yes", "--settle", "60")
    with writer.hanging() as child, children() as start:
        applying = start("apply", apply)
        tree.wait_for("the LUN to go", lambda: bool(unsettled()), 30)
        applying.check_waits(1)
        mapper.resume()
        child.wait(20)
        assert applying.wait(5) == "done"
        assert json.loads(out.read_text())["settled"] is True
    assert is_settled()
