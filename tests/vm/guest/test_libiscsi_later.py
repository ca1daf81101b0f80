# SPDX-License-Identifier: GPL-2.0-or-later
"""What later versions of libiscsi's conformance suite than Debian's test of sessions, as docs/conformance.md
lists it: by our initiator, against scst-iscsid and the kernel. Of CHAP: tests/unit/test_libiscsi_chap.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.iscsi import pdu
from tests.iscsi.initiator import GOOD, Session
from tests.iscsi.login import login
from tests.iscsi.pdu import NONE, Op
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.full_phase import blocks, read
from tests.vm.guest.iscsid import ADDRESS, by_daemon, portal

SCST_MODULES = iscsi.MODULES

BLOCKS, COMMANDS = 8, 10
OWN = {"TargetName": iscsi.NAME, "TargetAddress": "127.0.0.1:3260,1"}


@pytest.fixture
def session(iscsi_target: iscsi.Target) -> Iterator[Session]:
    """One that has logged in as any initiator does, and heard of what it has to hear of."""
    portal(iscsi_target)
    with by_daemon(), login(ADDRESS, iscsi_target.name) as made:
        iscsi.hear(made)
        yield made
    iscsi.wait_sessions(0)
    (iscsi_target.path / "portals/p").unlink()
    (tree.ROOT / "drivers/iscsi/portals/p").rmdir()


def said(session: Session, text: str, immediate: bool) -> dict[str, str]:
    """The answer to a text."""
    one = session.request(Op.TEXT, immediate, data=text.encode() + b"\0", fields={20: NONE})
    session.send(one)
    answer = session.wait(one)
    assert (answer.op, answer.final, answer.ttt) == (Op.TEXT_RESPONSE, True, NONE)
    return pdu.split(answer.data)


@pytest.mark.parametrize("immediate", [True, False])
def test_send_targets(session: Session, immediate: bool) -> None:
    """iSCSISendTargets.Simple: of the target that it is a session with; All is for discovery (RFC 7143 C)."""
    for value in ("", iscsi.NAME):
        assert said(session, f"SendTargets={value}", immediate) == OWN
    assert said(session, "SendTargets=All", immediate) == {"SendTargets": "Reject"}


@pytest.mark.parametrize("immediate", [True, False])
def test_send_targets_invalid(session: Session, immediate: bool) -> None:
    """iSCSISendTargets.Invalid: keys and values that are almost right; it goes on after each."""
    for key in ("SendTargetsPlease", "sENDtARGETS", "SendTarget"):
        assert said(session, f"{key}=All", immediate) == {key: "NotUnderstood"}
    for value in ("Alle", "A", "all", "aLL", iscsi.NAME + "x", iscsi.NAME[:-1]):
        assert said(session, f"SendTargets={value}", immediate) == {"SendTargets": "Reject"}
        assert said(session, "SendTargets=", immediate) == OWN


def test_nop(session: Session) -> None:
    """iSCSINop.Simple: with data, and without."""
    for data in (b"nopping\0", b""):
        assert session.ping(data).data == data


def test_logout_during_writes(session: Session) -> None:
    """iSCSITMF.LogoutDuringIOAsync: after the first of ten; what was acknowledged is there."""
    tasks = [
        session.start(scsi.write10(number * BLOCKS, BLOCKS), write=blocks(BLOCKS, number))
        for number in range(COMMANDS)
    ]
    while not any(task.done for task in tasks):
        session.pump()
    assert session.logout() == 0
    assert session.wait_closed() == []
    acknowledged = [number for number, task in enumerate(tasks) if task.done and task.status == GOOD]
    assert acknowledged
    with login(ADDRESS, iscsi.NAME) as after:
        iscsi.hear(after)
        for number in acknowledged:
            assert read(after, BLOCKS, number * BLOCKS).data == blocks(BLOCKS, number)
