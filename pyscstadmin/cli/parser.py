# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as `argparse` has it, made from the table of verbs.

Words are understood by `cli.engine`, here as in the shell. What is made here are the options that all
commands have, and, for help, completion and the man page, the whole of it as a parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from pyscstadmin import __version__
from pyscstadmin.cli.places import KINDS
from pyscstadmin.cli.table import VERBS
from pyscstadmin.cli.verbs import Form, Param, of_row
from pyscstadmin.cli.words import WrongUsage

__all__ = ["EPILOG", "FACES", "Parser", "defaults", "face_parser", "options", "parser"]

EPILOG = """exit codes: 0 done, or nothing to do; 1 refused or failed, nothing changed; 2 wrong usage or
input, nothing touched; 3 done, but devices are parked; 4 partly applied, or done while commands of revoked
access still run; 5 no control plane"""

_DESCRIPTION = """Administer the scst SCSI target. Without a command, on a terminal: the shell; else the
commands are read from the standard input, one a line."""

_FILE = {"bash": "_shtab_compgen_files", "zsh": "_files"}
_DEFAULTS: dict[str, Any] = {
    "json": False,
    "sim": None,
    "root": None,
    "verbose": False,
    "lock_timeout": 10.0,
    "settle": 30.0,
    "fence": False,
}


class Parser(argparse.ArgumentParser):
    """A parser that leaves it to `main` how to say what is wrong, and guesses at no shortened options. No
    argument can be empty: that is what scripts give whose variable is not set.
    """

    def __init__(self, prog: str | None = None, **named: Any) -> None:
        super().__init__(prog or "scstadmin", allow_abbrev=False, **named)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if not arg_string:
            raise argparse.ArgumentError(action, "must not be empty; say a value, or leave it out")
        return super()._get_value(action, arg_string)

    def error(self, message: str) -> NoReturn:
        """Raise `WrongUsage`."""
        raise WrongUsage(message, " ".join(self.format_usage().split()).removeprefix("usage: "))


def options() -> Parser:
    """Options that may stand before or after the command; absent ones leave no attribute."""
    made = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    made.add_argument("--json", action="store_true", help="print one JSON document, errors included")
    made.add_argument("--sim", metavar="DIR", help="use a simulated tree kept in DIR, instead of the kernel")
    made.add_argument("--root", metavar="DIR", help="where the tree is (default: /sys/kernel/config/scst)")
    made.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    made.add_argument(
        "--lock-timeout", type=_seconds, metavar="SECONDS", help="wait for another scstadmin (default: 10)"
    )
    made.add_argument(
        "--settle",
        type=_seconds,
        metavar="SECONDS",
        help="wait for running commands of access that is taken away (default: 30; 0: do not wait)",
    )
    made.add_argument("--fence", action="store_true", help="abort running commands of such access")
    return made


def defaults(args: argparse.Namespace) -> argparse.Namespace:
    """The options, with those that were not given."""
    for name, value in _DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    return args


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0-86400")
    return seconds


# Commands that are more than a verb.


def _watch(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--once", action="store_true", help="look once and stop: 0, or 3 when devices still wait"
    )


def _shell(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "-c",
        dest="lines",
        action="append",
        metavar="LINE",
        help="carry out a line, and stop; may be repeated",
    )
    _completed(
        made.add_argument(
            "file",
            nargs="?",
            help="carry out the lines of a file up to the first that fails; - is standard input",
        )
    )


def _importing(made: argparse.ArgumentParser) -> None:
    stacks = made.add_subparsers(title="stacks", metavar="STACK", required=True)
    text = "LIO, the target of the Linux kernel: what runs, or its saveconfig.json"
    lio = stacks.add_parser("lio", help=text, description=text)
    _completed(
        lio.add_argument(
            "file", nargs="?", help="saveconfig.json; - is the standard input; default: what runs"
        )
    )
    _completed(lio.add_argument("-o", "--output", metavar="FILE", help="write the configuration there"))
    lio.add_argument(
        "--as-local",
        action="store_true",
        help="make targets of driver local of those that there is no driver for, to try things",
    )


_FACES = {
    "watch": ("Follow devices that come and go: bind the right backing, park what has lost its own.", _watch),
    "shell": ("The interactive shell. Its command `help` explains it.", _shell),
    "import": ("Make a configuration of that of another target stack; changes nothing.", _importing),
}
# What each is called in `main.Faces`.
FACES = {"watch": "watch", "shell": "shell", "import": "importing"}


def face_parser(name: str) -> Parser:
    """The parser of one of `FACES`."""
    text, add = _FACES[name]
    made = Parser(f"scstadmin {name}", description=text)
    add(made)
    return made


# The whole.


def parser() -> Parser:
    """The parser of the whole command line."""
    common = options()
    top = Parser(
        "scstadmin",
        description=_DESCRIPTION,
        epilog=EPILOG,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"scstadmin {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for verb, found in VERBS.items():
        if not all(form.shell for form in found):
            _verb(commands, verb, found, common)
    for name, (text, add) in _FACES.items():
        add(commands.add_parser(name, help=text, description=text, parents=[common]))
    return top


def verb_parser(verb: str) -> Parser:
    """The parser of one verb, for its help."""
    top = Parser("scstadmin", add_help=False)
    return _verb(top.add_subparsers(), verb, VERBS[verb], options())


def _verb(commands: Any, verb: str, found: Sequence[Form], common: Parser) -> Parser:
    bare = [form for form in found if form.silent or not form.kind]
    kinds = [form for form in found if form not in bare]
    text = bare[0].help if bare else _summary(verb, [form.kind for form in kinds])
    made: Parser = commands.add_parser(
        verb, help=_escaped(text), description=_escaped(_text(bare[0]) if bare else text), parents=[common]
    )
    for form in bare:
        _params(made, form)
    if kinds:
        below = made.add_subparsers(title="objects", metavar="OBJECT")
        for form in kinds:
            name = KINDS[form.kind] if verb == "list" else form.kind
            about = below.add_parser(
                name, help=_escaped(form.help), description=_escaped(_text(form)), parents=[common]
            )
            _params(about, form)
    return made


def _summary(verb: str, kinds: Sequence[str]) -> str:
    """`create a device, target or group.`"""
    several = ", ".join(kinds[:-1]) + (" or " if len(kinds) > 1 else "") + kinds[-1]
    if verb == "list":
        return f"List {', '.join(KINDS[kind] for kind in kinds)}."
    return f"{verb.capitalize()} {'an' if several[0] in 'aeiou' else 'a'} {several}."


def _text(form: Form) -> str:
    parts = (form.help, " ".join(form.more.split()), f"Example: scstadmin {form.example}")
    return " ".join(part for part in parts if part)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _params(made: argparse.ArgumentParser, form: Form) -> None:
    takes = [param for at, param in enumerate(form.takes) if not at or param.name not in _BY_NAME]
    for param in takes:
        nargs = None if param.needed else "?"
        action = made.add_argument(param.name, nargs=nargs, help=_escaped(param.help), **_values(param))
        _completed(action, param)
    if form.rest is not None:
        nargs = "+" if form.rest.needed else "*"
        made.add_argument(form.rest.name, nargs=nargs, help=_escaped(form.rest.help))
    for param in (*form.takes, *form.named):
        if param not in takes:
            _option(made, param)
    own = made.add_argument_group("settings", "as --name VALUE or name=VALUE") if form.settings else made
    for row in form.settings.values():
        if row.name not in {param.name for param in form.params()}:
            _option(own, of_row(row))


# Where something is: said by position in the shell, and better by name on the command line.
_BY_NAME = ("target", "group", "lun")


def _option(made: Any, param: Param) -> None:
    name = f"--{param.name.replace('_', '-')}"
    if param.flag:
        made.add_argument(name, action="store_true", help=_escaped(param.help))
    else:
        action = made.add_argument(
            name,
            metavar=param.shown,
            required=param.needed,
            help=_escaped(param.help),
            **_values(param),
        )
        _completed(action, param)


def _values(param: Param) -> dict[str, Any]:
    return {"choices": param.choices} if param.choices else {}


def _completed(action: Any, param: Param | None = None) -> None:
    """Say that file names are completed."""
    if param is None or param.source in ("file", "path") or param.name == "path":
        action.complete = _FILE
