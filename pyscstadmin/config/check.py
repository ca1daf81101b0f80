# SPDX-License-Identifier: GPL-2.0-or-later
"""From parsed JSON to the model, collecting everything that is wrong on the way. Pure."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyscstadmin.config import iscsi, iscsi_names, names
from pyscstadmin.config.alua import faults
from pyscstadmin.config.identity import same_identities, unrecognisable
from pyscstadmin.config.model import (
    Config,
    Device,
    DeviceGroup,
    Group,
    Identity,
    Iscsi,
    Lun,
    Portal,
    PortGroup,
    Target,
    User,
    full_name,
)
from pyscstadmin.config.names import Fault
from pyscstadmin.config.settings import (
    DEVICE,
    DEVICE_GROUP,
    DRIVERS,
    GROUP,
    GROUP_ID,
    HANDLERS,
    IDENTITY,
    ISCSI,
    ISCSI_USER,
    LUN,
    PORT_GROUP,
    PORT_STATE,
    PORTAL,
    REL_TGT_ID,
    ROOT,
    TARGET,
    Handler,
    Setting,
    Table,
    Value,
    Values,
    hint,
    kind_of,
)
from pyscstadmin.config.spelling import name_key
from pyscstadmin.config.where import Path

__all__ = ["Checker", "Finding"]

_Check = Callable[[str], Fault | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a path; `at_key` when the key itself is at fault, not its value."""

    path: Path
    message: str
    at_key: bool = False

    @property
    def shown(self) -> Path:
        """What to print as the place: the object around a wrong key, else the value."""
        return self.path[:-1] if self.at_key else self.path


class Checker:
    """Builds a `Config` from parsed JSON. After `config()`, `findings` holds all that is wrong. `whole`: no
    part is wrong by itself.

    `present`: devices that LUNs may point at, beside those of the text. `of_whole`: the text is not of a part
    only, of which it can't be said whether device groups have all that they name.
    """

    def __init__(self, version: int, present: Sequence[Device] = (), *, of_whole: bool = True) -> None:
        self.version = version
        self.of_whole = of_whole
        self.findings: list[Finding] = []
        self.whole = False
        self._handlers: dict[str, str] = {device.name: device.handler for device in present}
        self._disabled: set[str] = {device.name for device in present if not device.enabled}
        self._ids: dict[int, str] = {}
        self._targets: dict[tuple[str, str], str] = {}

    def fail(self, path: Path, message: str, at_key: bool = False) -> None:
        """Note a finding."""
        self.findings.append(Finding(path, message, at_key))

    def config(self, data: Any) -> Config | None:
        """The configuration, or None when it is not even an object of the right version."""
        top = self._object(data, (), ("version", "devices", "targets", "alua", "iscsi", "$schema", *ROOT))
        if top is None or not self._version_fits(top):
            return None
        devices = self._named(top, "devices", (), HANDLERS, "handler", self._device)
        targets = self._named(top, "targets", (), DRIVERS, "target driver", self._target)
        groups = self._device_groups(top)
        settings = self._values(top, (), ROOT)
        config = Config(tuple(devices), tuple(targets), groups, iscsi=self._iscsi(top), settings=settings)
        self.whole = not self.findings
        self._identities(config)
        for path, message in (*faults(config), *iscsi.faults(config)) if self.of_whole else ():
            self.fail(path, message)
        for path, message in iscsi.own_faults(config):
            self.fail(path, message)
        return config

    def _version_fits(self, top: dict[str, Any]) -> bool:
        if "version" not in top:
            self.fail((), f'"version" is missing; this scstadmin writes "version": {self.version}')
        elif type(top["version"]) is not int or top["version"] != self.version:
            self.fail(("version",), f"must be {self.version}; other versions are not known to this scstadmin")
        return not any(finding.path in ((), ("version",)) and not finding.at_key for finding in self.findings)

    # Objects that map names to objects, two levels deep: handler or driver, then name.

    def _named(
        self,
        top: dict[str, Any],
        section: str,
        path: Path,
        kinds: Mapping[str, Any],
        what: str,
        build: Callable[[Path, str, str, Any], Any],
    ) -> list[Any]:
        found = []
        for kind, members in self._object(top.get(section, {}), (*path, section), None, {}).items():
            here = (*path, section, kind)
            if kind not in kinds:
                self.fail(here, f"unknown {what} {kind!r}{hint(kind, kinds)}", at_key=True)
                continue
            for name, value in self._object(members, here, None, {}).items():
                found.append(build((*here, name), kind, name, value))
        return [item for item in found if item is not None]

    def _device(self, path: Path, handler: str, name: str, value: Any) -> Device | None:
        spec = HANDLERS[handler]
        self._name(path, name, names.check_device_name)
        if name in self._handlers:
            self.fail(path, f"device {name!r} is defined under {self._handlers[name]} already", at_key=True)
        self._handlers[name] = handler
        members = self._object(value, path, (*DEVICE, "id", *spec.settings))
        if members is None:
            return None
        before = len(self.findings)
        settings = self._values(members, path, spec.settings)
        refused = any(finding.path == (*path, spec.required) for finding in self.findings[before:])
        enabled = bool(self._setting(members, path, DEVICE["enabled"]))
        if not enabled:
            self._disabled.add(name)
        self._device_rules(path, spec, settings, enabled and not refused)
        return Device(name, handler, enabled, id=self._identity(members, path), settings=settings)

    def _device_rules(self, path: Path, spec: Handler, settings: Values, enabled: bool) -> None:
        block = int(settings["block_size"]) or 512
        if int(settings.get("size", 0)) % block:
            self.fail((*path, "size"), f"must be a multiple of the block size ({block})")
        if enabled and not settings[spec.required]:
            self.fail(path, f'"{spec.required}" is missing; a device needs it unless "enabled" is false')

    def _identity(self, members: dict[str, Any], path: Path) -> Identity:
        path = (*path, "id")
        given = self._object(members.get("id", {}), path, tuple(IDENTITY)) or {}
        values = {name: self._setting(given, path, row) for name, row in IDENTITY.items() if name in given}
        # A text that was refused counts as left out.
        return Identity(**{name: str(text) for name, text in values.items() if text})

    def _identities(self, config: Config) -> None:
        """No two devices that are the same one to initiators, and none that remote ones could not know
        again.
        """
        for part, text, first, second in same_identities(config.devices):
            self.fail(
                (*_device_path(second), "id", part),
                f"device {first.name!r} has the same {part} {text!r}: to initiators, the two would be one "
                "disk; give one of them another",
            )
        for device, target, missing in unrecognisable(config):
            self.fail(
                _device_path(device),
                f'needs {" and ".join(missing)} in its "id": it is a LUN of '
                f"{target.driver}/{target.name}, "
                "whose initiators must find the same disk after the device was made anew; set them, or "
                "create the device first and take what `scstadmin save` writes",
            )

    def _target(self, path: Path, driver: str, name: str, value: Any) -> Target | None:
        spec = DRIVERS[driver]
        self._name(path, name, spec.name.fault)
        self._once(path, driver, name)
        allowed = (*TARGET, REL_TGT_ID.name, "luns", "groups", *spec.settings)
        more = (*(("hosts",) if spec.hosts else ()), *(("portals", "users") if spec.portals else ()))
        members = self._object(value, path, (*allowed, *more))
        if members is None:
            return None
        return Target(
            driver,
            name,
            bool(self._setting(members, path, TARGET["enabled"])),
            self._rel_tgt_id(members, path),
            hosts=self._list(members, path, "hosts", names.check_initiator),
            portals=self._texts(members, path, "portals", iscsi_names.check_portal_name),
            users=self._users(members, path),
            luns=self._luns(members, path),
            groups=self._groups(members, path),
            settings=self._values(members, path, spec.settings),
        )

    def _once(self, path: Path, driver: str, name: str) -> None:
        """One target, one name, in whichever spelling."""
        known = DRIVERS[driver].name.canonical(name) if type(name) is str else name
        first = self._targets.setdefault((driver, known), name)
        if first != name:
            self.fail(path, f"duplicate {name!r}{_spelled_before(first, name)}", at_key=True)

    def _rel_tgt_id(self, members: dict[str, Any], path: Path) -> int | None:
        number = int(self._setting(members, path, REL_TGT_ID))
        where = str(path[-1])
        if number and self._ids.setdefault(number, where) != where:
            self.fail((*path, "rel_tgt_id"), f"target {self._ids[number]!r} has the same")
        return number or None

    def _groups(self, members: dict[str, Any], path: Path) -> tuple[Group, ...]:
        path = (*path, "groups")
        found = []
        for name, value in self._object(members.get("groups", {}), path, None, {}).items():
            here = (*path, name)
            self._name(here, name, names.check_group_name)
            group = self._object(value, here, (*GROUP, "initiators", "luns"))
            if group is None:
                continue
            priority = int(self._setting(group, here, GROUP["priority"]))
            initiators = self._list(group, here, "initiators", names.check_pattern)
            found.append(Group(name, priority, initiators, self._luns(group, here)))
        return tuple(found)

    def _luns(self, members: dict[str, Any], path: Path) -> tuple[Lun, ...]:
        path = (*path, "luns")
        found = [
            self._plain_lun(number, value) or self._lun((*path, number), number, value)
            for number, value in self._object(members.get("luns", {}), path, None, {}).items()
        ]
        return tuple([lun for lun in found if lun is not None])

    def _plain_lun(self, number: str, value: Any) -> Lun | None:
        """A LUN of which one look tells that all is well, as of nearly all of what may be a million."""
        which = _lun_number(number)
        if type(value) is not dict or which is None or len(value) > 2:
            return None
        device = value.get("device")
        if type(device) is not str or device not in self._handlers or device in self._disabled:
            return None
        read_only = value.get("read_only") if len(value) == 2 else False  # None: it is another setting
        return Lun(which, device, read_only) if type(read_only) is bool else None

    def _lun(self, path: Path, number: str, value: Any) -> Lun | None:
        fault = names.check_lun(number)
        if fault:
            self.fail(path, f"LUN {number!r} {fault.reason}", at_key=True)
        lun = self._object(value, path, ("device", *LUN))
        if lun is None or fault:
            return None
        device = self._reference(lun, path)
        settings: dict[str, Any] = {name: self._setting(lun, path, row) for name, row in LUN.items()}
        return Lun(int(number), device, **settings)

    def _reference(self, lun: dict[str, Any], path: Path) -> str:
        if "device" not in lun:
            self.fail(path, '"device" is missing')
            return ""
        name = self._text(lun, path, "device", lambda text: None)
        if not name or name in self._handlers:
            if not name:
                self.fail((*path, "device"), "must be the name of a device")
            elif name in self._disabled:
                self.fail(
                    (*path, "device"), f'device {name!r} has "enabled": false; a LUN needs an enabled one'
                )
            return name
        self.fail((*path, "device"), f"there is no device {name!r} in this file{hint(name, self._handlers)}")
        return ""

    # Device groups (ALUA).

    def _device_groups(self, top: dict[str, Any]) -> tuple[DeviceGroup, ...]:
        found = []
        for name, value in self._object(top.get("alua", {}), ("alua",), None, {}).items():
            path: Path = ("alua", name)
            self._name(path, name, names.check_group_name)
            members = self._object(value, path, ("devices", "target_port_groups", *DEVICE_GROUP))
            if members is None:
                continue
            devices = self._texts(members, path, "devices", names.check_device_name)
            settings = self._values(members, path, DEVICE_GROUP)
            found.append(DeviceGroup(name, devices, self._port_groups(members, path), settings=settings))
        return tuple(found)

    def _port_groups(self, members: dict[str, Any], path: Path) -> tuple[PortGroup, ...]:
        path = (*path, "target_port_groups")
        found = []
        for name, value in self._object(members.get("target_port_groups", {}), path, None, {}).items():
            here = (*path, name)
            self._name(here, name, names.check_group_name)
            allowed = (GROUP_ID.name, PORT_STATE.name, "targets", "remote_ports", *PORT_GROUP)
            group = self._object(value, here, allowed)
            if group is not None:
                found.append(self._port_group(group, here, name))
        return tuple(found)

    def _port_group(self, group: dict[str, Any], path: Path, name: str) -> PortGroup:
        state = self._setting(group, path, PORT_STATE) if PORT_STATE.name in group else None
        return PortGroup(
            name,
            int(self._setting(group, path, GROUP_ID)) or None,
            None if state is None else str(state),
            self._texts(group, path, "targets", _check_full_name),
            self._numbers(group, path, "remote_ports"),
            settings=self._values(group, path, PORT_GROUP),
        )

    def _texts(self, members: dict[str, Any], path: Path, key: str, check: _Check) -> tuple[str, ...]:
        """A list of texts, each once."""
        found: dict[str, str] = {}
        for index, item in enumerate(self._items(members, path, key)):
            here = (*path, key, index)
            fault = check(item) if type(item) is str else Fault(0, f"must be a text, not {kind_of(item)}")
            if fault is not None:
                self.fail(here, f"{item[:70]!r} {fault.reason}" if type(item) is str else fault.reason)
                continue
            if full_name(item) in found:
                self.fail(here, f"duplicate {item!r}{_spelled_before(found[full_name(item)], item)}")
            found.setdefault(full_name(item), item)
        return tuple(found)

    def _numbers(self, members: dict[str, Any], path: Path, key: str) -> tuple[int, ...]:
        """A list of relative target port identifiers, each once."""
        found: list[int] = []
        for index, item in enumerate(self._items(members, path, key)):
            reason = REL_TGT_ID.type.refuse(item)
            if not reason and item in found:
                reason = f"duplicate {item}"
            if reason:
                self.fail((*path, key, index), reason)
            else:
                found.append(item)
        return tuple(found)

    def _items(self, members: dict[str, Any], path: Path, key: str) -> list[Any]:
        value = members.get(key, [])
        if type(value) is not list:
            self.fail((*path, key), f"must be a list, not {kind_of(value)}")
            return []
        return value

    # iSCSI besides targets.

    def _iscsi(self, top: dict[str, Any]) -> Iscsi:
        path: Path = ("iscsi",)
        members = self._object(top.get("iscsi", {}), path, ("portals", "users", *ISCSI), {})
        portals = []
        for name, value in self._object(members.get("portals", {}), (*path, "portals"), None, {}).items():
            here = (*path, "portals", name)
            self._name(here, name, iscsi_names.check_portal_name)
            portal = self._object(value, here, tuple(PORTAL), {})
            portals.append(Portal(name, settings=self._values(portal, here, PORTAL)))
        return Iscsi(portals, self._users(members, path), settings=self._values(members, path, ISCSI))

    def _users(self, members: dict[str, Any], path: Path) -> tuple[User, ...]:
        path = (*path, "users")
        found = []
        for name, value in self._object(members.get("users", {}), path, None, {}).items():
            here = (*path, name)
            self._name(here, name, iscsi_names.check_user_name)
            user = self._object(value, here, tuple(ISCSI_USER), {})
            found.append(User(name, settings=self._values(user, here, ISCSI_USER)))
        return tuple(found)

    # Values.

    def _name(self, path: Path, name: str, check: _Check) -> None:
        if type(name) is not str:  # of a program; files have no such keys
            self.fail(path, f"name {name!r:.70} must be a text, not {kind_of(name)}", at_key=True)
            return
        fault = check(name)
        if fault:
            self.fail(path, f"name {name[:70]!r} {fault.reason}", at_key=True)

    def _object(self, value: Any, path: Path, allowed: tuple[str, ...] | None, otherwise: Any = None) -> Any:
        if type(value) is not dict:
            self.fail(path, f"must be an object, not {kind_of(value)}")
            return otherwise
        if allowed is not None:
            for key in value.keys() - set(allowed):
                self.fail((*path, key), f"unknown key {key!r}{hint(key, allowed)}", at_key=True)
        return value

    def _values(self, members: dict[str, Any], path: Path, table: Table) -> Values:
        items = list(table.defaults)
        for name in members.keys() & table.keys():
            items[table.places[name]] = self._setting(members, path, table[name])
        return Values.known(table, tuple(items))

    def _setting(self, members: dict[str, Any], path: Path, row: Setting) -> Value:
        if row.name not in members:
            return row.default
        value = members[row.name]
        reason = row.type.refuse(value)
        if reason:
            self.fail((*path, row.name), reason)
            return row.default
        return row.type.meant(value)

    def _text(self, members: dict[str, Any], path: Path, key: str, check: _Check) -> str:
        value = members.get(key, "")
        if type(value) is not str:
            self.fail((*path, key), f"must be a text, not {kind_of(value)}")
            return ""
        fault = check(value)
        if fault:
            self.fail((*path, key), fault.reason)
            return ""
        return value

    def _list(self, members: dict[str, Any], path: Path, key: str, check: _Check) -> tuple[str, ...]:
        value = members.get(key, [])
        path = (*path, key)
        if type(value) is not list:
            self.fail(path, f"must be a list, not {kind_of(value)}")
            return ()
        seen: dict[str, str] = {}
        for index, item in enumerate(value):
            here = (*path, index)
            if type(item) is not str:
                self.fail(here, f"must be a text, not {kind_of(item)}")
                continue
            fault = check(item)
            if fault:
                self.fail(here, f"{item[:70]!r} {fault.reason}")
            elif name_key(item) in seen:
                self.fail(here, f"duplicate {item!r}{_spelled_before(seen[name_key(item)], item)}")
            seen.setdefault(name_key(item), item)
        return tuple(seen.values())


def _check_full_name(text: str) -> Fault | None:
    driver, slash, name = text.partition("/")
    if not slash or driver not in DRIVERS:
        return Fault(errno.EINVAL, f"must be DRIVER/NAME{hint(driver, DRIVERS)}")
    return DRIVERS[driver].name.fault(name)


def _spelled_before(before: str, now: str) -> str:
    return "" if before == now else f": another spelling of {before!r}, which is there already"


@lru_cache(names.LUN_MAX + 1)
def _lun_number(text: str) -> int | None:
    """The number of a LUN; None if it is none."""
    return int(text) if names.check_lun(text) is None else None


def _device_path(device: Device) -> Path:
    return "devices", device.handler, device.name
