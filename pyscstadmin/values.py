# SPDX-License-Identifier: GPL-2.0-or-later
"""Classes of values: what `dataclasses` makes of a class, for a command that has to start quickly.

`dataclasses` compiles six functions for each class when it is imported, whether anybody needs them, and
brings a parser of Python along: together, half of what a command takes to be imported. Here the constructor
is compiled when the first value is made, and the other functions are the same for all classes. What is made
looks like a data class to whoever asks (`dataclasses.fields`, `replace`, `asdict`), and is one to the type
checker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["asdict", "dataclass", "field", "replace"]

_MISSING: Any = object()
_FIELDS = "__values__"

Namespace = dict[str, Any]


class _Field:
    """A field: its default or what makes one, and whether it counts in comparing, hashing and showing."""

    __slots__ = ("compare", "default", "default_factory", "hash", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        compare: bool = True,
        repr: bool = True,
        hash: bool | None = None,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.repr = repr
        self.hash = compare if hash is None else hash
        self.type: object = None


Fields = Mapping[str, _Field]


class _AsDataClass:
    """`__dataclass_fields__`, made when somebody asks."""

    def __get__(self, instance: object, owner: type) -> Mapping[str, Any]:
        import dataclasses

        found = {}
        for name, one in _fields(owner).items():
            given = {
                key: getattr(one, key)
                for key in ("default", "default_factory")
                if getattr(one, key) is not _MISSING
            }
            made: Any = dataclasses.field(compare=one.compare, repr=one.repr, hash=one.hash, **given)
            made.name, made.type, made._field_type = name, one.type, dataclasses._FIELD  # type: ignore[attr-defined]
            found[name] = made
        return found


def _fields(cls: type) -> Fields:
    found: Fields = getattr(cls, _FIELDS)
    return found


def _dataclass(
    cls: type | None = None,
    /,
    *,
    frozen: bool = False,
    slots: bool = False,
    init: bool = True,
    order: bool = False,
) -> Any:
    """As `dataclasses.dataclass`, with those of its options that are in use here."""

    def wrap(made_of: type) -> type:
        return _made(made_of, frozen, slots, init, order)

    return wrap if cls is None else wrap(cls)


def _made(cls: type, frozen: bool, slots: bool, init: bool, order: bool) -> type:
    own = _own(cls)
    inherited: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited.update(base.__dict__.get(_FIELDS, {}))
    fields = {**inherited, **own}
    space = _methods(cls, fields, frozen, order)
    if init:
        space["__init__"] = _first_init(fields, frozen)
    if frozen and slots:
        space |= {"__getstate__": _getstate, "__setstate__": _setstate}
    space |= {_FIELDS: fields, "__dataclass_fields__": _AsDataClass(), "__match_args__": tuple(fields)}
    if not slots:
        return _extended(cls, own, space)
    kept = {name: value for name, value in cls.__dict__.items() if name not in own}
    for name in ("__dict__", "__weakref__"):
        kept.pop(name, None)
    there = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    space["__slots__"] = tuple(name for name in own if name not in there)
    return _named(type(cls)(cls.__name__, cls.__bases__, {**space, **_explicit(kept), **_forced(space)}), cls)


def _own(cls: type) -> dict[str, _Field]:
    """The fields that a class itself declares."""
    found = {}
    for name, kind in _annotations(cls).items():
        if not str(kind).startswith("ClassVar"):
            default = cls.__dict__.get(name, _MISSING)
            found[name] = one = default if isinstance(default, _Field) else _Field(default=default)
            one.type = kind
    return found


def _annotations(cls: type) -> Mapping[str, object]:
    """As they are written: all modules here keep them as texts. `inspect` would know, and costs too much."""
    found: Mapping[str, object] = vars(cls).get("__annotations__", {})
    return found


def _explicit(kept: Namespace) -> Namespace:
    """What a class has; a hash that is absent only for it has `__eq__` does not count."""
    if kept.get("__hash__", _MISSING) is None and "__eq__" in kept:
        return {name: value for name, value in kept.items() if name != "__hash__"}
    return kept


def _forced(space: Namespace) -> Namespace:
    """What a class cannot have otherwise."""
    names = (_FIELDS, "__dataclass_fields__", "__match_args__", "__slots__", "__init__")
    return {name: space[name] for name in names if name in space}


def _extended(cls: type, own: Fields, space: Namespace) -> type:
    """The class itself, whose values have a dictionary."""
    for name, one in own.items():
        if one.default is not _MISSING:
            setattr(cls, name, one.default)
        elif name in cls.__dict__:
            delattr(cls, name)
    explicit = _explicit(dict(cls.__dict__))
    for name, value in space.items():
        if name not in explicit or name in _forced(space):
            setattr(cls, name, value)
    return cls


def _named(made: type, cls: type) -> type:
    made.__qualname__ = cls.__qualname__
    return made


# The functions of the classes.


def _methods(cls: type, fields: Fields, frozen: bool, order: bool) -> Namespace:
    compared = _getter([name for name, one in fields.items() if one.compare])
    hashed = _getter([name for name, one in fields.items() if one.hash])
    shown = [name for name, one in fields.items() if one.repr]

    def equal(self: object, other: object) -> Any:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def hashes(self: object) -> int:
        return hash(hashed(self))

    def shows(self: object) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    space: Namespace = {"__eq__": equal, "__repr__": shows, "__hash__": hashes if frozen else None}
    if frozen:
        space |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
    return space | _ordered(compared) if order else space


def _getter(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else lambda value: ()


def _ordered(compared: Callable[[Any], Any]) -> Namespace:
    def less(self: object, other: object) -> Any:
        return compared(self) < compared(other) if other.__class__ is self.__class__ else NotImplemented

    def at_most(self: object, other: object) -> Any:
        return compared(self) <= compared(other) if other.__class__ is self.__class__ else NotImplemented

    def more(self: object, other: object) -> Any:
        return compared(self) > compared(other) if other.__class__ is self.__class__ else NotImplemented

    def at_least(self: object, other: object) -> Any:
        return compared(self) >= compared(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__lt__": less, "__le__": at_most, "__gt__": more, "__ge__": at_least}


def _refuse_set(self: object, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: object) -> list[Any]:
    return [getattr(self, name) for name in _fields(type(self))]


def _setstate(self: object, state: list[Any]) -> None:
    for name, value in zip(_fields(type(self)), state, strict=True):
        object.__setattr__(self, name, value)


# The constructor.


def _first_init(fields: Fields, frozen: bool) -> Callable[..., None]:
    """A constructor that makes the real one, which has its place from then on."""

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        owner = next(cls for cls in type(self).__mro__ if cls.__dict__.get("__init__") is __init__)
        real = _init(owner, fields, frozen)
        owner.__init__ = real  # type: ignore[misc]
        real(self, *values, **named)

    return __init__


def _init(cls: type, fields: Fields, frozen: bool) -> Callable[..., None]:
    space: Namespace = {"_missing": _MISSING, "_put": object.__setattr__}
    arguments, lines = ["self"], []
    for name, one in fields.items():
        value = name
        if one.default_factory is not _MISSING:
            space[f"_make_{name}"] = one.default_factory
            arguments.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif one.default is not _MISSING:
            space[f"_default_{name}"] = one.default
            arguments.append(f"{name}=_default_{name}")
        else:
            arguments.append(name)
        lines.append(f"_put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines) or "pass"
    exec(f"def __init__({', '.join(arguments)}):\n {body}", space)
    made: Callable[..., None] = space["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


# The functions of the module of that name.


def _replace(value: Any, /, **changes: Any) -> Any:
    for name in _fields(type(value)):
        if name not in changes:
            changes[name] = getattr(value, name)
    return type(value)(**changes)


def _asdict(value: Any) -> Any:
    if hasattr(type(value), _FIELDS):
        return {name: _asdict(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, (list, tuple)):
        return type(value)(_asdict(one) for one in value)
    if isinstance(value, dict):
        return {key: _asdict(one) for key, one in value.items()}
    return value


if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:
    asdict, dataclass, field, replace = _asdict, _dataclass, _Field, _replace
