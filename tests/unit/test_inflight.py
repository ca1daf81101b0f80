# SPDX-License-Identifier: GPL-2.0-or-later
"""Which command hangs, where, since when: the kernel's lines, and what is said of them."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.cli.render import command_lines
from pyscstadmin.config.model import Config, Device, Lun, Target
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.inflight import PLACES, Command, parse_commands, read_commands
from tests.unit.trees import made

HEADING = "#age_ms place aborted session target initiator lun device tag bytes cdb opcode\n"
YOUNG = "40 data 0 3 script/t1 a\\040b\\134c 16383 d.b 0x7 512 2a000000000000000100 WRITE(10)\n"
OLD = (
    "12345 handler 1 12 local/t iqn.2026-11.x:a 0 da 0xffff8880045c1110 4096 28000000000000000800 READ(10)\n"
)
NOWHERE = "0 core 0 1 local/t x - - 0x0 0 000000000000 TEST UNIT READY\n"
UNKNOWN = "1 core 0 1 local/t x 1 da 0x1 0 ff0000000000 -\n"


def test_every_place_has_words() -> None:
    """Those that the kernel says, and no other."""
    text = (Path(__file__).resolve().parents[2] / "kmod/core/inflight.c").read_text()
    body = text.split("static const char *scst_cmd_place(", 1)[1].split("\n}\n", 1)[0]
    assert set(re.findall(r'"(\w+)"', body)) == set(PLACES)


def test_lines() -> None:
    """The oldest first; names are whole, and what is not there is not made up."""
    found = parse_commands(HEADING + NOWHERE + YOUNG + OLD + UNKNOWN)
    assert found == [
        Command(
            12345,
            "handler",
            True,
            "session.12",
            "local/t",
            "iqn.2026-11.x:a",
            0,
            "da",
            "0xffff8880045c1110",
            4096,
            "28000000000000000800",
            "READ(10)",
        ),
        Command(
            40,
            "data",
            False,
            "session.3",
            "script/t1",
            "a b\\c",
            16383,
            "d.b",
            "0x7",
            512,
            "2a000000000000000100",
            "WRITE(10)",
        ),
        Command(1, "core", False, "session.1", "local/t", "x", 1, "da", "0x1", 0, "ff0000000000", "-"),
        Command(
            0,
            "core",
            False,
            "session.1",
            "local/t",
            "x",
            None,
            "",
            "0x0",
            0,
            "000000000000",
            "TEST UNIT READY",
        ),
    ]
    assert parse_commands(HEADING) == []


def test_one_line_each() -> None:
    old, young, _, nowhere = command_lines(parse_commands(OLD + YOUNG + UNKNOWN + NOWHERE))
    assert old == (
        "12.3 s  in the back end, aborted: iqn.2026-11.x:a on local/t, LUN 0 (da): "
        "READ(10) 4 KiB, CDB 28000000000000000800, tag 0xffff8880045c1110"
    )
    assert young.startswith(
        "0.0 s  waits for data of its initiator: a b\\c on script/t1, LUN 16383 (d.b): WRITE"
    )
    assert nowhere.startswith("0.0 s  in the core: x on local/t, no LUN: TEST UNIT READY")
    assert list(command_lines([])) == ["no commands in flight"]


NAMES = st.text("ab c\\\t\n:", min_size=1, max_size=12)


@given(st.sampled_from(sorted(PLACES)), st.integers(0, 2**32 - 1), NAMES)
def test_any_name(place: str, age: int, name: str) -> None:
    """As the kernel escapes them."""
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)
    (found,) = parse_commands(f"{age} {place} 0 1 local/t {escaped} 0 d 0x1 0 00 TEST UNIT READY\n")
    assert (found.initiator, found.age_ms, found.place) == (name, age, place)
    assert len(list(command_lines([found]))) == 1


def test_the_file(tmp_path: Path) -> None:
    file = tmp_path / "commands"
    with pytest.raises(OperationError, match="mount debugfs") as missing:
        read_commands(str(file))
    assert missing.value.errno == errno.ENOENT
    file.write_text(HEADING + OLD)
    assert [command.age_ms for command in read_commands(str(file))] == [12345]


def test_simulated() -> None:
    """A simulated tree shows the commands that hang in it."""
    device = Device("da", "nullio", size=1 << 20)
    target = Target("local", "t", hosts=("x",), luns=(Lun(0, "da"),))
    tree = made(Config(devices=(device,), targets=(target,)))
    assert tree.in_flight() == []
    tree.begin_command("local/t", "x", 0)
    (command,) = tree.in_flight()
    assert (command.session, command.lun, command.device, command.opcode) == (
        "session.1",
        0,
        "da",
        "WRITE(10)",
    )
