# SPDX-License-Identifier: GPL-2.0-or-later
"""Random configurations for the property tests."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

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
)
from pyscstadmin.config.names import PORT_STATES
from pyscstadmin.config.settings import DRIVERS, Number, Setting, Text, Value, Word

MIB = 1 << 20
NAMES = [f"d{i}" for i in range(6)]
DISKS = [f"/nonexistent/disk{i}" for i in range(4)]

identities = st.builds(
    Identity,
    vendor=st.sampled_from(["SCST", "ACME"]),
    product=st.sampled_from(["disk", "x y"]),
    revision=st.sampled_from(["1", "2.0"]),
)
# No two devices of a configuration have the same; those of another may have them the other way round.
SERIALS = [f"S{number}" for number in range(4)]
NAAS = ["3" * 16, "6" + "a" * 31, "5" * 16, "2" * 16]
EUI64S = ["", "0" * 16, "1" * 24, "2" * 32]
flags = st.booleans()


def device(name: str) -> st.SearchStrategy[Device]:
    """A device of that name; its backing, if it has one, is absent."""
    path = st.sampled_from(["/nonexistent/a", "/nonexistent/b"])
    block = st.sampled_from([0, 512, 4096])
    rotational = st.sampled_from(["auto", True, False])
    common = {
        "read_only": flags,
        "rotational": rotational,
        "removable": flags,
        "stop_unit": flags,
        "id": identities,
        "block_size": block,
    }
    fixed = st.just(name)
    null = st.builds(Device, fixed, st.just("nullio"), size=st.sampled_from([MIB, 2 * MIB]), **common)
    backed = {**common, "path": path, "write_through": flags, "thin": flags}
    file = st.builds(Device, fixed, st.just("fileio"), o_direct=flags, **backed)
    block_device = st.builds(Device, fixed, st.just("blockio"), **backed)
    return null | file | block_device


def luns(names: list[str]) -> st.SearchStrategy[tuple[Lun, ...]]:
    """LUNs of these devices, with distinct numbers."""
    if not names:
        return st.just(())
    limits = {
        "read_iops": st.sampled_from([0, 0, 100]),
        "write_iops": st.just(0),
        "read_bytes_per_sec": st.just(0),
        "write_bytes_per_sec": st.sampled_from([0, 0, 1 << 20]),
        "burst": st.sampled_from([100, 100, 1]),
    }
    lun = st.builds(Lun, st.integers(0, 5), st.sampled_from(names), flags, **limits)
    return st.lists(lun, max_size=4, unique_by=lambda item: item.number).map(tuple)


PATTERNS = ["a", "b", "x*", "!x*", "a?", "*"]
patterns = st.lists(st.sampled_from(PATTERNS), max_size=3, unique=True).map(tuple)


def groups(names: list[str]) -> st.SearchStrategy[tuple[Group, ...]]:
    """Groups with distinct names."""
    group = st.builds(
        Group, st.sampled_from(["g1", "g2", "g3"]), st.sampled_from([0, 100, 200]), patterns, luns(names)
    )
    return st.lists(group, max_size=3, unique_by=lambda item: item.name).map(tuple)


# What targets may be called, in one spelling or another; each driver takes those that it can.
TARGETS = [
    "t1",
    "t2",
    "t3",
    "21:00:00:1b:32:0a:0b:0c",
    "0X2100001B320A0B0D",
    "naa.2100001b320a0b0e",
    "iqn.2026-11.com.example:T",
]


def keys() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Drivers and names of some targets: three of each driver at most."""
    known = [
        (driver, name)
        for driver, spec in DRIVERS.items()
        for name in [one for one in TARGETS if spec.name.fault(one) is None][:3]
    ]
    return st.lists(st.sampled_from(known), max_size=3, unique=True)


def value(row: Setting) -> st.SearchStrategy[Value]:
    """A value of a setting of a target."""
    if row.name == "first_burst_length":  # never above max_burst_length
        return st.just(512)
    if isinstance(row.type, Number):
        return st.sampled_from([row.default, row.type.low, row.type.high])
    if isinstance(row.type, Word):
        return st.sampled_from(row.type.only)
    if isinstance(row.type, Text):
        return st.sampled_from([row.default, *TEXTS.get(row.name, ())])
    return st.booleans()


# What some texts of a target may be.
TEXTS = {"alias": ("one", "für alle"), "chap_algorithms": ("md5", "sha1,md5"), "redirect": ("san:3260",)}
PORTALS = ["p", "q"]


def users() -> st.SearchStrategy[tuple[User, ...]]:
    """Users without secrets; one at most is who the target proves itself as."""
    made = st.builds(User, st.sampled_from(["u", "v"]), direction=st.just("in"))
    own = st.builds(User, st.just("w"), direction=st.sampled_from(["in", "out"]))
    found = st.lists(made | own, max_size=2, unique_by=lambda user: user.name)
    return found.map(tuple)


def iscsi() -> st.SearchStrategy[Iscsi]:
    """All portals that targets may be reached at, with different ports, and users of discovery."""
    port = st.sampled_from([1, 3260])
    where = st.sampled_from(["*", "eth0", "10.0.0.1"])
    portals = st.tuples(
        st.builds(Portal, st.just("p"), port=port, address=where),
        st.builds(Portal, st.just("q"), port=st.just(2)),
    )
    return st.builds(Iscsi, portals, users(), max_half_open=st.sampled_from([1024, 1]))


def target(driver: str, name: str, number: int, names: list[str]) -> st.SearchStrategy[Target]:
    """A target of that name and relative identifier."""
    spec = DRIVERS[driver]
    own = {row.name: value(row) for row in spec.settings.values()}
    hosts = st.lists(st.sampled_from(["a", "b", "xy"]), max_size=2, unique=True).map(tuple)
    return st.builds(
        Target,
        st.just(driver),
        st.just(name),
        flags,
        st.just(number),
        hosts=hosts if spec.hosts else st.just(()),
        portals=st.lists(st.sampled_from(PORTALS), unique=True) if spec.portals else st.just(()),
        users=users() if spec.portals else st.just(()),
        luns=luns(names),
        groups=groups(names),
        **own,
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A whole configuration that a file could say."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    disks = draw(st.permutations(DISKS))
    # A disk is opened for one device only, and initiators know one device only by an identifier.
    parts = zip(*(draw(st.permutations(part)) for part in (SERIALS, NAAS, EUI64S)), strict=True)
    devices = [
        found.but(
            **({"path": disk} if found.handler == "blockio" else {}),
            id=replace(found.id, serial=serial, naa=naa, eui64=eui64),
        )
        for found, disk, (serial, naa, eui64) in zip(
            [draw(device(name)) for name in names], disks, parts, strict=False
        )
    ]
    numbers = draw(st.permutations([1, 2, 3, 4]))
    targets = [draw(target(*key, numbers[i], names)) for i, key in enumerate(draw(keys()))]
    groups = draw(device_groups([found.name for found in devices], targets))
    wanted = any(one.portals for one in targets) or draw(flags)
    besides = draw(iscsi()) if wanted else Iscsi()
    limit = draw(st.sampled_from([0, MIB]))
    return Config(tuple(devices), tuple(targets), groups, iscsi=besides, buffer_limit=limit)


@st.composite
def device_groups(draw: st.DrawFn, names: list[str], targets: list[Target]) -> tuple[DeviceGroup, ...]:
    """Device groups of some of the devices, with some of the targets as ports, and ports of other hosts."""
    left, found = draw(st.permutations(names)), []
    for name in draw(st.lists(st.sampled_from(["dg", "other"]), max_size=2, unique=True)):
        count = draw(st.integers(0, len(left)))
        mine, left = left[:count], left[count:]
        found.append(DeviceGroup(name, mine, draw(port_groups(targets)), explicit=draw(flags)))
    return tuple(found)


@st.composite
def port_groups(draw: st.DrawFn, targets: list[Target]) -> list[PortGroup]:
    """Target port groups: a target, and a number, is a port of one of them."""
    ids = draw(st.permutations([1, 2, 3, 4]))
    ports = draw(st.permutations(targets))
    used = {one.rel_tgt_id for one in targets}
    numbers = draw(st.permutations([number for number in range(1, 7) if number not in used]))
    found = []
    names = draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True))
    for name, group_id in zip(names, ids, strict=False):
        mine, far = draw(st.integers(0, len(ports))), draw(st.integers(0, min(2, len(numbers))))
        texts = ["/".join(one.key) for one in ports[:mine]]
        state = draw(st.sampled_from(PORT_STATES))
        found.append(PortGroup(name, group_id, state, texts, numbers[:far], preferred=draw(flags)))
        ports, numbers = ports[mine:], numbers[far:]
    return found
