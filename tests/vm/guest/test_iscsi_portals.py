# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initiator sees may depend on the portal that it has come by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.iscsi.initiator import Session
from tests.iscsi.login import Refused, login
from tests.vm.guest import iscsi, iscsid, scsi, tree
from tests.vm.guest.iscsid import by_daemon, portal

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

PORTS = {"front": 3260, "back": 3261}
A, B = "iqn.2026-11.test:a", "iqn.2026-11.test:b"


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """At two portals: LUN 0 is for all, 1 for those who come by the front, 2 for A who comes by the back."""
    with iscsi.served(tmp_path) as made:
        made.luns.unmap(1)
        device = tree.Device("nullio", "null")
        for number, (name, entry) in enumerate((("front", "*#front"), ("a", f"{A}#back")), 1):
            made.group(name, entry).luns.map(number, device)
        for name, port in PORTS.items():
            portal(made, name, port=port)
        yield made


def enter(target: iscsi.Target, initiator: str, by: str, isid: int = 1) -> Session:
    """Log in by a portal."""
    return login(
        ("127.0.0.1", PORTS[by]),
        target.name,
        initiator=initiator,
        isid=isid.to_bytes(6, "big"),
        patience=iscsid.PATIENCE,
    )


def sees(session: Session) -> int:
    """The one LUN that there is."""
    (found,) = [lun for lun in range(4) if answers(session, lun)]
    return found


def answers(session: Session, lun: int) -> bool:
    """Is there such a LUN?"""
    while (task := session.command(scsi.test_unit_ready(), lun=lun)).status:
        if task.key[0] != scsi.UNIT_ATTENTION:
            return False
    return True


def test_groups_by_portals(target: iscsi.Target) -> None:
    """Each session sees what its way in lets it see, also when that changes, and the daemon knows."""
    with by_daemon(*PORTS), ExitStack() as stack:
        come = {
            (who, by): stack.enter_context(enter(target, who, by, number))
            for number, (who, by) in enumerate(((A, "front"), (A, "back"), (B, "front"), (B, "back")))
        }
        assert [sees(one) for one in come.values()] == [1, 2, 1, 0]
        # An exact name goes before patterns, and one with its portal before it.
        group = tree.Group(target.path / "groups/front")
        group.claim(A)
        assert [sees(one) for one in come.values()] == [1, 2, 1, 0]
        group.disclaim("*#front")
        assert [sees(one) for one in come.values()] == [1, 2, 0, 0]
        tree.Group(target.path / "groups/a").disclaim(f"{A}#back")
        assert [sees(one) for one in come.values()] == [1, 1, 0, 0]
        target.luns.unmap(0)
        with pytest.raises(Refused):
            enter(target, B, "back", 9)
        enter(target, A, "back", 9).close()
