# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin shell`: the interactive shell, and scripts in its language.

configshell gives the tree, the checking of parameters and the framework of commands. Reading a line is not
left to it: its grammar drops what it does not understand (see `shell.line`).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pyscstadmin.cli.engine import explained
from pyscstadmin.cli.places import place
from pyscstadmin.cli.table import VERBS, at
from pyscstadmin.cli.words import WrongUsage, of_words, split
from pyscstadmin.errors import Interrupted, NotPresent, ScstError
from pyscstadmin.kernel.stops import Stops
from pyscstadmin.shell.session import Session

if TYPE_CHECKING:
    from pyscstadmin.cli.places import Place
    from pyscstadmin.cli.verbs import Result

__all__ = ["Failure", "Shell", "run"]


class Failure(NamedTuple):
    """Why a line was not carried out: what to say, the exit code, and the error as data."""

    message: str
    exit_code: int
    details: dict[str, object] = {}  # noqa: RUF012


class Shell:
    """Executes lines. `verbose`: print the stack of an error of the shell itself."""

    def __init__(self, session: Session, *, verbose: bool = False) -> None:
        from pyscstadmin.shell.tree import framework

        self.session = session
        self.context = session.context
        self.stops = session.admin.stops or Stops()
        self.verbose = verbose
        self._framework = framework(session.context)

    @property
    def ended(self) -> bool:
        """Whether `exit` was said."""
        return self.context.ended

    @property
    def here(self) -> Place:
        """The present place. A place that is gone is left for the one above it."""
        context = self.context
        found = place(context.here)
        if context.there():
            while not context.exists(found):
                found = place("..", found.path)
            context.here = found.path
        return found

    def execute(self, line: str, number: int = 0) -> Failure | None:
        """Carry out one line; None when that went well."""
        self.context.begin_line(f"line {number}: {line.strip()}" if number else line.strip())
        try:
            self.stops.begin()
            self._execute(line, number)
        except ScstError as error:
            return Failure(str(error), error.exit_code, error.as_dict())
        except Interrupted as error:
            return _interrupted(error)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            if self.verbose:
                traceback.print_exc()
            said = f"error in the shell itself: {type(error).__name__}: {error} (-v says more)"
            return Failure(said, 1, {"error": type(error).__name__, "message": said, "exit_code": 1})
        return None

    def _execute(self, line: str, number: int) -> None:
        words = split(line)
        if not words:
            return
        from pyscstadmin.shell.tree import node_at

        try:
            here = self.here
            said = of_words(words, lambda word: self._is_place(word, here))
            where = place(said.path, here.path)
            command = said.command or "cd"
            node = node_at(self._framework, where)
            if said.path:
                self._look(where, command)
            if command in VERBS and not VERBS[command][0].absent and not self.context.there():
                raise NotPresent(self.session.admin.root)
            words_ = list(said.arguments) if said.command else split("place=.")
            node.get_command_method(command)
            result: Result = node.execute_command(command, words_)
        except WrongUsage as error:
            raise explained([word.typed for word in words], error) from None
        self.session.take(result, number)

    def _is_place(self, word: str, here: Place) -> bool:
        """Whether a first word is the name of a place below the present one, and no command."""
        if word in at(here):
            return False
        if word in here.folders():
            return True
        try:
            found = here.child(word)
        except WrongUsage:
            return False
        return self.context.there() and self.context.exists(found)

    def _look(self, where: Place, command: str) -> None:
        """Refuse a place where nothing is, but to make something there."""
        if self.context.there() and not self.context.exists(where):
            raise WrongUsage(f"nothing is at {where.path}{self.context.near_place(where)}")

    def complete(self, line: str) -> list[str]:
        """What could stand at the end of a line."""
        from pyscstadmin.shell.complete import complete

        self.context.begin_line()
        if not self.context.there():
            return []
        return complete(self.context, self.here, line)

    def prompt(self) -> str:
        """The prompt: the end of a long path is what matters, and that something was begun."""
        path = self.context.here
        begun = "*" if self.context.batch is not None else ""
        return f"{path if len(path) <= 50 else '...' + path[-47:]}{begun}> "


def _interrupted(error: Interrupted) -> Failure:
    return Failure(f"{error}; nothing changed", error.exit_code, error.as_dict())


# The command.


def run(args: argparse.Namespace) -> int:
    """`scstadmin shell [-c LINE] [FILE]`; `args` as parsed by the command line."""
    from pyscstadmin.cli.main import admin_of, progress_of

    lines, file = getattr(args, "lines", None), getattr(args, "file", None)
    with admin_of(args) as admin, _source(lines, file) as found:
        interactive = found is None
        if interactive and args.json:
            raise WrongUsage("--json is for commands and scripts, not for a person at a terminal")
        session = Session(admin, interactive=interactive, keep=args.json)
        session.context.progress = progress_of(args)
        shell = Shell(session, verbose=args.verbose and not args.json)
        if found is not None:
            return script(shell, found, args)
        args.code = code = interact(shell)
        return code


@contextmanager
def _source(lines: list[str] | None, path: str | None) -> Iterator[Iterable[str] | None]:
    """Where the lines come from; None for a person at a terminal."""
    if lines is not None:
        if path is not None:
            raise WrongUsage("-c and a file exclude each other", "shell [-c LINE] [FILE]")
        yield [line for text in lines for line in text.split("\n")]
    elif path is not None and path != "-":
        try:
            file = open(path, **_as_names())  # noqa: SIM115
        except OSError as error:
            raise WrongUsage(f"{path}: {os.strerror(error.errno or 0)}", "shell [FILE]") from error
        with file:
            yield file
    elif path == "-" or not sys.stdin.isatty():
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(**_as_names())
        yield sys.stdin
    else:
        yield None


def _as_names() -> dict[str, Any]:
    """How to read a script: as names are read everywhere else, so that each byte finds its way back into the
    path it belongs to. Only a newline ends a line.
    """
    return {
        "encoding": sys.getfilesystemencoding(),
        "errors": sys.getfilesystemencodeerrors(),
        "newline": "\n",
    }


def script(shell: Shell, lines: Iterable[str], args: argparse.Namespace) -> int:
    """Carry out lines up to the first that fails; its exit code, else the worst of what was done."""
    number, failure = 0, None
    try:
        for line in lines:
            number += 1
            failure = shell.execute(line.rstrip("\r\n"), number)
            if failure is not None or shell.ended:
                break
            shell.stops.say()  # the next line may have to be waited for
    except Interrupted as error:
        number, failure = number + 1, _interrupted(error)
    failure = failure or _left_begun(shell)
    if failure is not None:
        return _failed(shell, failure, number, args)
    args.code = code = shell.session.exit_code
    _say_results(shell, args, {"exit_code": code})
    return code


def _left_begun(shell: Shell) -> Failure | None:
    if shell.context.batch is None:
        return None
    said = f"`begin` without `commit`: {_some(shell)} dropped, none is in force"
    return Failure(said, 1, WrongUsage(said).as_dict())


def _failed(shell: Shell, failure: Failure, number: int, args: argparse.Namespace) -> int:
    args.code = failure.exit_code
    if not args.json:
        for part in f"line {number}: {failure.message}".splitlines():
            print(f"scstadmin: {part}", file=sys.stderr)
        return failure.exit_code
    data = {
        "error": "ShellFailure",
        "line": number,
        "message": failure.message,
        "exit_code": failure.exit_code,
    }
    _say_results(shell, args, {**data, "cause": failure.details})
    return failure.exit_code


def _say_results(shell: Shell, args: argparse.Namespace, data: dict[str, object]) -> None:
    """One document for all lines."""
    from pyscstadmin.cli.answers import SCRIPT, named
    from pyscstadmin.cli.main import emit

    if args.json:
        emit(args, named(SCRIPT, {**data, "results": shell.session.results}))


def interact(shell: Shell) -> int:
    """Read lines from a person until the end of input, `exit`, or a signal other than that of control-C."""
    import readline

    _prepare(shell)
    history = _history_file()
    with suppress(OSError):
        readline.read_history_file(history)
    try:
        # A terminal that is gone takes no words; what was typed is kept all the same.
        with suppress(OSError, Interrupted), _control_c(shell):
            print("scstadmin shell. `help` says what can be done, Tab completes, `exit` leaves.")
            while not shell.ended and _one_line(shell):
                pass
            if shell.context.batch is not None:
                print(f"{_some(shell)} dropped, none is in force")
    finally:
        shell.stops.done()
        _keep(history)
    return 0


def _some(shell: Shell) -> str:
    """`3 changes` that were begun."""
    count = len(shell.context.batch.steps) if shell.context.batch is not None else 0
    return f"{count} change{'' if count == 1 else 's'}"


@contextmanager
def _control_c(shell: Shell) -> Iterator[None]:
    """To a person, control-C is a key, also when whoever started the shell ignores its signal."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, shell.stops)
    try:
        yield
    finally:
        if before is signal.SIG_IGN:
            signal.signal(signal.SIGINT, before)


def _one_line(shell: Shell) -> bool:
    """Read a line and carry it out; whether to go on."""
    shell.stops.say()
    try:
        line = input(shell.prompt())
    except EOFError:
        print()
        return False
    except Interrupted:
        print()
        return shell.stops.taken() == signal.SIGINT
    failure = shell.execute(line)
    if failure is not None:
        print(failure.message, file=sys.stderr)
    return shell.stops.taken() in (0, signal.SIGINT)


def _prepare(shell: Shell) -> None:
    import readline

    found: list[str] = []

    def completer(text: str, state: int) -> str | None:
        if state == 0:
            try:
                found[:] = shell.complete(readline.get_line_buffer()[: readline.get_endidx()])
            except ScstError:  # the next command says what is wrong
                found.clear()
        return found[state] if state < len(found) else None

    readline.set_completer_delims(" \t")
    readline.set_completion_display_matches_hook()
    readline.set_completer(completer)
    readline.parse_and_bind("tab: complete")


def _history_file() -> str:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "scstadmin", "history")


def _keep(history: str) -> None:
    """Keep the last lines for the next time; where that is not possible, not."""
    import readline

    readline.set_history_length(1000)
    with suppress(OSError):
        os.makedirs(os.path.dirname(history), mode=0o700, exist_ok=True)
        os.close(os.open(history, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        readline.write_history_file(history)
