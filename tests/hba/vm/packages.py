# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU, guest tools and kernels from Debian packages, unpacked in a cache folder.

Nothing is installed on the machine: a private apt configuration (own lists, no installed packages) resolves
the dependencies, and what it downloads is unpacked.  Needs ``apt``, ``dpkg``, ``tar`` and ``kmod`` (depmod).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERIES = ("6.1", "6.12", "7.3")
"""Kernel series the tests know, oldest first."""

KERNEL_ROOT = os.environ.get("SCST_KERNEL_ROOT", "")
"""A kernel that is not packaged, as a debug kernel; see tests/vm/kmodbuild.py."""

TOOL_PACKAGES = ("qemu-system-x86", "busybox-static", "fio", "e2fsprogs", "sg3-utils", "libc-bin")
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("bookworm", "trixie", "trixie-backports")

PREFERENCES = """\
Package: src:qemu src:seabios seabios ipxe-qemu
Pin: release n=trixie-backports
Pin-Priority: 990

Package: *
Pin: release n=bookworm
Pin-Priority: 100
"""


class SetupError(Exception):
    """The cache could not be filled; the message says what failed and what to do."""


def cache_root() -> Path:
    """The cache folder: ``$SCST_CACHE``, else ``~/.cache/scst-hba``."""
    return Path(os.environ.get("SCST_CACHE") or Path.home() / ".cache" / "scst-hba")


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """Run a command and return its output; SetupError with its last lines if it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise SetupError(
            f"{argv[0]} is not installed; the set-up needs the packages apt, dpkg and kmod"
        ) from err
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise SetupError(f"{' '.join(argv)} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with lists, state and archives of its own under ``root``."""

    root: Path
    mirror: str = MIRROR

    def _options(self) -> list[str]:
        root = self.root
        return [
            f"-oDir::State={root}/state",
            f"-oDir::State::status={root}/status",
            f"-oDir::Cache={root}/cache",
            f"-oDir::Etc::sourcelist={root}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::Etc::preferences={root}/preferences",
            "-oDir::Etc::preferencesparts=/dev/null",
            "-oAPT::Architecture=amd64",
            "-oAPT::Sandbox::User=",
            "-oAPT::Keep-Downloaded-Packages=true",
        ]

    def update(self) -> None:
        """Write the configuration and fetch the package lists."""
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").write_text("")
        lines = (f"deb [signed-by={KEYRING}] {self.mirror} {suite} main" for suite in SUITES)
        (self.root / "sources.list").write_text("\n".join(lines) + "\n")
        (self.root / "preferences").write_text(PREFERENCES)
        _run(["apt-get", *self._options(), "-q", "update"])

    def cache(self, *args: str) -> str:
        """Output of ``apt-cache ARGS``."""
        return _run(["apt-cache", *self._options(), *args])

    def closure(self, packages: Sequence[str]) -> list[Path]:
        """Download packages with everything they depend on; the package files."""
        _run(
            [
                "apt-get",
                *self._options(),
                "-qy",
                "--no-install-recommends",
                "--download-only",
                "install",
                *packages,
            ]
        )
        return sorted((self.root / "cache/archives").glob("*.deb"))

    def download(self, packages: Sequence[str], folder: Path) -> list[Path]:
        """Download packages alone into a folder; the package files."""
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", *self._options(), "-q", "download", *packages], cwd=folder)
        return sorted(folder.glob("*.deb"))


@dataclass(frozen=True, slots=True)
class Tools:
    """QEMU and the guest's programs, unpacked in one folder."""

    root: Path

    @property
    def loader(self) -> Path:
        """The folder's own dynamic loader."""
        return self.root / "usr/lib64/ld-linux-x86-64.so.2"

    def library_path(self) -> str:
        """Library folders, colon separated."""
        base = self.root / "usr/lib/x86_64-linux-gnu"
        nested = sorted({lib.parent for lib in base.glob("*/*.so*")})
        return ":".join(str(path) for path in (base, *nested))

    def command(self, program: str) -> list[str]:
        """The start of a command line that runs one of the folder's programs with its own libraries."""
        return [str(self.loader), "--library-path", self.library_path(), str(self.find(program))]

    def find(self, program: str) -> Path:
        """Where a program is; SetupError if the packages did not bring it."""
        for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
            path = self.root / folder / program
            if path.exists():
                return path
        raise SetupError(f"{program} is not in {self.root}; remove that folder and run the set-up again")

    def qemu(self) -> list[str]:
        """The start of the QEMU command line."""
        share = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
        return self.command("qemu-system-x86_64") + [
            arg for path in share for arg in ("-L", str(self.root / path))
        ]

    def libraries(self, program: Path) -> list[Path]:
        """Shared libraries a program of the folder loads."""
        listing = _run([str(self.loader), "--library-path", self.library_path(), "--list", str(program)])
        found = re.findall(r"=> (\S+)", listing)
        return [Path(path) for path in found]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unpacked kernel."""

    series: str
    release: str
    root: Path

    @property
    def image(self) -> Path:
        """The bootable kernel file (its place depends on the series)."""
        places = (
            f"boot/vmlinuz-{self.release}",
            f"usr/lib/modules/{self.release}/vmlinuz",
            f"lib/modules/{self.release}/vmlinuz",
        )
        for place in places:
            if (self.root / place).exists():
                return self.root / place
        raise SetupError(f"no kernel image under {self.root}; remove that folder and run the set-up again")

    @property
    def modules(self) -> Path:
        """The folder with the modules and modules.dep."""
        return self.root / "lib/modules" / self.release


def _unpack(packages: Sequence[Path], target: Path) -> None:
    """Unpack packages over each other in a folder with a merged /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (target / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (target / name).is_symlink():
            (target / name).symlink_to(f"usr/{name}")
    for package in packages:
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=False)
        if tar.returncode:
            raise SetupError(
                f"{package.name} cannot be unpacked: {tar.stderr.decode(errors='replace').strip()}"
            )
        # tar keeps the links of the merged /usr, dpkg-deb -x would replace them by folders.
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(target)],
            input=tar.stdout,
            check=True,
        )


def _build(target: Path, packages: Sequence[Path]) -> Path:
    """Unpack into a new folder and rename it into place: a broken set-up is never taken for a good one."""
    work = target.with_name(target.name + ".new")
    shutil.rmtree(work, ignore_errors=True)
    _unpack(packages, work)
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return target


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder; every method makes what is missing and returns what is there."""

    root: Path

    def _apt(self) -> Apt:
        apt = Apt(self.root / "apt", os.environ.get("SCST_MIRROR", MIRROR))
        if not (apt.root / "state/lists/lock").exists():
            apt.update()
        return apt

    def tools(self) -> Tools:
        """QEMU with vfio-user-pci and the programs for the guest."""
        target = self.root / "tools"
        if not target.is_dir():
            apt = self._apt()
            _build(target, apt.closure(TOOL_PACKAGES))
            shutil.rmtree(apt.root / "cache/archives", ignore_errors=True)
        return Tools(target)

    def package(self, name: str) -> Tools:
        """The programs of one more package, in a folder of their own."""
        target = self.root / f"package-{name}"
        if not target.is_dir():
            apt = self._apt()
            _build(target, apt.closure((name,)))
            shutil.rmtree(apt.root / "cache/archives", ignore_errors=True)
        return Tools(target)

    def kernel(self, series: str) -> Kernel:
        """The newest packaged kernel of a series such as ``6.12``, or that of ``$SCST_KERNEL_ROOT``.

        SetupError if there is none.
        """
        if KERNEL_ROOT:
            return given_kernel(Path(KERNEL_ROOT), series)
        target = self.root / f"kernel-{series}"
        if not target.is_dir():
            self._fetch_kernel(series, target)
        folders = sorted((target / "lib/modules").glob("*"))
        usable = [path.name for path in folders if _is_complete(path)]
        release = usable[0] if usable else ""
        if not release:
            raise SetupError(f"{target} holds no usable kernel; remove that folder and run the set-up again")
        return Kernel(series, release, target)

    def _fetch_kernel(self, series: str, target: Path) -> None:
        apt = self._apt()
        release = newest_release(apt.cache("show", "linux-image-amd64"), series)
        known = set(apt.cache("pkgnames", "linux-").split())
        names = [f"linux-{part}-{release}" for part in ("image", "base", "binary", "modules")]
        folder = self.root / "packages" / series
        shutil.rmtree(folder, ignore_errors=True)
        work = _build(
            target.with_name(target.name + ".part"), apt.download([n for n in names if n in known], folder)
        )
        _run(["depmod", "-b", str(work), release])
        work.rename(target)
        shutil.rmtree(folder)


def given_kernel(root: Path, series: str) -> Kernel:
    """One that is not packaged, as a debug kernel; SetupError if it is not of that series."""
    releases = [path.name for path in (root / "lib/modules").glob(f"{series}.*") if _is_complete(path)]
    if not releases:
        raise SetupError(f"there is no kernel {series} in {root}")
    return Kernel(series, releases[0], root)


def _is_complete(modules: Path) -> bool:
    """A module folder has what the initial RAM disk is made from."""
    return all((modules / name).exists() for name in ("modules.dep", "modules.builtin"))


def newest_release(stanzas: str, series: str) -> str:
    """The kernel release of a series in ``apt-cache show linux-image-amd64``; SetupError if there is none."""
    pattern = re.compile(rf"\blinux-image-({re.escape(series)}\.[\w.+-]*amd64)\b")
    found = pattern.search(stanzas)
    if not found:
        raise SetupError(f"the package lists offer no kernel {series}; set SCST_MIRROR to a mirror that does")
    return found.group(1)
