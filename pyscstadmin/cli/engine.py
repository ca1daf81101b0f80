# SPDX-License-Identifier: GPL-2.0-or-later
"""From words to what is done: one way for the command line, the shell, and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pyscstadmin.cli.context import Context
from pyscstadmin.cli.places import PLURALS, TOP, Place, place
from pyscstadmin.cli.table import VERBS, at, form_at, forms, kinds_at
from pyscstadmin.cli.verbs import Form, Given, Result, assign, near, usage
from pyscstadmin.cli.words import Word, WrongUsage, of_argv, of_words

__all__ = ["explained", "harmless", "run", "understand", "understand_line", "unknown"]


def run(ctx: Context, given: Given) -> Result:
    """Do what was understood. Raises errors of `ScstError`."""
    try:
        result = _of_table(given) or given.form.run(ctx, given)
    except WrongUsage as error:
        raise WrongUsage(str(error), error.usage or usage(given.form, given.place)) from None
    if not ctx.collects or result.own or result.data is None:
        return result
    from pyscstadmin.cli.answers import name_of, named

    return replace(result, data=named(name_of(given.form), result.data))


def _of_table(given: Given) -> Result | None:
    """What is about the table of verbs, which its functions cannot know."""
    if given.form.verb == "help":
        from pyscstadmin.cli.help import help_data, help_lines

        return Result(help_data(given.rest, given.place), list(help_lines(given.rest, given.place)))
    if given.form.verb == "schema" and given.get("answers"):
        from pyscstadmin.cli import answers

        return Result(answers.json_schema(), answers.text().splitlines(), own=True)
    return None


def understand(verb: str, words: Sequence[Word], where: Place = TOP) -> Given:
    """Which form of a verb is meant, and with which parameters. Raises `WrongUsage`."""
    form, rest = _form(verb, list(words), where)
    return assign(form, where, rest)


def understand_line(words: Sequence[str]) -> Given:
    """The same for a command line: `[PLACE] VERB ...`. A place alone is shown. Raises `WrongUsage`."""
    try:
        return _line(words)
    except WrongUsage as error:
        raise explained(words, error) from None


def explained(words: Sequence[str], error: WrongUsage) -> WrongUsage:
    """What is wrong, or, if the words are a habit from elsewhere, how it is said here."""
    from pyscstadmin.cli.habits import habit

    return WrongUsage(habit(words) or str(error), error.usage or "[options] [PLACE] COMMAND ...")


def _line(words: Sequence[str]) -> Given:
    line = of_words(of_argv(words), lambda word: False)
    where = place(line.path or "/")
    given = understand(line.command or "ls", line.arguments, where)
    if given.form.shell:
        raise WrongUsage(f"`{given.form.verb}` makes sense in the shell and in scripts only")
    return given


def _form(verb: str, words: list[Word], place: Place) -> tuple[Form, list[Word]]:
    kinds = kinds_at(verb, place)
    first = words[0] if words and not words[0].name else None
    if first is not None and not first.plain:
        kind = PLURALS.get(first.value, first.value)
        if kind in kinds:
            return kinds[kind], words[1:]
    own = form_at(verb, place) or _silent(verb, place)
    if own is not None:
        return own, words
    if kinds:
        raise _which(verb, kinds, first)
    raise unknown(verb, at(place), place.path)


def _silent(verb: str, place: Place) -> Form | None:
    found = [form for form in forms(verb) if form.silent]
    return found[0] if found and not place.kind else None


def _which(verb: str, kinds: Mapping[str, Form], first: Word | None) -> WrongUsage:
    known = ", ".join(kinds)
    how = "\n".join(usage(form) for form in kinds.values())
    if first is None:
        return WrongUsage(f"`{verb}` what? There are {known}", how)
    if first.value in VERBS:
        return WrongUsage(f"`{first.value}` is a command by itself, without `{verb}`", how)
    hint = near(first.value, [*kinds, *(plural for plural, kind in PLURALS.items() if kind in kinds)])
    return WrongUsage(f"`{verb}` what? {first.value!r} is none of {known}{hint}", how)


def harmless() -> list[str]:
    """The verbs that may be offered as a correction of others: none that destroys something."""
    return [verb for verb, found in VERBS.items() if not any(form.removes for form in found)]


def unknown(verb: str, known: Iterable[str], path: str = "") -> WrongUsage:
    """The error for a command that there is not. What destroys something is never offered for it."""
    safe = set(harmless())
    offered = [name for name in known if name in safe or name not in VERBS]
    where = f" at {path}" if path else ""
    return WrongUsage(f"no command {verb}{where}{near(verb, offered)} (`help` lists the commands)")
