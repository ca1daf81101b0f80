# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin import`: another stack's configuration as ours, and an account of what became of each item."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.answers import IMPORT, named
from pyscstadmin.cli.main import conclude, emit
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.schema import dumps, loads, to_data
from pyscstadmin.config.where import dotted
from pyscstadmin.errors import Conflict, InvalidInput, SaveRefused
from pyscstadmin.kernel.stops import deferred
from pyscstadmin.migrate.account import Account, Item, Verdict
from pyscstadmin.migrate.lio import convert

if TYPE_CHECKING:
    from pyscstadmin.config.document import Document
    from pyscstadmin.migrate.lio import Imported

__all__ = ["account_lines", "run"]

NOT_ALL = 4
# Places of items with one text; the others are counted.
_PLACES = 3


def run(args: argparse.Namespace) -> int:
    """Import, write the configuration, and give account. 4: not all of it could be expressed."""
    if "" in (args.file, args.output):
        raise WrongUsage("a file name must not be empty")
    document = _document(args.file)
    imported = convert(document, as_local=args.as_local, file_size=_file_size)
    text = _proven(imported, document.source)
    if args.output:
        with deferred(args.stops) as deliver:
            _write(imported, args.output, deliver)
    code = 0 if imported.complete else NOT_ALL
    conclude(args, code)
    if args.json:
        emit(args, named(IMPORT, _data(imported, document.source, args.output, code)))
        return code
    if not args.output:
        # The file format is UTF-8, whatever the terminal is.
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    for line in account_lines(imported, args.output, every=args.verbose):
        print(line, file=sys.stderr)
    return code


def _document(file: str | None) -> Document:
    if file is None:
        from pyscstadmin.migrate.lio_kernel import running

        return running()
    from pyscstadmin.config.document import parse
    from pyscstadmin.store.load import read_text

    return parse(read_text(file), file)


def _file_size(path: str) -> int | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _proven(imported: Imported, source: str) -> str:
    """The text of the configuration, which `apply` will take. Raises `Conflict` if it would not."""
    text = dumps(imported.config)
    try:
        same = loads(text, source) == imported.config
    except InvalidInput as error:
        raise Conflict(f"what {source} says cannot be applied: {error}") from error
    if not same:
        raise Conflict(f"{source}: read back, it would be another configuration; please report this")
    return text


def _write(imported: Imported, path: str, ready: Callable[[], None]) -> None:
    from pyscstadmin.store.save import save

    if not imported.config.devices and not imported.config.targets:
        raise Conflict(f"{path} not written: there is nothing in it that could be imported")
    try:
        save(imported.config, path, ready=ready)
    except SaveRefused as error:
        raise Conflict(f"{path} not written: {', '.join(error.reasons)}; give another file") from error


def _data(imported: Imported, source: str, output: str | None, code: int) -> dict[str, Any]:
    return {
        "exit_code": code,
        "source": source,
        "file": output,
        "config": to_data(imported.config),
        "count": imported.account.count(),
        "items": [item.as_dict() for item in imported.account.items],
        "notes": list(imported.notes),
    }


def account_lines(imported: Imported, output: str | None, *, every: bool = False) -> Iterator[str]:
    """The account: what is lost and what differs, and how much there is of the rest; or `every` item."""
    account = imported.account
    if every:
        yield from (_line(item) for item in account.items)
    else:
        yield from _by_text("cannot be expressed", account, Verdict.LOST)
        yield from _by_text("differs", account, Verdict.DIFFERS)
    yield from (f"note: {note}" for note in imported.notes)
    count = account.count()
    yield (
        f"{count['mapped']} settings of LIO are in the configuration, {count['same']} need nothing, "
        f"{count['differs']} differ as listed, {count['lost']} cannot be expressed"
    )
    if output:
        yield f"{output}: written; `scstadmin plan {output}` shows what it would change"
        yield "before it is applied, LIO must have let go of the disks and files"


def _line(item: Item) -> str:
    text = f": {item.text}" if item.text else ""
    if item.verdict is Verdict.MAPPED:
        return f"{item.place} -> {', '.join(map(dotted, item.to))}{text}"
    return f"{item.place} {_WORDS[item.verdict]}{text}"


_WORDS = {Verdict.SAME: "needs nothing", Verdict.DIFFERS: "differs", Verdict.LOST: "cannot be expressed"}


def _by_text(what: str, account: Account, verdict: Verdict) -> Iterator[str]:
    """Items of a verdict, those together of which the same is to be said."""
    found: dict[str, list[str]] = {}
    for item in account.items:
        if item.verdict is verdict:
            found.setdefault(item.text, []).append(item.place)
    for text, places in found.items():
        yield f"{what}: {_some(places)}: {text}"


def _some(places: Iterable[str]) -> str:
    listed = list(places)
    more = len(listed) - _PLACES
    return ", ".join(listed[:_PLACES]) + (f" and {more} more" if more > 0 else "")
