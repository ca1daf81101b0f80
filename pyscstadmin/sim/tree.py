# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated tree that answers as the kernel does: every rule and errno of docs/configfs.md, and configfs's
own.

The state lives in memory; with a directory it is loaded from and saved to files there (`sim.journal`).
Backing paths are looked up on the real file system, so parking can be tried out. One conformance suite runs
against this and against the kernel, which is what keeps the two alike.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyscstadmin.config.ports import Port
from pyscstadmin.errors import NotPresent, OperationError, ScstError
from pyscstadmin.kernel import inflight
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.running import Running
from pyscstadmin.kernel.sessions import Session
from pyscstadmin.sim.access import Host, Target, all_hosts
from pyscstadmin.sim.alua import DeviceGroup, Question
from pyscstadmin.sim.device import Device, HandlerDir
from pyscstadmin.sim.journal import Change, Journal
from pyscstadmin.sim.node import Link, Linked, Node, Refused, to_bool, within
from pyscstadmin.sim.ports import SimPorts
from pyscstadmin.sim.root import Command, Root

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SimTree"]

_STORE_MAX = 4095
_NAME_MAX = 255
_FORMAT = 7

# Called before each operation with (operation, path, value); may return an errno to fail it with.
Injector = Callable[[str, str, str | None], int | None]


class SimView:
    """The operations, relative to one directory."""

    def __init__(self, tree: SimTree, prefix: str) -> None:
        self._tree = tree
        self._prefix = prefix

    @property
    def root(self) -> str:
        """Where the tree is said to be, for messages."""
        return self._tree.name

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self._run("mkdir", path, None, self._mkdir)

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        self._run("rmdir", path, None, self._rmdir)

    def symlink(self, target: str, path: str) -> None:
        """Make a link."""
        self._run("symlink", path, target, lambda full: self._symlink(target, full))

    def unlink(self, path: str) -> None:
        """Remove a link."""
        self._run("unlink", path, None, self._unlink)

    def read(self, path: str) -> str:
        """The value of an attribute."""
        return str(self._run("read", path, None, self._read))

    def read_all(self, path: str) -> str:
        """The text of an attribute that may be of any length."""
        return self.read(path)

    def read_many(self, paths: Sequence[str]) -> Sequence[str]:
        """The values of several attributes."""
        return [self.read(path) for path in paths]

    def write(self, path: str, value: str) -> None:
        """Store a value."""
        data = os.fsencode(value) or b"\n"

        def store(full: str) -> None:
            if self._store(full, data) != len(data):
                raise Refused(errno.ENAMETOOLONG)

        self._run("write", path, value, store)

    def ask(self, path: str, value: str, milliseconds: int) -> None:
        """Store a request, waiting as long as this."""
        data = os.fsencode(f"{value} within {milliseconds}")
        self._run("write", path, value, lambda full: self._store(full, data))

    def write_raw(self, path: str, data: bytes) -> int:
        """Write exactly these bytes."""
        return int(self._run("write", path, os.fsdecode(data), lambda full: self._store(full, data)))

    def list(self, path: str) -> list[str]:
        """Names in a directory."""

        def names(full: str) -> list[str]:
            node = self._directory(full)
            return [*reversed(node.children), *node.links, *node.attributes()]

        found: list[str] = self._run("list", path, None, names)
        return found

    def readlink(self, path: str) -> str:
        """What a link points at."""

        def text(full: str) -> str:
            entry = self._tree.find(full)
            if not isinstance(entry, Link):
                raise Refused(errno.EINVAL)
            return entry.path

        return str(self._run("readlink", path, None, text))

    def at(self, path: str) -> SimView:
        """The view of a directory."""
        self._run("open", path, None, self._directory)
        return SimView(self._tree, f"{self._prefix}{path}/")

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, operation: str, path: str, value: str | None, action: Callable[[str], Any]) -> Any:
        full = (self._prefix + path).rstrip("/")
        shown = f"{self._tree.name}/{full}"
        try:
            if ".." in full.split("/")[:-1]:  # as `kernel.cfs` says it, too
                raise Refused(errno.EINVAL)
            self._tree.before(operation, full, value)
            result = action(full)
        except Refused as refused:
            self._tree.refused(operation, full)
            raise OperationError(operation, shown, value, refused.errno) from None
        if operation in ("mkdir", "rmdir", "symlink", "unlink", "write"):
            self._tree.done(operation, full, value)
        return result

    def _directory(self, full: str) -> Node:
        entry = self._tree.find(full)
        if isinstance(entry, Link):
            return entry.target
        if isinstance(entry, str):
            raise Refused(errno.ENOTDIR)
        return entry

    def _parent(self, full: str) -> tuple[Node, str]:
        parent, _, name = full.rpartition("/")
        if len(os.fsencode(name)) > _NAME_MAX:
            raise Refused(errno.ENAMETOOLONG)
        return self._directory(parent), name

    def _mkdir(self, full: str) -> None:
        parent, name = self._parent(full)
        if parent.has(name):
            raise Refused(errno.EEXIST)
        parent.make(name)

    def _rmdir(self, full: str) -> None:
        entry = self._tree.find(full)
        if not isinstance(entry, Node):
            raise Refused(errno.ENOTDIR)
        entry.remove()

    def _symlink(self, target: str, full: str) -> None:
        parent, name = self._parent(full)
        if parent.has(name):
            raise Refused(errno.EEXIST)
        if not isinstance(parent, Linked):
            raise Refused(errno.EPERM)
        parent.link(name, self._resolve(target))

    def _resolve(self, target: str) -> Node:
        """The object a link text names; other file systems are EPERM, as in configfs."""
        inside = target.removeprefix(self._tree.name + "/") if target.startswith("/") else target
        if not inside.startswith("/"):
            return self._directory(inside)
        if os.path.isdir(inside):
            raise Refused(errno.EPERM)
        raise Refused(errno.ENOTDIR if os.path.exists(inside) else errno.ENOENT)

    def _unlink(self, full: str) -> None:
        entry = self._tree.find(full)
        if isinstance(entry, Node):
            raise Refused(errno.EISDIR)
        if isinstance(entry, str):
            raise Refused(errno.EPERM)
        entry.owner.unlink()

    def _attribute(self, full: str) -> tuple[Node, str]:
        entry = self._tree.find(full)
        if not isinstance(entry, str):
            raise Refused(errno.EISDIR)
        return self._directory(full.rpartition("/")[0]), entry

    def _read(self, full: str) -> str:
        node, name = self._attribute(full)
        if not node.attributes()[name].readable:
            raise Refused(errno.EACCES)
        return node.show(name)

    def _store(self, full: str, data: bytes) -> int:
        node, name = self._attribute(full)
        if not node.attributes()[name].writable:
            raise Refused(errno.EACCES)
        if not data:
            raise Refused(errno.EFAULT)
        taken = data[:_STORE_MAX]
        node.store(name, os.fsdecode(taken[:-1] if taken.endswith(b"\n") else taken))
        return len(taken)


class SimTree(SimView):
    """A whole simulated tree.

    `directory` keeps the state over processes (None: memory only). `durable` saves after every change instead
    of at `flush` and `close`, as a kernel would keep it when the program is killed. `backings`: what is at
    which path. `inject`, for tests, can fail operations.
    """

    def __init__(
        self, directory: str | None = None, *, durable: bool = False, backings: Machine | None = None
    ) -> None:
        super().__init__(self, "")
        self.name = os.path.abspath(directory) if directory else "/sim"
        self.inject: Injector | None = None
        self._durable = durable
        self._journal = Journal(directory) if directory else None
        # What was done since all was saved, and how long it is at least as text.
        self._changes: list[Change] = []
        self._length = 0
        # Whether all is to be saved, and not the changes.
        self._whole = False
        self._backings = backings
        self._ports = SimPorts(directory)
        self.top = Root(backings, self._ports)
        if directory:
            _make(directory)
            self.refresh()

    # What the operations ask.

    def before(self, operation: str, path: str, value: str | None) -> None:
        """Run the injector."""
        number = self.inject(operation, path, value) if self.inject else None
        if number is not None:
            raise Refused(number)

    def done(self, operation: str, path: str, value: str | None) -> None:
        """Note what was done, to be saved, and what commands run under access that is no more."""
        while self.top.lost:
            lost = self.top.lost.pop()
            assert isinstance(lost, Device)
            self._became(lost)
        device = self._device(path) if operation in ("mkdir", "write") else None
        if device is not None:
            self._became(device)
        elif path.endswith("/secret"):
            self._whole = True  # which does not have what was written
            self._clean()
        else:
            self._note((operation, path, value), len(path))
        if self.top.commands:
            self.changed()
        if self._durable:
            self.flush()

    def refused(self, operation: str, path: str) -> None:
        """Note what became of a device that could not be opened: it says why."""
        device = self._device(path) if operation == "write" else None
        if device is not None:
            self._became(device)

    def _became(self, device: Device) -> None:
        """Note a device as it is: to be found out once more it would depend on the time and on its file."""
        there = self.top.devices.children[device.handler].children.get(device.name) is device
        if self._whole or not there:
            return
        who = ("device", device.handler, device.name)
        if self._changes and tuple(self._changes[-1][:3]) == who:
            self._changes.pop()
            self._length -= len(device.name)
        self._note((*who, device.dump()), len(device.name))

    def _note(self, change: Change, length: int) -> None:
        """Keep a change to be saved, as long as less is saved by that than by saving all."""
        self._length += length
        if self._journal is None or self._length > self._journal.room:
            self._whole = True
        if not self._whole:
            self._changes.append(change)
        elif self._changes:
            self._changes.clear()

    def _device(self, path: str) -> Device | None:
        """The device that a path is in, if it is there."""
        parts = path.split("/")
        if len(parts) < 3 or parts[0] != "devices" or parts[1] not in self.top.devices.children:
            return None
        found = self.top.devices.children[parts[1]].children.get(parts[2])
        return found if isinstance(found, Device) else None

    def _target_enabled(self, path: str) -> Target | None:
        """The target that this attribute enables; None if it is another attribute."""
        directory, _, name = path.rpartition("/")
        found = self.find(directory) if name == "enabled" else None
        return found if isinstance(found, Target) else None

    def changed(self) -> None:
        """Note that something else was changed, and what commands run under access that is no more."""
        self._whole = True
        self.top.revoke()
        if self._durable:
            self.flush()

    def find(self, path: str) -> Node | Link | str:
        """The object or link at a path, or an attribute's name. Raises ENOENT, ENOTDIR."""
        entry: Node | Link | str = self.top
        for part in path.split("/") if path else ():
            if isinstance(entry, Link):
                entry = entry.target
            if isinstance(entry, str):
                raise Refused(errno.ENOTDIR)
            entry = entry.child(part)
        return entry

    # Persistence.

    def refresh(self) -> bool:
        """Take over what another process saved since; True if there is something."""
        if self._journal is None:
            return False
        try:
            state, changes = self._journal.news()
            if state is not None:
                self.load(state)
            for change in changes:
                self._repeat(change)
        except ScstError:
            raise
        except (OSError, ValueError) as error:
            raise NotPresent(self.name, f"state.json cannot be read: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, RecursionError, Refused, TypeError) as error:
            # It is JSON, and nothing that this has written.
            raise NotPresent(self.name, f"state.json is damaged ({error!r}); remove it") from error
        return state is not None or bool(changes)

    def _repeat(self, change: Change) -> None:
        """Do what another process did."""
        operation, *what = change
        match operation:
            case "device":
                handler = self.top.devices.children[what[0]]
                assert isinstance(handler, HandlerDir)
                handler.restore(what[1], what[2])
            case "symlink":
                self._symlink(what[1], what[0])
            case "write" if (target := self._target_enabled(what[0])) is not None:
                # Whether its port lets it be a target is another question now.
                target.switch(to_bool(within(what[1])[0]))
            case "write":
                self._store(what[0], os.fsencode(what[1]) or b"\n")
            case _:
                {"mkdir": self._mkdir, "rmdir": self._rmdir, "unlink": self._unlink}[operation](what[0])

    def flush(self) -> None:
        """Save what was changed."""
        if self._journal is not None and (self._changes or self._whole):
            try:
                if self._whole or not self._journal.add(self._changes):
                    self._journal.save(self.dump())
            except OSError as error:
                self._whole = True
                raise OperationError("write", f"{self.name}/state.json", None, error.errno or 0) from error
        self._whole = False
        self._clean()

    def _clean(self) -> None:
        self._changes.clear()
        self._length = 0

    def close(self) -> None:
        """Save the state."""
        self.flush()

    def dump(self) -> dict[str, Any]:
        """The whole state as plain data; equal data means equal trees, byte for byte."""
        return {"format": _FORMAT, **self.top.dump()}

    def load(self, data: dict[str, Any]) -> None:
        """Take over a state that `dump` made."""
        if data.get("format") != _FORMAT:
            raise NotPresent(self.name, "state.json is not of this version of the simulator; remove it")
        self.top = Root(self._backings, self._ports)
        self.top.load(data)
        self._clean()

    # What is not in configfs.

    def sessions(self) -> list[Session]:
        """The sessions in force, as /sys/class/scst would show them."""
        return self.top.sessions()

    def running(self) -> list[Running]:
        """Revoked access that still has commands, as /sys/class/scst/core would show it."""
        return self.top.running()

    def ports(self) -> list[Port]:
        """The hardware ports that are there, as /sys would show them."""
        return self._ports.all()

    def plug(self, port: Port) -> None:
        """A board comes with this port, or the port is another one now."""
        self._ports.plug(port)

    def unplug(self, driver: str, name: str) -> None:
        """The board of a port goes."""
        self._ports.unplug(driver, name)

    def in_flight(self) -> list[inflight.Command]:
        """The commands that hang, as debugfs would show them."""
        return self.top.in_flight()

    def begin_command(self, target: str, initiator: str, lun: int, *, writes: bool = True) -> None:
        """Something that only tests do: a command of an initiator hangs until `end_commands`."""
        found = next(one for one in self.sessions() if (one.target, one.initiator) == (target, initiator))
        device = next(one.device for one in found.luns if one.number == lun)
        self.top.commands.append(Command(target, initiator, lun, device, writes))
        self.changed()

    def end_commands(self) -> None:
        """Let all commands end that hang."""
        self.top.commands.clear()
        self.changed()

    def put_question(self, group: str, question: Question) -> None:
        """Something that only tests do: an initiator asks for states of target port groups."""
        found = self.find(f"alua/{group}")
        assert isinstance(found, DeviceGroup)
        found.question = question
        self.changed()

    def hosts(self) -> Sequence[Host]:
        """The hosts of driver local."""
        return all_hosts(self.top)


def _make(directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise NotPresent(directory, os.strerror(error.errno or 0)) from error
