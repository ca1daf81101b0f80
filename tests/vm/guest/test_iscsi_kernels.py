# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI from the loading of the module to its unloading, with Linux's initiator: on each kernel there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm.guest import iscsi, openiscsi, scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.openiscsi import Initiator
from tests.vm.guest.scsi import Unit
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

# On 6.1 other tests do all of it; tests/vm/kernels.py runs this on the others.
pytestmark = [pytest.mark.usefixtures("clean_tree"), pytest.mark.long]

DIGESTS = {f"node.conn[0].iscsi.{name}Digest": "CRC32C" for name in ("Header", "Data")}


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """Two LUNs, reachable."""
    with iscsi.served(tmp_path) as made:
        portal(made)
        yield made


@pytest.mark.parametrize("settings", [{}, DIGESTS], ids=["plain", "digests"])
def test_from_login_to_unload(target: iscsi.Target, settings: dict[str, object], tmp_path: Path) -> None:
    """Login by the daemon, data of all sizes verified, a reset, a cut, logout; then the module goes."""
    with openiscsi.running(), by_daemon():
        login = Initiator("a", "iqn.2026-11.test:a").make().login(target.name, settings=settings)
        assert {login.get(f"{name}_digest") for name in ("header", "data")} == {str(int(bool(settings)))}
        disk = login.disk(0)
        fixed: dict[str, Any] = {"verify": "crc32c", "size": "4m", "time_based": 0, "bsrange": "512-256k"}
        with Fio(tmp_path, disk, rw="randwrite", **fixed) as load:
            load.finish()
        command("sg_reset", "-d", str(disk))
        with Unit(login.sg(0)) as unit:
            unit.attentions()
            assert unit.sense(scsi.read10(0, 1), read=512) is None
        (before,) = iscsi.sessions()
        iscsi.drop(int(iscsi.value(before, "tsih")))
        tree.wait_for("the session's end", lambda: not before.exists(), iscsi.PATIENCE)
        tree.wait_for("login", lambda: login.state == "LOGGED_IN", openiscsi.PATIENCE)
        with Fio(tmp_path, disk, rw="randread", **(fixed | {"verify": None})) as load:
            load.finish()
        login.logout()
    iscsi.wait_sessions(0)
