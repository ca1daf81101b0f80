# SPDX-License-Identifier: GPL-2.0-or-later
"""Run in the machine by test_loop.py: two tests that wait for ever, and one that passes nevertheless."""

import subprocess
import threading

SCST_MODULES = ()


def test_that_waits_for_itself() -> None:
    threading.Event().wait()


def test_that_waits_for_a_program() -> None:
    subprocess.run(["sleep", "1000"], check=True)


def test_that_is_well() -> None:
    assert True
