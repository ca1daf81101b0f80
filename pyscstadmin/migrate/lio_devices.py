# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO's storage objects as devices. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.identity import designators
from pyscstadmin.config.model import Device
from pyscstadmin.config.settings import AUTO
from pyscstadmin.config.where import Path
from pyscstadmin.migrate.account import Account, Verdict
from pyscstadmin.migrate.lio_identity import Known, identity_of
from pyscstadmin.migrate.lio_names import free_name
from pyscstadmin.migrate.lio_rules import (
    DEFAULT_GROUP,
    MISC_RULES,
    PORT_GROUPS,
    PRODUCTS,
    STORE_RULES,
    UNMAP_OF_MEMORY,
    UNMAP_OFFERS,
    UNMAP_RULES,
    UNUSABLE,
    apply_rules,
)
from pyscstadmin.migrate.reader import Reader

__all__ = ["Devices", "FileSize"]

# The length in bytes of the file at a path, None if there is none.
FileSize = Callable[[str], int | None]

_ALIASES = {"iblock": "block", "rd_mcp": "ramdisk"}
_PAGE = 4096
_FILE_BLOCK = 512
_NO_DISK = re.compile(r"/dev/(shm|mqueue|hugepages)/")


def _plugin_of(text: str) -> str:
    """The plugin without what may follow it (`user:rbd`), under the one of its names that files have."""
    kind = text.partition(":")[0]
    return _ALIASES.get(kind, kind)


class Devices:
    """The devices that were made, and which one each storage object has become."""

    def __init__(self, account: Account, file_size: FileSize) -> None:
        self.devices: list[Device] = []
        self._account = account
        self._file_size = file_size
        self._names: set[str] = set()
        self._known: dict[tuple[str, str], str] = {}
        # Device name, or None for what could not be expressed.
        self._stores: dict[tuple[str, str], str | None] = {}

    def of(self, reference: str) -> tuple[bool, str | None]:
        """(Is there such a storage object, the device it has become) for `/backstores/PLUGIN/NAME`."""
        parts = reference.split("/", 3)
        if len(parts) != 4 or parts[:2] != ["", "backstores"]:
            return False, None
        key = (_plugin_of(parts[2]), parts[3])
        return key in self._stores, self._stores.get(key)

    def add(self, store: Reader) -> None:
        """Make a device of a storage object, or note why not."""
        plugin, name = _plugin_of(store.required("plugin")), store.required("name")
        if not plugin or not name:
            return
        if (plugin, name) in self._stores:
            self._account.wrong(store.at("name"), f"there are two storage objects {plugin}/{name}")
            return
        verdict, why = _unusable(store, plugin)
        if why:
            self._stores[plugin, name] = None
            self._account.note(store.path, verdict, why, whole=True)
            return
        free = free_name(name, self._names)
        self._stores[plugin, name] = free
        device = _Store(store, plugin, name, free).device(self._known, self._file_size)
        self._known.update(dict.fromkeys(designators(device), free))
        self.devices.append(device)


def _unusable(store: Reader, plugin: str) -> tuple[Verdict, str]:
    """Why a storage object cannot be a device; empty if it can."""
    if not store.flag("configured", True):
        return Verdict.SAME, "it was never configured in LIO, and serves nothing"
    if plugin in PRODUCTS and (plugin != "ramdisk" or store.flag("nullio", False)):
        return Verdict.SAME, ""
    return Verdict.LOST, UNUSABLE.get(plugin, f"scstadmin does not know the plugin {plugin[:40]!r}")


class _Store:
    """One storage object on its way to be a device. Each method notes what it has read."""

    def __init__(self, store: Reader, plugin: str, name: str, device: str) -> None:
        self.store = store
        self.attributes = store.object("attributes")
        self.plugin = plugin
        self.name = name
        self.device_name = device
        self.path = "" if plugin == "ramdisk" else self._backing()
        self.handler = self._handler()
        self.here: Path = ("devices", self.handler, device)

    def device(self, known: Known, file_size: FileSize) -> Device:
        """The device. `known`: identities that are taken."""
        self._note_names()
        settings = {"block_size": self._block_size(), "rotational": self._rotational()}
        if self.handler == "nullio":
            settings |= self._nothing()
        else:
            settings |= self._disk() if self.handler == "blockio" else self._file(file_size)
            settings["thin"] = self._thin()
        identity = identity_of(self.store, self.plugin, self.name, self.here, known)
        self._rules()
        self._port_groups()
        return Device(self.device_name, self.handler, id=identity, **settings)

    def _backing(self) -> str:
        path = self.store.required("dev")
        fault = names.check_path(path)
        if fault:
            self.store.account.wrong(self.store.at("dev"), fault.reason)
        return "" if fault else path

    def _handler(self) -> str:
        if self.plugin == "ramdisk":
            return "nullio"
        disk = self.path.startswith("/dev/") and not _NO_DISK.match(self.path)
        return "blockio" if self.plugin == "block" or disk else "fileio"

    def _note_names(self) -> None:
        renamed = f"renamed from {self.name[:100]!r}" if self.device_name != self.name else ""
        self.store.mapped("name", self.here, text=renamed)
        disk = self.plugin == "fileio" and self.handler == "blockio"
        self.store.mapped("plugin", self.here[:2], text="the backing is a disk" if disk else "")
        if self.handler == "nullio":
            self.store.mapped("nullio", self.here[:2])
        else:
            self.store.mapped("dev", self._at("path"))

    def _at(self, setting: str) -> Path:
        return (*self.here, setting)

    # Settings by handler.

    def _disk(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"path": self.path, "read_only": self.store.flag("readonly", False)}
        self.store.mapped("readonly", self._at("read_only"))
        if self.plugin == "fileio":
            settings["write_through"] = self._write_through()
            self.store.same("all of the disk is served, without the page cache", "size", "aio")
        else:
            told = "initiators are told of the disk's own cache, if it has one"
            self.store.same(told, "write_back", "buffered_mode")
            self.attributes.same(told, "emulate_write_cache")
        return settings

    def _file(self, file_size: FileSize) -> dict[str, Any]:
        if "size" in self.store:
            self.store.note("size", *self._length(self.store.number("size", 0), file_size(self.path)))
        self.store.mapped("aio", self._at("o_direct"))
        direct = self.store.flag("aio", False)
        return {"path": self.path, "write_through": self._write_through(), "o_direct": direct}

    def _nothing(self) -> dict[str, Any]:
        given = self.store.required_number("size", 0, names.SIZE_MAX - _PAGE)
        size = max((given + _PAGE // 2) // _PAGE, 1) * _PAGE
        self.store.mapped(
            "size", self._at("size"), text="" if size == given else "in whole pages, as LIO has it"
        )
        if self.attributes.flag("emulate_write_cache", False):
            told = "LIO tells of a write cache; nothing is kept here, and none is told of"
            self.attributes.note("emulate_write_cache", Verdict.DIFFERS, told)
        else:
            self.attributes.same("no write cache is told of", "emulate_write_cache")
        return {"size": size}

    def _length(self, served: int, there: int | None) -> tuple[Verdict, str]:
        """What becomes of the size of a file, of which scst serves all."""
        if served == there:
            return Verdict.SAME, "the file is that long, and all of it is served"
        text = f"all of the file is served; LIO served {served} bytes"
        if there is None:
            return Verdict.LOST, f"{text}, and there is no file here to compare: it must be that long"
        if there < served:
            return Verdict.LOST, f"{text}, and the file has {there}: extend it (truncate -s {served} FILE)"
        resize = f"scstadmin resize {self.device_name} {served} --shrink"
        return Verdict.LOST, f"{text}, and the file has {there}: run `{resize}` whenever the device was made"

    def _write_through(self) -> bool:
        """The first of these keys that is there is what initiators were told."""
        keys = (
            (self.attributes, "emulate_write_cache"),
            (self.store, "write_back"),
            (self.store, "buffered_mode"),
        )
        sources = [(reader, key) for reader, key in keys if key in reader]
        cache = bool(sources) and sources[0][0].flag(sources[0][1], False)
        for reader, key in sources:
            contrary = reader.flag(key, cache) != cache
            told = f"initiators were told what {sources[0][1]} says" if contrary else ""
            reader.mapped(key, self._at("write_through"), text=told)
        return not cache

    def _thin(self) -> bool:
        """Whether initiators could give space back, one way or another."""
        offered = [self.attributes.flag(key, False) for key in UNMAP_OFFERS]
        for key in UNMAP_OFFERS:
            self.attributes.mapped(key, self._at("thin"))
        return any(offered)

    def _block_size(self) -> int:
        usual = 0 if self.handler == "blockio" else _FILE_BLOCK
        size = self.attributes.number("block_size", usual)
        if size not in names.BLOCK_SIZES or (not size and usual):
            choice = ", ".join(map(str, names.BLOCK_SIZES[1:]))
            self.store.account.wrong(self.attributes.at("block_size"), f"must be one of {choice}")
            return usual
        self.attributes.mapped("block_size", self._at("block_size"))
        return size

    def _rotational(self) -> Any:
        """LIO says of a file that it rotates, and asks a disk."""
        self.attributes.mapped("is_nonrot", self._at("rotational"))
        if "is_nonrot" not in self.attributes:
            return AUTO if self.handler == "blockio" else True
        return not self.attributes.flag("is_nonrot", False)

    # The rest.

    def _rules(self) -> None:
        unmap = any(self.attributes.flag(key, False) for key in UNMAP_OFFERS)
        offers = dict.fromkeys(UNMAP_OFFERS, UNMAP_OF_MEMORY) if self.handler == "nullio" else {}
        apply_rules(self.attributes, {**STORE_RULES, **UNMAP_RULES[unmap], **offers})
        apply_rules(self.store, MISC_RULES)
        if "reservation" in self.store:
            text = "an initiator holds a reservation, which is not taken over: it has to make it again"
            self.store.note("reservation", Verdict.LOST, text)

    def _port_groups(self) -> None:
        for group in self.store.objects("alua_tpgs"):
            usual = group.text("name") == DEFAULT_GROUP and not group.number("alua_access_state", 0)
            if usual and not group.flag("preferred", False):
                text = "one group for all ports: here all paths are alike and active, too, without a group"
                group.account.note(group.path, Verdict.DIFFERS, text, whole=True)
                continue
            group.account.note(group.path, Verdict.LOST, PORT_GROUPS, whole=True)
