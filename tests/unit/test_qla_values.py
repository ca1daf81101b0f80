# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of the in-box driver's macros are those of the kernel's source, where that is installed."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

VALUES = Path(__file__).resolve().parents[2] / "kmod/targets/qla2xxx/qla2xxx-values.h"
SOURCES = sorted(Path("/usr/src").glob("linux-source-*.tar.xz"))
DEFINE = re.compile(r"^\s*#\s*define\s+(\w+)\s+(0x[0-9a-fA-F]+|\d+)\b", re.MULTILINE)
HEADERS = ("qla_target.h", "qla_def.h")


def defined(text: str) -> dict[str, int]:
    """Macros that are numbers."""
    return {name: int(value, 0) for name, value in DEFINE.findall(text)}


def headers(source: Path) -> str:
    """The in-box driver's headers, out of the archive."""
    found = {}
    with tarfile.open(source) as archive:
        for member in archive:
            name = Path(member.name)
            if name.parent.name == "qla2xxx" and name.name in HEADERS:
                file = archive.extractfile(member)
                assert file is not None
                found[name.name] = file.read().decode()
            if len(found) == len(HEADERS):
                break
    return "\n".join(found.values())


@pytest.mark.skipif(not SOURCES, reason="no linux-source package is installed")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_values_are_the_kernels(source: Path) -> None:
    theirs = defined(headers(source))
    for name, value in defined(VALUES.read_text()).items():
        assert theirs.get(name) == value, name


def test_values_are_read() -> None:
    """None is written in a way that the comparison does not see."""
    text = VALUES.read_text()
    names = set(re.findall(r"^#define (\w+)\t", text, re.MULTILINE))
    assert names == set(defined(text))
    assert len(names) > 20
