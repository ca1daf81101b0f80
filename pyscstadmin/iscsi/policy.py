# SPDX-License-Identifier: GPL-2.0-or-later
"""What a login has to know: the targets, the portals, who may use what. Pure; `source` makes it.

It is a value: a login that has begun goes on with what was so when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from pyscstadmin.config import model
from pyscstadmin.config.acl import decide
from pyscstadmin.iscsi.names import port_of
from pyscstadmin.iscsi.rules import Obstacle

__all__ = [
    "ALGORITHMS",
    "Address",
    "Connection",
    "Live",
    "Params",
    "Policy",
    "Portal",
    "Target",
    "User",
    "access",
]

# Names in `chap_algorithms`, the strongest first, and the numbers in CHAP_A.
ALGORITHMS = {"sha3-256": 8, "sha256": 7, "sha1": 6, "md5": 5}


@dataclass(frozen=True, slots=True)
class Address:
    """An address of this machine, and the interface that has it ('' if that does not matter)."""

    ip: IPv4Address | IPv6Address
    interface: str = ""

    def __str__(self) -> str:
        return f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)


@dataclass(frozen=True, slots=True)
class Portal:
    """drivers/iscsi/portals/NAME. `addresses`: where it listens at present."""

    name: str
    address: str = "*"
    port: int = 3260
    netns: str = ""
    advertise: str = ""
    discovery_auth: str = "none"
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Params:
    """targets/iscsi/NAME/params: what the target wants, or agrees to at most. Times are seconds.

    The digests are those that are acceptable, the better liked first.
    """

    header_digest: tuple[str, ...] = ("None", "CRC32C")
    data_digest: tuple[str, ...] = ("None", "CRC32C")
    initial_r2t: bool = False
    immediate_data: bool = True
    max_recv_data_segment_length: int = 262144
    max_burst_length: int = 1048576
    first_burst_length: int = 262144
    max_outstanding_r2t: int = 8
    queue_depth: int = 128
    nop_interval: int = 15
    nop_timeout: int = 30
    send_timeout: int = 60


@dataclass(frozen=True, slots=True)
class User:
    """Who proves himself: `direction` in to the target, out to the initiator. `source`: where his secret was
    taken from, '' for none. `expires`: until when he can, in seconds since 1970; `uses`: how often; 0 for no
    limit.
    """

    name: str
    direction: str = "in"
    source: str = "-"
    expires: int = 0
    uses: int = 0

    def used_up(self, used: int) -> Obstacle | None:
        """Whether he was used as often as he can be."""
        if not self.uses or used < self.uses:
            return None
        return Obstacle("used-up", f"user {self.name!a} was good for {self.uses} logins, which he had")

    def obstacle(self, now: float, used: int) -> Obstacle | None:
        """Why no initiator can prove that it is this one, whatever it knows."""
        if self.direction != "in":
            reason = f"user {self.name!a} is of the other direction: the target proves itself with it"
            return Obstacle("wrong-direction", reason)
        if not self.source:
            return Obstacle("no-secret", f"user {self.name!a} has no secret")
        if self.expires and now >= self.expires:
            return Obstacle("expired", f"the time of user {self.name!a} is over")
        return self.used_up(used)


def access(luns: tuple[model.Lun, ...], groups: tuple[model.Group, ...]) -> model.Target:
    """What a target shows to whom. Which driver it is of and what it is called is no matter for that."""
    return model.Target("local", "any", luns=luns, groups=groups)


@dataclass(frozen=True)
class Target:
    """A folder in targets/iscsi. `ready`: initiators may log in. `access`: its LUNs and groups."""

    name: str
    access: model.Target
    ready: bool = True
    alias: str = ""
    auth: str = "none"
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    redirect: str = ""
    redirect_permanent: str = ""
    params: Params = Params()
    portals: frozenset[str] = frozenset()
    users: tuple[User, ...] = ()

    @cached_property
    def port(self) -> tuple[str, int]:
        """iSCSI name and portal group tag."""
        return port_of(self.name)

    def obstacle(self) -> Obstacle | None:
        """Why nobody can log in at present."""
        return None if self.ready else Obstacle("not-enabled", "the target is not enabled")

    def serves(self, initiator: str) -> bool:
        """Whether the initiator may log in: a group claims it, or what no group claims has LUNs."""
        decision = decide(self.access, initiator)
        return bool(decision.group or decision.luns)


@dataclass(frozen=True, slots=True)
class Live:
    """A session that there is. `target`: the folder's name."""

    tsih: int
    target: str
    initiator: str
    isid: bytes
    cid: int


@dataclass(frozen=True, slots=True)
class Connection:
    """How an initiator has come: by which portal, to which address and port, from which."""

    portal: str
    local: Address
    port: int
    peer: str = ""


def _no_secret(target: str, user: str) -> bytes | None:
    return None


def _no_use(target: str, user: User) -> int:
    return 0


def _no_time() -> float:
    return 0.0


def _no_session(tsih: int) -> Live | None:
    return None


@dataclass(frozen=True)
class Policy:
    """All of it. `available`: sessions can be made at all. `secret`: of a user of a target ('': of
    discovery). `used`: how often a user was. `session`: the one of a TSIH. `now`: the time.
    """

    targets: tuple[Target, ...] = ()
    portals: Mapping[str, Portal] = field(default_factory=dict)
    users: tuple[User, ...] = ()
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    available: bool = True
    login_timeout: int = 15
    max_connections: int = 4096
    max_half_open: int = 1024
    isns_server: str = ""
    secret: Callable[[str, str], bytes | None] = _no_secret
    used: Callable[[str, User], int] = _no_use
    session: Callable[[int], Live | None] = _no_session
    now: Callable[[], float] = _no_time

    def user_obstacle(self, target: str, user: User) -> Obstacle | None:
        """Why no initiator can prove to a target ('': to discovery) that it is this user."""
        return user.obstacle(self.now(), self.used(target, user))

    def visible(self, initiator: str, portal: str) -> list[Target]:
        """What the initiator may use through the portal."""
        return [target for target in self.targets if portal in target.portals and target.serves(initiator)]

    def find(self, initiator: str, name: str, portal: str) -> Target | Obstacle:
        """The target of this iSCSI name, if the initiator may use it through the portal; or, for the
        administrator, why not.
        """
        named = [target for target in self.targets if target.port[0] == name]
        if not named:
            return Obstacle("no-such-target", "there is no such target")
        linked = [target for target in named if portal in target.portals]
        if not linked:
            return Obstacle("not-at-portal", f"the target is not linked to portal {portal}")
        reason = "no group of the target claims the initiator, and the target has no LUNs of its own"
        found = (target for target in linked if target.serves(initiator))
        return next(found, Obstacle("not-in-a-group", reason))
