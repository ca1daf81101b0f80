# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the modules for newer Debian kernels, with all warnings and sparse, and uses them on each.

Headers and the compiler that belongs to them are unpacked (mmdebstrap) into the cache folder; the machine's
own package sources are neither used nor changed. The build runs in there with chroot, in a mount namespace of
its own, so that nothing stays mounted; objtool and gcc need /proc. What the driver for QLogic boards needs to
know of the kernel's own one is read outside. The modules run in the virtual machine of the emulated HBA
(tests/hba), without an HBA; smoke.sh says what they do there. They are left in build/kmod, for scenarios of
tests/hba, and for GUEST: tests of this folder that are run with them in the machine it is made for.
Arguments: series (6.12, 7.3) instead of all; --test=TEST: these tests only, and nothing else.
Environment: SCST_CACHE, and SCST_DEBIAN_MIRROR (default http://deb.debian.org/debian).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hba.vm.packages import Cache, Kernel, cache_root
from tests.vm import kmodbuild, machine

MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("make", "sparse", "binutils")


HBA = (sys.executable, str(machine.REPO / "tests/hba/run.py"))
SMOKE = machine.REPO / "tests/vm/smoke.sh"
LAYOUT = machine.REPO / "kmod/targets/qla2xxx/layout.py"
LAYOUT_FILE = "qla2xxx-layout.h"
# What depends on the kernel's network: the socket's callbacks, and pages that are lent to it.
GUEST = ("tests/vm/guest/test_iscsi_kernels.py",)


@dataclass(frozen=True, slots=True)
class Series:
    """A kernel, where its headers come from, and what tests/hba calls it."""

    name: str
    suites: tuple[str, ...]
    headers: str
    kernel: str


SERIES = (
    Series("trixie", ("trixie",), "linux-headers-amd64", "6.12"),
    Series("trixie-backports", ("trixie", "trixie-backports"), "linux-headers-amd64/trixie-backports", "7.3"),
)


def unpacked(series: Series) -> Path:
    """Folder with the series' headers, made when it is not in the cache."""
    root = machine.cache_dir() / "kernels" / series.name
    with machine.locked(machine.cache_dir() / "kernels" / "lock"):
        if not (root / ".complete").exists():
            print(f"kernels: fetching the headers of {series.name} into {root}", flush=True)
            shutil.rmtree(root, ignore_errors=True)
            unpack(series, root)
            (root / ".complete").touch()
    return root


def unpack(series: Series, root: Path) -> None:
    """Fetch and unpack. Raises BuildError with the tool's last words."""
    mirror = os.environ.get("SCST_DEBIAN_MIRROR", MIRROR)
    sources = [f"deb {mirror} {suite} main" for suite in series.suites]
    packages = ",".join((*PACKAGES, series.headers))
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        f"--include={packages}",
        series.suites[0],
        str(root),
    ]
    command += sources
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise kmodbuild.BuildError(f"mmdebstrap for {series.name} failed:\n{done.stdout[-2000:]}")


def headers(root: Path) -> str:
    """Kernel release of the headers in *root*; the newest when there are several."""
    found = sorted(path.name for path in (root / "usr/src").glob("linux-headers-*-amd64"))
    if not found:
        raise kmodbuild.BuildError(
            f"{root}: no linux-headers-*-amd64 in usr/src; remove the folder and try again"
        )
    return found[-1].removeprefix("linux-headers-")


def sparse_serves(root: Path, release: str) -> bool:
    """Can Debian's sparse (0.6.4) read this kernel's headers?

    Kernels that use __typeof_unqual__ say so by testing the checker first (scripts/checker-valid.sh).
    """
    makefile = root / "usr/src" / f"linux-headers-{release.removesuffix('-amd64')}-common" / "Makefile"
    return "checker-valid.sh" not in makefile.read_text()


def layout(root: Path, kernel: Kernel) -> str:
    """What of the structures of this kernel's qla2xxx is used. Raises BuildError when it cannot be read."""
    types = root / "usr/src" / f"linux-headers-{kernel.release}" / "vmlinux"
    driver = next(kernel.modules.glob("kernel/drivers/scsi/qla2xxx/qla2xxx.ko*"))
    command = [sys.executable, "-B", str(LAYOUT), str(types), str(driver)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise kmodbuild.BuildError(done.stderr)
    return done.stdout


def check(root: Path, release: str, kernel: Kernel) -> str:
    """Strict build in *root*; returns what was complained about. Raises BuildError when it does not build.

    The sources are copied, not linked: links would lead out of the chroot.
    """
    tree = root / "srv/scst"
    shutil.rmtree(tree, ignore_errors=True)
    kmodbuild.copy_sources(kmodbuild.TESTED, tree)
    (tree / LAYOUT_FILE).write_text(layout(root, kernel))
    sparse = kmodbuild.SPARSE if sparse_serves(root, release) else ()
    make = [
        "make",
        "--no-print-directory",
        "-s",
        f"-j{os.cpu_count() or 1}",
        "-C",
        f"/usr/src/linux-headers-{release}",
    ]
    make += [
        "M=/srv/scst",
        f"QLA2XXX_LAYOUT=/srv/scst/{LAYOUT_FILE}",
        *kmodbuild.WARNINGS,
        *sparse,
        "modules",
    ]
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(root), *make]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return kmodbuild.judge(done.returncode, done.stdout.replace("/srv/scst/", ""))


def keep(root: Path, release: str) -> None:
    """Leave the modules where those of an installed kernel would be."""
    folder = machine.REPO / "build/kmod" / release / "layer/usr/lib/modules" / release / "updates"
    folder.mkdir(parents=True, exist_ok=True)
    for module in (root / "srv/scst").rglob("*.ko"):
        kmodbuild.copy_if_newer(module, folder / module.name)


def smoke(series: Series, root: Path) -> bool:
    """Use the modules just built in a machine; whether all went well."""
    modules = [f"--module={path}" for path in sorted((root / "srv/scst/kmod").glob("*.ko"))]
    boot = [*HBA, "boot", "--kernel", series.kernel, f"--script={SMOKE}", *modules]
    return subprocess.run(boot, check=False).returncode == 0


def kernel_root(kernel: Kernel) -> Path:
    """A folder with the kernel where tests/vm looks for one that is not installed."""
    root = machine.REPO / "build/kernels" / kernel.release
    links = {f"boot/vmlinuz-{kernel.release}": kernel.image, f"lib/modules/{kernel.release}": kernel.modules}
    for name, target in links.items():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return root


def tested(kernel: Kernel, tests: Sequence[str]) -> bool:
    """Run tests of the guest with the modules that are kept; whether all went well."""
    out = machine.REPO / "build/vm" / f"kernel-{kernel.release}"
    argv = [sys.executable, "-m", "tests.vm", "test", "--built", f"--kernel={kernel.release}"]
    argv += ["--timeout=1800", "--env=SCST_LONG=1", f"--out={out}", "--", *tests]
    environment = os.environ | {"SCST_KERNEL_ROOT": str(kernel_root(kernel))}
    return subprocess.run(argv, env=environment, cwd=machine.REPO, check=False).returncode == 0


def booted(series: Series, root: Path, release: str) -> Kernel:
    """The kernel that tests/hba boots. Raises BuildError when it is not the one of the headers."""
    kernel = Cache(cache_root()).kernel(series.kernel)
    if kernel.release != release:
        raise kmodbuild.BuildError(
            f"{root} has headers of {release}, the kernel to boot is {kernel.release}: remove the older one"
        )
    return kernel


def built_and_used(series: Series, tests: Sequence[str]) -> bool:
    """Whether the modules are built without a warning, and work: with all of it, or with some tests. Raises
    BuildError when they are not built.

    The folder is everybody's on this machine: who builds has it alone.
    """
    root = unpacked(series)
    release = headers(root)
    kernel = booted(series, root, release)
    with machine.locked(root.with_suffix(".lock")):
        output = check(root, release, kernel)
        how = "" if sparse_serves(root, release) else " (without sparse: it is too old for these headers)"
        print(f"kernel {release}: {output or 'no warnings'}{how}", flush=True)
        keep(root, release)
        used = bool(tests) or smoke(series, root)
    return not output and used and tested(kernel, tests or GUEST)


def main() -> int:
    """Entry point; exit status 1 when a series complains."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.kernels", description="See the module's text.")
    parser.add_argument("series", nargs="*", metavar="series", help="default: all")
    parser.add_argument("--test", action="append", default=[], help="run this only")
    options = parser.parse_args()
    bad = 0
    for series in SERIES:
        if options.series and series.kernel not in options.series:
            continue
        try:
            bad += not built_and_used(series, options.test)
        except kmodbuild.BuildError as error:
            print(f"kernel {series.name}: {error}", flush=True)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
