# SPDX-License-Identifier: GPL-2.0-or-later
"""The test loop fails when the kernel does: each way of failing, on request of a module made for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.vm import machine

PASS, JOB_FAILED, LOG_BAD, BROKEN, TIMEOUT = 0, 7, 1, 3, machine.TIMED_OUT
STANDING = 30  # seconds; a kernel by itself reports after 20


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


def test_programs_run_at_the_same_addresses(tmp_path: Path) -> None:
    """Why: see CMDLINE."""
    status, output = run(tmp_path, "for i in 1 2; do grep libc.so /proc/self/maps | head -n 1; done")
    first, second = (line for line in output.splitlines() if "libc.so" in line)
    assert (status, first) == (PASS, second), output


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
        "for i in $(seq 300); do sleep 0.5; dmesg | grep -q 'blocked for more' && exit 0; done; exit 9"
    )
    status, output = run(tmp_path, script)
    assert status == LOG_BAD, output
    assert "blocked for more than" in output


def test_lockup_is_reported(tmp_path: Path) -> None:
    status, output = run(
        tmp_path, "echo 1 > /proc/sys/kernel/watchdog_thresh; modprobe scst_vm_selftest action=spin"
    )
    assert status == LOG_BAD, output
    assert "soft lockup" in output


def test_standing_still_is_no_lockup(tmp_path: Path) -> None:
    """The host stops a busy machine for longer than the kernel's own limits of a lockup and a stall."""
    script = "while :; do cat /proc/self/maps; done > /dev/null & sleep 60; kill $!"
    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(run, tmp_path, script)
        while not (found := of_machine(tmp_path / "out")) and not ran.done():
            time.sleep(1)
        time.sleep(15)
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STANDING)
        for pid in found:
            os.kill(pid, signal.SIGCONT)
        status, output = ran.result()
    assert found
    assert status == PASS, output


def of_machine(out: Path) -> list[int]:
    """Process IDs of the QEMU whose machine writes to *out*."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            argv = file.read_text().split("\0")
            if argv[0].startswith("qemu") and any(str(out) in word for word in argv):
                found.append(int(file.parent.name))
    return found


def test_silence_is_found_and_explained(tmp_path: Path) -> None:
    """No CPU takes an interrupt any more: no timer ends that, and no watchdog of the kernel's reports it."""
    start = time.monotonic()
    status, output = run(tmp_path, "modprobe scst_vm_selftest action=silence", "--silence=30")
    assert status == BROKEN, output
    assert time.monotonic() - start < 200
    assert "no sign of life" in output
    stacks = [line for line in output.splitlines() if line.startswith("CPU ")]
    assert {line.split(":")[0] for line in stacks} == {"CPU 0", "CPU 1"}, output
    assert all("silence < multi_cpu_stop" in line for line in stacks), output


def test_timeout_shows_the_blocked_task(tmp_path: Path) -> None:
    status, output = run(tmp_path, "echo now; modprobe scst_vm_selftest action=hang", "--timeout=15")
    assert status == TIMEOUT, output
    assert "did not end in 15 s" in output
    assert "now" in output.splitlines()[-6:], "what it was at stands at the end"
    assert "selftest_init" in (tmp_path / "out/kernel.log").read_text()


def test_what_hangs_fails_alone(tmp_path: Path) -> None:
    """One test that does not end must not cost the results of all others of its machine."""
    command = [
        sys.executable, "-m", "tests.vm", "test", "--env=SCST_TEST_SECONDS=5", f"--out={tmp_path / 'out'}",
        "--", "tests/vm/selftest/hanging.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=machine.REPO, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == LOG_BAD, done.stdout + done.stderr
    assert "2 failed, 1 passed" in done.stdout
    assert "test_that_waits_for_a_program did not end in 5 s; meanwhile:" in done.stdout
    assert "sleep 1000: hrtimer_nanosleep" in done.stdout


@pytest.mark.parametrize("option", ["--disk=a", "--disk=:5", "--env=x"])
def test_bad_option(tmp_path: Path, option: str) -> None:
    status, output = run(tmp_path, "true", option)
    assert status == 2
    assert "is not" in output
