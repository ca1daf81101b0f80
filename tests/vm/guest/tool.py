# SPDX-License-Identifier: GPL-2.0-or-later
"""scstadmin without the start of an interpreter, which takes seconds here: in this process, or in a fork."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pyscstadmin.__main__ import main


def run_into(out: Path, *argv: str) -> None:
    """Run it with --json, its output in a file. Raises OSError if its status is not 0."""
    with out.open("w") as file, redirect_stdout(file):
        status = main(["--json", *argv])
    if status:
        raise OSError(status, f"scstadmin {argv}: {out.read_text()}")


def run(folder: Path, *argv: str) -> tuple[int, Any]:
    """Run it; its status and its document."""
    out = folder / "scstadmin.out"
    status = 0
    try:
        run_into(out, *argv)
    except OSError as error:
        status = error.errno or -1
    return status, json.loads(out.read_text())
