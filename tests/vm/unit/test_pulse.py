# SPDX-License-Identifier: GPL-2.0-or-later
"""The clock that limits are held by: what stands still does not grow older."""

import os
import signal
import subprocess
import sys
import time

from tests.vm.guest.pulse import BEAT, Pulse

PROGRAM = """
import time
from tests.vm.guest.pulse import pulse
pulse.time()
print("ready", flush=True)
input()
print(pulse.time(), flush=True)
"""


def test_it_stands_while_nothing_runs() -> None:
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(1)
        stood = time.monotonic() - stopped
        os.kill(child.pid, signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.flush()
        counted = float(child.stdout.readline())
    assert counted <= time.monotonic() - began - stood + 10 * BEAT


def test_it_goes_on_while_something_runs() -> None:
    pulse = Pulse()
    assert pulse.time() == 0
    while pulse.time() < 10 * BEAT:
        time.sleep(BEAT)


def test_a_child_has_a_clock_of_its_own() -> None:
    pulse = Pulse()
    while not pulse.time():
        time.sleep(BEAT)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        started = pulse.time() == 0
        while not pulse.time():
            time.sleep(BEAT)
        os._exit(not started)
    assert os.waitpid(child, 0)[1] == 0
