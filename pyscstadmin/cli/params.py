# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tables of forms share: parameters that many have, and the form that lists a kind."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from pyscstadmin.cli import access
from pyscstadmin.cli.places import KINDS
from pyscstadmin.cli.verbs import Form, Param, flag
from pyscstadmin.config.settings import DRIVERS

__all__ = [
    "DRIVER",
    "GET_MORE",
    "INITIATOR",
    "IN_TARGET",
    "ONE_TARGET",
    "SETTING",
    "SET_MORE",
    "TARGET",
    "YES",
    "listing",
    "one_of",
]


def one_of(what: str, table: Collection[str]) -> Callable[[str], str]:
    """Takes the names of a table."""

    def parse(text: str) -> str:
        if text not in table:
            raise ValueError(f"there is no {what} {text!r}; there are {', '.join(table)}")
        return text

    return parse


TARGET = Param("target", "DRIVER/NAME, or NAME where one driver only has it", source="target", needed=True)
INITIATOR = Param(
    "initiator",
    "exact name, or a pattern with * and ?; a leading ! inverts",
    source="initiator",
    needed=True,
)
IN_TARGET = replace(TARGET, help="the target it belongs to: DRIVER/NAME, or NAME")
ONE_TARGET = replace(TARGET, help="of this target only", needed=False)
DRIVER = Param(
    "driver",
    "target driver: " + ", ".join(DRIVERS),
    one_of("target driver", DRIVERS),
    source="driver",
    choices=tuple(DRIVERS),
)
YES = flag("yes", "do not ask", also=("confirm",))
SETTING = Param("setting", "name of a setting", source="setting")

SET_MORE = "`get` lists the settings. All that are given are changed, or none."
GET_MORE = """Without names: all settings and states, each with its value, default, unit and what it means;
`ro` is what the kernel tells. With names: these, as they would be typed."""


def listing(kind: str, text: str, *named: Param, example: str = "") -> Form:
    """The form that lists a kind; it is also called by the plural."""
    plural = KINDS[kind]
    return Form(
        "list", kind, access.list_kind, text, named=named, also=(plural,), example=example or f"list {plural}"
    )
