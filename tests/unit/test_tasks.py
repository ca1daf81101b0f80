# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/tasks.md: what it says is done, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()


class Task(NamedTuple):
    """A task, and its commands."""

    number: int
    title: str
    commands: str


TASKS = [
    Task(int(found[1]), found[2], found[4])
    for found in re.finditer(r"^### (\d+)\. ([^\n]*)\n(.*?)```sh\n(.*?)^```$", TEXT, re.M | re.S)
]
BEFORE = re.findall(r"^```sh before\n(.*?)^```$", TEXT, re.M | re.S)[0]


def test_all_are_there() -> None:
    assert [task.number for task in TASKS] == list(range(1, 36))


@pytest.mark.parametrize("task", TASKS, ids=[f"{task.number}-{task.title}" for task in TASKS])
def test_task(task: Task, tmp_path: Path) -> None:
    srv = tmp_path / "srv"
    srv.mkdir()
    head = f"""
        set -euo pipefail
        SAVED={tmp_path}/sim/scst.json
        scstadmin() {{ {sys.executable} -m pyscstadmin --sim {tmp_path}/sim "$@"; }}
    """
    text = f"{head}\n{BEFORE}\n{task.commands}".replace("/srv/", f"{srv}/")
    # One that names a tree of its own has that.
    text = text.replace(f"scstadmin --sim {srv}", f"{sys.executable} -m pyscstadmin --sim {srv}")
    done = subprocess.run(
        ["bash", "-c", text],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
