# SPDX-License-Identifier: GPL-2.0-or-later
"""drivers/iscsi of the simulated tree, and what targets of iscsi have besides what all have: parameters,
users, links to portals. Nobody listens, and nobody logs in.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pyscstadmin.config import iscsi_names
from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.settings import ISCSI, ISCSI_USER, PORTAL, USER_ATTRIBUTES, Setting, Value
from pyscstadmin.sim.node import (
    RO,
    RW,
    WO,
    Attribute,
    Fixed,
    Item,
    Link,
    Linked,
    Node,
    Refused,
    refuse,
    stored,
)

__all__ = ["IscsiDir", "Params", "Portal", "PortalLinks", "Users"]

_STATE = "waiting: for scst-iscsid"
_SECRET_MIN, _SECRET_MAX = 12, 64


class IscsiDir(Node):
    """drivers/iscsi"""

    def __init__(self, parent: Node) -> None:
        super().__init__(parent, "iscsi")
        self.values: dict[str, Value] = {row.name: row.default for row in ISCSI.values()}
        self.portals = Portals(self, "portals")
        self.users = Users(self, "users")
        self.children = {"portals": self.portals, "users": self.users}

    def attributes(self) -> Mapping[str, Attribute]:
        return {**dict.fromkeys(ISCSI, RW), "isns_state": RO}

    def show(self, name: str) -> str:
        if name == "isns_state":
            return _STATE if self.values["isns_server"] else "off"
        return ISCSI[name].type.to_kernel(self.values[name])

    def store(self, name: str, text: str) -> None:
        self.values[name] = stored(ISCSI[name], text)

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        portals = {portal.name: dict(portal.values) for portal in self.portals.all()}
        return {"values": dict(self.values), "portals": portals, "users": self.users.dump()}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`, before there are targets."""
        self.values.update(data["values"])
        for name, values in data["portals"].items():
            made = self.portals.children[name] = Portal(self.portals, name)
            made.values.update(values)
        self.users.restore(data["users"])


class Portals(Fixed):
    """drivers/iscsi/portals"""

    def make(self, name: str) -> None:
        refuse(iscsi_names.check_portal_name(name))
        self.children[name] = Portal(self, name)

    def all(self) -> Iterator[Portal]:
        """The portals."""
        return (child for child in self.children.values() if isinstance(child, Portal))


class Portal(Item):
    """drivers/iscsi/portals/NAME"""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.values: dict[str, Value] = {row.name: row.default for row in PORTAL.values()}
        self.linked: set[_Leading] = set()

    def attributes(self) -> Mapping[str, Attribute]:
        return {**dict.fromkeys(PORTAL, RW), "state": RO}

    def show(self, name: str) -> str:
        return _STATE if name == "state" else PORTAL[name].type.to_kernel(self.values[name])

    def store(self, name: str, text: str) -> None:
        self.values[name] = stored(PORTAL[name], text)

    def pointed_at(self) -> bool:
        return bool(self.linked)


class PortalLinks(Fixed, Linked):
    """targets/iscsi/NAME/portals"""

    def __init__(self, parent: Node) -> None:
        super().__init__(parent, "portals")
        self.leading: dict[str, _Leading] = {}

    @property
    def links(self) -> Mapping[str, Link]:
        return {name: Link(one, one.portal) for name, one in self.leading.items()}

    def remove(self) -> None:
        raise Refused(errno.EPERM)

    def link(self, name: str, target: Node) -> None:
        if not isinstance(target, Portal):
            raise Refused(errno.EINVAL)
        self.leading[name] = _Leading(self, name, target)

    def dump(self) -> dict[str, str]:
        """Names of links, and where they lead."""
        return {name: one.portal.name for name, one in self.leading.items()}

    def restore(self, portals: Node, data: dict[str, str]) -> None:
        """The reverse of `dump`."""
        for name, portal in data.items():
            self.link(name, portals.children[portal])


class _Leading(Linked):
    """A link to a portal."""

    def __init__(self, parent: PortalLinks, name: str, portal: Portal) -> None:
        super().__init__(parent, name)
        self.portal = portal
        portal.linked.add(self)

    def unlink(self) -> None:
        assert isinstance(self.parent, PortalLinks)
        self.portal.linked.discard(self)
        del self.parent.leading[self.name]


class Params(Fixed):
    """targets/iscsi/NAME/params: settings of the target that are in a folder."""

    def __init__(self, parent: Node, rows: Mapping[str, Setting], values: dict[str, Value]) -> None:
        super().__init__(parent, "params")
        self.rows = rows
        self.values = values

    def attributes(self) -> Mapping[str, Attribute]:
        return dict.fromkeys(self.rows, RW)

    def show(self, name: str) -> str:
        row = self.rows[name]
        return row.type.to_kernel(self.values[row.name])

    def store(self, name: str, text: str) -> None:
        row = self.rows[name]
        self.values[row.name] = stored(row, text)


class Users(Fixed):
    """users of a target, or of discovery"""

    def make(self, name: str) -> None:
        refuse(iscsi_names.check_user_name(name))
        self.children[name] = User(self, name)

    def all(self) -> Iterator[User]:
        """The users."""
        return (child for child in self.children.values() if isinstance(child, User))

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        return {user.name: [user.values, user.secret, user.secret_from] for user in self.all()}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`."""
        for name, fields in data.items():
            made = self.children[name] = User(self, name)
            values, made.secret, made.secret_from = fields
            # Of before there was more than a direction.
            made.values.update({"direction": values} if isinstance(values, str) else values)


class User(Item):
    """users/NAME. Of the secret it has what tells it from another one only."""

    def __init__(self, parent: Users, name: str) -> None:
        super().__init__(parent, name)
        self.values: dict[str, Value] = {row: ISCSI_USER[row].default for row in USER_ATTRIBUTES}
        self.secret = ""
        self.secret_from = ""

    def attributes(self) -> Mapping[str, Attribute]:
        return {**dict.fromkeys(USER_ATTRIBUTES, RW), "secret": WO, "secret_from": RW}

    def show(self, name: str) -> str:
        if name in USER_ATTRIBUTES:
            return ISCSI_USER[name].type.to_kernel(self.values[name])
        return str(getattr(self, name))

    def store(self, name: str, text: str) -> None:
        if name in USER_ATTRIBUTES:
            value = stored(ISCSI_USER[name], text)
            if name == "direction":
                self._refuse_reflected(value, self.secret)
            self.values[name] = value
        elif name == "secret":
            data = os.fsencode(text)
            if not _SECRET_MIN <= len(data) <= _SECRET_MAX:
                raise Refused(errno.ERANGE)
            secret = hashlib.sha256(data).hexdigest()
            self._refuse_reflected(self.values["direction"], secret)
            self.secret, self.secret_from = secret, BY_HAND
        else:
            self._store_source(text)

    def _store_source(self, text: str) -> None:
        if not text:
            raise Refused(errno.EINVAL)
        if not self.secret:
            raise Refused(errno.ENOKEY)
        refuse(iscsi_names.check_alias(text))
        self.secret_from = text

    def _refuse_reflected(self, direction: Value, secret: str) -> None:
        assert isinstance(self.parent, Users)
        others = (user for user in self.parent.all() if user is not self)
        if secret and any(user.secret == secret and user.values["direction"] != direction for user in others):
            raise Refused(errno.EEXIST)
