# SPDX-License-Identifier: GPL-2.0-or-later
"""Help: what can be done at a place, and what one command means. Made from the table of verbs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyscstadmin.cli.parser import FACES, face_parser
from pyscstadmin.cli.places import PLURALS, TOP, Place
from pyscstadmin.cli.table import VERBS, at, form_at, forms, kinds_at
from pyscstadmin.cli.verbs import Form, near, usage
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.settings import Setting

__all__ = ["TOPICS", "form_lines", "help_data", "help_lines"]

_INTRODUCTION = """Places:   /devices/HANDLER/NAME   what can be served: files, block devices, null devices
          /targets/DRIVER/NAME    who may see what: groups of initiators, and their LUNs
          /sessions               who is logged in, and what each sees
Line:     [PLACE] COMMAND [OBJECT] [VALUE ...] [NAME=VALUE ...]     Tab completes and shows what is possible.

First steps: create a device, create a target, create a group in it, map the device to the group, save.
  create device disk1 /dev/disk/by-id/... handler=blockio
  create target local/t1
  create group backup iqn.2026-11.com.example:backup1 target=t1
  map disk1 target=t1 group=backup read_only=yes
  save
The same at places:
  /devices/blockio create disk1 /dev/disk/by-id/...
  /targets/local create t1
  /targets/local/t1/groups create backup iqn.2026-11.com.example:backup1
  /targets/local/t1 map disk1 group=backup read_only=yes
"""

# Other things to ask for, and what they are.
TOPICS = {
    "options": """Options of the command line, before or after the command:
  --json               one JSON document, errors included
  --sim DIR            a simulated tree kept in DIR, instead of the kernel
  --root DIR           where the tree is
  -v                   say each step before it is done
  --lock-timeout N     seconds to wait for another scstadmin (10)
  --settle N           seconds to wait for commands of access that is taken away (30; 0: do not wait)
  --fence              abort these commands""",
    "exit": """Exit codes: 0 done, or nothing to do; 1 refused or failed, nothing changed; 2 wrong usage or
input, nothing touched; 3 done, but devices are parked; 4 partly applied, or commands of access that was
taken away still run; 5 no control plane.""",
    "places": """Places are paths in a tree, absolute or from where you are:
  /devices/HANDLER/NAME
  /targets/DRIVER/NAME          with luns, groups and hosts below
  .../groups/GROUP              with initiators and luns below
At a place, what it says need not be said again: at /targets/local/t1, target= is known.""",
}


def help_data(words: Iterable[str], place: Place) -> dict[str, Any]:
    """What `help` says, as data."""
    asked = list(words)
    if asked and (asked[0] in FACES or asked[0] in TOPICS):
        return {"topic": asked[0], "text": "\n".join(help_lines(asked, place))}
    found = _asked(asked, place)
    return {"commands": [_form_data(form, place) for form in found]}


def _form_data(form: Form, place: Place) -> dict[str, Any]:
    return {
        "verb": form.verb,
        "object": form.kind,
        "usage": usage(form, place),
        "help": form.help,
        "parameters": [
            {"name": param.name, "help": param.help, "needed": param.needed, "values": list(param.choices)}
            for param in form.params()
        ],
        "settings": sorted(form.settings),
        "example": form.example,
    }


def help_lines(words: Iterable[str], place: Place = TOP) -> Iterator[str]:
    """What can be done at a place, or what one command or topic means. Raises `WrongUsage`."""
    asked = list(words)
    if not asked:
        yield from _INTRODUCTION.splitlines()
        yield ""
        yield f"Commands at {place.path} (`help COMMAND` says more; topics: {', '.join(TOPICS)}):"
        yield from (f"  {verb:<11} {_short(verb, place)}" for verb in at(place))
        yield "On the command line:"
        yield from (f"  {name:<11} {face_parser(name).description}" for name in FACES)
        return
    if asked[0] in FACES:
        yield from face_parser(asked[0]).format_help().splitlines()
        return
    if asked[0] in TOPICS and asked[0] not in VERBS:
        yield from TOPICS[asked[0]].splitlines()
        return
    for number, form in enumerate(_asked(asked, place)):
        if number:
            yield ""
        yield from form_lines(form, place)


def _short(verb: str, place: Place) -> str:
    own = form_at(verb, place)
    kinds = kinds_at(verb, place)
    if own is not None:
        return own.help
    if not kinds:
        return forms(verb)[0].help
    return f"{_first(next(iter(kinds.values())).help)} ({', '.join(kinds)})"


def _first(text: str) -> str:
    return text.split(". ")[0].split(", ")[0].rstrip(".")


def _asked(words: list[str], place: Place) -> list[Form]:
    if not words:
        return [form for verb in at(place) for form in _forms(verb, place)]
    verb, *rest = words
    found = _forms(verb, place) or list(forms(verb))
    if not found:
        known = [*VERBS, *TOPICS, *FACES]
        raise WrongUsage(f"no command or topic {verb}{near(verb, known)}; there are {', '.join(known)}")
    kind = PLURALS.get(rest[0], rest[0]) if rest else ""
    chosen = [form for form in forms(verb) if form.kind == kind] if kind else found
    if not chosen:
        known = [form.kind for form in forms(verb) if form.kind]
        raise WrongUsage(f"`{verb}` is about {', '.join(known) or 'no object'}, not about {rest[0]}")
    return chosen


def _forms(verb: str, place: Place) -> list[Form]:
    own = form_at(verb, place)
    kinds = kinds_at(verb, place)
    found = [*kinds.values()] if own is None else [own, *(form for form in kinds.values() if form is not own)]
    return found or ([form for form in forms(verb) if form.silent] if not place.kind else [])


def form_lines(form: Form, place: Place = TOP) -> Iterator[str]:
    """What a form of a verb means."""
    yield form.help
    yield ""
    yield f"{usage(form, place)}"
    if form.more:
        yield ""
        yield from form.more.splitlines()
    params = [param for param in form.params() if param.name not in place.fixed]
    if params or form.settings:
        yield ""
    for param in params:
        values = f" ({', '.join(param.choices)})" if param.choices and not param.flag else ""
        yield f"  {param.shown if not param.flag else param.name + '=yes':<16} {param.help}{values}"
    yield from (f"  {row.name + '=':<16} {_setting(row)}" for row in form.settings.values())
    if form.example:
        yield ""
        yield f"Example: {form.example}"


def _setting(row: Setting) -> str:
    return f"{row.help} ({row.type.words})"
