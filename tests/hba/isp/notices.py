# SPDX-License-Identifier: GPL-2.0-or-later
"""Immediate notifies that are not link services: what has happened, and what it does to commands.

The codes are those that the in-tree driver knows.  When real firmware sends them, and which commands end
with them, is believed, not known.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTIFY_LIP_RESET, NOTIFY_LINK_REINIT, NOTIFY_OVERFLOW, NOTIFY_ABORT = 0x0E, 0x0F, 0x16, 0x20
NOTIFY_PORT_LOGOUT, NOTIFY_PORT_CONFIG, NOTIFY_GLOBAL_TPRLO, NOTIFY_GLOBAL_LOGOUT = 0x29, 0x2A, 0x2D, 0x2E
NOTIFY_RESOURCE, NOTIFY_TASK, NOTIFY_SRR, NOTIFY_ELS = 0x34, 0x36, 0x45, 0x46

CTIO_LIP_RESET, CTIO_TARGET_RESET, CTIO_LOGGED_OUT, CTIO_PORT_CONFIG = 0x0E, 0x17, 0x29, 0x2A
CTIO_SRR, CTIO_ABORTED = 0x45, 0x02


@dataclass(frozen=True, slots=True)
class Notice:
    """One kind of event."""

    code: int
    """Status of the notify; 0: the driver is not told."""
    ends: int = 0
    """CTIO status of the commands that end; 0: they go on."""
    logout: bool = False
    """The logins end, without a word to the other side."""


NOTICES = {
    "lip reset": Notice(NOTIFY_LIP_RESET, CTIO_LIP_RESET),
    "link reinit": Notice(NOTIFY_LINK_REINIT),
    "port logout": Notice(NOTIFY_PORT_LOGOUT, CTIO_LOGGED_OUT, logout=True),
    "port config": Notice(NOTIFY_PORT_CONFIG, CTIO_PORT_CONFIG),
    "global tprlo": Notice(NOTIFY_GLOBAL_TPRLO, CTIO_LOGGED_OUT, logout=True),
    "global logout": Notice(NOTIFY_GLOBAL_LOGOUT, CTIO_LOGGED_OUT, logout=True),
    "target reset": Notice(0, CTIO_TARGET_RESET),
    "silent logout": Notice(0, CTIO_LOGGED_OUT, logout=True),
    "resource": Notice(NOTIFY_RESOURCE),
    "iocb overflow": Notice(NOTIFY_OVERFLOW),
    "task management": Notice(NOTIFY_TASK),
    "abort task": Notice(NOTIFY_ABORT),
}


def known(kind: str) -> Notice:
    """A kind by its name; ValueError says which there are."""
    if kind not in NOTICES:
        raise ValueError(f"there is no notify {kind!r}; known are {', '.join(NOTICES)}")
    return NOTICES[kind]
