# SPDX-License-Identifier: GPL-2.0-or-later
"""Which iSCSI sessions a change touches: what `plan` says of it, and which ones the daemon ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Iscsi, Portal, Target, User
from pyscstadmin.config.schema import dumps
from pyscstadmin.config.touched import ENDS, KEEPS, Seat, touched
from pyscstadmin.iscsi import daemon, source
from pyscstadmin.iscsi.policy import Live, Policy
from pyscstadmin.iscsi.policy import Portal as Where
from pyscstadmin.kernel.logins import IscsiSession
from tests.unit.iscsi_client import TARGET, target

IQN = "iqn.2026-11.com.example:t"


def config(portal: dict[str, Any] | None = None, **settings: Any) -> Config:
    """A target at two portals, and another."""
    given = {"portals": ["p", "q"], "users": [User("joe", secret_file="/joe", stamp="1")], **settings}
    portals = [Portal("p", **{"address": "10.0.0.1", **(portal or {})}), Portal("q")]
    return Config(
        (),
        (Target("iscsi", IQN, **given), Target("iscsi", "iqn.2026-11.com.example:u")),
        iscsi=Iscsi(portals),
    )


def seats(*portals: str) -> list[Seat]:
    """A session by each of these portals."""
    return [Seat(f"session.{name}", "iqn.x:a", f"iscsi/{IQN}", name) for name in portals]


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (config(), {}),
        (config({"address": "10.0.0.2"}), {"p": ENDS}),
        (config({"port": 3261}), {"p": ENDS}),
        (config({"advertise": "san"}), {}),
        (config(portals=["q"]), {"p": ENDS}),
        (config(enabled=False), {"p": ENDS, "q": ENDS}),
        (Config(), {"p": ENDS, "q": ENDS}),
        (config(header_digest="crc32c"), {"p": KEEPS, "q": KEEPS}),
        (config({"port": 1}, auth="chap"), {"p": ENDS, "q": KEEPS}),
        (config(users=[User("joe", secret_file="/joe", stamp="2")]), {"p": KEEPS, "q": KEEPS}),
        (config(users=[]), {"p": KEEPS, "q": KEEPS}),
    ],
)
def test_who_notices(new: Config, found: dict[str, str]) -> None:
    said = touched(config(), new, seats("p", "q"))
    assert {one.session.removeprefix("session."): one.how for one in said} == found


def test_what_is_said() -> None:
    said = touched(config(), config(data_digest="none", queue_depth=9), seats("p"))
    (text,) = [one.text for one in said]
    assert text.startswith(f"session.p of iqn.x:a on iscsi/{IQN} keeps what it has agreed on")
    assert "data_digest" in text
    assert "queue_depth" in text


def seat(local: str = "10.0.0.5", port: int = 3260, portal: str = "here") -> source.Seat:
    """A session."""
    return source.Seat(Live(1, TARGET, "iqn.x:a", bytes(6), 0), portal, local, port)


@pytest.mark.parametrize(
    ("where", "one", "ends"),
    [
        (Where("here"), seat(), False),
        (Where("here", "10.0.0.5"), seat(), False),
        (Where("here", "10.0.0.6"), seat(), True),
        (Where("here", "fe80::1%eth0"), seat("fe80::1%eth0"), False),
        (Where("here", "eth0"), seat(), False),
        (Where("here", port=3261), seat(), True),
        (Where("there"), seat(), True),
        (Where("there"), seat(portal="there"), True),
    ],
)
def test_a_session_that_is_by_no_portal_any_more_ends(where: Where, one: source.Seat, ends: bool) -> None:
    """`here` is the portal of the target."""
    policy = Policy((target(),), {where.name: where})
    assert bool(daemon.misplaced(one, policy)) == ends


def test_who_has_no_target_is_the_kernels() -> None:
    assert daemon.misplaced(seat(), Policy()) == ""


def test_plan_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To people and to programs; who has nothing to do names nobody."""
    sim, file = str(tmp_path / "sim"), tmp_path / "new.json"
    present = config(users=[])
    with Admin(sim=sim) as admin:
        admin.apply(present)
    one = IscsiSession("session.7", f"iscsi/{IQN}", "iqn.x:a", {"portal": "p", "tsih": "7"})
    monkeypatch.setattr(Admin, "iscsi_sessions", lambda self, *_: [one])
    file.write_text(dumps(config(users=[], portals=["q"])))
    assert main(("--sim", sim, "plan", str(file))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"session.7 of iqn.x:a on iscsi/{IQN} ends: its target is not at portal p any more" in lines
    assert main(("--sim", sim, "--json", "plan", str(file))) == 0
    (said,) = json.loads(capsys.readouterr().out)["sessions"]
    assert (said["session"], said["how"]) == ("session.7", ENDS)
    file.write_text(dumps(present))
    assert main(("--sim", sim, "plan", str(file))) == 0
    assert "session.7" not in capsys.readouterr().out
