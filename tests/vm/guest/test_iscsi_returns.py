# SPDX-License-Identifier: GPL-2.0-or-later
"""An initiator whose machine is switched off in the middle of everything, and is there again a little later.

Its end of the connection is gone without a packet, as a machine's is that has no power; what the target sends
is lost while it is away, and answered with a reset afterwards. It comes with its old name and ISID, and is
let in, whether the target has noticed anything or not; what had been acknowledged is there.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.iscsi import login
from tests.iscsi.adopter import EVENT_GONE, events
from tests.iscsi.initiator import GOOD, Closed, Session
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.full_phase import blocks
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.link import FAR, NETNS, link, netem
from tests.vm.guest.long import often
from tests.vm.guest.pulse import pulse

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

ADDRESS = (FAR, 3260)
TCP_REPAIR = 19
PATIENCE = 60 * tree.SLOW
# Of the target: it asks for signs of life, or waits for ever.
ATTENTIVE = {"nop_interval": 1, "nop_timeout": round(2 * tree.SLOW), "send_timeout": round(3 * tree.SLOW)}
PATIENT = {"nop_interval": 0, "nop_timeout": 0, "send_timeout": 0}
# Until who is attentive has noticed, at times.
LONG_ENOUGH = 6 * tree.SLOW


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """Reachable over a link that can be cut."""
    with link(), iscsi.served(tmp_path) as made:
        portal(made, address=FAR, netns=NETNS)
        with by_daemon():
            yield made


def enter(target: iscsi.Target) -> Session:
    """Log in, as often as it takes."""
    end = pulse.time() + PATIENCE
    while pulse.time() < end:
        try:
            return login.login(ADDRESS, target.name)
        except login.Refused as refused:
            if refused.status >> 8 != 3:
                raise
        except (Closed, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError("nobody lets it in")


def begin(session: Session) -> None:
    """Commands whose data is not taken, and a part of one."""
    for at in range(8):
        session.start(scsi.read10(at * 256, 256), read=256 * 512)
    _, one = session.command_pdu(scsi.write10(64, 8), write=blocks(8, 99))
    session.sock.sendall(session.encode(one)[:700])


def vanish(session: Session) -> None:
    """Its machine has no power: nothing is said, and nobody is there who knows of the connection."""
    session.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    session.close()


@pytest.mark.parametrize("manner", [PATIENT, ATTENTIVE], ids=["patient", "attentive"])
def test_machine_is_switched_off(target: iscsi.Target, manner: dict[str, int]) -> None:
    """See the file's description."""
    for key, value in manner.items():
        tree.write(target.path / "params" / key, value)
    chance = random.Random(1)
    wanted: dict[int, bytes] = {}
    ends: set[str] = set()
    session = enter(target)
    for number in range(often(4, 60)):
        iscsi.hear(session)
        for at, data in wanted.items():
            assert bytes(session.command(scsi.read10(at, 1), read=512).data) == data
        at = number % 32
        wanted[at] = blocks(1, number)
        assert session.command(scsi.write10(at, 1), write=wanted[at]).status == GOOD
        iscsi.wait_sessions(1)
        if number % 2:
            begin(session)
        with events() as told:
            with netem("loss", "100%"):
                vanish(session)
                time.sleep(
                    chance.random() * (LONG_ENOUGH if manner is ATTENTIVE and number % 3 == 2 else 0.5)
                )
            began = pulse.time()
            session = enter(target)
            took = pulse.time() - began
            iscsi.wait_sessions(1)
            found = [why for kind, _, why in told.read() if kind == EVENT_GONE]
        assert len(found) == 1, found
        ends.update(found)
        print(f"in again after {took:.2f} s")
    session.close()
    print(f"{manner}: it ended as {sorted(ends)}")
    assert ends <= {"reinstated", "peer"} | ({"silent", "stuck"} if manner is ATTENTIVE else set())
    assert "reinstated" in ends or manner is ATTENTIVE
