# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a program hands to `Admin`: what is refused is refused with an error of this package, and nothing
changes but what was named.

On plain directories, so that paths mean what they mean to the system. `SCST_EXAMPLES`: how many values
(`make test-long`).
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.settings import HANDLERS
from pyscstadmin.errors import InvalidInput, ScstError
from tests.unit.plain import PlainTree, contents, lay_out
from tests.unit.strategies import MIB

EXAMPLES = int(os.environ.get("SCST_EXAMPLES", "600"))
# What takes values that only other parts of this package make, and what takes none.
NOT_HERE = frozenset(("change", "close", "tree", "default_file"))

CONFIG = Config(
    (
        Device("d0", "nullio", size=MIB, id=Identity(serial="S0", naa="3" * 16)),
        Device("d1", "nullio", size=MIB, id=Identity(serial="S1", naa="5" * 16)),
    ),
    tuple(
        Target(
            "local",
            f"t{number}",
            rel_tgt_id=number,
            hosts=("iqn.a",),
            luns=(Lun(0, "d0"),),
            groups=(
                Group("g1", 5, ("iqn.a", "iqn.b*"), (Lun(0, "d1", True), Lun(3, "d0"))),
                Group("g2", 6, ("iqn.c",), (Lun(0, "d0"),)),
            ),
        )
        for number in (1, 2)
    ),
)

NASTY = [
    "",
    ".",
    "..",
    "/",
    "../x",
    "../../t2",
    "../../t2/groups/evil",
    "../../../outside",
    "g1/../g2",
    "t1/groups/g1",
    "local/../local/t2",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\udcff",
    "x" * 300,
    "x" * 70000,
    "\n",
    "g1\n",
    " g1",
    "*",
    "!",
    "é",
    "-rf",
    "local/",
    "/t1",
    "id",
    "enabled",
    "luns",
]
any_text = st.text(st.integers(0, 0x10FFFF).map(chr), max_size=12)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.binary(max_size=4),
    st.lists(any_text, max_size=2),
    st.dictionaries(any_text, st.none(), max_size=2),
    st.builds(object),
    st.just(Path("/x")),
)
junk = st.sampled_from(NASTY) | any_text | odd


def mostly(*good: object) -> st.SearchStrategy[Any]:
    """What is there, or is a name that could be; and sometimes anything."""
    return st.one_of(st.sampled_from(good), st.sampled_from(good), junk)


names = mostly("d0", "d1", "new", "nullio")
targets = mostly("t1", "local/t1", "t2", "t3", "local/../local/t2")
groups = mostly("g1", "g2", "g3", "")
patterns = mostly("iqn.a", "iqn.z", "iqn.c", "x*", "!y")
numbers = mostly(0, 1, 3, 5, 16383, 16384, -1, "0", True)
values = mostly(0, 1, True, False, "x", "auto", 512, MIB, "S9", "6" * 32, ("iqn.q",), (Lun(1, "d0"),))
setting_names = st.sampled_from(
    "enabled path size read_only block_size serial naa eui64 vendor id name handler driver rel_tgt_id hosts "
    "luns groups priority initiators queue_depth auto_rescan buffer_limit bogus settings".split()
)


def built(kind: Callable[..., Any], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object of the model, as far as it can be made of anything; or something else altogether."""

    def attempt(given: dict[str, Any]) -> Any:
        try:
            return kind(**given)
        except (ScstError, TypeError, AttributeError, ValueError):
            return None

    return st.fixed_dictionaries(members).map(attempt) | junk


luns = built(Lun, number=numbers, device=names, read_only=mostly(True, False))
some_luns = st.lists(luns, max_size=2).map(tuple) | junk
some_groups = built(Group, name=groups, priority=values, initiators=mostly(("iqn.a",), ()), luns=some_luns)
some_targets = built(
    Target,
    driver=mostly("local"),
    name=mostly("t1", "t3"),
    enabled=mostly(True, False),
    rel_tgt_id=values,
    hosts=mostly(("iqn.h",), ()),
    luns=some_luns,
    groups=st.lists(some_groups, max_size=2).map(tuple) | junk,
)
some_devices = built(
    Device,
    name=names,
    handler=mostly("nullio", "fileio"),
    enabled=mostly(True, False),
    id=built(Identity, serial=values, naa=values) | st.just(Identity()),
    size=st.just(MIB) | values,
) | built(Device, name=names, handler=st.just("fileio"), path=mostly("/nonexistent/x"))
some_configs = built(
    Config,
    devices=st.lists(some_devices, max_size=2).map(tuple) | junk,
    targets=st.lists(some_targets, max_size=2).map(tuple) | junk,
) | st.sampled_from(
    (
        CONFIG,
        Config(),
        Config(CONFIG.devices),
        Config(CONFIG.devices, CONFIG.targets[:1]),
        Config((*CONFIG.devices, Device("new", "nullio", size=MIB)), CONFIG.targets),
    )
)

# By the names of parameters; what has another name takes anything.
PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "target": targets,
    "name": names,
    "device": names,
    "new": mostly("new", "d1", "g2", "g3"),
    "group": groups,
    "to": groups,
    "number": numbers,
    "size": mostly(0, 512, MIB, 2 * MIB),
    "wanted": some_configs,
    "config": some_configs,
    "patterns": patterns,
    "initiators": patterns,
    "initiator": patterns,
    "names": st.lists(names, max_size=2) | junk,
    "devices": st.lists(names, max_size=2) | junk,
    "numbers": st.lists(numbers, max_size=2) | junk,
    "luns": st.lists(st.tuples(numbers, names | st.none()), max_size=2) | junk,
    "what": st.lists(mostly("luns", "groups", "hosts", "initiators"), max_size=2) | junk,
    "handler": mostly("nullio", "fileio"),
    "state": mostly("active", "parked"),
    "error": mostly("", "ENOENT"),
    "path": mostly("", "/nonexistent/x"),
    "accept": st.just(()) | st.lists(mostly("no-lun-0"), max_size=2) | junk,
    "keep_going": st.booleans(),
    "force": st.booleans(),
    "replace": st.booleans(),
    "read_only": mostly(True, False, None),
    "file_size": st.none() | odd,
    "preallocate": st.booleans(),
    "progress": st.none() | junk,
    "agree": st.none() | st.just(lambda losses: None) | junk,
    "change": some_configs.map(lambda config: lambda present: config)
    | st.just(lambda present: present)
    | junk,
}
OWN = {
    ("create_device", "device"): some_devices,
    ("create_target", "target"): some_targets,
    ("create_group", "group"): some_groups,
    # Nothing outside of the test's own directory is written, whatever is asked for.
    ("save", "path"): odd | st.sampled_from(["", "a\0b"]),
}
METHODS = [
    name
    for name, found in inspect.getmembers(Admin)
    if not name.startswith("_") and name not in NOT_HERE and callable(found)
]


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Any], dict[str, Any]]:
    """A method and what it is called with."""
    method = draw(st.sampled_from(METHODS))
    positional: list[Any] = []
    named: dict[str, Any] = {}
    known = inspect.signature(getattr(Admin, method)).parameters
    for name, parameter in list(known.items())[1:]:
        value = OWN.get((method, name), PARAMETERS.get(name, junk))
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += draw(st.lists(value, max_size=3))
        elif parameter.kind is parameter.VAR_KEYWORD:
            given = draw(st.dictionaries(setting_names, values, max_size=2))
            named.update({key: one for key, one in given.items() if key not in known})
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty or draw(st.booleans()):
                named[name] = draw(value)
        elif parameter.default is parameter.empty or draw(st.booleans()):
            positional.append(draw(value))
        else:
            break
    return method, positional, named


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tree that has the configuration, and things beside it that are nobody's business."""
    folder = tmp_path_factory.mktemp("pristine")
    lay_out(folder / "scst")
    (folder / "outside").mkdir()
    (folder / "outside/precious").write_text("precious")
    with Admin(tree=PlainTree(str(folder / "scst")), state_dir=str(folder / "run")) as admin:
        admin.apply(CONFIG)
        assert admin.config().targets == CONFIG.targets
    return folder


def copied(pristine: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(pristine, place, symlinks=True)
    for link in place.rglob("device"):
        if link.is_symlink():
            text = os.readlink(link).replace(str(pristine), str(place))
            link.unlink()
            link.symlink_to(text)


# The LUNs that are devices with another name after it.
LINKS = [
    f"targets/local/{target.name}/{f'groups/{group}/' if group else ''}luns/{lun.number}/device"
    for target in CONFIG.targets
    for group, luns in target.lun_sets()
    for lun in luns
]


def own(method: str, positional: list[Any], named: dict[str, Any]) -> list[str]:
    """The directories that a call may change something in."""
    bound = inspect.signature(getattr(Admin, method)).bind(None, *positional, **named).arguments
    whole = ("apply", "restore", "clear", "edit", "configure")
    if method in whole:
        return [""]
    target, group = bound.get("target"), bound.get("group")
    if method == "create_target":
        return [f"targets/local/{getattr(target, 'name', '')}"]
    if target is not None:
        root = f"targets/local/{str(target).rpartition('/')[2]}"
        found = [getattr(group, "name", group), bound.get("to"), bound.get("new")]
        return [f"{root}/groups/{name}" for name in found if name] or [root]
    device = bound.get("device", bound.get("name"))
    found = [getattr(device, "name", device), bound.get("new")]
    shown = LINKS if method == "rename_device" else []
    return [*shown, *(f"devices/{handler}/{name}" for name in found if name for handler in HANDLERS)]


def changed(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for path in {*before, *after}:
        if before.get(path) != after.get(path):
            yield path


ROOT_FILES = frozenset(("autocommit", "commit", "commit_fence", "buffer_limit"))


def test_any_value(pristine: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    copied(pristine, place)
    before = contents(place)
    succeeded: set[str] = set()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls())
    def attempt(call: tuple[str, list[Any], dict[str, Any]]) -> None:
        method, positional, named = call
        root = place / "scst"
        with Admin(tree=PlainTree(str(root)), state_dir=str(place / "run"), settle=0) as admin:
            try:
                getattr(admin, method)(*positional, **named)
                succeeded.add(method)
                allowed = own(method, positional, named)
            except ScstError as error:
                str(error).encode("utf-8", "backslashreplace")
                error.as_dict()
                allowed = []
        after = contents(place)
        moved = [path for path in changed(before, after) if not path.startswith(f"{place}/run")]
        if moved:
            copied(pristine, place)
        for path in moved:
            inside = os.path.relpath(path, root)
            good = inside in ROOT_FILES or any(
                one == inside or inside.startswith(f"{one}/") or (not one and not inside.startswith(".."))
                for one in allowed
            )
            assert good, (path, before.get(path), after.get(path))

    attempt()
    # Which do is a matter of chance: about half of them, of so many examples.
    assert len(succeeded) > len(METHODS) // 3


@pytest.mark.parametrize(
    "wanted",
    [
        Config((Device("d", "nullio", None, size=MIB),)),  # type: ignore[arg-type]
        Config((Device("d", "nullio", size=MIB, id=Identity(serial=0)),)),  # type: ignore[arg-type]
        Config((Device("d", "nullio", size=MIB, id=Identity(naa=False)),)),  # type: ignore[arg-type]
        Config((), (Target("local", "t", 0),)),  # type: ignore[arg-type]
        Config((), (Target("local", "t", rel_tgt_id=True),)),
        Config((), (Target("local", "t", groups=(Group("g", 100.0),)),)),  # type: ignore[arg-type]
        Config((Device("d", "nullio", size=MIB),), (Target("local", "t", luns=(Lun(0, "d", 0),)),)),  # type: ignore[arg-type]
        Config((), (Target("local", "t", luns=(Lun(0, None),)),)),  # type: ignore[arg-type]
    ],
)
def test_what_passes_for_a_value_is_none(wanted: Config, tmp_path: Path) -> None:
    """0 is not no, and None is not nothing: neither may get as far as the tree."""
    with Admin(sim=str(tmp_path)) as admin:
        with pytest.raises(InvalidInput, match=" is no "):
            admin.apply(wanted)
        assert admin.config() == Config()


@pytest.mark.parametrize("wanted", [0, None, "x", {}, (0,), (None,)])
@pytest.mark.parametrize("what", ["luns", "groups"])
@pytest.mark.parametrize("whose", ["target", "group"])
def test_what_is_in_it_is_a_sequence_of_these(whose: str, what: str, wanted: Any, tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(CONFIG)
        change = admin.change_target if whose == "target" else partial(admin.change_group, "t1")
        with pytest.raises(InvalidInput):
            change("t1" if whose == "target" else "g1", **{what: wanted})
        assert admin.config().targets == CONFIG.targets
