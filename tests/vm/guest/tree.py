# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration by plain writes to configfs, and the views of it in /sys/class/scst.

One object per directory; methods are single file operations and raise the OSError of the kernel.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyscstadmin.config.spelling import canonical
from tests.vm.guest.pulse import pulse

ROOT = Path("/sys/kernel/config/scst")
CLASS = Path("/sys/class/scst")
DEBUG = Path("/sys/kernel/debug/scst")
# By how much this machine is slower than limits allow for; and when who waits for what has none gives up.
SLOW = float(os.environ.get("SCST_SLOW", "1"))
GIVE_UP = 10.0 * SLOW


def read(path: Path) -> str:
    """A value without its newline. The text must end in exactly one."""
    text = path.read_text()
    assert text.endswith("\n"), f"{path}: {text!r} does not end in a newline"
    return text[:-1]


def read_table(path: Path) -> str:
    """A value of any length. A table that grows answers EAGAIN, which :meth:`Path.read_text` takes badly."""
    chunks = []
    file = os.open(path, os.O_RDONLY)
    try:
        while chunk := os.read(file, 1 << 20):
            chunks.append(chunk)
    finally:
        os.close(file)
    return b"".join(chunks).decode()


def write(path: Path, value: object) -> None:
    """Write a value in one system call; booleans as 0 and 1."""
    data = (
        value if isinstance(value, bytes) else str(int(value) if isinstance(value, bool) else value).encode()
    )
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def errno_of(action: Callable[[], object]) -> int:
    """The errno an operation fails with, 0 if it succeeds."""
    try:
        action()
    except OSError as error:
        return error.errno or -1
    return 0


def wait_for(what: str, condition: Callable[[], bool], seconds: float = GIVE_UP) -> None:
    """Poll until something that happens by itself has happened. Raises AssertionError after *seconds*."""
    end = pulse.time() + seconds
    while not condition():
        assert pulse.time() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def wait_objects(wanted: dict[str, int]) -> None:
    """Until the core has as many objects as it had: what is given up is freed after a grace period."""
    wait_for(f"objects {wanted}", lambda: objects() == wanted)


def wait_one(what: str, find: Callable[[], Iterable[Path]], seconds: float = GIVE_UP) -> Path:
    """The first that is found, as soon as there is one: asked again, it may be gone."""
    found: list[Path] = []

    def look() -> bool:
        found.extend(find())
        return bool(found)

    wait_for(what, look, seconds)
    return found[0]


def wait_node(what: str, find: Callable[[], Iterable[Path]], seconds: float = GIVE_UP) -> Path:
    """The node in /dev of the first that is found in sysfs, where it is a little earlier."""
    return wait_one(
        what, lambda: filter(Path.exists, [Path("/dev", found.name) for found in find()]), seconds
    )


# --- root ---


def generation() -> int:
    """Number of the configuration in force."""
    return int(read(ROOT / "generation"))


def staged() -> bool:
    """Are changes waiting for a commit?"""
    return read(ROOT / "staged") == "1"


def set_autocommit(on: bool) -> None:
    """Each change at once, or staged until :func:`commit`."""
    write(ROOT / "autocommit", on)


def commit(base: int | None = None) -> None:
    """Bring staged changes into force; *base*: the generation they were based on, default the present one."""
    write(ROOT / "commit", generation() if base is None else base)


def touch(node: Path) -> None:
    """Open and close it."""
    os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK))


@contextmanager
def staging() -> Iterator[None]:
    """Stage the changes of the body and commit them at its end."""
    set_autocommit(False)
    try:
        yield
        commit()
    finally:
        set_autocommit(True)


@contextmanager
def without_sd() -> Iterator[None]:
    """Units that appear meanwhile have sg alone: what sd asks when it finds one takes unit attentions, and so
    does what a device handler asks that an earlier test has left.
    """
    autoprobe = Path("/sys/bus/scsi/drivers_autoprobe")
    if Path("/sys/module/scsi_dh_alua").exists():
        subprocess.run(("modprobe", "-r", "scsi_dh_alua"), check=True)
    autoprobe.write_text("0")
    try:
        yield
    finally:
        autoprobe.write_text("1")


def fail_commit(step: int) -> None:
    """Let the given step of the next publication fail; 0: none."""
    write(DEBUG / "fail_commit", step)


def objects() -> dict[str, int]:
    """Live objects of the core."""
    rows = (line.split() for line in (DEBUG / "objects").read_text().splitlines())
    return {name: int(count) for name, count in rows}


# --- devices ---


@dataclass(frozen=True, slots=True)
class Device:
    """devices/HANDLER/NAME."""

    handler: str
    name: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return ROOT / "devices" / self.handler / self.name

    def make(self, **settings: object) -> Device:
        """mkdir, write the settings in order, and return the device."""
        self.path.mkdir()
        for name, value in settings.items():
            self.set(name, value)
        return self

    def set(self, name: str, value: object) -> None:
        """Write an attribute."""
        write(self.path / name, value)

    def get(self, name: str) -> str:
        """Read an attribute."""
        return read(self.path / name)

    def enable(self, on: bool = True) -> Device:
        """Write ``enabled``."""
        self.set("enabled", on)
        return self

    def activate(self, on: bool = True) -> None:
        """Write ``active``."""
        self.set("active", on)

    @property
    def state(self) -> str:
        """disabled, parked or active."""
        return self.get("state")

    def remove(self) -> None:
        """rmdir."""
        self.path.rmdir()


def nullio(name: str, size: int = 1 << 30, **settings: object) -> Device:
    """An enabled nullio device."""
    return Device("nullio", name).make(size=size, **settings).enable()


def fileio(name: str, path: Path, **settings: object) -> Device:
    """An enabled fileio device on an existing (or not) file."""
    return Device("fileio", name).make(path=path, **settings).enable()


def blockio(name: str, path: Path, **settings: object) -> Device:
    """An enabled blockio device."""
    return Device("blockio", name).make(path=path, **settings).enable()


# --- access ---


@dataclass(frozen=True, slots=True)
class LunDir:
    """luns/ of a target or of a group."""

    path: Path

    def map(self, lun: int, device: Device, read_only: bool = False) -> None:
        """Make a LUN: directory, ``read_only`` if wanted, link."""
        folder = self.path / str(lun)
        folder.mkdir()
        if read_only:
            write(folder / "read_only", True)
        (folder / "device").symlink_to(device.path)

    def unmap(self, lun: int) -> None:
        """Remove link and directory."""
        (self.path / str(lun) / "device").unlink()
        (self.path / str(lun)).rmdir()

    def clear(self) -> None:
        """Remove all LUNs."""
        for folder in sorted(self.path.iterdir(), key=lambda path: int(path.name)):
            self.unmap(int(folder.name))

    def state(self, lun: int) -> str:
        """``state`` of one LUN."""
        return read(self.path / str(lun) / "state")


@dataclass(frozen=True, slots=True)
class Group:
    """groups/GROUP of a target."""

    path: Path

    @property
    def luns(self) -> LunDir:
        """Its LUNs."""
        return LunDir(self.path / "luns")

    def claim(self, *patterns: str) -> Group:
        """Add initiator names or patterns."""
        for pattern in patterns:
            (self.path / "initiators" / pattern).mkdir()
        return self

    def disclaim(self, *patterns: str) -> None:
        """Remove initiator names or patterns."""
        for pattern in patterns:
            (self.path / "initiators" / pattern).rmdir()

    def set_priority(self, priority: int) -> Group:
        """Write ``priority``."""
        write(self.path / "priority", priority)
        return self

    def remove(self) -> None:
        """Remove the group and all that is in it."""
        self.luns.clear()
        for pattern in sorted(os.listdir(self.path / "initiators")):
            self.disclaim(pattern)
        self.path.rmdir()


@dataclass(frozen=True, slots=True)
class Target:
    """targets/local/NAME."""

    name: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return ROOT / "targets/local" / self.name

    @property
    def luns(self) -> LunDir:
        """The LUNs of initiators no group claims."""
        return LunDir(self.path / "luns")

    def make(self, auto_rescan: bool = True) -> Target:
        """mkdir."""
        self.path.mkdir()
        if not auto_rescan:
            write(self.path / "auto_rescan", False)
        return self

    def enable(self, on: bool = True) -> None:
        """Write ``enabled``; hosts log in (out) before this returns."""
        write(self.path / "enabled", on)

    def group(self, name: str, *patterns: str) -> Group:
        """Make a group that claims these initiators."""
        (self.path / "groups" / name).mkdir()
        return Group(self.path / "groups" / name).claim(*patterns)

    def login(self, initiator: str) -> Initiator:
        """Make the initiator's host, and wait until it is logged in if the target is enabled."""
        (self.path / "hosts" / initiator).mkdir()
        host = Initiator(self, initiator)
        if read(self.path / "enabled") == "1":
            wait_for(f"login of {initiator}", lambda: host.number is not None)
        return host

    def logout(self, initiator: str) -> None:
        """Remove the initiator's host and wait for the end of its session."""
        (self.path / "hosts" / initiator).rmdir()
        wait_for(f"logout of {initiator}", lambda: find_session(self, initiator) is None)


def find_session(target: Target, initiator: str) -> Path | None:
    """The class device of a session, if there is one; it shows the canonical spelling of the name."""
    wanted = f"local/{target.name}", canonical(initiator)
    for folder in CLASS.glob("session.*"):
        try:
            if (read(folder / "target"), read(folder / "initiator")) == wanted:
                return folder
        except OSError:
            continue  # it ended while we looked
    return None


# --- the initiator's side ---


class Host:
    """A SCSI host of this machine, by which it is an initiator; *name*: for messages."""

    __slots__ = ()
    name: str

    @property
    def number(self) -> int | None:
        """Number of the SCSI host; None while there is none."""
        raise NotImplementedError

    def devices(self) -> dict[int, Path]:
        """SCSI devices found so far, by LUN: folders of /sys/bus/scsi/devices."""
        found = Path("/sys/bus/scsi/devices").glob(f"{self.number}:*:*:*")
        return {initiator_lun(int(path.name.rpartition(":")[2])): path for path in found}

    def sg(self, lun: int) -> Path:
        """The sg node of a LUN; waits until the initiator has found it, and it can be opened."""

        def nodes() -> Iterator[Path]:
            folder = self.devices().get(lun)
            found = (folder / "scsi_generic").glob("sg*") if folder else ()
            # It is in sysfs before it is in /dev.
            return filter(Path.exists, (Path("/dev", node.name) for node in found))

        return wait_one(f"{self.name} finds LUN {lun}", nodes)

    def disk(self, lun: int, seconds: float = 20) -> Path:
        """The sd node of a LUN; waits until sd has probed it: it has a capacity and can be opened."""

        def ready(node: Path) -> bool:
            return (
                (node / "size").exists()
                and (node / "size").read_text() != "0\n"
                # The attributes are there before the disk is.
                and errno_of(partial(touch, Path("/dev", node.name))) != errno.ENXIO
            )

        def nodes() -> Iterator[Path]:
            folder = self.devices().get(lun)
            return filter(ready, (folder / "block").glob("sd*") if folder else ())

        return Path("/dev", wait_one(f"{self.name} has a disk at LUN {lun}", nodes, seconds).name)

    def wait_luns(self, *luns: int) -> None:
        """Wait until exactly these LUNs have SCSI devices."""
        wait_for(f"{self.name} has LUNs {luns}", lambda: set(self.devices()) == set(luns))


@dataclass(frozen=True, slots=True)
class Initiator(Host):
    """An initiator that logs in to a target of the driver ``local``."""

    target: Target
    name: str

    @property
    def number(self) -> int | None:
        """Number of the SCSI host; None while logged out."""
        text = read(self.target.path / "hosts" / self.name / "host")
        return int(text) if text else None

    @property
    def session(self) -> Path:
        """Its class device. Raises LookupError while logged out."""
        folder = find_session(self.target, self.name)
        if folder is None:
            raise LookupError(f"{self.name} has no session with {self.target.name}")
        return folder

    def view(self) -> str:
        """The session's LUNs in force, as the kernel shows them."""
        return (self.session / "luns").read_text()

    def group(self) -> str:
        """The group that claims the session, empty for the target's own LUNs."""
        return read(self.session / "group")


def initiator_lun(number: int) -> int:
    """LUN of the number Linux gives a device, which has the addressing method in its top bits."""
    return number & 0x3FFF
