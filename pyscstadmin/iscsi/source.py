# SPDX-License-Identifier: GPL-2.0-or-later
"""The policy, read from configfs and sysfs.

What the module announces (its own attributes, targets that come, go, are enabled) is read again when it does.
Who may see which LUNs it does not announce: for that the tree has a generation, which is looked at whenever
somebody wants to log in.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from pyscstadmin.config.layout import CLASS_ROOT, ROOT
from pyscstadmin.config.names import PRIORITY_DEFAULT
from pyscstadmin.config.spelling import unique
from pyscstadmin.errors import NotPresent, OperationError, ScstError
from pyscstadmin.iscsi.device import Device
from pyscstadmin.iscsi.discovery import own_targets
from pyscstadmin.iscsi.login import LoggedIn
from pyscstadmin.iscsi.names import canonical, port_of
from pyscstadmin.iscsi.policy import (
    ALGORITHMS,
    Access,
    Address,
    Connection,
    Group,
    Live,
    Params,
    Policy,
    Portal,
    Target,
    User,
)
from pyscstadmin.iscsi.text import SendTargets
from pyscstadmin.iscsi.uses import FILE as USES
from pyscstadmin.iscsi.uses import Uses
from pyscstadmin.kernel.cfs import RealTree, View, optional

__all__ = ["Seat", "Source", "lives", "read_policy"]

DRIVER = "iscsi"
_DRIVER_DIR, _TARGETS_DIR = f"drivers/{DRIVER}", f"targets/{DRIVER}"
# Seconds that a count of sessions is good for.
COUNTED = 1.0
_DIGESTS = {"none": "None", "crc32c": "CRC32C"}


@contextmanager
def _while_there() -> Iterator[None]:
    """Whatever goes meanwhile is as if it had not been there. What cannot be read for another reason is: to
    take it for gone would end sessions.
    """
    try:
        yield
    except OperationError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def _names(view: View, path: str) -> list[str]:
    with _while_there():
        return sorted(view.list(path))
    return []


def _text(view: View, path: str, default: str = "") -> str:
    found = optional(view, path)
    return default if found is None else found


def _number(view: View, path: str, default: int) -> int:
    text = _text(view, path)
    return int(text) if text.isdigit() else default


def _flag(view: View, path: str, default: bool) -> bool:
    return {"1": True, "0": False}.get(_text(view, path), default)


def _digests(view: View, path: str, default: tuple[str, ...]) -> tuple[str, ...]:
    words = [_DIGESTS[word] for word in _text(view, path).split(",") if word in _DIGESTS]
    return tuple(dict.fromkeys(words)) or default


def _params(view: View, path: str) -> Params:
    plain = Params()
    numbers = {
        name: _number(view, f"{path}/{name}", getattr(plain, name))
        for name in (
            "max_recv_data_segment_length",
            "max_burst_length",
            "first_burst_length",
            "max_outstanding_r2t",
            "queue_depth",
            "nop_interval",
            "nop_timeout",
            "send_timeout",
        )
    }
    return Params(
        _digests(view, f"{path}/header_digest", plain.header_digest),
        _digests(view, f"{path}/data_digest", plain.data_digest),
        _flag(view, f"{path}/initial_r2t", plain.initial_r2t),
        _flag(view, f"{path}/immediate_data", plain.immediate_data),
        **numbers,
    )


def _users(view: View, path: str) -> tuple[User, ...]:
    return tuple(_user(view, f"{path}/{name}", name) for name in _names(view, path))


def _user(view: View, path: str, name: str) -> User:
    direction, source = _text(view, f"{path}/direction", "in"), _text(view, f"{path}/secret_from", "-")
    return User(
        name, direction, source, _number(view, f"{path}/expires", 0), _number(view, f"{path}/uses", 0)
    )


def _algorithms(text: str) -> tuple[str, ...]:
    return tuple(name for name in ALGORITHMS if name in text.split(",")) if text else tuple(ALGORITHMS)


def _luns(view: View, path: str) -> tuple[str, ...]:
    with _while_there():
        return tuple(filter(None, view.read_all(f"{path}/lun_table").split("\n")))
    return ()


def _group(view: View, path: str, name: str) -> Group:
    here = f"{path}/{name}"
    priority = _number(view, f"{here}/priority", PRIORITY_DEFAULT)
    return Group(name, priority, unique(_names(view, f"{here}/initiators")), _luns(view, here))


def _target(view: View, name: str) -> Target:
    ready = view.read(f"{name}/enabled") == "1"
    groups = tuple(_group(view, f"{name}/groups", group) for group in _names(view, f"{name}/groups"))
    return Target(
        name,
        Access(_luns(view, name), groups),
        alias=_text(view, f"{name}/alias"),
        auth=_text(view, f"{name}/auth", "none"),
        algorithms=_algorithms(_text(view, f"{name}/chap_algorithms")),
        redirect=_text(view, f"{name}/redirect"),
        redirect_permanent=_text(view, f"{name}/redirect_permanent"),
        params=_params(view, f"{name}/params"),
        portals=frozenset(_names(view, f"{name}/portals")),
        users=_users(view, f"{name}/users"),
        # Once more: what was read of a target that went meanwhile would be open to everybody.
        ready=ready and view.read(f"{name}/enabled") == "1",
    )


def _portal(view: View, name: str) -> Portal:
    return Portal(
        name,
        port=_number(view, f"{name}/port", 3260),
        netns=_text(view, f"{name}/netns"),
        advertise=_text(view, f"{name}/advertise"),
        discovery_auth=_text(view, f"{name}/discovery_auth", "none"),
        # The last, and without a default: what was read of a portal that goes would be everywhere, and open.
        address=view.read(f"{name}/address"),
    )


def read_policy(tree: View) -> Policy:
    """What the tree says. Raises `OperationError`; what goes meanwhile is left out."""
    targets = []
    with tree.at(_TARGETS_DIR) as view:
        for name in sorted(view.list("")):
            with _while_there():
                targets.append(_target(view, name))
    with tree.at(_DRIVER_DIR) as view:
        with view.at("portals") as below:
            portals = {}
            for name in sorted(below.list("")):
                with _while_there():
                    portals[name] = _portal(below, name)
        users = _users(view, "users")
        return Policy(
            tuple(targets),
            portals,
            users,
            login_timeout=_number(view, "login_timeout", Policy.login_timeout),
            max_connections=_number(view, "max_connections", Policy.max_connections),
            max_half_open=_number(view, "max_half_open", Policy.max_half_open),
            isns_server=_text(view, "isns_server"),
        )


class Seat(NamedTuple):
    """A session, the portal it has come by, and the address and port it has here: `10.0.0.5`, 3260."""

    live: Live
    portal: str
    local: str
    port: int


# The value of a file of a session. Raises OSError.
Value = Callable[[str], str]


def _seat(value: Value) -> Seat:
    driver, _, target = value("target").partition("/")
    if driver != DRIVER:
        raise ValueError(driver)
    isid = bytes.fromhex(value("iscsi/isid").removeprefix("0x"))
    live = Live(_tsih(value), target, value("initiator"), isid, int(value("iscsi/cid"), 0))
    local, _, port = value("iscsi/local").rpartition(":")
    return Seat(live, value("iscsi/portal"), local.strip("[]"), int(port))


def _tsih(value: Value) -> int:
    return int(value("iscsi/tsih"), 0)


def lives(root: str = CLASS_ROOT, like: Callable[[Value], bool] = lambda value: True) -> list[Seat]:
    """The sessions that there are. `like`: those only of which this is so; there may be thousands, and the
    rest of a session is read then.
    """
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(root):
            if name.startswith("session."):
                value = partial(_value, f"{root}/{name}")
                with suppress(OSError, ValueError):  # gone meanwhile, or of another driver
                    if like(value):
                        found.append(_seat(value))
    return found


def _value(path: str, name: str) -> str:
    with open(f"{path}/{name}", encoding="utf-8") as file:
        return file.read().strip()


class Source:
    """The policy of now. `device`: who has the secrets, while there is one. `known`: it was read once.
    `sure`: it could be read when that was tried last, or there is nothing to be read.
    """

    def __init__(self, root: str = ROOT, class_root: str = CLASS_ROOT, uses: str = USES) -> None:
        self._root = root
        self._class_root = class_root
        self._tree: RealTree | None = None
        self._generation = ""
        self._addresses: Mapping[str, tuple[Address, ...]] = {}
        self._most = 0
        self._counted = -COUNTED
        self.uses = Uses(uses)
        self.device: Device | None = None
        self.policy = Policy(available=False)
        self.known = False
        self.sure = True

    def read(self) -> Policy:
        """Read everything. While the module is not there, all remains as it was, but nobody can log in."""
        try:
            tree = self._open()
            generation = tree.read("generation")
            policy = read_policy(tree)
        except ScstError as error:
            self.sure = isinstance(error, NotPresent)
            self.policy = replace(self.policy, available=False)
            return self.policy
        self._generation, self.known, self.sure = generation, True, True
        available = self.device is not None
        self.policy = replace(
            policy,
            available=available,
            secret=self._secret,
            used=self.uses.used,
            session=self._session,
            now=time.time,
        )
        self.place(self._addresses)
        return self.policy

    def place(self, addresses: Mapping[str, tuple[Address, ...]]) -> None:
        """Where each portal can be reached now."""
        self._addresses = addresses
        portals = {
            name: replace(portal, addresses=addresses.get(name, ()))
            for name, portal in self.policy.portals.items()
        }
        self.policy = replace(self.policy, portals=portals)

    def fresh(self) -> Policy:
        """The policy for somebody who comes now."""
        return self.policy if self._same() else self.read()

    def lives(self) -> list[Seat]:
        """As `lives`."""
        return lives(self._class_root)

    def send_targets(self, tsih: int) -> SendTargets | None:
        """What SendTargets is answered with in that session, None if there is none."""
        seat = self._of(tsih)
        if seat is None:
            return None
        came = Connection(seat.portal, Address(ip_address(seat.local)), seat.port)
        name = port_of(seat.live.target)[0]
        return lambda value: own_targets(self.fresh(), seat.live.initiator, name, came, value)

    def has_sessions(self, number: int) -> bool:
        """Whether there are so many sessions of iSCSI, or more."""
        now = time.monotonic()
        # There are at most those that there were a moment ago, and who has begun since.
        if self._most < number and now - self._counted < COUNTED:
            return False
        try:
            names = [name for name in os.listdir(self._class_root) if name.startswith("session.")]
        except FileNotFoundError:
            names = []
        self._most, self._counted = len(names), now
        # Those of other drivers are told from them where it matters: there may be thousands.
        if len(names) >= number:
            self._most = sum(os.path.isdir(f"{self._class_root}/{name}/iscsi") for name in names)
        return self._most >= number

    def began(self) -> None:
        """There is one more session."""
        self._most += 1

    def replaces(self, login: LoggedIn) -> bool:
        """Whether a session ends when this one begins."""
        port = (login.target.name, login.initiator, login.isid)
        its = lives(self._class_root, lambda value: canonical(value("initiator")) == login.initiator)
        return any((one.target, canonical(one.initiator), one.isid) == port for one, *_ in its)

    def _open(self) -> RealTree:
        if self._tree is None:
            self._tree = RealTree(self._root)
        else:
            self._tree.refresh()
        return self._tree

    def _same(self) -> bool:
        """Whether who may see what is as it was read, and so is who is not enabled."""
        if self._tree is None or not self.policy.available:
            return False
        tree = self._tree
        try:
            if tree.read("generation") != self._generation:
                return False
            waiting = (target.name for target in self.policy.targets if not target.ready)
            return not any(_text(tree, f"{_TARGETS_DIR}/{name}/enabled") == "1" for name in waiting)
        except (OperationError, NotPresent):
            return False

    def _secret(self, target: str, user: str) -> bytes | None:
        if self.device is None:
            return None
        try:
            return self.device.secret(target, user)
        except OSError:
            return None

    def _session(self, tsih: int) -> Live | None:
        seat = self._of(tsih)
        return seat.live if seat is not None else None

    def _of(self, tsih: int) -> Seat | None:
        return next(iter(lives(self._class_root, lambda value: _tsih(value) == tsih)), None)
