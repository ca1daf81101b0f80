# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's root: busybox, tools with their libraries, modules, firmware, packed as an initial RAM disk."""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..isp.firmware_images import DUMMIES
from .packages import Kernel, SetupError, Tools

GUEST = Path(__file__).parent / "guest"
FIRMWARE = Path("/lib/firmware")
TOOLS = ("fio", "mke2fs", "e2fsck", "sg_reset", "sg_raw", "sg_inq")
PYTHON, ADMIN = "python3", "pyscstadmin"
EXTENSIONS = ("_ctypes", "_queue")
"""Python's modules in files of their own that the administration uses: the others are left out."""
THREADS = "libgcc_s.so.1"
"""Loaded by the C library when a thread ends: no program says that it needs it."""
RUN_ADMIN = f"""#!/bin/sh
# Bytecode, which the package does not bring, is kept from one command to the next.
PYTHONHOME=/usr PYTHONPATH=/opt PYTHONPYCACHEPREFIX=/tmp/bytecode exec {PYTHON} -m {ADMIN} "$@"
"""
OPTIONAL = ("crc32c_generic", "crc_t10dif", "tcm_qla2xxx", "target_core_file")
"""Modules that newer kernels have built in (checksums), and LIO's target, which debug kernels lack."""
MODULES = (
    "virtio_pci",
    "virtio_console",
    "qla2xxx",
    "sd_mod",
    "sg",
    "ext4",
    "configfs",
    "loop",
)


@dataclass(slots=True)
class Archive:
    """A newc cpio archive under construction."""

    _parts: list[bytes] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def _add(self, name: str, mode: int, data: bytes) -> None:
        if name in self._names:
            return
        self._names.add(name)
        encoded = name.encode() + b"\0"
        numbers = (len(self._names), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % number for number in numbers)
        self._parts += [_pad(head + encoded), _pad(data)]

    def folder(self, name: str) -> None:
        """A folder and the ones above it."""
        for parent in reversed([p for p in (Path(name), *Path(name).parents) if str(p) != "."]):
            self._add(str(parent), stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, data: bytes, *, executable: bool = False) -> None:
        """A file, with its folder."""
        self.folder(str(Path(name).parent))
        self._add(name, stat.S_IFREG | (0o755 if executable else 0o644), data)

    def pack(self) -> bytes:
        """The finished archive."""
        self._add("TRAILER!!!", 0, b"")
        return b"".join(self._parts)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def read_module(path: Path) -> bytes:
    """A module's contents, unpacked."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def module_name(path: str) -> str:
    """``kernel/.../sd_mod.ko.xz`` is ``sd_mod``."""
    return Path(path).name.split(".ko")[0].replace("-", "_")


def load_order(dependencies: str, wanted: Iterable[str]) -> dict[str, list[str]]:
    """For each wanted module the files to load, in order, by the text of modules.dep.

    Missing ones are left out.
    """
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in dependencies.splitlines():
        path, _, rest = line.partition(":")
        needs[module_name(path)] = (path, rest.split())
    orders: dict[str, list[str]] = {}
    for name in wanted:
        if name in needs:
            path, below = needs[name]
            # modules.dep lists the nearest need first.
            orders[name] = [*reversed(below), path]
    return orders


def _add_tool(archive: Archive, tools: Tools, name: str) -> None:
    program = tools.find(name)
    archive.file(f"bin/{name}", program.read_bytes(), executable=True)
    for library in tools.libraries(program):
        archive.file(f"lib/x86_64-linux-gnu/{library.name}", library.read_bytes(), executable=True)
    archive.file("lib64/ld-linux-x86-64.so.2", tools.loader.read_bytes(), executable=True)


def build(
    tools: Tools,
    kernel: Kernel,
    modules: Iterable[str] = MODULES,
    programs: Iterable[str] = TOOLS,
    extra: Iterable[Path] = (),
) -> bytes:
    """The archive for a kernel; ``extra`` are module files built elsewhere, put into ``/extra``.

    SetupError if a wanted module is in the kernel neither as a file nor built in.
    """
    archive = Archive()
    for name in ("proc", "sys", "dev", "tmp", "mnt", "lib/firmware", "root"):
        archive.folder(name)
    archive.file("bin/busybox", tools.find("busybox").read_bytes(), executable=True)
    for name in programs:
        _add_tool(archive, tools, name)
    for script in sorted(GUEST.glob("*")):
        archive.file(script.name, script.read_bytes(), executable=True)
    _add_modules(archive, kernel, list(modules))
    for name, dummy in DUMMIES.items():
        real = FIRMWARE / name
        archive.file(f"lib/firmware/{name}", real.read_bytes() if real.exists() else dummy())
    for path in extra:
        archive.file(f"extra/{path.name}", path.read_bytes())
    return archive.pack()


def build_programs(tools: Tools, programs: Iterable[str]) -> bytes:
    """An archive with nothing but some programs and their libraries, to go on top of another."""
    archive = Archive()
    for name in programs:
        _add_tool(archive, tools, name)
    return archive.pack()


def build_admin(tools: Tools, source: Path) -> bytes:
    """An archive with Python, of whose package ``tools`` are, and ``scstadmin`` from its ``source``."""
    archive = Archive()
    _add_tool(archive, tools, PYTHON)
    home = tools.find(PYTHON).resolve().name
    _add_sources(archive, tools.root / "usr/lib" / home, f"usr/lib/{home}")
    for name in EXTENSIONS:
        for path in (tools.root / "usr/lib" / home / "lib-dynload").glob(f"{name}.*.so"):
            archive.file(f"usr/lib/{home}/lib-dynload/{path.name}", path.read_bytes())
            for library in tools.libraries(path):
                archive.file(f"lib/x86_64-linux-gnu/{library.name}", library.read_bytes(), executable=True)
    library = tools.root / "usr/lib/x86_64-linux-gnu" / THREADS
    archive.file(f"lib/x86_64-linux-gnu/{THREADS}", library.read_bytes())
    _add_sources(archive, source / ADMIN, f"opt/{ADMIN}")
    archive.file("bin/scstadmin", RUN_ADMIN.encode(), executable=True)
    return archive.pack()


def _add_sources(archive: Archive, folder: Path, place: str) -> None:
    """What Python reads of a folder: sources, and the data beside them."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".json") and path.is_file():
            archive.file(f"{place}/{path.relative_to(folder)}", path.read_bytes())


def _add_modules(archive: Archive, kernel: Kernel, wanted: list[str]) -> None:
    orders = load_order((kernel.modules / "modules.dep").read_text(), [*wanted, *OPTIONAL])
    builtin = {module_name(line) for line in (kernel.modules / "modules.builtin").read_text().split()}
    for name in wanted:
        if name not in orders and name not in builtin:
            raise SetupError(f"kernel {kernel.release} has no module {name}")
    for name, paths in orders.items():
        names = [module_name(path) for path in paths]
        archive.file(f"modules/{name}.order", ("\n".join(names) + "\n").encode())
        for path in paths:
            archive.file(f"modules/{module_name(path)}.ko", read_module(kernel.modules / path))
