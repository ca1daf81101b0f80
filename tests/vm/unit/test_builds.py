# SPDX-License-Identifier: GPL-2.0-or-later
"""Where modules are built: machines have theirs from a folder that nothing else is taken out of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import __main__ as vm
from tests.vm import kmodbuild, machine

Built = tuple[kmodbuild.Source, Path | None]


def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *argv: str) -> Built:
    """What a command line builds, and where."""
    asked: list[Built] = []

    def build(kdir: Path, source: kmodbuild.Source, base: Path | None) -> tuple[Path, str]:
        asked.append((source, base))
        return tmp_path, ""

    monkeypatch.setattr(kmodbuild, "build", build)
    monkeypatch.setattr(machine, "REPO", tmp_path)
    vm.build_layer(vm.parser().parse_args(argv), "6.1")
    (one,) = asked
    return one


def test_modules_of_the_tests_stay_where_machines_have_them_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that ran while `make modules` took away those of the tests found them no more."""
    assert built(monkeypatch, tmp_path, "test", "tests/vm/guest") == (kmodbuild.TESTED, None)
    assert built(monkeypatch, tmp_path, "build", "--tested") == (kmodbuild.TESTED, None)
    source, base = built(monkeypatch, tmp_path, "build")
    assert source == kmodbuild.PRODUCT
    assert base == tmp_path / "build/modules"


def test_another_kernel_of_the_same_release_begins_anew(tmp_path: Path) -> None:
    """A debug kernel whose configuration changed keeps its name; objects of the old one crashed in it."""
    folder, one, other = (tmp_path / name for name in ("built", "one", "other"))
    kmodbuild.of_this_kernel(folder, one)
    (folder / "object").touch()
    kmodbuild.of_this_kernel(folder, one)
    assert (folder / "object").exists()
    kmodbuild.of_this_kernel(folder, other)
    assert not (folder / "object").exists()
    kmodbuild.of_this_kernel(folder, other)
