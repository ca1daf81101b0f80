# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel a machine boots, and where the VM finds the modules of one that is not installed."""

from pathlib import Path

import pytest

from tests.vm import bootimage, kmodbuild


def kernel(root: Path, release: str, headers: bool = True) -> None:
    """A kernel as far as the runner looks before it builds."""
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{release}").touch()
    if headers:
        kmodbuild.build_folder(release, root).mkdir(parents=True)


def test_newest_kernel_with_headers(tmp_path: Path) -> None:
    """Version order, not that of the alphabet; one without headers is of no use."""
    kernel(tmp_path, "6.1.9-amd64")
    kernel(tmp_path, "6.1.10-amd64")
    kernel(tmp_path, "6.1.11-amd64", headers=False)
    assert bootimage.newest_kernel(tmp_path) == "6.1.10-amd64"


def test_no_kernel_is_said(tmp_path: Path) -> None:
    """The text names the folder that was looked in."""
    with pytest.raises(bootimage.BootImageError, match=str(tmp_path / "boot")):
        bootimage.newest_kernel(tmp_path)


def test_own_modules_are_shown_to_the_vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link in the layer, also when there was one already."""
    monkeypatch.setattr(kmodbuild, "module_folder", lambda release: tmp_path / "lib/modules" / release)
    layer = tmp_path / "layer"
    layer.mkdir()
    for _ in range(2):
        kmodbuild.show_own_modules("1.2", layer)
    assert (layer / "kernel").readlink() == tmp_path / "lib/modules/1.2/kernel"
