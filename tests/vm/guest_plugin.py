# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin for runs inside the test VM (``python -m tests.vm test`` names it with ``-p``).

Around every test file: load our modules; afterwards nothing may be left in configfs, every object counter
must be zero, every module must unload, the kernel log must be clean, and lockdep, where there is one, must
not have switched itself off. A file chooses its modules with the global ``SCST_MODULES`` (default: the
product's; an empty tuple: none); those made for tests must be named.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.vm import klog, kmodbuild
from tests.vm.guest.long import EACH
from tests.vm.guest.scsi import close_units
from tests.vm.guest.share import of_environment

CONFIGFS = Path("/sys/kernel/config/scst")
OBJECTS = Path("/sys/kernel/debug/scst/objects")
LOCKDEP = Path("/proc/lockdep_stats")
KCSAN = Path("/sys/kernel/debug/kcsan")
RELEASE_SECONDS = 5.0 * float(os.environ.get("SCST_SLOW", "1"))
SHARE = of_environment()
FAILURE_CHARS = 1500  # of a failure that are told at once
# How long a test, its fixtures and what follows may take, each; 0: as long as it likes.
TEST_SECONDS = float(os.environ.get("SCST_TEST_SECONDS", "0"))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run outside the VM: these tests load modules and unplug disks."""
    if os.environ.get("SCST_GUEST") != "1":
        raise pytest.UsageError("these tests run in the VM: make vm TEST=<path>[::<test>]")
    if (wanted := int(os.environ["SCST_CPUS"])) != os.cpu_count():
        raise pytest.UsageError(f"the machine has {os.cpu_count()} CPUs, not {wanted}")
    signal.signal(signal.SIGALRM, expired)
    config.pluginmanager.register(Failures(config))
    # A kernel that has it boots without it, which is quicker.
    if KCSAN.exists():
        KCSAN.write_text("on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the long run, and what is in another share."""
    there = [item for item in items if EACH or not item.get_closest_marker("long")]
    taken = SHARE.taken(item.path.name for item in there)
    kept = [item for item, yes in zip(there, taken, strict=True) if yes]
    if left := set(items).difference(kept):
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = kept


class Failures:
    """Says at once why a test failed: a run that is cut off does not come to its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After the line of the test."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal:
            terminal.write_line(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext[-FAILURE_CHARS:]}")


def command(*argv: str) -> str:
    """Run a program; returns its output. Raises AssertionError with the output when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: status {done.returncode}: {done.stdout.strip()}"
    return done.stdout


def built_modules() -> list[str]:
    """Names of the modules of this build."""
    folder = Path("/lib/modules") / os.uname().release / "updates"
    return sorted(path.stem for path in folder.glob("*.ko"))


# Drivers of hardware that is not in this machine, which are tried elsewhere (tests/hba).
HARDWARE = frozenset(("scst_qla2xxx",))


def product_modules() -> list[str]:
    """Names of those that are no mere tools of tests, and need no hardware."""
    return [name for name in built_modules() if name not in kmodbuild.TEST_MODULES | HARDWARE]


def loaded_modules() -> list[str]:
    """Names of our modules that are loaded, in the order in which they can be unloaded."""
    ours = set(built_modules())
    rows = [line.split() for line in Path("/proc/modules").read_text().splitlines()]
    users = {row[0]: [name for name in row[3].split(",") if name in ours] for row in rows if row[0] in ours}
    order: list[str] = []
    while users:
        free = sorted(name for name, by in users.items() if not any(user in users for user in by))
        assert free, f"modules that use each other: {users}"
        order += free
        users = {name: by for name, by in users.items() if name not in free}
    return order


def processes() -> str:
    """What each program that is running or waiting does in the kernel, a line each."""
    rows = []
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            if words := (folder / "cmdline").read_text().replace("\0", " ").strip():
                stack = re.findall(r"\] (\w+)", (folder / "stack").read_text())
                rows.append(f"{folder.name} {words[:80]}: {' < '.join(stack[:6]) or 'running'}")
    return "\n".join(rows)


def expired(*_: object) -> NoReturn:
    """The time is over for what is running: it fails."""
    Path("/proc/sysrq-trigger").write_text("w")  # tasks that can't be interrupted: to the kernel log
    pytest.fail(f"{running[-1]} did not end in {TEST_SECONDS:g} s; meanwhile:\n{processes()}")


# What has a limit now.
running: list[str] = []


@contextlib.contextmanager
def limited(what: str) -> Iterator[None]:
    """Let what hangs fail, with what everybody is doing, before it costs the results of all others.

    The handler of the signal is always the same, for tests are held to leave such things as they were.
    """
    running.append(what)
    signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        running.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """The fixtures of a test have a limit."""
    with limited(f"setting up {item.name}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """So has a test."""
    with limited(item.name):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """So has what comes after it."""
    with limited(f"tearing down {item.name}"):
        return (yield)


class KernelLog:
    """The kernel log from the moment of creation on."""

    def __init__(self) -> None:
        self._file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._file, 0, os.SEEK_END)
        self.lines: list[str] = []

    def read(self) -> list[str]:
        """All lines so far, as ``<level>[seconds] text``."""
        # A message without a line end is not readable before the next message.
        Path("/dev/kmsg").write_text("<7>scst-vm: reading the log\n")
        while True:
            try:
                record = os.read(self._file, 8192).decode(errors="replace")
            except BlockingIOError:
                return self.lines
            except BrokenPipeError:
                self.lines.append("<4>[    lost    ] kernel log records lost")
                continue
            head, _, body = record.partition(";")
            fields = head.split(",")
            self.lines.append(f"<{int(fields[0]) & 7}>[{int(fields[2]) / 1e6:12.6f}] {body.splitlines()[0]}")

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


def counters() -> dict[str, int]:
    """Live objects of the core by kind, empty when the core is not loaded."""
    if not OBJECTS.exists():
        return {}
    rows = [line.split() for line in OBJECTS.read_text().splitlines() if line.strip()]
    return {row[0]: int(row[1]) for row in rows}


def leaked_counters() -> dict[str, int]:
    """Counters that do not reach zero. Objects are freed after grace periods, for which time is allowed."""
    end = time.monotonic() + RELEASE_SECONDS
    while any(counters().values()) and time.monotonic() < end:
        time.sleep(0.05)
    return {name: count for name, count in counters().items() if count}


def configured() -> list[str]:
    """Objects made by users in configfs: devices, targets and what is below them, faults, portals, users."""
    roots = [path for pattern in ("devices/*", "targets/*", "drivers/*/*") for path in CONFIGFS.glob(pattern)]
    roots += [CONFIGFS / "alua", CONFIGFS / "faults"]
    return sorted(str(path) for root in roots if root.is_dir() for path in root.iterdir() if path.is_dir())


def wipe() -> None:
    """Remove everything from configfs, children first, so that one bad file does not spoil the next.

    Links go before all else: what they lead to is in use as long, and each kernel lists folders in an order
    of its own.
    """
    for remove in (Path.unlink, Path.rmdir):
        for folder, names, files in os.walk(CONFIGFS, topdown=False):
            for name in (*names, *files):
                path = Path(folder, name)
                if path.is_symlink() == (remove is Path.unlink):
                    with contextlib.suppress(OSError):  # a file, or a folder that the kernel owns
                        remove(path)


def unload() -> list[str]:
    """Unload our modules; returns what went wrong."""
    problems = []
    for name in loaded_modules():
        done = subprocess.run(["rmmod", name], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            problems.append(f"rmmod {name}: {done.stderr.strip()}")
    return problems


def lockdep_is_blind() -> bool:
    """Has the kernel's checker of locks switched itself off, as it does at its first report?"""
    return LOCKDEP.exists() and re.search(r"debug_locks:\s+0", LOCKDEP.read_text()) is not None


def left_behind() -> list[str]:
    """Check and clean up after a test file; returns what it left."""
    problems = []
    close_units()
    if objects := configured():
        problems.append(f"left in configfs: {', '.join(objects)}")
        wipe()
    if leaked := leaked_counters():
        problems.append(f"live objects: {leaked}")
    return problems + unload()


@pytest.fixture(scope="module")
def kernel_log() -> Iterator[KernelLog]:
    """The kernel log since the start of this test file."""
    log = KernelLog()
    yield log
    log.close()


@pytest.fixture(scope="module", autouse=True)
def scst_modules(request: pytest.FixtureRequest, kernel_log: KernelLog) -> Iterator[tuple[str, ...]]:
    """Load the modules a test file wants; afterwards check that nothing remains or was reported."""
    names: tuple[str, ...] = tuple(getattr(request.module, "SCST_MODULES", product_modules()))
    for name in names:
        command("modprobe", name)
    yield names
    problems = left_behind()
    lines = kernel_log.read()
    if faults := klog.find_faults(lines):
        problems.append(klog.describe(lines, faults))
    if lockdep_is_blind():
        problems.append("lockdep is off: whatever came after its report was not checked")
    if problems:
        pytest.fail("after this file's tests:\n" + "\n".join(problems), pytrace=False)


@dataclass(slots=True)
class PluggedDisk:
    """A virtio disk of the VM that can be pulled and put back. *slot* is its PCI address."""

    serial: str
    slot: str

    @property
    def node(self) -> Path:
        """Its device node now; the name may change when it comes back. LookupError while unplugged."""
        for serial in Path("/sys/block").glob("vd*/serial"):
            node = Path("/dev", serial.parent.name)
            if serial.read_text().strip() == self.serial and node.exists():
                return node
        raise LookupError(f"disk {self.serial} is not there")

    def unplug(self) -> None:
        """Remove the disk from the bus; returns when the kernel has removed it."""
        Path("/sys/bus/pci/devices", self.slot, "remove").write_text("1")

    def plug(self) -> None:
        """Let the bus find the disk again; returns when its driver has bound."""
        Path("/sys/bus/pci/rescan").write_text("1")


def find_disks() -> dict[str, PluggedDisk]:
    """The VM's disks by serial."""
    found = {}
    for file in sorted(Path("/sys/block").glob("vd*/serial")):
        slot = file.parent.resolve().parents[2].name
        serial = file.read_text().strip()
        found[serial] = PluggedDisk(serial, slot)
    return found


@pytest.fixture(scope="module")
def disks() -> Iterator[dict[str, PluggedDisk]]:
    """The VM's disks by serial, all plugged in; those a test pulled are put back."""
    found = find_disks()
    yield found
    if set(find_disks()) != set(found):
        Path("/sys/bus/pci/rescan").write_text("1")


@pytest.fixture
def out_dir() -> Path:
    """Folder whose content is kept on the host beside the logs."""
    return Path(os.environ["SCST_OUT"])
