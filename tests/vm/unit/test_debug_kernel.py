# SPDX-License-Identifier: GPL-2.0-or-later
"""How a debug kernel is made, when it is built anew, what of the build is kept; and what judges it."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.debug import __main__ as debug
from tests.debug import kernel
from tests.debug.guest import faults
from tests.vm import guest_plugin, kmodbuild, machine

RECIPE = kernel.Recipe("kasan", Path("/nowhere"), "6.1-1", "12.2.0", "CONFIG_A=y\n", (("a.patch", "text"),))
WANTED = "# comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=16\n"


def test_settings_that_got_through() -> None:
    """Off is off, whether the kernel says so or does not know the option."""
    assert kernel.unmet(WANTED, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=16\nCONFIG_D=y\n") == []


def test_settings_that_did_not() -> None:
    lost = kernel.unmet(WANTED, "CONFIG_A=m\nCONFIG_B=y\n")
    assert lost == ["CONFIG_A=y, not m", "CONFIG_B=n, not y", "CONFIG_C=16, not n"]


@pytest.mark.parametrize("kind", kernel.KINDS)
def test_no_option_is_set_twice(kind: str) -> None:
    """Of two settings of one option kconfig takes one, and the file does not say which."""
    lines = [
        line
        for name in ("common", kind)
        for line in (kernel.HERE / "config" / f"{name}.config").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    options = [line.partition("=")[0] for line in lines]
    assert all(option.startswith("CONFIG_") for option in options)
    assert sorted(options) == sorted(set(options))


@pytest.mark.parametrize(
    "change",
    [
        {"source_version": "6.1-2"},
        {"compiler": "13.1.0"},
        {"config": "CONFIG_A=n\n"},
        {"patches": (("a.patch", "other"),)},
        {"patches": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_kernel_is_made_of_is_in_its_key(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE).key == RECIPE.key
    assert dataclasses.replace(RECIPE, **change).key != RECIPE.key  # type: ignore[arg-type]


def test_patches_of_one_kind_are_no_others() -> None:
    common = set(kernel.patches("none of them"))
    assert common
    for kind in kernel.KINDS:
        of_kind = {path.name for path in kernel.patches(kind) if path not in common}
        assert of_kind == {path.name for path in (kernel.HERE / "patches" / kind).glob("*.patch")}


def test_patches_say_why() -> None:
    for patch in (kernel.HERE / "patches").rglob("*.patch"):
        assert not patch.read_text().startswith(("---", "diff")), patch.name


@pytest.fixture
def build_tree(tmp_path: Path) -> Path:
    """A little of a kernel's build folder."""
    tree = tmp_path / "tree"
    for name in (
        ".config",
        "Module.symvers",
        "Makefile",
        "fs/Kconfig",
        "fs/file.c",
        "include/linux/a.h",
        "scripts/mod/modpost",
        "scripts/mod/modpost.o",
        "scripts/mod/.modpost.cmd",
        "arch/Kconfig",
        "arch/x86/Makefile",
        "arch/x86/include/asm/b.h",
        "arch/arm/Makefile",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    return tree


def test_only_what_modules_are_made_with_is_kept(build_tree: Path, tmp_path: Path) -> None:
    names = kernel.build_files(build_tree)
    gone = {
        "fs/file.c",
        "scripts/mod/modpost.o",
        "scripts/mod/.modpost.cmd",
        "arch/Kconfig",
        "arch/arm/Makefile",
    }
    everything = {str(path.relative_to(build_tree)) for path in build_tree.rglob("*") if path.is_file()}
    assert {str(name) for name in names} == everything - gone
    kernel.copy_files(build_tree, tmp_path / "copy", names)
    assert (tmp_path / "copy/scripts/mod/modpost").read_text() == "scripts/mod/modpost"


def test_the_board_drivers_types_are_in_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kmod/targets/qla2xxx looks for them: beside the build folder; the kernel itself has none."""
    tree, modules = tmp_path / "tree", tmp_path / "modules"
    module = modules / "kernel" / kernel.BOARDS / "qla2xxx.ko"
    for folder in (module.parent, modules / "build", (tree / kernel.BOARDS_TYPES).parent):
        folder.mkdir(parents=True)

    def compiled(target: Path, *words: str) -> None:
        source = "struct board { char first; int second; } board;"
        command = ["gcc", "-c", *words, "-x", "c", "-", "-o", str(target)]
        subprocess.run(command, input=source, text=True, check=True)

    def make(tree: Path, _log: Path, flags: str, target: str) -> None:
        compiled(tree / target, flags.removeprefix("KCFLAGS="))

    compiled(module)
    monkeypatch.setattr(kernel, "make", make)
    kernel.describe_boards(tree, modules, tmp_path / "log")
    monkeypatch.syspath_prepend(machine.REPO / "kmod/targets/qla2xxx")
    btf, layout = (importlib.import_module(name) for name in ("btf", "layout"))
    for name in ("btf", "layout"):
        del sys.modules[name]
    build = str(modules / "build")
    base, own = (layout.first(paths, "no-such-release", build) for paths in (layout.KERNELS, layout.MODULES))
    assert Path(own).samefile(module)
    types = btf.of_module(Path(own), btf.of_kernel(Path(base)))
    found = types.types[types.find(btf.STRUCT, "board")]
    assert [(member.name, member.bit) for member in found.members] == [("first", 0), ("second", 32)]


def test_a_kernel_in_the_cache_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built once; packed as a whole; unpacked where it can be booted."""
    built = []

    def compile_kernel(what: kernel.Recipe, work: Path) -> Path:
        built.append(what.key)
        root = work / "root"
        (root / "boot").mkdir(parents=True)
        (root / "boot/vmlinuz-1").write_text("kernel")
        return root

    monkeypatch.setattr(kernel, "compile_kernel", compile_kernel)
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(machine, "REPO", tmp_path / "repo")
    for _ in range(2):
        assert (kernel.unpacked(RECIPE) / "boot/vmlinuz-1").read_text() == "kernel"
    other = dataclasses.replace(RECIPE, compiler="13.1.0")
    kernel.unpacked(other)
    assert built == [RECIPE.key, other.key]
    assert sorted(os.listdir(tmp_path / "cache/debug-kernel")) == sorted([*built, "lock"])


def test_leaks_are_looked_for_last() -> None:
    """In every machine that has kmemleak, after all other files."""
    for part in debug.parts():
        assert part.command[-1].endswith(debug.LAST)
        assert sum(word.endswith(debug.LAST) for word in part.command) == 1


def test_every_file_is_in_one_part() -> None:
    words = [word for part in debug.parts() for word in part.command if word.endswith(".py")]
    files = [*debug.GUEST.glob("test_*.py"), *(debug.HERE / "guest").glob("test_*.py")]
    assert {str(file.relative_to(machine.REPO)) for file in files} == set(words)


def test_without_fault_injection_no_memory_fails() -> None:
    """Of the kind kcsan: the tests of the machine, and operations at random."""
    words = [word for part in debug.parts("kcsan") for word in part.command if word.endswith(".py")]
    files = [*debug.GUEST.glob("test_*.py"), debug.HERE / "guest" / debug.STRESS]
    assert sorted(words) == sorted(str(file.relative_to(machine.REPO)) for file in files)


def test_what_is_asked_of_the_tests_reaches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCST_EVERY", "1")
    monkeypatch.delenv("SCST_SEED", raising=False)
    for part in debug.parts():
        assert "--env=SCST_EVERY=1" in part.command
        assert not any("SCST_SEED" in word for word in part.command)


def test_kcsan_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Where there is one, and nowhere but in the machine."""
    file = tmp_path / "kcsan"
    monkeypatch.setattr(guest_plugin, "KCSAN", file)
    monkeypatch.setenv("SCST_GUEST", "1")
    monkeypatch.setenv("SCST_CPUS", str(os.cpu_count()))
    guest_plugin.pytest_configure(request.config)
    assert not file.exists()
    file.write_text("enabled: 0\n")
    guest_plugin.pytest_configure(request.config)
    assert file.read_text() == "on"


def test_a_machine_with_other_cpus_is_refused(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A kernel that has not found them all looks like one that has no races."""
    monkeypatch.setattr(guest_plugin, "KCSAN", Path("/nowhere"))
    monkeypatch.setenv("SCST_GUEST", "1")
    monkeypatch.setenv("SCST_CPUS", str((os.cpu_count() or 1) + 1))
    with pytest.raises(pytest.UsageError, match="CPUs"):
        guest_plugin.pytest_configure(request.config)


@pytest.mark.parametrize(("root", "words"), [("/", "4"), ("/some/kernel", "4,sockets=4")])
def test_debug_kernels_have_packages(root: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmodbuild, "KERNEL_ROOT", Path(root))
    assert machine.topology(4) == words


def test_reports_of_kmemleak() -> None:
    one, two = (f"unreferenced object 0x{n} (size 8):\n  backtrace:\n    f+0x1\n" for n in (1, 2))
    assert faults.leaks("") == []
    assert faults.leaks(one + two) == [one, two]


@pytest.mark.parametrize(("text", "blind"), [(" debug_locks:   1\n", False), (" debug_locks:   0\n", True)])
def test_lockdep_that_has_switched_itself_off(
    text: str, blind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to have it is not the same as its being off."""
    stats = tmp_path / "lockdep_stats"
    monkeypatch.setattr(guest_plugin, "LOCKDEP", stats)
    assert not guest_plugin.lockdep_is_blind()
    stats.write_text(text)
    assert guest_plugin.lockdep_is_blind() == blind


@pytest.mark.parametrize(
    ("every", "sparse", "step", "most"), [(1, 1, 1, 1000), (1, 4, 1, 1000), (7, 1, 7, 60), (7, 4, 28, 15)]
)
def test_which_allocations_are_tried(
    every: int, sparse: int, step: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All, or of the first ones every so many, of hundreds fewer; no two runs need try the same ones."""
    monkeypatch.setattr(faults, "EVERY", every)
    numbers = list(itertools.takewhile(lambda number: number <= 1000, faults.numbers(sparse)))
    assert len(numbers) <= most
    assert 1 <= numbers[0] <= step
    steps = [later - number for number, later in itertools.pairwise(numbers)]
    few = sum(number < faults.FEW for number in numbers)
    assert set(steps[:few]) == {step}
    assert steps == sorted(steps)
