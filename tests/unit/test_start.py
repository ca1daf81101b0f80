# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command brings along is most of its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.schema import dumps
from tests.unit.strategies import MIB

# These cost much, and an apply has no use for them.
EXPENSIVE = {
    "difflib",
    "pyudev",
    "configshell_fb",
    "rtslib",
    "ctypes",
    "asyncio",
}


def test_an_apply_imports_little(tmp_path: Path) -> None:
    luns = tuple(Lun(number, f"d{number}") for number in range(3))
    devices = tuple(Device(lun.device, "nullio", size=MIB) for lun in luns)
    group = Group("g", initiators=("iqn.2026-11.com.example:a",), luns=luns)
    wanted = Config(devices, (Target("local", "t", groups=(group,)),))
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
