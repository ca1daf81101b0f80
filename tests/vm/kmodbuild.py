# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the kernel modules outside the source tree, one folder per kernel.

The sources are mirrored as symbolic links into ``build/kmod/<release>/tree``, where kbuild leaves its
objects; so builds for several kernels run side by side and the source tree stays clean. The result is also
laid out as ``build/kmod/<release>/layer``: a piece of a root file system with the modules in ``updates/`` and
a module index, which the test VM puts over its own root, so that ``modprobe scst`` works there.

A kernel that is not installed, as one with debugging aids, is used by setting SCST_KERNEL_ROOT to a folder
with its ``boot/vmlinuz-<release>`` and ``lib/modules/<release>``; not below /tmp or /run, which the VM does
not see.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
KERNEL_ROOT = Path(os.environ.get("SCST_KERNEL_ROOT") or "/").resolve()


# What kbuild says on a machine without the kernel's own object files; it is no word about our sources.
UNIMPORTANT = (
    "Skipping BTF generation",
    "warning: the compiler differs from the one used to build the kernel",
)
# A kernel with checkers has this one for who asks for it.
CHECKED = () if str(KERNEL_ROOT) == "/" else ("UBSAN_SANITIZE=y",)
SPARSE = ("C=1", "CHECK=sparse", "CF=-Wsparse-error")
WARNINGS = ("W=1", "KCFLAGS=-Werror")


class BuildError(RuntimeError):
    """The modules cannot be built; the compiler's words have been printed or are in the text."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is built: Kbuild file and folders, below *root*."""

    root: Path
    entries: tuple[str, ...] = ("Kbuild", "kmod")


PRODUCT = Source(REPO)
TESTED = Source(REPO, ("Kbuild", "kmod", "tests/kmod"))
TEST_MODULES = frozenset(("scst_script", "scst_example"))


def module_folder(release: str, root: Path = KERNEL_ROOT) -> Path:
    """Where a kernel's own modules are."""
    return root / "lib/modules" / release


def build_folder(release: str, root: Path = KERNEL_ROOT) -> Path:
    """Where a kernel's headers are."""
    return module_folder(release, root) / "build"


def kernel_release(kdir: Path) -> str:
    """Release of the kernel whose headers are in *kdir*."""
    # Not include/config/kernel.release: some distributions leave the upstream version there.
    file = kdir / "include/generated/utsrelease.h"
    found = re.search(r'UTS_RELEASE "([^"]+)"', file.read_text()) if file.exists() else None
    if found is None:
        raise BuildError(f"KDIR={kdir}: not a prepared kernel tree (no {file.name}); install linux-headers")
    return found[1]


def mirror(source: Source, target: Path) -> None:
    """Make *target* a tree of links to the source files; links to files that are gone are removed."""
    wanted: set[Path] = set()
    for file in source_files(source):
        link = target / file.relative_to(source.root)
        wanted.add(link)
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    for path in target.rglob("*"):
        if path.is_symlink() and path not in wanted:
            path.unlink()


def source_files(source: Source) -> list[Path]:
    """All files kbuild reads."""
    files: list[Path] = []
    for entry in source.entries:
        top = source.root / entry
        files += [top] if top.is_file() else [path for path in top.rglob("*") if is_source(path)]
    return files


def copy_sources(source: Source, target: Path) -> None:
    """Copy the source files to a tree of their own."""
    for file in source_files(source):
        copy = target / file.relative_to(source.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)


def is_source(path: Path) -> bool:
    """Is this a file kbuild reads?"""
    return path.is_file() and (
        path.suffix in (".c", ".h", ".S", ".py") or path.name in ("Kbuild", "Makefile")
    )


def make(kdir: Path, tree: Path, arguments: Sequence[str] = ()) -> str:
    """Run kbuild; returns its output. Raises BuildError with the output when it fails."""
    jobs = f"-j{os.cpu_count() or 1}"
    command = [
        "make",
        "--no-print-directory",
        "-s",
        jobs,
        "-C",
        str(kdir),
        f"M={tree}",
        *arguments,
        "modules",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return judge(done.returncode, done.stdout.replace(str(tree) + "/", ""))


def judge(status: int, output: str) -> str:
    """What a build said that matters. Raises BuildError when it failed."""
    words = "".join(line for line in output.splitlines(keepends=True) if not line.startswith(UNIMPORTANT))
    if status != 0:
        raise BuildError(f"building the modules failed:\n{words}")
    return words


def modules_of(source: Source, tree: Path) -> list[Path]:
    """The modules built from a source; an earlier build from another one may have left more in the tree."""
    folders = (tree / entry for entry in source.entries if (source.root / entry).is_dir())
    found = {path for folder in folders for path in folder.rglob("*.ko")} | set(tree.glob("*.ko"))
    return sorted(found)


def build(kdir: Path, source: Source = PRODUCT, base: Path | None = None) -> tuple[Path, str]:
    """Build for one kernel. Returns the layer for the VM and the compiler's output (warnings)."""
    release = kernel_release(kdir)
    folder = (base or REPO / "build/kmod") / release
    of_this_kernel(folder, kdir)
    tree = folder / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    mirror(source, tree)
    output = make(kdir, tree, CHECKED)
    layer = folder / "layer"
    install(modules_of(source, tree), release, layer)
    return layer, output


def of_this_kernel(folder: Path, kdir: Path) -> None:
    """Begin anew in *folder* when what lies there was built for another kernel of the same release."""
    stamp, headers = folder / "kernel.stamp", str(kdir.resolve())
    if stamp.exists() and stamp.read_text() != headers:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(headers)


def check(kdir: Path, source: Source = TESTED, base: Path | None = None) -> str:
    """Build with all warnings (W=1) and sparse, apart from the usual objects. Returns all complaints.

    Warnings are errors here, so a file that has one is not taken as built and complains again next time.
    """
    tree = (base or REPO / "build/check") / kernel_release(kdir) / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    mirror(source, tree)
    return make(kdir, tree, (*WARNINGS, *SPARSE))


def install(modules: list[Path], release: str, layer: Path) -> None:
    """Lay the modules out in *layer*."""
    target = layer / "usr/lib/modules" / release / "updates"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.ko"):
        if old.name not in {module.name for module in modules}:
            old.unlink()
    for module in modules:
        copy_if_newer(module, target / module.name)
    make_index(modules, release, layer)


def indexed(release: str) -> Path:
    """The layer of modules that were laid out before, by who builds for another kernel."""
    layer = REPO / "build/kmod" / release / "layer"
    modules = sorted((layer / "usr/lib/modules" / release / "updates").glob("*.ko"))
    if not modules:
        raise BuildError(f"{layer}: no modules of {release}")
    make_index(modules, release, layer)
    return layer


def make_index(modules: list[Path], release: str, layer: Path) -> None:
    """A new module index, only when names or dependencies changed."""
    target = layer / "usr/lib/modules" / release / "updates"
    if str(KERNEL_ROOT) != "/":
        show_own_modules(release, target.parent)
    stamp = layer.parent / "index.stamp"
    key = index_key(modules)
    if not stamp.exists() or stamp.read_text() != key:
        index(release, target)
        stamp.write_text(key)


def show_own_modules(release: str, folder: Path) -> None:
    """Let the VM find the modules of a kernel that is not installed where it looks for them."""
    link = folder / "kernel"
    link.unlink(missing_ok=True)
    link.symlink_to(module_folder(release) / "kernel")


def copy_if_newer(source: Path, target: Path) -> None:
    """Copy a file without its debug information when it has changed, keeping its time."""
    if target.exists() and target.stat().st_mtime_ns == source.stat().st_mtime_ns:
        return
    part = target.with_suffix(".part")
    shutil.copy2(source, part)
    subprocess.run(["strip", "--strip-debug", "-p", str(part)], check=True)
    os.utime(part, ns=(source.stat().st_mtime_ns, source.stat().st_mtime_ns))
    part.rename(target)


def index_key(modules: list[Path]) -> str:
    """Fingerprint of what the module index depends on."""
    state = hashlib.sha256()
    for module in modules:
        for name in ("name", "depends", "alias", "softdep"):
            state.update(
                subprocess.run(["modinfo", "-F", name, str(module)], check=True, capture_output=True).stdout
            )
    return state.hexdigest()


def index(release: str, updates: Path) -> None:
    """Make the module index (depmod) of the kernel's own modules and ours, beside *updates*."""
    work = updates.parents[5] / "depmod"
    shutil.rmtree(work, ignore_errors=True)
    base = work / "lib/modules" / release
    base.mkdir(parents=True)
    installed = module_folder(release)
    (base / "kernel").symlink_to(installed / "kernel")
    (base / "updates").symlink_to(updates)
    for file in installed.glob("modules.*"):
        if file.name.startswith(("modules.order", "modules.builtin")) and not file.name.endswith(".bin"):
            shutil.copy(file, base)
    done = subprocess.run(["depmod", "-b", str(work), release], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"depmod for {release}: {done.stderr.strip()}")
    for file in base.glob("modules.*"):
        shutil.copy(file, updates.parent)
    shutil.rmtree(work)
