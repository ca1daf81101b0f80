# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's tree as a value, in one pass and with as few system calls as its layout allows.

Links are read by their text, nothing is looked up twice, and nothing is checked before it is used. Reading is
optimistic: the generation is read before and after, and a tree that moved in between is read again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from pyscstadmin.config.layout import device_dir, set_dir, target_dir
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.names import PRIORITY_DEFAULT
from pyscstadmin.config.ports import PortTarget
from pyscstadmin.config.settings import DRIVERS, HANDLERS, IDENTITY, LUN, ROOT
from pyscstadmin.config.spelling import spelled
from pyscstadmin.errors import Conflict, OperationError, Unstable
from pyscstadmin.kernel import alua
from pyscstadmin.kernel import iscsi as of_iscsi
from pyscstadmin.kernel.cfs import View, optional

__all__ = [
    "Access",
    "Asked",
    "RootState",
    "Snapshot",
    "Standing",
    "Use",
    "Who",
    "bare_target",
    "device",
    "devices",
    "find_handler",
    "link_to",
    "lun",
    "luns",
    "other_link",
    "port_targets",
    "root_state",
    "snapshot",
    "standing",
    "target",
]

_ATTEMPTS = 3

# What each target shows to whom: ((driver, name) -> (own LUNs, groups)).
Access = Mapping[tuple[str, str], tuple[tuple[Lun, ...], tuple[Group, ...]]]


@dataclass(frozen=True, slots=True)
class RootState:
    """The attributes that say which access configuration is in force and whether another is staged."""

    generation: int
    staged: bool
    autocommit: bool

    @property
    def settled(self) -> bool:
        """What the tree shows is in force, and changes come into force at once."""
        return self.autocommit and not self.staged


class Standing(NamedTuple):
    """How a device is doing: its state, the bytes that it serves or served last, whether nobody can write,
    and the errno of the last opening of its backing that failed ('' for none: a parked one is so on request).
    """

    state: str
    size: int
    read_only: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """A LUN that a device is: of which target (DRIVER/NAME), for which group ('': initiators that no group
    claims), whether it is read-only by itself, and whose sessions see it now.
    """

    target: str
    group: str
    lun: int
    read_only: bool
    sessions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Who:
    """A device, how it is doing, and what uses it."""

    device: Device
    standing: Standing
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A configuration, the generation it belongs to, and the states beside it.

    `device_states` maps device names to disabled, opening, active, closing or parked; `target_states`
    (driver, name) to disabled, enabled, parked (its port is not there) or closing. `device_sizes`: bytes
    that devices with a backing serve, or served last; 0 for one that was never open. `device_errors`: why
    the last opening of a backing failed, where it did.
    """

    config: Config
    root: RootState
    device_states: Mapping[str, str] = field(default_factory=dict)
    target_states: Mapping[tuple[str, str], str] = field(default_factory=dict)
    device_sizes: Mapping[str, int] = field(default_factory=dict)
    device_errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def parked(self) -> tuple[str, ...]:
        """Names of the devices that wait for their backing."""
        return tuple(sorted(name for name, state in self.device_states.items() if state == "parked"))

    def standing(self) -> dict[str, Standing]:
        """How the devices are doing."""
        return {
            device.name: Standing(
                self.device_states.get(device.name, "?"),
                self.device_sizes.get(device.name, device.size),
                device.read_only,
                self.device_errors.get(device.name, ""),
            )
            for device in self.config.devices
        }

    def access(self) -> Access:
        """The access part, to hand to the next `snapshot`."""
        return {target.key: (target.luns, target.groups) for target in self.config.targets}


# (handler, device) -> the parts of its identity that matter.
Asked = Mapping[tuple[str, str], Sequence[str]]


def snapshot(tree: View, known: Snapshot | None = None, asked: Asked | None = None) -> Snapshot:
    """Read everything. With `asked`, only what a plan compares: without sizes and errors, and of the identity
    of these devices these parts (`config.identity.asked`).

    With `known`, access is taken from there instead of being read, if both then and now no changes are staged
    and the generation is the same: every change that initiators could notice moves it. What they could not,
    LUNs without device and groups coming and going empty, shows in the names and the priorities of empty
    groups, which are compared. Devices and targets are always read, for nothing counts their changes. The
    caller drops `known` when the tree was replaced (`Tree.refresh`).

    Raises `Unstable` when the tree does not hold still, `Conflict` for objects this version does not know.
    """
    missing: list[OperationError] = []
    for _ in range(_ATTEMPTS):
        before = root_state(tree)
        reuse = known is not None and before.settled and known.root == before
        try:
            found = _whole(tree, before, known.access() if known and reuse else None, asked)
        except OperationError as error:
            # What was there when its directory was listed is gone. That of devices and targets moves nothing.
            if error.errno != errno.ENOENT:
                raise
            missing.append(error)
            continue
        if root_state(tree) == before:
            return found
    if len(missing) == _ATTEMPTS and len({error.path for error in missing}) == 1:
        # Not on the move, but not there: a setting that this kernel module does not have.
        raise missing[-1]
    raise Unstable(_ATTEMPTS)


def root_state(tree: View) -> RootState:
    """Read the generation and what is staged."""
    return RootState(int(tree.read("generation")), tree.read("staged") == "1", tree.read("autocommit") == "1")


def _whole(tree: View, root: RootState, access: Access | None, asked: Asked | None) -> Snapshot:
    standings: dict[str, Standing] = {}
    target_states: dict[tuple[str, str], str] = {}
    devices = tuple(_devices(tree, standings, asked))
    targets = tuple(_targets(tree, target_states, access))
    groups = tuple(alua.device_groups(tree, other_link))
    settings = ROOT.shown(tuple(map(tree.read, ROOT)))
    config = Config(devices, targets, groups, iscsi=of_iscsi.iscsi(tree), settings=settings)
    backed = {device.name for device in devices if device.path} if asked is None else set()
    return Snapshot(
        config,
        root,
        {name: one.state for name, one in standings.items()},
        target_states,
        {name: one.size for name, one in standings.items() if name in backed},
        {name: one.error for name, one in standings.items() if one.error},
    )


def _devices(tree: View, standings: dict[str, Standing], asked: Asked | None = None) -> list[Device]:
    """All devices: from the table of them, or one by one where there is none."""
    try:
        text = tree.read_all("device_table")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return _each_device(tree, standings, asked)
    found = []
    for block in f"\n{text}".split("\n/")[1:]:
        where, _, lines = block.rstrip("\n").partition("\n")
        handler, _, name = where.partition("/")
        if handler not in HANDLERS:
            raise _unknown("handler", handler, HANDLERS)
        parts = _ALL if asked is None else asked.get((handler, name), _ALL)
        # What a device is set to, many are; what it is known by is its own.
        settings, _, identity = lines.partition("\nid/")
        values = {**_alike(settings), **_attributes(f"id/{identity}")}
        try:
            device, standings[name] = _device(
                values.__getitem__, handler, name, parts, brief=asked is not None
            )
        except KeyError as missing:
            path = f"{tree.root}/{device_dir(handler, name)}/{missing.args[0]}"
            raise OperationError("read", path, None, errno.ENOENT) from None
        found.append(device)
    return found


def _attributes(text: str) -> dict[str, str]:
    """Values by name, of lines of the table of devices."""
    return dict(line.split(" ", 1) for line in text.split("\n") if " " in line)


# Of what many objects have alike, texts are made into values once. So many are kept.
_KEPT = 1 << 14


@lru_cache(_KEPT)
def _alike(text: str) -> Mapping[str, str]:
    return _attributes(text)


def _each_device(tree: View, standings: dict[str, Standing], asked: Asked | None) -> list[Device]:
    found = []
    for handler in tree.list("devices"):
        with tree.at(f"devices/{handler}") as view:
            names = view.list("")
            if names and handler not in HANDLERS:
                raise _unknown("handler", handler, HANDLERS)
            for name in names:
                parts = _ALL if asked is None else asked.get((handler, name), _ALL)
                device, standings[name] = _one_device(view, handler, name, parts, brief=asked is not None)
                found.append(device)
    return found


_ALL = tuple(IDENTITY)


def _one_device(
    view: View, handler: str, name: str, parts: Sequence[str] = _ALL, *, brief: bool = False
) -> tuple[Device, Standing]:
    """A device from its directory."""
    names = _names(handler, parts, brief)
    values = dict(zip(names, view.read_many([f"{name}/{attribute}" for attribute in names]), strict=True))
    return _device(values.__getitem__, handler, name, parts, brief=brief)


def _names(handler: str, parts: Sequence[str], brief: bool) -> list[str]:
    doing = () if brief else ("size", "error")
    names = ("enabled", "state", *HANDLERS[handler].settings, *doing, *(f"id/{part}" for part in parts))
    return list(dict.fromkeys(names))


def _device(
    value: Callable[[str], str], handler: str, name: str, parts: Sequence[str], *, brief: bool
) -> tuple[Device, Standing]:
    """A device with these parts of its identity, and how it is doing, from its attributes. `brief`: without
    size and error.
    """
    table = HANDLERS[handler].settings
    identity = _identity(tuple((part, value(f"id/{part}")) for part in parts))
    settings = table.shown(tuple(map(value, table)))
    device = Device(name, handler, value("enabled") == "1", id=identity, settings=settings)
    size, error = (0, "") if brief else (int(value("size")), value("error"))
    return device, Standing(value("state"), size, device.read_only, error)


@lru_cache(_KEPT)
def _identity(parts: tuple[tuple[str, str], ...]) -> Identity:
    return Identity(**dict(parts))


def _targets(tree: View, states: dict[tuple[str, str], str], access: Access | None) -> list[Target]:
    found = []
    for driver in tree.list("targets"):
        with tree.at(f"targets/{driver}") as view:
            names = view.list("")
            if names and driver not in DRIVERS:
                raise _unknown("target driver", driver, DRIVERS)
            found += [_target(view, driver, name, states, access) for name in names]
    return found


def _target(
    view: View,
    driver: str,
    name: str,
    states: dict[tuple[str, str], str],
    access: Access | None,
    instead: tuple[tuple[Lun, ...], tuple[Group, ...]] | None = None,
) -> Target:
    states[driver, name] = view.read(f"{name}/state")
    enabled = view.read(f"{name}/enabled") == "1"
    rel_tgt_id = int(view.read(f"{name}/rel_tgt_id"))
    spec = DRIVERS[driver]
    rows = spec.settings.values()
    values = spec.settings.shown(tuple(view.read(f"{name}/{row.attribute}") for row in rows))
    hosts = tuple(view.list(f"{name}/hosts")) if spec.hosts else ()
    known = access.get((driver, name)) if access is not None else None
    luns, groups = instead or _access(view, name, known)
    return Target(
        driver,
        name,
        enabled,
        rel_tgt_id,
        hosts=hosts,
        portals=of_iscsi.links(view, name) if spec.portals else (),
        users=of_iscsi.users(view, name) if spec.portals else (),
        spelled=spelled(hosts),
        luns=luns,
        groups=groups,
        settings=values,
    )


def _access(
    view: View, name: str, known: tuple[tuple[Lun, ...], tuple[Group, ...]] | None
) -> tuple[tuple[Lun, ...], tuple[Group, ...]]:
    groups = view.list(f"{name}/groups")
    if known is not None and _still(view, name, known, groups):
        return known
    return _luns(view, name), tuple(_group(view, f"{name}/groups", group) for group in groups)


def _still(
    view: View, name: str, known: tuple[tuple[Lun, ...], tuple[Group, ...]], groups: list[str]
) -> bool:
    """Whether what the generation does not tell is as known, too."""
    own, known_groups = known
    if {group.name for group in known_groups} != set(groups):
        return False
    sets = [(f"{name}/luns", own)]
    sets += [(f"{name}/groups/{group.name}/luns", group.luns) for group in known_groups]
    for group in known_groups:
        # Emptied, it may have been removed and made again, which nobody notices; but not with this priority.
        bare = not group.initiators and not group.luns and group.priority != PRIORITY_DEFAULT
        if bare and view.read(f"{name}/groups/{group.name}/priority") != str(group.priority):
            return False
    for path, luns in sets:
        if not all(lun.device for lun in luns) or {str(lun.number) for lun in luns} != set(view.list(path)):
            return False
    return True


def _group(view: View, parent: str, name: str) -> Group:
    path = f"{parent}/{name}"
    priority = int(view.read(f"{path}/priority"))
    initiators = tuple(view.list(f"{path}/initiators"))
    return Group(name, priority, initiators, _luns(view, path), spelled(initiators))


def _luns(view: View, path: str) -> tuple[Lun, ...]:
    """The LUNs of a target or a group: from its table, or one by one where there is none."""
    try:
        text = view.read_all(f"{path}/lun_table")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return _each_lun(view, f"{path}/luns")
    return _lun_table(text)


# Not many whole tables: each may have thousands of lines.
@lru_cache(16)
def _lun_table(text: str) -> tuple[Lun, ...]:
    """The LUNs of a table. Hundreds of groups have the same, and share them."""
    return tuple(map(_lun, filter(None, text.split("\n"))))


@lru_cache(_KEPT)
def _lun(line: str) -> Lun:
    """A line of a table of LUNs."""
    number, bit, device, *limits = line.split(" ")
    lun = Lun(int(number), device, bit == "1")
    return lun._replace(**_limits(limits)) if limits else lun


def _limits(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE; those that this version does not know are left out."""
    pairs = [word.partition("=") for word in words]
    return {name: LUN[name].type.from_kernel(value) for name, _, value in pairs if name in LUN}


def _one_lun(view: View, number: str) -> Lun:
    read_only = view.read(f"{number}/read_only") == "1"
    found = {name: optional(view, f"{number}/{name}") for name in LUN if name != "read_only"}
    # Modules of before there were limits have none.
    limits: dict[str, Any] = {
        name: LUN[name].type.from_kernel(text) for name, text in found.items() if text is not None
    }
    return Lun(int(number), _linked(view, number), read_only, **limits)


def _each_lun(view: View, path: str) -> tuple[Lun, ...]:
    """Of a module that has no tables, and so no limits either."""
    with view.at(path) as luns:
        numbers = luns.list("")
        bits = luns.read_many([f"{number}/read_only" for number in numbers])
        devices = [_linked(luns, number) for number in numbers]
    return tuple(
        Lun(int(number), device, bit == "1")
        for number, device, bit in zip(numbers, devices, bits, strict=True)
    )


def _linked(view: View, number: str) -> str:
    """The device a LUN points at; '' if at none."""
    try:
        return view.readlink(f"{number}/device").rsplit("/", 1)[-1]
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    other = other_link(view, number)
    return view.readlink(f"{number}/{other}").rsplit("/", 1)[-1] if other else ""


def other_link(view: View, lun: str) -> str:
    """The name of a LUN's link that was made by hand under another name than `device`; '' if there is none.

    The kernel does not see a link's name.
    """
    others = (name for name in view.list(lun) if name not in ("device", "target", "state", *LUN))
    return next((name for name in others if _is_link(view, f"{lun}/{name}")), "")


def link_to(view: View, directory: str, target: str) -> str:
    """The name of a link in a directory that leads there; '' if there is none."""
    names = view.list(directory)
    return next((name for name in names if _leads_to(view, f"{directory}/{name}") == target), "")


def _is_link(view: View, path: str) -> bool:
    """Whether it is a link; an attribute that this version does not know is none."""
    return _leads_to(view, path) is not None


def _leads_to(view: View, path: str) -> str | None:
    """Where a link leads; None: it is none."""
    try:
        return view.readlink(path)
    except OperationError as error:
        if error.errno != errno.EINVAL:
            raise
        return None


def find_handler(tree: View, name: str) -> tuple[str, str] | None:
    """(handler, state) of the device of that name, None if there is none. Reads no more than that."""
    for handler in HANDLERS:
        state = optional(tree, f"{device_dir(handler, name)}/state")
        if state is not None:
            return handler, state
    return None


def luns(tree: View, path: str) -> tuple[Lun, ...]:
    """All LUNs of a target or a group; none if it is not there."""
    try:
        return _luns(tree, path)
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return ()


def device(tree: View, name: str) -> Device | None:
    """One device, None if there is none."""
    found = find_handler(tree, name)
    if found is None:
        return None
    handler, _ = found
    with tree.at(f"devices/{handler}") as view:
        return _one_device(view, handler, name)[0]


def standing(tree: View, name: str) -> Standing | None:
    """How a device is doing, None if there is none."""
    found = find_handler(tree, name)
    if found is None:
        return None
    handler, state = found
    values = [
        optional(tree, f"{device_dir(handler, name)}/{attribute}")
        for attribute in ("size", "read_only", "error")
    ]
    size, read_only, error = values
    if size is None or read_only is None or error is None:  # it went meanwhile
        return None
    return Standing(state, int(size), read_only == "1", error)


def devices(tree: View) -> list[Device]:
    """All devices."""
    return _devices(tree, {})


def bare_target(tree: View, driver: str, name: str) -> Target | None:
    """One target with its settings and hosts but without its access, None if there is none."""
    return target(tree, driver, name, ((), ()))


def target(
    tree: View, driver: str, name: str, access: tuple[tuple[Lun, ...], tuple[Group, ...]] | None = None
) -> Target | None:
    """One target with all its access (or the one given), None if there is none."""
    try:
        with tree.at(f"targets/{driver}") as view:
            return _target(view, driver, name, {}, None, access)
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def port_targets(tree: View, drivers: Iterable[str]) -> dict[tuple[str, str], PortTarget]:
    """The targets that are hardware. One that goes meanwhile is left out."""
    found = {}
    for driver in (name for name in drivers if name in DRIVERS and DRIVERS[name].ports):
        for name in tree.list(f"targets/{driver}"):
            path = target_dir(driver, name)
            enabled, state = optional(tree, f"{path}/enabled"), optional(tree, f"{path}/state")
            if enabled is not None and state is not None:
                found[driver, name] = PortTarget(enabled == "1", state)
    return found


def lun(tree: View, driver: str, target_name: str, group: str, number: int) -> Lun | None:
    """One LUN of a target (`group` '') or group, None if there is none."""
    path = f"{set_dir(driver, target_name, group)}/luns"
    try:
        with tree.at(path) as view:
            return _one_lun(view, str(number))
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def _unknown(what: str, name: str, known: Mapping[str, object]) -> Conflict:
    return Conflict(
        f"the kernel has a {what} {name} in use that this scstadmin does not know "
        f"(it knows {', '.join(known)}): install the scstadmin that belongs to the module"
    )
