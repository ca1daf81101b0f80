# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds debug kernels from the distribution's own source package.

``python -m tests.debug.kernel [--kind kasan] [--series 6.1]`` prints a folder to be named in
SCST_KERNEL_ROOT (see tests/vm/kmodbuild.py). The configuration is ``config/common.config`` and that of the
kind; ``patches/`` and ``patches/KIND/`` are applied to the sources, each file says why.

What is needed to boot a kernel and to build modules for it is kept packed, some 20 MB, in
``$SCST_CACHE/debug-kernel/KEY/kernel.tar.zst``; KEY stands for configuration, patches, versions of source
package and compiler. The build itself takes 25 minutes of processor time and 2 GB, below the same folder,
which go when it is over; one that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm import bootimage, machine

HERE = Path(__file__).resolve().parent
KINDS = ("kasan", "kcsan")
SERIES = "6.1"
KEPT = 4
ARCHIVE = "kernel.tar.zst"
# Nothing of the machine that builds goes into the kernel.
NAMES = ("KBUILD_BUILD_USER=scst", "KBUILD_BUILD_HOST=debug", "KBUILD_BUILD_TIMESTAMP=1970-01-01")
# The driver of Fibre Channel boards; the file of it that sees all its structures and defines what it exports.
BOARDS = "drivers/scsi/qla2xxx"
BOARDS_TYPES = f"{BOARDS}/qla_target.o"
NO_TYPES = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 0)  # BTF: a header, and nothing behind it
# Of the build tree, what kbuild reads when it makes modules outside the tree.
WANTED_NAMES = ("Makefile*", "Kconfig*", "Kbuild*", "*.include")
WANTED_FOLDERS = ("include", "scripts", "arch/x86/include", "tools/objtool/objtool")
WANTED_FILES = (".config", "Module.symvers", "arch/x86/kernel/macros.s", "arch/x86/entry/syscalls")


class KernelError(RuntimeError):
    """The kernel cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a debug kernel is made of; *source*: the packed sources."""

    kind: str
    source: Path
    source_version: str
    compiler: str
    config: str
    patches: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Fingerprint: a kernel with the same one need not be built again."""
        return bootimage.digest(self.source_version, self.compiler, self.config, self.patches)


def output_of(*command: str) -> str:
    """What a program prints. Raises KernelError if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)}: {done.stdout.strip()[-400:]}")
    return done.stdout.strip()


def recipe(kind: str = KINDS[0], series: str = SERIES) -> Recipe:
    """The recipe on this machine. Raises KernelError when the source package is not installed."""
    package = f"linux-source-{series}"
    source = Path("/usr/src") / f"{package}.tar.xz"
    if not source.exists():
        raise KernelError(f"{source} is not there: install {package}, or run `make test-debug` as root")
    parts = (HERE / "config" / f"{name}.config" for name in ("common", kind))
    return Recipe(
        kind,
        source,
        output_of("dpkg-query", "-W", "-f", "${Version}", package),
        output_of("gcc", "-dumpfullversion"),
        "\n".join(part.read_text() for part in parts),
        tuple((path.name, path.read_text()) for path in patches(kind)),
    )


def patches(kind: str) -> list[Path]:
    """Those of all kinds, then those of one."""
    folders = (HERE / "patches", HERE / "patches" / kind)
    return [path for folder in folders for path in sorted(folder.glob("*.patch"))]


# --- configuration ---


def settings(text: str) -> dict[str, str]:
    """Options of a configuration file; those that are off are left out."""
    found = dict(re.findall(r"^(CONFIG_\w+)=(.+)$", text, re.MULTILINE))
    return {name: value for name, value in found.items() if value != "n"}


def unmet(wanted: str, resolved: str) -> list[str]:
    """Settings that the kernel's own rules have changed: ``CONFIG_NAME=wanted, not got``."""
    got = settings(resolved)
    lines = re.findall(r"^(CONFIG_\w+)=(.+)$", wanted, re.MULTILINE)
    return [
        f"{name}={value}, not {got.get(name, 'n')}" for name, value in lines if got.get(name, "n") != value
    ]


# --- building ---


def make(tree: Path, log: Path, *arguments: str) -> None:
    """Run make in the kernel's sources, its words go to *log*. Raises KernelError with the last of them."""
    command = ["nice", "make", f"-j{os.cpu_count() or 1}", "-C", str(tree), *NAMES, *arguments]
    with log.open("ab") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        raise KernelError(f"make {' '.join(arguments)} failed (log: {log}):\n{machine.tail(log, 3000)}")


def unpack(what: Recipe, work: Path) -> Path:
    """The patched sources below *work*; they are there already when a build was interrupted."""
    tree = work / "linux"
    if not (work / "unpacked").exists():
        shutil.rmtree(work, ignore_errors=True)
        tree.mkdir(parents=True)
        output_of("tar", "-xf", str(what.source), "-C", str(tree), "--strip-components=1")
        for name, text in what.patches:
            done = subprocess.run(
                ["patch", "-p1", "-d", str(tree)], input=text, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise KernelError(f"patch {name} does not fit {what.source}:\n{done.stdout}{done.stderr}")
        (work / "unpacked").touch()
    return tree


def configure(what: Recipe, tree: Path, log: Path) -> None:
    """Resolve the configuration. Raises KernelError when a setting did not get through."""
    wanted = tree.parent / "wanted.config"
    wanted.write_text(what.config)
    make(tree, log, f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
    if lost := unmet(what.config, (tree / ".config").read_text()):
        raise KernelError("this kernel's Kconfig does not let through: " + "; ".join(lost))


def compile_kernel(what: Recipe, work: Path) -> Path:
    """Build in *work*; returns a folder with ``boot`` and ``lib/modules``."""
    log = work.with_suffix(".log")
    tree, root = unpack(what, work), work / "root"
    configure(what, tree, log)
    make(tree, log, "bzImage", "modules")
    shutil.rmtree(root, ignore_errors=True)
    make(tree, log, f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1", "modules_install")
    (modules,) = (root / "lib/modules").iterdir()
    (root / "boot").mkdir()
    shutil.copy2(tree / "arch/x86/boot/bzImage", root / "boot" / f"vmlinuz-{modules.name}")
    for name in ("build", "source"):
        (modules / name).unlink(missing_ok=True)
    copy_files(tree, modules / "build", build_files(tree))
    describe_boards(tree, modules, log)
    log.unlink()
    return root


def describe_boards(tree: Path, modules: Path, log: Path) -> None:
    """Put the types of the boards' driver into its module: scst_qla2xxx is made from them.

    The compiler describes those of one file. A kernel that is described as a whole takes debug information of
    all its files, and several times as long to build.
    """
    make(tree, log, "KCFLAGS=-gbtf", BOARDS_TYPES)
    types = tree / "boards.btf"
    section = ("--only-section=.BTF", "--set-section-flags", ".BTF=alloc")
    output_of("objcopy", "-O", "binary", *section, str(tree / BOARDS_TYPES), str(types))
    module = modules / "kernel" / BOARDS / "qla2xxx.ko"
    output_of("objcopy", "--add-section", f".BTF={types}", str(module))
    (modules / "build/vmlinux.btf").write_bytes(NO_TYPES)


def build_files(tree: Path) -> set[Path]:
    """Files of the build tree that modules are made with, relative to it."""
    found: set[Path] = set()
    for name in WANTED_NAMES:
        found |= {path for path in tree.rglob(name) if path.relative_to(tree).parts[:1] != ("arch",)}
        found |= set((tree / "arch/x86").rglob(name))
    for name in (*WANTED_FOLDERS, *WANTED_FILES):
        path = tree / name
        found |= set(path.rglob("*")) if path.is_dir() else {path}
    return {
        path.relative_to(tree) for path in found if path.is_file() and path.suffix not in (".o", ".cmd", ".a")
    }


def copy_files(source: Path, target: Path, names: Iterable[Path]) -> None:
    """Copy files with their times; links are copied as links."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name, follow_symlinks=False)


# --- the cache ---


def packed(what: Recipe) -> Path:
    """The packed kernel, built when it is not in the cache."""
    folder = machine.cache_dir() / "debug-kernel"
    archive = folder / what.key / ARCHIVE
    with machine.locked(folder / "lock"):
        if archive.exists():
            os.utime(archive.parent)
            return archive
        work = folder / f"{what.key}.build"
        print(f"debug kernel: building {what.kind} of {what.source_version} in {work}", file=sys.stderr)
        root = compile_kernel(what, work)
        pack(root, archive)
        shutil.rmtree(work)
        machine.prune(folder, KEPT)
    return archive


def pack(root: Path, archive: Path) -> None:
    """Make the archive; it is there as a whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    output_of("tar", "-C", str(root), "--owner=0", "--group=0", "-I", "zstd -9 -T0", "-cf", str(part), ".")
    part.rename(archive)


def unpacked(what: Recipe) -> Path:
    """The kernel's folder in the repository's build folder: it can be booted."""
    archive = packed(what)
    folder = machine.REPO / "build/debug-kernel"
    root = folder / what.key
    with machine.locked(folder / "lock"):
        if not (root / ".complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            output_of("tar", "-C", str(root), "-I", "zstd", "-xf", str(archive))
            (root / ".complete").touch()
            machine.prune(folder, KEPT)
        os.utime(root)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: print the folder."""
    options = argparse.ArgumentParser(
        prog="python -m tests.debug.kernel", description="Build a debug kernel."
    )
    options.add_argument("--kind", choices=KINDS, default=KINDS[0])
    options.add_argument("--series", default=SERIES, help="of the source package: linux-source-SERIES")
    chosen = options.parse_args(argv)
    try:
        print(unpacked(recipe(chosen.kind, chosen.series)))
    except KernelError as error:
        print(f"debug kernel: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
