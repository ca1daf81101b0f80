# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain directories laid out like the kernel's tree, behind `RealTree`: what paths mean there is what they
mean to the system, `..` included, which a simulated tree cannot show.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyscstadmin.config.settings import DRIVERS, HANDLERS, IDENTITY, Rows
from pyscstadmin.kernel import cfs
from pyscstadmin.kernel.cfs import RealTree

__all__ = ["PlainTree", "contents", "lay_out", "lay_tables"]

_ROOT = {
    "version": "0",
    "features": "",
    "generation": "1",
    "autocommit": "1",
    "staged": "0",
    "settled": "1",
    "commit": "",
    "commit_fence": "",
    "buffer_limit": "0",
}
_DEVICE = {"enabled": "0", "active": "0", "state": "disabled", "error": "", "size": "0"}
_TARGET = {"enabled": "0", "state": "disabled"}
_GROUPS = frozenset(("devices", "targets", "luns", "groups", "initiators", "hosts", "id"))


def lay_out(root: Path) -> None:
    """Make what the modules make when they are loaded."""
    root.mkdir()
    _fill(root, _ROOT)
    for handler in HANDLERS:
        (root / "devices" / handler).mkdir(parents=True)
    for driver in DRIVERS:
        (root / "targets" / driver).mkdir(parents=True)


def _fill(folder: Path, values: dict[str, str]) -> None:
    for name, value in values.items():
        (folder / name).write_text(value + "\n")


def _defaults(rows: Rows) -> dict[str, str]:
    return {name: row.type.to_kernel(row.default) for name, row in rows.items()}


class PlainTree(RealTree):
    """`RealTree`, with what the kernel adds to a new directory, and keeps in step by itself."""

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        folder = Path(self.root) / path
        match path.split("/"):
            case ["devices", handler, _]:
                _fill(folder, {**_DEVICE, **_defaults(HANDLERS[handler].settings)})
                (folder / "id").mkdir()
                known = dict.fromkeys(IDENTITY, "x") | {"eui64": "", "naa": f"3{abs(hash(path)):015x}"[:16]}
                _fill(folder / "id", {**known, "serial": known["naa"]})
            case ["targets", driver, _]:
                taken = {int(one.read_text()) for one in Path(self.root).glob("targets/*/*/rel_tgt_id")}
                free = min(set(range(1, len(taken) + 2)) - taken)
                _fill(folder, {**_TARGET, "rel_tgt_id": str(free), **_defaults(DRIVERS[driver].settings)})
                for name in ("luns", "groups", "hosts"):
                    (folder / name).mkdir()
            case [*_, "groups", _]:
                _fill(folder, {"priority": "100"})
                for name in ("luns", "initiators"):
                    (folder / name).mkdir()
            case [*_, "luns", _]:
                _fill(folder, {"read_only": "0", "state": "unmapped"})
            case [*_, "hosts", _]:
                _fill(folder, {"host": ""})

    def ask(self, path: str, value: str, milliseconds: int) -> None:
        self.write(path, value)

    def rmdir(self, path: str) -> None:
        """As configfs does it: what the kernel has made in it is no obstacle."""
        folder = Path(self.root) / path
        # Where the path leads is not looked at here, but by what is tested.
        if os.path.isdir(folder) and cfs._inside(path) and self._is_bare(folder):
            shutil.rmtree(folder)
            os.mkdir(folder)
        super().rmdir(path)

    def _is_bare(self, folder: Path) -> bool:
        entries = list(os.scandir(folder))
        if any(entry.is_symlink() or (entry.is_dir() and entry.name not in _GROUPS) for entry in entries):
            return False
        return all(not list(os.scandir(entry)) or entry.name == "id" for entry in entries if entry.is_dir())

    def _store(self, path: str, data: bytes) -> int:
        fd = os.open(cfs._inside(path), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, dir_fd=self._fd)
        with open(fd, "wb") as file:
            file.write(data.rstrip(b"\n") + b"\n")
        above, _, name = path.rpartition("/")
        if name == "enabled" and data in (b"0", b"1"):
            on = "active" if path.startswith("devices/") else "enabled"
            _fill(Path(self.root) / above, {"state": on if data == b"1" else "disabled"})
        return len(data)


def lay_tables(root: Path) -> None:
    """Write the tables as the kernel would show them now. They do not follow what is changed later. The
    kernel has an empty line at the end.
    """
    devices = []
    for handler, spec in HANDLERS.items():
        names = dict.fromkeys([*_DEVICE, *spec.settings, *(f"id/{part}" for part in IDENTITY)])
        for folder in sorted((root / "devices" / handler).iterdir()):
            lines = (f"{name} {(folder / name).read_text().rstrip()}\n" for name in names)
            devices.append(f"/{handler}/{folder.name}\n{''.join(lines)}")
    (root / "device_table").write_text("".join([*devices, "\n"]))
    for luns in root.glob("targets/**/luns"):
        rows = (
            (int(lun.name), (lun / "read_only").read_text().rstrip(), (lun / "device").readlink().name)
            for lun in luns.iterdir()
        )
        table = "".join(f"{number} {bit} {device}\n" for number, bit, device in sorted(rows))
        (luns.parent / "lun_table").write_text(table and f"{table}\n")


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder: paths, and what the files have in them and the links point at."""
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            if os.path.islink(path):
                found[path] = f"-> {os.readlink(path)}"
            elif name in folders:
                found[path] = "/"
            else:
                with open(path, "rb") as file:
                    found[path] = repr(file.read())
    return found
