# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one part of the measurements in the VM and brings its samples back."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import counts
from bench.hostload import watched
from bench.samples import Sample, read_samples

REPO = Path(__file__).resolve().parents[1]
# With instruction counting the guest's clock runs far ahead while it waits for the host, so it is no bound.
GUEST_SECONDS = 1_000_000
# Physical memory ends below this.
MEMORY_MIB = 8192
# For the kernel. The machine's own words mean that there shall be no security module, but where AppArmor is
# told to stay away SELinux comes in its stead, which looks at each packet: what Debian has is AppArmor.
NETWORKED = "apparmor=1"


class PartFailed(RuntimeError):
    """A part of the measurements did not come to its end; its output has been shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """A program of the package in a VM of its own; *seconds* bounds it, in the host's time.

    *icount*: one CPU, and a nanosecond of the guest is one instruction. *counted*: what a plugin of the
    emulator counts, see `bench.counts`. *qemu*: more words for QEMU; *append*: for the kernel. *read*: makes
    samples of what the run has left.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    icount: bool = False
    seconds: int = 1800
    cpus: int = 2
    counted: str = ""
    qemu: tuple[str, ...] = ()
    append: str = ""
    read: Callable[[Path], list[Sample]] = read_samples


def command(part: Part, out: Path) -> list[str]:
    """How the part is started on the host."""
    mode = ["--icount"] if part.icount else ["--fresh", "--cpus", str(part.cpus)]
    qemu = list(part.qemu)
    if part.counted:
        qemu += counts.arguments(counts.PLUGIN, out / counts.COUNTS, part.counted, MEMORY_MIB)
    if qemu:
        mode += ["--qemu", " ".join(qemu)]
    return [
        sys.executable,
        "-m",
        "tests.vm",
        "run",
        *mode,
        "--append",
        f"nowatchdog {part.append}".strip(),
        "--timeout",
        str(GUEST_SECONDS),
        "--out",
        str(out),
        "--",
        "python",
        "-m",
        part.module,
        *part.arguments,
    ]


def run(part: Part) -> Path:
    """Run a part; returns the folder with what it left. Raises PartFailed."""
    runs = REPO / "build/bench"
    runs.mkdir(parents=True, exist_ok=True)
    out = Path(tempfile.mkdtemp(prefix=f"{part.name}-", dir=runs))
    if part.counted:
        counts.build()
    with watched(out / "hostload"):
        status = wait(subprocess.Popen(command(part, out), cwd=REPO), part.seconds)
    if status is None:
        raise PartFailed(f"{part.name}: no end after {part.seconds} s; see {out}")
    if status:
        raise PartFailed(f"{part.name}: the VM ended with status {status}; see {out}")
    return out


def wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Status of a child that ends in time, else None; either way it has ended, and its VM with it."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait()


def measure(parts: Sequence[Part]) -> list[Sample]:
    """Samples of all parts, one VM after the other."""
    samples: list[Sample] = []
    for part in parts:
        print(f"bench: {part.name}", flush=True)
        samples += part.read(run(part))
    return samples
