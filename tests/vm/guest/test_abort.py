# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management while commands wait for data, for the back end, or for their response to go out.

An answered function means: what it has aborted can't change the medium any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.pulse import pulse
from tests.vm.guest.script import (
    HOLD_DATA,
    HOLD_RESPONSE,
    LOSE_DATA,
    LOSE_RESPONSE,
    PLAIN,
    TASK_ABORTED,
    Event,
    Kind,
    Mode,
    Nexus,
    Plan,
    Response,
    Script,
    Tmf,
    counters,
    serve,
)
from tests.vm.guest.test_recovery import Mapper, mapper

__all__ = ("mapper",)

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
BLOCK = b"\xaa" * 512
MANY = 10_000
MOMENT = 0.3

OWN = [
    Tmf.ABORT_TASK,
    Tmf.ABORT_TASK_SET,
    Tmf.CLEAR_TASK_SET,
    Tmf.LUN_RESET,
    Tmf.TARGET_RESET,
    Tmf.I_T_NEXUS_RESET,
]
RESETS = [Tmf.LUN_RESET, Tmf.TARGET_RESET]


def name_of(fn: object) -> str:
    """What pytest calls a parameter."""
    return fn.name.lower() if isinstance(fn, Tmf | Mode) else str(fn)


def held_write(script: Script, nexus: Nexus, lba: int = 0, lun: int = 0, plan: Plan = HOLD_DATA) -> int:
    """A write of one block that waits for its data."""
    number = nexus.write10(lba, BLOCK, lun, plan)
    script.wait(Kind.WANTS_DATA, number)
    return number


def assert_own_abort(event: Event) -> None:
    """The command was aborted by its own initiator."""
    assert event.aborted, str(event)
    assert not event.foreign, str(event)
    assert event.len == 0


# --- a write that waits for its data (B1) ---


@pytest.mark.parametrize("attention", [False, True], ids=["", "attention_taken"])
@pytest.mark.parametrize("fn", OWN, ids=name_of)
def test_write_waits_for_data(script: Script, make_file: MakeFile, fn: Tmf, attention: bool) -> None:
    """The function is answered after the data came and was thrown away; the medium stays as it was."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write = held_write(script, first)
    tmf = first.tmf(fn, tag=write)
    script.wait(Kind.ABORT, write)
    if attention:
        first.attentions()
    time.sleep(MOMENT)
    assert script.find(Kind.TMF_DONE, tmf) is None, "answered while the command may still write"
    script.data(write)
    answer = first.answer(write)
    assert_own_abort(answer)
    done = script.wait(Kind.TMF_DONE, tmf)
    assert done.value == Response.COMPLETE
    assert done.seq > answer.seq
    assert path.read_bytes() == before
    expected = {Tmf.LUN_RESET: [scsi.RESET], Tmf.TARGET_RESET: [scsi.RESET]}.get(fn)
    if expected is not None and not attention:
        assert first.attentions() == expected, "an aborted command has taken the attention"
    first.attentions()
    first.good(scsi.write10(0, 1), write=BLOCK)
    assert path.read_bytes()[:512] == BLOCK


@pytest.mark.parametrize("fn", OWN, ids=name_of)
def test_recalled_write(script: Script, make_file: MakeFile, fn: Tmf) -> None:
    """Data that will never come: the driver is asked for the command and gives it back."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write = held_write(script, first, plan=LOSE_DATA)
    assert first.manage(fn, tag=write) == Response.COMPLETE
    assert_own_abort(first.answer(write))
    assert path.read_bytes() == before


@pytest.mark.parametrize("fn", RESETS, ids=name_of)
def test_reset_by_another(script: Script, make_file: MakeFile, fn: Tmf) -> None:
    """A reset aborts the commands of others as foreign: they are told TASK ABORTED."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    write, own = held_write(script, first), held_write(script, second, 1)
    tmf = second.tmf(fn)
    for number in (write, own):
        script.wait(Kind.ABORT, number)
    script.data(write)
    foreign = first.answer(write)
    assert foreign.foreign, str(foreign)
    assert foreign.status == TASK_ABORTED
    time.sleep(MOMENT)
    assert script.find(Kind.TMF_DONE, tmf) is None, "one of two commands is not over"
    script.data(own)
    assert_own_abort(second.answer(own))
    assert second.tmf_response(tmf) == Response.COMPLETE
    assert path.read_bytes() == before
    assert first.attentions() == [scsi.RESET]
    assert second.attentions() == [scsi.RESET]


@pytest.mark.parametrize(
    "fn", [Tmf.ABORT_TASK, Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.I_T_NEXUS_RESET], ids=name_of
)
def test_others_are_left_alone(script: Script, make_file: MakeFile, fn: Tmf) -> None:
    """What one initiator aborts of its own leaves the other's commands alone, the same tag included."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    mine = first.submit(scsi.write10(0, 1), write=BLOCK, plan=LOSE_DATA, tag=7)
    other = second.submit(scsi.write10(1, 1), write=BLOCK, plan=HOLD_DATA, tag=7)
    for number in (mine, other):
        script.wait(Kind.WANTS_DATA, number)
    assert first.manage(fn, tag=7) == Response.COMPLETE
    assert_own_abort(first.answer(mine))
    script.data(other)
    assert second.answer(other).good
    assert path.read_bytes()[512:1024] == BLOCK


@pytest.mark.parametrize("fn", [Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.LUN_RESET], ids=name_of)
def test_other_units_are_left_alone(script: Script, make_file: MakeFile, fn: Tmf) -> None:
    """A function for one LUN does not touch commands for another."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path), tree.nullio("n"))
    write = held_write(script, first)
    assert first.manage(fn, lun=1) == Response.COMPLETE
    script.data(write)
    assert first.answer(write).good
    assert path.read_bytes()[:512] == BLOCK


@pytest.mark.parametrize("fn", OWN, ids=name_of)
def test_later_commands_are_left_alone(script: Script, make_file: MakeFile, fn: Tmf) -> None:
    """A command that is submitted after the function is not aborted, though the function is still open."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    early = held_write(script, first)
    tmf = first.tmf(fn, tag=early)
    first.attentions()
    late = held_write(script, first, 1)
    script.data(late)
    assert first.answer(late).good
    assert script.find(Kind.TMF_DONE, tmf) is None
    script.data(early)
    assert_own_abort(first.answer(early))
    assert first.tmf_response(tmf) == Response.COMPLETE
    assert path.read_bytes() == before[:512] + BLOCK + before[1024:]


def test_session_close(script: Script, make_file: MakeFile) -> None:
    """A session that closes waits for the data of its write, which is not written."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    held, lost = held_write(script, first), held_write(script, first, 1, plan=LOSE_DATA)
    first.close()
    assert_own_abort(first.answer(lost))
    script.wait(Kind.ABORT, held)
    time.sleep(MOMENT)
    assert script.find(Kind.GONE, session=first.number) is None
    script.data(held)
    assert_own_abort(first.answer(held))
    first.gone()
    assert path.read_bytes() == before
    second.good(scsi.write10(0, 1), write=BLOCK)


def test_disable_of_the_target(script: Script, make_file: MakeFile) -> None:
    """`enabled` 0 recalls what the driver holds, and ends when the sessions are gone."""
    path = make_file("f", 1)
    first, second = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    writes = [held_write(script, nexus, plan=LOSE_DATA) for nexus in (first, second)]
    lost = first.submit(scsi.test_unit_ready(), plan=LOSE_RESPONSE)
    script.wait(Kind.RESPONDED, lost)
    tree.write(tree.ROOT / "targets/script/t1/enabled", False)
    for nexus, number in zip((first, second), writes, strict=True):
        assert_own_abort(nexus.answer(number))
        nexus.gone()
    assert path.read_bytes() == before


# --- answers ---


def test_query(script: Script, make_file: MakeFile) -> None:
    """QUERY TASK and QUERY TASK SET find what is there, of this nexus, and change nothing."""
    first, second = serve(script, tree.fileio("f", make_file("f", 1)), tree.nullio("n"))
    write = held_write(script, first)
    assert first.manage(Tmf.QUERY_TASK, tag=write) == Response.SUCCEEDED
    assert first.manage(Tmf.QUERY_TASK_SET) == Response.SUCCEEDED
    assert first.manage(Tmf.QUERY_TASK_SET, lun=1) == Response.COMPLETE
    assert second.manage(Tmf.QUERY_TASK, tag=write) == Response.COMPLETE
    assert second.manage(Tmf.QUERY_TASK_SET) == Response.COMPLETE
    script.data(write)
    assert first.answer(write).good
    assert first.manage(Tmf.QUERY_TASK, tag=write) == Response.COMPLETE
    assert first.manage(Tmf.QUERY_TASK_SET) == Response.COMPLETE


def test_functions_without_commands(script: Script) -> None:
    """Nothing to abort, or to clear, is no error; a unit that is not there is."""
    first, _ = serve(script, tree.nullio("n"))
    assert first.manage(Tmf.ABORT_TASK, tag=12345) == Response.NO_TASK
    for fn in OWN[1:]:
        assert first.manage(fn) == Response.COMPLETE
    assert first.manage(Tmf.CLEAR_ACA) == Response.COMPLETE
    for fn in (Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.LUN_RESET, Tmf.QUERY_TASK_SET, Tmf.CLEAR_ACA):
        assert first.manage(fn, lun=9) == Response.BAD_LUN


def test_response_is_held(script: Script, make_file: MakeFile) -> None:
    """A write that was executed: the function waits until the response has left the driver."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    write = first.write10(0, BLOCK, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, write)
    tmf = first.tmf(Tmf.ABORT_TASK, tag=write)
    script.wait(Kind.ABORT, write)
    time.sleep(MOMENT)
    assert script.find(Kind.TMF_DONE, tmf) is None
    script.respond(write)
    script.wait(Kind.RELEASED, write)
    assert first.tmf_response(tmf) == Response.COMPLETE


def test_lost_response_is_recalled(script: Script, make_file: MakeFile) -> None:
    """A response that never gets out ends by abort(), also that of a command without data."""
    first, _ = serve(script, tree.fileio("f", make_file("f", 1)))
    for cdb, read in ((scsi.read10(0, 1), 512), (scsi.test_unit_ready(), 0)):
        number = first.submit(cdb, read=read, plan=LOSE_RESPONSE)
        script.wait(Kind.RESPONDED, number)
        assert first.manage(Tmf.ABORT_TASK, tag=number) == Response.COMPLETE
        script.wait(Kind.RELEASED, number)


# --- a back end that hangs ---


def test_abort_waits_for_the_back_end(script: Script, mapper: Mapper) -> None:
    """A write that the disk has: the abort is answered when the disk has let go of it."""
    first, _ = serve(script, tree.blockio("slow", mapper.node))
    mapper.suspend()
    write = first.write10(0, BLOCK)
    time.sleep(MOMENT)
    tmf = first.tmf(Tmf.ABORT_TASK, tag=write)
    time.sleep(1)
    assert script.find(Kind.TMF_DONE, tmf) is None
    assert script.find(Kind.RESPONDED, write) is None
    mapper.resume()
    assert_own_abort(first.answer(write))
    assert first.tmf_response(tmf) == Response.COMPLETE


def kworkers() -> int:
    """Threads of workqueues."""
    count = 0
    for folder in Path("/proc").iterdir():
        try:
            count += folder.name.isdigit() and (folder / "comm").read_text().startswith("kworker")
        except OSError:
            continue  # it ended meanwhile
    return count


def test_many_aborts_of_a_hung_command(script: Script, mapper: Mapper) -> None:
    """10,000 ABORT TASKs of one hung command are memory, no threads, and in nobody's way (B6)."""
    first, second = serve(script, tree.blockio("slow", mapper.node), tree.nullio("n"))
    mapper.suspend()
    read = first.read10(0, 8)
    time.sleep(MOMENT)
    before = kworkers()
    first.tmf(Tmf.ABORT_TASK, tag=read, count=MANY)
    time.sleep(1)
    assert script.find(Kind.TMF_DONE) is None
    assert counters()["tmfs"] - counters()["tmfs_done"] == MANY
    for nexus in (first, second):
        start = pulse.time()
        assert nexus.manage(Tmf.LUN_RESET, lun=1) == Response.COMPLETE
        assert pulse.time() - start < 1
    assert kworkers() <= before + 4, "a few come and go by themselves"
    mapper.resume()
    assert_own_abort(first.answer(read))
    tree.wait_for("all answers", lambda: counters()["tmfs"] == counters()["tmfs_done"], 30)
    answers = script.take(Kind.TMF_DONE)
    assert len({event.id for event in answers}) == len(answers) == MANY
    assert {event.value for event in answers} == {Response.COMPLETE}


def test_many_commands_aborted_at_once(script: Script, mapper: Mapper) -> None:
    """Hung commands, an abort for each and resets beside them: every one is answered, once."""
    first, second = serve(script, tree.blockio("slow", mapper.node), tree.nullio("n"))
    mapper.suspend()
    commands = [first.read10(8 * number, 8) for number in range(200)]
    time.sleep(MOMENT)
    aborts = [first.tmf(Tmf.ABORT_TASK, tag=number) for number in commands]
    resets = [second.tmf(Tmf.LUN_RESET) for _ in range(20)]
    assert second.manage(Tmf.LUN_RESET, lun=1, seconds=1) == Response.COMPLETE
    mapper.resume()
    for number in commands:
        assert first.answer(number).aborted
    for number in (*aborts, *resets):
        assert first.tmf_response(number) == Response.COMPLETE


def settled() -> bool:
    """Is nothing alive of an earlier configuration?"""
    return int(tree.read(tree.ROOT / "settled")) >= tree.generation()


def test_revoked_while_data_is_on_its_way(script: Script, make_file: MakeFile) -> None:
    """A LUN that is taken away: what was admitted before does not land, and its end is known (B7)."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    assert settled()
    write = held_write(script, first)
    tree.LunDir(tree.ROOT / "targets/script/t1/luns").unmap(0)
    time.sleep(MOMENT)
    assert not settled(), "a command of the revoked access is alive"
    script.data(write)
    answer = first.answer(write)
    assert not answer.good, str(answer)
    assert path.read_bytes() == before
    tree.wait_for("the revoked access to settle", settled)


def test_revoked_with_a_fence(script: Script, make_file: MakeFile) -> None:
    """A fenced commit asks the driver for what it has of the revoked access."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    lost = held_write(script, first, plan=LOSE_DATA)
    tree.set_autocommit(False)
    tree.LunDir(tree.ROOT / "targets/script/t1/luns").unmap(0)
    tree.write(tree.ROOT / "commit_fence", tree.generation())
    assert first.answer(lost).aborted
    tree.set_autocommit(True)
    tree.wait_for("the revoked access to settle", settled)
    assert path.read_bytes() == before


def test_close_of_the_device_file_lets_everything_go(make_file: MakeFile) -> None:
    """The script's own promise: a test that fails in the middle leaves nothing that others wait for."""
    path = make_file("f", 1)
    with Script() as script:
        first, _ = serve(script, tree.fileio("f", path))
        for plan in (HOLD_DATA, LOSE_DATA):
            held_write(script, first, plan=plan)
        script.wait(Kind.RESPONDED, first.submit(scsi.test_unit_ready(), plan=HOLD_RESPONSE))
        first.submit(scsi.test_unit_ready(), plan=Plan(response_again=3, flags=PLAIN.flags | 16))
    tree.wait_for("all to end", lambda: counters()["submitted"] == counters()["released"])
