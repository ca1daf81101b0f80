# SPDX-License-Identifier: GPL-2.0-or-later
"""First process of the test VM.

It is part of the initramfs, together with a Python interpreter and the modules imported below, so that the
machine can be saved to a file when everything slow is over and before any file system of the host is mounted
(QEMU cannot save a machine with a mounted 9p share).

Life: import, say ``READY`` on the second serial port, wait for a line there (a saved machine is resumed at
this point), mount the host's root under an overlay, leave its place to systemd if the job wants that, run the
job found in ``/out/job.json`` and say ``ALIVE`` now and then meanwhile, write ``/out/rc``, say ``DONE``.
Uptimes of these steps are written to ``/out/timing``.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import io
import json
import os
import signal
import socket
import struct
import sys
import termios
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# Imported once, before the machine is saved. A module that is missing is imported later by whoever needs it.
PRELOAD = """
    argparse asyncio base64 configparser contextlib csv ctypes.util dataclasses datetime difflib
    email.parser encodings.idna enum errno fnmatch getpass glob hashlib http.client importlib.metadata
    inspect io itertools json locale logging.handlers mmap multiprocessing pathlib pdb platform pprint
    pty queue random readline resource secrets select selectors shelve shlex shutil socketserver ssl
    statistics string subprocess syslog tarfile tempfile textwrap threading timeit tomllib traceback
    typing unittest.mock uuid xml.etree.ElementTree zipfile zoneinfo _pytest.assertion.rewrite
    _pytest.cacheprovider _pytest.capture _pytest.config _pytest.debugging _pytest.doctest
    _pytest.faulthandler _pytest.fixtures _pytest.junitxml _pytest.logging _pytest.main _pytest.mark
    _pytest.monkeypatch _pytest.nodes _pytest.pastebin _pytest.pathlib _pytest.pytester _pytest.python
    _pytest.python_api _pytest.raises _pytest.recwarn _pytest.runner _pytest.setuponly _pytest.setupplan
    _pytest.skipping _pytest.stepwise _pytest.terminal _pytest.terminalprogress _pytest.threadexception
    _pytest.tmpdir _pytest.unittest _pytest.unraisableexception _pytest.warnings _pytest.subtests
    _pytest.legacypath _pytest.helpconfig _pytest._argcomplete packaging.version faulthandler
    encodings.unicode_escape pytest hypothesis jsonschema pyudev
""".split()

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOATIME, MS_BIND, MS_MOVE = 1, 2, 4, 1024, 4096, 8192
SYSTEMD = "/lib/systemd/systemd"
P9_OPTIONS = "trans=virtio,version=9p2000.L,msize=512000"
NEW_ROOT = "/newroot"

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2); creates the target folder. Raises OSError naming the target."""
    if flags & MS_BIND == 0 or not os.path.exists(target):
        os.makedirs(target, exist_ok=True)
    done = _libc.mount(
        source.encode(), target.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode()
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {fstype} {source}: {os.strerror(number)}", target)


def preload() -> None:
    """Import what most jobs need, so that a resumed machine need not."""
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def open_serial() -> int:
    """Open the control line in raw mode."""
    line = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
    mode = termios.tcgetattr(line)
    mode[0] = mode[1] = mode[3] = 0
    mode[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    mode[4] = mode[5] = termios.B115200
    termios.tcsetattr(line, termios.TCSANOW, mode)
    return line


def wait_for_go(line: int) -> None:
    """Announce readiness and sleep until the host sends a line."""
    os.write(line, b"READY\n")
    while b"\n" not in os.read(line, 64):
        pass


def enter_root(job: dict[str, Any]) -> int:
    """Make the host's root, writable through a tmpfs overlay, the root of this process and its children.

    Returns a descriptor of the repository as the host shares it, read-only.
    """
    mount("host", "/host", "9p", MS_RDONLY | MS_NOATIME, P9_OPTIONS + ",cache=loose")
    mount("tmpfs", "/rw", "tmpfs", 0, "size=50%")
    os.mkdir("/rw/upper")
    os.mkdir("/rw/work")
    # overlayfs refuses a lower folder inside another one; a second mount of the same files is not "inside".
    mount("repo", "/repo", "9p", MS_RDONLY | MS_NOATIME, P9_OPTIONS + ",cache=loose")
    shared = os.open("/repo", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lower = ":".join([*(f"/repo/{layer}" for layer in job["layers"]), "/host"])
    mount("overlay", NEW_ROOT, "overlay", MS_NOATIME, f"lowerdir={lower},upperdir=/rw/upper,workdir=/rw/work")
    for name in ("/dev", "/proc", "/sys"):
        mount(name, NEW_ROOT + name, "", MS_MOVE)
    mount("/out", NEW_ROOT + "/out", "", MS_MOVE)
    mount("/host", NEW_ROOT + "/mnt", "", MS_MOVE)
    os.chdir(NEW_ROOT)
    mount(".", "/", "", MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    return shared


def mount_rest(job: dict[str, Any], shared: int) -> None:
    """The small file systems every job expects, and the repository at the path it has on the host."""
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID, "mode=755")
    os.makedirs("/run/lock", exist_ok=True)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "mode=1777,size=60%")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID)
    mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666")
    mount("debugfs", "/sys/kernel/debug", "debugfs")
    mount("configfs", "/sys/kernel/config", "configfs")
    repo = job["repo"]
    # These two hide what the host has there. A share can be mounted once, so this is that mount again.
    if repo.startswith(("/tmp/", "/run/")):
        mount(f"/proc/self/fd/{shared}", repo, "", MS_BIND)


def write(path: str, text: str) -> None:
    """Write one value to a kernel file."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def set_up_kernel(job: dict[str, Any]) -> None:
    """Clock, names, loopback interface and the job's sysctls."""
    time.clock_settime(time.CLOCK_REALTIME, job["time"])
    socket.sethostname("scst-vm")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 1 | 64)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS
    for name, value in job["sysctl"].items():
        write("/proc/sys/" + name.replace(".", "/"), str(value))


def copy_kernel_log() -> int:
    """Copy the kernel log, from its start, to /out/kernel.log for ever; returns the copier's pid."""
    pid = os.fork()
    if pid:
        return pid
    source = os.open("/dev/kmsg", os.O_RDONLY)
    target = os.open("/out/kernel.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    while True:
        try:
            os.write(target, format_record(os.read(source, 8192)))
        except BrokenPipeError:  # EPIPE: records were overwritten before they were read
            os.write(target, b"<4>[    lost    ] kernel log records lost\n")


def pulse(line: int, seconds: float) -> int:
    """Say ``ALIVE`` every so many seconds for ever, whatever the job does; returns the process's ID."""
    pid = os.fork()
    if pid:
        return pid
    while True:
        os.write(line, b"ALIVE\n")
        time.sleep(seconds)


def format_record(record: bytes) -> bytes:
    """One /dev/kmsg record as ``<level>[seconds] text``, without its dictionary (the further lines)."""
    head, _, body = record.partition(b";")
    text = body.partition(b"\n")[0] + b"\n"
    fields = head.split(b",")
    level, stamp = int(fields[0]) & 7, int(fields[2]) / 1e6
    return b"<%d>[%12.6f] %s" % (level, stamp, text)


def start_udev() -> None:
    """Start the distribution's device manager, without replaying old events."""
    run(["/lib/systemd/systemd-udevd", "--daemon"])


def run(argv: list[str]) -> None:
    """Run a program to its end; a failure is an error of the machine's set-up."""
    status = os.spawnv(os.P_WAIT, argv[0], argv)
    if status != 0:
        raise RuntimeError(f"{argv[0]} failed with status {status} in the VM")


def child(work: Callable[[], int]) -> int:
    """Run *work* in a new session with its output in /out/log; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        log = os.open("/out/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def become_systemd(units: str) -> None:
    """systemd goes on as this process, with the units in that folder and no others; who returns is a child of
    it, and the agent from now on.
    """
    if os.fork() == 0:
        return
    # The host may be a container; this is a machine.
    with contextlib.suppress(FileNotFoundError):
        os.unlink("/.dockerenv")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SYSTEMD_UNIT_PATH": units,
        "SYSTEMD_GENERATOR_PATH": "/nowhere",
        "SYSTEMD_ENVIRONMENT_GENERATOR_PATH": "/nowhere",
    }
    os.execve(
        SYSTEMD, [SYSTEMD, "--unit=scst-test.target", "--log-target=console", "--show-status=no"], environment
    )


def job_work(job: dict[str, Any]) -> Callable[[], int]:
    """What the job's child process does: pytest in this interpreter, or any program."""
    environment, argv = job["env"], job["argv"]

    def run_pytest() -> int:
        import pytest

        sys.path.insert(0, job["repo"])
        return int(pytest.main(argv))

    def run_program() -> NoReturn:
        os.execvp(argv[0], argv)

    def work() -> int:
        os.environ.clear()
        os.environ.update(environment)
        for stream in (sys.stdout, sys.stderr):
            assert isinstance(stream, io.TextIOWrapper)
            stream.reconfigure(encoding="utf-8", line_buffering=True)
        os.chdir(job["repo"])
        return run_pytest() if job["kind"] == "pytest" else run_program()

    return work


def wait_for(pid: int, seconds: float) -> int:
    """Reap children until *pid* ends; after *seconds* dump all blocked tasks and give up with 124."""

    def expired(*_: object) -> NoReturn:
        raise TimeoutError

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        while True:
            done, status = os.wait()
            if done == pid:
                signal.setitimer(signal.ITIMER_REAL, 0)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    except TimeoutError:
        write("/proc/sysrq-trigger", "w")
        write("/proc/sysrq-trigger", "l")
        with open("/out/log", "a", encoding="utf-8") as log:
            log.write(f"\nVM: the job did not end in {seconds:g} s; blocked tasks are in the kernel log\n")
        return 124


def drain_kernel_log(copier: int) -> None:
    """Wait until the copier has written the last record: a marker, looked for in the file."""
    marker = "scst-vm: end of job"
    write("/dev/kmsg", f"<6>{marker}\n")
    for _ in range(200):
        with open("/out/kernel.log", "rb") as log:
            if marker.encode() in log.read()[-4096:]:
                break
        time.sleep(0.01)
    os.kill(copier, signal.SIGKILL)


def uptime() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def serve(marks: dict[str, float], line: int) -> int:
    """Everything after the host said go. Returns the job's exit status."""
    mount("out", "/out", "9p", MS_NOATIME, P9_OPTIONS)
    job: dict[str, Any] = json.loads(Path("/out/job.json").read_text())
    shared = enter_root(job)
    mount_rest(job, shared)
    set_up_kernel(job)
    if job["systemd"]:
        become_systemd(job["systemd"])
    copier = copy_kernel_log()
    if job["udev"]:
        start_udev()
    marks["job"] = uptime()
    heart = pulse(line, job["pulse"]) if job["pulse"] else None
    code = wait_for(child(job_work(job)), job["timeout"])
    marks["end"] = uptime()
    if heart is not None:
        os.kill(heart, signal.SIGKILL)
        os.waitpid(heart, 0)
    drain_kernel_log(copier)
    return code


def main() -> None:
    """See the module's description. Never returns: this is process 1."""
    marks = {"agent": uptime()}
    preload()
    marks["ready"] = uptime()
    line = open_serial()
    wait_for_go(line)
    marks["go"] = uptime()
    try:
        code = serve(marks, line)
        with open("/out/timing", "w", encoding="utf-8") as timing:
            json.dump(marks, timing)
        with open("/out/rc", "w", encoding="utf-8") as result:
            result.write(f"{code}\n")
        os.write(line, b"DONE\n")
    except BaseException:
        text = traceback.format_exc()
        with open("/dev/console", "w", encoding="utf-8") as console:
            console.write(f"VM agent failed:\n{text}")
        os.write(line, b"FAILED\n")
    time.sleep(10)
    write("/proc/sysrq-trigger", "o")
    time.sleep(60)


if __name__ == "__main__":
    main()
