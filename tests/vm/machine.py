# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one job in a virtual machine: a distribution kernel under QEMU's software emulation.

A machine is booted once and saved when ``agent.py`` has done everything that needs no file of the host; each
run resumes a private copy of that state (RAM is mapped copy-on-write from the saved file). A machine that
cannot be resumed - with instruction counting, or on request - is booted for the run. Both follow the same
protocol with the agent, described there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.vm import bootimage, klog, kmodbuild

REPO = Path(__file__).resolve().parents[2]
PYTHON = REPO / ".venv" / "bin" / "python"
# A kernel that is not installed is one with checkers: these run before the agent does, too.
BOOT_SECONDS = 180 if str(kmodbuild.KERNEL_ROOT) == "/" else 900
# The agent ends a job that takes too long by its own clock; that of a machine need not go as the host's does.
ANSWER_SECONDS, CLOCKS_DIFFER = 60, 1.2
TIMED_OUT = 124  # the agent's word for such a job
# The agent says that it lives this often, whatever the job does; one that has not for so long never will.
PULSE_SECONDS = 10
SILENCE_SECONDS = 300 if str(kmodbuild.KERNEL_ROOT) == "/" else 900
KEPT_STATES = 6
FIRST_FAULTS = 3  # lines shown of what the console's last part does not reach

# norandmaps: QEMU keeps what it has translated of a page for each address that the page was run at. A page
# of a library that a thousand programs ran at a thousand addresses has a list of a hundred thousand pieces,
# which each store to it walks through when it is freed and cleared: that took minutes, like a lockup.
CMDLINE = (
    "console=ttyS0 loglevel=5 log_buf_len=16M panic=-1 panic_print=0x40 oops=panic mitigations=off nokaslr "
    "norandmaps "
    "audit=0 selinux=0 apparmor=0 net.ifnames=0 clocksource=tsc tsc=reliable no_timer_check "
    "cryptomgr.notests random.trust_cpu=on 8250.nr_uarts=2 raid=noautodetect modprobe.blacklist=evbug "
    "rcupdate.rcu_cpu_stall_timeout=60 workqueue.watchdog_thresh=60"
)
# A machine that got no time of its host for 20 s would be told that its CPUs were locked up, for its clock
# goes on. What is locked up for ever is found a little later, and what takes 20 s here takes one elsewhere.
SYSCTL: dict[str, int] = {
    "kernel.watchdog_thresh": 30,  # a lockup is twice that
    "kernel.hung_task_timeout_secs": 30,
    "kernel.hung_task_warnings": -1,
    "kernel.panic_on_oops": 1,
    "kernel.unknown_nmi_panic": 1,  # how a machine that gives no sign is asked where its CPUs are
    "kernel.sysrq": 511,
    "kernel.printk_ratelimit": 0,
}
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MachineError(RuntimeError):
    """The machine did not do its part (as opposed to: the job failed in it)."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio-blk disk of the machine, zero-filled at every start."""

    serial: str
    size_mib: int


DISKS = (Disk("vm-disk-a", 64), Disk("vm-disk-b", 64), Disk("vm-disk-c", 64))


@dataclass(frozen=True, slots=True)
class Machine:
    """What is booted. All of it is part of a saved state's identity."""

    release: str
    cpus: int = 2
    memory_mib: int = 3072
    icount: bool = False
    disks: tuple[Disk, ...] = DISKS
    append: str = ""
    qemu_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What is run in the machine: ``pytest`` arguments, or a program (kind ``program``). Times in seconds.

    *layers* are folders of the repository, relative to it, that lie over the machine's root. *systemd*: where
    its units are in the machine, if it is to be the first process there.
    """

    kind: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    timeout: float = 600
    silence: float = SILENCE_SECONDS
    udev: bool = False
    systemd: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Exit status of the job (or TIMED_OUT) and the times from start to go, to the job, and to its end."""

    status: int
    out: Path
    wall: float
    timing: dict[str, float]


def cache_dir() -> Path:
    """Folder of everything that is made once: $SCST_CACHE, by default ~/.cache/scst."""
    path = Path(os.environ.get("SCST_CACHE") or Path.home() / ".cache" / "scst")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, so that parallel runs make a cached thing once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Qmp:
    """A QEMU monitor connection."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command; events are dropped meanwhile. Raises MachineError with QEMU's words."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise MachineError(f"QEMU: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise MachineError(f"QEMU ended during {command}")

    def wait_migration(self, seconds: float = 60) -> None:
        """Wait until a save or a resume is complete."""
        end = time.monotonic() + seconds
        while (state := self.execute("query-migrate").get("status")) != "completed":
            if state in ("failed", "cancelled") or time.monotonic() > end:
                raise MachineError(f"QEMU: saving or resuming the machine: {state}")
            time.sleep(0.005)

    def monitor(self, command: str) -> str:
        """Run a command of QEMU's monitor for people; returns what it printed."""
        return str(self.execute("human-monitor-command", **{"command-line": command}))

    def limit(self, seconds: float) -> None:
        """Let no answer take longer from now on: TimeoutError then."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()


class Process:
    """A running QEMU with its control line (second serial port) and monitor."""

    def __init__(
        self, machine: Machine, boot: Boot, out: Path, ram: Path | None, share: bool, wait: bool
    ) -> None:
        self.out = out
        self._words = b""
        self._folder = Path(tempfile.mkdtemp(prefix="scst-vm-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / "line"))
        self._listener.listen(1)
        command = qemu_command(machine, boot, out, self._folder)
        command += memory_args(machine, ram, share)
        command += ["-incoming", "defer"] if wait else []
        with (out / "qemu.log").open("ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.line = self._accept()
            self.qmp = self._monitor()
        except BaseException:
            self.stop()
            raise

    def _accept(self) -> socket.socket:
        self._listener.settimeout(0.05)
        for _ in range(400):
            try:
                return self._listener.accept()[0]
            except TimeoutError:
                self.check()
        raise MachineError("QEMU did not open the control line within 20 s")

    def _monitor(self) -> Qmp:
        for _ in range(2000):
            self.check()
            try:
                return Qmp(self._folder / "qmp")
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.01)
        raise MachineError("QEMU did not open its monitor within 20 s")

    def alive(self) -> bool:
        """Is QEMU still there?"""
        return self._child.poll() is None

    def check(self) -> None:
        """Raise MachineError with QEMU's last words if it has ended."""
        if not self.alive():
            words = tail(self.out / "qemu.log") + console(self.out)
            raise MachineError(f"QEMU ended with status {self._child.returncode}; last lines:\n{words}")

    def wait_line(self, seconds: float) -> str | None:
        """Next line from the agent, or None when none came within the time."""
        if b"\n" not in self._words and select.select([self.line], [], [], seconds)[0]:
            self._words += self.line.recv(64)
        line, end, rest = self._words.partition(b"\n")
        if not end:
            return None
        self._words = rest
        return line.decode(errors="replace").strip()

    def wait_ready(self) -> None:
        """Wait until the agent of a booting machine is ready."""
        end = time.monotonic() + BOOT_SECONDS
        while self.wait_line(0.2) != "READY":
            self.check()
            if time.monotonic() > end:
                raise MachineError(f"no agent after {BOOT_SECONDS} s; console:\n{console(self.out)}")

    def threads(self) -> str:
        """QEMU's threads: name, state, and the share of the last second that each was running."""
        tasks = Path(f"/proc/{self._child.pid}/task")

        def ticks() -> dict[str, tuple[str, str, int]]:
            found = {}
            for file in tasks.glob("*/stat"):
                with contextlib.suppress(OSError):
                    name, _, rest = file.read_text().partition("(")[2].rpartition(")")
                    fields = rest.split()
                    found[file.parent.name] = name, fields[0], int(fields[11]) + int(fields[12])
            return found

        before = ticks()
        time.sleep(1)
        rows = [(*now, before.get(number, now)[2]) for number, now in sorted(ticks().items())]
        return ", ".join(f"{name} {state} {now - then} %" for name, state, now, then in rows)

    def last_words(self) -> str:
        """Why a machine gives no sign of life, as far as QEMU and its kernel can say; the machine is ended.

        The kernel is asked by an NMI, which comes through where interrupts are off; it panics, see SYSCTL.
        """
        said = [f"QEMU's threads: {self.threads()}"]
        try:
            self.qmp.limit(20)
            registers = self.qmp.monitor("info registers -a")
            said.append("registers: " + ", ".join(re.findall(r"CPU#\d+|R[IS]P=\w+|RFL=\w+", registers)))
            self.qmp.execute("inject-nmi")
            self._child.wait(20)
        except (OSError, MachineError, subprocess.TimeoutExpired) as error:
            said.append(f"asked by an NMI: {error}")
        shown = console(self.out, 32000)
        wrote = tail(self.out / "log", 200).splitlines()[-1:]
        return "\n".join(["console:", shown, *said, *klog.stacks(shown.splitlines()), "job:", *wrote])

    def stop(self) -> None:
        """End QEMU and remove its sockets."""
        self._child.kill()
        self._child.wait()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def tail(path: Path, size: int = 8000) -> str:
    """Last part of a text file; empty if there is none."""
    return path.read_bytes()[-size:].decode(errors="replace") if path.exists() else ""


def console(out: Path, size: int = 8000) -> str:
    """Last part of a machine's console, and the lines before it with which its kernel's trouble began."""
    log = out / "console.log"
    last, faults = tail(log, size), klog.find_faults(tail(log, sys.maxsize).splitlines())
    before = [fault.text for fault in faults if fault.text not in last][:FIRST_FAULTS]
    return "\n".join([*before, *(["..."] if before else []), last])


@dataclass(frozen=True, slots=True)
class Boot:
    """Kernel and initramfs to boot, with a fingerprint."""

    kernel: Path
    initramfs: Path
    key: str


def prepare_boot(machine: Machine) -> Boot:
    """Make kernel and initramfs for the machine, or take them from the cache."""
    bzimage = kmodbuild.KERNEL_ROOT / "boot" / f"vmlinuz-{machine.release}"
    if not bzimage.exists():
        installed = sorted(path.name for path in bzimage.parent.glob("vmlinuz-*"))
        raise MachineError(f"{bzimage}: no such kernel; installed: {', '.join(installed)}")
    key = bootimage.digest(
        bzimage,
        bootimage.HERE / "agent.py",
        bootimage.HERE / "bootimage.py",
        PYTHON.resolve(),
        REPO / ".venv" / "pyvenv.cfg",
        *sorted((REPO / ".venv").glob("lib/python*/site-packages")),
    )
    folder = cache_dir() / "boot" / key
    boot = Boot(folder / "vmlinux", folder / "initramfs", key)
    with locked(cache_dir() / "boot" / "lock"):
        if not boot.initramfs.exists():
            folder.mkdir(parents=True, exist_ok=True)
            if str(kmodbuild.KERNEL_ROOT) == "/":
                bootimage.unpack_kernel(bzimage, boot.kernel)
            else:
                # KASAN checks a memcmp() at the PVH entry against shadow memory that is not there yet.
                shutil.copyfile(bzimage, boot.kernel)
            bootimage.build_initramfs(machine.release, PYTHON, boot.initramfs)
            prune(cache_dir() / "boot", KEPT_STATES)
    return boot


def prune(folder: Path, keep: int) -> None:
    """Remove all but the *keep* youngest folders."""
    entries = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for path in entries[:-keep]:
        remove(path)


def remove(folder: Path) -> None:
    """Remove a folder; one that somebody else is removing as well is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def qemu_command(machine: Machine, boot: Boot, out: Path, sockets: Path) -> list[str]:
    """The QEMU command line without the memory."""
    command = [
        "qemu-system-x86_64",
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
        "-no-hpet",
        "-no-user-config",
        "-kernel",
        str(boot.kernel),
        "-initrd",
        str(boot.initramfs),
        "-append",
        f"{CMDLINE} {machine.append}".strip(),
        "-serial",
        f"file:{out / 'console.log'}",
        "-chardev",
        f"socket,id=line,path={sockets / 'line'}",
        "-serial",
        "chardev:line",
        "-qmp",
        f"unix:{sockets / 'qmp'},server=on,wait=off",
    ]
    command += cpu_args(machine)
    command += (
        share_args("host", Path("/"), True) + share_args("repo", REPO, True) + share_args("out", out, False)
    )
    for number, disk in enumerate(machine.disks):
        command += disk_args(number, disk, sockets)
    return [*command, *machine.qemu_args]


# erms and fsrm say that `rep movsb` and `rep stosb` are fast. Here each byte is a step of the emulator's, and
# an instruction where those are counted; without them the kernel moves words.
CPU_MODEL = "max,la57=off,erms=off,fsrm=off"


def cpu_args(machine: Machine) -> list[str]:
    """Processor model and emulation mode."""
    if machine.icount:
        accelerator = ["-smp", "1", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    else:
        accelerator = ["-smp", topology(machine.cpus), "-accel", "tcg,thread=multi"]
    return ["-cpu", CPU_MODEL, *accelerator]


def topology(cpus: int) -> str:
    """QEMU's word for so many CPUs. Debug kernels have no ACPI, and an MP table names one of each package."""
    return str(cpus) if str(kmodbuild.KERNEL_ROOT) == "/" else f"{cpus},sockets={cpus}"


def memory_args(machine: Machine, ram: Path | None, share: bool) -> list[str]:
    """Anonymous memory, or a file that is written (share) or mapped copy-on-write."""
    size = f"{machine.memory_mib}M"
    if ram is None:
        return ["-M", "pc", "-m", size]
    backend = f"memory-backend-file,id=ram,size={size},mem-path={ram},share={'on' if share else 'off'}"
    return ["-object", backend, "-M", "pc,memory-backend=ram", "-m", size]


def share_args(tag: str, path: Path, read_only: bool) -> list[str]:
    """A folder of the host for the guest, over 9p."""
    mode = "readonly=on" if read_only else "readonly=off"
    return [
        "-fsdev",
        f"local,id={tag},path={path},security_model=none,multidevs=remap,{mode}",
        "-device",
        f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]


def disk_args(number: int, disk: Disk, folder: Path) -> list[str]:
    """A disk backed by a sparse temporary file."""
    file = folder / f"{disk.serial}.img"
    with file.open("wb") as image:
        image.truncate(disk.size_mib << 20)
    return [
        "-drive",
        f"file={file},format=raw,if=none,id=disk{number},cache=unsafe,discard=unmap",
        "-device",
        f"virtio-blk-pci,drive=disk{number},serial={disk.serial}",
    ]


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved machine."""

    ram: Path
    state: Path


def state_key(machine: Machine, boot: Boot) -> str:
    """Fingerprint of a saved machine; a new start of the host asks for a new one (the TSC may differ)."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    qemu = Path(shutil.which("qemu-system-x86_64") or "/usr/bin/qemu-system-x86_64").resolve()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            word.replace(folder, "") for word in qemu_command(machine, boot, Path(folder), Path(folder))
        ]
    return bootimage.digest(asdict(machine), boot.key, boot_id, qemu, command)


def saved_machine(machine: Machine, boot: Boot) -> Saved:
    """Boot and save the machine, or take it from the cache."""
    states = cache_dir() / "states"
    folder = states / state_key(machine, boot)
    saved = Saved(folder / "ram", folder / "state")
    with locked(states / "lock"):
        if saved.state.exists():
            os.utime(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            save_machine(machine, boot, saved, folder)
            prune(states, KEPT_STATES)
    return saved


def save_machine(machine: Machine, boot: Boot, saved: Saved, folder: Path) -> None:
    """Boot the machine, stop it at the agent's READY and write its state."""
    saved.ram.unlink(missing_ok=True)
    process = Process(machine, boot, folder, saved.ram, share=True, wait=False)
    try:
        process.wait_ready()
        part = saved.state.with_suffix(".part")
        process.qmp.execute("stop")
        process.qmp.execute("migrate-set-capabilities", capabilities=[IGNORE_SHARED])
        process.qmp.execute("migrate", uri=f"exec:cat > '{part}'")
        process.qmp.wait_migration()
    finally:
        process.stop()
    part.rename(saved.state)


IGNORE_SHARED = {"capability": "x-ignore-shared", "state": True}


def resumed(machine: Machine, boot: Boot, out: Path) -> Process:
    """A machine at the agent's READY, from its saved state."""
    saved = saved_machine(machine, boot)
    process = Process(machine, boot, out, saved.ram, share=False, wait=True)
    try:
        process.qmp.execute("migrate-set-capabilities", capabilities=[IGNORE_SHARED])
        process.qmp.execute("migrate-incoming", uri=f"exec:cat '{saved.state}'")
        process.qmp.wait_migration()
        process.qmp.execute("cont")
    except BaseException:
        process.stop()
        raise
    return process


def booted(machine: Machine, boot: Boot, out: Path) -> Process:
    """A machine at the agent's READY, booted for this run."""
    process = Process(machine, boot, out, None, share=False, wait=False)
    try:
        process.wait_ready()
    except BaseException:
        process.stop()
        raise
    return process


def run(machine: Machine, job: Job, out: Path, *, fresh: bool = False, echo: bool = True) -> Result:
    """Run a job in a machine. Its output goes to ``out/log`` and, with *echo*, to standard output.

    *out* gets ``log``, ``kernel.log``, ``console.log``, ``qemu.log``, ``rc``, ``timing`` and whatever the job
    writes to /out. Raises MachineError when the machine fails; a job that fails or times out is a Result.
    """
    start = time.monotonic()
    write_job(machine, job, out)
    compile_python()
    boot = prepare_boot(machine)
    process = (booted if fresh or machine.icount else resumed)(machine, boot, out)
    try:
        process.line.sendall(b"GO\n")
        silence = None if machine.icount else job.silence
        follow(
            process,
            job.timeout * CLOCKS_DIFFER + ANSWER_SECONDS,
            silence,
            Echo(out / "log") if echo else None,
        )
    finally:
        process.stop()
    if not (out / "rc").exists():
        raise MachineError(f"the VM ended without a result; console:\n{console(out)}")
    timing = json.loads((out / "timing").read_text())
    return Result(int((out / "rc").read_text()), out, time.monotonic() - start, timing)


def compile_python() -> None:
    """Programs in the guest cannot keep the byte code that they make: to make it is most of their start."""
    command = [
        str(PYTHON),
        "-m",
        "compileall",
        "-q",
        *(str(REPO / name) for name in ("pyscstadmin", "tests")),
    ]
    subprocess.run(command, check=False)  # what is no Python is found by whoever runs it


def write_job(machine: Machine, job: Job, out: Path) -> None:
    """Describe the job for the agent, and remove an earlier run's results."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("rc", "timing", "log", "kernel.log", "console.log", "qemu.log"):
        (out / name).unlink(missing_ok=True)
    environment = {
        "PATH": f"{PYTHON.parent}:{GUEST_PATH}",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SCST_GUEST": "1",
        "SCST_OUT": "/out",
        "SCST_CPUS": "1" if machine.icount else str(machine.cpus),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    document = asdict(job) | {
        "env": environment | job.env,
        "repo": str(REPO),
        "time": time.time(),
        "sysctl": SYSCTL,
        "pulse": 0 if machine.icount else PULSE_SECONDS,  # each instruction counts there
    }
    (out / "job.json").write_text(json.dumps(document))


class Echo:
    """Copies what is appended to a file to standard output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def copy(self) -> None:
        """Copy what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        sys.stdout.write(data.decode(errors="replace"))
        sys.stdout.flush()


def follow(process: Process, seconds: float, silence: float | None, echo: Echo | None) -> None:
    """Wait for the agent's last word, for QEMU's end, or for the time to run out.

    Raises MachineError when that takes longer than *seconds*, or no word at all came for *silence* seconds.
    """
    now = time.monotonic()
    end, heard = now + seconds, now
    while now < end and (silence is None or now < heard + silence):
        word = process.wait_line(0.05)
        now = time.monotonic()
        if echo is not None:
            echo.copy()
        if word in ("DONE", "FAILED") or not process.alive():
            return
        if word is not None:
            heard = now
    raise MachineError(
        f"no end after {now - end + seconds:.0f} s, no sign of life from the VM for {now - heard:.0f} s\n"
        + process.last_words()
    )
