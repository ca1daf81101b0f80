# SPDX-License-Identifier: GPL-2.0-or-later
"""What is lost by a change: objects that are no longer there, and what those who are logged in lose. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pyscstadmin.config.acl import decide
from pyscstadmin.config.model import Config, Lun, Target
from pyscstadmin.config.spelling import name_key

__all__ = ["Login", "Losses", "Taken", "losses", "removed"]

_SHOWN = 6


class Login(NamedTuple):
    """Somebody who is logged in: to which target (DRIVER/NAME), the device that each LUN is, and the portal
    that he has come by ('' for none).
    """

    initiator: str
    target: str
    luns: Sequence[tuple[int, str]]
    portal: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A LUN that is taken from somebody who is logged in, or becomes another device under him."""

    initiator: str
    target: str
    lun: int
    device: str


@dataclass(frozen=True, slots=True)
class Losses:
    """What a change removes (`device da`, `group local/t1/a`), which sessions it ends (`NAME on TARGET`), and
    what it takes from others.
    """

    removed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.ended or self.taken)

    @property
    def live(self) -> bool:
        """Whether somebody who is logged in loses something."""
        return bool(self.ended or self.taken)

    def text(self) -> str:
        """`removes device da; ends the session of x on local/t1`."""
        taken = [f"LUN {one.lun} ({one.device}) from {one.initiator} on {one.target}" for one in self.taken]
        sessions = f"ends the session{'' if len(self.ended) == 1 else 's'} of"
        parts = (("removes", self.removed), (sessions, self.ended), ("takes", taken))
        return "; ".join(f"{what} {_some(things)}" for what, things in parts if things)

    def as_dict(self) -> dict[str, Any]:
        """The losses as plain data."""
        return {
            "removed": list(self.removed),
            "ended": list(self.ended),
            "taken": [asdict(one) for one in self.taken],
        }


def _some(things: Sequence[str]) -> str:
    more = len(things) - _SHOWN
    return ", ".join(things[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def losses(old: Config, new: Config, logins: Iterable[Login]) -> Losses:
    """What the change from one configuration to the other takes away."""
    before = {"/".join(target.key): target for target in old.targets}
    after = {"/".join(target.key): target for target in new.targets}
    ended: list[str] = []
    taken: list[Taken] = []
    for login in logins:
        target = after.get(login.target)
        if target is None or _ends(before.get(login.target), target, login.initiator):
            ended.append(f"{login.initiator} on {login.target}")
        elif target != before.get(login.target):
            taken += _taken(target, login)
    return Losses(tuple(removed(old, new)), tuple(ended), tuple(taken))


def _ends(old: Target | None, new: Target, initiator: str) -> bool:
    if not new.enabled:
        return True
    name = name_key(initiator)
    return old is not None and name in map(name_key, old.hosts) and name not in map(name_key, new.hosts)


def _taken(target: Target, login: Login) -> Iterator[Taken]:
    stays = {(lun.number, lun.device) for lun in decide(target, login.initiator, login.portal).luns}
    for number, device in login.luns:
        if (number, device) not in stays:
            yield Taken(login.initiator, login.target, number, device)


def removed(old: Config, new: Config) -> Iterator[str]:
    """The objects of one configuration that the other has not, the largest first. What is in an object is
    not named beside it.
    """
    kept = {target.key: target for target in new.targets}
    for gone in old.targets:
        if gone.key not in kept:
            yield f"target {'/'.join(gone.key)}"
    devices = {device.name for device in new.devices}
    yield from (f"device {device.name}" for device in old.devices if device.name not in devices)
    for target in old.targets:
        stays = kept.get(target.key)
        if stays is not None and stays != target:
            yield from _removed_in(target, stays)
    there = {portal.name for portal in new.iscsi.portals}
    yield from (f"portal {portal.name}" for portal in old.iscsi.portals if portal.name not in there)
    known = {user.name for user in new.iscsi.users}
    yield from (f"user {user.name} of discovery" for user in old.iscsi.users if user.name not in known)


def _removed_in(old: Target, new: Target) -> Iterator[str]:
    full = "/".join(old.key)
    groups = {group.name: group for group in new.groups}
    yield from (f"group {full}/{group.name}" for group in old.groups if group.name not in groups)
    yield from _luns(old.luns, new.luns, full)
    for group in old.groups:
        stays = groups.get(group.name)
        if stays is not None and stays != group:
            yield from _luns(group.luns, stays.luns, f"{full}/{group.name}")
            yield from _names("initiator", group.initiators, stays.initiators, f"{full}/{group.name}")
    yield from _names("host", old.hosts, new.hosts, full)
    yield from _names("portal", old.portals, new.portals, full)
    yield from _names("user", [user.name for user in old.users], [user.name for user in new.users], full)


def _luns(old: Iterable[Lun], new: Iterable[Lun], where: str) -> Iterator[str]:
    numbers = {lun.number for lun in new}
    yield from (
        f"LUN {lun.number} ({lun.device or '-'}) of {where}" for lun in old if lun.number not in numbers
    )


def _names(what: str, old: Iterable[str], new: Iterable[str], where: str) -> Iterator[str]:
    known = {name_key(name) for name in new}
    yield from (f"{what} {name} of {where}" for name in old if name_key(name) not in known)
