# SPDX-License-Identifier: GPL-2.0-or-later
"""Classes of values are what `dataclasses` would have made of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pyscstadmin import values
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.schema import dumps
from tests.unit.strategies import MIB

KINDS: dict[str, dict[str, bool]] = {
    "frozen": {"frozen": True, "slots": True},
    "ordered": {"frozen": True, "slots": True, "order": True},
    "mutable": {"slots": True},
    "plain": {},
}


def classes(how: Any, options: Mapping[str, bool]) -> tuple[type, type, type]:
    """A class, one that is made from it, and one with functions of its own."""

    @how.dataclass(**options)
    class Base:
        """With all kinds of fields."""

        kind: ClassVar[str] = "base"
        a: int
        b: str = "b"
        c: list[int] = how.field(default_factory=list, hash=False)
        d: int = how.field(default=4, compare=False, repr=False)

        @property
        def double(self) -> int:
            return 2 * self.a

    @how.dataclass(**options)
    class Derived(Base):
        b: str = "other"
        e: tuple[Any, ...] = ()

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("negative")

    @how.dataclass(**options)
    class Own:
        a: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and self.a % 2 == other.a % 2

    return Base, Derived, Own


def said(action: Callable[[], object]) -> object:
    """What comes of it."""
    try:
        return action()
    except Exception as error:
        return type(error).__name__


ACTIONS: list[Callable[[Any, Any, Any], object]] = [
    lambda Base, Derived, Own: repr(Base(1)),
    lambda Base, Derived, Own: repr(Derived(1, e=(Base(2),))).replace("classes.<locals>.", ""),
    lambda Base, Derived, Own: Base(1) == Base(1, d=5),
    lambda Base, Derived, Own: Base(1) == Base(2),
    lambda Base, Derived, Own: Base(1) == Derived(1),
    lambda Base, Derived, Own: Base(1) != 1,
    lambda Base, Derived, Own: hash(Base(1)) == hash(Base(1, c=[1], d=5)),
    lambda Base, Derived, Own: hash(Base(1)) == hash(Base(2)),
    lambda Base, Derived, Own: (Own(1) == Own(3), Own(1) == Own(2), repr(Own(1))),
    lambda Base, Derived, Own: hash(Own(1)) == hash(Own(1)),
    lambda Base, Derived, Own: Base(1) < Base(2),
    lambda Base, Derived, Own: (Base(1) <= Base(1), Base(1) > Base(2), Base(1) >= Base(1)),
    lambda Base, Derived, Own: Base(1) < Derived(2),
    lambda Base, Derived, Own: Base(),
    lambda Base, Derived, Own: Base(1, 2, [], 4, 5),
    lambda Base, Derived, Own: Base(1, x=1),
    lambda Base, Derived, Own: Base(1, a=1),
    lambda Base, Derived, Own: Derived(-1),
    lambda Base, Derived, Own: Base(1).c is Base(1).c,
    lambda Base, Derived, Own: (Base.kind, Base(4).double, Base.__doc__, Base.__name__, Base.__qualname__),
    lambda Base, Derived, Own: setattr(Base(1), "a", 2),
    lambda Base, Derived, Own: delattr(Base(1), "b"),
    lambda Base, Derived, Own: Base.__match_args__ + Derived.__match_args__,
    lambda Base, Derived, Own: hasattr(Base(1), "__dict__"),
    lambda Base, Derived, Own: copy.copy(Derived(1, "x")) == Derived(1, "x"),
    lambda Base, Derived, Own: copy.deepcopy(Derived(1, c=[[1]])).c,
    lambda Base, Derived, Own: repr(dataclasses.replace(Derived(1), b="z")),
    lambda Base, Derived, Own: dataclasses.asdict(Derived(1, e=({"k": Base(2)},))),
    lambda Base, Derived, Own: dataclasses.is_dataclass(Base),
    lambda Base, Derived, Own: [
        (one.name, one.type, one.default_factory is list) for one in dataclasses.fields(Derived)
    ],
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(len(ACTIONS)))
def test_as_dataclasses(kind: str, number: int) -> None:
    theirs, ours = classes(dataclasses, KINDS[kind]), classes(values, KINDS[kind])
    action = ACTIONS[number]
    assert said(lambda: action(*ours)) == said(lambda: action(*theirs))
    # Once more, when the constructors are compiled.
    assert said(lambda: action(*ours)) == said(lambda: action(*theirs))


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_functions(kind: str) -> None:
    _, ours, _ = classes(values, KINDS[kind])
    made = ours(1, c=[1], e=({"k": ours(2)},))
    assert values.asdict(made) == dataclasses.asdict(made)
    assert values.replace(made, b="z") == dataclasses.replace(made, b="z")
    assert said(lambda: values.replace(made, zz=1)) == "TypeError"
    assert list(inspect.signature(ours).parameters) == list("abcde"), "compiled by now"


def test_values_travel() -> None:
    assert pickle.loads(pickle.dumps(Lun(1, "d"))) == Lun(1, "d")
    assert copy.deepcopy(Lun(1, "d")) == Lun(1, "d")


def test_nothing_can_be_added_to_a_frozen_one() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Lun(1, "d").other = 1  # type: ignore[attr-defined]


# What a command brings along is most of its time: these cost much, and an apply has no use for them.
EXPENSIVE = {
    "dataclasses",
    "inspect",
    "ast",
    "difflib",
    "pyudev",
    "configshell_fb",
    "rtslib",
    "ctypes",
    "asyncio",
}


def test_an_apply_imports_little(tmp_path: Path) -> None:
    luns = tuple(Lun(number, f"d{number}") for number in range(3))
    devices = tuple(Device(lun.device, "nullio", size=MIB) for lun in luns)
    group = Group("g", initiators=("iqn.2026-11.com.example:a",), luns=luns)
    wanted = Config(devices, (Target("local", "t", groups=(group,)),))
    (tmp_path / "file.json").write_text(dumps(wanted))
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(wanted)
    program = (
        "import sys; from pyscstadmin.__main__ import main; "
        f"code = main(['--sim', {str(tmp_path / 'sim')!r}, 'apply', {str(tmp_path / 'file.json')!r}]); "
        "print(code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, _, last = done.stdout.strip().rpartition("\n")
    code, *modules = last.split()
    assert (said, code) == ("nothing to do", "0")
    assert EXPENSIVE.isdisjoint(modules)
