# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command says of faults that are injected on purpose, and of a configuration beside them."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.context import Context
from pyscstadmin.cli.places import TOP, place
from pyscstadmin.cli.recorder import record_lines
from pyscstadmin.config.model import Config, Target
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.recorder import parse_records
from pyscstadmin.shell.complete import complete
from pyscstadmin.sim.tree import SimTree

Do = Callable[..., tuple[int, list[str]]]
STAYS = "no part of the configuration, so that it is neither saved nor removed"


@pytest.fixture
def sim(tmp_path: Path) -> str:
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(Config((), (Target("local", "t1"),)))
    return str(tmp_path / "sim")


@pytest.fixture
def do(sim: str, capsys: pytest.CaptureFixture[str]) -> Do:
    """Run the command; returns its exit code and what it said."""

    def run(*words: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        try:
            code = main(["--sim", sim, *words])
        except SystemExit as error:
            code = int(error.code or 0)
        said = capsys.readouterr()
        return code, [*said.out.splitlines(), *said.err.splitlines()]

    return run


def test_neither_saved_nor_removed(do: Do, sim: str) -> None:
    """And `save`, `apply`, `restore` and `clear` say so, as long as it is in force."""
    assert do("save")[0] == 0
    before = Path(sim, "scst.json").read_bytes()
    assert do("create", "fault", "f", "action=drop", "target=t1", "enabled=yes") == (0, ["done"])
    assert do("status")[1][-2:] == [
        "fault f is in force: drop all commands, target local/t1, 0 struck",
        f"saved in {sim}/scst.json",
    ]
    file = f"{sim}/scst.json"
    for words in (("save",), ("apply", file), ("restore",), ("clear", "--yes"), ("apply", file)):
        code, said = do(*words)
        assert (code, said[-1].endswith(STAYS)) == (0, True), said
        with Admin(sim=sim) as admin:
            assert admin.fault("f").enabled
    assert Path(file).read_bytes() == before
    assert do("set", "fault", "f", "enabled=no") == (0, ["done"])
    assert not any("fault" in line for line in (*do("status")[1], *do("restore")[1]))


def test_a_target_is_said_as_everywhere(do: Do) -> None:
    assert do("create", "fault", "f", "target=t1")[0] == 0
    assert do("get", "fault", "f", "target")[1] == ["target=local/t1"]
    assert do("set", "fault", "f", "target=qla2xxx/2100001b320a0b0c")[0] == 0
    assert do("get", "fault", "f", "target")[1] == ["target=qla2xxx/21:00:00:1b:32:0a:0b:0c"]
    assert do("set", "fault", "f", "target=*", "group=any", "commands=0X2A") == (0, ["done"])
    assert do("get", "fault", "f", "target", "group", "commands")[1] == [
        "target=*",
        "group=any",
        "commands=0x2a",
    ]
    assert do("set", "fault", "f", "group=any") == (0, ["nothing to do"])
    assert do("create", "fault", "g", "target=t2")[0] != 0


def test_what_is_wrong(do: Do) -> None:
    """Nothing is made of it."""
    for wrong in ("action=explode", "sense=1/17/01", "probability=0", "lun=any", "commands=28", "seed=x"):
        code, said = do("create", "fault", "f", wrong)
        assert (code, wrong.split("=")[0] in said[-1]) == (2, True), said
    assert do("create", "fault", ".f")[0] == 2
    assert json.loads("".join(do("--json", "list", "faults")[1]))["faults"] == []
    for verb in ("get", "set", "delete"):
        code, said = do(verb, "fault", "f", *(["lun=1"] if verb == "set" else []))
        assert (code, said[-1]) == (1, "scstadmin: there is no fault f")


def test_not_with_other_changes(do: Do, sim: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    for line in ("create fault f", "set fault f lun=1", "delete fault f"):
        script.write_text(f"begin\n{line}\n")
        code, said = do("shell", str(script))
        assert code != 0
        assert "cannot be part of what was begun" in " ".join(said)


def test_a_change_that_fails_is_undone(sim: str) -> None:
    """Whichever of its writes is refused: it is in force as it was."""
    failing = ""

    def inject(operation: str, path: str, value: str | None) -> int | None:
        nonlocal failing
        if operation == "write" and path.endswith(f"/{failing}") and value != "0":
            failing = ""
            return errno.ENOMEM
        return None

    tree = SimTree()
    tree.inject = inject
    admin = Admin(tree=tree, state_dir=sim)
    admin.create_fault("f", action="drop", lun="3", enabled=True)
    before = admin.fault("f")
    for name in ("action", "lun", "enabled"):
        failing = name
        with pytest.raises(OperationError):
            admin.change_fault("f", action="sense", lun="4", count=2)
        assert admin.fault("f") == before
    failing = "count"
    with pytest.raises(OperationError):
        admin.create_fault("g", count=1)
    assert [fault.name for fault in admin.faults()] == ["f"]


def test_the_recorder_says_whose_doing_it_is() -> None:
    line = (
        "failed 1764000000000000000 3 1 local/t1 iqn.x 0 d1 0x1f 0 fault 0 0 2 031100 28000000000000000100 "
        "700003 READ(10)"
    )
    (said,) = record_lines(parse_records(line))
    assert (
        "CHECK CONDITION, MEDIUM ERROR 11/00, 3 times, after 0.0 s, by a fault that is injected on purpose"
        in said
    )


def test_in_the_shell(sim: str) -> None:
    """Its places, and what completion knows of it."""
    with Admin(sim=sim) as admin:
        admin.create_fault("late", enabled=True)
        context = Context(admin)
        assert complete(context, TOP, "set fault l") == ["late ", "lun="]
        assert complete(context, TOP, "get fault late hi") == ["hits "]
        assert complete(context, TOP, "set fault late action=d") == ["action=delay ", "action=drop "]
        assert complete(context, TOP, "/faults/l") == ["/faults/late "]
        assert complete(context, TOP, "create fault l") == ["lun="]
        assert context.exists(place("/faults/late"))
        assert not context.exists(place("/faults/early"))


def test_a_module_that_knows_no_faults(sim: str) -> None:
    tree = SimTree()
    tree.inject = lambda operation, path, value: errno.ENOENT if path == "faults" else None
    assert Admin(tree=tree, state_dir=sim).faults() == []


def test_one_that_goes_meanwhile(sim: str) -> None:
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=sim)
    admin.create_fault("gone")
    admin.create_fault("there")
    tree.inject = lambda operation, path, value: errno.ENOENT if path == "faults/gone/hits" else None
    assert [fault.name for fault in admin.faults()] == ["there"]
