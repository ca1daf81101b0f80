# SPDX-License-Identifier: GPL-2.0-or-later
"""The test loop fails when the kernel does: each way of failing, on request of a module made for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm import machine

PASS, JOB_FAILED, LOG_BAD, BROKEN, TIMEOUT = 0, 7, 1, 3, 124


def run(tmp_path: Path, script: str, *options: str) -> tuple[int, str]:
    """Run a shell script in the VM with the self-test module at hand; returns status and output."""
    command = [
        sys.executable, "-m", "tests.vm", "run", "--selftest-module", f"--out={tmp_path / 'out'}",
        *options, "--", "/bin/sh", "-ec", script,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=machine.REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=400,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_good_run(tmp_path: Path) -> None:
    status, output = run(tmp_path, "modprobe scst_vm_selftest; rmmod scst_vm_selftest; echo from the guest")
    assert status == PASS, output
    assert "from the guest" in output
    assert "kernel log clean" in output


def test_status_of_the_job_is_kept(tmp_path: Path) -> None:
    status, output = run(tmp_path, "exit 7")
    assert status == JOB_FAILED, output


def test_warning_fails_a_job_that_passed(tmp_path: Path) -> None:
    status, output = run(tmp_path, "modprobe scst_vm_selftest action=warn")
    assert status == LOG_BAD, output
    assert "requested warning" in output
    assert "KERNEL LOG BAD" in output


def test_oops_is_a_broken_machine(tmp_path: Path) -> None:
    status, output = run(tmp_path, "modprobe scst_vm_selftest action=oops")
    assert status == BROKEN, output
    assert "kernel BUG at" in output


def test_hung_task_is_reported(tmp_path: Path) -> None:
    script = (
        "echo 2 > /proc/sys/kernel/hung_task_timeout_secs; modprobe scst_vm_selftest action=hang & "
        "for i in $(seq 60); do sleep 0.5; dmesg | grep -q 'blocked for more' && exit 0; done; exit 9"
    )
    status, output = run(tmp_path, script)
    assert status == LOG_BAD, output
    assert "blocked for more than" in output


def test_timeout_shows_the_blocked_task(tmp_path: Path) -> None:
    status, output = run(tmp_path, "modprobe scst_vm_selftest action=hang", "--timeout=6")
    assert status == TIMEOUT, output
    assert "did not end in 6 s" in output
    assert "selftest_init" in (tmp_path / "out/kernel.log").read_text()


@pytest.mark.parametrize("option", ["--disk=a", "--disk=:5", "--env=x"])
def test_bad_option(tmp_path: Path, option: str) -> None:
    status, output = run(tmp_path, "true", option)
    assert status == 2
    assert "is not" in output
