# SPDX-License-Identifier: GPL-2.0-or-later
"""The floors of the package (docs/architecture.md): who imports whom, that no modules of a room import each
other in a circle, and that pure rooms are pure.

The text is read, not the running program, so that imports inside functions and for the type checker count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import pyscstadmin

NAME = "pyscstadmin"
PACKAGE = Path(pyscstadmin.__file__).parent

# From the roof down. A room, or a module that is one by itself, imports from lower floors, never from beside
# it. The last is the package itself, which has the version.
FLOORS = (
    ("__main__",),
    ("shell", "watch"),
    ("cli",),
    ("admin",),
    ("sim", "iscsi"),
    ("kernel", "store", "migrate"),
    ("config", "durable"),
    ("errors",),
    ("__init__",),
)
LEVELS = {room: level for level, rooms in enumerate(reversed(FLOORS)) for room in rooms}

# Rooms that only compute, and what would let them do something else. Of `sys` they may know how the locale
# writes file names.
PURE = ("config",)
IMPURE = frozenset(
    "asyncio ctypes datetime fcntl glob io logging mmap multiprocessing os pathlib pty random readline "
    "select selectors shutil signal socket subprocess sys tempfile threading time urllib "
    "configshell pyudev rich rtslib".split()
)
IMPURE_CALLS = frozenset(("breakpoint", "input", "open", "print"))
HARMLESS = frozenset(("sys.getfilesystemencoding", "sys.getfilesystemencodeerrors"))

# Whoever imports by these hides what is imported.
LATE_CALLS = frozenset(("__import__", "import_module"))
_DOTTED = re.compile(rf"{NAME}(\.\w+)+")


class Finding(NamedTuple):
    """Something that is not as it should be."""

    file: str
    line: int
    what: str


def findings(package: Path) -> list[Finding]:
    """All that is wrong in a package, by file and line."""
    found = [*unknown(package), *circles(package)]
    for path in sorted(package.rglob("*.py")):
        file = str(path.relative_to(package))
        room = room_of(package, file.removesuffix(".py").split("/"))
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        found += (Finding(file, line, what) for line, what in upward(package, room, file, tree))
        if room in PURE:
            found += (Finding(file, line, what) for line, what in impure(room, file, tree))
    return sorted(found)


def unknown(package: Path) -> Iterator[Finding]:
    """Rooms and modules that stand on no floor, and folders that would not be installed."""
    for path in sorted(package.iterdir()):
        if path.suffix == ".py" or any(path.rglob("*.py")):
            if path.stem not in LEVELS:
                yield Finding(path.name, 0, "stands on no floor")
            if path.is_dir() and not (path / "__init__.py").exists():
                yield Finding(path.name, 0, "has no __init__.py")


def room_of(package: Path, parts: list[str]) -> str:
    """The room of something given by its names below the package; what is neither room nor module is in
    the package's own file.
    """
    first = parts[0] if parts else ""
    there = first in LEVELS or (package / first).is_dir() or (package / f"{first}.py").exists()
    return first if first and there else "__init__"


def circles(package: Path) -> Iterator[Finding]:
    """Modules of a room that know each other in a circle, also by imports inside functions and for the type
    checker: none of them can be understood, or changed, alone. Each circle is reported once, with its way.
    """
    known: dict[str, dict[str, int]] = {}
    for path in sorted(package.rglob("*.py")):
        file = str(path.relative_to(package))
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        known[module_of(file)] = beside(package, file, tree)
    done: set[str] = set()
    for start in known:
        way = circle(known, start, done)
        if way:
            line = known[way[0]][way[1]]
            yield Finding(way[0].replace(".", "/") + ".py", line, f"a circle: {' -> '.join(way)}")


def module_of(file: str) -> str:
    """The name of a module below the package: `shell.node`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def beside(package: Path, file: str, tree: ast.Module) -> dict[str, int]:
    """The modules of its own room that a module knows, and where it says so."""
    own = module_of(file)
    room = own.split(".")[0]
    found: dict[str, int] = {}
    for line, name in references(file, tree):
        parts = name.split(".")
        if parts[:2] != [NAME, room]:
            continue
        for length in (len(parts), len(parts) - 1):
            module = ".".join(parts[1:length])
            if module and module != own and (package / f"{module.replace('.', '/')}.py").exists():
                found.setdefault(module, line)
                break
    return found


def circle(known: dict[str, dict[str, int]], start: str, done: set[str]) -> list[str]:
    """The first circle that a search from a module finds, from the module where it begins back to it; []
    for none. `done`: modules that lead into no circle, or into one that was found.
    """
    way: list[str] = []

    def follow(module: str) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        way.append(module)
        for other in known.get(module, ()):
            found = follow(other)
            if found:
                done.update(way)
                return found
        done.add(way.pop())
        return []

    return follow(start)


def upward(package: Path, room: str, file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module knows of the package and must not."""
    for line, name in references(file, tree):
        if name in LATE_CALLS:
            yield line, f"{name}() hides what is imported"
            continue
        first, *rest = name.split(".")
        other = room_of(package, rest)
        if first == NAME and other != room and LEVELS.get(other, 99) >= LEVELS.get(room, -1):
            yield line, f"{room} must not know {other}"


def impure(room: str, file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module of a pure room has and must not."""
    for line, name in references(file, tree):
        if name.split(".")[0] in IMPURE and name not in HARMLESS:
            yield line, f"{room} is pure and must not know {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield node.lineno, f"{room} is pure and must not call {node.func.id}()"


def references(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Full names of all that is imported anywhere in a module or named in a text of its own, and what hides
    imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(file, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _DOTTED.fullmatch(node.value):
                yield node.lineno, node.value
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in LATE_CALLS:
                yield node.lineno, name


def origin(file: str, node: ast.ImportFrom) -> str:
    """The full name behind `from`, also where it is relative."""
    if not node.level:
        return node.module or ""
    folders = [NAME, *file.split("/")[:-1]]
    return ".".join([*folders[: len(folders) - node.level + 1], *filter(None, [node.module])])


def test_every_room_stands_on_its_floor() -> None:
    assert findings(PACKAGE) == []


def test_other_stacks_are_read_in_one_place() -> None:
    """Of what knows other stacks' configurations, one module does I/O; the rest is pure."""
    found = {}
    for path in sorted((PACKAGE / "migrate").glob("*.py")):
        file = str(path.relative_to(PACKAGE))
        found[path.name] = list(impure("migrate", file, ast.parse(path.read_text(encoding="utf-8"))))
    assert found.pop("lio_kernel.py")
    assert len(found) > 5
    assert not any(found.values()), found


def test_logins_are_computed_apart_from_sockets() -> None:
    """What is fed with bytes of strangers does no I/O."""
    core = ("pdu", "keys", "negotiate", "chap", "login", "discovery", "names", "policy")
    for name in core:
        path = PACKAGE / "iscsi" / f"{name}.py"
        found = list(impure("iscsi", f"iscsi/{path.name}", ast.parse(path.read_text(encoding="utf-8"))))
        assert [what for _, what in found if "print()" not in what] == [], name
    daemon = PACKAGE / "iscsi" / "daemon.py"
    assert list(impure("iscsi", "iscsi/daemon.py", ast.parse(daemon.read_text(encoding="utf-8"))))


def test_the_package_was_looked_at() -> None:
    """The test above is worth something: there is much to see, and it is seen."""
    seen = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert seen >= {
        "__main__",
        "admin",
        "cli",
        "config",
        "errors",
        "iscsi",
        "kernel",
        "migrate",
        "shell",
        "sim",
        "store",
        "watch",
    }
    named = set()
    for path in PACKAGE.rglob("*.py"):
        file = str(path.relative_to(PACKAGE))
        named |= {name for _, name in references(file, ast.parse(path.read_text(encoding="utf-8")))}
    assert {f"{NAME}.{name}" for name in ("sim.tree.SimTree", "watch.loop", "cli.main.emit")} <= named


# The test itself.

TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
FAULTS = [
    ("kernel/cfs.py", "\nimport pyscstadmin.sim.tree\n", 2, "kernel must not know sim"),
    ("kernel/cfs.py", "import os\nfrom pyscstadmin import errors, admin\n", 2, "kernel must not know admin"),
    ("kernel/cfs.py", "from pyscstadmin.store import save\n", 1, "kernel must not know store"),
    ("kernel/cfs.py", "from ..shell import line\n", 1, "kernel must not know shell"),
    ("kernel/cfs.py", "from .. import cli\n", 1, "kernel must not know cli"),
    ("kernel/__init__.py", "from ..sim.tree import Tree\n", 1, "kernel must not know sim"),
    ("cli/main.py", "def f():\n    from pyscstadmin.shell.main import run\n", 2, "cli must not know shell"),
    ("cli/main.py", f"{TYPES}from pyscstadmin.watch import loop\n", 3, "cli must not know watch"),
    ("cli/main.py", "\n\nMODULE = 'pyscstadmin.watch'\n", 3, "cli must not know watch"),
    (
        "cli/main.py",
        "import importlib as i\ni.import_module(x)\n",
        2,
        "import_module() hides what is imported",
    ),
    ("watch/loop.py", "from pyscstadmin.shell import line\n", 1, "watch must not know shell"),
    ("admin.py", "from pyscstadmin.__main__ import main\n", 1, "admin must not know __main__"),
    ("errors.py", "\nfrom pyscstadmin.config.names import Fault\n", 2, "errors must not know config"),
    ("__init__.py", "from pyscstadmin.errors import X\n", 1, "__init__ must not know errors"),
    ("config/plan.py", "import re\nimport os.path\n", 2, "config is pure and must not know os.path"),
    (
        "config/plan.py",
        "def f():\n    from sys import stdin\n",
        2,
        "config is pure and must not know sys.stdin",
    ),
    ("config/plan.py", "\nx = open('/x')\n", 2, "config is pure and must not call open()"),
    ("config/plan.py", "from pyscstadmin.attic import x\n", 1, "config must not know attic"),
]


def house(folder: Path) -> Path:
    """A package that is as it should be, with an attic that is not on the plan but empty."""
    texts = {
        "__init__.py": "__version__ = '1'\n",
        "__main__.py": "def f():\n    from pyscstadmin.shell.main import run\n",
        "admin.py": "from pyscstadmin import __version__\nfrom pyscstadmin.sim import tree\n",
        "errors.py": "import os\n",
        "cli/main.py": "from pyscstadmin.admin import Admin\n",
        "config/plan.py": "import re\nfrom sys import getfilesystemencoding\nfrom . import names\n",
        "config/names.py": "from pyscstadmin.errors import X\n",
        "kernel/cfs.py": "import os\nfrom .read import x\nfrom ..config.names import y\n",
        "kernel/read.py": "from pyscstadmin.config import plan\n",
        "shell/main.py": "import pyscstadmin.cli.main\nprint(open('/x'))\n",
        "sim/tree.py": "from pyscstadmin.kernel import cfs\n",
        "store/save.py": "from pyscstadmin.config.plan import z\n",
        "watch/loop.py": "from pyscstadmin.cli.main import emit\n",
    }
    package = folder / NAME
    for file, text in texts.items():
        path = package / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if "/" in file:
            (path.parent / "__init__.py").touch()
    (package / "attic").mkdir()
    return package


def test_a_good_house_is_good(tmp_path: Path) -> None:
    assert findings(house(tmp_path)) == []


@pytest.mark.parametrize(("file", "text", "line", "what"), FAULTS)
def test_fault_is_found_with_its_place(tmp_path: Path, file: str, text: str, line: int, what: str) -> None:
    package = house(tmp_path)
    (package / file).write_text(text)
    assert findings(package) == [Finding(file, line, what)]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nfrom pyscstadmin.kernel.cfs import View\n",
        "def f():\n    from .cfs import View\n",
        f"{TYPES}from pyscstadmin.kernel import cfs\n",
        "import pyscstadmin.kernel.cfs\n",
    ],
)
def test_circle_is_found(tmp_path: Path, text: str) -> None:
    """Two modules that know each other, and three."""
    package = house(tmp_path)
    (package / "kernel" / "read.py").write_text(text)
    what = "a circle: kernel.cfs -> kernel.read -> kernel.cfs"
    assert findings(package) == [Finding("kernel/cfs.py", 2, what)]
    (package / "kernel" / "read.py").write_text("from pyscstadmin.kernel import apply\n")
    (package / "kernel" / "apply.py").write_text(text)
    what = "a circle: kernel.apply -> kernel.cfs -> kernel.read -> kernel.apply"
    assert [finding.what for finding in findings(package)] == [what]


def test_what_is_on_no_floor_is_found(tmp_path: Path) -> None:
    package = house(tmp_path)
    (package / "attic" / "chest.py").touch()
    (package / "cellar.py").touch()
    assert findings(package) == [
        Finding("attic", 0, "has no __init__.py"),
        Finding("attic", 0, "stands on no floor"),
        Finding("cellar.py", 0, "stands on no floor"),
    ]
