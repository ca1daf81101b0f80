# SPDX-License-Identifier: GPL-2.0-or-later
"""README.md's way to a disk on another machine over iSCSI, as it stands there; and a secret that is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin.iscsi.refusals import FILE
from tests.vm.guest import iscsi, openiscsi, tree
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

README = Path(__file__).resolve().parents[3] / "README.md"
NAME = "iqn.2026-11.com.example:disk1"
CONFIG = openiscsi.ETC / "iscsid.conf"
MOST = 8
PATIENCE = 60 * tree.SLOW

pytestmark = pytest.mark.usefixtures("clean_tree")


def blocks() -> tuple[list[str], list[str]]:
    """The commands on the target, and those on the other machine."""
    (section,) = re.findall(
        r"^## A disk for another machine, over iSCSI\n(.*?)^## ", README.read_text(), re.M | re.S
    )
    here, there = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    return here.splitlines(), there.splitlines()


def scstadmin(*words: str) -> str:
    """What it prints."""
    return command("scstadmin", *words)


@pytest.fixture
def machines() -> Iterator[None]:
    """The daemon is there, as udev would have started it, and open-iscsi; nothing is left."""
    stdin = Path("/dev/stdin")
    if not stdin.is_symlink():  # every system has it; the machine's first program does not make it
        stdin.symlink_to("/proc/self/fd/0")
    Path(FILE).unlink(missing_ok=True)  # logins that were refused in other tests
    with openiscsi.running():
        before = CONFIG.read_bytes()
        daemon = subprocess.Popen([sys.executable, "-m", "pyscstadmin.iscsi.daemon"])
        try:
            yield
        finally:
            CONFIG.write_bytes(before)
            subprocess.run(["iscsiadm", "-m", "node", "-u"], capture_output=True, check=False)
            scstadmin("clear", "--yes")
            daemon.terminate()
            daemon.wait(PATIENCE)
            for path in (Path("/srv/disk1.img"), Path("/etc/scst/joe.secret")):
                path.unlink(missing_ok=True)


@pytest.mark.usefixtures("machines")
def test_eight_commands_and_one_more_for_a_wrong_secret() -> None:
    here, there = blocks()
    assert len(here) + len(there) <= MOST
    for line in here:
        command("bash", "-ec", line)
    tree.wait_for("a portal", lambda: "listening" in scstadmin("get", "portal", "any", "state"), PATIENCE)
    for line in there:
        command("bash", "-ec", line.replace("TARGET", "127.0.0.1"))
    one = openiscsi.Login("default", NAME)
    tree.wait_for("a session", lambda: one.sid is not None, PATIENCE)
    size = Path("/sys/block", one.disk(0, PATIENCE).name, "size")
    assert int(size.read_text()) * 512 == 1 << 30
    one.logout()
    assert scstadmin("logins").strip() == "no login was refused"

    wrong = ("-n", "node.session.auth.password", "-v", "wrong-horse-battery-staple")
    openiscsi.iscsiadm("-m", "node", "-T", NAME, "-o", "update", *wrong)
    with pytest.raises(openiscsi.Failed) as failed:
        openiscsi.iscsiadm("-m", "node", "-T", NAME, "--login")
    assert failed.value.status == openiscsi.LOGIN_REFUSED
    # It is written within a second.
    tree.wait_for("the refusal", lambda: "wrong secret of user 'joe'" in scstadmin("logins"), PATIENCE)
    assert "0201h" in scstadmin("logins")
