# SPDX-License-Identifier: GPL-2.0-or-later
"""The `scstadmin` command. Exit codes and output are a contract: docs/scstadmin.md.

The commands `watch` and `shell` stand above the command line and are handed to it (`Faces`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from pyscstadmin import __version__
from pyscstadmin.errors import Interrupted, ScstError

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin
    from pyscstadmin.config.lint import Remark
    from pyscstadmin.config.model import Config
    from pyscstadmin.config.plan import Operation
    from pyscstadmin.kernel.apply import Outcome, Progress
    from pyscstadmin.kernel.running import Running

__all__ = ["Faces", "Parser", "admin_of", "agreed", "emit", "main", "parser"]

Command = Callable[[argparse.Namespace], int]
# What carries out `watch` and `shell`; `args.rest` has the arguments that are left for it.
Faces = Mapping[str, Command]

_EPILOG = """exit codes: 0 done, or nothing to do; 1 refused or failed, nothing changed; 2 wrong usage or
input, nothing touched; 3 done, but devices are parked; 4 partly applied, or done while commands of revoked
access still run; 5 no control plane"""


class WrongUsage(Exception):
    """The command line is not understood."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        self.parser = parser
        self.message = message
        super().__init__(message)


class Parser(argparse.ArgumentParser):
    """A parser that leaves it to `main` how to say what is wrong. No argument can be empty: that is what
    scripts give whose variable is not set, and it would mean something else than they do.
    """

    def error(self, message: str) -> NoReturn:
        """Raise `WrongUsage`."""
        raise WrongUsage(self, message)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if "" in arg_strings and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, "must not be empty; say a value, or leave it out")
        return super()._get_values(action, arg_strings)


def main(argv: Sequence[str] | None, faces: Faces) -> int:
    """Run the command line; returns the exit code. Wrong usage exits, as argparse does, but with `--json`."""
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        return _run(_parse(words, faces), is_process=argv is None)
    except WrongUsage as error:
        if not _asks_json(words):
            argparse.ArgumentParser.error(error.parser, error.message)
        args = argparse.Namespace(json=True)
        emit(args, {"error": "WrongUsage", "message": error.message, "exit_code": 2})
        return 2


def _prepare_streams() -> None:
    """Whatever the locale is, any name can be printed; streams that the caller has closed are empty."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _asks_json(words: Sequence[str]) -> bool:
    """Whether `--json` was given, perhaps shortened, in words that could not be parsed."""
    options = words[: words.index("--")] if "--" in words else words
    return any(len(word) > 2 and "--json".startswith(word) for word in options)


def _run(args: argparse.Namespace, *, is_process: bool) -> int:
    from pyscstadmin.kernel.stops import Stops

    args.stops = Stops()
    args.code = None
    try:
        with args.stops.installed(for_good=is_process):
            code = int(args.run(args))
            sys.stdout.flush()
            return code
    except ScstError as error:
        return _report(args, error)
    except Interrupted as error:
        if args.code is None:
            return _report(args, error)
        _drop_output()
        return int(args.code)
    except OSError as error:
        return _unheard(args, error)


def _unheard(args: argparse.Namespace, error: OSError) -> int:
    """Nobody takes the output. What was done is done, and the exit code says what that was; a command that
    only shows has failed.
    """
    code = 1 if args.code is None else int(args.code)
    # A reader that has gone is no fault worth a word; a full disk is.
    if not isinstance(error, BrokenPipeError):
        done = "" if args.code is None else "; what was asked for was done all the same"
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
    if isinstance(error, Interrupted) and not args.takes_rest:
        text += "; nothing changed"
    try:
        if args.json:
            emit(args, {**error.as_dict(), "message": text})
        else:
            for line in text.splitlines():
                print(f"scstadmin: {line}", file=sys.stderr)
        sys.stdout.flush()
    except OSError:  # the exit code stands, whether anybody reads the rest or not
        _drop_output()
    return error.exit_code


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


def emit(args: argparse.Namespace, data: object, lines: Iterable[str] = (), code: int | None = None) -> None:
    """Print a result: the data as one JSON document with `--json`, else the lines. `code`: the exit code of
    what was done, which stands even if this cannot be printed.
    """
    args.code = code
    if code is not None:
        args.stops.say()
    if args.json:
        import json

        print(json.dumps(data, indent=2))
        return
    for line in lines:
        print(line)


# Parsing.


def _parse(argv: list[str], faces: Faces) -> argparse.Namespace:
    top = parser(faces)
    args, rest = top.parse_known_args(argv)
    if not hasattr(args, "run"):
        if not sys.stdin.isatty():
            top.error("a command is needed when the input is no terminal")
        args.run, args.takes_rest = faces["shell"], True
    if rest and not args.takes_rest:
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest, args.wrong = rest, top.error
    for name, default in (
        ("json", False),
        ("sim", None),
        ("root", None),
        ("verbose", False),
        ("lock_timeout", 10.0),
        ("settle", 30.0),
        ("fence", False),
    ):
        if not hasattr(args, name):
            setattr(args, name, default)
    if args.sim is not None and args.root is not None:
        top.error("--sim and --root exclude each other")
    return args


def parser(faces: Faces) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    common = _common()
    top = Parser(
        "scstadmin",
        description="Administer the scst SCSI target. Without a command, on a terminal: the shell.",
        epilog=_EPILOG,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"scstadmin {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run: Command, text: str, takes_rest: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(run=run, takes_rest=takes_rest)
        return made

    _file_commands(add)
    _access_commands(add)
    sessions = add("sessions", _sessions, "show who is logged in and what each sees")
    sessions.add_argument(
        "--commands", action="store_true", help="show the commands in flight: since when, where, whose"
    )
    add("who", _who, "show which LUNs a device is, and who sees it now").add_argument("device")
    for name, run in (("activate", _activate), ("deactivate", _deactivate)):
        verb = (
            "open the backing of a parked device"
            if name == "activate"
            else "close a device's backing and park it"
        )
        add(name, run, verb).add_argument("device")
    rebind = add("rebind", _rebind, "let a device be on the disk or file that is at its path now")
    rebind.add_argument("device")
    rebind.add_argument("path", nargs="?", default="", help="its path from now on")
    resize = add("resize", _resize, "serve what a device's backing has grown to, or so many bytes of it")
    resize.add_argument("device")
    resize.add_argument(
        "size", nargs="?", type=_size, help="bytes, or with K, M, G, T; 0: all of the backing"
    )
    resize.add_argument("--shrink", action="store_true", help="even if SIZE is less than it was")
    add("schema", _schema, "print the JSON Schema of configuration files")
    _import_command(add)
    watch = add("watch", faces["watch"], "follow devices that come and go, until stopped")
    watch.add_argument(
        "--once", action="store_true", help="look once and stop: 0, or 3 when devices still wait"
    )
    add("shell", faces["shell"], "the interactive shell", takes_rest=True)
    return top


def _common() -> Parser:
    """Options that may stand before or after the command; absent ones leave no attribute."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="print one JSON document, errors included")
    common.add_argument(
        "--sim", metavar="DIR", help="use a simulated tree kept in DIR, instead of the kernel"
    )
    common.add_argument("--root", metavar="DIR", help="where the tree is (default: /sys/kernel/config/scst)")
    common.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    common.add_argument(
        "--lock-timeout", type=float, metavar="SECONDS", help="wait for another scstadmin (default: 10)"
    )
    common.add_argument(
        "--settle",
        type=_seconds,
        metavar="SECONDS",
        help="wait for running commands of access that is taken away (default: 30; 0: do not wait)",
    )
    common.add_argument("--fence", action="store_true", help="abort running commands of such access")
    return common


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0-86400")
    return seconds


_Add = Callable[..., argparse.ArgumentParser]


def _file_commands(add: _Add) -> None:
    add("show", _show, "show the configuration and its states")
    plan = add("plan", _plan, "show what apply would do")
    plan.add_argument("file", help="configuration; - is the standard input")
    apply = add("apply", _apply, "make the configuration what a file says: all of it, or nothing")
    apply.add_argument("file", help="configuration; - is the standard input")
    save = add("save", _save, "write the configuration to a file, keeping the nine before it")
    save.add_argument("file", nargs="?", help="default: /etc/scst/scst.json; - prints it")
    save.add_argument("--force", action="store_true", help="even if the present state is degraded")
    restore = add("restore", _restore, "apply all of a file that can be applied")
    restore.add_argument("file", nargs="?", help="default: /etc/scst/scst.json")
    add("commit", _commit, "bring into force what was left staged, by a command that was killed or by hand")
    lint = add("lint", _lint, "look for what is hardly meant, in a file or in the present configuration")
    lint.add_argument("file", nargs="?", help="default: what is configured now; - is the standard input")
    for command in (plan, apply, restore, lint):
        command.add_argument(
            "--accept",
            action="append",
            default=[],
            metavar="RULE",
            help="what this rule of lint says is meant",
        )
    clear = add("clear", _clear, "remove everything; all sessions end")
    clear.add_argument("--yes", action="store_true", help="do not ask")


def _access_commands(add: _Add) -> None:
    explain = add("explain", _explain, "say what an initiator sees on a target, and why")
    explain.add_argument("--initiator", required=True)
    explain.add_argument("--target", required=True, help="DRIVER/NAME, or NAME")
    explain.add_argument("--file", help="a configuration instead of the present one")
    mapping = add("map", _map, "make a device a LUN of a target or group")
    mapping.add_argument("device")
    mapping.add_argument("--read-only", action="store_true", help="initiators cannot write through this LUN")
    mapping.add_argument(
        "--replace", action="store_true", help="take the number from another device, in one step"
    )
    unmap = add("unmap", _unmap, "take a LUN away")
    for command in (mapping, unmap):
        command.add_argument("--target", required=True, help="DRIVER/NAME, or NAME")
        command.add_argument("--group", default="", help="default: the target's own LUNs")
        command.add_argument("--lun", required=True, type=_lun_number, metavar="N")


def _import_command(add: _Add) -> None:
    def run(args: argparse.Namespace) -> int:
        from pyscstadmin.cli import importing

        return importing.run(args)

    command = add("import", run, "make a configuration of that of another target stack; changes nothing")
    stacks = command.add_subparsers(title="stacks", metavar="STACK", required=True)
    text = "LIO, the target of the Linux kernel: what runs, or its saveconfig.json"
    lio = stacks.add_parser("lio", help=text, description=text, parents=[_common()])
    lio.add_argument("file", nargs="?", help="saveconfig.json; - is the standard input; default: what runs")
    lio.add_argument("-o", "--output", metavar="FILE", help="write the configuration there")
    lio.add_argument(
        "--as-local",
        action="store_true",
        help="make targets of driver local of those that there is no driver for, to try things",
    )


def _size(text: str) -> int:
    from pyscstadmin.config.names import SIZE_MAX, parse_size

    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if size > SIZE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {SIZE_MAX} bytes")
    return size


def _lun_number(text: str) -> int:
    from pyscstadmin.config.names import check_lun

    fault = check_lun(text)
    if fault:
        raise argparse.ArgumentTypeError(f"{text!r} {fault.reason}")
    return int(text)


# Commands.


def _show(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.render import show_lines

    with admin_of(args) as admin:
        shot = admin.snapshot()
        running = admin.running()
    if not args.json:
        emit(args, None, show_lines(shot, running))
        return 0
    from pyscstadmin.config.schema import to_data

    data = {
        "generation": shot.root.generation,
        "settled": shot.root.settled,
        "config": to_data(shot.config),
        "device_states": dict(sorted(shot.device_states.items())),
        "device_sizes": dict(sorted(shot.device_sizes.items())),
        "device_errors": dict(sorted(shot.device_errors.items())),
        "target_states": {"/".join(key): state for key, state in sorted(shot.target_states.items())},
        "running": _running_data(running),
    }
    emit(args, data)
    return 0


def _plan(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.render import plan_lines

    with admin_of(args) as admin:
        steps = admin.plan(wanted(admin, args.file), accept=args.accept)
    data = {
        "impact": str(steps.impact),
        "operations": [_operation_data(step) for step in steps.operations],
        **_remarks_data(steps.remarks),
    }
    emit(args, data, plan_lines(steps))
    return 0


def wanted(admin: Admin, file: str) -> Config:
    """The configuration of a file. Raises `InvalidInput`; if the file is whole and what it wants cannot be
    had, with what `lint` has to say as well.
    """
    from pyscstadmin.config.lint import problems
    from pyscstadmin.errors import InvalidInput
    from pyscstadmin.store.load import examine_file

    config, fault = examine_file(file)
    if fault is None and config is not None:
        return config
    assert fault is not None
    # What the reader has said already is not said again.
    remarks = admin.lint(config, accept=["same-identity"]) if config is not None else ()
    raise InvalidInput(fault.source, [*fault.problems, *problems(remarks)], fault.more)


def _remarks_data(remarks: Iterable[Remark]) -> dict[str, Any]:
    found = list(remarks)
    return {
        "warnings": [remark.text for remark in found],
        "lint": [remark.as_dict() for remark in found],
    }


def _operation_data(operation: Operation) -> dict[str, str]:
    return {"operation": operation.text, "path": operation.path, "impact": str(operation.impact)}


def _apply(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        config = wanted(admin, args.file)
        return _finish(args, admin.apply(config, accept=args.accept, progress=_progress(args)))


def _restore(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        config = wanted(admin, admin.default_file if args.file is None else args.file)
        return _finish(args, admin.restore(config, accept=args.accept, progress=_progress(args)))


def _lint(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.render import remark_lines
    from pyscstadmin.config.lint import exit_code

    with admin_of(args) as admin:
        config = wanted(admin, args.file) if args.file is not None else None
        remarks = admin.lint(config, accept=args.accept)
    code = exit_code(remarks)
    data = {"exit_code": code, "lint": [remark.as_dict() for remark in remarks]}
    lines = remark_lines(remarks, most=len(remarks), refused=True)
    emit(args, data, lines if remarks else ["nothing to remark"])
    return code


def _clear(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.render import config_counts

    with admin_of(args) as admin:
        if not args.yes:
            if args.json or not sys.stdin.isatty():
                when = "with --json" if args.json else "when the input is no terminal"
                args.wrong(f"clear needs --yes {when}")
            counts = config_counts(admin.config())
            if not agreed(f"Remove {counts}? All sessions end. [y/N] "):
                print("nothing changed")
                return 1
        return _finish(args, admin.clear(progress=_progress(args)))


def _commit(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        outcome = admin.commit()
    return _finish(args, outcome)


def agreed(question: str) -> bool:
    """Ask the person at the terminal; the end of input is no consent."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _progress(args: argparse.Namespace) -> Progress | None:
    if not args.verbose:
        return None

    def show(done: int, total: int, operation: Operation) -> None:
        print(f"[{done + 1}/{total}] {operation.describe()}", file=sys.stderr)

    return show


def _running_data(running: Iterable[Running]) -> list[dict[str, object]]:
    from dataclasses import asdict

    return [asdict(one) for one in running]


def _finish(args: argparse.Namespace, outcome: Outcome) -> int:
    from pyscstadmin.cli.render import outcome_lines

    emit(args, _outcome_data(outcome), outcome_lines(outcome), outcome.exit_code)
    return outcome.exit_code


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    return {
        "exit_code": outcome.exit_code,
        "operations": [_operation_data(step) for step in outcome.done],
        "failed": [{"operation": f.operation.text, **f.error.as_dict()} for f in outcome.failed],
        "parked": list(outcome.parked),
        "generation": outcome.generation,
        "settled": outcome.settled,
        "running": _running_data(outcome.running),
        **_remarks_data(outcome.remarks),
        "bindings": [proof.as_dict() for proof in outcome.proofs],
    }


def _save(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        if args.file == "-":
            from pyscstadmin.config.schema import dumps

            # The file format is UTF-8, whatever the terminal is.
            sys.stdout.flush()
            sys.stdout.buffer.write(dumps(admin.config()).encode())
            sys.stdout.buffer.flush()
            return 0
        path = admin.default_file if args.file is None else args.file
        written = admin.save(path, force=args.force)
    emit(args, {"file": path, "written": written}, [f"{path}: {'saved' if written else 'unchanged'}"], 0)
    return 0


def _explain(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pyscstadmin.cli.render import decision_lines
    from pyscstadmin.config.acl import decide
    from pyscstadmin.errors import Conflict

    if args.file is not None:
        from pyscstadmin.kernel.read import Standing
        from pyscstadmin.store.load import load_file

        driver, _, name = args.target.rpartition("/")
        config = load_file(args.file)
        found = [t for t in config.targets if t.name == name and driver in ("", t.driver)]
        if len(found) != 1:
            raise Conflict(f"{args.file} has {'several targets' if found else 'no target'} {args.target}")
        decision = decide(found[0], args.initiator)
        written = {
            device.name: Standing("active", 0, device.read_only)
            for device in config.devices
            if device.read_only
        }
        emit(args, asdict(decision), decision_lines(decision, args.target, written))
        return 0
    with admin_of(args) as admin:
        decision = admin.explain(args.target, args.initiator)
        settled = admin.settled()
        standing = admin.standing(lun.device for lun in decision.luns)
    devices = {name: one._asdict() for name, one in standing.items()}
    data = {**asdict(decision), "settled": settled, "devices": devices}
    emit(args, data, decision_lines(decision, args.target, standing, settled=settled))
    return 0


def _sessions(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pyscstadmin.cli.render import command_lines, session_lines

    with admin_of(args) as admin:
        if args.commands:
            running = admin.commands()
            emit(args, [asdict(command) for command in running], command_lines(running))
            return 0
        found = admin.sessions()
    emit(args, [asdict(session) for session in found], session_lines(found))
    return 0


def _who(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pyscstadmin.cli.render import who_lines

    with admin_of(args) as admin:
        found = admin.who(args.device)
    data = {
        "device": found.device.name,
        "handler": found.device.handler,
        **found.standing._asdict(),
        "uses": [asdict(use) for use in found.uses],
    }
    emit(args, data, who_lines(found))
    return 0


def _map(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        changed = admin.map(
            args.target,
            args.lun,
            args.device,
            group=args.group,
            read_only=args.read_only,
            replace=args.replace,
        )
    return _changed(args, changed)


def _unmap(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        changed = admin.unmap(args.target, args.lun, group=args.group)
    return _changed(args, changed)


def _changed(args: argparse.Namespace, outcome: Outcome) -> int:
    from pyscstadmin.cli.render import outcome_lines

    changed = bool(outcome)
    lines = outcome_lines(outcome, "done" if changed else "nothing to do")
    emit(args, {"changed": changed, **_outcome_data(outcome)}, lines, outcome.exit_code)
    return outcome.exit_code


def _resize(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.render import resized_text

    with admin_of(args) as admin:
        found = admin.resize(args.device, args.size, shrink=args.shrink)
    data = {"device": args.device, "before": found.before, "size": found.size, "state": found.state}
    emit(args, data, [resized_text(args.device, found.before, found.size)], 0)
    return 0


def _activate(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        state = admin.activate(args.device)
    emit(args, {"device": args.device, "state": state}, [f"{args.device}: {state}"], 0)
    return 0


def _deactivate(args: argparse.Namespace) -> int:
    with admin_of(args) as admin:
        state = admin.deactivate(args.device)
    emit(args, {"device": args.device, "state": state}, [f"{args.device}: {state}"], 0)
    return 0


def _rebind(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.bindings import rebound_lines

    with admin_of(args) as admin:
        rebound = admin.rebind(args.device, args.path)
    data = {"device": rebound.device, "path": rebound.path, "state": rebound.state}
    changed = [{"fact": d.name, "before": d.known, "after": d.found} for d in rebound.differences]
    emit(args, {**data, "differences": changed}, rebound_lines(rebound))
    return 0


def _schema(args: argparse.Namespace) -> int:
    from pyscstadmin.cli.describe import text

    sys.stdout.write(text())
    return 0
