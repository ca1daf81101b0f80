# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers whose data comes later: from any context, late, in part, not at all; and memory for it."""

from __future__ import annotations

import errno
import itertools
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.long import more
from tests.vm.guest.script import (
    HOLD_DATA,
    HOLD_RESPONSE,
    LOSE_DATA,
    PLAIN,
    Flag,
    From,
    Kind,
    Mode,
    Nexus,
    Owner,
    Plan,
    Response,
    Script,
    Target,
    Tmf,
    parameters,
    serve,
)

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
WRONG_LENGTH: scsi.Sense = (0x5, 0x0E, 0x03)
NOT_READY = 0x2
ALL_ONES = 0xFFFFFFFF
EIO = -5
MIB = 1 << 20
KINDS = ["fileio", "direct", "blockio"]


def make_device(kind: str, make_file: MakeFile) -> tuple[tree.Device, Path]:
    """A device of a kind, and where its medium can be read."""
    if kind == "blockio":
        node = guest_plugin.find_disks()["vm-disk-a"].node
        return tree.blockio("d", node), node
    path = make_file("f", 4)
    return tree.fileio("d", path, o_direct=kind == "direct"), path


def noise(seed: object, size: int) -> bytes:
    """Reproducible data."""
    return random.Random(str(seed)).randbytes(size)


def random_plan(chosen: random.Random) -> Plan:
    """From anywhere, sometimes a little later; room comes back in an interrupt, or soon."""
    back = (From.SOFTIRQ, From.IRQ)
    return Plan(
        submit_from=chosen.choice(list(From)),
        data_from=chosen.choice(back),
        data_ms=chosen.choice((0, 0, 2)),
        response_from=chosen.choice(back),
    )


# --- contexts ---


@pytest.mark.parametrize("kind", KINDS)
def test_every_context(script: Script, make_file: MakeFile, kind: str) -> None:
    """Commands and data from every context, responses that go out in every context."""
    device, _ = make_device(kind, make_file)
    first, _ = serve(script, device)
    places = [place for place in From if place != From.LOCKED]
    for number, (submit, data) in enumerate(itertools.product(From, From)):
        back = places[number % len(places)]
        plan = Plan(submit_from=submit, data_from=data, response_from=back)
        content = noise((submit, data), 4096)
        first.good(scsi.write10(8 * number, 8), write=content, plan=plan)
        assert first.good(scsi.read10(8 * number, 8), read=4096, plan=plan) == content, f"{submit!r} {data!r}"
        first.good(scsi.inquiry(), read=255, plan=plan)


def test_late_data(script: Script, make_file: MakeFile) -> None:
    """Data that comes after a while, in whatever order."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    chosen = random.Random(7)
    blocks = {lba: noise(lba, 512) for lba in range(64)}
    commands = []
    for lba, content in blocks.items():
        plan = Plan(data_from=chosen.choice(list(From)), data_ms=chosen.randrange(100))
        commands.append(first.write10(lba, content, plan=plan))
    for number in commands:
        assert first.answer(number).good
    assert path.read_bytes()[: 64 * 512] == b"".join(blocks.values())


def test_wrong_data_is_written_as_it_came(script: Script, make_file: MakeFile) -> None:
    """The core has no opinion about data."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    write = first.write10(0, bytes(512), plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    script.data(write, b"\x77" * 512, sender=From.IRQ)
    assert first.answer(write).good
    assert path.read_bytes()[:512] == b"\x77" * 512


@pytest.mark.parametrize("sender", [From.HERE, From.SOFTIRQ, From.IRQ])
@pytest.mark.parametrize("part", [0, 512, 4096])
def test_transfer_error(script: Script, make_file: MakeFile, sender: From, part: int) -> None:
    """Data that ends in an error, after a part of it: nothing is written, and the initiator is told."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write = first.submit(scsi.write10(0, 8), write=bytes(part), expected=4096, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    script.data(write, error=EIO, sender=sender)
    answer = first.answer(write)
    assert answer.status == scsi.CHECK_CONDITION, str(answer)
    assert answer.sense is not None
    assert answer.sense[0] in (0x4, 0xB), str(answer)
    assert answer.len == 0
    assert path.read_bytes() == before
    first.good(scsi.write10(0, 8), write=bytes(4096))


# --- no room in the driver ---


@pytest.mark.parametrize("kind", KINDS)
def test_every_tenth_call_has_no_room(script: Script, make_file: MakeFile, kind: str) -> None:
    """receive_data() and send_response() say -EAGAIN now and then; all goes well all the same."""
    device, _ = make_device(kind, make_file)
    first, second = serve(script, device)
    resume = itertools.cycle((From.SOFTIRQ, From.IRQ))
    with parameters(again_every=10):
        for number in range(100):
            nexus = (first, second)[number % 2]
            plan = Plan(submit_from=From(number % 6), data_from=next(resume), response_from=next(resume))
            content = noise(number, 4096)
            nexus.good(scsi.write10(8 * number, 8), write=content, plan=plan)
            assert nexus.good(scsi.read10(8 * number, 8), read=4096, plan=plan) == content
    assert len(script.take(Kind.AGAIN)) >= 20


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_for_many(script: Script, make_file: MakeFile, kind: str) -> None:
    """The same with many outstanding, of both initiators and of all lengths: no data is another's."""
    device, _ = make_device(kind, make_file)
    pair = serve(script, device)
    chosen = random.Random(f"many {kind}")
    with parameters(again_every=10):
        for _ in range(8):
            sizes = [chosen.choice((1, 3, 8, 64, 130)) for _ in range(16)]
            places = list(zip(itertools.accumulate(sizes, initial=0), sizes, strict=False))
            chosen.shuffle(places)
            contents = [chosen.randbytes(512 * blocks) for _, blocks in places]
            writes = [
                pair[at % 2].write10(lba, content, plan=random_plan(chosen))
                for at, ((lba, _), content) in enumerate(zip(places, contents, strict=True))
            ]
            answers = [pair[at % 2].answer(number, 30) for at, number in enumerate(writes)]
            assert all(answer.good for answer in answers), script.describe()
            reads = [
                pair[at % 2].read10(lba, blocks, plan=random_plan(chosen))
                for at, (lba, blocks) in enumerate(places)
            ]
            for at, number in enumerate(reads):
                assert pair[at % 2].answer(number, 30).data == contents[at], f"{places[at]}"
    assert len(script.take(Kind.AGAIN)) >= 30


@pytest.mark.parametrize("back", [From.SOFTIRQ, From.IRQ])
def test_no_room_again_and_again(script: Script, back: From) -> None:
    """Room that comes back at once, before the core has put the command aside, and is gone again."""
    first, _ = serve(script, tree.nullio("n"))
    plan = Plan(data_again=20, response_again=20, data_from=back, response_from=back)
    commands = [first.write10(number, bytes(512), plan=plan) for number in range(20)]
    for number in commands:
        assert first.answer(number).good
    assert len(script.take(Kind.AGAIN)) == 20 * 40


def test_nothing_is_repeated_before_there_is_room(script: Script) -> None:
    """The core waits for scst_target_resume()."""
    first, _ = serve(script, tree.nullio("n"))
    flags = Flag.NO_RESUME
    write = first.write10(0, bytes(512), plan=Plan(data_again=1, response_again=1, flags=flags))
    for _ in range(2):
        script.wait(Kind.AGAIN, write)
        time.sleep(0.2)
        assert script.find(Kind.AGAIN, write) is None
        assert script.find(Kind.RESPONDED, write) is None
        script.resume()
    assert first.answer(write).good


@pytest.mark.parametrize("where", ["data", "response"])
def test_abort_while_there_is_no_room(script: Script, make_file: MakeFile, where: str) -> None:
    """A command that was refused with -EAGAIN and is aborted: over when there is room, and not written."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    plan = Plan(data_again=where == "data", response_again=where == "response", flags=Flag.NO_RESUME)
    write = first.write10(0, b"\xaa" * 512, plan=plan)
    script.wait(Kind.AGAIN, write)
    tmf = second.tmf(Tmf.LUN_RESET)
    time.sleep(0.2)
    script.resume()
    assert first.answer(write).foreign
    assert second.tmf_response(tmf) == Response.COMPLETE
    if where == "data":
        assert path.read_bytes() == before


# --- a device that is closed, protected or taken away while data is on its way ---


def test_closing_does_not_wait_for_data(script: Script, make_file: MakeFile) -> None:
    """A command that waits for its data holds nothing of the device (B9)."""
    path = make_file("f", 1)
    device = tree.fileio("f", path)
    first, _ = serve(script, device)
    before = path.read_bytes()
    write = first.write10(0, b"\xaa" * 512, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    store = subprocess.Popen(["sh", "-c", f"echo 0 > {device.path}/active"])
    try:
        assert store.wait(3) == 0
    finally:
        script.data(write)
        store.wait(10)
    sense = first.answer(write).sense
    assert sense is not None
    assert sense[0] in (NOT_READY, scsi.UNIT_ATTENTION)
    assert path.read_bytes() == before
    first.attentions()
    sense = first.test_unit_ready().sense
    assert sense is not None
    assert sense[0] == NOT_READY


def test_reopened_while_data_is_on_its_way(script: Script, make_file: MakeFile) -> None:
    """Parked, and active again on another file: what was sent for the old one is not written."""
    path, new = make_file("f", 1), make_file("g", 1)
    old = path.with_name("old")
    device = tree.fileio("f", path)
    first, _ = serve(script, device)
    contents = path.read_bytes(), new.read_bytes()
    write = first.write10(0, b"\xaa" * 512, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    device.activate(False)
    path.rename(old)
    new.rename(path)
    device.activate()
    script.data(write)
    assert first.answer(write).sense == scsi.MEDIUM_MAY_HAVE_CHANGED
    assert (old.read_bytes(), path.read_bytes()) == contents
    old.unlink()


def test_read_only_while_data_is_on_its_way(script: Script, make_file: MakeFile) -> None:
    """A LUN that turned read-only is not written to any more."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write = first.write10(0, b"\xaa" * 512, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    tree.write(tree.ROOT / "targets/script/t1/luns/0/read_only", True)
    script.data(write)
    answer = first.answer(write)
    assert not answer.good, str(answer)
    assert path.read_bytes() == before
    first.attentions()
    assert first.command(scsi.write10(0, 1), write=bytes(512)).sense == scsi.WRITE_PROTECTED


def test_attention_while_data_is_on_its_way(script: Script, make_file: MakeFile) -> None:
    """An attention that arose in between is told by the write, which is not executed."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write = first.write10(0, b"\xaa" * 512, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    page = bytearray(bytes(4) + second.good(scsi.mode_sense6(0x0A), read=255)[4:])
    page[6] ^= 0x04
    second.good(scsi.mode_select6(len(page)), write=bytes(page))
    script.data(write)
    assert first.answer(write).sense == scsi.MODE_CHANGED
    assert path.read_bytes() == before
    assert first.attentions() == []


# --- lengths ---


@pytest.mark.parametrize("expected", [0, 1, 511, 512, 1023])
def test_short_write(script: Script, make_file: MakeFile, expected: int) -> None:
    """Less data-out than the CDB says: nothing is asked for and nothing is written (B8)."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    answer = first.command(scsi.write10(0, 2), write=b"\xaa" * expected)
    assert answer.sense == WRONG_LENGTH, str(answer)
    assert script.take(Kind.WANTS_DATA) == []
    assert path.read_bytes() == before


def test_write_without_a_direction(script: Script, make_file: MakeFile) -> None:
    """A write whose transport says there is no data, or data-in."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    assert first.command(scsi.write10(0, 2)).sense == WRONG_LENGTH
    assert first.command(scsi.write10(0, 2), read=1024).sense == WRONG_LENGTH
    assert path.read_bytes() == before


def test_long_write(script: Script, make_file: MakeFile) -> None:
    """More data-out than the CDB says: only what it says is asked for and written."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    answer = first.command(scsi.write10(0, 2), write=b"\xaa" * 4096)
    assert answer.good, str(answer)
    assert (answer.len, answer.residual) == (1024, 3072)
    assert [event.len for event in script.take(Kind.WANTS_DATA)] == [1024]
    assert path.read_bytes() == b"\xaa" * 1024 + before[1024:]


@pytest.mark.parametrize("memory", [Flag(0), Flag.OWN_MEMORY], ids=["pool", "own"])
@pytest.mark.parametrize("expected", [1, 700, 1024, 8192, *more(511, 1025)])
@pytest.mark.parametrize("kind", KINDS)
def test_read_moves_exactly(
    script: Script, make_file: MakeFile, kind: str, expected: int, memory: Flag
) -> None:
    """A read moves as many bytes as both sides agree on, and the difference is the residual."""
    device, path = make_device(kind, make_file)
    first, _ = serve(script, device)
    with path.open("rb") as file:
        content = file.read(2048)
    answer = first.command(scsi.read10(1, 2), read=expected, plan=Plan(flags=Flag.KEEP_DATA | memory))
    moved = min(expected, 1024)
    assert answer.good, str(answer)
    assert answer.len == moved
    assert answer.data == content[512 : 512 + moved]
    assert answer.residual == expected - 1024


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_the_driver(script: Script, make_file: MakeFile, kind: str) -> None:
    """A driver with memory of its own: the core uses it and nothing else."""
    device, path = make_device(kind, make_file)
    first, _ = serve(script, device)
    plan = Plan(flags=Flag.KEEP_DATA | Flag.OWN_MEMORY)
    content = noise(kind, 65536)
    answer = first.command(scsi.write10(0, 128), write=content, plan=plan)
    assert answer.good, str(answer)
    assert answer.owner == Owner.DRIVER
    answer = first.command(scsi.read10(0, 128), read=65536, plan=plan)
    assert answer.good, str(answer)
    assert answer.owner == Owner.DRIVER
    assert answer.data == content
    answer = first.command(scsi.inquiry(), read=255, plan=plan)
    assert answer.good, str(answer)
    assert answer.data[8:12] != bytes(4)
    assert path.exists()


# --- memory ---


def free_kib() -> int:
    """Memory nobody uses."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("MemFree")))


def test_announced_length_costs_nothing(script: Script) -> None:
    """What the wire announces does not decide how much memory is taken: 4 GiB for commands of few bytes."""
    first, _ = serve(script, tree.nullio("n"))
    before = free_kib()
    held = Plan(flags=PLAIN.flags, response_mode=Mode.HOLD)
    commands = [first.submit(scsi.test_unit_ready(), expected=ALL_ONES, plan=held) for _ in range(50)]
    commands += [first.submit(scsi.inquiry(36), expected=ALL_ONES, plan=held) for _ in range(50)]
    for at, number in enumerate(commands):
        answer = script.wait(Kind.RESPONDED, number)
        assert answer.good, str(answer)
        assert answer.data_len <= 4096
        assert answer.residual == ALL_ONES - (0 if at < 50 else 36)
    assert before - free_kib() < 32 << 10
    script.let_go()


def accepted(script: Script, first: Nexus, number: int, blocks: int) -> tuple[list[int], list[int]]:
    """Submit writes that wait for their data: those that do, and those that got TASK SET FULL."""
    waiting, refused = [], []
    for _ in range(number):
        command = first.submit(
            scsi.write10(0, blocks), write=b"", expected=blocks * 512, plan=Plan(data_mode=Mode.HOLD)
        )
        answer = script.find(Kind.RESPONDED, command)
        if answer is None:
            script.wait(Kind.WANTS_DATA, command)
            waiting.append(command)
        else:
            assert answer.status == scsi.TASK_SET_FULL, str(answer)
            refused.append(command)
    return waiting, refused


def test_memory_of_a_session_has_a_cap(script: Script) -> None:
    """Over the cap: TASK SET FULL; the largest command fits where nothing is in use."""
    with parameters(max_xfer=MIB):
        first, second = serve(script, tree.nullio("n"))
    limit = tree.ROOT / "targets/script/t1/session_buffer_limit"
    assert tree.errno_of(lambda: tree.write(limit, MIB - 1)) == errno.ERANGE
    tree.write(limit, MIB)
    waiting, refused = accepted(script, first, 2, MIB // 512)
    assert (len(waiting), len(refused)) == (1, 1), "the largest fits, beside it nothing does"
    script.data(waiting[0], bytes(MIB))
    assert first.answer(waiting[0]).good
    waiting, refused = accepted(script, first, 64, 256)
    assert (len(waiting), len(refused)) == (8, 56)
    small = second.write10(0, bytes(4096), plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, small)
    script.let_go()
    for command in waiting:
        assert first.answer(command).good


def test_memory_of_a_target_has_a_cap(script: Script) -> None:
    """The sessions of a target together; counted per CPU, and so not to the byte."""
    with parameters(max_xfer=MIB):
        first, second = serve(script, tree.nullio("n"))
    tree.write(tree.ROOT / "targets/script/t1/session_buffer_limit", 0)
    tree.write(tree.ROOT / "targets/script/t1/buffer_limit", 16 * MIB)
    waiting, refused = accepted(script, first, 32, MIB // 512)
    assert 12 <= len(waiting) <= 20
    assert refused
    waiting, refused = accepted(script, second, 8, MIB // 512)
    assert len(waiting) <= 4
    script.let_go()


def test_queue_depth(script: Script) -> None:
    """Commands of one I_T_L nexus, in flight: more get TASK SET FULL, others are not concerned."""
    first, second = serve(script, tree.nullio("n"), tree.nullio("m"), queue_depth=4)
    commands = [first.submit(scsi.test_unit_ready(), plan=HOLD_RESPONSE) for _ in range(6)]
    statuses = [script.wait(Kind.RESPONDED, number).status for number in commands]
    assert statuses == [scsi.GOOD] * 4 + [scsi.TASK_SET_FULL] * 2
    assert first.test_unit_ready(1).good
    assert second.test_unit_ready().good
    script.let_go()


def test_number_of_commands_has_a_cap(script: Script) -> None:
    """More commands than the session keeps track of: TASK SET FULL, until some have ended."""
    sent = 200  # the table has room for the core's own commands, too, and is a power of two
    with parameters(cmds=8):
        first, second = serve(script, tree.nullio("n"))
    commands = [first.submit(scsi.test_unit_ready(), plan=HOLD_RESPONSE) for _ in range(sent)]
    answers = [script.wait(Kind.RESPONDED, number) for number in commands]
    good = sum(answer.good for answer in answers)
    assert 8 <= good < sent
    assert {answer.status for answer in answers} == {scsi.GOOD, scsi.TASK_SET_FULL}
    assert second.test_unit_ready().good, "another session has its own"
    for number in commands:
        script.respond(number)
        script.wait(Kind.RELEASED, number)
    assert first.test_unit_ready().good


@pytest.mark.parametrize(("segments", "length"), [(32, 4096), (16, 8192), (2, 65536), (256, 0)])
def test_limits_of_the_transport(script: Script, make_file: MakeFile, segments: int, length: int) -> None:
    """Few and short segments, a largest transfer: what is told fits, what is beyond is refused."""
    with parameters(max_segs=segments, max_seg_len=length, max_xfer=131072):
        first, _ = serve(script, tree.fileio("f", make_file("f", 1)))
    page = first.good(scsi.inquiry(255, 0xB0), read=255)
    blocks = int.from_bytes(page[8:12], "big")
    assert 8 <= blocks <= 256
    content = noise(1, blocks * 512)
    first.good(scsi.write10(0, blocks), write=content)
    assert first.good(scsi.read10(0, blocks), read=len(content)) == content
    for cdb, read, write in (
        (scsi.write10(0, blocks + 1), 0, bytes(512 * (blocks + 1))),
        (scsi.read10(0, blocks + 1), 512 * (blocks + 1), None),
    ):
        answer = first.command(cdb, read=read, write=write)
        assert answer.sense == scsi.INVALID_FIELD_CDB, str(answer)


# --- lent data ---


def test_null_data_is_lent(script: Script) -> None:
    """nullio's zeros are lent: nothing is copied."""
    first, _ = serve(script, tree.nullio("n"))
    for blocks in (1, 8, 255, 2048):
        answer = first.command(scsi.read10(0, blocks), read=blocks * 512)
        assert answer.owner == Owner.HANDLER or blocks > 255, str(answer)
        assert answer.data == bytes(blocks * 512)


def test_lent_data_keeps_to_the_limits(script: Script, make_file: MakeFile) -> None:
    """What a handler lends is in no more and no longer segments than the transport takes."""
    path = make_file("f", 1)
    content = path.read_bytes()
    with parameters(max_segs=2, max_seg_len=4096, max_xfer=8192):
        first, _ = serve(script, tree.fileio("f", path), tree.nullio("n"))
    for lba in (0, 1, 7):
        assert first.good(scsi.read10(lba, 16), read=8192) == content[lba * 512 : lba * 512 + 8192]
        assert first.good(scsi.read10(lba, 16), 1, read=8192) == bytes(8192)


def test_cached_data_is_lent(script: Script, make_file: MakeFile) -> None:
    """Pages of the page cache, whole ones and parts; what is not cached, or FUA, is read into memory."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    content = path.read_bytes()
    for lba, blocks in ((0, 8), (1, 1), (3, 17), (7, 255)):
        answer = first.command(scsi.read10(lba, blocks), read=blocks * 512)
        assert answer.good, str(answer)
        assert answer.data == content[lba * 512 : (lba + blocks) * 512]
        assert answer.owner in (Owner.HANDLER, Owner.POOL)
        answer = first.command(scsi.read10(lba, blocks, scsi.FUA), read=blocks * 512)
        assert answer.owner == Owner.POOL
        assert answer.data == content[lba * 512 : (lba + blocks) * 512]


def test_stable_transports_are_lent_nothing(script: Script, make_file: MakeFile) -> None:
    """Where a digest is computed over data it must not change."""
    with parameters(stable=1):
        first, _ = serve(script, tree.fileio("f", make_file("f", 1)), tree.nullio("n"))
    for lun in (0, 1):
        assert first.command(scsi.read10(0, 8), lun, read=4096).owner == Owner.POOL


def test_lent_data_outlives_a_truncation(script: Script, make_file: MakeFile) -> None:
    """A response on its way with lent pages while the file shrinks under it: it ends, and nothing breaks."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    read = first.read10(0, 64, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, read)
    with path.open("r+b") as file:
        file.truncate(0)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    script.respond(read)
    script.wait(Kind.RELEASED, read)


def test_two_targets_are_apart(script: Script) -> None:
    """A driver without room on one target keeps nobody waiting on another."""
    first, _ = serve(script, tree.nullio("n"))
    other = Target("t2").make()
    other.luns.map(0, tree.Device("nullio", "n"))
    other.enable()
    third = script.login(other, "third")
    third.attentions()
    stalled = first.write10(0, bytes(512), plan=Plan(data_again=1, flags=Flag.NO_RESUME))
    script.wait(Kind.AGAIN, stalled)
    third.good(scsi.write10(0, 1), write=bytes(512))
    lost = first.write10(0, bytes(512), plan=LOSE_DATA)
    script.wait(Kind.WANTS_DATA, lost)
    third.good(scsi.write10(0, 1), write=bytes(512))
    script.resume()
    assert first.answer(stalled).good
    assert first.manage(Tmf.ABORT_TASK, tag=lost) == Response.COMPLETE
