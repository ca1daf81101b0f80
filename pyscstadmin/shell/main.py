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
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pyscstadmin.errors import Interrupted, NotPresent, ScstError
from pyscstadmin.kernel.stops import Stops, handlers_kept
from pyscstadmin.shell.line import Line, LineError, parse

if TYPE_CHECKING:
    from pyscstadmin.cli.main import Parser
    from pyscstadmin.shell.session import Session

__all__ = ["Failure", "Shell", "run"]

_USAGE = 2

# Commands that make sense before there is a control plane; those that change something load the modules.
_WITHOUT = frozenset(("apply", "cd", "create", "exit", "help", "pwd", "restore"))


class Failure(NamedTuple):
    """Why a line was not carried out: what to say, and the exit code."""

    message: str
    exit_code: int


class Shell:
    """Executes lines. `verbose`: print the stack of an error of the shell itself."""

    def __init__(self, session: Session, *, interactive: bool = False, verbose: bool = False) -> None:
        self.session = session
        self.stops = session.admin.stops or Stops()
        self.verbose = verbose
        self.ended = False
        self._framework = _framework(session, interactive)
        self._path = "/"

    @property
    def here(self) -> Any:
        """The present place, in a tree made anew. A place that is gone is left for the one above it."""
        from pyscstadmin.shell.globals import UsageError
        from pyscstadmin.shell.tree import Root

        root = Root(self._framework)
        while True:
            try:
                return root.get_node(self._path)
            except UsageError:
                self._path = self._path.rpartition("/")[0] or "/"

    def execute(self, line: str) -> Failure | None:
        """Carry out one line; None when that went well."""
        from configshell import ExecutionError

        try:
            self.stops.begin()
            self.session.refresh()
            self._execute(line)
        except (LineError, ExecutionError) as error:
            return Failure(str(error), _USAGE)
        except ScstError as error:
            return Failure(str(error), error.exit_code)
        except Interrupted as error:
            return Failure(f"{error}; nothing changed", error.exit_code)
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            if self.verbose:
                traceback.print_exc()
            return Failure(f"error in the shell itself: {type(error).__name__}: {error} (-v says more)", 1)
        return None

    def _execute(self, line: str) -> None:
        here = self.here
        commands = here.list_commands()
        said = parse(line, lambda word: word not in commands and word in here.kids)
        if not said.path and not said.command:
            return
        _not_empty(said)
        node = here.get_node(said.path)
        command = said.command or "cd"
        if self.session.snapshot is None and command not in _WITHOUT:
            raise NotPresent(self.session.admin.root)
        if command not in node.list_commands():
            raise _unknown(command, node)
        values = (".",) if not said.command else said.values
        result = node.execute_command(command, list(values), said.named)
        if result == "EXIT":
            self.ended = True
        elif result is not None:
            self._path = result.path

    def complete(self, line: str) -> list[str]:
        """What could stand at the end of a line."""
        from pyscstadmin.shell.complete import complete

        self.session.refresh()
        return complete(self.here, line)

    def prompt(self) -> str:
        """The prompt: the end of a long path is what matters."""
        return f"{self._path if len(self._path) <= 50 else '...' + self._path[-47:]}> "


def _not_empty(said: Line) -> None:
    """Refuse `group=`: Tab leaves it so, and it would mean another place. Only a setting can be emptied."""
    from pyscstadmin.shell.globals import UsageError

    empty = [f"{name}=" for name, value in said.named.items() if not value and said.command != "set"]
    empty += ["''" for value in said.values if not value]
    if empty:
        raise UsageError(f"{empty[0]} must not be empty; say a value, or leave it out")


def _unknown(command: str, node: Any) -> Exception:
    from difflib import get_close_matches

    from pyscstadmin.shell.globals import UsageError

    close = get_close_matches(command, [*node.list_commands(), *node.kids], 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return UsageError(f"no command {command} at {node.path}{hint} (`help` lists the commands)")


def _framework(session: Session, interactive: bool) -> Any:
    """The library's shell, without its preferences file, its log and its colours where nobody sees them."""
    with warnings.catch_warnings(), handlers_kept():  # the import takes over control-C
        # Its grammar, which is not used here, is built with functions that pyparsing 3.3 calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from configshell import ConfigShell

        made = ConfigShell(preferences_dir=None)
    made.prefs["color_mode"] = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    made.prefs["loglevel_console"] = "error"
    made.session = session
    made.interactive = interactive
    return made


# The command.


def run(args: argparse.Namespace) -> int:
    """`scstadmin shell [-c LINE] [FILE]`; `args` as parsed by the command line, `args.rest` for what is
    left.
    """
    from pyscstadmin.cli.main import admin_of
    from pyscstadmin.shell.session import Session

    own = _parser().parse_args(args.rest)
    with admin_of(args) as admin, _source(own) as lines:
        interactive = lines is None
        shell = Shell(Session(admin), interactive=interactive, verbose=args.verbose)
        if lines is not None:
            return script(shell, lines, args)
        args.code = code = interact(shell)
        return code


def _parser() -> Parser:
    from pyscstadmin.cli.main import Parser

    made = Parser("scstadmin shell", description="The interactive shell. Its command `help` explains it.")
    made.add_argument(
        "-c",
        dest="lines",
        action="append",
        metavar="LINE",
        help="carry out a line, and stop; may be repeated",
    )
    made.add_argument(
        "file",
        nargs="?",
        help="carry out the lines of a file up to the first that fails; - is standard input",
    )
    return made


@contextmanager
def _source(own: argparse.Namespace) -> Iterator[Iterable[str] | None]:
    """Where the lines come from; None for a person at a terminal."""
    if own.lines is not None:
        if own.file is not None:
            _parser().error("-c and a file exclude each other")
        yield [line for text in own.lines for line in text.split("\n")]
    elif own.file is not None and own.file != "-":
        try:
            file = open(own.file, **_as_names())  # noqa: SIM115
        except OSError as error:
            _parser().error(f"{own.file}: {os.strerror(error.errno or 0)}")
        with file:
            yield file
    elif own.file == "-" or not sys.stdin.isatty():
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
    from pyscstadmin.cli.main import emit

    number, failure = 0, None
    try:
        for line in lines:
            number += 1
            failure = shell.execute(line.rstrip("\r\n"))
            if failure is not None or shell.ended:
                break
            shell.stops.say()  # the next line may have to be waited for
    except Interrupted as error:
        number, failure = number + 1, Failure(f"{error}; nothing changed", error.exit_code)
    if failure is None:
        args.code = code = shell.session.exit_code
        return code
    data = {"error": "ShellFailure", "line": number, **failure._asdict()}
    emit(args, data if args.json else None, (), failure.exit_code)
    for part in () if args.json else f"line {number}: {failure.message}".splitlines():
        print(f"scstadmin: {part}", file=sys.stderr)
    return failure.exit_code


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
    finally:
        shell.stops.done()
        _keep(history)
    return 0


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
