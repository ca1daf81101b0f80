# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/tasks.md: what it says is done, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
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
SIZE = 64 << 20  # of the images that are there before


def copy(there: Path, here: Path) -> None:
    """The tree, and the very same images: they are known by their inodes."""
    shutil.copytree(there / "sim", here / "sim")
    shutil.copytree(there / "srv", here / "srv", copy_function=os.link)


class Area(NamedTuple):
    """Where tasks are done, one after the other, and a copy of how each finds it."""

    place: Path
    before: Path

    def keep(self) -> None:
        """Remember how it is."""
        copy(self.place, self.before)

    def put_back(self) -> None:
        """As it was remembered. What is in an image matters to no task, its size does."""
        shutil.rmtree(self.place)
        copy(self.before, self.place)
        for image in (self.place / "srv").iterdir():
            os.truncate(image, SIZE)

    def run(self, commands: str) -> None:
        """Run a script on it."""
        srv, sim = self.place / "srv", self.place / "sim"
        head = f"""
            set -euo pipefail
            SAVED={sim}/scst.json
            scstadmin() {{ {sys.executable} -m pyscstadmin --sim {sim} "$@"; }}
        """
        text = f"{head}\n{commands}".replace("/srv/", f"{srv}/")
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Area:
    """What is there before each task: made once, as it says in the text."""
    folder = tmp_path_factory.mktemp("tasks")
    area = Area(folder / "place", folder / "before")
    (area.place / "srv").mkdir(parents=True)
    area.run(BEFORE)
    area.keep()
    return area


@pytest.fixture
def area(made: Area) -> Area:
    """The place as it was in the beginning."""
    made.put_back()
    return made


def test_all_are_there() -> None:
    assert [task.number for task in TASKS] == list(range(1, 36))


@pytest.mark.parametrize("task", TASKS, ids=[f"{task.number}-{task.title}" for task in TASKS])
def test_task(task: Task, area: Area) -> None:
    area.run(task.commands)
