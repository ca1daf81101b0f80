# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the kernel's flight recorder, read and told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyscstadmin.cli.recorder import record_lines
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.recorder import parse_records, read_records

TEXT = (
    "#kind when times session target initiator lun device tag ms place place_ms bytes status code cdb sense"
    " what\n"
    r"tmf 1764231700000000000 2 7 local/t1 iqn.2026-11.com.example:a\040b - - 0x1f 12 core 0 0 2 000000 - - "
    "ABORT TASK\n"
    "slow 1764231600250000000 1 7 local/t1 first 0 db1 0x20 2100 handler 2050 4096 0 000000 "
    "2a000000010000000800 - WRITE(10)\n"
    "failed 1764231650000000000 3 7 script/t1 first 4294967 - 0x21 0 core 0 0 2 031100 "
    "28000000000000000100 f00003000000400a00000000110000000000 READ(10)\n"
    "failed 1764231655000000000 1 8 script/t1 first 0 db1 0x22 0 core 0 0 64 000000 ff0000000000 - -\n"
)


def test_parsed() -> None:
    slow, failed, aborted, function = parse_records(TEXT)
    assert (slow.kind, slow.place, slow.place_ms, slow.ms) == ("slow", "handler", 2050, 2100)
    assert (slow.session, slow.device, slow.lun, slow.answer) == ("session.7", "db1", 0, "GOOD")
    assert (failed.answer, failed.times, failed.device) == ("CHECK CONDITION, MEDIUM ERROR 11/00", 3, "")
    assert failed.sense.startswith("f00003")
    assert (aborted.answer, aborted.what, aborted.cdb) == ("TASK ABORTED", "-", "ff0000000000")
    assert (function.initiator, function.lun) == ("iqn.2026-11.com.example:a b", None)
    assert (function.what, function.cdb, function.sense) == ("ABORT TASK", "", "")
    assert function.answer == "FUNCTION COMPLETE, there was no such command"


def test_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    lines = list(record_lines(parse_records(TEXT)))
    assert lines[0] == (
        "2025-11-27 08:20:00  slow, 2.1 s, 2.0 s of it in the back end: first on local/t1, LUN 0 (db1): "
        "GOOD, WRITE(10) 4 KiB, CDB 2a000000010000000800, tag 0x20"
    )
    assert "CHECK CONDITION, MEDIUM ERROR 11/00, 3 times, after 0.0 s: first on script/t1" in lines[1]
    assert lines[3].endswith("FUNCTION COMPLETE, there was no such command, tag 0x1f")
    assert list(record_lines([])) == ["nothing was slow, nothing has failed"]


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="debugfs"):
        read_records(str(tmp_path / "recorder"))
