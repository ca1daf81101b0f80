# SPDX-License-Identifier: GPL-2.0-or-later
"""The inputs that fuzzing has kept, and random ones, through every target, with gcc's sanitizers."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import logins
from tests.fuzz.targets import HERE, TARGETS, Target

SEED = int(os.environ.get("SCST_SEED", "20261126"))
EACH = 20


def changed(stream: random.Random, data: bytes) -> Iterator[bytes]:
    """Some inputs that differ from one a little."""
    for _ in range(EACH):
        new = bytearray(data)
        for _ in range(stream.randint(1, 4)):
            at = stream.randrange(len(new) + 1)
            match stream.randrange(3):
                case 0:
                    new[at:at] = stream.randbytes(1)
                case 1:
                    new[at : at + stream.randint(1, 8)] = b""
                case _ if at < len(new):
                    new[at] ^= 1 << stream.randrange(8)
        yield bytes(new)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_kept_inputs(target: Target, tmp_path: Path) -> None:
    stream = random.Random(SEED)
    kept = target.inputs()
    assert len(kept) > 10
    inputs = [*kept, *(new for data in kept for new in changed(stream, data))]
    text = b"".join(len(data).to_bytes(4, "little") + data for data in inputs)
    program = target.build_replay(tmp_path / target.name)
    done = subprocess.run(
        [program], input=text, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == 0, f"seed {SEED}: {done.stderr.decode(errors='replace')}"


def test_every_driver_is_a_target() -> None:
    drivers = {path.stem for path in HERE.glob("*.c")} - {"stdin"}
    assert drivers == {target.name for target in TARGETS}
    assert {path.name for path in (HERE / "corpus").iterdir()} == drivers | {logins.NAME}
