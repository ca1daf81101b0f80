# SPDX-License-Identifier: GPL-2.0-or-later
"""What is configured of iSCSI, as the tree has it."""

from __future__ import annotations

import errno

from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.layout import ISCSI_DIR, portal_dir
from pyscstadmin.config.model import Iscsi, Portal, User
from pyscstadmin.config.settings import ISCSI, ISCSI_USER, PORTAL, USER_ATTRIBUTES, Table
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["iscsi", "isns_state", "links", "portal_states", "users"]


def iscsi(tree: View) -> Iscsi:
    """Everything besides targets; as it is by default where the module is not loaded."""
    try:
        names = tree.list(f"{ISCSI_DIR}/portals")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return Iscsi()
    portals = [Portal(name, settings=PORTAL.shown(_texts(tree, portal_dir(name), PORTAL))) for name in names]
    return Iscsi(portals, users(tree, ISCSI_DIR), settings=ISCSI.shown(_texts(tree, ISCSI_DIR, ISCSI)))


def portal_states(tree: View) -> dict[str, str]:
    """What the login daemon says of each portal. None of one that goes meanwhile."""
    found = {}
    try:
        for name in tree.list(f"{ISCSI_DIR}/portals"):
            found[name] = tree.read(f"{portal_dir(name)}/state")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return found


def isns_state(tree: View) -> str:
    """What the login daemon says of the iSNS server; '' while the module is not loaded."""
    try:
        return tree.read(f"{ISCSI_DIR}/isns_state")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return ""


def _texts(tree: View, path: str, rows: Table) -> tuple[str, ...]:
    return tuple(tree.read(f"{path}/{name}") for name in rows)


def users(tree: View, where: str) -> tuple[User, ...]:
    """The users in `users` of a directory."""
    return tuple(_user(tree, f"{where}/users/{name}", name) for name in tree.list(f"{where}/users"))


def _user(tree: View, path: str, name: str) -> User:
    """Where the secret was taken from is what the tool has written: the file, and which state of it."""
    said = tree.read(f"{path}/secret_from")
    file, blank, stamp = said.rpartition(" ")
    if not blank:
        file, stamp = (BY_HAND if said else ""), ""
    shown = {row: ISCSI_USER[row].type.from_kernel(tree.read(f"{path}/{row}")) for row in USER_ATTRIBUTES}
    return User(name, stamp=stamp).but(secret_file=file, **shown)


def links(tree: View, where: str) -> tuple[str, ...]:
    """The portals that are linked in `portals` of a directory, whatever the links are called."""
    names = tree.list(f"{where}/portals")
    found = (tree.readlink(f"{where}/portals/{name}").rpartition("/")[2] for name in names)
    return tuple(dict.fromkeys(found))
