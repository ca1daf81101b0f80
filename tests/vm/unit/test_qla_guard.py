# SPDX-License-Identifier: GPL-2.0-or-later
"""A description of the in-box driver's structures that is not that of this kernel's qla2xxx does not compile.

The kernel's headers and its qla2xxx are needed. What is refused when the module is loaded is shown by the
scenario ``scst-guards`` of tests/hba.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm import kmodbuild

KDIRS = sorted(Path("/lib/modules").glob("*/build"))
SCRIPT = kmodbuild.REPO / "kmod/targets/qla2xxx/layout.py"
FIRST = "kmod/targets/qla2xxx/main.o"
Change = Callable[[str], str]


@pytest.fixture(scope="module")
def layout() -> str:
    """The description of this kernel's qla2xxx."""
    if not KDIRS:
        pytest.skip("no kernel's headers are installed")
    words = [sys.executable, "-B", str(SCRIPT)]
    find = [*words, "--find", KDIRS[0].parent.name, str(KDIRS[0])]
    found = subprocess.run(find, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(found.stderr)
    return subprocess.run([*words, *found.stdout.split()], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, to build in."""
    folder = tmp_path_factory.mktemp("tree")
    kmodbuild.copy_sources(kmodbuild.PRODUCT, folder)
    return folder


def compiled(tree: Path, text: str) -> str:
    """What the compiler says about one file with this description; nothing when it takes it."""
    header = tree / "layout.h"
    header.write_text(text)
    command = ["make", "-s", "-C", str(KDIRS[0]), f"M={tree}", f"QLA2XXX_LAYOUT={header}", FIRST]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("error:" not in done.stderr), done.stderr
    return done.stderr if done.returncode else ""


def once(pattern: str, text: str) -> str:
    """The only line that fits."""
    found = re.findall(rf"^.*{pattern}.*$", text, re.MULTILINE)
    assert len(found) == 1, (pattern, found)
    return str(found[0])


def swapped(text: str) -> str:
    """Two members of a command have changed places."""
    members = text[text.index("struct qla_tgt_cmd {") :]
    one, other = once(r"\bsg_cnt;", members), once(r"\bbufflen;", members)
    changed = members.replace(one, "@").replace(other, one).replace("@", other)
    return text.replace(members, changed)


def larger(text: str) -> str:
    """A member has become a larger type."""
    line = once(r"\bsg_cnt;", text)
    return text.replace(line, "\tu64 sg_cnt;")


def other_callback(text: str) -> str:
    """A callback takes something else."""
    line = once(r"\(\*handle_data\)", text)
    return text.replace(line, line.replace("struct qla_tgt_cmd *", "struct fc_port *"))


def another_kernel(text: str) -> str:
    """All is as it should be, but for another kernel."""
    return text.replace(KDIRS[0].parent.name, "6.12.117+deb13-amd64")


def test_this_kernels_compiles(tree: Path, layout: str) -> None:
    """So what the others show is what was changed."""
    assert compiled(tree, layout) == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (swapped, "static assertion failed"),
        (larger, "static assertion failed"),
        (other_callback, "incompatible pointer type"),
        (another_kernel, "qla2xxx of another kernel: 6.12.117"),
    ],
)
def test_others_do_not(tree: Path, layout: str, change: Change, word: str) -> None:
    """And the compiler says why."""
    changed = change(layout)
    assert changed != layout
    assert word in compiled(tree, changed)
