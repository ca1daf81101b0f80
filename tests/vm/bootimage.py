# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds what QEMU needs to boot a distribution kernel fast: an unpacked kernel and an initramfs.

The unpacked kernel (ELF, entered through its PVH note) skips the firmware's boot loader and the decompression
of the kernel, about 2.5 s under software emulation. The initramfs holds the drivers in INITRD_MODULES,
busybox, and the part of the Python installation that ``agent.py`` imports, at the same paths as on the host.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import stat
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm import kmodbuild

HERE = Path(__file__).resolve().parent
BUSYBOX = Path("/bin/busybox")

# In the order of use. All stay loaded, so a test starts with the usual initiator drivers present.
INITRD_MODULES = (
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "configfs",
    "virtio_blk",
    "sd_mod",
    "sg",
    "loop",
)

INIT_SCRIPT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done < /modules/order
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec {python} /agent.py
"""

_CLOSURE_SCRIPT = """
import json, runpy, sys
files = set()
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(("/usr/", sys.prefix)):
        files.add(arguments[0])
agent = runpy.run_path(sys.argv[1])
sys.addaudithook(note)
agent["preload"]()
for module in list(sys.modules.values()):
    for name in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
        if name and not name.startswith("<"):
            files.add(name)
print(json.dumps(sorted(files)))
"""


class BootImageError(RuntimeError):
    """A boot file cannot be made; the text says which and what to do."""


def newest_kernel(root: Path = kmodbuild.KERNEL_ROOT) -> str:
    """Release of the newest kernel below *root* that has modules and headers, by version order."""
    names = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    usable = [name for name in names if kmodbuild.build_folder(name, root).exists()]
    if not usable:
        raise BootImageError(f"no kernel with headers in {root / 'boot'}: run `make setup` as root")
    return max(usable, key=version_key)


def version_key(release: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a kernel release: numbers by value, the rest as text."""
    parts = "".join(c if c.isalnum() else " " for c in release).split()
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def unpack_kernel(bzimage: Path, target: Path) -> None:
    """Write the ELF kernel inside *bzimage* (x86 boot protocol 2.08 or later) to *target*."""
    data = bzimage.read_bytes()
    if data[0x202:0x206] != b"HdrS":
        raise BootImageError(f"{bzimage}: not an x86 bzImage")
    start = ((data[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", data, 0x248)
    elf = decompress(data[start + offset : start + offset + length], bzimage)
    if not elf.startswith(b"\x7fELF"):
        raise BootImageError(f"{bzimage}: the payload is not an ELF kernel")
    replace_file(target, elf)


def decompress(payload: bytes, source: Path) -> bytes:
    """Undo the compression of a kernel payload: xz, gzip or zstd."""
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        done = subprocess.run(["zstd", "-dcq"], input=payload, stdout=subprocess.PIPE, check=False)
        return done.stdout
    raise BootImageError(f"{source}: unknown compression (starts with {payload[:6].hex()})")


def replace_file(target: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(data)
    part.rename(target)


@dataclass(slots=True)
class Archive:
    """A cpio archive in the "newc" format, filled from the host's files."""

    blocks: list[bytes] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def _entry(
        self, name: str, mode: int, data: bytes, mtime: int = 0, device: tuple[int, int] = (0, 0)
    ) -> None:
        self.seen.add(name)
        path = name.lstrip("/").encode() + b"\0"
        numbers = (len(self.seen), mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers)
        self.blocks += [pad(head + path), pad(data)]

    def folder(self, path: str) -> None:
        """Add a folder and those above it."""
        if path in ("", "/") or path in self.seen:
            return
        self.folder(os.path.dirname(path))
        self._entry(path, stat.S_IFDIR | 0o755, b"")

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        if path not in self.seen:
            self.folder(os.path.dirname(path))
            self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def data(self, path: str, data: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        """Add a file with the given content."""
        if path not in self.seen:
            self.folder(os.path.dirname(path))
            self._entry(path, stat.S_IFREG | mode, data, mtime)

    def host_file(self, path: str) -> None:
        """Add a file of the host at its path there; links are followed and kept, also of folders."""
        where = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if os.path.islink(where):
            target = os.readlink(where)
            self.link(where, target)
            self.host_file(os.path.join(os.path.dirname(where), target))
        elif where not in self.seen:
            info = os.stat(where)
            self.data(where, Path(where).read_bytes(), info.st_mode & 0o777, int(info.st_mtime))

    def node(self, path: str, major: int, minor: int) -> None:
        """Add a character device."""
        self.folder(os.path.dirname(path))
        self._entry(path, stat.S_IFCHR | 0o600, b"", device=(major, minor))

    def pack(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self.blocks)


def pad(data: bytes) -> bytes:
    """Fill up to a multiple of four bytes."""
    return data + b"\0" * (-len(data) % 4)


def python_files(python: Path) -> list[str]:
    """All files needed to start *python* and do the agent's imports: modules, their data, libraries."""
    command = [str(python), "-c", _CLOSURE_SCRIPT, str(HERE / "agent.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BootImageError(f"{python}: listing the agent's modules failed: {done.stderr.strip()[-400:]}")
    modules: list[str] = [name for name in json.loads(done.stdout) if os.path.isfile(name)]
    binaries = [name for name in modules if ".so" in os.path.basename(name)] + [str(python)]
    venv = [str(python.parent.parent / "pyvenv.cfg"), str(python)]
    return [*modules, *venv, *shared_libraries(binaries)]


def shared_libraries(binaries: Iterable[str]) -> list[str]:
    """Paths of the libraries the given programs and extension modules are linked with (ldd)."""
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return sorted({word for word in words if word.startswith("/") and not word.endswith(":")})


def module_files(release: str, names: Iterable[str]) -> list[Path]:
    """Files of kernel modules and of what they depend on, in load order."""
    files: dict[str, None] = {}
    for name in names:
        command = ["modprobe", "-d", str(kmodbuild.KERNEL_ROOT), "-S", release, "--show-depends", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BootImageError(f"kernel {release}: no module {name}: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            if line.startswith("insmod "):
                files[line.split()[1]] = None
    return [Path(name) for name in files]


def build_initramfs(release: str, python: Path, target: Path) -> None:
    """Write the initramfs for kernel *release* to *target*."""
    archive = Archive()
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            archive.link(f"/{name}", os.readlink(f"/{name}"))
    for name in ("/proc", "/sys", "/dev", "/root"):
        archive.folder(name)
    archive.node("/dev/console", 5, 1)
    archive.host_file(str(BUSYBOX))
    add_modules(archive, module_files(release, INITRD_MODULES))
    for file in python_files(python):
        archive.host_file(file)
    archive.data("/agent.py", (HERE / "agent.py").read_bytes())
    archive.data("/init", INIT_SCRIPT.format(python=python).encode(), 0o755)
    replace_file(target, archive.pack())


def add_modules(archive: Archive, files: list[Path]) -> None:
    """Put kernel modules and the list of their load order into the archive."""
    for file in files:
        archive.data(f"/modules/{file.name}", module_bytes(file))
    archive.data("/modules/order", "".join(f"{file.name}\n" for file in files).encode())


def module_bytes(file: Path) -> bytes:
    """Content of a module file; busybox's insmod takes no compressed ones, so these are unpacked."""
    data = file.read_bytes()
    return lzma.decompress(data) if file.suffix == ".xz" else data


def digest(*parts: object) -> str:
    """Short fingerprint of values and of files (given as Path: content is not read, size and mtime are)."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            info = part.stat()
            part = (str(part), info.st_size, info.st_mtime_ns)
        state.update(repr(part).encode() + b"\0")
    return state.hexdigest()[:20]
