# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations of many LUNs: whatever can be saved can be restored, in memory that is known.

`make test-long` runs this with a million LUNs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.errors import Conflict, InvalidInput
from pyscstadmin.store import load
from pyscstadmin.store.load import load_file
from pyscstadmin.store.save import save
from tests.unit.strategies import MIB

# LUNs of the whole configuration; in groups of so many.
MAPPINGS = int(os.environ.get("SCST_MAPPINGS", "20000"))
LUNS = 1000
GROUPS = 200
DEVICES = 5000


def large(mappings: int, name: str = "disk{:04}") -> Config:
    """A configuration with that many LUNs, on as many targets as it takes."""
    devices = [
        Device(name.format(n), "nullio", size=MIB, id=Identity("SCST", "nullio", "1", f"S{n}", f"3{n:015x}"))
        for n in range(min(DEVICES, mappings))
    ]

    def group(number: int) -> Group:
        names = (f"iqn.2026-11.com.example:{number}a", f"iqn.2026-11.com.example:{number}b*")
        luns = (Lun(n, devices[(7 * number + n) % len(devices)].name, n % 10 == 0) for n in range(LUNS))
        return Group(f"group{number}", 100 + number % 3, names, tuple(luns))

    groups = [group(number) for number in range(mappings // LUNS)]
    parts = [tuple(groups[at : at + GROUPS]) for at in range(0, len(groups), GROUPS)]
    targets = (Target("local", f"t{n}", rel_tgt_id=n + 1, groups=part) for n, part in enumerate(parts))
    return Config(tuple(devices), tuple(targets))


def test_a_large_file_is_read_back(tmp_path: Path) -> None:
    """Well above what one would think that a configuration needs."""
    config = large(100_000, "d{:04}-" + 50 * "x")
    path = tmp_path / "scst.json"
    assert save(config, str(path))
    assert path.stat().st_size > 8 << 20
    assert load_file(str(path)) == config
    assert not save(config, str(path))


def test_one_limit_for_what_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, config = large(1000), large(2000)
    path = tmp_path / "scst.json"
    save(small, str(path))
    monkeypatch.setattr(load, "FILE_MAX", len(schema.dumps(config)))
    assert save(config, str(path))
    assert load_file(str(path)) == config
    monkeypatch.setattr(load, "FILE_MAX", len(schema.dumps(config)) - 1)
    with pytest.raises(InvalidInput, match="larger than"):
        load_file(str(path))
    save(small, str(path))
    with pytest.raises(Conflict, match=r"could not be restored.*larger than"):
        save(config, str(path), force=True)
    assert load_file(str(path)) == small


# Not getrusage(): its peak counts what the process was before exec() as well.
MEASURED = """
import re, sys
from pyscstadmin.__main__ import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def measured(*args: str) -> int:
    """Run the command; returns the most memory it had, in MiB."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stderr) // 1024


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    """Through the command, on simulated trees, which take a part of the memory."""
    config = large(MAPPINGS)
    wanted, first, second = tmp_path / "wanted.json", tmp_path / "first", tmp_path / "second"
    wanted.write_text(schema.dumps(config))
    used = {
        "apply": measured("--sim", str(first), "apply", str(wanted)),
        "save": measured("--sim", str(first), "save", str(first / "scst.json")),
    }
    assert (first / "scst.json").read_bytes() == wanted.read_bytes()
    used["restore"] = measured("--sim", str(second), "restore", str(first / "scst.json"))
    used["again"] = measured("--sim", str(second), "restore", str(first / "scst.json"))
    measured("--sim", str(second), "save")
    assert (second / "scst.json").read_bytes() == wanted.read_bytes()
    print({name: f"{size} MiB" for name, size in used.items()})
    assert max(used.values()) < 100 + MAPPINGS // 1000, used
