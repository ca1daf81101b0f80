# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's packages that tests/vm/setup.sh unpacks: put into the machine for a while."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNPACKED = Path("build/packages")
# What Debian's fence agents have in common.
FENCE = "/usr/share/fence"


@contextmanager
def installed(*names: str) -> Iterator[None]:
    """Their files where they belong, but for what is documentation; away again afterwards."""
    made = []
    for root in (UNPACKED / name for name in names):
        assert root.is_dir(), f"{root} is not there: tests/vm/setup.sh vm"
        for source in sorted(root.rglob("*")):
            place = Path("/") / source.relative_to(root)
            if (
                (source.is_dir() and not source.is_symlink())
                or (place.is_relative_to("/usr/share") and not place.is_relative_to(FENCE))
                or place.exists()
            ):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)
            made.append(place)
    # The overlay's /etc/ld.so.cache knows nothing of new libraries.
    subprocess.run(["ldconfig"], check=True)
    try:
        yield
    finally:
        for place in made:
            place.unlink()
