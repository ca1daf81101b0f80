# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plan does about iSCSI: portals, users, and which target is reached at which portal. Pure.

A portal is there before what links to it, and goes after that; users and links of a target are there before
it is enabled, and before `auth` asks for them. In each directory of users, those that go do so first: two
directions never have one secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyscstadmin.config.acts import Act, Impact, Link, Mkdir, Operation, Rmdir, Secret, Unlink, Write
from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.layout import ISCSI_DIR, portal_dir, target_dir, users_dir
from pyscstadmin.config.model import Config, Iscsi, Portal, Target, User
from pyscstadmin.config.settings import ISCSI, ISCSI_USER, PORTAL, USER_ATTRIBUTES, Rows, Values

__all__ = ["IscsiPlan", "settle_iscsi", "settle_users", "with_secrets"]


def settle_iscsi(current: Iscsi, wanted: Iscsi) -> Iscsi:
    """`wanted` with every "as it is" filled in."""
    settled = wanted.but(users=settle_users(current.users, wanted.users)) if wanted.users else wanted
    return current if current == settled else settled


def settle_users(current: Iterable[User], wanted: Iterable[User]) -> tuple[User, ...]:
    """Users whose secrets stay as they are where nobody says a file, or has looked at it."""
    there = {user.name: user for user in current}
    return tuple(_settle_user(there.get(user.name), user) for user in wanted)


def _settle_user(current: User | None, wanted: User) -> User:
    if current is None or wanted.secret_file not in ("", current.secret_file):
        return wanted
    if not wanted.secret_file or not wanted.stamp:
        return wanted.but(secret_file=current.secret_file, stamp=current.stamp)
    return wanted


def with_secrets(current: Config, wanted: Config) -> Config:
    """`wanted`, where it is silent about secrets with those of `current`."""
    there = {target.key: target.users for target in current.targets}
    targets = tuple(
        one.but(users=settle_users(there.get(one.key, ()), one.users)) if one.users else one
        for one in wanted.targets
    )
    return wanted.but(targets=targets, iscsi=settle_iscsi(current.iscsi, wanted.iscsi))


class IscsiPlan:
    """The operations about iSCSI, by the times at which they are to be done."""

    def __init__(self, current: Config, wanted: Config) -> None:
        self.old, self.new = current.iscsi, wanted.iscsi
        self.old_targets = {target.key: target for target in current.targets if target.driver == "iscsi"}
        self.new_targets = {target.key: target for target in wanted.targets if target.driver == "iscsi"}
        self.linked = {
            name for target in self.old_targets.values() if target.enabled for name in target.portals
        }

    def early(self) -> Iterator[Operation]:
        """Settings, portals that are new or change, users of discovery."""
        if self.old == self.new:
            return
        for act in _changes(ISCSI_DIR, self.old.settings, self.new.settings, ISCSI):
            yield Operation(f"set {act.path.rpartition('/')[2]} of iscsi to {act.value}", ISCSI_DIR, (act,))
        before = {portal.name: portal for portal in self.old.portals}
        for portal in self.new.portals:
            if portal.name not in before:
                yield _create_portal(portal)
            elif before[portal.name] != portal:
                impact = Impact.SESSION_DROP if portal.name in self.linked else Impact.NONE
                yield _change_portal(before[portal.name], portal, impact)
        yield from _users("discovery", users_dir(), self.old.users, self.new.users)

    def of_targets(self) -> Iterator[Operation]:
        """Links and users of targets that stay, or are new."""
        for key, new in self.new_targets.items():
            old = self.old_targets.get(key) or Target(*key, enabled=False)
            yield from self._target(old, new)

    def of_removed_targets(self) -> Iterator[Operation]:
        """Links and users of targets that go, which would keep them."""
        for key, old in self.old_targets.items():
            if key not in self.new_targets:
                yield from self._target(old, old.but(portals=(), users=()))

    def late(self) -> Iterator[Operation]:
        """Portals that nothing leads to any more."""
        after = {portal.name for portal in self.new.portals}
        for portal in self.old.portals:
            if portal.name not in after:
                path = portal_dir(portal.name)
                gone = Rmdir(path, tuple(_changes(path, Values(PORTAL, {}), portal.settings, PORTAL)))
                yield Operation(f"remove portal {portal.name}", path, (gone,))

    def _target(self, old: Target, new: Target) -> Iterator[Operation]:
        where, root = f"target {'/'.join(new.key)}", target_dir(*new.key)
        yield from _users(where, users_dir(new.name), old.users, new.users)
        impact = Impact.SESSION_DROP if old.enabled and new.enabled else Impact.NONE
        for name in sorted({*new.portals} - {*old.portals}):
            path = f"{root}/portals/{name}"
            yield Operation(f"link {where} to portal {name}", path, (Link(path, portal_dir(name)),))
        for name in sorted({*old.portals} - {*new.portals}):
            path = f"{root}/portals/{name}"
            gone = Unlink(path, portal_dir(name))
            yield Operation(f"take {where} from portal {name}", path, (gone,), impact)


def _create_portal(portal: Portal) -> Operation:
    path = portal_dir(portal.name)
    writes = _changes(path, Values(PORTAL, {}), portal.settings, PORTAL)
    return Operation(f"create portal {portal.name}", path, (Mkdir(path), *writes))


def _change_portal(old: Portal, new: Portal, impact: Impact) -> Operation:
    path = portal_dir(new.name)
    changes = tuple(_changes(path, old.settings, new.settings, PORTAL))
    names = ", ".join(act.path.rpartition("/")[2] for act in changes)
    return Operation(f"change {names} of portal {new.name}", path, changes, impact)


def _changes(path: str, old: Values, new: Values, table: Rows) -> Iterator[Write]:
    for name, row in table.items():
        if old[name] != new[name]:
            write = row.type.to_kernel
            yield Write(f"{path}/{row.attribute}", write(new[name]), write(old[name]))


def _users(where: str, path: str, old: Iterable[User], new: Iterable[User]) -> Iterator[Operation]:
    before, after = ({user.name: user for user in users} for users in (old, new))
    for name, user in before.items():
        if name not in after:
            acts = (Rmdir(f"{path}/{name}", tuple(_user_acts(path, User(name), user))),)
            yield Operation(f"remove user {name} of {where}", f"{path}/{name}", acts)
    for name, user in after.items():
        there = before.get(name)
        acts_of = tuple(_user_acts(path, there or User(name), user))
        if there is None:
            made: tuple[Act, ...] = (Mkdir(f"{path}/{name}"), *acts_of)
            yield Operation(f"create user {name} of {where}", f"{path}/{name}", made)
        elif acts_of:
            words = " and ".join(
                "secret" if isinstance(act, Secret) else act.path.rpartition("/")[2] for act in acts_of
            )
            yield Operation(f"change {words} of user {name} of {where}", f"{path}/{name}", acts_of)


def _user_acts(folder: str, old: User, new: User) -> Iterator[Write | Secret]:
    path = f"{folder}/{new.name}"
    yield from _changes(
        path, old.settings, new.settings, {name: ISCSI_USER[name] for name in USER_ATTRIBUTES}
    )
    there, wanted = (old.secret_file, old.stamp), (new.secret_file, new.stamp)
    if wanted[0] not in ("", BY_HAND) and wanted != there:
        yield Secret(path, *wanted, there if there[0] not in ("", BY_HAND) else None)
