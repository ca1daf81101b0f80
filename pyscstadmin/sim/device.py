# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated devices: settings, identity, and a backing that may be there or not on the real file system."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.identity import RECOGNISED
from pyscstadmin.config.reservations import NOTHING, parse
from pyscstadmin.config.settings import HANDLERS, IDENTITY
from pyscstadmin.sim.node import (
    RO,
    RW,
    WO,
    Attribute,
    Linked,
    Node,
    Refused,
    Served,
    refuse,
    stored,
    to_bool,
    to_number,
    within,
)

__all__ = ["Device", "HandlerDir"]

# Errors of opening the backing that park the device instead of refusing to enable it.
_LATE = frozenset((errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOTDIR, errno.ENOMEDIUM, errno.ESTALE))


class HandlerDir(Node):
    """devices/HANDLER."""

    def make(self, name: str) -> None:
        refuse(names.check_device_name(name))
        assert self.parent is not None
        if any(name in other.children for other in self.parent.children.values()):
            raise Refused(errno.EEXIST)
        self.children[name] = Device(self, name)

    def restore(self, name: str, data: dict[str, Any]) -> None:
        """Make a device from dumped data, or make the one that is there what they say."""
        device = self.children.setdefault(name, Device(self, name))
        assert isinstance(device, Device)
        device.restore(data)


class Identification(Node):
    """devices/HANDLER/NAME/id."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, "id")
        self.device = device
        digits = f"3{secrets.token_hex(8)[1:]}"
        self.values: dict[str, str] = {"serial": digits, "naa": digits}

    def attributes(self) -> Mapping[str, Attribute]:
        return _ID_ATTRIBUTES

    def show(self, name: str) -> str:
        return self.values.get(name) or self._default(name)

    def _default(self, name: str) -> str:
        return {"vendor": "SCST", "product": self.device.handler, "revision": "1", "eui64": ""}[name]

    def designators(self) -> list[tuple[str, str]]:
        """What initiators would take the device for another by."""
        return [(part, self.show(part)) for part in RECOGNISED if self.show(part)]

    def store(self, name: str, text: str) -> None:
        value = stored(IDENTITY[name], text)
        self.device.must_be_disabled()
        self.values[name] = str(value)


class ReservationsDir(Node):
    """devices/HANDLER/NAME/pr: no initiator sends anything here, so nothing is reserved."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, "pr")
        self.device = device
        self.state = NOTHING

    def attributes(self) -> Mapping[str, Attribute]:
        return _PR_ATTRIBUTES

    def show(self, name: str) -> str:
        return self.state

    def store(self, name: str, text: str) -> None:
        generation = to_number(within(text)[0], 0, 0xFFFFFFFF)
        if not self.device.enabled:
            raise Refused(errno.ESHUTDOWN)
        there = parse(self.state).generation
        if generation != there:
            raise Refused(errno.ESTALE)
        self.state = NOTHING.replace("generation 0", f"generation {there + 1}")


_PR_ATTRIBUTES = {"state": RO, "clear": WO}
_ID_ATTRIBUTES = dict.fromkeys(IDENTITY, RW)
_STATE = ("enabled", "active", "error", "served", "wanted", "opened", "unawaited")
_TEXTS = {"elsewhere": RW, "expect": RW, "backing": RO}
_LONGEST = 127
_LOOK = 0.005


class Device(Served):
    """devices/HANDLER/NAME."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.handler = parent.name
        self.enabled = False
        self.active = False
        self.error = self.opened = ""
        self.served = self.asked = 0
        self.may_shrink = self.wanted = False
        # The backing does not answer: somebody waits for it, or nobody does any more.
        self.awaited = self.unawaited = False
        self.luns: set[Linked] = set()
        self.grouped: set[Linked] = set()
        self.rows = HANDLERS[self.handler].settings
        self.values: dict[str, Any] = {name: row.default for name, row in self.rows.items()}
        self.id = Identification(self)
        self.pr = ReservationsDir(self)
        self.children = {"id": self.id, "pr": self.pr}
        # Where the backing is, what it has to be, and what is open: texts that others read.
        self.texts = dict.fromkeys(_TEXTS, "") if HANDLERS[self.handler].backed else {}
        rows = {"enabled": RW, "active": RW, "state": RO, "error": RO, "medium": RO, "wanted": RO, "size": RW}
        self._rows = {**rows, **{name: _TEXTS[name] for name in self.texts}, **dict.fromkeys(self.values, RW)}

    def attributes(self) -> Mapping[str, Attribute]:
        return self._rows

    def pointed_at(self) -> bool:
        return bool(self.luns or self.grouped)

    def remove(self) -> None:
        if self.pointed_at():
            raise Refused(errno.EBUSY)
        assert self.parent is not None
        del self.parent.children[self.name]
        self._register(False)

    def must_be_disabled(self) -> None:
        """Refuse while enabled."""
        if self.enabled or self.opening:
            raise Refused(errno.EBUSY)

    @property
    def opening(self) -> bool:
        """Whether the backing is being opened."""
        return self.awaited or self.unawaited

    def show(self, name: str) -> str:
        self._look()
        if name == "state":
            if self.opening:
                return "opening"
            return "disabled" if not self.enabled else "active" if self.active else "parked"
        if name == "error":
            return self.error
        if name == "medium":
            return "present"  # there is no initiator that could eject it
        if name == "size":
            return str(self.values.get("size", self.served))
        if name in self.texts:
            return self.texts[name]
        if name in ("enabled", "active", "wanted"):
            return str(int(getattr(self, name)))
        return self.rows[name].type.to_kernel(self.values[name])

    def table(self) -> str:
        """Its part of the table of all devices."""
        own = "".join(f"{name} {self.show(name)}\n" for name in self._rows)
        return f"/{self.handler}/{self.name}\n{own}" + "".join(
            f"id/{name} {self.id.show(name)}\n" for name in IDENTITY
        )

    def store(self, name: str, text: str) -> None:
        self._look()
        if name == "enabled":
            word, seconds = within(text)
            self._enable(to_bool(word), seconds)
        elif name == "active":
            word, seconds = within(text)
            self._reopen(seconds) if word == "reopen" else self._activate(to_bool(word), seconds)
        elif name in self.texts:
            refuse(names.check_path(text) if name == "elsewhere" else names.check_text(text, _LONGEST))
            self.texts[name] = text
        elif name == "size" and name not in self.values:
            self._resize(to_number(within(text)[0], 0, names.SIZE_MAX))
        else:
            row = self.rows[name]
            value = stored(row, within(text)[0] if name == "size" else text)
            # A disk may have got another name while it was away.
            if not row.live and (name not in ("path", "protection_file") or self.active or self.opening):
                self.must_be_disabled()
            self.values[name] = value

    def _enable(self, on: bool, seconds: float | None) -> None:
        if on == self.enabled:
            return
        if not on:
            self._disable(seconds)
            return
        if self.opening:
            raise Refused(errno.EBUSY)
        if not self.values[HANDLERS[self.handler].required]:
            raise Refused(errno.ENODATA)
        if self.values.get("size", 0) % (self.values["block_size"] or 512):
            raise Refused(errno.EINVAL)
        if self.values.get("protection") and self.values.get("protection_file", "-") == "":
            raise Refused(errno.EINVAL)
        if not self.root.identities.keys().isdisjoint(self.id.designators()):
            raise Refused(errno.EEXIST)
        for name in ("pr_file", "protection_file") if self.values.get("protection") else ("pr_file",):
            file = self.values.get(name)
            if file and any(other.enabled and other.values.get(name) == file for other in self._all()):
                raise Refused(errno.EBUSY)
        self.served = self.asked = 0
        self.may_shrink = False
        self.pr.state = NOTHING
        if self._answers(seconds):
            try:
                self._open()
            except Refused as refused:
                if refused.errno not in _LATE:
                    raise
        self.enabled = self.wanted = True
        self._register(True)

    def _disable(self, seconds: float | None) -> None:
        if self.luns or self.root.uses(self.name):
            raise Refused(errno.EBUSY)
        self.enabled = self.wanted = False
        if self.opening and not self._answers(seconds):
            raise Refused(errno.EINPROGRESS)
        self._close()
        self._register(False)

    def _answers(self, seconds: float | None) -> bool:
        """Wait for the backing, to the end if that is not said. If it does not answer in time, what was asked
        for goes on.
        """
        end = time.monotonic() + seconds if seconds is not None else None
        self.unawaited = False
        while self._hangs():
            self.awaited = True
            if end is not None and time.monotonic() >= end:
                self.awaited, self.unawaited = False, True
                return False
            time.sleep(_LOOK)
        self.awaited = False
        return True

    def _hangs(self) -> bool:
        return bool(self.texts) and (self.texts["elsewhere"] or self.values["path"]) in self.root.hung

    def _arrive(self) -> None:
        """The backing answers, and nobody waits for it: what was asked for last comes to pass."""
        self.unawaited = False
        self.root.lost.append(self)
        if not self.enabled:
            self._register(False)
        elif self.wanted:
            with suppress(Refused):
                self._open()

    def _register(self, on: bool) -> None:
        """Take an identity that no other enabled device can have then, or give it back."""
        for designator in self.id.designators():
            if on:
                self.root.identities[designator] = self
            elif self.root.identities.get(designator) is self:
                del self.root.identities[designator]

    def _close(self) -> None:
        self.active = False
        if self.texts:
            self.texts["backing"] = ""

    def _reopen(self, seconds: float | None) -> None:
        if not self.enabled:
            raise Refused(errno.EINVAL)
        self._close()
        self._activate(True, seconds)

    def _activate(self, on: bool, seconds: float | None) -> None:
        if not self.enabled:
            raise Refused(errno.EINVAL)
        self.wanted = on
        if not on:
            self.error = ""
            if self.opening and not self._answers(seconds):
                raise Refused(errno.EINPROGRESS)
            self._close()
        elif not self.active:
            if not self._answers(seconds):
                raise Refused(errno.EINPROGRESS)
            self._open()
        elif HANDLERS[self.handler].backed and not self.asked:
            self.served = max(self.served, self._whole())

    def _resize(self, size: int) -> None:
        """Serve so many bytes, 0 for all the backing has: from now on, or from the next opening on."""
        if not self.enabled:
            raise Refused(errno.EINVAL)
        if not self.active:
            self.asked, self.may_shrink = size, True
            return
        if size % (self.values["block_size"] or 512):
            raise Refused(errno.EINVAL)
        whole = self._whole()
        if size > whole:
            raise Refused(errno.ERANGE)
        self.served, self.asked = size or whole, size

    def _whole(self) -> int:
        """Bytes of the backing, in whole blocks."""
        try:
            with open(self.opened, "rb") as file:
                size = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            size = self.served  # held open, and as it was
        except OSError as error:
            raise Refused(error.errno or errno.EIO) from error
        return size - size % (self.values["block_size"] or 512)

    def _open(self) -> None:
        try:
            if HANDLERS[self.handler].backed:
                self._probe()
        except Refused as refused:
            self.error = errno.errorcode[refused.errno]
            raise
        self.active, self.error = True, ""

    def _probe(self) -> None:
        """Open the backing as the kernel would, note its size, close it."""
        path = self.texts["elsewhere"] or self.values["path"]
        words = self.root.backings.words(path)
        try:
            mode = os.stat(path).st_mode
            if not HANDLERS[self.handler].exclusive and not stat.S_ISREG(mode):
                raise Refused(errno.EINVAL)
            if HANDLERS[self.handler].exclusive and not (stat.S_ISBLK(mode) or words.startswith("b ")):
                raise Refused(errno.ENOTBLK)
            if self.values["facts"] and words != self.texts["expect"]:
                raise Refused(errno.ESTALE)
            fd = os.open(path, os.O_CLOEXEC | (os.O_RDONLY if self.values["read_only"] else os.O_RDWR))
            try:
                size = os.lseek(fd, 0, os.SEEK_END)
            finally:
                os.close(fd)
        except OSError as error:
            raise Refused(error.errno or errno.EIO) from error
        if HANDLERS[self.handler].exclusive and any(
            other.texts["backing"] == words for other in self._others()
        ):
            raise Refused(errno.EBUSY)
        if HANDLERS[self.handler].exclusive and self.values.get("protection") == 2:
            raise Refused(errno.EOPNOTSUPP)
        block = self.values["block_size"] or 512
        whole = size - size % block
        if not whole or self.asked > whole or self.asked % block:
            raise Refused(errno.EINVAL)
        if not self.asked and not self.may_shrink and whole < self.served:
            raise Refused(errno.EINVAL)
        self.served, self.may_shrink = self.asked or whole, False
        self.texts["backing"], self.opened = words, path

    def _others(self) -> list[Device]:
        """The other devices of the handler."""
        assert self.parent is not None
        siblings = self.parent.children.values()
        return [other for other in siblings if isinstance(other, Device) and other is not self]

    def _all(self) -> list[Device]:
        """The devices of all handlers."""
        folders = self.root.devices.children.values()
        return [one for folder in folders for one in folder.children.values() if isinstance(one, Device)]

    def _look(self) -> None:
        """Losing its disk parks the device by itself. A file that is held open is not lost by its name."""
        if self.unawaited and not self._hangs():
            self._arrive()
        if not self.active or not HANDLERS[self.handler].exclusive:
            return
        if not os.path.exists(self.opened) or not self.root.backings.alive(self.texts["backing"]):
            self._close()
            self.error = "ENOENT"
            self.root.lost.append(self)

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        state = {name: getattr(self, name) for name in _STATE}
        own = {"values": dict(self.values), "texts": dict(self.texts), "pr": self.pr.state}
        return {**state, **own, "id": {k: v for k, v in self.id.values.items() if v}}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`."""
        self._register(False)
        for name in _STATE:
            setattr(self, name, data[name])
        self.texts.update(data["texts"])
        self.values.update(data["values"])
        self.pr.state = data.get("pr", NOTHING)
        self.id.values = dict(data["id"])
        if self.enabled:
            self._register(True)
