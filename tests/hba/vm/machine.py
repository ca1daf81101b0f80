# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine with emulated HBAs, and the conversation with the shell in it.

QEMU runs as a child process; its devices and its shell are served by the event loop that the test drives, so
a test can change the fabric between two commands, or while one runs in the guest.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..loop import Loop
from .packages import Kernel, Tools

SLOW = float(os.environ.get("SCST_SLOW", "1"))
"""The factor by which the guest is slower than all times here allow for."""
BOOT_TIMEOUT = 120.0
RUN_TIMEOUT = 120.0
BAD_LOG = re.compile(
    r"WARNING: |BUG: |Oops|general protection|Kernel panic|possible circular locking|KASAN|refcount_t|"
    r"hung_task|blocked for more than|Call Trace|list_del corruption|unable to handle|UBSAN: |"
    r"turning off the locking correctness validator|new suspected memory leaks"
)
PRELUDE = f"SLOW={SLOW:.0f}\n. /lib.sh\n"


class Place(Protocol):
    """Where a board is to be found: its server's socket."""

    @property
    def path(self) -> Path:
        """The socket."""


class GuestError(Exception):
    """Something in the guest went wrong; the message has the output or the end of the kernel log."""


@dataclass(slots=True)
class Job:
    """A script running in the guest."""

    script: str
    exit_code: int | None = None
    output: str = ""

    @property
    def done(self) -> bool:
        """It has ended."""
        return self.exit_code is not None


class Machine:
    """A running VM."""

    def __init__(
        self,
        loop: Loop,
        tools: Tools,
        kernel: Kernel,
        archive: bytes,
        endpoints: Sequence[Place],
        *,
        memory: int = 512,
        append: str = "",
        cpus: int = 1,
        more: Sequence[str] = (),
    ) -> None:
        """Start QEMU; ``memory`` in MiB, ``more`` words for its command line."""
        self.loop, self.kernel = loop, kernel
        self._folder = Path(tempfile.mkdtemp(prefix="hba-vm-"))
        self._console = self._folder / "console"
        self._jobs: dict[int, Job] = {}
        self._serial = 0
        self._input = bytearray()
        self._shell: socket.socket | None = None
        self.ready = False
        initrd = self._folder / "initrd"
        initrd.write_bytes(archive)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._folder / "shell"))
        self._listener.listen(1)
        loop.watch(self._listener.fileno(), self._shell_connected)
        command = [*qemu_command(tools, kernel, self._folder, endpoints, memory, append, cpus), *more]
        with (self._folder / "qemu").open("w") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )

    # Guest shell.

    def _shell_connected(self) -> None:
        self._shell, _ = self._listener.accept()
        self.loop.watch(self._shell.fileno(), self._shell_readable)

    def _shell_readable(self) -> None:
        assert self._shell is not None
        with contextlib.suppress(ConnectionError):
            data = self._shell.recv(65536)
            if data:
                self._input += data
                while b"\n" in self._input:
                    line, _, rest = self._input.partition(b"\n")
                    self._input = bytearray(rest)
                    self._line(line.decode(errors="replace").strip())
                return
        self.loop.unwatch(self._shell.fileno())
        self._shell.close()
        self._shell = None

    def _line(self, line: str) -> None:
        if line.endswith("READY"):
            self.ready = True
            return
        words = line.split(" ")
        if len(words) >= 3 and words[0] == "END":
            job = self._jobs.pop(int(words[1]), None)
            if job is not None:
                job.output = base64.b64decode(words[3]).decode(errors="replace") if len(words) > 3 else ""
                job.exit_code = int(words[2])

    # What tests use.

    @property
    def alive(self) -> bool:
        """QEMU runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait for the shell; GuestError with the end of the console if it does not come."""
        timeout *= SLOW
        if not self.loop.run_until(lambda: self.ready or not self.alive, timeout) or not self.ready:
            raise GuestError(f"the guest did not start within {timeout:g} s\n{self._last_words()}")

    def _last_words(self) -> str:
        texts = [
            path.read_text(errors="replace")[-2000:]
            for path in (self._folder / "qemu", self._console)
            if path.exists()
        ]
        return "\n".join(texts)

    def start(self, script: str) -> Job:
        """Run a shell script in the guest and return at once."""
        job = Job(script)
        self._serial += 1
        number = self._serial
        self._jobs[number] = job
        if self._shell is None:
            raise GuestError(f"the guest is not running\n{self._last_words()}")
        text = base64.b64encode((PRELUDE + script).encode()).decode()
        self._shell.setblocking(True)
        self._shell.sendall(f"RUN {number} {text}\n".encode())
        return job

    def finish(self, job: Job, timeout: float = RUN_TIMEOUT) -> str:
        """Wait for a script; its output.  GuestError if it fails or takes too long."""
        timeout *= SLOW
        ended = self.loop.run_until(lambda: job.done or not self.alive, timeout)
        if not ended or not job.done:
            raise GuestError(f"no end within {timeout:g} s of:\n{job.script}\n{self._last_words()}")
        if job.exit_code:
            raise GuestError(
                f"exit code {job.exit_code} of:\n{job.script}\noutput:\n{job.output}\n{self._last_words()}"
            )
        return job.output

    def run(self, script: str, timeout: float = RUN_TIMEOUT) -> str:
        """Run a shell script in the guest to its end; its output.

        GuestError if it fails or takes too long.
        """
        return self.finish(self.start(script), timeout)

    def console(self) -> str:
        """Everything the kernel printed."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    def bad_lines(self) -> list[str]:
        """Lines of the kernel log that no test may cause."""
        return [line for line in self.console().splitlines() if BAD_LOG.search(line)]

    def stop(self) -> None:
        """Power off (kill after some seconds) and clean up."""
        if self._shell is not None and self.alive:
            with contextlib.suppress(OSError):
                self._shell.sendall(b"OFF\n")
            self.loop.run_until(lambda: not self.alive, 10.0)
        self.kill()
        self.loop.unwatch(self._listener.fileno())
        self._listener.close()
        if self._shell is not None:
            self.loop.unwatch(self._shell.fileno())
            self._shell.close()
            self._shell = None

    def kill(self) -> None:
        """End QEMU as a power failure would."""
        if self.alive:
            self._process.kill()
        self._process.wait()

    def clean(self) -> None:
        """Remove the files of the run."""
        for path in self._folder.glob("*"):
            path.unlink()
        self._folder.rmdir()


def qemu_command(
    tools: Tools,
    kernel: Kernel,
    folder: Path,
    endpoints: Sequence[Place],
    memory: int,
    append: str,
    cpus: int,
) -> list[str]:
    """The command line; the HBAs sit in slots 4 and up."""
    # A busy host makes the timer look broken, and the kernel panic over it.
    # norandmaps: see tests/vm/machine.py.
    options = "console=ttyS0 loglevel=7 panic=-1 mitigations=off norandmaps nowatchdog no_timer_check"
    command = [
        # The machine must not outlive this process, however that ends.
        "setpriv",
        "--pdeathsig",
        "KILL",
        *tools.qemu(),
        "-M",
        "pc",
        "-accel",
        "tcg,tb-size=256",
        "-smp",
        str(cpus),
        "-m",
        str(memory),
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-object",
        f"memory-backend-memfd,id=ram,size={memory}M,share=on",
        "-machine",
        "memory-backend=ram",
        "-kernel",
        str(kernel.image),
        "-initrd",
        str(folder / "initrd"),
        "-append",
        f"{options} {append}".strip(),
        "-serial",
        f"file:{folder / 'console'}",
        "-chardev",
        f"socket,id=shell,path={folder / 'shell'}",
        "-device",
        "virtio-serial-pci,addr=3.0",
        "-device",
        "virtserialport,chardev=shell,name=shell",
    ]
    for slot, endpoint in enumerate(endpoints, 4):
        device = {
            "driver": "vfio-user-pci",
            "id": f"hba{slot - 4}",
            "addr": f"{slot:x}.0",
            "socket": {"type": "unix", "path": os.fspath(endpoint.path)},
        }
        command += ["-device", json.dumps(device)]
    return command
