# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of commands (kmod/core/cdb-*.c): each row says what it is to reservations, and is what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def written_out(text: str) -> str:
    """Rows that are alike have a macro, which stands alone in them: put in what it stands for."""
    for name, body in re.findall(r"^#define (\w+_ROW)\([\w, .]+\)[ \t]*\\\n((?:.*\\\n)*.*\n)", text, re.M):
        lines = re.sub(r"[ \t]*\\\n", "\n", body)
        text = re.sub(rf"^\t{name}\(.*\)\n", lambda _, put=lines: put, text, flags=re.M)  # type: ignore[misc]
    return text


CORE = Path(__file__).resolve().parents[2] / "kmod/core"
TEXT = "".join(written_out((CORE / name).read_text()) for name in ("cdb-spc.c", "cdb-sbc.c"))
ROW = r"^(?:static )?const struct scst_opcode scst_row_(\w+) = \{\n(.*?)^\};"
ROWS = dict(re.findall(ROW, TEXT, re.M | re.S))
REAL = {name: row for name, row in ROWS.items() if ".execute" in row}


def test_who_writes_tells_tokens() -> None:
    core = (CORE / "gate.h").read_text()
    stops = re.findall(r"^#define SCST_STOPS_WRITE\t\((.*)\)$", core, re.M)
    assert len(stops) == 1
    assert "BIT_ULL(SCST_GATE_TOKENS)" in stops[0]


def test_rows_are_found() -> None:
    assert len(REAL) > 30
    assert set(ROWS) - set(REAL) == {name for name, row in ROWS.items() if ".sa\t" in row}


@pytest.mark.parametrize("name", sorted(REAL))
def test_row_names_its_class(name: str) -> None:
    """Only by GATES(), which has its gate stop the row, too: without one a command passes any reservation."""
    row = REAL[name]
    named = re.findall(r"^\tGATES\((\w+), ", row, re.M)
    assert len(named) == 1, row
    assert ".stops" not in row
    assert ".access" not in row
    if "SCST_OP_WRITE" in row:
        assert named == ["WRITE"], "it may change the medium"
    if "SCST_OP_MEDIUM" in row:
        assert named != ["ALWAYS"], "it is for the medium"


@pytest.mark.parametrize("name", sorted(REAL))
def test_row_is_limited_as_what_it_does(name: str) -> None:
    """Who reads or writes blocks has the gate of that limit; nobody else waits for one.

    With that of writes comes the gate by which tokens hear of them: no command may change what they are of.
    """
    row = REAL[name]
    stops = set(re.findall(r"\bSCST_STOPS_(READ|WRITE)\b", row))
    if name in ("extended_copy", "extended_copy_lid4", "write_using_token"):
        assert not stops, "its parts are what reads and writes"
    elif "SCST_OP_WRITE" in row:
        assert stops == {"WRITE"}
    elif "SCST_OP_MEDIUM" in row and "SCST_CDB_RW" in row and "GATES(READ" in row:
        assert stops == {"READ"}
    else:
        assert not stops
