# SPDX-License-Identifier: GPL-2.0-or-later
"""What people type who come from elsewhere: it does the thing, or is answered with the command that does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.engine import harmless, understand_line, unknown
from pyscstadmin.cli.habits import habit
from pyscstadmin.cli.table import VERBS
from pyscstadmin.cli.verbs import near
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.model import Device, Group, Target
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session

Capture = pytest.CaptureFixture[str]

# What is typed, and the command that is named, or None where it is done.
TARGETCLI = {
    "/backstores/fileio create d /srv/d.img 10G": "create device d /srv/d.img handler=fileio size=10G",
    "/backstores/fileio create name=disk1 file_or_dev=/srv/d.img": (
        "create device disk1 /srv/d.img handler=fileio"
    ),
    "/backstores/block create disk1 /dev/sdb": "create device disk1 /dev/sdb handler=blockio",
    "/backstores/ramdisk create r 1G": "create device r 1G handler=nullio",
    "/backstores/pscsi create p /dev/sg1": "create device NAME /dev/disk/by-id/... handler=blockio",
    "/backstores/fileio delete disk1": "delete device disk1",
    "/backstores/fileio/disk1 set attribute emulate_tpu=1": "set device disk1 SETTING=VALUE",
    "/backstores/fileio/disk1 info": "get device disk1",
    "/backstores ls": "list devices",
    "/iscsi create iqn.2026-11.com.example:t1": "create target iscsi/iqn.2026-11.com.example:t1",
    "/iscsi delete iqn.2026-11.com.example:t1": "delete target iqn.2026-11.com.example:t1",
    "/iscsi/iqn.x:t1/tpg1/luns create /backstores/fileio/disk1": "map disk1 target=iqn.x:t1",
    "/iscsi/iqn.x:t1/tpg1/acls create iqn.x:a": "create group GROUP iqn.x:a target=iqn.x:t1",
    "/iscsi/iqn.x:t1/tpg1/portals create 10.0.0.1": "create portal NAME address=10.0.0.1",
    "/srpt/naa.1/portals create 10.0.0.1": "list drivers",
    "/loopback create": "create target NAME driver=DRIVER",
    "saveconfig": "save",
    "restoreconfig /etc/saved.json": "restore",
    "clearconfig confirm=True": "clear",
    "ls": None,
    "ls / 1": None,
    "sessions detail": "sessions",
    "set global auto_save_on_exit=false": "set",
    "get attribute emulate_tpu": "get device NAME",
    "version": None,
    "status": None,
    "help": None,
}
SCSTADMIN = {
    "-open_dev disk1 -handler vdisk_fileio -attributes filename=/x": (
        "create device disk1 /x handler=fileio"
    ),
    "-open_dev d -handler vdisk_blockio -attributes filename=/dev/sdb,read_only=1": (
        "create device d /dev/sdb handler=blockio"
    ),
    "-close_dev disk1 -handler vdisk_fileio": "delete device disk1",
    "-resync_dev disk1": "resize disk1",
    "-set_dev_attr disk1 -attributes read_only=1": "set device disk1 read_only=1",
    "-add_target t1 -driver local": "create target local/t1",
    "-rem_target t1 -driver local": "delete target local/t1",
    "-enable_target t1 -driver local": "enable target local/t1",
    "-disable_target t1 -driver local": "disable target local/t1",
    "-add_group g -driver local -target t1": "create group g target=local/t1",
    "-rem_group g -driver local -target t1": "delete group g target=local/t1",
    "-add_init iqn.x -driver local -target t1 -group g": "add initiator iqn.x target=local/t1 group=g",
    "-rem_init iqn.x -driver local -target t1 -group g": "remove initiator iqn.x target=local/t1 group=g",
    "-move_init iqn.x -to g2 -driver local -target t1 -group g": (
        "move initiator iqn.x target=local/t1 to=g2"
    ),
    "-clear_inits -driver local -target t1 -group g": "clear initiators target=local/t1 group=g",
    "-add_lun 5 -driver local -target t1 -group g -device disk1": ("map disk1 lun=5 target=local/t1 group=g"),
    "-add_lun 5 -driver local -target t1 -device d -attributes read_only=1": (
        "map d lun=5 target=local/t1 read_only=yes"
    ),
    "-rem_lun 5 -driver local -target t1 -group g": "unmap 5 target=local/t1 group=g",
    "-replace_lun 5 -driver local -target t1 -device d2": "map d2 lun=5 target=local/t1 replace=yes",
    "-clear_luns -driver local -target t1 -group g": "clear luns target=local/t1 group=g",
    "-list_device": "list devices",
    "-list_device disk1": "get device disk1",
    "-list_target": "list targets",
    "-list_group -driver local -target t1": "list groups target=local/t1",
    "-list_sessions": "sessions",
    "-config /etc/scst.conf": "apply /etc/scst.conf",
    "-write_config /etc/scst.conf": "save /etc/scst.conf",
    "-check_config /etc/scst.conf": "plan /etc/scst.conf",
}
NVMETCLI = {
    "/subsystems create nqn.2026-11.example:s1": "create target nqn.2026-11.example:s1 driver=DRIVER",
    "/subsystems/nqn.s1/namespaces create 1": "create device 1 PATH handler=blockio",
    "/subsystems/nqn.s1/allowed_hosts create nqn.h": "create group GROUP nqn.h target=nqn.s1",
    "/hosts create nqn.h": "add initiator nqn.h target=TARGET group=GROUP",
    "/ports create 1": "list drivers",
    "/ports/1/subsystems create nqn.s1": "list drivers",
    "set attr allow_any_host=1": "set target NAME SETTING=VALUE",
    "ls": None,
    "save {file}": None,
    "restore {file}": None,
    "clear yes=yes": None,
}
ALL = {**TARGETCLI, **SCSTADMIN, **NVMETCLI}


def test_there_are_enough() -> None:
    assert len(TARGETCLI) >= 20
    assert len(SCSTADMIN) >= 20
    assert len(NVMETCLI) >= 10


@pytest.mark.parametrize("typed", [typed for typed, said in ALL.items() if said is not None])
def test_the_command_is_named(typed: str, tmp_path: Path, capsys: Capture) -> None:
    """On the command line and in the shell; the command is understood as it is named, and nothing is done."""
    sim = str(tmp_path / "sim")
    with Admin(sim=sim) as admin:
        admin.create_device(Device("disk1", "nullio", size=512))
        admin.create_target(Target("local", "t1", groups=(Group("g", initiators=("iqn.x",)),)))
        before = admin.config()
    with pytest.raises(SystemExit) as ended:
        main(["--sim", sim, *shlex.split(typed)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    command = ALL[typed]
    assert command is not None
    assert f"`scstadmin {command}`" in said
    with Admin(sim=sim) as admin:
        failure = Shell(Session(admin)).execute(typed)
        assert failure is not None
        assert f"`scstadmin {command}`" in failure.message
        assert admin.config() == before
    for one in re.findall(r"`scstadmin ([^`]+)`", said):
        if not re.search(r"\b(HANDLER|DRIVER|SETTING)\b|\.\.\.", one):
            understand_line(shlex.split(one))


@pytest.mark.parametrize("typed", [typed for typed, said in ALL.items() if said is None])
def test_the_thing_is_done(typed: str, tmp_path: Path) -> None:
    sim = str(tmp_path / "sim")
    file = tmp_path / "file.json"
    with Admin(sim=sim) as admin:
        admin.create_device(Device("disk1", "nullio", size=512))
        if "restore" in typed:
            admin.save(str(file))
    assert main(["--sim", sim, *shlex.split(typed.format(file=file))]) == 0


@pytest.mark.parametrize(
    "typed", ["", "create device x", "map da target=t", "frobnicate", "-x", "/devices ls"]
)
def test_what_is_no_habit_is_left_alone(typed: str) -> None:
    assert habit(shlex.split(typed)) == ""


def test_no_hint_destroys_anything() -> None:
    """Whatever is mistyped, what is offered for it takes nothing away."""
    words = [
        *(
            verb[:at] + other + verb[at + 1 :]
            for verb in VERBS
            for at in range(len(verb))
            for other in ("", "x")
        ),
        *"create close rename remove-all erase wipe purge drop reset stop start resore clera deletee".split(),
    ]
    safe = harmless()
    assert {"create", "map", "list", "get", "set", "save", "help"} <= set(safe)
    assert set(safe).isdisjoint("apply clear deactivate delete disable discard remove restore unmap".split())
    for word in words:
        offered = re.search(r"did you mean (\w+)\?", str(unknown(word, VERBS)))
        assert offered is None or offered[1] in safe, word
    assert "did you mean create?" in str(unknown("creat", VERBS))
    assert near("x" * 200, VERBS) == ""


@pytest.mark.parametrize("words", ["--sym x show", "--js show", "--si x show", "map da --targ t", "show --j"])
def test_options_are_not_guessed(words: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(words))
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "typed",
    [
        "set group g priority=1K target=t1",
        "set target t1 rel_tgt_id=1K",
        "set target t1 queue_depth=1G",
        "map disk1 lun=1K target=t1",
        "create device x 1GB handler=nullio",
    ],
)
def test_units_where_there_are_none(typed: str, tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.create_device(Device("disk1", "nullio", size=512))
        admin.create_target(Target("local", "t1", groups=(Group("g"),)))
        failure = Shell(Session(admin)).execute(typed)
    assert failure is not None
    assert failure.exit_code == 2


def test_unknown_kinds_are_named() -> None:
    for words, said in (
        (["create"], "`create` what? There are device, target, group, lun, initiator, host"),
        (["create", "divice", "x"], "did you mean device?"),
        (["list", "target"], ""),
        (["list", "targetss"], "did you mean targets?"),
        (["/devices/fileio/da", "map", "--lun", "x", "target=t"], "lun: 'x'"),
        (["/devices/fileo", "create", "x"], "did you mean fileio?"),
        (["begin"], "in the shell and in scripts only"),
    ):
        if not said:
            understand_line(words)
            continue
        with pytest.raises(WrongUsage) as caught:
            understand_line(words)
        assert said in str(caught.value)
