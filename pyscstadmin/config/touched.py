# SPDX-License-Identifier: GPL-2.0-or-later
"""Which iSCSI sessions a change of portals, keys or users touches, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyscstadmin.config.model import Config, Portal, Target

__all__ = ["ENDS", "KEEPS", "Seat", "Touched", "touched"]

ENDS = "ends"
KEEPS = "keeps what it has agreed on until it logs in again"


class Seat(NamedTuple):
    """A session: its name, the target (DRIVER/NAME), and the portal it has come by."""

    session: str
    initiator: str
    target: str
    portal: str


class Touched(NamedTuple):
    """A session, and how it is touched: `ENDS` or `KEEPS`, and why."""

    session: str
    initiator: str
    target: str
    how: str
    why: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.session} of {self.initiator} on {self.target} {self.how}: {self.why}"


def touched(old: Config, new: Config, seats: Iterable[Seat]) -> list[Touched]:
    """The sessions that a change from one configuration to the other touches."""
    before, after = ({"/".join(one.key): one for one in config.targets} for config in (old, new))
    found = []
    for seat in seats:
        was = before.get(seat.target)
        how = _how(
            seat, was, after.get(seat.target), old.iscsi.portal(seat.portal), new.iscsi.portal(seat.portal)
        )
        found += [Touched(*seat[:3], *one) for one in list(how)[:1]]
    return found


def _how(
    seat: Seat, was: Target | None, now: Target | None, old: Portal | None, new: Portal | None
) -> Iterator[tuple[str, str]]:
    """The worst first."""
    if now is None or not now.enabled:
        yield ENDS, "its target goes" if now is None else "its target is disabled"
        return
    if new is None or seat.portal not in now.portals:
        yield ENDS, f"its target is not at portal {seat.portal} any more"
    elif old is not None and any(old.settings[name] != new.settings[name] for name in _PLACE):
        yield ENDS, f"portal {seat.portal} is elsewhere"
    if was is None:
        return
    names = [name for name in now.settings if was.settings[name] != now.settings[name]]
    if names:
        yield KEEPS, f"{', '.join(names)} of its target change"
    if was.users != now.users:
        yield KEEPS, "users of its target change"


_PLACE = ("address", "port", "netns")
