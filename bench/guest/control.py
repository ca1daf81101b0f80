# SPDX-License-Identifier: GPL-2.0-or-later
"""Times the control plane in this VM, ours and rtslib: ``python -m bench.guest.control 10x10 100x10``.

A configuration of D nullio devices and one target with G groups of one initiator, each with all devices: D x
G mappings. Nobody is logged in. rtslib gets the same as an iSCSI target with G node ACLs (its loopback fabric
has none). All figures are seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench.guest.record import Recorder, other_load
from bench.guest.systems import modprobe
from bench.samples import Sample
from bench.scale import Scale
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.schema import dumps
from pyscstadmin.store.load import load_file

TARGET = "local/bench"
FILE = Path("/tmp/bench.json")
SAVED = Path("/tmp/bench-saved.json")
LARGE = 1000
BYTECODE = "/tmp/bench-bytecode"


def configuration(scale: Scale) -> Config:
    """D devices, G groups, every group with every device."""
    devices = tuple(Device(name, "nullio", size=1 << 20) for name in scale.devices())
    luns = tuple(Lun(number, device.name) for number, device in enumerate(devices))
    groups = tuple(
        Group(f"g{n:02d}", initiators=(name,), luns=luns) for n, name in enumerate(scale.initiators())
    )
    return Config(devices, (Target("local", "bench", groups=groups),))


class Timer:
    """Times steps of one system at one scale."""

    def __init__(self, recorder: Recorder, scale: Scale, backend: str, system: str, number: int) -> None:
        self._recorder = recorder
        self._where = ("control", backend, str(scale))
        self._system = system
        self._number = number

    def note(self, metric: str, value: float) -> None:
        """Record a value."""
        self._recorder.add(Sample(*self._where, metric, self._system, self._number, value))

    def add(self, step: str, seconds: float) -> None:
        """Record the time of a step."""
        self.note(f"{step}_s", seconds)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.monotonic()
        yield
        self.add(name, time.monotonic() - start)


def expect(condition: bool, what: str) -> None:
    """RuntimeError: a figure of something that did not happen is worth nothing."""
    if not condition:
        raise RuntimeError(f"the control plane did not do what was measured: {what}")


def api(timer: Timer, scale: Scale) -> None:
    """All steps through `Admin` in this process. Each takes a new `Admin`, so nothing is remembered."""
    wanted = configuration(scale)
    with timer.step("create"):
        Admin().apply(wanted)
    expect(mappings() == scale.mappings, f"{mappings()} links after apply, not {scale.mappings}")
    with timer.step("no_change"):
        outcome = Admin().apply(wanted)
    expect(not outcome.done, "an apply without change did something")
    one_lun(timer, wanted)
    with timer.step("read_back"):
        found = Admin().config()
    expect(len(found.devices) == scale.device_count, "read back")
    with timer.step("save"):
        Admin().save(str(SAVED))
    with timer.step("clear"):
        Admin().clear()
    expect(mappings() == 0, "clear left links")
    with timer.step("restore"):
        Admin().restore(load_file(str(SAVED)))
    expect(Admin().config() == found, "the restored configuration differs from the saved one")
    Admin().clear()


def one_lun(timer: Timer, wanted: Config) -> None:
    """One LUN by name, and by applying a configuration that differs in it."""
    group = wanted.targets[0].groups[0]
    lun = group.luns[0]
    with timer.step("one_lun"):
        changed = Admin().map(TARGET, lun.number, lun.device, group=group.name, read_only=True)
    expect(bool(changed), "map changed nothing")
    with timer.step("one_lun_by_apply"):
        outcome = Admin().apply(wanted)
    expect(bool(outcome.done), "the apply of one changed LUN did nothing")


def mappings() -> int:
    """LUNs with a device in the kernel's tree."""
    groups = Path("/sys/kernel/config/scst/targets/local/bench/groups")
    return sum(1 for _ in groups.glob("*/luns/*/device"))


def command(timer: Timer | None, scale: Scale) -> None:
    """The same as commands, each a process of its own; without a timer nothing is recorded."""
    wanted = configuration(scale)
    FILE.write_text(dumps(wanted))
    steps = (
        ("create", ("apply", str(FILE))),
        ("no_change", ("apply", str(FILE))),
        ("one_lun", ("map", "d000", "--target", TARGET, "--group", "g00", "--lun", "0", "--read-only")),
        ("one_lun_by_apply", ("apply", str(FILE))),
        ("read_back", ("save", "-")),
        ("clear", ("clear", "--yes")),
    )
    for step, words in steps:
        with timer.step(step) if timer else nullcontext():
            scstadmin(*words)


def scstadmin(*words: str) -> None:
    """Run the command; RuntimeError with its output when it fails.

    An installed package has its bytecode beside it; the VM keeps programs from writing any, so that each
    process would compile it anew.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = BYTECODE
    done = subprocess.run(
        ["scstadmin", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"scstadmin {' '.join(words)}: status {done.returncode}: {done.stdout[-500:]}")


def rtslib(timer: Timer, scale: Scale, recorder: Recorder, seconds: float) -> None:
    """rtslib's steps, in a process that is ended after *seconds*; what it had done by then is recorded."""
    argv = [sys.executable, "-m", "bench.guest.rtslib_steps", str(scale)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        try:
            output = child.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            output = child.communicate()[0]
            recorder.say(
                f"control, {scale}: rtslib ended after {seconds:g} s, its later steps have no figure"
            )
            remove_lio()
    for line in output.splitlines():
        step, value = line.split()
        timer.add(step, float(value))
    if child.returncode > 0:
        raise RuntimeError(f"rtslib at {scale} failed with status {child.returncode}")


def remove_lio() -> None:
    """Remove what a killed rtslib left."""
    from rtslib import RTSRoot

    RTSRoot().clear_existing(confirm=True)


def ours(recorder: Recorder, scale: Scale, number: int) -> None:
    """One round of ours."""
    start = time.monotonic()
    timer = Timer(recorder, scale, "api", "scst", number)
    api(timer, scale)
    if scale.mappings <= LARGE or number == 0:
        command(Timer(recorder, scale, "command", "scst", number), scale)
    timer.note("host_other_cpus", other_load(time.monotonic() - start))
    recorder.say(f"control, {scale}, round {number + 1}: scst")


def prepare() -> None:
    """Load all modules and run each command once: the first use reads files from the host and compiles."""
    for module in ("scst_nullio", "scst_local", "target_core_mod", "iscsi_target_mod"):
        modprobe(module)
    os.makedirs("/etc/target", exist_ok=True)
    warm = Scale(1, 1)
    command(None, warm)


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.guest.control")
    parser.add_argument("scales", nargs="+", type=Scale.parse)
    parser.add_argument("--rounds", type=int, default=3, help="above 1,000 mappings one less")
    parser.add_argument("--rtslib-seconds", type=float, default=120.0, help="bound per size")
    parser.add_argument("--rtslib-mappings", type=int, default=1000, help="no rtslib above so many mappings")
    options = parser.parse_args(arguments)
    recorder = Recorder()
    prepare()
    for scale in options.scales:
        rounds = options.rounds if scale.mappings <= LARGE else max(1, options.rounds - 1)
        for number in range(rounds):
            ours(recorder, scale, number)
        if scale.mappings <= options.rtslib_mappings:
            rtslib(Timer(recorder, scale, "api", "rtslib", 0), scale, recorder, options.rtslib_seconds)
            recorder.say(f"control, {scale}: rtslib")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
