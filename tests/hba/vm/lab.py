# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test in VMs works with: beds, machines and their cleaning-up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..boards import TestBed
from ..fc.disk import RamDisk
from ..fc.media import AnyMedium, ArbitratedLoop
from ..fc.scripted import ScriptedTarget
from ..isp.chip import Chip
from ..loop import Loop
from ..trace import PcapTrace, TextTrace
from . import initramfs
from .machine import Machine, Place
from .packages import KERNEL_ROOT, Kernel, SetupError, Tools

TARGET_WWPN = 0x5006016000000001
DISK_SIZE = 64 << 20
REPO = Path(__file__).resolve().parents[3]
OURS = "scst-"
"""How the names of scenarios begin that run the project's own modules."""


class CheckFailed(Exception):
    """A test found something other than expected; the message says what."""


def check(condition: bool, text: str) -> None:
    """CheckFailed with a text unless the condition holds."""
    if not condition:
        raise CheckFailed(text)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long, and with which seed, a scenario at random goes on."""

    seconds: float = 20.0
    seed: int = 1


class Lab:
    """One test's world: a loop, a bed with boards, machines."""

    def __init__(
        self,
        tools: Tools,
        kernel: Kernel,
        archive: bytes,
        record: Path | None = None,
        effort: Effort | None = None,
    ) -> None:
        """``record``: path without suffix for ``.txt`` and ``.pcapng`` records."""
        self.loop = Loop()
        self.effort = effort or Effort()
        self.tools, self.kernel, self._archive = tools, kernel, archive
        self._files = []
        tracer = None
        if record is not None:
            text = record.with_name(record.name + ".txt").open("w")
            self._files.append(text)
            tracer = TextTrace(text)
        self.bed = TestBed(self.loop, tracer=tracer)
        if record is not None:
            dump = record.with_name(record.name + ".pcapng").open("wb")
            self._files.append(dump)  # type: ignore[arg-type]
            self.bed.medium.wire.sink = PcapTrace(dump)
        self.machines: list[Machine] = []
        self.started = time.monotonic()

    @property
    def medium(self) -> AnyMedium:
        """The switch, or the loop."""
        return self.bed.medium

    def use_loop(self) -> None:
        """A loop instead of the switch; before the first board."""
        sink = self.bed.medium.wire.sink
        self.bed.medium = ArbitratedLoop(self.loop)
        self.bed.medium.wire.sink = sink

    def board(self, model: str, **settings: str | int) -> Chip:
        """One more board."""
        return self.bed.add_board(model, **settings)  # type: ignore[arg-type]

    def target(self, disks: int = 1, wwpn: int = TARGET_WWPN, size: int = DISK_SIZE) -> ScriptedTarget:
        """A scripted target port with RAM disks, online."""
        units = {lun: RamDisk(size, f"HBA{lun:04d}") for lun in range(disks)}
        target = ScriptedTarget(self.loop, self.bed.medium, wwpn, units)
        target.plug()
        return target

    def boot(
        self,
        endpoints: Sequence[Place] | None = None,
        *,
        memory: int = 512,
        append: str = "",
        cpus: int = 1,
        more: Sequence[str] = (),
        files: bytes = b"",
    ) -> Machine:
        """Boot a machine with the bed's boards (or some of them) and wait for its shell.

        ``more`` words for QEMU, and another archive of ``files`` for the guest's root.
        """
        boards = self.bed.endpoints if endpoints is None else endpoints
        if KERNEL_ROOT:
            memory *= 2  # checkers want as much again
        machine = Machine(
            self.loop,
            self.tools,
            self.kernel,
            self._archive + files,
            boards,
            memory=memory,
            append=append,
            cpus=cpus,
            more=more,
        )
        self.machines.append(machine)
        machine.wait_ready()
        return machine

    def close(self, *, keep: bool) -> None:
        """Stop everything; ``keep``: leave consoles on disk."""
        for machine in self.machines:
            machine.stop()
            if not keep:
                machine.clean()
        self.bed.close()
        for file in self._files:
            file.close()
        self.loop.close()


def own_modules(kernel: Kernel) -> list[Path]:
    """The project's modules for a kernel, if they have been built (``make modules``)."""
    layer = REPO / "build/kmod" / kernel.release / "layer/usr/lib/modules" / kernel.release / "updates"
    return sorted(layer.glob("scst*.ko"))


def build_own(kernel: Kernel, scenarios: Sequence[str]) -> None:
    """Build the project's modules if a scenario needs them and the kernel's headers are installed."""
    if not any(name.startswith(OURS) for name in scenarios):
        return
    if any((top / "lib/modules" / kernel.release / "build").exists() for top in (Path("/"), kernel.root)):
        subprocess.run([sys.executable, "-m", "tests.vm", "build", "--tested"], cwd=REPO, check=True)
    elif not own_modules(kernel):
        raise SetupError(
            f"no modules for {kernel.release} in build/kmod: python -m tests.vm.kernels makes them"
        )


def make_archive(tools: Tools, kernel: Kernel) -> bytes:
    """The initial RAM disk all tests of a kernel share."""
    return initramfs.build(tools, kernel, extra=own_modules(kernel))
