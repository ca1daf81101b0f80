# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration as values.

Everything here is immutable, compares by value, and sorts its members, so that two configurations are equal
exactly when they mean the same. Texts are as the kernel shows them, without the newline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pyscstadmin.config.facts import Facts
from pyscstadmin.config.names import PRIORITY_DEFAULT, canonical_eui64, canonical_naa
from pyscstadmin.config.settings import (
    DEVICE_GROUP,
    DRIVERS,
    HANDLERS,
    ISCSI,
    ISCSI_USER,
    LUN,
    PORT_GROUP,
    PORTAL,
    ROOT,
    Table,
    Value,
    Values,
    hint,
)
from pyscstadmin.config.spelling import unique
from pyscstadmin.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Config",
    "Device",
    "DeviceGroup",
    "Group",
    "Identity",
    "Iscsi",
    "Lun",
    "PortGroup",
    "Portal",
    "Target",
    "User",
    "full_name",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """What initiators recognise a device by.

    None: in a wanted configuration, keep what the device has, or what the kernel gives a new device
    (`serial` and `naa` are random then). A configuration read from the kernel has no None. An empty `eui64`
    is none. Hex digits are kept in lower case, as the kernel shows them.
    """

    vendor: str | None = None
    product: str | None = None
    revision: str | None = None
    serial: str | None = None
    naa: str | None = None
    eui64: str = ""

    def __post_init__(self) -> None:
        # What is no text is refused by the checks of what is wanted.
        if self.naa and isinstance(self.naa, str):
            object.__setattr__(self, "naa", canonical_naa(self.naa).lower())
        if self.eui64 and isinstance(self.eui64, str):
            object.__setattr__(self, "eui64", canonical_eui64(self.eui64).lower())


class _Thing:
    """What has settings of its own, by the table of its kind: `thing.path`, `thing.but(path="/x")`."""

    __slots__ = ()

    settings: Values

    def but(self, /, **changes: Any) -> Self:
        """The same with some fields or settings changed. Raises `InvalidInput`."""
        fields: tuple[str, ...] = self.__match_args__  # type: ignore[attr-defined]
        kept = {name: getattr(self, name) for name in fields if name not in changes}
        return self.__class__(**{**kept, **changes})

    # Not for the type checker: what all kinds have is typed below, and a misspelt name stays an error.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "settings" or name.startswith("__") or name not in self.settings:
                raise AttributeError(f"{type(self).__name__} has no setting {name}")
            return self.settings[name]


_NAME = attrgetter("name")
_NUMBER = itemgetter(0)  # of a LUN
_Spec = TypeVar("_Spec")
_Member = TypeVar("_Member")


def _kind(table: Mapping[str, _Spec], name: str, what: str, whose: str) -> _Spec:
    """What a handler or driver is. Raises `InvalidInput`."""
    spec = table.get(name) if isinstance(name, str) else None
    if spec is None:
        raise InvalidInput(whose, [Problem(f"no {what} {name!r}{hint(str(name), table)}")])
    return spec


def _is(kind: type, value: object, whose: str) -> None:
    if type(value) is not kind:
        raise InvalidInput(whose, [Problem(f"{value!r:.70} is no {kind.__name__}")])


def _sorted(
    kind: type[_Member], members: Iterable[_Member], key: Callable[[_Member], Any], whose: str
) -> tuple[_Member, ...]:
    """Members in order. Raises `InvalidInput` for what is none, or cannot be put in order."""
    try:
        found = sorted(members, key=key)
    except (AttributeError, TypeError, LookupError) as error:
        raise InvalidInput(whose, [Problem(f"not a sequence of {kind.__name__}s: {error}")]) from error
    for member in found:
        if type(member) is not kind:
            _is(kind, member, whose)
    ordered = tuple(found)
    # What many share (LUNs, by groups) they go on to share.
    return members if type(members) is tuple and members == ordered else ordered


def _names(names: Iterable[str], whose: str) -> tuple[str, ...]:
    """Names of initiators in canonical spelling, each once. Raises `InvalidInput` for what is no name."""
    try:
        return unique(names)
    except (AttributeError, TypeError) as error:
        raise InvalidInput(whose, [Problem(f"not a sequence of names: {error}")]) from error


def _own(table: Table, settings: Values | None, own: dict[str, Any], whose: str) -> Values:
    """The settings of a thing: those it had, as far as its kind has them, and those given by name."""
    if settings is None:
        return Values(table, own, whose)
    _is(Values, settings, whose)
    if settings.table is table and not own:
        return settings
    if settings.table is not table:
        settings = Values(table, {name: value for name, value in settings.items() if name in table}, whose)
    return settings.but(whose, **own)


@dataclass(frozen=True, slots=True, init=False)
class Device(_Thing):
    """A local or virtual device. Which `settings` it has is a matter of its handler: `config.settings`. They
    are given and read by their names, `Device("da", "fileio", path="/srv/da.img").path`.

    Raises `InvalidInput` for a handler or setting that there is not, and for a value that a setting does not
    take.
    """

    name: str
    handler: str
    enabled: bool
    id: Identity
    settings: Values

    def __init__(
        self,
        name: str,
        handler: str,
        enabled: bool = True,
        *,
        id: Identity = Identity(),
        settings: Values | None = None,
        **own: Any,
    ) -> None:
        whose = f"device {name}"
        spec = _kind(HANDLERS, handler, "handler", whose)
        _is(Identity, id, whose)
        put = object.__setattr__
        put(self, "name", name)
        put(self, "handler", handler)
        put(self, "enabled", enabled)
        put(self, "id", id)
        put(self, "settings", _own(spec.settings, settings, own, whose))

    @property
    def path(self) -> str:
        """Where the backing is; '' where there is none."""
        return str(self.settings.get("path", ""))

    @property
    def facts(self) -> Facts | None:
        """What the backing is known by; None: that was not said."""
        return Facts.read(str(self.settings.get("facts", "")))

    @property
    def size(self) -> int:
        """Bytes, where the size is a setting; else 0."""
        return int(self.settings.get("size", 0))

    @property
    def read_only(self) -> bool:
        """Whether nobody can write."""
        return bool(self.settings["read_only"])

    @property
    def block_size(self) -> int:
        """Bytes of a logical block, 0 for that of the backing."""
        return int(self.settings["block_size"])


class Lun(NamedTuple):
    """A LUN of a target or a group; `device` is a device name, empty for a number without device. There may
    be a million of them: a tuple is made, and compared, several times as fast as any other value.
    """

    number: int
    device: str
    read_only: bool = False
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_per_sec: int = 0
    write_bytes_per_sec: int = 0
    burst: int = 100

    def chosen(self) -> dict[str, Value]:
        """Settings that are not as they are by default."""
        return {} if self[2:] == _USUAL else {name: self[at] for name, at, usual in _LUN if self[at] != usual}


_LUN = tuple([(name, 2 + at, row.default) for at, (name, row) in enumerate(LUN.items())])
_USUAL = tuple([usual for _, _, usual in _LUN])


@dataclass(frozen=True, slots=True)
class Group:
    """Initiators that see the same LUNs. Among groups whose patterns match, the lowest `priority` wins.

    `initiators` are in canonical spelling, each once. `spelled`: how the tree has those that somebody made
    there by hand in another.
    """

    name: str
    priority: int = PRIORITY_DEFAULT
    initiators: tuple[str, ...] = ()
    luns: tuple[Lun, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        whose = f"group {self.name}"
        object.__setattr__(self, "initiators", _names(self.initiators, whose))
        object.__setattr__(self, "luns", _sorted(Lun, self.luns, _NUMBER, whose))


@dataclass(frozen=True, slots=True, init=False)
class User(_Thing):
    """Who proves himself by CHAP: to an iSCSI target or to discovery, or the target to initiators.

    The secret itself is nowhere here: `secret_file` says where it is, '' in a wanted configuration that it
    stays as it is. `stamp`: which state of the file; '' where nobody has looked.
    """

    name: str
    settings: Values
    stamp: str

    def __init__(self, name: str, *, settings: Values | None = None, stamp: str = "", **own: Any) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "settings", _own(ISCSI_USER, settings, own, f"user {name}"))
        put(self, "stamp", stamp)

    @property
    def secret_file(self) -> str:
        """Where the secret is."""
        return str(self.settings["secret_file"])


@dataclass(frozen=True, slots=True, init=False)
class Portal(_Thing):
    """Where initiators reach iSCSI targets."""

    name: str
    settings: Values

    def __init__(self, name: str, *, settings: Values | None = None, **own: Any) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "settings", _own(PORTAL, settings, own, f"portal {name}"))


@dataclass(frozen=True, slots=True, init=False)
class Iscsi(_Thing):
    """What there is of iSCSI besides targets: portals, and the users of discovery."""

    portals: tuple[Portal, ...]
    users: tuple[User, ...]
    settings: Values

    def __init__(
        self,
        portals: Iterable[Portal] = (),
        users: Iterable[User] = (),
        *,
        settings: Values | None = None,
        **own: Any,
    ) -> None:
        put = object.__setattr__
        put(self, "portals", _sorted(Portal, portals, _NAME, "iscsi"))
        put(self, "users", _sorted(User, users, _NAME, "iscsi"))
        put(self, "settings", _own(ISCSI, settings, own, "iscsi"))

    def portal(self, name: str) -> Portal | None:
        """The portal of that name, None if there is none."""
        return next((portal for portal in self.portals if portal.name == name), None)


@dataclass(frozen=True, slots=True, init=False)
class Target(_Thing):
    """A target of a driver. `luns` serve initiators that no group claims; `hosts` exist on driver local only,
    `portals` (names) and `users` on iscsi. Which `settings` it has is a matter of its driver:
    `config.settings`.

    `name` is in the driver's canonical spelling, whichever is given. `rel_tgt_id` None: keep the present one,
    or take the first free one. `hosts` and `spelled`: as the initiators of a group. Raises `InvalidInput` as
    `Device` does.
    """

    driver: str
    name: str
    enabled: bool
    rel_tgt_id: int | None
    hosts: tuple[str, ...]
    portals: tuple[str, ...]
    users: tuple[User, ...]
    luns: tuple[Lun, ...]
    groups: tuple[Group, ...]
    settings: Values
    spelled: Mapping[str, str] = field(compare=False, repr=False)

    def __init__(
        self,
        driver: str,
        name: str,
        enabled: bool = True,
        rel_tgt_id: int | None = None,
        *,
        hosts: tuple[str, ...] = (),
        portals: Iterable[str] = (),
        users: Iterable[User] = (),
        luns: tuple[Lun, ...] = (),
        groups: tuple[Group, ...] = (),
        settings: Values | None = None,
        spelled: Mapping[str, str] | None = None,
        **own: Any,
    ) -> None:
        spec = _kind(DRIVERS, driver, "target driver", f"target {name}")
        put = object.__setattr__
        put(self, "driver", driver)
        # What is no text is refused by the checks of what is wanted.
        put(self, "name", spec.name.canonical(name) if isinstance(name, str) else name)
        put(self, "enabled", enabled)
        put(self, "rel_tgt_id", rel_tgt_id)
        put(self, "hosts", _names(hosts, f"target {name}"))
        put(self, "portals", _sorted(str, portals, str, f"target {name}") if portals else ())
        put(self, "users", _sorted(User, users, _NAME, f"target {name}") if users else ())
        put(self, "luns", _sorted(Lun, luns, _NUMBER, f"target {name}"))
        put(self, "groups", _sorted(Group, groups, _NAME, f"target {name}"))
        put(self, "settings", _own(spec.settings, settings, own, f"target {driver}/{name}"))
        put(self, "spelled", spelled or {})

    @property
    def key(self) -> tuple[str, str]:
        """(driver, name): unique in a configuration."""
        return self.driver, self.name

    def group(self, name: str) -> Group | None:
        """The group of that name, None if there is none."""
        return next((group for group in self.groups if group.name == name), None)

    def user(self, name: str) -> User | None:
        """The user of that name, None if there is none."""
        return next((user for user in self.users if user.name == name), None)

    def lun_sets(self) -> Iterator[tuple[str, tuple[Lun, ...]]]:
        """(group name, LUNs), first the target's own under the name ''."""
        yield "", self.luns
        for group in self.groups:
            yield group.name, group.luns


def full_name(text: str) -> str:
    """`DRIVER/NAME` in the driver's canonical spelling; what is none stays as it is."""
    driver, slash, name = text.partition("/")
    spec = DRIVERS.get(driver)
    return f"{driver}/{spec.name.canonical(name)}" if slash and spec is not None else text


@dataclass(frozen=True, slots=True, init=False)
class PortGroup(_Thing):
    """A target port group of a device group: ports by which its devices are reached in the same way.

    `targets`: of this host, `DRIVER/NAME`; `remote_ports`: relative target port identifiers of ports of other
    hosts. `group_id` and `state` None: as they are, or the first free one and active/optimized. `placed`: the
    directories of ports (by target, or by number) that have other names than ours in the tree, and those of
    directories that are no port, under themselves.
    """

    name: str
    group_id: int | None
    state: str | None
    targets: tuple[str, ...]
    remote_ports: tuple[int, ...]
    settings: Values
    placed: Mapping[str, str] = field(compare=False, repr=False)

    def __init__(
        self,
        name: str,
        group_id: int | None = None,
        state: str | None = None,
        targets: Iterable[str] = (),
        remote_ports: Iterable[int] = (),
        *,
        settings: Values | None = None,
        placed: Mapping[str, str] | None = None,
        **own: Any,
    ) -> None:
        whose = f"target port group {name}"
        put = object.__setattr__
        put(self, "name", name)
        put(self, "group_id", group_id)
        put(self, "state", state)
        put(self, "targets", _sorted(str, targets, full_name, whose))
        put(self, "targets", tuple(map(full_name, self.targets)))
        put(self, "remote_ports", _sorted(int, remote_ports, int, whose))
        put(self, "settings", _own(PORT_GROUP, settings, own, whose))
        put(self, "placed", placed or {})

    @property
    def ports(self) -> tuple[str, ...]:
        """All of them, as `placed` knows them."""
        return (*self.targets, *map(str, self.remote_ports))


@dataclass(frozen=True, slots=True, init=False)
class DeviceGroup(_Thing):
    """Devices (by name) that have the same target port groups (ALUA). `placed`: as in a `PortGroup`."""

    name: str
    devices: tuple[str, ...]
    port_groups: tuple[PortGroup, ...]
    settings: Values
    placed: Mapping[str, str] = field(compare=False, repr=False)

    def __init__(
        self,
        name: str,
        devices: Iterable[str] = (),
        port_groups: Iterable[PortGroup] = (),
        *,
        settings: Values | None = None,
        placed: Mapping[str, str] | None = None,
        **own: Any,
    ) -> None:
        whose = f"device group {name}"
        put = object.__setattr__
        put(self, "name", name)
        put(self, "devices", _sorted(str, devices, str, whose))
        put(self, "port_groups", _sorted(PortGroup, port_groups, _NAME, whose))
        put(self, "settings", _own(DEVICE_GROUP, settings, own, whose))
        put(self, "placed", placed or {})

    def port_group(self, name: str) -> PortGroup | None:
        """The target port group of that name, None if there is none."""
        return next((group for group in self.port_groups if group.name == name), None)

    def of_target(self, target: str) -> PortGroup | None:
        """The target port group that a target (`DRIVER/NAME`) is a port of, None if it is in none."""
        return next((group for group in self.port_groups if target in group.targets), None)


@dataclass(frozen=True, slots=True, init=False)
class Config(_Thing):
    """A whole configuration, with the settings of the whole (`config.settings.ROOT`)."""

    devices: tuple[Device, ...]
    targets: tuple[Target, ...]
    alua: tuple[DeviceGroup, ...]
    iscsi: Iscsi
    settings: Values
    # It was held against all rules (`config.valid`, `config.schema`) and is right; it cannot become wrong.
    right: bool = field(init=False, compare=False, repr=False)

    def __init__(
        self,
        devices: tuple[Device, ...] = (),
        targets: tuple[Target, ...] = (),
        alua: tuple[DeviceGroup, ...] = (),
        *,
        iscsi: Iscsi | None = None,
        settings: Values | None = None,
        **own: Any,
    ) -> None:
        put = object.__setattr__
        iscsi = Iscsi() if iscsi is None else iscsi
        _is(Iscsi, iscsi, "configuration")
        put(self, "iscsi", iscsi)
        put(self, "devices", _sorted(Device, devices, _NAME, "configuration"))
        put(self, "targets", _sorted(Target, targets, attrgetter("key"), "configuration"))
        put(self, "alua", _sorted(DeviceGroup, alua, _NAME, "configuration"))
        put(self, "settings", _own(ROOT, settings, own, "configuration"))
        put(self, "right", False)

    def found_right(self) -> None:
        """Note that it need not be held against the rules again."""
        object.__setattr__(self, "right", True)

    def device(self, name: str) -> Device | None:
        """The device of that name, None if there is none."""
        return next((device for device in self.devices if device.name == name), None)

    def target(self, driver: str, name: str) -> Target | None:
        """The target, None if there is none."""
        return next((target for target in self.targets if target.key == (driver, name)), None)

    def device_group(self, name: str) -> DeviceGroup | None:
        """The device group of that name, None if there is none."""
        return next((group for group in self.alua if group.name == name), None)

    def device_group_of(self, device: str) -> DeviceGroup | None:
        """The device group that a device is in, None if it is in none."""
        return next((group for group in self.alua if device in group.devices), None)
