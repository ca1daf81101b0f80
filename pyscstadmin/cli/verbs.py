# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verb is, and how words become its parameters. Pure. The verbs themselves are in `cli.table`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.places import TOP, Place
from pyscstadmin.cli.words import Word, WrongUsage, named
from pyscstadmin.config.settings import Flag, Rows, Setting

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.kernel.apply import Outcome

__all__ = ["Form", "Given", "Param", "Result", "Run", "assign", "flag", "near", "of_row", "usage"]


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean map?`, or nothing."""
    from difflib import get_close_matches  # for what is wrong only

    close = get_close_matches(word, list(known), 1) if len(word) < 100 else []
    return f"; did you mean {close[0]}?" if close else ""


def _text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty; say a value, or leave it out")
    return text


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a verb. `parse` makes its value of a text, or raises ValueError with a sentence.
    `needed`: it must be given. `source`: what completion offers: `device`, `target`, `file` and so on.
    `also`: other names that it is known by. `several`: it can be given more than once.
    """

    name: str
    help: str
    parse: Callable[[str], Any] = _text
    words: str = ""
    needed: bool = False
    source: str = ""
    choices: tuple[str, ...] = ()
    flag: bool = False
    several: bool = False
    also: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What stands for its value in a usage."""
        return self.words or self.name.upper()


def flag(name: str, text: str, **more: Any) -> Param:
    """A parameter that is yes or no."""
    return Param(name, text, Flag().parse, "yes|no", choices=("yes", "no"), flag=True, **more)


@dataclass(frozen=True, slots=True)
class Result:
    """What a verb has to say: as data, and for people. `outcome`: what it changed, None for nothing, or for
    something that is not in force yet. `own`: the data is a document that has its schema elsewhere.
    """

    data: Any
    lines: Iterable[str] = ()
    outcome: Outcome | None = None
    code: int = 0
    own: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return self.code or (self.outcome.exit_code if self.outcome is not None else 0)


@dataclass(frozen=True, slots=True)
class Given:
    """What was said: the values of parameters by name, the words of the one that repeats, and settings as
    texts.
    """

    form: Form
    place: Place = TOP
    values: Mapping[str, Any] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a parameter, or what stands for one that was not given."""
        return self.values.get(name, default)


Run = Callable[["Context", Given], Result]


@dataclass(frozen=True, slots=True)
class Form:
    """A verb with the kind of object it is about.

    `kind` '': it is about none, or about the whole. `silent`: the kind is not said, for the verb is about
    no other. `takes`: parameters that can be given by position, in this order; `rest`: the one that takes
    all further words; `named`: only by name; `table`: gives the settings that can be given. `removes`: it
    destroys something, and is never offered as a correction. `shell`: it makes sense in the shell and in
    scripts only. `absent`: it makes sense without a control plane.
    """

    verb: str
    kind: str
    run: Run
    help: str
    takes: tuple[Param, ...] = ()
    rest: Param | None = None
    named: tuple[Param, ...] = ()
    table: Callable[[], Rows] = dict
    more: str = ""
    example: str = ""
    silent: bool = False
    removes: bool = False
    shell: bool = False
    absent: bool = False
    also: tuple[str, ...] = ()

    @property
    def settings(self) -> Rows:
        """What can be set, by name."""
        return self.table()

    @property
    def title(self) -> str:
        """`create device`."""
        return self.verb if self.silent or not self.kind else f"{self.verb} {self.kind}"

    def params(self) -> Iterator[Param]:
        """All parameters but settings."""
        yield from self.takes
        if self.rest is not None:
            yield self.rest
        yield from self.named

    def is_flag(self, name: str) -> bool:
        """Whether a parameter is yes or no."""
        row = self.settings.get(name)
        if row is not None:
            return isinstance(row.type, Flag)
        return any(param.flag for param in self.params() if name in (param.name, *param.also))

    def several(self, name: str) -> bool:
        """Whether a parameter can be given more than once."""
        return any(param.several for param in self.params() if param.name == name)

    def free(self, place: Place) -> tuple[Param, ...]:
        """The parameters by position that a place does not fix."""
        return tuple(param for param in self.takes if param.name not in place.fixed)


def usage(form: Form, place: Place = TOP) -> str:
    """How a verb is written at a place."""
    words = [form.verb]
    if not form.silent and form.kind and form.kind != place.kind:
        words.append(form.kind)
    words += [_shown(param) for param in form.free(place)]
    if form.rest is not None and form.rest.name not in place.fixed:
        words.append(f"{form.rest.shown} ..." if form.rest.needed else f"[{form.rest.shown} ...]")
    words += [_shown(param, "=") for param in form.named if param.name not in place.fixed]
    if form.settings:
        words.append("SETTING=VALUE ..." if form.verb == "set" else "[SETTING=VALUE ...]")
    return " ".join(words)


def _shown(param: Param, sign: str = "") -> str:
    text = f"{param.name}={'yes' if param.flag else param.shown}" if sign or param.flag else param.shown
    return text if param.needed else f"[{text}]"


def assign(form: Form, place: Place, words: Iterable[Word]) -> Given:
    """Understand the words after a verb. Raises `WrongUsage`."""
    try:
        return _assign(form, place, *named(words, form.is_flag, form.several))
    except WrongUsage as error:
        raise WrongUsage(str(error), usage(form, place)) from None


def _assign(form: Form, place: Place, values: list[str], given: dict[str, str]) -> Given:
    known = {name: param for param in form.params() for name in (param.name, *param.also)}
    texts = {known[name].name: text for name, text in given.items() if name in known}
    settings = {name: text for name, text in given.items() if name not in known}
    _known_only(form, place, known, settings)
    fixed = {param.name: place.fixed[param.name] for param in known.values() if param.name in place.fixed}
    for name, text in fixed.items():
        if texts.get(name, text) != text:
            raise WrongUsage(f"{name} is {text or 'none'} at {place.path}, not {texts[name]}")
    free = [param for param in form.free(place) if param.name not in texts]
    texts.update(zip((param.name for param in free), values, strict=False))
    rest = tuple(values[len(free) :])
    if form.rest is not None and form.rest.name in {**texts, **fixed}:
        rest = ({**texts, **fixed}[form.rest.name], *rest)
    elif form.rest is None and rest:
        raise WrongUsage(f"{rest[0]!r} is one parameter too many for `{form.title}`")
    _none_empty(form, {**texts, **settings})
    repeated = tuple(_parsed(form.rest, one) for one in rest) if form.rest is not None else ()
    parsed = {name: _parsed(known[name], text) for name, text in texts.items()}
    parsed |= {name: _parsed(known[name], text) if text else "" for name, text in fixed.items()}
    made = Given(form, place, parsed, repeated, settings)
    _needed(made)
    return made


def _known_only(form: Form, place: Place, known: Mapping[str, Param], settings: Mapping[str, str]) -> None:
    for name in settings:
        if name in form.settings:
            continue
        names = [*dict.fromkeys(param.name for param in known.values() if param.name not in place.fixed)]
        names += form.settings
        what = "setting or parameter" if form.settings else "parameter"
        there = f"; there are {', '.join(names)}" if 0 < len(names) < 30 else ""
        raise WrongUsage(f"`{form.title}` has no {what} {name}{near(name, names) or there}")


def _none_empty(form: Form, given: Mapping[str, str]) -> None:
    """An empty value is that of a variable that is not set. Only what is set can be emptied."""
    for name, text in given.items():
        if not text and not (form.verb == "set" and name in form.settings):
            raise WrongUsage(f"{name}: must not be empty; say a value, or leave it out")


def _parsed(param: Param, text: str) -> Any:
    try:
        return param.parse(text)
    except ValueError as error:
        raise WrongUsage(f"{param.name}: {error}") from None


def _needed(given: Given) -> None:
    for param in given.form.params():
        there = given.rest if param is given.form.rest else param.name in given.values
        if param.needed and not there:
            raise WrongUsage(f"say {param.shown}: {param.help}")


def of_row(row: Setting) -> Param:
    """A setting as a parameter, for help and completion."""
    return Param(
        row.name,
        row.help,
        row.type.parse,
        row.name.upper(),
        choices=row.type.choices,
        flag=isinstance(row.type, Flag),
    )
