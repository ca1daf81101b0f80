# SPDX-License-Identifier: GPL-2.0-or-later
"""The `scstadmin` command. Exit codes and output are a contract: docs/scstadmin.md.

The commands `watch` and `shell` stand above the command line and are handed to it (`Faces`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pyscstadmin.cli.parser import FACES, defaults, face_parser, options
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.errors import Interrupted, OperationError, ScstError

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin
    from pyscstadmin.cli.context import Draw
    from pyscstadmin.cli.verbs import Result
    from pyscstadmin.kernel.apply import Progress

__all__ = ["Faces", "admin_of", "agreed", "conclude", "emit", "emit_result", "main", "parsed", "progress_of"]

Command = Callable[[argparse.Namespace], int]

_ALL_THE_SAME = "what was asked for was done all the same"


class Faces(NamedTuple):
    """What is more than a verb: `watch`, `shell`, `import`, and how the tree is drawn."""

    watch: Command
    shell: Command
    importing: Command
    draw: Draw


def main(argv: Sequence[str] | None, faces: Faces) -> int:
    """Run the command line; returns the exit code. Wrong usage exits, as argparse does, but with `--json`."""
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        return _run(_understood(words, faces), is_process=argv is None)
    except WrongUsage as error:
        return _said_wrongly(words, error)
    except OSError as error:
        return _unheard(argparse.Namespace(code=None), error)


def _understood(words: list[str], faces: Faces) -> argparse.Namespace:
    try:
        return parsed(words, faces)
    except SystemExit:  # the help of a face is said
        sys.stdout.flush()
        raise


def _said_wrongly(words: list[str], error: WrongUsage) -> int:
    if _asks_json(words):
        _if_heard(lambda: _emit_fault(words, error.as_dict()))
        return error.exit_code
    _if_heard(lambda: _say_usage(error))
    raise SystemExit(error.exit_code)


def _if_heard(say: Callable[[], None]) -> None:
    """Say something of which the exit code stands, whether anybody reads it or not."""
    try:
        say()
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _say_usage(error: WrongUsage) -> None:
    """How it is to be written, and what is wrong."""
    for line in error.usage.splitlines():
        print(f"usage: scstadmin {line.removeprefix('scstadmin ')}", file=sys.stderr)
    print(f"scstadmin: {error}", file=sys.stderr)


def _prepare_streams() -> None:
    """Whatever the locale is, any name can be printed; streams that the caller has closed are empty."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _asks_json(words: Sequence[str]) -> bool:
    """Whether `--json` was given, in words that could not be parsed."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _run(args: argparse.Namespace, *, is_process: bool) -> int:
    from pyscstadmin.kernel.stops import Stops

    args.stops = Stops()
    args.code = None
    try:
        with args.stops.installed(for_good=is_process):
            code = int(args.run(args))
            sys.stdout.flush()
            return code
    except WrongUsage:
        raise
    except ScstError as error:
        return _report(args, error)
    except Interrupted as error:
        if args.code is None:
            return _report(args, error)
        _drop_output()
        return int(args.code)
    except OSError as error:
        if error.filename is None or args.code is not None:
            return _unheard(args, error)
        return _report(args, OperationError("read", os.fsdecode(error.filename), None, error.errno or 0))


def _unheard(args: argparse.Namespace, error: OSError) -> int:
    """Nobody takes the output. What was done is done, and the exit code says what that was; a command that
    only shows has failed.
    """
    code = 1 if args.code is None else int(args.code)
    # A reader that has gone is no fault worth a word; a full disk is.
    if not isinstance(error, BrokenPipeError):
        done = "" if args.code is None else f"; {_ALL_THE_SAME if code in (0, 3) else f'exit code {code}'}"
        with suppress(OSError):
            print(f"scstadmin: output: {os.strerror(error.errno or 0)}{done}", file=sys.stderr)
    _drop_output()
    return code


def _drop_output() -> None:
    """Keep the interpreter from trying again to write what nobody takes, and complaining, at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _report(args: argparse.Namespace, error: ScstError | Interrupted) -> int:
    text = str(error)
    if isinstance(error, Interrupted):
        text += "; nothing changed"

    def say() -> None:
        if args.json:
            _emit_fault(args.words, {**error.as_dict(), "message": text})
            return
        for line in text.splitlines():
            print(f"scstadmin: {line}", file=sys.stderr)

    _if_heard(say)
    return error.exit_code


def _emit_fault(words: Sequence[str], data: dict[str, object]) -> None:
    """Print the document of an error; on one line, if that is what the command prints."""
    import json

    from pyscstadmin.cli.answers import ERROR, named

    print(json.dumps(named(ERROR, data), indent=None if "watch" in words else 2))


def admin_of(args: argparse.Namespace) -> Admin:
    """The `Admin` for the global options."""
    from pyscstadmin.admin import Admin
    from pyscstadmin.config.layout import ROOT

    return Admin(
        ROOT if args.root is None else args.root,
        sim=args.sim,
        lock_timeout=args.lock_timeout,
        settle=args.settle,
        fence=args.fence,
        stops=args.stops,
    )


def emit(args: argparse.Namespace, data: object, lines: Iterable[str] = ()) -> None:
    """Print a result: the data as one JSON document with `--json`, else the lines."""
    if args.json:
        import json

        print(json.dumps(data, indent=2))
        return
    signs = _signs()
    for line in lines:
        print(line.translate(signs))


def _signs() -> dict[int, int]:
    """What trees are drawn with instead, where the locale cannot print lines."""
    try:
        "└├│─".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return str.maketrans("└├│─", "`||-")
    return {}


def emit_result(args: argparse.Namespace, result: Result) -> int:
    """Print what a verb has to say; returns its exit code."""
    conclude(args, result.exit_code)
    if result.data is not None or not args.json:
        emit(args, result.data, result.lines)
    return result.exit_code


def conclude(args: argparse.Namespace, code: int) -> None:
    """All is done but saying so. If something was changed, its exit code stands even if that cannot be said;
    a second signal ends the saying.
    """
    if args.stops.finished:
        args.code = code
        args.stops.say()


def _person() -> bool:
    """Whether somebody is there to be asked."""
    return getattr(sys.stdin, "isatty", bool)()


def agreed(question: str) -> bool:
    """Ask the person at the terminal, wherever the output goes; the end of input is no consent."""
    if not getattr(sys.stdout, "isatty", bool)():
        print(question, end="", file=sys.stderr, flush=True)
        question = ""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print(file=sys.stderr)
        return False


def progress_of(args: argparse.Namespace) -> Progress | None:
    """What says each step before it is done, if that was asked for; the document has them all anyway."""
    if not args.verbose or args.json:
        return None

    def show(done: int, total: int, operation: object) -> None:
        print(f"[{done + 1}/{total}] {operation.describe()}", file=sys.stderr)  # type: ignore[attr-defined]

    return show


# Parsing.


def parsed(argv: list[str], faces: Faces) -> argparse.Namespace:
    """What is to be run. Raises `WrongUsage`."""
    end = argv.index("--") if "--" in argv else len(argv)
    args, words = _common(argv[:end])
    if args.sim is not None and args.root is not None:
        raise WrongUsage("--sim and --root exclude each other", "[options] COMMAND ...")
    words += argv[end:]
    if words == ["--version"]:
        words = ["version"]
    args.words, args.faces = _help_first(words, args.json), faces
    args.run = _choose(args, args.words)
    return args


def _common(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that all commands have, and the other words. Mostly there is none to be looked for."""
    if not any(word.startswith("-") for word in argv):
        return defaults(argparse.Namespace()), argv
    found, words = options().parse_known_args(argv)
    return defaults(found), words


def _help_first(words: list[str], json: bool) -> list[str]:
    """`map --help` as `help map`. Faces have help of their own, which is text."""
    rest = [word for word in words if word not in ("-h", "--help")]
    if rest == words or (rest and rest[0] in FACES and not json):
        return words
    if rest and rest[0] in FACES:
        return ["help", rest[0]]
    at = 1 if rest and "/" in rest[0] else 0
    return [*rest[:at], "help", *rest[at:]]


def _choose(args: argparse.Namespace, words: list[str]) -> Command:
    first = words[0] if words else "shell"
    if first in FACES:
        own: Command = getattr(args.faces, FACES[first])
        face_parser(first).parse_args(words[1:], args)
        return own
    return _line


def _line(args: argparse.Namespace) -> int:
    """Carry out one command."""
    from pyscstadmin.cli.context import Context
    from pyscstadmin.cli.engine import explained, run, understand_line

    given = understand_line(args.words)
    ask = agreed if not args.json and _person() else None
    with admin_of(args) as admin:
        context = Context(admin, ask, progress=progress_of(args), collects=args.json, draw=args.faces.draw)
        try:
            result = run(context, given)
        except WrongUsage as error:
            raise explained(args.words, error) from None
        return emit_result(args, result)
