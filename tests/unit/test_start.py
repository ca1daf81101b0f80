# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command brings along is most of its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyscstadmin
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.schema import dumps
from tests.unit.plain import PlainTree, lay_out
from tests.unit.strategies import MIB

REPO = Path(pyscstadmin.__file__).parent.parent

# These cost much, and an apply has no use for them.
EXPENSIVE = {
    "difflib",
    "pyudev",
    "configshell_fb",
    "rtslib",
    "ctypes",
    "asyncio",
}


# The rest is for options, for what is wrong, and for other commands. An apply of a file that is as it should
# be brings none of it.
OF_OTHERS = {
    "shutil",  # which argparse brings, with three libraries, to make a parser
    "subprocess",
    "pyscstadmin.config.acl",
    "pyscstadmin.config.locate",
    "pyscstadmin.config.losses",
    "pyscstadmin.cli.describe",
    "pyscstadmin.cli.importing",
    "pyscstadmin.kernel.inflight",
    "pyscstadmin.kernel.newfile",
    "pyscstadmin.kernel.sessions",
    "pyscstadmin.sim",
    "pyscstadmin.shell",
    "pyscstadmin.watch",
    "pyscstadmin.store.save",
}


# What logs initiators in knows of a configuration by itself, and is started anew while initiators wait.
NOT_OF_THE_DAEMON = {
    "pyudev",
    "configshell_fb",
    "rtslib",
    "pyscstadmin.admin",
    "pyscstadmin.cli",
    "pyscstadmin.config.facts",
    "pyscstadmin.config.model",
    "pyscstadmin.config.settings",
    "pyscstadmin.kernel.read",
}


def configuration() -> Config:
    luns = tuple(Lun(number, f"d{number}") for number in range(3))
    devices = tuple(Device(lun.device, "nullio", size=MIB) for lun in luns)
    group = Group("g", initiators=("iqn.2026-11.com.example:a",), luns=luns)
    return Config(devices, (Target("local", "t", groups=(group,)),))


def test_an_apply_imports_little(tmp_path: Path) -> None:
    wanted = configuration()
    (tmp_path / "file.json").write_text(dumps(wanted))
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(wanted)
    program = (
        "import sys; from pyscstadmin.__main__ import main; "
        f"code = main(['--sim', {str(tmp_path / 'sim')!r}, 'apply', {str(tmp_path / 'file.json')!r}]); "
        "print(code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, _, last = done.stdout.strip().rpartition("\n")
    code, *modules = last.split()
    assert (said, code) == ("nothing to do", "0")
    assert EXPENSIVE.isdisjoint(modules)


def test_an_apply_without_options_imports_less(tmp_path: Path) -> None:
    """On a tree that is where it is for everybody, so that nothing has to be said."""
    wanted, root = configuration(), tmp_path / "scst"
    (tmp_path / "file.json").write_text(dumps(wanted))
    lay_out(root)
    with Admin(tree=PlainTree(str(root)), state_dir=str(tmp_path)) as admin:
        admin.apply(wanted)
    program = (
        "import sys; from pyscstadmin.config import layout; from pyscstadmin import admin; "
        f"layout.ROOT, admin.STATE_DIR = {str(root)!r}, {str(tmp_path)!r}; "
        "from pyscstadmin.__main__ import main; "
        f"code = main(['apply', {str(tmp_path / 'file.json')!r}]); print(code, *sys.modules)"
    )
    # Nothing of the environment's own: its packages may bring anything.
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO)
    said, _, last = done.stdout.strip().rpartition("\n")
    code, *modules = last.split()
    assert (said, code) == ("nothing to do", "0")
    assert (EXPENSIVE | OF_OTHERS).isdisjoint(modules)


def test_the_daemon_imports_little() -> None:
    program = "import sys, pyscstadmin.iscsi.daemon; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO)
    assert NOT_OF_THE_DAEMON.isdisjoint(done.stdout.split())
